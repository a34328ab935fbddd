use super::*;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Instant;

use ringway_device::Worker;
use ringway_device::task::{Memory, Signal};
use ringway_ring::device::{self, Batch, Chain, Violation};
use ringway_ring::driver::{self, Geometry, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::eventfd::EventFd;
use crate::memory::{Losses, Table};
use crate::protocol;

const RAM: u64 = 0x4000_0000;
const RAM_BYTES: usize = 1 << 20;
const SIZE: u16 = 8;

/// A little before the indices of a ring wrap.
const START: u16 = 65_530;

/// No test needs as long, on whatever machine.
const PATIENCE: Duration = Duration::from_secs(30);

const FIRST: Key = Key {
    device: 3,
    queue: 1,
};

/// The driver's end of a ring, and what is between it and the loop.
struct Driver {
    queue: driver::Queue<()>,
    kick: EventFd,
    told: Arc<Told>,
    room: Segment,
}

/// What a ring told its carrier.
struct Told {
    call: EventFd,
    broken: Mutex<Option<Violation>>,
}

impl Signal for Told {
    fn used(&self, _index: u16) {
        self.call.signal();
    }

    fn broken(&self, _index: u16, violation: Violation) {
        *self.broken.lock().unwrap() = Some(violation);
        self.call.signal();
    }
}

/// A ring in this memory, of which the map is `memory`'s.
fn ring_in(
    shared: &Shared,
    memory: Arc<dyn Memory>,
    features: Features,
    worker: impl Worker + 'static,
) -> (Driver, Task) {
    let features = features | F::VERSION_1;
    let packed = features.contains(F::RING_PACKED);
    let start = if packed { 0 } else { START };
    let geometry = Geometry::largest(SIZE, 0, features).unwrap();
    let ring = driver::Memory {
        shared: shared.slice(0, geometry.bytes()).unwrap(),
        address: RAM,
    };
    let areas = geometry.areas(RAM);
    let queue = driver::Queue::new(&ring, geometry, features, start).unwrap();
    let ours = device::Queue::new(&*memory.map(), SIZE, areas, features, start).unwrap();
    let told = Arc::new(Told {
        call: EventFd::new().unwrap(),
        broken: Mutex::default(),
    });
    let task = Task::new(FIRST.queue, ours, Box::new(worker), memory, told.clone());
    let driver = Driver {
        queue,
        kick: EventFd::new().unwrap(),
        told,
        room: Segment {
            address: RAM + RAM_BYTES as u64 / 2,
            len: 16,
        },
    };
    (driver, task)
}

fn ring(features: Features, worker: impl Worker + 'static) -> (Driver, Task) {
    let shared = Shared::allocate(RAM_BYTES, 4096).unwrap();
    let region = Region {
        start: RAM,
        memory: shared.clone(),
    };
    let map = Arc::new(Map::new(vec![region]).unwrap());
    ring_in(&shared, Arc::new(map), features, worker)
}

impl Driver {
    fn kick(&self) -> Option<OwnedFd> {
        Some(self.kick.try_clone().unwrap().into())
    }

    fn submit(&mut self) {
        self.queue.submit(&[], &[self.room], ()).unwrap();
    }

    /// Submits a chain, and kicks if that is wanted. Says whether it was.
    fn give(&mut self) -> bool {
        self.submit();
        let needed = self.queue.kick_needed();
        if needed {
            self.kick.signal();
        }
        needed
    }

    /// Takes a chain back. Waits for it as drivers do.
    fn take(&mut self) {
        loop {
            if self.queue.poll().unwrap().is_some() {
                return;
            }
            if self.queue.arm() {
                continue;
            }
            self.wait();
        }
    }

    /// Waits until the device tells something.
    fn wait(&self) {
        assert!(readable(&self.told.call), "the device is silent");
        self.told.call.take().unwrap();
    }

    fn broken(&self) -> Option<Violation> {
        *self.told.broken.lock().unwrap()
    }
}

fn readable(event: &EventFd) -> bool {
    let patience = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(event, PollFlags::IN)];
    poll(&mut polled, Some(&patience)).unwrap() != 0
}

