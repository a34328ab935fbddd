//! One thread, one step at a time, in an order that follows from a seed.
//!
//! Time is virtual: it goes by with every step, and faster while nothing can happen, so that a
//! notification that got lost is a time-out soon.

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use ringway_device::task::{Ran, Task};

use super::Key;
use crate::interrupts::{Controller, Handle, Source};
use crate::sync::lock;

/// How long a step takes, or what a driver asks of the machine.
const STEP: Duration = Duration::from_micros(1);

/// How long it takes when nothing can happen before the driver does something. Time-outs of seconds
/// are thousands of these.
const IDLE: Duration = Duration::from_millis(1);

/// Most steps of one wait: a device that always has something to do returns the driver to its own
/// time-out.
const WAIT_STEPS_MAX: usize = 4096;

/// How many of the last steps a history has.
const LOG_MAX: usize = 256;

/// What happened in an inline machine, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// How many steps there were.
    pub steps: u64,
    /// A hash of all of them and of their times. Not against forgers.
    pub digest: u64,
    /// The last ones, the newest at the end.
    pub last: Vec<Step>,
}

/// One step of an inline machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A queue was served.
    Served {
        /// The device, by its place in the order in which they were added.
        device: usize,
        /// The queue.
        queue: u16,
        /// What became of it.
        ran: Ran,
    },
    /// An interrupt was delivered.
    Interrupt(Source),
    /// Something could have happened, and did not.
    Nothing,
    /// Nothing could happen.
    Idle,
}

/// The scheduler.
pub(crate) struct Inline<H> {
    controller: Arc<Controller<H>>,
    state: Mutex<State>,
    /// A queue is not being served any more.
    served: Condvar,
}

struct State {
    off: bool,
    random: SplitMix,
    clock: Duration,
    queues: BTreeMap<Key, Queue>,
    /// The queue that is being served, and on which thread.
    serving: Option<(Key, ThreadId)>,
    /// A handler runs: it is not interrupted.
    interrupted: bool,
    /// How many do something that is not to be.
    masked: usize,
    steps: u64,
    digest: u64,
    last: VecDeque<Step>,
}

struct Queue {
    /// Absent while it is being served.
    task: Option<Task>,
    runnable: bool,
}

/// What a step may do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Anything that can happen, or nothing.
    Any,
    /// Something, if anything can happen.
    Something,
}

impl<H: Handle> Inline<H> {
    pub(crate) fn new(seed: u64, controller: Arc<Controller<H>>) -> Self {
        Self {
            controller,
            state: Mutex::new(State {
                off: false,
                random: SplitMix(seed),
                clock: Duration::ZERO,
                queues: BTreeMap::new(),
                serving: None,
                interrupted: false,
                masked: 0,
                steps: 0,
                digest: 0,
                last: VecDeque::new(),
            }),
            served: Condvar::new(),
        }
    }

    pub(crate) fn start(&self, key: Key, task: Task) {
        let queue = Queue {
            task: Some(task),
            runnable: true,
        };
        let mut state = lock(&self.state);
        let replaced = if state.off {
            Some(queue)
        } else {
            state.queues.insert(key, queue)
        };
        // Not with the lock: what a worker holds may do anything when it goes.
        drop(state);
        drop(replaced);
    }

    pub(crate) fn kick(&self, key: Key) {
        if let Some(queue) = lock(&self.state).queues.get_mut(&key) {
            queue.runnable = true;
        }
    }

    pub(crate) fn stop(&self, key: Key) {
        let mut state = lock(&self.state);
        let stopped = state.queues.remove(&key);
        let this = thread::current().id();
        let state = self
            .served
            .wait_while(state, |state| {
                state
                    .serving
                    .is_some_and(|(served, thread)| served == key && thread != this)
            })
            .unwrap_or_else(PoisonError::into_inner);
        drop(state);
        drop(stopped);
    }

    pub(crate) fn off(&self) {
        let keys: Vec<_> = {
            let mut state = lock(&self.state);
            state.off = true;
            state.queues.keys().copied().collect()
        };
        for key in keys {
            self.stop(key);
        }
    }

    /// The driver asks something of the machine: anything may happen before.
    pub(crate) fn asked(&self) {
        lock(&self.state).clock += STEP;
        self.step(Choice::Any);
    }

    /// Does `what` while no interrupt is delivered.
    pub(crate) fn uninterrupted<T>(&self, what: impl FnOnce() -> T) -> T {
        lock(&self.state).masked += 1;
        let done = what();
        lock(&self.state).masked -= 1;
        done
    }

    pub(crate) fn relax(&self) {
        self.step(Choice::Any);
    }

    /// Steps until `done`, until nothing can happen, or until it returns early, as waiting may.
    pub(crate) fn wait(&self, done: impl Fn() -> bool) {
        for _ in 0..WAIT_STEPS_MAX {
            if done() || matches!(self.step(Choice::Any), Step::Nothing | Step::Idle) {
                return;
            }
        }
    }

    /// Makes something happen, if anything can.
    pub(crate) fn advance(&self) -> Step {
        self.step(Choice::Something)
    }

