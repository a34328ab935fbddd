//! One queue of a block device over an image, both ends, without a transport between.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringway_device::blk::{Blk, Disk};
use ringway_device::task::{Memory, Ran, Signal, Task};
use ringway_device::{Device, Worker};
use ringway_ring::device::{self, Violation};
use ringway_ring::driver::{self, Geometry, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::blk::RequestHeader;
use ringway_spec::{F, Features};
use zerocopy::IntoBytes;

/// Device address of the first byte of memory: not a host address, so that mixing them up fails.
const RAM: u64 = 0x4000_0000;
const RAM_BYTES: usize = 64 << 20;

/// What writable memory holds before a device writes it.
pub(crate) const UNTOUCHED: u8 = 0xaa;

/// Longest wait for a disk, against a test that hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A queue of a disk, and its driver.
pub(crate) struct Bench {
    ram: Shared,
    map: Arc<Mutex<Arc<Map>>>,
    free: usize,
    /// What places of memory are multiples of.
    align: usize,
    driver: driver::Queue<Vec<Segment>>,
    task: Option<Task>,
    told: Arc<Told>,
}

/// Memory that may become another.
struct View(Arc<Mutex<Arc<Map>>>);

impl Memory for View {
    fn map(&self) -> Arc<Map> {
        self.0.lock().unwrap().clone()
    }
}

#[derive(Default)]
struct Told(Mutex<Option<Violation>>);

impl Signal for Told {
    fn used(&self, _index: u16) {}

    fn broken(&self, _index: u16, violation: Violation) {
        *self.0.lock().unwrap() = Some(violation);
    }
}

/// What a device answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The data, all [`UNTOUCHED`] before.
    pub(crate) data: Vec<u8>,
    pub(crate) status: u8,
}

impl Bench {
    /// The first queue of a device for `disk`, whose driver accepts what is offered, and `ring` of
    /// the ring's features.
    pub(crate) fn new(disk: Arc<dyn Disk>, ring: Features) -> Self {
        Self::without(disk, ring, Features::NONE)
    }

    /// The same, whose driver leaves `without` out.
    pub(crate) fn without(disk: Arc<dyn Disk>, ring: Features, without: Features) -> Self {
        let mut blk = Blk::new(disk, 1);
        let features = blk.features().difference(without) | ring | F::VERSION_1;
        let ram = Shared::allocate(RAM_BYTES, 4096).unwrap();
        let map = Arc::new(map(&ram, &[]));
        let geometry = Geometry::largest(blk.queue_sizes()[0], 0, features).unwrap();
        let memory = driver::Memory {
            shared: ram.slice(0, geometry.bytes()).unwrap(),
            address: RAM,
        };
        let areas = geometry.areas(RAM);
        blk.negotiated(features);
        // Indices that wrap soon; a packed ring begins at its first place.
        let start = if features.contains(F::RING_PACKED) {
            0
        } else {
            u16::MAX - 20
        };
        let size = geometry.size();
        let queue = device::Queue::new(&*map, size, areas, features, start).unwrap();
        let worker: Box<dyn Worker> = blk.worker(0, features);
        let map = Arc::new(Mutex::new(map));
        let told = Arc::new(Told::default());
        let task = Task::new(0, queue, worker, Arc::new(View(map.clone())), told.clone());
        Self {
            driver: driver::Queue::new(&memory, geometry, features, start).unwrap(),
            free: geometry.bytes().next_multiple_of(4096),
            align: 1,
            ram,
            map,
            task: Some(task),
            told,
        }
    }

    /// The same, whose memory is in places that are multiples of `align`.
    pub(crate) fn aligned(self, align: usize) -> Self {
        Self { align, ..self }
    }

    /// Memory that holds `bytes`, in pieces of these lengths, the last of which goes to the end.
    fn holding(&mut self, bytes: &[u8], cuts: &[usize]) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut left = bytes;
        let mut cuts = cuts.iter();
        while !left.is_empty() {
            let len = cuts.next().map_or(left.len(), |&cut| cut.min(left.len()));
            let (now, later) = left.split_at(len);
            self.free = self.free.next_multiple_of(self.align);
            if self.free + len > RAM_BYTES {
                self.free = 1 << 20;
            }
            self.ram.view().write(self.free, now).unwrap();
            segments.push(Segment {
                address: RAM + self.free as u64,
                len: len as u32,
            });
            // Not next to each other.
            self.free += len + 24;
            left = later;
        }
        segments
    }

    /// Makes a request available: it writes `data`, cut so.
    pub(crate) fn submit(
        &mut self,
        header: RequestHeader,
        data: &[u8],
        room: usize,
        cuts: &[usize],
    ) {
        let mut readable = self.holding(header.as_bytes(), &[]);
        readable.extend(self.holding(data, cuts));
        let mut writable = self.holding(&vec![UNTOUCHED; room], cuts);
        writable.extend(self.holding(&[UNTOUCHED], &[]));
        self.driver
            .submit(&readable, &writable, writable.clone())
            .unwrap();
        self.driver.kick_needed();
    }

    pub(crate) fn run(&mut self) -> Ran {
        self.task.as_mut().unwrap().run()
    }

    /// Takes the next answer that there is.
    pub(crate) fn poll(&mut self) -> Option<Answer> {
        let done = self.driver.poll().unwrap()?;
        let mut data: Vec<u8> = done.owner.iter().flat_map(|&at| self.bytes(at)).collect();
        assert_eq!(done.written as usize, data.len());
        let status = data.pop().unwrap();
        Some(Answer { data, status })
    }

    /// Serves until the next answer comes.
    pub(crate) fn answer(&mut self) -> Answer {
        let began = Instant::now();
        loop {
            if let Some(answer) = self.poll() {
                return answer;
            }
            assert_eq!(*self.told.0.lock().unwrap(), None);
            assert!(began.elapsed() < LIMIT, "it never came");
            if self.run() == Ran::Idle {
                thread::yield_now();
            }
        }
    }

    /// Gives the device another view of memory, in which what was first is not.
    pub(crate) fn remap(&mut self) {
        let below = Shared::allocate(4096, 4096).unwrap();
        *self.map.lock().unwrap() = Arc::new(map(&self.ram, &[below]));
    }

    /// Stops the queue, whatever it is at.
    pub(crate) fn stop(&mut self) {
        self.task = None;
    }

    fn bytes(&self, segment: Segment) -> Vec<u8> {
        let mut bytes = vec![0; segment.len as usize];
        let offset = (segment.address - RAM) as usize;
        self.ram.view().read(offset, &mut bytes).unwrap();
        bytes
    }
}

/// A map of `ram`, and of others below it.
fn map(ram: &Shared, below: &[Shared]) -> Map {
    let mut regions = vec![Region {
        start: RAM,
        memory: ram.clone(),
    }];
    for (page, memory) in (1..).zip(below) {
        regions.push(Region {
            start: page * 0x1_0000,
            memory: memory.clone(),
        });
    }
    Map::new(regions).unwrap()
}
