//! Queues: from their set-up to the runner, and back.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use ringway_ring::device::{Queue, Violation};
use ringway_spec::{F, Status};
use spin::MutexGuard;

use super::{Driven, Front, Interrupts, Setup, State};
use crate::admin::Commands;
use crate::model::Worker;
use crate::task::{Signal, Task};

impl<I: Interrupts> Front<I> {
    /// Hands an enabled queue to the runner, with a worker, as soon as the device may reach memory.
    pub(super) fn serve(&self, state: &mut State, index: u16, queue: Queue) {
        let worker: Box<dyn Worker> = match &self.owner {
            Some(owner) if index >= self.queues.own => Box::new(Commands::new(Arc::clone(owner))),
            _ => state.device.worker(index, state.accepted),
        };
        let (memory, signal) = (self.memory.clone(), self.common.clone());
        let task = Task::new(index, queue, worker, memory, signal);
        if let Some(setup) = state.queues.get_mut(usize::from(index)) {
            setup.served = true;
        }
        if self.common.reachable.load(Ordering::SeqCst) {
            self.runner.start(index, task);
        } else {
            state.parked.push((index, task));
        }
    }

    /// Enables the selected queue, if it may be set up now. One that was reset alone is served from
    /// here on; others, once the driver is ready.
    pub(super) fn enable_selected(&self, value: u32) {
        let Some(mut guard) = self.driven(Driven::Modern) else {
            return;
        };
        let state = &mut *guard;
        let Some(setup) = state.selected_for_setup() else {
            return;
        };
        setup.enabled = value == 1 && setup.size != 0;
        if setup.enabled && self.common.live.load(Ordering::SeqCst) {
            let served = self.serve_selected(state);
            drop(guard);
            self.or_broken(served);
        }
    }

    /// Hands the selected queue, which was just enabled, to the runner.
    pub(super) fn serve_selected(&self, state: &mut State) -> Result<(), (u16, Violation)> {
        let (index, accepted) = (state.queue_select as u16, state.accepted);
        let Some(setup) = state.selected() else {
            return Ok(());
        };
        let queue = Queue::new(&*self.memory.map(), setup.size, setup.areas, accepted, 0);
        let queue = queue.map_err(|violation| (index, violation))?;
        self.serve(state, index, queue);
        Ok(())
    }

    /// Takes the selected queue from the driver, and it alone (§2.6.1). It reads as being reset
    /// until its task has stopped, and then as on the first day.
    pub(super) fn reset_selected(&self) {
        let Some(state) = self.driven(Driven::Modern) else {
            return;
        };
        let agreed =
            state.status.contains(Status::FEATURES_OK) && state.accepted.contains(F::RING_RESET);
        if agreed && let Some(index) = self.take_back(state) {
            self.common.interrupts.reset_queue(index);
        }
    }

    /// Takes the selected queue from the runner, and forgets how it was set up. Returns its index,
    /// unless it was reset by another meanwhile.
    pub(super) fn take_back(&self, mut state: MutexGuard<'_, State>) -> Option<u16> {
        let (index, resets) = (state.queue_select as u16, state.resets);
        let queue = state.selected_mut().filter(|queue| !queue.resetting)?;
        queue.resetting = true;
        let parked = state.take_parked(index);
        drop(state);
        drop(parked);
        // Not with the lock held: the task may be long in ending.
        self.runner.stop(index);

        let mut state = self.state.lock();
        if state.resets != resets {
            // The whole device was, meanwhile.
            return None;
        }
        let queue = state.queues.get_mut(usize::from(index))?;
        *queue = Setup::new(queue.max);
        queue.was_reset = true;
        // With the lock, so that a suspension that still waited for it hears of it.
        self.common.quiet(index);
        Some(index)
    }

    /// Takes the selected queue from the device (§4.2.2.2). It may be set up anew before the driver
    /// is ready, and after a reset.
    pub(super) fn disable_selected(&self) {
        let Some(mut state) = self.driven(Driven::Modern) else {
            return;
        };
        let index = state.queue_select as u16;
        if let Some(queue) = state.selected_mut() {
            (queue.enabled, queue.served) = (false, false);
            let parked = state.take_parked(index);
            drop(state);
            drop(parked);
            self.runner.stop(index);
            self.common.quiet(index);
        }
    }
}
