//! The configuration space of the device's type.
//!
//! Spec: VIRTIO 1.4 §2.5 "Device Configuration Space".

use core::sync::atomic::Ordering;

use ringway_spec::Status;

use super::{Driven, Front, Interrupts};

impl<I: Interrupts> Front<I> {
    /// How many bytes configuration space has.
    pub(crate) fn config_bytes(&self) -> usize {
        self.state.lock().device.config_bytes()
    }

    /// Reads configuration space from byte `offset` on. What is not there reads as 0.
    pub(crate) fn read_config(&self, offset: usize, into: &mut [u8]) {
        into.fill(0);
        let mut state = self.state.lock();
        // Here, not when it changed: the driver sees another generation for certain, however often
        // it changed (§4.1.4.3.1).
        if self.common.changed.swap(false, Ordering::SeqCst) {
            state.generation = state.generation.wrapping_add(1);
        }
        state.device.read_config(offset, into);
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

    /// The device's configuration changed: the driver is told, if there is one that is ready; one
    /// that has suspended the device, when it goes on (§3.4.2).
    pub(crate) fn config_changed(&self) {
        self.common.changed.store(true, Ordering::SeqCst);
        if self.common.suspension.holds_back() {
            return;
        }
        if self.common.live.load(Ordering::SeqCst) {
            self.common.interrupts.config_changed();
        }
    }
}
