//! A queue being served, and whoever runs it.

use alloc::boxed::Box;
use alloc::sync::Arc;

use ringway_ring::device::{Queue, Violation};
use ringway_ring::ledger::Ledger;
use ringway_ring::map::{Map, Missing};

use crate::model::Worker;

/// The driver's memory, as a device sees it.
pub trait Memory: Send + Sync {
    /// The view of this moment. A batch is served against one view.
    fn map(&self) -> Arc<Map>;

    /// Whether something of it went away since: what was read there may be nothing that the driver
    /// wrote. Asked after each batch.
    fn is_lost(&self) -> bool {
        false
    }
}

/// Memory that never changes.
impl Memory for Arc<Map> {
    fn map(&self) -> Arc<Map> {
        self.clone()
    }
}

/// How a served queue tells its carrier. Called from whichever thread runs the task.
pub trait Signal: Send + Sync {
    /// Queue `index` has completed chains that the driver wants to hear of (§2.3).
    fn used(&self, index: u16);

    /// The driver broke a rule on queue `index`: the device needs to be reset (§2.1.2).
    fn broken(&self, index: u16, violation: Violation);

    /// The next chain of queue `index` names what the device was not shown yet. The queue is to be run
    /// again when it was.
    fn missing(&self, _index: u16, _missing: Missing) {}

    /// Whether the device is to take no more chains: asked before each batch.
    fn is_suspended(&self) -> bool {
        false
    }

    /// Queue `index`, which is to take no more chains, has completed those that it had. Said again
    /// whenever it is run.
    fn quiet(&self, _index: u16) {}
}

/// Decides where and when queues are served: on threads, in an event loop, or step by step.
pub trait Runner: Send + Sync {
    /// Queue `index` was enabled and its device is live. The task is to be [run](Task::run) now,
    /// and again after each kick.
    ///
    /// Called with the carrier locked: nothing that comes back to its registers may happen within.
    fn start(&self, index: u16, task: Task);

    /// The driver says that queue `index` has chains (§2.9). Also called for queues that were never
    /// started: ignore those.
    fn kick(&self, index: u16);

    /// The device says that queue `index` has something to do. As a kick, by default: whoever counts
    /// those can tell the two apart.
    fn due(&self, index: u16) {
        self.kick(index);
    }

    /// Drops the task of queue `index`, if there is one. Returns only when it does not run and will
    /// not run again: the driver is then told that its memory is its own. Called without any
    /// lock of the carrier held.
    fn stop(&self, index: u16);
}

/// One queue, its worker, and what they need to run.
pub struct Task {
    index: u16,
    queue: Queue,
    worker: Box<dyn Worker>,
    memory: Arc<dyn Memory>,
    signal: Arc<dyn Signal>,
    asked: Asked,
}

/// What the driver was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// To kick.
    Kicks,
    /// Not to.
    Nothing,
    /// Not to, by a queue that has left word of where it stands.
    Rest,
}

/// What became of a task that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// Nothing is left to do. The driver will kick when there is.
    Idle,
    /// There is more to do, and no kick may come: run again.
    More,
    /// The driver broke a rule. Nothing is served before a reset.
    Broken,
}

/// What was found by a task that looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Nothing to do.
    Nothing,
    /// Chains that were taken, or given back.
    Something,
    /// The driver broke a rule. Nothing is served before a reset.
    Broken,
}

impl Task {
    /// Joins a queue to its worker.
    pub fn new(
        index: u16,
        queue: Queue,
        worker: Box<dyn Worker>,
        memory: Arc<dyn Memory>,
        signal: Arc<dyn Signal>,
    ) -> Self {
        Self {
            index,
            queue,
            worker,
            memory,
            signal,
            // As drivers find a ring that was just made.
            asked: Asked::Kicks,
        }
    }

    /// Whether chains are kept that will be completed in time: [`Worker::is_busy`].
    pub fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    /// What becomes readable when they can be: [`Worker::ready`].
    pub fn ready(&self) -> Option<i32> {
        self.worker.ready()
    }

    /// Where in its ring whoever goes on in its place takes the next chain: chains that the worker keeps
    /// are taken again, unless it [is busy](Self::is_busy) with them. Said as [`Queue::position`] says it.
    pub fn position(&self) -> u16 {
        match self.is_busy() {
            true => self.queue.position(),
            false => self.queue.used_position(),
        }
    }

    /// Has what happens to chains written down from here on, or no longer: [`Queue::set_ledger`].
    pub fn set_ledger(&mut self, ledger: Option<Box<dyn Ledger>>) {
        self.queue.set_ledger(ledger);
    }

    /// Serves one batch. Bounded: it ends even if the driver never stops adding chains.
    pub fn run(&mut self) -> Ran {
        if self.signal.is_suspended() {
            return self.rest();
        }
        if self.serve().is_err() {
            return Ran::Broken;
        }
        if !self.worker.wants_chains() {
            return Ran::Idle;
        }
        self.asked = Asked::Kicks;
        if self.queue.arm() {
            Ran::More
        } else {
            Ran::Idle
        }
    }

    /// Serves one batch, as [`run`](Self::run) does, and does not ask the driver to kick: for who
    /// looks again soon. Whoever will not, runs the task.
    pub fn look(&mut self) -> Looked {
        if self.signal.is_suspended() {
            return match self.rest() {
                Ran::Broken => Looked::Broken,
                Ran::Idle | Ran::More => Looked::Nothing,
            };
        }
        let progress = |queue: &Queue| (queue.position(), queue.in_flight());
        let before = progress(&self.queue);
        match self.serve() {
            Err(_) => Looked::Broken,
            Ok(()) if progress(&self.queue) == before => Looked::Nothing,
            Ok(()) => Looked::Something,
        }
    }

