//! How a device interrupts its driver: the wires out, and a pin that stays asserted until its
//! causes are gone.
//!
//! Spec: VIRTIO 1.4 §2.3 "Notifications".

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_spec::InterruptStatus;
use spin::Mutex;

/// Where interrupts sent as messages go: a write of `data` to `address`, which an interrupt
/// controller receives.
pub trait MessageSink: Send + Sync {
    /// Delivers one message. Called from any thread, with the vector locked: it must not come back
    /// to the function's registers.
    fn send(&self, address: u64, data: u32);
}

/// An interrupt line of its own device. What several devices share is the machine's affair.
pub trait Line: Send + Sync {
    /// The device asserts the line, or no longer does. Called when that changes, from any thread,
    /// with the line's state locked: it must not come back to the device's registers.
    fn set(&self, asserted: bool);
}

/// A level-triggered interrupt: its causes, and whether the line is asserted for them.
pub(crate) struct Pin {
    state: Mutex<State>,
    /// The line stays low, whatever the causes.
    muted: AtomicBool,
    line: Arc<dyn Line>,
}

#[derive(Default)]
struct State {
    causes: InterruptStatus,
    asserted: bool,
}

impl Pin {
    pub(crate) fn new(line: Arc<dyn Line>) -> Self {
        Self {
            state: Mutex::default(),
            muted: AtomicBool::new(false),
            line,
        }
    }

    /// Adds causes.
    pub(crate) fn raise(&self, causes: InterruptStatus) {
        self.change(|now| now | causes);
    }

    /// Removes causes.
    pub(crate) fn acknowledge(&self, causes: InterruptStatus) {
        self.change(|now| now.difference(causes));
    }

    /// Removes all causes, and says which there were.
    pub(crate) fn take(&self) -> InterruptStatus {
        self.change(|_| InterruptStatus::empty())
    }

    /// The causes there are.
    pub(crate) fn causes(&self) -> InterruptStatus {
        self.state.lock().causes
    }

    /// Whether the line is to stay low. Takes effect at the next [`settle`](Self::settle).
    pub(crate) fn mute(&self, muted: bool) {
        self.muted.store(muted, Ordering::SeqCst);
    }

    /// Brings the line to what the causes and the mute say.
    pub(crate) fn settle(&self) {
        self.change(|now| now);
    }

    /// Changes the causes, and the line with them under the same lock, so that its last state is
    /// the right one. Returns what the causes were.
    fn change(&self, to: impl FnOnce(InterruptStatus) -> InterruptStatus) -> InterruptStatus {
        let mut state = self.state.lock();
        let before = state.causes;
        state.causes = to(before);
        let asserted = !state.causes.is_empty() && !self.muted.load(Ordering::SeqCst);
        if asserted != state.asserted {
            state.asserted = asserted;
            self.line.set(asserted);
        }
        before
    }
}

/// A device that is pulled out asserts nothing.
impl Drop for Pin {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Wires;

    #[test]
    fn a_device_that_is_pulled_out_asserts_no_line() {
        let wires = Arc::new(Wires::default());
        let pin = Pin::new(wires.clone());
        pin.raise(InterruptStatus::USED_BUFFER);

        let before = wires.asserted();
        drop(pin);

        assert!(before && !wires.asserted());
    }
}
