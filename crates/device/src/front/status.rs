//! The device's status: what the driver adds to it, and what a reset takes away.
//!
//! Spec: VIRTIO 1.4 §2.1 "Device Status Field", §2.4 "Device Reset".

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use ringway_ring::device::{Queue, Violation};
use ringway_spec::{F, Features, Status};

use super::{Driven, Front, Given, Interrupts, Setup, State};
use crate::admin::Mode;
use crate::task::Signal;

/// The status bits that a driver may set.
pub(super) const SETTABLE: Status = Status::ACKNOWLEDGE
    .union(Status::DRIVER)
    .union(Status::FEATURES_OK)
    .union(Status::DRIVER_OK)
    .union(Status::FAILED);

impl<I: Interrupts> Front<I> {
    /// The status as it reads.
    pub(super) fn shown_status(&self, state: &State) -> Status {
        let mut status = state.status;
        if self.has_suspended(state) {
            status.remove(Status::DRIVER_OK);
            status.insert(Status::SUSPEND);
        }
        status.set(
            Status::NEEDS_RESET,
            self.common.needs_reset.load(Ordering::SeqCst),
        );
        status
    }

    pub(super) fn add_status(&self, added: Status) {
        let Some(mut guard) = self.driven(Driven::Modern) else {
            return;
        };
        let state = &mut *guard;
        // Bits are added, never cleared (§2.1.1).
        let mut status = state.status | (added & SETTABLE);
        let newly = status.difference(state.status);
        if newly.contains(Status::FEATURES_OK) {
            if self.agrees_to(state.accepted) {
                state.device.negotiated(state.accepted);
            } else {
                status.remove(Status::FEATURES_OK);
            }
        }
        if newly.contains(Status::DRIVER_OK) && !status.contains(Status::FEATURES_OK) {
            status.remove(Status::DRIVER_OK);
        }
        let ready = status.difference(state.status).contains(Status::DRIVER_OK);
        state.status = status;
        if ready {
            let started = self.start(state);
            drop(guard);
            self.or_broken(started);
        } else if added.contains(Status::SUSPEND) && !state.suspended {
            self.suspend(guard);
        } else if added.contains(Status::DRIVER_OK) && self.has_suspended(state) {
            self.go_on(guard);
        }
    }

    /// Whether the device can work with the features that the driver accepted (§2.2.2, §6).
    pub(super) fn agrees_to(&self, accepted: Features) -> bool {
        let needed = F::VERSION_1 | (self.offered & F::ACCESS_PLATFORM);
        self.offered.contains(accepted)
            && accepted.contains(needed)
            && accepted.missing_dependency(self.id).is_none()
    }

    /// The driver is ready: hands every enabled queue to the runner.
    /// One that is stopped has them served when it goes on.
    pub(super) fn start(&self, state: &mut State) -> Result<(), (u16, Violation)> {
        state.started = true;
        if state.mode == Mode::Stopped {
            self.settle_kicks(state.accepted);
            return Ok(());
        }
        let map = self.memory.map();
        let mut queues = Vec::new();
        for (index, setup) in (0..).zip(&state.queues) {
            if setup.enabled {
                let queue = Queue::new(&*map, setup.size, setup.areas, state.accepted, 0);
                queues.push((index, queue.map_err(|violation| (index, violation))?));
            }
        }
        self.settle_kicks(state.accepted);
        self.common.live.store(true, Ordering::SeqCst);
        for (index, queue) in queues {
            self.serve(state, index, queue);
        }
        Ok(())
    }

    /// Says it of the queue, if it was not started because the driver broke a rule. Not called with
    /// the lock held.
    pub(super) fn or_broken(&self, started: Result<(), (u16, Violation)>) {
        if let Err((index, violation)) = started {
            self.common.broken(index, violation);
        }
    }

    /// Returns to the state in which the device was made. Status reads as 0 only when every task
    /// has stopped (§2.4.1).
    pub(crate) fn reset(&self) {
        let mut state = self.state.lock();
        if state.resetting {
            return;
        }
        state.resetting = true;
        let parked = core::mem::take(&mut state.parked);
        drop(state);
        drop(parked);
        self.stop();

        let mut state = self.state.lock();
        state.device.reset();
        if let Some(owner) = &self.owner {
            owner.reset();
        }
        state.driven = None;
        state.status = Status::empty();
        state.suspended = false;
        state.given = Given::default();
        state.started = false;
        state.device_select = 0;
        state.driver_select = 0;
        state.accepted = Features::NONE;
        state.queue_select = 0;
        state.resets = state.resets.wrapping_add(1);
        // The page size stays: Linux says it once, before it resets the device.
        for queue in &mut state.queues {
            *queue = Setup::new(queue.max);
        }
        self.common.broken.store(false, Ordering::SeqCst);
        self.common.needs_reset.store(false, Ordering::SeqCst);
        self.common.legacy.store(false, Ordering::SeqCst);
        self.common.suspension.forget(state.mode);
        self.common.interrupts.reset();
        state.resetting = false;
    }

    /// Stops every task. Not called with the lock held: a task may be long in ending.
    pub(crate) fn stop(&self) {
        self.common.live.store(false, Ordering::SeqCst);
        for index in 0..self.queues.all {
            self.runner.stop(index);
        }
    }
}
