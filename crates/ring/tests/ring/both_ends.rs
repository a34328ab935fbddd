//! Both ends of a queue, over random histories that begin near the wrap of the indices.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{Pair, segment};
use proptest::prelude::*;
use ringway_ring::device::{Chain, Violation};
use ringway_ring::driver::Refusal;
use ringway_spec::{F, Features};

/// What one party does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The driver submits a chain of so many readable and writable segments.
    Submit { readable: u8, writable: u8 },
    /// The device takes a chain and keeps it.
    Take,
    /// The device completes the chain that it has kept for so many others.
    Complete { which: u8, written: u32 },
    /// The driver polls.
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u8..5, 0_u8..5).prop_map(|(readable, writable)| Step::Submit { readable, writable }),
        3 => Just(Step::Take),
        3 => (any::<u8>(), 0_u32..200).prop_map(|(which, written)| Step::Complete { which, written }),
        3 => Just(Step::Poll),
    ];
    proptest::collection::vec(step, 0..400)
}

/// What the driver knows of a chain that it submitted.
struct Expected {
    readable: usize,
    writable: u32,
    written: Option<u32>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Every owner comes back once, with what the device wrote, and nothing comes back that was not completed.
    #[test]
    fn every_chain_comes_back_once_whatever_the_order(
        steps in steps(), packed: bool, some_size in 1_u16..40, table in 0_u16..9, indirect: bool, event_index: bool, start in 0xfff0_u16..,
    ) {
        let size = if packed { some_size } else { some_size.next_power_of_two() };
        let mut features = Features::NONE;
        if indirect { features |= F::INDIRECT_DESC; }
        if event_index { features |= F::EVENT_IDX; }
        let pair = if packed { Pair::packed(size, table.min(size)) } else { Pair::new(size, table.min(size)) };
        let mut driver = pair.driver::<u64>(features, start);
        let mut device = pair.device(features, start);
        let mut expected = HashMap::new();
        let mut kept: VecDeque<(u64, Chain)> = VecDeque::new();
        let mut submitted = VecDeque::new();
        let mut owner = 0_u64;

        for step in steps {
            match step {
                Step::Submit { readable, writable } => {
                    let at = |index: u8| segment(u64::from(index) * 8, 8);
                    let read: Vec<_> = (0..readable).map(at).collect();
                    let write: Vec<_> = (0..writable).map(at).collect();
                    match driver.submit(&read, &write, owner) {
                        Ok(_) => {
                            let chain = Expected { readable: read.len() * 8, writable: u32::from(writable) * 8, written: None };
                            expected.insert(owner, chain);
                            submitted.push_back(owner);
                            driver.kick_needed();
                        }
                        Err(rejected) => {
                            prop_assert_eq!(rejected.owner, owner);
                            let segments = read.len() + write.len();
                            match rejected.why {
                                Refusal::Empty => prop_assert_eq!(segments, 0),
                                Refusal::Full => prop_assert!(!expected.is_empty()),
                                Refusal::TooLong { limit, .. } => prop_assert!(segments > usize::from(limit)),
                                other => prop_assert!(false, "{:?}", other),
                            }
                        }
                    }
                    owner += 1;
                }
                Step::Take => {
                    let taken = device.batch(&pair.map).next_chain().unwrap();
                    prop_assert_eq!(taken.is_some(), !submitted.is_empty());
                    if let Some(chain) = taken {
                        let owner = submitted.pop_front().unwrap();
                        let chain_of: &Expected = &expected[&owner];
                        prop_assert_eq!(chain.readable_bytes(), chain_of.readable as u32);
                        prop_assert_eq!(chain.writable_bytes(), chain_of.writable);
                        kept.push_back((owner, chain));
                    }
                }
                Step::Complete { which, written } => {
                    let which = usize::from(which) % kept.len().max(1);
                    if let Some((owner, chain)) = kept.remove(which) {
                        let chain_of = expected.get_mut(&owner).unwrap();
                        chain_of.written = Some(written.min(chain_of.writable));
                        device.batch(&pair.map).complete(chain, written);
                    }
                }
                Step::Poll => {
                    let done = driver.poll().unwrap();
                    let completed = expected.values().any(|chain| chain.written.is_some());
                    prop_assert_eq!(done.is_some(), completed);
                    if let Some(done) = done {
                        let chain = expected.remove(&done.owner).unwrap();
                        prop_assert_eq!(chain.written, Some(done.written));
                    }
                }
            }
            prop_assert_eq!(usize::from(driver.in_flight()), expected.len());
            prop_assert_eq!(usize::from(device.in_flight()), kept.len());
        }

        let mut left: Vec<u64> = std::iter::from_fn(|| driver.reclaim()).collect();
        left.sort_unstable();
        let mut in_flight: Vec<u64> = expected.into_keys().collect();
        in_flight.sort_unstable();
        prop_assert_eq!(left, in_flight);
    }
}

