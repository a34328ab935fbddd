//! The driver's end of a split ring against a device that breaks the rules. Each test is a defect
//! that was found in a respected driver.

use crate::common::{Pair, segment};
use ringway_ring::driver::{Refusal, Violation};
use ringway_spec::{F, Features};

const START: u16 = 0xfffe;
const EVENT_IDX: Features = F::EVENT_IDX;

/// Drivers' defect 4: §2.7.8: an id is believed once.
#[test]
fn a_used_id_completed_twice_is_a_violation_and_the_owner_comes_home_once() {
    let pair = Pair::new(4, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let token = driver.submit(&[], &[segment(0, 16)], "first").unwrap();
    driver.submit(&[], &[segment(16, 16)], "second").unwrap();
    driver.kick_needed();

    pair.forge.set_used(2, u32::from(token.id()), 16);
    pair.forge.set_used(3, u32::from(token.id()), 16);
    pair.forge.set_used_index(START.wrapping_add(2));
    let first = driver.poll().unwrap().unwrap();
    let again = driver.poll();

    assert_eq!((first.owner, first.token), ("first", token));
    assert_eq!(
        again.err(),
        Some(Violation::UnknownId(u32::from(token.id())))
    );
    assert_eq!(driver.reclaim(), Some("second"));
    assert_eq!(driver.reclaim(), None);
}

/// Drivers' defect 5: §2.7.8: a length that the chain has no room for is not handed on.
#[test]
fn a_used_length_beyond_the_writable_bytes_is_a_violation() {
    for (len, believed) in [(16, true), (17, false), (u32::MAX, false)] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver(Features::NONE, START);
        let token = driver
            .submit(&[segment(0, 64)], &[segment(64, 16)], ())
            .unwrap();
        driver.kick_needed();

        pair.forge.set_used(2, u32::from(token.id()), len);
        pair.forge.set_used_index(START.wrapping_add(1));
        let polled = driver.poll();

        if believed {
            assert_eq!(polled.unwrap().unwrap().written, len);
        } else {
            let violation = Violation::WrittenTooMuch {
                written: len,
                writable: 16,
            };
            assert_eq!(polled.err(), Some(violation));
        }
    }
}

/// Drivers' defect 6: The free list and the chains are private: what stands in the descriptor table
/// is never read back.
#[test]
fn a_device_that_rewrites_the_descriptor_table_cannot_redirect_the_free_list() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let chain = [segment(0, 8), segment(8, 8), segment(16, 8)];
    let first = driver.submit(&chain, &[], 1).unwrap();
    driver.kick_needed();

    for index in 0..8 {
        pair.forge_descriptor(index, u64::MAX, u32::MAX, 0xffff, 0xffff);
    }
    pair.forge.set_used(6, u32::from(first.id()), 0);
    pair.forge.set_used_index(START.wrapping_add(1));
    let owner = driver.poll().unwrap().unwrap().owner;

    assert_eq!(owner, 1);
    let ids: Vec<_> = (0..8)
        .map(|_| driver.submit(&[segment(0, 8)], &[], 2).unwrap().id())
        .collect();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..8).collect::<Vec<_>>());
    assert_eq!(
        driver.submit(&[segment(0, 8)], &[], 3).unwrap_err().why,
        Refusal::Full
    );
}

/// Drivers' defect 7: An element is loaded once: what it says after the poll changes nothing, and
/// the poll is not made twice.
#[test]
fn a_used_element_that_changes_after_it_was_read_changes_nothing() {
    let pair = Pair::new(4, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let token = driver.submit(&[], &[segment(0, 16)], "owner").unwrap();
    driver.kick_needed();
    pair.forge.set_used(2, u32::from(token.id()), 5);
    pair.forge.set_used_index(START.wrapping_add(1));

    let done = driver.poll().unwrap().unwrap();
    pair.forge.set_used(2, 0xdead, u32::MAX);

    assert_eq!((done.owner, done.written), ("owner", 5));
    assert!(driver.poll().unwrap().is_none());
    assert_eq!(driver.in_flight(), 0);
}

/// The index is bounded by what is in flight, so a forged one cannot make the driver read stale
/// elements.
#[test]
fn a_used_index_beyond_the_chains_in_flight_is_a_violation() {
    for moved in [2_u16, 5, 0x8000, 0xffff] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver(Features::NONE, START);
        driver.submit(&[segment(0, 16)], &[], ()).unwrap();
        driver.kick_needed();

        pair.forge.set_used_index(START.wrapping_add(moved));
        let polled = driver.poll();

        assert_eq!(
            polled.err(),
            Some(Violation::UsedTooFar {
                moved,
                in_flight: 1
            })
        );
    }
}

