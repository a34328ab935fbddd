//! The configuration space of the device's type.
//!
//! Spec: VIRTIO 1.4 §2.5 "Device Configuration Space".

use alloc::vec;
use core::sync::atomic::Ordering;

use ringway_spec::Status;

use super::{Common, Driven, Front, Interrupts, State};

impl<I: Interrupts> Front<I> {
    /// How many bytes configuration space has.
    pub(crate) fn config_bytes(&self) -> usize {
        self.state.lock().device.config_bytes()
    }

    /// Reads configuration space from byte `offset` on. What is not there reads as 0.
    pub(crate) fn read_config(&self, offset: usize, into: &mut [u8]) {
        into.fill(0);
        let mut state = self.state.lock();
        // A device that is suspended shows what it did when it was asked to (§3.4.2).
        if !state.suspended {
            self.show_config(&mut state);
        }
        for (to, from) in into.iter_mut().zip(state.shown.iter().skip(offset)) {
            *to = *from;
        }
    }

    /// Has the driver see the configuration as it is now, with another generation if it is not what
    /// it saw last.
    ///
    /// Here, not when it changed: the driver sees another generation for certain, however often it
    /// changed (§4.1.4.3.1), and even if the device has changed it and not yet said so.
    pub(super) fn show_config(&self, state: &mut State) {
        let mut now = vec![0; state.shown.len()];
        state.device.read_config(0, &mut now);
        if self.common.changed.swap(false, Ordering::SeqCst) || now != state.shown {
            state.generation = state.generation.wrapping_add(1);
            state.shown = now;
        }
    }

    /// Writes configuration space from byte `offset` on, once the features are settled (§3.1.1 step
    /// 4), and not while the device is suspended (§3.4.2).
    pub(crate) fn write_config(&self, offset: usize, from: &[u8]) {
        if let Some(mut state) = self.driven(Driven::Modern)
            && state.status.contains(Status::FEATURES_OK)
            && !state.suspended
        {
            state.device.write_config(offset, from);
        }
    }

    /// Writes configuration space through the legacy interface: at any time (§3.1.2).
    pub(crate) fn write_config_legacy(&self, offset: usize, from: &[u8]) {
        if let Some(mut state) = self.driven(Driven::Legacy) {
            state.device.write_config(offset, from);
        }
    }

    /// The device's configuration changed.
    pub(crate) fn config_changed(&self) {
        self.common.config_changed();
    }
}

impl<I: Interrupts> Common<I> {
    /// The device's configuration changed: the driver is told, if there is one that is ready; one
    /// that has suspended the device, when it goes on (§3.4.2).
    pub(super) fn config_changed(&self) {
        self.changed.store(true, Ordering::SeqCst);
        if self.suspension.holds_back() {
            return;
        }
        if self.live.load(Ordering::SeqCst) {
            self.interrupts.config_changed();
        }
    }
}
