//! The rules of a connection, without I/O: which request may come when, what it does, what is
//! answered.
//!
//! A ring runs when all that describes it is known, it is *started* (a kick came, or how one will
//! come was said) and *enabled*. Size, place and base of a ring that runs do not change: a front-end
//! stops it first, and a request to the contrary is refused. The memory does change under rings that
//! run; they are stopped for that moment, so that no chain is looked up in two tables, and go on at
//! the same place.
//!
//! What is refused is answered, if the request has an answer that can say so. If it has none, the
//! front-end would go on as if it had been done: the connection ends.

mod request;
mod ring;
mod rings;

use ringway_spec::{DeviceId, F, Features, Status, net};

use self::ring::Ring;
use super::{Carrier, Logging, Refusal, ResetBy};
use crate::protocol::{
    Body, Code, ConfigSpace, Flags, Header, Inflight, LOG_ALL, Malformed, PROTOCOL_FEATURES,
    ProtocolFeatures, Reply, Request,
};

/// Most rings of one connection: the requests that carry a descriptor have 8 bits for the index.
pub const RINGS_MAX: usize = 256;

/// What a request leads to.
#[derive(Debug)]
pub struct Answer<F> {
    /// What is to be sent, with the number of the request.
    pub reply: Option<Reply<F>>,
    /// The request was refused, and the answer says so.
    pub refused: Option<Refusal>,
}

/// The state of one connection. When it is dropped its rings are stopped, and its carrier is ready
/// for another.
#[derive(Debug)]
pub struct Session<'c, C: Carrier> {
    carrier: &'c mut C,
    /// What was accepted, once something was; the protocol's own two bits aside.
    accepted: Option<Features>,
    /// Whether `PROTOCOL_FEATURES` was accepted: then rings are enabled one by one.
    has_enable: bool,
    protocol: ProtocolFeatures,
    /// As the front-end set it.
    status: Status,
    rings: Box<[Ring]>,
}

impl<'c, C: Carrier> Session<'c, C> {
    /// A connection that begins.
    pub fn new(carrier: &'c mut C) -> Self {
        let rings = carrier.queue_sizes().len().min(RINGS_MAX);
        Self {
            carrier,
            accepted: None,
            has_enable: false,
            protocol: ProtocolFeatures::empty(),
            status: Status::empty(),
            rings: vec![Ring::default(); rings].into(),
        }
    }

    /// What it acts on.
    pub fn carrier(&self) -> &C {
        self.carrier
    }

    /// Does what a message asks.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if it is not done and there is no answer that says so: the connection is to be
    /// closed.
    pub fn handle(
        &mut self,
        header: Header,
        body: Body<C::Descriptor>,
    ) -> Result<Answer<C::Descriptor>, Refusal> {
        if header.flags.contains(Flags::REPLY) {
            return Err(Refusal::Malformed(Malformed::Direction));
        }
        let done = Request::decode(header.request, body)
            .map_err(Refusal::Malformed)
            .and_then(|request| self.carry_out(request));
        // Asked now: it may just have been agreed on.
        let wants_reply = header.flags.contains(Flags::NEED_REPLY)
            && self.protocol.contains(ProtocolFeatures::REPLY_ACK);
        match done {
            Ok(reply) => Ok(Answer {
                reply: reply.or_else(|| wants_reply.then_some(Reply::Value(DONE))),
                refused: None,
            }),
            Err(refusal) => match refusing_reply(header.request, wants_reply) {
                Some(reply) if refusal != Refusal::InbandAlone => Ok(Answer {
                    reply: Some(reply),
                    refused: Some(refusal),
                }),
                _ => Err(refusal),
            },
        }
    }

