//! What a driver from before version 1 finds.

use super::*;
use LegacyRegister as R;

const PAGE: u32 = 4096;

fn legacy(features: Features, offer: Offer) -> (Bench, Front<Pin>) {
    let (bench, front) = front(features, offer);
    front.write_legacy(R::PageSize, PAGE);
    (bench, front)
}

impl Ring {
    fn page(&self) -> u32 {
        (self.areas.descriptor / u64::from(PAGE)) as u32
    }
}

impl Front<Pin> {
    fn set_legacy_status(&self, status: Status) {
        self.write_legacy(R::Status, status.bits().into());
    }

    fn set_page(&self, index: u16, page: u32) -> u32 {
        self.write(Register::QueueSelect, index.into());
        self.write_legacy(R::QueuePage, page);
        self.read_legacy(R::QueuePage)
    }

    /// Follows §3.1.2 with queue 0.
    fn start_legacy(&self, bench: &mut Bench) -> Ring {
        let ring = bench.ram.legacy_ring(8, PAGE as usize);
        self.set_legacy_status(BASIC);
        assert_eq!(self.set_page(0, ring.page()), ring.page());
        self.set_legacy_status(BASIC | Status::DRIVER_OK);
        ring
    }
}

/// Has queue `index` fill a chain, and says what it holds then.
fn filled(bench: &mut Bench, front: &Front<Pin>, index: u16, ring: &mut Ring) -> Vec<u8> {
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    front.kick_legacy(index);
    bench.steps.run(index);
    ring.queue.poll().unwrap().expect("it was served");
    bench.ram.bytes(answer)
}

/// Clauses: leg:basic/feature-bits/legacy-interface-a-note-on-feature:4
#[test]
fn a_legacy_driver_that_follows_the_order_gets_its_queue_served() {
    let (mut bench, front) = legacy(Features::bit(3), Offer::default());
    let mut ring = bench.ram.legacy_ring(8, PAGE as usize);

    front.set_legacy_status(BASIC);
    front.write_legacy(R::DriverFeatures, 1 << 3);
    assert_eq!(front.set_page(0, ring.page()), ring.page());
    front.set_legacy_status(BASIC | Status::DRIVER_OK);

    assert_eq!(filled(&mut bench, &front, 0, &mut ring), [0x5a; 4]);
    assert_eq!(*bench.log.negotiated.lock(), [Features::bit(3)]);
    assert_eq!(*bench.log.workers.lock(), [(0, Features::bit(3))]);
    let status = front.read_legacy(R::Status);
    assert_eq!(status, (BASIC | Status::DRIVER_OK).bits().into());
}

/// §6.3: the bits that came later have no place here, and that any layout will do is said here
/// only. That it notifies of an empty queue is not said at all, since no device here does so.
///
/// Clauses: leg:reserved-feature-bits/legacy-interface-reserved-feature:2,
/// leg:reserved-feature-bits/legacy-interface-reserved-feature:3,
/// leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:6
#[test]
fn a_legacy_driver_is_offered_32_features_and_accepts_no_more() {
    let device = Features::bit(1) | Features::bit(60);
    let (_bench, front) = legacy(device, Offer::default());

    let offered = front.read_legacy(R::DeviceFeatures);
    front.write_legacy(R::DriverFeatures, u32::MAX);

    let features = Features::bit(1) | F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT;
    assert_eq!(offered, features.word(0));
    assert_eq!(front.read_legacy(R::DriverFeatures), offered);
    front.write(Register::DriverFeatureSelect, 1);
    assert_eq!(front.read(Register::DriverFeature), 0);
}

#[test]
fn a_legacy_driver_that_accepts_a_feature_without_the_one_it_needs_goes_without_both() {
    let [csum, tso4] = [0, 11].map(Features::bit);
    let (mut device, log) = Plain::new(csum | tso4);
    device.id = DeviceId::NETWORK;
    let (bench, parts) = Bench::around(device, log, Offer::default());
    let front = Front::new(parts, Pin::new(bench.wires.clone()));

    front.write_legacy(R::DriverFeatures, tso4.word(0));
    let without = front.read_legacy(R::DriverFeatures);
    front.write_legacy(R::DriverFeatures, (csum | tso4).word(0));

    assert_eq!(without, 0);
    assert_eq!(front.read_legacy(R::DriverFeatures), (csum | tso4).word(0));
}

#[test]
fn a_legacy_driver_cannot_say_that_features_are_settled() {
    let (bench, front) = legacy(Features::NONE, Offer::default());

    front.set_legacy_status(SETTLED | Status::NEEDS_RESET | Status::SUSPEND);

    assert_eq!(front.read_legacy(R::Status), BASIC.bits().into());
    assert!(bench.log.negotiated.lock().is_empty());
}