/// Waits until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        thread::yield_now();
    }
}

/// Completes each chain at once.
struct AtOnce;

impl Worker for AtOnce {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            batch.complete(chain, 1);
        }
        Ok(())
    }
}

/// Leaves chains where they are.
struct Lazy;

impl Worker for Lazy {
    fn serve(&mut self, _batch: &mut Batch<'_>) -> Result<(), Violation> {
        Ok(())
    }
}

/// Keeps chains until it may complete them.
struct Keeper {
    kept: Vec<Chain>,
    may: Arc<AtomicBool>,
    /// Signalled when it may.
    ready: Option<EventFd>,
}

impl Keeper {
    fn new(ready: Option<EventFd>) -> Self {
        Self {
            kept: Vec::new(),
            may: Arc::default(),
            ready,
        }
    }
}

impl Worker for Keeper {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.kept.push(chain);
        }
        if let Some(ready) = &self.ready {
            ready.take().unwrap();
        }
        if self.may.load(Ordering::Acquire) {
            for chain in self.kept.drain(..) {
                batch.complete(chain, 1);
            }
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.kept.is_empty()
    }

    fn ready(&self) -> Option<i32> {
        self.ready.as_ref().map(|ready| ready.as_fd().as_raw_fd())
    }
}

fn event_loop(look_max: Duration) -> EventLoop {
    let options = Options {
        look_max,
        ..Options::default()
    };
    EventLoop::spawn("rings", options).unwrap()
}

const NEVER: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(1);

#[test]
fn every_chain_comes_back_whether_the_loop_looks_or_sleeps_and_whatever_tells_it() {
    for look_max in [NEVER, Options::default().look_max, LONG] {
        for features in [
            Features::NONE,
            F::EVENT_IDX,
            F::RING_PACKED,
            F::RING_PACKED | F::EVENT_IDX,
        ] {
            let (mut driver, task) = ring(features, AtOnce);
            let event_loop = event_loop(look_max);
            let handle = event_loop.handle();
            handle.start(FIRST, task, driver.kick());

            for round in 0..300 {
                for _ in 0..=round % SIZE {
                    driver.give();
                }
                for _ in 0..=round % SIZE {
                    driver.take();
                }
            }

            let task = handle.stop(FIRST).unwrap();
            let expected = (0..300_u16).fold(START, |at, round| at.wrapping_add(round % SIZE + 1));
            if !features.contains(F::RING_PACKED) {
                assert_eq!(task.position(), expected);
            }
            assert_eq!(driver.broken(), None);
            let counts = handle.counts(FIRST);
            assert!(counts.batches + counts.hits >= 150, "{counts:?}");
        }
    }
}

#[test]
fn a_kick_by_call_does_as_well_and_one_for_a_ring_that_is_not_there_does_nothing() {
    let (mut driver, task) = ring(F::EVENT_IDX, AtOnce);
    let event_loop = event_loop(NEVER);
    let (handle, port) = (
        event_loop.handle(),
        event_loop.handle().runner(FIRST.device),
    );
    port.kick(FIRST.queue);
    port.start(FIRST.queue, task);
    for _ in 0..300 {
        driver.submit();
        if driver.queue.kick_needed() {
            port.kick(FIRST.queue);
        }
        driver.take();
    }
    port.kick(FIRST.queue + 1);

    port.stop(FIRST.queue);

    assert!(handle.stop(FIRST).is_none());
    assert!(handle.counts(FIRST).kicks > 0);
}

