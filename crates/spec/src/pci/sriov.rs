//! SR-IOV: a physical function that has virtual ones, and the capability by which it says so. The
//! numbers are those of the PCI Express Base Specification 5.0, chapter 9.
//!
//! Virtual function `n`, from 1 on, has the [routing id](routing_id) of the physical one, and the
//! first offset, and `n - 1` strides. It is there while [`Control::VF_ENABLE`] is set, and answers at
//! addresses that are not in its own BARs but in those of the capability, one after the other.
//!
//! Offsets are from the beginning of the capability, in the [extended](super::extended)
//! configuration space.

use bitflags::bitflags;

use super::config;

/// Capability id, in extended configuration space.
pub const CAPABILITY: u16 = 0x0010;
/// Version of the capability.
pub const VERSION: u8 = 1;
/// Bytes of the capability.
pub const BYTES: usize = 0x40;

/// Offset of what the function can do, a [`Capabilities`] of 32 bits.
pub const CAPABILITIES: usize = 0x04;
/// Offset of the control register, a [`Control`] of 16 bits.
pub const CONTROL: usize = 0x08;
/// Offset of the status register, 16 bits, in which migration alone has a bit.
pub const STATUS: usize = 0x0a;
/// Offset of the number of virtual functions there are at first, 16 bits: all of them, unless they
/// can migrate.
#[doc(alias = "InitialVFs")]
pub const INITIAL_VFS: usize = 0x0c;
/// Offset of the most virtual functions there can be, 16 bits.
#[doc(alias = "TotalVFs")]
pub const TOTAL_VFS: usize = 0x0e;
/// Offset of how many the driver wants, 16 bits. Not to be written while they are enabled.
#[doc(alias = "NumVFs")]
pub const NUM_VFS: usize = 0x10;
/// Offset of the function on which this one depends, 8 bits; itself if on none.
pub const FUNCTION_DEPENDENCY_LINK: usize = 0x12;
/// Offset of the first offset, 16 bits. It may change with the number.
pub const FIRST_VF_OFFSET: usize = 0x14;
/// Offset of the stride, 16 bits. It may change with the number.
pub const VF_STRIDE: usize = 0x16;
/// Offset of the device id of the virtual functions, 16 bits: their own headers have none.
pub const VF_DEVICE_ID: usize = 0x1a;
/// Offset of the sizes of pages that can be chosen, 32 bits: bit `n` for 2ⁿ⁺¹² bytes.
pub const SUPPORTED_PAGE_SIZES: usize = 0x1c;
/// Offset of the size that is chosen, one bit of those. Each BAR of each virtual function begins
/// with a page. Not to be written while virtual functions are enabled.
pub const SYSTEM_PAGE_SIZE: usize = 0x20;
/// Offset of the first BAR; see [`bar`].
pub const VF_BAR0: usize = 0x24;
/// Offset of where the states of migration are, 32 bits.
pub const MIGRATION_STATE: usize = 0x3c;

/// The sizes of pages that every function with the capability supports: 4, 8, 64 and 256 KiB, 1 and
/// 4 MiB.
pub const REQUIRED_PAGE_SIZES: u32 = 0x553;
/// The size of pages after a reset: 4 KiB.
pub const SMALLEST_PAGE: u32 = 1;
/// Bytes of the smallest page, as a power of two.
const PAGE_SHIFT: u32 = 12;

bitflags! {
    /// What a function with the capability can do. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Capabilities: u32 {
        /// Virtual functions can be moved to other physical ones, and more come from there.
        #[doc(alias = "VF Migration Capable")]
        const VF_MIGRATION_CAPABLE = 1 << 0;

        const _ = !0;
    }
}

bitflags! {
    /// The control register. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Control: u16 {
        /// The virtual functions are there.
        #[doc(alias = "VF Enable")]
        const VF_ENABLE = 1 << 0;
        /// They may migrate.
        #[doc(alias = "VF Migration Enable")]
        const VF_MIGRATION_ENABLE = 1 << 1;
        /// They answer at their BARs.
        #[doc(alias = "VF MSE")]
        const VF_MEMORY = 1 << 3;

        const _ = !0;
    }
}

/// Offset of BAR `index` of the virtual functions, 32 bits; none from [`config::BARS`] on.
pub const fn bar(index: u8) -> Option<usize> {
    if index < config::BARS {
        Some(VF_BAR0 + 4 * index as usize)
    } else {
        None
    }
}

/// Bytes of a page of the size that a bit of [`SYSTEM_PAGE_SIZE`] stands for. None if it is not one
/// bit.
pub const fn page_bytes(size: u32) -> Option<u64> {
    if size.is_power_of_two() {
        Some((size as u64) << PAGE_SHIFT)
    } else {
        None
    }
}

/// The routing id of virtual function `number`, from 1 on. None if there cannot be one: it would be
/// past the last, or be the physical function itself.
pub const fn routing_id(physical: u16, offset: u16, stride: u16, number: u16) -> Option<u16> {
    let Some(before) = number.checked_sub(1) else {
        return None;
    };
    let distance = offset as u64 + stride as u64 * before as u64;
    let id = physical as u64 + distance;
    if distance == 0 || id > u16::MAX as u64 {
        return None;
    }
    Some(id as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_functions_follow_the_physical_one_by_strides() {
        assert_eq!(routing_id(0x0108, 1, 1, 1), Some(0x0109));
        assert_eq!(routing_id(0x0108, 0x80, 2, 4), Some(0x018e));
        assert_eq!(routing_id(0xffff, 1, 0, 1), None);
        assert_eq!(routing_id(0, u16::MAX, u16::MAX, u16::MAX), None);
        assert_eq!(routing_id(8, 0, 1, 1), None);
        assert_eq!(routing_id(8, 1, 1, 0), None);
    }

    #[test]
    fn a_page_has_one_size() {
        assert_eq!(page_bytes(SMALLEST_PAGE), Some(4096));
        assert_eq!(page_bytes(1 << 31), Some(1 << 43));
        assert_eq!([0, 3].map(page_bytes), [None, None]);
    }

    #[test]
    fn there_are_six_bars_before_the_end_of_the_capability() {
        assert_eq!(bar(0), Some(0x24));
        assert_eq!(bar(5), Some(MIGRATION_STATE - 4));
        assert_eq!(bar(6), None);
    }
}
