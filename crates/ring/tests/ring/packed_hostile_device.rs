//! The driver's end of a packed ring against a device that breaks the rules. Each test is a defect
//! that was found in a respected driver.

use crate::common::{Pair, segment};
use ringway_ring::driver::{Geometry, Memory, Queue, Refusal, Token, Violation};
use ringway_spec::packed::{EVENT_DESC, EVENT_DISABLE, EVENT_ENABLE, EVENT_WRAP};
use ringway_spec::{F, Features};

/// No power of two.
const SIZE: u16 = 5;
/// The last descriptor of a lap: what is submitted next goes on in another one.
const STARTS: [u16; 2] = [SIZE - 1, 2 * SIZE - 1];
const WRITE: u16 = 2;
const EVENT_IDX: Features = F::EVENT_IDX;

/// Marks the descriptor that is the `passed`th since the ring was new as used.
fn forge_used(pair: &Pair, passed: u16, id: u16, len: u32, flags: u16) {
    let size = pair.geometry.size();
    let turn = if (passed / size).is_multiple_of(2) {
        0x8080
    } else {
        0
    };
    pair.forge_packed(passed % size, 0xdead, len, id, flags | turn);
}

fn id(token: Token) -> u16 {
    token.id()
}

/// Drivers' defect 4: §2.8.22: an id is believed once.
#[test]
fn a_used_id_completed_twice_is_a_violation_and_the_owner_comes_home_once() {
    for start in STARTS {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver(Features::NONE, start);
        let token = driver.submit(&[], &[segment(0, 16)], "first").unwrap();
        driver.submit(&[], &[segment(16, 16)], "second").unwrap();
        driver.kick_needed();

        forge_used(&pair, start, id(token), 16, WRITE);
        forge_used(&pair, start + 1, id(token), 16, WRITE);
        let first = driver.poll().unwrap().unwrap();
        let again = driver.poll();

        assert_eq!((first.owner, first.token), ("first", token));
        let violation = Violation::UnknownId(u32::from(id(token)));
        assert_eq!(again.err(), Some(violation));
        assert_eq!(driver.reclaim(), Some("second"));
        assert_eq!(driver.reclaim(), None);
    }
}

/// Drivers' defect 5: §2.8.4: a length that the chain has no room for is not handed on, nor is one
/// that means nothing.
#[test]
fn a_used_length_beyond_the_writable_bytes_is_a_violation_or_ignored() {
    for (len, flags, expected) in [
        (16, WRITE, Some(16)),
        (17, WRITE, None),
        (u32::MAX, WRITE, None),
        (16, 0, Some(16)),
        (17, 0, Some(0)),
        (u32::MAX, 0, Some(0)),
    ] {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver(Features::NONE, 4);
        let token = driver
            .submit(&[segment(0, 64)], &[segment(64, 16)], ())
            .unwrap();
        driver.kick_needed();

        forge_used(&pair, 4, id(token), len, flags);
        let polled = driver.poll();

        if let Some(written) = expected {
            assert_eq!(polled.unwrap().unwrap().written, written);
        } else {
            let violation = Violation::WrittenTooMuch {
                written: len,
                writable: 16,
            };
            assert_eq!(polled.err(), Some(violation));
        }
    }
}

/// Drivers' defect 6: The free ids and the chains are private: what stands in the ring is not read
/// back.
#[test]
fn a_device_that_rewrites_the_ring_cannot_redirect_what_is_free() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, 3);
    let chain = [segment(0, 8), segment(8, 8), segment(16, 8)];
    let first = driver.submit(&chain, &[], 1).unwrap();
    driver.kick_needed();

    for index in 0..SIZE {
        pair.forge_packed(index, u64::MAX, u32::MAX, 0xffff, 0x7f7f);
    }
    // The flags of a chain that goes on mean nothing in a used descriptor (§2.8.6).
    forge_used(&pair, 3, id(first), 0, 1);
    let owner = driver.poll().unwrap().unwrap().owner;

    assert_eq!(owner, 1);
    let mut ids: Vec<_> = (0..SIZE)
        .map(|_| driver.submit(&[segment(0, 8)], &[], 2).unwrap().id())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..SIZE).collect::<Vec<_>>());
    let rejected = driver.submit(&[segment(0, 8)], &[], 3).unwrap_err();
    assert_eq!(rejected.why, Refusal::Full);
}

/// Drivers' defect 7: A descriptor is loaded once: what it says after the poll changes nothing, and
/// the poll is not made twice.
#[test]
fn a_used_descriptor_that_changes_after_it_was_read_changes_nothing() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, 4);
    let token = driver.submit(&[], &[segment(0, 16)], "owner").unwrap();
    driver.kick_needed();
    forge_used(&pair, 4, id(token), 5, WRITE);

    let done = driver.poll().unwrap().unwrap();
    forge_used(&pair, 4, 0xdead, u32::MAX, WRITE);

    assert_eq!((done.owner, done.written), ("owner", 5));
    assert!(driver.poll().unwrap().is_none());
    assert_eq!(driver.in_flight(), 0);
}

