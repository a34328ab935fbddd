//! Block device: a disk. Spec: VIRTIO 1.4 §5.2 "Block Device".
//!
//! A request is a readable [`RequestHeader`], data buffers that are readable or writable as its
//! type has it, and a writable byte of [`RequestStatus`], in one chain (§5.2.6).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::Features;
use crate::le::{U16, U32, U64};

mod config;
mod zoned;

pub use config::{Config, FIELDS, Geometry, Topology, WRITEBACK, WRITETHROUGH};
pub use zoned::{ZoneDescriptor, ZoneModel, ZoneReport, ZoneState, ZoneType, ZonedCharacteristics};

/// Bytes in one sector: the unit of `capacity` and of every sector number, whatever the block size
/// is (§5.2.4).
pub const SECTOR_SIZE: usize = 512;

/// Index of the first request queue; more exist with [`F::MQ`] (§5.2.2).
pub const REQUEST_QUEUE: u16 = 0;

/// Bytes of a device's identity, ASCII, filled up with zeroes if it is shorter (§5.2.6).
#[doc(alias = "VIRTIO_BLK_ID_BYTES")]
pub const ID_BYTES: usize = 20;

/// Features that need another, among those accepted: none.
///
/// [`F::CONFIG_WCE`] is *offered* only with [`F::FLUSH`], yet may be accepted alone: the device
/// then starts with its cache written through (§5.2.5.2).
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.2.3). `VIRTIO_BLK_F_RO` is spelled `blk::F::RO`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Requests may be barriers: [`RequestType::BARRIER`]. Legacy only.
    BARRIER = 0, "VIRTIO_BLK_F_BARRIER";
    /// The largest segment is given by `size_max`.
    SIZE_MAX = 1, "VIRTIO_BLK_F_SIZE_MAX";
    /// The most segments of a request are given by `seg_max`.
    SEG_MAX = 2, "VIRTIO_BLK_F_SEG_MAX";
    /// The disk's shape is given by `geometry`.
    GEOMETRY = 4, "VIRTIO_BLK_F_GEOMETRY";
    /// The device refuses writes.
    RO = 5, "VIRTIO_BLK_F_RO";
    /// The block size is given by `blk_size`.
    BLK_SIZE = 6, "VIRTIO_BLK_F_BLK_SIZE";
    /// Requests may be SCSI commands. Legacy only.
    SCSI = 7, "VIRTIO_BLK_F_SCSI";
    /// Writes are stable only after [`RequestType::FLUSH`].
    #[doc(alias = "VIRTIO_BLK_F_WCE")]
    FLUSH = 9, "VIRTIO_BLK_F_FLUSH";
    /// Block sizes that suit the disk are given by `topology`.
    TOPOLOGY = 10, "VIRTIO_BLK_F_TOPOLOGY";
    /// The driver may choose the cache's mode in `writeback`.
    CONFIG_WCE = 11, "VIRTIO_BLK_F_CONFIG_WCE";
    /// More than one request queue; their number is `num_queues`.
    MQ = 12, "VIRTIO_BLK_F_MQ";
    /// [`RequestType::DISCARD`] works.
    DISCARD = 13, "VIRTIO_BLK_F_DISCARD";
    /// [`RequestType::WRITE_ZEROES`] works.
    WRITE_ZEROES = 14, "VIRTIO_BLK_F_WRITE_ZEROES";
    /// [`RequestType::GET_LIFETIME`] works.
    LIFETIME = 15, "VIRTIO_BLK_F_LIFETIME";
    /// [`RequestType::SECURE_ERASE`] works.
    SECURE_ERASE = 16, "VIRTIO_BLK_F_SECURE_ERASE";
    /// The disk may have zones, described by `zoned`.
    ZONED = 17, "VIRTIO_BLK_F_ZONED";
}

/// What the driver asks for: the readable beginning of every request (§5.2.6).
#[doc(alias = "virtio_blk_req")]
#[doc(alias = "virtio_blk_outhdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct RequestHeader {
    /// What to do.
    pub request_type: RequestType,
    /// Zero; a legacy driver gives the request's priority.
    #[doc(alias = "ioprio")]
    pub reserved: U32,
    /// First sector to read or write, or of the zone meant; 0 in other requests.
    pub sector: U64,
}

layout!(RequestHeader: 16 { request_type = 0, reserved = 4, sector = 8 });

impl RequestHeader {
    /// A request of the type, at sector 0.
    pub const fn new(request_type: RequestType) -> Self {
        Self {
            request_type,
            reserved: U32::ZERO,
            sector: U64::ZERO,
        }
    }
}

