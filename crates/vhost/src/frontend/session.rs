//! The front-end's half of a connection: what is asked, in which order, and whether what is answered
//! can be. No I/O: messages go through a [`Channel`].
//!
//! No answer is believed. Its number must be that of the request, its size that of its kind; a ring
//! must be the one that was stopped, and stand where one of its size can; bytes of configuration
//! space must be as many as were asked for. After an answer that cannot be, nothing more is asked
//! ([`Error::Backend`]): where the next message begins is not known.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ringway_ring::driver::Areas;
use ringway_spec::Features;
use ringway_spec::net::Mac;
use rustix::fs::fstat;

use super::error::{Error, Result, Violation};
use crate::protocol::{
    Body, CONFIG_BYTES_MAX, Code, ConfigFlags, ConfigSpace, Flags, Header, Inflight, Iotlb,
    IotlbKind, Malformed, PROTOCOL_FEATURES, Permissions, ProtocolFeatures, Region, Reply, Request,
    RingAddresses, RingState,
};

/// Most queues that a back-end may have: the number of a ring, beside a descriptor, has 8 bits.
pub(crate) const QUEUES_MAX: u16 = 256;

/// Most bytes of memory that a back-end may want for what is in flight on one queue, against one
/// that has us keep gigabytes: twice what the protocol lays out for the largest ring there is.
const INFLIGHT_BYTES_MAX: u64 = 2 << 20;

/// What messages go through: a socket, or a test.
pub(crate) trait Channel {
    /// Sends one message, whole.
    fn send(&mut self, request: u32, flags: Flags, body: &Body<BorrowedFd<'_>>) -> Result<()>;

    /// Waits for the next message, for as long as the answer to `asked` may take.
    fn receive(&mut self, asked: Code) -> Result<(Header, Body<OwnedFd>)>;
}

/// A connection whose terms are settled.
#[derive(Debug)]
pub(crate) struct Session<C> {
    channel: C,
    /// What the device offers, and the protocol's own bit among it.
    offered: u64,
    agreed: ProtocolFeatures,
    queues: Option<u16>,
    memory_slots: u64,
    /// Whether the back-end has the memory. It keeps it through a reset of the device.
    shared: bool,
}

/// A ring, as a back-end is told of it.
#[derive(Debug)]
pub(crate) struct RingSetup<'r> {
    pub(crate) index: u8,
    pub(crate) size: u16,
    /// Where its areas are: addresses of the front-end's, or, with an IOMMU, of the driver's.
    pub(crate) areas: Areas,
    /// Where it begins, as [`Code::SetVringBase`] has it.
    pub(crate) base: u32,
    /// How we tell of chains.
    pub(crate) kick: By<'r>,
    /// How the back-end tells of completions.
    pub(crate) call: By<'r>,
    /// What the back-end signals when the ring is broken.
    pub(crate) broken: Option<BorrowedFd<'r>>,
}

/// How one end is told that there is something to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'r> {
    /// This is signalled.
    Signal(BorrowedFd<'r>),
    /// A message is sent: what there is where nothing else was said.
    Message,
    /// It is not: it looks by itself.
    Nothing,
}

/// Whether a request is answered.
enum Due {
    Nothing,
    /// By 0 if it was done.
    Done,
    /// In a way of its own.
    Answer,
}

impl<C: Channel> Session<C> {
    /// Takes the back-end over, and agrees with it on those of `wanted` that it has.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if it has not all of `required`; otherwise what the back-end does wrong.
    pub(crate) fn open(
        channel: C,
        wanted: ProtocolFeatures,
        required: ProtocolFeatures,
    ) -> Result<Self> {
        let mut session = Self {
            channel,
            offered: 0,
            agreed: ProtocolFeatures::empty(),
            queues: None,
            memory_slots: 0,
            shared: false,
        };
        session.tell(Request::SetOwner)?;
        session.offered = session.number(Request::GetFeatures)?;
        let mut has = ProtocolFeatures::empty();
        if session.offered & PROTOCOL_FEATURES != 0 {
            has = ProtocolFeatures::from_bits_retain(session.number(Request::GetProtocolFeatures)?);
        }
        if !has.contains(required) {
            return Err(Error::Missing(required - has));
        }
        let agreed = has & (wanted | required);
        if session.offered & PROTOCOL_FEATURES != 0 {
            session.tell(Request::SetProtocolFeatures(agreed.bits()))?;
        }
        session.agreed = agreed;
        if agreed.contains(ProtocolFeatures::MQ) {
            let queues = session.number(Request::GetQueueNum)?;
            let possible = u16::try_from(queues).ok().filter(|it| *it <= QUEUES_MAX);
            session.queues = Some(possible.ok_or(Violation::Queues(queues))?);
        }
        if agreed.contains(ProtocolFeatures::MEM_SLOTS) {
            session.memory_slots = session.number(Request::GetMaxMemSlots)?;
        }
        Ok(session)
    }