/// What the device was not told of yet cannot come back: in an odd lap, a ring that was never
/// written reads as used.
#[test]
fn a_chain_that_was_not_published_does_not_come_back() {
    for start in STARTS {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver(Features::NONE, start + 1);
        driver.submit(&[], &[segment(0, 16)], ()).unwrap();

        let early = driver.poll().unwrap();
        driver.kick_needed();
        let late = driver.poll().unwrap();

        assert!(early.is_none() && late.is_none());
        assert_eq!(driver.in_flight(), 1);
    }
}

/// With nothing in flight nothing can come back, whatever stands in the ring: zeroes are used in
/// every other lap.
#[test]
fn descriptors_used_beyond_the_chains_in_flight_are_not_looked_at() {
    for start in STARTS {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver::<()>(Features::NONE, start);
        for passed in start..start + SIZE {
            forge_used(&pair, passed, 0, 0, 0);
        }

        assert!(!driver.arm());
        assert!(driver.poll().unwrap().is_none());
        assert_eq!(driver.violation(), None);
    }
}

#[test]
fn an_id_outside_the_queue_or_of_no_chain_is_a_violation() {
    for forged in [1, SIZE, 0x8000, 0xffff] {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver(Features::NONE, 4);
        driver.submit(&[segment(0, 16)], &[], ()).unwrap();
        driver.kick_needed();

        forge_used(&pair, 4, forged, 0, 0);
        let polled = driver.poll();

        assert_eq!(polled.err(), Some(Violation::UnknownId(forged.into())));
    }
}

/// House rule 2: a violation is latched, and what is in flight stays in custody.
#[test]
fn a_broken_queue_stays_broken_and_takes_nothing() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, 4);
    driver.submit(&[segment(0, 16)], &[], "held").unwrap();
    driver.kick_needed();
    forge_used(&pair, 4, 3, 0, 0);
    let violation = driver.poll().unwrap_err();

    forge_used(&pair, 4, 0, 0, 0);
    let rejected = driver
        .submit(&[segment(0, 16)], &[], "refused")
        .unwrap_err();

    assert_eq!(driver.poll().err(), Some(violation));
    let refused = (Refusal::Broken(violation), "refused");
    assert_eq!((rejected.why, rejected.owner), refused);
    assert_eq!(driver.violation(), Some(violation));
    assert_eq!(driver.reclaim(), Some("held"));
}

/// House rule 3: the owners of chains in flight are not dropped with the queue, for the device may
/// still be writing.
#[test]
fn a_queue_that_is_dropped_does_not_drop_the_owners_in_flight() {
    let pair = Pair::packed(SIZE, 0);
    let owner = std::sync::Arc::new(());
    let mut driver = pair.driver(Features::NONE, 4);
    driver
        .submit(&[segment(0, 16)], &[], owner.clone())
        .unwrap();

    drop(driver);

    assert_eq!(std::sync::Arc::strong_count(&owner), 2);
}

/// Drivers' defect 1: §2.8.10: a batch that steps over the event is told once, whether or not it
/// crosses the end of the ring.
#[test]
fn a_batch_that_crosses_the_wrap_is_kicked_once_and_not_for_each_chain() {
    let pair = Pair::packed(100, 0);
    let mut driver = pair.driver(EVENT_IDX, 50);
    pair.forge.set_device_wish(50 | EVENT_WRAP, EVENT_DESC);

    let kicks = (0..100)
        .map(|chain| {
            driver.submit(&[segment(chain * 8, 8)], &[], ()).unwrap();
            driver.kick_needed()
        })
        .filter(|needed| *needed)
        .count();

    assert_eq!(kicks, 1);
}

/// Drivers' defect 1.
#[test]
fn an_event_anywhere_in_a_batch_across_the_wrap_is_not_lost() {
    for event in 50..150_u16 {
        let pair = Pair::packed(100, 0);
        let mut driver = pair.driver(EVENT_IDX, 50);
        let wrap = if event < 100 { EVENT_WRAP } else { 0 };
        pair.forge.set_device_wish((event % 100) | wrap, EVENT_DESC);

        for chain in 0..100 {
            driver.submit(&[segment(chain * 8, 8)], &[], ()).unwrap();
        }

        assert!(driver.kick_needed(), "event {event} steps into the batch");
        assert!(!driver.kick_needed(), "asked again with nothing new");
    }
}

/// §2.8.10: the wrap counter tells the descriptor just passed from the same one a lap later.
#[test]
fn an_event_of_the_other_lap_is_not_this_one() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(EVENT_IDX, 4);
    pair.forge.set_device_wish(4, EVENT_DESC);

    driver.submit(&[segment(0, 8)], &[], ()).unwrap();

    assert!(!driver.kick_needed());
}

