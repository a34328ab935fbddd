//! A device that is stopped and goes on.

use core::task::Poll;

use super::suspend::{SUSPENDED, Slow, around, submit, suspendable};
use super::*;

const DONE: Poll<Result<(), crate::admin::Inadmissible>> = Poll::Ready(Ok(()));

/// A device that its driver has started, with queue 0.
fn started(format: Features) -> (Bench, Front<Pin>, Ring) {
    let (mut bench, front) = front(Features::NONE, Offer::default().with(format));
    let features = F::VERSION_1 | format;
    let ring = bench.ram.ring(8, features);
    assert!(front.settle(features));
    assert!(front.enable(0, 8, &ring));
    front.set_status(READY);
    bench.steps.run(0);
    (bench, front, ring)
}

impl Front<Pin> {
    /// Stops a device that has nothing to complete, whose queue 0 is served.
    fn stop_now(&self, bench: &Bench) {
        assert_eq!(self.set_mode(Mode::Stopped), Poll::Pending);
        bench.steps.run(0);
        assert_eq!(self.set_mode(Mode::Stopped), DONE);
    }
}

/// §2.12.1.4.4.1
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:9,
/// dev:basic/device-groups/admin-cmds/device-parts:10
#[test]
fn what_was_begun_is_used_before_the_device_is_stopped() {
    for format in [Features::NONE, F::RING_PACKED] {
        let (mut device, log) = Plain::new(Features::NONE);
        device.worker = || Box::new(Slow::default());
        let (mut bench, front) = around(device, log, format);
        let features = F::VERSION_1 | format;
        let mut ring = bench.ram.ring(8, features);
        assert!(front.settle(features));
        assert!(front.enable(0, 8, &ring));
        front.set_status(READY);
        (0..3).for_each(|_| submit(&mut bench, &mut ring));
        bench.steps.run(0);

        let mut turns = 0;
        while front.set_mode(Mode::Stopped) != DONE {
            assert!(turns < 8, "it never stops");
            bench.steps.run(0);
            turns += 1;
        }

        let mut used = 0;
        while ring.queue.poll().unwrap().is_some() {
            used += 1;
        }
        assert_eq!((turns, used), (2, 3), "{format:?}");
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:8,
/// dev:basic/device-groups/admin-cmds/device-parts:11,
/// dev:basic/device-groups/admin-cmds/device-parts:15
#[test]
fn a_stopped_device_takes_kicks_and_does_what_they_ask_when_it_goes_on() {
    for format in [Features::NONE, F::RING_PACKED, F::EVENT_IDX] {
        let (mut bench, front, mut ring) = started(format);
        front.stop_now(&bench);
        bench.steps.kicks();

        submit(&mut bench, &mut ring);
        let memory = bench.ram.snapshot();
        front.kick(0);
        let kicked = bench.steps.kicks();
        bench.steps.run(0);
        let untouched = bench.ram.snapshot() == memory;
        let none = ring.queue.poll().unwrap().is_none();
        let went_on = front.set_mode(Mode::Running);
        let then = bench.steps.kicks();
        bench.steps.run(0);

        assert!(untouched && none);
        assert_eq!((kicked, then), (vec![], vec![0, 1]));
        assert_eq!(went_on, DONE);
        assert!(ring.queue.poll().unwrap().is_some(), "{format:?}");
        front.kick(0);
        assert_eq!(bench.steps.kicks(), [0]);
    }
}

/// Told when it goes on, and once.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:16
#[test]
fn a_stopped_device_interrupts_nobody() {
    let (mut bench, front, mut ring) = started(Features::NONE);
    ring.queue.arm();
    front.stop_now(&bench);

    submit(&mut bench, &mut ring);
    bench.steps.run(0);
    front.config_changed();
    let silent = !bench.wires.asserted();
    assert_eq!(front.set_mode(Mode::Running), DONE);

    assert!(silent);
    assert_eq!(front.interrupts().take(), InterruptStatus::CONFIG_CHANGE);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:20,
/// dev:basic/device-groups/admin-cmds/device-parts:21
#[test]
fn a_device_is_stopped_twice_and_goes_on_twice() {
    let (mut bench, front, mut ring) = started(Features::NONE);

    let runs = front.set_mode(Mode::Running);
    front.stop_now(&bench);
    let again = front.set_mode(Mode::Stopped);
    let on = [(); 2].map(|()| front.set_mode(Mode::Running));

    assert_eq!((runs, again, on), (DONE, DONE, [DONE; 2]));
    submit(&mut bench, &mut ring);
    bench.steps.run(0);
    assert!(ring.queue.poll().unwrap().is_some());
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:12
#[test]
fn registers_of_a_stopped_device_say_what_they_did_and_can_be_written() {
    let (bench, front, _ring) = started(Features::NONE);
    bench.log.config.lock()[2] = 7;
    front.stop_now(&bench);
    let mut config = [0; 3];

    front.read_config(0, &mut config);
    front.write(Register::QueueSelect, 1);
    front.write_config(0, &[5]);

    assert_eq!((front.status(), config), (READY, [0, 0, 7]));
    assert_eq!(front.read(Register::QueueSizeMax), 16);
    assert_eq!(bench.log.config.lock()[0], 5);
}

#[test]
fn what_a_driver_sets_up_while_the_device_is_stopped_is_served_when_it_goes_on() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    assert_eq!(front.set_mode(Mode::Stopped), DONE);

    let mut ring = front.start_one(&mut bench);
    submit(&mut bench, &mut ring);
    front.kick(0);
    let early = bench.steps.started();
    assert_eq!(front.set_mode(Mode::Running), DONE);
    bench.steps.run(0);

    assert_eq!((early, bench.steps.started()), (vec![], vec![0]));
    assert!(ring.queue.poll().unwrap().is_some());
}

#[test]
fn a_ring_that_cannot_be_breaks_the_device_when_it_goes_on_and_not_its_owner() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    assert_eq!(front.set_mode(Mode::Stopped), DONE);
    let mut ring = bench.ram.ring(8, F::VERSION_1);
    ring.areas.descriptor = 16;
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 8, &ring));

    front.set_status(READY);
    let before = front.status();
    let went_on = front.set_mode(Mode::Running);

    assert_eq!((before, went_on), (READY, DONE));
    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    assert_eq!(front.violation(), Some((0, Violation::Area(16))));
}

