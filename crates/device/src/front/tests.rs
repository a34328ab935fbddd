mod obeyed;

use super::*;
use crate::interrupt::Pin;
use crate::parts::Offer;
use crate::task::Ran;
use crate::testing::{Bench, Plain, RAM, Ring};
use ringway_spec::InterruptStatus;
use ringway_spec::split::{self, DescriptorFlags};
use std::sync::OnceLock;
use std::vec;
use zerocopy::IntoBytes;

mod legacy;
mod mode;
mod suspend;

const BASIC: Status = Status::ACKNOWLEDGE.union(Status::DRIVER);
const SETTLED: Status = BASIC.union(Status::FEATURES_OK);
const READY: Status = SETTLED.union(Status::DRIVER_OK);

fn front(features: Features, offer: Offer) -> (Bench, Front<Pin>) {
    let (bench, parts) = Bench::new(features, offer);
    let pin = Pin::new(bench.wires.clone());
    (bench, Front::new(parts, pin))
}

impl Front<Pin> {
    fn status(&self) -> Status {
        Status::from_bits_truncate(self.read(Register::Status) as u8)
    }

    fn set_status(&self, status: Status) {
        self.write(Register::Status, status.bits().into());
    }

    fn accept(&self, features: Features) {
        for select in 0..4 {
            self.write(Register::DriverFeatureSelect, select);
            self.write(Register::DriverFeature, features.word(select));
        }
    }

    /// Accepts `features`, and says whether the device agreed.
    fn settle(&self, features: Features) -> bool {
        self.set_status(BASIC);
        self.accept(features);
        self.set_status(SETTLED);
        self.status() == SETTLED
    }

    fn enable(&self, index: u16, size: u32, ring: &Ring) -> bool {
        self.write(Register::QueueSelect, index.into());
        self.write(Register::QueueSize, size);
        for (area, address) in [
            (Area::Descriptor, ring.areas.descriptor),
            (Area::Driver, ring.areas.driver),
            (Area::Device, ring.areas.device),
        ] {
            self.write(Register::Area(area, Half::Low), address as u32);
            self.write(Register::Area(area, Half::High), (address >> 32) as u32);
        }
        self.write(Register::QueueEnable, 1);
        self.read(Register::QueueEnable) == 1
    }

    /// Brings the device up with queue 0.
    fn start_one(&self, bench: &mut Bench) -> Ring {
        let ring = bench.ram.ring(8, F::VERSION_1);
        assert!(self.settle(F::VERSION_1));
        assert!(self.enable(0, 8, &ring));
        self.set_status(READY);
        ring
    }
}

fn resets(bench: &Bench) -> usize {
    bench.log.resets.load(Ordering::SeqCst)
}

/// Clauses: dev:basic/feature-bits:2
#[test]
fn a_driver_that_follows_the_order_gets_its_queue_served() {
    let (mut bench, front) = front(Features::bit(3), Offer::default());
    let mut ring = bench.ram.ring(8, F::VERSION_1);
    let answer = bench.ram.holding(&[0; 16]);

    assert!(front.settle(F::VERSION_1 | Features::bit(3)));
    assert!(front.enable(0, 8, &ring));
    front.set_status(READY);
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    front.kick(0);
    let ran = bench.steps.run(0);

    assert_eq!(front.status(), READY);
    let agreed = F::VERSION_1 | Features::bit(3);
    assert_eq!(*bench.log.workers.lock(), [(0, agreed)]);
    assert_eq!((bench.steps.kicks(), ran), (vec![0], Some(Ran::Idle)));
    assert_eq!(ring.queue.poll().unwrap().unwrap().written, 16);
    assert_eq!(bench.ram.bytes(answer), [0x5a; 16]);
    assert!(bench.wires.asserted());
    assert_eq!(front.interrupts().causes(), InterruptStatus::USED_BUFFER);
}

#[test]
fn features_are_read_through_four_windows_and_beyond_them_is_nothing() {
    let (_bench, front) = front(Features::bit(99), Offer::default());
    let word = |select| {
        front.write(Register::DeviceFeatureSelect, select);
        front.read(Register::DeviceFeature)
    };

    let words = [0, 1, 2, 3, 4, u32::MAX].map(word);
    front.write(Register::DriverFeatureSelect, 4);
    front.write(Register::DriverFeature, u32::MAX);

    let rings = (F::INDIRECT_DESC | F::EVENT_IDX).word(0);
    let usual = Offer::default().features().word(1);
    assert_eq!(words, [rings, usual, 0, 1 << 3, 0, 0]);
    assert_eq!(front.read(Register::DriverFeature), 0);
    assert!(front.settle(F::VERSION_1));
}

