//! What a driver meets first, whatever the transport: the device's status, the negotiation of
//! features, the set-up of queues.
//!
//! A transport is a table from its own registers to these. The front holds the device, and hands
//! its queues to the runner when the driver is ready.
//!
//! Spec: VIRTIO 1.4 §2.1 "Device Status Field", §3.1 "Device Initialization".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_ring::device::{Queue, Violation};
use ringway_ring::driver::Areas;
use ringway_spec::{DeviceId, F, Features, Status, split};
use spin::Mutex;

use crate::model::Device;
use crate::parts::Parts;
use crate::task::{Memory, Runner, Signal, Task};

/// A register by its meaning. Each transport has its own place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Register {
    /// Which 32 offered features `DeviceFeature` shows.
    DeviceFeatureSelect,
    DeviceFeature,
    /// Which 32 accepted features `DriverFeature` is.
    DriverFeatureSelect,
    DriverFeature,
    Status,
    Generation,
    QueueSelect,
    QueueSizeMax,
    QueueSize,
    QueueEnable,
    /// Exists with `RING_RESET`.
    QueueReset,
    Area(Area, Half),
}

/// One of the three areas of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Area {
    Descriptor,
    Driver,
    Device,
}

/// Half of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Low,
    High,
}

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
}

/// The status machine and the queues of one device.
pub(crate) struct Front<I: Interrupts> {
    id: DeviceId,
    offered: Features,
    queues: u16,
    memory: Arc<dyn Memory>,
    runner: Arc<dyn Runner>,
    common: Arc<Common<I>>,
    state: Mutex<State>,
}

/// What tasks and kicks reach without the lock of the front.
struct Common<I> {
    interrupts: I,
    /// Kicks are taken: the driver is ready and no reset is asked for.
    live: AtomicBool,
    needs_reset: AtomicBool,
    /// Kicks say where the next chain will be, too.
    kicks_with_data: AtomicBool,
    /// The device may reach memory.
    reachable: AtomicBool,
    /// The configuration changed since it was last read.
    changed: AtomicBool,
    violation: Mutex<Option<(u16, Violation)>>,
}

struct State {
    device: Box<dyn Device>,
    status: Status,
    /// A reset waits for tasks to stop. Nothing is written meanwhile.
    resetting: bool,
    device_select: u32,
    driver_select: u32,
    accepted: Features,
    queue_select: u32,
    queues: Vec<Setup>,
    /// Tasks that start when the device may reach memory.
    parked: Vec<(u16, Task)>,
    generation: u32,
    /// How often the device was reset, modulo 2³².
    resets: u32,
}

/// One queue as the driver sets it up.
struct Setup {
    max: u16,
    /// 0 if the driver asked for a size that cannot be.
    size: u16,
    enabled: bool,
    /// A reset of the queue alone waits for its task to stop. Nothing of it is written meanwhile.
    resetting: bool,
    /// It was reset alone: it may be set up although the driver is ready (§2.6.1.2).
    was_reset: bool,
    areas: Areas,
}

/// The status bits that a driver may set.
const SETTABLE: Status = Status::ACKNOWLEDGE
    .union(Status::DRIVER)
    .union(Status::FEATURES_OK)
    .union(Status::DRIVER_OK)
    .union(Status::FAILED);

