//! Memory that changes, and memory that remembers.

use super::*;
use crate::memory::MemoryError;
use crate::protocol::{DeviceStateTransfer, LogArea, StateDirection, StatePhase};

fn told_from(session: &Session<'_, Fake>, from: usize) -> Vec<Told> {
    let told = session.carrier().told.get(from..).unwrap_or_default();
    told.to_vec()
}

#[test]
fn rings_that_run_go_on_with_the_new_memory_at_the_same_place() {
    for (request, change) in [
        (Request::SetMemTable(vec![]), Told::Memory(0)),
        (Request::AddMemReg(REGION, FD), Told::Region),
        (Request::RemMemReg(REGION), Told::RegionGone),
    ] {
        let mut fake = Fake::new();
        fake.position = 0xffff;
        let mut session = running(&mut fake, FEATURES, 0, 0xfffe);
        let from = session.carrier().told.len();

        ask(&mut session, request).unwrap();

        let told = told_from(&session, from);
        assert_eq!(told[..2], [Told::Stopped(0), change]);
        assert!(matches!(told[2], Told::Started(0, start) if start.available == 0xffff));
    }
}

#[test]
fn rings_go_on_with_the_old_memory_if_the_new_one_is_refused() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);
    session.carrier.refuses_memory = true;

    let refused = ask_for_reply(&mut session, Request::SetMemTable(vec![(REGION, FD)]));

    let refused = refused.unwrap().refused;
    assert_eq!(refused, Some(Refusal::Memory(MemoryError::NotAFile)));
    assert!(matches!(
        session.carrier().told.last(),
        Some(Told::Started(0, _))
    ));
}

#[test]
fn a_ring_that_is_not_in_the_new_memory_stands_still_and_the_others_go_on() {
    let address = 0x7000_0000;
    let refusal = Refusal::RingAddress { index: 0, address };
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 3);
    session.carrier.position = 3;
    session.carrier.refuses_start = Some(refusal);

    let refused = ask_for_reply(&mut session, Request::RemMemReg(REGION)).unwrap();
    session.carrier.refuses_start = None;
    let from = session.carrier().told.len();

    assert_eq!(refused.refused, Some(refusal));
    assert_eq!(base(&mut session, 0), 3);
    // It did not run.
    assert_eq!(told_from(&session, from), [Told::Kick(0, "message")]);
}

#[test]
fn what_is_in_flight_is_remembered_in_memory_that_the_carrier_makes() {
    let wanted = Inflight {
        size: 0,
        file_offset: 0,
        queues: 3,
        queue_size: 128,
    };
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);

    let got = ask(&mut session, Request::GetInflightFd(wanted)).unwrap();
    let given = ask_for_reply(&mut session, Request::SetInflightFd(wanted, FD)).unwrap();

    let made = Inflight {
        size: 4096,
        ..wanted
    };
    assert_eq!(got.reply, Some(Reply::Inflight(made, Some(5))));
    assert_eq!(given.reply, Some(Reply::Value(0)));
}

#[test]
fn memory_that_cannot_be_made_is_answered_with_none() {
    let mut fake = Fake::new();
    fake.refuses_memory = true;
    let mut session = connected(&mut fake);

    let got = ask(&mut session, Request::GetInflightFd(Inflight::default())).unwrap();

    assert_eq!(got.reply, Some(Reply::Inflight(Inflight::default(), None)));
    assert!(got.refused.is_some());
}

#[test]
fn what_is_in_flight_is_not_remembered_elsewhere_while_a_ring_runs() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let refused = ask(
        &mut session,
        Request::SetInflightFd(Inflight::default(), FD),
    );

    assert_eq!(refused.err(), Some(Refusal::RingsRun(Code::SetInflightFd)));
}

#[test]
fn the_log_is_answered_always_and_may_come_while_rings_run() {
    let area = LogArea {
        size: 4096,
        file_offset: 0,
    };
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let done = ask(&mut session, Request::SetLogBase(area, FD)).unwrap();
    session.carrier.refuses_memory = true;
    let refused = ask(&mut session, Request::SetLogBase(area, FD)).unwrap();

    assert_eq!(done.reply, Some(Reply::Value(0)));
    assert_eq!(refused.reply, Some(Reply::Value(1)));
}

#[test]
fn the_device_s_state_moves_while_no_ring_runs() {
    let transfer = DeviceStateTransfer {
        direction: StateDirection::Load,
        phase: StatePhase::Stopped,
    };
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let early = ask(&mut session, Request::SetDeviceStateFd(transfer, FD)).unwrap();
    let _ = base(&mut session, 0);
    let late = ask(&mut session, Request::SetDeviceStateFd(transfer, FD)).unwrap();
    let checked = ask(&mut session, Request::CheckDeviceState).unwrap();

    assert_eq!(early.reply, Some(Reply::Value(0x101)));
    assert_eq!(
        early.refused,
        Some(Refusal::RingsRun(Code::SetDeviceStateFd))
    );
    assert_eq!(late.reply, Some(Reply::Value(0x100)));
    assert_eq!(checked.reply, Some(Reply::Value(0)));
}
