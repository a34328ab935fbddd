//! The indirect tables of a driver's end, in either format, and the chains that it is asked to
//! take.

use ringway_spec::{F, Features};

use crate::driver::{Geometry, Memory, Refusal, Segment, Violation};
use crate::shared::Slots;

/// Bytes of a descriptor, in a ring of either format and in a table.
pub(crate) const DESCRIPTOR_BYTES: usize = 16;

/// A chain that a ring is asked to take, its last segment apart: all others have one after them.
pub(crate) struct Asked<'s> {
    pub(crate) readable: &'s [Segment],
    pub(crate) writable: &'s [Segment],
    pub(crate) last: &'s Segment,
    pub(crate) is_last_writable: bool,
    /// Segments.
    pub(crate) count: usize,
}

impl<'s> Asked<'s> {
    /// `None` if there are no segments.
    #[inline(always)]
    pub(crate) fn new(readable: &'s [Segment], writable: &'s [Segment]) -> Option<Self> {
        // Two slices of 16-byte elements cannot have lengths whose sum overflows.
        let count = readable.len().wrapping_add(writable.len());
        if let Some((last, writable)) = writable.split_last() {
            return Some(Self {
                readable,
                writable,
                last,
                is_last_writable: true,
                count,
            });
        }
        let (last, readable) = readable.split_last()?;
        Some(Self {
            readable,
            writable,
            last,
            is_last_writable: false,
            count,
        })
    }

    /// All bytes, and the writable ones.
    #[inline(always)]
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let last = u64::from(self.last.len);
        let (readable, writable) = (bytes(self.readable), bytes(self.writable));
        let all = readable.wrapping_add(writable).wrapping_add(last);
        if self.is_last_writable {
            (all, writable.wrapping_add(last))
        } else {
            (all, 0)
        }
    }
}

/// Why a chain of `segments`, which needs `descriptors` of the ring, was not taken, though it has
/// bytes and segments as it should.
#[cold]
pub(crate) fn why_no_room(
    segments: usize,
    descriptors: usize,
    size: u16,
    broken: Option<Violation>,
) -> Refusal {
    match broken {
        Some(violation) => Refusal::Broken(violation),
        None if descriptors > usize::from(size) => Refusal::TooLong {
            segments,
            limit: size,
        },
        None => Refusal::Full,
    }
}

/// Bytes of a chain, if a device can report so many.
#[inline(always)]
pub(crate) fn reportable((all, writable): (u64, u64)) -> Result<u32, Refusal> {
    if all > u64::from(u32::MAX) {
        return Err(Refusal::TooLarge(all));
    }
    // No more than all.
    Ok(writable as u32)
}

/// An indirect table for every id, at an address known before it is used.
#[derive(Debug)]
pub(crate) struct Tables {
    /// Absent if there are no tables.
    slots: Option<Slots>,
    address: u64,
    /// Segments that a table holds. 0 if there are no tables.
    len: u16,
}

impl Tables {
    /// The tables of a ring in `memory`, which begin at `offset`; none if the features or the
    /// geometry say so. `None` if the memory does not hold them.
    pub(crate) fn new(
        memory: &Memory,
        offset: usize,
        geometry: Geometry,
        features: Features,
    ) -> Option<Self> {
        if geometry.table == 0 || !features.contains(F::INDIRECT_DESC) {
            return Some(Self {
                slots: None,
                address: 0,
                len: 0,
            });
        }
        let count = usize::from(geometry.table).wrapping_mul(usize::from(geometry.size));
        Some(Self {
            slots: Some(Slots::new(&memory.shared, offset, count)?),
            address: memory.address.checked_add(offset as u64)?,
            len: geometry.table,
        })
    }

    /// Whether a chain of `segments` goes into a table.
    #[inline(always)]
    pub(crate) fn hold(&self, segments: usize) -> bool {
        segments > 1 && segments <= usize::from(self.len)
    }

    /// How many descriptors of the ring a chain of `segments` takes: one if it goes into a table.
    #[inline(always)]
    pub(crate) fn descriptors_for(&self, segments: usize) -> usize {
        if self.hold(segments) { 1 } else { segments }
    }

    /// Writes a chain that a table holds into the table of `id`, and returns where that is.
    /// `second` makes the second word of a descriptor: of a segment, whether it is writable, and the
    /// place of the next one, 0 after the last.
    #[inline(always)]
    pub(crate) fn fill(
        &self,
        id: u16,
        asked: &Asked<'_>,
        second: impl Fn(&Segment, bool, u16) -> u64,
    ) -> Segment {
        let first = usize::from(id).wrapping_mul(usize::from(self.len));
        let slots = self.slots.as_ref();
        // Always there: there is a table for every id, and it was asked whether it holds the chain.
        if let Some(mut table) = slots.and_then(|slots| slots.run(first, asked.count)) {
            let mut next = 0_u16;
            for (part, is_writable) in [(asked.readable, false), (asked.writable, true)] {
                for (segment, slot) in part.iter().zip(table.by_ref()) {
                    // A table has no more places than the queue has descriptors, rounded up.
                    next = next.wrapping_add(1);
                    slot.set_first(segment.address);
                    slot.set_second(second(segment, is_writable, next));
                }
            }
            if let Some(slot) = table.next() {
                slot.set_first(asked.last.address);
                slot.set_second(second(asked.last, asked.is_last_writable, 0));
            }
        }
        Segment {
            address: self
                .address
                .wrapping_add(first.wrapping_mul(DESCRIPTOR_BYTES) as u64),
            // At most 32768 descriptors of 16 bytes.
            len: asked.count.wrapping_mul(DESCRIPTOR_BYTES) as u32,
        }
    }
}

#[inline(always)]
fn bytes(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .fold(0, |sum, segment| sum.wrapping_add(u64::from(segment.len)))
}
