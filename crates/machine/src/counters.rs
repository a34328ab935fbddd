//! What is counted for each device.

use core::sync::atomic::{AtomicU64, Ordering};

/// What one device was told, and told. Counted since the machine was built.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    kicks: AtomicU64,
    interrupts: AtomicU64,
}

impl Counters {
    pub(crate) fn kicked(&self) {
        self.kicks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn interrupted(&self) {
        self.interrupts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn kicks(&self) -> u64 {
        self.kicks.load(Ordering::Relaxed)
    }

    pub(crate) fn interrupts(&self) -> u64 {
        self.interrupts.load(Ordering::Relaxed)
    }
}
