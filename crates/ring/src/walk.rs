//! What a device's end makes of a chain's descriptors, in either format: segments, each checked to
//! lie in memory, in blocks of the queue's slab.

use core::hint::cold_path;

use ringway_spec::split::DescriptorFlags;

use crate::chain::Chain;
use crate::device::Violation;
use crate::map::{Found, Regions};
use crate::shared::{Table, View};
use crate::slab::{At, BLOCK_SEGMENTS, Blocks, NONE, Slab};

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
pub(crate) trait Source<'m> {
    /// Where the second word of a descriptor has its flags.
    const FLAGS: u32;

    /// The next one. There are no more of them than a bound of the source's own, or those that the
    /// walk allows.
    fn next(&mut self, why: &mut Why) -> Option<Piece>;

    /// Whether the chain goes on after the one read last, which has these flags.
    fn goes_on(&self, flags: u32) -> bool;

    /// What the driver calls the chain, and how many descriptors of the ring it has, once there was
    /// the last one.
    fn name(&self) -> (u16, u16);

    /// Ends a chain that has begun with the table to which descriptor `piece` refers.
    fn enter<S: Slab>(
        self,
        look: &mut Look<'m>,
        blocks: &mut Blocks<S>,
        begun: Begun,
        piece: Piece,
    ) -> Option<Chain>;
}

/// A chain of which descriptors of a ring were read before one that refers to a table: nothing, as
/// drivers do it.
#[derive(Clone, Copy)]
pub(crate) struct Begun {
    /// How many descriptors it may have in all.
    most: u16,
    /// What was read, if there was something.
    read: Option<Read>,
}

#[derive(Clone, Copy)]
struct Read {
    first: u16,
    /// Where the next segment goes.
    at: At,
    /// How many descriptors it may still have.
    left: u16,
    bytes: u64,
    /// Where the writable segments begin, and how many bytes are before them, once there are any.
    writable: Option<(At, u64)>,
}

impl Begun {
    /// Nothing of a chain that may have as many as `most` descriptors.
    pub(crate) fn new(most: u16) -> Self {
        Self { most, read: None }
    }
}

/// Why a chain is not taken.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The driver broke a rule.
    Violation(Violation),
    /// No block of the slab is free.
    NoBlock,
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
    /// Whose chains they are.
    pub(crate) queue: u32,
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

/// Takes blocks for a chain that has begun, and goes on with the descriptors of `source`.
///
/// Places of the first block count the descriptors: each takes one, and there are no more than the
/// chain may have. What that does not do for is done by [`Progress::put`].
#[inline(always)]
pub(crate) fn walk<'m, S: Slab, Src: Source<'m>>(
    look: &mut Look<'m>,
    blocks: &mut Blocks<S>,
    begun: Begun,
    source: Src,
) -> Option<Chain> {
    let mut source = source;
    let mut bytes = 0;
    // What the flags of a descriptor are that is as the one before; and of the first writable one,
    // the place and how many bytes are before it.
    let mut usual = 0;
    let mut writable = NOWHERE;
    let mut readable_bytes = u64::MAX;
    let Some((mut first, next, room)) = blocks.first() else {
        look.why = Some(Stop::NoBlock);
        return None;
    };
    let mut places = room.iter_mut();
    let mut progress = None;
    if begun.read.is_some() || usize::from(begun.most) < BLOCK_SEGMENTS {
        cold_path();
        let read = begun.read.unwrap_or(Read::nothing(first, begun.most));
        progress = Some(Progress::new(read, begun.most, blocks));
        places = blocks.room(read.at, read.left)?.iter_mut();
        first = read.first;
        bytes = read.bytes;
        if let Some((at, before)) = read.writable {
            (usual, writable, readable_bytes) = (WRITE, at, before);
        }
    }
    loop {
        let Piece { address, word } = source.next(&mut look.why)?;
        let flags = (word >> Src::FLAGS) as u32 ^ usual;
        if flags & (WRITE | INDIRECT) != 0 {
            let start = Read::nothing(first, begun.most);
            let so_far = progress.unwrap_or(Progress::start(start, next, begun.most));
            let at = so_far.at(places.len());
            if flags & INDIRECT != 0 {
                let read = Read {
                    first,
                    at,
                    left: so_far.left(places.len()),
                    bytes,
                    writable: (usual != 0).then_some((writable, readable_bytes)),
                };
                let read = (read.left != begun.most).then_some(read);
                let begun = Begun { read, ..begun };
                return source.enter(look, blocks, begun, Piece { address, word });
            }
            if usual != 0 {
                return Stop::violation(&mut look.why, Violation::ReadableAfterWritable);
            }
            (usual, writable, readable_bytes) = (WRITE, at, bytes);
        }
        let len = word as u32;
        // At most 32768 descriptors of less than 2³² bytes each.
        bytes = u64::wrapping_add(bytes, len.into());
        if let Some(segment) = look.found.segment(address, len)
            && let Some(place) = places.next()
        {
            *place = segment;
        } else {
            let start = Read::nothing(first, begun.most);
            let so_far = progress.unwrap_or(Progress::start(start, next, begun.most));
            let unused = places.len();
            let put = so_far.put(look, blocks, unused, address, len)?;
            places = blocks.room(put.at, put.left)?.iter_mut();
            progress = Some(put);
        }
        if !source.goes_on(flags) {
            break;
        }
    }
    if bytes > u64::from(u32::MAX) {
        return Stop::violation(&mut look.why, Violation::ChainTooLarge);
    }
    let (last, next) = match progress {
        None => (first, next),
        Some(progress) => (progress.at.block, progress.next),
    };
    blocks.take(next);
    let readable_bytes = readable_bytes.min(bytes);
    let (id, descriptors) = source.name();
    Some(Chain {
        first,
        last,
        id: id.into(),
        descriptors: descriptors.into(),
        writable,
        // Just found to be below 2³².
        readable_bytes: readable_bytes as u32,
        writable_bytes: bytes.wrapping_sub(readable_bytes) as u32,
        queue: look.queue,
    })
}

