//! What bring-up does differently with devices from before version 1.

use super::*;
use crate::bus::attach;
use crate::dialect::{Dialect, LegacyRings, RingSize};
use crate::entropy::Rng;
use crate::error::PlatformError;
use crate::platform::Trust;
use crate::scripted::Scripted;
use ringway_ring::driver::Areas;
use ringway_spec::F;
use ringway_spec::config::Field;
use ringway_spec::le::U32;
use ringway_spec::split;
use std::vec;
use std::vec::Vec;

type Entropy = Rng<Scripted, Vec<u8>>;

const PCI: LegacyRings = LegacyRings {
    align: 4096,
    size: RingSize::Fixed,
    last: (1 << 44) - 1,
};

fn device(rings: LegacyRings) -> Scripted {
    let device = Scripted::new(
        Trust::Trusted,
        DeviceId::ENTROPY,
        Features::NONE,
        vec![0; 16],
    );
    {
        let mut script = device.script();
        script.dialect = Dialect::Legacy(rings);
        script.offered = F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT | F::NOTIFY_ON_EMPTY;
    }
    device
}

/// §3.1.2: the bit is of a later time than the device, which takes it for garbage.
///
/// Clauses: leg:general-initialization-and-op/init/legacy-interface-init:1
#[test]
fn a_legacy_device_is_never_told_features_ok() {
    let device = device(PCI);

    let rng: Entropy = attach(device.clone()).unwrap();

    let statuses: Vec<_> = device.script().statuses_written.clone();
    let bits: Vec<_> = statuses.iter().map(Status::bits).collect();
    assert_eq!(bits, [0, 1, 1 | 2, 1 | 2 | 4]);
    drop(rng);
}

/// §2.2.3, §6.3
///
/// Clauses: leg:basic/feature-bits/legacy-interface-a-note-on-feature:4,
/// leg:reserved-feature-bits/legacy-interface-reserved-feature:3
#[test]
fn a_legacy_device_is_driven_without_version_1_and_without_what_came_with_it() {
    let device = device(PCI);
    device.script().offered = Features(0xffff_ffff);

    let rng: Entropy = attach(device.clone()).unwrap();

    let accepted = device.script().accepted;
    let agreed = F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT;
    assert_eq!(accepted, agreed);
    drop(rng);
}

/// §2.7.3: read by hand, as the machine has numbers.
///
/// Clauses: leg:split/legacy-interfaces-a-note-on-vq-end:1
#[test]
fn the_ring_of_a_legacy_device_has_the_byte_order_of_the_machine() {
    let device = device(PCI);
    let mut rng: Entropy = attach(device.clone()).unwrap();
    let Areas {
        descriptor, driver, ..
    } = device.script().queues[&0].areas;

    rng.request(vec![0; 0x123]).unwrap();
    rng.kick().unwrap();

    let map = device.platform.device_map();
    let bytes = |address| {
        let mut bytes = [0; 4];
        let piece = map.shared(address, 4).unwrap();
        piece.view().read(0, &mut bytes).unwrap();
        bytes
    };
    assert_eq!(bytes(descriptor + 8), 0x123_u32.to_ne_bytes());
    // Of one chain: the index of the ring of those that are available.
    assert_eq!(bytes(driver)[2..], 1_u16.to_ne_bytes());
    drop(map);
    drop(rng);
}

/// §2.7.2: the driver has no say in the size, and the areas follow from one address.
///
/// Clauses: leg:split/legacy-interfaces-a-note-on-vq-lay:1,
/// leg:split/legacy-interfaces-a-note-on-vq-lay:2
#[test]
fn the_ring_of_a_legacy_device_is_one_stretch_of_the_size_that_the_device_has() {
    let device = device(PCI);
    device.script().queue_size_max = 1024;

    let rng: Entropy = attach(device.clone()).unwrap();

    let setup = device.script().queues[&0];
    let Areas {
        descriptor,
        driver,
        device: used,
    } = setup.areas;
    assert_eq!(setup.size, 1024);
    assert_eq!(descriptor % 4096, 0);
    assert_eq!(driver, descriptor + 16 * 1024);
    assert_eq!(used, (driver + 6 + 2 * 1024).next_multiple_of(4096));
    drop(rng);
}

#[test]
fn where_a_legacy_device_has_a_register_for_the_size_a_smaller_ring_does() {
    let device = device(LegacyRings {
        size: RingSize::Chosen,
        ..PCI
    });
    device.script().queue_size_max = 1000;

    let rng: Entropy = attach(device.clone()).unwrap();

    let size = device.script().queues[&0].size;
    assert!(size.is_power_of_two() && size <= 512);
    drop(rng);
}

#[test]
fn a_legacy_ring_of_a_size_that_cannot_be_is_the_devices_fault() {
    for size in [3, 100, split::MAX_SIZE + 1, u16::MAX] {
        let device = device(PCI);
        device.script().queue_size_max = size;

        let refused = attach::<Entropy, _>(device).err();

        let violation = Violation::QueueSize { index: 0, size };
        assert_eq!(refused, Some(Error::Device(violation)));
    }
}

#[test]
fn a_ring_that_a_legacy_device_cannot_reach_is_not_made() {
    let device = device(PCI);
    device.platform.set_low(PCI.last - 100);

    let refused = attach::<Entropy, _>(device.clone()).err();

    assert!(matches!(
        refused,
        Some(Error::Platform(PlatformError::NoMemory(_)))
    ));
    assert_eq!(device.platform.allocations(), 0);
}

/// §2.5.4
#[test]
fn fields_of_a_legacy_device_are_read_until_two_readings_are_the_same() {
    let field = Field::<U32>::at(4);
    let settles = device(PCI);
    settles.script().config_changes = 3;
    let never = device(PCI);
    never.script().config_changes = u32::MAX;
    let read = |device: Scripted| {
        let probed = Acknowledged::new(device).unwrap().driver().unwrap();
        let mut negotiated = probed.negotiate(&Wanted::default()).unwrap();
        negotiated.config().read(field)
    };

    assert_eq!(read(settles), Ok(U32::new(0xffff_ffff)));
    assert_eq!(read(never), Err(Violation::ConfigUnstable.into()));
}

#[test]
fn a_legacy_device_cannot_be_had_where_its_addresses_are_not_physical() {
    let device = device(PCI);
    let wanted = Wanted {
        required: F::ACCESS_PLATFORM,
        ..Wanted::default()
    };

    let probed = Acknowledged::new(device).unwrap().driver().unwrap();
    let refused = probed.negotiate(&wanted).err();

    assert_eq!(refused, Some(Error::FeaturesMissing(F::ACCESS_PLATFORM)));
}