/// What a request asks for (§5.2.6). Open set: a device may see any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct RequestType(pub U32);

impl RequestType {
    /// Read: the device fills the data buffers, a multiple of [`SECTOR_SIZE`].
    #[doc(alias = "VIRTIO_BLK_T_IN")]
    pub const IN: Self = Self::from_u32(0);
    /// Write: the device drains the data buffers, a multiple of [`SECTOR_SIZE`].
    #[doc(alias = "VIRTIO_BLK_T_OUT")]
    pub const OUT: Self = Self::from_u32(1);
    /// A SCSI command. Legacy, with [`F::SCSI`].
    #[doc(alias = "VIRTIO_BLK_T_SCSI_CMD")]
    pub const SCSI_CMD: Self = Self::from_u32(2);
    /// The same as [`SCSI_CMD`](Self::SCSI_CMD).
    #[doc(alias = "VIRTIO_BLK_T_SCSI_CMD_OUT")]
    pub const SCSI_CMD_OUT: Self = Self::from_u32(3);
    /// Make completed writes stable. No data. Exists with [`F::FLUSH`].
    #[doc(alias = "VIRTIO_BLK_T_FLUSH")]
    pub const FLUSH: Self = Self::from_u32(4);
    /// The same as [`FLUSH`](Self::FLUSH). Legacy.
    #[doc(alias = "VIRTIO_BLK_T_FLUSH_OUT")]
    pub const FLUSH_OUT: Self = Self::from_u32(5);
    /// Who are you: the device writes [`ID_BYTES`].
    #[doc(alias = "VIRTIO_BLK_T_GET_ID")]
    pub const GET_ID: Self = Self::from_u32(8);
    /// How worn are you: the device writes a [`Lifetime`]. Exists with [`F::LIFETIME`].
    #[doc(alias = "VIRTIO_BLK_T_GET_LIFETIME")]
    pub const GET_LIFETIME: Self = Self::from_u32(10);
    /// Forget the sectors of some [`Segment`]s. Exists with [`F::DISCARD`].
    #[doc(alias = "VIRTIO_BLK_T_DISCARD")]
    pub const DISCARD: Self = Self::from_u32(11);
    /// Fill the sectors of some [`Segment`]s with zeroes. Exists with [`F::WRITE_ZEROES`].
    #[doc(alias = "VIRTIO_BLK_T_WRITE_ZEROES")]
    pub const WRITE_ZEROES: Self = Self::from_u32(13);
    /// Forget the sectors of some [`Segment`]s for good. Exists with [`F::SECURE_ERASE`].
    #[doc(alias = "VIRTIO_BLK_T_SECURE_ERASE")]
    pub const SECURE_ERASE: Self = Self::from_u32(14);
    /// Write at the zone's write pointer. The sector that was written, a [`U64`], comes before the
    /// status byte, writable. This and the following exist with [`F::ZONED`].
    #[doc(alias = "VIRTIO_BLK_T_ZONE_APPEND")]
    pub const ZONE_APPEND: Self = Self::from_u32(15);
    /// The device writes a [`ZoneReport`] and a [`ZoneDescriptor`] for each zone from the one that
    /// holds the sector.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_REPORT")]
    pub const ZONE_REPORT: Self = Self::from_u32(16);
    /// Open the zone. No data.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_OPEN")]
    pub const ZONE_OPEN: Self = Self::from_u32(18);
    /// Close the zone. No data.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_CLOSE")]
    pub const ZONE_CLOSE: Self = Self::from_u32(20);
    /// Make the zone full. No data.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_FINISH")]
    pub const ZONE_FINISH: Self = Self::from_u32(22);
    /// Make the zone empty. No data.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_RESET")]
    pub const ZONE_RESET: Self = Self::from_u32(24);
    /// Make every sequential zone empty. No data.
    #[doc(alias = "VIRTIO_BLK_T_ZONE_RESET_ALL")]
    pub const ZONE_RESET_ALL: Self = Self::from_u32(26);

    /// Bit added to the type of a request that must not be moved across. Legacy, with
    /// [`F::BARRIER`].
    #[doc(alias = "VIRTIO_BLK_T_BARRIER")]
    pub const BARRIER: u32 = 1 << 31;

    /// The type of this number.
    pub const fn from_u32(number: u32) -> Self {
        Self(U32::new(number))
    }
}

/// How a request ended: its last, writable byte (§5.2.6). Open set: a driver may see any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct RequestStatus(pub u8);

