//! Virtio over PCI: how a device is found, and how it says where its registers are.
//! Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".
//!
//! Registers of the common structure are in [`common`], those of the legacy interface in [`legacy`],
//! PCI's own numbers in [`config`], [`extended`], [`bridge`], [`msix`], [`af`] and [`sriov`]. The ISR byte is an [`InterruptStatus`](crate::InterruptStatus).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::DeviceId;
use crate::le::{U16, U32};

pub mod af;
pub mod bridge;
pub mod common;
pub mod config;
pub mod extended;
pub mod legacy;
pub mod msix;
pub mod slot;
pub mod sriov;

pub use common::CommonConfig;

/// PCI vendor id of every virtio device (§4.1.2.1).
#[doc(alias = "PCI_VENDOR_ID_REDHAT_QUMRANET")]
pub const VENDOR: u16 = 0x1af4;

/// PCI device id of a device is this plus its type (§4.1.2.1).
pub const MODERN_DEVICE_BASE: u16 = 0x1040;

/// Last PCI device id that is made from a type (§4.1.2.2).
pub const MODERN_DEVICE_LAST: u16 = 0x107f;

/// PCI device ids of devices that can also be used through the legacy interface (§4.1.2.1).
pub const TRANSITIONAL_DEVICES: &[(u16, DeviceId)] = &[
    (0x1000, DeviceId::NETWORK),
    (0x1001, DeviceId::BLOCK),
    (0x1002, DeviceId::BALLOON),
    (0x1003, DeviceId::CONSOLE),
    (0x1004, DeviceId::SCSI),
    (0x1005, DeviceId::ENTROPY),
    (0x1009, DeviceId::NINE_P),
];

/// In place of an MSI-X vector: none (§4.1.5.1.2). Read back after a vector was written, it says
/// that the device could not take it.
#[doc(alias = "VIRTIO_MSI_NO_VECTOR")]
pub const NO_VECTOR: u16 = 0xffff;

/// The type of the device with [`VENDOR`] and this PCI device id (§4.1.2.2).
pub fn device_type(pci_device: u16) -> Option<DeviceId> {
    match pci_device {
        MODERN_DEVICE_BASE..=MODERN_DEVICE_LAST => {
            Some(DeviceId((pci_device - MODERN_DEVICE_BASE).into()))
        }
        _ => TRANSITIONAL_DEVICES
            .iter()
            .find(|(known, _)| *known == pci_device)
            .map(|(_, id)| *id),
    }
}

/// Which structure a capability locates (§4.1.4). Open set: a driver passes over those it does not
/// know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CapabilityType(pub u8);

impl CapabilityType {
    /// The [`CommonConfig`]; its offset is a multiple of 4 (§4.1.4.3).
    #[doc(alias = "VIRTIO_PCI_CAP_COMMON_CFG")]
    pub const COMMON_CFG: Self = Self(1);
    /// The notification addresses; a [`NotifyCapability`] (§4.1.4.4).
    #[doc(alias = "VIRTIO_PCI_CAP_NOTIFY_CFG")]
    pub const NOTIFY_CFG: Self = Self(2);
    /// The ISR status byte, at any offset; reading clears it (§4.1.4.5).
    #[doc(alias = "VIRTIO_PCI_CAP_ISR_CFG")]
    pub const ISR_CFG: Self = Self(3);
    /// The configuration space of the device's type; its offset is a multiple of 4 (§4.1.4.6).
    #[doc(alias = "VIRTIO_PCI_CAP_DEVICE_CFG")]
    pub const DEVICE_CFG: Self = Self(4);
    /// A window on the other structures; a [`PciCfgCapability`] (§4.1.4.9).
    #[doc(alias = "VIRTIO_PCI_CAP_PCI_CFG")]
    pub const PCI_CFG: Self = Self(5);
    /// A shared memory region; a [`Capability64`], whose `id` is the region's (§4.1.4.7).
    #[doc(alias = "VIRTIO_PCI_CAP_SHARED_MEMORY_CFG")]
    pub const SHARED_MEMORY_CFG: Self = Self(8);
    /// Something of the vendor's own; a [`VendorCapability`] (§4.1.4.8).
    #[doc(alias = "VIRTIO_PCI_CAP_VENDOR_CFG")]
    pub const VENDOR_CFG: Self = Self(9);
}

