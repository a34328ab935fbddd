use std::collections::VecDeque;
use std::fs::File;

use ringway_ring::driver::Areas;
use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::protocol::RingState;

/// A back-end that has said all it will ever say.
struct Script {
    answers: VecDeque<(Header, Body<OwnedFd>)>,
    asked: Vec<(u32, Flags, Vec<u8>)>,
}

impl Channel for Script {
    fn send(&mut self, request: u32, flags: Flags, body: &Body<BorrowedFd<'_>>) -> Result<()> {
        self.asked.push((request, flags, body.payload.clone()));
        Ok(())
    }

    fn receive(&mut self, _asked: Code) -> Result<(Header, Body<OwnedFd>)> {
        self.answers.pop_front().ok_or(Error::Closed)
    }
}

fn reply(code: Code, reply: Reply<OwnedFd>) -> (Header, Body<OwnedFd>) {
    let body = reply.encode();
    let header = Header {
        request: code.number(),
        flags: Flags::REPLY,
        size: body.payload.len() as u32,
    };
    (header, body)
}

fn number(code: Code, value: u64) -> (Header, Body<OwnedFd>) {
    reply(code, Reply::Value(value))
}

fn script(answers: impl IntoIterator<Item = (Header, Body<OwnedFd>)>) -> Script {
    Script {
        answers: answers.into_iter().collect(),
        asked: Vec::new(),
    }
}

const ALL: ProtocolFeatures = crate::frontend::PROTOCOL_WANTED;

/// A session that has agreed on `agreed`, and is answered so from here on.
fn session(
    agreed: ProtocolFeatures,
    answers: impl IntoIterator<Item = (Header, Body<OwnedFd>)>,
) -> Session<Script> {
    Session {
        channel: script(answers),
        offered: PROTOCOL_FEATURES | 1 << 32,
        agreed,
        queues: None,
        memory_slots: 1,
        shared: false,
    }
}

fn requests(script: &Script) -> Vec<u32> {
    script.asked.iter().map(|(request, ..)| *request).collect()
}

fn opened(answers: impl IntoIterator<Item = (Header, Body<OwnedFd>)>) -> Result<Session<Script>> {
    Session::open(script(answers), ALL, ProtocolFeatures::empty())
}

#[test]
fn both_agree_on_what_both_have_before_anything_else() {
    let has = ProtocolFeatures::MQ | ProtocolFeatures::CONFIG | ProtocolFeatures::RARP;
    let answers = [
        number(Code::GetFeatures, PROTOCOL_FEATURES | 1 << 32),
        number(Code::GetProtocolFeatures, has.bits()),
        number(Code::GetQueueNum, 3),
    ];

    let session = opened(answers).unwrap();

    assert_eq!(session.agreed(), has - ProtocolFeatures::RARP);
    assert_eq!(session.queues(), Some(3));
    let codes = [
        Code::SetOwner,
        Code::GetFeatures,
        Code::GetProtocolFeatures,
        Code::SetProtocolFeatures,
        Code::GetQueueNum,
    ];
    assert_eq!(requests(&session.channel), codes.map(Code::number));
}

#[test]
fn a_back_end_without_protocol_features_is_asked_for_none() {
    let mut session = opened([number(Code::GetFeatures, 1 << 32)]).unwrap();
    session.enable(0).unwrap();
    session.set_status(1).unwrap();

    let codes = [Code::SetOwner, Code::GetFeatures].map(Code::number);
    assert_eq!(requests(&session.channel), codes);
    let mut byte = [0];
    let config = session.read_config(0, &mut byte);
    assert_eq!(config, Err(Error::NoConfig { offset: 0, len: 1 }));
}

#[test]
fn what_cannot_be_done_without_is_missed_by_name() {
    let required = ProtocolFeatures::INBAND_NOTIFICATIONS;
    let answers = [
        number(Code::GetFeatures, PROTOCOL_FEATURES),
        number(Code::GetProtocolFeatures, ProtocolFeatures::MQ.bits()),
    ];

    let refused = Session::open(script(answers), ALL, required).err();

    assert_eq!(refused, Some(Error::Missing(required)));
}

/// Devices' defect 8: a count out of range.
#[test]
fn more_queues_than_there_can_be_are_not_believed() {
    for queues in [257, 1 << 16, u64::MAX] {
        let answers = [
            number(Code::GetFeatures, PROTOCOL_FEATURES),
            number(Code::GetProtocolFeatures, ProtocolFeatures::MQ.bits()),
            number(Code::GetQueueNum, queues),
        ];

        let refused = opened(answers).err();

        assert_eq!(refused, Some(Violation::Queues(queues).into()));
    }
}

