//! The device's end of a queue.
//!
//! Chains are taken in [batches](Queue::batch), against one [`Map`] of the memory that the driver
//! shares. Each descriptor is read once; a [`Chain`] is this end's own copy of what it said, every
//! run of bytes checked to lie in the map. A chain may be completed at once or kept for later, in
//! any order.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

use core::fmt;

use alloc::vec::Vec;
use ringway_spec::{F, Features};
use zerocopy::{FromBytes, IntoBytes};

use crate::driver::Areas;
use crate::map::{Found, Map, Segment};
use crate::shared::View;
use crate::{packed, split};

/// A chain that the driver made available, as this end read it.
///
/// To be given back with [`Batch::complete`]; a driver waits for ever for one that is dropped.
#[derive(Debug)]
#[must_use = "the driver waits for it to be completed"]
pub struct Chain {
    head: Head,
    /// First the readable ones, then the writable ones.
    segments: Vec<Segment>,
}

/// What is known of a chain beside its segments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    /// What the driver calls it.
    pub(crate) id: u16,
    /// How many descriptors of the ring it has, in the packed format; in the split format, 1: its
    /// place in the used ring.
    pub(crate) descriptors: u16,
    /// How many of its segments are readable.
    pub(crate) readable: u32,
    pub(crate) writable_bytes: u32,
}

impl Chain {
    /// What the driver wrote for the device. `map` is the one of the batch that the chain was taken
    /// in, or a newer one.
    pub fn readable<'m>(&'m self, map: &'m Map) -> Readable<'m> {
        Readable {
            cursor: Cursor::new(
                map,
                self.segments
                    .get(..self.head.readable as usize)
                    .unwrap_or_default(),
            ),
        }
    }

    /// Where the device answers.
    pub fn writable<'m>(&'m self, map: &'m Map) -> Writable<'m> {
        Writable {
            cursor: Cursor::new(
                map,
                self.segments
                    .get(self.head.readable as usize..)
                    .unwrap_or_default(),
            ),
        }
    }

    /// How many bytes the device may write.
    pub const fn writable_bytes(&self) -> u32 {
        self.head.writable_bytes
    }
}

