//! What a disk says of itself. Spec: VIRTIO 1.4 §5.2.4 "Device configuration layout".

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{F, ZoneModel, ZonedCharacteristics};
use crate::config::{Field, Gated, Named, field};
use crate::le::{U16, U32, U64};

/// Configuration space (§5.2.4). Sectors are of [`SECTOR_SIZE`](super::SECTOR_SIZE).
#[doc(alias = "virtio_blk_config")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Config {
    /// Size of the disk, in sectors.
    pub capacity: U64,
    /// Largest segment of a request, in bytes. Exists with [`F::SIZE_MAX`].
    pub size_max: U32,
    /// Most segments in one request. Exists with [`F::SEG_MAX`].
    pub seg_max: U32,
    /// The disk's shape. Exists with [`F::GEOMETRY`].
    pub geometry: Geometry,
    /// Block size that suits the disk, in bytes. Exists with [`F::BLK_SIZE`].
    pub blk_size: U32,
    /// Transfers that suit the disk. Exists with [`F::TOPOLOGY`].
    pub topology: Topology,
    /// The cache's mode, [`WRITETHROUGH`] or [`WRITEBACK`]; the driver may set it. Exists with
    /// [`F::CONFIG_WCE`].
    pub writeback: u8,
    /// Zero.
    pub unused0: u8,
    /// Number of request queues. Exists with [`F::MQ`].
    pub num_queues: U16,
    /// Most sectors in one segment of a discard. Exists with [`F::DISCARD`].
    pub max_discard_sectors: U32,
    /// Most segments in one discard. Exists with [`F::DISCARD`].
    pub max_discard_seg: U32,
    /// Where to divide a discard, in sectors. Exists with [`F::DISCARD`].
    pub discard_sector_alignment: U32,
    /// Most sectors in one segment of zeroes to write. Exists with [`F::WRITE_ZEROES`].
    pub max_write_zeroes_sectors: U32,
    /// Most segments in one request to write zeroes. Exists with [`F::WRITE_ZEROES`].
    pub max_write_zeroes_seg: U32,
    /// 1 if writing zeroes with [`UNMAP`](super::SegmentFlags::UNMAP) may discard. Exists with
    /// [`F::WRITE_ZEROES`].
    pub write_zeroes_may_unmap: u8,
    /// Zero.
    pub unused1: [u8; 3],
    /// Most sectors in one segment of a secure erasure. Exists with [`F::SECURE_ERASE`].
    pub max_secure_erase_sectors: U32,
    /// Most segments in one secure erasure. Exists with [`F::SECURE_ERASE`].
    pub max_secure_erase_seg: U32,
    /// Where to divide a secure erasure, in sectors. Exists with [`F::SECURE_ERASE`].
    pub secure_erase_sector_alignment: U32,
    /// The disk's zones. Exists with [`F::ZONED`].
    pub zoned: ZonedCharacteristics,
}

layout!(Config: 96 {
    capacity = 0, size_max = 8, seg_max = 12, geometry = 16, blk_size = 20, topology = 24,
    writeback = 32, unused0 = 33, num_queues = 34, max_discard_sectors = 36, max_discard_seg = 40,
    discard_sector_alignment = 44, max_write_zeroes_sectors = 48, max_write_zeroes_seg = 52,
    write_zeroes_may_unmap = 56, unused1 = 57, max_secure_erase_sectors = 60,
    max_secure_erase_seg = 64, secure_erase_sector_alignment = 68, zoned = 72,
});