#[test]
fn an_answer_that_is_none_ends_the_session() {
    let asked = Code::GetFeatures;
    let (mut request, body) = number(asked, 0);
    request.flags = Flags::empty();
    let long = Body {
        payload: vec![0; 12],
        descriptors: vec![],
    };
    let (header, _) = number(asked, 0);
    for (answer, why) in [
        ((request, body), Malformed::Direction.into()),
        (
            number(Code::GetQueueNum, 0),
            Violation::Unasked {
                asked,
                came: Code::GetQueueNum.number(),
            }
            .into(),
        ),
        (
            (header, long),
            Malformed::Size {
                request: asked.number(),
                size: 12,
            }
            .into(),
        ),
    ] {
        assert_eq!(opened([answer]).err(), Some(why));
    }
    assert_eq!(opened([]).err(), Some(Error::Closed));
}

/// Devices' defect 6: descriptors where none belong.
#[test]
fn descriptors_beside_an_answer_that_has_none_are_closed() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let (header, mut body) = number(Code::GetFeatures, 0);
    body.descriptors.push(writer);

    let refused = opened([(header, body)]).err();

    assert!(matches!(
        refused,
        Some(Error::Backend(Violation::Malformed(_)))
    ));
    // The last writer is gone: the pipe has ended.
    let mut byte = [0];
    assert_eq!(rustix::io::read(&reader, &mut byte), Ok(0));
}

#[test]
fn a_ring_stands_where_one_of_its_size_can() {
    let stop = |index, num, size, packed| {
        let state = RingState { index, num };
        let answers = [reply(Code::GetVringBase, Reply::Ring(state))];
        session(ALL, answers).stop(2, size, packed)
    };

    assert_eq!(stop(2, 0xffff, 8, false), Ok(0xffff));
    assert_eq!(stop(2, 0x8007_8007, 8, true), Ok(0x8007_8007));
    for (num, packed) in [(0x1_0000, false), (8, true), (0x8_0000, true)] {
        let (index, base) = (2, num);
        let why = Violation::Base { index, base };
        assert_eq!(stop(2, num, 8, packed), Err(why.into()));
    }
    let other = Violation::OtherRing { asked: 2, came: 1 };
    assert_eq!(stop(1, 0, 8, false), Err(other.into()));
}

fn config(bytes: Vec<u8>) -> (Header, Body<OwnedFd>) {
    let flags = ConfigFlags::empty();
    let space = ConfigSpace {
        offset: 0,
        flags,
        bytes,
    };
    reply(Code::GetConfig, Reply::Config(space))
}

#[test]
fn configuration_is_read_from_its_first_byte_on_and_must_be_whole() {
    let read = |bytes: Vec<u8>| {
        let mut session = session(ALL, [config(bytes)]);
        let mut into = [0; 2];
        let read = session.read_config(4, &mut into).map(|()| into);
        (read, session.channel.asked)
    };

    let (whole, asked) = read((0..6).collect());
    let (short, _) = read(vec![0; 5]);
    let (long, _) = read(vec![0; 7]);
    let (none, _) = read(vec![]);

    assert_eq!(whole, Ok([4, 5]));
    let (_, _, payload) = &asked[0];
    assert_eq!(payload[..8], [0, 0, 0, 0, 6, 0, 0, 0]);
    let other = |came| Violation::OtherConfig { asked: 6, came };
    assert_eq!(short, Err(other(5).into()));
    assert_eq!(long, Err(other(7).into()));
    assert_eq!(none, Err(Error::NoConfig { offset: 4, len: 2 }));
}

#[test]
fn configuration_beyond_what_a_message_holds_is_not_asked_for() {
    let mut session = session(ALL, []);

    for offset in [CONFIG_BYTES_MAX, usize::MAX] {
        let none = Err(Error::NoConfig { offset, len: 1 });
        assert_eq!(session.read_config(offset, &mut [0]), none);
        assert_eq!(session.write_config(offset, &[0]), none);
    }
    assert!(session.channel.asked.is_empty());
}

fn inflight(size: u64, file_offset: u64, file: Option<OwnedFd>) -> (Header, Body<OwnedFd>) {
    let inflight = Inflight {
        size,
        file_offset,
        queues: 1,
        queue_size: 8,
    };
    reply(Code::GetInflightFd, Reply::Inflight(inflight, file))
}

#[test]
fn memory_for_what_is_in_flight_is_no_larger_than_its_file_or_than_it_need_be() {
    let file = |bytes| {
        let file: File = tempfile::tempfile().unwrap();
        file.set_len(bytes).unwrap();
        Some(OwnedFd::from(file))
    };
    let ask = |answer| session(ALL, [answer]).inflight(1, 8);

    assert!(ask(inflight(100, 28, file(128))).unwrap().is_some());
    assert!(ask(inflight(100, 0, None)).unwrap().is_none());
    assert!(ask(inflight(0, 0, file(128))).unwrap().is_none());
    for (size, offset) in [(129, 0), (100, 29), (100, u64::MAX), (1 << 40, 0)] {
        let refused = ask(inflight(size, offset, file(128))).err();
        let is = matches!(refused, Some(Error::Backend(Violation::Inflight { said, .. })) if said == size);
        assert!(is, "{size} {offset} {refused:?}");
    }
}

