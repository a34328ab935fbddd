//! Disks with zones, which are written in sequence. Spec: VIRTIO 1.4 §5.2 "Block Device".
//!
//! Everything here exists with [`F::ZONED`](super::F::ZONED).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U32, U64};

/// What kind of zones a disk has, and how many at once (§5.2.4).
#[doc(alias = "virtio_blk_zoned_characteristics")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZonedCharacteristics {
    /// Size of every zone but perhaps the last, in sectors.
    pub zone_sectors: U32,
    /// Most zones that can be open, 0 for no limit.
    pub max_open_zones: U32,
    /// Most zones that can be open or [closed](ZoneState::CLOSED), 0 for no limit.
    pub max_active_zones: U32,
    /// Most sectors in one [`ZONE_APPEND`](super::RequestType::ZONE_APPEND), 0 if it does not
    /// work.
    pub max_append_sectors: U32,
    /// Alignment of writes to sequential zones, in bytes.
    pub write_granularity: U32,
    /// Who minds the zones.
    pub model: ZoneModel,
    /// Zero.
    pub unused2: [u8; 3],
}

layout!(ZonedCharacteristics: 24 {
    zone_sectors = 0, max_open_zones = 4, max_active_zones = 8, max_append_sectors = 12,
    write_granularity = 16, model = 20, unused2 = 21,
});

/// Who minds a disk's zones (§5.2.4). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZoneModel(pub u8);

impl ZoneModel {
    /// The disk itself, if it has zones at all: to be used as a common disk.
    #[doc(alias = "VIRTIO_BLK_Z_NONE")]
    pub const NONE: Self = Self(0);
    /// The driver, which must write zones in sequence.
    #[doc(alias = "VIRTIO_BLK_Z_HM")]
    pub const HOST_MANAGED: Self = Self(1);
    /// The driver, which had better write zones in sequence.
    #[doc(alias = "VIRTIO_BLK_Z_HA")]
    pub const HOST_AWARE: Self = Self(2);
}

/// The beginning of the data of [`ZONE_REPORT`](super::RequestType::ZONE_REPORT) (§5.2.6); the
/// [`ZoneDescriptor`]s follow.
#[doc(alias = "virtio_blk_zone_report")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZoneReport {
    /// Number of descriptors that follow.
    pub nr_zones: U64,
    /// Zero.
    pub reserved: [u8; 56],
}

layout!(ZoneReport: 64 { nr_zones = 0, reserved = 8 });

/// One zone as reported (§5.2.6).
#[doc(alias = "virtio_blk_zone_descriptor")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZoneDescriptor {
    /// Sectors of the zone that can be written.
    pub z_cap: U64,
    /// First sector of the zone.
    pub z_start: U64,
    /// Sector to write next: the write pointer. Without meaning in a conventional, read-only, full
    /// or offline zone.
    pub z_wp: U64,
    /// How the zone may be written.
    pub z_type: ZoneType,
    /// How far the zone has been written.
    pub z_state: ZoneState,
    /// Zero.
    pub reserved: [u8; 38],
}

layout!(ZoneDescriptor: 64 {
    z_cap = 0, z_start = 8, z_wp = 16, z_type = 24, z_state = 25, reserved = 26,
});

/// How a zone may be written (§5.2.6). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZoneType(pub u8);

impl ZoneType {
    /// Anywhere, as a common disk.
    #[doc(alias = "VIRTIO_BLK_ZT_CONV")]
    pub const CONVENTIONAL: Self = Self(1);
    /// At its write pointer only.
    #[doc(alias = "VIRTIO_BLK_ZT_SWR")]
    pub const SEQUENTIAL_WRITE_REQUIRED: Self = Self(2);
    /// Anywhere, but better at its write pointer.
    #[doc(alias = "VIRTIO_BLK_ZT_SWP")]
    pub const SEQUENTIAL_WRITE_PREFERRED: Self = Self(3);
}

/// How far a zone has been written (§5.2.6). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ZoneState(pub u8);

impl ZoneState {
    /// The zone is conventional and has no write pointer.
    #[doc(alias = "VIRTIO_BLK_ZS_NOT_WP")]
    pub const NOT_WP: Self = Self(0);
    /// Not at all.
    #[doc(alias = "VIRTIO_BLK_ZS_EMPTY")]
    pub const EMPTY: Self = Self(1);
    /// Being written; opened by a write.
    #[doc(alias = "VIRTIO_BLK_ZS_IOPEN")]
    pub const IMPLICITLY_OPEN: Self = Self(2);
    /// Being written; opened by [`ZONE_OPEN`](super::RequestType::ZONE_OPEN).
    #[doc(alias = "VIRTIO_BLK_ZS_EOPEN")]
    pub const EXPLICITLY_OPEN: Self = Self(3);
    /// In part, and not open.
    #[doc(alias = "VIRTIO_BLK_ZS_CLOSED")]
    pub const CLOSED: Self = Self(4);
    /// No more: it can only be read.
    #[doc(alias = "VIRTIO_BLK_ZS_RDONLY")]
    pub const READ_ONLY: Self = Self(13);
    /// Wholly.
    #[doc(alias = "VIRTIO_BLK_ZS_FULL")]
    pub const FULL: Self = Self(14);
    /// Neither readable nor writable.
    #[doc(alias = "VIRTIO_BLK_ZS_OFFLINE")]
    pub const OFFLINE: Self = Self(15);
}