/// A rule of the ring that the driver broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The size of the queue is 0, above what the device offers, or, of a split queue, not a power
    /// of two (§2.7, §2.8).
    Size(u16),
    /// An area of the ring does not lie in the driver's memory, or is not aligned (§2.7,
    /// §2.8.10.1).
    Area(u64),
    /// The available index moved past the size of the queue (§2.7.13.3).
    AvailableTooFar {
        /// How far it moved.
        moved: u16,
        /// The size of the queue.
        size: u16,
    },
    /// More chains, or descriptors of a packed ring, are in flight than the queue has descriptors
    /// (§2.7.13, §2.8.17).
    TooManyInFlight(u16),
    /// A descriptor's number is not below the size of its table (§2.7.5).
    DescriptorIndex {
        /// The number.
        index: u16,
        /// The descriptors of the table.
        size: u16,
    },
    /// A chain goes on at a descriptor of a packed ring that was not made available (§2.8.6,
    /// §2.8.15).
    NotAvailable(u16),
    /// A chain has more descriptors than the queue, or loops (§2.7.5, §2.7.5.3.1, §2.8.17).
    ChainTooLong(u16),
    /// A chain has more bytes than 2³² − 1 (§2.7.5).
    ChainTooLarge,
    /// A device-readable descriptor follows a device-writable one (§2.7.4.2).
    ReadableAfterWritable,
    /// A buffer does not lie in the driver's memory (§2.7.5).
    NotMapped {
        /// Its device address.
        address: u64,
        /// Its length in bytes.
        len: u32,
    },
    /// An indirect table without `INDIRECT_DESC` (§2.7.5.3.1).
    IndirectNotNegotiated,
    /// An indirect table within an indirect table (§2.7.5.3.1, §2.8.19).
    IndirectInIndirect,
    /// A descriptor with both INDIRECT and NEXT, or, on a packed ring, an indirect one in a list of
    /// several (§2.7.5.3.1, §2.8.19).
    IndirectWithNext,
    /// An indirect table whose length is 0, not a multiple of 16, or more than the size of the
    /// queue allows (§2.7.5.3.1).
    IndirectLength(u32),
    /// A request too short for what its type asks of it, or too long.
    Request(&'static str),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(
                f,
                "queue size {size} is none that the device offers (§2.7, §2.8)"
            ),
            Self::Area(address) => write!(
                f,
                "ring area at {address:#x} is not in memory, or misaligned (§2.7)"
            ),
            Self::AvailableTooFar { moved, size } => {
                write!(
                    f,
                    "available index moved by {moved} on a queue of {size} (§2.7.13.3)"
                )
            }
            Self::TooManyInFlight(size) => write!(f, "more than {size} chains in flight (§2.7.13)"),
            Self::DescriptorIndex { index, size } => {
                write!(f, "descriptor {index} of a table of {size} (§2.7.5)")
            }
            Self::NotAvailable(index) => write!(
                f,
                "chain goes on at descriptor {index}, which is not available (§2.8.6)"
            ),
            Self::ChainTooLong(size) => write!(
                f,
                "chain longer than the queue's {size} descriptors (§2.7.5)"
            ),
            Self::ChainTooLarge => f.write_str("chain has more than 2^32 - 1 bytes (§2.7.5)"),
            Self::ReadableAfterWritable => {
                f.write_str("readable descriptor after a writable one (§2.7.4.2)")
            }
            Self::NotMapped { address, len } => {
                write!(f, "{len} bytes at {address:#x} are not in memory (§2.7.5)")
            }
            Self::IndirectNotNegotiated => {
                f.write_str("indirect table was not negotiated (§2.7.5.3.1)")
            }
            Self::IndirectInIndirect => {
                f.write_str("indirect table in an indirect table (§2.7.5.3.1)")
            }
            Self::IndirectWithNext => {
                f.write_str("descriptor is both INDIRECT and NEXT (§2.7.5.3.1)")
            }
            Self::IndirectLength(len) => write!(f, "indirect table of {len} bytes (§2.7.5.3.1)"),
            Self::Request(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for Violation {}

/// The device's end of a queue.
#[derive(Debug)]
pub struct Queue {
    ring: Ring,
    /// Lists of segments that chains brought back, to be filled again: in steady state nothing is
    /// allocated.
    spare: Vec<Vec<Segment>>,
}

/// The format, chosen once by the negotiated features.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a queue is made once and stays where it is; another pointer would be followed by every verb"
)]
enum Ring {
    Split(split::device::Device),
    Packed(packed::device::Device),
}

/// Most lists of segments kept for re-use.
const SPARE_MAX: usize = 256;

impl Queue {
    /// The queue of `size` that the driver laid out at `areas`: packed with `RING_PACKED` among
    /// `features`, else split. `start` is how many chains (split) or descriptors (packed) went
    /// over it before, modulo 65,536: 0 after a reset.
    ///
    /// # Errors
    ///
    /// [`Violation::Size`] and [`Violation::Area`] if there can be no such queue.
    pub fn new(
        map: &Map,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
    ) -> Result<Self, Violation> {
        let ring = if features.contains(F::RING_PACKED) {
            let packed = packed::device::Device::new(map, size, areas, features, start)?;
            Ring::Packed(packed)
        } else {
            Ring::Split(split::device::Device::new(
                map, size, areas, features, start,
            )?)
        };
        Ok(Self {
            ring,
            spare: Vec::new(),
        })
    }

