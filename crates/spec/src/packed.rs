//! Packed virtqueues: the layout of the three areas. Spec: VIRTIO 1.4 §2.8 "Packed Virtqueues".
//!
//! ```text
//! area        written by  align  holds
//! descriptor  both        16     [Descriptor; size]
//! driver      driver      4      EventSuppression: which used descriptors it wants to be told of
//! device      device      4      EventSuppression: which available descriptors it wants to be told of
//! ```
//!
//! A `size` is anything from 1 to [`MAX_SIZE`].

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U16, U32, U64};

/// Most descriptors a queue may have (§2.8).
pub const MAX_SIZE: u16 = 32768;

/// Alignment of the descriptor area, in bytes (§2.8.10.1).
pub const DESCRIPTOR_ALIGN: usize = 16;
/// Alignment of the driver area and of the device area, in bytes (§2.8.10.1).
pub const EVENT_ALIGN: usize = 4;

/// One element of a buffer that the driver made available, or a whole buffer that the device used
/// (§2.8.13).
#[doc(alias = "pvirtq_desc")]
#[doc(alias = "vring_packed_desc")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Descriptor {
    /// Device address of the element, or of a table of descriptors with
    /// [`DescriptorFlags::INDIRECT`]. Without meaning in a used descriptor.
    pub addr: U64,
    /// Bytes in the element or the table. In a used descriptor, bytes that the device wrote.
    pub len: U32,
    /// The buffer that is meant. In a list, that of the last descriptor counts.
    pub id: U16,
    /// [`DescriptorFlags`].
    pub flags: U16,
}

layout!(Descriptor: 16 { addr = 0, len = 8, id = 12, flags = 14 });

bitflags! {
    /// Flags of a [`Descriptor`] (§2.8). Bits without a name are kept: a peer may set them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DescriptorFlags: u16 {
        /// The list goes on in the next descriptor of the ring (§2.8.6).
        #[doc(alias = "VIRTQ_DESC_F_NEXT")]
        #[doc(alias = "VRING_DESC_F_NEXT")]
        const NEXT = 1;
        /// The element is writable by the device; without it, readable. In a used descriptor, the
        /// device wrote something, and says how much (§2.8.3).
        #[doc(alias = "VIRTQ_DESC_F_WRITE")]
        #[doc(alias = "VRING_DESC_F_WRITE")]
        const WRITE = 2;
        /// The element holds descriptors, one after the other (§2.8.7). Never in a list of several.
        /// Legal with [`F::INDIRECT_DESC`](crate::F::INDIRECT_DESC).
        #[doc(alias = "VIRTQ_DESC_F_INDIRECT")]
        #[doc(alias = "VRING_DESC_F_INDIRECT")]
        const INDIRECT = 4;
        /// Equals the driver's wrap counter when the driver made the descriptor available (§2.8.1).
        #[doc(alias = "VIRTQ_DESC_F_AVAIL")]
        #[doc(alias = "VRING_PACKED_DESC_F_AVAIL")]
        const AVAIL = 1 << 7;
        /// Unlike `AVAIL` in an available descriptor, like it in a used one (§2.8.1).
        #[doc(alias = "VIRTQ_DESC_F_USED")]
        #[doc(alias = "VRING_PACKED_DESC_F_USED")]
        const USED = 1 << 15;

        const _ = !0;
    }
}

/// Of what its writer wants to be told (§2.8.14).
#[doc(alias = "pvirtq_event_suppress")]
#[doc(alias = "vring_packed_desc_event")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EventSuppression {
    /// With [`EVENT_DESC`], the descriptor meant: its place in the lower 15 bits, and in
    /// [`EVENT_WRAP`] the wrap counter with which it is passed.
    pub desc: U16,
    /// In the bits of [`EVENT_FLAGS`], one of [`EVENT_ENABLE`], [`EVENT_DISABLE`], [`EVENT_DESC`].
    pub flags: U16,
}

layout!(EventSuppression: 4 { desc = 0, flags = 2 });

/// The bit of [`EventSuppression::desc`] that holds the wrap counter.
pub const EVENT_WRAP: u16 = 1 << 15;
/// The bits of [`EventSuppression::flags`] that mean something.
pub const EVENT_FLAGS: u16 = 3;
/// Every descriptor is to be told of.
#[doc(alias = "RING_EVENT_FLAGS_ENABLE")]
pub const EVENT_ENABLE: u16 = 0;
/// None is.
#[doc(alias = "RING_EVENT_FLAGS_DISABLE")]
pub const EVENT_DISABLE: u16 = 1;
/// The descriptor in [`EventSuppression::desc`] is. Legal with
/// [`F::EVENT_IDX`](crate::F::EVENT_IDX).
#[doc(alias = "RING_EVENT_FLAGS_DESC")]
pub const EVENT_DESC: u16 = 2;

/// Bytes of a descriptor area of `size` descriptors.
pub const fn descriptor_bytes(size: u16) -> usize {
    size as usize * size_of::<Descriptor>()
}

/// Bytes of the driver area, and of the device area.
pub const EVENT_BYTES: usize = size_of::<EventSuppression>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_have_the_sizes_of_the_specification() {
        for size in [1, 3, 256, MAX_SIZE] {
            assert_eq!(descriptor_bytes(size), 16 * usize::from(size));
        }
        assert_eq!(EVENT_BYTES, 4);
    }

    #[test]
    fn a_descriptor_is_little_endian_on_every_machine() {
        let descriptor = Descriptor {
            addr: U64::new(0x0102_0304_0506_0708),
            len: U32::new(0x1112_1314),
            id: U16::new(0x2122),
            flags: U16::new((DescriptorFlags::AVAIL | DescriptorFlags::WRITE).bits()),
        };

        assert_eq!(
            descriptor.as_bytes(),
            [
                8, 7, 6, 5, 4, 3, 2, 1, 0x14, 0x13, 0x12, 0x11, 0x22, 0x21, 0x82, 0
            ]
        );
    }
}
