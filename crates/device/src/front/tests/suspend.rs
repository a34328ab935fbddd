//! A device that is suspended and goes on.

use super::*;
use crate::model::Worker;
use crate::testing::Log;
use ringway_ring::device::{Batch, Chain};

pub(super) const SUSPENDED: Status = SETTLED.union(Status::SUSPEND);

pub(super) fn suspendable() -> (Bench, Front<Pin>) {
    front(Features::NONE, Offer::default().with(F::SUSPEND))
}

impl Front<Pin> {
    pub(super) fn start_suspendable(&self, bench: &mut Bench) -> Ring {
        let features = F::VERSION_1 | F::SUSPEND;
        let ring = bench.ram.ring(8, features);
        assert!(self.settle(features));
        assert!(self.enable(0, 8, &ring));
        self.set_status(READY);
        bench.steps.run(0);
        ring
    }

    pub(super) fn suspend_now(&self) {
        self.set_status(READY | Status::SUSPEND);
    }
}

pub(super) fn submit(bench: &mut Bench, ring: &mut Ring) {
    let room = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[room], ()).unwrap();
    ring.queue.kick_needed();
}

/// §3.4
///
/// Clauses: dev:general-initialization-and-op/device-suspend:3,
/// dev:general-initialization-and-op/device-suspend:6,
/// dev:general-initialization-and-op/device-suspend:7
#[test]
fn a_device_is_suspended_once_every_queue_rests_and_goes_on_from_there() {
    let (mut bench, front) = suspendable();
    let mut ring = front.start_suspendable(&mut bench);
    bench.steps.kicks();

    front.suspend_now();
    let at_first = front.status();
    let asked = bench.steps.kicks();
    bench.steps.run(0);
    let then = front.status();
    // Against the rules: neither is heard.
    submit(&mut bench, &mut ring);
    front.kick(0);
    bench.steps.run(0);
    let untouched = ring.queue.poll().unwrap().is_none();
    front.set_status(SUSPENDED | Status::DRIVER_OK);
    let resumed = front.status();
    bench.steps.run(0);

    assert_eq!([at_first, then, resumed], [READY, SUSPENDED, READY]);
    assert_eq!(asked, [0, 1]);
    assert!(untouched);
    assert_eq!(bench.steps.kicks(), [0, 1]);
    assert!(ring.queue.poll().unwrap().is_some());
}

/// §3.4.2
///
/// Clauses: dev:general-initialization-and-op/device-suspend:1
#[test]
fn a_driver_that_did_not_agree_to_it_or_is_not_ready_cannot_suspend_the_device() {
    let (mut bench, unasked) = front(Features::NONE, Offer::default());
    let _ring = unasked.start_one(&mut bench);
    let (_bench, early) = suspendable();
    assert!(early.settle(F::VERSION_1 | F::SUSPEND));

    unasked.suspend_now();
    early.set_status(SETTLED | Status::SUSPEND);

    assert_eq!((unasked.status(), early.status()), (READY, SETTLED));
}

/// §3.4.2: told when it goes on, and once.
///
/// Clauses: dev:general-initialization-and-op/device-suspend:4,
/// dev:general-initialization-and-op/device-suspend:5
#[test]
fn a_suspended_device_says_nothing_of_its_configuration_and_takes_none() {
    let (mut bench, front) = suspendable();
    let _ring = front.start_suspendable(&mut bench);
    front.suspend_now();
    bench.steps.run(0);

    front.config_changed();
    front.write_config(0, &[9]);
    let silent = !bench.wires.asserted();
    front.set_status(SUSPENDED | Status::DRIVER_OK);

    assert!(silent);
    assert_eq!(front.interrupts().take(), InterruptStatus::CONFIG_CHANGE);
    assert_eq!(*bench.log.config.lock(), [0; 8]);
    front.write_config(0, &[9]);
    assert_eq!(bench.log.config.lock()[0], 9);
}