    /// How many descriptors the ring has.
    pub fn size(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.size(),
            Ring::Packed(ring) => ring.size(),
        }
    }

    /// Begins to serve, with buffers looked up in `map`.
    pub fn batch<'q>(&'q mut self, map: &'q Map) -> Batch<'q> {
        let left = self.size();
        Batch {
            queue: self,
            map,
            found: Found::default(),
            left,
        }
    }

    /// Whether the driver wants to be told of what was completed since this was last asked. Ask
    /// once for each batch.
    #[inline]
    pub fn interrupt_needed(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(ring) => ring.interrupt_needed(),
            Ring::Packed(ring) => ring.interrupt_needed(),
        }
    }

    /// Asks the driver to kick when it next makes a chain available. Says whether it has done so
    /// meanwhile: then serve first, for no kick may come.
    #[inline]
    pub fn arm(&mut self) -> bool {
        match &mut self.ring {
            Ring::Split(ring) => ring.arm(),
            Ring::Packed(ring) => ring.arm(),
        }
    }

    /// Asks the driver not to kick. A hint: one may still come.
    #[inline]
    pub fn disarm(&mut self) {
        match &mut self.ring {
            Ring::Split(ring) => ring.disarm(),
            Ring::Packed(ring) => ring.disarm(),
        }
    }

    /// How many chains were taken and not yet completed.
    pub fn in_flight(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.in_flight(),
            Ring::Packed(ring) => ring.in_flight(),
        }
    }

    /// The rule that the driver broke, if it has.
    pub fn violation(&self) -> Option<Violation> {
        match &self.ring {
            Ring::Split(ring) => ring.violation(),
            Ring::Packed(ring) => ring.violation(),
        }
    }
}

/// A queue being served, against one view of the driver's memory.
#[derive(Debug)]
pub struct Batch<'q> {
    queue: &'q mut Queue,
    map: &'q Map,
    /// The region found last.
    found: Found,
    /// Chains that may still be taken: a driver that never stops adding does not keep us here for
    /// ever.
    left: u16,
}

impl<'q> Batch<'q> {
    /// The view of memory against which chains are looked up.
    pub fn map(&self) -> &'q Map {
        self.map
    }

    /// Takes the next chain, walked and checked. A batch has at most as many chains as the queue
    /// has descriptors; what comes after is for the next batch.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the driver broke a rule. It is latched: the queue stays broken until reset.
    #[inline]
    pub fn next_chain(&mut self) -> Result<Option<Chain>, Violation> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let mut segments = self.queue.spare.pop().unwrap_or_default();
        segments.clear();
        let taken = match &mut self.queue.ring {
            Ring::Split(ring) => ring.next_chain(self.map, &mut self.found, &mut segments),
            Ring::Packed(ring) => ring.next_chain(self.map, &mut self.found, &mut segments),
        };
        if let Ok(Some(head)) = taken {
            return Ok(Some(Chain { head, segments }));
        }
        self.queue.spare.push(segments);
        taken.map(|_| None)
    }

    /// Gives a chain back, with the number of bytes written from its first writable byte on; no
    /// more than it has are claimed.
    #[inline]
    pub fn complete(&mut self, chain: Chain, written: u32) {
        let written = written.min(chain.head.writable_bytes);
        match &mut self.queue.ring {
            Ring::Split(ring) => ring.complete(chain.head.id, written),
            Ring::Packed(ring) => ring.complete(&chain.head, written),
        }
        if self.queue.spare.len() < SPARE_MAX {
            self.queue.spare.push(chain.segments);
        }
    }

    /// Latches a rule that the driver broke in what a chain asks, and returns it.
    pub fn violated(&mut self, violation: Violation) -> Violation {
        match &mut self.queue.ring {
            Ring::Split(ring) => ring.latch(violation),
            Ring::Packed(ring) => ring.latch(violation),
        }
    }
}

/// The chain has no such bytes, or the map no longer has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("chain is too short")
    }
}

impl core::error::Error for TooShort {}

/// The bytes of a chain that the device may read, taken from the front.
#[derive(Clone, Debug)]
pub struct Readable<'m> {
    cursor: Cursor<'m>,
}

