//! What a device tells its carrier of its own accord: that its configuration has changed, or that a
//! queue has something to do although nobody kicked it.
//!
//! Spec: VIRTIO 1.4 §2.3 "Notifications".

use alloc::sync::{Arc, Weak};
use core::fmt;

/// A carrier, to the device that it presents. Called from any thread, by workers, and by devices that
/// are called themselves.
pub trait Notified: Send + Sync {
    /// The configuration has changed: a driver that is ready is told (§3.2.1).
    fn config_changed(&self);

    /// Queue `index` has something to do: its worker is to serve again. Ignored if it has none.
    fn due(&self, index: u16);
}

/// The way from a device to its carrier, which it does not keep alive: when that is gone, nobody is
/// told. Any number of threads may have one.
#[derive(Clone)]
pub struct Notifier(Weak<dyn Notified>);

impl Notifier {
    /// Leads to `carrier`.
    pub fn new<N: Notified + 'static>(carrier: &Arc<N>) -> Self {
        let carrier = Arc::downgrade(carrier);
        Self(carrier)
    }

    /// Says that the configuration has changed. Whoever reads it from then on sees that it did: change
    /// it first.
    pub fn config_changed(&self) {
        if let Some(carrier) = self.0.upgrade() {
            carrier.config_changed();
        }
    }

    /// Has the worker of queue `index` serve again: for one that keeps chains until something
    /// happens. See that it finds what has happened first.
    pub fn due(&self, index: u16) {
        if let Some(carrier) = self.0.upgrade() {
            carrier.due(index);
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notifier")
    }
}
