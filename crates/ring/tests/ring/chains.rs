//! What the device's end does with the chains that it holds: where their segments are, when the
//! driver sees that they are done, and in which order.

use std::collections::VecDeque;

use crate::common::{BUFFERS, Pair, segment};
use proptest::prelude::*;
use ringway_ring::device::{Chain, Queue, Violation};
use ringway_ring::map::{Region, Regions};
use ringway_ring::slab::{BLOCKS_MAX, Block};
use ringway_spec::{F, Features, split};

/// Near the wrap of the indices, and of no lap's end.
const START: u16 = 0xfffd;

/// A pair of each format.
fn pairs(size: u16) -> [Pair; 2] {
    [Pair::new(size, 0), Pair::packed(size, 0)]
}

#[test]
fn the_driver_sees_what_was_completed_when_the_batch_ends_or_is_published() {
    for pair in pairs(4) {
        let mut driver = pair.driver(Features::NONE, START);
        let mut device = pair.device(Features::NONE, START);
        for owner in 0..3 {
            driver.submit(&[], &[segment(0, 8)], owner).unwrap();
        }
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        let mut complete = |written| {
            let chain = batch.next_chain().unwrap().unwrap();
            batch.complete(chain, written);
        };
        complete(1);
        complete(2);
        let before = driver.poll().unwrap().map(|done| done.owner);
        batch.publish();
        let published = [(); 3].map(|()| driver.poll().unwrap().map(|done| done.written));
        let chain = batch.next_chain().unwrap().unwrap();
        batch.complete(chain, 3);
        let again = driver.poll().unwrap().map(|done| done.owner);
        drop(batch);
        let dropped = driver.poll().unwrap().map(|done| done.written);

        assert_eq!((before, again), (None, None));
        assert_eq!(published, [Some(1), Some(2), None]);
        assert_eq!(dropped, Some(3));
    }
}

/// A batch may be forgotten, but what it completed is not.
#[test]
fn an_interrupt_is_not_asked_for_before_what_it_tells_of_is_published() {
    for pair in pairs(4) {
        let mut driver = pair.driver(Features::NONE, START);
        let mut device = pair.device(Features::NONE, START);
        driver.submit(&[segment(0, 8)], &[], ()).unwrap();
        driver.kick_needed();
        driver.arm();
        let mut batch = device.batch(&pair.map);
        let chain = batch.next_chain().unwrap().unwrap();
        batch.complete(chain, 0);
        std::mem::forget(batch);

        let needed = device.interrupt_needed();

        assert!(needed && driver.poll().unwrap().is_some());
    }
}

#[test]
fn chains_wait_in_the_ring_while_kept_ones_leave_the_slab_no_room() {
    for pair in pairs(4) {
        let mut blocks = [Block::EMPTY; 2];
        let mut driver = pair.driver(Features::NONE, START);
        let features = pair.features(Features::NONE);
        let mut device =
            Queue::with_slab(&pair.map, 4, pair.areas, features, START, &mut blocks[..]).unwrap();
        for owner in 0..3 {
            driver.submit(&[segment(owner, 8)], &[], owner).unwrap();
        }
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        let [first, second] = [(); 2].map(|()| batch.next_chain().unwrap().unwrap());
        let starved = batch.next_chain().unwrap();
        drop(batch);
        let while_starved = device.arm();
        device.batch(&pair.map).complete(first, 0);
        let after_completion = device.arm();
        let third = device.batch(&pair.map).next_chain().unwrap();

        assert!(starved.is_none() && !while_starved);
        assert!(after_completion && third.is_some());
        let mut batch = device.batch(&pair.map);
        batch.complete(third.unwrap(), 0);
        batch.complete(second, 0);
        drop(batch);
        let back = std::iter::from_fn(|| driver.poll().unwrap()).map(|done| done.owner);
        assert_eq!(back.collect::<Vec<_>>(), [0, 2, 1]);
    }
}

#[test]
fn a_chain_with_more_segments_than_the_slab_has_room_for_in_all_is_a_violation() {
    for pair in pairs(16) {
        let mut blocks = [Block::EMPTY; 2];
        let mut driver = pair.driver(Features::NONE, START);
        let features = pair.features(Features::NONE);
        let mut device =
            Queue::with_slab(&pair.map, 16, pair.areas, features, START, &mut blocks[..]).unwrap();
        let segments: Vec<_> = (0..13).map(|at| segment(at * 8, 8)).collect();

        driver.submit(&segments[..12], &[], ()).unwrap();
        driver.kick_needed();
        let fits = device.batch(&pair.map).next_chain().unwrap().unwrap();
        let bytes = device.batch(&pair.map).readable(&fits).remaining();
        device.batch(&pair.map).complete(fits, 0);
        driver.poll().unwrap().unwrap();
        driver.submit(&segments, &[], ()).unwrap();
        driver.kick_needed();
        let too_long = device.batch(&pair.map).next_chain();

        assert_eq!(bytes, 96);
        assert_eq!(too_long.err(), Some(Violation::TooManySegments));
        assert_eq!(device.violation(), Some(Violation::TooManySegments));
    }
}

