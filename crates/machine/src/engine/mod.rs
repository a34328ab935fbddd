//! Who does what when: on threads, or step by step.

mod inline;
mod polled;
mod threads;

use core::time::Duration;
use std::sync::Arc;

use ringway_device::task::{Runner, Task};
use ringway_driver::interrupt::Signal;

use crate::counters::Counters;
use crate::interrupts::{Controller, Handle};

pub use inline::{History, Step};

pub(crate) use inline::Inline;
pub(crate) use polled::Polled;
pub(crate) use threads::Threads;

/// A queue: which device it is of, and which of the device's it is.
type Key = (usize, u16);

/// How a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// As machines do: each queue that is started is served on a thread of its own, and one thread
    /// delivers interrupts, as a processor would.
    Threaded,
    /// On the thread that drives it, one step at a time, in an order that follows from `seed`
    /// alone. Whenever the driver asks something of the machine (a register, memory, the time,
    /// to [wait](ringway_driver::platform::Platform::wait)), a queue may be served, an interrupt
    /// delivered, or nothing may happen; time goes by with the steps. The same program, with
    /// the same seed, has the same [history](History).
    ///
    /// Used from several threads, the machine works, but its history is not the same again.
    Inline {
        /// What the order follows from.
        seed: u64,
    },
    /// On the thread that has it [looked at](crate::Platform::look), or that waits: each queue in
    /// turn, whether it was kicked or not, and drivers are asked not to kick. As those run who give
    /// devices a processor of their own.
    Polled,
}

/// A machine's way to run.
#[derive(Debug)]
pub(crate) enum Engine<H> {
    Threaded(Threads),
    Inline(Inline<H>),
    Polled(Polled<H>),
}

impl<H: Handle> Engine<H> {
    pub(crate) fn new(run: Run, controller: Arc<Controller<H>>) -> Self {
        match run {
            Run::Threaded => Self::Threaded(Threads::new()),
            Run::Inline { seed } => Self::Inline(Inline::new(seed, controller)),
            Run::Polled => Self::Polled(Polled::new(controller)),
        }
    }

    /// The driver asks something of the machine.
    pub(crate) fn asked(&self) {
        if let Self::Inline(inline) = self {
            inline.asked();
        }
    }

    /// Does `what` while no interrupt is delivered to whoever does it. Those of a threaded machine
    /// are delivered on a thread of their own, which can wait.
    pub(crate) fn uninterrupted<T>(&self, what: impl FnOnce() -> T) -> T {
        match self {
            Self::Threaded(_) => what(),
            Self::Inline(inline) => inline.uninterrupted(what),
            Self::Polled(polled) => polled.uninterrupted(what),
        }
    }

    pub(crate) fn relax(&self) {
        match self {
            Self::Threaded(_) => std::thread::yield_now(),
            Self::Inline(inline) => inline.relax(),
            Self::Polled(polled) => {
                polled.poll();
            }
        }
    }

    pub(crate) fn wait(&self, controller: &Controller<H>, signal: &Signal, seen: u32) {
        let raised = || signal.count() != seen;
        match self {
            Self::Threaded(_) => controller.wait(WAIT_MAX, raised),
            Self::Inline(inline) => inline.wait(raised),
            Self::Polled(polled) => polled.wait(raised),
        }
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Threaded(threads) => threads.now(),
            Self::Inline(inline) => inline.now(),
            Self::Polled(polled) => polled.now(),
        }
    }

    /// Stops every queue, and starts no more.
    pub(crate) fn off(&self) {
        match self {
            Self::Threaded(threads) => threads.off(),
            Self::Inline(inline) => inline.off(),
            Self::Polled(polled) => polled.off(),
        }
    }
}

/// The longest that a thread waits for a signal before it looks for itself: an interrupt that got
/// lost shows as slowness, not as a hang.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// Serves the queues of one device.
pub(crate) struct Port<H> {
    engine: Arc<Engine<H>>,
    device: usize,
    counters: Arc<Counters>,
}

impl<H: Handle> Port<H> {
    pub(crate) fn new(engine: Arc<Engine<H>>, device: usize, counters: Arc<Counters>) -> Self {
        Self {
            engine,
            device,
            counters,
        }
    }
}

impl<H: Handle> Runner for Port<H> {
    fn start(&self, index: u16, task: Task) {
        let key = (self.device, index);
        match &*self.engine {
            Engine::Threaded(threads) => threads.start(key, task),
            Engine::Inline(inline) => inline.start(key, task),
            Engine::Polled(polled) => polled.start(key, task),
        }
    }

    fn kick(&self, index: u16) {
        self.counters.kicked();
        self.due(index);
    }

    fn due(&self, index: u16) {
        let key = (self.device, index);
        match &*self.engine {
            Engine::Threaded(threads) => threads.kick(key),
            Engine::Inline(inline) => inline.kick(key),
            // It is looked at anyway.
            Engine::Polled(_) => {}
        }
    }

    fn stop(&self, index: u16) {
        let key = (self.device, index);
        match &*self.engine {
            Engine::Threaded(threads) => threads.stop(key),
            Engine::Inline(inline) => inline.stop(key),
            Engine::Polled(polled) => polled.stop(key),
        }
    }
}
