//! The configuration space of the device's type.
//!
//! Spec: VIRTIO 1.4 §2.5 "Device Configuration Space".

use core::sync::atomic::Ordering;

use ringway_spec::Status;

use super::{Common, Driven, Front, Interrupts, State};

impl<I: Interrupts> Front<I> {
    /// Reads configuration space from byte `offset` on. What is not there reads as 0.
    pub(crate) fn read_config(&self, offset: usize, into: &mut [u8]) {
        into.fill(0);
        let mut state = self.state.lock();
        self.count_change(&mut state);
        state.device.read_config(offset, into);
    }

    /// Brings the generation up to date, as the configuration or it itself is about to be read. Not when
    /// that changed: the driver sees another one for certain, however often it changed (§4.1.4.3.1),
    /// and one that was told of a change finds that there was one before it reads any of it.
    pub(super) fn count_change(&self, state: &mut State) {
        if self.common.changed.swap(false, Ordering::SeqCst) {
            state.generation = state.generation.wrapping_add(1);
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
