//! The device's end of a queue.
//!
//! Chains are taken in [batches](Queue::batch), against one view of the memory that the driver
//! shares, [`Regions`]. Each descriptor is read once; a [`Chain`] is this end's own copy of what it
//! said, every run of bytes checked to lie in memory. A chain may be completed at once or kept for
//! later, in any order; with `IN_ORDER` the queue gives chains back in the order in which it took
//! them. The driver sees what was completed when the batch ends, or is [published](Batch::publish).
//!
//! The segments of chains are in a [`Slab`]: on the heap, or in an array that the caller lends.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

#[cfg(feature = "alloc")]
mod rest;

use core::fmt;
use core::sync::atomic::{AtomicU32, Ordering};

#[cfg(feature = "alloc")]
use alloc::{boxed::Box, vec::Vec};

use ringway_spec::{F, Features};

#[cfg(feature = "alloc")]
use crate::chain::Walked;
use crate::driver::Areas;
use crate::in_order::InOrder;
#[cfg(feature = "alloc")]
use crate::kept::Kept;
use crate::map::{Access, Missing, Regions};
#[cfg(feature = "alloc")]
use crate::slab::Block;
use crate::slab::{Blocks, Slab};
use crate::walk::{Look, Stop};
use crate::{packed, split};

pub use crate::chain::{Chain, Plain, Readable, Run, TooShort, Writable};

/// A rule of the ring that the driver broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The size of the queue is 0, above what the device offers, or, of a split queue, not a power
    /// of two (§2.7, §2.8).
    Size(u16),
    /// The queue is to begin where it cannot: beyond the end of a packed ring, or with more chains in
    /// flight than there can be (§2.7, §2.8).
    Start(u16),
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
    /// A chain needs more room for its segments than the device has in all: see
    /// [`Slab`].
    TooManySegments,
    /// A device-readable descriptor follows a device-writable one (§2.7.4.2).
    ReadableAfterWritable,
    /// A buffer does not lie in the driver's memory (§2.7.5).
    NotMapped {
        /// Its device address.
        address: u64,
        /// Its length in bytes.
        len: u32,
    },
    /// A buffer is to be read or written where the driver's IOMMU does not permit it (§2.7.5).
    Forbidden {
        /// Its device address.
        address: u64,
        /// What is not permitted.
        access: Access,
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
    /// Memory that the driver shares went away under the device.
    MemoryLost,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(
                f,
                "queue size {size} is none that the device offers (§2.7, §2.8)"
            ),
            Self::Start(position) => write!(
                f,
                "queue cannot begin at {position:#x} with what is in flight (§2.7, §2.8)"
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
            Self::TooManySegments => {
                f.write_str("chain has more segments than the device has room for in all")
            }
            Self::ReadableAfterWritable => {
                f.write_str("readable descriptor after a writable one (§2.7.4.2)")
            }
            Self::NotMapped { address, len } => {
                write!(f, "{len} bytes at {address:#x} are not in memory (§2.7.5)")
            }
            Self::Forbidden { address, access } => {
                let what = if access == &Access::Read {
                    "read"
                } else {
                    "written"
                };
                write!(f, "memory at {address:#x} is not to be {what} (§2.7.5)")
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
            Self::MemoryLost => f.write_str("memory of the driver went away under the device"),
        }
    }
}

impl core::error::Error for Violation {}

/// What is written for the driver at once: a chain, or with `IN_ORDER` a run of chains that ends
/// with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// What the driver calls the chain.
    pub(crate) id: u16,
    pub(crate) written: u32,
    /// How many places the used ring goes on by: a chain's descriptors of the ring, in the packed
    /// format; in the split format, 1.
    pub(crate) places: u16,
}

/// The device's end of a queue, whose chains have their segments in a slab `S`.
#[derive(Debug)]
pub struct Queue<#[cfg(feature = "alloc")] S = Vec<Block>, #[cfg(not(feature = "alloc"))] S> {
    pub(crate) ring: Ring,
    blocks: Blocks<S>,
    pub(crate) books: Books,
    /// Whether a chain waits in the ring because the slab had no room for it when the last batch looked.
    starved: bool,
    /// What a chain waits for in the ring, to be shown to the device.
    missing: Option<Missing>,
    /// Of all queues that there were. Chains know it.
    number: u32,
    /// The number of the region in which the last batch found something last: the next one will
    /// most likely too.
    region: u32,
}

