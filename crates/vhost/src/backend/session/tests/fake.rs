//! A carrier that notes what it is told, and does what a test wants.

use ringway_spec::net::Mac;
use ringway_spec::{DeviceId, F, Features, Status};

use crate::backend::{Carrier, Kick, Logging, Refusal, ResetBy, Start};
use crate::memory::MemoryError;
use crate::protocol::{
    ConfigFlags, DeviceStateTransfer, Inflight, Iotlb, LogArea, ProtocolFeatures, Region,
    RingAddresses,
};

/// What it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Negotiated(Features),
    Protocol(ProtocolFeatures),
    Logging(Logging),
    Reset(ResetBy),
    ConfigWritten(usize, Vec<u8>, ConfigFlags),
    Memory(usize),
    Region,
    RegionGone,
    Kick(u8, &'static str),
    Call(u8, Option<u32>),
    Error(u8, Option<u32>),
    Started(u8, Start),
    Kicked(u8),
    Stopped(u8),
    RingLog(u8, Option<u64>),
    Log(LogArea),
    Inflight,
    BackChannel,
    Translated,
    StateMoved,
    Announced(Mac),
    Mtu(u64),
    Disconnected,
}

pub(super) struct Fake {
    pub(super) told: Vec<Told>,
    pub(super) protocol: ProtocolFeatures,
    pub(super) sizes: Vec<u16>,
    /// Where a ring stands that is stopped.
    pub(super) position: u16,
    /// What a start is answered with.
    pub(super) refuses_start: Option<Refusal>,
    /// Whether memory is refused.
    pub(super) refuses_memory: bool,
    pub(super) status: Status,
}

/// Of every feature that a carrier may have.
const PROTOCOL: ProtocolFeatures = ProtocolFeatures::MQ
    .union(ProtocolFeatures::LOG_SHMFD)
    .union(ProtocolFeatures::REPLY_ACK)
    .union(ProtocolFeatures::BACKEND_REQ)
    .union(ProtocolFeatures::CONFIG)
    .union(ProtocolFeatures::BACKEND_SEND_FD)
    .union(ProtocolFeatures::INFLIGHT_SHMFD)
    .union(ProtocolFeatures::RESET_DEVICE)
    .union(ProtocolFeatures::INBAND_NOTIFICATIONS)
    .union(ProtocolFeatures::MEM_SLOTS)
    .union(ProtocolFeatures::STATUS)
    .union(ProtocolFeatures::DEVICE_STATE);

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            told: Vec::new(),
            protocol: PROTOCOL,
            sizes: vec![256, 256, 64],
            position: 0,
            refuses_start: None,
            refuses_memory: false,
            status: Status::empty(),
        }
    }

    fn memory(&mut self, told: Told) -> Result<(), Refusal> {
        if self.refuses_memory {
            return Err(Refusal::Memory(MemoryError::NotAFile));
        }
        self.told.push(told);
        Ok(())
    }
}

impl Carrier for Fake {
    type Descriptor = u32;

    fn device_id(&self) -> DeviceId {
        DeviceId::BLOCK
    }

    fn features(&self) -> Features {
        F::VERSION_1
            | F::EVENT_IDX
            | F::RING_PACKED
            | F::ACCESS_PLATFORM
            | F::RING_RESET
            | Features::bit(100)
    }

    fn protocol_features(&self) -> ProtocolFeatures {
        self.protocol
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.sizes
    }

    fn region_slots(&self) -> u64 {
        509
    }

    fn negotiated(&mut self, features: Features) {
        self.told.push(Told::Negotiated(features));
    }

    fn protocol_negotiated(&mut self, features: ProtocolFeatures) {
        self.told.push(Told::Protocol(features));
    }

    fn set_logging(&mut self, logging: Logging) -> Result<(), Refusal> {
        self.told.push(Told::Logging(logging));
        Ok(())
    }

    fn status(&self) -> Status {
        self.status
    }

    fn reset(&mut self, by: ResetBy) {
        self.told.push(Told::Reset(by));
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        for (byte, number) in into.iter_mut().zip(offset..) {
            *byte = number as u8;
        }
    }

    fn write_config(&mut self, offset: usize, from: &[u8], flags: ConfigFlags) {
        self.told
            .push(Told::ConfigWritten(offset, from.to_vec(), flags));
    }

    fn set_memory(&mut self, regions: Vec<(Region, u32)>) -> Result<(), Refusal> {
        self.memory(Told::Memory(regions.len()))
    }

    fn add_region(&mut self, _region: Region, _file: u32) -> Result<(), Refusal> {
        self.memory(Told::Region)
    }

    fn remove_region(&mut self, _region: &Region) -> Result<(), Refusal> {
        self.memory(Told::RegionGone)
    }

    fn set_kick(&mut self, index: u8, kick: Kick<u32>) -> Result<(), Refusal> {
        let how = match kick {
            Kick::Descriptor(_) => "descriptor",
            Kick::Polled => "polled",
            Kick::Message => "message",
        };
        self.told.push(Told::Kick(index, how));
        Ok(())
    }

    fn set_call(&mut self, index: u8, call: Option<u32>) {
        self.told.push(Told::Call(index, call));
    }

    fn set_error(&mut self, index: u8, error: Option<u32>) {
        self.told.push(Told::Error(index, error));
    }

    fn start(&mut self, index: u8, ring: &Start) -> Result<(), Refusal> {
        if let Some(refusal) = self.refuses_start {
            return Err(refusal);
        }
        self.told.push(Told::Started(index, *ring));
        Ok(())
    }

    fn kick(&mut self, index: u8) {
        self.told.push(Told::Kicked(index));
    }

    fn stop(&mut self, index: u8) -> Option<u16> {
        self.told.push(Told::Stopped(index));
        Some(self.position)
    }

    fn set_ring_log(&mut self, index: u8, addresses: RingAddresses) -> Result<(), Refusal> {
        self.told.push(Told::RingLog(index, addresses.logged()));
        Ok(())
    }

    fn set_log(&mut self, area: LogArea, _file: u32) -> Result<(), Refusal> {
        self.memory(Told::Log(area))
    }

    fn set_log_signal(&mut self, _signal: u32) -> Result<(), Refusal> {
        Ok(())
    }

    fn make_inflight(&mut self, wanted: Inflight) -> Result<(Inflight, u32), Refusal> {
        self.memory(Told::Inflight)?;
        let size = 4096;
        Ok((Inflight { size, ..wanted }, 5))
    }

    fn set_inflight(&mut self, _inflight: Inflight, _file: u32) -> Result<(), Refusal> {
        self.memory(Told::Inflight)
    }

    fn set_back_channel(&mut self, _socket: u32) {
        self.told.push(Told::BackChannel);
    }

    fn translate(&mut self, _iotlb: Iotlb) -> Result<(), Refusal> {
        self.memory(Told::Translated)
    }

    fn move_state(
        &mut self,
        _transfer: DeviceStateTransfer,
        _via: u32,
    ) -> Result<Option<u32>, Refusal> {
        self.memory(Told::StateMoved).map(|()| None)
    }

    fn state_moved(&mut self) -> Result<(), Refusal> {
        self.memory(Told::StateMoved)
    }

    fn announce(&mut self, mac: Mac) -> Result<(), Refusal> {
        self.memory(Told::Announced(mac))
    }

    fn set_mtu(&mut self, mtu: u64) -> Result<(), Refusal> {
        self.memory(Told::Mtu(mtu))
    }

    fn disconnected(&mut self) {
        self.told.push(Told::Disconnected);
    }
}
