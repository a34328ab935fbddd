//! When a ring runs, and what may not change while it does.

use super::*;
use crate::backend::Start;

fn last(session: &Session<'_, Fake>) -> Option<Told> {
    session.carrier().told.last().cloned()
}

fn starts(session: &Session<'_, Fake>) -> Vec<(u8, u16)> {
    let started = session.carrier().told.iter().filter_map(|told| match told {
        Told::Started(index, start) => Some((*index, start.available)),
        _ => None,
    });
    started.collect()
}

#[test]
fn a_ring_runs_once_it_is_described_kicked_and_enabled() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);
    for request in set_up(2, 40).into_iter().skip(1) {
        ask(&mut session, request).unwrap();
    }
    ask(&mut session, enable(2, 1)).unwrap();
    assert_eq!(starts(&session), []);

    ask(&mut session, Request::SetVringNum(state(2, 64))).unwrap();

    let start = Start {
        size: 64,
        addresses: addresses(2),
        available: 40,
        used: 40,
        features: F::VERSION_1,
    };
    assert_eq!(last(&session), Some(Told::Started(2, start)));
}

#[test]
fn a_ring_is_enabled_by_itself_if_the_front_end_knows_of_no_enabling() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, F::VERSION_1.0 as u64);

    for request in set_up(0, 0) {
        ask(&mut session, request).unwrap();
    }
    let enabled = ask(&mut session, enable(0, 0));

    assert_eq!(starts(&session), [(0, 0)]);
    assert!(matches!(
        enabled.err(),
        Some(Refusal::NeedsFeatures {
            request: Code::SetVringEnable,
            ..
        })
    ));
}

#[test]
fn a_ring_may_be_enabled_before_features_are_settled() {
    let mut fake = Fake::new();
    let mut session = connected(&mut fake);

    ask(&mut session, enable(0, 1)).unwrap();
    for request in set_up(0, 0) {
        ask(&mut session, request).unwrap();
    }
    assert_eq!(starts(&session), []);
    ask(&mut session, Request::SetFeatures(FEATURES)).unwrap();

    assert_eq!(starts(&session), [(0, 0)]);
}

#[test]
fn a_ring_that_is_disabled_stops_and_goes_on_where_it_stood() {
    let mut fake = Fake::new();
    fake.position = 0xfffe;
    let mut session = running(&mut fake, FEATURES, 0, 0xfff0);

    ask(&mut session, enable(0, 0)).unwrap();
    assert_eq!(last(&session), Some(Told::Stopped(0)));
    ask(&mut session, enable(0, 1)).unwrap();
    ask(&mut session, enable(0, 1)).unwrap();

    assert_eq!(starts(&session), [(0, 0xfff0), (0, 0xfffe)]);
}

#[test]
fn the_base_is_where_a_ring_stopped_and_a_kick_starts_it_again() {
    let mut fake = Fake::new();
    fake.position = 0xffff;
    let mut session = running(&mut fake, FEATURES, 1, 0xfff0);

    assert_eq!(base(&mut session, 1), 0xffff);
    let told = &session.carrier().told;
    let stopped = [Told::Stopped(1), Told::Kick(1, "message")];
    assert_eq!(told[told.len() - 2..], stopped);
    // Nothing runs, and nothing changes it.
    assert_eq!(base(&mut session, 1), 0xffff);
    ask(&mut session, enable(1, 1)).unwrap();
    assert_eq!(starts(&session), [(1, 0xfff0)]);

    ask(&mut session, Request::SetVringKick(1, Some(FD))).unwrap();

    assert_eq!(starts(&session), [(1, 0xfff0), (1, 0xffff)]);
}

#[test]
fn the_base_of_a_packed_ring_has_both_places_with_their_turns() {
    let mut fake = Fake::new();
    let packed = FEATURES | F::RING_PACKED.0 as u64;
    // The last place of the second turn.
    fake.position = 0xff;
    let mut session = running(&mut fake, packed, 0, 0x80fe_80fe);

    let stands = base(&mut session, 0);
    ask(&mut session, Request::SetVringKick(0, None)).unwrap();

    assert_eq!(stands, 0x00ff_00ff);
    assert_eq!(starts(&session), [(0, 0x80fe), (0, 0x00ff)]);
}