/// Zeros are the flags of a descriptor that was used in an odd lap.
#[test]
fn a_chain_that_was_not_published_is_never_completed_whatever_the_lap_a_packed_ring_begins_in() {
    for start in [0, 1, 2, 3, 5, 0xfffe, 0xffff] {
        let pair = Pair::packed(3, 0);
        let mut driver = pair.driver::<u32>(Features::NONE, start);
        let mut device = pair.device(Features::NONE, start);

        for chain in 0..7 {
            driver.submit(&[segment(0, 8)], &[], chain).unwrap();
            let before = driver.poll().unwrap();
            assert!(before.is_none(), "chain {chain} after {start}: {before:?}");

            driver.kick_needed();
            let mut batch = device.batch(&pair.map);
            let taken = batch.next_chain().unwrap().unwrap();
            batch.complete(taken, 0);
            drop(batch);
            assert_eq!(driver.poll().unwrap().unwrap().owner, chain);
        }
    }
}

/// Rounds of a race between one party, who publishes and asks whether the other wants to know, and
/// the other, who asks to be told and looks once more.
const ROUNDS: u32 = 40_000;
/// A sleep of this length is one without end.
const SLEEP_MAX: Duration = Duration::from_secs(2);

/// Who sleeps until it is told.
struct Bell {
    rung: AtomicBool,
    over: AtomicBool,
}

impl Bell {
    fn new() -> Self {
        Self {
            rung: AtomicBool::new(false),
            over: AtomicBool::new(false),
        }
    }

    fn ring(&self) {
        self.rung.store(true, Ordering::Release);
    }

    /// Sleeps until it rings. Says whether it did.
    fn sleep(&self) -> bool {
        let asleep = Instant::now();
        for turn in 1_u32.. {
            if self.rung.load(Ordering::Acquire) {
                break;
            }
            if self.over.load(Ordering::Acquire) || asleep.elapsed() > SLEEP_MAX {
                return false;
            }
            relax(turn);
        }
        self.rung.store(false, Ordering::Relaxed);
        true
    }
}