    /// Completes what is kept, leaves word in the queue of where it stands, once, and then leaves it
    /// alone (§3.4.2).
    fn rest(&mut self) -> Ran {
        if self.worker.is_busy() && self.finish().is_err() {
            return Ran::Broken;
        }
        if !self.worker.is_busy() {
            if self.asked != Asked::Rest {
                self.asked = Asked::Rest;
                // Nothing that was to be told later is told any more.
                self.tell();
                self.queue.rest();
            }
            self.signal.quiet(self.index);
        }
        Ran::Idle
    }

    /// Completes what can be completed of the chains that were taken, and takes no others: for a queue
    /// that is to stop, whose driver may go on adding chains. They are there when the task is
    /// [run](Self::run) again.
    ///
    /// # Errors
    ///
    /// The [`Violation`] of a driver that broke a rule. Nothing is served before a reset.
    pub fn finish(&mut self) -> Result<(), Violation> {
        let map = self.memory.map();
        let served = self.worker.serve(&mut self.queue.last_batch(&*map));
        self.tell();
        self.served(served)
    }

    fn serve(&mut self) -> Result<(), Violation> {
        let map = self.memory.map();
        // The driver reads what this writes: it is not written over and over.
        if core::mem::replace(&mut self.asked, Asked::Nothing) == Asked::Kicks {
            self.queue.disarm();
        }
        let served = self.worker.serve(&mut self.queue.batch(&*map));
        if !self.worker.defers() {
            self.tell();
        }
        self.served(served)
    }

    /// Tells the driver of what was completed, if it wants to know.
    #[inline]
    fn tell(&mut self) {
        if self.queue.interrupt_needed() {
            self.signal.used(self.index);
        }
    }

    /// Tells of what else a batch has led to.
    #[inline]
    fn served(&mut self, served: Result<(), Violation>) -> Result<(), Violation> {
        if let Some(missing) = self.queue.missing() {
            self.signal.missing(self.index, missing);
        }
        let lost = || self.memory.is_lost().then_some(Violation::MemoryLost);
        let served = served.and_then(|()| lost().map_or(Ok(()), Err));
        served.inspect_err(|&violation| self.signal.broken(self.index, violation))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use core::sync::atomic::{AtomicBool, Ordering};

    use ringway_ring::driver::Geometry;
    use ringway_spec::{F, Features};
    use spin::Mutex;

    use super::*;
    use crate::entropy::{Entropy, Source};
    use crate::model::Device;
    use crate::testing::{Loop, Ram};

    struct Fives;

    impl Source for Fives {
        fn fill(&mut self, into: &mut [u8]) -> crate::Result {
            into.fill(5);
            Ok(())
        }
    }

    #[test]
    fn who_looks_finds_what_came_without_being_kicked_and_who_runs_is_kicked_again() {
        for format in [Features::NONE, F::EVENT_IDX, F::RING_PACKED] {
            let mut bench = Loop::new(&mut Entropy::new(Fives), format);
            let room = bench.ram.holding(&[0; 8]);

            bench.driver.submit(&[], &[room], ()).unwrap();
            let at_first = bench.driver.kick_needed();
            let found = bench.look();
            bench.driver.submit(&[], &[room], ()).unwrap();
            let while_looking = bench.driver.kick_needed();
            let found_again = bench.look();
            let found_then = bench.look();
            let ran = bench.run();
            bench.driver.submit(&[], &[room], ()).unwrap();

            assert!(at_first && !while_looking && bench.driver.kick_needed());
            assert_eq!([found, found_again], [Looked::Something; 2]);
            assert_eq!((found_then, ran), (Looked::Nothing, Ran::Idle));
        }
    }

    struct Losing(Arc<Map>, AtomicBool);

    impl Memory for Losing {
        fn map(&self) -> Arc<Map> {
            self.0.clone()
        }

        fn is_lost(&self) -> bool {
            self.1.load(Ordering::Relaxed)
        }
    }

    struct Broken(Mutex<Option<Violation>>);

    impl Signal for Broken {
        fn used(&self, _index: u16) {}

        fn broken(&self, _index: u16, violation: Violation) {
            *self.0.lock() = Some(violation);
        }
    }

    #[test]
    fn a_queue_whose_memory_went_away_is_broken_although_nothing_in_it_is_wrong() {
        let mut ram = Ram::new(1 << 20);
        let map = ram.memory().map();
        let geometry = Geometry::largest(8, 0, F::VERSION_1).unwrap();
        let areas = geometry.areas(ram.give(geometry.bytes()).address);
        let queue = Queue::new(&*map, 8, areas, F::VERSION_1, 0).unwrap();
        let worker = Entropy::new(Fives).worker(0, F::VERSION_1);
        let memory = Arc::new(Losing(map, AtomicBool::new(false)));
        let broken = Arc::new(Broken(Mutex::new(None)));
        let mut task = Task::new(0, queue, worker, memory.clone(), broken.clone());

        let before = (task.run(), task.look());
        memory.1.store(true, Ordering::Relaxed);
        let after = vec![task.look() == Looked::Broken, task.run() == Ran::Broken];

        assert_eq!(before, (Ran::Idle, Looked::Nothing));
        assert_eq!(after, [true; 2]);
        assert_eq!(*broken.0.lock(), Some(Violation::MemoryLost));
    }
}
