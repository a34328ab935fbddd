//! No thread and no kick: whoever has the machine looks at its queues.

use core::fmt;
use core::mem;
use core::time::Duration;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Instant;

use ringway_device::task::{Looked, Task};

use super::Key;
use crate::interrupts::{Controller, Handle};
use crate::sync::lock;

/// Most looks of one wait: a device that always has something to do returns the driver to its own
/// time-out.
const WAIT_LOOKS_MAX: usize = 64;

/// Queues that are looked at, each in turn.
pub(crate) struct Polled<H> {
    controller: Arc<Controller<H>>,
    state: Mutex<State>,
    /// A queue is not being served any more.
    served: Condvar,
    began: Instant,
}

#[derive(Default)]
struct State {
    off: bool,
    queues: Vec<Queue>,
    /// Room for the tasks of a round, between rounds.
    room: Vec<(Key, Box<Task>)>,
    /// A handler runs: it is not interrupted.
    interrupted: bool,
    /// How many do something that is not to be.
    masked: usize,
    /// How many wait until a queue is not served any more.
    waiting: usize,
}

struct Queue {
    key: Key,
    held: Held,
}

/// Where the task of a queue is.
enum Held {
    Here(Box<Task>),
    /// It is being served on this thread.
    By(ThreadId),
    /// Its driver broke a rule: it is not served before a reset.
    Broken,
}

impl<H: Handle> Polled<H> {
    pub(crate) fn new(controller: Arc<Controller<H>>) -> Self {
        Self {
            controller,
            state: Mutex::default(),
            served: Condvar::new(),
            began: Instant::now(),
        }
    }

    pub(crate) fn start(&self, key: Key, task: Task) {
        let mut queue = Some(Queue {
            key,
            held: Held::Here(Box::new(task)),
        });
        let mut state = lock(&self.state);
        if !state.off {
            state.queues.extend(queue.take());
        }
        // Not with the lock: what a worker holds may do anything when it goes.
        drop(state);
        drop(queue);
    }

    pub(crate) fn stop(&self, key: Key) {
        let this = thread::current().id();
        let mut state = lock(&self.state);
        state.waiting += 1;
        let served = |state: &mut State| {
            let queue = state.find(key);
            queue.is_some_and(|queue| matches!(queue.held, Held::By(thread) if thread != this))
        };
        let waited = self.served.wait_while(state, served);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let at = state.queues.iter().position(|queue| queue.key == key);
        let stopped = at.map(|at| state.queues.remove(at));
        drop(state);
        drop(stopped);
    }

    pub(crate) fn off(&self) {
        let keys: Vec<_> = {
            let mut state = lock(&self.state);
            state.off = true;
            state.queues.iter().map(|queue| queue.key).collect()
        };
        for key in keys {
            self.stop(key);
        }
    }

    /// Looks at each queue once, and delivers what interrupts there are. Says whether there was
    /// anything to do.
    pub(crate) fn poll(&self) -> bool {
        let mut found = false;
        let mut round = self.take();
        round.retain_mut(|(key, task)| {
            let looked = task.look();
            found |= looked != Looked::Nothing;
            let is_broken = looked == Looked::Broken;
            if is_broken {
                self.broken(*key);
            }
            !is_broken
        });
        self.put(round);
        found | self.interrupt()
    }

    /// Looks until `done`, or until there is nothing to do.
    pub(crate) fn wait(&self, done: impl Fn() -> bool) {
        for _ in 0..WAIT_LOOKS_MAX {
            if done() || !self.poll() {
                return;
            }
        }
    }

    /// Does `what` while no interrupt is delivered.
    pub(crate) fn uninterrupted<T>(&self, what: impl FnOnce() -> T) -> T {
        lock(&self.state).masked += 1;
        let done = what();
        lock(&self.state).masked -= 1;
        done
    }

    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes all tasks that are here.
    fn take(&self) -> Vec<(Key, Box<Task>)> {
        let mut state = lock(&self.state);
        let mut round = mem::take(&mut state.room);
        let by = thread::current().id();
        for queue in &mut state.queues {
            if let Held::Here(_) = queue.held
                && let Held::Here(task) = mem::replace(&mut queue.held, Held::By(by))
            {
                round.push((queue.key, task));
            }
        }
        round
    }

    /// Notes that nobody serves queue `key` any more.
    #[cold]
    fn broken(&self, key: Key) {
        let mut state = lock(&self.state);
        if let Some(queue) = state.find(key) {
            queue.held = Held::Broken;
        }
        drop(state);
        self.served.notify_all();
    }

    /// Puts tasks back, but those whose queues were stopped meanwhile.
    fn put(&self, mut round: Vec<(Key, Box<Task>)>) {
        let mut stopped = Vec::new();
        let mut state = lock(&self.state);
        for (key, task) in round.drain(..) {
            match state.find(key) {
                Some(queue) => queue.held = Held::Here(task),
                None => stopped.push(task),
            }
        }
        state.room = round;
        let is_awaited = state.waiting != 0;
        drop(state);
        if is_awaited {
            self.served.notify_all();
        }
        // Not with the lock: what a worker holds may do anything when it goes.
        drop(stopped);
    }

    /// Delivers the interrupts that there are now, one after the other.
    fn interrupt(&self) -> bool {
        let ready = self.controller.ready();
        if ready == 0 {
            return false;
        }
        let begun = |mut state: MutexGuard<'_, State>| {
            let may = !state.interrupted && state.masked == 0;
            state.interrupted |= may;
            may
        };
        if !begun(lock(&self.state)) {
            return false;
        }
        for _ in 0..ready {
            // There may be fewer now.
            self.controller.deliver(0);
        }
        lock(&self.state).interrupted = false;
        true
    }
}

impl State {
    fn find(&mut self, key: Key) -> Option<&mut Queue> {
        self.queues.iter_mut().find(|queue| queue.key == key)
    }
}

impl<H> fmt::Debug for Polled<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        f.debug_struct("Polled")
            .field("queues", &state.queues.len())
            .finish_non_exhaustive()
    }
}
