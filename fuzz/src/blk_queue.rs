//! The request queue of a block device: an honest ring, and in it requests of any kind, cut in any
//! way, whose memory may be the same. The disk does what it is asked at once, or later in any order, or
//! is not there. Every request that has a header and room for a status is answered, and nothing is
//! written but what was writable.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use ringway_device::Device;
use ringway_device::blk::{
    Abilities, Blk, Blocking, Channel, Disk, Null, QUEUE_SIZE, RamDisk, Range, Stable, Tag,
};
use ringway_device::task::{Signal, Task};
use ringway_ring::device::{Queue, Readable, Violation, Writable};
use ringway_ring::driver::{self, Geometry, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::F;
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};

use crate::input::Input;

/// Where memory is for the device.
const RAM: u64 = 0x4000_0000;
/// Headers and statuses; then data that devices may write; then data that they may not.
const SMALL_BYTES: usize = 4096;
const DATA_BYTES: usize = 16 * 1024;
/// Bytes at the end that belong to no request.
const GUARD: usize = 4096;
const CANARY: u8 = 0xee;
const SECTORS: u64 = 16;
const HEADER_BYTES: u32 = 16;
/// The largest status.
const UNSUPPORTED: u8 = 2;
/// Most turns until what is kept must be done.
const TURNS_MAX: usize = 1024;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::new(input.u8());
    while let Some(step) = input.step() {
        match step % 4 {
            0 | 1 => bench.request(step, &mut input),
            2 => bench.serve(),
            _ => bench.finish(),
        }
        if bench.told.0.lock().expect("nobody panics").is_some() {
            // Nothing is served before a reset.
            return bench.check();
        }
    }
    bench.finish();
    bench.check();
}

struct Bench {
    ram: Shared,
    /// Where each area begins in `ram`: rings, small things, writable data, readable data, guard.
    areas: [usize; 5],
    driver: driver::Queue<Request>,
    task: Task,
    told: Arc<Told>,
}

/// What is in flight.
struct Request {
    /// Whether the device must ask for a reset: it has no whole header, or no room for a status.
    is_wrong: bool,
    status: Option<Segment>,
    writable: u32,
}

#[derive(Default)]
struct Told(Mutex<Option<Violation>>);

impl Signal for Told {
    fn used(&self, _index: u16) {}

    fn broken(&self, _index: u16, violation: Violation) {
        *self.0.lock().expect("nobody panics") = Some(violation);
    }
}

impl Bench {
    fn new(bits: u8) -> Self {
        let disk: Arc<dyn Disk> = match bits & 3 {
            0 => Arc::new(RamDisk::new(SECTORS as usize)),
            1 => Arc::new(Null::new(SECTORS)),
            _ => Arc::new(Later(Arc::new(RamDisk::new(SECTORS as usize)))),
        };
        let mut blk = Blk::new(disk, 1);
        let mut features = blk.features() | F::VERSION_1;
        for (bit, feature) in [(4, F::RING_PACKED), (8, F::IN_ORDER), (16, F::EVENT_IDX)] {
            if bits & bit != 0 {
                features |= feature;
            }
        }
        let geometry = Geometry::largest(QUEUE_SIZE, 0, features).expect("a size of the format");
        let rings = geometry.bytes().next_multiple_of(4096);
        let areas = [
            0,
            rings,
            rings + SMALL_BYTES,
            rings + SMALL_BYTES + DATA_BYTES,
            rings + SMALL_BYTES + 2 * DATA_BYTES,
        ];
        let ram = Shared::allocate(areas[4] + GUARD, 4096).expect("small");
        let fill = |at, len| ram.slice(at, len).expect("within").view().fill(CANARY);
        fill(areas[3], DATA_BYTES + GUARD);
        let map = Arc::new(
            Map::new(vec![Region {
                start: RAM,
                memory: ram.clone(),
            }])
            .expect("one region"),
        );
        let memory = Memory {
            shared: ram.slice(0, geometry.bytes()).expect("within"),
            address: RAM,
        };
        blk.negotiated(features);
        let queue = Queue::new(&*map, geometry.size(), geometry.areas(RAM), features, 0);
        let told = Arc::new(Told::default());
        Self {
            driver: driver::Queue::new(&memory, geometry, features, 0).expect("it fits"),
            task: Task::new(
                0,
                queue.expect("it fits"),
                blk.worker(0, features),
                Arc::new(map),
                told.clone(),
            ),
            told,
            ram,
            areas,
        }
    }

