//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use core::num::{NonZeroU32, NonZeroU64};

use ringway_spec::split::DescriptorFlags;

use crate::chain::Walked;
use crate::device::Violation;
use crate::map::{Access, Found, Lookup, Missing, Regions};
use crate::shared::{Table, View};
use crate::slab::{At, BLOCK_SEGMENTS, Blocks, Slab};

/// Bytes of a descriptor, in a table of either format.
const DESCRIPTOR_BYTES: u32 = 16;

/// The flags of a descriptor that mean the same in both formats.
pub(crate) const WRITE: u32 = DescriptorFlags::WRITE.bits() as u32;
pub(crate) const INDIRECT: u32 = DescriptorFlags::INDIRECT.bits() as u32;

/// A descriptor, as it was read: where its bytes are, and its second word, whose lower half says
/// how many.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) address: u64,
    pub(crate) word: u64,
}

/// Where the descriptors of a chain come from: a ring, or an indirect table.
pub(crate) trait Source<'m>: Copy {
    /// Where the second word of a descriptor has its flags.
    const FLAGS: u32;

    /// The next one. There are no more of them than a bound of the source's own, or those that the
    /// walk allows.
    fn next(&mut self, why: &mut Why) -> Option<Piece>;

    /// Whether the chain goes on after the one read last, which has these flags.
    fn goes_on(&self, flags: u32) -> bool;

    /// How many descriptors the chain may have.
    fn most(&self) -> u16;

    /// What the driver calls the chain, and how many descriptors of the ring it has, once there was
    /// the last one.
    fn name(&self) -> (u16, NonZeroU32);

    /// The rest of the chain, which is in the table to which descriptor `piece`, the one read last,
    /// refers. Nothing that is in a table refers to another.
    fn table(&self, look: &mut Look<'m>, piece: Piece) -> Option<Self>;
}

/// A chain of which descriptors were read already.
#[derive(Clone, Copy)]
struct Read<Src> {
    source: Src,
    /// The one read last, which has no segment yet.
    piece: Piece,
    first: u16,
    /// Where the next segment goes.
    at: At,
    /// How many descriptors it may have in all, and still.
    most: u16,
    left: u16,
    bytes: u64,
    /// How many bytes are before the writable ones, if there are some.
    readable_bytes: Option<u64>,
}

/// Why a chain is not taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The driver broke a rule.
    Violation(Violation),
    /// The slab has no room for its segments.
    NoRoom,
    /// It names bytes that the device was not shown yet.
    Missing(Missing),
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
    pub(crate) fn no_room<T>(why: &mut Why) -> Option<T> {
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
        let found = self.find(address, Access::Read, Violation::NotMapped { address, len })?;
        let view = found.view(address, len);
        if view.is_none() {
            return Stop::violation(&mut self.why, Violation::NotMapped { address, len });
        }
        view
    }

    /// The region that holds `address`, for the device to do what `access` says; remembered, if it may
    /// be tried first from here on.
    fn find(&mut self, address: u64, access: Access, not_mapped: Violation) -> Option<Found<'m>> {
        match self.regions.look_up(address, access) {
            Lookup::Found(found) => {
                if self.regions.may_guess() {
                    self.found = found;
                }
                Some(found)
            }
            Lookup::Missing(missing) => {
                self.why = Some(Stop::Missing(missing));
                None
            }
            Lookup::Forbidden => {
                Stop::violation(&mut self.why, Violation::Forbidden { address, access })
            }
            Lookup::Nowhere => Stop::violation(&mut self.why, not_mapped),
        }
    }

    /// Puts the `len` bytes at `address` to `at` and after it: one segment, or as many as regions
    /// that they lie in, or none if there are no bytes. Returns where the next segment goes.
    fn put<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        at: At,
        address: u64,
        len: u32,
        access: Access,
    ) -> Option<At> {
        let not_mapped = Violation::NotMapped { address, len };
        let (mut to, mut at, mut left) = (at, address, len);
        while left != 0 {
            // Each turn takes one region to its end, so there are no more turns than regions.
            let found = match self.found.part(at, 1) {
                Some(_) => self.found,
                None => self.find(at, access, not_mapped)?,
            };
            let Some(segment) = found.part(at, left) else {
                return Stop::violation(&mut self.why, not_mapped);
            };
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

/// Walks a chain: `head`, just read from `source`, and what comes after it there. Its segments go to
/// `first`, the first free block, and to those after it.
///
/// Most chains fill some places of one block with bytes of the region found last, and those places
/// count the descriptors. A chain that is not so is left to [`walk_on`] where it is found out.
#[inline(always)]
pub(crate) fn walk<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    first: u16,
    source: Src,
    head: Piece,
) -> Option<Walked> {
    let (mut source, mut piece) = (source, head);
    if usize::from(source.most()) < BLOCK_SEGMENTS {
        let read = Read::new(source, piece, first, 0, 0, None);
        return walk_on(look, blocks, read).map(Walked::from);
    }
    let Some(block) = blocks.get_mut(first) else {
        return Stop::no_room(&mut look.why);
    };
    let mut bytes = 0;
    // How many are before the writable ones, if there are some.
    let mut readable_bytes = 0;
    // What the flags of a descriptor are that is as the one before.
    let mut usual = 0;
    let filled = 'unusual: {
        for (filled, place) in block.segments.iter_mut().enumerate() {
            let flags = (piece.word >> Src::FLAGS) as u32 ^ usual;
            if flags & (WRITE | INDIRECT) != 0 {
                if flags & INDIRECT != 0 {
                    break 'unusual filled;
                }
                if usual != 0 {
                    return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
                }
                (usual, readable_bytes) = (WRITE, bytes);
            }
            let len = piece.word as u32;
            let Some(segment) = look.found.segment(piece.address, len) else {
                break 'unusual filled;
            };
            *place = segment;
            // At most 32768 descriptors of less than 2³² bytes each.
            bytes = u64::wrapping_add(bytes, len.into());
            if !source.goes_on(flags) {
                let readable_bytes = if usual == 0 { bytes } else { readable_bytes };
                let next = block.next;
                let ends = (first, first);
                let walked = Walked::new(&mut look.why, ends, bytes, readable_bytes, source)?;
                blocks.take(next);
                return Some(walked);
            }
            piece = source.next(&mut look.why)?;
        }
        BLOCK_SEGMENTS
    };
    let readable_bytes = (usual != 0).then_some(readable_bytes);
    let read = Read::new(source, piece, first, filled, bytes, readable_bytes);
    walk_on(look, blocks, read).map(Walked::from)
}

