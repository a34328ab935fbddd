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

use ringway_ring::device::{Batch, Chain, Readable, TooShort, Violation, Writable};
use ringway_spec::blk::{
    Config, F, ID_BYTES, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE, Segment,
    SegmentFlags, Topology, WRITEBACK, WRITETHROUGH,
};
use ringway_spec::{DeviceId, Features};
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, Result};
use crate::model::{Device, Worker};

mod ram_disk;

pub use ram_disk::RamDisk;

/// What a block device stands on. Several queues use it at once.
///
/// Offsets and lengths are in bytes, and whole sectors within [`sectors`](Self::sectors): the
/// device has checked them.
pub trait Disk: Send + Sync {
    /// Its size, in sectors of 512 bytes.
    fn sectors(&self) -> u64;

    /// Whether it cannot be written. Then nothing below that writes is called.
    fn is_read_only(&self) -> bool;

    /// Who it is: ASCII, filled up with zeroes.
    fn id(&self) -> [u8; ID_BYTES];

    /// The block size that suits it, in bytes: a power of two, 512 or more.
    fn block_size(&self) -> u32 {
        SECTOR
    }

    /// The transfers that suit it, if it knows.
    fn topology(&self) -> Option<Topology> {
        None
    }

    /// What it can do without data being moved.
    fn abilities(&self) -> Abilities {
        Abilities::default()
    }

    /// Fills `into` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error`]: what is in `into` is not shown to the driver.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result;

    /// Writes `from` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error`]: what the sectors hold is anyone's guess.
    fn write_at(&self, offset: u64, from: &[u8]) -> Result;

    /// Returns once everything written before is safe from a loss of power.
    ///
    /// # Errors
    ///
    /// [`Error`]: it may not be.
    fn flush(&self) -> Result;

    /// Forgets `len` bytes from `offset` on; afterwards they may read as anything. Called with
    /// [`Abilities::discard`].
    ///
    /// # Errors
    ///
    /// [`Error`]: some may be forgotten.
    fn discard(&self, _offset: u64, _len: u64) -> Result {
        Err(Error::Unsupported)
    }

    /// Makes `len` bytes from `offset` on zero; with `unmap`, their space may be given back. Called
    /// with [`Abilities::write_zeroes`].
    ///
    /// # Errors
    ///
    /// [`Error`]: some may be zero.
    fn write_zeroes(&self, _offset: u64, _len: u64, _unmap: Unmap) -> Result {
        Err(Error::Unsupported)
    }
}

/// What a disk can do without data being moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// [`Disk::discard`] works.
    pub discard: bool,
    /// [`Disk::write_zeroes`] works.
    pub write_zeroes: bool,
    /// [`Disk::write_zeroes`] can give space back.
    pub unmap: bool,
}

/// Whether space that is zeroed may be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmap {
    /// It stays.
    Keep,
    /// It may go.
    Allow,
}

/// The largest size of each queue.
pub const QUEUE_SIZE: u16 = 256;

/// Most request queues of one device.
pub const QUEUES_MAX: u16 = 64;

/// Most data segments of one request: what a queue holds, less the header and the status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// Largest data segment, in bytes. With [`SEG_MAX`] it bounds what one request can ask for, and so
/// how long a reset waits for it.
const SIZE_MAX: u32 = 1024 * 1024;

/// Most data of one request, in bytes.
const REQUEST_BYTES_MAX: u64 = SEG_MAX as u64 * SIZE_MAX as u64;

/// Data after which a batch ends, in bytes, so that a driver with a full ring of large requests
/// cannot keep its own reset waiting for all of them.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Most ranges of one request to discard or to write zeroes: a driver cannot make one request into
/// endless work.
const RANGES_MAX: usize = 32;

/// Most sectors of one range to discard: 2 GiB.
const DISCARD_SECTORS_MAX: u32 = 4 * 1024 * 1024;

/// Most sectors of one range of zeroes to write: 32 MiB, for a disk may have to write them all.
const ZEROES_SECTORS_MAX: u32 = 64 * 1024;

/// Bytes of a sector, as the fields of the configuration count them.
const SECTOR: u32 = SECTOR_SIZE as u32;

/// Bytes moved between disk and driver at a time.
const BOUNCE_BYTES: usize = 128 * 1024;

/// A block device.
pub struct Blk {
    disk: Arc<dyn Disk>,
    features: Features,
    queue_sizes: Vec<u16>,
    /// What the driver agreed to.
    negotiated: Features,
    /// Whether writes are stable only after a flush. The workers look at it, the driver may change
    /// it.
    writeback: Arc<AtomicBool>,
}