#[test]
fn a_ring_that_always_has_more_to_do_starves_neither_others_nor_orders() {
    let (mut greedy, endless) = ring(Features::NONE, Lazy);
    let (mut driver, task) = ring(Features::NONE, AtOnce);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    let second = Key { queue: 2, ..FIRST };
    greedy.give();
    handle.start(FIRST, endless, greedy.kick());
    handle.start(second, task, driver.kick());

    for _ in 0..100 {
        driver.give();
        driver.take();
    }

    assert!(handle.stop(second).is_some() && handle.stop(FIRST).is_some());
    let counts = handle.counts(FIRST);
    assert!(counts.batches >= 1, "{counts:?}");
}

/// Devices' defect 13: whatever the driver does, nobody else suffers.
#[test]
fn a_ring_that_is_broken_is_not_run_again_and_its_task_can_be_had() {
    let (mut driver, task) = ring(Features::NONE, AtOnce);
    let (mut other, others) = ring(Features::NONE, AtOnce);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    let second = Key { queue: 2, ..FIRST };
    driver.room.address = 1;
    driver.give();
    handle.start(FIRST, task, driver.kick());
    handle.start(second, others, other.kick());
    driver.wait();
    let batches = handle.counts(FIRST).batches;

    for _ in 0..10 {
        driver.kick.signal();
        handle.kick(FIRST);
        handle.set_kick(FIRST, driver.kick());
        other.give();
        other.take();
    }

    assert!(matches!(driver.broken(), Some(Violation::NotMapped { .. })));
    assert!(handle.stop(FIRST).is_some());
    assert_eq!(handle.counts(FIRST).batches, batches);
}

#[test]
fn a_worker_that_waits_for_something_is_served_when_that_comes() {
    let ready = EventFd::new().unwrap();
    let keeper = Keeper::new(Some(ready.try_clone().unwrap()));
    let may = keeper.may.clone();
    let (mut driver, task) = ring(Features::NONE, keeper);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    handle.start(FIRST, task, driver.kick());
    driver.give();
    until("taken", || handle.counts(FIRST).batches >= 1);

    may.store(true, Ordering::Release);
    ready.signal();

    driver.take();
    assert!(handle.stop(FIRST).is_some());
}

#[test]
fn a_worker_that_needs_nothing_but_time_is_served_until_it_has_completed_all() {
    let keeper = Keeper::new(None);
    let may = keeper.may.clone();
    let (mut driver, task) = ring(Features::NONE, keeper);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    handle.start(FIRST, task, driver.kick());
    driver.give();
    until("asked again", || handle.counts(FIRST).batches >= 3);

    may.store(true, Ordering::Release);

    driver.take();
    let task = handle.stop(FIRST).unwrap();
    assert!(!task.is_busy());
}

#[test]
fn a_ring_that_stops_completes_what_it_keeps() {
    for ready in [None, Some(EventFd::new().unwrap())] {
        let keeper = Keeper::new(ready.as_ref().map(|ready| ready.try_clone().unwrap()));
        let may = keeper.may.clone();
        let (mut driver, task) = ring(Features::NONE, keeper);
        let event_loop = event_loop(NEVER);
        let handle = event_loop.handle();
        driver.give();
        handle.start(FIRST, task, driver.kick());
        until("taken", || handle.counts(FIRST).batches >= 1);

        let stopping = thread::spawn({
            let handle = handle.clone();
            move || handle.stop(FIRST)
        });
        may.store(true, Ordering::Release);
        if let Some(ready) = ready {
            ready.signal();
        }

        let task = stopping.join().unwrap().unwrap();
        driver.take();
        assert_eq!((task.is_busy(), task.position()), (false, START + 1));
    }
}

#[test]
fn a_ring_that_cannot_complete_what_it_keeps_is_stopped_in_the_end() {
    let (mut driver, task) = ring(Features::NONE, Keeper::new(None));
    let options = Options {
        stop_max: Duration::from_millis(5),
        ..Options::default()
    };
    let event_loop = EventLoop::spawn("rings", options).unwrap();
    let handle = event_loop.handle();
    driver.give();
    handle.start(FIRST, task, driver.kick());
    until("taken", || handle.counts(FIRST).batches >= 1);

    let task = handle.stop(FIRST).unwrap();

    assert!(task.is_busy());
}