/// The same chain of all descriptors again and again: the heap is given no more than the bound.
#[test]
fn a_driver_that_has_the_longest_chains_kept_comes_to_the_end_of_the_slab() {
    let size = split::MAX_SIZE;
    let pair = Pair::new(size, 0);
    for index in 0..size {
        let next = u16::from(index != size - 1);
        pair.forge_descriptor(index, BUFFERS, 8, next, index + 1);
    }
    pair.forge_available(START, &[0; 100]);
    let mut device = pair.device(Features::NONE, START);

    let mut batch = device.batch(&pair.map);
    let kept: Vec<Chain> = std::iter::from_fn(|| batch.next_chain().unwrap()).collect();
    drop(batch);

    let blocks_each = usize::from(size).div_ceil(6);
    assert_eq!(kept.len(), BLOCKS_MAX / blocks_each);
    assert!(!device.arm() && device.violation().is_none());
}

#[test]
fn a_queue_and_its_view_of_memory_can_be_arrays() {
    for pair in pairs(8) {
        let mut regions: Vec<Region> = pair.map.regions().to_vec();
        regions.reverse();
        let regions = Regions::new(&mut regions[..]).unwrap();
        let mut blocks = [Block::EMPTY; 8];
        let features = pair.features(Features::NONE);
        let mut driver = pair.driver(Features::NONE, START);
        let mut device =
            Queue::with_slab(regions, 8, pair.areas, features, START, &mut blocks[..]).unwrap();

        for round in 0..20_u8 {
            pair.buffers.view().fill(round);
            driver
                .submit(&[segment(0, 8)], &[segment(64, 4)], round)
                .unwrap();
            driver.kick_needed();
            let mut batch = device.batch(regions);
            let chain = batch.next_chain().unwrap().unwrap();
            let heard: [u8; 8] = batch.readable(&chain).read_value().unwrap();
            batch.writable(&chain).write(b"done").unwrap();
            batch.complete(chain, 4);
            drop(batch);
            let done = driver.poll().unwrap().unwrap();

            assert_eq!(heard, [round; 8]);
            assert_eq!((done.owner, done.written), (round, 4));
        }
    }
}

#[test]
fn a_chain_of_another_queue_is_not_completed() {
    for (ours, theirs) in pairs(8).into_iter().zip(pairs(8)) {
        let mut their_driver = theirs.driver(Features::NONE, START);
        let mut their_device = theirs.device(Features::NONE, START);
        let segments: Vec<_> = (0..8).map(|at| segment(at * 8, 8)).collect();
        their_driver.submit(&segments, &[], ()).unwrap();
        their_driver.kick_needed();
        let foreign = their_device.batch(&theirs.map).next_chain();
        let foreign = foreign.unwrap().unwrap();
        let mut driver = ours.driver::<()>(Features::NONE, START);
        let mut device = ours.device(Features::NONE, START);

        let mut batch = device.batch(&ours.map);
        let read = batch.readable(&foreign).read(&mut [0; 64]);
        batch.complete(foreign, 7);
        drop(batch);

        assert!(read.is_err());
        assert!(!device.interrupt_needed() && driver.poll().unwrap().is_none());
        assert_eq!(device.in_flight(), 0);
    }
}

