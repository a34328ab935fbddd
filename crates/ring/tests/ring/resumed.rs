//! A queue that begins where another device ended.

use ringway_ring::device::{Queue, Violation};
use ringway_ring::ledger::{InFlight, Start};
use ringway_spec::{F, Features};

use crate::common::{Pair, segment};

fn resume(pair: &Pair, features: Features, start: &Start) -> Result<Queue, Violation> {
    let features = pair.features(features);
    let size = pair.geometry.size();
    Queue::resume(&pair.map, size, pair.areas, features, start, None)
}

#[test]
fn chains_that_were_in_flight_come_first_and_in_their_order() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(Features::NONE, 0xfffe);
    for owner in 0..4_u16 {
        driver
            .submit(&[segment(u64::from(owner) * 16, 16)], &[], owner)
            .unwrap();
    }
    driver.kick_needed();
    let heads: Vec<u16> = {
        let mut device = pair.device(Features::NONE, 0xfffe);
        let mut batch = device.batch(&pair.map);
        let mut taken = || batch.next_chain().unwrap().unwrap();
        let _died_with = [taken(), taken(), taken()];
        (0..3)
            .map(|at| pair.forge.available(0xfffe_u16.wrapping_add(at)))
            .collect()
    };
    let start = Start {
        used: 0xfffe,
        // The second one first, as if it had been taken first.
        in_flight: vec![
            InFlight::Head(heads[1]),
            InFlight::Head(heads[0]),
            InFlight::Head(heads[2]),
        ],
    };

    let mut device = resume(&pair, Features::NONE, &start).unwrap();
    let before = device.in_flight();
    let mut batch = device.batch(&pair.map);
    while let Some(chain) = batch.next_chain().unwrap() {
        batch.complete(chain, 0);
    }
    drop(batch);

    assert_eq!(before, 0, "none is with the device yet");
    let mut owners = Vec::new();
    while let Some(done) = driver.poll().unwrap() {
        owners.push(done.owner);
    }
    assert_eq!(owners, [1, 0, 2, 3]);
}

/// Devices' defect 10: saved state is believed.
#[test]
fn a_start_that_does_not_fit_what_is_in_flight_is_refused() {
    let split = Pair::new(8, 0);
    let packed = Pair::packed(6, 0);
    let start = |used, in_flight: &[InFlight]| Start {
        used,
        in_flight: in_flight.to_vec(),
    };
    let words = |count| InFlight::Words(vec![[0; 2]; count]);
    const WRAP: u16 = 1 << 15;

    for (pair, start) in [
        (&split, start(2, &[words(1)])),
        (&split, start(2, &[0; 9].map(InFlight::Head))),
        (&packed, start(6, &[])),
        (&packed, start(WRAP, &[InFlight::Head(0)])),
        (&packed, start(WRAP | 1, &[words(3), words(4)])),
        (&packed, start(1, &[0; 7].map(words))),
    ] {
        let used = start.used;
        let refused = resume(pair, Features::NONE, &start).err();
        assert_eq!(refused, Some(Violation::Start(used)));
    }
    assert!(
        resume(
            &packed,
            Features::NONE,
            &start(WRAP | 4, &[words(3), words(3)])
        )
        .is_ok()
    );
}

/// Devices' defect 10: saved state is believed.
#[test]
fn a_chain_in_flight_that_cannot_be_is_a_violation_as_any() {
    let pair = Pair::packed(4, 0);
    let _driver = pair.driver::<()>(Features::NONE, 0);
    const WRAP: u16 = 1 << 15;
    let nowhere = InFlight::Words(vec![[u64::MAX, 16]]);
    let start = Start {
        used: WRAP,
        in_flight: vec![nowhere],
    };

    let mut device = resume(&pair, Features::NONE, &start).unwrap();
    let taken = device.batch(&pair.map).next_chain();

    let address = u64::MAX;
    let violation = Violation::NotMapped { address, len: 16 };
    assert_eq!(taken.err(), Some(violation));
    assert_eq!(device.violation(), Some(violation));
}

