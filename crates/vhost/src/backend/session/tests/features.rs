//! What is agreed on, and what may not come without it.

use super::*;
use crate::protocol::{
    ConfigFlags, DeviceStateTransfer, Iotlb, IotlbKind, LogArea, Permissions, StateDirection,
    StatePhase,
};

#[test]
fn what_the_carrier_offers_is_offered_with_the_protocol_s_own_bits() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let features = value(ask(&mut session, Request::GetFeatures));
    let protocol = value(ask(&mut session, Request::GetProtocolFeatures));
    let queues = value(ask(&mut session, Request::GetQueueNum));
    let slots = value(ask(&mut session, Request::GetMaxMemSlots));

    let own = PROTOCOL_FEATURES | LOG_ALL;
    assert_eq!(features, session.carrier().features().0 as u64 | own);
    assert_eq!(protocol, session.carrier().protocol_features().bits());
    assert_eq!((queues, slots), (3, 509));
}

#[test]
fn logging_is_not_offered_by_a_carrier_that_has_no_log() {
    let mut fake = Fake::new();
    fake.protocol.remove(ProtocolFeatures::LOG_SHMFD);
    let mut session = connected(&mut fake);

    let features = value(ask(&mut session, Request::GetFeatures));

    assert_eq!(features & LOG_ALL, 0);
    assert_eq!(
        ask(&mut session, Request::SetFeatures(FEATURES | LOG_ALL)).err(),
        Some(Refusal::FeaturesNotOffered(Features(LOG_ALL.into())))
    );
}

#[test]
fn features_that_were_not_offered_or_have_no_version_1_are_refused() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let unknown = ask(&mut session, Request::SetFeatures(FEATURES | 1 << 63));
    let legacy = ask(&mut session, Request::SetFeatures(PROTOCOL_FEATURES));

    let missing = Refusal::FeaturesMissing(F::VERSION_1);
    assert_eq!(
        unknown.err(),
        Some(Refusal::FeaturesNotOffered(Features(1 << 63)))
    );
    assert_eq!(legacy.err(), Some(missing));
    let told = &session.carrier().told;
    assert!(!told.iter().any(|told| matches!(told, Told::Negotiated(_))));
}

#[test]
fn the_device_hears_of_its_own_features_alone_and_once() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    for _ in 0..2 {
        ask(&mut session, Request::SetFeatures(FEATURES | LOG_ALL)).unwrap();
    }

    drop(session);
    let negotiated: Vec<_> = fake
        .told
        .iter()
        .filter(|told| matches!(told, Told::Negotiated(_)))
        .collect();
    assert_eq!(negotiated, [&Told::Negotiated(F::VERSION_1)]);
}

#[test]
fn features_do_not_change_while_a_ring_runs_but_for_the_log() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let other = FEATURES | F::EVENT_IDX.0 as u64;
    let changed = ask(&mut session, Request::SetFeatures(other));
    let protocol = ask(&mut session, Request::SetProtocolFeatures(0));
    let logged = ask(&mut session, Request::SetFeatures(FEATURES | LOG_ALL));

    assert_eq!(changed.err(), Some(Refusal::RingsRun(Code::SetFeatures)));
    assert_eq!(
        protocol.err(),
        Some(Refusal::RingsRun(Code::SetProtocolFeatures))
    );
    assert!(logged.is_ok());
    assert_eq!(
        session.carrier().told.last(),
        Some(&Told::Logging(Logging::On))
    );
}

#[test]
fn in_band_notifications_need_the_socket_and_the_answers_else_the_connection_ends() {
    let inband = ProtocolFeatures::INBAND_NOTIFICATIONS;
    for lacks in [ProtocolFeatures::BACKEND_REQ, ProtocolFeatures::REPLY_ACK] {
        let mut fake = Fake::new();
        let mut session = Session::new(&mut fake);
        let both = ProtocolFeatures::BACKEND_REQ | ProtocolFeatures::REPLY_ACK;
        let first = Request::SetProtocolFeatures(ProtocolFeatures::REPLY_ACK.bits());
        ask(&mut session, first).unwrap();

        let features = inband | both.difference(lacks);
        let refused = ask_for_reply(&mut session, Request::SetProtocolFeatures(features.bits()));

        assert_eq!(refused.err(), Some(Refusal::InbandAlone));
    }
}

