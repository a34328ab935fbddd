use ringway_ring::device::Violation;
use ringway_spec::blk::{
    ID_BYTES, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE, Segment,
};

use super::bounced::BOUNCE_BYTES;
use super::*;
use crate::error::{Error, Result};
use crate::task::Ran;
use crate::testing::{Answer, Loop, Random, UNTOUCHED};
use late::Late;
use spin::Mutex;
use zerocopy::{FromBytes, IntoBytes};

mod late;

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
    way: Way,
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
            way: Way::AtOnce,
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

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        match self.way {
            Way::AtOnce => Box::new(Bounced::new(self)),
            Way::Later => Box::new(Late::new(self)),
        }
    }
}

impl Blocking for Memory {
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

/// Whether a disk does what it is asked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AtOnce,
    /// It keeps everything, and does it when it is asked for what is done, in any order.
    Later,
}

const WAYS: [Way; 2] = [Way::AtOnce, Way::Later];

/// A device for `disk`, whose driver accepts all that is offered less `without`.
fn blk(disk: &Arc<Memory>, without: Features) -> Loop {
    let mut device = Blk::new(disk.clone(), 1);
    let features = device.features();
    Loop::new(&mut device, features.difference(without))
}

fn disk(way: Way) -> (Arc<Memory>, Loop) {
    let disk = Arc::new(Memory {
        way,
        ..Memory::new()
    });
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
    for way in WAYS {
        let (_disk, mut blk) = disk(way);

        let answer = blk.request(&[&header(RequestType::IN, 3)], &[1024, 1]);

        let expected = [[3; 512], [4; 512]].concat();
        assert_eq!(outcome(answer), (expected, OK));
    }
}

#[test]
fn sectors_are_written() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);

        let answer = blk.request(&[&header(RequestType::OUT, 3), &[9; 1024]], &[1]);

        assert_eq!(outcome(answer), (vec![], OK));
        let expected = [[2; 512], [9; 512], [9; 512], [5; 512]].concat();
        assert_eq!(disk.bytes.lock()[1024..3072], expected);
        assert_eq!(disk.done(), [Did::Write(1536, 1024)]);
    }
}

/// §2.7.4: how a request is cut says nothing.
///
/// Clauses: dev:split/message-framing:1
#[test]
fn requests_are_the_same_however_they_are_cut() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);
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
}

#[test]
fn data_larger_than_the_bounce_buffer_goes_through_in_pieces() {
    for way in WAYS {
        let sectors = 600;
        let disk = Arc::new(Memory {
            way,
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
}

/// Devices' defect 5: a request shorter than its header.
#[test]
fn a_request_shorter_than_its_header_is_a_violation() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);

        let answer = blk.request(&[&header(RequestType::OUT, 0)[..15]], &[1]);

        assert!(matches!(answer, Err(Violation::Request(_))), "{answer:?}");
        assert_eq!(disk.done(), []);
    }
}

/// Devices' defect 5: nowhere to answer.
#[test]
fn a_request_without_room_for_its_status_is_a_violation() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);

        let answer = blk.request(&[&header(RequestType::OUT, 0), &[9; 512]], &[]);

        assert!(matches!(answer, Err(Violation::Request(_))), "{answer:?}");
        assert_eq!(disk.done(), []);
    }
}

/// Devices' defect 5: a sector whose byte overflows.
#[test]
fn what_is_not_on_the_disk_is_neither_read_nor_written() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);
        let end = u64::from(SECTORS);

        for sector in [end - 1, end, u64::MAX / 512, u64::MAX / 512 + 1, u64::MAX] {
            let read = blk.request(&[&header(RequestType::IN, sector)], &[1024, 1]);
            let write = blk.request(&[&header(RequestType::OUT, sector), &[9; 1024]], &[1]);

            assert_eq!(outcome(read), (vec![0; 1024], IOERR), "{sector}");
            assert_eq!(outcome(write).1, IOERR, "{sector}");
        }
        assert_eq!(disk.done(), []);
    }
}

#[test]
fn data_of_no_whole_sectors_is_refused() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);

        let read = blk.request(&[&header(RequestType::IN, 0)], &[513, 1]);
        let write = blk.request(&[&header(RequestType::OUT, 0), &[9; 511]], &[1]);

        assert_eq!(outcome(read), (vec![0; 513], IOERR));
        assert_eq!(outcome(write).1, IOERR);
        assert_eq!(disk.done(), []);
    }
}