    /// A segment of `area`, somewhere in it.
    fn segment(&self, area: usize, at: u16, len: usize) -> Segment {
        let bytes = if area == 1 { SMALL_BYTES } else { DATA_BYTES };
        let at = usize::from(at) % bytes;
        Segment {
            address: RAM + (self.areas[area] + at) as u64,
            len: len.min(bytes - at) as u32,
        }
    }

    fn request(&mut self, step: u8, input: &mut Input<'_>) {
        let (kind, cut, len, sector) = (input.u8(), input.u8(), input.u16(), input.u8());
        let header = self.header(kind, sector, input.u16());
        let short = if step & 0x40 != 0 { 1 } else { 0 };
        let first = (u32::from(cut) % HEADER_BYTES).min(HEADER_BYTES - short);
        let mut readable = vec![
            Segment {
                len: first,
                ..header
            },
            Segment {
                address: header.address + u64::from(first),
                len: HEADER_BYTES - short - first,
            },
        ];
        let mut left = if step & 0x20 != 0 {
            usize::from(len % 4096)
        } else {
            usize::from(len % 16) * SECTOR_SIZE
        };
        let mut writable = Vec::new();
        // A few runs, which may lie over each other.
        for _ in 0..cut % 4 + 1 {
            let area = if kind & 1 != 0 { 3 } else { 2 };
            let run = self.segment(area, input.u16(), left.min(usize::from(cut) * 64 + 1));
            left -= run.len as usize;
            if kind & 1 != 0 {
                readable.push(run);
            } else {
                writable.push(run);
            }
        }
        let status = self.segment(1, 0x800 | input.u16() & 0x7ff, 1);
        if step & 0x80 == 0 || kind & 8 == 0 {
            writable.push(status);
        }
        readable.retain(|run| run.len != 0);
        writable.retain(|run| run.len != 0);
        let bytes = |runs: &[Segment]| runs.iter().map(|run| run.len).sum::<u32>();
        let request = Request {
            is_wrong: bytes(&readable) < HEADER_BYTES || writable.is_empty(),
            status: (writable.last() == Some(&status)).then_some(status),
            writable: bytes(&writable),
        };
        if self.driver.has_room(readable.len() + writable.len()) {
            let submitted = self.driver.submit(&readable, &writable, request);
            assert!(submitted.is_ok(), "there was room");
        }
    }

    /// Writes a header.
    fn header(&self, kind: u8, sector: u8, at: u16) -> Segment {
        let segment = self.segment(1, at & 0x7f0, HEADER_BYTES as usize);
        let sector = match kind >> 5 {
            0 => u64::MAX - u64::from(sector),
            _ => u64::from(sector % 20),
        };
        let mut bytes = [0; HEADER_BYTES as usize];
        bytes[0] = kind & 31;
        bytes[8..].copy_from_slice(&sector.to_le_bytes());
        let at = (segment.address - RAM) as usize;
        self.ram.view().write(at, &bytes).expect("within");
        segment
    }

    fn serve(&mut self) {
        self.driver.kick_needed();
        self.task.run();
        while let Some(done) = self.driver.poll().expect("the device keeps to the rules") {
            assert!(!done.owner.is_wrong, "it was answered without being read");
            assert_eq!(done.written, done.owner.writable);
            if let Some(status) = done.owner.status {
                let mut byte = [CANARY];
                let at = (status.address - RAM) as usize;
                self.ram.view().read(at, &mut byte).expect("within");
                assert!(byte[0] <= UNSUPPORTED, "no status");
            }
        }
    }

