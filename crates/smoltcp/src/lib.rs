//! A network card of `ringway-driver` as a device of smoltcp.
//!
//! A [`Nic`] is one pair of a card's queues, and the buffers that it needs: it implements
//! [`smoltcp::phy::Device`]. What the card does of checksums, smoltcp is told not to do; what it only
//! might have done, is done here.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use ringway_driver::Result;
use ringway_driver::dma::Bytes;
use ringway_driver::net::{Checksum, ChecksumAt, Facts, Offload, Packet, Pair};
use ringway_driver::platform::Platform;
use ringway_packet::checksum;
use ringway_spec::net::F;
use smoltcp::phy::{self, ChecksumCapabilities, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// What Ethernet carries, if nobody says otherwise.
const USUAL_MTU: usize = 1500;

/// Packets that are taken from the card at once.
const BURST: usize = 32;

/// One pair of a card's queues, for smoltcp.
#[derive(Debug)]
pub struct Nic<P: Platform, B: Bytes, M> {
    pair: Pair<P, B>,
    facts: Facts,
    /// Makes a buffer of so many bytes.
    make: M,
    received: VecDeque<Packet<B>>,
    /// Where smoltcp sees packets: it wants them in one piece, and some buffers cannot be seen.
    seen: Vec<u8>,
    drops: u64,
}

impl<P, B, M> Nic<P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    /// The device for `pair`, one of the pairs of a card with these `facts`. `make` makes a buffer of so
    /// many bytes, or none if there is no memory now.
    ///
    /// # Errors
    ///
    /// What [filling](ringway_driver::net::Receiver::fill) the receive queue finds.
    pub fn new(pair: Pair<P, B>, facts: Facts, make: M) -> Result<Self> {
        let mut nic = Self {
            pair,
            facts,
            make,
            received: VecDeque::new(),
            seen: vec![0; facts.receive_bytes().max(usize::from(u16::MAX) + ETHERNET)],
            drops: 0,
        };
        let bytes = nic.facts.receive_bytes();
        nic.pair.receiver.fill(|| (nic.make)(bytes))?;
        Ok(nic)
    }

    /// The pair of queues: for waiting, and for its counters.
    pub fn pair(&mut self) -> &mut Pair<P, B> {
        &mut self.pair
    }

    /// How many packets were dropped: those whose checksum is wrong, and those that found no buffer.
    pub fn drops(&self) -> u64 {
        self.drops
    }

    /// Tells the device of what was sent since it was last told, and takes the buffers back that it is
    /// done with. To be called after smoltcp was polled.
    ///
    /// # Errors
    ///
    /// [`Error`](ringway_driver::Error) of the driver: the card is to be reset.
    pub fn flush(&mut self) -> Result<()> {
        self.pair.transmitter.kick()?;
        self.pair.transmitter.reclaim(drop)?;
        Ok(())
    }

    /// Takes packets from the card, if none are here.
    fn refill(&mut self) {
        if !self.received.is_empty() {
            return;
        }
        let bytes = self.facts.receive_bytes();
        let (received, make) = (&mut self.received, &mut self.make);
        let take = |packet| received.push_back(packet);
        // A card that is broken receives nothing: whoever asks it for something else finds out.
        let _ = self.pair.receiver.receive(BURST, take, || make(bytes));
    }

    /// The next packet whose checksum is not wrong, as smoltcp sees it.
    fn next(&mut self) -> Option<usize> {
        loop {
            self.refill();
            let packet = self.received.pop_front()?;
            let len = packet.copy_to(&mut self.seen).len();
            let right = match packet.received.checksum {
                Checksum::Right | Checksum::Partial(_) => true,
                Checksum::Unknown if !self.facts.features.contains(F::GUEST_CSUM) => true,
                // smoltcp was told not to look.
                Checksum::Unknown => {
                    let judged = self.seen.get(..len).map(checksum::judge);
                    judged != Some(ringway_packet::Checksum::Wrong)
                }
            };
            if right && len == packet.len() {
                return Some(len);
            }
            self.drops += 1;
        }
    }

    /// Sends what smoltcp has made.
    fn send(&mut self, len: usize) {
        let Some(packet) = self.seen.get_mut(..len) else {
            return;
        };
        let left = match self.facts.features.contains(F::CSUM) {
            true => checksum::leave(packet),
            false => None,
        };
        let offload = Offload {
            checksum: left.map(|(start, offset)| ChecksumAt { start, offset }),
            cut: None,
        };
        let before = self.facts.header_len;
        let buffer = (self.make)(before + len);
        let Some(mut buffer) = buffer.filter(|buffer| buffer.bytes() == before + len) else {
            self.drops += 1;
            return;
        };
        let written = buffer.write_at(before, packet);
        if written.is_err() || self.pair.transmitter.send(buffer, &offload).is_err() {
            self.drops += 1;
        }
    }

    fn has_room(&mut self) -> bool {
        let transmitter = &mut self.pair.transmitter;
        if transmitter.in_flight() == transmitter.depth() {
            // As above.
            let _ = transmitter.kick();
            let _ = transmitter.reclaim(drop);
        }
        transmitter.in_flight() < transmitter.depth()
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
        if !self.has_room() {
            return None;
        }
        let len = self.next()?;
        // Seen by smoltcp while it may make an answer.
        let packet = self.seen.get(..len)?.to_vec();
        Some((
            RxToken {
                packet,
                of: core::marker::PhantomData,
            },
            TxToken { nic: self },
        ))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_, P, B, M>> {
        self.has_room().then_some(TxToken { nic: self })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let features = self.facts.features;
        let both = match (features.contains(F::CSUM), features.contains(F::GUEST_CSUM)) {
            (true, true) => phy::Checksum::None,
            (true, false) => phy::Checksum::Rx,
            (false, true) => phy::Checksum::Tx,
            (false, false) => phy::Checksum::Both,
        };
        let mut checksum = ChecksumCapabilities::default();
        // IP's own is nobody's but smoltcp's.
        checksum.tcp = both;
        checksum.udp = both;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit =
            self.facts.mtu.map_or(USUAL_MTU, usize::from) + ETHERNET;
        capabilities.checksum = checksum;
        capabilities
    }
}

/// A packet that was received.
#[derive(Debug)]
pub struct RxToken<'a> {
    packet: Vec<u8>,
    of: core::marker::PhantomData<&'a ()>,
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.packet)
    }
}

/// Room for a packet to be sent.
#[derive(Debug)]
pub struct TxToken<'a, P: Platform, B: Bytes, M> {
    nic: &'a mut Nic<P, B, M>,
}

impl<P, B, M> phy::TxToken for TxToken<'_, P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        if self.nic.seen.len() < len {
            self.nic.seen.resize(len, 0);
        }
        let made = f(&mut self.nic.seen[..len]);
        self.nic.send(len);
        made
    }
}