/// Devices' defect 7: memory shown that nobody wrote.
#[test]
fn a_read_that_fails_half_way_shows_zeroes_for_what_it_lacks() {
    for way in WAYS {
        let mut memory = Memory::new();
        memory.way = way;
        memory.bad_from = 512;
        let disk = Arc::new(memory);
        let mut blk = blk(&disk, Features::NONE);

        let answer = blk.request(&[&header(RequestType::IN, 0)], &[512, 512, 1]);

        assert_eq!(outcome(answer), (vec![0; 1024], IOERR));
    }
}

/// Devices' defect 11: the driver is trusted not to write.
///
/// Clauses: dev:blk/op:3
#[test]
fn a_read_only_disk_is_not_written_whatever_the_driver_accepted() {
    for way in WAYS {
        let disk = Arc::new(Memory {
            way,
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
}

#[test]
fn the_identity_is_told_to_who_has_room_for_it() {
    for way in WAYS {
        let (_disk, mut blk) = disk(way);
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
}

/// Clauses: dev:blk/op:16
#[test]
fn requests_that_were_not_agreed_on_are_not_supported() {
    for way in WAYS {
        let (disk, _) = disk(way);
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
}

/// Clauses: dev:blk/init:1
#[test]
fn a_flush_reaches_the_disk() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);

        let answer = blk.request(&[&header(RequestType::FLUSH, 0)], &[1]);

        assert_eq!(outcome(answer), (vec![], OK));
        assert_eq!(disk.done(), [Did::Flush]);
    }
}

/// §5.2.6.2: a driver that cannot flush relies on what completed.
///
/// Clauses: dev:blk/op:11
#[test]
fn a_write_is_stable_when_it_completes_if_the_driver_cannot_flush() {
    for way in WAYS {
        let (disk, _) = disk(way);
        let mut blk = blk(&disk, F::FLUSH | F::CONFIG_WCE);

        blk.request(&[&header(RequestType::OUT, 0), &[9; 512]], &[1])
            .unwrap();

        assert_eq!(disk.done(), [Did::Write(0, 512), Did::Flush]);
    }
}

#[test]
fn the_driver_chooses_whether_writes_are_stable_when_they_complete() {
    for way in WAYS {
        let disk = Arc::new(Memory {
            way,
            ..Memory::new()
        });
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
}

/// Clauses: dev:blk/init:2
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
    device.negotiated(F::CONFIG_WCE | ringway_spec::F::VERSION_1);
    device.read_config(at, &mut mode);
    assert_eq!(mode, [WRITETHROUGH]);
}

/// §5.2.5.3: such a driver says it before it has agreed to anything, and is not overruled after.
#[test]
fn a_legacy_driver_that_has_chosen_the_cache_s_mode_keeps_it_when_it_is_ready() {
    let at = Config::WRITEBACK.field().offset();
    for (features, on) in [
        (F::CONFIG_WCE, false),
        (F::CONFIG_WCE | F::FLUSH, false),
        (F::FLUSH, true),
        (Features::NONE, false),
    ] {
        let mut device = Blk::new(Arc::new(Memory::new()), 1);

        device.write_config(at, &[WRITETHROUGH]);
        let chosen = cache_is_on(&device);
        device.negotiated(features);

        assert_eq!((chosen, cache_is_on(&device)), (false, on), "{features:?}");
    }
}

#[test]
fn ranges_are_discarded_and_zeroed() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);
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
}

