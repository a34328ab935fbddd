//! What a function says that it is: the numbers by which drivers find it.
//!
//! Spec: VIRTIO 1.4 §4.1.2 "PCI Device Discovery".

use ringway_spec::DeviceId;
use ringway_spec::pci::{MODERN_DEVICE_BASE, MODERN_DEVICE_LAST, legacy};

use super::Unfit;
use crate::parts::Interface;

/// The numbers of a function, beside that of its vendor.
pub(super) struct Identity {
    pub(super) device: u16,
    pub(super) revision: u8,
    pub(super) subsystem: u16,
    /// Programming interface, subclass and class.
    pub(super) class: [u8; 3],
}

impl Identity {
    /// That of a device of type `id`, for drivers of `interface`.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if there is no PCI device id for it.
    pub(super) fn of(id: DeviceId, interface: Interface) -> Result<Self, Unfit> {
        let modern = modern_device(id)?;
        let [class, subclass] = class(id);
        let class = [0, subclass, class];
        Ok(match interface {
            // A legacy driver passes over it for any of the three (§4.1.2.1).
            Interface::Modern => Self {
                device: modern,
                revision: 1,
                subsystem: modern,
                class,
            },
            Interface::Transitional | Interface::Legacy => Self {
                device: legacy::device_id(id).ok_or(Unfit::Transitional(id))?,
                revision: legacy::REVISION,
                // This is how it is told what it has before it (§4.1.2.3).
                subsystem: id.0 as u16,
                class,
            },
        })
    }
}

/// The PCI device id that is made from a device's type, which drivers look for (§4.1.2.2).
fn modern_device(id: DeviceId) -> Result<u16, Unfit> {
    let device = u16::try_from(id.0).ok();
    let device = device.and_then(|id| MODERN_DEVICE_BASE.checked_add(id));
    let known = device.filter(|device| *device <= MODERN_DEVICE_LAST);
    known.ok_or(Unfit::Type(id))
}

/// Class and subclass of a device of this type, from the class codes of PCI.
fn class(id: DeviceId) -> [u8; 2] {
    match id {
        DeviceId::NETWORK => [0x02, 0x00],
        DeviceId::BLOCK => [0x01, 0x80],
        DeviceId::SCSI => [0x01, 0x00],
        DeviceId::CONSOLE | DeviceId::SOCKET => [0x07, 0x80],
        DeviceId::GPU => [0x03, 0x80],
        DeviceId::INPUT => [0x09, 0x80],
        DeviceId::SOUND => [0x04, 0x01],
        DeviceId::CRYPTO => [0x10, 0x80],
        // Fits none of the classes.
        _ => [0xff, 0x00],
    }
}