/// Where a structure is (§4.1.4). In PCI configuration space, written by the device; do not trust.
#[doc(alias = "virtio_pci_cap")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Capability {
    /// [`config::CAPABILITY_VENDOR`].
    pub cap_vndr: u8,
    /// Offset of the next capability in PCI configuration space, 0 at the end.
    pub cap_next: u8,
    /// Bytes in this capability: those of its structure, or more.
    pub cap_len: u8,
    /// Which structure this locates.
    pub cfg_type: CapabilityType,
    /// Number of the BAR that the structure is in, 0 to 5; with any other, the capability is
    /// passed over (§4.1.4.1).
    pub bar: u8,
    /// Tells several structures of one type apart, where that means something.
    pub id: u8,
    /// Zero.
    pub padding: [u8; 2],
    /// Bytes from the start of the BAR to the structure.
    pub offset: U32,
    /// Bytes in the structure; may be more than is defined.
    pub length: U32,
}

layout!(Capability: 16 {
    cap_vndr = 0, cap_next = 1, cap_len = 2, cfg_type = 3, bar = 4, id = 5, padding = 6, offset = 8,
    length = 12,
});

/// Where the notification addresses are (§4.1.4.4).
///
/// That of a queue is `cap.offset + queue_notify_off * notify_off_multiplier`, in the BAR.
#[doc(alias = "virtio_pci_notify_cap")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NotifyCapability {
    /// The addresses' whole range; its offset is a multiple of 2, or of 4 with
    /// [`F::NOTIFICATION_DATA`](crate::F::NOTIFICATION_DATA) offered.
    pub cap: Capability,
    /// Bytes between the addresses of one queue and the next: a power of two, or 0 if all share
    /// one.
    pub notify_off_multiplier: U32,
}

layout!(NotifyCapability: 20 { cap = 0, notify_off_multiplier = 16 });

/// A window on the BARs in PCI configuration space (§4.1.4.9).
///
/// The driver writes `bar`, `offset` and `length` (1, 2 or 4), and then reads or writes as many
/// bytes of the data.
#[doc(alias = "virtio_pci_cfg_cap")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PciCfgCapability {
    /// Where the window looks.
    pub cap: Capability,
    /// What is there.
    pub pci_cfg_data: [u8; 4],
}

layout!(PciCfgCapability: 20 { cap = 0, pci_cfg_data = 16 });

/// Where a structure is that may be beyond 4 GiB (§4.1.4).
#[doc(alias = "virtio_pci_cap64")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Capability64 {
    /// The low halves of offset and length, and the rest.
    pub cap: Capability,
    /// High half of the offset.
    pub offset_hi: U32,
    /// High half of the length.
    pub length_hi: U32,
}

layout!(Capability64: 24 { cap = 0, offset_hi = 16, length_hi = 20 });

/// The beginning of a capability for the vendor's own data, read without effect (§4.1.4.8).
#[doc(alias = "virtio_pci_vndr_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct VendorCapability {
    /// [`config::CAPABILITY_VENDOR`].
    pub cap_vndr: u8,
    /// Offset of the next capability in PCI configuration space, 0 at the end.
    pub cap_next: u8,
    /// Bytes in this capability, a multiple of 4.
    pub cap_len: u8,
    /// [`CapabilityType::VENDOR_CFG`].
    pub cfg_type: CapabilityType,
    /// PCI vendor id of whoever defined the data; never [`VENDOR`].
    pub vendor_id: U16,
}

layout!(VendorCapability: 6 {
    cap_vndr = 0, cap_next = 1, cap_len = 2, cfg_type = 3, vendor_id = 4,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_its_modern_and_its_transitional_id() {
        assert_eq!(device_type(0x1041), Some(DeviceId::NETWORK));
        assert_eq!(device_type(0x1001), Some(DeviceId::BLOCK));
        assert_eq!(device_type(0x1005), Some(DeviceId::ENTROPY));
        assert_eq!(device_type(0x107f), Some(DeviceId(63)));
    }

    #[test]
    fn other_devices_of_the_vendor_are_none_of_ours() {
        for pci_device in [0, 0x1006, 0x103f, 0x1080, 0x1110, u16::MAX] {
            assert_eq!(device_type(pci_device), None);
        }
    }
}
