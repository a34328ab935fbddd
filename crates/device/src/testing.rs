//! What the tests of this crate stand on: memory, a driver's ring, a runner that runs when told,
//! wires that remember.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringway_ring::device::{self, Batch, Violation};
use ringway_ring::driver::{self, Geometry, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{DeviceId, F, Features};
use spin::Mutex;

use crate::admin::Administration;
use crate::interrupt::{Line, MessageSink};
use crate::model::{Device, SharedRegion, StateError, Worker};
use crate::notifier::Notifier;
use crate::parts::{Interface, Offer, Parts};
use crate::task::{Looked, Memory, Ran, Runner, Signal, Task};

/// Device address of the first byte of memory: not a host address, so that mixing them up fails.
pub(crate) const RAM: u64 = 0x4000_0000;

/// Memory of a driver, given out from the front.
pub(crate) struct Ram {
    shared: Shared,
    map: Arc<Map>,
    free: usize,
    /// Where the rings end.
    rings: usize,
}

impl Ram {
    pub(crate) fn new(bytes: usize) -> Self {
        let shared = Shared::allocate(bytes, 4096).unwrap();
        let region = Region {
            start: RAM,
            memory: shared.clone(),
        };
        Self {
            shared,
            map: Arc::new(Map::new(vec![region]).unwrap()),
            free: 0,
            rings: 0,
        }
    }

    pub(crate) fn memory(&self) -> Arc<dyn Memory> {
        Arc::new(self.map.clone())
    }

    /// Gives out again what was given out since the rings were laid out.
    pub(crate) fn rewind(&mut self) {
        self.free = self.rings;
    }

    /// Gives out again what rings had, too.
    pub(crate) fn forget(&mut self) {
        (self.free, self.rings) = (0, 0);
    }

    pub(crate) fn give(&mut self, bytes: usize) -> driver::Memory {
        let at = self.free;
        self.free = (at + bytes).next_multiple_of(Geometry::ALIGN);
        driver::Memory {
            shared: self.shared.slice(at, bytes).unwrap(),
            address: RAM + at as u64,
        }
    }

    /// A segment that holds `bytes`.
    pub(crate) fn holding(&mut self, bytes: &[u8]) -> Segment {
        let memory = self.give(bytes.len());
        memory.shared.view().write(0, bytes).unwrap();
        segment(&memory)
    }

    pub(crate) fn bytes(&self, segment: Segment) -> Vec<u8> {
        let mut bytes = vec![0; segment.len as usize];
        let offset = (segment.address - RAM) as usize;
        self.shared.view().read(offset, &mut bytes).unwrap();
        bytes
    }

    /// All of it.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.shared.len()];
        self.shared.view().read(0, &mut bytes).unwrap();
        bytes
    }

    /// Writes where a driver's own ring would not.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) {
        let offset = (address - RAM) as usize;
        self.shared.view().write(offset, bytes).unwrap();
    }

    /// Lays a ring out as a legacy driver does: in one stretch, aligned to `align` bytes.
    pub(crate) fn legacy_ring(&mut self, size: u16, align: usize) -> Ring {
        let geometry = Geometry::legacy(size, 0, align).unwrap();
        self.free = self.free.next_multiple_of(align);
        let memory = self.give(geometry.bytes());
        self.rings = self.free;
        Ring {
            areas: geometry.areas(memory.address),
            queue: driver::Queue::new(&memory, geometry, Features::NONE, 0).unwrap(),
        }
    }

    /// Lays a ring out, in the format that `features` ask for.
    pub(crate) fn ring(&mut self, size: u16, features: Features) -> Ring {
        let geometry = Geometry::largest(size, 0, features).unwrap();
        let memory = self.give(geometry.bytes());
        self.rings = self.free;
        Ring {
            areas: geometry.areas(memory.address),
            queue: driver::Queue::new(&memory, geometry, features, 0).unwrap(),
        }
    }
}

fn segment(memory: &driver::Memory) -> Segment {
    Segment {
        address: memory.address,
        len: memory.shared.len() as u32,
    }
}

/// The driver's end of a queue, and where it is.
pub(crate) struct Ring {
    pub(crate) areas: driver::Areas,
    pub(crate) queue: driver::Queue<()>,
}

/// Runs tasks when told to.
#[derive(Default)]
pub(crate) struct Steps {
    tasks: Mutex<BTreeMap<u16, Task>>,
    kicks: Mutex<Vec<u16>>,
    /// Called by each stop, before the task goes.
    pub(crate) on_stop: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
}

impl Steps {
    /// Runs the task of queue `index`, if it was started.
    pub(crate) fn run(&self, index: u16) -> Option<Ran> {
        self.tasks.lock().get_mut(&index).map(Task::run)
    }

    /// The queues that were started and not stopped.
    pub(crate) fn started(&self) -> Vec<u16> {
        self.tasks.lock().keys().copied().collect()
    }

    /// The kicks since this was last asked.
    pub(crate) fn kicks(&self) -> Vec<u16> {
        core::mem::take(&mut self.kicks.lock())
    }
}

