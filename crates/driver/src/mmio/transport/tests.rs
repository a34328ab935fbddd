use super::*;
use crate::error::PlatformError;
use crate::mmio::{Slot, scan};
use crate::platform::Trust;
use crate::testing::{Access, TestPlatform, TestRegisters};
use ringway_ring::driver::Areas;
use ringway_spec::InterruptStatus;
use std::vec;
use std::vec::Vec;

/// Where the device is, and how many bytes of registers it has.
pub(super) const AT: u64 = 0x0a00_0000;
pub(super) const LEN: u64 = 0x140;
pub(super) const SLOT: Slot = Slot {
    address: AT,
    len: LEN,
    line: Some(17),
};

/// Puts a device on the bus that has two queues, of 256 and 128, and shows `word(select)` of its
/// features.
fn place(platform: &TestPlatform, at: u64, word: impl Fn(u32) -> u32 + Send + 'static) {
    let mut bytes = vec![0; LEN as usize];
    let mut put = |register: usize, value: u32| {
        bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
    };
    put(register::MAGIC_VALUE, MAGIC);
    put(register::VERSION, VERSION);
    put(register::DEVICE_ID, DeviceId::BLOCK.0);
    put(register::VENDOR_ID, 0x554d_4551);
    let mut ready = [0; 3];
    let mut selected = 0;
    platform.place(at, bytes, move |bytes, access| {
        let Access::Write { at, value, .. } = access else {
            return;
        };
        let mut put = |register: usize, value: u32| {
            bytes[register..][..4].copy_from_slice(&value.to_le_bytes());
        };
        match at as usize {
            register::DEVICE_FEATURES_SEL => put(register::DEVICE_FEATURES, word(value)),
            register::QUEUE_SEL => {
                selected = (value as usize).min(2);
                put(register::QUEUE_SIZE_MAX, [256, 128, 0][selected]);
                put(register::QUEUE_READY, ready[selected]);
            }
            register::QUEUE_READY => ready[selected] = value,
            _ => {}
        }
    });
}

fn device() -> (TestPlatform, Mmio<TestPlatform>) {
    let platform = TestPlatform::new(Trust::Trusted);
    place(&platform, AT, |select| [0x200, 1, 0, 0][select as usize]);
    let device = Mmio::new(platform.clone(), registers(&platform), SLOT.line).unwrap();
    platform.take_log();
    (platform, device)
}

pub(super) fn registers(platform: &TestPlatform) -> TestRegisters {
    platform.registers(AT, LEN).unwrap()
}

pub(super) fn write(register: usize, value: u32) -> Access {
    let at = AT + register as u64;
    Access::Write {
        at,
        width: 4,
        value,
    }
}

pub(super) fn writes(platform: &TestPlatform) -> Vec<Access> {
    let log = platform.take_log();
    log.into_iter().filter(Access::is_write).collect()
}

#[test]
fn a_device_is_what_its_registers_say() {
    let (_, device) = device();

    assert_eq!(device.device_id(), DeviceId::BLOCK);
    assert_eq!(device.vendor_id(), 0x554d_4551);
    assert_eq!(device.name(), "mmio");
    assert_eq!(device.messages_max(), 0);
}

/// Clauses: drv:mmio/mmio-device-register-layout:4, drv:mmio/mmio-device-register-layout:5
#[test]
fn what_is_no_device_of_version_1_or_2_is_refused_each_in_its_own_way() {
    for (register, value, error) in [
        (
            register::MAGIC_VALUE,
            0x1234,
            TransportError::NotVirtio(0x1234),
        ),
        (register::MAGIC_VALUE, u32::MAX, TransportError::Absent),
        (register::VERSION, 0, TransportError::Version(0)),
        (register::VERSION, 3, TransportError::Version(3)),
        (register::DEVICE_ID, 0, TransportError::Placeholder),
    ] {
        let platform = TestPlatform::new(Trust::Trusted);
        place(&platform, AT, |_| 0);
        platform.poke(AT + register as u64, &value.to_le_bytes());

        let refused = Mmio::new(platform.clone(), registers(&platform), None).err();

        assert_eq!(refused, Some(error));
        assert_eq!(writes(&platform), []);
    }
}