/// Places of the fields, for one access each.
impl Config {
    /// [`capacity`](Self::capacity).
    pub const CAPACITY: Field<U64> = field!(Config.capacity);
    /// [`size_max`](Self::size_max).
    pub const SIZE_MAX: Gated<U32> = field!(Config.size_max).when(F::SIZE_MAX);
    /// [`seg_max`](Self::seg_max).
    pub const SEG_MAX: Gated<U32> = field!(Config.seg_max).when(F::SEG_MAX);
    /// [`Geometry::cylinders`].
    pub const CYLINDERS: Gated<U16> = field!(Config.geometry.cylinders).when(F::GEOMETRY);
    /// [`Geometry::heads`].
    pub const HEADS: Gated<u8> = field!(Config.geometry.heads).when(F::GEOMETRY);
    /// [`Geometry::sectors`].
    pub const SECTORS: Gated<u8> = field!(Config.geometry.sectors).when(F::GEOMETRY);
    /// [`blk_size`](Self::blk_size).
    pub const BLK_SIZE: Gated<U32> = field!(Config.blk_size).when(F::BLK_SIZE);
    /// [`Topology::physical_block_exp`].
    pub const PHYSICAL_BLOCK_EXP: Gated<u8> =
        field!(Config.topology.physical_block_exp).when(F::TOPOLOGY);
    /// [`Topology::alignment_offset`].
    pub const ALIGNMENT_OFFSET: Gated<u8> =
        field!(Config.topology.alignment_offset).when(F::TOPOLOGY);
    /// [`Topology::min_io_size`].
    pub const MIN_IO_SIZE: Gated<U16> = field!(Config.topology.min_io_size).when(F::TOPOLOGY);
    /// [`Topology::opt_io_size`].
    pub const OPT_IO_SIZE: Gated<U32> = field!(Config.topology.opt_io_size).when(F::TOPOLOGY);
    /// [`writeback`](Self::writeback). Not to be read before the features are settled (§5.2.5.1).
    pub const WRITEBACK: Gated<u8> = field!(Config.writeback).when(F::CONFIG_WCE);
    /// [`num_queues`](Self::num_queues).
    pub const NUM_QUEUES: Gated<U16> = field!(Config.num_queues).when(F::MQ);
    /// [`max_discard_sectors`](Self::max_discard_sectors).
    pub const MAX_DISCARD_SECTORS: Gated<U32> = field!(Config.max_discard_sectors).when(F::DISCARD);
    /// [`max_discard_seg`](Self::max_discard_seg).
    pub const MAX_DISCARD_SEG: Gated<U32> = field!(Config.max_discard_seg).when(F::DISCARD);
    /// [`discard_sector_alignment`](Self::discard_sector_alignment).
    pub const DISCARD_SECTOR_ALIGNMENT: Gated<U32> =
        field!(Config.discard_sector_alignment).when(F::DISCARD);
    /// [`max_write_zeroes_sectors`](Self::max_write_zeroes_sectors).
    pub const MAX_WRITE_ZEROES_SECTORS: Gated<U32> =
        field!(Config.max_write_zeroes_sectors).when(F::WRITE_ZEROES);
    /// [`max_write_zeroes_seg`](Self::max_write_zeroes_seg).
    pub const MAX_WRITE_ZEROES_SEG: Gated<U32> =
        field!(Config.max_write_zeroes_seg).when(F::WRITE_ZEROES);
    /// [`write_zeroes_may_unmap`](Self::write_zeroes_may_unmap).
    pub const WRITE_ZEROES_MAY_UNMAP: Gated<u8> =
        field!(Config.write_zeroes_may_unmap).when(F::WRITE_ZEROES);
    /// [`max_secure_erase_sectors`](Self::max_secure_erase_sectors).
    pub const MAX_SECURE_ERASE_SECTORS: Gated<U32> =
        field!(Config.max_secure_erase_sectors).when(F::SECURE_ERASE);
    /// [`max_secure_erase_seg`](Self::max_secure_erase_seg).
    pub const MAX_SECURE_ERASE_SEG: Gated<U32> =
        field!(Config.max_secure_erase_seg).when(F::SECURE_ERASE);
    /// [`secure_erase_sector_alignment`](Self::secure_erase_sector_alignment).
    pub const SECURE_ERASE_SECTOR_ALIGNMENT: Gated<U32> =
        field!(Config.secure_erase_sector_alignment).when(F::SECURE_ERASE);
    /// [`ZonedCharacteristics::zone_sectors`].
    pub const ZONE_SECTORS: Gated<U32> = field!(Config.zoned.zone_sectors).when(F::ZONED);
    /// [`ZonedCharacteristics::max_open_zones`].
    pub const MAX_OPEN_ZONES: Gated<U32> = field!(Config.zoned.max_open_zones).when(F::ZONED);
    /// [`ZonedCharacteristics::max_active_zones`].
    pub const MAX_ACTIVE_ZONES: Gated<U32> = field!(Config.zoned.max_active_zones).when(F::ZONED);
    /// [`ZonedCharacteristics::max_append_sectors`].
    pub const MAX_APPEND_SECTORS: Gated<U32> =
        field!(Config.zoned.max_append_sectors).when(F::ZONED);
    /// [`ZonedCharacteristics::write_granularity`].
    pub const WRITE_GRANULARITY: Gated<U32> = field!(Config.zoned.write_granularity).when(F::ZONED);
    /// [`ZonedCharacteristics::model`].
    pub const ZONE_MODEL: Gated<ZoneModel> = field!(Config.zoned.model).when(F::ZONED);
}