impl RequestStatus {
    /// Done.
    #[doc(alias = "VIRTIO_BLK_S_OK")]
    pub const OK: Self = Self(0);
    /// Failed, by the medium or by a mistake of the driver.
    #[doc(alias = "VIRTIO_BLK_S_IOERR")]
    pub const IOERR: Self = Self(1);
    /// The device does not do such requests.
    #[doc(alias = "VIRTIO_BLK_S_UNSUPP")]
    pub const UNSUPP: Self = Self(2);
    /// The zone cannot do this. This and the following exist with [`F::ZONED`].
    #[doc(alias = "VIRTIO_BLK_S_ZONE_INVALID_CMD")]
    pub const ZONE_INVALID_CMD: Self = Self(3);
    /// The write did not begin at the zone's write pointer.
    #[doc(alias = "VIRTIO_BLK_S_ZONE_UNALIGNED_WP")]
    pub const ZONE_UNALIGNED_WP: Self = Self(4);
    /// Too many zones are open.
    #[doc(alias = "VIRTIO_BLK_S_ZONE_OPEN_RESOURCE")]
    pub const ZONE_OPEN_RESOURCE: Self = Self(5);
    /// Too many zones are active.
    #[doc(alias = "VIRTIO_BLK_S_ZONE_ACTIVE_RESOURCE")]
    pub const ZONE_ACTIVE_RESOURCE: Self = Self(6);
}

/// A range to discard, erase or fill with zeroes (§5.2.6). A request's readable data is one or
/// more.
#[doc(alias = "virtio_blk_discard_write_zeroes")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Segment {
    /// First sector.
    pub sector: U64,
    /// Number of sectors.
    pub num_sectors: U32,
    /// [`SegmentFlags`].
    pub flags: U32,
}

layout!(Segment: 16 { sector = 0, num_sectors = 8, flags = 12 });

bitflags! {
    /// Flags of a [`Segment`] (§5.2.6). Bits without a name are kept: a device must refuse them
    /// (§5.2.6.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct SegmentFlags: u32 {
        /// Zeroes may be had by discarding. Only for [`RequestType::WRITE_ZEROES`].
        #[doc(alias = "VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP")]
        const UNMAP = 1;

        const _ = !0;
    }
}

/// How worn a disk of flash is: the data of [`RequestType::GET_LIFETIME`] (§5.2.6).
#[doc(alias = "virtio_blk_lifetime")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Lifetime {
    /// How many of the spare blocks are used up.
    pub pre_eol_info: PreEolInfo,
    /// Wear of single-level cells, in tenths of a life, rounded up: 1 to 10, or 11 beyond it. 0 is
    /// unknown.
    pub device_lifetime_est_typ_a: U16,
    /// Wear of multi-level cells, in the same way.
    pub device_lifetime_est_typ_b: U16,
}

layout!(Lifetime: 6 {
    pre_eol_info = 0, device_lifetime_est_typ_a = 2, device_lifetime_est_typ_b = 4,
});

/// How many of a disk's spare blocks are used up (§5.2.6). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PreEolInfo(pub U16);

impl PreEolInfo {
    /// Unknown.
    #[doc(alias = "VIRTIO_BLK_PRE_EOL_INFO_UNDEFINED")]
    pub const UNDEFINED: Self = Self(U16::new(0));
    /// Less than 80 %.
    #[doc(alias = "VIRTIO_BLK_PRE_EOL_INFO_NORMAL")]
    pub const NORMAL: Self = Self(U16::new(1));
    /// 80 % or more.
    #[doc(alias = "VIRTIO_BLK_PRE_EOL_INFO_WARNING")]
    pub const WARNING: Self = Self(U16::new(2));
    /// 90 % or more.
    #[doc(alias = "VIRTIO_BLK_PRE_EOL_INFO_URGENT")]
    pub const URGENT: Self = Self(U16::new(3));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_types_can_be_matched() {
        let header = RequestHeader::new(RequestType::from_u32(4));

        assert!(matches!(
            header.request_type,
            RequestType::FLUSH | RequestType::FLUSH_OUT
        ));
    }

    #[test]
    fn a_header_may_be_read_at_any_address() {
        let bytes: [u8; 17] = core::array::from_fn(|i| i as u8);

        let header = RequestHeader::ref_from_bytes(&bytes[1..]).unwrap();

        assert_eq!(header.request_type.0.get(), 0x0403_0201);
        assert_eq!(header.sector.get(), 0x100f_0e0d_0c0b_0a09);
    }
}