    /// What messages go through.
    pub(crate) fn channel(&mut self) -> &mut C {
        &mut self.channel
    }

    /// What the device offers, and the protocol's own bit among it.
    pub(crate) fn offered(&self) -> u64 {
        self.offered
    }

    /// Has the back-end offer none of `features`, whatever it says: they are this end's.
    pub(crate) fn withhold(&mut self, features: Features) {
        // It said nothing of more than 64 bits.
        self.offered &= !(features.0 as u64);
    }

    /// The protocol features that both agreed to.
    pub(crate) fn agreed(&self) -> ProtocolFeatures {
        self.agreed
    }

    /// How many queues the device has, if the back-end says. Of a network card it may be pairs.
    pub(crate) fn queues(&self) -> Option<u16> {
        self.queues
    }

    /// Says which features are used.
    pub(crate) fn set_features(&mut self, features: u64) -> Result<()> {
        let own = self.offered & PROTOCOL_FEATURES;
        self.tell(Request::SetFeatures(features | own))
    }

    /// Where the back-end is to make requests of its own.
    pub(crate) fn set_requests(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        self.tell(Request::SetBackendReqFd(socket))
    }

    /// Shares the one region of memory that there is, unless that was done.
    pub(crate) fn share(&mut self, region: Region, file: BorrowedFd<'_>) -> Result<()> {
        if self.shared {
            return Ok(());
        }
        let slots = self.agreed.contains(ProtocolFeatures::MEM_SLOTS);
        self.tell(if slots && self.memory_slots != 0 {
            Request::AddMemReg(region, file)
        } else {
            Request::SetMemTable(vec![(region, file)])
        })?;
        self.shared = true;
        Ok(())
    }

    /// Says where the back-end finds what the driver calls `region`.
    pub(crate) fn translate(&mut self, region: &Region) -> Result<()> {
        self.tell(Request::IotlbMsg(Iotlb {
            address: region.guest_address,
            size: region.size,
            user_address: region.user_address,
            permissions: Permissions::READ | Permissions::WRITE,
            kind: IotlbKind::Update,
        }))
    }

    /// Starts a ring.
    pub(crate) fn start(&mut self, ring: &RingSetup<'_>) -> Result<()> {
        let index = u32::from(ring.index);
        let state = |num| RingState { index, num };
        self.tell(Request::SetVringNum(state(u32::from(ring.size))))?;
        self.tell(Request::SetVringBase(state(ring.base)))?;
        self.tell(Request::SetVringAddr(RingAddresses {
            index,
            flags: 0,
            descriptor: ring.areas.descriptor,
            used: ring.areas.device,
            available: ring.areas.driver,
            log: 0,
        }))?;
        self.tell(Request::SetVringErr(ring.index, ring.broken))?;
        if let Some(call) = ring.call.said() {
            self.tell(Request::SetVringCall(ring.index, call))?;
        }
        // Last: it is what starts the ring, if no message is to.
        match ring.kick.said() {
            Some(kick) => self.tell(Request::SetVringKick(ring.index, kick)),
            None => Ok(()),
        }
    }

    /// Enables a ring that was started. Without protocol features it is by itself.
    pub(crate) fn enable(&mut self, index: u8) -> Result<()> {
        self.set_enabled(index, 1)
    }

    /// Has a ring rest that was enabled, as far as there are protocol features.
    pub(crate) fn disable(&mut self, index: u8) -> Result<()> {
        self.set_enabled(index, 0)
    }

    fn set_enabled(&mut self, index: u8, num: u32) -> Result<()> {
        if self.offered & PROTOCOL_FEATURES == 0 {
            return Ok(());
        }
        let index = u32::from(index);
        self.tell(Request::SetVringEnable(RingState { index, num }))
    }

    /// Says how long packets may be, to a back-end of a network card that wants to know.
    pub(crate) fn set_mtu(&mut self, mtu: u16) -> Result<()> {
        if !self.agreed.contains(ProtocolFeatures::NET_MTU) {
            return Ok(());
        }
        self.tell(Request::NetSetMtu(mtu.into()))
    }

