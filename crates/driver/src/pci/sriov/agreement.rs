//! What becomes of `SR_IOV` in the negotiation with a physical function's device.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use ringway_spec::{F, Features, Status};

use super::Capability;
use crate::error::Violation;

/// What a transport knows of virtual functions, and has seen to be agreed on.
#[derive(Debug)]
pub(in crate::pci) struct Agreement {
    /// The capability, if the function has one; what is wrong with it, if that cannot be used.
    capability: Result<Option<Capability>, Violation>,
    proposed: bool,
    taken: bool,
    seen: Arc<Seen>,
}

/// What the driver of a physical function, and whoever has its virtual ones, need to know of each
/// other.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// `SR_IOV` was agreed on once. That outlives resets (§6).
    pub(super) agreed: AtomicBool,
    /// How many members of the group are in use.
    pub(super) members: AtomicU32,
}

impl Agreement {
    pub(in crate::pci) fn new(capability: Result<Option<Capability>, Violation>) -> Self {
        Self {
            capability,
            proposed: false,
            taken: false,
            seen: Arc::default(),
        }
    }

    /// What virtual functions are had by, for the first who asks.
    pub(super) fn take(&mut self) -> Result<Option<(Capability, Arc<Seen>)>, Violation> {
        let found = self.capability?.filter(|_| !self.taken);
        self.taken = true;
        Ok(found.map(|capability| (capability, Arc::clone(&self.seen))))
    }

    /// What can be agreed on: not without the capability (§6).
    pub(in crate::pci) fn features(&self) -> Features {
        match self.capability {
            Ok(Some(_)) => F::SR_IOV,
            Ok(None) | Err(_) => Features::NONE,
        }
    }

    /// The driver accepts `features`.
    pub(in crate::pci) fn propose(&mut self, features: Features) {
        self.proposed = features.contains(F::SR_IOV);
    }

    /// The device was seen to have this status.
    pub(in crate::pci) fn heed(&self, status: Status) {
        if self.proposed && status.contains(Status::FEATURES_OK) {
            self.seen.agreed.store(true, Ordering::Release);
        }
    }
}
