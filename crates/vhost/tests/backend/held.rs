//! What comes while a device holds chains that it has not completed: it completes them first, or is
//! given up.

use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::{F, Features, Status};
use ringway_vhost::backend::{Chains, Event, Refusal};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::protocol::{Iotlb, IotlbKind, Permissions, Request};

use crate::front::{Front, PROTOCOL, Ring, base_of, bytes, region};
use crate::holder::{Holder, NEVER};
use crate::served::Served;
use crate::translations::{Behind, PAGE};

const FORMATS: [Features; 3] = [
    Features::NONE,
    F::EVENT_IDX.union(F::IN_ORDER),
    F::RING_PACKED.union(F::EVENT_IDX),
];

/// A little before the indices of a ring wrap, in each format.
const PASSED: [u16; 3] = [0xfffe, 0xfffd, 30];

const SIZE: u16 = 16;

/// Gives the device a buffer.
fn submit(ring: &mut Ring, (shared, address): (ringway_ring::shared::Shared, u64)) {
    ring.submit(&[], &[Segment { address, len: 1 }], shared);
}

fn ring(front: &mut Front, features: Features, passed: u16) -> Ring {
    let geometry = Geometry::largest(SIZE, 0, features).unwrap();
    front.ring(0, geometry, features, passed)
}

/// Takes so many chains back, each of which the device has written to.
fn take(ring: &mut Ring, chains: u64) {
    for _ in 0..chains {
        assert_eq!(bytes(ring.wait()), [1]);
    }
    assert!(ring.queue.poll().unwrap().is_none(), "completed twice");
}

#[test]
fn memory_that_is_taken_back_is_reached_no_more_once_that_is_answered() {
    for features in FORMATS {
        let holder = Holder::new(20);
        let done = holder.done.clone();
        let served = Served::new(holder);
        let mut behind = Behind::new(&served, PROTOCOL, features);
        let mut ring = behind.ring(0, SIZE, features, 0);
        behind.update_all();
        // Which another one takes the place of.
        let buffer = behind.allocate(PAGE as usize);
        behind.update(buffer.1, PAGE, Permissions::WRITE);
        behind.update(ring.address, PAGE, Permissions::READ | Permissions::WRITE);
        behind.start(&ring, base_of(features, SIZE, 0));

        for round in 1..4 {
            submit(&mut ring, buffer.clone());
            done.wait_for_taken(round);
            let invalidated =
                behind.told(IotlbKind::Invalidate, buffer.1, PAGE, Permissions::empty());

            assert_eq!((invalidated, done.completed()), (0, round), "{features:?}");
            take(&mut ring, 1);
            behind.update(buffer.1, PAGE, Permissions::WRITE);
        }
    }
}

#[test]
fn a_device_that_does_not_let_go_of_memory_that_is_taken_back_is_given_up() {
    let holder = Holder::new(NEVER);
    let done = holder.done.clone();
    let served = Served::impatiently(holder);
    let mut behind = Behind::new(&served, PROTOCOL, Features::NONE);
    let mut ring = behind.ring(0, SIZE, Features::NONE, 0);
    let buffer = behind.allocate(PAGE as usize);
    behind.update(buffer.1, PAGE, Permissions::WRITE);
    behind.update(ring.address, PAGE, Permissions::READ | Permissions::WRITE);
    let error = EventFd::new().unwrap();
    let descriptor = error.try_clone().unwrap().into();
    behind.front.tell(Request::SetVringErr(0, Some(descriptor)));
    behind.start(&ring, 0);
    submit(&mut ring, buffer.clone());
    done.wait_for_taken(1);

    let told = behind.front.value(Request::IotlbMsg(Iotlb {
        address: buffer.1,
        size: PAGE,
        user_address: 0,
        permissions: Permissions::empty(),
        kind: IotlbKind::Invalidate,
    }));

    assert_eq!(told, 1);
    let refused = served
        .events
        .wait(|event| matches!(event, Event::Refused { .. }));
    let still_served = Refusal::StillServed;
    assert!(
        matches!(refused, Event::Refused { refusal, .. } if refusal == still_served),
        "{refused:?}"
    );
    assert_eq!(error.take(), Ok(true));
    let status = behind.front.value(Request::GetStatus);
    assert_eq!(status, u64::from(Status::NEEDS_RESET.bits()));
    // It is a ring that stands still, and no more.
    behind.front.stop(&ring);
    behind.front.tell(Request::SetStatus(0));
    assert_eq!(behind.front.value(Request::GetStatus), 0);
}

