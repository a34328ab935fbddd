//! The block device: reads and writes the sectors of a [`Disk`].
//!
//! Nothing is assumed of how a request is cut into descriptors (§2.7.4): its header is the first 16 readable bytes, its status the last writable
//! one, and what is between is data.
//!
//! Spec: VIRTIO 1.4 §5.2 "Block Device".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_ring::device::{Batch, Chain, Readable, TooShort, Violation, Writable};
use ringway_ring::map::Map;
use ringway_spec::blk::{
    Config, F, ID_BYTES, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE, Segment,
    SegmentFlags, Topology, WRITEBACK, WRITETHROUGH,
};
use ringway_spec::{DeviceId, Features};
use zerocopy::{FromBytes, IntoBytes};

use crate::error::{Error, Result};
use crate::model::{Device, Worker};

/// What a block device stands on. Several queues use it at once.
///
/// Offsets and lengths are in bytes, and whole sectors within [`sectors`](Self::sectors): the device has checked them.
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

    /// Forgets `len` bytes from `offset` on; afterwards they may read as anything. Called with [`Abilities::discard`].
    ///
    /// # Errors
    ///
    /// [`Error`]: some may be forgotten.
    fn discard(&self, _offset: u64, _len: u64) -> Result {
        Err(Error::Unsupported)
    }

    /// Makes `len` bytes from `offset` on zero; with `unmap`, their space may be given back. Called with [`Abilities::write_zeroes`].
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

/// Largest data segment, in bytes. With [`SEG_MAX`] it bounds what one request can ask for, and so how long a reset waits for it.
const SIZE_MAX: u32 = 1024 * 1024;

/// Most data of one request, in bytes.
const REQUEST_BYTES_MAX: u64 = SEG_MAX as u64 * SIZE_MAX as u64;

/// Data after which a batch ends, in bytes, so that a driver with a full ring of large requests cannot keep its own reset waiting for all of them.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Most ranges of one request to discard or to write zeroes: a driver cannot make one request into endless work.
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
    /// Whether writes are stable only after a flush. The workers look at it, the driver may change it.
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

    fn activate(&mut self, features: Features) -> Vec<Box<dyn Worker>> {
        let worker = |_| -> Box<dyn Worker> {
            Box::new(Requests {
                disk: self.disk.clone(),
                features,
                writeback: self.writeback.clone(),
                bounce: vec![0; BOUNCE_BYTES].into_boxed_slice(),
            })
        };
        self.queue_sizes.iter().map(worker).collect()
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
            let map = batch.map();
            moved = moved
                .saturating_add(chain.readable(map).remaining())
                .saturating_add(chain.writable(map).remaining());
            match self.serve_one(&chain, map) {
                Ok(written) => batch.complete(chain, written),
                Err(violation) => return Err(batch.violated(violation)),
            }
        }
        Ok(())
    }
}

