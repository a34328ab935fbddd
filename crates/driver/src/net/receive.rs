//! Packets that come in.

use alloc::vec::Vec;

use ringway_spec::Features;
use ringway_spec::net::{F, Header, ReportedHash};
use zerocopy::{FromZeros, IntoBytes};

use super::offload::Received;
use crate::dma::{Bytes, Counts, Queue, Rejected};
use crate::error::{Error, RequestError, Result};
use crate::interrupt::Signal;
use crate::platform::{Direction, Platform};

/// A receive queue of a card. A handle of its own: it may be sent to another thread, and shares no
/// lock with another.
///
/// It gives the device buffers that its caller supplies, and gives them back with packets in them.
/// Interrupts are off until [`arm`](Self::arm) asks for them.
#[derive(Debug)]
pub struct Receiver<P: Platform, B: Bytes> {
    queue: Queue<P, B>,
    features: Features,
    header_len: usize,
    /// Whether packets come with hashes, and whether in several buffers.
    has_hash: bool,
    is_mergeable: bool,
    /// The beginning of a packet whose other buffers were not seen yet.
    begun: Option<Begun<B>>,
    /// A buffer that found no room.
    spare: Option<B>,
    wakes: Wakes,
    malformed: u64,
}

/// A packet that was received.
#[derive(Debug)]
pub struct Packet<B> {
    /// What the device did, or left to do, with it.
    pub received: Received,
    /// The buffers that it is in, at least one, each with the number of its bytes that are filled.
    /// What stands before the packet is in the first.
    buffers: Buffers<B>,
    header_len: usize,
    len: usize,
}

/// How a look for packets went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burst {
    /// How many packets there were.
    pub packets: usize,
    /// More is waiting: look again, for no interrupt may come.
    pub more: bool,
    /// Its caller ran short of buffers: the device may be dropping packets.
    pub short: bool,
}

/// Buffers of one packet. Nearly always there is one, and nothing is allocated for it.
#[derive(Debug)]
struct Buffers<B> {
    first: (B, usize),
    more: Vec<(B, usize)>,
}

#[derive(Debug)]
struct Begun<B> {
    header: Header,
    hash: Option<ReportedHash>,
    buffers: Buffers<B>,
    /// How many more buffers belong to it.
    missing: u16,
}

/// Whether an interrupt is to tell of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wakes {
    Never,
    WhenEmpty,
}

impl<P: Platform, B: Bytes> Receiver<P, B> {
    pub(super) fn new(mut queue: Queue<P, B>, features: Features, header_len: usize) -> Self {
        queue.disarm();
        Self {
            queue,
            features,
            header_len,
            has_hash: features.contains(F::HASH_REPORT),
            is_mergeable: features.contains(F::MRG_RXBUF),
            begun: None,
            spare: None,
            wakes: Wakes::Never,
            malformed: 0,
        }
    }

    /// Gives the device as many buffers as it has room for, and tells it once. `supply` makes them,
    /// each of [`Facts::receive_bytes`](super::Facts::receive_bytes) at least, or, with `MRG_RXBUF`, of
    /// no fewer than stand before a packet. Says whether it ran short.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] if a buffer is too short, or in too many pieces: it is dropped.
    /// [`Error::Gone`] and its like if there is no device any more.
    pub fn fill(&mut self, mut supply: impl FnMut() -> Option<B>) -> Result<bool> {
        let short = self.add(&mut supply)?;
        self.queue.kick()?;
        Ok(short)
    }

    /// Looks for packets, `most` of them, and hands each to `each`. Buffers that became free are
    /// replaced by what `supply` makes, in one batch, of which the device is told once.
    ///
    /// Packets that cannot be are [counted](Self::malformed), and their buffers used again.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device broke a rule of the ring: reset it. Otherwise as
    /// [`fill`](Self::fill).
    #[inline]
    pub fn receive(
        &mut self,
        most: usize,
        mut each: impl FnMut(Packet<B>),
        mut supply: impl FnMut() -> Option<B>,
    ) -> Result<Burst> {
        // Should that have been forgotten.
        self.queue.kick()?;
        let mut burst = Burst::default();
        // No more than the device had at once: one that completes as fast as buffers come back keeps
        // nobody here.
        let mut looks = usize::from(self.queue.size());
        while burst.packets < most && looks != 0 {
            looks -= 1;
            let Some((buffer, written)) = self.queue.take()? else {
                burst.more = self.rest();
                break;
            };
            let written = written as usize;
            if self.is_plain(&buffer, written) {
                burst.packets += 1;
                each(Packet {
                    received: Received::default(),
                    buffers: Buffers {
                        first: (buffer, written),
                        more: Vec::new(),
                    },
                    header_len: self.header_len,
                    // It has what stands before the packet.
                    len: written - self.header_len,
                });
            } else if let Some(packet) = self.take(buffer, written)? {
                burst.packets += 1;
                each(packet);
            }
        }
        burst.more |= burst.packets == most || looks == 0;
        if self.is_hungry() {
            burst.short = self.fill(&mut supply)?;
        }
        Ok(burst)
    }

