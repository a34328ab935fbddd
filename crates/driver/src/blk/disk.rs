//! What a device says of its disk, read and judged.

use core::num::NonZeroU16;

use ringway_spec::blk::{Config, F, SECTOR_SIZE};
use ringway_spec::le::{U16, U32};

use crate::bringup::{Config as DeviceConfig, Negotiated};
use crate::dma::QueueOptions;
use crate::error::{RequestError, Result, Violation};
use crate::transport::Transport;

/// What the device says of its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Size, in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a logical block, of which requests must be whole ones. At least 512.
    pub block_size: u32,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether writes may be kept in a cache until [`Blk::flush`](super::Blk::flush).
    pub can_flush: bool,
}

impl Disk {
    /// Reads what the device says, and refuses what cannot be.
    pub(super) fn read<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<Self> {
        let features = config.features();
        let sectors = config.read(Config::CAPACITY)?.get();
        let block_size = config
            .read_gated(Config::BLK_SIZE)?
            .map_or(SECTOR_SIZE as u32, U32::get);
        if !block_size.is_power_of_two() || (block_size as usize) < SECTOR_SIZE {
            return Err(
                Violation::BadConfig("blk_size is not a power of two of at least 512").into(),
            );
        }
        Ok(Self {
            sectors,
            block_size,
            read_only: features.contains(F::RO),
            can_flush: features.contains(F::FLUSH),
        })
    }

    /// Whether `len` bytes from `sector` on are whole blocks of the disk.
    pub(super) fn check(&self, sector: u64, len: usize) -> Result<(), RequestError> {
        let unit = self.block_size;
        let aligned = len.is_multiple_of(unit as usize)
            && sector.is_multiple_of(u64::from(unit) / SECTOR_SIZE as u64);
        let sectors = (len / SECTOR_SIZE) as u64;
        if len == 0 {
            Err(RequestError::Empty)
        } else if !aligned {
            Err(RequestError::NotWholeBlocks { len, unit })
        } else if sector
            .checked_add(sectors)
            .is_none_or(|end| end > self.sectors)
        {
            Err(RequestError::PastEnd {
                sector,
                sectors,
                capacity: self.sectors,
            })
        } else {
            Ok(())
        }
    }
}

/// How many request queues the device has: one, unless it says otherwise (§5.2.2).
pub(super) fn queues<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<NonZeroU16> {
    let said = config.read_gated(Config::NUM_QUEUES)?;
    let queues = NonZeroU16::new(said.map_or(1, U16::get));
    queues.ok_or(Violation::BadConfig("num_queues is 0").into())
}

/// Bounds the pieces of a request by what the device takes.
pub(super) fn limits<T: Transport>(
    device: &mut Negotiated<T>,
    options: &QueueOptions,
) -> Result<QueueOptions> {
    let mut config = device.config();
    // A device may say 0 and mean that it has no limit: QEMU's, and Linux's reading of it.
    let limit = |value: Option<U32>| {
        value
            .map(U32::get)
            .filter(|value| *value != 0)
            .unwrap_or(u32::MAX)
    };
    let longest = limit(config.read_gated(Config::SIZE_MAX)?).min(options.longest);
    let segments = limit(config.read_gated(Config::SEG_MAX)?).min(u32::from(options.segments));
    // No more than `options.segments`, which has 16 bits.
    Ok(QueueOptions {
        longest,
        segments: segments as u16,
        ..*options
    })
}
