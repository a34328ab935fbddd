//! What devices can do, and what their drivers use of it. Spec: VIRTIO 1.4 §2.12.1.2 "Device and
//! driver capabilities".

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

codes! {
    /// Which capability (§2.12.1.2). Open set.
    struct CapabilityId;

    /// How many objects for device parts there can be: a [`PartsCapability`].
    DEV_PARTS = 0x0000, "VIRTIO_DEV_PARTS_CAP";
}

impl CapabilityId {
    /// Those that are for a device type to define. Those below are common to all.
    pub const OF_DEVICE_TYPES: Range<u16> = 0x0800..0x1000;
}

/// Which capability is meant (§2.12.1.2.2): what
/// [`DEVICE_CAP_GET`](super::Opcode::DEVICE_CAP_GET) says. The capability, as the driver wants it,
/// follows in [`DRIVER_CAP_SET`](super::Opcode::DRIVER_CAP_SET) (§2.12.1.2.3).
#[doc(alias = "virtio_admin_cmd_cap_get_data")]
#[doc(alias = "virtio_admin_cmd_cap_set_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CapabilityHeader {
    /// Which one.
    pub id: CapabilityId,
    /// Zero.
    pub reserved: [u8; 6],
}

layout!(CapabilityHeader: 8 { id = 0, reserved = 2 });

impl CapabilityHeader {
    /// This one.
    pub const fn new(id: CapabilityId) -> Self {
        Self {
            id,
            reserved: [0; 6],
        }
    }
}

/// [`CapabilityId::DEV_PARTS`]: how many objects for device parts there can be (§2.12.1.4.1).
#[doc(alias = "virtio_dev_parts_cap")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsCapability {
    /// Those to get parts with.
    pub get_parts_resource_objects_limit: u8,
    /// Those to set parts with.
    pub set_parts_resource_objects_limit: u8,
}

layout!(PartsCapability: 2 {
    get_parts_resource_objects_limit = 0, set_parts_resource_objects_limit = 1,
});