    /// Has an interrupt tell of the next packet, and, from here on, of the next one after each look
    /// that found no more: [`receive`](Self::receive) asks for it again and closes the race. Says
    /// whether there are packets now: look then, for none may come.
    pub fn arm(&mut self) -> bool {
        self.wakes = Wakes::WhenEmpty;
        self.queue.arm()
    }

    /// Asks for no interrupts.
    pub fn disarm(&mut self) {
        self.wakes = Wakes::Never;
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

    /// How many buffers the device has.
    pub fn in_flight(&self) -> u16 {
        self.queue.in_flight()
    }

    /// How many packets were dropped since what stood before them could not be.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// What went over the queue, in buffers.
    pub fn counts(&self) -> Counts {
        self.queue.counts()
    }

    /// The queue, for taking buffers back after a reset.
    pub fn queue(&mut self) -> &mut Queue<P, B> {
        &mut self.queue
    }

    /// Whether it is worth while to give the device buffers: for many at once, or since it has few.
    fn is_hungry(&self) -> bool {
        /// Buffers that are worth a batch of their own.
        const BATCH: u16 = 16;
        let (size, held) = (self.queue.size(), self.queue.in_flight());
        let free = size.saturating_sub(held);
        free >= BATCH.min(size.div_ceil(2)) || held <= free
    }

    fn add(&mut self, supply: &mut impl FnMut() -> Option<B>) -> Result<bool> {
        // What stands before a packet is in one (§5.1.9.3.1).
        let least = self.header_len;
        // Ends when the ring is full: every turn takes a descriptor at least.
        while self.queue.in_flight() < self.queue.size() {
            let Some(buffer) = self.spare.take().or_else(&mut *supply) else {
                return Ok(true);
            };
            if buffer.bytes() < least {
                let len = buffer.bytes();
                return Err(RequestError::TooSmall { len, least }.into());
            }
            if !self.give(buffer)? {
                break;
            }
        }
        Ok(false)
    }

    /// Gives the device a buffer. Says whether there was room for it: if not, it is kept for later.
    #[inline(always)]
    fn give(&mut self, buffer: B) -> Result<bool> {
        match self.queue.give(buffer, Direction::FromDevice) {
            Ok(_) => Ok(true),
            Err(Rejected {
                why: Error::QueueFull | Error::PoolFull,
                data,
            }) => {
                self.spare = data.buffer();
                Ok(false)
            }
            Err(rejected) => Err(rejected.why),
        }
    }

    /// Nothing is there: asks for an interrupt, if one is wanted. Says whether something came
    /// meanwhile.
    fn rest(&mut self) -> bool {
        match self.wakes {
            Wakes::WhenEmpty => self.queue.arm(),
            Wakes::Never => false,
        }
    }

    /// Whether a buffer of which `written` bytes were filled is a packet for itself of which there is
    /// nothing to say: what most are.
    #[inline(always)]
    fn is_plain(&self, buffer: &B, written: usize) -> bool {
        if self.begun.is_some() || self.has_hash || written < self.header_len {
            return false;
        }
        let mut header = Header::new_zeroed();
        let is_modern = self.header_len == size_of::<Header>();
        is_modern
            && buffer.read_at(0, header.as_mut_bytes()).is_ok()
            && header.is_plain()
            && (!self.is_mergeable || header.num_buffers.get() == 1)
    }

    /// Takes a buffer of which `written` bytes were filled. Yields the packet that it completes.
    #[inline(never)]
    fn take(&mut self, buffer: B, written: usize) -> Result<Option<Packet<B>>> {
        if self.begun.is_some() {
            return self.go_on(buffer, written);
        }
        let Some((header, hash)) = self.before(&buffer, written) else {
            return self.refuse([buffer]).map(|()| None);
        };
        let count = match self.features.contains(F::MRG_RXBUF) {
            true => header.num_buffers.get(),
            false => 1,
        };
        let buffers = Buffers {
            first: (buffer, written),
            more: Vec::new(),
        };
        if count == 1 {
            return self.whole(&header, hash.as_ref(), buffers, written);
        }
        // No packet has more buffers than the device ever had.
        if count == 0 || count > self.queue.size() {
            return self.refuse(buffers.into_iter()).map(|()| None);
        }
        self.begun = Some(Begun {
            header,
            hash,
            buffers,
            missing: count - 1,
        });
        Ok(None)
    }

    /// Takes one more buffer of a packet that has begun.
    #[inline(never)]
    fn go_on(&mut self, buffer: B, written: usize) -> Result<Option<Packet<B>>> {
        let Some(mut begun) = self.begun.take() else {
            return Ok(None);
        };
        begun.buffers.more.push((buffer, written));
        begun.missing -= 1;
        if begun.missing != 0 {
            self.begun = Some(begun);
            return Ok(None);
        }
        let bytes = begun.buffers.bytes();
        self.whole(&begun.header, begun.hash.as_ref(), begun.buffers, bytes)
    }

    /// A packet whose buffers are all there, of which `bytes` were filled.
    fn whole(
        &mut self,
        header: &Header,
        hash: Option<&ReportedHash>,
        buffers: Buffers<B>,
        bytes: usize,
    ) -> Result<Option<Packet<B>>> {
        // The first has what stands before the packet, `before` has seen.
        let len = bytes - self.header_len;
        match Received::of(header, hash, len, self.features) {
            Some(received) => Ok(Some(Packet {
                received,
                buffers,
                header_len: self.header_len,
                len,
            })),
            None => self.refuse(buffers.into_iter()).map(|()| None),
        }
    }

    /// What stands before a packet, of which this is the first buffer. None if it cannot be one.
    #[inline]
    fn before(&self, buffer: &B, written: usize) -> Option<(Header, Option<ReportedHash>)> {
        if written < self.header_len {
            return None;
        }
        let mut header = Header::new_zeroed();
        if self.header_len >= size_of::<Header>() {
            buffer.read_at(0, header.as_mut_bytes()).ok()?;
        } else {
            let bytes = header.as_mut_bytes().get_mut(..self.header_len)?;
            buffer.read_at(0, bytes).ok()?;
        }
        if !self.features.contains(F::HASH_REPORT) {
            return Some((header, None));
        }
        let mut hash = ReportedHash::new_zeroed();
        let at = size_of::<Header>();
        buffer.read_at(at, hash.as_mut_bytes()).ok()?;
        Some((header, Some(hash)))
    }

    /// Drops a packet: its buffers are for others.
    #[cold]
    fn refuse(&mut self, buffers: impl IntoIterator<Item = B>) -> Result<()> {
        self.malformed += 1;
        for buffer in buffers {
            self.give(buffer)?;
        }
        Ok(())
    }
}

impl<B> Buffers<B> {
    fn bytes(&self) -> usize {
        self.iter().map(|(_, len)| len).sum()
    }

