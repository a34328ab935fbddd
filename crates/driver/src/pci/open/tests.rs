use super::*;
use crate::error::{PlatformError, TransportError};
use crate::pci::testing::{
    AT, COMMON_CAPABILITY, DEVICE_CAPABILITY, Fake, ISR_CAPABILITY, NOTIFY_CAPABILITY, PORTS,
};
use crate::testing::{TestPlatform, config_space};
use std::vec::Vec;

const BOTH: [Preference; 2] = [Preference::ModernFirst, Preference::LegacyFirst];

/// How the device is opened by either preference.
fn opened(platform: &TestPlatform) -> [Result<&'static str>; 2] {
    let function = Function::read(platform, AT).unwrap();
    BOTH.map(|preference| open(platform, &function, preference).map(|device| device.name()))
}

/// Clauses: leg:pci/init/virtio-cfg-detection/legacy-interface-a-note-on-device:2
#[test]
fn the_preferred_interface_of_a_device_that_has_both_is_used() {
    let platform = Fake::transitional().plug();

    let opened = opened(&platform);

    assert_eq!(opened, [Ok("pci-modern"), Ok("pci-legacy")]);
}

/// Clauses: leg:pci/init/virtio-cfg-detection/legacy-interface-a-note-on-device:3
#[test]
fn a_device_that_has_one_interface_is_used_through_that() {
    let modern = Fake::new().plug();
    let legacy = Fake::legacy().plug();

    assert_eq!(opened(&modern), [Ok("pci-modern"); 2]);
    assert_eq!(opened(&legacy), [Ok("pci-legacy"); 2]);
}

/// §4.1.5.1.1.1: there is none if there are no capabilities.
#[test]
fn a_modern_interface_that_is_broken_is_not_taken_for_none() {
    let mut fake = Fake::transitional();
    fake.put(COMMON_CAPABILITY + 3, &[7]);
    let platform = fake.plug();

    let opened = opened(&platform);

    let missing = Violation::Capability("no common configuration");
    assert_eq!(opened, [Err(missing.into()), Ok("pci-legacy")]);
}

/// §4.1.4.1: drivers ignore those in a BAR of a reserved number.
///
/// Clauses: drv:pci/virtio-structure-pci-capabilities:4
#[test]
fn capabilities_that_are_to_be_passed_over_make_no_modern_interface() {
    let mut fake = Fake::transitional();
    for at in [
        COMMON_CAPABILITY,
        NOTIFY_CAPABILITY,
        ISR_CAPABILITY,
        DEVICE_CAPABILITY,
    ] {
        fake.put(at + 4, &[6]);
    }
    let platform = fake.plug();

    assert_eq!(opened(&platform), [Ok("pci-legacy"); 2]);
}

#[test]
fn where_rings_cannot_be_low_enough_the_legacy_interface_is_left_for_the_modern_one() {
    let transitional = Fake::transitional().plug();
    let legacy = Fake::legacy().plug();
    for platform in [&transitional, &legacy] {
        platform.set_low(1 << 44);
    }

    let no_memory = Err(PlatformError::NoMemory(4096).into());
    assert_eq!(opened(&transitional), [Ok("pci-modern"); 2]);
    assert_eq!(opened(&legacy), [no_memory; 2]);
    assert_eq!(legacy.allocations(), 0);
}

#[test]
fn where_there_are_no_ports_the_legacy_interface_is_left_for_the_modern_one() {
    let put = |mut fake: Fake, bar: u32| {
        fake.put(0x10, &bar.to_le_bytes());
        fake.plug()
    };
    let elsewhere = 0xd000;
    let no_ports = Err(PlatformError::NoPorts(elsewhere).into());

    let transitional = put(Fake::transitional(), elsewhere | 1);
    assert_eq!(opened(&transitional), [Ok("pci-modern"); 2]);
    assert_eq!(opened(&put(Fake::legacy(), elsewhere | 1)), [no_ports; 2]);
    // A BAR without an address, and one of memory: there is no interface at all.
    let neither = Err(Violation::Capability("no common configuration").into());
    for bar in [1, PORTS] {
        assert_eq!(
            opened(&put(Fake::transitional(), bar)),
            [Ok("pci-modern"); 2]
        );
        assert_eq!(opened(&put(Fake::legacy(), bar)), [neither; 2]);
    }
}

/// §4.1.5.1.1.1: where there are no ports, drivers are for modern interfaces alone. A device without
/// capabilities is one from before, then, which is given up as it was.
///
/// Clauses: leg:pci/init/virtio-cfg-detection/legacy-interface-a-note-on-device:4,
/// leg:pci/init/virtio-cfg-detection/legacy-interface-a-note-on-device:5
#[test]
fn a_driver_that_knows_no_legacy_interface_gives_such_a_device_up() {
    let elsewhere = 0xd000;
    let [mut modern, mut legacy] = [Fake::transitional(), Fake::legacy()];
    for fake in [&mut modern, &mut legacy] {
        fake.put(0x10, &(elsewhere | 1_u32).to_le_bytes());
    }
    let [modern, legacy] = [modern.plug(), legacy.plug()];
    let before: [u8; 256] = legacy.peek(config_space(AT));

    let [driven, given_up] = [&modern, &legacy].map(opened);

    let no_ports = Err(PlatformError::NoPorts(elsewhere).into());
    assert_eq!(driven, [Ok("pci-modern"); 2]);
    assert_eq!(given_up, [no_ports; 2]);
    assert_eq!(legacy.peek(config_space(AT)), before);
}

/// §4.1.2.3
#[test]
fn devices_of_another_revision_or_with_a_modern_id_have_no_legacy_interface() {
    let spoilt = |at: usize, bytes: &[u8]| {
        let mut fake = Fake::legacy();
        fake.put(at, bytes);
        opened(&fake.plug())
    };

    let neither = Err(Violation::Capability("no common configuration").into());
    assert_eq!(spoilt(0x08, &[1]), [neither; 2]);
    assert_eq!(spoilt(0x02, &[0x42, 0x10]), [neither; 2]);
    let ids = TransportError::NotVirtio(0x0fff_1af4);
    assert_eq!(spoilt(0x02, &[0xff, 0x0f]), [Err(ids.into()); 2]);
}

#[test]
fn a_device_that_cannot_be_opened_is_left_as_it_was() {
    let mut fake = Fake::legacy();
    fake.allow(0x10, &0xffff_fff0_u32.to_le_bytes());
    let platform = fake.plug();
    let before: [u8; 256] = platform.peek(config_space(AT));

    let opened = opened(&platform);

    let short = Violation::Capability("legacy registers are too short");
    assert_eq!(opened, [Err(short.into()); 2]);
    assert_eq!(platform.peek(config_space(AT)), before);
}

#[test]
fn all_devices_are_opened_by_the_interface_that_is_preferred() {
    let platform = Fake::transitional().plug();
    let names = |devices: &mut dyn Iterator<Item = Result<Pci<TestPlatform>>>| {
        devices
            .map(|device| device.unwrap().name())
            .collect::<Vec<_>>()
    };

    let legacy = names(&mut devices_by(&platform, Preference::LegacyFirst));
    let default = names(&mut devices(&platform));

    assert_eq!(legacy, ["pci-legacy"]);
    assert_eq!(default, ["pci-modern"]);
}