    /// Has the network learn that `mac` is reached through this back-end, if it can.
    pub(crate) fn announce(&mut self, mac: Mac) -> Result<()> {
        if !self.agreed.contains(ProtocolFeatures::RARP) {
            return Ok(());
        }
        let [a, b, c, d, e, f] = mac;
        // In the order of its bytes, with two behind it that say nothing.
        self.tell(Request::SendRarp(u64::from_ne_bytes([
            a, b, c, d, e, f, 0, 0,
        ])))
    }

    /// Stops a ring of `size` descriptors. When this returns, the back-end has let go of it, and of
    /// what was in flight on it. Says where it stands.
    pub(crate) fn stop(&mut self, index: u8, size: u16, packed: bool) -> Result<u32> {
        let index = u32::from(index);
        let stop = Request::GetVringBase(RingState { index, num: 0 });
        let Reply::Ring(state) = self.ask(stop)? else {
            return Err(Violation::Form(Code::GetVringBase).into());
        };
        if state.index != index {
            let (asked, came) = (index, state.index);
            return Err(Violation::OtherRing { asked, came }.into());
        }
        if !is_possible(state.num, size, packed) {
            let base = state.num;
            return Err(Violation::Base { index, base }.into());
        }
        Ok(state.num)
    }

    /// Resets the device itself, where there is a message for it.
    pub(crate) fn reset(&mut self) -> Result<()> {
        if self.agreed.contains(ProtocolFeatures::STATUS) {
            return self.set_status(0);
        }
        if self.agreed.contains(ProtocolFeatures::RESET_DEVICE) {
            self.tell(Request::ResetDevice)?;
        }
        Ok(())
    }

    /// Passes the status on, to a back-end that wants to know.
    pub(crate) fn set_status(&mut self, status: u8) -> Result<()> {
        if !self.agreed.contains(ProtocolFeatures::STATUS) {
            return Ok(());
        }
        self.tell(Request::SetStatus(u64::from(status)))
    }

    /// What the back-end has as status, if it has one.
    pub(crate) fn status(&mut self) -> Result<Option<u8>> {
        if !self.agreed.contains(ProtocolFeatures::STATUS) {
            return Ok(None);
        }
        // The status has 8 bits.
        self.number(Request::GetStatus)
            .map(|status| Some(status as u8))
    }

