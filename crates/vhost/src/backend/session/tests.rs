//! The rules of a connection, with a carrier that notes what it is told.

mod fake;
mod features;
mod malformed;
mod memory;
mod rings;

use ringway_spec::{F, Features};

use self::fake::{Fake, Told};
use super::*;
use crate::protocol::{Region, RingAddresses, RingFlags, RingState};

/// The descriptor of whatever needs one.
const FD: u32 = 77;

/// `VERSION_1` and what makes rings be enabled one by one.
const FEATURES: u64 = F::VERSION_1.0 as u64 | PROTOCOL_FEATURES;

/// A connection with all that a fake carrier offers of the protocol.
fn connected(fake: &mut Fake) -> Session<'_, Fake> {
    let protocol = fake.protocol_features().bits();
    let mut session = Session::new(fake);
    ask(&mut session, Request::SetProtocolFeatures(protocol)).unwrap();
    ask(&mut session, Request::SetOwner).unwrap();
    session
}

/// A connection in which `features` were accepted and there is memory.
fn settled(fake: &mut Fake, features: u64) -> Session<'_, Fake> {
    let mut session = connected(fake);
    ask(&mut session, Request::SetFeatures(features)).unwrap();
    ask(&mut session, Request::SetMemTable(vec![(REGION, FD)])).unwrap();
    session
}

/// A connection in which ring `index` runs, of 256 descriptors, from `base` on.
fn running(fake: &mut Fake, features: u64, index: u8, base: u32) -> Session<'_, Fake> {
    let mut session = settled(fake, features);
    for request in set_up(index, base) {
        ask(&mut session, request).unwrap();
    }
    ask(&mut session, enable(index, 1)).unwrap();
    session
}

/// All that a ring needs but to be enabled, the kick last.
fn set_up(index: u8, base: u32) -> [Request<u32>; 5] {
    let state = |num| RingState {
        index: index.into(),
        num,
    };
    [
        Request::SetVringNum(state(256)),
        Request::SetVringBase(state(base)),
        Request::SetVringAddr(addresses(index)),
        Request::SetVringCall(index, Some(FD)),
        Request::SetVringKick(index, Some(FD)),
    ]
}

fn addresses(index: u8) -> RingAddresses {
    RingAddresses {
        index: index.into(),
        flags: 0,
        descriptor: 0x7000_0000,
        used: 0x7000_2000,
        available: 0x7000_1000,
        log: 0,
    }
}

fn enable(index: u8, num: u32) -> Request<u32> {
    let index = index.into();
    Request::SetVringEnable(RingState { index, num })
}

fn state(index: u32, num: u32) -> RingState {
    RingState { index, num }
}

const REGION: Region = Region {
    guest_address: 0,
    size: 0x10_0000,
    user_address: 0x7000_0000,
    file_offset: 0,
};

/// Sends a request that wants no answer of its own.
fn ask(session: &mut Session<'_, Fake>, request: Request<u32>) -> Result<Answer<u32>, Refusal> {
    ask_with(session, request, Flags::empty())
}

/// Sends a request that wants to hear of it.
fn ask_for_reply(
    session: &mut Session<'_, Fake>,
    request: Request<u32>,
) -> Result<Answer<u32>, Refusal> {
    ask_with(session, request, Flags::NEED_REPLY)
}

fn ask_with(
    session: &mut Session<'_, Fake>,
    request: Request<u32>,
    flags: Flags,
) -> Result<Answer<u32>, Refusal> {
    let request_number = request.code().number();
    let body = request.encode();
    let header = Header {
        request: request_number,
        flags,
        size: body.payload.len() as u32,
    };
    session.handle(header, body)
}

/// The number that answers a request.
fn value(answer: Result<Answer<u32>, Refusal>) -> u64 {
    match answer.unwrap().reply {
        Some(Reply::Value(value)) => value,
        other => panic!("{other:?} is no number"),
    }
}

/// Where a ring says it stands.
fn base(session: &mut Session<'_, Fake>, index: u32) -> u32 {
    let answer = ask(session, Request::GetVringBase(state(index, 0)));
    match answer.unwrap().reply {
        Some(Reply::Ring(state)) if state.index == index => state.num,
        other => panic!("{other:?} is no base of ring {index}"),
    }
}
