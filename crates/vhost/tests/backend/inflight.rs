//! What was in flight when a back-end went away, or when a ring was stopped, is completed by whoever
//! comes next, and once.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::{F, Features};
use ringway_vhost::backend::{Event, Refusal};
use ringway_vhost::ledger::RecordError;
use ringway_vhost::memory;
use ringway_vhost::protocol::{Inflight, ProtocolFeatures, Reply, Request};

use crate::front::{Front, PROTOCOL, Ring, base_of};
use crate::keeper::{Keeper, below};
use crate::served::{Served, entropy};

const REMEMBERS: ProtocolFeatures = PROTOCOL.union(ProtocolFeatures::INFLIGHT_SHMFD);
const FORMATS: [Features; 5] = [
    Features::NONE,
    F::IN_ORDER.union(F::INDIRECT_DESC),
    F::RING_PACKED,
    F::RING_PACKED.union(F::EVENT_IDX).union(F::INDIRECT_DESC),
    F::RING_PACKED.union(F::IN_ORDER),
];
const SIZE: u16 = 16;

/// Memory for what is in flight in 3 queues of so many descriptors.
fn area(front: &Front, queue_size: u16) -> (Inflight, OwnedFd) {
    let wanted = Inflight {
        queues: 3,
        queue_size,
        ..Inflight::default()
    };
    match front.ask(Request::GetInflightFd(wanted)) {
        Reply::Inflight(inflight, Some(file)) => (inflight, file),
        other => panic!("{other:?} is no memory"),
    }
}

fn give(front: &Front, (inflight, file): &(Inflight, OwnedFd)) -> u64 {
    let file = file.try_clone().unwrap();
    front.value(Request::SetInflightFd(*inflight, file))
}

fn rings(front: &mut Front, features: Features, passed: u16) -> Vec<Ring> {
    let ring = |index| {
        let geometry = Geometry::largest(SIZE, 4, features).unwrap();
        let ring = front.ring(index, geometry, features, passed);
        if !features.contains(F::RING_PACKED) {
            // As a device left it that was served so far.
            let index = geometry.areas(ring.address).device + 2;
            front.write(index, &passed.to_le_bytes());
        }
        ring
    };
    (0..3).map(ring).collect()
}

fn submit(front: &mut Front, ring: &mut Ring) {
    let (shared, address) = front.allocate(16);
    let part = |at| Segment {
        address: address + at,
        len: 4,
    };
    ring.submit(&[part(8)], &[part(0), part(4)], shared);
}

#[test]
fn back_ends_that_go_away_with_requests_in_flight_complete_each_once_between_them() {
    for (features, passed) in FORMATS.into_iter().zip([0xfff8, 0xfffd, 9, 31, 15]) {
        let device = Keeper::new(u64::from(passed));
        let (seed, completed) = (device.seed.clone(), device.completed.clone());
        let served = Served::new(device);
        let mut front = Front::ready(served.connect(), REMEMBERS, features);
        let remembered = area(&front, SIZE);
        let mut rings = rings(&mut front, features, passed);
        let random = AtomicU64::new(passed.into());
        let (mut submitted, mut seen) = (0, 0);

        for generation in 0..40 {
            if generation == 39 {
                seed.store(0, Ordering::Relaxed);
            }
            if generation % 3 == 2 {
                // The same back-end, with rings that are stopped and go on.
                for ring in &rings {
                    front.stop(ring);
                }
            } else if generation != 0 {
                front.reconnect(served.connect(), REMEMBERS, features);
            }
            assert_eq!(give(&front, &remembered), 0);
            for ring in &rings {
                // What the front-end knows of it is not what counts.
                front.start(ring, base_of(features, SIZE, passed));
            }
            for ring in &mut rings {
                for _ in 0..below(&random, 4) {
                    // Without indirect tables a chain takes 3 descriptors.
                    if ring.queue.in_flight() < 5 {
                        submit(&mut front, ring);
                        submitted += 1;
                    }
                }
                // Something may be seen, or nothing.
                while ring.queue.poll().unwrap().is_some() {
                    seen += 1;
                }
            }
        }
        for ring in &mut rings {
            while ring.queue.in_flight() != 0 {
                let (written, shared) = ring.wait();
                assert_eq!((written, shared.view().read_value(0)), (1, Ok(1_u8)));
                seen += 1;
            }
        }

        assert_eq!((seen, ring_events(&served)), (submitted, 0), "{features:?}");
        assert!(completed.load(Ordering::Relaxed) >= submitted);
    }
}