/// Devices' defect 1: a queue's size is changed while it is in use.
#[test]
fn a_ring_that_runs_is_not_moved_resized_or_begun_elsewhere() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 5);
    let mut moved = addresses(0);
    moved.used += 0x1000;

    for (request, code) in [
        (Request::SetVringNum(state(0, 128)), Code::SetVringNum),
        (Request::SetVringAddr(moved), Code::SetVringAddr),
        (Request::SetVringBase(state(0, 5)), Code::SetVringBase),
    ] {
        let refused = ask_for_reply(&mut session, request).unwrap().refused;

        let index = 0;
        let request = code;
        assert_eq!(refused, Some(Refusal::RingRuns { index, request }));
    }
    // What it was told already is no change.
    ask(&mut session, Request::SetVringNum(state(0, 256))).unwrap();
    ask(&mut session, Request::SetVringAddr(addresses(0))).unwrap();
    assert_eq!(starts(&session), [(0, 5)]);
    assert_eq!(base(&mut session, 0), 0);
    ask(&mut session, Request::SetVringNum(state(0, 128))).unwrap();
}

/// Devices' defect 8: an index or a base out of range, or cut to fewer bits.
#[test]
fn a_ring_that_is_not_there_or_a_base_beyond_16_bits_is_refused() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);
    let no_ring = |index| Some(Refusal::NoRing { index, rings: 3 });

    for index in [3, 0x100, 0x1_0000, u32::MAX] {
        let mut there = addresses(0);
        there.index = index;
        for request in [
            Request::SetVringNum(state(index, 4)),
            Request::SetVringAddr(there),
            Request::SetVringBase(state(index, 4)),
            Request::SetVringEnable(state(index, 1)),
            Request::VringKick(state(index, 0)),
            Request::GetVringBase(state(index, 0)),
        ] {
            assert_eq!(ask(&mut session, request).err(), no_ring(index));
        }
    }
    for request in [
        Request::SetVringKick(3, Some(FD)),
        Request::SetVringCall(3, Some(FD)),
        Request::SetVringErr(3, None),
    ] {
        assert_eq!(ask(&mut session, request).err(), no_ring(3));
    }
    for request in set_up(0, 0x1_0000).into_iter().take(4) {
        ask(&mut session, request).unwrap();
    }
    ask(&mut session, enable(0, 1)).unwrap();
    let kicked = ask(&mut session, Request::SetVringKick(0, Some(FD)));
    let base = 0x1_0000;
    assert_eq!(kicked.err(), Some(Refusal::RingBase { index: 0, base }));
}

#[test]
fn a_size_that_the_device_does_not_offer_is_refused() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);

    for size in [0, 65, 128, 0x1_0001, u32::MAX] {
        let refused = ask(&mut session, Request::SetVringNum(state(2, size)));

        let (index, max) = (2, 64);
        assert_eq!(refused.err(), Some(Refusal::RingSize { index, size, max }));
    }
}

#[test]
fn a_ring_that_cannot_be_started_does_not_run() {
    let violation = ringway_ring::device::Violation::Area(0x10);
    let refusal = Refusal::Ring {
        index: 0,
        violation,
    };
    let mut fake = Fake::new();
    fake.refuses_start = Some(refusal);
    let mut session = settled(&mut fake, FEATURES);
    for request in set_up(0, 9) {
        ask(&mut session, request).unwrap();
    }

    let refused = ask_for_reply(&mut session, enable(0, 1)).unwrap().refused;

    assert_eq!(refused, Some(refusal));
    assert_eq!(base(&mut session, 0), 9);
    drop(session);
    assert!(!fake.told.contains(&Told::Stopped(0)));
}