impl<I: Interrupts> Front<I> {
    pub(crate) fn new(parts: Parts, interrupts: I) -> Self {
        let Parts {
            device,
            offer,
            memory,
            runner,
        } = parts;
        // Indices have 16 bits: queues beyond them cannot be reached.
        let queues: Vec<_> = device
            .queue_sizes()
            .iter()
            .take(u16::MAX.into())
            .map(|&max| Setup::new(max))
            .collect();
        Self {
            id: device.id(),
            offered: offer.beside(device.id(), device.features()),
            queues: queues.len() as u16,
            memory,
            runner,
            common: Arc::new(Common {
                interrupts,
                live: AtomicBool::new(false),
                needs_reset: AtomicBool::new(false),
                kicks_with_data: AtomicBool::new(false),
                reachable: AtomicBool::new(true),
                changed: AtomicBool::new(false),
                violation: Mutex::new(None),
            }),
            state: Mutex::new(State {
                device,
                status: Status::empty(),
                resetting: false,
                device_select: 0,
                driver_select: 0,
                accepted: Features::NONE,
                queue_select: 0,
                queues,
                parked: Vec::new(),
                generation: 0,
                resets: 0,
            }),
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// How many queues the device has.
    pub(crate) fn queues(&self) -> u16 {
        self.queues
    }

    pub(crate) fn interrupts(&self) -> &I {
        &self.common.interrupts
    }

    /// The queue that the driver selected, if there is such a queue.
    pub(crate) fn selected(&self) -> Option<u16> {
        let select = self.state.lock().queue_select;
        u16::try_from(select)
            .ok()
            .filter(|&index| index < self.queues)
    }

    /// The rule that the driver broke last, and on which queue.
    pub(crate) fn violation(&self) -> Option<(u16, Violation)> {
        *self.common.violation.lock()
    }

    pub(crate) fn read(&self, register: Register) -> u32 {
        let state = self.state.lock();
        let queue = state.selected();
        match register {
            Register::DeviceFeatureSelect => state.device_select,
            Register::DeviceFeature => self.offered.word(state.device_select),
            Register::DriverFeatureSelect => state.driver_select,
            Register::DriverFeature => state.accepted.word(state.driver_select),
            Register::Status => {
                let mut status = state.status;
                status.set(
                    Status::NEEDS_RESET,
                    self.common.needs_reset.load(Ordering::SeqCst),
                );
                status.bits().into()
            }
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
            _ => {}
        }
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.resetting {
            return;
        }
        match register {
            Register::DeviceFeatureSelect => state.device_select = value,
            Register::DriverFeatureSelect => state.driver_select = value,
            Register::DriverFeature => {
                // Settled is settled (§3.1.1 step 5).
                if !state.status.contains(Status::FEATURES_OK) {
                    state.accepted = state.accepted.with_word(state.driver_select, value);
                }
            }
            Register::QueueSelect => state.queue_select = value,
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
            Register::DeviceFeature
            | Register::Status
            | Register::Generation
            | Register::QueueEnable
            | Register::QueueReset
            | Register::QueueSizeMax => {}
        }
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
    /// 4).
    pub(crate) fn write_config(&self, offset: usize, from: &[u8]) {
        let mut state = self.state.lock();
        if !state.resetting && state.status.contains(Status::FEATURES_OK) {
            state.device.write_config(offset, from);
        }
    }

    /// The device's configuration changed: the driver is told, if there is one that is ready.
    pub(crate) fn config_changed(&self) {
        self.common.changed.store(true, Ordering::SeqCst);
        if self.common.live.load(Ordering::SeqCst) {
            self.common.interrupts.config_changed();
        }
    }

    /// The driver says that queue `index` has chains. Before it is ready, and once it was asked for
    /// a reset, it says nothing.
    #[inline]
    pub(crate) fn kick(&self, index: u16) {
        let taken =
            self.common.live.load(Ordering::SeqCst) && self.common.reachable.load(Ordering::SeqCst);
        if taken && index < self.queues {
            self.runner.kick(index);
        }
    }

    /// Whether `NOTIFICATION_DATA` is agreed on: a kick then has 32 bits, of which the low half is
    /// the queue's index (§2.9). The rest is a hint that nothing here needs, and nothing believes.
    #[inline]
    pub(crate) fn kicks_with_data(&self) -> bool {
        self.common.kicks_with_data.load(Ordering::SeqCst)
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
        for index in 0..self.queues {
            self.kick(index);
        }
    }

    fn add_status(&self, added: Status) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.resetting {
            return;
        }
        // Bits are added, never cleared (§2.1.1).
        let mut status = state.status | (added & SETTABLE);
        let newly = status.difference(state.status);
        if newly.contains(Status::FEATURES_OK) {
            if self.agrees_to(state.accepted) {
                state.device.negotiated(state.accepted);
            } else {
                status.remove(Status::FEATURES_OK);
            }
        }
        if newly.contains(Status::DRIVER_OK) && !status.contains(Status::FEATURES_OK) {
            status.remove(Status::DRIVER_OK);
        }
        let ready = status.difference(state.status).contains(Status::DRIVER_OK);
        state.status = status;
        let started = if ready { self.start(state) } else { Ok(()) };
        drop(guard);
        if let Err((index, violation)) = started {
            self.common.broken(index, violation);
        }
    }

    /// Whether the device can work with the features that the driver accepted (§2.2.2, §6).
    fn agrees_to(&self, accepted: Features) -> bool {
        let needed = F::VERSION_1 | (self.offered & F::ACCESS_PLATFORM);
        self.offered.contains(accepted)
            && accepted.contains(needed)
            && accepted.missing_dependency(self.id).is_none()
    }

    /// The driver is ready: hands every enabled queue to the runner.
    fn start(&self, state: &mut State) -> Result<(), (u16, Violation)> {
        let map = self.memory.map();
        let mut queues = Vec::new();
        for (index, setup) in (0..).zip(&state.queues) {
            if setup.enabled {
                let queue = Queue::new(&*map, setup.size, setup.areas, state.accepted, 0);
                queues.push((index, queue.map_err(|violation| (index, violation))?));
            }
        }
        let with_data = state.accepted.contains(F::NOTIFICATION_DATA);
        self.common
            .kicks_with_data
            .store(with_data, Ordering::SeqCst);
        self.common.live.store(true, Ordering::SeqCst);
        for (index, queue) in queues {
            self.serve(state, index, queue);
        }
        Ok(())
    }

    /// Hands an enabled queue to the runner, with a worker, as soon as the device may reach memory.
    fn serve(&self, state: &mut State, index: u16, queue: Queue) {
        let worker = state.device.worker(index, state.accepted);
        let (memory, signal) = (self.memory.clone(), self.common.clone());
        let task = Task::new(index, queue, worker, memory, signal);
        if self.common.reachable.load(Ordering::SeqCst) {
            self.runner.start(index, task);
        } else {
            state.parked.push((index, task));
        }
    }

    /// Enables the selected queue, if it may be set up now. One that was reset alone is served from
    /// here on; others, once the driver is ready.
    fn enable_selected(&self, value: u32) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (index, accepted) = (state.queue_select as u16, state.accepted);
        let live = self.common.live.load(Ordering::SeqCst);
        let Some(setup) = state.selected_for_setup() else {
            return;
        };
        setup.enabled = value == 1 && setup.size != 0;
        if !setup.enabled || !live {
            return;
        }
        let made = Queue::new(&*self.memory.map(), setup.size, setup.areas, accepted, 0);
        match made {
            Ok(queue) => self.serve(state, index, queue),
            Err(violation) => {
                drop(guard);
                self.common.broken(index, violation);
            }
        }
    }

    /// Takes the selected queue from the driver, and it alone (§2.6.1). It reads as being reset
    /// until its task has stopped, and then as on the first day.
    fn reset_selected(&self) {
        let mut state = self.state.lock();
        let index = state.queue_select as u16;
        let agreed = state.status.contains(Status::FEATURES_OK)
            && state.accepted.contains(F::RING_RESET)
            && !state.resetting;
        let Some(queue) = state.selected_mut().filter(|_| agreed) else {
            return;
        };
        if queue.resetting {
            return;
        }
        queue.resetting = true;
        let resets = state.resets;
        let parked = state.take_parked(index);
        drop(state);
        drop(parked);
        // Not with the lock held: the task may be long in ending.
        self.runner.stop(index);

        let mut state = self.state.lock();
        if state.resets != resets {
            // The whole device was, meanwhile.
            return;
        }
        if let Some(queue) = state.queues.get_mut(usize::from(index)) {
            *queue = Setup::new(queue.max);
            queue.was_reset = true;
        }
        self.common.interrupts.reset_queue(index);
    }

    /// Returns to the state in which the device was made. Status reads as 0 only when every task
    /// has stopped (§2.4.1).
    fn reset(&self) {
        let mut state = self.state.lock();
        if state.resetting {
            return;
        }
        state.resetting = true;
        let parked = core::mem::take(&mut state.parked);
        drop(state);
        drop(parked);
        self.stop();

        let mut state = self.state.lock();
        state.device.reset();
        state.status = Status::empty();
        state.device_select = 0;
        state.driver_select = 0;
        state.accepted = Features::NONE;
        state.queue_select = 0;
        state.resets = state.resets.wrapping_add(1);
        for queue in &mut state.queues {
            *queue = Setup::new(queue.max);
        }
        self.common.needs_reset.store(false, Ordering::SeqCst);
        self.common.interrupts.reset();
        state.resetting = false;
    }

    /// Stops every task. Not called with the lock held: a task may be long in ending.
    fn stop(&self) {
        self.common.live.store(false, Ordering::SeqCst);
        for index in 0..self.queues {
            self.runner.stop(index);
        }
    }

    /// Takes the selected queue from the device (§4.2.2.2). It may be set up anew before the driver
    /// is ready, and after a reset.
    fn disable_selected(&self) {
        let mut state = self.state.lock();
        let (index, resetting) = (state.queue_select as u16, state.resetting);
        if let Some(queue) = state.selected_mut().filter(|_| !resetting) {
            queue.enabled = false;
            let parked = state.take_parked(index);
            drop(state);
            drop(parked);
            self.runner.stop(index);
        }
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
        self.needs_reset.store(true, Ordering::SeqCst);
        self.interrupts.config_changed();
    }
}

impl State {
    fn selected(&self) -> Option<&Setup> {
        self.queues.get(usize::try_from(self.queue_select).ok()?)
    }

