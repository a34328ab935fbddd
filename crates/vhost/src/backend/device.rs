//! A device, and what a front-end gave it: memory, descriptors, and the loops that serve its rings.
//!
//! The device outlives the connection. When a front-end goes, its rings are stopped, its memory and
//! descriptors are let go of, and the device is reset for the next one.

mod log;
mod run;
mod translate;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::records::{self, Records};
use super::ring::{Ring, State};
use super::state::{self, Transfer};
use super::view::View;
use super::wires::{ConfigNotifier, Wires};
use super::{Carrier, Event, Kick, Logging, Observer, RINGS_MAX, Refusal, ResetBy, Start};
use crate::event_loop::{Handle, Key, Neighbour};
use crate::iotlb::Iotlb;
use crate::memory::{SLOTS_MAX, Table};
use crate::protocol::{
    self, Code, ConfigFlags, DeviceStateTransfer, Inflight, LogArea, ProtocolFeatures, Region,
    RingAddresses, StateDirection,
};
use ringway_device::net::Network;
use ringway_device::task::Signal;
use ringway_device::{Device, Fault, Limits, Notified, Notifier, Offer};
use ringway_spec::net::Mac;
use ringway_spec::{DeviceId, F, Features, Status};

/// Features of the protocol that are carried out, whatever the device.
const PROTOCOL: ProtocolFeatures = ProtocolFeatures::MQ
    .union(ProtocolFeatures::REPLY_ACK)
    .union(ProtocolFeatures::BACKEND_REQ)
    .union(ProtocolFeatures::RESET_DEVICE)
    .union(ProtocolFeatures::INBAND_NOTIFICATIONS)
    .union(ProtocolFeatures::MEM_SLOTS)
    .union(ProtocolFeatures::STATUS)
    .union(ProtocolFeatures::LOG_SHMFD)
    .union(ProtocolFeatures::INFLIGHT_SHMFD);

/// What a carrier offers of rings and transports that vhost-user has no way for: an `eventfd` says
/// that there are chains, and not where; and the device's status is the front-end's affair.
const IMPOSSIBLE: Features = F::NOTIFICATION_DATA
    .union(F::NOTIF_CONFIG_DATA)
    .union(F::SUSPEND);

/// What a front-end can be shown of a device: a message names a ring by 8 bits, and QEMU takes no more
/// of configuration space (`VHOST_USER_MAX_CONFIG_SIZE`).
pub const LIMITS: Limits = Limits {
    id_last: u32::MAX,
    queues: RINGS_MAX,
    config_bytes: 256,
};

/// How many carriers there were, for loops to tell their rings apart.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// A device that front-ends are served with, one after another.
pub struct DeviceCarrier {
    device: Box<dyn Device>,
    features: Features,
    sizes: Vec<u16>,
    loops: Vec<Handle>,
    number: usize,
    _noticed: Arc<Noticed>,
    table: Table,
    /// What an IOMMU shows of it, if there is one.
    iotlb: Option<Iotlb>,
    view: Arc<View>,
    rings: Vec<Ring>,
    wires: Arc<Wires>,
    records: Records,
    accepted: Option<Features>,
    protocol: ProtocolFeatures,
    transfer: Transfer,
    /// What the device was when its status became 0, with the features of then.
    stood_still: Option<(Features, Vec<u8>)>,
}

impl DeviceCarrier {
    /// A carrier of `device` that offers `offer` of its own, as far as vhost-user has it. Its rings
    /// are shared out among `loops`; with none, no ring is served.
    ///
    /// # Errors
    ///
    /// [`Fault`]: the device cannot be presented as it is.
    pub fn new(
        mut device: Box<dyn Device>,
        offer: Offer,
        loops: Vec<Handle>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, Fault> {
        LIMITS.check(&*device)?;
        let sizes = device.queue_sizes().to_vec();
        let mut protocol = PROTOCOL;
        protocol.set(ProtocolFeatures::DEVICE_STATE, device.save().is_some());
        protocol.set(ProtocolFeatures::CONFIG, device.config_bytes() != 0);
        let of_networks = ProtocolFeatures::RARP | ProtocolFeatures::NET_MTU;
        protocol.set(of_networks, device.network().is_some());
        let wires = Arc::new(Wires::new(sizes.len(), observer));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let noticed = Arc::new(Noticed {
            wires: Arc::clone(&wires),
            loops: loops.clone(),
            number,
        });
        device.presented(Notifier::new(&noticed));
        Ok(Self {
            features: offer
                .without(IMPOSSIBLE)
                .beside(device.id(), device.features()),
            rings: sizes.iter().map(|_| Ring::new()).collect(),
            wires,
            sizes,
            device,
            loops,
            number,
            _noticed: noticed,
            view: Arc::new(View::new(&Table::new(), None)),
            table: Table::new(),
            iotlb: None,
            records: Records::default(),
            accepted: None,
            protocol,
            transfer: Transfer::Nothing,
            stood_still: None,
        })
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
        of_ring(&self.loops, ring.into())
    }

    fn held(&mut self, ring: u8) -> Option<&mut Ring> {
        self.rings.get_mut(usize::from(ring))
    }

    /// The device as a network card, for a request that is for one.
    fn network(&mut self, request: Code) -> Result<&mut dyn Network, Refusal> {
        self.device.network().ok_or(Refusal::Unsupported(request))
    }

    /// Shows rings what there is now. None runs.
    fn look_anew(&mut self) {
        if let Some(iotlb) = &mut self.iotlb {
            iotlb.keep_within(&self.table);
        }
        self.wires.told(|_| true);
        self.view = Arc::new(View::new(&self.table, self.iotlb.as_ref()));
    }
}

/// The loop that serves a ring.
fn of_ring(loops: &[Handle], ring: u16) -> Option<&Handle> {
    let place = usize::from(ring).checked_rem(loops.len())?;
    loops.get(place)
}

/// Where the device's own notices arrive.
struct Noticed {
    wires: Arc<Wires>,
    loops: Vec<Handle>,
    number: usize,
}

impl Notified for Noticed {
    fn config_changed(&self) {
        self.wires.config_changed();
    }