/// §2.2.2.
///
/// Clauses: dev:basic/feature-bits:2
#[test]
fn features_that_were_not_offered_are_not_agreed_to() {
    let (bench, front) = front(Features::bit(1), Offer::default());

    let agreed = front.settle(F::VERSION_1 | Features::bit(2));

    assert!(!agreed);
    assert_eq!(front.status(), BASIC);
    assert!(bench.log.negotiated.lock().is_empty());
}

/// Clauses: leg:basic/feature-bits/legacy-interface-a-note-on-feature:2
#[test]
fn a_driver_without_version_1_is_not_agreed_with() {
    let (_bench, front) = front(Features::bit(1), Offer::default());

    assert!(!front.settle(Features::bit(1)));
}

/// A driver that took device addresses for physical ones would have the device reach the wrong
/// memory.
#[test]
fn a_driver_that_is_offered_translated_addresses_must_accept_them() {
    let (_bench, front) = front(Features::NONE, Offer::default().with(F::ACCESS_PLATFORM));

    assert!(!front.settle(F::VERSION_1));
    assert!(front.settle(F::VERSION_1 | F::ACCESS_PLATFORM));
}

/// Clauses: dev:basic/feature-bits:2
#[test]
fn a_feature_without_the_one_it_needs_is_not_agreed_to() {
    let [csum, tso4] = [0, 11].map(Features::bit);
    let (mut device, log) = Plain::new(csum | tso4);
    device.id = DeviceId::NETWORK;
    let (bench, parts) = Bench::around(device, log, Offer::default());
    let front = Front::new(parts, Pin::new(bench.wires.clone()));

    assert!(!front.settle(F::VERSION_1 | tso4));
    assert!(front.settle(F::VERSION_1 | tso4 | csum));
}

#[test]
fn features_are_frozen_once_they_are_settled() {
    let (mut bench, front) = front(Features::bit(1), Offer::default());
    let ring = bench.ram.ring(8, F::VERSION_1);
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 8, &ring));

    front.accept(F::VERSION_1 | Features::bit(1));
    front.set_status(READY);

    assert_eq!(*bench.log.negotiated.lock(), [F::VERSION_1]);
    assert_eq!(*bench.log.workers.lock(), [(0, F::VERSION_1)]);
}

/// §2.1.1: a driver clears nothing but everything.
///
/// Clauses: dev:basic/device-reset:1
#[test]
fn a_status_bit_is_cleared_only_by_a_reset() {
    let (bench, front) = front(Features::NONE, Offer::default());
    assert!(front.settle(F::VERSION_1));

    front.set_status(Status::ACKNOWLEDGE);
    front.write(Register::Status, 0x100);

    assert_eq!(front.status(), SETTLED);
    front.write(Register::Status, 0);
    assert_eq!(front.status(), Status::empty());
    assert_eq!(resets(&bench), 1);
}

#[test]
fn a_driver_sets_neither_the_device_s_bits_nor_those_without_a_feature() {
    let (_bench, front) = front(Features::NONE, Offer::default());

    front.set_status(Status::NEEDS_RESET | Status::SUSPEND | Status::FAILED);
    front.write(Register::Status, 0x20);

    assert_eq!(front.status(), Status::FAILED);
}

#[test]
fn a_driver_is_not_ready_before_its_features_are_settled() {
    let (bench, front) = front(Features::NONE, Offer::default());

    front.set_status(BASIC | Status::DRIVER_OK);

    assert_eq!(front.status(), BASIC);
    assert!(bench.log.workers.lock().is_empty());
}

#[test]
fn a_queue_is_set_up_only_once_features_are_settled() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let ring = bench.ram.ring(4, F::VERSION_1);

    let early = front.enable(0, 4, &ring);

    assert!(!early);
    assert_eq!(front.read(Register::QueueSize), 8);
    assert_eq!(front.read(Register::Area(Area::Driver, Half::Low)), 0);
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 4, &ring));
}

