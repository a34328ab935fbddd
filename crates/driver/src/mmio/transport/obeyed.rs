//! What a device of version 2 sees of its driver, clause by clause.

use super::tests::{AT, LEN, SLOT, registers, write, writes};
use super::*;
use crate::blk::Blk;
use crate::bus::attach;
use crate::platform::Trust;
use crate::testing::{Access, TestPlatform};
use ringway_ring::driver::Areas;
use ringway_spec::InterruptStatus;
use ringway_spec::blk::{self, Config};
use ringway_spec::le::{U32, U64};
use std::vec;
use std::vec::Vec;
use zerocopy::IntoBytes;

type Disk = Blk<Mmio<TestPlatform>, Vec<u8>>;

/// The registers that a driver may read.
const READABLE: [usize; 11] = [
    register::MAGIC_VALUE,
    register::VERSION,
    register::DEVICE_ID,
    register::VENDOR_ID,
    register::DEVICE_FEATURES,
    register::QUEUE_SIZE_MAX,
    register::INTERRUPT_STATUS,
    register::CONFIG_GENERATION,
    register::QUEUE_READY,
    register::QUEUE_RESET,
    register::STATUS,
];

/// The registers that it may write. Those of shared memory are in neither list: a disk has none.
const WRITABLE: [usize; 16] = [
    register::DEVICE_FEATURES_SEL,
    register::DRIVER_FEATURES,
    register::DRIVER_FEATURES_SEL,
    register::QUEUE_SEL,
    register::QUEUE_SIZE,
    register::QUEUE_NOTIFY,
    register::INTERRUPT_ACK,
    register::QUEUE_READY,
    register::QUEUE_RESET,
    register::STATUS,
    register::QUEUE_DESC_LOW,
    register::QUEUE_DESC_HIGH,
    register::QUEUE_DRIVER_LOW,
    register::QUEUE_DRIVER_HIGH,
    register::QUEUE_DEVICE_LOW,
    register::QUEUE_DEVICE_HIGH,
];

/// What may not be touched of a queue that is ready.
const OF_SET_UP: [usize; 7] = [
    register::QUEUE_SIZE,
    register::QUEUE_DESC_LOW,
    register::QUEUE_DESC_HIGH,
    register::QUEUE_DRIVER_LOW,
    register::QUEUE_DRIVER_HIGH,
    register::QUEUE_DEVICE_LOW,
    register::QUEUE_DEVICE_HIGH,
];

/// Puts a disk on the bus whose queue has `size` descriptors at most, and which does what its
/// driver asks at once.
fn disk(size: u32) -> TestPlatform {
    let platform = TestPlatform::new(Trust::Trusted);
    let features =
        F::VERSION_1 | F::RING_RESET | blk::F::BLK_SIZE | blk::F::SEG_MAX | blk::F::SIZE_MAX;
    let config = Config {
        capacity: U64::new(64),
        size_max: U32::new(1 << 16),
        seg_max: U32::new(4),
        blk_size: U32::new(512),
        ..Config::default()
    };
    let mut bytes = vec![0; LEN as usize];
    bytes[CONFIG..].copy_from_slice(&config.as_bytes()[..LEN as usize - CONFIG]);
    for (register, value) in [
        (register::MAGIC_VALUE, MAGIC),
        (register::VERSION, VERSION),
        (register::DEVICE_ID, DeviceId::BLOCK.0),
    ] {
        bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
    }
    platform.place(AT, bytes, move |bytes, access| {
        let Access::Write { at, value, .. } = access else {
            return;
        };
        let mut put = |register: usize, value: u32| {
            bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
        };
        match at as usize {
            register::DEVICE_FEATURES_SEL => put(register::DEVICE_FEATURES, features.word(value)),
            register::QUEUE_SEL => put(register::QUEUE_SIZE_MAX, if value == 0 { size } else { 0 }),
            register::QUEUE_RESET => {
                put(register::QUEUE_READY, 0);
                put(register::QUEUE_RESET, 0);
            }
            register::STATUS if value == 0 => put(register::QUEUE_READY, 0),
            _ => {}
        }
    });
    platform
}

fn driven(platform: &TestPlatform) -> Disk {
    attach(Mmio::new(platform.clone(), registers(platform), SLOT.line).unwrap()).unwrap()
}

