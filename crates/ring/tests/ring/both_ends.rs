//! Both ends of a queue, over random histories that begin near the wrap of the indices.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{BUFFER_BYTES, Pair, segment};
use proptest::prelude::*;
use ringway_ring::device::Chain;
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

    /// A driver end that meets random bytes in the device's area never panics, and never gives an owner back twice.
    #[test]
    fn random_bytes_in_the_devices_area_lose_nothing_and_repeat_nothing(
        forgeries in proptest::collection::vec((any::<u16>(), 0_u32..12, any::<u32>(), -2_i16..6), 1..60), start in 0xfff8_u16..,
    ) {
        let pair = Pair::new(8, 4);
        let mut driver = pair.driver::<u32>(F::INDIRECT_DESC, start);
        let mut back = Vec::new();
        let mut used = start;
        let mut owner = 0;

        for (slot, id, len, moved) in forgeries {
            if driver.submit(&[segment(0, 8)], &[segment(8, 64)], owner).is_ok() {
                owner += 1;
            }
            pair.forge_used(slot % 8, id, len % 100);
            used = used.wrapping_add_signed(moved);
            pair.forge_used_index(used);
            while let Ok(Some(done)) = driver.poll() {
                prop_assert!(done.written <= 64);
                back.push(done.owner);
            }
        }

        back.extend(std::iter::from_fn(|| driver.reclaim()));
        back.sort_unstable();
        prop_assert_eq!(back, (0..owner).collect::<Vec<_>>());
    }

    /// The same of a packed ring, where the device may write what the driver wrote.
    #[test]
    fn random_descriptors_over_a_packed_ring_lose_nothing_and_repeat_nothing(
        forgeries in proptest::collection::vec((0_u16..7, 0_u16..9, 0_u32..100, any::<u16>(), 0_u8..4), 1..80), start: u16,
    ) {
        let pair = Pair::packed(7, 4);
        let mut driver = pair.driver::<u32>(F::INDIRECT_DESC, start);
        let mut back = Vec::new();
        let mut owner = 0;

        for (slot, id, len, flags, turn) in forgeries {
            if driver.submit(&[segment(0, 8)], &[segment(8, 64)], owner).is_ok() {
                owner += 1;
            }
            // Most flags would be of no turn: make them used, in one lap or the other, more often than not.
            let flags = match turn {
                0 => flags,
                1 => flags & !0x8080,
                _ => flags | 0x8080,
            };
            pair.forge_packed(slot, u64::MAX, len, id, flags);
            while let Ok(Some(done)) = driver.poll() {
                prop_assert!(done.written <= 64);
                back.push(done.owner);
            }
        }

        back.extend(std::iter::from_fn(|| driver.reclaim()));
        back.sort_unstable();
        prop_assert_eq!(back, (0..owner).collect::<Vec<_>>());
    }

    /// A device end of a packed ring that meets random descriptors never panics, and holds no byte outside the map.
    #[test]
    fn random_descriptors_of_a_packed_ring_are_walked_within_bounds(
        bytes in proptest::collection::vec(any::<u8>(), 7), flags in proptest::collection::vec((0_u16..8, 0_u8..8), 7), start: u16,
    ) {
        let pair = Pair::packed(7, 0);
        for (index, (flags, turn)) in (0_u16..).zip(&flags) {
            let byte = bytes[usize::from(index)];
            let address = crate::common::BUFFERS + u64::from(byte) * 300;
            let turn = match turn { 0 => 0, 1 => 0x8080, 2..=4 => 0x8000, _ => 0x80 };
            pair.forge_packed(index, address, u32::from(byte) * 16, byte.into(), flags | turn);
        }
        let mut device = pair.device(F::INDIRECT_DESC, start);

        let mut batch = device.batch(&pair.map);
        for _ in 0..14 {
            let Ok(Some(chain)) = batch.next_chain() else { break };
            let mut readable = batch.readable(&chain);
            let mut room = vec![0; usize::try_from(readable.remaining()).unwrap()];
            prop_assert!(room.len() <= 7 * BUFFER_BYTES);
            readable.read(&mut room).unwrap();
            let mut writable = batch.writable(&chain);
            let zeros = vec![0; usize::try_from(writable.remaining()).unwrap()];
            writable.write(&zeros).unwrap();
            batch.complete(chain, u32::MAX);
        }
    }

    /// A device end that meets random bytes in the driver's areas never panics, and holds no byte outside the map.
    #[test]
    fn random_descriptors_are_walked_within_bounds(
        bytes in proptest::collection::vec(any::<u8>(), 8 * 16), flags in proptest::collection::vec(0_u16..8, 8),
        heads in proptest::collection::vec(0_u16..9, 1..9), start in 0xfff8_u16..,
    ) {
        let pair = Pair::new(8, 0);
        pair.ring.view().write(0, &bytes).unwrap();
        for (index, flags) in (0_u16..).zip(&flags) {
            // Most addresses would be nowhere: bring some of them home.
            let byte = bytes[usize::from(index) * 16];
            let address = crate::common::BUFFERS + u64::from(byte) * 300;
            pair.forge_descriptor(index, address, u32::from(byte) * 16, *flags, u16::from(byte) % 9);
        }
        let mut device = pair.device(F::INDIRECT_DESC, start);
        pair.forge_available(start, &heads);

        let mut batch = device.batch(&pair.map);
        for _ in 0..heads.len() {
            let Ok(Some(chain)) = batch.next_chain() else { break };
            let mut readable = batch.readable(&chain);
            let mut room = vec![0; usize::try_from(readable.remaining()).unwrap()];
            prop_assert!(room.len() <= 8 * BUFFER_BYTES);
            readable.read(&mut room).unwrap();
            let mut writable = batch.writable(&chain);
            let zeros = vec![0; usize::try_from(writable.remaining()).unwrap()];
            writable.write(&zeros).unwrap();
            batch.complete(chain, u32::MAX);
        }
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
fn races() -> impl Iterator<Item = (Pair, Features)> {
    let formats: [fn() -> Pair; 2] = [|| Pair::new(4, 0), || Pair::packed(3, 0)];
    let race = move |features| formats.map(|pair| (pair(), features));
    [Features::NONE, F::EVENT_IDX].into_iter().flat_map(race)
}

/// Drivers' defect 2: without a store-load fence in `kick_needed` and in the device's `arm`, the
/// driver reads the old event while the device reads the old index, and both wait.
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

/// The same the other way round: `interrupt_needed` and the driver's `arm`.
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