/// Devices' defect 1: a ring that is in use changes its size.
#[test]
fn a_queue_s_size_cannot_be_changed_after_activation() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = front.start_one(&mut bench);
    let other = bench.ram.ring(4, F::VERSION_1);
    let answer = bench.ram.holding(&[0; 4]);

    for size in [0, 3, 4, 0x1_0008] {
        front.write(Register::QueueSize, size);
    }
    let again = front.enable(0, 4, &other);

    assert!(again, "it still is");
    assert_eq!(front.read(Register::QueueSize), 8);
    let half = front.read(Register::Area(Area::Descriptor, Half::Low));
    assert_eq!(half, ring.areas.descriptor as u32);
    // Once around the ring and more, for its slots to be those of eight.
    for _ in 0..12 {
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();
        bench.steps.run(0);
        assert!(ring.queue.poll().unwrap().is_some());
    }
}

#[test]
fn an_enabled_queue_s_set_up_stands_even_before_the_driver_is_ready() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let ring = bench.ram.ring(8, F::VERSION_1);
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 8, &ring));

    front.write(Register::QueueSize, 2);
    front.write(Register::Area(Area::Device, Half::High), 7);

    assert_eq!(front.read(Register::QueueSize), 8);
    assert_eq!(front.read(Register::Area(Area::Device, Half::High)), 0);
}

#[test]
fn a_size_that_cannot_be_keeps_a_queue_from_being_enabled() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let ring = bench.ram.ring(8, F::VERSION_1);
    assert!(front.settle(F::VERSION_1));

    for size in [0, 3, 16, 0x1_0008, u32::MAX] {
        assert!(!front.enable(0, size, &ring), "{size}");
        assert_eq!(front.read(Register::QueueSize), 0, "{size}");
    }
    assert!(front.enable(0, 1, &ring));
}

/// §2.8: the size of a packed queue is no power of two, if the driver likes.
#[test]
fn a_packed_queue_may_have_any_size_up_to_the_most() {
    let accepted = F::VERSION_1 | F::RING_PACKED;
    let (mut bench, front) = front(Features::NONE, Offer::default().with(F::RING_PACKED));
    let mut ring = bench.ram.ring(7, accepted);
    let answer = bench.ram.holding(&[0; 4]);
    assert!(front.settle(accepted));

    for size in [0, 9, 0x1_0007] {
        assert!(!front.enable(0, size, &ring), "{size}");
    }
    assert!(front.enable(0, 7, &ring));
    front.set_status(READY);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    bench.steps.run(0).unwrap();

    assert_eq!(front.read(Register::QueueSize), 7);
    assert!(ring.queue.poll().unwrap().is_some());
}

/// Devices' defect 8: an index that is out of range, or is cut to 16 bits.
#[test]
fn a_queue_that_is_not_there_has_no_size_and_takes_no_set_up() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let ring = bench.ram.ring(8, F::VERSION_1);
    assert!(front.settle(F::VERSION_1));

    for index in [2, 0xffff, 0x1_0000, u32::MAX] {
        front.write(Register::QueueSelect, index);
        front.write(Register::QueueSize, 4);
        front.write(Register::QueueEnable, 1);

        assert_eq!(front.read(Register::QueueSizeMax), 0, "{index}");
        assert_eq!(front.read(Register::QueueSize), 0, "{index}");
        assert_eq!(front.read(Register::QueueEnable), 0, "{index}");
        assert_eq!(front.selected(), None, "{index}");
    }
    assert!(!front.enable(2, 8, &ring));
    assert!(front.enable(1, 16, &ring));
}

/// A driver enables its queues before it is ready (§3.1.1).
#[test]
fn a_queue_enabled_after_the_driver_is_ready_stays_disabled() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.start_one(&mut bench);
    let late = bench.ram.ring(16, F::VERSION_1);

    assert!(!front.enable(1, 16, &late));
    assert_eq!(bench.steps.started(), [0]);
}

/// Clauses: dev:basic/device-status-field:1
#[test]
fn kicks_are_taken_only_while_the_driver_is_ready() {
    let (mut bench, front) = front(Features::NONE, Offer::default());

    front.kick(0);
    front.start_one(&mut bench);
    front.kick(0);
    front.kick(2);
    front.write(Register::Status, 0);
    front.kick(0);

    assert_eq!(bench.steps.kicks(), [0]);
}

