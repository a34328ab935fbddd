//! The window on the BARs in configuration space.

use super::*;

/// §4.1.4.9.1.
///
/// Clauses: dev:pci/pci-device-layout/pci-cfg-access-capability:2,
/// dev:pci/pci-device-layout/pci-cfg-access-capability:3
#[test]
fn the_window_in_configuration_space_reaches_the_bars() {
    let (_bench, function) = function(3);
    let at = function.capability(CapabilityType::PCI_CFG);
    let point = |bar: u8, offset: usize, len: u32| {
        function.config_write(at as u16 + 4, &[bar]);
        function.set(at + 8, offset as u32);
        function.set(at + 12, len);
    };

    point(0, common::DEVICE_STATUS, 1);
    function.config_write(at as u16 + 16, &[3]);
    let mut status = [0];
    function.config_read(at as u16 + 16, &mut status);
    point(0, common::NUM_QUEUES, 2);
    let queues = function.get(at + 16) as u16;
    point(2, 8, 4);
    function.set(at + 16, 0x1234_5678);

    assert_eq!((status, queues), ([3], 2));
    let mut data = [0; 4];
    function.bar_read(2, 8, &mut data);
    assert_eq!(data, [0x78, 0x56, 0x34, 0x12]);
    let capability: PciCfgCapability = function.structure(at);
    assert_eq!((capability.cap.bar, capability.cap.length.get()), (2, 4));
}

#[test]
fn a_window_that_points_at_nothing_reaches_nothing() {
    let (_bench, function) = function(3);
    let at = function.capability(CapabilityType::PCI_CFG);

    for (bar, offset, len) in [
        (0, 20, 0),
        (0, 20, 3),
        (0, 20, 8),
        (0, 21, 2),
        (7, 20, 1),
        (0, u32::MAX, 1),
    ] {
        function.config_write(at as u16 + 4, &[bar]);
        function.set(at + 8, offset);
        function.set(at + 12, len);
        function.set(at + 16, 1);
        function.get(at + 16);
    }

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
}

/// A reset through the window waits for tasks as any other does: with no lock of configuration
/// space either.
#[test]
fn a_reset_through_the_window_leaves_configuration_space_free() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let at = function.capability(CapabilityType::PCI_CFG);
    function.set(at + 8, common::DEVICE_STATUS as u32);
    function.set(at + 12, 1);
    let function = Arc::new(function);
    let weak = Arc::downgrade(&function);
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        if let Some(function) = weak.upgrade() {
            assert_eq!(function.get(config::VENDOR_ID), 0x107f_1af4);
            assert_eq!(function.common(common::DEVICE_STATUS, 1), 0xf);
        }
    }));

    function.config_write(at as u16 + 16, &[0]);

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
    assert!(bench.steps.started().is_empty());
}

/// However wide the driver's own access is.
///
/// Clauses: dev:pci/pci-device-layout/pci-cfg-access-capability:2,
/// dev:pci/pci-device-layout/pci-cfg-access-capability:3
#[test]
fn the_window_is_as_wide_as_it_says() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let at = function.capability(CapabilityType::PCI_CFG);
    let point = |offset: u32, len: u32| {
        function.set(at + 8, DEVICE_OFFSET + offset);
        function.set(at + 12, len);
    };

    point(0, 1);
    function.set(at + 16, 0x0403_0201);
    point(2, 2);
    function.set(at + 16, 0x0807_0605);
    point(4, 4);
    function.set(at + 16, 0x0c0b_0a09);
    let written = *bench.log.config.lock();
    point(0, 1);
    let one = function.get(at + 16);
    point(2, 2);
    let two = function.get(at + 16);
    point(4, 4);
    let mut high = [0; 2];
    function.config_read(at as u16 + 18, &mut high);

    assert_eq!(written, [1, 0, 5, 6, 9, 10, 11, 12]);
    // The rest of the data is what it was.
    assert_eq!((one, two), (0x0c0b_0a01, 0x0c0b_0605));
    assert_eq!(high, [11, 12]);
}
