//! Devices of version 1.

use super::*;
use crate::bus::attach;
use crate::entropy::Rng;
use crate::mmio::legacy::Legacy;
use crate::platform::Trust;
use crate::testing::{Access, TestPlatform};
use ringway_ring::driver::{Areas, Geometry};
use ringway_spec::F;
use std::vec;
use std::vec::Vec;

/// Where the device is.
const AT: u64 = 0x0a00_0000;
const LEN: u64 = 0x140;

/// Puts a device of version 1 on the bus, with one queue of 100 descriptors. It remembers the page
/// of its queue until it is reset.
fn place(platform: &TestPlatform) {
    let mut bytes = vec![0; LEN as usize];
    for (register, value) in [
        (register::MAGIC_VALUE, MAGIC),
        (register::VERSION, LEGACY_VERSION),
        (register::DEVICE_ID, DeviceId::ENTROPY.0),
        (register::VENDOR_ID, 0x554d_4551),
        // What version 2 would have said of the queue and of the configuration.
        (register::QUEUE_READY, u32::MAX),
        (register::CONFIG_GENERATION, u32::MAX),
    ] {
        bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
    }
    platform.place(AT, bytes, |bytes, access| {
        let Access::Write { at, value, .. } = access else {
            return;
        };
        let mut put = |register: usize, value: u32| {
            bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
        };
        match at as usize {
            // It has words of features that no driver of its time asks for.
            register::DEVICE_FEATURES_SEL => put(register::DEVICE_FEATURES, 0x3000_0000 | value),
            register::QUEUE_SEL => put(register::QUEUE_SIZE_MAX, [100, 0][value.min(1) as usize]),
            register::STATUS if value == 0 => put(legacy_register::QUEUE_PFN, 0),
            _ => {}
        }
    });
}

fn device() -> (TestPlatform, Mmio<TestPlatform>) {
    let platform = TestPlatform::new(Trust::Trusted);
    place(&platform);
    let registers = platform.registers(AT, LEN).unwrap();
    let device = Mmio::new(platform.clone(), registers, Some(3)).unwrap();
    platform.take_log();
    (platform, device)
}

fn writes(platform: &TestPlatform) -> Vec<(usize, u32)> {
    let log = platform.take_log();
    log.iter()
        .filter_map(|access| match *access {
            Access::Write { at, value, .. } => Some(((at - AT) as usize, value)),
            Access::Read { .. } => None,
        })
        .collect()
}

/// A ring as bring-up makes it for such a device.
fn setup(address: u64) -> QueueSetup {
    let Dialect::Legacy(rings) = Legacy::<crate::testing::TestRegisters>::DIALECT else {
        panic!("a legacy dialect");
    };
    let geometry = Geometry::legacy(64, 0, rings.align).unwrap();
    QueueSetup {
        size: 64,
        areas: geometry.areas(address),
    }
}

#[test]
fn a_device_of_version_1_is_driven_through_the_legacy_interface() {
    let (_, mut device) = device();

    let features = device.device_features().unwrap();

    assert!(device.dialect().is_legacy());
    assert_eq!(device.name(), "mmio-legacy");
    assert_eq!(device.transport_features(), Features::NONE);
    assert_eq!(features, F::INDIRECT_DESC | F::EVENT_IDX);
}

/// §4.2.4: the size, the alignment, and then the page.
#[test]
fn a_queue_is_told_by_the_number_of_its_first_page() {
    let (platform, mut device) = device();

    device.set_driver_features(F::EVENT_IDX).unwrap();
    let before = device.queue_enabled(0).unwrap();
    platform.take_log();
    device.enable_queue(0, &setup(0x12_3456_7000)).unwrap();
    let enabled = writes(&platform);
    let after = device.queue_enabled(0).unwrap();

    let told = [
        (register::QUEUE_SEL, 0),
        (register::QUEUE_SIZE, 64),
        (legacy_register::QUEUE_ALIGN, 4096),
        (legacy_register::QUEUE_PFN, 0x0123_4567),
    ];
    assert_eq!(enabled, told);
    assert_eq!((before, after), (false, true));
}

#[test]
fn the_page_size_and_32_features_are_told_before_any_queue() {
    let (platform, mut device) = device();

    device.set_driver_features(F::EVENT_IDX).unwrap();

    let told = [
        (legacy_register::GUEST_PAGE_SIZE, 4096),
        (register::DRIVER_FEATURES_SEL, 0),
        (register::DRIVER_FEATURES, F::EVENT_IDX.word(0)),
    ];
    assert_eq!(writes(&platform), told);
}

#[test]
fn a_ring_whose_page_has_no_number_of_32_bits_is_not_told() {
    let (platform, mut device) = device();

    for address in [0, 1 << 44, 0x1000 + 64, !0xfff] {
        let refused = device.enable_queue(0, &setup(address));

        assert_eq!(refused, Err(TransportError::NoPage(address)));
    }
    assert!(
        !writes(&platform)
            .iter()
            .any(|(at, _)| *at == legacy_register::QUEUE_PFN)
    );
    let last = ((1 << 32) - 1) << 12;
    assert_eq!(device.enable_queue(0, &setup(last)), Ok(()));
}

#[test]
fn bring_up_asks_for_a_ring_within_reach_and_touches_no_register_of_version_2() {
    let (platform, device) = device();

    let rng: Rng<_, Vec<u8>> = attach(device).unwrap();

    let log = platform.take_log();
    let modern = [
        register::QUEUE_READY,
        register::QUEUE_DESC_LOW,
        register::QUEUE_DESC_HIGH,
        register::QUEUE_DRIVER_LOW,
        register::QUEUE_DEVICE_LOW,
        register::CONFIG_GENERATION,
        register::QUEUE_RESET,
    ];
    let touched = log
        .iter()
        .find(|access| modern.contains(&((access.at() - AT) as usize)));
    assert_eq!(touched, None);
    // The largest power of two that the device has.
    assert_eq!(rng.queue_size(), 64);
    drop(rng);
}

#[test]
fn configuration_is_read_and_written_by_bytes() {
    let (platform, mut device) = device();
    platform.poke(AT + CONFIG as u64, &[1, 2, 3, 4, 5, 6, 7, 8]);
    let mut field = [0; 8];

    device.read_config(0, &mut field).unwrap();
    device.write_config(8, &[9, 10]).unwrap();

    let log = platform.take_log();
    let widths: Vec<_> = log
        .iter()
        .map(|access| match access {
            Access::Read { width, .. } | Access::Write { width, .. } => *width,
        })
        .collect();
    assert_eq!(field, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(widths, [1; 10]);
    let beyond = device.read_config(0x40, &mut field);
    let range = TransportError::Range {
        offset: 0x40,
        len: 8,
    };
    assert_eq!(beyond, Err(range));
}

/// A legacy driver cannot give a queue back but by a reset: its areas are one stretch for good.
#[test]
fn the_areas_of_a_ring_are_where_a_device_of_version_1_computes_them() {
    let Areas {
        descriptor,
        driver,
        device,
    } = setup(0x10_0000).areas;

    assert_eq!(driver, descriptor + 64 * 16);
    assert_eq!(device, descriptor + 4096);
}
