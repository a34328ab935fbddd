//! A device, and what a front-end gave it: memory, descriptors, and the loops that serve its rings.
//!
//! The device outlives the connection. When a front-end goes, its rings are stopped, its memory and
//! descriptors are let go of, and the device is reset for the next one.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringway_device::task::{Memory, Signal, Task};
use ringway_device::{Device, Offer};
use ringway_ring::device::Queue;
use ringway_spec::{DeviceId, F, Features, Status, split};
use rustix::io::fcntl_dupfd_cloexec;

use super::records::{self, Records};
use super::view::View;
use super::wires::Wires;
use super::{Carrier, Chains, Event, Kick, Logging, Observer, RINGS_MAX, Refusal, Start};
use crate::event_loop::{self, Handle, Key};
use crate::memory::{SLOTS_MAX, Table};
use crate::protocol::{
    Code, ConfigFlags, DeviceStateTransfer, Inflight, Iotlb, LogArea, ProtocolFeatures, Region,
};

/// Features of the protocol that are carried out.
const PROTOCOL: ProtocolFeatures = ProtocolFeatures::MQ
    .union(ProtocolFeatures::REPLY_ACK)
    .union(ProtocolFeatures::BACKEND_REQ)
    .union(ProtocolFeatures::CONFIG)
    .union(ProtocolFeatures::RESET_DEVICE)
    .union(ProtocolFeatures::INBAND_NOTIFICATIONS)
    .union(ProtocolFeatures::MEM_SLOTS)
    .union(ProtocolFeatures::STATUS)
    .union(RECORDS);

/// Of `LOG_SHMFD` and `INFLIGHT_SHMFD`, those for which rings keep records: none.
const RECORDS: ProtocolFeatures = ProtocolFeatures::empty();

/// What a carrier offers of rings and transports that vhost-user has no way for: an `eventfd` says
/// that there are chains, and not where; addresses are not translated.
const IMPOSSIBLE: Features = F::NOTIFICATION_DATA.union(F::ACCESS_PLATFORM);

/// How many carriers there were, for loops to tell their rings apart.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A device that front-ends are served with, one after another.
pub struct DeviceCarrier {
    device: Box<dyn Device>,
    features: Features,
    sizes: Vec<u16>,
    loops: Vec<Handle>,
    number: usize,
    table: Table,
    rings: Vec<Held>,
    wires: Arc<Wires>,
    records: Arc<Records>,
    accepted: Option<Features>,
}

/// What is kept of a ring.
struct Held {
    kick: Kick<OwnedFd>,
    runs: bool,
}

impl Held {
    fn new() -> Self {
        Self {
            kick: Kick::Message,
            runs: false,
        }
    }
}

impl DeviceCarrier {
    /// A carrier of `device` that offers `offer` of its own, as far as vhost-user has it. Its rings
    /// are shared out among `loops`; with none, no ring is served.
    pub fn new(
        device: Box<dyn Device>,
        offer: Offer,
        loops: Vec<Handle>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let possible = |&max: &u16| {
            if max.is_power_of_two() && max <= split::MAX_SIZE {
                max
            } else {
                0
            }
        };
        let sizes = device.queue_sizes().iter().take(RINGS_MAX);
        let sizes: Vec<u16> = sizes.map(possible).collect();
        Self {
            features: device.features() | offer.without(IMPOSSIBLE).features(),
            rings: sizes.iter().map(|_| Held::new()).collect(),
            wires: Arc::new(Wires::new(sizes.len(), observer)),
            sizes,
            device,
            loops,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            table: Table::new(),
            records: Arc::default(),
            accepted: None,
        }
    }

    /// What rings and transports are offered with by default: what costs a front-end nothing that
    /// does not want it, packed rings among it.
    pub fn default_offer() -> Offer {
        Offer::default().with(F::RING_PACKED).without(IMPOSSIBLE)
    }

    /// All that can be offered of rings and transports.
    pub fn possible_offer() -> Offer {
        Offer::NOTHING.with(Offer::POSSIBLE).without(IMPOSSIBLE)
    }