    fn carry_out(
        &mut self,
        request: Request<C::Descriptor>,
    ) -> Result<Option<Reply<C::Descriptor>>, Refusal> {
        let code = request.code();
        let needed = request::needs(code);
        if !self.protocol.contains(needed) {
            return Err(Refusal::NotAgreed {
                request: code,
                needed,
            });
        }
        let value = |value| Ok(Some(Reply::Value(value)));
        match request {
            Request::GetFeatures => return value(self.offered()),
            Request::SetFeatures(features) => self.set_features(features)?,
            // A session begins when it is connected, and has no other owner.
            Request::SetOwner => {}
            Request::ResetOwner => self.disable_all()?,
            Request::GetProtocolFeatures => {
                return value(self.carrier.protocol_features().bits());
            }
            Request::SetProtocolFeatures(features) => self.set_protocol_features(features)?,
            Request::GetQueueNum => return value(self.rings.len() as u64),
            Request::SetMemTable(regions) => {
                self.change_memory(|carrier| carrier.set_memory(regions))?;
            }
            Request::GetMaxMemSlots => return value(self.carrier.region_slots()),
            Request::AddMemReg(region, file) => {
                self.change_memory(|carrier| carrier.add_region(region, file))?;
            }
            Request::RemMemReg(region) => {
                self.change_memory(|carrier| carrier.remove_region(&region))?;
            }
            Request::SetVringNum(state) => self.set_size(state)?,
            Request::SetVringAddr(addresses) => self.set_addresses(addresses)?,
            Request::SetVringBase(state) => self.set_base(state)?,
            Request::GetVringBase(state) => return self.stop_for_good(state.index).map(Some),
            Request::SetVringKick(index, kick) => self.set_kick(index, kick)?,
            Request::SetVringCall(index, call) => {
                self.ring(index.into())?;
                self.carrier.set_call(index, call);
            }
            Request::SetVringErr(index, error) => {
                self.ring(index.into())?;
                self.carrier.set_error(index, error);
            }
            Request::SetVringEnable(state) => self.set_enabled(state)?,
            Request::VringKick(state) => self.kick(state.index)?,
            Request::GetConfig(space) => return Ok(Some(Reply::Config(self.read_config(space)))),
            Request::SetConfig(space) => {
                self.settled(code)?;
                self.carrier
                    .write_config(space.offset as usize, &space.bytes, space.flags);
            }
            Request::SetBackendReqFd(socket) => self.carrier.set_back_channel(socket),
            Request::IotlbMsg(iotlb) => {
                self.agreed(code, F::ACCESS_PLATFORM)?;
                self.carrier.translate(iotlb)?;
                return value(DONE);
            }
            Request::SetLogBase(area, file) => {
                self.carrier.set_log(area, file)?;
                return value(DONE);
            }
            Request::SetLogFd(signal) => self.carrier.set_log_signal(signal)?,
            Request::GetInflightFd(wanted) => {
                let (inflight, file) = self.carrier.make_inflight(wanted)?;
                return Ok(Some(Reply::Inflight(inflight, Some(file))));
            }
            Request::SetInflightFd(inflight, file) => {
                self.at_rest(code)?;
                self.carrier.set_inflight(inflight, file)?;
            }
            Request::ResetDevice => self.reset(ResetBy::Request)?,
            Request::SetStatus(status) => self.set_status(status)?,
            Request::GetStatus => {
                return value((self.status | self.carrier.status()).bits().into());
            }
            Request::SetDeviceStateFd(transfer, via) => {
                self.at_rest(code)?;
                let ours = self.carrier.move_state(transfer, via)?;
                return Ok(Some(
                    ours.map_or(Reply::Value(NO_DESCRIPTOR), Reply::StateFd),
                ));
            }
            Request::CheckDeviceState => {
                self.carrier.state_moved()?;
                return value(DONE);
            }
            Request::SendRarp(address) => {
                // In the order of its bytes, with two behind it that say nothing.
                let [mac @ .., _, _] = address.to_ne_bytes();
                self.carrier.announce(mac)?;
            }
            Request::NetSetMtu(mtu) => self.carrier.set_mtu(mtu)?,
            Request::SetVringEndian(_) | Request::Unsupported(_) => {
                return Err(Refusal::Unsupported(code));
            }
        }
        Ok(None)
    }

    fn offered(&self) -> u64 {
        let logs = self
            .carrier
            .protocol_features()
            .contains(ProtocolFeatures::LOG_SHMFD);
        let log_all = if logs { LOG_ALL } else { 0 };
        // What is beyond 64 bits cannot be said.
        self.carrier.features().0 as u64 | PROTOCOL_FEATURES | log_all
    }