/// Everything that a driver does with a disk, from the first access to the last.
fn whole_life() -> Vec<Access> {
    let platform = disk(64);
    let mut disk = driven(&platform);
    disk.read(0, vec![0; 512]).unwrap();
    disk.kick().unwrap();
    let status = AT + register::INTERRUPT_STATUS as u64;
    platform.poke(status, &[InterruptStatus::all().bits()]);
    assert!(platform.raise(17));
    platform.poke(status, &[0]);
    disk.device().check().unwrap();
    disk.look_again().unwrap();
    disk.resize(16, drop).unwrap();
    disk.read(1, vec![0; 512]).unwrap();
    disk.kick().unwrap();
    drop(disk);
    platform.take_log()
}

fn at(access: &Access) -> usize {
    (access.at() - AT) as usize
}

fn width(access: &Access) -> u8 {
    match access {
        Access::Read { width, .. } | Access::Write { width, .. } => *width,
    }
}

/// Clauses: drv:mmio/mmio-device-register-layout:1, drv:mmio/mmio-device-register-layout:2,
/// drv:mmio/op/init:3
#[test]
fn only_registers_that_there_are_are_touched_whole_and_in_their_direction() {
    let log = whole_life();

    let of_control: Vec<_> = log.iter().filter(|access| at(access) < CONFIG).collect();
    assert!(of_control.len() > 60, "it has a life");
    for access in of_control {
        let known: &[usize] = match access {
            Access::Read { .. } => &READABLE,
            Access::Write { .. } => &WRITABLE,
        };
        assert!(known.contains(&at(access)), "{access:x?}");
        assert_eq!(width(access), 4, "{access:x?}");
    }
}

/// The capacity has 64 bits, and is read by two accesses of 32.
///
/// Clauses: drv:mmio/mmio-device-register-layout:3
#[test]
fn fields_of_configuration_are_read_by_accesses_as_wide_as_they_are() {
    let log = whole_life();

    let of_config = log.iter().filter(|access| at(access) >= CONFIG);
    let seen: Vec<(usize, usize)> = of_config
        .map(|access| (at(access) - CONFIG, usize::from(width(access))))
        .collect();
    let fields: Vec<(usize, usize)> = blk::FIELDS
        .iter()
        .flat_map(|field| match field.len {
            8 => [Some((field.offset, 4)), Some((field.offset + 4, 4))],
            len => [Some((field.offset, len)), None],
        })
        .flatten()
        .collect();
    assert!(seen.contains(&(0, 4)) && seen.contains(&(4, 4)), "{seen:?}");
    let stranger = seen.iter().find(|access| !fields.contains(access));
    assert_eq!(stranger, None);
}

/// Clauses: drv:mmio/op/init:1
#[test]
fn the_magic_value_and_the_version_are_looked_at_before_anything_else() {
    let platform = disk(64);
    let looked = |platform: &TestPlatform| -> Vec<usize> {
        let device = Mmio::new(platform.clone(), registers(platform), None);
        drop(device);
        platform.take_log().iter().map(at).collect()
    };

    let whole = looked(&platform);
    platform.poke(AT + register::VERSION as u64, &[3]);
    let other_version = looked(&platform);
    platform.poke(AT, b"what");
    let no_device = looked(&platform);

    let first = [
        register::MAGIC_VALUE,
        register::VERSION,
        register::DEVICE_ID,
    ];
    assert_eq!(whole[..3], first);
    assert_eq!(other_version, first[..2]);
    assert_eq!(no_device, first[..1]);
}

/// §3.1.1, in the words of these registers.
///
/// Clauses: drv:mmio/op/init:4
#[test]
fn a_device_is_initialized_in_the_order_of_every_transport() {
    let platform = disk(64);

    let mut disk = driven(&platform);

    let steps: Vec<_> = writes(&platform)
        .into_iter()
        .filter_map(|access| match access {
            Access::Write { value, .. } => Some((at(&access), value)),
            Access::Read { .. } => None,
        })
        .filter(|(at, _)| {
            [
                register::STATUS,
                register::DRIVER_FEATURES,
                register::QUEUE_READY,
            ]
            .contains(at)
        })
        .collect();
    let statuses = |status| (register::STATUS, status);
    let features = disk.device().features();
    let told = [3, 2, 1, 0].map(|word| (register::DRIVER_FEATURES, features.word(word)));
    let expected = [
        &[statuses(0), statuses(1), statuses(3)][..],
        &told,
        &[statuses(0xb), (register::QUEUE_READY, 1), statuses(0xf)],
    ];
    assert_eq!(steps, expected.concat());
    drop(disk);
}

