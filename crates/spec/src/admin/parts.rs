//! What a device is made of, as it can be taken from one and given to another.
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.14 "Device parts".

use core::ops::Range;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::resource::ObjectHeader;
use crate::le::{U16, U32, U64};

/// Asks which parts a member has (§2.12.1.4.3.1).
#[doc(alias = "virtio_admin_cmd_dev_parts_metadata_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsMetadata {
    /// The object to get parts with.
    pub hdr: ObjectHeader,
    /// What about them.
    #[doc(alias = "type")]
    pub wanted: PartsMetadataType,
    /// Zero.
    pub reserved: [u8; 7],
}

layout!(PartsMetadata: 16 { hdr = 0, wanted = 8, reserved = 9 });

/// What is asked about parts (§2.12.1.4.3.1). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsMetadataType(pub u8);

impl PartsMetadataType {
    /// How many bytes they have at most: the device writes a [`PartsSize`].
    #[doc(alias = "VIRTIO_ADMIN_CMD_DEV_PARTS_METADATA_TYPE_SIZE")]
    pub const SIZE: Self = Self(0);
    /// How many there are: the device writes a [`PartsCount`].
    #[doc(alias = "VIRTIO_ADMIN_CMD_DEV_PARTS_METADATA_TYPE_COUNT")]
    pub const COUNT: Self = Self(1);
    /// Which there are: the device writes a [`PartsCount`], and so many [`PartHeader`]s.
    #[doc(alias = "VIRTIO_ADMIN_CMD_DEV_PARTS_METADATA_TYPE_LIST")]
    pub const LIST: Self = Self(2);
}

/// How many bytes the parts of a member have at most (§2.12.1.4.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsSize {
    /// So many.
    pub size: U32,
    /// Zero.
    pub reserved: U32,
}

layout!(PartsSize: 8 { size = 0, reserved = 4 });

/// How many parts a member has (§2.12.1.4.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsCount {
    /// So many.
    pub count: U32,
    /// Zero.
    pub reserved: U32,
}

layout!(PartsCount: 8 { count = 0, reserved = 4 });

/// Asks for the parts of a member (§2.12.1.4.3.2). The [`PartHeader`]s of those that are wanted
/// follow, unless all are.
#[doc(alias = "virtio_admin_cmd_dev_parts_get_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsGet {
    /// The object to get parts with.
    pub hdr: ObjectHeader,
    /// Which.
    #[doc(alias = "type")]
    pub wanted: PartsGetType,
    /// Zero.
    pub reserved: [u8; 7],
}

layout!(PartsGet: 16 { hdr = 0, wanted = 8, reserved = 9 });

/// Which parts are asked for (§2.12.1.4.3.2). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartsGetType(pub u8);

impl PartsGetType {
    /// Those whose headers follow.
    #[doc(alias = "VIRTIO_ADMIN_CMD_DEV_PARTS_GET_TYPE_SELECTED")]
    pub const SELECTED: Self = Self(0);
    /// All.
    #[doc(alias = "VIRTIO_ADMIN_CMD_DEV_PARTS_GET_TYPE_ALL")]
    pub const ALL: Self = Self(1);
}

/// Stops a member, or has it go on (§2.12.1.4.3.4).
#[doc(alias = "virtio_admin_cmd_dev_mode_set_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ModeSet {
    /// [`MODE_STOPPED`], or not.
    pub flags: u8,
}

layout!(ModeSet: 1 { flags = 0 });

/// The flag of [`ModeSet`] that has a member stop.
#[doc(alias = "VIRTIO_ADMIN_CMD_DEV_MODE_F_STOPPED")]
pub const MODE_STOPPED: u8 = 1 << 0;

/// How a part begins (§2.14). Its value follows.
#[doc(alias = "virtio_dev_part_hdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartHeader {
    /// Which part it is.
    pub part_type: PartType,
    /// [`PART_OPTIONAL`], or not.
    pub flags: u8,
    /// Zero.
    pub reserved: u8,
    /// Which of several of the type, first of all a number: of a register, by its offset, 32 bits;
    /// or of a queue, 16 bits. For the device type to define in its own parts.
    pub selector: [u8; 8],
    /// How many bytes the value has.
    pub length: U32,
}

layout!(PartHeader: 16 { part_type = 0, flags = 2, reserved = 3, selector = 4, length = 12 });

/// The flag of a part that a device can do without.
#[doc(alias = "VIRTIO_DEV_PART_F_OPTIONAL")]
pub const PART_OPTIONAL: u8 = 1 << 0;

codes! {
    /// Which part of a device (§2.14.1). Open set.
    struct PartType;

    /// The features that it offers: 64-bit words, as many as it takes (§2.14.1.1). Optional.
    DEV_FEATURES = 0x100, "VIRTIO_DEV_PART_DEV_FEATURES";
    /// The features that its driver has accepted: 64-bit words (§2.14.1.2).
    DRV_FEATURES = 0x101, "VIRTIO_DEV_PART_DRV_FEATURES";
    /// A register of [`CommonConfig`](crate::pci::CommonConfig), which the selector names by its
    /// offset (§2.14.1.3).
    PCI_COMMON_CFG = 0x102, "VIRTIO_DEV_PART_PCI_COMMON_CFG";
    /// The device status: one byte (§2.14.1.4).
    DEVICE_STATUS = 0x103, "VIRTIO_DEV_PART_DEVICE_STATUS";
    /// A queue, which the selector names: a [`PartQueue`] (§2.14.1.5).
    VQ_CFG = 0x104, "VIRTIO_DEV_PART_VQ_CFG";
    /// How a queue, which the selector names, is notified of: a [`PartNotify`] (§2.14.1.6).
    VQ_NOTIFY_CFG = 0x105, "VIRTIO_DEV_PART_VQ_NOTIFY_CFG";
}

impl PartType {
    /// Those that are for a device type to define. Those below are common to all.
    pub const OF_DEVICE_TYPES: Range<u16> = 0x200..0x600;
}

/// A queue as its driver has set it up (§2.14.1.5).
#[doc(alias = "virtio_dev_part_vq_cfg")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartQueue {
    /// Its size.
    pub queue_size: U16,
    /// Its MSI-X vector, or [`NO_VECTOR`](crate::pci::NO_VECTOR).
    pub vector: U16,
    /// 1 if it is enabled.
    pub enabled: U16,
    /// Zero.
    pub reserved: U16,
    /// Address of its descriptor area.
    pub queue_desc: U64,
    /// Address of its driver area.
    pub queue_driver: U64,
    /// Address of its device area.
    pub queue_device: U64,
}

layout!(PartQueue: 32 {
    queue_size = 0, vector = 2, enabled = 4, reserved = 6, queue_desc = 8, queue_driver = 16,
    queue_device = 24,
});

/// How a queue is notified of (§2.14.1.6).
#[doc(alias = "virtio_dev_part_vq_notify_data")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PartNotify {
    /// Where: [`CommonConfig::queue_notify_off`](crate::pci::CommonConfig::queue_notify_off).
    pub queue_notify_off: U16,
    /// By what name: [`CommonConfig::queue_notif_config_data`](crate::pci::CommonConfig::queue_notif_config_data).
    pub queue_notif_config_data: U16,
    /// Zero.
    pub reserved: [u8; 4],
}

layout!(PartNotify: 8 { queue_notify_off = 0, queue_notif_config_data = 2, reserved = 4 });