    /// What tells the front-end that configuration space has changed. For whoever changes it.
    pub fn notifier(&self) -> ConfigNotifier {
        ConfigNotifier(self.wires.clone())
    }

    /// Where records of what rings do are to be kept.
    pub fn records(&self) -> &Arc<Records> {
        &self.records
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        self.wires.observer()
    }

    fn key(&self, ring: u8) -> Key {
        Key {
            device: self.number,
            queue: ring.into(),
        }
    }

    /// The loop that serves a ring.
    fn handle(&self, ring: u8) -> Option<&Handle> {
        let place = usize::from(ring).checked_rem(self.loops.len())?;
        self.loops.get(place)
    }

    fn held(&mut self, ring: u8) -> Option<&mut Held> {
        self.rings.get_mut(usize::from(ring))
    }

    /// How a ring is kicked, for a loop.
    fn kick_of(&self, ring: u8) -> Result<event_loop::Kick, Refusal> {
        let held = self.rings.get(usize::from(ring));
        Ok(match held.map(|held| &held.kick) {
            Some(Kick::Descriptor(kick)) => {
                let kick = fcntl_dupfd_cloexec(kick, 0).map_err(|error| Refusal::System {
                    what: "duplicate the descriptor of a kick",
                    error,
                })?;
                event_loop::Kick::Readable(kick)
            }
            Some(Kick::Polled) => event_loop::Kick::Nothing,
            Some(Kick::Message) | None => event_loop::Kick::Called,
        })
    }
}

impl Carrier for DeviceCarrier {
    type Descriptor = OwnedFd;

    fn device_id(&self) -> DeviceId {
        self.device.id()
    }

    fn features(&self) -> Features {
        self.features
    }

    fn protocol_features(&self) -> ProtocolFeatures {
        PROTOCOL
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn region_slots(&self) -> u64 {
        SLOTS_MAX as u64
    }

    fn negotiated(&mut self, features: Features) {
        self.accepted = Some(features);
        self.device.negotiated(features);
        self.observer().event(Event::Features(features));
    }

    fn protocol_negotiated(&mut self, features: ProtocolFeatures) {
        self.wires.set_protocol(features);
        self.observer().event(Event::Protocol(features));
    }

    fn set_logging(&mut self, logging: Logging) {
        self.records.set_logging(logging);
    }

    fn status(&self) -> Status {
        if self.wires.needs_reset() {
            Status::NEEDS_RESET
        } else {
            Status::empty()
        }
    }

    fn reset(&mut self) {
        self.accepted = None;
        self.wires.reset();
        self.device.reset();
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        self.device.read_config(offset, into);
    }

    fn write_config(&mut self, offset: usize, from: &[u8], _flags: ConfigFlags) {
        // What the driver may not write, a migration has no need to: it is this end's.
        self.device.write_config(offset, from);
    }

    fn set_memory(&mut self, regions: Vec<(Region, OwnedFd)>) -> Result<(), Refusal> {
        Ok(self.table.set(regions)?)
    }

    fn add_region(&mut self, region: Region, file: OwnedFd) -> Result<(), Refusal> {
        Ok(self.table.add(region, file)?)
    }

    fn remove_region(&mut self, region: &Region) -> Result<(), Refusal> {
        Ok(self.table.remove(region)?)
    }

    fn set_kick(&mut self, index: u8, kick: Kick<OwnedFd>) -> Result<(), Refusal> {
        let key = self.key(index);
        let Some(held) = self.held(index) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut held.kick, kick);
        if !held.runs {
            return Ok(());
        }
        match self.kick_of(index) {
            Ok(kick) => {
                if let Some(handle) = self.handle(index) {
                    handle.set_kick(key, kick);
                }
                Ok(())
            }
            Err(refusal) => {
                if let Some(held) = self.held(index) {
                    held.kick = before;
                }
                Err(refusal)
            }
        }
    }

