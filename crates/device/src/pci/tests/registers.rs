//! The registers in the BARs, but for those of notifications.

use super::*;

#[test]
fn the_common_structure_has_each_field_at_its_place_and_width() {
    let (_bench, function) = placed(3);
    function.set_common(common::DEVICE_FEATURE_SELECT, 4, 2);
    function.set_common(common::QUEUE_SELECT, 2, 1);
    let fields = [
        (common::DEVICE_FEATURE_SELECT, 4, 2),
        (common::DEVICE_FEATURE, 4, 1 << 6),
        (common::CONFIG_MSIX_VECTOR, 2, 0xffff),
        (common::NUM_QUEUES, 2, 2),
        (common::QUEUE_SELECT, 2, 1),
        (common::QUEUE_SIZE, 2, 16),
        (common::QUEUE_MSIX_VECTOR, 2, 0xffff),
        (common::QUEUE_NOTIFY_OFF, 2, 1),
    ];

    for (offset, len, value) in fields {
        assert_eq!(function.common(offset, len), value, "{offset}");
        for wrong in [1, 2, 4].into_iter().filter(|&wrong| wrong != len) {
            assert_eq!(function.common(offset, wrong), 0, "{offset}+{wrong}");
        }
    }
    // Those of features that are not offered, and what is beyond.
    for offset in [56, 58, 60, 62, 64] {
        assert_eq!(function.common(offset, 2), 0, "{offset}");
    }
}

/// Clauses: dev:pci/pci-device-layout:1
#[test]
fn halves_of_addresses_are_written_apart_and_read_back() {
    let (_bench, function) = placed(3);
    function.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
    function.set_common(common::DRIVER_FEATURE, 4, 1);
    function.set_common(common::DEVICE_STATUS, 1, 0xb);

    for (n, at) in [
        common::QUEUE_DESC,
        common::QUEUE_DRIVER,
        common::QUEUE_DEVICE,
    ]
    .into_iter()
    .enumerate()
    {
        function.set_common(at + 4, 4, n as u32 + 1);
        function.set_common(at, 4, n as u32 + 11);
        function.set_common(at, 2, 0);
        function.bar_write(0, at as u64, &[0; 8]);

        assert_eq!(function.common(at, 4), n as u32 + 11);
        assert_eq!(function.common(at + 4, 4), n as u32 + 1);
    }
}

/// §4.1.4.3.2: only a reset takes a queue back.
#[test]
fn a_queue_stays_enabled_until_the_reset() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);

    function.set_common(common::QUEUE_ENABLE, 2, 0);
    let enabled = function.common(common::QUEUE_ENABLE, 2);
    function.set_common(common::DEVICE_STATUS, 1, 0);

    assert_eq!(enabled, 1);
    assert_eq!(function.common(common::QUEUE_ENABLE, 2), 0);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
    assert!(bench.steps.started().is_empty());
}

/// §2.6.1: its set-up goes, its vector among it, and the other queue's stays.
#[test]
fn a_queue_that_is_reset_alone_forgets_its_vector() {
    let (mut bench, function) = placed(3);
    function.start_with(&mut bench, 1, 2, F::RING_RESET);
    function.set_common(common::QUEUE_SELECT, 2, 0);
    function.set_common(common::QUEUE_MSIX_VECTOR, 2, 1);
    function.set_common(common::QUEUE_SELECT, 2, 1);

    function.set_common(common::QUEUE_RESET, 2, 1);

    let read = |at| function.common(at, 2);
    let registers = [
        common::QUEUE_RESET,
        common::QUEUE_ENABLE,
        common::QUEUE_MSIX_VECTOR,
        common::QUEUE_SIZE,
    ];
    assert_eq!(registers.map(read), [0, 0, 0xffff, 16]);
    assert!(bench.steps.started().is_empty());
    function.set_common(common::QUEUE_SELECT, 2, 0);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 1);
}

/// Clauses: dev:pci/pci-device-layout:1
#[test]
fn halves_of_a_wide_field_of_configuration_are_reached_apart() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let device = u64::from(DEVICE_OFFSET);

    function.bar_write(0, device + 4, &[5, 6, 7, 8]);
    let high = *bench.log.config.lock();
    function.bar_write(0, device, &[1, 2, 3, 4]);
    let halves = [0, 4].map(|at| {
        let mut bytes = [0; 4];
        function.bar_read(0, device + at, &mut bytes);
        bytes
    });

    assert_eq!(high, [0, 0, 0, 0, 5, 6, 7, 8]);
    assert_eq!(halves, [[1, 2, 3, 4], [5, 6, 7, 8]]);
}

