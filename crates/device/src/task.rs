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

    /// Where in its ring the next chain will be taken: [`Queue::position`].
    pub fn position(&self) -> u16 {
        self.queue.position()
    }

    /// Has what happens to chains written down from here on, or no longer: [`Queue::set_ledger`].
    pub fn set_ledger(&mut self, ledger: Option<Box<dyn Ledger>>) {
        self.queue.set_ledger(ledger);
    }

    /// Serves one batch. Bounded: it ends even if the driver never stops adding chains.
    pub fn run(&mut self) -> Ran {
        let map = self.memory.map();
        self.queue.disarm();
        let served = self.worker.serve(&mut self.queue.batch(&*map));
        if self.queue.interrupt_needed() {
            self.signal.used(self.index);
        }
        if let Some(missing) = self.queue.missing() {
            self.signal.missing(self.index, missing);
        }
        match served {
            Err(violation) => {
                self.signal.broken(self.index, violation);
                Ran::Broken
            }
            Ok(()) if self.queue.arm() => Ran::More,
            Ok(()) => Ran::Idle,
        }
    }
}
