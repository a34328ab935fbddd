//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use crate::chain::Chain;
use crate::device::Violation;
use crate::map::{Found, Regions, Segment};
use crate::shared::Table;
use crate::slab::{BLOCK_SEGMENTS, Blocks, Slab};

/// Bytes of a descriptor, in a table of either format.
const DESCRIPTOR_BYTES: u32 = 16;

/// Where chains of a batch are looked up, and where they are put.
pub(crate) struct Place<'q, 'm, S> {
    pub(crate) regions: Regions<'m>,
    /// The region found last.
    pub(crate) found: &'q mut Found<'m>,
    pub(crate) blocks: &'q mut Blocks<S>,
}

/// Why a chain is not taken.
pub(crate) enum Stop {
    /// The driver broke a rule.
    Violation(Violation),
    /// The slab has no room for its segments.
    NoRoom,
}

impl From<Violation> for Stop {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// A chain while it is walked.
pub(crate) struct Walk<'q, 'm, S> {
    place: Place<'q, 'm, S>,
    /// A copy of `place.found`, nearer by.
    found: Found<'m>,
    first: u16,
    at: At,
    readable: u32,
    readable_bytes: u64,
    writable_bytes: u64,
}

/// Where the next segment goes.
#[derive(Clone, Copy)]
struct At {
    block: u16,
    /// How many segments the block has.
    within: usize,
    /// How many segments the chain has.
    segments: u32,
}

impl<'q, 'm, S: Slab> Walk<'q, 'm, S> {
    #[inline(always)]
    pub(crate) fn new(place: Place<'q, 'm, S>) -> Result<Self, Stop> {
        let first = place.blocks.first().ok_or(Stop::NoRoom)?;
        Ok(Self {
            found: *place.found,
            place,
            first,
            at: At {
                block: first,
                within: 0,
                segments: 0,
            },
            readable: 0,
            readable_bytes: 0,
            writable_bytes: 0,
        })
    }

    /// Adds one descriptor's bytes: one segment, or more if they go on in the next region. A
    /// descriptor without bytes adds none.
    #[inline(always)]
    pub(crate) fn add(&mut self, address: u64, len: u32, writable: bool) -> Result<(), Stop> {
        if !writable && self.writable_bytes != 0 {
            return Err(Violation::ReadableAfterWritable.into());
        }
        match self.found.segment(address, len) {
            Some(segment) => self.at = self.at.push(self.place.blocks, segment)?,
            None => {
                self.at = self.place.add_elsewhere(self.at, address, len)?;
                self.found = *self.place.found;
            }
        }
        // At most 32768 descriptors of less than 2³² bytes each.
        if writable {
            self.writable_bytes = self.writable_bytes.wrapping_add(len.into());
        } else {
            self.readable_bytes = self.readable_bytes.wrapping_add(len.into());
            self.readable = self.at.segments;
        }
        Ok(())
    }

    /// The indirect table of `len` bytes at `address`, on a queue of `size`.
    #[inline(always)]
    pub(crate) fn table(
        &mut self,
        address: u64,
        len: u32,
        size: u16,
    ) -> Result<Table<'m>, Violation> {
        let count = len.wrapping_div(DESCRIPTOR_BYTES);
        if count == 0 || len.wrapping_rem(DESCRIPTOR_BYTES) != 0 || count > u32::from(size) {
            return Err(Violation::IndirectLength(len));
        }
        if self.found.segment(address, len).is_none() {
            self.found = self.place.find(address, len)?;
        }
        self.found
            .segment(address, len)
            .and_then(|segment| self.found.view(&segment))
            .map(Table::new)
            .ok_or(Violation::NotMapped { address, len })
    }

    /// The chain as it was found, which the driver calls `id`, and which has `descriptors` of the
    /// ring. Its blocks are taken.
    #[inline(always)]
    pub(crate) fn finish(self, id: u16, descriptors: u16) -> Result<Chain, Stop> {
        if self.readable_bytes.wrapping_add(self.writable_bytes) > u64::from(u32::MAX) {
            return Err(Violation::ChainTooLarge.into());
        }
        self.place.blocks.take(self.at.block);
        Ok(Chain {
            first: self.first,
            last: self.at.block,
            id,
            descriptors,
            readable: self.readable,
            // Just found to be below 2³².
            readable_bytes: self.readable_bytes as u32,
            writable_bytes: self.writable_bytes as u32,
        })
    }
}

impl<'m, S: Slab> Place<'_, 'm, S> {
    /// Finds the region of `address`, which begins `len` bytes.
    #[cold]
    fn find(&mut self, address: u64, len: u32) -> Result<Found<'m>, Violation> {
        let found = self.regions.find(address);
        *self.found = found.ok_or(Violation::NotMapped { address, len })?;
        Ok(*self.found)
    }

    /// Adds bytes that the region found last does not hold whole: as many segments as regions that
    /// they lie in.
    #[cold]
    fn add_elsewhere(&mut self, to: At, address: u64, len: u32) -> Result<At, Stop> {
        let not_mapped = Violation::NotMapped { address, len };
        let (mut to, mut at, mut left) = (to, address, len);
        while left != 0 {
            // Each turn takes one region to its end, so there are no more turns than regions.
            let found = self.regions.find(at).ok_or(not_mapped)?;
            *self.found = found;
            let segment = found.part(at, left).ok_or(not_mapped)?;
            to = to.push(self.blocks, segment)?;
            left = left.wrapping_sub(segment.len);
            at = match at.checked_add(segment.len.into()) {
                Some(next) => next,
                None if left == 0 => return Ok(to),
                None => return Err(not_mapped.into()),
            };
        }
        Ok(to)
    }
}

impl At {
    /// Puts `segment` here. Returns where the next one goes.
    #[inline(always)]
    fn push<S: Slab>(self, blocks: &mut Blocks<S>, segment: Segment) -> Result<Self, Stop> {
        let (block, within) = if self.within == BLOCK_SEGMENTS {
            (blocks.after(self.block).ok_or(Stop::NoRoom)?, 0)
        } else {
            (self.block, self.within)
        };
        let to = blocks
            .get_mut(block)
            .and_then(|block| block.segments.get_mut(within));
        *to.ok_or(Stop::NoRoom)? = segment;
        Ok(Self {
            block,
            within: within.wrapping_add(1),
            segments: self.segments.wrapping_add(1),
        })
    }
}
