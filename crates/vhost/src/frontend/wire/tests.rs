use std::os::unix::net::UnixStream;
use std::thread;

use super::*;
use crate::protocol::{Iotlb, Permissions};

/// Far longer than anything here takes, where something comes.
const LONG: Duration = Duration::from_secs(30);

fn wire(limit: Duration) -> (Wire, Socket, Socket) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (hears, asks) = UnixStream::pair().unwrap();
    let mut wire = Wire::new(ours, limit);
    wire.hear(hears);
    let [theirs, asks] = [theirs, asks].map(|stream| Socket::new(stream).with_limit(LONG));
    (wire, theirs, asks)
}

fn ask(asks: &Socket, request: BackRequest, flags: Flags) {
    let body: Body<OwnedFd> = request.encode();
    asks.send(request.code().number(), flags, &body).unwrap();
}

/// 0 if what was asked was done.
fn answer(asks: &Socket) -> Vec<u8> {
    let message = asks.receive().unwrap().unwrap();
    assert_eq!(message.header.flags, Flags::REPLY);
    message.body.payload
}

#[test]
fn a_back_end_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let limit = Duration::from_millis(20);
    let (mut wire, _theirs, _asks) = wire(limit);

    let asked = Code::GetFeatures;
    let silent = wire.receive(asked).err();

    assert_eq!(silent, Some(Error::Silent { asked, limit }));
}

#[test]
fn a_back_end_that_stops_in_the_middle_is_waited_for_no_longer_either() {
    let (mut wire, theirs, _asks) = wire(Duration::from_millis(20));
    rustix::io::write(&theirs, &[1, 0, 0, 0, 5]).unwrap();

    let stopped = wire.receive(Code::GetFeatures).err();

    assert_eq!(stopped, Some(Violation::Stalled(5).into()));
}

#[test]
fn a_back_end_that_hangs_up_anywhere_is_gone() {
    for bytes in [0, 1, 11, 12, 19] {
        let (mut wire, theirs, asks) = wire(LONG);
        let whole = [&[1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0][..], &[0; 8]].concat();
        rustix::io::write(&theirs, &whole[..bytes]).unwrap();
        drop((theirs, asks));

        let gone = wire.receive(Code::GetFeatures).err();

        assert_eq!(gone, Some(Error::Closed), "after {bytes} bytes");
    }
}

/// Both ends would wait for each other otherwise.
#[test]
fn what_the_back_end_asks_is_answered_while_its_own_answer_is_waited_for() {
    let (mut wire, theirs, asks) = wire(LONG);
    let back_end = thread::spawn(move || {
        ask(&asks, BackRequest::ConfigChange, Flags::NEED_REPLY);
        let answered = answer(&asks);
        let body: Body<OwnedFd> = Reply::Value(7).encode();
        let request = Code::GetFeatures.number();
        theirs.send(request, Flags::REPLY, &body).unwrap();
        answered
    });

    let (header, _) = wire.receive(Code::GetFeatures).unwrap();

    assert_eq!(header.request, Code::GetFeatures.number());
    assert_eq!(back_end.join().unwrap(), 0_u64.to_ne_bytes());
    assert!(wire.take_heard().config);
    assert_eq!(wire.take_heard(), Heard::default());
}

#[test]
fn what_was_asked_is_remembered_and_what_cannot_be_done_is_denied() {
    let (mut wire, _theirs, asks) = wire(LONG);
    let state = |index| RingState { index, num: 0 };
    let miss = Iotlb {
        address: 1,
        size: 0,
        user_address: 0,
        permissions: Permissions::READ,
        kind: IotlbKind::Miss,
    };
    for (request, denied) in [
        (BackRequest::VringCall(state(0)), 0_u64),
        (BackRequest::VringCall(state(255)), 0),
        (BackRequest::VringCall(state(256)), 1),
        (BackRequest::Iotlb(miss), 0),
        (BackRequest::VringErr(state(0)), 0),
    ] {
        ask(&asks, request, Flags::NEED_REPLY);
        wire.listen().unwrap();
        assert_eq!(answer(&asks), denied.to_ne_bytes(), "{request:?}");
    }

    let heard = wire.take_heard();

    assert_eq!(heard.calls().collect::<Vec<_>>(), [0, 255]);
    assert!(heard.miss && heard.broken && !heard.config);
}

#[test]
fn requests_that_cannot_be_are_the_back_ends_fault() {
    for (request, flags) in [(9, Flags::empty()), (2, Flags::REPLY)] {
        let (mut wire, _theirs, asks) = wire(LONG);
        let body = Body::<OwnedFd> {
            payload: vec![],
            descriptors: vec![],
        };
        asks.send(request, flags, &body).unwrap();

        let refused = wire.listen();

        assert!(matches!(
            refused,
            Err(Error::Backend(Violation::Malformed(_)))
        ));
    }
}

#[test]
fn one_who_asks_without_end_is_heard_a_batch_at_a_time() {
    let (mut wire, _theirs, asks) = wire(LONG);
    for _ in 0..=REQUESTS_BATCH {
        ask(&asks, BackRequest::ConfigChange, Flags::empty());
    }

    wire.listen().unwrap();
    let first = wire.take_heard();
    wire.listen().unwrap();
    let second = wire.take_heard();

    assert!(first.config && second.config);
}

#[test]
fn a_back_end_that_closes_its_own_socket_is_not_gone() {
    let (mut wire, _theirs, asks) = wire(LONG);
    drop(asks);

    wire.listen().unwrap();

    assert!(wire.requests().is_none());
}