/// Spins, and at times lets others have the processor, of which there may be one only.
fn relax(turn: u32) {
    if turn.is_multiple_of(256) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

/// Waits for some while that differs from round to round, so that the two parties meet at every
/// distance.
fn dawdle(round: u32) {
    for _ in 0..round % 61 {
        std::hint::spin_loop();
    }
}

/// A queue of each format, without and with `EVENT_IDX`.
fn queues(split: fn() -> Pair, packed: fn() -> Pair) -> impl Iterator<Item = (Pair, Features)> {
    let queue = move |features| [(split(), features), (packed(), features)];
    [Features::NONE, F::EVENT_IDX].into_iter().flat_map(queue)
}

fn races() -> impl Iterator<Item = (Pair, Features)> {
    queues(|| Pair::new(4, 0), || Pair::packed(3, 0))
}

/// Drivers' defect 15: what the device gave back together is had one by one, all of it, with one
/// look.
#[test]
fn completions_that_come_together_are_all_seen() {
    for (pair, features) in queues(|| Pair::new(64, 0), || Pair::packed(50, 0)) {
        let mut driver = pair.driver(features, 0xfff0);
        let mut device = pair.device(features, 0xfff0);
        for owner in 0..50 {
            driver.submit(&[segment(0, 8)], &[], owner).unwrap();
        }
        driver.kick_needed();
        let mut batch = device.batch(&pair.map);
        while let Some(chain) = batch.next_chain().unwrap() {
            batch.complete(chain, 0);
        }
        drop(batch);

        let looked = driver.arm();
        let seen: Vec<u32> = std::iter::from_fn(|| driver.poll().unwrap())
            .map(|done| done.owner)
            .collect();

        assert!(looked, "{features:?}");
        assert!(seen.iter().copied().eq(0..50), "{features:?}");
        assert!(!driver.arm(), "{features:?}");
    }
}

/// Devices' defect 10: where a queue goes on is what somebody saved. If that is wrong, chains are
/// not found, or a rule is broken; no more.
#[test]
fn a_saved_index_that_is_wrong_is_not_believed() {
    for (pair, features) in queues(|| Pair::new(4, 0), || Pair::packed(3, 0)) {
        let size = pair.geometry.size();
        let mut driver = pair.driver(features, 0);
        driver.submit(&[segment(0, 8)], &[], ()).unwrap();
        driver.kick_needed();

        for saved in 0..=u16::MAX {
            let mut device = pair.device(features, saved);
            let mut batch = device.batch(&pair.map);
            let mut taken = Vec::new();
            while let Ok(Some(chain)) = batch.next_chain() {
                assert_eq!(chain.readable_bytes(), 8);
                taken.push(chain);
            }
            drop(batch);

            assert!(taken.len() <= usize::from(size));
            assert!(saved != 0 || taken.len() == 1, "the right one");
            let far = 1_u16.wrapping_sub(saved) > size;
            if far && !pair.geometry.is_packed() {
                let moved = 1_u16.wrapping_sub(saved);
                let violation = Violation::AvailableTooFar { moved, size };
                assert_eq!(device.violation(), Some(violation));
            }
        }
    }
}

/// Drivers' defect 2: without a store-load fence in `kick_needed` and in the device's `arm`, the
/// driver reads the old event while the device reads the old index, and both wait. Devices' defect 15: a
/// device that took more after it was armed, and is not armed again, is told of nothing.
#[test]
fn a_kick_is_never_lost_between_a_driver_that_polls_and_a_device_that_sleeps() {
    for (pair, features) in races() {
        let mut driver = pair.driver::<u32>(features, 0xfff0);
        let mut device = pair.device(features, 0xfff0);
        let kick = Bell::new();

        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                while !kick.over.load(Ordering::Acquire) {
                    device.disarm();
                    let mut batch = device.batch(&pair.map);
                    while let Some(chain) = batch.next_chain().unwrap() {
                        batch.complete(chain, 0);
                    }
                    drop(batch);
                    if !device.arm() && !kick.sleep() {
                        return;
                    }
                }
            });
            for round in 0..ROUNDS {
                dawdle(round);
                driver.submit(&[segment(0, 8)], &[], round).unwrap();
                if driver.kick_needed() {
                    kick.ring();
                }
                let mut turn = 0;
                while driver.poll().unwrap().is_none() {
                    assert!(
                        !sleeper.is_finished(),
                        "a kick was lost in round {round} of {:?} with {features:?}",
                        pair.geometry
                    );
                    turn += 1;
                    relax(turn);
                }
            }
            kick.over.store(true, Ordering::Release);
        });
    }
}

/// Drivers' defect 2: the same the other way round: `interrupt_needed` and the driver's `arm`.
#[test]
fn an_interrupt_is_never_lost_between_a_device_that_polls_and_a_driver_that_sleeps() {
    for (pair, features) in races() {
        let mut driver = pair.driver::<u32>(features, 0xfff0);
        let mut device = pair.device(features, 0xfff0);
        let interrupt = Bell::new();

        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut round, mut turn) = (0, 0_u32);
                while !interrupt.over.load(Ordering::Acquire) {
                    let mut batch = device.batch(&pair.map);
                    while let Some(chain) = batch.next_chain().unwrap() {
                        dawdle(round);
                        round += 1;
                        batch.complete(chain, 0);
                    }
                    drop(batch);
                    if device.interrupt_needed() {
                        interrupt.ring();
                    }
                    turn += 1;
                    relax(turn);
                }
            });
            for round in 0..ROUNDS {
                driver.submit(&[segment(0, 8)], &[], round).unwrap();
                driver.kick_needed();
                let mut heard = true;
                while heard && driver.poll().unwrap().is_none() {
                    heard = driver.arm() || interrupt.sleep();
                    driver.disarm();
                }
                if !heard {
                    interrupt.over.store(true, Ordering::Release);
                    panic!(
                        "an interrupt was lost in round {round} of {:?} with {features:?}",
                        pair.geometry
                    );
                }
            }
            interrupt.over.store(true, Ordering::Release);
        });
    }
}