/// Clauses: dev:basic/device-status-field:3
#[test]
fn a_ring_that_is_not_in_memory_asks_for_a_reset() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = bench.ram.ring(8, F::VERSION_1);
    ring.areas.driver = RAM - 4096;
    assert!(front.settle(F::VERSION_1));
    assert!(front.enable(0, 8, &ring));

    front.set_status(READY);

    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    assert_eq!(front.violation(), Some((0, Violation::Area(RAM - 4096))));
    assert_eq!(front.interrupts().causes(), InterruptStatus::CONFIG_CHANGE);
    assert!(bench.steps.started().is_empty());
    assert!(bench.log.workers.lock().is_empty());
}

/// The driver is told, nothing more is served, and a reset mends it.
#[test]
fn a_broken_rule_asks_for_a_reset_and_ends_service_until_then() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = front.start_one(&mut bench);
    let hole = ringway_ring::driver::Segment {
        address: RAM - 8,
        len: 16,
    };

    ring.queue.submit(&[], &[hole], ()).unwrap();
    ring.queue.kick_needed();
    front.kick(0);
    let ran = bench.steps.run(0);
    front.kick(0);

    assert_eq!(ran, Some(Ran::Broken));
    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    let not_mapped = Violation::NotMapped {
        address: RAM - 8,
        len: 16,
    };
    assert_eq!(front.violation(), Some((0, not_mapped)));
    assert!(bench.wires.asserted());
    assert_eq!(bench.steps.kicks(), [0]);

    front.write(Register::Status, 0);
    assert_eq!(front.status(), Status::empty());
    assert!(!bench.wires.asserted());
    front.start_one(&mut bench);
    assert_eq!(front.status(), READY);
    assert_eq!(bench.steps.run(0), Some(Ran::Idle));
}

/// Has a device serve a chain whose descriptors are these, and returns the rule that they break.
fn broken_by(descriptors: &[split::Descriptor]) -> Option<Violation> {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let ring = front.start_one(&mut bench);
    for (at, descriptor) in (0..).step_by(16).zip(descriptors) {
        bench
            .ram
            .write(ring.areas.descriptor + at, descriptor.as_bytes());
    }
    // One chain, which begins at descriptor 0.
    bench.ram.write(ring.areas.driver, &[0, 0, 1, 0, 0, 0]);

    let ran = bench.steps.run(0);

    assert_eq!(ran, Some(Ran::Broken));
    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    front.violation().map(|(_, violation)| violation)
}

fn descriptor(addr: u64, len: u32, flags: DescriptorFlags, next: u16) -> split::Descriptor {
    split::Descriptor {
        addr: addr.into(),
        len: len.into(),
        flags: flags.bits().into(),
        next: next.into(),
    }
}

/// Devices' defect 3.
#[test]
fn a_chain_that_loops_asks_for_a_reset() {
    let next = DescriptorFlags::NEXT;

    let itself = broken_by(&[descriptor(RAM, 1, next, 0)]);
    let two = broken_by(&[descriptor(RAM, 1, next, 1), descriptor(RAM, 1, next, 0)]);
    let out = broken_by(&[descriptor(RAM, 1, next, 8)]);

    assert_eq!(itself, Some(Violation::ChainTooLong(8)));
    assert_eq!(two, Some(Violation::ChainTooLong(8)));
    assert_eq!(out, Some(Violation::DescriptorIndex { index: 8, size: 8 }));
}

/// Devices' defect 3.
#[test]
fn an_indirect_table_that_was_not_agreed_on_asks_for_a_reset() {
    let table = broken_by(&[descriptor(RAM, 16, DescriptorFlags::INDIRECT, 0)]);

    assert_eq!(table, Some(Violation::IndirectNotNegotiated));
}

/// Devices' defect 4.
#[test]
fn a_buffer_that_leaves_memory_or_overflows_asks_for_a_reset() {
    let end = RAM + 1024 * 1024;

    for (address, len) in [
        (end - 8, 9),
        (RAM - 1, 1),
        (u64::MAX - 3, 16),
        (u64::MAX, 1),
        (end, u32::MAX),
    ] {
        let broken = broken_by(&[descriptor(address, len, DescriptorFlags::WRITE, 0)]);

        assert_eq!(broken, Some(Violation::NotMapped { address, len }));
    }
}