/// Clauses: drv:mmio/op/init:2
#[test]
fn an_empty_slot_is_left_alone_once_it_is_known_to_be_one() {
    let platform = TestPlatform::new(Trust::Trusted);
    place(&platform, AT, |_| 0);
    platform.poke(AT + register::DEVICE_ID as u64, &[0]);

    let refused = Mmio::new(platform.clone(), registers(&platform), None).err();

    let last = platform.take_log().last().map(Access::at);
    assert_eq!(refused, Some(TransportError::Placeholder));
    assert_eq!(last, Some(AT + register::DEVICE_ID as u64));
}

#[test]
fn a_window_with_fewer_registers_than_every_device_has_is_refused() {
    let platform = TestPlatform::new(Trust::Trusted);
    place(&platform, AT, |_| 0);
    let of = |len| {
        let registers = platform.registers(AT, len).unwrap();
        Mmio::new(platform.clone(), registers, None).map(drop)
    };

    let range = |offset, len| TransportError::Range { offset, len };

    assert_eq!(of(CONFIG as u64), Ok(()));
    assert_eq!(of(CONFIG as u64 - 4), Err(range(CONFIG, 0)));
    assert_eq!(of(0), Err(range(CONFIG, 0)));
}

/// Clauses: drv:mmio/mmio-device-register-layout:6
#[test]
fn a_scan_passes_over_empty_slots_and_tells_of_bad_ones() {
    let platform = TestPlatform::new(Trust::Trusted);
    let slot = |number: u64| Slot {
        address: AT + number * 0x200,
        ..SLOT
    };
    for number in 0..4 {
        place(&platform, slot(number).address, |_| 0);
    }
    platform.poke(slot(0).address + register::DEVICE_ID as u64, &[0]);
    platform.poke(slot(1).address, b"what");
    let slots = [0, 1, 2, 9].map(slot);
    let empty_legacy = slot(3);
    platform.poke(empty_legacy.address + register::VERSION as u64, &[1]);
    platform.poke(empty_legacy.address + register::DEVICE_ID as u64, &[0]);

    let found: Vec<_> = scan(platform, slots.into_iter().chain([empty_legacy]))
        .map(|device| device.map(|device| device.device_id()))
        .collect();

    let not_virtio = TransportError::NotVirtio(u32::from_le_bytes(*b"what"));
    let not_mapped = PlatformError::NotMapped(slot(9).address);
    assert_eq!(
        found,
        [
            Err(not_virtio.into()),
            Ok(DeviceId::BLOCK),
            Err(not_mapped.into()),
        ]
    );
}

/// Clauses: drv:mmio/mmio-device-register-layout:7, drv:mmio/mmio-device-register-layout:8
#[test]
fn features_are_read_and_written_in_four_words() {
    let platform = TestPlatform::new(Trust::Trusted);
    place(&platform, AT, |select| select + 1);
    let mut device = Mmio::new(platform.clone(), registers(&platform), None).unwrap();

    let offered = device.device_features().unwrap();
    let selected = writes(&platform);
    device.set_driver_features(offered).unwrap();
    let accepted = writes(&platform);

    assert_eq!(offered.0, 0x0000_0004_0000_0003_0000_0002_0000_0001);
    let select = |word| write(register::DEVICE_FEATURES_SEL, word);
    assert_eq!(selected, [0, 1, 2, 3].map(select));
    let expected: Vec<_> = [3, 2, 1, 0]
        .into_iter()
        .flat_map(|word| {
            let select = write(register::DRIVER_FEATURES_SEL, word);
            [select, write(register::DRIVER_FEATURES, word + 1)]
        })
        .collect();
    assert_eq!(accepted, expected);
}