/// How many queues there were, so that none takes a chain of another for its own.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What is kept of chains, beside their segments.
#[derive(Debug)]
pub(crate) enum Books {
    /// Nothing: they are given back as they are completed.
    None,
    /// Their order, in which they are to be given back.
    InOrder(InOrder),
    /// A record for others, too.
    #[cfg(feature = "alloc")]
    Ledger(Box<Kept>),
}

/// The format, chosen once by the negotiated features.
#[derive(Debug)]
#[cfg_attr(
    feature = "alloc",
    expect(
        clippy::large_enum_variant,
        reason = "a queue is made once and stays where it is; another pointer would be followed by every verb"
    )
)]
pub(crate) enum Ring {
    Split(split::device::Device),
    Packed(packed::device::Device),
}

#[cfg(feature = "alloc")]
impl Queue {
    /// The queue of `size` that the driver laid out at `areas`, with its slab on the heap: packed
    /// with `RING_PACKED` among `features`, else split. `start` is how many chains (split) or
    /// descriptors (packed) went over it before, modulo 65,536: 0 after a reset.
    ///
    /// # Errors
    ///
    /// [`Violation::Size`] and [`Violation::Area`] if there can be no such queue.
    pub fn new<'m>(
        regions: impl Into<Regions<'m>>,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
    ) -> Result<Self, Violation> {
        Self::with_slab(regions, size, areas, features, start, Vec::new())
    }
}