/// The fields by name, in the order of their places.
pub const FIELDS: &[Named] = &[
    Config::CAPACITY.named("capacity"),
    Config::SIZE_MAX.named("size_max"),
    Config::SEG_MAX.named("seg_max"),
    Config::CYLINDERS.named("cylinders"),
    Config::HEADS.named("heads"),
    Config::SECTORS.named("sectors"),
    Config::BLK_SIZE.named("blk_size"),
    Config::PHYSICAL_BLOCK_EXP.named("physical_block_exp"),
    Config::ALIGNMENT_OFFSET.named("alignment_offset"),
    Config::MIN_IO_SIZE.named("min_io_size"),
    Config::OPT_IO_SIZE.named("opt_io_size"),
    Config::WRITEBACK.named("writeback"),
    Config::NUM_QUEUES.named("num_queues"),
    Config::MAX_DISCARD_SECTORS.named("max_discard_sectors"),
    Config::MAX_DISCARD_SEG.named("max_discard_seg"),
    Config::DISCARD_SECTOR_ALIGNMENT.named("discard_sector_alignment"),
    Config::MAX_WRITE_ZEROES_SECTORS.named("max_write_zeroes_sectors"),
    Config::MAX_WRITE_ZEROES_SEG.named("max_write_zeroes_seg"),
    Config::WRITE_ZEROES_MAY_UNMAP.named("write_zeroes_may_unmap"),
    Config::MAX_SECURE_ERASE_SECTORS.named("max_secure_erase_sectors"),
    Config::MAX_SECURE_ERASE_SEG.named("max_secure_erase_seg"),
    Config::SECURE_ERASE_SECTOR_ALIGNMENT.named("secure_erase_sector_alignment"),
    Config::ZONE_SECTORS.named("zone_sectors"),
    Config::MAX_OPEN_ZONES.named("max_open_zones"),
    Config::MAX_ACTIVE_ZONES.named("max_active_zones"),
    Config::MAX_APPEND_SECTORS.named("max_append_sectors"),
    Config::WRITE_GRANULARITY.named("write_granularity"),
    Config::ZONE_MODEL.named("model"),
];

/// `writeback`: a completed write is stable.
pub const WRITETHROUGH: u8 = 0;
/// `writeback`: a completed write is stable after a flush.
pub const WRITEBACK: u8 = 1;

/// A disk's shape, from when disks had one (§5.2.4).
#[doc(alias = "virtio_blk_geometry")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Geometry {
    /// Cylinders of the disk.
    pub cylinders: U16,
    /// Heads, which is tracks per cylinder.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

layout!(Geometry: 4 { cylinders = 0, heads = 2, sectors = 3 });

/// Which transfers suit a disk (§5.2.4). Blocks are of `blk_size`.
#[doc(alias = "virtio_blk_topology")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Topology {
    /// Blocks in one physical block, as a power of two.
    pub physical_block_exp: u8,
    /// The first block that begins a physical block.
    pub alignment_offset: u8,
    /// Least transfer that suits, in blocks.
    pub min_io_size: U16,
    /// Best, and largest, transfer that suits, in blocks.
    pub opt_io_size: U32,
}

layout!(Topology: 8 {
    physical_block_exp = 0, alignment_offset = 1, min_io_size = 2, opt_io_size = 4,
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_fields_are_where_the_whole_structure_has_them() {
        assert_eq!(Config::SECTORS.field().offset(), 19);
        assert_eq!(Config::OPT_IO_SIZE.field().offset(), 28);
        assert_eq!(Config::WRITEBACK.field().offset(), 32);
        assert_eq!(Config::ZONE_MODEL.field().offset(), 92);
    }

    #[test]
    fn fields_exist_with_their_own_feature() {
        assert_eq!(Config::WRITEBACK.gate(), F::CONFIG_WCE);
        assert_eq!(Config::NUM_QUEUES.gate(), F::MQ);
        assert!(!Config::BLK_SIZE.exists(F::TOPOLOGY));
        assert!(Config::BLK_SIZE.exists(F::TOPOLOGY | F::BLK_SIZE));
    }
}
