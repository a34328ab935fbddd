//! A network card of `ringway-driver` as a device of smoltcp.
//!
//! A [`Nic`] is one or several pairs of a card's queues, and the buffers that they need: it implements
//! [`smoltcp::phy::Device`]. What the card does of checksums, smoltcp is told not to do; what it only
//! might have done, is done here, in `ringway-stack`.
#![no_std]
#![forbid(unsafe_code)]

use ringway_driver::Result;
use ringway_driver::dma::Bytes;
use ringway_driver::net::{Facts, Pair};
use ringway_driver::platform::Platform;
use ringway_stack::{Packets, Room};
use smoltcp::phy::{self, Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// A card, for smoltcp.
#[derive(Debug)]
pub struct Nic<P: Platform, B: Bytes, M> {
    packets: Packets<P, B, M>,
}

impl<P, B, M> Nic<P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    /// The device for `pairs`, which are in use, of a card with these `facts`. Their receive queues are
    /// filled. `make` makes a buffer of so many bytes, or none if there is no memory now; buffers are used
    /// again.
    ///
    /// A packet of a flow is sent by one pair, which a hash of the flow chooses; packets are received from
    /// all pairs in turn. Pairs beside the first are in use once the card was told
    /// ([`Command::Pairs`](ringway_driver::net::Command::Pairs)).
    ///
    /// # Errors
    ///
    /// As [`Packets::new`].
    pub fn new(pairs: impl IntoIterator<Item = Pair<P, B>>, facts: Facts, make: M) -> Result<Self> {
        Ok(Self {
            packets: Packets::new(pairs, facts, make)?,
        })
    }

    /// Tells the device of what was sent since it was last told, and takes the buffers back that it is
    /// done with. To be called after smoltcp was polled.
    ///
    /// # Errors
    ///
    /// As [`Packets::flush`].
    pub fn flush(&mut self) -> Result<()> {
        self.packets.flush()
    }

    /// What goes over the queues: for waiting, and for counters.
    pub fn packets(&mut self) -> &mut Packets<P, B, M> {
        &mut self.packets
    }

    /// The pairs of queues: for taking buffers back after a reset.
    pub fn into_pairs(self) -> impl Iterator<Item = Pair<P, B>> {
        self.packets.into_pairs()
    }
}

impl<P, B, M> Device for Nic<P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    type RxToken<'a>
        = RxToken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, P, B, M>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_, P, B, M>)> {
        if !self.packets.advance() {
            return None;
        }
        let (packet, room) = self.packets.packet();
        Some((RxToken(packet), TxToken(room)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, P, B, M>> {
        self.packets.room().map(TxToken)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let left = self.packets.checksums();
        let both = match (left.verify, left.compute) {
            (true, true) => Checksum::Both,
            (true, false) => Checksum::Rx,
            (false, true) => Checksum::Tx,
            (false, false) => Checksum::None,
        };
        let mut checksum = ChecksumCapabilities::default();
        checksum.tcp = both;
        checksum.udp = both;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.packets.longest();
        capabilities.checksum = checksum;
        capabilities
    }
}

/// A packet that was received.
#[derive(Debug)]
pub struct RxToken<'a>(&'a [u8]);

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Room for a packet to be sent.
#[derive(Debug)]
pub struct TxToken<'a, P: Platform, B: Bytes, M>(Room<'a, P, B, M>);

impl<P, B, M> phy::TxToken for TxToken<'_, P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        self.0.send(len, f)
    }
}