    /// Serves until everything is done.
    fn finish(&mut self) {
        for _ in 0..TURNS_MAX {
            self.serve();
            if self.driver.in_flight() == 0 || self.told.0.lock().expect("nobody panics").is_some()
            {
                return;
            }
        }
        panic!("{} requests are never done", self.driver.in_flight());
    }

    /// Nothing was written that was not writable.
    fn check(&self) {
        let mut bytes = vec![0; DATA_BYTES + GUARD];
        self.ram
            .view()
            .read(self.areas[3], &mut bytes)
            .expect("within");
        assert!(bytes.iter().all(|&byte| byte == CANARY));
    }
}

/// A disk whose channels keep everything.
struct Later(Arc<RamDisk>);

impl Disk for Later {
    fn sectors(&self) -> u64 {
        self.0.sectors()
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        self.0.id()
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            discard: true,
            write_zeroes: true,
            unmap: true,
        }
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Kept {
            disk: self.0.clone(),
            kept: Vec::new(),
            turn: 0,
        })
    }
}

/// Does what it keeps when it is asked for what is done, now from one end and now from the other.
struct Kept {
    disk: Arc<RamDisk>,
    kept: Vec<(Tag, Work)>,
    turn: usize,
}

enum Work {
    Read(u64, Vec<Shared>),
    Write(u64, Vec<Shared>),
    Nothing,
}

impl Kept {
    fn keep(&mut self, tag: Tag, work: Work) -> Poll<ringway_device::Result> {
        assert!(
            self.kept.iter().all(|(kept, _)| *kept != tag),
            "a tag twice"
        );
        self.kept.push((tag, work));
        Poll::Pending
    }
}

impl Channel for Kept {
    fn read(&mut self, tag: Tag, at: u64, mut into: Writable<'_>) -> Poll<ringway_device::Result> {
        let runs = core::iter::from_fn(|| into.next_run().ok()?.to_shared());
        let memory = runs.collect();
        self.keep(tag, Work::Read(at, memory))
    }

    fn write(
        &mut self,
        tag: Tag,
        at: u64,
        mut from: Readable<'_>,
        _stable: Stable,
    ) -> Poll<ringway_device::Result> {
        let runs = core::iter::from_fn(|| from.next_run().ok()?.to_shared());
        let memory = runs.collect();
        self.keep(tag, Work::Write(at, memory))
    }

    fn flush(&mut self, tag: Tag) -> Poll<ringway_device::Result> {
        self.keep(tag, Work::Nothing)
    }

    fn discard(&mut self, tag: Tag, _ranges: &[Range]) -> Poll<ringway_device::Result> {
        self.keep(tag, Work::Nothing)
    }

    fn write_zeroes(
        &mut self,
        tag: Tag,
        _ranges: &[Range],
        _stable: Stable,
    ) -> Poll<ringway_device::Result> {
        self.keep(tag, Work::Nothing)
    }

    fn next_done(&mut self) -> Option<(Tag, ringway_device::Result)> {
        self.turn += 1;
        if self.kept.is_empty() || self.turn.is_multiple_of(3) {
            return None;
        }
        let last = self.kept.len() - 1;
        let (tag, work) = self
            .kept
            .swap_remove(if self.turn & 1 == 0 { 0 } else { last });
        let mut bytes = Vec::new();
        let result = match work {
            Work::Nothing => Ok(()),
            Work::Read(at, memory) => {
                bytes.resize(memory.iter().map(Shared::len).sum(), 0);
                let read = self.disk.read_at(at, &mut bytes);
                let mut left = &bytes[..];
                for run in memory {
                    let (now, later) = left.split_at(run.len());
                    run.view().write(0, now).expect("all of it");
                    left = later;
                }
                read
            }
            Work::Write(at, memory) => {
                for run in memory {
                    let start = bytes.len();
                    bytes.resize(start + run.len(), 0);
                    run.view().read(0, &mut bytes[start..]).expect("all of it");
                }
                self.disk.write_at(at, &bytes)
            }
        };
        Some((tag, result))
    }
}
