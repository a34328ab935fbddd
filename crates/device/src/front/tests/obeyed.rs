//! What a driver sees of the front, clause by clause.

use super::*;

/// §2.1.2: the driver may fill its queues, and even kick, before it says that it is ready.
///
/// Clauses: dev:basic/device-status-field:1
#[test]
fn no_buffer_is_used_before_the_driver_is_ready() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = bench.ram.ring(8, F::VERSION_1);
    let answer = bench.ram.holding(&[0; 4]);
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 8, &ring));
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();

    front.kick(0);
    let early = (bench.steps.kicks(), bench.steps.run(0));
    let unused = (ring.queue.poll().unwrap().is_none(), bench.wires.asserted());
    front.set_status(READY);
    bench.steps.run(0);

    assert_eq!(early, (vec![], None));
    assert_eq!(unused, (true, false));
    assert!(ring.queue.poll().unwrap().is_some());
}

/// Clauses: dev:basic/device-cfg-space:1
#[test]
fn configuration_can_be_read_from_the_first_day_on() {
    let (bench, front) = front(Features::bit(1), Offer::default());
    *bench.log.config.lock() = [1, 2, 3, 4, 5, 6, 7, 8];
    let read = || {
        let mut bytes = [0; 8];
        front.read_config(0, &mut bytes);
        bytes
    };

    let first = read();
    front.set_status(BASIC);
    let probed = read();
    front.accept(F::VERSION_1);
    let accepted = read();

    assert_eq!([first, probed, accepted], [[1, 2, 3, 4, 5, 6, 7, 8]; 3]);
}

/// §2.4.1: whatever happens to the device, and whatever is still kicked.
///
/// Clauses: dev:basic/device-reset:2
#[test]
fn a_device_that_was_reset_is_silent_until_it_is_driven_again() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = front.start_one(&mut bench);
    let answer = bench.ram.holding(&[0; 4]);

    front.write(Register::Status, 0);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    front.kick(0);
    front.config_changed();
    front.resume();

    assert_eq!((bench.steps.kicks(), bench.steps.run(0)), (vec![], None));
    assert_eq!(front.interrupts().causes(), InterruptStatus::empty());
    assert!(ring.queue.poll().unwrap().is_none());
    front.start_one(&mut bench);
    front.config_changed();
    assert_eq!(front.interrupts().causes(), InterruptStatus::CONFIG_CHANGE);
}

/// §2.6.1.2.1: more chains than the new ring has places, which is fewer than the device has.
///
/// Clauses: dev:basic/vq/vq-reset/vq-re-enable:1
#[test]
fn a_queue_that_begins_again_smaller_goes_round_at_its_new_size() {
    for (format, size) in [(Features::NONE, 2), (F::RING_PACKED, 3)] {
        let (mut bench, front, _rings) = with_both(format);
        let agreed = bench.log.workers.lock()[0].1;
        let answer = bench.ram.holding(&[0; 4]);
        let mut ring = bench.ram.ring(size, agreed);

        front.reset_queue(0);
        let enabled = front.enable(0, size.into(), &ring);

        assert!(enabled);
        for chain in 0..10 {
            ring.queue.submit(&[], &[answer], ()).unwrap();
            ring.queue.kick_needed();
            bench.steps.run(0);
            let done = ring.queue.poll().unwrap();
            assert!(done.is_some(), "chain {chain} of a ring of {size}");
        }
    }
}