impl<S: Slab> Queue<S> {
    /// The queue of `size` that the driver laid out at `areas`, with `slab` for the segments of its
    /// chains, else as with [`new`](Queue::new).
    ///
    /// # Errors
    ///
    /// [`Violation::Size`] and [`Violation::Area`] if there can be no such queue.
    pub fn with_slab<'m>(
        regions: impl Into<Regions<'m>>,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
        slab: S,
    ) -> Result<Self, Violation> {
        let start = if features.contains(F::RING_PACKED) {
            packed::Position::after(start, size).to_bits()
        } else {
            start
        };
        Self::at(regions.into(), size, areas, features, start, slab)
    }

    /// The same, beginning at the [position](Self::position) `start`.
    pub(crate) fn at(
        regions: Regions<'_>,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
        slab: S,
    ) -> Result<Self, Violation> {
        let ring = if features.contains(F::RING_PACKED) {
            let packed = packed::device::Device::new(regions, size, areas, features, start)?;
            Ring::Packed(packed)
        } else {
            let split = split::device::Device::new(regions, size, areas, features, start)?;
            Ring::Split(split)
        };
        let books = if features.contains(F::IN_ORDER) {
            Books::InOrder(InOrder::new())
        } else {
            Books::None
        };
        Ok(Self {
            ring,
            blocks: Blocks::new(slab),
            books,
            starved: false,
            missing: None,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            region: 0,
        })
    }

    /// How many descriptors the ring has.
    pub fn size(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.size(),
            Ring::Packed(ring) => ring.size(),
        }
    }

    /// Where the next chain will be taken: in a split ring, the available index; in a packed one, the
    /// place of the descriptor, and in bit 15 the wrap counter, as in a notification (§2.9). With
    /// nothing in flight it is also where the next one will be given back.
    pub fn position(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.position(),
            Ring::Packed(ring) => ring.position(),
        }
    }

    /// Where the next chain will be given back, said as a [position](Self::position) is. Whoever begins
    /// there takes the chains that are in flight again, as long as none was completed that was taken
    /// after one of them.
    pub fn used_position(&self) -> u16 {
        match &self.ring {
            Ring::Split(ring) => ring.used_position(),
            Ring::Packed(ring) => ring.used_position(),
        }
    }

    /// Begins to serve, with buffers looked up in `regions`.
    #[inline]
    pub fn batch<'q>(&'q mut self, regions: impl Into<Regions<'q>>) -> Batch<'q, S> {
        let left = match &self.ring {
            Ring::Split(ring) => ring.size().saturating_sub(ring.seen()),
            Ring::Packed(ring) => ring.size(),
        };
        self.begin(regions.into(), left)
    }

    /// Begins to serve as [`batch`](Self::batch) does, and takes no chain of the driver's that was not
    /// taken before, by this device or by the one in whose place it [goes on](Queue::resume): for a
    /// device that is to stop. What is left there is found by a later batch.
    pub fn last_batch<'q>(&'q mut self, regions: impl Into<Regions<'q>>) -> Batch<'q, S> {
        let resuming = self.books.resuming();
        let left = match &mut self.ring {
            Ring::Split(ring) => {
                if resuming == 0 {
                    ring.forget_seen();
                }
                0
            }
            Ring::Packed(_) => resuming,
        };
        self.begin(regions.into(), left)
    }

    #[inline]
    fn begin<'q>(&'q mut self, regions: Regions<'q>, left: u16) -> Batch<'q, S> {
        (self.starved, self.missing) = (false, None);
        let look = Look {
            regions,
            found: regions.guess(self.region),
            left,
            why: None,
        };
        Batch { queue: self, look }
    }

    /// Whether the driver wants to be told of what was completed since this was last asked. Ask
    /// once for each batch.
    #[inline]
    pub fn interrupt_needed(&mut self) -> bool {
        self.publish();
        match &mut self.ring {
            Ring::Split(ring) => ring.interrupt_needed(),
            Ring::Packed(ring) => ring.interrupt_needed(),
        }
    }

    /// Asks the driver to kick when it next makes a chain available. Says whether it has done so
    /// meanwhile: then serve first, for no kick may come.
    ///
    /// While a chain waits in the ring because the slab has no room for it, the answer is no: look
    /// again after a kept chain was completed. Likewise while it waits for what is
    /// [missing](Self::missing).
    #[inline]
    pub fn arm(&mut self) -> bool {
        self.publish();
        let came = match &mut self.ring {
            Ring::Split(ring) => ring.arm(),
            Ring::Packed(ring) => ring.arm(),
        };
        self.books.wished();
        came && !self.starved && self.missing.is_none()
    }

    /// Asks the driver not to kick. A hint: one may still come.
    #[inline]
    pub fn disarm(&mut self) {
        match &mut self.ring {
            Ring::Split(ring) => ring.disarm(),
            Ring::Packed(ring) => ring.disarm(),
        }
        self.books.wished();
    }

    /// How many chains were taken and not yet completed.
    pub fn in_flight(&self) -> u16 {
        let of_ring = match &self.ring {
            Ring::Split(ring) => ring.in_flight(),
            Ring::Packed(ring) => ring.in_flight(),
        };
        let in_order = match &self.books {
            Books::None => None,
            Books::InOrder(in_order) => Some(in_order),
            #[cfg(feature = "alloc")]
            Books::Ledger(kept) => kept.in_order.as_ref(),
        };
        // The ring does not know which of those that are not given back were completed.
        in_order.map_or(of_ring, InOrder::in_flight)
    }

    /// What the next chain names that the device was not shown yet, if the last batch ended with that.
    /// Serve again when it was.
    pub fn missing(&self) -> Option<Missing> {
        self.missing
    }

    /// The rule that the driver broke, if it has.
    pub fn violation(&self) -> Option<Violation> {
        match &self.ring {
            Ring::Split(ring) => ring.violation(),
            Ring::Packed(ring) => ring.violation(),
        }
    }

    /// Lets the driver see what was completed.
    #[inline]
    fn publish(&mut self) {
        let ring = &mut self.ring;
        if let Some(in_order) = self.books.in_order() {
            in_order.give_back(|used| ring.put(used));
        }
        let is_new = match ring {
            Ring::Split(ring) => ring.publish(),
            Ring::Packed(ring) => ring.publish(),
        };
        if is_new {
            self.books.published();
        }
    }

    fn latch(&mut self, violation: Violation) -> Violation {
        match &mut self.ring {
            Ring::Split(ring) => ring.latch(violation),
            Ring::Packed(ring) => ring.latch(violation),
        }
    }
}