impl Runner for Steps {
    fn start(&self, index: u16, task: Task) {
        self.tasks.lock().insert(index, task);
    }

    fn kick(&self, index: u16) {
        self.kicks.lock().push(index);
    }

    fn stop(&self, index: u16) {
        let on_stop = self.on_stop.lock().clone();
        if let Some(on_stop) = on_stop {
            on_stop();
        }
        self.tasks.lock().remove(&index);
    }
}

/// Numbers that look random, the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        // Knuth's MMIX generator, whose high bits are its best.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        u64::from(u16::from_le_bytes([self.byte(), self.byte()])) % limit
    }
}

/// Remembers what went over the wires.
#[derive(Default)]
pub(crate) struct Wires {
    asserted: AtomicBool,
    changes: AtomicUsize,
    messages: Mutex<Vec<(u64, u32)>>,
}

impl Wires {
    pub(crate) fn asserted(&self) -> bool {
        self.asserted.load(Ordering::SeqCst)
    }

    /// How often the line changed.
    pub(crate) fn changes(&self) -> usize {
        self.changes.load(Ordering::SeqCst)
    }

    /// The messages since this was last asked.
    pub(crate) fn messages(&self) -> Vec<(u64, u32)> {
        core::mem::take(&mut self.messages.lock())
    }
}

impl Line for Wires {
    fn set(&self, asserted: bool) {
        let before = self.asserted.swap(asserted, Ordering::SeqCst);
        assert_ne!(before, asserted, "told of no change");
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl MessageSink for Wires {
    fn send(&self, address: u64, data: u32) {
        self.messages.lock().push((address, data));
    }
}

/// What happened to a [`Plain`] device.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) negotiated: Mutex<Vec<Features>>,
    pub(crate) workers: Mutex<Vec<(u16, Features)>>,
    pub(crate) resets: AtomicUsize,
    pub(crate) notifier: Mutex<Option<Notifier>>,
    pub(crate) config: Mutex<[u8; 8]>,
}

/// A device of two queues and eight bytes of configuration, whose workers fill what they are given
/// with 0x5a.
pub(crate) struct Plain {
    pub(crate) id: DeviceId,
    pub(crate) features: Features,
    pub(crate) regions: Vec<SharedRegion>,
    /// Makes its workers.
    pub(crate) worker: fn() -> Box<dyn Worker>,
    /// Whether it says its configuration of itself, to go on with in another one.
    pub(crate) saves: bool,
    pub(crate) log: Arc<Log>,
}

impl Plain {
    pub(crate) const QUEUE_SIZES: [u16; 2] = [8, 16];

    pub(crate) fn new(features: Features) -> (Self, Arc<Log>) {
        let log = Arc::new(Log::default());
        let plain = Self {
            id: DeviceId(63),
            features,
            regions: Vec::new(),
            worker: || Box::new(Fill),
            saves: false,
            log: log.clone(),
        };
        (plain, log)
    }
}

impl Device for Plain {
    fn id(&self) -> DeviceId {
        self.id
    }

    fn features(&self) -> Features {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &Self::QUEUE_SIZES
    }

    fn shared_memory(&self) -> &[SharedRegion] {
        &self.regions
    }

    fn presented(&mut self, notifier: Notifier) {
        *self.log.notifier.lock() = Some(notifier);
    }

    fn config_bytes(&self) -> usize {
        self.log.config.lock().len()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let config = *self.log.config.lock();
        for (to, from) in into.iter_mut().zip(config.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) {
        let mut config = self.log.config.lock();
        for (to, from) in config.iter_mut().skip(offset).zip(from) {
            *to = *from;
        }
    }

    fn negotiated(&mut self, features: Features) {
        self.log.negotiated.lock().push(features);
    }

    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker> {
        self.log.workers.lock().push((index, features));
        (self.worker)()
    }

    fn reset(&mut self) {
        self.log.resets.fetch_add(1, Ordering::SeqCst);
    }

    fn save(&self) -> Option<Vec<u8>> {
        self.saves.then(|| self.log.config.lock().to_vec())
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        let config = state.try_into();
        *self.log.config.lock() = config.map_err(|_| StateError::Length(state.len()))?;
        Ok(())
    }
}

/// Fills every chain.
struct Fill;

impl Worker for Fill {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            let len = chain.writable_bytes();
            let filled = batch.writable(&chain).write(&vec![0x5a; len as usize]);
            assert!(filled.is_ok());
            batch.complete(chain, len);
        }
        Ok(())
    }
}

/// A [`Plain`] device about to be carried, and everything around it.
pub(crate) struct Bench {
    pub(crate) ram: Ram,
    pub(crate) steps: Arc<Steps>,
    pub(crate) wires: Arc<Wires>,
    pub(crate) log: Arc<Log>,
}

impl Bench {
    pub(crate) fn new(features: Features, offer: Offer) -> (Self, Parts) {
        let (device, log) = Plain::new(features);
        Self::around(device, log, offer)
    }