impl Blk {
    /// A device for `disk`, with as many request queues, 1 to [`QUEUES_MAX`].
    pub fn new(disk: Arc<dyn Disk>, queues: u16) -> Self {
        let queues = queues.clamp(1, QUEUES_MAX);
        Self {
            features: offered(&*disk, queues),
            queue_sizes: vec![QUEUE_SIZE; queues.into()],
            negotiated: Features::NONE,
            writeback: Arc::new(AtomicBool::new(true)),
            disk,
        }
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

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let config = self.config();
        for (to, from) in into.iter_mut().zip(config.as_bytes().iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) {
        let writeback = Config::WRITEBACK;
        if offset == writeback.field().offset()
            && writeback.exists(self.negotiated)
            && let [mode @ (WRITETHROUGH | WRITEBACK)] = *from
        {
            self.writeback.store(mode == WRITEBACK, Ordering::SeqCst);
        }
    }

    fn negotiated(&mut self, features: Features) {
        self.negotiated = features;
        // A driver that cannot flush has its writes stable as they complete (§5.2.5.2, §5.2.6.2).
        self.writeback
            .store(features.contains(F::FLUSH), Ordering::SeqCst);
    }

    fn worker(&mut self, _index: u16, features: Features) -> Box<dyn Worker> {
        Box::new(Requests {
            disk: self.disk.clone(),
            features,
            writeback: self.writeback.clone(),
            bounce: vec![0; BOUNCE_BYTES].into_boxed_slice(),
        })
    }

    fn reset(&mut self) {
        self.negotiated = Features::NONE;
        self.writeback.store(true, Ordering::SeqCst);
    }
}

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

/// Serves one request queue.
struct Requests {
    disk: Arc<dyn Disk>,
    features: Features,
    writeback: Arc<AtomicBool>,
    /// What is on its way between disk and driver.
    bounce: Box<[u8]>,
}

/// Why a request was not done.
enum Failure {
    /// To be told to the driver.
    Status(RequestStatus),
    /// The chain's memory is no longer there.
    Gone,
}

impl Worker for Requests {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        let mut moved = 0_u64;
        while moved < BATCH_BYTES {
            let Some(chain) = batch.next_chain()? else {
                break;
            };
            moved = moved
                .saturating_add(chain.readable_bytes().into())
                .saturating_add(chain.writable_bytes().into());
            match self.serve_one(&chain, batch) {
                Ok(written) => batch.complete(chain, written),
                Err(violation) => return Err(batch.violated(violation)),
            }
            // The disk may take long for the next request; this one is not to wait for it.
            batch.publish();
        }
        Ok(())
    }
}

impl Requests {
    /// Does what one request asks, and says how many bytes were written, of data and status.
    fn serve_one(&mut self, chain: &Chain, batch: &Batch<'_>) -> Result<u32, Violation> {
        let no_header = Violation::Request("block request is shorter than its header (§5.2.6)");
        let no_status = Violation::Request("block request has no room for its status (§5.2.6)");
        let mut readable = batch.readable(chain);
        let header = readable.read_value().map_err(|TooShort| no_header)?;
        let mut status = batch.writable(chain);
        let room = status.remaining().checked_sub(1).ok_or(no_status)?;
        let mut answer = status.split_front(room).map_err(|TooShort| no_status)?;

        let outcome = match self.perform(&header, &mut readable, &mut answer) {
            Ok(()) => RequestStatus::OK,
            Err(Failure::Status(status)) => status,
            // Nothing can be said to the driver where there is no memory.
            Err(Failure::Gone) => return Ok(0),
        };
        // Whatever the request did not fill is shown as zeroes, so that what is said to be written
        // is written.
        let rest = answer.remaining();
        if answer.zero(rest).is_err() || status.write(outcome.as_bytes()).is_err() {
            return Ok(0);
        }
        Ok(chain.writable_bytes())
    }

    fn perform(
        &mut self,
        header: &RequestHeader,
        data: &mut Readable<'_>,
        answer: &mut Writable<'_>,
    ) -> Result<(), Failure> {
        match header.request_type {
            RequestType::IN => self.read(header.sector.get(), answer),
            RequestType::OUT => self.write(header.sector.get(), data),
            RequestType::FLUSH if self.features.contains(F::FLUSH) => Ok(self.disk.flush()?),
            RequestType::GET_ID => {
                let id = self.disk.id();
                if answer.remaining() < id.len() as u64 {
                    return Err(Failure::Status(RequestStatus::IOERR));
                }
                Ok(answer.write(&id)?)
            }
            RequestType::DISCARD if self.features.contains(F::DISCARD) => self.each_range(
                data,
                DISCARD_SECTORS_MAX,
                SegmentFlags::empty(),
                |disk, range| disk.discard(range.offset, range.len),
            ),
            RequestType::WRITE_ZEROES if self.features.contains(F::WRITE_ZEROES) => {
                self.each_range(
                    data,
                    ZEROES_SECTORS_MAX,
                    SegmentFlags::UNMAP,
                    |disk, range| disk.write_zeroes(range.offset, range.len, range.unmap),
                )?;
                self.written()
            }
            _ => Err(Failure::Status(RequestStatus::UNSUPP)),
        }
    }

