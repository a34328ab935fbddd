//! What a driver's end keeps beside the ring, in either format: the owners of chains in flight, and
//! the memory of indirect tables.

use core::mem::ManuallyDrop;

use alloc::boxed::Box;
use ringway_spec::{F, Features};

use crate::driver::{Completion, Geometry, Memory, Refusal, Segment, Token, Violation};
use crate::shared::{Shared, Slots};

/// Bytes of a descriptor, in a ring of either format and in a table.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// What is known of each chain in flight, by its id. Ids are below the size of the queue.
#[derive(Debug)]
pub(crate) struct Entries<T>(Box<[Entry<T>]>);

/// A chain in flight: a cache line, if `T` has at most 40 bytes.
#[derive(Debug)]
#[repr(align(64))]
struct Entry<T> {
    /// In custody: not dropped with the queue, for the device may still be at it.
    owner: Option<ManuallyDrop<T>>,
    writable: u32,
    generation: u16,
    /// What the format remembers with the id.
    link: u16,
    descriptors: u16,
}

/// A chain that came back, and what was remembered with it.
pub(crate) struct Returned<T> {
    pub(crate) completion: Completion<T>,
    pub(crate) link: u16,
    /// How many descriptors of the ring it had.
    pub(crate) descriptors: u16,
}

impl<T> Entries<T> {
    /// None in flight. The link of each id is the next one.
    pub(crate) fn new(size: u16) -> Self {
        let empty = |id: u16| Entry {
            owner: None,
            writable: 0,
            generation: 0,
            link: id.wrapping_add(1),
            descriptors: 0,
        };
        Self((0..size).map(empty).collect())
    }

    /// Takes `owner` into custody, as chain `id` of `descriptors` descriptors of the ring. Gives it
    /// back if there is no such id.
    #[inline]
    pub(crate) fn put(
        &mut self,
        id: u16,
        owner: T,
        asked: &Asked,
        descriptors: usize,
        link: u16,
    ) -> Result<Token, T> {
        let Some(entry) = self.0.get_mut(usize::from(id)) else {
            return Err(owner);
        };
        entry.owner = Some(ManuallyDrop::new(owner));
        // Each is at most the size of the queue, or was found to fit.
        entry.writable = asked.writable as u32;
        entry.descriptors = descriptors as u16;
        entry.link = link;
        entry.generation = entry.generation.wrapping_add(1);
        Ok(Token {
            id,
            generation: entry.generation,
        })
    }

    /// Gives up the owner of chain `id`, of which the device says that it wrote `written` bytes. On
    /// a violation it stays.
    #[inline]
    pub(crate) fn take(&mut self, id: u32, written: u32) -> Result<Returned<T>, Violation> {
        let Some((entry, owner)) = usize::try_from(id)
            .ok()
            .and_then(|id| self.0.get_mut(id))
            .and_then(|entry| entry.owner.take().map(|owner| (entry, owner)))
        else {
            return Err(Violation::UnknownId(id));
        };
        if written > entry.writable {
            entry.owner = Some(owner);
            let writable = entry.writable;
            return Err(Violation::WrittenTooMuch { written, writable });
        }
        Ok(Returned {
            completion: Completion {
                token: Token {
                    // Below the size of the queue, since there is an entry.
                    id: id as u16,
                    generation: entry.generation,
                },
                written,
                owner: ManuallyDrop::into_inner(owner),
            },
            link: entry.link,
            descriptors: entry.descriptors,
        })
    }

    /// The writable bytes of chain `id`, which is in flight or was.
    #[inline]
    pub(crate) fn writable(&self, id: u16) -> u32 {
        self.0
            .get(usize::from(id))
            .map_or(0, |entry| entry.writable)
    }

    /// What is remembered with `id`; 0 if there is no such id.
    #[inline]
    pub(crate) fn link(&self, id: u16) -> u16 {
        self.0.get(usize::from(id)).map_or(0, |entry| entry.link)
    }

    /// Remembers something with `id`, of which no chain is in flight.
    #[inline]
    pub(crate) fn set_link(&mut self, id: u16, link: u16) {
        if let Some(entry) = self.0.get_mut(usize::from(id)) {
            entry.link = link;
        }
    }

    pub(crate) fn reclaim(&mut self) -> Option<T> {
        let owner = self.0.iter_mut().find_map(|entry| entry.owner.take())?;
        Some(ManuallyDrop::into_inner(owner))
    }
}

/// A chain that a ring is asked to take.
pub(crate) struct Asked {
    pub(crate) segments: usize,
    /// Writable bytes.
    writable: u64,
    /// Bytes.
    all: u64,
}