/// §2.7.9: an element for a chain that was not used completely, and one for the end of each run.
///
/// Clauses: dev:reserved-feature-bits:5
#[test]
fn in_order_a_run_of_chains_of_a_split_ring_is_one_element() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(F::IN_ORDER, START);
    let mut device = pair.device(F::IN_ORDER, START);
    for owner in 0..6 {
        driver.submit(&[], &[segment(0, 8)], owner).unwrap();
    }
    driver.kick_needed();
    for slot in 0..8 {
        pair.forge.set_used(slot, 0xaaaa, 0xbbbb);
    }

    let mut batch = device.batch(&pair.map);
    let chains: Vec<_> = std::iter::from_fn(|| batch.next_chain().unwrap()).collect();
    for (chain, written) in chains.into_iter().zip([8, 8, 5, 8, 8, 8]).rev() {
        batch.complete(chain, written);
    }
    drop(batch);

    let slot = |passed| START.wrapping_add(passed) % 8;
    let elements: Vec<_> = (0..6)
        .map(|passed| pair.forge.used(slot(passed)))
        .filter(|(id, _)| *id != 0xaaaa)
        .collect();
    assert_eq!(elements.len(), 2);
    assert_eq!((elements[0].1, elements[1].1), (5, 8));
    assert_eq!(elements[1], pair.forge.used(slot(3)));
    let back = std::iter::from_fn(|| driver.poll().unwrap());
    let back: Vec<_> = back.map(|done| (done.owner, done.written)).collect();
    assert_eq!(back, [(0, 8), (1, 8), (2, 5), (3, 8), (4, 8), (5, 8)]);
}

/// §2.8.8, with the end of the ring in a run.
///
/// Clauses: dev:reserved-feature-bits:5
#[test]
fn in_order_a_run_of_chains_of_a_packed_ring_is_one_descriptor() {
    let pair = Pair::packed(5, 0);
    let mut driver = pair.driver(F::IN_ORDER, 3);
    let mut device = pair.device(F::IN_ORDER, 3);
    for owner in 0..2 {
        let segments = [segment(0, 8), segment(8, 8)];
        driver
            .submit(&segments[..1], &segments[1..], owner)
            .unwrap();
    }
    driver.kick_needed();

    let mut batch = device.batch(&pair.map);
    let [first, second] = [(); 2].map(|()| batch.next_chain().unwrap().unwrap());
    batch.complete(second, 6);
    batch.complete(first, 8);
    drop(batch);

    // The second chain, in place of the first descriptor of the first one.
    assert_eq!(pair.descriptor(3).len, 6);
    assert_eq!(pair.descriptor(3).flags & 0x8080, 0x8080);
    assert_ne!(pair.descriptor(0).flags & 0x8080, 0);
    let back = std::iter::from_fn(|| driver.poll().unwrap());
    let back: Vec<_> = back.map(|done| (done.owner, done.written)).collect();
    assert_eq!(back, [(0, 8), (1, 6)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// With `IN_ORDER`, in whatever order chains are done, on a slab that is large or small.
    #[test]
    fn chains_come_back_in_order_with_what_was_written(
        steps in proptest::collection::vec((0_u8..4, any::<u8>()), 0..300), packed: bool, some_size in 1_u16..12,
        blocks in 1_usize..6, start in 0xfff0_u16..,
    ) {
        let size = if packed { some_size } else { some_size.next_power_of_two() };
        let pair = if packed { Pair::packed(size, 0) } else { Pair::new(size, 0) };
        let features = pair.features(F::IN_ORDER);
        let mut blocks = vec![Block::EMPTY; blocks];
        let mut driver = pair.driver(F::IN_ORDER, start);
        let mut device = Queue::with_slab(&pair.map, size, pair.areas, features, start, &mut blocks[..]).unwrap();
        let mut owner = 0_usize;
        let mut kept: Vec<(usize, Chain)> = Vec::new();
        let mut written = Vec::new();
        let mut taken = 0;
        let mut back = VecDeque::new();

        for (step, choice) in steps {
            match step {
                0 => {
                    let segments = usize::from(choice % 3) + 1;
                    let writable = vec![segment(0, 8); segments];
                    if driver.submit(&[], &writable, owner).is_ok() {
                        written.push(None);
                        owner += 1;
                    }
                    driver.kick_needed();
                }
                1 => {
                    if let Some(chain) = device.batch(&pair.map).next_chain().unwrap() {
                        kept.push((taken, chain));
                        taken += 1;
                    }
                }
                2 if !kept.is_empty() => {
                    let (owner, chain) = kept.swap_remove(usize::from(choice) % kept.len());
                    let all = chain.writable_bytes();
                    let count = if choice % 4 == 0 { all / 2 } else { all };
                    written[owner] = Some(count);
                    device.batch(&pair.map).complete(chain, count);
                }
                _ => while let Some(done) = driver.poll().unwrap() {
                    back.push_back(done.owner);
                    prop_assert_eq!(Some(done.written), written[done.owner]);
                },
            }
            prop_assert_eq!(usize::from(device.in_flight()), kept.len());
        }

        prop_assert!(back.iter().copied().eq(0..back.len()), "{:?}", back);
    }
}
