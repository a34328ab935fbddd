//! The split format: a descriptor table, an available ring that the driver writes, a used ring that
//! the device writes.
//!
//! Spec: VIRTIO 1.4 §2.7 "Split Virtqueues".

pub(crate) mod device;
pub(crate) mod driver;

use ringway_spec::split as spec;
use ringway_spec::split::DescriptorFlags;

use crate::driver::{Format, Geometry};

/// Where the parts of a ring are in its memory, from its first byte.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    pub(crate) available: usize,
    /// Four bytes before a cache line, so that each used element is aligned to its eight bytes and
    /// can be read at once. With the legacy layout, at the next multiple of the alignment (§2.7.2).
    pub(crate) used: usize,
    pub(crate) tables: usize,
    pub(crate) bytes: usize,
}

impl Layout {
    pub(crate) fn new(geometry: Geometry) -> Self {
        // The largest ring there can be has about 33 million bytes: nothing here overflows.
        let line = |offset: usize| offset.next_multiple_of(Geometry::ALIGN);
        let available = spec::descriptor_bytes(geometry.size);
        let available_end = available.wrapping_add(spec::available_bytes(geometry.size));
        let used = match geometry.format {
            Format::Legacy { align } => available_end.next_multiple_of(align),
            _ => line(available_end.wrapping_add(spec::RING)).wrapping_sub(spec::RING),
        };
        let tables = line(used.wrapping_add(spec::used_bytes(geometry.size)));
        let table_bytes = usize::from(geometry.table).wrapping_mul(size_of::<spec::Descriptor>());
        let bytes = line(tables.wrapping_add(usize::from(geometry.size).wrapping_mul(table_bytes)));
        Self {
            available,
            used,
            tables,
            bytes,
        }
    }
}

/// The windowed comparison of `EVENT_IDX` (§2.7.10): whether the peer, who asked to be told when
/// `event` is passed, is to be told now that the index moved from `old` to `new`. Right across the
/// 16-bit wrap, and for whole batches.
#[inline]
pub(crate) fn passed(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

/// The length and flags of a descriptor, as the second half of it holds them, read at once.
#[derive(Clone, Copy)]
pub(crate) struct Tail {
    pub(crate) len: u32,
    pub(crate) flags: DescriptorFlags,
    pub(crate) next: u16,
}

impl Tail {
    #[inline]
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.len) | u64::from(self.flags.bits()) << 32 | u64::from(self.next) << 48
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Checked against the definition: some index stepped over equals the event, plus one.
        #[test]
        fn an_event_is_passed_if_one_of_the_steps_went_over_it(event in any::<u16>(), old in 65_400_u16.., steps in 0_u16..300) {
            let new = old.wrapping_add(steps);

            let stepped_over = (0..steps).any(|step| old.wrapping_add(step) == event);

            prop_assert_eq!(passed(event, new, old), stepped_over);
        }

    }
}
