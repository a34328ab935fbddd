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
use ringway_ring::driver::Areas;
use ringway_ring::ledger::Ledger;
use ringway_ring::map::Access;
use ringway_spec::{DeviceId, F, Features, Status, split};
use rustix::io::fcntl_dupfd_cloexec;

use super::records::{self, Records};
use super::ring::{Ring, State};
use super::view::{Unseen, View};
use super::wires::Wires;
use super::{Carrier, Chains, Event, Kick, Logging, Observer, RINGS_MAX, Refusal, Start};
use crate::event_loop::{self, Handle, Key, Neighbour};
use crate::iotlb::{GuestAddresses, Iotlb};
use crate::ledger::{RingLedger, RingLog, Translate};
use crate::memory::{SLOTS_MAX, Table};
use crate::protocol::{
    self, Code, ConfigFlags, DeviceStateTransfer, Inflight, IotlbKind, LogArea, ProtocolFeatures,
    Region, RingAddresses,
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
    .union(ProtocolFeatures::LOG_SHMFD)
    .union(ProtocolFeatures::INFLIGHT_SHMFD);

/// What a carrier offers of rings and transports that vhost-user has no way for: an `eventfd` says
/// that there are chains, and not where.
const IMPOSSIBLE: Features = F::NOTIFICATION_DATA;

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
    /// What an IOMMU shows of it, if there is one.
    iotlb: Option<Iotlb>,
    view: Arc<View>,
    rings: Vec<Ring>,
    wires: Arc<Wires>,
    records: Records,
    accepted: Option<Features>,
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
            rings: sizes.iter().map(|_| Ring::new()).collect(),
            wires: Arc::new(Wires::new(sizes.len(), observer)),
            sizes,
            device,
            loops,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            view: Arc::new(View::new(&Table::new(), None)),
            table: Table::new(),
            iotlb: None,
            records: Records::default(),
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

    pub(super) fn observer(&self) -> &dyn Observer {
        self.wires.observer()
    }

    /// Says where the front-end is whose rings are started from here on.
    pub(super) fn set_neighbour(&self, neighbour: Neighbour) {
        self.loops
            .iter()
            .for_each(|handle| handle.set_neighbour(neighbour));
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

    fn held(&mut self, ring: u8) -> Option<&mut Ring> {
        self.rings.get_mut(usize::from(ring))
    }

    /// Shows rings what there is now. None runs.
    fn look_anew(&mut self) {
        self.view = Arc::new(View::new(&self.table, self.iotlb.as_ref()));
    }

    /// How a ring logs what it writes, if it does.
    fn log_of(&self, ring: &Start, areas: Areas) -> Option<RingLog> {
        let translate = self.iotlb.as_ref().map(|iotlb| {
            let translate: Arc<dyn Translate> = Arc::new(GuestAddresses::new(iotlb, &self.table));
            translate
        });
        self.records.log(ring, areas, translate)
    }

    /// Has every ring that runs log what it writes as is said now.
    fn log_anew(&mut self) {
        let running = self.rings.iter().enumerate();
        let running: Vec<_> = running
            .filter_map(|(index, ring)| match ring.state {
                State::Runs(start) => Some((index, start)),
                State::Stopped | State::Waits(_) => None,
            })
            .collect();
        for (index, start) in running {
            let areas = View::areas(&self.table, self.iotlb.as_ref(), &start);
            let Ok(Ok(areas)) = areas else {
                continue;
            };
            let log = self.log_of(&start, areas);
            // There are at most 256.
            let index = index as u8;
            let has_ledger = self.records.remember();
            if let Some(ring) = self.rings.get(usize::from(index)) {
                ring.log.set(log.clone());
            }
            if !has_ledger {
                self.set_ledger(index, log.is_some());
            }
        }
    }

    /// Has a ring that runs write down what happens to chains, or no longer.
    fn set_ledger(&self, index: u8, keep: bool) {
        let (Some(handle), Ok(kick)) = (self.handle(index), self.kick_of(index)) else {
            return;
        };
        let Some(mut task) = handle.stop(self.key(index)) else {
            return;
        };
        let log = self
            .rings
            .get(usize::from(index))
            .map(|ring| ring.log.clone());
        let ledger = log
            .filter(|_| keep)
            .map(|log| -> Box<dyn Ledger> { Box::new(RingLedger { record: None, log }) });
        task.set_ledger(ledger);
        handle.start(self.key(index), task, kick);
    }

    /// Runs a ring, or has it wait until its parts are shown.
    fn run(&mut self, index: u8, ring: &Start) -> Result<(), Refusal> {
        let areas = match View::areas(&self.table, self.iotlb.as_ref(), ring)? {
            Ok(areas) => areas,
            Err(Unseen(addresses)) => {
                if let Some(held) = self.held(index) {
                    held.state = State::Waits(*ring);
                }
                for address in addresses {
                    self.wires.ask_for(address, Access::ReadWrite);
                }
                return Ok(());
            }
        };
        let view = self.view.clone();
        let kick = self.kick_of(index)?;
        let number = u16::from(index);
        let Start { size, features, .. } = *ring;
        let map = view.map();
        let (record, start) = self.records.record(index, ring, areas, &map)?;
        let log = self.log_of(ring, areas);
        let keep = record.is_some() || log.is_some();
        let switch = self.held(index).map(|held| {
            held.log.set(log);
            held.log.clone()
        });
        let ledger = keep.then(|| -> Box<dyn Ledger> {
            let log = switch.unwrap_or_default();
            Box::new(RingLedger { record, log })
        });
        let queue = Queue::resume(&*map, size, areas, features, &start, ledger);
        let queue = queue.map_err(|violation| Refusal::Ring {
            index: index.into(),
            violation,
        })?;
        let worker = self.device.worker(number, features);
        let task = Task::new(number, queue, worker, view, self.wires.clone());
        if let Some(held) = self.held(index) {
            held.state = State::Runs(*ring);
        }
        self.observer()
            .event(Event::RingStarted { ring: number, size });
        if let Some(handle) = self.handle(index) {
            handle.start(self.key(index), task, kick);
        }
        Ok(())
    }

    /// Stops a ring that runs, and says where it stands.
    fn halt(&mut self, index: u8) -> Option<u16> {
        if let Some(held) = self.held(index) {
            held.state = State::Stopped;
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

    /// Goes on with the rings whose parts were shown, and has those wait whose parts no longer are.
    fn follow_translations(&mut self) -> Result<(), Refusal> {
        for index in 0..self.rings.len() {
            // There are at most 256.
            let index = index as u8;
            let state = self.held(index).map(|held| held.state);
            match state {
                Some(State::Waits(start)) => self.run(index, &start)?,
                Some(State::Runs(start)) => {
                    let areas = View::areas(&self.table, self.iotlb.as_ref(), &start)?;
                    if areas.is_ok() {
                        self.kick(index);
                    } else if let Some(position) = self.halt(index) {
                        let start = Start {
                            available: position,
                            used: position,
                            ..start
                        };
                        self.run(index, &start)?;
                    }
                }
                Some(State::Stopped) | None => {}
            }
        }
        Ok(())
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
        self.iotlb = features.contains(F::ACCESS_PLATFORM).then(Iotlb::new);
        self.look_anew();
        self.device.negotiated(features);
        self.observer().event(Event::Features(features));
    }

    fn protocol_negotiated(&mut self, features: ProtocolFeatures) {
        self.wires.set_protocol(features);
        self.observer().event(Event::Protocol(features));
    }

    fn set_logging(&mut self, logging: Logging) {
        self.records.set_logging(logging);
        self.log_anew();
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
        self.iotlb = None;
        self.look_anew();
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
        self.table.set(regions)?;
        self.look_anew();
        Ok(())
    }

    fn add_region(&mut self, region: Region, file: OwnedFd) -> Result<(), Refusal> {
        self.table.add(region, file)?;
        self.look_anew();
        Ok(())
    }

    fn remove_region(&mut self, region: &Region) -> Result<(), Refusal> {
        self.table.remove(region)?;
        self.look_anew();
        Ok(())
    }

    fn set_kick(&mut self, index: u8, kick: Kick<OwnedFd>) -> Result<(), Refusal> {
        let key = self.key(index);
        let Some(held) = self.held(index) else {
            return Ok(());
        };
        let before = std::mem::replace(&mut held.kick, kick);
        if !held.runs() {
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
        if self.held(index).is_some_and(|held| held.runs()) {
            self.wires.used(index.into());
        }
    }

    fn set_error(&mut self, index: u8, error: Option<OwnedFd>) {
        self.wires.set_error(index.into(), error);
    }

    fn start(&mut self, index: u8, ring: &Start) -> Result<(), Refusal> {
        self.run(index, ring)
    }

    fn kick(&mut self, index: u8) {
        if let Some(handle) = self.handle(index) {
            handle.kick(self.key(index));
        }
    }

    fn stop(&mut self, index: u8) -> Option<u16> {
        let state = self.held(index).map(|held| held.state);
        match state {
            Some(State::Waits(start)) => {
                if let Some(held) = self.held(index) {
                    held.state = State::Stopped;
                }
                Some(start.available)
            }
            _ => self.halt(index),
        }
    }

    fn set_ring_log(&mut self, index: u8, addresses: RingAddresses) {
        if let Some(held) = self.held(index)
            && let State::Runs(start) | State::Waits(start) = &mut held.state
        {
            start.addresses = addresses;
        }
        self.log_anew();
    }

    fn set_log(&mut self, area: LogArea, file: OwnedFd) -> Result<(), Refusal> {
        self.records.set_log(area, &file, &self.table)?;
        self.log_anew();
        Ok(())
    }

    fn set_log_signal(&mut self, signal: OwnedFd) {
        self.records.set_log_signal(signal);
        self.log_anew();
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

    fn translate(&mut self, told: protocol::Iotlb) -> Result<(), Refusal> {
        let Some(iotlb) = &mut self.iotlb else {
            return Err(Refusal::Unsupported(Code::IotlbMsg));
        };
        match told.kind {
            IotlbKind::Update => iotlb.update(&told, &self.table)?,
            IotlbKind::Invalidate => iotlb.invalidate(told.address, told.size)?,
            // For this end to say.
            IotlbKind::Miss | IotlbKind::AccessFail => {
                return Err(Refusal::Unsupported(Code::IotlbMsg));
            }
        }
        self.view.show(&self.table, iotlb);
        self.follow_translations()
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
        self.records = Records::default();
        self.table = Table::new();
        self.iotlb = None;
        self.look_anew();
        self.rings.fill_with(Ring::new);
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