/// Devices' defect 12: reset during I/O. Nothing the device does after its status reads as 0 can
/// reach memory.
///
/// Clauses: dev:basic/device-reset:2
#[test]
fn a_reset_stops_every_task_and_forgets_the_queues() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let mut ring = front.start_one(&mut bench);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();

    front.write(Register::Status, 0);

    assert!(bench.steps.started().is_empty());
    assert_eq!(bench.steps.run(0), None);
    assert_eq!(bench.ram.bytes(answer), [0; 4]);
    assert_eq!(resets(&bench), 1);
    assert_eq!(front.read(Register::QueueEnable), 0);
    assert_eq!(front.read(Register::QueueSize), 8);
    assert_eq!(front.read(Register::Area(Area::Descriptor, Half::Low)), 0);
    assert_eq!(front.read(Register::DriverFeature), 0);
}

/// Clauses: dev:basic/device-reset:2
#[test]
fn a_reset_waits_for_tasks_without_a_lock_and_status_is_0_only_afterwards() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.start_one(&mut bench);
    let front = Arc::new(front);
    let seen = Arc::new(OnceLock::new());
    *bench.steps.on_stop.lock() = Some({
        let (front, seen) = (Arc::downgrade(&front), seen.clone());
        Arc::new(move || {
            // Here a task still runs: it interrupts, and another processor reads and writes
            // registers.
            let Some(front) = front.upgrade() else { return };
            front.common.used(0);
            front.set_status(Status::FAILED);
            front.write(Register::QueueSelect, 1);
            front.write(Register::Status, 0);
            let _ = seen.set((front.status(), front.interrupts().causes()));
        })
    });

    front.write(Register::Status, 0);

    assert_eq!(seen.get(), Some(&(READY, InterruptStatus::USED_BUFFER)));
    assert_eq!(front.status(), Status::empty());
    assert!(front.interrupts().causes().is_empty());
    assert_eq!(resets(&bench), 1);
}

#[test]
fn a_device_that_is_dropped_stops_its_tasks_first() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.start_one(&mut bench);

    drop(front);

    assert!(bench.steps.started().is_empty());
}

#[test]
fn a_queue_that_is_taken_back_is_no_longer_served() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.start_one(&mut bench);

    front.write(Register::QueueSelect, 0);
    front.write(Register::QueueEnable, 0);

    assert_eq!(front.read(Register::QueueEnable), 0);
    assert!(bench.steps.started().is_empty());
    front.write(Register::QueueEnable, 1);
    assert_eq!(front.read(Register::QueueEnable), 0);
}

/// A front whose driver is ready, with both queues, and may reset them alone.
fn with_both(features: Features) -> (Bench, Arc<Front<Pin>>, [Ring; 2]) {
    let (mut bench, front) = front(Features::NONE, Offer::NOTHING.with(Features(u128::MAX)));
    let features = features | F::RING_RESET | F::VERSION_1 | F::ACCESS_PLATFORM;
    let rings = Plain::QUEUE_SIZES.map(|size| bench.ram.ring(size, features));
    assert!(front.settle(features));
    for (index, size, ring) in [(0, 8, &rings[0]), (1, 16, &rings[1])] {
        assert!(front.enable(index, size, ring));
    }
    front.set_status(READY);
    (bench, Arc::new(front), rings)
}

impl Front<Pin> {
    /// Resets queue `index` alone. Returns what it reads afterwards.
    fn reset_queue(&self, index: u16) -> (u32, u32) {
        self.write(Register::QueueSelect, index.into());
        self.write(Register::QueueReset, 1);
        let (reset, enabled) = (Register::QueueReset, Register::QueueEnable);
        (self.read(reset), self.read(enabled))
    }
}

/// §2.6.1.
///
/// Clauses: dev:basic/vq/vq-reset:1, dev:basic/vq/vq-reset:2
#[test]
fn a_queue_that_is_reset_alone_begins_again_at_another_size_and_the_other_goes_on() {
    for (format, sizes) in [(Features::NONE, [2, 8, 1]), (F::RING_PACKED, [3, 8, 5])] {
        let (mut bench, front, [mut ring, mut other]) = with_both(format);
        let answer = bench.ram.holding(&[0; 4]);
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();

        for size in sizes {
            let read = front.reset_queue(0);
            let (max, area) = (
                front.read(Register::QueueSize),
                front.read(Register::Area(Area::Descriptor, Half::Low)),
            );
            front.kick(0);
            let served = (bench.steps.started(), bench.steps.run(0));
            let agreed = bench.log.workers.lock()[0].1;
            ring = bench.ram.ring(size, agreed);
            assert!(front.enable(0, size.into(), &ring));
            assert_eq!(front.read(Register::QueueReset), 0);
            for (index, ring) in [(0, &mut ring), (1, &mut other)] {
                ring.queue.submit(&[], &[answer], ()).unwrap();
                ring.queue.kick_needed();
                bench.steps.run(index);

                assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4, "{size}");
            }

            assert_eq!((read, max, area), ((0, 0), 8, 0), "{size}");
            assert_eq!(served, (vec![1], None), "{size}");
        }
        let workers: Vec<_> = bench.log.workers.lock().iter().map(|made| made.0).collect();
        assert_eq!(workers, [0, 1, 0, 0, 0]);
        assert_eq!((front.status(), resets(&bench)), (READY, 0));
    }
}