#[test]
fn a_device_that_knows_two_words_of_features_offers_no_others() {
    const WORDS: [u32; 2] = [0x3000_0200, 1];
    let one_bit: fn(u32) -> u32 = |select| WORDS[(select & 1) as usize];
    let all_but_zero: fn(u32) -> u32 = |select| WORDS[usize::from(select != 0)];

    for word in [one_bit, all_but_zero] {
        let platform = TestPlatform::new(Trust::Trusted);
        place(&platform, AT, word);
        let mut device = Mmio::new(platform.clone(), registers(&platform), None).unwrap();

        let offered = device.device_features().unwrap();

        assert_eq!(offered, Features(0x1_3000_0200));
    }
}

#[test]
fn a_queue_is_set_up_in_the_order_of_the_specification() {
    let (platform, mut device) = device();
    let setup = QueueSetup {
        size: 64,
        areas: Areas {
            descriptor: 0x1_0000_2000,
            driver: 0x3_0000_4000,
            device: 0x5_0000_6000,
        },
    };

    let before = device.queue_enabled(1).unwrap();
    platform.take_log();
    device.enable_queue(1, &setup).unwrap();

    assert_eq!(
        platform.take_log(),
        [
            write(register::QUEUE_SEL, 1),
            write(register::QUEUE_SIZE, 64),
            write(register::QUEUE_DESC_LOW, 0x2000),
            write(register::QUEUE_DESC_HIGH, 1),
            write(register::QUEUE_DRIVER_LOW, 0x4000),
            write(register::QUEUE_DRIVER_HIGH, 3),
            write(register::QUEUE_DEVICE_LOW, 0x6000),
            write(register::QUEUE_DEVICE_HIGH, 5),
            write(register::QUEUE_READY, 1),
        ]
    );
    assert!(!before);
    assert_eq!(device.queue_enabled(1), Ok(true));
    assert_eq!(device.queue_enabled(0), Ok(false));
}

#[test]
fn a_queue_that_the_device_does_not_have_has_no_size() {
    let (_, mut device) = device();

    let sizes = [0, 1, 2].map(|index| device.queue_size_max(index));

    assert_eq!(sizes, [Ok(256), Ok(128), Ok(0)]);
}

/// Drivers' defect 8: notify makes three register accesses and clobbers the queue selector.
#[test]
fn a_kick_is_one_write_and_leaves_the_selector_alone() {
    let (platform, mut device) = device();
    let doorbell = device.doorbell(1, Features::NONE).unwrap();
    device.queue_size_max(0).unwrap();
    platform.take_log();

    doorbell.ring(0x8005).unwrap();

    assert_eq!(platform.take_log(), [write(register::QUEUE_NOTIFY, 1)]);
}

/// Drivers' defect 19: §2.6.1.1.2: that it says 0 of the reset is not enough, for a device that offers what it has not
/// says so, too.
///
/// Clauses: drv:mmio/mmio-device-register-layout:14
#[test]
fn a_queue_is_reset_once_it_is_neither_being_reset_nor_enabled() {
    let (platform, mut device) = device();
    let set = |register, value| registers(&platform).write32(register, value).unwrap();
    set(register::QUEUE_SEL, 1);
    set(register::QUEUE_READY, 1);
    platform.take_log();

    device.reset_queue(1).unwrap();

    let select = write(register::QUEUE_SEL, 1);
    assert_eq!(writes(&platform), [select, write(register::QUEUE_RESET, 1)]);
    for (resetting, ready) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
        set(register::QUEUE_RESET, resetting);
        set(register::QUEUE_READY, ready);
        let is_reset = (resetting, ready) == (0, 0);
        assert_eq!(
            device.queue_is_reset(1),
            Ok(is_reset),
            "{resetting} {ready}"
        );
    }
}

