//! What a device's end knows of a chain, and the bytes behind it.

use core::fmt;
use core::num::NonZeroU32;

use zerocopy::{FromBytes, IntoBytes};

use crate::map::Regions;
use crate::shared::View;
use crate::slab::{BLOCK_SEGMENTS, Block, Blocks, Slab};

/// A chain that the driver made available, as this end read it: its segments are with the queue.
///
/// To be given back with [`Batch::complete`](crate::device::Batch::complete) of the same queue; a
/// driver waits for ever for one that is dropped.
#[derive(Debug)]
#[must_use = "the driver waits for it to be completed"]
pub struct Chain {
    pub(crate) walked: Walked,
    /// Whose it is.
    pub(crate) queue: u32,
}

/// What a walk found of a chain.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The first and the last block of its segments.
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// What the driver calls it.
    pub(crate) id: u32,
    /// How many descriptors of the ring it has, in the packed format; in the split format, 1: its
    /// place in the used ring.
    pub(crate) descriptors: NonZeroU32,
    pub(crate) readable_bytes: u32,
    pub(crate) writable_bytes: u32,
}

impl Chain {
    /// How many bytes the device may read.
    pub const fn readable_bytes(&self) -> u32 {
        self.walked.readable_bytes
    }

    /// How many bytes the device may write.
    pub const fn writable_bytes(&self) -> u32 {
        self.walked.writable_bytes
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

impl<'m> Readable<'m> {
    pub(crate) fn new<S: Slab>(chain: &Chain, regions: Regions<'m>, blocks: &'m Blocks<S>) -> Self {
        let Walked {
            first,
            readable_bytes,
            ..
        } = &chain.walked;
        Self {
            cursor: Cursor::new(regions, blocks, *first, 0, *readable_bytes),
        }
    }

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
        if let Some(view) = self.cursor.whole(into.len()) {
            return view.read(0, into).map_err(|_| TooShort);
        }
        let (cursor, read) = self.cursor.clone().read(into);
        self.cursor = cursor;
        read
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

impl<'m> Writable<'m> {
    pub(crate) fn new<S: Slab>(chain: &Chain, regions: Regions<'m>, blocks: &'m Blocks<S>) -> Self {
        let Walked {
            first,
            readable_bytes,
            writable_bytes,
            ..
        } = &chain.walked;
        Self {
            cursor: Cursor::new(regions, blocks, *first, *readable_bytes, *writable_bytes),
        }
    }

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
        if let Some(view) = self.cursor.whole(from.len()) {
            return view.write(0, from).map_err(|_| TooShort);
        }
        let (cursor, written) = self.cursor.clone().write(from);
        self.cursor = cursor;
        written
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

/// A place in the segments of a chain.
///
/// What is seldom needed takes a cursor by value and returns it: so it stays in registers for those
/// who do not come by there.
#[derive(Clone, Debug)]
struct Cursor<'m> {
    regions: Regions<'m>,
    blocks: &'m [Block],
    /// The block of the next segment, and how many of the block's segments are before it: all of
    /// them, for the first one of the block after.
    block: usize,
    within: usize,
    /// Bytes of the segment that were taken already.
    taken: usize,
    /// Bytes to be passed before any is taken.
    before: u32,
    remaining: u64,
}

impl<'m> Cursor<'m> {
    /// At the `bytes` bytes that follow the `before` first ones of the segments in block `first` and
    /// after it.
    fn new<S: Slab>(
        regions: Regions<'m>,
        blocks: &'m Blocks<S>,
        first: u16,
        before: u32,
        bytes: u32,
    ) -> Self {
        Self {
            regions,
            blocks: blocks.all(),
            block: first.into(),
            within: 0,
            taken: 0,
            before,
            remaining: bytes.into(),
        }
    }

    /// The bytes of the next segment, those included that were taken already.
    #[inline(always)]
    fn segment(&self) -> Option<View<'m>> {
        let block = self.blocks.get(self.block)?;
        self.regions.view(block.segments.get(self.within)?)
    }

    /// Goes on by `len` bytes of a segment of `whole`.
    #[inline(always)]
    fn advance(&mut self, len: usize, whole: usize) {
        self.taken = self.taken.wrapping_add(len);
        if self.taken == whole {
            self.within = self.within.wrapping_add(1);
            self.taken = 0;
        }
    }

    /// Takes the next `len` bytes, if they are all in one segment, the one that comes next: most are.
    #[inline(always)]
    fn whole(&mut self, len: usize) -> Option<View<'m>> {
        let remaining = self.remaining.checked_sub(len as u64)?;
        if self.before != 0 {
            return None;
        }
        let whole = self.segment()?;
        let view = whole.slice(self.taken, len)?;
        self.remaining = remaining;
        self.advance(len, whole.len());
        Some(view)
    }

    /// Copies the next bytes out, whatever segments they are in.
    #[inline(never)]
    fn read(mut self, into: &mut [u8]) -> (Self, Result<(), TooShort>) {
        let mut left = into;
        let read = self.take(left.len() as u64, |view| {
            let (now, later) = core::mem::take(&mut left)
                .split_at_mut_checked(view.len())
                .ok_or(TooShort)?;
            left = later;
            view.read(0, now).map_err(|_| TooShort)
        });
        (self, read)
    }

    /// Copies `from` into the next bytes, whatever segments they are in.
    #[inline(never)]
    fn write(mut self, from: &[u8]) -> (Self, Result<(), TooShort>) {
        let mut left = from;
        let written = self.take(left.len() as u64, |view| {
            let (now, later) = left.split_at_checked(view.len()).ok_or(TooShort)?;
            left = later;
            view.write(0, now).map_err(|_| TooShort)
        });
        (self, written)
    }

    /// Takes the next `len` bytes, one run after the other.
    fn take(
        &mut self,
        len: u64,
        each: impl FnMut(View<'m>) -> Result<(), TooShort>,
    ) -> Result<(), TooShort> {
        let remaining = self.remaining.checked_sub(len).ok_or(TooShort)?;
        // Nothing, if the map no longer has all the bytes: where others begin is not known then.
        self.remaining = 0;
        let before = core::mem::take(&mut self.before);
        self.go_through(before.into(), |_| Ok(()))?;
        self.go_through(len, each)?;
        self.remaining = remaining;
        Ok(())
    }

    fn go_through(
        &mut self,
        len: u64,
        mut each: impl FnMut(View<'m>) -> Result<(), TooShort>,
    ) -> Result<(), TooShort> {
        let mut left = len;
        // At most once for each segment, whose number the walk has bounded: each has bytes.
        while left != 0 {
            if self.within == BLOCK_SEGMENTS {
                let block = self.blocks.get(self.block).ok_or(TooShort)?;
                (self.block, self.within) = (block.next.into(), 0);
            }
            let whole = self.segment().ok_or(TooShort)?;
            let there = whole.len().wrapping_sub(self.taken);
            let now = usize::try_from(left).map_or(there, |left| left.min(there));
            each(whole.slice(self.taken, now).ok_or(TooShort)?)?;
            left = left.wrapping_sub(now as u64);
            self.advance(now, whole.len());
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