/// Devices' defect 14: what it reads, and what becomes of what others write, while the queue's task
/// still runs.
#[test]
fn a_queue_reads_as_being_reset_until_its_task_has_stopped() {
    let (mut bench, front, _rings) = with_both(Features::NONE);
    let ring = bench.ram.ring(4, F::VERSION_1);
    let seen = Arc::new(OnceLock::new());
    *bench.steps.on_stop.lock() = Some({
        let (front, seen) = (Arc::downgrade(&front), seen.clone());
        Arc::new(move || {
            let Some(front) = front.upgrade() else { return };
            let enabled = front.enable(0, 4, &ring);
            let again = front.reset_queue(0);
            let _ = seen.set((enabled, again, front.read(Register::QueueSize)));
        })
    });

    let after = front.reset_queue(0);

    assert_eq!(seen.get(), Some(&(true, (1, 1), 8)));
    assert_eq!(after, (0, 0));
    assert_eq!(bench.steps.started(), [1]);
}

#[test]
fn a_queue_reset_that_the_device_s_own_overtakes_leaves_the_next_driver_alone() {
    let (mut bench, front, _rings) = with_both(Features::NONE);
    let ring = bench.ram.ring(4, F::VERSION_1);
    let once = Arc::new(OnceLock::new());
    *bench.steps.on_stop.lock() = Some({
        let (front, once) = (Arc::downgrade(&front), once.clone());
        Arc::new(move || {
            // Another processor, while the queue's task is stopped: it resets the device, and
            // begins again.
            let Some(front) = front.upgrade() else { return };
            if once.set(()).is_ok() {
                front.write(Register::Status, 0);
                assert!(front.settle(F::VERSION_1 | F::ACCESS_PLATFORM));
                assert!(front.enable(0, 4, &ring));
            }
        })
    });

    let after = front.reset_queue(0);

    assert_eq!((once.get(), after), (Some(&()), (0, 1)));
    assert_eq!(front.read(Register::QueueSize), 4);
}

#[test]
fn a_queue_is_not_reset_alone_by_a_driver_that_did_not_agree_on_it_or_writes_another_value() {
    let (mut bench, plain) = front(Features::NONE, Offer::default());
    plain.start_one(&mut bench);
    let (other, agreed, _rings) = with_both(Features::NONE);

    let read = plain.reset_queue(0);
    agreed.write(Register::QueueSelect, 0);
    for value in [0, 2, 0x1_0001] {
        agreed.write(Register::QueueReset, value);
    }

    assert_eq!((read, bench.steps.started()), ((0, 1), vec![0]));
    assert_eq!(other.steps.started(), [0, 1]);
}

#[test]
fn a_ring_that_is_not_in_memory_asks_for_a_reset_when_its_queue_is_enabled_again() {
    let (mut bench, front, _rings) = with_both(Features::NONE);
    let mut ring = bench.ram.ring(8, F::VERSION_1);
    ring.areas.driver = RAM - 4096;

    front.reset_queue(0);
    front.enable(0, 8, &ring);

    assert_eq!(front.status(), READY | Status::NEEDS_RESET);
    assert_eq!(front.violation(), Some((0, Violation::Area(RAM - 4096))));
    assert_eq!(bench.steps.started(), [1]);
    // Nothing mends it but a reset of the device.
    front.reset_queue(0);
    let ring = bench.ram.ring(8, F::VERSION_1);
    front.enable(0, 8, &ring);
    assert_eq!(bench.steps.started(), [1]);
}