/// §2.7.3: written and read by hand, as the machine has numbers.
///
/// Clauses: leg:split/legacy-interfaces-a-note-on-vq-end:1
#[test]
fn the_ring_of_a_legacy_driver_has_the_byte_order_of_the_machine() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    let ring = front.start_legacy(&mut bench);
    let answer = bench.ram.holding(&[0; 4]);
    let descriptor = [
        &answer.address.to_ne_bytes()[..],
        &answer.len.to_ne_bytes(),
        &DescriptorFlags::WRITE.bits().to_ne_bytes(),
        &[0, 0],
    ];
    bench.ram.write(ring.areas.descriptor, &descriptor.concat());
    // Flags, and how many chains there are.
    bench
        .ram
        .write(ring.areas.driver, &[[0; 2], 1_u16.to_ne_bytes()].concat());

    front.kick_legacy(0);
    bench.steps.run(0);

    let used = ringway_ring::driver::Segment {
        address: ring.areas.device,
        len: 12,
    };
    let used = bench.ram.bytes(used);
    assert_eq!(bench.ram.bytes(answer), [0x5a; 4]);
    assert_eq!(used[2..4], 1_u16.to_ne_bytes());
    assert_eq!(used[8..12], 4_u32.to_ne_bytes());
}

/// §3.1.2
///
/// Clauses: leg:general-initialization-and-op/init/legacy-interface-init:3
#[test]
fn a_legacy_driver_may_use_the_device_before_it_says_that_it_is_ready() {
    let (mut bench, front) = legacy(Features::bit(2), Offer::default());
    let [mut first, mut second] = [8, 16].map(|size| bench.ram.legacy_ring(size, 4096));
    front.write_legacy(R::DriverFeatures, 1 << 2);
    front.set_page(0, first.page());

    let used = filled(&mut bench, &front, 0, &mut first);
    front.write_legacy(R::DriverFeatures, 0);
    front.set_page(1, second.page());
    let later = filled(&mut bench, &front, 1, &mut second);
    front.set_legacy_status(BASIC | Status::DRIVER_OK);

    assert_eq!([used, later], [[0x5a; 4], [0x5a; 4]]);
    // Settled by the first use, and by that alone.
    assert_eq!(*bench.log.negotiated.lock(), [Features::bit(2)]);
    let agreed = Features::bit(2);
    assert_eq!(*bench.log.workers.lock(), [(0, agreed), (1, agreed)]);
}

#[test]
fn a_kick_of_a_queue_that_is_not_in_use_starts_nothing() {
    let (bench, front) = legacy(Features::NONE, Offer::default());

    for index in [0, 1, 2, u16::MAX] {
        front.kick_legacy(index);
    }

    assert!(bench.steps.kicks().is_empty() && bench.steps.started().is_empty());
    assert!(bench.log.negotiated.lock().is_empty());
}

/// Clauses: leg:general-initialization-and-op/init/legacy-interface-init:2
#[test]
fn configuration_is_a_legacy_drivers_to_write_before_it_says_anything() {
    let (bench, front) = legacy(Features::NONE, Offer::default());

    front.write_config_legacy(2, &[7]);

    assert_eq!(bench.log.config.lock()[2], 7);
}

/// Linux says it when it finds a device, and resets that after.
#[test]
fn the_size_of_pages_outlives_a_reset() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());

    front.write_legacy(R::Status, 0);
    let ring = front.start_legacy(&mut bench);

    assert_eq!(front.read_legacy(R::QueuePage), ring.page());
}

#[test]
fn a_queue_that_cannot_be_reads_as_one_that_is_not_in_use() {
    let (bench, front) = legacy(Features::NONE, Offer::default());
    let refused = |index, page| front.set_page(index, page) == 0;

    for size in [0, 3, 4097, 0xffff_fff0] {
        front.write_legacy(R::PageSize, size);
        assert!(refused(0, 0x40000), "{size}");
    }
    front.write_legacy(R::PageSize, PAGE);
    for align in [0, 3, 4095] {
        front.write_legacy(R::QueueAlign, align);
        assert!(refused(0, 0x40000), "{align}");
    }
    front.write_legacy(R::QueueAlign, PAGE);
    for size in [0, 3, 16, 0x1_0008] {
        front.write_legacy(R::QueueSize, size);
        assert!(refused(0, 0x40000), "{size}");
    }
    assert!(refused(2, 0x40000));
    front.set_legacy_status(BASIC | Status::DRIVER_OK);
    assert!(bench.steps.started().is_empty());
}

#[test]
fn a_queue_that_lies_outside_memory_is_a_violation_and_nothing_is_served() {
    for page in [1, 0x3_ffff, u32::MAX] {
        let (mut bench, front) = legacy(Features::NONE, Offer::default());
        front.set_page(0, page);

        front.set_legacy_status(BASIC | Status::DRIVER_OK);
        front.kick_legacy(0);

        let (index, violation) = front.violation().unwrap();
        assert_eq!(index, 0);
        assert!(matches!(violation, Violation::Area(_)), "{violation:?}");
        assert!(bench.steps.kicks().is_empty() && bench.steps.started().is_empty());
        // It knows of no such bit, and of no interrupt that says so.
        let status = BASIC | Status::DRIVER_OK;
        assert_eq!(front.read_legacy(R::Status), status.bits().into());
        assert!(!bench.wires.asserted());
        front.write_legacy(R::Status, 0);
        let mut ring = front.start_legacy(&mut bench);
        assert_eq!(filled(&mut bench, &front, 0, &mut ring), [0x5a; 4]);
    }
}