/// What is to be used belongs to a driver that is not there any more; the owner is not to wait for
/// ever.
#[test]
fn a_device_that_its_driver_broke_can_be_stopped_and_goes_on_as_broken() {
    let (mut bench, front, mut ring) = started(Features::NONE);
    ring.queue
        .submit(&[], &[bench.ram.holding(&[0; 4])], ())
        .unwrap();
    ring.queue.kick_needed();
    let available = ring.areas.driver + 2;
    bench.ram.write(available, &100_u16.to_le_bytes());
    bench.steps.run(0);
    assert_eq!(front.status(), READY | Status::NEEDS_RESET);

    let stopped = front.set_mode(Mode::Stopped);
    let served = bench.steps.started();
    let went_on = front.set_mode(Mode::Running);

    assert_eq!((stopped, went_on), (DONE, DONE));
    assert_eq!(served, []);
    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    bench.steps.kicks();
    front.kick(0);
    assert_eq!(bench.steps.kicks(), []);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:17,
/// dev:basic/device-groups/admin-cmds/device-parts:18
#[test]
fn an_owner_is_answered_when_the_reset_is_over() {
    for before in [Mode::Stopped, Mode::Running] {
        let (bench, front, _ring) = started(Features::NONE);
        let front = Arc::new(front);
        if before == Mode::Stopped {
            front.stop_now(&bench);
        }
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (asked, log) = (front.clone(), seen.clone());
        *bench.steps.on_stop.lock() = Some(Arc::new(move || {
            let set = asked.redraw(|_, given| Ok(given));
            let modes = [Mode::Stopped, Mode::Running].map(|mode| asked.set_mode(mode));
            log.lock().push((modes, set, asked.portrait().is_pending()));
        }));

        front.write(Register::Status, 0);
        *bench.steps.on_stop.lock() = None;

        let waits = ([Poll::Pending, Poll::Pending], Poll::Pending, true);
        assert_eq!(seen.lock().first(), Some(&waits));
        assert_eq!(front.set_mode(Mode::Stopped), DONE);
        assert_eq!(front.redraw(|_, given| Ok(given)), DONE);
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:22
#[test]
fn a_reset_of_a_stopped_device_takes_all_of_it_back_and_leaves_it_stopped() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let fresh = front.portrait();
    let _ring = front.start_one(&mut bench);
    bench.steps.run(0);
    front.stop_now(&bench);
    let worked = front.portrait();

    front.write(Register::Status, 0);
    let reset = front.portrait();
    let mut ring = front.start_one(&mut bench);
    submit(&mut bench, &mut ring);
    let started = bench.steps.started();
    assert_eq!(front.set_mode(Mode::Running), DONE);
    bench.steps.run(0);

    assert_ne!(worked, fresh);
    assert_eq!(reset, fresh);
    assert_eq!(started, []);
    assert!(ring.queue.poll().unwrap().is_some());
}

#[test]
fn a_device_rests_as_long_as_its_driver_or_its_owner_wants() {
    let (mut bench, front) = suspendable();
    let mut ring = front.start_suspendable(&mut bench);
    front.suspend_now();
    bench.steps.run(0);
    let mut served = |bench: &mut Bench| {
        submit(bench, &mut ring);
        front.kick(0);
        bench.steps.run(0);
        ring.queue.poll().unwrap().is_some()
    };

    assert_eq!(front.set_mode(Mode::Stopped), DONE);
    let both = (front.status(), served(&mut bench));
    assert_eq!(front.set_mode(Mode::Running), DONE);
    let driver = (front.status(), served(&mut bench));
    assert_eq!(front.set_mode(Mode::Stopped), DONE);
    front.set_status(SUSPENDED | Status::DRIVER_OK);
    let owner = (front.status(), served(&mut bench));
    front.suspend_now();
    let again = (front.status(), served(&mut bench));
    front.set_status(SUSPENDED | Status::DRIVER_OK);
    assert_eq!(front.set_mode(Mode::Running), DONE);
    let neither = (front.status(), served(&mut bench));

    assert_eq!((both, driver), ((SUSPENDED, false), (SUSPENDED, false)));
    assert_eq!((owner, again), ((READY, false), (SUSPENDED, false)));
    assert_eq!(neither, (READY, true));
}