/// What the device was not told of yet cannot come back.
#[test]
fn a_used_index_beyond_the_chains_published_is_a_violation() {
    let pair = Pair::new(4, 0);
    let mut driver = pair.driver(Features::NONE, START);
    driver.submit(&[segment(0, 16)], &[], "told").unwrap();
    driver.kick_needed();
    driver.submit(&[segment(0, 16)], &[], "untold").unwrap();

    pair.forge.set_used_index(START.wrapping_add(2));
    let polled = driver.poll();

    let violation = Violation::UsedTooFar {
        moved: 2,
        in_flight: 1,
    };
    assert_eq!(polled.err(), Some(violation));
}

#[test]
fn an_id_outside_the_queue_is_a_violation() {
    for id in [1_u32, 4, 0x1_0000, u32::MAX] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver(Features::NONE, START);
        driver.submit(&[segment(0, 16)], &[], ()).unwrap();
        driver.kick_needed();

        pair.forge.set_used(2, id, 0);
        pair.forge.set_used_index(START.wrapping_add(1));
        let polled = driver.poll();

        assert_eq!(polled.err(), Some(Violation::UnknownId(id)));
    }
}

/// House rule 2: a violation is latched, and what is in flight stays in custody.
#[test]
fn a_broken_queue_stays_broken_and_takes_nothing() {
    let pair = Pair::new(4, 0);
    let mut driver = pair.driver(Features::NONE, START);
    driver.submit(&[segment(0, 16)], &[], "held").unwrap();
    driver.kick_needed();
    pair.forge.set_used(2, 3, 0);
    pair.forge.set_used_index(START.wrapping_add(1));
    let violation = driver.poll().unwrap_err();

    pair.forge.set_used(2, 0, 0);
    let rejected = driver
        .submit(&[segment(0, 16)], &[], "refused")
        .unwrap_err();

    assert_eq!(driver.poll().err(), Some(violation));
    assert_eq!(
        (rejected.why, rejected.owner),
        (Refusal::Broken(violation), "refused")
    );
    assert_eq!(driver.violation(), Some(violation));
    assert_eq!(driver.reclaim(), Some("held"));
}

/// House rule 3: the owners of chains in flight are not dropped with the queue, for the device may
/// still be writing.
#[test]
fn a_queue_that_is_dropped_does_not_drop_the_owners_in_flight() {
    let pair = Pair::new(4, 0);
    let owner = std::sync::Arc::new(());
    let mut driver = pair.driver(Features::NONE, START);
    driver
        .submit(&[segment(0, 16)], &[], owner.clone())
        .unwrap();

    drop(driver);

    assert_eq!(std::sync::Arc::strong_count(&owner), 2);
}

/// Drivers' defect 1: §2.7.10: a batch that steps over the event is told once, whether or not it
/// crosses the 16-bit wrap; not for each chain.
#[test]
fn a_batch_that_crosses_the_wrap_is_kicked_once_and_not_a_hundred_times() {
    let pair = Pair::new(128, 0);
    let mut driver = pair.driver(EVENT_IDX, 0xffce);
    pair.forge.set_available_event(0xffce);

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
///
/// Clauses: drv:split/available-buffer-notif-suppression:6
#[test]
fn an_event_anywhere_in_a_batch_across_the_wrap_is_not_lost() {
    for event in 0..100_u16 {
        let pair = Pair::new(128, 0);
        let mut driver = pair.driver(EVENT_IDX, 0xffce);
        pair.forge
            .set_available_event(0xffce_u16.wrapping_add(event));

        for chain in 0..100 {
            driver.submit(&[segment(chain * 8, 8)], &[], ()).unwrap();
        }

        assert!(driver.kick_needed(), "event {event} steps into the batch");
        assert!(!driver.kick_needed(), "asked again with nothing new");
    }
}

/// Drivers' defect 13: §2.7.7 and §2.7.10: disabling interrupts does something, with the flag and
/// with the event index.
#[test]
fn disarming_is_no_empty_gesture_once_the_event_index_is_negotiated() {
    for features in [Features::NONE, EVENT_IDX] {
        let pair = Pair::new(16, 0);
        let mut driver = pair.driver(features, START);
        let mut device = pair.device(features, START);
        let interrupts = |driver: &mut ringway_ring::driver::Queue<()>,
                          device: &mut ringway_ring::device::Queue| {
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

        driver.disarm();
        let disarmed = interrupts(&mut driver, &mut device);
        driver.arm();
        let armed = interrupts(&mut driver, &mut device);

        assert_eq!(disarmed, 0, "{features:?}");
        assert!(armed >= 1, "{features:?}");
    }
}

/// §2.7.10: with the event index, the flag means nothing to the other side, so it stays 0 and is
/// not listened to.
///
/// Clauses: drv:split/available-buffer-notif-suppression:5
#[test]
fn the_flags_are_left_alone_when_the_event_index_is_negotiated() {
    let pair = Pair::new(16, 0);
    let mut driver = pair.driver(EVENT_IDX, START);
    pair.forge.set_used_flags(1);
    pair.forge.set_available_event(START);

    driver.disarm();
    driver.submit(&[segment(0, 8)], &[], ()).unwrap();

    assert_eq!(pair.forge.interrupt_wish().0, 0);
    assert!(driver.kick_needed());
}