/// Devices' defect 5: count times size that overflows; and §5.2.6.2 for the flags.
///
/// Clauses: dev:blk/op:4, dev:blk/op:5
#[test]
fn nothing_is_done_if_any_range_is_wrong() {
    for way in WAYS {
        let (disk, mut blk) = disk(way);
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
}

/// A request is bounded, however large the disk.
#[test]
fn a_request_for_more_than_the_largest_is_refused() {
    for way in WAYS {
        let disk = Arc::new(Memory {
            way,
            sectors: u64::MAX,
            ..Memory::new()
        });
        let mut blk = blk(&disk, Features::NONE);
        let mut discard = |sectors| {
            let request = header(RequestType::DISCARD, 0);
            outcome(blk.request(&[&request, &range(0, sectors, 0)], &[1])).1
        };
        let most = [DISCARD_SECTORS_MAX, DISCARD_SECTORS_MAX + 1].map(&mut discard);
        let requests = Requests::new(disk, Features::NONE, Arc::default());

        assert_eq!(most, [OK, IOERR]);
        assert!(requests.offset(0, REQUEST_BYTES_MAX).is_ok());
        assert!(requests.offset(0, REQUEST_BYTES_MAX + 512).is_err());
    }
}

/// Devices' defect 12: a reset waits for a batch, so a batch is bounded.
#[test]
fn a_batch_ends_after_so_many_bytes_and_the_rest_comes_in_the_next() {
    for way in WAYS {
        let (_disk, mut blk) = disk(way);
        let large = BATCH_BYTES as usize / 2;

        // Too large for this disk, which makes no difference to how long they take to answer.
        let writable = blk.ram.holding(&vec![UNTOUCHED; large]);
        for _ in 0..3 {
            let request = blk.ram.holding(&header(RequestType::IN, 0));
            blk.driver.submit(&[request], &[writable], ()).unwrap();
            blk.driver.kick_needed();
        }
        let ran = [blk.run(), blk.run()];

        assert_eq!(ran, [Ran::More, Ran::Idle]);
        for _ in 0..3 {
            assert!(blk.driver.poll().unwrap().is_some());
        }
    }
}

/// Devices' defect 13.
#[test]
fn every_request_with_a_header_and_a_status_is_answered_whatever_it_asks() {
    for way in WAYS {
        let (_disk, mut blk) = disk(way);
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
}

#[test]
fn configuration_says_what_the_disk_is() {
    let device = Blk::new(Arc::new(Memory::new()), 4);
    let mut bytes = [0; size_of::<Config>()];

    device.read_config(0, &mut bytes);

    let config = Config::read_from_bytes(&bytes).unwrap();
    assert_eq!(config.capacity.get(), 16);
    assert_eq!(config.blk_size.get(), 4096);
    assert_eq!(config.seg_max.get(), 126);
    assert_eq!(config.num_queues.get(), 4);
    assert_eq!(config.discard_sector_alignment.get(), 8);
    assert_eq!(config.write_zeroes_may_unmap, 1);
    assert_eq!(device.queue_sizes(), [QUEUE_SIZE; 4]);
    assert!(device.features().contains(F::MQ));
    assert_eq!(device.features().missing_dependency(DeviceId::BLOCK), None);
}

/// Clauses: dev:blk/init:3
#[test]
fn what_is_unused_of_the_configuration_is_zero() {
    let mut device = Blk::new(Arc::new(Memory::new()), 4);
    device.negotiated(device.features());
    let mut bytes = [0xff; size_of::<Config>()];

    device.read_config(0, &mut bytes);

    let config = Config::read_from_bytes(&bytes).unwrap();
    assert_eq!((config.unused0, config.unused1), (0, [0; 3]));
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
fn a_disk_has_no_more_queues_than_the_most() {
    let device = Blk::new(Arc::new(Memory::new()), u16::MAX);

    let queues = device.queue_sizes().len();

    assert_eq!(queues, usize::from(QUEUES_MAX));
}

fn cache_is_on(device: &Blk) -> bool {
    let mut bytes = [0xff];
    device.read_config(Config::WRITEBACK.field().offset(), &mut bytes);
    bytes == [WRITEBACK]
}

#[test]
fn a_disk_in_the_place_of_another_has_its_cache_as_that_one_had_it() {
    let disk = || Blk::new(Arc::new(Memory::new()), 1);
    let features = F::FLUSH | F::CONFIG_WCE | ringway_spec::F::VERSION_1;
    for mode in [WRITETHROUGH, WRITEBACK] {
        let (mut old, mut early, mut late) = (disk(), disk(), disk());
        old.negotiated(features);
        old.write_config(Config::WRITEBACK.field().offset(), &[mode]);

        let state = old.save().unwrap();
        early.load(&state).unwrap();
        early.negotiated(features);
        late.negotiated(features);
        late.load(&state).unwrap();

        let is_on = mode == WRITEBACK;
        assert_eq!([&early, &late].map(cache_is_on), [is_on; 2]);
        late.reset();
        late.negotiated(features);
        assert!(cache_is_on(&late));
        // One that cannot flush has no cache, whatever is said.
        early.negotiated(F::CONFIG_WCE | ringway_spec::F::VERSION_1);
        assert!(!cache_is_on(&early));
    }
}

/// Devices' defect 10: saved state is believed.
#[test]
fn saved_state_that_cannot_be_is_refused_and_changes_nothing() {
    let mut device = Blk::new(Arc::new(Memory::new()), 1);
    device.negotiated(F::FLUSH);
    let state = device.save().unwrap();

    let shorter = &state[..4];
    let longer = [&state[..], &[0]].concat();
    for (state, error) in [
        (&[][..], StateError::Unknown),
        (&state[..3], StateError::Unknown),
        (b"blk\x02\x00", StateError::Unknown),
        (b"rng\x01\x00", StateError::Unknown),
        (shorter, StateError::Length(4)),
        (&longer, StateError::Length(6)),
        (
            b"blk\x01\x02",
            StateError::Value("a cache that is neither on nor off"),
        ),
    ] {
        assert_eq!(device.load(state), Err(error));
        assert!(cache_is_on(&device));
    }
}