#[test]
fn protocol_features_that_were_not_offered_are_refused() {
    let mut fake = Fake::new();
    let mut session = Session::new(&mut fake);

    let postcopy = ProtocolFeatures::PAGEFAULT;
    let refused = ask(&mut session, Request::SetProtocolFeatures(postcopy.bits()));

    assert_eq!(refused.err(), Some(Refusal::ProtocolNotOffered(postcopy)));
}

#[test]
fn a_request_that_needs_a_feature_is_refused_without_it() {
    let inflight = Inflight::default();
    let space = ConfigSpace::default();
    let transfer = DeviceStateTransfer {
        direction: StateDirection::Save,
        phase: StatePhase::Stopped,
    };
    for request in [
        Request::GetQueueNum,
        Request::SetLogBase(LogArea::default(), FD),
        Request::SetLogFd(FD),
        Request::SendRarp(0),
        Request::NetSetMtu(1500),
        Request::SetBackendReqFd(FD),
        Request::SetVringEndian(state(0, 0)),
        Request::GetConfig(space.clone()),
        Request::SetConfig(space),
        Request::GetInflightFd(inflight),
        Request::SetInflightFd(inflight, FD),
        Request::ResetDevice,
        Request::VringKick(state(0, 0)),
        Request::GetMaxMemSlots,
        Request::AddMemReg(REGION, FD),
        Request::RemMemReg(REGION),
        Request::SetStatus(0),
        Request::GetStatus,
        Request::SetDeviceStateFd(transfer, FD),
        Request::CheckDeviceState,
        Request::Unsupported(Code::PostcopyAdvise),
    ] {
        let mut fake = Fake::new();
        let mut session = Session::new(&mut fake);
        let code = request.code();

        let answer = ask(&mut session, request);

        let refusal = match answer {
            Ok(answer) => answer.refused,
            Err(refusal) => Some(refusal),
        };
        assert!(
            matches!(refusal, Some(Refusal::NotAgreed { request, .. }) if request == code),
            "{code:?}: {refusal:?}"
        );
        drop(session);
        assert_eq!(fake.told, [Told::Disconnected], "{code:?}");
    }
}

#[test]
fn a_translation_needs_access_platform_and_is_answered_always() {
    let iotlb = Iotlb {
        address: 0,
        size: 4096,
        user_address: 0x7000_0000,
        permissions: Permissions::READ,
        kind: IotlbKind::Update,
    };
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);

    let without = ask(&mut session, Request::IotlbMsg(iotlb)).unwrap();
    let access = FEATURES | F::ACCESS_PLATFORM.0 as u64;
    ask(&mut session, Request::SetFeatures(access)).unwrap();
    let with = ask(&mut session, Request::IotlbMsg(iotlb)).unwrap();

    assert_eq!(without.reply, Some(Reply::Value(1)));
    assert!(without.refused.is_some());
    assert_eq!(with.reply, Some(Reply::Value(0)));
}

#[test]
fn a_refusal_is_answered_if_it_can_be_and_ends_the_connection_otherwise() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);
    let beyond = || Request::SetVringNum(state(3, 256));
    let refusal = Refusal::NoRing { index: 3, rings: 3 };

    let answered = ask_for_reply(&mut session, beyond()).unwrap();
    let ended = ask(&mut session, beyond());
    // Its answer is a number that means something else.
    let base = ask_for_reply(&mut session, Request::GetVringBase(state(3, 0)));

    assert_eq!(answered.reply, Some(Reply::Value(1)));
    assert_eq!(answered.refused, Some(refusal));
    assert_eq!(ended.err(), Some(refusal));
    assert_eq!(base.err(), Some(refusal));
}

