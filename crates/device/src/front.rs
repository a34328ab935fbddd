//! What a driver meets first, whatever the transport: the device's status, the negotiation of
//! features, the set-up of queues.
//!
//! A transport is a table from its own registers to these. The front holds the device, and hands
//! its queues to the runner when the driver is ready.
//!
//! A driver that was written before version 1 has registers of its own ([`legacy`]). Which of the
//! two sets it wrote to first, since the last reset, is the one that it has: what is written to the
//! other is ignored, but for a reset.
//!
//! Spec: VIRTIO 1.4 §2.1 "Device Status Field", §3.1 "Device Initialization".

mod config;
mod kicks;
mod legacy;
mod mode;
mod noticed;
mod parts;
mod queues;
mod register;
mod setup;
mod status;
mod suspend;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_ring::device::Violation;
use ringway_spec::{DeviceId, F, Features, Status};
use spin::{Mutex, MutexGuard};

use crate::admin::{self, Mode, Owner};
use crate::model::{Device, SharedRegion};
use crate::notifier::Notifier;
use crate::parts::Parts;
use crate::task::{Memory, Runner, Signal, Task};
use noticed::Noticed;
use setup::Setup;
use suspend::Suspension;

pub(crate) use parts::{Given, Kind, Portrait, QueuePortrait};
pub(crate) use register::{Area, Half, LegacyRegister, Register, load, store};

/// How a transport interrupts. Called from any thread, without the front's lock or with it.
pub(crate) trait Interrupts: Send + Sync + 'static {
    /// Queue `index` has used buffers.
    fn used(&self, index: u16);
    /// The configuration or the status changed.
    fn config_changed(&self);
    /// Queue `index` was reset: forgets how it interrupts.
    fn reset_queue(&self, index: u16);
    /// Forgets what is pending, and who wanted to hear of it.
    fn reset(&self);
    /// The device was stopped: nothing that waits to be sent is, before it [goes on](Self::go_on).
    fn hold(&self) {}
    /// What waits may be sent again.
    fn go_on(&self) {}
}

/// The status machine and the queues of one device.
pub(crate) struct Front<I: Interrupts> {
    id: DeviceId,
    offered: Features,
    queues: Queues,
    /// What administration queues are served by, if there are any.
    owner: Option<Arc<Owner>>,
    regions: Vec<SharedRegion>,
    memory: Arc<dyn Memory>,
    runner: Arc<dyn Runner>,
    common: Arc<Common<I>>,
    /// Where the device's own notices arrive. Not in what tasks hold: runners hold those.
    _noticed: Arc<Noticed<I>>,
    state: Mutex<State>,
}

/// How many queues there are.
#[derive(Clone, Copy, Debug)]
struct Queues {
    /// Of the device itself.
    own: u16,
    /// Together with those for administration, which follow.
    all: u16,
}

/// What tasks and kicks reach without the lock of the front.
struct Common<I> {
    interrupts: I,
    /// Kicks are taken: the driver is ready and no reset is asked for.
    live: AtomicBool,
    /// The driver broke a rule: nothing is served before a reset.
    broken: AtomicBool,
    needs_reset: AtomicBool,
    /// The driver is one that knows of no `NEEDS_RESET`.
    legacy: AtomicBool,
    /// Kicks say where the next chain will be, too.
    kicks_with_data: AtomicBool,
    /// Kicks name queues as the device does.
    kicks_by_name: AtomicBool,
    /// The device may reach memory.
    reachable: AtomicBool,
    /// The configuration changed since it was last read.
    changed: AtomicBool,
    suspension: Suspension,
    violation: Mutex<Option<(u16, Violation)>>,
}

/// Through which of the two interfaces a device is driven (§2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driven {
    Modern,
    Legacy,
}

struct State {
    device: Box<dyn Device>,
    /// Known by the first register that the driver writes.
    driven: Option<Driven>,
    status: Status,
    /// A reset waits for tasks to stop. Nothing is written meanwhile.
    resetting: bool,
    /// The driver asked the device to suspend, and not yet to go on.
    suspended: bool,
    /// Whether it works, as its owner has it.
    mode: Mode,
    /// Which parts it was given since it was stopped.
    given: Given,
    /// It is being given some.
    redrawn: bool,
    /// Queues were handed to the runner, and new ones are at once: their features are settled.
    started: bool,
    device_select: u32,
    driver_select: u32,
    accepted: Features,
    queue_select: u32,
    queues: Vec<Setup>,
    /// How many of them are the device's own.
    own_queues: u16,
    /// In bytes; 0 if a legacy driver said nothing yet, or what cannot be.
    page_size: u32,
    /// Tasks that start when the device may reach memory.
    parked: Vec<(u16, Task)>,
    generation: u32,
    /// The configuration as the driver last saw it, all of it.
    shown: Vec<u8>,
    /// How often the device was reset, modulo 2³².
    resets: u32,
}

