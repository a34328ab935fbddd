//! Split virtqueues: the layout of the three areas. Spec: VIRTIO 1.4 §2.7 "Split Virtqueues".
//!
//! ```text
//! area        written by  align  holds
//! descriptor  driver      16     [Descriptor; size]
//! driver      driver      2      flags  idx  ring: [u16; size]          used_event
//! device      device      4      flags  idx  ring: [UsedElement; size]  avail_event
//! ```
//!
//! Sizes always include the event field, which is used only with
//! [`F::EVENT_IDX`](crate::F::EVENT_IDX). A `size` is a power of two, at most [`MAX_SIZE`].

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U16, U32, U64};

/// Most entries a queue may have (§2.7).
pub const MAX_SIZE: u16 = 32768;

/// Alignment of the descriptor area, in bytes (§2.7).
pub const DESCRIPTOR_ALIGN: usize = 16;
/// Alignment of the driver area, in bytes (§2.7).
pub const AVAILABLE_ALIGN: usize = 2;
/// Alignment of the device area, in bytes (§2.7).
pub const USED_ALIGN: usize = 4;

/// Offset of the 16-bit `flags` in the available ring and in the used ring.
pub const FLAGS: usize = 0;
/// Offset of the 16-bit `idx` in either ring: where its writer puts the next entry, counted modulo
/// 2^16.
pub const INDEX: usize = 2;
/// Offset of the first entry in either ring.
pub const RING: usize = 4;

/// The driver asks for no used buffer notifications (§2.7.7). Advisory, and unused with
/// [`F::EVENT_IDX`](crate::F::EVENT_IDX).
#[doc(alias = "VIRTQ_AVAIL_F_NO_INTERRUPT")]
#[doc(alias = "VRING_AVAIL_F_NO_INTERRUPT")]
pub const AVAIL_F_NO_INTERRUPT: u16 = 1;

/// The device asks for no available buffer notifications (§2.7.10). Advisory, and unused with
/// [`F::EVENT_IDX`](crate::F::EVENT_IDX).
#[doc(alias = "VIRTQ_USED_F_NO_NOTIFY")]
#[doc(alias = "VRING_USED_F_NO_NOTIFY")]
pub const USED_F_NO_NOTIFY: u16 = 1;

/// One buffer of a descriptor chain (§2.7.5).
#[doc(alias = "virtq_desc")]
#[doc(alias = "vring_desc")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Descriptor {
    /// Device address of the buffer, or of a table of descriptors with
    /// [`DescriptorFlags::INDIRECT`].
    pub addr: U64,
    /// Bytes in the buffer or the table.
    pub len: U32,
    /// [`DescriptorFlags`].
    pub flags: U16,
    /// Index of the chain's next descriptor in the same table. Meant with
    /// [`DescriptorFlags::NEXT`].
    pub next: U16,
}

layout!(Descriptor: 16 { addr = 0, len = 8, flags = 12, next = 14 });

/// A completed chain (§2.7.8). Written by the device; do not trust.
#[doc(alias = "virtq_used_elem")]
#[doc(alias = "vring_used_elem")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct UsedElement {
    /// Index of the chain's first descriptor.
    pub id: U32,
    /// Bytes that the device wrote into the chain's writable buffers.
    pub len: U32,
}

layout!(UsedElement: 8 { id = 0, len = 4 });

bitflags! {
    /// Flags of a [`Descriptor`] (§2.7.5). Bits without a name are kept: a driver may set them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DescriptorFlags: u16 {
        /// The chain goes on at `next`.
        #[doc(alias = "VIRTQ_DESC_F_NEXT")]
        #[doc(alias = "VRING_DESC_F_NEXT")]
        const NEXT = 1;
        /// The buffer is writable by the device; without it, readable.
        #[doc(alias = "VIRTQ_DESC_F_WRITE")]
        #[doc(alias = "VRING_DESC_F_WRITE")]
        const WRITE = 2;
        /// The buffer holds descriptors (§2.7.5.3). Never with `NEXT`, nor inside such a table.
        /// Legal with [`F::INDIRECT_DESC`](crate::F::INDIRECT_DESC).
        #[doc(alias = "VIRTQ_DESC_F_INDIRECT")]
        #[doc(alias = "VRING_DESC_F_INDIRECT")]
        const INDIRECT = 4;

        const _ = !0;
    }
}

/// Bytes of a descriptor area of `size` entries.
pub const fn descriptor_bytes(size: u16) -> usize {
    size as usize * size_of::<Descriptor>()
}

/// Bytes of an available ring of `size` entries.
pub const fn available_bytes(size: u16) -> usize {
    used_event_offset(size) + size_of::<U16>()
}

/// Bytes of a used ring of `size` entries.
pub const fn used_bytes(size: u16) -> usize {
    avail_event_offset(size) + size_of::<U16>()
}

/// Offset of entry `slot` in the available ring: the 16-bit index of a chain's first descriptor.
pub const fn available_entry_offset(slot: u16) -> usize {
    RING + slot as usize * size_of::<U16>()
}

/// Offset of entry `slot` in the used ring: a [`UsedElement`].
pub const fn used_entry_offset(slot: u16) -> usize {
    RING + slot as usize * size_of::<UsedElement>()
}

/// Offset of the 16-bit `used_event` in an available ring of `size` entries: the used index at
/// whose passing the driver wants a notification (§2.7.7).
pub const fn used_event_offset(size: u16) -> usize {
    available_entry_offset(size)
}

/// Offset of the 16-bit `avail_event` in a used ring of `size` entries: the available index at
/// whose passing the device wants a notification (§2.7.10).
pub const fn avail_event_offset(size: u16) -> usize {
    used_entry_offset(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_have_the_sizes_of_the_specification() {
        for size in [1, 2, 256, MAX_SIZE] {
            let entries = usize::from(size);

            assert_eq!(descriptor_bytes(size), 16 * entries);
            assert_eq!(available_bytes(size), 6 + 2 * entries);
            assert_eq!(used_bytes(size), 6 + 8 * entries);
        }
    }

    #[test]
    fn event_fields_are_the_last_two_bytes_of_their_rings() {
        assert_eq!(used_event_offset(8) + 2, available_bytes(8));
        assert_eq!(avail_event_offset(8) + 2, used_bytes(8));
    }

    #[test]
    fn a_descriptor_is_little_endian_on_every_machine() {
        let descriptor = Descriptor {
            addr: U64::new(0x0102_0304_0506_0708),
            len: U32::new(0x1112_1314),
            flags: U16::new((DescriptorFlags::NEXT | DescriptorFlags::WRITE).bits()),
            next: U16::new(0x2122),
        };

        assert_eq!(
            descriptor.as_bytes(),
            [
                8, 7, 6, 5, 4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 3, 0, 0x22, 0x21
            ]
        );
    }
}