#[test]
fn a_queue_that_waits_for_memory_can_be_reset_alone_and_waits_again() {
    let (mut bench, front, [ring, _other]) = with_both(Features::NONE);
    front.set_reachable(false);

    front.reset_queue(0);
    front.enable(0, 8, &ring);
    let waits = bench.steps.started();
    front.reset_queue(0);
    let ring = bench.ram.ring(4, F::VERSION_1);
    front.enable(0, 4, &ring);
    front.set_reachable(true);
    front.resume();

    assert_eq!((waits, bench.steps.started()), (vec![1], vec![0, 1]));
}

#[test]
fn a_device_that_may_not_reach_memory_waits_until_it_may() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.set_reachable(false);

    front.start_one(&mut bench);
    front.kick(0);
    front.resume();
    let before = (bench.steps.started(), bench.steps.kicks());
    front.set_reachable(true);
    front.resume();

    assert_eq!(before, (vec![], vec![]));
    assert_eq!(bench.steps.started(), [0]);
    assert_eq!(bench.steps.kicks(), [0, 1]);
}

#[test]
fn a_device_that_waits_for_memory_can_be_reset() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    front.set_reachable(false);
    front.start_one(&mut bench);

    front.write(Register::Status, 0);
    front.set_reachable(true);
    front.resume();

    assert!(bench.steps.started().is_empty());
}

/// §4.1.4.3.1.
#[test]
fn the_generation_is_another_after_a_change_was_read() {
    let (bench, front) = front(Features::NONE, Offer::default());
    let generation = || front.read(Register::Generation);
    let mut bytes = [0; 4];
    front.read_config(0, &mut bytes);
    let before = generation();

    // As often as would bring an 8-bit count round again.
    for _ in 0..256 {
        bench.log.config.lock()[0] = 7;
        front.config_changed();
    }
    front.read_config(0, &mut bytes);

    assert_eq!(bytes, [7, 0, 0, 0]);
    assert_ne!(generation() as u8, before as u8);
    let after = generation();
    front.read_config(0, &mut bytes);
    assert_eq!(generation(), after);
}

/// A driver that is told of a change looks at the generation first, and may look at nothing else.
#[test]
fn the_generation_is_another_after_a_change_of_which_nothing_was_read() {
    let (bench, front) = front(Features::NONE, Offer::default());
    let before = front.read(Register::Generation);

    bench.log.config.lock()[0] = 7;
    front.config_changed();
    let after = front.read(Register::Generation);

    assert_ne!(after, before);
    assert_eq!(front.read(Register::Generation), after);
}

#[test]
fn what_a_device_tells_of_its_own_accord_arrives_while_it_is_driven_and_its_carrier_is_there() {
    let (mut bench, front) = front(Features::NONE, Offer::default());
    let notifier = bench.log.notifier.lock().clone().unwrap();
    let interrupted = |front: &Front<Pin>| front.interrupts().causes();

    notifier.due(0);
    notifier.config_changed();
    let early = (bench.steps.kicks(), interrupted(&front));
    front.start_one(&mut bench);
    notifier.due(0);
    notifier.due(u16::MAX);
    notifier.config_changed();

    assert_eq!(early, (vec![], InterruptStatus::empty()));
    assert_eq!(bench.steps.kicks(), [0, u16::MAX]);
    assert_eq!(interrupted(&front), InterruptStatus::CONFIG_CHANGE);
    drop(front);
    notifier.due(0);
    notifier.config_changed();
    assert_eq!(bench.steps.kicks(), []);
}

#[test]
fn a_driver_hears_of_changes_only_once_it_is_ready() {
    let (mut bench, front) = front(Features::NONE, Offer::default());

    front.config_changed();
    let early = front.interrupts().causes();
    front.start_one(&mut bench);
    front.config_changed();

    assert_eq!(early, InterruptStatus::empty());
    assert_eq!(front.interrupts().causes(), InterruptStatus::CONFIG_CHANGE);
}

#[test]
fn configuration_is_written_only_once_features_are_settled_and_reads_0_beyond_its_end() {
    let (bench, front) = front(Features::NONE, Offer::default());

    front.write_config(0, &[1]);
    assert!(front.settle(F::VERSION_1));
    front.write_config(6, &[2, 3, 4]);

    assert_eq!(*bench.log.config.lock(), [0, 0, 0, 0, 0, 0, 2, 3]);
    let mut bytes = [0xff; 4];
    front.read_config(6, &mut bytes);
    assert_eq!(bytes, [2, 3, 0, 0]);
    front.read_config(usize::MAX, &mut bytes);
    assert_eq!(bytes, [0; 4]);
}