    fn set_call(&mut self, index: u8, call: Option<OwnedFd>) {
        self.wires.set_call(index.into(), call);
        // What was used while the front-end changed its mind may have been said to the old one.
        if self.held(index).is_some_and(|held| held.runs) {
            self.wires.used(index.into());
        }
    }

    fn set_error(&mut self, index: u8, error: Option<OwnedFd>) {
        self.wires.set_error(index.into(), error);
    }

    fn start(&mut self, index: u8, ring: &Start) -> Result<(), Refusal> {
        let areas = View::areas(&self.table, ring)?;
        let view = Arc::new(View::new(&self.table));
        let kick = self.kick_of(index)?;
        let number = u16::from(index);
        let Start {
            size,
            passed,
            features,
            ..
        } = *ring;
        let queue = Queue::new(&*view.map(), size, areas, features, passed);
        let queue = queue.map_err(|violation| Refusal::Ring {
            index: index.into(),
            violation,
        })?;
        let worker = self.device.worker(number, features);
        let task = Task::new(number, queue, worker, view, self.wires.clone());
        if let Some(held) = self.held(index) {
            held.runs = true;
        }
        self.records.set_ring_log(index, ring.addresses.logged());
        self.observer()
            .event(Event::RingStarted { ring: number, size });
        if let Some(handle) = self.handle(index) {
            handle.start(self.key(index), task, kick);
        }
        Ok(())
    }

    fn kick(&mut self, index: u8) {
        if let Some(handle) = self.handle(index) {
            handle.kick(self.key(index));
        }
    }

    fn stop(&mut self, index: u8) -> Option<u16> {
        if let Some(held) = self.held(index) {
            held.runs = false;
        }
        let handle = self.handle(index)?;
        let task = handle.stop(self.key(index))?;
        let chains = if task.is_busy() {
            Chains::Lost
        } else {
            Chains::Completed
        };
        self.observer().event(Event::RingStopped {
            ring: index.into(),
            chains,
            counts: handle.counts(self.key(index)),
        });
        Some(task.position())
    }

    fn set_ring_log(&mut self, index: u8, log: Option<u64>) {
        self.records.set_ring_log(index, log);
    }

    fn set_log(&mut self, area: LogArea, file: OwnedFd) -> Result<(), Refusal> {
        self.records.set_log(area, &file)
    }

    fn set_log_signal(&mut self, signal: OwnedFd) {
        self.records.set_log_signal(signal);
    }

    fn make_inflight(&mut self, wanted: Inflight) -> Result<(Inflight, OwnedFd), Refusal> {
        let largest = self.sizes.iter().copied().max().unwrap_or(0);
        records::make_inflight(wanted, self.sizes.len(), largest, self.accepted)
    }

    fn set_inflight(&mut self, inflight: Inflight, file: OwnedFd) -> Result<(), Refusal> {
        self.records.set_inflight(inflight, &file, self.accepted)
    }

    fn set_back_channel(&mut self, socket: OwnedFd) {
        self.wires.set_channel(socket);
    }

    fn translate(&mut self, _iotlb: Iotlb) -> Result<(), Refusal> {
        Err(Refusal::Unsupported(Code::IotlbMsg))
    }

    fn move_state(
        &mut self,
        _transfer: DeviceStateTransfer,
        _via: OwnedFd,
    ) -> Result<Option<OwnedFd>, Refusal> {
        Err(Refusal::Unsupported(Code::SetDeviceStateFd))
    }

    fn state_moved(&mut self) -> Result<(), Refusal> {
        Err(Refusal::Unsupported(Code::CheckDeviceState))
    }

    fn disconnected(&mut self) {
        self.wires.disconnect();
        self.records.clear();
        self.table = Table::new();
        self.rings.fill_with(Held::new);
        self.accepted = None;
        self.device.reset();
    }
}

/// Tells a front-end that configuration space has changed.
#[derive(Clone)]
pub struct ConfigNotifier(Arc<Wires>);

impl ConfigNotifier {
    /// Configuration space has changed. A front-end that cannot hear it finds out when it looks.
    pub fn config_changed(&self) {
        self.0.config_changed();
    }
}