/// Clauses: drv:mmio/mmio-device-register-layout:9
#[test]
fn a_queue_is_given_no_more_descriptors_than_it_can_have() {
    for max in [1, 2, 100, 128, 0x1_0000] {
        let platform = disk(max);

        let disk = driven(&platform);

        let told: Vec<_> = writes(&platform)
            .into_iter()
            .filter(|access| at(access) == register::QUEUE_SIZE)
            .collect();
        let [Access::Write { value, .. }] = told[..] else {
            panic!("told once: {told:?}");
        };
        assert!(value != 0 && value <= max, "{value} of {max}");
        assert_eq!(value, u32::from(disk.queue_size()));
    }
}

/// Clauses: drv:mmio/mmio-device-register-layout:10
#[test]
fn of_a_queue_that_is_ready_nothing_is_touched_that_sets_it_up() {
    let mut ready = false;
    let mut set_ups = 0;

    for access in whole_life() {
        match (at(&access), access) {
            (register::QUEUE_READY, Access::Write { value, .. }) => ready = value != 0,
            (register::QUEUE_RESET | register::STATUS, Access::Write { value, .. }) => {
                let resets = value == u32::from(at(&access) == register::QUEUE_RESET);
                ready &= !resets;
            }
            (at, access) if OF_SET_UP.contains(&at) => {
                assert!(!ready, "{access:x?}");
                set_ups += 1;
            }
            _ => {}
        }
    }

    assert_eq!(
        set_ups,
        2 * OF_SET_UP.len(),
        "at first, and when it is resized"
    );
}

/// A queue is used until the device is reset, or it alone.
///
/// Clauses: drv:mmio/mmio-device-register-layout:11
#[test]
fn queues_are_stopped_and_looked_at_before_the_device_is_reset() {
    let platform = disk(64);
    let mut device = Mmio::new(platform.clone(), registers(&platform), None).unwrap();
    let areas = Areas {
        descriptor: 0x1000,
        driver: 0x2000,
        device: 0x3000,
    };
    let reset = |device: &mut Mmio<TestPlatform>| {
        platform.take_log();
        device.set_status(Status::empty()).unwrap();
        platform.take_log()
    };

    let unused = reset(&mut device);
    for index in [1, 0] {
        device
            .enable_queue(index, &QueueSetup { size: 8, areas })
            .unwrap();
    }
    let used = reset(&mut device);
    let again = reset(&mut device);

    let stopped = |index| {
        [
            write(register::QUEUE_SEL, index),
            write(register::QUEUE_READY, 0),
            Access::Read {
                at: AT + register::QUEUE_READY as u64,
                width: 4,
                value: 0,
            },
        ]
    };
    let status = [write(register::STATUS, 0)];
    assert_eq!(used, [&stopped(0)[..], &stopped(1), &status].concat());
    assert_eq!([unused, again], [status; 2]);
}

/// Clauses: drv:mmio/op/notif-from-the-device:1, drv:mmio/op/notif-from-the-device:3
#[test]
fn an_interrupt_is_looked_into_and_acknowledged_for_what_it_was() {
    let platform = disk(64);
    let disk = driven(&platform);
    let status = AT + register::INTERRUPT_STATUS as u64;
    let read = |value| Access::Read {
        at: status,
        width: 4,
        value,
    };

    for (causes, whose) in [(1, true), (2, true), (3, true), (0, false)] {
        platform.poke(status, &[causes]);
        platform.take_log();

        let ours = platform.raise(17);

        let causes = u32::from(causes);
        let acknowledged = whose.then_some(write(register::INTERRUPT_ACK, causes));
        let expected: Vec<_> = [read(causes)].into_iter().chain(acknowledged).collect();
        assert_eq!((ours, platform.take_log()), (whose, expected));
    }
    drop(disk);
}