impl Requests {
    /// Does what one request asks, and says how many bytes were written, of data and status.
    fn serve_one(&mut self, chain: &Chain, map: &Map) -> Result<u32, Violation> {
        let no_header = Violation::Request("block request is shorter than its header (§5.2.6)");
        let no_status = Violation::Request("block request has no room for its status (§5.2.6)");
        let mut readable = chain.readable(map);
        let header = readable.read_value().map_err(|TooShort| no_header)?;
        let mut status = chain.writable(map);
        let room = status.remaining().checked_sub(1).ok_or(no_status)?;
        let mut answer = status.split_front(room).map_err(|TooShort| no_status)?;

        let outcome = match self.perform(&header, &mut readable, &mut answer) {
            Ok(()) => RequestStatus::OK,
            Err(Failure::Status(status)) => status,
            // Nothing can be said to the driver where there is no memory.
            Err(Failure::Gone) => return Ok(0),
        };
        // Whatever the request did not fill is shown as zeroes, so that what is said to be written is written.
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

    /// Where on the disk the `len` bytes of data from `sector` on begin, if they are whole sectors and on the disk.
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
mod tests {
    use super::*;
    use crate::task::Ran;
    use crate::testing::{Answer, Loop, Random, UNTOUCHED};
    use spin::Mutex;

    const OK: u8 = RequestStatus::OK.0;
    const IOERR: u8 = RequestStatus::IOERR.0;
    const UNSUPP: u8 = RequestStatus::UNSUPP.0;

    /// Sectors of a disk under test.
    const SECTORS: u8 = 16;

    /// A disk in memory, whose sectors each hold their own number.
    struct Memory {
        sectors: u64,
        bytes: Mutex<Vec<u8>>,
        done: Mutex<Vec<Did>>,
        read_only: bool,
        /// Reads from here on fail.
        bad_from: u64,
        abilities: Abilities,
    }

    /// What a disk was asked to do, but read.
    #[derive(Debug, PartialEq, Eq)]
    enum Did {
        Write(u64, usize),
        Flush,
        Discard(u64, u64),
        Zero(u64, u64, Unmap),
    }

    impl Memory {
        fn new() -> Self {
            let bytes = (0..SECTORS).flat_map(|sector| [sector; SECTOR_SIZE]);
            Self {
                sectors: SECTORS.into(),
                bytes: Mutex::new(bytes.collect()),
                done: Mutex::default(),
                read_only: false,
                bad_from: u64::MAX,
                abilities: Abilities {
                    discard: true,
                    write_zeroes: true,
                    unmap: true,
                },
            }
        }

        /// What it was asked to do since this was last asked.
        fn done(&self) -> Vec<Did> {
            core::mem::take(&mut self.done.lock())
        }
    }

    impl Disk for Memory {
        fn sectors(&self) -> u64 {
            self.sectors
        }

        fn is_read_only(&self) -> bool {
            self.read_only
        }

        fn id(&self) -> [u8; ID_BYTES] {
            *b"memory\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        }

        fn block_size(&self) -> u32 {
            4096
        }

        fn abilities(&self) -> Abilities {
            self.abilities
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> Result {
            let at = offset as usize;
            if offset + into.len() as u64 > self.bad_from {
                // As a device may that fails half way.
                into.fill(0xee);
                return Err(Error::Medium);
            }
            into.copy_from_slice(&self.bytes.lock()[at..at + into.len()]);
            Ok(())
        }

        fn write_at(&self, offset: u64, from: &[u8]) -> Result {
            let at = offset as usize;
            self.bytes.lock()[at..at + from.len()].copy_from_slice(from);
            self.done.lock().push(Did::Write(offset, from.len()));
            Ok(())
        }

        fn flush(&self) -> Result {
            self.done.lock().push(Did::Flush);
            Ok(())
        }

        fn discard(&self, offset: u64, len: u64) -> Result {
            self.done.lock().push(Did::Discard(offset, len));
            Ok(())
        }

        fn write_zeroes(&self, offset: u64, len: u64, unmap: Unmap) -> Result {
            self.done.lock().push(Did::Zero(offset, len, unmap));
            Ok(())
        }
    }

    /// A device for `disk`, whose driver accepts all that is offered less `without`.
    fn blk(disk: &Arc<Memory>, without: Features) -> Loop {
        let mut device = Blk::new(disk.clone(), 1);
        let features = device.features();
        Loop::new(&mut device, features.difference(without))
    }

    fn disk() -> (Arc<Memory>, Loop) {
        let disk = Arc::new(Memory::new());
        let blk = blk(&disk, Features::NONE);
        (disk, blk)
    }

    fn header(request_type: RequestType, sector: u64) -> [u8; 16] {
        let header = RequestHeader {
            sector: sector.into(),
            ..RequestHeader::new(request_type)
        };
        header.as_bytes().try_into().unwrap()
    }

    fn range(sector: u64, num_sectors: u32, flags: u32) -> [u8; 16] {
        let segment = Segment {
            sector: sector.into(),
            num_sectors: num_sectors.into(),
            flags: flags.into(),
        };
        segment.as_bytes().try_into().unwrap()
    }

    /// What a request wrote, checked to be all of what it had room for; and its status.
    fn outcome(answer: Result<Answer, Violation>) -> (Vec<u8>, u8) {
        let mut answer = answer.unwrap();
        assert_eq!(answer.written as usize, answer.bytes.len());
        let status = answer.bytes.pop().unwrap();
        (answer.bytes, status)
    }

    #[test]
    fn sectors_are_read() {
        let (_disk, mut blk) = disk();

        let answer = blk.request(&[&header(RequestType::IN, 3)], &[1024, 1]);

        let expected = [[3; 512], [4; 512]].concat();
        assert_eq!(outcome(answer), (expected, OK));
    }

    #[test]
    fn sectors_are_written() {
        let (disk, mut blk) = disk();

        let answer = blk.request(&[&header(RequestType::OUT, 3), &[9; 1024]], &[1]);

        assert_eq!(outcome(answer), (vec![], OK));
        let expected = [[2; 512], [9; 512], [9; 512], [5; 512]].concat();
        assert_eq!(disk.bytes.lock()[1024..3072], expected);
        assert_eq!(disk.done(), [Did::Write(1536, 1024)]);
    }

    /// §2.7.4: how a request is cut says nothing.
    #[test]
    fn requests_are_the_same_however_they_are_cut() {
        let (disk, mut blk) = disk();
        let read = header(RequestType::IN, 1);
        let write = [&header(RequestType::OUT, 5)[..], &[7; 512]].concat();

        let joined = blk.request(&[&read], &[513]);
        let cut = blk.request(&[&read[..3], &read[3..]], &[1, 500, 12]);
        let written = blk.request(&[&write[..7], &write[7..100], &write[100..]], &[1]);

        assert_eq!(outcome(joined), (vec![1; 512], OK));
        assert_eq!(outcome(cut), (vec![1; 512], OK));
        assert_eq!(outcome(written), (vec![], OK));
        assert_eq!(disk.bytes.lock()[2560..3072], [7; 512]);
    }

    #[test]
    fn data_larger_than_the_bounce_buffer_goes_through_in_pieces() {
        let sectors = 600;
        let disk = Arc::new(Memory {
            sectors: sectors as u64,
            bytes: Mutex::new(vec![0; sectors * SECTOR_SIZE]),
            ..Memory::new()
        });
        let mut blk = blk(&disk, Features::NONE);
        let data: Vec<u8> = (0..sectors * SECTOR_SIZE)
            .map(|at| (at / 7) as u8)
            .collect();

        let written = blk.request(&[&header(RequestType::OUT, 0), &data], &[1]);
        let read = blk.request(&[&header(RequestType::IN, 0)], &[data.len(), 1]);

        assert!(data.len() > 2 * BOUNCE_BYTES);
        assert_eq!(outcome(written).1, OK);
        assert_eq!(outcome(read), (data, OK));
    }

    /// Devices' defect 5: a request shorter than its header.
    #[test]
    fn a_request_shorter_than_its_header_is_a_violation() {
        let (disk, mut blk) = disk();

        let answer = blk.request(&[&header(RequestType::OUT, 0)[..15]], &[1]);

        assert!(matches!(answer, Err(Violation::Request(_))), "{answer:?}");
        assert_eq!(disk.done(), []);
    }

    /// Devices' defect 5: nowhere to answer.
    #[test]
    fn a_request_without_room_for_its_status_is_a_violation() {
        let (disk, mut blk) = disk();

        let answer = blk.request(&[&header(RequestType::OUT, 0), &[9; 512]], &[]);

        assert!(matches!(answer, Err(Violation::Request(_))), "{answer:?}");
        assert_eq!(disk.done(), []);
    }

    /// Devices' defect 5: a sector whose byte overflows.
    #[test]
    fn what_is_not_on_the_disk_is_neither_read_nor_written() {
        let (disk, mut blk) = disk();
        let end = u64::from(SECTORS);

        for sector in [end - 1, end, u64::MAX / 512, u64::MAX / 512 + 1, u64::MAX] {
            let read = blk.request(&[&header(RequestType::IN, sector)], &[1024, 1]);
            let write = blk.request(&[&header(RequestType::OUT, sector), &[9; 1024]], &[1]);

            assert_eq!(outcome(read), (vec![0; 1024], IOERR), "{sector}");
            assert_eq!(outcome(write).1, IOERR, "{sector}");
        }
        assert_eq!(disk.done(), []);
    }

    #[test]
    fn data_of_no_whole_sectors_is_refused() {
        let (disk, mut blk) = disk();

        let read = blk.request(&[&header(RequestType::IN, 0)], &[513, 1]);
        let write = blk.request(&[&header(RequestType::OUT, 0), &[9; 511]], &[1]);

        assert_eq!(outcome(read), (vec![0; 513], IOERR));
        assert_eq!(outcome(write).1, IOERR);
        assert_eq!(disk.done(), []);
    }

    /// Devices' defect 7: memory shown that nobody wrote.
    #[test]
    fn a_read_that_fails_half_way_shows_zeroes_for_what_it_lacks() {
        let mut memory = Memory::new();
        memory.bad_from = 512;
        let disk = Arc::new(memory);
        let mut blk = blk(&disk, Features::NONE);

        let answer = blk.request(&[&header(RequestType::IN, 0)], &[512, 512, 1]);

        assert_eq!(outcome(answer), (vec![0; 1024], IOERR));
    }

    /// Devices' defect 11: the driver is trusted not to write.
    #[test]
    fn a_read_only_disk_is_not_written_whatever_the_driver_accepted() {
        let disk = Arc::new(Memory {
            read_only: true,
            ..Memory::new()
        });
        let offered = Blk::new(disk.clone(), 1).features();
        let mut blk = blk(&disk, F::RO);
        let zeroes = header(RequestType::WRITE_ZEROES, 0);

        let write = blk.request(&[&header(RequestType::OUT, 0), &[9; 512]], &[1]);
        let zero = blk.request(&[&zeroes, &range(0, 1, 0)], &[1]);

        assert!(offered.contains(F::RO));
        assert!(!offered.intersects(F::DISCARD | F::WRITE_ZEROES));
        assert_eq!(outcome(write).1, IOERR);
        assert_eq!(outcome(zero).1, UNSUPP);
        assert_eq!(disk.done(), []);
    }

    #[test]
    fn the_identity_is_told_to_who_has_room_for_it() {
        let (_disk, mut blk) = disk();
        let request = header(RequestType::GET_ID, 0);

        let told = blk.request(&[&request], &[20, 1]);
        let roomy = blk.request(&[&request], &[24, 1]);
        let short = blk.request(&[&request], &[19, 1]);

        assert_eq!(
            outcome(told),
            (b"memory\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(), OK)
        );
        assert_eq!(outcome(roomy).0[18..], [0; 6]);
        assert_eq!(outcome(short), (vec![0; 19], IOERR));
    }

    #[test]
    fn requests_that_were_not_agreed_on_are_not_supported() {
        let (disk, _) = disk();
        let mut blk = blk(&disk, F::FLUSH | F::DISCARD | F::WRITE_ZEROES);
        let types = [
            RequestType::FLUSH,
            RequestType::DISCARD,
            RequestType::WRITE_ZEROES,
            RequestType::SECURE_ERASE,
            RequestType::GET_LIFETIME,
            RequestType::ZONE_REPORT,
            RequestType::SCSI_CMD,
            RequestType::from_u32(u32::MAX),
        ];

        for request_type in types {
            let request = [&header(request_type, 0)[..], &range(0, 1, 0)];
            let answer = blk.request(&request, &[8, 1]);

            assert_eq!(outcome(answer), (vec![0; 8], UNSUPP), "{request_type:?}");
        }
        assert_eq!(disk.done(), []);
    }

    #[test]
    fn a_flush_reaches_the_disk() {
        let (disk, mut blk) = disk();

        let answer = blk.request(&[&header(RequestType::FLUSH, 0)], &[1]);

        assert_eq!(outcome(answer), (vec![], OK));
        assert_eq!(disk.done(), [Did::Flush]);
    }

    /// §5.2.6.2: a driver that cannot flush relies on what completed.
    #[test]
    fn a_write_is_stable_when_it_completes_if_the_driver_cannot_flush() {
        let (disk, _) = disk();
        let mut blk = blk(&disk, F::FLUSH | F::CONFIG_WCE);

        blk.request(&[&header(RequestType::OUT, 0), &[9; 512]], &[1])
            .unwrap();

        assert_eq!(disk.done(), [Did::Write(0, 512), Did::Flush]);
    }

    #[test]
    fn the_driver_chooses_whether_writes_are_stable_when_they_complete() {
        let disk = Arc::new(Memory::new());
        let mut device = Blk::new(disk.clone(), 1);
        let features = device.features();
        let at = Config::WRITEBACK.field().offset();
        let mode = |device: &Blk| {
            let mut mode = [0xff];
            device.read_config(at, &mut mode);
            mode[0]
        };
        let mut blk = Loop::new(&mut device, features);
        let request = header(RequestType::OUT, 0);

        let before = mode(&device);
        for nothing in [&[2][..], &[0, 0], &[]] {
            device.write_config(at, nothing);
        }
        device.write_config(at - 1, &[WRITETHROUGH]);
        blk.request(&[&request, &[9; 512]], &[1]).unwrap();
        let lazy = disk.done();
        device.write_config(at, &[WRITETHROUGH]);
        blk.request(&[&request, &[9; 512]], &[1]).unwrap();

        assert_eq!((before, mode(&device)), (WRITEBACK, WRITETHROUGH));
        assert_eq!(lazy, [Did::Write(0, 512)]);
        assert_eq!(disk.done(), [Did::Write(0, 512), Did::Flush]);
        device.reset();
        assert_eq!(mode(&device), WRITEBACK);
    }

    #[test]
    fn the_cache_s_mode_is_the_driver_s_only_if_it_was_agreed_on() {
        let mut device = Blk::new(Arc::new(Memory::new()), 1);
        let at = Config::WRITEBACK.field().offset();
        let mut mode = [0xff];

        device.negotiated(F::FLUSH);
        device.write_config(at, &[WRITETHROUGH]);
        device.read_config(at, &mut mode);
        assert_eq!(mode, [WRITEBACK]);

        // §5.2.5.2.
        device.negotiated(F::CONFIG_WCE);
        device.read_config(at, &mut mode);
        assert_eq!(mode, [WRITETHROUGH]);
    }

    #[test]
    fn ranges_are_discarded_and_zeroed() {
        let (disk, mut blk) = disk();
        let discard = header(RequestType::DISCARD, 0);
        let zero = header(RequestType::WRITE_ZEROES, 0);

        let discarded = blk.request(&[&discard, &range(1, 2, 0), &range(4, 1, 0)], &[1]);
        let zeroed = blk.request(&[&zero, &range(0, 16, 1), &range(3, 0, 0)], &[1]);

        assert_eq!(outcome(discarded).1, OK);
        assert_eq!(outcome(zeroed).1, OK);
        let expected = [
            Did::Discard(512, 1024),
            Did::Discard(2048, 512),
            Did::Zero(0, 8192, Unmap::Allow),
            Did::Zero(1536, 0, Unmap::Keep),
        ];
        assert_eq!(disk.done(), expected);
    }

    /// Devices' defect 5: count times size that overflows; and §5.2.6.2 for the flags.
    #[test]
    fn nothing_is_done_if_any_range_is_wrong() {
        let (disk, mut blk) = disk();
        let good = range(0, 1, 0);
        let (discard, zero) = (RequestType::DISCARD, RequestType::WRITE_ZEROES);

        for (request_type, bad, status) in [
            (discard, &range(0, 1, 1)[..], UNSUPP),
            (discard, &range(0, 1, 2), UNSUPP),
            (zero, &range(0, 1, 3), UNSUPP),
            (discard, &range(0, DISCARD_SECTORS_MAX + 1, 0), IOERR),
            (zero, &range(0, u32::MAX, 0), IOERR),
            (discard, &range(16, 1, 0), IOERR),
            (discard, &range(u64::MAX, 1, 0), IOERR),
            (discard, &good[..15], IOERR),
            (discard, &good.repeat(RANGES_MAX), IOERR),
        ] {
            let answer = blk.request(&[&header(request_type, 0), &good, bad], &[1]);

            assert_eq!(outcome(answer).1, status, "{bad:?}");
        }
        assert_eq!(disk.done(), []);
    }

    /// A request is bounded, however large the disk.
    #[test]
    fn a_request_for_more_than_the_largest_is_refused() {
        let disk = Arc::new(Memory {
            sectors: u64::MAX,
            ..Memory::new()
        });
        let mut blk = blk(&disk, Features::NONE);
        let mut discard = |sectors| {
            let request = header(RequestType::DISCARD, 0);
            outcome(blk.request(&[&request, &range(0, sectors, 0)], &[1])).1
        };
        let most = [DISCARD_SECTORS_MAX, DISCARD_SECTORS_MAX + 1].map(&mut discard);
        let requests = Requests {
            disk,
            features: Features::NONE,
            writeback: Arc::default(),
            bounce: Box::default(),
        };

        assert_eq!(most, [OK, IOERR]);
        assert!(requests.offset(0, REQUEST_BYTES_MAX).is_ok());
        assert!(requests.offset(0, REQUEST_BYTES_MAX + 512).is_err());
    }

    /// Devices' defect 12: a reset waits for a batch, so a batch is bounded.
    #[test]
    fn a_batch_ends_after_so_many_bytes_and_the_rest_comes_in_the_next() {
        let (_disk, mut blk) = disk();
        let large = BATCH_BYTES as usize / 2;

        // Too large for this disk, which makes no difference to how long they take to answer.
        let writable = blk.ram.holding(&vec![UNTOUCHED; large]);
        for _ in 0..3 {
            let request = blk.ram.holding(&header(RequestType::IN, 0));
            blk.driver.submit(&[request], &[writable], ()).unwrap();
        }
        let ran = [blk.run(), blk.run()];

        assert_eq!(ran, [Ran::More, Ran::Idle]);
        for _ in 0..3 {
            assert!(blk.driver.poll().unwrap().is_some());
        }
    }

    /// Devices' defect 13.
    #[test]
    fn every_request_with_a_header_and_a_status_is_answered_whatever_it_asks() {
        let (_disk, mut blk) = disk();
        let mut random = Random::new(3);

        for _ in 0..5000 {
            let request_type = RequestType::from_u32(random.below(28) as u32);
            let sector = [random.below(20), u64::MAX - random.below(4)][random.below(2) as usize];
            let mut data =
                vec![0; [0, 16, 512, random.below(600) as usize][random.below(4) as usize]];
            for byte in &mut data {
                *byte = random.byte() & 0x0f;
            }
            let room = [1, 21, 513, random.below(600) as usize + 1][random.below(4) as usize];
            blk.ram.rewind();

            let answer = blk.request(&[&header(request_type, sector), &data], &[room]);

            let (bytes, status) = outcome(answer);
            assert!(matches!(status, OK | IOERR | UNSUPP));
            assert!(!bytes.contains(&UNTOUCHED));
        }
    }

    #[test]
    fn configuration_says_what_the_disk_is() {
        let device = Blk::new(Arc::new(Memory::new()), 4);
        let mut bytes = [0; size_of::<Config>()];

        device.read_config(0, &mut bytes);

        let config = Config::read_from_bytes(&bytes).unwrap();
        assert_eq!(config.capacity.get(), 16);
        assert_eq!(config.blk_size.get(), 4096);
        assert_eq!(config.seg_max.get(), 254);
        assert_eq!(config.num_queues.get(), 4);
        assert_eq!(config.discard_sector_alignment.get(), 8);
        assert_eq!(config.write_zeroes_may_unmap, 1);
        assert_eq!(device.queue_sizes(), [QUEUE_SIZE; 4]);
        assert!(device.features().contains(F::MQ));
        assert_eq!(device.features().missing_dependency(DeviceId::BLOCK), None);
    }

    #[test]
    fn what_is_not_offered_is_not_described() {
        let disk = Memory {
            abilities: Abilities::default(),
            ..Memory::new()
        };
        let device = Blk::new(Arc::new(disk), 0);
        let mut bytes = [0xff; 60];

        device.read_config(Config::NUM_QUEUES.field().offset(), &mut bytes);

        assert_eq!(bytes, [0; 60]);
        assert!(
            !device
                .features()
                .intersects(F::MQ | F::DISCARD | F::TOPOLOGY)
        );
        assert_eq!(device.queue_sizes(), [QUEUE_SIZE]);
    }

    #[test]
    fn every_queue_has_a_worker() {
        let mut device = Blk::new(Arc::new(Memory::new()), u16::MAX);

        let workers = device.activate(Features::NONE).len();

        assert_eq!(workers, usize::from(QUEUES_MAX));
    }
}
