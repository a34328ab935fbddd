//! The block device: reads and writes the sectors of a [`Disk`].
//!
//! Nothing is assumed of how a request is cut into descriptors (§2.7.4): its header is the first 16
//! readable bytes, its status the last writable one, and what is between is data.
//!
//! Spec: VIRTIO 1.4 §5.2 "Block Device".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_spec::blk::{Config, F, SECTOR_SIZE, WRITEBACK, WRITETHROUGH};
use ringway_spec::{DeviceId, Features};

use crate::config;
use crate::model::{Device, StateError, Worker};

mod bounced;
mod disk;
mod kept;
mod null;
mod ram_disk;
mod requests;

pub use bounced::Bounced;
pub use disk::{Abilities, Blocking, Channel, Disk, Pace, Range, Stable, Tag, Unmap};
pub use null::Null;
pub use ram_disk::RamDisk;
use requests::Requests;

/// The largest size of each queue.
pub const QUEUE_SIZE: u16 = 256;

/// Most request queues of one device.
pub const QUEUES_MAX: u16 = 64;

/// Most data segments of one request: what a queue of 128 holds, less the header and the status. That is
/// the queue that QEMU gives a disk of another process by default; and Linux makes chains as long as this
/// says, in an indirect table, whatever the queue holds (§2.7.5.3.1 forbids it).
const SEG_MAX: u32 = 128 - 2;

/// Largest data segment, in bytes. With [`SEG_MAX`] it bounds what one request can ask for, and so
/// how long a reset waits for it.
const SIZE_MAX: u32 = 1024 * 1024;

/// Most data of one request, in bytes.
const REQUEST_BYTES_MAX: u64 = SEG_MAX as u64 * SIZE_MAX as u64;

/// Data after which a batch ends, in bytes, so that a driver with a full ring of large requests
/// cannot keep its own reset waiting for all of them.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Data after which the driver is shown what was completed, in bytes, when the rest of the batch takes
/// no longer than its bytes take to copy.
const PUBLISH_BYTES: u64 = 64 * 1024;

/// Most ranges of one request to discard or to write zeroes: a driver cannot make one request into
/// endless work.
const RANGES_MAX: usize = 32;

/// Most sectors of one range to discard: 2 GiB.
const DISCARD_SECTORS_MAX: u32 = 4 * 1024 * 1024;

/// Most sectors of one range of zeroes to write: 32 MiB, for a disk may have to write them all.
const ZEROES_SECTORS_MAX: u32 = 64 * 1024;

/// Bytes of a sector, as the fields of the configuration count them.
const SECTOR: u32 = SECTOR_SIZE as u32;

/// A block device.
pub struct Blk {
    disk: Arc<dyn Disk>,
    features: Features,
    queue_sizes: Vec<u16>,
    /// What the driver agreed to, once it has.
    negotiated: Option<Features>,
    /// Whether writes are stable only after a flush. The workers look at it, the driver may change
    /// it.
    writeback: Arc<AtomicBool>,
    /// The same of the device that this one takes the place of, if it does.
    loaded: Option<bool>,
}

impl Blk {
    /// A device for `disk`, with as many request queues, 1 to [`QUEUES_MAX`].
    pub fn new(disk: Arc<dyn Disk>, queues: u16) -> Self {
        let queues = queues.clamp(1, QUEUES_MAX);
        Self {
            features: offered(&*disk, queues),
            queue_sizes: vec![QUEUE_SIZE; queues.into()],
            negotiated: None,
            loaded: None,
            writeback: Arc::new(AtomicBool::new(true)),
            disk,
        }
    }

    /// Has writes be as the driver finds them at first.
    fn set_cache(&self) {
        // A driver that cannot flush has its writes stable as they complete (§5.2.5.2, §5.2.6.2).
        let flushes = self
            .negotiated
            .is_some_and(|agreed| agreed.contains(F::FLUSH));
        let writeback = self.loaded.unwrap_or(true) && flushes;
        self.writeback.store(writeback, Ordering::SeqCst);
    }