    fn set_features(&mut self, features: u64) -> Result<(), Refusal> {
        let not_offered = features & !self.offered();
        if not_offered != 0 {
            return Err(Refusal::FeaturesNotOffered(Features(not_offered.into())));
        }
        let accepted = Features((features & !(PROTOCOL_FEATURES | LOG_ALL)).into());
        if !accepted.contains(F::VERSION_1) {
            return Err(Refusal::FeaturesMissing(F::VERSION_1));
        }
        let id = self.carrier.device_id();
        if let Some((features, _)) = (accepted | kept(id)).missing_dependency(id) {
            return Err(Refusal::FeatureDependency(features));
        }
        let has_enable = features & PROTOCOL_FEATURES != 0;
        // A migration begins and ends while rings run: the log is the one thing that may change.
        if self.accepted != Some(accepted) || self.has_enable != has_enable {
            self.at_rest(Code::SetFeatures)?;
            self.accepted = Some(accepted);
            self.has_enable = has_enable;
            self.carrier.negotiated(accepted);
        }
        let logging = if features & LOG_ALL != 0 {
            Logging::On
        } else {
            Logging::Off
        };
        let logged = self.carrier.set_logging(logging);
        logged.and(self.settle_all())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<(), Refusal> {
        let features = ProtocolFeatures::from_bits_retain(features);
        let not_offered = features.difference(self.carrier.protocol_features());
        if !not_offered.is_empty() {
            return Err(Refusal::ProtocolNotOffered(not_offered));
        }
        let channel = ProtocolFeatures::BACKEND_REQ | ProtocolFeatures::REPLY_ACK;
        if features.contains(ProtocolFeatures::INBAND_NOTIFICATIONS) && !features.contains(channel)
        {
            return Err(Refusal::InbandAlone);
        }
        if features != self.protocol {
            self.at_rest(Code::SetProtocolFeatures)?;
            self.protocol = features;
            self.carrier.protocol_negotiated(features);
        }
        Ok(())
    }

    /// Changes the memory, with the rings stopped meanwhile.
    fn change_memory(
        &mut self,
        change: impl FnOnce(&mut C) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.stop_all();
        let changed = change(self.carrier);
        // Also if nothing changed: they go on.
        let settled = self.settle_all();
        changed.and(settled)
    }

    fn read_config(&self, mut space: ConfigSpace) -> ConfigSpace {
        space.bytes.fill(0);
        self.carrier
            .read_config(space.offset as usize, &mut space.bytes);
        space
    }

    fn set_status(&mut self, status: u64) -> Result<(), Refusal> {
        let bits = u8::try_from(status).map_err(|_| Refusal::Status(status))?;
        if bits == 0 {
            self.reset(ResetBy::Status)?;
        }
        self.status = Status::from_bits_retain(bits);
        Ok(())
    }

    /// Everything begins anew, but for the connection, what was agreed on of the protocol, and
    /// memory.
    fn reset(&mut self, by: ResetBy) -> Result<(), Refusal> {
        self.disable_all()?;
        self.rings.fill(Ring::default());
        self.accepted = None;
        self.has_enable = false;
        self.status = Status::empty();
        self.carrier.reset(by);
        Ok(())
    }

    /// Fails while rings run.
    fn at_rest(&self, request: Code) -> Result<(), Refusal> {
        if self.rings.iter().any(|ring| ring.running) {
            return Err(Refusal::RingsRun(request));
        }
        Ok(())
    }

    /// Fails before the driver's features are settled.
    fn settled(&self, request: Code) -> Result<(), Refusal> {
        self.agreed(request, F::VERSION_1)
    }

    /// Fails unless `needed` was agreed on.
    fn agreed(&self, request: Code, needed: Features) -> Result<(), Refusal> {
        if self.accepted.unwrap_or_default().contains(needed) {
            return Ok(());
        }
        Err(Refusal::NeedsFeatures { request, needed })
    }
}

impl<C: Carrier> Drop for Session<'_, C> {
    fn drop(&mut self) {
        self.stop_all();
        self.carrier.disconnected();
    }
}

/// A request was done.
const DONE: u64 = 0;
/// It was not.
const REFUSED: u64 = 1;
/// No descriptor comes with the answer to a request to move the device's state.
const NO_DESCRIPTOR: u64 = 1 << 8;

/// What a front-end may do itself for a device of type `id`: whether the driver accepted it, nobody here
/// hears. QEMU carries out the commands of network devices.
fn kept(id: DeviceId) -> Features {
    match id {
        DeviceId::NETWORK => net::F::CTRL_VQ,
        _ => Features::NONE,
    }
}

/// The answer that says that a request was not done, if it has one.
fn refusing_reply<F>(request: u32, wants_reply: bool) -> Option<Reply<F>> {
    match Code::from_number(request) {
        Some(Code::GetConfig) => Some(Reply::NoConfig),
        Some(Code::GetInflightFd) => Some(Reply::Inflight(Inflight::default(), None)),
        Some(Code::SetDeviceStateFd) => Some(Reply::Value(NO_DESCRIPTOR | REFUSED)),
        Some(Code::CheckDeviceState | Code::IotlbMsg | Code::SetLogBase) => {
            Some(Reply::Value(REFUSED))
        }
        // These are answered with a number that means something else.
        Some(
            Code::GetFeatures
            | Code::GetProtocolFeatures
            | Code::GetQueueNum
            | Code::GetVringBase
            | Code::GetMaxMemSlots
            | Code::GetStatus,
        ) => None,
        _ => wants_reply.then_some(Reply::Value(REFUSED)),
    }
}

#[cfg(test)]
mod tests;