    fn due(&self, index: u16) {
        if let Some(handle) = of_ring(&self.loops, index) {
            handle.kick(Key {
                device: self.number,
                queue: index,
            });
        }
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
        self.protocol
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn region_slots(&self) -> u64 {
        SLOTS_MAX as u64
    }

    fn negotiated(&mut self, features: Features) {
        let before = self.accepted.replace(features);
        if before.is_some_and(|before| {
            before.contains(F::RING_PACKED) != features.contains(F::RING_PACKED)
        }) {
            // It is of rings of the other format.
            self.records.forget();
        }
        self.iotlb = features.contains(F::ACCESS_PLATFORM).then(Iotlb::new);
        self.look_anew();
        self.device.negotiated(features);
        if let Some((before, state)) = self.stood_still.take()
            && before == features
        {
            // It is the device's own, as it is now: it goes on with it.
            let _ = self.device.load(&state);
        }
        self.observer().event(Event::Features(features));
    }

    fn protocol_negotiated(&mut self, features: ProtocolFeatures) {
        self.wires.set_protocol(features);
        self.observer().event(Event::Protocol(features));
    }

    fn set_logging(&mut self, logging: Logging) -> Result<(), Refusal> {
        self.records.set_logging(logging);
        self.log_anew()
    }

    fn status(&self) -> Status {
        if self.wires.needs_reset() {
            Status::NEEDS_RESET
        } else {
            Status::empty()
        }
    }

    fn reset(&mut self, by: ResetBy) {
        let accepted = self.accepted.take();
        self.stood_still = match by {
            ResetBy::Status => accepted.zip(self.device.save()).or(self.stood_still.take()),
            ResetBy::Request => None,
        };
        self.iotlb = None;
        self.records.forget();
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
        self.records
            .can_log(regions.iter().map(|(region, _)| region))?;
        self.table.set(regions)?;
        self.look_anew();
        Ok(())
    }

    fn add_region(&mut self, region: Region, file: OwnedFd) -> Result<(), Refusal> {
        self.records.can_log([&region])?;
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

    fn set_ring_log(&mut self, index: u8, addresses: RingAddresses) -> Result<(), Refusal> {
        if let Some(held) = self.held(index)
            && let State::Runs(start, _) | State::Waits(start) = &mut held.state
        {
            start.addresses = addresses;
        }
        self.log_anew()
    }

    fn set_log(&mut self, area: LogArea, file: OwnedFd) -> Result<(), Refusal> {
        self.records.set_log(area, &file, &self.table)?;
        self.log_anew()
    }

    fn set_log_signal(&mut self, signal: OwnedFd) -> Result<(), Refusal> {
        self.records.set_log_signal(signal);
        self.log_anew()
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
        // What was asked for before, nobody heard.
        self.wires.told(|_| true);
        self.rings.iter_mut().for_each(|ring| ring.asked.clear());
        self.follow_translations();
    }

    fn translate(&mut self, told: protocol::Iotlb) -> Result<(), Refusal> {
        self.learn(&told)
    }

    fn move_state(
        &mut self,
        transfer: DeviceStateTransfer,
        via: OwnedFd,
    ) -> Result<Option<OwnedFd>, Refusal> {
        let code = Code::SetDeviceStateFd;
        self.transfer = match transfer.direction {
            StateDirection::Save => {
                let state = self.device.save().ok_or(Refusal::Unsupported(code))?;
                Transfer::Saved(state::send(&via, &state))
            }
            StateDirection::Load => Transfer::Loading(via),
        };
        Ok(None)
    }

    fn state_moved(&mut self) -> Result<(), Refusal> {
        match std::mem::take(&mut self.transfer) {
            Transfer::Nothing => Err(Refusal::StateCut),
            Transfer::Saved(done) => done,
            Transfer::Loading(via) => {
                let state = state::receive(&via)?;
                self.device.load(&state).map_err(Refusal::State)
            }
        }
    }

    fn announce(&mut self, mac: Mac) -> Result<(), Refusal> {
        self.network(Code::SendRarp)?.announce(mac);
        Ok(())
    }

    fn set_mtu(&mut self, mtu: u64) -> Result<(), Refusal> {
        let network = self.network(Code::NetSetMtu)?;
        let can = u16::try_from(mtu).is_ok_and(|mtu| network.limit(mtu));
        can.then_some(()).ok_or(Refusal::Mtu(mtu))
    }

    fn disconnected(&mut self) {
        self.wires.disconnect();
        self.transfer = Transfer::Nothing;
        self.records = Records::default();
        self.table = Table::new();
        self.iotlb = None;
        self.look_anew();
        self.rings.fill_with(Ring::new);
        self.accepted = None;
        self.stood_still = None;
        self.device.reset();
    }
}
