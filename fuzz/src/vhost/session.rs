//! Connections of a back-end with a disk: requests in any order, with any values, and with any
//! descriptors beside them, which are real. After them the next front-end finds a device that can be
//! set up, and nothing of the ones before is open.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use ringway_device::Offer;
use ringway_device::blk::{Blk, RamDisk};
use ringway_spec::F;
use ringway_vhost::backend::{Answer, DeviceCarrier, Refusal, Session};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::memory;
use ringway_vhost::protocol::{
    Body, Code, ConfigFlags, ConfigSpace, Flags, Header, Inflight, LogArea, PROTOCOL_FEATURES,
    ProtocolFeatures, Region, Reply, Request, RingAddresses, RingState,
};

use crate::input::Input;

/// Where an honest front-end has its memory, and where the driver has it.
const USER: u64 = 0x7000_0000;
const GUEST: u64 = 0x1_0000;
const BYTES: u64 = 0x1_0000;

/// Values that mean something somewhere. All others come from the input.
const VALUES: [u64; 24] = [
    0,
    1,
    2,
    3,
    8,
    16,
    255,
    256,
    0x100,
    0x8000,
    0xffff,
    0x8000_8000,
    0x8001_8001,
    GUEST,
    BYTES,
    USER,
    USER + 0x1000,
    USER + 0x2000,
    USER + BYTES - 1,
    0x1000,
    u32::MAX as u64,
    u64::MAX,
    u64::MAX - 0xfff,
    1 << 63,
];

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let before = open();
    connections(data);
    assert_eq!(open(), before, "descriptors are left open");
}

fn connections(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = Blk::new(Arc::new(RamDisk::new(8)), 3);
    let offer = Offer::default().with(F::RING_PACKED | F::IN_ORDER);
    // No loop serves its rings: what stands in them is for other targets.
    let carrier = DeviceCarrier::new(Box::new(disk), offer, Vec::new(), Arc::new(()));
    let mut carrier = carrier.expect("a disk can be presented");
    let notifier = carrier.notifier();
    let mut session = Session::new(&mut carrier);
    while let Some(step) = input.step() {
        let flags = if step & 0x80 == 0 {
            Flags::empty()
        } else {
            Flags::NEED_REPLY
        };
        let handled = match step % 16 {
            0 => {
                let number = input.u8().into();
                let count = usize::from(input.u8() % 48);
                let payload = (0..count).map(|_| input.u8()).collect();
                let descriptors = (0..input.u8() % 4)
                    .map(|_| descriptor(&mut input))
                    .collect();
                handle(
                    &mut session,
                    number,
                    flags,
                    Body {
                        payload,
                        descriptors,
                    },
                )
            }
            1 => {
                notifier.config_changed();
                continue;
            }
            2 => honest(&mut session, input.u8() % 4, flags),
            _ => {
                let request = request(&mut input);
                handle(
                    &mut session,
                    request.code().number(),
                    flags,
                    request.encode(),
                )
            }
        };
        if handled.is_err() {
            // It is sent away, and comes again.
            drop(session);
            session = Session::new(&mut carrier);
        }
    }
    drop(session);

    let mut session = Session::new(&mut carrier);
    for ring in 0..3 {
        let done = honest(&mut session, ring, Flags::NEED_REPLY);
        assert!(
            matches!(&done, Ok(answer) if matches!(answer.reply, Some(Reply::Value(0)))),
            "{done:?}"
        );
    }
}

fn handle(
    session: &mut Session<'_, DeviceCarrier>,
    request: u32,
    flags: Flags,
    body: Body<OwnedFd>,
) -> Result<Answer<OwnedFd>, Refusal> {
    let size = body.payload.len() as u32;
    let header = Header {
        request,
        flags,
        size,
    };
    session.handle(header, body)
}

/// Sets a ring up as it should be. What the last request of it led to.
fn honest(
    session: &mut Session<'_, DeviceCarrier>,
    index: u8,
    flags: Flags,
) -> Result<Answer<OwnedFd>, Refusal> {
    let state = |num| RingState {
        index: index.into(),
        num,
    };
    let protocol = ProtocolFeatures::REPLY_ACK | ProtocolFeatures::MQ | ProtocolFeatures::MEM_SLOTS;
    let (file, _) = memory::create("honest", BYTES as usize).expect("there is room");
    let addresses = RingAddresses {
        index: index.into(),
        flags: 0,
        descriptor: USER,
        used: USER + 0x2000,
        available: USER + 0x1000,
        log: 0,
    };
    let mut last = Ok(Answer {
        reply: None,
        refused: None,
    });
    for request in [
        Request::SetProtocolFeatures(protocol.bits()),
        Request::SetFeatures(F::VERSION_1.0 as u64 | PROTOCOL_FEATURES),
        Request::SetMemTable(vec![(region(), file)]),
        Request::SetVringNum(state(16)),
        Request::SetVringAddr(addresses),
        Request::SetVringKick(index, Some(descriptor_of(5))),
        Request::SetVringEnable(state(1)),
    ] {
        last = handle(session, request.code().number(), flags, request.encode());
        if last.is_err() {
            break;
        }
    }
    last
}