#[test]
fn a_ring_that_stops_takes_nothing_more_whatever_the_driver_adds() {
    for (features, look_max) in [
        (Features::NONE, NEVER),
        (F::EVENT_IDX, LONG),
        (F::RING_PACKED, NEVER),
        (F::RING_PACKED | F::EVENT_IDX, LONG),
    ] {
        let keeper = Keeper::new(None);
        let may = keeper.may.clone();
        let (mut driver, task) = ring(features, keeper);
        let event_loop = event_loop(look_max);
        let handle = event_loop.handle();
        driver.give();
        handle.start(FIRST, task, driver.kick());
        until("taken", || handle.counts(FIRST).batches >= 1);

        let (reply, stopped) = mpsc::sync_channel(1);
        handle.0.order(Order::Stop { ring: FIRST, reply });
        until("asked to stop", || !handle.0.has_something());
        for _ in 1..SIZE {
            driver.give();
            handle.kick(FIRST);
        }
        may.store(true, Ordering::Release);

        let task = stopped.recv().unwrap().unwrap();
        driver.take();
        assert!(driver.queue.poll().unwrap().is_none(), "{features:?}");
        assert!(!task.is_busy());
        // Whoever goes on with it finds the rest.
        handle.start(FIRST, task, driver.kick());
        for _ in 1..SIZE {
            driver.take();
        }
    }
}

#[test]
fn a_ring_that_settles_completes_what_it_keeps_and_then_takes_what_came_meanwhile() {
    for features in [Features::NONE, F::RING_PACKED | F::EVENT_IDX] {
        let keeper = Keeper::new(None);
        let may = keeper.may.clone();
        let (mut driver, task) = ring(features, keeper);
        let event_loop = event_loop(NEVER);
        let handle = event_loop.handle();
        driver.give();
        handle.start(FIRST, task, driver.kick());
        until("taken", || handle.counts(FIRST).batches >= 1);

        let settling = handle.settle(FIRST);
        until("asked to settle", || !handle.0.has_something());
        driver.give();
        let before = driver.queue.poll().unwrap().is_some();
        may.store(true, Ordering::Release);

        assert_eq!((before, settling.wait()), (false, Settled::Done));
        driver.take();
        driver.take();
        assert_eq!(handle.settle(FIRST).wait(), Settled::Done);
        assert!(handle.stop(FIRST).is_some());
        // There is nothing to wait for.
        assert_eq!(handle.settle(FIRST).wait(), Settled::Done);
    }
}

#[test]
fn a_ring_that_does_not_settle_in_time_is_broken_and_its_task_can_be_had_at_once() {
    let (mut driver, task) = ring(Features::NONE, Keeper::new(None));
    let options = Options {
        stop_max: Duration::from_millis(5),
        ..Options::default()
    };
    let event_loop = EventLoop::spawn("rings", options).unwrap();
    let handle = event_loop.handle();
    driver.give();
    handle.start(FIRST, task, driver.kick());
    until("taken", || handle.counts(FIRST).batches >= 1);

    let settled = handle.settle(FIRST).wait();

    assert_eq!(settled, Settled::Late);
    let batches = handle.counts(FIRST).batches;
    driver.give();
    handle.kick(FIRST);
    assert!(handle.stop(FIRST).unwrap().is_busy());
    assert_eq!(handle.counts(FIRST).batches, batches);
}