#[test]
fn the_device_s_configuration_is_in_its_own_structure() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let device = u64::from(DEVICE_OFFSET);

    function.bar_write(0, device + 2, &[1, 2]);
    let mut bytes = [0xff; 4];
    function.bar_read(0, device + 1, &mut bytes);

    assert_eq!(bytes, [0, 1, 2, 0]);
    function.bar_read(0, device + 0xffe, &mut bytes);
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn accesses_that_are_not_within_a_structure_read_0_and_write_nothing() {
    let (_bench, function) = placed(3);

    for (bar, offset, len) in [
        (0, 0x3e, 4),
        (0, 0x40, 4),
        (0, 0x1001, 1),
        (0, 0x4000, 4),
        (0, u64::MAX, 4),
        (1, 0, 4),
        (2, 48, 4),
        (2, 0x1008, 4),
        (6, 0, 4),
        (255, 0, 4),
        (0, 0, 0),
    ] {
        let mut bytes = [0xff; 4];
        function.bar_read(bar, offset, &mut bytes[..len]);
        assert_eq!(bytes[..len], [0; 4][..len], "{bar} {offset:#x}+{len}");
        function.bar_write(bar, offset, &bytes[..len]);
    }
}

/// Whatever is selected: there are features up to bit 127, and none beyond.
///
/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:3,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:4
#[test]
fn each_word_of_features_is_where_its_number_is_selected() {
    let (bench, parts) = Bench::new(Features::bit(3) | Features::bit(70), Offer::NOTHING);
    let function = present(&bench, parts, 3).unwrap();
    let selections = [0, 1, 2, 3, 4, 32, 0x8000_0000, u32::MAX];
    let words = |select, word| {
        selections.map(|selected| {
            function.set_common(select, 4, selected);
            assert_eq!(function.common(select, 4), selected);
            function.common(word, 4)
        })
    };
    let all_of_it = [1 << 3, 1, 1 << 6, 0, 0, 0, 0, 0];

    let offered = words(common::DEVICE_FEATURE_SELECT, common::DEVICE_FEATURE);
    for (selected, word) in selections.into_iter().zip(all_of_it) {
        function.set_common(common::DRIVER_FEATURE_SELECT, 4, selected);
        function.set_common(common::DRIVER_FEATURE, 4, word);
    }
    let accepted = words(common::DRIVER_FEATURE_SELECT, common::DRIVER_FEATURE);

    assert_eq!((offered, accepted), (all_of_it, all_of_it));
}

/// Whoever changed it: the device, which may say so or not (features have it change too), or the
/// driver; and however often, so that no count of 8 bits comes round.
///
/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:6
#[test]
fn the_generation_is_another_once_a_changed_value_was_read() {
    let (mut bench, function) = placed(3);
    let read = || {
        let mut bytes = [0; 4];
        function.bar_read(0, DEVICE_OFFSET.into(), &mut bytes);
        (function.common(common::CONFIG_GENERATION, 1), bytes)
    };
    let mut last = read();
    let mut another = || {
        let now = read();
        let moved = now.0 != last.0 && read() == now;
        last = now;
        moved
    };

    function.start(&mut bench, 0, NO_VECTOR);
    bench.log.config.lock()[2] = 1;
    let in_silence = another();
    for times in 1..=256 {
        bench.log.config.lock()[0] = times as u8;
        function.config_changed();
    }
    let by_itself = another();
    function.bar_write(0, u64::from(DEVICE_OFFSET) + 1, &[9]);
    let by_the_driver = another();

    assert_eq!([in_silence, by_itself, by_the_driver], [true; 3]);
}

/// Its status, while it waits for its tasks, is still what it was.
///
/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:7,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:8
#[test]
fn a_status_of_0_is_written_to_reset_and_read_once_that_is_done() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 1, 1);
    let function = Arc::new(function);
    let meanwhile = Arc::new(Mutex::new(Vec::new()));
    let (weak, seen) = (Arc::downgrade(&function), meanwhile.clone());
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        if let Some(function) = weak.upgrade() {
            let status = function.common(common::DEVICE_STATUS, 1);
            seen.lock().push(status);
        }
    }));

    function.set_common(common::DEVICE_STATUS, 1, 0);

    assert_eq!(*meanwhile.lock(), [0xf, 0xf]);
    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
    assert_eq!(bench.log.resets.load(Ordering::SeqCst), 1);
    assert!(bench.steps.started().is_empty());
    for index in 0..2 {
        function.set_common(common::QUEUE_SELECT, 2, index);
        assert_eq!(function.common(common::QUEUE_ENABLE, 2), 0);
    }
}