    /// Reads the `into.len()` bytes of configuration space at `offset`.
    ///
    /// All bytes from the first on are asked for: there are back-ends that give those, whatever the
    /// offset says (QEMU's).
    pub(crate) fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        let len = into.len();
        let none = Error::NoConfig { offset, len };
        let end = offset.checked_add(len).ok_or(none)?;
        if end > CONFIG_BYTES_MAX || !self.agreed.contains(ProtocolFeatures::CONFIG) {
            return Err(none);
        }
        let reply = self.ask(Request::GetConfig(ConfigSpace {
            offset: 0,
            flags: ConfigFlags::empty(),
            bytes: vec![0; end],
        }))?;
        let Reply::Config(space) = reply else {
            return Err(Violation::Form(Code::GetConfig).into());
        };
        if space.bytes.is_empty() && end != 0 {
            return Err(none);
        }
        let (asked, came) = (end, space.bytes.len());
        let wanted = space.bytes.get(offset..).filter(|_| came == asked);
        let wanted = wanted.filter(|_| space.offset == 0);
        into.copy_from_slice(wanted.ok_or(Violation::OtherConfig { asked, came })?);
        Ok(())
    }

    /// Writes bytes of configuration space.
    pub(crate) fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let len = from.len();
        let none = Error::NoConfig { offset, len };
        let end = offset.checked_add(len).ok_or(none)?;
        if end > CONFIG_BYTES_MAX || !self.agreed.contains(ProtocolFeatures::CONFIG) {
            return Err(none);
        }
        self.tell(Request::SetConfig(ConfigSpace {
            // No more than `CONFIG_BYTES_MAX`.
            offset: offset as u32,
            flags: ConfigFlags::empty(),
            bytes: from.to_vec(),
        }))
    }

    /// Asks for memory that remembers what is in flight on `queues` queues of at most `queue_size`
    /// descriptors. `None` if the back-end has none.
    pub(crate) fn inflight(
        &mut self,
        queues: u16,
        queue_size: u16,
    ) -> Result<Option<(Inflight, OwnedFd)>> {
        if !self.agreed.contains(ProtocolFeatures::INFLIGHT_SHMFD) {
            return Ok(None);
        }
        let asked = Inflight {
            size: 0,
            file_offset: 0,
            queues,
            queue_size,
        };
        let reply = self.ask(Request::GetInflightFd(asked))?;
        let Reply::Inflight(inflight, file) = reply else {
            return Err(Violation::Form(Code::GetInflightFd).into());
        };
        let Some(file) = file.filter(|_| inflight.size != 0) else {
            return Ok(None);
        };
        let said = inflight.size;
        let limit = INFLIGHT_BYTES_MAX * u64::from(queues);
        let has = fstat(&file).map_err(Error::os)?.st_size;
        let end = inflight.file_offset.checked_add(said);
        let within = end.is_some_and(|end| end <= u64::try_from(has).unwrap_or(0));
        if said > limit {
            return Err(Violation::Inflight { said, limit }.into());
        }
        if !within {
            let limit = has.unsigned_abs();
            return Err(Violation::Inflight { said, limit }.into());
        }
        let inflight = Inflight {
            queues,
            queue_size,
            ..inflight
        };
        Ok(Some((inflight, file)))
    }

    /// Gives a back-end the memory that remembers what was in flight when its predecessor ended.
    pub(crate) fn resume(&mut self, inflight: Inflight, file: BorrowedFd<'_>) -> Result<()> {
        self.tell(Request::SetInflightFd(inflight, file))
    }

    /// Kicks a ring by message. It is not waited for.
    pub(crate) fn kick(&mut self, index: u8) -> Result<()> {
        let index = u32::from(index);
        let request = Request::VringKick(RingState { index, num: 0 });
        self.send(request, Flags::empty())
    }

    /// Waits until the back-end has come as far as this. What it was told before, without an
    /// answer being due, it has then taken.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        if self.agreed.contains(ProtocolFeatures::REPLY_ACK) {
            return Ok(());
        }
        self.number(Request::GetFeatures).map(drop)
    }

    /// Makes a request whose answer is a number.
    fn number(&mut self, request: Request<BorrowedFd<'_>>) -> Result<u64> {
        let code = request.code();
        match self.ask(request)? {
            Reply::Value(number) => Ok(number),
            _ => Err(Violation::Form(code).into()),
        }
    }

    /// Makes a request that has no answer of its own.
    fn tell(&mut self, request: Request<BorrowedFd<'_>>) -> Result<()> {
        let code = request.code();
        match self.due(code) {
            Due::Nothing => return self.send(request, Flags::empty()),
            Due::Done => self.send(request, Flags::NEED_REPLY)?,
            Due::Answer => self.send(request, Flags::empty())?,
        }
        match self.answer(code)? {
            Reply::Value(0) => Ok(()),
            Reply::Value(reason) => Err(Error::Refused {
                asked: code,
                reason,
            }),
            _ => Err(Violation::Form(code).into()),
        }
    }

    fn ask(&mut self, request: Request<BorrowedFd<'_>>) -> Result<Reply<OwnedFd>> {
        let code = request.code();
        self.send(request, Flags::empty())?;
        self.answer(code)
    }

    fn send(&mut self, request: Request<BorrowedFd<'_>>, flags: Flags) -> Result<()> {
        let code = request.code();
        self.channel.send(code.number(), flags, &request.encode())
    }

    /// Waits for the answer to `asked`.
    fn answer(&mut self, asked: Code) -> Result<Reply<OwnedFd>> {
        let (header, body) = self.channel.receive(asked)?;
        if !header.flags.contains(Flags::REPLY) {
            return Err(Malformed::Direction.into());
        }
        let came = header.request;
        if came != asked.number() {
            return Err(Violation::Unasked { asked, came }.into());
        }
        Ok(Reply::decode(asked, body)?)
    }

    fn due(&self, code: Code) -> Due {
        match code {
            // Its answer says whether it was done, asked for or not.
            Code::IotlbMsg => Due::Answer,
            _ if self.agreed.contains(ProtocolFeatures::REPLY_ACK) => Due::Done,
            _ => Due::Nothing,
        }
    }
}

impl<'r> By<'r> {
    /// What is said of it, if anything is.
    fn said(self) -> Option<Option<BorrowedFd<'r>>> {
        match self {
            Self::Signal(descriptor) => Some(Some(descriptor)),
            Self::Message => None,
            Self::Nothing => Some(None),
        }
    }
}

impl<C: AsFd> AsFd for Session<C> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// Whether a ring of `size` descriptors can stand at `base`.
fn is_possible(base: u32, size: u16, packed: bool) -> bool {
    /// The wrap counter of a place in a packed ring.
    const WRAP: u32 = 1 << 15;
    if packed {
        let places = [base & 0xffff, base >> 16];
        return places.iter().all(|at| at & !WRAP < u32::from(size));
    }
    base <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests;
