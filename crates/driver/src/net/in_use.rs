//! What holds for all transmit queues of a card, and may be another while they are used.

use core::sync::atomic::{AtomicU16, Ordering};

use ringway_spec::net::PAIRS_MIN;

/// What holds for all transmit queues of a card.
#[derive(Debug)]
pub(super) struct InUse {
    /// How many pairs may be used now.
    pub(super) pairs: AtomicU16,
    /// Longest packet after the Ethernet header, in bytes. 0 if there is no limit.
    mtu: AtomicU16,
}

impl InUse {
    /// As a card begins that carries packets of `mtu` bytes, if it says so.
    pub(super) fn new(mtu: Option<u16>) -> Self {
        Self {
            pairs: AtomicU16::new(PAIRS_MIN),
            mtu: AtomicU16::new(mtu.unwrap_or(0)),
        }
    }

    /// Longest packet after the Ethernet header, in bytes, if there is a limit.
    #[inline]
    pub(super) fn mtu(&self) -> Option<u16> {
        Some(self.mtu.load(Ordering::Relaxed)).filter(|&mtu| mtu != 0)
    }

    pub(super) fn set_mtu(&self, mtu: u16) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }
}