    pub(crate) fn around(device: Plain, log: Arc<Log>, offer: Offer) -> (Self, Parts) {
        let bench = Self {
            ram: Ram::new(1024 * 1024),
            steps: Arc::default(),
            wires: Arc::default(),
            log,
        };
        let parts = Parts {
            device: Box::new(device),
            offer,
            administration: Administration::default(),
            interface: Interface::Modern,
            memory: bench.ram.memory(),
            runner: bench.steps.clone(),
        };
        (bench, parts)
    }
}

/// One queue of a device, both ends, without a transport between.
pub(crate) struct Loop {
    pub(crate) ram: Ram,
    pub(crate) driver: driver::Queue<()>,
    task: Task,
    told: Arc<Told>,
    view: Arc<View>,
}

/// Memory that may become another.
struct View(Mutex<Arc<Map>>);

impl Memory for View {
    fn map(&self) -> Arc<Map> {
        self.0.lock().clone()
    }
}

/// What a queue told its carrier.
#[derive(Default)]
struct Told {
    used: AtomicUsize,
    violation: Mutex<Option<Violation>>,
}

impl Signal for Told {
    fn used(&self, _index: u16) {
        self.used.fetch_add(1, Ordering::SeqCst);
    }

    fn broken(&self, _index: u16, violation: Violation) {
        *self.violation.lock() = Some(violation);
    }
}

/// What a device answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) written: u32,
    /// The writable bytes, which were all [`UNTOUCHED`] before.
    pub(crate) bytes: Vec<u8>,
}

/// What writable memory holds before a device writes it.
pub(crate) const UNTOUCHED: u8 = 0xaa;

impl Loop {
    /// The first queue of `device`, whose driver accepts `features` of it.
    pub(crate) fn new(device: &mut dyn Device, features: Features) -> Self {
        let features = features | F::VERSION_1;
        device.negotiated(features);
        let worker = device.worker(0, features);
        Self::served(worker, device.queue_sizes()[0], features)
    }

    /// A queue that `worker` serves.
    pub(crate) fn served(worker: Box<dyn Worker>, size: u16, features: Features) -> Self {
        let features = features | F::VERSION_1;
        let mut ram = Ram::new(16 * 1024 * 1024);
        let ring = ram.ring(size, features);
        let queue = device::Queue::new(&*ram.map, size, ring.areas, features, 0).unwrap();
        let told = Arc::new(Told::default());
        let view = Arc::new(View(Mutex::new(ram.map.clone())));
        Self {
            task: Task::new(0, queue, worker, view.clone(), told.clone()),
            view,
            driver: ring.queue,
            ram,
            told,
        }
    }

    /// Makes a chain available: readable descriptors that hold these bytes, then writable ones of
    /// these lengths, which it returns.
    pub(crate) fn submit(&mut self, readable: &[&[u8]], writable: &[usize]) -> Vec<Segment> {
        let ram = &mut self.ram;
        let readable: Vec<_> = readable.iter().map(|bytes| ram.holding(bytes)).collect();
        let writable: Vec<_> = writable
            .iter()
            .map(|&len| ram.holding(&vec![UNTOUCHED; len]))
            .collect();
        self.driver.submit(&readable, &writable, ()).unwrap();
        self.driver.kick_needed();
        writable
    }

    /// Has the device serve one batch, and not ask for a kick.
    pub(crate) fn look(&mut self) -> Looked {
        self.task.look()
    }

    /// Has the device serve one batch.
    pub(crate) fn run(&mut self) -> Ran {
        self.task.run()
    }

    /// How often the driver was told of what was completed since this was last asked.
    pub(crate) fn used(&self) -> usize {
        self.told.used.swap(0, Ordering::SeqCst)
    }

    /// Has the device complete what it can, and take nothing more.
    pub(crate) fn finish(&mut self) {
        self.task.finish().unwrap();
    }

    /// Whether the worker keeps chains.
    pub(crate) fn is_busy(&self) -> bool {
        self.task.is_busy()
    }

    /// Gives the device another view of memory, in which regions have other numbers.
    pub(crate) fn renumber(&mut self) {
        let below = Region {
            start: RAM / 2,
            memory: Shared::allocate(4096, 4096).unwrap(),
        };
        let mut regions = self.ram.map.regions().to_vec();
        regions.push(below);
        *self.view.0.lock() = Arc::new(Map::new(regions).unwrap());
    }

    /// Makes a chain available, has it served, and takes it back.
    pub(crate) fn request(
        &mut self,
        readable: &[&[u8]],
        writable: &[usize],
    ) -> Result<Answer, Violation> {
        let writable = self.submit(readable, writable);
        self.run();
        while self.is_busy() {
            self.run();
        }
        if let Some(violation) = *self.told.violation.lock() {
            return Err(violation);
        }
        let done = self.driver.poll().unwrap().expect("it was served");
        let bytes = writable.iter().flat_map(|&at| self.ram.bytes(at)).collect();
        Ok(Answer {
            written: done.written,
            bytes,
        })
    }
}
