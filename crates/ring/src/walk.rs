//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use ringway_spec::split::DescriptorFlags;

use crate::chain::Chain;
use crate::device::Violation;
use crate::map::{Found, Regions};
use crate::shared::{Table, View};
use crate::slab::{At, Blocks, Record, Slab, State};

/// Bytes of a descriptor, in a table of either format.
const DESCRIPTOR_BYTES: u32 = 16;

/// The flags of a descriptor that mean the same in both formats.
const WRITE: u16 = DescriptorFlags::WRITE.bits();
const INDIRECT: u16 = DescriptorFlags::INDIRECT.bits();

/// What one descriptor says.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) flags: u16,
    /// Whether the chain goes on.
    pub(crate) more: bool,
}

/// Where the descriptors of a chain come from: a ring, or an indirect table.
pub(crate) trait Source<'m> {
    /// The next one. There are no more of them than a bound of the source's own.
    fn next(&mut self, why: &mut Why) -> Option<Piece>;

    /// What the driver calls the chain, and how many descriptors of the ring it has, once there was
    /// the last one.
    fn name(&self) -> (u16, u16);

    /// Ends a chain that has begun, with the table to which a descriptor refers that says so much.
    fn enter<S: Slab>(
        self,
        look: &mut Look<'m>,
        blocks: &mut Blocks<S>,
        begun: Begun,
        address: u64,
        len: u32,
        more: bool,
    ) -> Option<Chain>;
}

/// A chain as far as it was walked.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    first: u16,
    /// Where the next segment goes.
    at: At,
    /// How many descriptors it may still have, and how many in all.
    left: u16,
    most: u16,
    bytes: u64,
    /// Where the writable segments begin, and how many bytes are before them, once there are any.
    writable: Option<(At, u64)>,
}

/// Why a chain is not taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The driver broke a rule.
    Violation(Violation),
    /// The slab has no room for its segments.
    NoRoom,
}

/// Why a chain is not taken, apart: what is returned on the way of chains that are stays small.
pub(crate) type Why = Option<Stop>;

impl Stop {
    /// Notes a rule that the driver broke, and takes nothing.
    #[cold]
    pub(crate) fn violation<T>(why: &mut Why, violation: Violation) -> Option<T> {
        *why = Some(Self::Violation(violation));
        None
    }

    #[cold]
    fn no_room<T>(why: &mut Why) -> Option<T> {
        *why = Some(Self::NoRoom);
        None
    }
}

/// How the descriptors of a batch are looked up.
#[derive(Debug)]
pub(crate) struct Look<'m> {
    pub(crate) regions: Regions<'m>,
    /// The region found last, which is most often the next one too.
    pub(crate) found: Found<'m>,
    /// Chains that may still be taken: a driver that never stops adding does not keep a batch going
    /// for ever.
    pub(crate) left: u16,
    pub(crate) why: Why,
}

impl<'m> Look<'m> {
    /// The indirect table of `len` bytes at `address`, on a queue of `size`.
    #[inline(always)]
    pub(crate) fn table(&mut self, address: u64, len: u32, size: u16) -> Option<Table<'m>> {
        let count = len.wrapping_div(DESCRIPTOR_BYTES);
        if count == 0 || len.wrapping_rem(DESCRIPTOR_BYTES) != 0 || count > u32::from(size) {
            return Stop::violation(&mut self.why, Violation::IndirectLength(len));
        }
        let view = match self.found.view(address, len) {
            Some(view) => view,
            None => self.view(address, len)?,
        };
        Some(Table::new(view))
    }

    /// The `len` bytes at `address`, if one region has them all.
    #[cold]
    fn view(&mut self, address: u64, len: u32) -> Option<View<'m>> {
        let found = self.regions.find(address);
        let view = found.and_then(|found| {
            self.found = found;
            found.view(address, len)
        });
        if view.is_none() {
            return Stop::violation(&mut self.why, Violation::NotMapped { address, len });
        }
        view
    }

    /// Puts the `len` bytes at `address` to `at` and after it: one segment, or as many as regions
    /// that they lie in, or none if there are no bytes. Returns where the next segment goes.
    #[cold]
    fn put<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        at: At,
        address: u64,
        len: u32,
    ) -> Option<At> {
        let not_mapped = Violation::NotMapped { address, len };
        let (mut to, mut at, mut left) = (at, address, len);
        while left != 0 {
            // Each turn takes one region to its end, so there are no more turns than regions.
            let found = self.regions.find(at);
            let Some((found, segment)) = found.and_then(|f| Some((f, f.part(at, left)?))) else {
                return Stop::violation(&mut self.why, not_mapped);
            };
            self.found = found;
            let Some(next) = blocks.put(to, segment) else {
                return Stop::no_room(&mut self.why);
            };
            to = next;
            left = left.wrapping_sub(segment.len);
            at = match at.checked_add(segment.len.into()) {
                Some(next) => next,
                None if left == 0 => break,
                None => return Stop::violation(&mut self.why, not_mapped),
            };
        }
        Some(to)
    }
}

