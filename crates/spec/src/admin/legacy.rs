//! The legacy interface of members, which their owner has for them. Spec: VIRTIO 1.4 §2.12.1.1
//! "Legacy Interfaces".
//!
//! Registers are where [`pci::legacy`](crate::pci::legacy) says, and little-endian for every
//! driver.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::U64;

/// Where something is to be written (§2.12.1.1.1). As many bytes follow as are to be.
#[doc(alias = "virtio_admin_cmd_legacy_common_cfg_wr_data")]
#[doc(alias = "virtio_admin_cmd_legacy_dev_reg_wr_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LegacyWrite {
    /// The first byte, in the header or in configuration space.
    pub offset: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

layout!(LegacyWrite: 8 { offset = 0, reserved = 1 });

/// Where something is to be read (§2.12.1.1.2): as many bytes as the result has room for.
#[doc(alias = "virtio_admin_cmd_legacy_common_cfg_rd_data")]
#[doc(alias = "virtio_admin_cmd_legacy_dev_cfg_rd_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LegacyRead {
    /// The first byte, in the header or in configuration space.
    pub offset: u8,
}

layout!(LegacyRead: 1 { offset = 0 });

/// How many addresses a device can name for notifications (§2.12.1.1.5).
pub const NOTIFY_INFO_ENTRIES: usize = 4;

/// Where notifications of legacy drivers can be written, the best first (§2.12.1.1.5).
#[doc(alias = "virtio_admin_cmd_legacy_notify_info_result")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NotifyInfoResult {
    /// Those before the first with [`NotifyInfoFlags::END`] count.
    pub entries: [NotifyInfo; NOTIFY_INFO_ENTRIES],
}

layout!(NotifyInfoResult: 64 { entries = 0 });

/// A place for the notifications of a member's legacy driver: the index of a queue, 16 bits
/// (§2.12.1.1.5).
#[doc(alias = "virtio_pci_legacy_notify_info")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NotifyInfo {
    /// Whose BAR it is in.
    pub flags: NotifyInfoFlags,
    /// Which BAR: 1 to 5.
    pub bar: u8,
    /// Zero.
    pub padding: [u8; 6],
    /// Where in it: a multiple of 2.
    pub offset: U64,
}

layout!(NotifyInfo: 16 { flags = 0, bar = 1, padding = 2, offset = 8 });

/// Whose BAR a place is in (§2.12.1.1.5). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NotifyInfoFlags(pub u8);

impl NotifyInfoFlags {
    /// Nobody's: neither this place counts nor those after it.
    pub const END: Self = Self(0);
    /// The owner's.
    pub const OWNER: Self = Self(1);
    /// The member's.
    pub const MEMBER: Self = Self(2);
}