#[test]
fn what_was_done_is_answered_if_asked_for_and_agreed_on() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let asked = ask_for_reply(&mut session, Request::SetOwner).unwrap();
    let not_asked = ask(&mut session, Request::SetOwner).unwrap();
    ask(&mut session, Request::SetProtocolFeatures(0)).unwrap();
    let not_agreed = ask_for_reply(&mut session, Request::SetOwner).unwrap();

    assert_eq!(asked.reply, Some(Reply::Value(0)));
    assert_eq!(not_asked.reply, None);
    assert_eq!(not_agreed.reply, None);
}

#[test]
fn configuration_is_read_at_any_time_and_written_once_features_are_settled() {
    let space = |bytes: &[u8]| ConfigSpace {
        offset: 8,
        flags: ConfigFlags::MIGRATION,
        bytes: bytes.to_vec(),
    };
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    let read = ask(&mut session, Request::GetConfig(space(&[0xff; 3]))).unwrap();
    let early = ask_for_reply(&mut session, Request::SetConfig(space(&[1]))).unwrap();
    ask(&mut session, Request::SetFeatures(FEATURES)).unwrap();
    let late = ask_for_reply(&mut session, Request::SetConfig(space(&[1]))).unwrap();

    assert_eq!(read.reply, Some(Reply::Config(space(&[8, 9, 10]))));
    assert_eq!(early.reply, Some(Reply::Value(1)));
    assert_eq!(late.reply, Some(Reply::Value(0)));
    let written = Told::ConfigWritten(8, vec![1], ConfigFlags::MIGRATION);
    assert_eq!(session.carrier().told.last(), Some(&written));
}

#[test]
fn the_status_is_what_the_front_end_set_with_what_the_device_adds() {
    let mut fake = Fake::new();
    fake.status = Status::NEEDS_RESET;
    let mut session = connected(&mut fake);

    ask(&mut session, Request::SetStatus(0xb)).unwrap();
    let status = value(ask(&mut session, Request::GetStatus));
    let wide = ask(&mut session, Request::SetStatus(0x100));

    assert_eq!(status, 0x4b);
    assert_eq!(wide.err(), Some(Refusal::Status(0x100)));
}

#[test]
fn a_status_of_0_resets_and_so_does_the_request() {
    for (reset, by) in [
        (Request::SetStatus(0), ResetBy::Status),
        (Request::ResetDevice, ResetBy::Request),
    ] {
        let mut fake = Fake::new();
        let mut session = running(&mut fake, FEATURES, 1, 7);

        ask(&mut session, reset).unwrap();

        let told = &session.carrier().told;
        let reset = [Told::Stopped(1), Told::Kick(1, "message"), Told::Reset(by)];
        assert_eq!(told[told.len() - 3..], reset);
        // It is to be set up anew.
        ask(&mut session, Request::SetFeatures(FEATURES)).unwrap();
        ask(&mut session, Request::SetVringKick(1, Some(FD))).unwrap();
        ask(&mut session, enable(1, 1)).unwrap();
        assert_eq!(base(&mut session, 1), 0);
        drop(session);
        let starts = fake
            .told
            .iter()
            .filter(|told| matches!(told, Told::Started(..)));
        assert_eq!(starts.count(), 1);
    }
}

#[test]
fn postcopy_is_neither_offered_nor_done() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    for code in [
        Code::PostcopyAdvise,
        Code::PostcopyListen,
        Code::PostcopyEnd,
    ] {
        let refused = ask_for_reply(&mut session, Request::Unsupported(code)).unwrap();

        assert_eq!(refused.reply, Some(Reply::Value(1)));
        assert!(matches!(refused.refused, Some(Refusal::NotAgreed { .. })));
    }
}