impl Asked {
    #[inline]
    pub(crate) fn new(readable: &[Segment], writable: &[Segment]) -> Self {
        let writable_bytes = bytes(writable);
        Self {
            // Two slices of 12-byte elements cannot have lengths whose sum overflows.
            segments: readable.len().wrapping_add(writable.len()),
            writable: writable_bytes,
            all: bytes(readable).wrapping_add(writable_bytes),
        }
    }

    /// Why a ring of `size` descriptors, `free` of which are free, does not take it as
    /// `descriptors` of them. `None` if it does.
    #[inline]
    pub(crate) fn refusal(
        &self,
        descriptors: usize,
        free: u16,
        size: u16,
        broken: Option<Violation>,
    ) -> Option<Refusal> {
        if let Some(violation) = broken {
            Some(Refusal::Broken(violation))
        } else if descriptors > usize::from(free) {
            Some(self.why_no_room(descriptors, size))
        } else if self.segments == 0 {
            Some(Refusal::Empty)
        } else if self.all > u64::from(u32::MAX) {
            Some(Refusal::TooLarge(self.all))
        } else {
            None
        }
    }

    #[cold]
    fn why_no_room(&self, descriptors: usize, size: u16) -> Refusal {
        if descriptors > usize::from(size) {
            Refusal::TooLong {
                segments: self.segments,
                limit: size,
            }
        } else {
            Refusal::Full
        }
    }
}

/// An indirect table for every id, at an address known before it is used.
#[derive(Debug)]
pub(crate) struct Tables {
    slots: Slots,
    address: u64,
    /// Segments that a table holds. 0 if there are no tables.
    len: u16,
}

impl Tables {
    /// The tables of a ring in `memory`, which begin at `offset`; none if the features or the
    /// geometry say so.
    pub(crate) fn new(
        memory: &Memory,
        offset: usize,
        geometry: Geometry,
        features: Features,
    ) -> Option<Option<Self>> {
        if geometry.table == 0 || !features.contains(F::INDIRECT_DESC) {
            return Some(None);
        }
        let count = usize::from(geometry.table).wrapping_mul(usize::from(geometry.size));
        Some(Some(Self {
            slots: Slots::new(&memory.shared, offset, count)?,
            address: memory.address.checked_add(offset as u64)?,
            len: geometry.table,
        }))
    }

    /// Whether a chain of `segments` goes into a table.
    #[inline]
    pub(crate) fn hold(&self, segments: usize) -> bool {
        segments > 1 && segments <= usize::from(self.len)
    }

    /// Writes a chain that a table holds into the table of `id`, and returns where that is.
    /// `second` makes the second word of a descriptor, of a segment, whether it is writable,
    /// and the place of the next one, if there is one.
    #[inline]
    pub(crate) fn fill(
        &self,
        id: u16,
        readable: &[Segment],
        writable: &[Segment],
        second: impl Fn(&Segment, bool, Option<u16>) -> u64,
    ) -> Segment {
        let first = usize::from(id).wrapping_mul(usize::from(self.len));
        let segments = readable.len().wrapping_add(writable.len());
        let mut at = 0_usize;
        for (part, is_writable) in [(readable, false), (writable, true)] {
            for segment in part {
                let next = at.wrapping_add(1);
                if let Some(slot) = self.slots.slot(first.wrapping_add(at)) {
                    slot.set_first(segment.address);
                    // A table has no more places than the queue has descriptors, rounded up.
                    let next = (next != segments).then_some(next as u16);
                    slot.set_second(second(segment, is_writable, next));
                }
                at = next;
            }
        }
        Segment {
            address: self
                .address
                .wrapping_add(first.wrapping_mul(DESCRIPTOR_BYTES) as u64),
            // At most 32768 descriptors of 16 bytes.
            len: segments.wrapping_mul(DESCRIPTOR_BYTES) as u32,
        }
    }
}

/// How many descriptors of the ring a chain of `segments` takes: one if it goes into an indirect
/// table.
#[inline]
pub(crate) fn descriptors_for(tables: Option<&Tables>, segments: usize) -> usize {
    match tables {
        Some(tables) if tables.hold(segments) => 1,
        _ => segments,
    }
}

/// The first `bytes` of `memory`, zeroed. `None` if there are fewer, or they are not aligned to
/// [`Geometry::ALIGN`].
pub(crate) fn zeroed(memory: &Memory, bytes: usize) -> Option<Shared> {
    let shared = memory.shared.slice(0, bytes)?;
    let misaligned = |address: u64| address & (Geometry::ALIGN as u64).wrapping_sub(1) != 0;
    if misaligned(memory.address) || misaligned(shared.base().addr().get() as u64) {
        return None;
    }
    shared.view().fill(0);
    Some(shared)
}

#[inline]
fn bytes(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .fold(0, |sum, segment| sum.wrapping_add(u64::from(segment.len)))
}
