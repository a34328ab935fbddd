//! Notifications from the driver, and the time in which the device may not reach its memory.
//!
//! Spec: VIRTIO 1.4 §2.9 "Driver Notifications".

use core::sync::atomic::Ordering;

use ringway_spec::{F, Features};

use super::{Front, Interrupts};

/// What a kick is to look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KickFormat {
    /// Whether `NOTIFICATION_DATA` is agreed on: a kick then has 32 bits, of which the low half
    /// names the queue. The rest is a hint that nothing here needs, and nothing believes.
    pub(crate) with_data: bool,
    /// Whether `NOTIF_CONFIG_DATA` is agreed on: it names the queue by what the device said.
    pub(crate) by_name: bool,
}

impl KickFormat {
    /// What names queue `index` in a kick.
    pub(crate) fn name(self, index: u16) -> u16 {
        if self.by_name {
            kick_name(index)
        } else {
            index
        }
    }
}

/// What names queue `index` in a kick with `NOTIF_CONFIG_DATA`: not its index, so that a driver
/// that takes the one for the other is found out by its first kick.
pub(crate) fn kick_name(index: u16) -> u16 {
    !index
}

impl<I: Interrupts> Front<I> {
    /// The driver says that queue `index` has chains. Before it is ready, and once it was asked for
    /// a reset, it says nothing.
    #[inline]
    pub(crate) fn kick(&self, index: u16) {
        let taken =
            self.common.live.load(Ordering::SeqCst) && self.common.reachable.load(Ordering::SeqCst);
        if taken && index < self.queues.all {
            self.runner.kick(index);
        }
    }

    /// What kicks look like with the features that are agreed on.
    #[inline]
    pub(crate) fn kick_format(&self) -> KickFormat {
        KickFormat {
            with_data: self.common.kicks_with_data.load(Ordering::SeqCst),
            by_name: self.common.kicks_by_name.load(Ordering::SeqCst),
        }
    }

    /// What is to name the selected queue in kicks; 0 if there is no such queue, or the device does
    /// not offer to say.
    pub(crate) fn selected_kick_name(&self) -> u16 {
        self.selected().map_or(0, |index| self.kick_name_of(index))
    }

    /// The same for queue `index`.
    pub(crate) fn kick_name_of(&self, index: u16) -> u16 {
        if self.offered.contains(F::NOTIF_CONFIG_DATA) {
            kick_name(index)
        } else {
            0
        }
    }

    /// Whether the device may reach memory. Takes effect at once for kicks, and for the rest at the
    /// next [`resume`](Self::resume).
    pub(crate) fn set_reachable(&self, reachable: bool) {
        self.common.reachable.store(reachable, Ordering::SeqCst);
    }

    /// If the device may reach memory: starts what waited for it, and makes up for kicks that were
    /// not taken.
    pub(crate) fn resume(&self) {
        if !self.common.reachable.load(Ordering::SeqCst) {
            return;
        }
        // Under the lock, so that no reset comes between.
        for (index, task) in self.state.lock().parked.drain(..) {
            self.runner.start(index, task);
        }
        self.kick_all();
    }

    /// Has every queue looked at, by a device that works or is about to suspend.
    pub(super) fn kick_all(&self) {
        let looks = self.common.live.load(Ordering::SeqCst) || self.common.suspension.is_asked();
        if looks && self.common.reachable.load(Ordering::SeqCst) {
            (0..self.queues.all).for_each(|index| self.runner.kick(index));
        }
    }

    pub(super) fn settle_kicks(&self, accepted: Features) {
        for (agreed, feature) in [
            (&self.common.kicks_with_data, F::NOTIFICATION_DATA),
            (&self.common.kicks_by_name, F::NOTIF_CONFIG_DATA),
        ] {
            agreed.store(accepted.contains(feature), Ordering::SeqCst);
        }
    }
}
