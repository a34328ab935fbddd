//! Both ends of a queue, over random histories that begin near the wrap of the indices.

use std::collections::{HashMap, VecDeque};
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
        steps in steps(), log_size in 0_u32..6, table in 0_u16..9, indirect: bool, event_index: bool, start in 0xfff0_u16..,
    ) {
        let size = 1_u16 << log_size;
        let mut features = Features::NONE;
        if indirect { features |= F::INDIRECT_DESC; }
        if event_index { features |= F::EVENT_IDX; }
        let pair = Pair::new(size, table.min(size));
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
                        prop_assert_eq!(chain.readable(&pair.map).remaining(), chain_of.readable as u64);
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
            let mut readable = chain.readable(&pair.map);
            let mut room = vec![0; usize::try_from(readable.remaining()).unwrap()];
            prop_assert!(room.len() <= 8 * BUFFER_BYTES);
            readable.read(&mut room).unwrap();
            let mut writable = chain.writable(&pair.map);
            let zeros = vec![0; usize::try_from(writable.remaining()).unwrap()];
            writable.write(&zeros).unwrap();
            batch.complete(chain, u32::MAX);
        }
    }
}

/// The one memory order that no processor gives for nothing: both ends ask for notifications and look once more, on two threads. A lost
/// kick or a lost interrupt would be a sleep without end; it is cut short, and fails.
#[test]
fn two_threads_that_sleep_only_when_armed_never_lose_a_notification() {
    use std::sync::atomic::{AtomicBool, Ordering};
    const REQUESTS: u64 = 20_000;
    const LIMIT: Duration = Duration::from_secs(30);
    for features in [Features::NONE, F::EVENT_IDX] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver::<u64>(features, 0xfff0);
        let mut device = pair.device(features, 0xfff0);
        let (kick, interrupt, over) = (
            AtomicBool::new(false),
            AtomicBool::new(false),
            AtomicBool::new(false),
        );
        let sleep = |flag: &AtomicBool| {
            let asleep = Instant::now();
            while !flag.swap(false, Ordering::Acquire) && !over.load(Ordering::Acquire) {
                if asleep.elapsed() > LIMIT {
                    over.store(true, Ordering::Release);
                    panic!("a notification was lost with {features:?}");
                }
                std::thread::yield_now();
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let mut batch = device.batch(&pair.map);
                    while let Some(chain) = batch.next_chain().unwrap() {
                        batch.complete(chain, 0);
                    }
                    if device.interrupt_needed() {
                        interrupt.store(true, Ordering::Release);
                    }
                    if !device.arm() {
                        sleep(&kick);
                    }
                }
            });
            let (mut submitted, mut completed) = (0, 0);
            while completed < REQUESTS && !over.load(Ordering::Acquire) {
                while submitted < REQUESTS
                    && driver.submit(&[segment(0, 8)], &[], submitted).is_ok()
                {
                    submitted += 1;
                }
                if driver.kick_needed() {
                    kick.store(true, Ordering::Release);
                }
                while driver.poll().unwrap().is_some() {
                    completed += 1;
                }
                if completed < submitted && !driver.arm() {
                    sleep(&interrupt);
                }
            }
            over.store(true, Ordering::Release);
        });
    }
}
