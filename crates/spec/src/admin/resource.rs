//! Objects that a driver makes in a device. Spec: VIRTIO 1.4 §2.12.1.3 "Device resource objects".

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U32, U64};

codes! {
    /// What kind of object (§2.12.1.3). Open set.
    struct ObjectType;

    /// What parts of a device are got or set with: a [`PartsObject`].
    DEV_PARTS = 0x000, "VIRTIO_RESOURCE_OBJ_DEV_PARTS";
}

impl ObjectType {
    /// Those that are for a device type to define. Those below are common to all.
    pub const OF_DEVICE_TYPES: Range<u16> = 0x200..0x500;
}

/// Which object is meant (§2.12.1.3).
#[doc(alias = "virtio_admin_cmd_resource_obj_cmd_hdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ObjectHeader {
    /// Of what kind it is.
    #[doc(alias = "type")]
    pub object_type: ObjectType,
    /// Zero.
    pub reserved: [u8; 2],
    /// Its number, which the driver has given it: below the limit that it has set, and unlike those
    /// of others of the kind.
    pub id: U32,
}

layout!(ObjectHeader: 8 { object_type = 0, reserved = 2, id = 4 });

impl ObjectHeader {
    /// This one.
    pub const fn new(object_type: ObjectType, id: u32) -> Self {
        Self {
            object_type,
            reserved: [0; 2],
            id: U32::new(id),
        }
    }
}

/// How commands begin that make, change or look at an object (§2.12.1.3.1). The object follows
/// where it is made or changed.
#[doc(alias = "virtio_admin_cmd_resource_obj_create_data")]
#[doc(alias = "virtio_admin_cmd_resource_modify_data")]
#[doc(alias = "virtio_admin_cmd_resource_obj_query_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ObjectCommand {
    /// Which object is meant.
    pub hdr: ObjectHeader,
    /// For the kind of object to define; zero for those that do not.
    pub flags: U64,
}

layout!(ObjectCommand: 16 { hdr = 0, flags = 8 });

/// An object of the kind [`ObjectType::DEV_PARTS`] (§2.12.1.4.2).
#[doc(alias = "virtio_resource_obj_dev_parts")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsObject {
    /// What it is for.
    #[doc(alias = "type")]
    pub purpose: PartsObjectType,
    /// Zero.
    pub reserved: [u8; 7],
}

layout!(PartsObject: 8 { purpose = 0, reserved = 1 });

/// What an object for device parts is for (§2.12.1.4.2). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsObjectType(pub u8);

impl PartsObjectType {
    /// To get parts.
    #[doc(alias = "VIRTIO_RESOURCE_OBJ_DEV_PARTS_TYPE_GET")]
    pub const GET: Self = Self(0);
    /// To set parts.
    #[doc(alias = "VIRTIO_RESOURCE_OBJ_DEV_PARTS_TYPE_SET")]
    pub const SET: Self = Self(1);
}
