//! What a device's end knows of a chain, and the bytes behind it.

use core::fmt;
use core::num::NonZeroU32;

use zerocopy::{FromBytes, IntoBytes};

use crate::map::{Regions, Segment};
use crate::shared::{Shared, View};
use crate::slab::{At, BLOCK_SEGMENTS, Block, Blocks, Slab};
use crate::walk::{Look, WRITE};

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

#[cfg(feature = "alloc")]
impl Walked {
    /// The runs of bytes that the device may write: device address and length of each.
    pub(crate) fn writable_runs<'b, S: Slab>(
        &self,
        blocks: &'b Blocks<S>,
    ) -> impl Iterator<Item = (u64, u32)> + 'b {
        let mut at = At {
            block: self.first,
            within: 0,
        };
        let (mut skip, mut left) = (self.readable_bytes, self.writable_bytes);
        core::iter::from_fn(move || {
            // The segments of a chain have all its bytes, and end.
            while left != 0 {
                let block = blocks.get(at.block)?;
                let Some(segment) = block.segments.get(usize::from(at.within)) else {
                    at = At {
                        block: block.next,
                        within: 0,
                    };
                    continue;
                };
                at.within = at.within.wrapping_add(1);
                let skipped = skip.min(segment.len);
                skip = skip.wrapping_sub(skipped);
                let len = segment.len.wrapping_sub(skipped).min(left);
                left = left.wrapping_sub(len);
                if len != 0 {
                    return Some((segment.address.wrapping_add(skipped.into()), len));
                }
            }
            None
        })
    }
}

/// A chain of one descriptor, whose bytes lie together: what most packets are.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'m> {
    view: View<'m>,
    is_writable: bool,
}

impl<'m> Plain<'m> {
    /// The `len` bytes at `address`, if there are some and the region found last has them all.
    #[inline(always)]
    pub(crate) fn new(look: &Look<'m>, address: u64, len: u32, flags: u32) -> Option<Self> {
        let view = look.found.view(address, len)?;
        if len == 0 {
            return None;
        }
        Some(Self {
            view,
            is_writable: flags & WRITE != 0,
        })
    }

    /// The bytes, if the device may read them.
    #[inline(always)]
    pub fn readable(&self) -> Option<View<'m>> {
        (!self.is_writable).then_some(self.view)
    }

    /// The bytes, if the device may write them.
    #[inline(always)]
    pub fn writable(&self) -> Option<View<'m>> {
        self.is_writable.then_some(self.view)
    }

    #[inline(always)]
    pub(crate) fn writable_bytes(&self) -> u32 {
        match self.is_writable {
            // As many as a descriptor says.
            true => self.view.len() as u32,
            false => 0,
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

/// Bytes of a chain that lie together.
#[derive(Clone, Copy, Debug)]
pub struct Run<'m> {
    /// The region that has them.
    memory: &'m Shared,
    offset: usize,
    view: View<'m>,
}

impl<'m> Run<'m> {
    /// The bytes, as long as the map is borrowed.
    pub const fn view(&self) -> View<'m> {
        self.view
    }

    /// The bytes, kept alive by the result: for a chain that is completed when the map may be
    /// another.
    pub fn to_shared(&self) -> Option<Shared> {
        self.memory.slice(self.offset, self.view.len())
    }
}

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
            cursor: Cursor::new(regions, blocks, *first, *readable_bytes),
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
        if let Some(view) = self.cursor.take_within(into.len()) {
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

    /// Takes the next bytes, as many as lie together: one run, of at least one byte.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if none are left.
    pub fn next_run(&mut self) -> Result<Run<'m>, TooShort> {
        self.cursor.next_run()
    }

    /// The next `len` bytes, apart.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left.
    #[inline]
    pub fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        Ok(Self {
            cursor: self.cursor.split_front(len)?,
        })
    }
}

/// The bytes of a chain that the device may write, from the front.
#[derive(Clone, Debug)]
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
        // A walk found that there are fewer than 2³².
        let all = readable_bytes.wrapping_add(*writable_bytes);
        let mut cursor = Cursor::new(regions, blocks, *first, all);
        if cursor.skip((*readable_bytes).into()).is_err() {
            // There are as many, so it cannot be.
            cursor.remaining = 0;
        }
        Self { cursor }
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
        if let Some(view) = self.cursor.take_within(from.len()) {
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

    /// Takes the next bytes, as many as lie together: one run, of at least one byte.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if none are left.
    pub fn next_run(&mut self) -> Result<Run<'m>, TooShort> {
        self.cursor.next_run()
    }

    /// The next `len` bytes, apart.
    ///
    /// # Errors
    ///
    /// [`TooShort`] if fewer are left.
    #[inline]
    pub fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        Ok(Self {
            cursor: self.cursor.split_front(len)?,
        })
    }
}

