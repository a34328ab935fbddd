//! A queue of a block device over an image, reached each way there is.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bench;
mod direct;
mod mapped;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bench::{Answer, Bench, UNTOUCHED};
use ringway_device::blk::{Abilities, Blocking, Bounced, Channel, Disk, Unmap};
use ringway_host::{Access, Cache, Image, Method, Options};
use ringway_spec::blk::{
    F as Blk, ID_BYTES, RequestHeader, RequestStatus, RequestType, SECTOR_SIZE, Segment,
};
use ringway_spec::{F, Features};
use tempfile::NamedTempFile;
use zerocopy::IntoBytes;

const OK: u8 = RequestStatus::OK.0;
const IOERR: u8 = RequestStatus::IOERR.0;

/// Ways to reach an image.
#[derive(Clone, Copy, Debug)]
enum Way {
    By(Method),
    Bounced,
    /// Past the system's cache, where that can be.
    Direct,
}

const WAYS: [Way; 6] = [
    Way::By(Method::Adaptive),
    Way::By(Method::Mapped),
    Way::By(Method::Uring),
    Way::By(Method::Blocking),
    Way::Bounced,
    Way::Direct,
];

/// Formats of a ring.
const RINGS: [Features; 4] = [
    Features::NONE,
    F::IN_ORDER,
    F::RING_PACKED,
    F::RING_PACKED.union(F::IN_ORDER),
];

/// An image whose channels bounce.
struct ByBounce(Image);

impl Disk for ByBounce {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn is_read_only(&self) -> bool {
        self.0.is_read_only()
    }

    fn id(&self) -> [u8; ID_BYTES] {
        self.0.id()
    }

    fn abilities(&self) -> Abilities {
        self.0.abilities()
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Bounced::new(self))
    }
}

impl Blocking for ByBounce {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> ringway_device::Result {
        self.0.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> ringway_device::Result {
        self.0.write_at(offset, from)
    }