#[test]
fn a_driver_that_is_looked_at_need_not_kick() {
    let (mut driver, task) = ring(F::EVENT_IDX, AtOnce);
    let event_loop = event_loop(LONG);
    let handle = event_loop.handle();
    handle.start(FIRST, task, driver.kick());
    let may_look = thread::available_parallelism().unwrap().get() > 1;

    // Each look is twice as long as the one before; and whoever else uses the processors may let
    // none of them hit for a while.
    const ROUNDS: u64 = 50_000;
    let mut kicks = 0;
    for round in 1..=ROUNDS {
        kicks += u64::from(driver.give());
        driver.take();
        if kicks < round && handle.counts(FIRST).hits > 0 {
            return;
        }
    }

    let counts = handle.counts(FIRST);
    assert!(!may_look, "{counts:?}, {kicks} kicks");
}

#[test]
fn on_one_processor_nothing_is_looked_at_without_a_kick() {
    let (mut driver, task) = ring(F::EVENT_IDX, AtOnce);
    // The loop may use what the thread may that starts it.
    let event_loop = thread::spawn(|| {
        let all = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set((0..).find(|&processor| all.is_set(processor)).unwrap());
        sched_setaffinity(None, &one).unwrap();
        event_loop(LONG)
    });
    let event_loop = event_loop.join().unwrap();
    let handle = event_loop.handle();
    handle.start(FIRST, task, driver.kick());

    for _ in 0..100 {
        driver.give();
        driver.take();
    }

    let counts = handle.counts(FIRST);
    assert_eq!((counts.hits, counts.misses), (0, 0));
    assert!(counts.batches >= 100, "{counts:?}");
}

#[test]
fn a_ring_of_which_nothing_is_heard_is_looked_at_all_the_same() {
    let unpollable = || -> OwnedFd { tempfile::tempfile().unwrap().into() };
    for kick in [Kick::Nothing, Kick::Readable(unpollable())] {
        let (mut driver, task) = ring(Features::NONE, AtOnce);
        let event_loop = event_loop(NEVER);
        event_loop.handle().start(FIRST, task, kick);

        for _ in 0..5 {
            driver.submit();
            driver.queue.kick_needed();
            driver.take();
        }
    }
}

#[test]
fn a_pipe_for_kicks_never_fills_and_its_end_wakes_nobody() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (mut driver, task) = ring(Features::NONE, AtOnce);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    handle.start(FIRST, task, Some(reader));

    for _ in 0..0x4000 {
        rustix::io::write(&writer, &[1; 8]).unwrap();
    }
    driver.submit();
    driver.queue.kick_needed();
    rustix::io::write(&writer, &[1; 8]).unwrap();
    driver.take();
    drop(writer);
    // One kick more or less may still be on its way.
    handle.kick(FIRST);
    let before = handle.counts(FIRST).kicks;
    until("heard", || handle.counts(FIRST).kicks > before);

    let another = driver.kick();
    handle.set_kick(FIRST, another);
    driver.give();
    driver.take();
}

#[test]
fn what_kicks_can_be_replaced_while_the_ring_is_served() {
    let (mut driver, task) = ring(Features::NONE, AtOnce);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    handle.start(FIRST, task, driver.kick());
    let old = driver.kick.try_clone().unwrap();
    for _ in 0..10 {
        driver.give();
        driver.take();
    }

    // Chains that were kicked for in the old way, just before.
    driver.give();
    driver.kick = EventFd::new().unwrap();
    handle.set_kick(FIRST, driver.kick());
    driver.take();
    driver.give();
    driver.take();

    assert!(handle.stop(FIRST).is_some());
    old.signal();
    assert!(handle.stop(FIRST).is_none());
}

/// Stops its own ring, from within.
struct Quitter(Handle, mpsc::Sender<bool>);

impl Worker for Quitter {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        self.1.send(self.0.stop(FIRST).is_none()).unwrap();
        AtOnce.serve(batch)
    }
}

#[test]
fn a_task_that_stops_itself_is_stopped_and_does_not_wait_for_itself() {
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    let (sender, asked) = mpsc::channel();
    let (driver, task) = ring(Features::NONE, Quitter(handle.clone(), sender));

    handle.start(FIRST, task, driver.kick());

    assert_eq!(asked.recv_timeout(PATIENCE), Ok(true));
    // Its sender goes with it.
    until("dropped", || {
        asked.try_recv() == Err(mpsc::TryRecvError::Disconnected)
    });
}