    /// Looking at the clock takes its time, too: a driver that polls between two looks sees things
    /// happen.
    pub(crate) fn now(&self) -> Duration {
        self.step(Choice::Any);
        lock(&self.state).clock
    }

    pub(crate) fn history(&self) -> History {
        let state = lock(&self.state);
        History {
            steps: state.steps,
            digest: state.digest,
            last: state.last.iter().copied().collect(),
        }
    }

    /// Takes one step. It holds no lock while a queue is served or a handler runs; meanwhile, steps
    /// that those take are not interrupted, and no queue is served while one is.
    fn step(&self, choice: Choice) -> Step {
        let mut state = lock(&self.state);
        let queues = match state.serving {
            None => state
                .queues
                .values()
                .filter(|queue| queue.is_ready())
                .count(),
            Some(_) => 0,
        };
        let interrupts = match (state.serving, state.interrupted, state.masked) {
            (None, false, 0) => self.controller.ready(),
            _ => 0,
        };
        let possible = queues + interrupts;
        if possible == 0 {
            state.clock += IDLE;
            return state.record(Step::Idle);
        }
        state.clock += STEP;
        let chosen = state
            .random
            .below(possible + usize::from(choice == Choice::Any));
        if chosen < queues {
            self.serve(state, chosen)
        } else if chosen < possible {
            self.interrupt(state, chosen - queues)
        } else {
            state.record(Step::Nothing)
        }
    }

    /// Serves the `nth` of the queues that are ready.
    fn serve(&self, mut state: MutexGuard<'_, State>, nth: usize) -> Step {
        let ready = state
            .queues
            .iter_mut()
            .filter(|(_, queue)| queue.is_ready());
        let Some((key, mut task)) = ready
            .skip(nth)
            .find_map(|(key, queue)| Some((*key, queue.take()?)))
        else {
            return state.record(Step::Nothing);
        };
        state.serving = Some((key, thread::current().id()));
        drop(state);

        let ran = task.run();

        let mut state = lock(&self.state);
        state.serving = None;
        let stopped = match state.queues.get_mut(&key) {
            Some(queue) if ran != Ran::Broken && queue.task.is_none() => {
                // What it keeps is done elsewhere, and no kick says when.
                queue.runnable |= ran == Ran::More || task.is_busy();
                queue.task = Some(task);
                None
            }
            // Stopped while it ran, or not to be served before a reset.
            _ => Some(task),
        };
        let (device, queue) = key;
        let step = state.record(Step::Served { device, queue, ran });
        drop(state);
        self.served.notify_all();
        drop(stopped);
        step
    }

    /// Delivers the `nth` of the interrupts that can be delivered.
    fn interrupt(&self, mut state: MutexGuard<'_, State>, nth: usize) -> Step {
        state.interrupted = true;
        drop(state);

        let delivered = self.controller.deliver(nth);

        let mut state = lock(&self.state);
        state.interrupted = false;
        state.record(delivered.map_or(Step::Nothing, Step::Interrupt))
    }
}

impl<H> fmt::Debug for Inline<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Inline")
            .field("clock", &state.clock)
            .field("steps", &state.steps)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Adds a step to the history.
    fn record(&mut self, step: Step) -> Step {
        self.steps += 1;
        let what = match step {
            Step::Served { device, queue, ran } => {
                let ran = match ran {
                    Ran::Idle => 0,
                    Ran::More => 1,
                    Ran::Broken => 2,
                };
                (device as u64) << 32 | u64::from(queue) << 8 | ran
            }
            Step::Interrupt(Source::Vector(vector)) => 1 << 60 | u64::from(vector),
            Step::Interrupt(Source::Line(line)) => 2 << 60 | u64::from(line),
            Step::Nothing => 3 << 60,
            Step::Idle => 4 << 60,
        };
        let when = self.clock.as_nanos() as u64;
        self.digest = SplitMix(self.digest ^ what).next();
        self.digest = SplitMix(self.digest ^ when).next();
        if self.last.len() == LOG_MAX {
            self.last.pop_front();
        }
        self.last.push_back(step);
        step
    }
}

impl Queue {
    fn is_ready(&self) -> bool {
        self.runnable && self.task.is_some()
    }

    /// Takes the task, to serve the queue. A kick from here on makes it runnable again.
    fn take(&mut self) -> Option<Task> {
        self.runnable = false;
        self.task.take()
    }
}

/// `SplitMix64`, the generator of Steele, Lea and Flood: a counter and a mixer, each of whose 2⁶⁴
/// states is visited once.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is small: the bias is below 2⁻³² for each.
    fn below(&mut self, limit: usize) -> usize {
        ((u128::from(self.next()) * limit as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        let mut random = SplitMix(1_234_567);

        let numbers = [(); 3].map(|()| random.next());

        assert_eq!(
            numbers,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn a_number_is_below_its_limit() {
        let mut random = SplitMix(7);

        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[random.below(5)] = true;
        }

        assert_eq!(seen, [true; 5]);
        assert_eq!(random.below(1), 0);
    }
}