#[test]
fn a_kick_with_data_is_one_write_too_with_the_index_in_its_low_half() {
    let (platform, mut device) = device();
    let doorbell = device.doorbell(1, F::NOTIFICATION_DATA).unwrap();
    platform.take_log();

    doorbell.ring(0x8005).unwrap();

    let kick = write(register::QUEUE_NOTIFY, 0x8005_0001);
    assert_eq!(platform.take_log(), [kick]);
}

/// Clauses: drv:mmio/mmio-device-register-layout:12, drv:mmio/mmio-device-register-layout:13
#[test]
fn the_line_is_acknowledged_for_the_causes_that_are_known() {
    let (platform, device) = device();
    let status = AT + register::INTERRUPT_STATUS as u64;
    platform.poke(status, &[0xfe, 0xff]);

    let line = device.line().unwrap();
    let causes = line.cause.take().unwrap();
    let acknowledged = writes(&platform);
    platform.poke(status, &[0; 4]);
    let none = line.cause.take().unwrap();

    assert_eq!(line.number, 17);
    assert_eq!(causes, InterruptStatus::CONFIG_CHANGE);
    assert_eq!(acknowledged, [write(register::INTERRUPT_ACK, 2)]);
    assert!(none.is_empty());
    assert_eq!(writes(&platform), []);
}

#[test]
fn configuration_space_ends_with_the_window() {
    let (platform, mut device) = device();
    platform.poke(AT + 0x13c, &[1, 2, 3, 4]);
    let mut bytes = [0; 4];

    device.read_config(0x3c, &mut bytes).unwrap();
    device.write_config(4, &[7]).unwrap();

    let past = TransportError::Range {
        offset: 0x3e,
        len: 4,
    };
    assert_eq!(bytes, [1, 2, 3, 4]);
    assert_eq!(platform.peek::<1>(AT + 0x104), [7]);
    assert_eq!(device.read_config(0x3e, &mut bytes), Err(past));
}

#[test]
fn a_device_that_was_pulled_out_is_absent() {
    let (platform, mut device) = device();

    platform.place(AT, vec![0xff; LEN as usize], |bytes, _| bytes.fill(0xff));
    let registers = registers(&platform);
    device.registers = registers;

    assert_eq!(device.status(), Err(TransportError::Absent));
    assert_eq!(device.queue_size_max(0), Err(TransportError::Absent));
    assert_eq!(device.queue_enabled(0), Err(TransportError::Absent));
}

#[test]
fn the_status_is_the_low_byte_of_its_register() {
    let (platform, mut device) = device();
    platform.poke(AT + register::CONFIG_GENERATION as u64, &[9, 1]);

    device.set_status(Status::DRIVER).unwrap();
    platform.poke(AT + register::STATUS as u64 + 1, &[0xff]);

    assert_eq!(device.status(), Ok(Status::DRIVER));
    assert_eq!(device.config_generation(), Ok(0x109));
    assert_eq!(writes(&platform), [write(register::STATUS, 2)]);
}

#[test]
fn a_region_that_is_not_there_or_has_no_last_byte_is_none() {
    let (platform, mut device) = device();
    let mut told = |len: u64, base: u64| {
        platform.poke(AT + register::SHM_LEN_LOW as u64, &len.to_le_bytes());
        platform.poke(AT + register::SHM_BASE_LOW as u64, &base.to_le_bytes());
        device.shared_memory(7).unwrap()
    };

    let there = told(0x1_0000_1000, 0x2_0000_0000);
    let none = [
        told(u64::MAX, u64::MAX),
        told(0, 0x1000),
        told(0x2000, u64::MAX - 0x1000),
    ];

    let region = SharedMemory {
        address: 0x2_0000_0000,
        len: 0x1_0000_1000,
    };
    assert_eq!(there, Some(region));
    assert_eq!(none, [None; 3]);
    let selected = write(register::SHM_SEL, 7);
    assert_eq!(writes(&platform), [selected; 4]);
}