fn region() -> Region {
    Region {
        guest_address: GUEST,
        size: BYTES,
        user_address: USER,
        file_offset: 0,
    }
}

/// A request of a kind that there is.
fn request(input: &mut Input<'_>) -> Request<OwnedFd> {
    let codes = Code::ALL;
    match codes[usize::from(input.u8()) % codes.len()] {
        Code::SetFeatures => Request::SetFeatures(value(input) | F::VERSION_1.0 as u64),
        Code::SetOwner => Request::SetOwner,
        Code::ResetOwner => Request::ResetOwner,
        Code::SetMemTable => {
            let count = input.u8() % 9;
            let regions = (0..count).map(|_| (any_region(input), descriptor(input)));
            Request::SetMemTable(regions.collect())
        }
        Code::SetLogBase => {
            let area = LogArea {
                size: value(input),
                file_offset: value(input),
            };
            Request::SetLogBase(area, descriptor(input))
        }
        Code::SetLogFd => Request::SetLogFd(descriptor(input)),
        Code::SetVringNum => Request::SetVringNum(state(input)),
        Code::SetVringAddr => Request::SetVringAddr(RingAddresses {
            index: state(input).index,
            flags: input.u8().into(),
            descriptor: value(input),
            used: value(input),
            available: value(input),
            log: value(input),
        }),
        Code::SetVringBase => Request::SetVringBase(state(input)),
        Code::GetVringBase => Request::GetVringBase(state(input)),
        Code::SetVringKick => Request::SetVringKick(input.u8() % 4, perhaps(input)),
        Code::SetVringCall => Request::SetVringCall(input.u8() % 4, perhaps(input)),
        Code::SetVringErr => Request::SetVringErr(input.u8() % 4, perhaps(input)),
        Code::GetProtocolFeatures => Request::GetProtocolFeatures,
        Code::SetProtocolFeatures => {
            let some = u64::from(input.u32());
            Request::SetProtocolFeatures(some)
        }
        Code::GetQueueNum => Request::GetQueueNum,
        Code::SetVringEnable => Request::SetVringEnable(state(input)),
        Code::SetBackendReqFd => Request::SetBackendReqFd(descriptor(input)),
        Code::GetConfig => Request::GetConfig(space(input)),
        Code::SetConfig => Request::SetConfig(space(input)),
        Code::GetInflightFd => Request::GetInflightFd(inflight(input)),
        Code::SetInflightFd => Request::SetInflightFd(inflight(input), descriptor(input)),
        Code::ResetDevice => Request::ResetDevice,
        Code::VringKick => Request::VringKick(state(input)),
        Code::GetMaxMemSlots => Request::GetMaxMemSlots,
        Code::AddMemReg => Request::AddMemReg(any_region(input), descriptor(input)),
        Code::RemMemReg => Request::RemMemReg(any_region(input)),
        Code::SetStatus => Request::SetStatus(input.u8().into()),
        Code::GetStatus => Request::GetStatus,
        _ => Request::GetFeatures,
    }
}

fn value(input: &mut Input<'_>) -> u64 {
    let which = usize::from(input.u8());
    VALUES
        .get(which % 32)
        .copied()
        .unwrap_or_else(|| input.u64())
}

fn state(input: &mut Input<'_>) -> RingState {
    let index = match input.u8() {
        0xff => input.u32(),
        small => u32::from(small % 4),
    };
    let num = value(input) as u32;
    RingState { index, num }
}

fn any_region(input: &mut Input<'_>) -> Region {
    if input.u8() & 1 == 0 {
        return region();
    }
    Region {
        guest_address: value(input),
        size: value(input),
        user_address: value(input),
        file_offset: value(input),
    }
}

fn space(input: &mut Input<'_>) -> ConfigSpace {
    let len = usize::from(input.u8());
    ConfigSpace {
        offset: value(input) as u32,
        flags: ConfigFlags::from_bits_truncate(input.u8().into()),
        bytes: (0..len).map(|at| at as u8).collect(),
    }
}

fn inflight(input: &mut Input<'_>) -> Inflight {
    Inflight {
        size: value(input),
        file_offset: value(input),
        queues: value(input) as u16,
        queue_size: value(input) as u16,
    }
}

fn perhaps(input: &mut Input<'_>) -> Option<OwnedFd> {
    (input.u8() & 3 != 0).then(|| descriptor(input))
}

fn descriptor(input: &mut Input<'_>) -> OwnedFd {
    descriptor_of(input.u8())
}

/// A descriptor of one kind or another.
fn descriptor_of(kind: u8) -> OwnedFd {
    let memory = |bytes: u64| memory::create("stranger", bytes as usize).map(|(file, _)| file);
    let made = match kind % 8 {
        0..=2 => memory(BYTES),
        3 => memory(0x1000),
        4 => memory(0x1001),
        5 => EventFd::new().map(OwnedFd::from).map_err(Into::into),
        6 => UnixStream::pair().map(|(end, _)| end.into()),
        _ => File::open("/dev/null").map(OwnedFd::from),
    };
    made.expect("there are descriptors enough")
}

/// How many descriptors this program has.
fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
