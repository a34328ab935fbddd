//! What the two ends do at the same time, and what must hold whatever either of them saw.

use crate::ends::{Device, Kind, explore, queue};

/// Most times that an end is stopped where it could go on. One is enough to lose a notification or
/// to tear an element; the others are for what nobody thought of.
const PREEMPTIONS_MAX: usize = 3;

/// Something that the two ends of a queue do, and its name.
pub(crate) type Scenario = (&'static str, fn(Kind));

/// All that there are.
pub(crate) const SCENARIOS: [Scenario; 5] = [
    ("elements", elements),
    ("reuse", reuse),
    ("interrupt", interrupt),
    ("kick", kick),
    ("both", both),
];

/// A driver that submits, twice, beside a device that serves and falls asleep.
fn kick(kind: Kind) {
    let (mut driver, device) = queue(kind, 2);

    let device = beside(device, Device::sleep);
    driver.ask();
    driver.kick();
    driver.ask();
    driver.kick();

    let mut device = device.join().unwrap();
    device.wakes();
    device.is_done(&driver);
}

/// A device that completes two chains, in two batches, beside a driver that polls and falls asleep.
fn interrupt(kind: Kind) {
    let (mut driver, device) = queue(kind, 2);
    driver.ask();
    driver.ask();
    driver.kick();

    let device = beside(device, |device| {
        device.serve(1);
        device.interrupt();
        device.serve(1);
        device.interrupt();
    });
    driver.sleep();

    device.join().unwrap();
    driver.wakes();
    driver.is_done();
}

/// Two ends that both fall asleep.
fn both(kind: Kind) {
    let (mut driver, device) = queue(kind, 1);

    let device = beside(device, Device::sleep);
    driver.ask();
    driver.kick();
    driver.sleep();

    let mut device = device.join().unwrap();
    while device.wakes() || driver.wakes() {}
    device.is_done(&driver);
    driver.is_done();
}

/// A batch of two chains, right across the wrap, and their answers.
fn elements(kind: Kind) {
    let (mut driver, device) = queue(kind, 2);

    let device = beside(device, |device| {
        device.serve(2);
        device.serve(2);
    });
    driver.ask();
    driver.ask();
    driver.kick();
    driver.poll();

    device.join().unwrap();
}

/// A ring that one chain fills: the next one takes its descriptors, its buffers and its place as
/// soon as it came back.
fn reuse(kind: Kind) {
    let (mut driver, device) = queue(kind, 1);
    driver.ask();
    driver.kick();

    let device = beside(device, |device| {
        device.serve(2);
        device.serve(2);
    });
    driver.poll();
    driver.ask();
    driver.kick();
    driver.poll();

    device.join().unwrap();
}

/// Explores a scenario on rings of every kind. A panic names the last one printed; it fails the
/// same way each time.
fn holds(scenario: fn(Kind)) {
    for kind in Kind::all() {
        println!("{kind}");
        explore(kind, scenario, PREEMPTIONS_MAX);
    }
}

fn beside(mut device: Device, act: fn(&mut Device)) -> loom::thread::JoinHandle<Device> {
    loom::thread::spawn(move || {
        act(&mut device);
        device
    })
}

/// Clauses: drv:packed/supplying-buffers-to-the-device/sending-available-buffer-notif:1,
/// drv:split/supplying-buffers-to-the-device/notifying-the-device:1
#[test]
fn no_kick_is_lost_between_a_driver_that_submits_and_a_device_that_falls_asleep() {
    holds(kick);
}

#[test]
fn no_interrupt_is_lost_between_a_device_that_completes_and_a_driver_that_falls_asleep() {
    holds(interrupt);
}

#[test]
fn no_two_ends_sleep_while_there_is_something_to_do() {
    holds(both);
}

/// Clauses: drv:packed/supplying-buffers-to-the-device/updating-flags:1, dev:split/used-ring:1,
/// dev:split/used-ring:2, drv:split/supplying-buffers-to-the-device/updating-idx:1
#[test]
fn no_element_is_stale_or_torn_in_a_batch_across_the_wrap() {
    holds(elements);
}

#[test]
fn a_place_is_written_again_only_after_the_other_end_is_done_with_it() {
    holds(reuse);
}