/// How many rules somebody broke.
fn ring_events(served: &Served) -> usize {
    let wrong = |event: &Event| matches!(event, Event::Violation { .. } | Event::Refused { .. });
    usize::from(served.events.has(wrong))
}

/// Devices' defect 10: saved state is believed.
#[test]
fn memory_of_another_version_or_size_or_that_contradicts_itself_is_refused() {
    for features in [Features::NONE, F::RING_PACKED] {
        let served = Served::new(Keeper::new(0));
        let mut front = Front::ready(served.connect(), REMEMBERS, features);
        let (inflight, file) = area(&front, SIZE);
        let record = memory::map(&file, 0, inflight.size).unwrap();
        let ring = rings(&mut front, features, 0).remove(0);
        let header = |version: u16, size: u16| [version.to_le_bytes(), size.to_le_bytes()].concat();
        let inconsistent = if features.contains(F::RING_PACKED) {
            // No entry is free, and none is in flight.
            (16_u16 | 16 << 8).to_le_bytes()
        } else {
            // It is beyond what the driver sees, and more than the ring has.
            [0, 0x80]
        };

        for (bytes, error) in [
            (header(2, SIZE), RecordError::Version(2)),
            (
                header(1, 8),
                RecordError::Size {
                    queue: SIZE,
                    record: 8,
                },
            ),
            (
                [header(1, SIZE), vec![16, 0], inconsistent.to_vec()].concat(),
                RecordError::Inconsistent,
            ),
        ] {
            record.view().fill(0);
            record.view().write(8, &bytes).unwrap();
            assert_eq!(give(&front, &(inflight, file.try_clone().unwrap())), 0);
            front.describe(&ring, base_of(features, SIZE, 0));
            front.tell(Request::SetVringKick(0, Some(ring.kick_descriptor())));
            let refused = front.value(Request::SetVringEnable(ring.state(1)));
            let event = served
                .events
                .wait(|event| matches!(event, Event::Refused { .. }));

            let refusal = Refusal::Record { index: 0, error };
            assert!(
                matches!(event, Event::Refused { refusal: why, .. } if why == refusal),
                "{event:?}"
            );
            assert_eq!(refused, 1);
            front.tell(Request::SetVringEnable(ring.state(0)));
        }
    }
}

#[test]
fn memory_that_is_too_small_is_refused_and_rings_smaller_than_it_says_run() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), REMEMBERS, Features::NONE);
    let wanted = Inflight {
        queues: 1,
        queue_size: 64,
        ..Inflight::default()
    };
    let Reply::Inflight(inflight, Some(file)) = front.ask(Request::GetInflightFd(wanted)) else {
        panic!("no memory");
    };
    let mut small = front.ring(0, Geometry::new(SIZE, 0).unwrap(), Features::NONE, 0);
    let mut large = front.ring(0, Geometry::new(128, 0).unwrap(), Features::NONE, 0);

    let short = Inflight {
        size: inflight.size - 1,
        ..inflight
    };
    let beyond = Inflight {
        file_offset: 1 << 40,
        ..inflight
    };
    let refused =
        [short, beyond].map(|inflight| give(&front, &(inflight, file.try_clone().unwrap())));
    assert_eq!(give(&front, &(inflight, file.try_clone().unwrap())), 0);
    front.start(&small, 0);
    let drawn = small.draw(&mut front, 9);
    front.stop(&small);
    front.describe(&large, 0);
    let too_large = front.value(Request::SetVringKick(0, Some(large.kick_descriptor())));
    // With none at all, any ring runs.
    front.tell(Request::ResetDevice);
    front.accept(Features::NONE, 0);
    front.start(&large, 0);

    assert_eq!((refused, drawn, too_large), ([1; 2], vec![7; 9], 1));
    assert_eq!(large.draw(&mut front, 9), [7; 9]);
}
