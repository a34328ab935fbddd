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
