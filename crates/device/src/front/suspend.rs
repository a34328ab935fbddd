//! A device that rests: asked to, it takes no more chains, completes those that it has, and only
//! then says that it does. Where its queues stand is kept. Its driver may ask, who suspends it, and
//! its owner, who [stops](super::mode) it; it goes on when neither wants it to rest.
//!
//! Spec: VIRTIO 1.4 §3.4 "Device Suspend".

use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_spec::{F, Status};
use spin::{Mutex, MutexGuard};

use super::{Front, Interrupts, Setup, State};
use crate::admin::Mode;

/// Whether the queues are to rest, and which of them do not yet.
#[derive(Default)]
pub(super) struct Suspension {
    asked: AtomicBool,
    busy: Mutex<Vec<u16>>,
    /// The configuration changed meanwhile.
    owed: AtomicBool,
}

impl Suspension {
    /// Whether queues are to rest.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Queue `index` rests, or is not served any more.
    pub(super) fn quiet(&self, index: u16) {
        self.busy.lock().retain(|busy| *busy != index);
    }

    /// Whether a change of the configuration is told later.
    pub(super) fn holds_back(&self) -> bool {
        let asked = self.is_asked();
        if asked {
            self.owed.store(true, Ordering::SeqCst);
        }
        asked
    }

    /// Nothing rests any more. Says whether a change of the configuration is to be told.
    pub(super) fn end(&self) -> bool {
        self.asked.store(false, Ordering::SeqCst);
        self.busy.lock().clear();
        self.owed.swap(false, Ordering::SeqCst)
    }

    /// The device was reset: there is nothing to wait for, and nothing to tell. One that was stopped
    /// stays so.
    pub(super) fn forget(&self, mode: Mode) {
        self.end();
        self.asked.store(mode == Mode::Stopped, Ordering::SeqCst);
    }

    /// No queue is served any more.
    pub(super) fn all_quiet(&self) {
        self.busy.lock().clear();
    }

    pub(super) fn is_complete(&self) -> bool {
        self.busy.lock().is_empty()
    }

    fn begin(&self, busy: Vec<u16>) {
        *self.busy.lock() = busy;
        self.asked.store(true, Ordering::SeqCst);
    }
}

impl<I: Interrupts> Front<I> {
    /// Whether every queue rests, as the driver asked.
    pub(super) fn has_suspended(&self, state: &State) -> bool {
        state.suspended && self.common.suspension.is_complete()
    }

    /// Suspends a device that works, if that was agreed on. One that is not ready, or is broken,
    /// ignores it.
    pub(super) fn suspend(&self, mut state: MutexGuard<'_, State>) {
        let works = state.status.contains(Status::DRIVER_OK)
            && state.accepted.contains(F::SUSPEND)
            && !self.common.broken.load(Ordering::SeqCst);
        if works {
            // What it is by now is what the driver finds until it has the device go on.
            self.show_config(&mut state);
            state.suspended = true;
            self.rest(state);
        }
    }

    /// Has a suspended device work again, from where it was.
    pub(super) fn go_on(&self, mut state: MutexGuard<'_, State>) {
        state.suspended = false;
        self.work(state);
    }

    /// Has every queue that is served rest, unless they do so by now.
    pub(super) fn rest(&self, state: MutexGuard<'_, State>) {
        if self.common.suspension.is_asked() {
            return;
        }
        let serves = |(index, queue): (u16, &Setup)| {
            let parked = state.parked.iter().any(|(parked, _)| *parked == index);
            (queue.served && !parked).then_some(index)
        };
        let busy = (0..).zip(&state.queues).filter_map(serves).collect();
        self.common.live.store(false, Ordering::SeqCst);
        self.common.suspension.begin(busy);
        drop(state);
        // So that each of them sees it.
        self.kick_all();
    }

    /// Has queues served again from where they were, unless somebody still wants them to rest.
    pub(super) fn work(&self, state: MutexGuard<'_, State>) {
        if state.suspended || state.mode == Mode::Stopped {
            return;
        }
        let owed = self.common.suspension.end();
        let works = state.started && !self.common.broken.load(Ordering::SeqCst);
        self.common.live.store(works, Ordering::SeqCst);
        drop(state);
        self.kick_all();
        if owed && works {
            self.common.interrupts.config_changed();
        }
    }
}