impl Begun {
    /// Nothing of it yet; it may have as many as `most` descriptors.
    #[inline(always)]
    pub(crate) fn new<S: Slab>(
        look: &mut Look<'_>,
        blocks: &mut Blocks<S>,
        most: u16,
    ) -> Option<Self> {
        let Some(block) = blocks.first() else {
            return Stop::no_room(&mut look.why);
        };
        Some(Self {
            first: block,
            at: At { block, within: 0 },
            left: most,
            most,
            bytes: 0,
            writable: None,
        })
    }
}

/// Takes blocks for a chain that has begun, and goes on with the descriptors of `source`.
#[inline(always)]
pub(crate) fn walk<'m, S: Slab>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    begun: Begun,
    source: impl Source<'m>,
) -> Option<Chain> {
    let mut source = source;
    let Begun {
        mut at, mut left, ..
    } = begun;
    // What is left of the block, or of the descriptors: each takes one place, so that no other
    // count is needed.
    let mut room = blocks.room(at, left)?;
    let mut within = usize::from(at.within);
    // At most 32768 descriptors of less than 2³² bytes each.
    let mut bytes = begun.bytes;
    let mut writable = begun.writable.unwrap_or((begun.at, 0));
    // What the flags of a descriptor are that is as the one before.
    let mut usual = if begun.writable.is_some() { WRITE } else { 0 };
    loop {
        let piece = source.next(&mut look.why)?;
        if (piece.flags ^ usual) & (WRITE | INDIRECT) != 0 {
            if piece.flags & INDIRECT != 0 {
                let begun = Begun {
                    at: at.with(within),
                    left: left.wrapping_sub(at.passed(within)),
                    bytes,
                    writable: (usual != 0).then_some(writable),
                    ..begun
                };
                return source.enter(look, blocks, begun, piece.address, piece.len, piece.more);
            }
            if usual != 0 {
                return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
            }
            usual = WRITE;
            writable = (at.with(within), bytes);
        }
        bytes = bytes.wrapping_add(piece.len.into());
        if let Some(to) = room.get_mut(within)
            && let Some(segment) = look.found.segment(piece.address, piece.len)
        {
            *to = segment;
            within = within.wrapping_add(1);
        } else {
            let Some(less) = left.wrapping_sub(at.passed(within)).checked_sub(1) else {
                return Stop::violation(&mut look.why, Violation::ChainTooLong(begun.most));
            };
            left = less;
            at = look.put(blocks, at.with(within), piece.address, piece.len)?;
            room = blocks.room(at, left)?;
            within = at.within.into();
        }
        if !piece.more {
            break;
        }
    }
    if usual == 0 {
        writable = (at, bytes);
    }
    if bytes > u64::from(u32::MAX) {
        return Stop::violation(&mut look.why, Violation::ChainTooLarge);
    }
    let (writable, readable_bytes) = writable;
    let (id, descriptors) = source.name();
    // Just found to be below 2³².
    let writable_bytes = bytes.wrapping_sub(readable_bytes) as u32;
    let readable_bytes = readable_bytes as u32;
    let record = Record {
        state: State::Taken,
        id,
        descriptors,
        last: at.block,
        writable,
        writable_bytes,
    };
    blocks.take(begun.first, record);
    Some(Chain {
        first: begun.first,
        readable_bytes,
        writable_bytes,
    })
}