impl<I: Interrupts> Front<I> {
    pub(crate) fn new(parts: Parts, interrupts: I) -> Self {
        let (own, more) = parts.queues();
        let Parts {
            mut device,
            offer,
            administration,
            memory,
            runner,
            ..
        } = parts;
        let mut shown = vec![0; device.config_bytes()];
        device.read_config(0, &mut shown);
        let sizes = device.queue_sizes().iter().copied().take(own.into());
        let sizes = sizes.chain((0..more).map(|_| admin::QUEUE_SIZE));
        let queues: Vec<_> = sizes.map(Setup::new).collect();
        let mut offered = offer.beside(device.id(), device.features());
        if more != 0 {
            offered |= F::ADMIN_VQ;
        }
        let common = Arc::new(Common {
            interrupts,
            live: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            needs_reset: AtomicBool::new(false),
            legacy: AtomicBool::new(false),
            kicks_with_data: AtomicBool::new(false),
            kicks_by_name: AtomicBool::new(false),
            reachable: AtomicBool::new(true),
            changed: AtomicBool::new(false),
            suspension: Suspension::default(),
            violation: Mutex::new(None),
        });
        let noticed = Arc::new(Noticed::new(&common, &runner));
        device.presented(Notifier::new(&noticed));
        Self {
            id: device.id(),
            offered,
            queues: Queues {
                own,
                all: own.saturating_add(more),
            },
            owner: (more != 0).then(|| Arc::new(Owner::new(administration.groups()))),
            regions: device.shared_memory().to_vec(),
            memory,
            runner,
            common,
            _noticed: noticed,
            state: Mutex::new(State {
                device,
                driven: None,
                status: Status::empty(),
                resetting: false,
                suspended: false,
                mode: Mode::Running,
                given: Given::default(),
                redrawn: false,
                started: false,
                device_select: 0,
                driver_select: 0,
                accepted: Features::NONE,
                queue_select: 0,
                queues,
                own_queues: own,
                page_size: 0,
                parked: Vec::new(),
                generation: 0,
                shown,
                resets: 0,
            }),
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// How many queues the device has, those for administration among them.
    pub(crate) fn queues(&self) -> u16 {
        self.queues.all
    }

    /// How many it has without them.
    pub(crate) fn own_queues(&self) -> u16 {
        self.queues.own
    }

    /// The index of the first queue for administration, and how many there are. Where both ends
    /// have not agreed on that there are any, there are none.
    pub(crate) fn admin_queues(&self) -> (u16, u16) {
        let Queues { own, all } = self.queues;
        if self.state.lock().administers() {
            (own, all.saturating_sub(own))
        } else {
            (0, 0)
        }
    }

    /// The shared memory that the device has (§2.10).
    pub(crate) fn regions(&self) -> &[SharedRegion] {
        &self.regions
    }

    pub(crate) fn interrupts(&self) -> &I {
        &self.common.interrupts
    }

    /// The queue that the driver selected, if there is such a queue.
    pub(crate) fn selected(&self) -> Option<u16> {
        let state = self.state.lock();
        state.selected()?;
        u16::try_from(state.queue_select).ok()
    }

    /// The rule that the driver broke last, and on which queue.
    pub(crate) fn violation(&self) -> Option<(u16, Violation)> {
        *self.common.violation.lock()
    }

    pub(crate) fn read(&self, register: Register) -> u32 {
        let mut state = self.state.lock();
        // A driver that was told of a change looks at this first, and may have read nothing of it yet.
        if register == Register::Generation && !state.suspended {
            self.show_config(&mut state);
        }
        let queue = state.selected();
        match register {
            Register::DeviceFeatureSelect => state.device_select,
            Register::DeviceFeature => self.offered.word(state.device_select),
            Register::DriverFeatureSelect => state.driver_select,
            Register::DriverFeature => state.accepted.word(state.driver_select),
            Register::Status => self.shown_status(&state).bits().into(),
            Register::Generation => state.generation,
            Register::QueueSelect => state.queue_select,
            Register::QueueSizeMax => queue.map_or(0, |queue| queue.max.into()),
            Register::QueueSize => queue.map_or(0, |queue| queue.size.into()),
            Register::QueueEnable => queue.map_or(0, |queue| queue.enabled.into()),
            Register::QueueReset => queue.map_or(0, |queue| queue.resetting.into()),
            Register::Area(area, half) => queue.map_or(0, |queue| queue.half(area, half)),
        }
    }

    pub(crate) fn write(&self, register: Register, value: u32) {
        match register {
            Register::Status if value == 0 => return self.reset(),
            Register::Status => {
                return self.add_status(Status::from_bits_truncate(value as u8));
            }
            Register::QueueEnable if value == 0 => return self.disable_selected(),
            Register::QueueEnable => return self.enable_selected(value),
            Register::QueueReset if value == 1 => return self.reset_selected(),
            Register::DeviceFeatureSelect
            | Register::DriverFeatureSelect
            | Register::QueueSelect => return self.select(register, value),
            _ => {}
        }
        let Some(mut guard) = self.driven(Driven::Modern) else {
            return;
        };
        let state = &mut *guard;
        match register {
            // Settled is settled (§3.1.1 step 5).
            Register::DriverFeature if !state.status.contains(Status::FEATURES_OK) => {
                state.accepted = state.accepted.with_word(state.driver_select, value);
            }
            Register::QueueSize => {
                let packed = state.accepted.contains(F::RING_PACKED);
                if let Some(queue) = state.selected_for_setup() {
                    queue.resize(value, packed);
                }
            }
            Register::Area(area, half) => {
                if let Some(queue) = state.selected_for_setup() {
                    queue.set_half(area, half, value);
                }
            }
            // Read-only for the driver, or dealt with above.
            _ => {}
        }
    }

    /// Selects what other registers speak of: features of either interface, or a queue.
    fn select(&self, register: Register, value: u32) {
        let mut state = self.state.lock();
        if state.resetting {
            return;
        }
        match register {
            Register::DeviceFeatureSelect => state.device_select = value,
            Register::DriverFeatureSelect => state.driver_select = value,
            _ => state.queue_select = value,
        }
    }

    /// The state, to be changed by a driver that writes through this interface. None while the
    /// device is being reset, or if it is driven through the other one.
    fn driven(&self, by: Driven) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        let free = !state.resetting && *state.driven.get_or_insert(by) == by;
        free.then_some(state)
    }
}

impl<I: Interrupts> Drop for Front<I> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl<I: Interrupts> Signal for Common<I> {
    fn used(&self, index: u16) {
        self.interrupts.used(index);
    }