/// §3.4.2: whatever becomes of the device meanwhile, and whether it says so or not.
///
/// Clauses: dev:general-initialization-and-op/device-suspend:3
#[test]
fn a_suspended_device_shows_the_configuration_that_it_had() {
    let (mut bench, front) = suspendable();
    let _ring = front.start_suspendable(&mut bench);
    let seen = || {
        let mut bytes = [0; 8];
        front.read_config(0, &mut bytes);
        (bytes, front.read(Register::Generation))
    };
    bench.log.config.lock()[0] = 1;
    front.suspend_now();
    bench.steps.run(0);

    let before = seen();
    bench.log.config.lock()[0] = 2;
    let silent = seen();
    bench.log.config.lock()[1] = 2;
    front.config_changed();
    let told = seen();
    front.set_status(SUSPENDED | Status::DRIVER_OK);
    let after = seen();

    assert_eq!(before.0, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!([silent, told], [before; 2]);
    assert_eq!(after.0, [2, 2, 0, 0, 0, 0, 0, 0]);
    assert_ne!(after.1, before.1);
}

#[test]
fn a_suspended_device_can_be_reset_and_is_as_on_the_first_day() {
    let (mut bench, front) = suspendable();
    let _ring = front.start_suspendable(&mut bench);
    front.suspend_now();
    bench.steps.run(0);

    front.write(Register::Status, 0);
    let reset = front.status();
    let mut ring = front.start_suspendable(&mut bench);
    submit(&mut bench, &mut ring);
    bench.steps.run(0);

    assert_eq!((reset, front.status()), (Status::empty(), READY));
    assert!(ring.queue.poll().unwrap().is_some());
}

#[test]
fn a_queue_that_is_reset_alone_is_not_waited_for() {
    let (mut bench, front) = front(Features::NONE, Offer::default().with(F::SUSPEND));
    let features = F::VERSION_1 | F::SUSPEND | F::RING_RESET;
    let ring = bench.ram.ring(8, features);
    assert!(front.settle(features));
    assert!(front.enable(0, 8, &ring));
    front.set_status(READY);

    front.suspend_now();
    front.write(Register::QueueReset, 1);
    let suspended = front.status();
    // Nothing is set up meanwhile.
    let enabled = front.enable(0, 8, &ring);

    assert_eq!((suspended, enabled), (SUSPENDED, false));
}

#[test]
fn a_device_that_may_not_reach_memory_is_suspended_when_it_may() {
    let (mut bench, front) = suspendable();
    let _ring = front.start_suspendable(&mut bench);
    bench.steps.kicks();
    front.set_reachable(false);

    front.suspend_now();
    let asked = bench.steps.kicks();
    front.set_reachable(true);
    front.resume();
    bench.steps.run(0);

    assert_eq!((asked, bench.steps.kicks()), (vec![], vec![0, 1]));
    assert_eq!(front.status(), SUSPENDED);
}

/// Keeps what it is given, and gives one back each time that it is served.
#[derive(Default)]
pub(super) struct Slow(Vec<Chain>);

impl Worker for Slow {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.0.push(chain);
        }
        if let Some(chain) = self.0.pop() {
            batch.complete(chain, 0);
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Keeps what it is given, and finds fault with it when it is served again.
#[derive(Default)]
struct Late(Vec<Chain>);

impl Worker for Late {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        if !self.0.is_empty() {
            return Err(Violation::Area(RAM));
        }
        while let Some(chain) = batch.next_chain()? {
            self.0.push(chain);
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.0.is_empty()
    }
}

/// §3.4.2: a queue that broke will never rest.
///
/// Clauses: dev:general-initialization-and-op/device-suspend:6
#[test]
fn a_device_that_fails_to_suspend_asks_for_a_reset() {
    let (mut device, log) = Plain::new(Features::NONE);
    device.worker = || Box::new(Late::default());
    let (mut bench, front) = around(device, log, Features::NONE);
    let mut ring = front.start_suspendable(&mut bench);
    submit(&mut bench, &mut ring);
    bench.steps.run(0);

    front.suspend_now();
    let at_first = front.status();
    let ran = bench.steps.run(0);

    assert_eq!((at_first, ran), (READY, Some(Ran::Broken)));
    assert!(front.status().contains(Status::NEEDS_RESET));
    assert!(bench.wires.asserted());
}

#[test]
fn what_was_begun_is_used_before_the_device_is_suspended_and_nothing_new_is_begun() {
    for format in [Features::NONE, F::RING_PACKED] {
        let (mut device, log) = Plain::new(Features::NONE);
        device.worker = || Box::new(Slow::default());
        let (mut bench, front) = around(device, log, format);
        let features = F::VERSION_1 | F::SUSPEND | format;
        let mut ring = bench.ram.ring(8, features);
        assert!(front.settle(features));
        assert!(front.enable(0, 8, &ring));
        front.set_status(READY);
        (0..3).for_each(|_| submit(&mut bench, &mut ring));
        bench.steps.run(0);

        front.suspend_now();
        submit(&mut bench, &mut ring);
        let statuses = [(); 3].map(|()| {
            bench.steps.run(0);
            front.status()
        });

        assert_eq!(statuses, [READY, SUSPENDED, SUSPENDED]);
        let mut used = 0;
        while ring.queue.poll().unwrap().is_some() {
            used += 1;
        }
        assert_eq!(used, 3, "{format:?}");
        front.set_status(SUSPENDED | Status::DRIVER_OK);
        bench.steps.run(0);
        assert!(ring.queue.poll().unwrap().is_some());
    }
}

pub(super) fn around(device: Plain, log: Arc<Log>, format: Features) -> (Bench, Front<Pin>) {
    let offer = Offer::default().with(F::SUSPEND | format);
    let (bench, parts) = Bench::around(device, log, offer);
    let pin = Pin::new(bench.wires.clone());
    (bench, Front::new(parts, pin))
}