    fn read(&mut self, sector: u64, answer: &mut Writable<'_>) -> Result<(), Failure> {
        let mut at = self.offset(sector, answer.remaining())?;
        // At most as many turns as the request has bounces.
        while answer.remaining() != 0 {
            let bounce = piece(&mut self.bounce, answer.remaining());
            self.disk.read_at(at, bounce)?;
            answer.write(bounce)?;
            at = at.saturating_add(bounce.len() as u64);
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, data: &mut Readable<'_>) -> Result<(), Failure> {
        if self.disk.is_read_only() {
            return Err(Failure::Status(RequestStatus::IOERR));
        }
        let mut at = self.offset(sector, data.remaining())?;
        while data.remaining() != 0 {
            let bounce = piece(&mut self.bounce, data.remaining());
            data.read(bounce)?;
            self.disk.write_at(at, bounce)?;
            at = at.saturating_add(bounce.len() as u64);
        }
        self.written()
    }

    /// Makes a write stable, if it is to be when it completes (§5.2.6.2).
    fn written(&self) -> Result<(), Failure> {
        if !self.writeback.load(Ordering::SeqCst) {
            self.disk.flush()?;
        }
        Ok(())
    }

    /// Checks every range of a request, then does `what` for each.
    fn each_range(
        &mut self,
        data: &mut Readable<'_>,
        sectors_max: u32,
        flags: SegmentFlags,
        what: impl Fn(&dyn Disk, Range) -> Result,
    ) -> Result<(), Failure> {
        let failed = Failure::Status(RequestStatus::IOERR);
        let bytes = data.remaining();
        if bytes > (RANGES_MAX as u64).saturating_mul(size_of::<Segment>() as u64) {
            return Err(failed);
        }
        let bounce = piece(&mut self.bounce, bytes);
        data.read(bounce)?;
        // Whole ranges only.
        let Ok(segments) = <[Segment]>::ref_from_bytes(bounce) else {
            return Err(failed);
        };
        let disk = &*self.disk;
        let range = |segment: &Segment| {
            let given = SegmentFlags::from_bits_retain(segment.flags.get());
            if !flags.contains(given) {
                return Err(Failure::Status(RequestStatus::UNSUPP));
            }
            let sectors = segment.num_sectors.get();
            if sectors > sectors_max {
                return Err(Failure::Status(RequestStatus::IOERR));
            }
            let len = u64::from(sectors).saturating_mul(SECTOR_SIZE as u64);
            Ok(Range {
                offset: range_offset(disk, segment.sector.get(), len)?,
                len,
                unmap: if given.contains(SegmentFlags::UNMAP) {
                    Unmap::Allow
                } else {
                    Unmap::Keep
                },
            })
        };
        for segment in segments {
            range(segment)?;
        }
        for segment in segments {
            what(disk, range(segment)?)?;
        }
        Ok(())
    }

    /// Where on the disk the `len` bytes of data from `sector` on begin, if they are whole sectors
    /// and on the disk.
    fn offset(&self, sector: u64, len: u64) -> Result<u64, Failure> {
        if len > REQUEST_BYTES_MAX || !len.is_multiple_of(SECTOR_SIZE as u64) {
            return Err(Failure::Status(RequestStatus::IOERR));
        }
        range_offset(&*self.disk, sector, len)
    }
}

/// A checked part of the disk, in bytes.
struct Range {
    offset: u64,
    len: u64,
    unmap: Unmap,
}

/// The first byte of `len` bytes from `sector` on, if they are all on the disk.
fn range_offset(disk: &dyn Disk, sector: u64, len: u64) -> Result<u64, Failure> {
    let offset = sector.checked_mul(SECTOR_SIZE as u64);
    let end = offset.and_then(|offset| offset.checked_add(len));
    let size = disk.sectors().saturating_mul(SECTOR_SIZE as u64);
    offset
        .filter(|_| end.is_some_and(|end| end <= size))
        .ok_or(Failure::Status(RequestStatus::IOERR))
}

/// As much of the bounce buffer as the next `left` bytes fill.
fn piece(bounce: &mut [u8], left: u64) -> &mut [u8] {
    let len = usize::try_from(left).map_or(bounce.len(), |left| left.min(bounce.len()));
    bounce.get_mut(..len).unwrap_or_default()
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Status(match error {
            Error::Unsupported => RequestStatus::UNSUPP,
            Error::Medium => RequestStatus::IOERR,
        })
    }
}

impl From<TooShort> for Failure {
    fn from(_: TooShort) -> Self {
        Self::Gone
    }
}

#[cfg(test)]
mod tests;