const NOWHERE: At = At {
    block: NONE,
    within: 0,
};

impl Read {
    /// No descriptor yet of a chain in block `first`, which may have `left`.
    #[inline(always)]
    const fn nothing(first: u16, left: u16) -> Self {
        Self {
            first,
            at: At {
                block: first,
                within: 0,
            },
            left,
            bytes: 0,
            writable: None,
        }
    }
}

/// How far a chain got that does not fill one block from its beginning.
#[derive(Clone, Copy)]
struct Progress {
    /// The free block after the last one of the chain.
    next: u16,
    most: u16,
    /// The first of the places that are gone through, and how many descriptors the chain could still
    /// have when it got there.
    at: At,
    left: u16,
}

impl Progress {
    #[cold]
    fn new<S: Slab>(read: Read, most: u16, blocks: &Blocks<S>) -> Self {
        Self::start(read, blocks.next(read.at.block), most)
    }

    #[inline(always)]
    fn start(read: Read, next: u16, most: u16) -> Self {
        Self {
            next,
            most,
            at: read.at,
            left: read.left,
        }
    }

    /// How many places were filled, if `unused` are left.
    #[inline(always)]
    fn filled(self, unused: usize) -> usize {
        let places = BLOCK_SEGMENTS.wrapping_sub(self.at.within.into());
        places.min(self.left.into()).wrapping_sub(unused)
    }

    /// Where the next segment goes, if `unused` places are left.
    #[inline(always)]
    fn at(self, unused: usize) -> At {
        let within = usize::from(self.at.within).wrapping_add(self.filled(unused));
        At {
            // No more than those of a block.
            within: within as u8,
            ..self.at
        }
    }

    /// How many descriptors there may still be, if `unused` places are left.
    #[inline(always)]
    fn left(self, unused: usize) -> u16 {
        self.left.wrapping_sub(self.filled(unused) as u16)
    }

    /// Puts bytes that have no place left or are not in the region found last, if `unused` places
    /// are left. Returns how far that got.
    #[cold]
    fn put<S: Slab>(
        self,
        look: &mut Look<'_>,
        blocks: &mut Blocks<S>,
        unused: usize,
        address: u64,
        len: u32,
    ) -> Option<Self> {
        let Some(left) = self.left(unused).checked_sub(1) else {
            return Stop::violation(&mut look.why, Violation::ChainTooLong(self.most));
        };
        let at = look.put(blocks, self.at(unused), address, len)?;
        Some(Self {
            next: blocks.next(at.block),
            at,
            left,
            ..self
        })
    }
}
