//! What a device says of its own accord, as it arrives here: without the front's lock, since the device
//! may be called with that held.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;

use super::{Common, Interrupts};
use crate::notifier::Notified;
use crate::task::Runner;

/// Where a device's notices arrive.
pub(super) struct Noticed<I> {
    common: Arc<Common<I>>,
    runner: Arc<dyn Runner>,
}

impl<I: Interrupts> Noticed<I> {
    pub(super) fn new(common: &Arc<Common<I>>, runner: &Arc<dyn Runner>) -> Self {
        Self {
            common: Arc::clone(common),
            runner: Arc::clone(runner),
        }
    }
}

impl<I: Interrupts> Notified for Noticed<I> {
    fn config_changed(&self) {
        self.common.config_changed();
    }

    /// A queue that may not be served now is looked at when it may.
    fn due(&self, index: u16) {
        let common = &self.common;
        if common.live.load(Ordering::SeqCst) && common.reachable.load(Ordering::SeqCst) {
            self.runner.due(index);
        }
    }
}