    fn selected_mut(&mut self) -> Option<&mut Setup> {
        self.queues
            .get_mut(usize::try_from(self.queue_select).ok()?)
    }

    /// The selected queue, if it may be set up now: features are settled, the queue is not enabled,
    /// and the driver is not ready, or the queue was reset alone.
    fn selected_for_setup(&mut self) -> Option<&mut Setup> {
        let (settled, ready) = (
            self.status.contains(Status::FEATURES_OK),
            self.status.contains(Status::DRIVER_OK),
        );
        let waits = self.resetting || !settled;
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

impl Setup {
    fn new(max: u16) -> Self {
        let possible = max.is_power_of_two() && max <= split::MAX_SIZE;
        let max = if possible { max } else { 0 };
        Self {
            max,
            size: max,
            enabled: false,
            resetting: false,
            was_reset: false,
            areas: Areas::default(),
        }
    }

    /// A size that cannot be is no size: the queue cannot be enabled with it, and it reads as 0. A
    /// packed queue may have any (§2.8).
    fn resize(&mut self, size: u32, packed: bool) {
        self.size = u16::try_from(size)
            .ok()
            .filter(|size| (packed || size.is_power_of_two()) && *size <= self.max)
            .unwrap_or(0);
    }

    fn half(&self, area: Area, half: Half) -> u32 {
        let address = match area {
            Area::Descriptor => self.areas.descriptor,
            Area::Driver => self.areas.driver,
            Area::Device => self.areas.device,
        };
        match half {
            Half::Low => address as u32,
            Half::High => (address >> 32) as u32,
        }
    }

    fn set_half(&mut self, area: Area, half: Half, value: u32) {
        let address = match area {
            Area::Descriptor => &mut self.areas.descriptor,
            Area::Driver => &mut self.areas.driver,
            Area::Device => &mut self.areas.device,
        };
        *address = match half {
            Half::Low => *address >> 32 << 32 | u64::from(value),
            Half::High => u64::from(*address as u32) | u64::from(value) << 32,
        };
    }
}

/// The little-endian value of up to four bytes.
pub(crate) fn load(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .rev()
        .fold(0, |value, &byte| value << 8 | u32::from(byte))
}

/// Writes `value`, little-endian, to as many of four bytes as there are, and 0 to the rest.
pub(crate) fn store(value: u32, into: &mut [u8]) {
    into.fill(0);
    for (to, from) in into.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
}

#[cfg(test)]
mod tests;