    fn broken(&self, index: u16, violation: Violation) {
        *self.violation.lock() = Some((index, violation));
        self.live.store(false, Ordering::SeqCst);
        self.broken.store(true, Ordering::SeqCst);
        // It will not be served again, and is not waited for.
        self.suspension.quiet(index);
        if !self.legacy.load(Ordering::SeqCst) {
            self.needs_reset.store(true, Ordering::SeqCst);
            self.interrupts.config_changed();
        }
    }

    fn is_suspended(&self) -> bool {
        self.suspension.is_asked()
    }

    fn quiet(&self, index: u16) {
        self.suspension.quiet(index);
    }
}

impl State {
    fn selected(&self) -> Option<&Setup> {
        self.queues.get(self.selected_index()?)
    }

    fn selected_mut(&mut self) -> Option<&mut Setup> {
        let index = self.selected_index()?;
        self.queues.get_mut(index)
    }

    /// The index that is selected, unless it is beyond those that the driver may have.
    fn selected_index(&self) -> Option<usize> {
        let index = usize::try_from(self.queue_select).ok()?;
        (index < self.own_queues.into() || self.administers()).then_some(index)
    }

    /// Whether both ends agreed on that there are administration queues.
    fn administers(&self) -> bool {
        self.accepted.contains(F::ADMIN_VQ)
    }

    /// The selected queue, if it may be set up now: features are settled, the queue is not enabled,
    /// and the driver is not ready, or the queue was reset alone.
    fn selected_for_setup(&mut self) -> Option<&mut Setup> {
        let (settled, ready) = (
            self.status.contains(Status::FEATURES_OK),
            self.status.contains(Status::DRIVER_OK),
        );
        let waits = self.suspended || !settled;
        self.selected_mut().filter(|queue| {
            !waits && !queue.enabled && !queue.resetting && (!ready || queue.was_reset)
        })
    }

    /// The task of queue `index`, if it waits.
    fn take_parked(&mut self, index: u16) -> Option<Task> {
        let place = self
            .parked
            .iter()
            .position(|(parked, _)| *parked == index)?;
        Some(self.parked.swap_remove(place).1)
    }
}

#[cfg(test)]
mod tests;