impl Books {
    #[inline]
    fn in_order(&mut self) -> Option<&mut InOrder> {
        match self {
            Self::None => None,
            Self::InOrder(in_order) => Some(in_order),
            #[cfg(feature = "alloc")]
            Self::Ledger(kept) => kept.in_order.as_mut(),
        }
    }

    /// How many chains that a device before had taken are still to be taken again.
    fn resuming(&self) -> u16 {
        match self {
            #[cfg(feature = "alloc")]
            Self::Ledger(kept) => kept.resuming(),
            _ => 0,
        }
    }

    #[inline]
    fn published(&mut self) {
        #[cfg(feature = "alloc")]
        if let Self::Ledger(kept) = self {
            kept.ledger.published();
        }
    }

    #[inline]
    fn wished(&mut self) {
        #[cfg(feature = "alloc")]
        if let Self::Ledger(kept) = self {
            kept.ledger.wished();
        }
    }
}

impl Ring {
    /// Writes what was used, for the driver to find it when it is published.
    #[inline]
    pub(crate) fn put(&mut self, used: Used) {
        match self {
            Self::Split(ring) => ring.put(used),
            Self::Packed(ring) => ring.put(used),
        }
    }
}

/// A queue being served, against one view of the driver's memory. The driver sees what was
/// completed when it is dropped.
#[derive(Debug)]
pub struct Batch<
    'q,
    #[cfg(feature = "alloc")] S: Slab = Vec<Block>,
    #[cfg(not(feature = "alloc"))] S: Slab,
> {
    queue: &'q mut Queue<S>,
    look: Look<'q>,
}

