//! Where a device's end keeps the segments of its chains: blocks of a few segments each, on a list
//! of free ones, by index.
//!
//! The free blocks are linked in the order in which they will be taken, so a chain that is being
//! walked fills them where they are; only when it was found good do they leave the list.

use core::fmt;

#[cfg(feature = "alloc")]
use alloc::vec::Vec;

use crate::device::Used;
use crate::map::Segment;

/// Segments of a block: with the rest, it has the size of two cache lines.
pub(crate) const BLOCK_SEGMENTS: usize = 6;

/// Most blocks of a slab, so that they have 16-bit numbers: 8 MiB, against a driver that has a
/// device hold the longest chains there can be. What is beyond it in a slab is not used.
pub const BLOCKS_MAX: usize = 65_535;

/// A place for a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) block: u16,
    /// How many segments of the block are before it: all of them, for the first one of the next
    /// block.
    pub(crate) within: u8,
}

/// No block: [`BLOCKS_MAX`] makes it one that no slab has.
pub(crate) const NONE: u16 = u16::MAX;

/// Room for a few segments of a chain.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub struct Block {
    pub(crate) segments: [Segment; BLOCK_SEGMENTS],
    /// The next block of the chain, or of the free ones; [`NONE`] after the last.
    pub(crate) next: u16,
    /// In a queue that gives chains back in order, of the chain that begins with this block: the
    /// first block of the one that was taken next.
    pub(crate) following: u16,
    /// And what is to be said of it, once it is done.
    pub(crate) done: Option<Done>,
}

/// A chain with which the device is done, and others that were taken earlier are not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) used: Used,
    /// Whether all its writable bytes were written: the driver may take that for granted.
    pub(crate) is_whole: bool,
}

const _: () = assert!(size_of::<Block>() == 128);

impl Block {
    /// One that holds nothing.
    pub const EMPTY: Self = Self {
        segments: [Segment::EMPTY; BLOCK_SEGMENTS],
        next: NONE,
        following: NONE,
        done: None,
    };
}

impl Default for Block {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Block")
    }
}

/// Who has the blocks of a queue.
///
/// A chain takes one block, and another for every six segments beyond its first six. A queue
/// whose driver uses no indirect tables needs no more blocks than it has descriptors. While there
/// is no room, chains wait in the ring.
pub trait Slab: sealed::Sealed {
    /// The blocks that there are, at most [`BLOCKS_MAX`]. None of them ever goes.
    fn blocks(&self) -> &[Block];

    /// The same, to be written.
    fn blocks_mut(&mut self) -> &mut [Block];

    /// Adds blocks. Does nothing if there are to be no more.
    fn grow(&mut self) {}
}

mod sealed {
    /// Of a slab that never has more than so many blocks, and never fewer than it had.
    pub trait Sealed {}
    impl Sealed for &mut [super::Block] {}
    #[cfg(feature = "alloc")]
    impl Sealed for alloc::vec::Vec<super::Block> {}
}

/// Of an array, whose first [`BLOCKS_MAX`] blocks are used.
impl Slab for &mut [Block] {
    #[inline]
    fn blocks(&self) -> &[Block] {
        self.get(..BLOCKS_MAX).unwrap_or(self)
    }

    #[inline]
    fn blocks_mut(&mut self) -> &mut [Block] {
        let most = self.len().min(BLOCKS_MAX);
        self.get_mut(..most).unwrap_or_default()
    }
}

/// Grows as it is used, up to [`BLOCKS_MAX`] blocks.
#[cfg(feature = "alloc")]
impl Slab for Vec<Block> {
    #[inline]
    fn blocks(&self) -> &[Block] {
        self
    }

    #[inline]
    fn blocks_mut(&mut self) -> &mut [Block] {
        self
    }

    fn grow(&mut self) {
        /// Blocks at first.
        const LEAST: usize = 8;
        let len = self.len().saturating_mul(2).clamp(LEAST, BLOCKS_MAX);
        let more = len.saturating_sub(self.len());
        if self.try_reserve_exact(more).is_ok() {
            self.resize(len.max(self.len()), Block::EMPTY);
        }
    }
}

/// The blocks of a queue, and which of them are free.
#[derive(Debug)]
pub(crate) struct Blocks<S> {
    slab: S,
    /// The first free one.
    free: u16,
    /// How many were ever used. Those after them are free too, and not linked.
    fresh: u16,
}

impl<S: Slab> Blocks<S> {
    /// All of `slab`, free.
    pub(crate) fn new(slab: S) -> Self {
        Self {
            slab,
            free: NONE,
            fresh: 0,
        }
    }

    /// Free ones and others.
    pub(crate) fn all(&self) -> &[Block] {
        self.slab.blocks()
    }

    /// Block `index`, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self, index: u16) -> Option<&Block> {
        self.slab.blocks().get(usize::from(index))
    }

    /// Block `index`, if there is one, to be written.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: u16) -> Option<&mut Block> {
        self.slab.blocks_mut().get_mut(usize::from(index))
    }

    /// The first free block, if there is one or can be. It stays free until [`take`](Self::take).
    #[inline(always)]
    pub(crate) fn first(&mut self) -> Option<u16> {
        if self.get(self.free).is_none() {
            self.free = self.unused()?;
        }
        Some(self.free)
    }

    /// The `most` places for segments from `at` on, as far as they are in the same block.
    pub(crate) fn room(&mut self, at: At, most: u16) -> Option<&mut [Segment]> {
        let block = self.get_mut(at.block)?;
        let end = usize::from(at.within).wrapping_add(most.into());
        block
            .segments
            .get_mut(usize::from(at.within)..end.min(BLOCK_SEGMENTS))
    }

    /// Puts `segment` to `at`, in the free block after that one if it is full. Returns where the
    /// next one goes.
    pub(crate) fn put(&mut self, at: At, segment: Segment) -> Option<At> {
        let at = if usize::from(at.within) < BLOCK_SEGMENTS {
            at
        } else {
            At {
                block: self.after(at.block)?,
                within: 0,
            }
        };
        *self.room(at, 1)?.first_mut()? = segment;
        Some(At {
            within: at.within.wrapping_add(1),
            ..at
        })
    }

    /// Takes the free blocks from the first to the one before `next`.
    #[inline(always)]
    pub(crate) fn take(&mut self, next: u16) {
        self.free = next;
    }

    /// The block that is linked after block `index`.
    pub(crate) fn next(&self, index: u16) -> u16 {
        self.get(index).map_or(NONE, |block| block.next)
    }

    /// Frees the blocks from `first` to `last`.
    #[inline(always)]
    pub(crate) fn give(&mut self, first: u16, last: u16) {
        let free = self.free;
        if let Some(block) = self.get_mut(last) {
            block.next = free;
            self.free = first;
        }
    }

    /// The free block after free block `index`.
    fn after(&mut self, index: u16) -> Option<u16> {
        let next = self.get(index)?.next;
        if next != NONE {
            return Some(next);
        }
        let next = self.unused()?;
        self.get_mut(index)?.next = next;
        Some(next)
    }

    /// A block that was never used, linked to none.
    #[cold]
    fn unused(&mut self) -> Option<u16> {
        let index = self.fresh;
        if usize::from(index) >= self.slab.blocks().len() {
            self.slab.grow();
        }
        // [`NONE`] is the number of no block, whatever the slab has.
        self.fresh = index.checked_add(1)?;
        let Some(block) = self.get_mut(index) else {
            self.fresh = index;
            return None;
        };
        *block = Block::EMPTY;
        Some(index)
    }
}
