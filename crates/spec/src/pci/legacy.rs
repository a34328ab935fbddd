//! The registers of a device from before version 1: a header at the beginning of the first BAR,
//! which is of I/O ports. A transitional device has it beside the structures that capabilities
//! locate.
//! Spec: VIRTIO 1.4 §4.1.4.10 "Legacy Interfaces: A Note on PCI Device Layout".
//!
//! The header is little-endian, and each register is reached by accesses of its own width. The
//! configuration space of the device's type follows it ([`config`]), in the byte order of the
//! driver, and is reached by accesses of any width.

use core::ops::RangeInclusive;

use super::TRANSITIONAL_DEVICES;
use crate::DeviceId;

/// PCI device ids of devices that have the legacy interface. Those below the first in
/// [`TRANSITIONAL_DEVICES`] and above the last have no type by their id: their subsystem's id is
/// it (§4.1.2.3).
pub const DEVICE_IDS: RangeInclusive<u16> = 0x1000..=0x103f;

/// The PCI revision id of every device that has the legacy interface (§4.1.2.3).
pub const REVISION: u8 = 0;

/// Number of the BAR that the header is at the beginning of.
pub const BAR: u8 = 0;

/// Offset of the features that are offered, bits 0 to 31. R, 32 bits.
#[doc(alias = "VIRTIO_PCI_HOST_FEATURES")]
pub const DEVICE_FEATURES: usize = 0;
/// Offset of the features that the driver accepts, bits 0 to 31. RW, 32 bits.
#[doc(alias = "VIRTIO_PCI_GUEST_FEATURES")]
pub const DRIVER_FEATURES: usize = 4;
/// Offset of the queue's address, divided by [`PAGE`]. RW, 32 bits. 0 is read of a queue that is
/// not in use; writing it takes the queue back.
#[doc(alias = "VIRTIO_PCI_QUEUE_PFN")]
pub const QUEUE_ADDRESS: usize = 8;
/// Offset of the queue's size, which is the device's to choose. R, 16 bits. 0 if there is no such
/// queue.
#[doc(alias = "VIRTIO_PCI_QUEUE_NUM")]
pub const QUEUE_SIZE: usize = 12;
/// Offset of the index of the queue that the queue's registers speak of. RW, 16 bits.
#[doc(alias = "VIRTIO_PCI_QUEUE_SEL")]
pub const QUEUE_SELECT: usize = 14;
/// Offset of the index of a queue with new buffers. RW, 16 bits.
#[doc(alias = "VIRTIO_PCI_QUEUE_NOTIFY")]
pub const QUEUE_NOTIFY: usize = 16;
/// Offset of the device status, a [`Status`](crate::Status). RW, 8 bits. Writing 0 resets the
/// device.
#[doc(alias = "VIRTIO_PCI_STATUS")]
pub const DEVICE_STATUS: usize = 18;
/// Offset of the ISR status, an [`InterruptStatus`](crate::InterruptStatus), that reading clears.
/// R, 8 bits.
#[doc(alias = "VIRTIO_PCI_ISR")]
pub const ISR_STATUS: usize = 19;
/// Offset of the MSI-X vector for configuration changes, or [`NO_VECTOR`](super::NO_VECTOR). RW,
/// 16 bits. Exists while MSI-X is enabled.
#[doc(alias = "VIRTIO_MSI_CONFIG_VECTOR")]
pub const CONFIG_MSIX_VECTOR: usize = 20;
/// Offset of the MSI-X vector for the queue, or [`NO_VECTOR`](super::NO_VECTOR). RW, 16 bits.
/// Exists while MSI-X is enabled.
#[doc(alias = "VIRTIO_MSI_QUEUE_VECTOR")]
pub const QUEUE_MSIX_VECTOR: usize = 22;

/// Whether a function sends messages, which moves its configuration space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Msix {
    /// MSI-X is enabled: the header ends with the two vectors.
    Enabled,
    /// There is none, or it is not enabled.
    Disabled,
}

/// Offset of the configuration space of the device's type.
///
/// It moves when MSI-X is enabled or disabled.
#[doc(alias = "VIRTIO_PCI_CONFIG_OFF")]
pub const fn config(msix: Msix) -> usize {
    match msix {
        Msix::Enabled => 24,
        Msix::Disabled => 20,
    }
}

/// What an address is divided by in [`QUEUE_ADDRESS`].
#[doc(alias = "VIRTIO_PCI_QUEUE_ADDR_SHIFT")]
pub const PAGE: u64 = 4096;

/// What a ring, and the device area in it, is aligned to, in bytes (§4.1.5.1.3.1).
#[doc(alias = "VIRTIO_PCI_VRING_ALIGN")]
pub const QUEUE_ALIGN: u32 = 4096;

/// The PCI device id of a device of this type that has the legacy interface, if there is one
/// (§4.1.2).
pub fn device_id(id: DeviceId) -> Option<u16> {
    TRANSITIONAL_DEVICES
        .iter()
        .find(|(_, known)| *known == id)
        .map(|(pci_device, _)| *pci_device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::device_type;

    #[test]
    fn configuration_space_follows_the_header_whichever_it_is() {
        assert_eq!(config(Msix::Disabled), ISR_STATUS + 1);
        assert_eq!(config(Msix::Enabled), QUEUE_MSIX_VECTOR + 2);
    }

    #[test]
    fn an_id_of_the_legacy_interface_leads_back_to_its_type() {
        for &(pci_device, id) in TRANSITIONAL_DEVICES {
            assert_eq!(device_id(id), Some(pci_device));
            assert_eq!(device_type(pci_device), Some(id));
            assert!(DEVICE_IDS.contains(&pci_device));
        }
        assert_eq!(device_id(DeviceId::GPU), None);
    }
}