impl Readable<'_> {
    /// How many bytes are left.
    pub fn remaining(&self) -> u64 {
        self.cursor.remaining
    }

    /// Copies the next bytes out, filling `into`.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left; none was taken.
    #[inline]
    pub fn read(&mut self, into: &mut [u8]) -> Result<(), TooShort> {
        let mut left = into;
        self.cursor.take(left.len() as u64, |view| {
            let (now, later) = core::mem::take(&mut left)
                .split_at_mut_checked(view.len())
                .ok_or(TooShort)?;
            left = later;
            view.read(0, now).map_err(|_| TooShort)
        })
    }

    /// Copies one value out.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer bytes are left than it has.
    #[inline]
    pub fn read_value<T: FromBytes + IntoBytes>(&mut self) -> Result<T, TooShort> {
        let mut value = T::new_zeroed();
        self.read(value.as_mut_bytes())?;
        Ok(value)
    }

    /// The next `len` bytes, apart.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left.
    pub fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        Ok(Self {
            cursor: self.cursor.split_front(len)?,
        })
    }
}

/// The bytes of a chain that the device may write, from the front.
#[derive(Debug)]
pub struct Writable<'m> {
    cursor: Cursor<'m>,
}

impl Writable<'_> {
    /// How many bytes are left.
    pub fn remaining(&self) -> u64 {
        self.cursor.remaining
    }

    /// Copies `from` into the next bytes.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left; none was written.
    #[inline]
    pub fn write(&mut self, from: &[u8]) -> Result<(), TooShort> {
        let mut left = from;
        self.cursor.take(left.len() as u64, |view| {
            let (now, later) = left.split_at_checked(view.len()).ok_or(TooShort)?;
            left = later;
            view.write(0, now).map_err(|_| TooShort)
        })
    }

    /// Sets the next `len` bytes to zero.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left; none was written.
    pub fn zero(&mut self, len: u64) -> Result<(), TooShort> {
        self.cursor.take(len, |view| {
            view.fill(0);
            Ok(())
        })
    }

    /// The next `len` bytes, apart.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left.
    pub fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        Ok(Self {
            cursor: self.cursor.split_front(len)?,
        })
    }
}

/// A place in a list of segments.
#[derive(Clone, Debug)]
struct Cursor<'m> {
    map: &'m Map,
    segments: &'m [Segment],
    /// Bytes of the first segment that were taken already.
    taken: usize,
    remaining: u64,
}

impl<'m> Cursor<'m> {
    fn new(map: &'m Map, segments: &'m [Segment]) -> Self {
        // A chain's bytes were found to be below 2³².
        let remaining = segments.iter().fold(0_u64, |sum, segment| {
            sum.wrapping_add(u64::from(segment.len))
        });
        Self {
            map,
            segments,
            taken: 0,
            remaining,
        }
    }

    /// Takes the next `len` bytes, one run after the other.
    #[inline]
    fn take(
        &mut self,
        len: u64,
        mut each: impl FnMut(View<'m>) -> Result<(), TooShort>,
    ) -> Result<(), TooShort> {
        if len > self.remaining {
            return Err(TooShort);
        }
        let mut left = len;
        // At most once for each segment, whose number the walk has bounded.
        while left != 0 {
            let (first, rest) = self.segments.split_first().ok_or(TooShort)?;
            let whole = self.map.view(first).ok_or(TooShort)?;
            let there = whole.len().wrapping_sub(self.taken);
            let now = usize::try_from(left).map_or(there, |left| left.min(there));
            each(whole.slice(self.taken, now).ok_or(TooShort)?)?;
            left = left.wrapping_sub(now as u64);
            self.remaining = self.remaining.wrapping_sub(now as u64);
            if now == there {
                self.segments = rest;
                self.taken = 0;
            } else {
                self.taken = self.taken.wrapping_add(now);
            }
        }
        Ok(())
    }

    fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        let mut front = self.clone();
        self.take(len, |_| Ok(()))?;
        front.remaining = len;
        Ok(front)
    }
}
