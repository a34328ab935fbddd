//! Chains of one piece that the device's end serves at once.

use crate::common::{BUFFERS, Pair, segment};
use ringway_ring::device::Violation;
use ringway_ring::driver::Segment;
use ringway_spec::{F, Features};

/// Near the wrap of the indices.
const START: u16 = 0xfff0;

fn ways() -> impl Iterator<Item = (Pair, Features)> {
    let features = [Features::NONE, F::EVENT_IDX, F::IN_ORDER];
    features
        .into_iter()
        .flat_map(|f| [(Pair::new(8, 4), f), (Pair::packed(8, 4), f)])
}

#[test]
fn what_is_served_at_once_comes_back_as_if_it_were_completed() {
    for (pair, features) in ways() {
        let mut driver = pair.driver(features, START);
        let mut device = pair.device(features, START);
        pair.buffers.view().fill(0x11);
        // Past the end of the ring, and of its indices.
        for round in 0..40_u8 {
            driver.submit(&[segment(0, 8)], &[], 1).unwrap();
            driver.submit(&[], &[segment(64, 16)], 2).unwrap();
            driver.submit(&[segment(8, 8)], &[], 3).unwrap();
            driver.kick_needed();
            let mut seen = Vec::new();

            let mut batch = device.batch(&pair.map);
            // The first one has the region found.
            let first = batch.next_chain().unwrap().unwrap();
            batch.complete(first, 0);
            while batch.serve_next(|plain| {
                seen.push((plain.readable().is_some(), plain.writable().is_some()));
                if let Some(view) = plain.writable() {
                    view.write(0, &[round; 5]).unwrap();
                }
                // More than there is.
                Some(if round % 2 == 0 { 5 } else { 100 })
            }) {}
            let none = batch.next_chain().unwrap().is_none();
            drop(batch);
            let back = std::iter::from_fn(|| driver.poll().unwrap());
            let back: Vec<_> = back.map(|done| (done.owner, done.written)).collect();

            assert!(none && seen == [(false, true), (true, false)]);
            let written = if round % 2 == 0 { 5 } else { 16 };
            assert_eq!(back, [(1, 0), (2, written), (3, 0)], "round {round}");
            assert_eq!(pair.forge.read::<[u8; 5]>(BUFFERS + 64), [round; 5]);
        }
    }
}

#[test]
fn a_chain_for_which_nothing_is_said_is_left_where_it_is() {
    for (pair, features) in ways() {
        let mut driver = pair.driver(features, START);
        let mut device = pair.device(features, START);
        driver.submit(&[segment(0, 8)], &[], 1).unwrap();
        driver.submit(&[segment(8, 8)], &[], 2).unwrap();
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        let first = batch.next_chain().unwrap().unwrap();
        batch.complete(first, 0);
        let left = (batch.serve_next(|_| None), batch.serve_next(|_| None));
        let chain = batch.next_chain().unwrap().unwrap();
        assert_eq!(chain.readable_bytes(), 8);
        batch.complete(chain, 0);
        drop(batch);

        assert_eq!(left, (false, false));
        let back = std::iter::from_fn(|| driver.poll().unwrap());
        assert_eq!(back.map(|done| done.owner).collect::<Vec<_>>(), [1, 2]);
    }
}

#[test]
fn chains_that_are_not_one_piece_of_known_memory_are_left_to_be_walked() {
    let several = [segment(0, 8), segment(8, 8)];
    let nowhere = Segment {
        address: 0x10,
        len: 8,
    };
    let nothing = Segment {
        len: 0,
        ..segment(0, 8)
    };
    for (chain, violation) in [
        (&several[..], None),
        (&[nothing][..], None),
        (
            &[nowhere][..],
            Some(Violation::NotMapped {
                address: 0x10,
                len: 8,
            }),
        ),
    ] {
        for indirect in [Features::NONE, F::INDIRECT_DESC] {
            for (pair, features) in ways() {
                let features = features | indirect;
                let mut driver = pair.driver(features, START);
                let mut device = pair.device(features, START);
                driver.submit(&[segment(0, 8)], &[], 0).unwrap();
                driver.submit(chain, &[], 1).unwrap();
                driver.kick_needed();

                let mut batch = device.batch(&pair.map);
                let first = batch.next_chain().unwrap().unwrap();
                batch.complete(first, 0);
                let served = batch.serve_next(|_| panic!("it is not plain"));
                let taken = batch.next_chain();

                assert!(!served);
                assert_eq!(taken.as_ref().err(), violation.as_ref(), "{chain:?}");
                if let Ok(taken) = taken {
                    batch.complete(taken.unwrap(), 0);
                }
            }
        }
    }
}

#[test]
fn in_order_nothing_is_served_before_what_was_taken() {
    for pair in [Pair::new(8, 0), Pair::packed(8, 0)] {
        let mut driver = pair.driver(F::IN_ORDER, START);
        let mut device = pair.device(F::IN_ORDER, START);
        for owner in 0..3 {
            driver.submit(&[segment(0, 8)], &[], owner).unwrap();
        }
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        let kept = batch.next_chain().unwrap().unwrap();
        let before = batch.serve_next(|_| Some(0));
        batch.complete(kept, 0);
        let after = [(); 3].map(|()| batch.serve_next(|_| Some(0)));
        drop(batch);

        assert_eq!((before, after), (false, [true, true, false]));
        let back = std::iter::from_fn(|| driver.poll().unwrap());
        assert_eq!(back.map(|done| done.owner).collect::<Vec<_>>(), [0, 1, 2]);
    }
}

#[test]
fn nothing_is_served_of_a_queue_that_is_broken() {
    for (pair, features) in ways() {
        let mut driver = pair.driver(features, START);
        let mut device = pair.device(features, START);
        for owner in 0..2 {
            driver.submit(&[segment(0, 8)], &[], owner).unwrap();
        }
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        let first = batch.next_chain().unwrap().unwrap();
        batch.complete(first, 0);
        batch.violated(Violation::ChainTooLarge);

        assert!(!batch.serve_next(|_| panic!("it is broken")));
        assert_eq!(batch.next_chain().err(), Some(Violation::ChainTooLarge));
    }
}