/// Walks a chain on, whatever it is like.
#[cold]
#[inline(never)]
fn walk_on<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    mut read: Read<Src>,
) -> Option<TwoWords> {
    let (mut source, mut piece) = (read.source, read.piece);
    loop {
        let flags = (piece.word >> Src::FLAGS) as u32;
        if flags & INDIRECT != 0 {
            // At most once: no table refers to another.
            source = source.table(look, piece)?;
            piece = source.next(&mut look.why)?;
            continue;
        }
        let access = if flags & WRITE != 0 {
            read.readable_bytes.get_or_insert(read.bytes);
            Access::Write
        } else if read.readable_bytes.is_none() {
            Access::Read
        } else {
            return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
        };
        let Some(left) = read.left.checked_sub(1) else {
            return Stop::violation(&mut look.why, Violation::ChainTooLong(read.most));
        };
        read.left = left;
        let len = piece.word as u32;
        read.at = look.put(blocks, read.at, piece.address, len, access)?;
        // At most 32768 descriptors of less than 2³² bytes each.
        read.bytes = read.bytes.wrapping_add(len.into());
        if !source.goes_on(flags) {
            break;
        }
        piece = source.next(&mut look.why)?;
    }
    let Read {
        first, at, bytes, ..
    } = read;
    let readable_bytes = read.readable_bytes.unwrap_or(bytes);
    let walked = Walked::new(
        &mut look.why,
        (first, at.block),
        bytes,
        readable_bytes,
        source,
    )?;
    blocks.take(blocks.next(at.block));
    Some(walked.into())
}

impl Walked {
    /// A chain in blocks from the first to the last of `ends`, if it is not too large.
    #[inline(always)]
    fn new<'m, Src: Source<'m>>(
        why: &mut Why,
        ends: (u16, u16),
        bytes: u64,
        readable_bytes: u64,
        source: Src,
    ) -> Option<Self> {
        if bytes > u64::from(u32::MAX) {
            return Stop::violation(why, Violation::ChainTooLarge);
        }
        let (first, last) = ends;
        let (id, descriptors) = source.name();
        Some(Self {
            first,
            last,
            id: id.into(),
            descriptors,
            // Just found to be below 2³².
            readable_bytes: readable_bytes as u32,
            writable_bytes: bytes.wrapping_sub(readable_bytes) as u32,
        })
    }
}

/// A [`Walked`] in fewer registers: as a function that is called returns it, and where ways meet.
#[derive(Clone, Copy)]
pub(crate) struct TwoWords {
    /// From the lowest bits on: how many descriptors, the first and the last block, the id.
    name: NonZeroU64,
    /// Readable bytes in the lower half, writable bytes in the upper one.
    bytes: u64,
}

impl From<Walked> for TwoWords {
    #[inline(always)]
    fn from(walked: Walked) -> Self {
        let Walked {
            first, last, id, ..
        } = walked;
        let name = u64::from(first) << 16 | u64::from(last) << 32 | u64::from(id) << 48;
        Self {
            // No more than the descriptors of a ring: they have 16 bits.
            name: NonZeroU64::from(walked.descriptors) | name,
            bytes: u64::from(walked.readable_bytes) | u64::from(walked.writable_bytes) << 32,
        }
    }
}

impl From<TwoWords> for Walked {
    #[inline(always)]
    fn from(words: TwoWords) -> Self {
        let TwoWords { name, bytes } = words;
        let name = name.get();
        Self {
            first: (name >> 16) as u16,
            last: (name >> 32) as u16,
            id: (name >> 48) as u32,
            // As it was put there.
            descriptors: NonZeroU32::new(u32::from(name as u16)).unwrap_or(NonZeroU32::MIN),
            readable_bytes: bytes as u32,
            writable_bytes: (bytes >> 32) as u32,
        }
    }
}

impl<Src> Read<Src> {
    /// As many descriptors as fill `filled` places of block `first`, and `piece`.
    #[inline(always)]
    fn new<'m>(
        source: Src,
        piece: Piece,
        first: u16,
        filled: usize,
        bytes: u64,
        readable_bytes: Option<u64>,
    ) -> Self
    where
        Src: Source<'m>,
    {
        let most = source.most();
        Self {
            source,
            piece,
            first,
            at: At {
                block: first,
                // No more than the places of a block.
                within: filled as u8,
            },
            most,
            left: most.wrapping_sub(filled as u16),
            bytes,
            readable_bytes,
        }
    }
}