#[test]
fn a_queue_in_use_stays_where_it_is_until_it_is_taken_back() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    let mut ring = front.start_legacy(&mut bench);
    let mut other = bench.ram.legacy_ring(8, PAGE as usize);

    let moved = front.set_page(0, other.page());
    front.write_legacy(R::QueueSize, 2);
    front.write_legacy(R::QueueAlign, 4);
    front.write_legacy(R::PageSize, 64);
    assert_eq!(filled(&mut bench, &front, 0, &mut ring), [0x5a; 4]);

    assert_eq!(moved, ring.page());
    front.write_legacy(R::PageSize, PAGE);
    assert_eq!(front.set_page(0, 0), 0);
    assert!(bench.steps.started().is_empty());
    assert_eq!(front.set_page(0, other.page()), other.page());
    assert_eq!(filled(&mut bench, &front, 0, &mut other), [0x5a; 4]);
}

/// It has nothing to wait for: what it reads next is that the queue is not in use.
#[test]
fn a_queue_is_taken_back_when_its_task_has_stopped() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    let front = Arc::new(front);
    let ring = front.start_legacy(&mut bench);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (asks, sees) = (front.clone(), seen.clone());
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        sees.lock().push(asks.read_legacy(R::QueuePage));
        // Nor is it set up anew meanwhile.
        asks.write_legacy(R::QueuePage, 1);
    }));

    let after = front.set_page(0, 0);
    *bench.steps.on_stop.lock() = None;

    assert_eq!((seen.lock()[0], after), (ring.page(), 0));
}

#[test]
fn a_smaller_ring_and_another_alignment_are_a_legacy_drivers_choice() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    let mut ring = bench.ram.legacy_ring(4, 256);
    let page = ring.areas.descriptor / 256;
    front.write_legacy(R::PageSize, 256);
    front.write_legacy(R::QueueSize, 4);
    front.write_legacy(R::QueueAlign, 256);

    assert_eq!(front.set_page(0, page as u32), page as u32);
    front.set_legacy_status(BASIC | Status::DRIVER_OK);

    assert_eq!(filled(&mut bench, &front, 0, &mut ring), [0x5a; 4]);
}

/// A page has a physical address, and this device's addresses are others.
#[test]
fn a_device_with_translated_addresses_has_no_queues_for_a_legacy_driver() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default().with(F::ACCESS_PLATFORM));
    let ring = bench.ram.legacy_ring(8, PAGE as usize);

    let page = front.set_page(0, ring.page());
    front.set_legacy_status(BASIC | Status::DRIVER_OK);

    let size = front.read_legacy(R::QueueSizeMax);
    assert_eq!((size, page), (0, 0));
    assert!(bench.steps.started().is_empty());
}

/// §2.2.3
#[test]
fn a_driver_has_one_interface_from_its_first_write_to_the_next_reset() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    front.set_legacy_status(BASIC);

    // The modern registers change nothing now.
    assert!(!front.settle(F::VERSION_1));
    let ring = bench.ram.ring(8, F::VERSION_1);
    assert!(!front.enable(0, 8, &ring));
    front.set_status(READY);
    front.write_config(0, &[1]);
    assert_eq!(front.status(), BASIC);
    assert_eq!(*bench.log.config.lock(), [0; 8]);

    // A reset is anybody's.
    front.write(Register::Status, 0);
    let _ring = front.start_one(&mut bench);
    let started = bench.steps.started();
    front.set_legacy_status(Status::FAILED);
    front.set_page(0, 0);
    front.write_config_legacy(0, &[1]);
    front.write_legacy(R::DriverFeatures, u32::MAX);
    assert_eq!(front.status(), READY);
    assert_eq!((started, bench.steps.started()), (vec![0], vec![0]));
    assert_eq!(*bench.log.config.lock(), [0; 8]);
    front.write_legacy(R::Status, 0);
    assert_eq!(front.status(), Status::empty());
}

#[test]
fn a_legacy_driver_that_breaks_its_ring_is_served_no_more_until_it_resets_the_device() {
    let (mut bench, front) = legacy(Features::NONE, Offer::default());
    let mut ring = front.start_legacy(&mut bench);
    let second = bench.ram.legacy_ring(16, PAGE as usize);
    // The index of what is available leaps.
    bench.ram.write(ring.areas.driver + 2, &[0xff, 0x7f]);

    front.kick_legacy(0);
    let ran = bench.steps.run(0);
    bench.steps.kicks();
    front.kick_legacy(0);
    front.set_page(1, second.page());
    front.kick_legacy(1);

    assert_eq!(ran, Some(Ran::Broken));
    assert!(bench.steps.kicks().is_empty());
    assert_eq!(bench.steps.started(), [0]);
    assert!(!bench.wires.asserted());
    front.write_legacy(R::Status, 0);
    ring = front.start_legacy(&mut bench);
    assert_eq!(filled(&mut bench, &front, 0, &mut ring), [0x5a; 4]);
}
