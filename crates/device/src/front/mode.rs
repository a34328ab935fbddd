//! A device that its owner stops: what it has begun is completed, and from then on it reaches no
//! memory and interrupts nobody, while its driver goes on as if nothing were: registers are read and
//! written, kicks are taken. What they led to happens when the device goes on.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4.3 "Device parts handling commands".

use core::sync::atomic::Ordering;
use core::task::Poll;

use alloc::vec::Vec;
use ringway_ring::device::{Queue, Violation};
use spin::MutexGuard;

use super::{Front, Given, Interrupts, State};
use crate::admin::{Inadmissible, Mode};
use crate::task::Signal;

impl<I: Interrupts> Front<I> {
    /// Stops the device, or has it go on. [`Poll::Pending`] while it completes what it has begun, and
    /// while it is being reset: ask again. It is what it is asked to be then, if it was so before, too.
    ///
    /// # Errors
    ///
    /// [`Inadmissible`] if it was given parts that do not fit together. It stays stopped.
    pub(crate) fn set_mode(&self, mode: Mode) -> Poll<Result<(), Inadmissible>> {
        let state = self.state.lock();
        if state.resetting || state.redrawn {
            return Poll::Pending;
        }
        match (mode, state.mode) {
            (Mode::Stopped, _) => self.halt(state).map(Ok),
            (Mode::Running, Mode::Stopped) => Poll::Ready(self.proceed(state)),
            (Mode::Running, Mode::Running) => Poll::Ready(Ok(())),
        }
    }

    /// Has the device be one that nobody has stopped. It was reset.
    pub(crate) fn forget_mode(&self) {
        let mut state = self.state.lock();
        state.mode = Mode::Running;
        state.given = Given::default();
        self.common.interrupts.go_on();
        self.work(state);
    }

    /// Whether the device was stopped, and has completed what it had begun.
    pub(super) fn has_stopped(&self, state: &State) -> bool {
        state.mode == Mode::Stopped && self.common.suspension.is_complete()
    }

    fn halt(&self, mut state: MutexGuard<'_, State>) -> Poll<()> {
        if state.mode == Mode::Running {
            state.mode = Mode::Stopped;
            state.given = Given::default();
            self.rest(state);
        } else {
            drop(state);
        }
        // What is broken is not served, and what is not served never says that it rests.
        if self.common.broken.load(Ordering::SeqCst) {
            self.stop();
            self.common.suspension.all_quiet();
        }
        if !self.common.suspension.is_complete() {
            return Poll::Pending;
        }
        // Not before: the last completions are told.
        self.common.interrupts.hold();
        Poll::Ready(())
    }

    /// Has a device that was stopped go on: with the queues of before, those that its driver has
    /// enabled meanwhile, and those that it was given.
    fn proceed(&self, mut guard: MutexGuard<'_, State>) -> Result<(), Inadmissible> {
        let state = &mut *guard;
        self.check(state)?;
        let given = !state.given.is_empty();
        let (queues, broken) = match self.queues_to_serve(state) {
            Ok(queues) => (queues, None),
            // Its owner gave it what cannot be; or it is the driver, whom the device tells.
            Err((index, _)) if given => return Err(Inadmissible::Ring(index)),
            Err(broken) => (Vec::new(), Some(broken)),
        };
        for (index, queue) in queues {
            self.serve(state, index, queue);
        }
        let started: Vec<u16> = (0..)
            .zip(&state.queues)
            .filter_map(|(index, queue)| queue.served.then_some(index))
            .collect();
        state.given = Given::default();
        state.mode = Mode::Running;
        self.common.interrupts.go_on();
        self.work(guard);
        if given {
            // What the device in whose place it goes on still had to tell is not known.
            started
                .into_iter()
                .for_each(|index| self.common.interrupts.used(index));
        }
        if let Some((index, violation)) = broken {
            self.common.broken(index, violation);
        }
        Ok(())
    }

    /// The queues that are to be served and are not: where they begin, or go on.
    fn queues_to_serve(&self, state: &State) -> Result<Vec<(u16, Queue)>, (u16, Violation)> {
        let map = self.memory.map();
        let works = state.started && !self.common.broken.load(Ordering::SeqCst);
        let mut queues = Vec::new();
        for (index, setup) in (0..).zip(&state.queues) {
            if !works || !setup.enabled || setup.served {
                continue;
            }
            let (size, areas, features) = (setup.size, setup.areas, state.accepted);
            let queue = if setup.goes_on {
                Queue::go_on(&*map, size, areas, features)
            } else {
                Queue::new(&*map, size, areas, features, 0)
            };
            queues.push((index, queue.map_err(|violation| (index, violation))?));
        }
        Ok(queues)
    }
}