/// Drivers' defect 13: §2.8.10: disabling interrupts does something, with `EVENT_IDX` and without.
#[test]
fn disarming_is_no_empty_gesture_once_the_event_index_is_negotiated() {
    for (features, armed_as) in [
        (Features::NONE, (0, EVENT_ENABLE)),
        (EVENT_IDX, (4, EVENT_DESC)),
    ] {
        let pair = Pair::packed(SIZE, 0);
        let mut driver = pair.driver(features, 4);
        let mut device = pair.device(features, 4);
        let interrupts = |driver: &mut Queue<()>, device: &mut ringway_ring::device::Queue| {
            (0..10)
                .filter(|_| {
                    driver.submit(&[segment(0, 8)], &[], ()).unwrap();
                    driver.kick_needed();
                    let mut batch = device.batch(&pair.map);
                    let chain = batch.next_chain().unwrap().unwrap();
                    batch.complete(chain, 0);
                    drop(batch);
                    driver.poll().unwrap().unwrap();
                    device.interrupt_needed()
                })
                .count()
        };

        assert_eq!(pair.forge.driver_wish().1, EVENT_DISABLE);
        let disarmed = interrupts(&mut driver, &mut device);
        driver.arm();
        let (desc, flags) = pair.forge.driver_wish();
        let armed = interrupts(&mut driver, &mut device);

        assert_eq!(disarmed, 0, "{features:?}");
        assert!(armed >= 1, "{features:?}");
        // Ten descriptors later: the same place, two laps on.
        assert_eq!(flags, armed_as.1, "{features:?}");
        assert_eq!(desc & !EVENT_WRAP, armed_as.0, "{features:?}");
    }
}

/// §2.8.17: the head's flags are those of its lap, and each later descriptor has those of its own.
#[test]
fn a_chain_across_the_end_of_the_ring_has_the_flags_of_both_laps() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, 4);

    driver
        .submit(&[segment(0, 8)], &[segment(8, 8), segment(16, 8)], ())
        .unwrap();
    driver.kick_needed();

    let flags = [4, 0, 1].map(|index| pair.descriptor(index).flags);
    assert_eq!(flags, [0x80 | 1, 0x8000 | 1 | WRITE, 0x8000 | WRITE]);
}

/// §2.8.19: in an indirect table there is no flag but that of writable elements.
///
/// Clauses: drv:packed/desc-table/indirect-desc:2
#[test]
fn a_table_has_no_flags_but_write_and_takes_one_descriptor() {
    let pair = Pair::packed(SIZE, 3);
    let mut driver = pair.driver(F::INDIRECT_DESC, 4);

    driver
        .submit(&[segment(0, 8)], &[segment(8, 8), segment(16, 8)], ())
        .unwrap();
    driver.kick_needed();

    let head = pair.descriptor(4);
    assert_eq!((head.len, head.flags), (48, 0x80 | 4));
    let table = pair.map.shared(head.address, 48).unwrap();
    let flags = [14, 30, 46].map(|at| table.view().read_value::<[u8; 2]>(at).unwrap());
    assert_eq!(flags, [[0, 0], [2, 0], [2, 0]]);
    assert!(driver.has_room(4) && !driver.has_room(5));
}

/// A chain goes into a table only if the device may follow it: no table is longer than the queue.
///
/// Clauses: drv:packed/desc-table/indirect-desc:3
#[test]
fn no_table_is_longer_than_the_queue() {
    let pair = Pair::packed(SIZE, SIZE);
    let mut driver = pair.driver(F::INDIRECT_DESC, 0);
    let long = [segment(0, 8); 6];

    let rejected = driver.submit(&long, &[], ()).unwrap_err();

    let limit = SIZE;
    assert_eq!(rejected.why, Refusal::TooLong { segments: 6, limit });
    driver.submit(&long[..5], &[], ()).unwrap();
    driver.kick_needed();
    let mut device = pair.device(F::INDIRECT_DESC, 0);
    let chain = device.batch(&pair.map).next_chain().unwrap().unwrap();
    assert_eq!(chain.readable_bytes(), 40);
}

#[test]
fn a_geometry_is_of_one_format_and_its_sizes() {
    let pair = Pair::packed(SIZE, 0);
    let memory = Memory {
        shared: pair.ring.clone(),
        address: crate::common::RING,
    };

    let split = Queue::<()>::new(&memory, pair.geometry, Features::NONE, 0);

    assert!(split.is_none(), "the features say split");
    assert!(Geometry::packed(0, 0).is_none());
    assert!(Geometry::packed(32769, 0).is_none());
    assert!(Geometry::packed(32767, 0).is_some());
    assert!(Geometry::new(5, 0).is_none());
    let largest = |most, features| Geometry::largest(most, 9, features).map(Geometry::size);
    assert_eq!(largest(7, F::RING_PACKED), Some(7));
    assert_eq!(largest(7, Features::NONE), Some(4));
    assert_eq!(largest(u16::MAX, F::RING_PACKED), Some(32768));
    assert_eq!(largest(0, F::RING_PACKED), None);
    assert_eq!(largest(0, Features::NONE), None);
}
