//! The device as a driver from before version 1 finds it: 32 features that are never confirmed,
//! queues that are told by the number of a page, and a start that is the first use.
//!
//! A driver that breaks a rule cannot be told so: there is no `NEEDS_RESET`, and nothing that could
//! be refused is read back. A queue that cannot be reads as one that is not in use, and a device
//! whose queue broke serves nothing before it is reset.
//!
//! Spec: VIRTIO 1.4 §2.2.3 "Legacy Interface: A Note on Feature Bits",
//! §3.1.2 "Legacy Interface: Device Initialization".

use core::sync::atomic::Ordering;

use ringway_ring::device::Violation;
use ringway_spec::{F, Features, Status};

use super::{Driven, Front, Interrupts, LegacyRegister, Setup, State};

/// The features that the interface can tell of.
const LOW: Features = Features(u32::MAX as u128);

/// The status bits that a driver may set. It is too old for `FEATURES_OK`.
pub(super) const SETTABLE: Status = Status::ACKNOWLEDGE
    .union(Status::DRIVER)
    .union(Status::DRIVER_OK)
    .union(Status::FAILED);

impl<I: Interrupts> Front<I> {
    pub(crate) fn read_legacy(&self, register: LegacyRegister) -> u32 {
        let state = self.state.lock();
        let queue = state.selected().filter(|_| self.takes_legacy_queues());
        match register {
            LegacyRegister::DeviceFeatures => self.legacy_offer().word(0),
            LegacyRegister::DriverFeatures => state.accepted.word(0),
            LegacyRegister::Status => self.shown_status(&state).bits().into(),
            LegacyRegister::PageSize => state.page_size,
            LegacyRegister::QueueSizeMax => queue.map_or(0, |queue| queue.max.into()),
            LegacyRegister::QueueSize => queue.map_or(0, |queue| queue.size.into()),
            LegacyRegister::QueuePage => queue.map_or(0, |queue| queue.page),
            // Written only, wherever there is one.
            LegacyRegister::QueueAlign => 0,
        }
    }

    pub(crate) fn write_legacy(&self, register: LegacyRegister, value: u32) {
        match register {
            LegacyRegister::Status if value == 0 => return self.reset(),
            LegacyRegister::Status => return self.add_legacy_status(value),
            LegacyRegister::PageSize => return self.set_page_size(value),
            LegacyRegister::QueuePage if value == 0 => return self.stop_selected(),
            LegacyRegister::QueuePage => return self.start_selected(value),
            _ => {}
        }
        let Some(mut state) = self.driven(Driven::Legacy) else {
            return;
        };
        match register {
            LegacyRegister::DriverFeatures if !state.started => {
                state.accepted = self.usable(value);
            }
            LegacyRegister::QueueSize => {
                if let Some(queue) = state.selected_unused() {
                    queue.resize(value, false);
                }
            }
            LegacyRegister::QueueAlign => {
                if let Some(queue) = state.selected_unused() {
                    queue.align_to(value);
                }
            }
            // Read-only for the driver, settled, or dealt with above.
            _ => {}
        }
    }

    /// The driver says that queue `index` has chains. It may do so before it says that it is ready
    /// (§3.1.2): the device then takes it for ready.
    pub(crate) fn kick_legacy(&self, index: u16) {
        if !self.common.live.load(Ordering::SeqCst) {
            let mut state = self.state.lock();
            let queue = state.queues.get(usize::from(index));
            let in_use = queue.is_some_and(|queue| queue.page != 0);
            if in_use && !state.started && !state.resetting {
                let started = self.first_use(&mut state);
                drop(state);
                self.or_broken(started);
            }
        }
        self.kick(index);
    }

    /// What a device offers here: what has a place in 32 bits, and that it takes chains of any
    /// layout, as every device does since.
    fn legacy_offer(&self) -> Features {
        (self.offered | F::ANY_LAYOUT).intersection(LOW)
    }

    /// The features that are agreed on if a driver writes these. It is not refused those that were
    /// not offered, nor those that need others: the device goes without.
    pub(super) fn usable(&self, word: u32) -> Features {
        let written = Features::NONE.with_word(0, word);
        let mut usable = written.intersection(self.legacy_offer());
        // Each turn takes away one of 32 at least.
        while let Some((feature, _)) = usable.missing_dependency(self.id) {
            usable = usable.difference(feature);
        }
        usable
    }

    /// Whether a queue can be had. A page has a physical address; a device whose addresses are
    /// others could only reach the wrong memory, and has no queues for such a driver. Nor has one on
    /// a machine where a ring would have another byte order than rings have here (§2.7.3).
    pub(super) fn takes_legacy_queues(&self) -> bool {
        !self.offered.contains(F::ACCESS_PLATFORM) && cfg!(target_endian = "little")
    }

    fn add_legacy_status(&self, value: u32) {
        let Some(mut state) = self.driven(Driven::Legacy) else {
            return;
        };
        // Bits are added, never cleared (§2.1.1).
        state.status |= Status::from_bits_truncate(value as u8) & SETTABLE;
        if state.status.contains(Status::DRIVER_OK) && !state.started {
            let started = self.first_use(&mut state);
            drop(state);
            self.or_broken(started);
        }
    }

    /// The first use: the features are what they are by now, and queues are served.
    fn first_use(&self, state: &mut State) -> Result<(), (u16, Violation)> {
        self.common.legacy.store(true, Ordering::SeqCst);
        state.device.negotiated(state.accepted);
        self.start(state)
    }

    /// What cannot be the size of a page is none: no queue can be set up with it.
    fn set_page_size(&self, size: u32) {
        let mut state = self.state.lock();
        if !state.resetting {
            state.page_size = if size.is_power_of_two() { size } else { 0 };
        }
    }

    /// Sets the selected queue up at page `page`. One that is in use stays where it is.
    fn start_selected(&self, page: u32) {
        let Some(mut guard) = self.driven(Driven::Legacy) else {
            return;
        };
        let state = &mut *guard;
        let (index, page_size) = (state.queue_select as u16, state.page_size);
        let takes = self.takes_legacy_queues();
        let Some(queue) = state.selected_unused().filter(|_| takes) else {
            return;
        };
        if let Err(address) = queue.start_at(page, page_size) {
            *self.common.violation.lock() = Some((index, Violation::Area(address)));
        } else if self.common.live.load(Ordering::SeqCst) {
            let served = self.serve_selected(state);
            drop(guard);
            self.or_broken(served);
        }
    }

    /// Takes the selected queue back. When this returns, its memory is the driver's: there is
    /// nothing that it could wait for.
    fn stop_selected(&self) {
        if let Some(state) = self.driven(Driven::Legacy) {
            self.take_back(state);
        }
    }
}

impl State {
    /// The selected queue, if it is not in use.
    fn selected_unused(&mut self) -> Option<&mut Setup> {
        self.selected_mut()
            .filter(|queue| !queue.enabled && !queue.resetting && queue.max != 0)
    }
}