/// The whole device is reset while a queue still is.
///
/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:9,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:12
#[test]
fn a_queue_reads_as_being_reset_until_it_is_or_the_whole_device_is() {
    let (mut bench, function) = placed(3);
    function.start_with(&mut bench, 1, 1, F::RING_RESET);
    let function = Arc::new(function);
    let meanwhile = Arc::new(Mutex::new(Vec::new()));
    let (weak, seen) = (Arc::downgrade(&function), meanwhile.clone());
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        let Some(function) = weak.upgrade() else {
            return;
        };
        let first = seen.lock().is_empty();
        if first {
            seen.lock().push(function.common(common::QUEUE_RESET, 2));
            function.set_common(common::DEVICE_STATUS, 1, 0);
            function.set_common(common::QUEUE_SELECT, 2, 1);
            seen.lock().push(function.common(common::QUEUE_RESET, 2));
        }
    }));

    function.set_common(common::QUEUE_RESET, 2, 1);

    assert_eq!(*meanwhile.lock(), [1, 0]);
    assert_eq!(function.common(common::QUEUE_RESET, 2), 0);
}

/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:10,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:11,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:13
#[test]
fn a_queue_is_reset_by_a_1_and_reads_0_then_and_when_it_is_enabled_again() {
    let (mut bench, function) = placed(3);
    let ring = function.start_with(&mut bench, 1, 1, F::RING_RESET);
    let both =
        || [common::QUEUE_RESET, common::QUEUE_ENABLE].map(|register| function.common(register, 2));

    let started = (bench.steps.started(), both());
    function.set_common(common::QUEUE_RESET, 2, 1);
    let reset = (bench.steps.started(), both());
    for (at, address) in [
        (common::QUEUE_DESC, ring.areas.descriptor),
        (common::QUEUE_DRIVER, ring.areas.driver),
        (common::QUEUE_DEVICE, ring.areas.device),
    ] {
        function.set_common(at, 4, address as u32);
    }
    function.set_common(common::QUEUE_ENABLE, 2, 1);
    let again = (bench.steps.started(), both());

    assert_eq!(started, (vec![1], [0, 1]));
    assert_eq!(reset, (vec![], [0, 0]));
    assert_eq!(again, (vec![1], [0, 1]));
}

/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:14,
/// dev:pci/pci-device-layout/common-cfg-structure-layout:15
#[test]
fn a_queue_s_size_is_0_or_a_power_of_2_and_0_where_there_is_no_queue() {
    let (_bench, function) = placed(3);
    let size = || function.common(common::QUEUE_SIZE, 2);
    function.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
    function.set_common(common::DRIVER_FEATURE, 4, 1);
    function.set_common(common::DEVICE_STATUS, 1, 0xb);

    for index in [2, 3, 0x100, 0xffff] {
        function.set_common(common::QUEUE_SELECT, 2, index);
        assert_eq!(size(), 0, "queue {index}");
        function.set_common(common::QUEUE_SIZE, 2, 8);
        assert_eq!(size(), 0, "queue {index}");
    }
    function.set_common(common::QUEUE_SELECT, 2, 0);
    assert_eq!(size(), 8);
    for asked in 0..=9 {
        function.set_common(common::QUEUE_SIZE, 2, asked);
        let taken = asked.is_power_of_two() && asked <= 8;
        assert_eq!(size(), if taken { asked } else { 0 });
    }
}

/// One that was set up for packed rings, which may have any size, forgets it with them.
///
/// Clauses: dev:pci/pci-device-layout/common-cfg-structure-layout:15
#[test]
fn a_size_that_a_packed_ring_had_does_not_outlive_it() {
    let (bench, parts) = Bench::new(Features::NONE, Offer::default().with(F::RING_PACKED));
    let function = present(&bench, parts, 3).unwrap();
    function.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
    let features = F::VERSION_1 | F::RING_PACKED;
    function.set_common(common::DRIVER_FEATURE, 4, features.word(1));
    function.set_common(common::DEVICE_STATUS, 1, 0xb);

    function.set_common(common::QUEUE_SIZE, 2, 6);
    let packed = function.common(common::QUEUE_SIZE, 2);
    function.set_common(common::DEVICE_STATUS, 1, 0);

    assert_eq!((packed, function.common(common::QUEUE_SIZE, 2)), (6, 8));
}