impl<'q, S: Slab> Batch<'q, S> {
    /// The view of memory against which chains are looked up.
    pub fn regions(&self) -> Regions<'q> {
        self.look.regions
    }

    /// Takes the next chain, walked and checked. A batch has at most as many chains as the queue
    /// has descriptors; what comes after is for the next batch.
    ///
    /// There is none either while chains that were kept leave no room for its segments: look again
    /// after one of them was completed.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the driver broke a rule. It is latched: the queue stays broken until reset.
    #[inline(always)]
    pub fn next_chain(&mut self) -> Result<Option<Chain>, Violation> {
        let queue = &mut *self.queue;
        let taken = match &mut queue.ring {
            Ring::Split(ring) => ring.next_chain(&mut self.look, &mut queue.blocks),
            Ring::Packed(ring) => ring.next_chain(&mut self.look, &mut queue.blocks),
        };
        let Some(walked) = taken else {
            return self.nothing_taken().map(|()| None);
        };
        match &mut queue.books {
            Books::None => {}
            Books::InOrder(in_order) => in_order.taken(&mut queue.blocks, walked.first),
            #[cfg(feature = "alloc")]
            Books::Ledger(kept) => {
                // By value: a reference would have the chain of every queue in memory.
                let (id, descriptors) = (walked.id, walked.descriptors.get());
                kept.taken(
                    &mut queue.blocks,
                    &queue.ring,
                    walked.first,
                    id,
                    descriptors,
                );
            }
        }
        let queue = queue.number;
        Ok(Some(Chain { walked, queue }))
    }

    /// Serves the next chain at once, in few steps, if it is there, is [`Plain`], and comes after no
    /// chain that it has to wait for. `serve` says how many bytes it wrote; with none said, the chain is
    /// left where it is. Says whether a chain was served: if not, look for one by
    /// [`next_chain`](Self::next_chain), which finds every kind, and what is wrong with some.
    ///
    /// The driver sees it as if it were [completed](Self::complete).
    #[inline(always)]
    pub fn serve_next(&mut self, serve: impl FnOnce(Plain<'q>) -> Option<u32>) -> bool {
        let queue = &mut *self.queue;
        let waits = match &queue.books {
            Books::None => false,
            Books::InOrder(in_order) => !in_order.is_empty(),
            #[cfg(feature = "alloc")]
            Books::Ledger(_) => true,
        };
        if waits {
            return false;
        }
        let peeked = match &mut queue.ring {
            Ring::Split(ring) => ring.peek(&mut self.look),
            Ring::Packed(ring) => ring.peek(&mut self.look),
        };
        let Some((plain, id)) = peeked else {
            return false;
        };
        let writable_bytes = plain.writable_bytes();
        let Some(written) = serve(plain) else {
            return false;
        };
        match &mut queue.ring {
            Ring::Split(ring) => ring.take_peeked(),
            Ring::Packed(ring) => ring.take_peeked(&mut self.look),
        }
        let used = Used {
            id,
            written: written.min(writable_bytes),
            places: 1,
        };
        let used = match &mut queue.books {
            Books::InOrder(in_order) => in_order.done_at_once(used, writable_bytes),
            _ => Some(used),
        };
        if let Some(used) = used {
            queue.ring.put(used);
        }
        true
    }

    /// What the driver wrote for the device in `chain`, which was taken in this batch or an earlier
    /// one.
    pub fn readable(&self, chain: &Chain) -> Readable<'_> {
        Readable::new(chain, self.look.regions, &self.queue.blocks)
    }

    /// Where the device answers in `chain`, which was taken in this batch or an earlier one.
    pub fn writable(&self, chain: &Chain) -> Writable<'_> {
        Writable::new(chain, self.look.regions, &self.queue.blocks)
    }

    /// Gives a chain back, with the number of bytes written from its first writable byte on; no
    /// more than it has are claimed. The driver sees it when the batch ends or is
    /// [published](Self::publish); with `IN_ORDER`, not before those that were taken earlier.
    #[inline(always)]
    pub fn complete(&mut self, chain: Chain, written: u32) {
        let queue = &mut *self.queue;
        let Chain {
            walked,
            queue: number,
        } = chain;
        if number != queue.number {
            // Of another queue, or of this one before it was made anew.
            return;
        }
        // Each was counted when it was taken, and is given back once: it is moved here.
        let used = Used {
            // As they came.
            id: walked.id as u16,
            written: written.min(walked.writable_bytes),
            places: walked.descriptors.get() as u16,
        };
        match &mut queue.books {
            Books::InOrder(in_order) => {
                let ring = &mut queue.ring;
                in_order.done(
                    &mut queue.blocks,
                    &walked,
                    used,
                    |_| {},
                    |used| ring.put(used),
                );
            }
            Books::None => {
                queue.blocks.give(walked.first, walked.last);
                queue.ring.put(used);
            }
            #[cfg(feature = "alloc")]
            Books::Ledger(kept) => {
                // By value, field by field, as above.
                let walked = Walked {
                    first: walked.first,
                    last: walked.last,
                    id: walked.id,
                    descriptors: walked.descriptors,
                    readable_bytes: walked.readable_bytes,
                    writable_bytes: walked.writable_bytes,
                };
                kept.completed(&mut queue.blocks, &mut queue.ring, &walked, used);
            }
        }
    }

    /// Lets the driver see what was completed, before the batch ends: for a device that has long to
    /// do for the next chain.
    #[inline]
    pub fn publish(&mut self) {
        self.queue.publish();
    }

    /// Latches a rule that the driver broke in what a chain asks, and returns it.
    pub fn violated(&mut self, violation: Violation) -> Violation {
        self.queue.latch(violation)
    }

    /// Sees why there was no chain, or one that was not taken.
    #[cold]
    fn nothing_taken(&mut self) -> Result<(), Violation> {
        let queue = &mut *self.queue;
        match self.look.why.take() {
            None => Ok(()),
            Some(Stop::Violation(violation)) => Err(queue.latch(violation)),
            // No chain has a block.
            Some(Stop::NoRoom) if queue.in_flight() == 0 => {
                Err(queue.latch(Violation::TooManySegments))
            }
            Some(Stop::NoRoom) => {
                queue.starved = true;
                Ok(())
            }
            Some(Stop::Missing(missing)) => {
                queue.missing = Some(missing);
                Ok(())
            }
        }
    }
}

impl<S: Slab> Drop for Batch<'_, S> {
    #[inline]
    fn drop(&mut self) {
        self.queue.region = self.look.found.region;
        self.queue.publish();
    }
}
