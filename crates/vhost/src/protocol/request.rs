//! What the front-end asks of the back-end.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::payload::{ConfigHeader, InflightBytes, IotlbBytes};
use super::{
    Body, CONFIG_BYTES_MAX, ConfigFlags, ConfigSpace, DeviceStateTransfer, Inflight, Iotlb,
    LogArea, Malformed, REGIONS_MAX, Region, RingAddresses, RingState, StateDirection, StatePhase,
};

/// Declares the numbers of requests.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// The number of a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum Code {
            $($(#[$doc])* $name = $number,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The request of this number, if there is one.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its number.
            pub const fn number(self) -> u32 {
                self as u32
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

codes! {
    /// Which features the device has.
    GetFeatures = 1,
    /// Which of them are used.
    SetFeatures = 2,
    /// The connection is the sender's.
    SetOwner = 3,
    /// Obsolete: rings are disabled.
    ResetOwner = 4,
    /// All memory there is.
    SetMemTable = 5,
    /// Where dirty pages are logged.
    SetLogBase = 6,
    /// What to signal when the log was written to.
    SetLogFd = 7,
    /// How many descriptors a ring has.
    SetVringNum = 8,
    /// Where a ring is.
    SetVringAddr = 9,
    /// Where a ring begins.
    SetVringBase = 10,
    /// Stops a ring, and asks where it stands.
    GetVringBase = 11,
    /// What the front-end signals.
    SetVringKick = 12,
    /// What the back-end signals.
    SetVringCall = 13,
    /// What the back-end signals when a ring is broken.
    SetVringErr = 14,
    /// Which protocol features the back-end has.
    GetProtocolFeatures = 15,
    /// Which of them are used.
    SetProtocolFeatures = 16,
    /// How many queues there are.
    GetQueueNum = 17,
    /// Enables a ring, or disables it.
    SetVringEnable = 18,
    /// A network device announces itself.
    SendRarp = 19,
    /// How large packets may be.
    NetSetMtu = 20,
    /// The socket for requests of the back-end.
    #[doc(alias = "VHOST_USER_SET_SLAVE_REQ_FD")]
    SetBackendReqFd = 21,
    /// A translation of addresses.
    IotlbMsg = 22,
    /// The byte order of a legacy ring.
    SetVringEndian = 23,
    /// Reads configuration space.
    GetConfig = 24,
    /// Writes configuration space.
    SetConfig = 25,
    /// Makes a session of a crypto device.
    CreateCryptoSession = 26,
    /// Ends it.
    CloseCryptoSession = 27,
    /// A postcopy migration may come.
    PostcopyAdvise = 28,
    /// It has begun.
    PostcopyListen = 29,
    /// It is over.
    PostcopyEnd = 30,
    /// Asks for memory that remembers what is in flight.
    GetInflightFd = 31,
    /// Gives that memory back to a back-end.
    SetInflightFd = 32,
    /// The socket of a graphics device.
    GpuSetSocket = 33,
    /// Resets the device.
    ResetDevice = 34,
    /// A ring has chains.
    VringKick = 35,
    /// How many memory regions there can be.
    GetMaxMemSlots = 36,
    /// One more region.
    AddMemReg = 37,
    /// One less.
    RemMemReg = 38,
    /// The device's status.
    SetStatus = 39,
    /// Asks for it.
    GetStatus = 40,
    /// Asks for an object of another device.
    GetSharedObject = 41,
    /// Where the device's own state is moved through.
    SetDeviceStateFd = 42,
    /// Whether that went well.
    CheckDeviceState = 43,
}

/// A request of the front-end, with its file descriptors.
#[derive(Debug, PartialEq, Eq)]
pub enum Request<F> {
    /// [`Code::GetFeatures`]. Answered by [`Reply::Value`](super::Reply::Value).
    GetFeatures,
    /// [`Code::SetFeatures`]
    SetFeatures(u64),
    /// [`Code::SetOwner`]
    SetOwner,
    /// [`Code::ResetOwner`]
    ResetOwner,
    /// [`Code::SetMemTable`]: every region with its file.
    SetMemTable(Vec<(Region, F)>),
    /// [`Code::SetLogBase`], with its file. Answered by [`Reply::Value`](super::Reply::Value).
    SetLogBase(LogArea, F),
    /// [`Code::SetLogFd`]
    SetLogFd(F),
    /// [`Code::SetVringNum`]
    SetVringNum(RingState),
    /// [`Code::SetVringAddr`]
    SetVringAddr(RingAddresses),
    /// [`Code::SetVringBase`]
    SetVringBase(RingState),
    /// [`Code::GetVringBase`]. Answered by [`Reply::Ring`](super::Reply::Ring).
    GetVringBase(RingState),
    /// [`Code::SetVringKick`]: for which ring. Without a descriptor the ring is polled.
    SetVringKick(u8, Option<F>),
    /// [`Code::SetVringCall`]: for which ring. Without a descriptor nobody wants to know.
    SetVringCall(u8, Option<F>),
    /// [`Code::SetVringErr`]: for which ring.
    SetVringErr(u8, Option<F>),
    /// [`Code::GetProtocolFeatures`]. Answered by [`Reply::Value`](super::Reply::Value).
    GetProtocolFeatures,
    /// [`Code::SetProtocolFeatures`]
    SetProtocolFeatures(u64),
    /// [`Code::GetQueueNum`]. Answered by [`Reply::Value`](super::Reply::Value).
    GetQueueNum,
    /// [`Code::SetVringEnable`]
    SetVringEnable(RingState),
    /// [`Code::SendRarp`]
    SendRarp(u64),
    /// [`Code::NetSetMtu`]
    NetSetMtu(u64),
    /// [`Code::SetBackendReqFd`]
    SetBackendReqFd(F),
    /// [`Code::IotlbMsg`]. Answered by [`Reply::Value`](super::Reply::Value), always.
    IotlbMsg(Iotlb),
    /// [`Code::SetVringEndian`]
    SetVringEndian(RingState),
    /// [`Code::GetConfig`]. Answered by [`Reply::Config`](super::Reply::Config).
    GetConfig(ConfigSpace),
    /// [`Code::SetConfig`]
    SetConfig(ConfigSpace),
    /// [`Code::GetInflightFd`]. Answered by [`Reply::Inflight`](super::Reply::Inflight).
    GetInflightFd(Inflight),
    /// [`Code::SetInflightFd`]
    SetInflightFd(Inflight, F),
    /// [`Code::ResetDevice`]
    ResetDevice,
    /// [`Code::VringKick`]
    VringKick(RingState),
    /// [`Code::GetMaxMemSlots`]. Answered by [`Reply::Value`](super::Reply::Value).
    GetMaxMemSlots,
    /// [`Code::AddMemReg`]
    AddMemReg(Region, F),
    /// [`Code::RemMemReg`]. A descriptor that comes with it is closed.
    RemMemReg(Region),
    /// [`Code::SetStatus`]
    SetStatus(u64),
    /// [`Code::GetStatus`]. Answered by [`Reply::Value`](super::Reply::Value).
    GetStatus,
    /// [`Code::SetDeviceStateFd`]. Answered by [`Reply::Value`](super::Reply::Value), or, with a
    /// descriptor, by [`Reply::StateFd`](super::Reply::StateFd).
    SetDeviceStateFd(DeviceStateTransfer, F),
    /// [`Code::CheckDeviceState`]. Answered by [`Reply::Value`](super::Reply::Value).
    CheckDeviceState,
    /// A request that exists, and that nothing here can do. Its descriptors are closed.
    Unsupported(Code),
}

/// Says, in the number of a ring, that no descriptor comes with it.
const NO_DESCRIPTOR: u64 = 1 << 8;
/// Where the number of a ring is.
const RING_BITS: u64 = 0xff;

impl<F> Request<F> {
    /// The request that came with number `request`, with all that came with it.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it cannot be. All its descriptors are dropped.
    pub fn decode(request: u32, body: Body<F>) -> Result<Self, Malformed> {
        let code = Code::from_number(request).ok_or(Malformed::Unknown(request))?;
        let mut body = Incoming { code, body };
        let decoded = match code {
            Code::GetFeatures => body.nothing().map(|()| Self::GetFeatures),
            Code::SetFeatures => body.number().map(Self::SetFeatures),
            Code::SetOwner => body.nothing().map(|()| Self::SetOwner),
            Code::ResetOwner => body.nothing().map(|()| Self::ResetOwner),
            Code::SetMemTable => return body.table(),
            Code::SetLogBase => {
                let area = body.value()?;
                return Ok(Self::SetLogBase(area, body.descriptor()?));
            }
            // QEMU sends a number that means nothing.
            Code::SetLogFd => return Ok(Self::SetLogFd(body.descriptor()?)),
            Code::SetVringNum => body.value().map(Self::SetVringNum),
            Code::SetVringAddr => body.value().map(Self::SetVringAddr),
            Code::SetVringBase => body.value().map(Self::SetVringBase),
            Code::GetVringBase => body.value().map(Self::GetVringBase),
            Code::SetVringKick => return body.ring().map(|(at, fd)| Self::SetVringKick(at, fd)),
            Code::SetVringCall => return body.ring().map(|(at, fd)| Self::SetVringCall(at, fd)),
            Code::SetVringErr => return body.ring().map(|(at, fd)| Self::SetVringErr(at, fd)),
            Code::GetProtocolFeatures => body.nothing().map(|()| Self::GetProtocolFeatures),
            Code::SetProtocolFeatures => body.number().map(Self::SetProtocolFeatures),
            Code::GetQueueNum => body.nothing().map(|()| Self::GetQueueNum),
            Code::SetVringEnable => body.value().map(Self::SetVringEnable),
            Code::SendRarp => body.number().map(Self::SendRarp),
            Code::NetSetMtu => body.number().map(Self::NetSetMtu),
            Code::SetBackendReqFd => return Ok(Self::SetBackendReqFd(body.descriptor()?)),
            Code::IotlbMsg => body.iotlb().map(Self::IotlbMsg),
            Code::SetVringEndian => body.value().map(Self::SetVringEndian),
            Code::GetConfig => body.config().map(Self::GetConfig),
            Code::SetConfig => body.config().map(Self::SetConfig),
            Code::GetInflightFd => body.inflight().map(Self::GetInflightFd),
            Code::SetInflightFd => {
                let inflight = body.inflight()?;
                return Ok(Self::SetInflightFd(inflight, body.descriptor()?));
            }
            Code::ResetDevice => body.nothing().map(|()| Self::ResetDevice),
            Code::VringKick => body.value().map(Self::VringKick),
            Code::GetMaxMemSlots => body.nothing().map(|()| Self::GetMaxMemSlots),
            Code::AddMemReg => {
                let region = body.region()?;
                return Ok(Self::AddMemReg(region, body.descriptor()?));
            }
            Code::RemMemReg => {
                let region = body.region()?;
                // Some front-ends send one, which is closed.
                if body.body.descriptors.len() == 1 {
                    body.body.descriptors.clear();
                }
                Ok(Self::RemMemReg(region))
            }
            Code::SetStatus => body.number().map(Self::SetStatus),
            Code::GetStatus => body.nothing().map(|()| Self::GetStatus),
            Code::SetDeviceStateFd => {
                let transfer = body.transfer()?;
                return Ok(Self::SetDeviceStateFd(transfer, body.descriptor()?));
            }
            Code::CheckDeviceState => body.nothing().map(|()| Self::CheckDeviceState),
            Code::CreateCryptoSession
            | Code::CloseCryptoSession
            | Code::PostcopyAdvise
            | Code::PostcopyListen
            | Code::PostcopyEnd
            | Code::GpuSetSocket
            | Code::GetSharedObject => return Ok(Self::Unsupported(code)),
        }?;
        body.descriptors(0)?;
        Ok(decoded)
    }

    /// Which request it is.
    pub fn code(&self) -> Code {
        match self {
            Self::GetFeatures => Code::GetFeatures,
            Self::SetFeatures(_) => Code::SetFeatures,
            Self::SetOwner => Code::SetOwner,
            Self::ResetOwner => Code::ResetOwner,
            Self::SetMemTable(_) => Code::SetMemTable,
            Self::SetLogBase(..) => Code::SetLogBase,
            Self::SetLogFd(_) => Code::SetLogFd,
            Self::SetVringNum(_) => Code::SetVringNum,
            Self::SetVringAddr(_) => Code::SetVringAddr,
            Self::SetVringBase(_) => Code::SetVringBase,
            Self::GetVringBase(_) => Code::GetVringBase,
            Self::SetVringKick(..) => Code::SetVringKick,
            Self::SetVringCall(..) => Code::SetVringCall,
            Self::SetVringErr(..) => Code::SetVringErr,
            Self::GetProtocolFeatures => Code::GetProtocolFeatures,
            Self::SetProtocolFeatures(_) => Code::SetProtocolFeatures,
            Self::GetQueueNum => Code::GetQueueNum,
            Self::SetVringEnable(_) => Code::SetVringEnable,
            Self::SendRarp(_) => Code::SendRarp,
            Self::NetSetMtu(_) => Code::NetSetMtu,
            Self::SetBackendReqFd(_) => Code::SetBackendReqFd,
            Self::IotlbMsg(_) => Code::IotlbMsg,
            Self::SetVringEndian(_) => Code::SetVringEndian,
            Self::GetConfig(_) => Code::GetConfig,
            Self::SetConfig(_) => Code::SetConfig,
            Self::GetInflightFd(_) => Code::GetInflightFd,
            Self::SetInflightFd(..) => Code::SetInflightFd,
            Self::ResetDevice => Code::ResetDevice,
            Self::VringKick(_) => Code::VringKick,
            Self::GetMaxMemSlots => Code::GetMaxMemSlots,
            Self::AddMemReg(..) => Code::AddMemReg,
            Self::RemMemReg(_) => Code::RemMemReg,
            Self::SetStatus(_) => Code::SetStatus,
            Self::GetStatus => Code::GetStatus,
            Self::SetDeviceStateFd(..) => Code::SetDeviceStateFd,
            Self::CheckDeviceState => Code::CheckDeviceState,
            Self::Unsupported(code) => *code,
        }
    }

    /// What it sends beside its header.
    pub fn encode(self) -> Body<F> {
        let empty = || Body::bytes(&[0_u8; 0]);
        match self {
            Self::GetFeatures
            | Self::SetOwner
            | Self::ResetOwner
            | Self::GetProtocolFeatures
            | Self::GetQueueNum
            | Self::ResetDevice
            | Self::GetMaxMemSlots
            | Self::GetStatus
            | Self::CheckDeviceState
            | Self::Unsupported(_) => empty(),
            Self::SetFeatures(number)
            | Self::SetProtocolFeatures(number)
            | Self::SendRarp(number)
            | Self::NetSetMtu(number)
            | Self::SetStatus(number) => Body::bytes(&number),
            Self::SetVringNum(state)
            | Self::SetVringBase(state)
            | Self::GetVringBase(state)
            | Self::SetVringEnable(state)
            | Self::SetVringEndian(state)
            | Self::VringKick(state) => Body::bytes(&state),
            Self::SetVringAddr(addresses) => Body::bytes(&addresses),
            Self::SetVringKick(index, descriptor)
            | Self::SetVringCall(index, descriptor)
            | Self::SetVringErr(index, descriptor) => {
                let none = if descriptor.is_none() {
                    NO_DESCRIPTOR
                } else {
                    0
                };
                Body::bytes(&(u64::from(index) | none)).with(descriptor)
            }
            Self::SetMemTable(regions) => {
                let mut body = Body::bytes(&(regions.len() as u64));
                for (region, descriptor) in regions {
                    let Body { payload, .. } = Body::<F>::bytes(&region);
                    body.payload.extend(payload);
                    body.descriptors.push(descriptor);
                }
                body
            }
            Self::SetLogBase(area, descriptor) => Body::bytes(&area).with([descriptor]),
            Self::SetLogFd(descriptor) | Self::SetBackendReqFd(descriptor) => {
                empty().with([descriptor])
            }
            Self::IotlbMsg(iotlb) => Body::bytes(&IotlbBytes::from(iotlb)),
            Self::GetConfig(space) | Self::SetConfig(space) => space.encode(),
            Self::GetInflightFd(inflight) => Body::bytes(&InflightBytes::from(inflight)),
            Self::SetInflightFd(inflight, descriptor) => {
                Body::bytes(&InflightBytes::from(inflight)).with([descriptor])
            }
            Self::AddMemReg(region, descriptor) => single(&region).with([descriptor]),
            Self::RemMemReg(region) => single(&region),
            Self::SetDeviceStateFd(transfer, descriptor) => {
                let direction = match transfer.direction {
                    StateDirection::Save => 0,
                    StateDirection::Load => 1,
                };
                let StatePhase::Stopped = transfer.phase;
                Body::bytes(&[direction, 0_u32]).with([descriptor])
            }
        }
    }
}

/// One region, after a number that means nothing.
fn single<F>(region: &Region) -> Body<F> {
    let mut body = Body::bytes(&0_u64);
    body.payload.extend(Body::<F>::bytes(region).payload);
    body
}

impl ConfigSpace {
    pub(super) fn encode<F>(self) -> Body<F> {
        let mut body = Body::bytes(&ConfigHeader {
            offset: self.offset,
            // Nobody has configuration of 2³² bytes in memory.
            size: self.bytes.len() as u32,
            flags: self.flags.bits(),
        });
        body.payload.extend(self.bytes);
        body
    }

    /// `None` if the bytes are not as many as it says, or more than there can be.
    pub(super) fn decode(payload: &[u8]) -> Option<Self> {
        let (header, bytes) = ConfigHeader::read_from_prefix(payload).ok()?;
        if bytes.len() != header.size as usize || bytes.len() > CONFIG_BYTES_MAX {
            return None;
        }
        Some(Self {
            offset: header.offset,
            flags: ConfigFlags::from_bits_truncate(header.flags),
            bytes: bytes.to_vec(),
        })
    }
}

/// Bytes that an [`Inflight`] may have: some front-ends leave the padding of the structure out.
pub(super) fn inflight(payload: &[u8]) -> Option<Inflight> {
    const WITHOUT_PADDING: usize = 20;
    let mut bytes = [0; size_of::<InflightBytes>()];
    if payload.len() != WITHOUT_PADDING && payload.len() != bytes.len() {
        return None;
    }
    for (to, from) in bytes.iter_mut().zip(payload) {
        *to = *from;
    }
    let inflight = InflightBytes::read_from_bytes(&bytes).ok()?;
    Some(inflight.into())
}

/// A request that is being decoded.
struct Incoming<F> {
    code: Code,
    body: Body<F>,
}

impl<F> Incoming<F> {
    fn size(&self) -> Malformed {
        Malformed::Size {
            request: self.code.number(),
            // At most `PAYLOAD_MAX`, by the header.
            size: self.body.payload.len() as u32,
        }
    }

    fn field(&self, what: &'static str) -> Malformed {
        let request = self.code.number();
        Malformed::Field { request, what }
    }

    /// All that there is in the payload.
    fn value<T: FromBytes + KnownLayout + Immutable>(&self) -> Result<T, Malformed> {
        T::read_from_bytes(&self.body.payload).map_err(|_| self.size())
    }

    fn number(&self) -> Result<u64, Malformed> {
        self.value()
    }

    /// Some front-ends send a number that means nothing where there is to be no payload.
    fn nothing(&self) -> Result<(), Malformed> {
        if self.body.payload.is_empty() || self.number().is_ok() {
            return Ok(());
        }
        Err(self.size())
    }

    fn iotlb(&self) -> Result<Iotlb, Malformed> {
        let bytes: IotlbBytes = self.value()?;
        bytes
            .value()
            .ok_or_else(|| self.field("a translation of no kind that there is"))
    }

    fn config(&self) -> Result<ConfigSpace, Malformed> {
        ConfigSpace::decode(&self.body.payload).ok_or_else(|| self.size())
    }

    fn inflight(&self) -> Result<Inflight, Malformed> {
        inflight(&self.body.payload).ok_or_else(|| self.size())
    }

    /// One region, after a number that means nothing.
    fn region(&self) -> Result<Region, Malformed> {
        #[derive(FromBytes, KnownLayout, Immutable)]
        #[repr(C)]
        struct Single {
            _padding: u64,
            region: Region,
        }
        self.value().map(|Single { region, .. }| region)
    }

    fn transfer(&self) -> Result<DeviceStateTransfer, Malformed> {
        let [direction, phase]: [u32; 2] = self.value()?;
        if phase != 0 {
            return Err(self.field("state is moved in no phase that there is"));
        }
        let direction = match direction {
            0 => StateDirection::Save,
            1 => StateDirection::Load,
            _ => return Err(self.field("state is moved in no direction that there is")),
        };
        let phase = StatePhase::Stopped;
        Ok(DeviceStateTransfer { direction, phase })
    }

    /// Fails unless there are `wanted` descriptors.
    fn descriptors(&self, wanted: usize) -> Result<(), Malformed> {
        let came = self.body.descriptors.len();
        if came == wanted {
            return Ok(());
        }
        Err(Malformed::Descriptors {
            request: self.code.number(),
            wanted,
            came,
        })
    }

    /// The one descriptor that there is.
    fn descriptor(&mut self) -> Result<F, Malformed> {
        self.descriptors(1)?;
        let wrong = Malformed::Descriptors {
            request: self.code.number(),
            wanted: 1,
            came: 0,
        };
        self.body.descriptors.pop().ok_or(wrong)
    }

    /// The number of a ring, and its descriptor, if it says that there is one.
    fn ring(&mut self) -> Result<(u8, Option<F>), Malformed> {
        let number = self.number()?;
        if number & !(RING_BITS | NO_DESCRIPTOR) != 0 {
            return Err(self.field("a ring beyond 255"));
        }
        let index = (number & RING_BITS) as u8;
        if number & NO_DESCRIPTOR != 0 {
            self.descriptors(0)?;
            return Ok((index, None));
        }
        self.descriptor()
            .map(|descriptor| (index, Some(descriptor)))
    }

    fn table(self) -> Result<Request<F>, Malformed> {
        let size = self.size();
        let (count, bytes) = <[u32; 2]>::read_from_prefix(&self.body.payload).map_err(|_| size)?;
        let count = count[0] as usize;
        if count > REGIONS_MAX {
            return Err(self.field("more than 8 regions"));
        }
        // Linux's front-end sends as many as it has room for, and counts those that it has.
        let (whole, most) = (size_of::<Region>(), REGIONS_MAX * size_of::<Region>());
        if bytes.len() < count * whole || bytes.len() > most || !bytes.len().is_multiple_of(whole) {
            return Err(size);
        }
        self.descriptors(count)?;
        let regions = bytes
            .chunks_exact(size_of::<Region>())
            .map(|bytes| Region::read_from_bytes(bytes).map_err(|_| size));
        // No more than there are descriptors.
        regions
            .zip(self.body.descriptors)
            .map(|(region, descriptor)| Ok((region?, descriptor)))
            .collect::<Result<_, _>>()
            .map(Request::SetMemTable)
    }
}