#[test]
fn memory_is_shared_once_in_the_way_that_was_agreed_on() {
    let file = OwnedFd::from(tempfile::tempfile().unwrap());
    let region = Region {
        size: 4096,
        ..Region::default()
    };
    let slots = ALL - ProtocolFeatures::REPLY_ACK;
    for (agreed, code) in [
        (slots, Code::AddMemReg),
        (slots - ProtocolFeatures::MEM_SLOTS, Code::SetMemTable),
    ] {
        let mut session = session(agreed, []);

        session.share(region, file.as_fd()).unwrap();
        session.share(region, file.as_fd()).unwrap();

        assert_eq!(requests(&session.channel), [code.number()]);
    }
}

#[test]
fn what_is_refused_is_told_with_its_reason_and_ends_nothing() {
    let answers = [number(Code::SetFeatures, 22), number(Code::SetFeatures, 0)];
    let mut session = session(ALL, answers);

    let refused = session.set_features(0);

    let asked = Code::SetFeatures;
    assert_eq!(refused, Err(Error::Refused { asked, reason: 22 }));
    assert_eq!(session.set_features(0), Ok(()));
}

#[test]
fn a_ring_is_kicked_last_and_only_acknowledged_requests_want_an_answer() {
    let descriptor = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let ring = RingSetup {
        index: 3,
        size: 8,
        areas: Areas {
            descriptor: 1,
            driver: 2,
            device: 3,
        },
        base: 0xfff0,
        kick: By::Signal(descriptor.as_fd()),
        call: By::Nothing,
        broken: None,
    };
    let codes = [
        Code::SetVringNum,
        Code::SetVringBase,
        Code::SetVringAddr,
        Code::SetVringErr,
        Code::SetVringCall,
        Code::SetVringKick,
    ];

    let mut silent = session(ProtocolFeatures::empty(), []);
    silent.start(&ring).unwrap();
    let mut acknowledged = session(ALL, codes.map(|code| number(code, 0)));
    acknowledged.start(&ring).unwrap();

    for (session, flags) in [(silent, Flags::empty()), (acknowledged, Flags::NEED_REPLY)] {
        assert_eq!(requests(&session.channel), codes.map(Code::number));
        let mut asked = session.channel.asked.iter();
        assert!(asked.all(|(_, wanted, _)| *wanted == flags));
    }
}

#[test]
fn nothing_is_said_of_a_descriptor_where_messages_are_sent() {
    let ring = RingSetup {
        index: 0,
        size: 8,
        areas: Areas::default(),
        base: 0,
        kick: By::Message,
        call: By::Message,
        broken: None,
    };
    let mut session = session(ProtocolFeatures::empty(), []);

    session.start(&ring).unwrap();

    let last = requests(&session.channel).pop();
    assert_eq!(last, Some(Code::SetVringErr.number()));
}

/// What a network card's back-end is told beside the rest.
#[test]
fn limits_and_announcements_are_for_back_ends_that_want_to_know() {
    let both = ProtocolFeatures::NET_MTU | ProtocolFeatures::RARP;
    let mut wants = session(both, []);
    let mut not = session(ProtocolFeatures::empty(), []);

    for session in [&mut wants, &mut not] {
        session.set_mtu(9000).unwrap();
        session.announce([2, 0, 0, 0, 0, 9]).unwrap();
        session.disable(3).unwrap();
    }

    let told: Vec<_> = wants
        .channel
        .asked
        .iter()
        .map(|it| (it.0, &it.2[..]))
        .collect();
    let announced = [2, 0, 0, 0, 0, 9, 0, 0];
    let disabled = [3, 0, 0, 0, 0, 0, 0, 0];
    let mtu = 9000_u64.to_le_bytes();
    let expected = [
        (Code::NetSetMtu.number(), &mtu[..]),
        (Code::SendRarp.number(), &announced[..]),
        (Code::SetVringEnable.number(), &disabled[..]),
    ];
    assert_eq!(told, expected);
    assert_eq!(requests(&not.channel), [Code::SetVringEnable.number()]);
}

#[test]
fn what_is_withheld_was_never_offered() {
    let mut session = session(ProtocolFeatures::empty(), []);

    session.withhold(ringway_spec::F::VERSION_1);

    assert_eq!(session.offered(), PROTOCOL_FEATURES);
}
