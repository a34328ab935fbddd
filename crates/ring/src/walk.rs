//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use core::num::{NonZeroU32, NonZeroU64};

use ringway_spec::split::DescriptorFlags;

use crate::chain::Walked;
use crate::device::Violation;
use crate::map::{Found, Regions};
use crate::shared::{Table, View};
use crate::slab::{At, BLOCK_SEGMENTS, Blocks, Slab};

/// Bytes of a descriptor, in a table of either format.
const DESCRIPTOR_BYTES: u32 = 16;

/// The flags of a descriptor that mean the same in both formats.
const WRITE: u32 = DescriptorFlags::WRITE.bits() as u32;
const INDIRECT: u32 = DescriptorFlags::INDIRECT.bits() as u32;

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

    /// The descriptors of an indirect table.
    type Table: Source<'m>;

    /// The next one. There are no more of them than a bound of the source's own, or those that the
    /// walk allows.
    fn next(&mut self, why: &mut Why) -> Option<Piece>;

    /// Whether the chain goes on after the one read last, which has these flags.
    fn goes_on(&self, flags: u32) -> bool;

    /// What the driver calls the chain, and how many descriptors of the ring it has, once there was
    /// the last one.
    fn name(&self) -> (u16, NonZeroU32);

    /// The table to which descriptor `piece`, the one read last, refers.
    fn table(&self, look: &mut Look<'m>, piece: Piece) -> Option<Self::Table>;
}

/// A chain of which descriptors were read already.
#[derive(Clone, Copy)]
struct Read {
    first: u16,
    /// Where the next segment goes.
    at: At,
    /// How many descriptors it may have in all, and still.
    most: u16,
    left: u16,
    bytes: u64,
    /// How many bytes are before the writable ones, or [`ALL`] if none is writable yet.
    readable_bytes: u64,
}

/// More bytes than a chain can have.
const ALL: u64 = u64::MAX;

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
            let same = self.found.part(at, 1).map(|_| self.found);
            let found = same.or_else(|| self.regions.find(at));
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

/// Takes a block for a chain that may have `most` descriptors, and walks those of the
/// source that `begin` gives.
///
/// Most chains fill some places of one block with bytes of the region found last, and those places
/// count the descriptors. A chain that is not so is left to [`walk_on`] where it is found out.
#[inline(always)]
pub(crate) fn walk<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    most: u16,
    begin: impl FnOnce() -> Src,
) -> Option<Walked> {
    let Some((first, next, room)) = blocks.first() else {
        return Stop::no_room(&mut look.why);
    };
    let mut source = begin();
    let mut piece = source.next(&mut look.why)?;
    let flags = (piece.word >> Src::FLAGS) as u32;
    // Many have one descriptor, of which nothing more is to be found out.
    if flags & INDIRECT == 0 && !source.goes_on(flags) {
        let len = piece.word as u32;
        if let Some(segment) = look.found.segment(piece.address, len)
            && let [place, ..] = room
        {
            *place = segment;
            blocks.take(next);
            return Some(Walked::one(first, len, flags, source));
        }
    }
    if usize::from(most) < BLOCK_SEGMENTS {
        let read = Read::new(first, most, 0, 0, ALL);
        return walk_on(look, blocks, read, source, piece).map(Walked::from);
    }
    let mut bytes = 0;
    let mut readable_bytes = ALL;
    // What the flags of a descriptor are that is as the one before.
    let mut usual = 0;
    let mut places = room.iter_mut();
    while let Some(place) = places.next() {
        let flags = (piece.word >> Src::FLAGS) as u32 ^ usual;
        if flags & (WRITE | INDIRECT) != 0 {
            if flags & INDIRECT != 0 {
                let filled = BLOCK_SEGMENTS.wrapping_sub(places.len()).wrapping_sub(1);
                if filled == 0 {
                    return walk_table(look, blocks, most, source, piece).map(Walked::from);
                }
                let read = Read::new(first, most, filled, bytes, readable_bytes);
                return walk_on(look, blocks, read, source, piece).map(Walked::from);
            }
            if usual != 0 {
                return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
            }
            (usual, readable_bytes) = (WRITE, bytes);
        }
        let len = piece.word as u32;
        let Some(segment) = look.found.segment(piece.address, len) else {
            let filled = BLOCK_SEGMENTS.wrapping_sub(places.len()).wrapping_sub(1);
            let read = Read::new(first, most, filled, bytes, readable_bytes);
            return walk_on(look, blocks, read, source, piece).map(Walked::from);
        };
        *place = segment;
        // At most 32768 descriptors of less than 2³² bytes each.
        bytes = u64::wrapping_add(bytes, len.into());
        if !source.goes_on(flags) {
            let walked = Walked::new(&mut look.why, (first, first), bytes, readable_bytes, source);
            if walked.is_some() {
                blocks.take(next);
            }
            return walked;
        }
        piece = source.next(&mut look.why)?;
    }
    let read = Read::new(first, most, BLOCK_SEGMENTS, bytes, readable_bytes);
    walk_on(look, blocks, read, source, piece).map(Walked::from)
}