#[test]
fn the_position_of_a_queue_is_where_another_begins() {
    for (pair, start) in [(Pair::new(4, 0), 0xffff), (Pair::packed(5, 0), 4)] {
        let features = F::EVENT_IDX;
        let mut driver = pair.driver(features, start);
        let mut device = pair.device(features, start);
        for round in 0..20 {
            driver.submit(&[segment(0, 4)], &[], round).unwrap();
            driver.kick_needed();
            let mut batch = device.batch(&pair.map);
            let chain = batch.next_chain().unwrap().unwrap();
            batch.complete(chain, 0);
            drop(batch);
            let position = device.position();

            let start = Start {
                used: position,
                in_flight: vec![],
            };
            device = resume(&pair, features, &start).unwrap();

            assert_eq!(driver.poll().unwrap().unwrap().owner, round);
        }
    }
}

#[test]
fn a_queue_goes_on_where_another_one_rested_as_its_ring_says() {
    let formats = [Features::NONE, F::EVENT_IDX, F::IN_ORDER];
    for features in formats {
        for (pair, start) in [(Pair::new(4, 0), 0xffff), (Pair::packed(5, 0), 4)] {
            let mut driver = pair.driver(features, start);
            let mut device = pair.device(features, start);
            for round in 0..20_u16 {
                let chain = [segment(0, 4), segment(16, 4)];
                driver
                    .submit(&chain[usize::from(round % 2)..], &[], round)
                    .unwrap();
                driver.kick_needed();
                let mut batch = device.batch(&pair.map);
                let chain = batch.next_chain().unwrap().unwrap();
                batch.complete(chain, 0);
                drop(batch);
                device.rest();
                let position = device.position();

                let size = pair.geometry.size();
                let features = pair.features(features);
                device = Queue::go_on(&pair.map, size, pair.areas, features).unwrap();

                assert_eq!(device.position(), position);
                assert_eq!(driver.poll().unwrap().unwrap().owner, round);
                assert!(device.batch(&pair.map).next_chain().unwrap().is_none());
            }
        }
    }
}

#[test]
fn chains_in_flight_are_taken_again_by_whoever_begins_where_the_next_is_given_back() {
    for features in [Features::NONE, F::EVENT_IDX, F::IN_ORDER] {
        for (pair, start) in [(Pair::new(4, 0), 0xffff), (Pair::packed(5, 0), 4)] {
            let mut driver = pair.driver(features, start);
            let mut device = pair.device(features, start);
            for owner in 0..3 {
                driver
                    .submit(&[segment(owner * 16, 4)], &[], owner)
                    .unwrap();
            }
            driver.kick_needed();
            let mut batch = device.batch(&pair.map);
            let first = batch.next_chain().unwrap().unwrap();
            let kept = [(); 2].map(|()| batch.next_chain().unwrap().unwrap());
            batch.complete(first, 0);
            drop(batch);

            device.rest();
            let size = pair.geometry.size();
            let rested = Queue::go_on(&pair.map, size, pair.areas, pair.features(features));
            let begin = Start {
                used: device.used_position(),
                in_flight: vec![],
            };
            let mut next = resume(&pair, features, &begin).unwrap();
            let mut batch = next.batch(&pair.map);
            while let Some(chain) = batch.next_chain().unwrap() {
                batch.complete(chain, 0);
            }
            drop(batch);

            let owners = [(); 4].map(|()| driver.poll().unwrap().map(|done| done.owner));
            assert_eq!(owners, [Some(0), Some(1), Some(2), None]);
            assert_eq!(rested.unwrap().position(), begin.used);
            drop(kept);
        }
    }
}

#[test]
fn a_packed_queue_that_rested_where_there_is_no_descriptor_is_refused() {
    let pair = Pair::packed(5, 0);
    let mut at_five = pair.device(Features::NONE, 0);
    at_five.rest();
    let go_on = |size| Queue::go_on(&pair.map, size, pair.areas, pair.features(Features::NONE));
    const WRAP: u16 = 1 << 15;

    let fits = go_on(5).map(|queue| queue.position());
    pair.forge.set_device_wish(7, 1);
    let refused = go_on(5).err();

    assert_eq!(fits, Ok(WRAP));
    assert_eq!(refused, Some(Violation::Start(7)));
}