    fn flush(&self) -> ringway_device::Result {
        self.0.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> ringway_device::Result {
        self.0.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: Unmap) -> ringway_device::Result {
        self.0.write_zeroes(offset, len, unmap)
    }
}

/// Folders on file systems that differ: one on a disk most likely, and one in memory if there is
/// such.
fn folders() -> Vec<PathBuf> {
    let mut folders = vec![std::env::temp_dir()];
    folders.extend(Some("/dev/shm".into()).filter(|path: &PathBuf| path.is_dir()));
    folders
}

fn file(folder: &Path, bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new_in(folder).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn disk(file: &NamedTempFile, way: Way) -> Arc<dyn Disk> {
    let image = Image::open(file, Access::ReadWrite).unwrap();
    match way {
        Way::By(method) => Arc::new(image.with_method(method)),
        Way::Direct => {
            // One is locked at a time.
            drop(image);
            let options = Options::new(Access::ReadWrite);
            let direct = Options {
                cache: Cache::Direct,
                ..options
            };
            let image = Image::open_with(file, direct).or_else(|_| Image::open_with(file, options));
            Arc::new(image.unwrap())
        }
        Way::Bounced => Arc::new(ByBounce(image)),
    }
}

fn header(request_type: RequestType, sector: u64) -> RequestHeader {
    RequestHeader {
        sector: sector.into(),
        ..RequestHeader::new(request_type)
    }
}

fn range(sector: u64, num_sectors: u32, flags: u32) -> Segment {
    Segment {
        sector: sector.into(),
        num_sectors: num_sectors.into(),
        flags: flags.into(),
    }
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX generator, whose high bits are its best.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = len.div_ceil(size_of::<u32>());
        let mut bytes: Vec<u8> = (0..words)
            .flat_map(|_| (self.below(1 << 31) as u32).to_le_bytes())
            .collect();
        bytes.truncate(len);
        bytes
    }
}

/// What was asked, to know which answer is whose: data of reads says it by itself.
struct Asked {
    kind: RequestType,
    sector: usize,
    sectors: usize,
    status: u8,
}

/// Several requests at a time, whose sectors differ, against a disk that is an array.
fn agrees_with_an_array(way: Way, ring: Features, folder: &Path, (seed, rounds): (u64, usize)) {
    const SECTORS: usize = 2048;
    let mut random = Random(seed);
    let mut model = random.bytes(SECTORS * SECTOR_SIZE);
    let file = file(folder, &model);
    let mut bench = Bench::new(disk(&file, way), ring);
    for _ in 0..rounds {
        let mut asked = Vec::new();
        let mut sector = 0;
        while asked.len() < 20 {
            sector += random.below(40) as usize;
            let sectors = 1 + random.below(64) as usize;
            let (start, end) = (sector * SECTOR_SIZE, (sector + sectors) * SECTOR_SIZE);
            let cuts: Vec<_> = (0..4).map(|_| 1 + random.below(5000) as usize).collect();
            let there = end <= model.len();
            let status = if there { OK } else { IOERR };
            let (kind, room, data) = match random.below(9) {
                0..4 => (RequestType::IN, sectors * SECTOR_SIZE, Vec::new()),
                4..7 => {
                    let data = random.bytes(sectors * SECTOR_SIZE);
                    if there {
                        model[start..end].copy_from_slice(&data);
                    }
                    (RequestType::OUT, 0, data)
                }
                7 => {
                    let unmap = random.below(2) as u32;
                    let zeroes = [
                        range(sector as u64, sectors as u32 - 1, unmap),
                        range((sector + sectors) as u64 - 1, 1, 0),
                    ];
                    if there {
                        model[start..end].fill(0);
                    }
                    (RequestType::WRITE_ZEROES, 0, zeroes.as_bytes().to_vec())
                }
                _ => (RequestType::FLUSH, 0, Vec::new()),
            };
            let status = if kind == RequestType::FLUSH {
                OK
            } else {
                status
            };
            bench.submit(header(kind, sector as u64), &data, room, &cuts);
            asked.push(Asked {
                kind,
                sector,
                sectors,
                status,
            });
            sector += sectors;
        }
        let mut answers: Vec<Answer> = asked.iter().map(|_| bench.answer()).collect();
        for asked in &asked {
            let data = match (asked.kind, asked.status) {
                (RequestType::IN, OK) => {
                    model[asked.sector * SECTOR_SIZE..][..asked.sectors * SECTOR_SIZE].to_vec()
                }
                (RequestType::IN, _) => vec![0; asked.sectors * SECTOR_SIZE],
                _ => Vec::new(),
            };
            let expected = Answer {
                data,
                status: asked.status,
            };
            let found = answers.iter().position(|answer| *answer == expected);
            let found = found.unwrap_or_else(|| panic!("{way:?}, {ring:?}, seed {seed}"));
            answers.swap_remove(found);
        }
    }
    assert!(
        fs::read(&file).unwrap() == model,
        "{way:?}, {ring:?}, seed {seed}"
    );
}

#[test]
fn an_image_is_an_array_of_sectors_whichever_way_it_is_reached() {
    // Flushes take long on a disk: every format of a ring is seen in memory, if there is such.
    for (folder, rounds) in folders().iter().rev().zip([12, 1]) {
        for (seed, ring) in (1..).zip(RINGS) {
            for way in WAYS {
                agrees_with_an_array(way, ring, folder, (seed, rounds));
            }
        }
    }
}

/// Devices' defect 12: what is in flight when a queue is stopped has let go of memory afterwards.
#[test]
fn a_queue_that_is_stopped_has_let_go_of_its_memory() {
    const SECTORS: usize = 2048;
    for way in WAYS {
        let file = file(&std::env::temp_dir(), &vec![0; SECTORS * SECTOR_SIZE * 16]);
        let mut bench = Bench::new(disk(&file, way), Features::NONE);
        for request in 0..16_u8 {
            let data = vec![request + 1; SECTORS * SECTOR_SIZE];
            bench.submit(
                header(RequestType::OUT, u64::from(request) * SECTORS as u64),
                &data,
                0,
                &[],
            );
        }
        bench.run();

        bench.stop();
        let at_once = fs::read(&file).unwrap();
        drop(bench);

        // Nothing is written later; and each request is there as a whole or not at all.
        assert!(fs::read(&file).unwrap() == at_once, "{way:?}");
        for (request, data) in (1..).zip(at_once.chunks(SECTORS * SECTOR_SIZE)) {
            let first = data[0];
            assert!(first == 0 || first == request, "{way:?}");
            assert!(data.iter().all(|&byte| byte == first), "{way:?}");
        }
    }
}

#[test]
fn an_image_made_shorter_fails_the_read_and_shows_zeroes_for_what_it_lacks() {
    for folder in folders() {
        for way in WAYS {
            let file = file(&folder, &[7; 16 * SECTOR_SIZE]);
            let mut bench = Bench::new(disk(&file, way), Features::NONE);
            file.as_file().set_len(9 * SECTOR_SIZE as u64).unwrap();

            bench.submit(
                header(RequestType::IN, 8),
                &[],
                4 * SECTOR_SIZE,
                &[700, 300],
            );
            let cut = bench.answer();
            bench.submit(header(RequestType::IN, 8), &[], SECTOR_SIZE, &[]);
            let whole = bench.answer();

            assert_eq!(cut.status, IOERR, "{way:?}");
            assert!(!cut.data.contains(&UNTOUCHED), "{way:?}");
            assert!(
                cut.data[SECTOR_SIZE..].iter().all(|&byte| byte == 0),
                "{way:?}"
            );
            assert_eq!(
                whole,
                Answer {
                    data: vec![7; SECTOR_SIZE],
                    status: OK
                },
                "{way:?}"
            );
        }
    }
}

#[test]
fn a_write_is_stable_when_it_completes_if_the_driver_cannot_flush() {
    let without = Blk::FLUSH.union(Blk::CONFIG_WCE);
    for folder in folders() {
        for way in WAYS {
            let file = file(&folder, &[0; 16 * SECTOR_SIZE]);
            let mut bench = Bench::without(disk(&file, way), Features::NONE, without);

            bench.submit(header(RequestType::OUT, 2), &[9; SECTOR_SIZE], 0, &[]);
            let written = bench.answer();
            let zeroes = range(3, 1, 0);
            bench.submit(
                header(RequestType::WRITE_ZEROES, 0),
                zeroes.as_bytes(),
                0,
                &[],
            );
            let zeroed = bench.answer();

            assert_eq!((written.status, zeroed.status), (OK, OK), "{way:?}");
            assert_eq!(
                fs::read(&file).unwrap()[2 * SECTOR_SIZE..][..SECTOR_SIZE],
                [9; SECTOR_SIZE]
            );
        }
    }
}

/// What is kept is completed where it was asked for, also when regions have other places by then.
#[test]
fn a_request_is_answered_where_it_was_asked_after_the_map_changed() {
    for way in WAYS {
        let file = file(&std::env::temp_dir(), &[7; 16 * SECTOR_SIZE]);
        let mut bench = Bench::new(disk(&file, way), Features::NONE);
        bench.submit(header(RequestType::IN, 0), &[], 2 * SECTOR_SIZE, &[100]);
        bench.submit(header(RequestType::FLUSH, 0), &[], 0, &[]);
        bench.run();

        bench.remap();
        let answers = [bench.answer(), bench.answer()];

        let read = Answer {
            data: vec![7; 2 * SECTOR_SIZE],
            status: OK,
        };
        assert!(answers.contains(&read), "{way:?}");
        assert!(
            answers.contains(&Answer {
                data: vec![],
                status: OK
            }),
            "{way:?}"
        );
    }
}

#[test]
fn more_than_may_be_in_flight_is_read_all_the_same() {
    const BYTES: usize = 2 << 20;
    let bytes = Random(5).bytes(BYTES);
    for way in WAYS {
        let file = file(&std::env::temp_dir(), &bytes);
        let mut bench = Bench::new(disk(&file, way), Features::NONE);

        for _ in 0..10 {
            bench.submit(header(RequestType::IN, 0), &[], BYTES, &[1 << 20]);
        }

        for _ in 0..10 {
            let answer = bench.answer();
            assert!(answer.status == OK && answer.data == bytes, "{way:?}");
        }
    }
}

#[test]
fn ranges_are_discarded_and_what_has_no_bytes_is_nothing() {
    for folder in folders() {
        for way in WAYS {
            let file = file(&folder, &[7; 16 * SECTOR_SIZE]);
            let mut bench = Bench::new(disk(&file, way), Features::NONE);
            let mut status = |kind, ranges: &[Segment]| {
                bench.submit(header(kind, 0), ranges.as_bytes(), 0, &[]);
                bench.answer().status
            };

            let none = [range(3, 0, 0), range(0, 0, 0)];
            let nothing =
                [RequestType::DISCARD, RequestType::WRITE_ZEROES].map(|kind| status(kind, &none));
            let discarded = status(RequestType::DISCARD, &[range(8, 8, 0), range(3, 0, 0)]);

            assert_eq!(nothing, [OK, OK], "{way:?}");
            assert_eq!(discarded, OK, "{way:?}");
            let bytes = fs::read(&file).unwrap();
            assert_eq!(bytes.len(), 16 * SECTOR_SIZE);
            assert_eq!(bytes[..8 * SECTOR_SIZE], [7; 8 * SECTOR_SIZE]);
        }
    }
}
