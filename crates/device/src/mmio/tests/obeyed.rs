//! What a driver sees of a window, clause by clause.

use super::*;
use std::sync::Arc;
use std::vec::Vec;

/// Puts a chain into the ring of queue `index`, and kicks.
fn ask(bench: &mut Bench, window: &Window, index: u16, ring: &mut Ring) {
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    window.set(register::QUEUE_NOTIFY, index.into());
}

/// Whichever of its queues was ready.
///
/// Clauses: dev:mmio/mmio-device-register-layout:5
#[test]
fn a_reset_leaves_no_interrupt_and_no_queue_ready() {
    for index in [0, 1] {
        let (mut bench, window) = window(Features::NONE);
        window.start(&mut bench, index);
        window.front.interrupts().used(index);
        window.config_changed();
        let before = window.get(register::INTERRUPT_STATUS);

        window.set(register::STATUS, 0);

        let ready = [0, 1].map(|index| {
            window.set(register::QUEUE_SEL, index);
            window.get(register::QUEUE_READY)
        });
        let after = window.get(register::INTERRUPT_STATUS);
        assert_eq!((before, after, ready), (3, 0, [0, 0]));
    }
}

/// A field of 64 bits is read by halves. The device may be between changing it and saying so.
///
/// Clauses: dev:mmio/mmio-device-register-layout:6
#[test]
fn a_field_that_changes_between_its_halves_shows_in_the_generation() {
    let (mut bench, window) = window(Features::NONE);
    window.start(&mut bench, 0);
    let before = window.get(register::CONFIG_GENERATION);

    let low = window.get(CONFIG);
    let at_rest = window.get(register::CONFIG_GENERATION);
    *bench.log.config.lock() = [0xff; 8];
    let high = window.get(CONFIG + 4);

    assert_eq!((low, high, at_rest), (0, u32::MAX, before));
    assert_ne!(window.get(register::CONFIG_GENERATION), before);
}

/// It is kicked nevertheless, and has something to do.
///
/// Clauses: dev:mmio/mmio-device-register-layout:7
#[test]
fn nothing_of_a_queue_is_touched_once_it_is_not_ready() {
    let (mut bench, window) = window(Features::NONE);
    let mut ring = window.start(&mut bench, 0);

    window.set(register::QUEUE_READY, 0);
    ask(&mut bench, &window, 0, &mut ring);
    let ran = bench.steps.run(0);

    assert_eq!((window.get(register::QUEUE_READY), ran), (0, None));
    assert!(ring.queue.poll().unwrap().is_none());
}

/// Clauses: dev:mmio/mmio-device-register-layout:11
#[test]
fn a_queue_is_being_reset_until_it_is_served_no_more() {
    let (mut bench, window) = window(Features::NONE);
    window.start_with(&mut bench, 1, F::RING_RESET);
    let window = Arc::new(window);
    let (asked, seen) = (window.clone(), Arc::<spin::Mutex<Vec<u32>>>::default());
    let sees = seen.clone();
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        sees.lock().push(asked.get(register::QUEUE_RESET));
    }));

    window.set(register::QUEUE_RESET, 1);
    *bench.steps.on_stop.lock() = None;

    assert_eq!(*seen.lock(), [1]);
    assert_eq!(window.get(register::QUEUE_RESET), 0);
}

/// Even one that comes while the queue is being reset alone.
///
/// Clauses: dev:mmio/mmio-device-register-layout:8
#[test]
fn after_a_reset_no_queue_is_being_reset() {
    let (mut bench, window) = window(Features::NONE);
    window.start_with(&mut bench, 0, F::RING_RESET);
    let window = Arc::new(window);
    let (asked, seen) = (window.clone(), Arc::<spin::Mutex<Vec<u32>>>::default());
    let (sees, steps) = (seen.clone(), Arc::downgrade(&bench.steps));
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        // Once: the reset of the device stops queues, too.
        *steps.upgrade().unwrap().on_stop.lock() = None;
        let before = asked.get(register::QUEUE_RESET);
        asked.set(register::STATUS, 0);
        sees.lock()
            .extend([before, asked.get(register::QUEUE_RESET)]);
    }));

    window.set(register::QUEUE_RESET, 1);

    assert_eq!(*seen.lock(), [1, 0]);
    assert_eq!(window.get(register::QUEUE_RESET), 0);
}

/// Clauses: dev:mmio/mmio-device-register-layout:9
#[test]
fn a_queue_that_is_ready_again_is_not_being_reset() {
    let (mut bench, window) = window(Features::NONE);
    let features = F::VERSION_1 | F::RING_RESET;
    window.start_with(&mut bench, 0, features);

    window.set(register::QUEUE_RESET, 1);
    let mut ring = window.enable(&mut bench, 0, features);
    let reset = window.get(register::QUEUE_RESET);
    ask(&mut bench, &window, 0, &mut ring);
    bench.steps.run(0);

    assert_eq!(reset, 0);
    assert!(ring.queue.poll().unwrap().is_some());
}

/// It is memory, and no more than that: whatever is written there.
///
/// Clauses: dev:basic/shared-memory-regions:1
#[test]
fn shared_memory_neither_controls_the_device_nor_carries_its_data() {
    let (mut device, log) = Plain::new(Features::NONE);
    device.regions = Vec::from([crate::model::SharedRegion {
        id: 1,
        memory: ringway_ring::shared::Shared::allocate(0x1000, 4096).unwrap(),
    }]);
    let (mut bench, parts) = Bench::around(device, log, Offer::default());
    let window = Window::new(parts, bench.wires.clone()).with_shared_memory_at(0x1_0000_0000);
    let mut ring = window.start(&mut bench, 0);
    bench.steps.kicks();
    let registers = || -> Vec<u32> { (0..0x110).step_by(4).map(|at| window.get(at)).collect() };
    let before = registers();

    for offset in (0..0x1000).step_by(4) {
        window.shared_write(offset, &[0xff; 4]);
        window.shared_write(offset, &[0, 0, 0, 0]);
    }
    let after = registers();
    let kicks = bench.steps.kicks();
    ask(&mut bench, &window, 0, &mut ring);
    bench.steps.run(0);

    assert_eq!((before, kicks), (after, Vec::new()));
    assert!(ring.queue.poll().unwrap().is_some());
    let mut bytes = [0xff; 0x1000];
    window.shared_read(0, &mut bytes);
    assert_eq!(bytes, [0; 0x1000]);
}
