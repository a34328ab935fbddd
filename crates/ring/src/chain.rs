//! What a device's end knows of a chain, and the bytes behind it.

use core::fmt;
use core::num::NonZeroU32;

use zerocopy::{FromBytes, IntoBytes};

use crate::map::Regions;
use crate::shared::View;
use crate::slab::{At, BLOCK_SEGMENTS, Block, Blocks, Slab};

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
        if cursor.take((*readable_bytes).into(), |_| Ok(())).is_err() {
            // The map no longer has the readable ones, and where the others begin is not known.
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
        // At most once for each segment, whose number the walk has bounded: each has bytes.
        while left != 0 {
            if usize::from(self.at.within) == BLOCK_SEGMENTS {
                self.at = At {
                    block: self.block().ok_or(TooShort)?.next,
                    within: 0,
                };
            }
            let segment = self
                .block()
                .and_then(|block| block.segments.get(usize::from(self.at.within)))
                .ok_or(TooShort)?;
            let whole = self.regions.view(segment).ok_or(TooShort)?;
            let there = whole.len().wrapping_sub(self.taken);
            let now = usize::try_from(left).map_or(there, |left| left.min(there));
            each(whole.slice(self.taken, now).ok_or(TooShort)?)?;
            left = left.wrapping_sub(now as u64);
            self.remaining = self.remaining.wrapping_sub(now as u64);
            if now == there {
                self.at.within = self.at.within.wrapping_add(1);
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