#[test]
fn a_ring_that_could_not_be_started_is_no_reason_to_refuse_what_comes_next() {
    let violation = ringway_ring::device::Violation::Area(0x10);
    let refusal = Refusal::Ring {
        index: 0,
        violation,
    };
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);
    session.carrier.refuses_start = Some(refusal);
    let removed = ask_for_reply(&mut session, Request::RemMemReg(REGION)).unwrap();

    let added = ask_for_reply(&mut session, Request::AddMemReg(REGION, FD)).unwrap();
    session.carrier.refuses_start = None;
    ask(&mut session, enable(0, 1)).unwrap();
    assert_eq!(starts(&session).len(), 1);
    ask(&mut session, Request::SetVringKick(0, Some(FD))).unwrap();

    assert_eq!(removed.refused, Some(refusal));
    assert_eq!(added.refused, None);
    assert_eq!(starts(&session).len(), 2);
}

#[test]
fn a_message_kicks_a_ring_and_the_first_one_starts_it() {
    let mut fake = Fake::new();
    let mut session = settled(&mut fake, FEATURES);
    for request in set_up(0, 0).into_iter().take(3) {
        ask(&mut session, request).unwrap();
    }
    ask(&mut session, enable(0, 1)).unwrap();
    assert_eq!(starts(&session), []);

    ask(&mut session, Request::VringKick(state(0, 0))).unwrap();
    assert_eq!(starts(&session), [(0, 0)]);
    ask(&mut session, Request::VringKick(state(0, 0))).unwrap();

    assert_eq!(last(&session), Some(Told::Kicked(0)));
}

#[test]
fn descriptors_of_a_ring_that_runs_are_replaced() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);
    let from = session.carrier().told.len();

    ask(&mut session, Request::SetVringCall(0, None)).unwrap();
    ask(&mut session, Request::SetVringErr(0, Some(9))).unwrap();
    ask(&mut session, Request::SetVringKick(0, None)).unwrap();

    let told = &session.carrier().told[from..];
    let kick = Told::Kick(0, "polled");
    assert_eq!(told, [Told::Call(0, None), Told::Error(0, Some(9)), kick]);
}

#[test]
fn a_state_of_a_ring_is_0_or_1() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let refused = ask_for_reply(&mut session, enable(0, 2)).unwrap().refused;

    assert_eq!(refused, Some(Refusal::RingState { index: 0, num: 2 }));
    assert!(matches!(last(&session), Some(Told::Started(..))));
}

#[test]
fn disowned_rings_are_disabled() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);

    let from = session.carrier().told.len();
    ask(&mut session, Request::ResetOwner).unwrap();

    let told = &session.carrier().told[from..];
    assert_eq!(told, [Told::Stopped(0), Told::Kick(0, "message")]);
    ask(&mut session, Request::SetVringKick(0, Some(FD))).unwrap();
    assert_eq!(starts(&session).len(), 1);
}

#[test]
fn writes_to_a_ring_that_runs_are_logged_from_one_message_to_the_next() {
    let mut fake = Fake::new();
    let mut session = running(&mut fake, FEATURES, 0, 0);
    let mut logged = addresses(0);
    logged.flags = RingFlags::LOG.bits();
    logged.log = 0x5000;

    ask(&mut session, Request::SetVringAddr(logged)).unwrap();
    let on = last(&session);
    ask(&mut session, Request::SetVringAddr(addresses(0))).unwrap();

    assert_eq!(on, Some(Told::RingLog(0, Some(0x5000))));
    assert_eq!(last(&session), Some(Told::RingLog(0, None)));
}

#[test]
fn all_256_rings_are_served_and_none_beyond() {
    let mut fake = Fake::new();
    fake.sizes = vec![256; 300];
    let mut session = settled(&mut fake, FEATURES);

    for index in 0..=255 {
        for request in set_up(index, 0) {
            ask(&mut session, request).unwrap();
        }
        ask(&mut session, enable(index, 1)).unwrap();
    }

    assert_eq!(value(ask(&mut session, Request::GetQueueNum)), 256);
    assert_eq!(starts(&session).len(), 256);
    drop(session);
    let stops = fake
        .told
        .iter()
        .filter(|told| matches!(told, Told::Stopped(_)));
    assert_eq!(stops.count(), 256);
}

#[test]
fn a_connection_that_ends_stops_its_rings_and_then_lets_go() {
    let mut fake = Fake::new();

    drop(running(&mut fake, FEATURES, 1, 0));

    let told = &fake.told[fake.told.len() - 2..];
    assert_eq!(told, [Told::Stopped(1), Told::Disconnected]);
}