    fn config(&self) -> Config {
        let can = |feature, value: u32| {
            if self.features.contains(feature) {
                value
            } else {
                0
            }
        };
        let block_sectors = self.disk.block_size().div_ceil(SECTOR);
        Config {
            capacity: self.disk.sectors().into(),
            size_max: SIZE_MAX.into(),
            seg_max: SEG_MAX.into(),
            blk_size: self.disk.block_size().into(),
            topology: self.disk.topology().unwrap_or_default(),
            writeback: if self.writeback.load(Ordering::SeqCst) {
                WRITEBACK
            } else {
                WRITETHROUGH
            },
            num_queues: (can(F::MQ, self.queue_sizes.len() as u32) as u16).into(),
            max_discard_sectors: can(F::DISCARD, DISCARD_SECTORS_MAX).into(),
            max_discard_seg: can(F::DISCARD, RANGES_MAX as u32).into(),
            discard_sector_alignment: can(F::DISCARD, block_sectors).into(),
            max_write_zeroes_sectors: can(F::WRITE_ZEROES, ZEROES_SECTORS_MAX).into(),
            max_write_zeroes_seg: can(F::WRITE_ZEROES, RANGES_MAX as u32).into(),
            write_zeroes_may_unmap: can(F::WRITE_ZEROES, self.disk.abilities().unmap.into()) as u8,
            ..Config::default()
        }
    }
}

impl Device for Blk {
    fn id(&self) -> DeviceId {
        DeviceId::BLOCK
    }

    fn features(&self) -> Features {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn config_bytes(&self) -> usize {
        size_of::<Config>()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        config::read(&self.config(), offset, into);
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) {
        let writeback = Config::WRITEBACK;
        // A legacy driver may write it before it has agreed to anything (§5.2.5.3).
        let features = self.negotiated.unwrap_or(self.features);
        if writeback.exists(features)
            && let Some(mode @ (WRITETHROUGH | WRITEBACK)) =
                config::written(writeback.field(), offset, from)
        {
            self.writeback.store(mode == WRITEBACK, Ordering::SeqCst);
        }
    }

    fn negotiated(&mut self, features: Features) {
        self.negotiated = Some(features);
        // A legacy driver that can say what it wants may have said so by now (§5.2.5.3).
        let said =
            !features.contains(ringway_spec::F::VERSION_1) && features.contains(F::CONFIG_WCE);
        if !said {
            self.set_cache();
        }
    }

    fn worker(&mut self, _index: u16, features: Features) -> Box<dyn Worker> {
        let (disk, writeback) = (self.disk.clone(), self.writeback.clone());
        Box::new(Requests::new(disk, features, writeback))
    }

    fn reset(&mut self) {
        self.negotiated = None;
        self.loaded = None;
        self.writeback.store(true, Ordering::SeqCst);
    }

    fn save(&self) -> Option<Vec<u8>> {
        let mode = if self.writeback.load(Ordering::SeqCst) {
            WRITEBACK
        } else {
            WRITETHROUGH
        };
        Some([STATE.as_slice(), &[mode]].concat())
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let mode = state.strip_prefix(&STATE).ok_or(StateError::Unknown)?;
        let writeback = match *mode {
            [WRITETHROUGH] => false,
            [WRITEBACK] => true,
            [_] => return Err(StateError::Value("a cache that is neither on nor off")),
            _ => return Err(StateError::Length(state.len())),
        };
        self.loaded = Some(writeback);
        self.set_cache();
        Ok(())
    }
}

/// What saved state begins with: whose it is, and its version.
const STATE: [u8; 4] = *b"blk\x01";

/// The features that a device for `disk` can keep its word on.
fn offered(disk: &dyn Disk, queues: u16) -> Features {
    let when = |is: bool, feature| if is { feature } else { Features::NONE };
    let writable = !disk.is_read_only();
    let abilities = disk.abilities();
    F::SIZE_MAX
        | F::SEG_MAX
        | F::BLK_SIZE
        | F::FLUSH
        | F::CONFIG_WCE
        | when(!writable, F::RO)
        | when(disk.topology().is_some(), F::TOPOLOGY)
        | when(queues > 1, F::MQ)
        | when(writable && abilities.discard, F::DISCARD)
        | when(writable && abilities.write_zeroes, F::WRITE_ZEROES)
}

#[cfg(test)]
mod tests;
