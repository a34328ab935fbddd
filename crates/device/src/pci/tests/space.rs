//! What configuration space says and takes: the header, BARs, and how it can be accessed.

use super::*;

/// Clauses: dev:pci:1, dev:pci/pci-device-discovery:1, dev:pci/pci-device-discovery:2
#[test]
fn a_function_says_what_it_is() {
    let (_bench, function) = function(3);

    assert_eq!(function.get(config::VENDOR_ID), 0x107f_1af4);
    assert_eq!(function.get(config::REVISION_ID), 0xff00_0001);
    assert_eq!(function.get(config::SUBSYSTEM_VENDOR_ID), 0x107f_1af4);
    assert_eq!(function.get(config::INTERRUPT_LINE), 0x0000_0100);
    assert_eq!(function.get(config::HEADER_TYPE & !3), 0);
    assert_eq!(function.get(config::COMMAND), 0x0010_0000);
}

/// §4.1.2.2: drivers look no further than the id of type 63.
///
/// Clauses: dev:pci/pci-device-discovery:2
#[test]
fn a_type_that_has_no_device_id_is_refused() {
    for (id, told) in [
        (DeviceId::NETWORK, Ok(0x1041)),
        (DeviceId(63), Ok(0x107f)),
        (DeviceId(64), Err(Unfit::Type(DeviceId(64)))),
        (DeviceId(0x1_0001), Err(Unfit::Type(DeviceId(0x1_0001)))),
        (DeviceId(u32::MAX), Err(Unfit::Type(DeviceId(u32::MAX)))),
    ] {
        let (mut model, log) = Plain::new(Features::NONE);
        model.id = id;
        let (bench, parts) = Bench::around(model, log, Offer::default());

        let function = present(&bench, parts, 3);

        let device = function.map(|function| function.get(config::VENDOR_ID) >> 16);
        assert_eq!(device, told);
    }
}

/// Clauses: dev:pci:1
#[test]
fn a_bar_tells_its_size_and_takes_an_address() {
    let (_bench, function) = function(3);

    for at in [
        config::BAR0,
        config::BAR0 + 4,
        config::BAR0 + 8,
        config::BAR0 + 12,
    ] {
        function.set(at, u32::MAX);
    }

    let bars = [0, 4, 8, 12].map(|at| function.get(config::BAR0 + at));
    assert_eq!(bars, [0xffff_c004, u32::MAX, 0xffff_e000, 0]);
    let sizes: Vec<_> = function
        .bars()
        .iter()
        .map(|bar| (bar.index, bar.size, bar.kind.is_wide()))
        .collect();
    assert_eq!(sizes, [(0, 0x4000, true), (2, 0x2000, false)]);
}

/// Clauses: dev:pci:1
#[test]
fn a_bar_answers_at_its_address_and_nowhere_else() {
    let (_bench, function) = placed(3);

    assert_eq!(function.locate(BASE0, 4), Some((0, 0)));
    assert_eq!(function.locate(BASE0 + 0x3fff, 1), Some((0, 0x3fff)));
    assert_eq!(function.locate(BASE0 + 0x3fff, 2), None);
    assert_eq!(function.locate(BASE2 + 8, 8), Some((2, 8)));
    assert_eq!(function.locate(BASE2 - 1, 1), None);
    assert_eq!(function.locate(u64::MAX, 1), None);
    function.set(config::COMMAND, 0);
    assert_eq!(function.locate(BASE0, 4), None);
}

/// Clauses: dev:pci:1
#[test]
fn only_what_can_be_written_is_written() {
    let (_bench, function) = function(3);
    let window = function.capability(CapabilityType::PCI_CFG);

    for at in (0..config::SIZE).step_by(4) {
        let before = function.get(at);
        let writable = match at {
            config::COMMAND => 0x0406,
            config::BAR0 => 0xffff_c000,
            0x14 => u32::MAX,
            0x18 => 0xffff_e000,
            config::INTERRUPT_LINE => 0xff,
            config::CAPABILITIES_START => 0xc000_0000,
            _ if at == window + 4 => 0xff,
            _ if (window + 8..window + 20).contains(&at) => u32::MAX,
            _ => 0,
        };
        function.set(at, u32::MAX);
        let ones = function.get(at);
        function.set(at, 0);
        let zeroes = function.get(at);

        assert_eq!(
            (ones ^ zeroes, zeroes & !writable),
            (writable, before & !writable),
            "{at:#x}"
        );
    }
}

#[test]
fn configuration_space_answers_aligned_accesses_of_8_16_and_32_bits_only() {
    let (_bench, function) = function(3);

    for (offset, len) in [
        (0, 3),
        (0, 8),
        (1, 2),
        (2, 4),
        (0x100, 4),
        (0xfff, 1),
        (0xfffc, 4),
    ] {
        let mut bytes = [0xff; 8];
        function.config_read(offset, &mut bytes[..len]);
        assert_eq!(bytes[..len], [0; 8][..len], "{offset:#x}+{len}");
        function.config_write(offset, &bytes[..len]);
    }
    function.config_write(config::COMMAND as u16 - 1, &[0, 6]);
    function.config_write(config::COMMAND as u16, &[6, 0, 0]);
    assert_eq!(function.get(config::COMMAND) as u16, 0);
    function.config_write(config::COMMAND as u16, &[6]);
    assert_eq!(function.get(config::COMMAND) as u16, 6);
}