struct Panics;

impl Worker for Panics {
    fn serve(&mut self, _batch: &mut Batch<'_>) -> Result<(), Violation> {
        panic::resume_unwind(Box::new("a defect of ours"));
    }
}

#[test]
fn a_loop_that_ended_keeps_nobody_waiting_and_does_not_hide_why() {
    let (mut driver, task) = ring(Features::NONE, Panics);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    driver.give();
    handle.start(FIRST, task, driver.kick());
    until("served", || handle.counts(FIRST).batches >= 1);

    let stopped = handle.stop(FIRST);
    let (driver, task) = ring(Features::NONE, AtOnce);
    handle.start(FIRST, task, driver.kick());
    let never_started = handle.stop(FIRST);
    let ended = thread::spawn(|| drop(event_loop)).join();

    assert!(stopped.is_none() && never_started.is_none());
    assert!(ended.is_err());
}

#[test]
fn tasks_go_with_the_loop() {
    let event_loop = event_loop(NEVER);
    let (driver, task) = ring(Features::NONE, AtOnce);
    let told = Arc::downgrade(&driver.told);
    event_loop.handle().start(FIRST, task, driver.kick());

    drop(event_loop);

    assert_eq!(told.strong_count(), 1, "the driver's");
}

struct Lossy(Arc<Map>, Losses);

impl Memory for Lossy {
    fn map(&self) -> Arc<Map> {
        self.0.clone()
    }

    fn is_lost(&self) -> bool {
        self.1.any()
    }
}

#[test]
fn a_ring_whose_memory_shrinks_under_us_is_broken_and_others_are_served() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(RAM_BYTES as u64).unwrap();
    let region = protocol::Region {
        guest_address: RAM,
        size: RAM_BYTES as u64,
        user_address: 0,
        file_offset: 0,
    };
    let mut table = Table::new();
    table.add(region, file.try_clone().unwrap().into()).unwrap();
    let map = table.map();
    let shared = map.shared(RAM, RAM_BYTES).unwrap();
    let memory = Arc::new(Lossy(map, table.losses()));
    let (driver, task) = ring_in(&shared, memory, F::EVENT_IDX, AtOnce);
    let (mut other, others) = ring(Features::NONE, AtOnce);
    let event_loop = event_loop(NEVER);
    let handle = event_loop.handle();
    let second = Key { device: 4, ..FIRST };
    handle.start(FIRST, task, driver.kick());
    handle.start(second, others, other.kick());
    until("runs", || handle.counts(FIRST).batches > 0);

    file.set_len(0).unwrap();
    handle.kick(FIRST);

    driver.wait();
    assert_eq!(driver.broken(), Some(Violation::MemoryLost));
    other.give();
    other.take();
}

#[test]
fn many_threads_may_ask_at_once() {
    static SERVED: AtomicU64 = AtomicU64::new(0);
    let event_loop = event_loop(Options::default().look_max);
    let asking: Vec<_> = (0..4)
        .map(|device| {
            let handle = event_loop.handle();
            thread::spawn(move || {
                let key = Key { device, queue: 0 };
                for _ in 0..50 {
                    let (mut driver, task) = ring(F::EVENT_IDX, AtOnce);
                    handle.start(key, task, driver.kick());
                    for _ in 0..4 {
                        driver.give();
                        driver.take();
                        SERVED.fetch_add(1, Ordering::Relaxed);
                    }
                    assert!(handle.stop(key).is_some());
                }
            })
        })
        .collect();

    for asked in asking {
        asked.join().unwrap();
    }

    assert_eq!(SERVED.load(Ordering::Relaxed), 4 * 50 * 4);
}