#[test]
fn a_reset_waits_for_what_is_held_and_the_device_begins_anew() {
    for (features, passed) in FORMATS.into_iter().zip(PASSED) {
        for reset in [Request::ResetDevice, Request::SetStatus(0)] {
            let holder = Holder::new(10);
            let done = holder.done.clone();
            let served = Served::new(holder);
            let mut front = Front::ready(served.connect(), PROTOCOL, features);
            let mut before = ring(&mut front, features, passed);
            front.start(&before, base_of(features, SIZE, passed));
            for _ in 0..5 {
                let buffer = front.allocate(1);
                submit(&mut before, buffer);
            }
            done.wait_for_taken(3);

            let code = reset.code();
            front.tell(reset);
            let completed = done.completed();

            assert_eq!(completed, done.taken(), "{code:?} with {features:?}");
            front.accept(features, 0);
            let mut after = ring(&mut front, features, 0);
            front.start(&after, base_of(features, SIZE, 0));
            let buffer = front.allocate(1);
            submit(&mut after, buffer);
            take(&mut after, 1);
            assert_eq!(done.completed(), completed + 1);
        }
    }
}

#[test]
fn a_reset_does_not_wait_for_ever_for_what_is_held() {
    let holder = Holder::new(NEVER);
    let done = holder.done.clone();
    let served = Served::impatiently(holder);
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let mut held = ring(&mut front, Features::NONE, 0);
    front.start(&held, 0);
    let buffer = front.allocate(1);
    submit(&mut held, buffer);
    done.wait_for_taken(1);

    front.tell(Request::ResetDevice);

    let stopped = served
        .events
        .wait(|event| matches!(event, Event::RingStopped { .. }));
    assert!(
        matches!(stopped, Event::RingStopped { chains, .. } if chains == Chains::Lost),
        "{stopped:?}"
    );
}

/// QEMU does so when memory is plugged in.
#[test]
fn memory_changes_while_chains_are_held_and_each_is_completed_once() {
    for (features, passed) in FORMATS.into_iter().zip(PASSED) {
        let holder = Holder::new(3);
        let done = holder.done.clone();
        let served = Served::new(holder);
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let mut ring = ring(&mut front, features, passed);
        front.start(&ring, base_of(features, SIZE, passed));
        let buffer = front.allocate(1);
        let (file, _) = ringway_vhost::memory::create("plugged in", 4096).unwrap();
        let plugged = ringway_vhost::protocol::Region {
            guest_address: region().guest_address + region().size,
            size: 4096,
            user_address: 0x1234_5000,
            file_offset: 0,
        };
        let again = || file.try_clone().unwrap();

        let mut given = 0;
        for round in 0..12 {
            let chains = round % 4 + 1;
            for _ in 0..chains {
                submit(&mut ring, buffer.clone());
            }
            given += chains;
            done.wait_for_taken(given - chains + 1);
            match round % 3 {
                0 => front.tell(Request::AddMemReg(plugged, again())),
                1 => front.tell(Request::RemMemReg(plugged)),
                _ => front.tell(Request::SetMemTable(vec![(region(), front.again())])),
            }
            take(&mut ring, chains);
        }

        assert_eq!((done.taken(), done.completed()), (given, given));
    }
}

#[test]
fn rings_go_on_as_they_are_when_other_features_are_asked_for_meanwhile() {
    for (features, passed) in FORMATS.into_iter().zip(PASSED) {
        let holder = Holder::new(3);
        let done = holder.done.clone();
        let served = Served::new(holder);
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let mut ring = ring(&mut front, features, passed);
        front.start(&ring, base_of(features, SIZE, passed));
        let buffer = front.allocate(1);

        for (round, other) in (0..10).zip(FORMATS.into_iter().cycle()) {
            submit(&mut ring, buffer.clone());
            submit(&mut ring, buffer.clone());
            done.wait_for_taken(round * 2 + 1);
            let wanted = (F::VERSION_1 | other).0 as u64;
            let own = ringway_vhost::protocol::PROTOCOL_FEATURES;
            let refused = front.value(Request::SetFeatures(wanted | own));

            assert_eq!(refused, u64::from(other != features));
            take(&mut ring, 2);
        }
    }
}

#[test]
fn a_ring_that_is_disabled_completes_what_it_holds_and_takes_nothing_before_it_is_enabled() {
    for (features, passed) in FORMATS.into_iter().zip(PASSED) {
        let holder = Holder::new(2);
        let done = holder.done.clone();
        let served = Served::new(holder);
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let mut ring = ring(&mut front, features, passed);
        front.start(&ring, base_of(features, SIZE, passed));
        let buffer = front.allocate(1);

        for round in 0..50 {
            let chains = round % 5 + 1;
            for _ in 0..chains {
                submit(&mut ring, buffer.clone());
            }
            front.tell(Request::SetVringEnable(ring.state(0)));
            let (taken, completed) = (done.taken(), done.completed());
            // It is kicked, too.
            submit(&mut ring, buffer.clone());
            ring.kick.signal();
            front.tell(Request::SetOwner);

            assert_eq!(taken, completed, "{features:?}");
            assert_eq!((done.taken(), done.completed()), (taken, completed));
            front.tell(Request::SetVringEnable(ring.state(1)));
            take(&mut ring, chains + 1);
        }
    }
}
