//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use crate::chain::Segments;
use crate::device::Violation;
use crate::map::{Found, Regions};
use crate::shared::{Table, View};
use crate::slab::{At, BLOCK_SEGMENTS, Blocks, Slab};

/// Bytes of a descriptor, in a table of either format.
const DESCRIPTOR_BYTES: u32 = 16;

/// What one descriptor says.
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) writable: bool,
    /// Whether the chain goes on.
    pub(crate) more: bool,
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

/// How the descriptors of a batch are looked up.
pub(crate) struct Look<'q, 'm> {
    pub(crate) regions: Regions<'m>,
    /// The region found last, which is most often the next one too.
    pub(crate) found: &'q mut Found<'m>,
}

impl<'m> Look<'_, 'm> {
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
        let view = match self.found.view(address, len) {
            Some(view) => view,
            None => self.again().view(address, len)?,
        };
        Ok(Table::new(view))
    }

    /// The same, for a function that is not to have its address.
    #[inline(always)]
    fn again(&mut self) -> Look<'_, 'm> {
        Look {
            regions: self.regions,
            found: self.found,
        }
    }

    /// The `len` bytes at `address`, if one region has them all.
    #[cold]
    fn view(self, address: u64, len: u32) -> Result<View<'m>, Violation> {
        let not_mapped = Violation::NotMapped { address, len };
        *self.found = self.regions.find(address).ok_or(not_mapped)?;
        self.found.view(address, len).ok_or(not_mapped)
    }

    /// Puts the `len` bytes at `address` to `at` and after it: one segment, or as many as regions
    /// that they lie in, or none if there are no bytes. Returns where the next segment goes.
    #[cold]
    fn put<S: Slab>(
        self,
        blocks: &mut Blocks<S>,
        at: At,
        address: u64,
        len: u32,
    ) -> Result<At, Stop> {
        let not_mapped = Violation::NotMapped { address, len };
        let (mut to, mut at, mut left) = (at, address, len);
        while left != 0 {
            // Each turn takes one region to its end, so there are no more turns than regions.
            *self.found = self.regions.find(at).ok_or(not_mapped)?;
            let segment = self.found.part(at, left).ok_or(not_mapped)?;
            to = blocks.put(to, segment).ok_or(Stop::NoRoom)?;
            left = left.wrapping_sub(segment.len);
            at = match at.checked_add(segment.len.into()) {
                Some(next) => next,
                None if left == 0 => break,
                None => return Err(not_mapped.into()),
            };
        }
        Ok(to)
    }
}

/// Takes blocks for the chain whose descriptors are what `next` gives, until one says that there
/// are no more.
#[inline(always)]
pub(crate) fn walk<'q, 'm, S: Slab>(
    mut look: Look<'q, 'm>,
    blocks: &mut Blocks<S>,
    mut next: impl FnMut(&mut Look<'q, 'm>) -> Result<Piece, Violation>,
) -> Result<Segments, Stop> {
    let first = blocks.first().ok_or(Stop::NoRoom)?;
    let mut block = first;
    let mut room = blocks.room(At { block, within: 0 });
    // At most 32768 descriptors of less than 2³² bytes each.
    let mut bytes = 0_u64;
    let mut writing = false;
    // Where the writable ones begin, and how many bytes are before them.
    let mut writable = (At { block, within: 0 }, 0);
    loop {
        let piece = next(&mut look)?;
        if piece.writable != writing {
            if writing {
                return Err(Violation::ReadableAfterWritable.into());
            }
            writing = true;
            let within = BLOCK_SEGMENTS.wrapping_sub(room.len());
            writable = (At { block, within }, bytes);
        }
        bytes = bytes.wrapping_add(piece.len.into());
        if let Some(segment) = look.found.segment(piece.address, piece.len)
            && let Some(to) = room.next()
        {
            *to = segment;
        } else {
            let within = BLOCK_SEGMENTS.wrapping_sub(room.len());
            let at = At { block, within };
            let at = look.again().put(blocks, at, piece.address, piece.len)?;
            block = at.block;
            room = blocks.room(at);
        }
        if !piece.more {
            break;
        }
    }
    let (writable_at, readable_bytes) = if writing {
        writable
    } else {
        (At { block, within: 0 }, bytes)
    };
    if bytes > u64::from(u32::MAX) {
        return Err(Violation::ChainTooLarge.into());
    }
    blocks.take(block);
    // Just found to be below 2³².
    Ok(Segments {
        first,
        last: block,
        writable: writable_at,
        readable_bytes: readable_bytes as u32,
        writable_bytes: bytes.wrapping_sub(readable_bytes) as u32,
    })
}