/// Walks a chain that is all in the table to which `piece` of `source` refers.
#[inline(never)]
fn walk_table<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    most: u16,
    source: Src,
    piece: Piece,
) -> Option<TwoWords> {
    let table = source.table(look, piece)?;
    walk(look, blocks, most, || table).map(TwoWords::from)
}

/// Walks a chain on, whatever it is like, from `piece` of `source`.
#[cold]
#[inline(never)]
fn walk_on<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    read: Read,
    source: Src,
    piece: Piece,
) -> Option<TwoWords> {
    let (mut read, mut source, mut piece) = (read, source, piece);
    loop {
        let flags = (piece.word >> Src::FLAGS) as u32;
        if flags & INDIRECT != 0 {
            let mut table = source.table(look, piece)?;
            let piece = table.next(&mut look.why)?;
            return walk_on(look, blocks, read, table, piece);
        }
        if flags & WRITE != 0 {
            read.readable_bytes = read.readable_bytes.min(read.bytes);
        } else if read.readable_bytes != ALL {
            return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
        }
        let Some(left) = read.left.checked_sub(1) else {
            return Stop::violation(&mut look.why, Violation::ChainTooLong(read.most));
        };
        read.left = left;
        let len = piece.word as u32;
        read.at = look.put(blocks, read.at, piece.address, len)?;
        // At most 32768 descriptors of less than 2³² bytes each.
        read.bytes = read.bytes.wrapping_add(len.into());
        if !source.goes_on(flags) {
            break;
        }
        piece = source.next(&mut look.why)?;
    }
    let Read { first, at, .. } = read;
    let ends = (first, at.block);
    let walked = Walked::new(&mut look.why, ends, read.bytes, read.readable_bytes, source)?;
    blocks.take(blocks.next(at.block));
    Some(walked.into())
}

impl Walked {
    /// A chain of one descriptor with `len` bytes and these flags, in a block.
    #[inline(always)]
    fn one<'m, Src: Source<'m>>(block: u16, len: u32, flags: u32, source: Src) -> Self {
        let (id, descriptors) = source.name();
        let is_writable = flags & WRITE != 0;
        Self {
            first: block,
            last: block,
            id: id.into(),
            descriptors,
            readable_bytes: if is_writable { 0 } else { len },
            writable_bytes: if is_writable { len } else { 0 },
        }
    }

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
        let readable_bytes = readable_bytes.min(bytes);
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

/// A [`Walked`] as a function that is called returns it: in registers.
#[derive(Clone, Copy)]
struct TwoWords {
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

impl Read {
    /// As many descriptors as fill `filled` places of block `first`, of a chain that may have `most`.
    #[inline(always)]
    const fn new(first: u16, most: u16, filled: usize, bytes: u64, readable_bytes: u64) -> Self {
        Self {
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