    fn iter(&self) -> impl Iterator<Item = (&B, usize)> {
        let first = core::iter::once(&self.first);
        first.chain(&self.more).map(|(buffer, len)| (buffer, *len))
    }

    fn into_iter(self) -> impl Iterator<Item = B> {
        let first = core::iter::once(self.first);
        first.chain(self.more).map(|(buffer, _)| buffer)
    }
}

impl<B> Packet<B> {
    /// Bytes of the packet, from its Ethernet header on.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is: buffers, in order, and which of their bytes.
    pub fn pieces(&self) -> impl Iterator<Item = (&B, core::ops::Range<usize>)> {
        let mut begin = self.header_len;
        self.buffers.iter().map(move |(buffer, len)| {
            let range = begin.min(len)..len;
            begin = 0;
            (buffer, range)
        })
    }

    /// The one buffer that it is in, beginning at [`Facts::header_len`](super::Facts::header_len).
    ///
    /// # Errors
    ///
    /// Itself, if it is in several.
    pub fn into_single(self) -> Result<B, Self> {
        if self.buffers.more.is_empty() {
            Ok(self.buffers.first.0)
        } else {
            Err(self)
        }
    }

    /// The buffers that it was in, to be used again.
    pub fn into_buffers(self) -> impl Iterator<Item = B> {
        self.buffers.into_iter()
    }
}

impl<B: Bytes> Packet<B> {
    /// Copies the packet to the beginning of `into`, as much as there is room for, and yields that.
    pub fn copy_to<'i>(&self, into: &'i mut [u8]) -> &'i mut [u8] {
        let mut done = 0;
        for (buffer, range) in self.pieces() {
            let room = into.get_mut(done..).unwrap_or_default();
            let now = range.len().min(room.len());
            let to = room.get_mut(..now).unwrap_or_default();
            if buffer.read_at(range.start, to).is_err() {
                break;
            }
            done += now;
        }
        into.get_mut(..done).unwrap_or_default()
    }
}
