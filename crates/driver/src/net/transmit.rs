//! Packets that go out.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ringway_spec::net::Header;
use zerocopy::IntoBytes;

use super::facts::Facts;
use super::in_use::InUse;
use super::offload::Offload;
use crate::dma::{Bytes, Counts, Data, Queue, Rejected, Token};
use crate::error::{RequestError, Result};
use crate::interrupt::Signal;
use crate::platform::{Direction, Platform};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;
/// Bytes of the tag of a virtual LAN in it.
const TAG: usize = 4;

/// Most bytes that can stand before a packet.
const HEADER_MAX: usize = 20;

/// A transmit queue of a card. A handle of its own: it may be sent to another thread, and shares no
/// lock with another.
///
/// Packets are never copied. Buffers come home when they are [reclaimed](Self::reclaim), which
/// takes no interrupts.
#[derive(Debug)]
pub struct Transmitter<P: Platform, B: Bytes> {
    queue: Queue<P, B>,
    facts: Facts,
    /// Which pair it is of, counted from 0.
    pair: u16,
    in_use: Arc<InUse>,
}

impl<P: Platform, B: Bytes> Transmitter<P, B> {
    pub(super) fn new(mut queue: Queue<P, B>, facts: Facts, pair: u16, in_use: Arc<InUse>) -> Self {
        queue.disarm();
        Self {
            queue,
            facts,
            pair,
            in_use,
        }
    }

    /// Gives the device a packet. It is told by the next [`kick`](Self::kick), so that many can go
    /// with one. The buffer's first [`Facts::header_len`] bytes are room for what stands before the
    /// packet, and are overwritten; the packet is the rest of it.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with the buffer: on [`Error::QueueFull`](crate::Error::QueueFull),
    /// [reclaim](Self::reclaim) and try again. [`Error::Request`](crate::Error::Request) if the packet
    /// is longer than the network carries, or the device does not do what is asked of it.
    #[inline]
    pub fn send(&mut self, mut buffer: B, offload: &Offload) -> Result<Token, Rejected<B>> {
        match self.prepare(&mut buffer, offload) {
            Ok(()) => self.queue.give(buffer, Direction::ToDevice),
            Err(why) => Err(Rejected {
                why: why.into(),
                data: Data::Readable(buffer),
            }),
        }
    }

    /// Tells the device of packets, if it wants to know.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn kick(&mut self) -> Result<bool> {
        self.queue.kick()
    }

    /// Hands the buffers of packets that were sent to `back`. Says how many there were.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device broke a rule of the ring: reset it.
    pub fn reclaim(&mut self, mut back: impl FnMut(B)) -> Result<usize> {
        // Should that have been forgotten.
        self.queue.kick()?;
        let mut count = 0;
        // No more than there were: nobody is kept here by a device that is as fast as its driver.
        for _ in 0..self.queue.size() {
            let Some((buffer, _)) = self.queue.take()? else {
                break;
            };
            count += 1;
            back(buffer);
        }
        Ok(count)
    }

    /// Has an interrupt tell when a packet was sent: for who waits for room. Says whether one was
    /// meanwhile.
    pub fn arm(&mut self) -> bool {
        self.queue.arm()
    }

    /// Asks for no interrupts, which is how it begins.
    pub fn disarm(&mut self) {
        self.queue.disarm();
    }

    /// Raised by every interrupt that concerns the queue.
    pub fn signal(&self) -> &Signal {
        self.queue.signal()
    }

    /// How many descriptors the ring has.
    pub fn depth(&self) -> u16 {
        self.queue.size()
    }

    /// How many packets the device has.
    pub fn in_flight(&self) -> u16 {
        self.queue.in_flight()
    }

    /// What went over the queue.
    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    /// Longest packet after the Ethernet header that is sent, unless it is cut, in bytes, if there is a
    /// limit: that of the card, or what the [whole of it](super::Net::set_mtu) was told.
    #[inline]
    pub fn mtu(&self) -> Option<u16> {
        self.in_use.mtu()
    }

    /// The queue, for taking buffers back after a reset.
    pub fn queue(&mut self) -> &mut Queue<P, B> {
        &mut self.queue
    }

    /// Writes what stands before the packet.
    #[inline]
    fn prepare(&self, buffer: &mut B, offload: &Offload) -> Result<(), RequestError> {
        let header = offload.header(self.facts.features)?;
        let len = buffer.bytes();
        let least = self.facts.header_len + ETHERNET;
        if len < least {
            return Err(RequestError::TooSmall { len, least });
        }
        if offload.cut.is_none() {
            self.check_len(buffer, len - self.facts.header_len)?;
        }
        if self.pair >= self.in_use.pairs.load(Ordering::Relaxed) {
            return Err(RequestError::Inactive);
        }
        if self.facts.header_len == size_of::<Header>() {
            // It has as many bytes, and more.
            let _ = buffer.write_at(0, header.as_bytes());
            return Ok(());
        }
        let mut before = [0; HEADER_MAX];
        before[..size_of::<Header>()].copy_from_slice(header.as_bytes());
        let before = before.get(..self.facts.header_len).unwrap_or_default();
        // As above.
        let _ = buffer.write_at(0, before);
        Ok(())
    }

    /// Whether the network carries a packet of `len` bytes (§5.1.4.2).
    fn check_len(&self, buffer: &B, len: usize) -> Result<(), RequestError> {
        let Some(mtu) = self.mtu().map(usize::from) else {
            return Ok(());
        };
        if len <= mtu + ETHERNET {
            return Ok(());
        }
        let mut kind = [0; 2];
        let read = buffer.read_at(self.facts.header_len + ETHERNET - 2, &mut kind);
        let tagged = read.is_ok() && matches!(kind, [0x81, 0] | [0x88, 0xa8]);
        let limit = mtu + ETHERNET + if tagged { TAG } else { 0 };
        match len <= limit {
            true => Ok(()),
            false => Err(RequestError::TooLarge { len, limit }),
        }
    }
}
