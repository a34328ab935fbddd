//! Why a device cannot be presented as a PCI function: whoever puts it together has asked for what
//! no driver may find.

use core::fmt;

use ringway_spec::DeviceId;

/// Why a device cannot be presented as a PCI function. Ours to configure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unfit {
    /// There is no PCI device id for this type: those end with type 63 (§4.1.2.2).
    Type(DeviceId),
    /// There is no transitional PCI device id for this type (§4.1.2.1): it can be presented by the
    /// [modern](crate::Interface::Modern) interface only.
    Transitional(DeviceId),
    /// Two shared memory regions have this id (§4.1.4.7.1).
    SameRegion(u8),
    /// The shared memory region with this id, and those before it, are more than a BAR can hold
    /// (§4.1.4.7.1).
    RegionTooLarge {
        /// Which region.
        id: u8,
        /// How many bytes it has.
        length: u64,
    },
    /// A capability does not go into what configuration space has left.
    NoRoom {
        /// How many bytes it has.
        bytes: usize,
        /// How many there is room for.
        left: usize,
    },
    /// A vendor's data was to be of [virtio's vendor id](ringway_spec::pci::VENDOR), which says
    /// nothing of whose it is (§4.1.4.8.1).
    Vendor,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(id) => write!(f, "no PCI device id is for device {}: the last is for 63", id.0),
            Self::Transitional(id) => write!(
                f,
                "a {id} device has no PCI device id of before version 1: present the modern interface"
            ),
            Self::SameRegion(id) => write!(f, "two shared memory regions have the id {id}"),
            Self::RegionTooLarge { id, length } => write!(
                f,
                "shared memory region {id}, of {length} bytes, goes beyond what a BAR can hold"
            ),
            Self::NoRoom { bytes, left } => write!(
                f,
                "a capability of {bytes} bytes, and {left} are left in configuration space"
            ),
            Self::Vendor => f.write_str(
                "data of vendor 0x1af4, which is that of every virtio device: take your own vendor id",
            ),
        }
    }
}

impl core::error::Error for Unfit {}