/// A place in the segments of a chain.
#[derive(Clone, Debug)]
struct Cursor<'m> {
    regions: Regions<'m>,
    blocks: &'m [Block],
    at: At,
    /// Bytes of the segment that were taken already.
    taken: usize,
    remaining: u64,
}

impl<'m> Cursor<'m> {
    fn new<S: Slab>(regions: Regions<'m>, blocks: &'m Blocks<S>, first: u16, bytes: u32) -> Self {
        Self {
            regions,
            blocks: blocks.all(),
            at: At {
                block: first,
                within: 0,
            },
            taken: 0,
            remaining: bytes.into(),
        }
    }

    fn block(&self) -> Option<&'m Block> {
        self.blocks.get(usize::from(self.at.block))
    }

    /// Takes the next `len` bytes, if they are the next ones of one segment.
    #[inline]
    fn take_within(&mut self, len: usize) -> Option<View<'m>> {
        let segment = self.block()?.segments.get(usize::from(self.at.within))?;
        let there = (segment.len as usize).wrapping_sub(self.taken);
        if len > there || len as u64 > self.remaining {
            return None;
        }
        let view = self.regions.view(segment)?.slice(self.taken, len)?;
        self.pass(len, there);
        Some(view)
    }

    /// Copies the next bytes out, whatever segments they are in. By value: a cursor whose bytes are in
    /// one segment is not in memory for the sake of those that are not.
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

    /// Copies `from` into the next bytes, likewise.
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
        mut each: impl FnMut(View<'m>) -> Result<(), TooShort>,
    ) -> Result<(), TooShort> {
        if len > self.remaining {
            return Err(TooShort);
        }
        let mut left = len;
        // At most once for each segment, whose number the walk has bounded: each has bytes.
        while left != 0 {
            let segment = self.segment()?;
            let whole = self.regions.view(segment).ok_or(TooShort)?;
            let there = whole.len().wrapping_sub(self.taken);
            let now = usize::try_from(left).map_or(there, |left| left.min(there));
            each(whole.slice(self.taken, now).ok_or(TooShort)?)?;
            left = left.wrapping_sub(now as u64);
            self.pass(now, there);
        }
        Ok(())
    }

    /// Passes the next `len` bytes, wherever they lie.
    #[inline]
    fn skip(&mut self, len: u64) -> Result<(), TooShort> {
        if len > self.remaining {
            return Err(TooShort);
        }
        let mut left = len;
        // At most once for each segment, as above.
        while left != 0 {
            let segment = self.segment()?;
            let there = (segment.len as usize).wrapping_sub(self.taken);
            let now = usize::try_from(left).map_or(there, |left| left.min(there));
            left = left.wrapping_sub(now as u64);
            self.pass(now, there);
        }
        Ok(())
    }

    fn next_run(&mut self) -> Result<Run<'m>, TooShort> {
        // At most once for each segment, as above.
        while self.remaining != 0 {
            let segment = self.segment()?;
            let (memory, start) = self.regions.place(segment).ok_or(TooShort)?;
            let there = (segment.len as usize).wrapping_sub(self.taken);
            let len = usize::try_from(self.remaining).map_or(there, |left| left.min(there));
            let offset = start.checked_add(self.taken).ok_or(TooShort)?;
            let view = memory.view().slice(offset, len).ok_or(TooShort)?;
            self.pass(len, there);
            if len != 0 {
                return Ok(Run {
                    memory,
                    offset,
                    view,
                });
            }
        }
        Err(TooShort)
    }

    /// The segment of the next byte.
    #[inline]
    fn segment(&mut self) -> Result<&'m Segment, TooShort> {
        if usize::from(self.at.within) == BLOCK_SEGMENTS {
            self.at = At {
                block: self.block().ok_or(TooShort)?.next,
                within: 0,
            };
        }
        self.block()
            .and_then(|block| block.segments.get(usize::from(self.at.within)))
            .ok_or(TooShort)
    }

    /// Takes `now` bytes of a segment that has `there` left.
    #[inline]
    fn pass(&mut self, now: usize, there: usize) {
        self.remaining = self.remaining.wrapping_sub(now as u64);
        if now == there {
            self.at.within = self.at.within.wrapping_add(1);
            self.taken = 0;
        } else {
            self.taken = self.taken.wrapping_add(now);
        }
    }

    #[inline]
    fn split_front(&mut self, len: u64) -> Result<Self, TooShort> {
        let mut front = self.clone();
        self.skip(len)?;
        front.remaining = len;
        Ok(front)
    }
}
