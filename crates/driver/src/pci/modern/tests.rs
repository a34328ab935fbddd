use super::*;
use crate::error::Violation;
use crate::pci::testing::{
    AT, COMMON, COMMON_CAPABILITY, CONFIG, DEVICE_CAPABILITY, Fake, ISR, MSIX_CAPABILITY, NOTIFY,
    NOTIFY_CAPABILITY, NOTIFY_MULTIPLIER, TABLE, VECTORS, command, modern, msix_control, opened,
    writes,
};
use crate::testing::{Access, TestPlatform, config_space};
use ringway_ring::driver::Areas;
use ringway_spec::InterruptStatus;
use ringway_spec::pci::config::{COMMAND, Command, INTERRUPT_LINE};
use std::vec;
use std::vec::Vec;

fn probed(fake: Fake) -> (TestPlatform, Modern<TestPlatform>) {
    opened(fake, modern)
}

fn write(at: u64, width: u8, value: u32) -> Access {
    Access::Write { at, width, value }
}

/// A write to a register of the common configuration.
fn common(register: usize, width: u8, value: u32) -> Access {
    write(COMMON + register as u64, width, value)
}

#[test]
fn a_device_is_what_its_function_says() {
    let (_, device) = probed(Fake::new());

    assert_eq!(device.device_id(), DeviceId::BLOCK);
    assert_eq!(device.vendor_id(), 0x1234);
    assert_eq!(device.name(), "pci-modern");
    assert_eq!(device.address(), AT);
    assert_eq!(device.messages_max(), VECTORS);
}

#[test]
fn only_what_is_named_and_used_is_mapped() {
    let platform = Fake::new().plug();

    let _device = modern(&platform).unwrap();

    let windows = platform.take_windows();
    let expected = [
        (COMMON, 64),
        (NOTIFY, 0x1000),
        (ISR, 1),
        (CONFIG, 60),
        (TABLE, 64),
    ];
    assert_eq!(windows, expected);
}

/// Clauses: drv:pci/virtio-structure-pci-capabilities:6
#[test]
fn a_structure_of_unexpected_length_is_mapped_as_far_as_it_is_of_use() {
    let mut fake = Fake::new();
    fake.put(DEVICE_CAPABILITY + 12, &0x2000_u32.to_le_bytes());
    fake.put(NOTIFY_CAPABILITY + 16, &[0]);
    let platform = fake.plug();

    let _device = modern(&platform).unwrap();

    let windows = platform.take_windows();
    assert_eq!(windows[1], (NOTIFY, 4));
    assert_eq!(windows[3], (CONFIG, 4096));
}

#[test]
fn a_device_answers_and_reaches_memory_from_probe_to_drop() {
    let platform = Fake::new().plug();
    let used = Command::MEMORY | Command::BUS_MASTER;

    let device = modern(&platform).unwrap();
    let meanwhile = command(&platform);
    platform.take_log();
    drop(device);

    let log = writes(&platform);
    let last = write(config_space(AT) + COMMAND as u64, 4, 0x100);
    assert!(meanwhile.contains(used));
    assert!(!command(&platform).intersects(used));
    assert_eq!(log.last(), Some(&last));
}

#[test]
fn a_function_that_is_refused_is_left_as_it_was() {
    let mut fake = Fake::new();
    fake.put(DEVICE_CAPABILITY + 1, &[DEVICE_CAPABILITY as u8]);
    let platform = fake.plug();
    let before: [u8; 256] = platform.peek(config_space(AT));

    let refused = modern(&platform).err();

    let violation = Violation::Capability("list has a loop");
    assert_eq!(refused, Some(violation.into()));
    assert_eq!(platform.peek(config_space(AT)), before);
    assert_eq!(platform.take_windows(), []);
}

#[test]
fn what_is_no_virtio_device_is_not_touched() {
    let mut fake = Fake::new();
    fake.put(2, &[0x80, 0x10]);
    let platform = fake.plug();

    let refused = modern(&platform).err();

    let ids = TransportError::NotVirtio(0x1080_1af4);
    assert_eq!(refused, Some(ids.into()));
    assert_eq!(writes(&platform), []);
}

#[test]
fn features_are_read_and_written_in_four_words() {
    let mut fake = Fake::new();
    fake.offered = Features(0x0000_0004_0000_0003_0000_0002_0000_0001);
    let (platform, mut device) = probed(fake);

    let offered = device.device_features().unwrap();
    let selected = writes(&platform);
    device.set_driver_features(offered).unwrap();
    let accepted = writes(&platform);

    assert_eq!(offered.0, 0x0000_0004_0000_0003_0000_0002_0000_0001);
    let select = |word| common(common::DEVICE_FEATURE_SELECT, 4, word);
    assert_eq!(selected, [0, 1, 2, 3].map(select));
    let expected: Vec<_> = [3, 2, 1, 0]
        .into_iter()
        .flat_map(|word| {
            let select = common(common::DRIVER_FEATURE_SELECT, 4, word);
            [select, common(common::DRIVER_FEATURE, 4, word + 1)]
        })
        .collect();
    assert_eq!(accepted, expected);
}

/// Clauses: drv:pci/pci-device-layout:1, drv:pci/pci-device-layout/common-cfg-structure-layout:4
#[test]
fn registers_are_reached_by_their_own_widths_and_wide_ones_by_halves() {
    let (platform, mut device) = probed(Fake::new());
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

    let half = |register, half: usize, value| common(register + 4 * half, 4, value);
    assert_eq!(
        writes(&platform),
        [
            common(common::QUEUE_SELECT, 2, 1),
            common(common::QUEUE_SIZE, 2, 64),
            half(common::QUEUE_DESC, 0, 0x2000),
            half(common::QUEUE_DESC, 1, 1),
            half(common::QUEUE_DRIVER, 0, 0x4000),
            half(common::QUEUE_DRIVER, 1, 3),
            half(common::QUEUE_DEVICE, 0, 0x6000),
            half(common::QUEUE_DEVICE, 1, 5),
            common(common::QUEUE_ENABLE, 2, 1),
        ]
    );
    assert!(!before);
    assert!(device.queue_enabled(1).unwrap());
    assert!(!device.queue_enabled(0).unwrap());
}

#[test]
fn a_queue_that_the_device_does_not_have_has_no_size() {
    let (_, mut device) = probed(Fake::new());

    let sizes = [0, 1, 2, u16::MAX].map(|index| device.queue_size_max(index));

    assert_eq!(sizes, [Ok(256), Ok(128), Ok(0), Ok(0)]);
}

/// Drivers' defect 8: notify makes three register accesses and clobbers the queue selector.
///
/// Clauses: drv:pci/op/available-buffer-notif:1
#[test]
fn a_kick_is_one_write_and_leaves_the_selector_alone() {
    let (platform, mut device) = probed(Fake::new());
    let doorbell = device.doorbell(0, Features::NONE).unwrap();
    device.queue_size_max(1).unwrap();
    platform.take_log();

    doorbell.ring(0x8005).unwrap();

    let at = NOTIFY + 3 * u64::from(NOTIFY_MULTIPLIER);
    assert_eq!(platform.take_log(), [write(at, 2, 0)]);
    assert_eq!(
        platform.peek::<1>(COMMON + common::QUEUE_SELECT as u64),
        [1]
    );
}

/// Drivers' defect 19: §2.6.1.1.2.
///
/// Clauses: drv:pci/pci-device-layout/common-cfg-structure-layout:7
#[test]
fn a_queue_is_reset_once_it_is_neither_being_reset_nor_enabled() {
    let (platform, mut device) = probed(Fake::new());
    let set = |register: usize, value| platform.poke(COMMON + register as u64, &[value]);
    device.select(1).unwrap();
    set(common::QUEUE_ENABLE, 1);
    platform.take_log();

    device.reset_queue(1).unwrap();

    let select = common(common::QUEUE_SELECT, 2, 1);
    let reset = common(common::QUEUE_RESET, 2, 1);
    assert_eq!(writes(&platform), [select, reset]);
    assert_eq!(device.queue_is_reset(1), Ok(false));
    set(common::QUEUE_ENABLE, 0);
    assert_eq!(device.queue_is_reset(1), Ok(false));
    set(common::QUEUE_RESET, 0);
    set(common::QUEUE_ENABLE, 1);
    assert_eq!(device.queue_is_reset(1), Ok(false));
}

/// Clauses: drv:pci/op/available-buffer-notif:2, drv:pci/op/available-buffer-notif:4
#[test]
fn a_kick_with_data_is_one_wide_write_with_the_index_in_its_low_half() {
    let (platform, mut device) = probed(Fake::new());
    let doorbell = device.doorbell(1, F::NOTIFICATION_DATA).unwrap();
    platform.take_log();

    doorbell.ring(0x8005).unwrap();

    assert_eq!(platform.take_log(), [write(NOTIFY, 4, 0x8005_0001)]);
}

/// §4.1.5.2: what the device calls the queue stands where its index would.
///
/// Clauses: drv:pci/op/available-buffer-notif:5, drv:pci/op/available-buffer-notif:6
#[test]
fn a_kick_tells_the_devices_own_name_for_the_queue_where_that_was_agreed() {
    let (platform, mut device) = probed(Fake::new());
    let kick = |device: &mut Modern<_>, features| {
        device.select(1).unwrap();
        let register = common::QUEUE_NOTIF_CONFIG_DATA as u64;
        platform.poke(COMMON + register, &[0xcd, 0xab]);
        let doorbell = device.doorbell(1, features).unwrap();
        platform.take_log();
        doorbell.ring(0x8005).unwrap();
        platform.take_log()
    };

    let short = kick(&mut device, F::NOTIF_CONFIG_DATA);
    let long = kick(&mut device, F::NOTIF_CONFIG_DATA | F::NOTIFICATION_DATA);

    assert_eq!(short, [write(NOTIFY, 2, 0xabcd)]);
    assert_eq!(long, [write(NOTIFY, 4, 0x8005_abcd)]);
}

#[test]
fn features_whose_registers_are_not_there_are_not_accepted() {
    let features = |len: u32| {
        let mut fake = Fake::new();
        fake.put(COMMON_CAPABILITY + 12, &len.to_le_bytes());
        probed(fake).1.transport_features()
    };
    let always = F::VERSION_1 | F::NOTIFICATION_DATA;

    assert_eq!(features(56), always);
    assert_eq!(features(58), always | F::NOTIF_CONFIG_DATA);
    let both = F::NOTIF_CONFIG_DATA | F::RING_RESET;
    assert_eq!(features(60), always | both);
    assert_eq!(features(62), always | both);
    assert_eq!(features(64), always | both | F::ADMIN_VQ);
}

#[test]
fn administration_queues_are_where_the_device_says_once_that_is_agreed_on() {
    let (platform, mut device) = probed(Fake::new());
    // The second of its two queues is for administration.
    platform.poke(COMMON + common::NUM_QUEUES as u64, &[1, 0]);
    platform.poke(COMMON + common::ADMIN_QUEUE_INDEX as u64, &[1, 0, 1, 0]);
    let sizes = |device: &mut Modern<_>| [0, 1, 2].map(|index| device.queue_size_max(index));

    let before = (device.admin_queues(), sizes(&mut device));
    device.set_driver_features(F::ADMIN_VQ).unwrap();
    let agreed = (device.admin_queues(), sizes(&mut device));
    device.set_driver_features(Features::NONE).unwrap();
    let after = (device.admin_queues(), sizes(&mut device));

    let there = AdminQueues {
        first: 1,
        count: 1,
        others: 1,
    };
    assert_eq!(before, (Ok(None), [Ok(256), Ok(0), Ok(0)]));
    assert_eq!(agreed, (Ok(Some(there)), [Ok(256), Ok(128), Ok(0)]));
    assert_eq!(after, before);
}

/// Drivers' defect 8: doorbell address computed from the queue index instead of `queue_notify_off`.
///
/// Clauses: drv:pci/op/available-buffer-notif:3
#[test]
fn a_doorbell_is_where_queue_notify_off_says_and_not_where_the_index_does() {
    let (platform, mut device) = probed(Fake::new());

    device
        .doorbell(1, Features::NONE)
        .unwrap()
        .ring(0x8005)
        .unwrap();

    let kick = *platform.take_log().last().unwrap();
    assert_eq!(kick, write(NOTIFY, 2, 1));
}

#[test]
fn without_a_multiplier_all_queues_share_a_doorbell() {
    let mut fake = Fake::new();
    fake.put(NOTIFY_CAPABILITY + 16, &[0]);
    let (platform, mut device) = probed(fake);

    for index in 0..2 {
        device
            .doorbell(index, Features::NONE)
            .unwrap()
            .ring(0x8005)
            .unwrap();

        let kick = *platform.take_log().last().unwrap();
        assert_eq!(kick, write(NOTIFY, 2, index.into()));
    }
}

/// Drivers' defect 8. Drivers' defect 10: where a doorbell is, is computed from what the device
/// says, in 32 bits.
#[test]
fn a_doorbell_past_the_end_of_its_structure_or_misaligned_is_refused() {
    let find = |multiplier: u32, number, features| {
        let mut fake = Fake::new();
        fake.put(NOTIFY_CAPABILITY + 16, &multiplier.to_le_bytes());
        fake.queues = vec![(256, number)];
        let (_, mut device) = probed(fake);
        device.doorbell(0, features).err()
    };
    let doorbell = |multiplier, number| find(multiplier, number, Features::NONE);
    let range = |offset| Some(TransportError::Range { offset, len: 2 });

    assert_eq!(doorbell(8, 0x1ff), None);
    assert_eq!(doorbell(8, 0x200), range(0x1000));
    // In 32 bits this would be 0, and within.
    assert_eq!(doorbell(0x1000_0000, 0x10), range(0x1_0000_0000));
    assert_eq!(doorbell(u32::MAX, u16::MAX), range(0xfffe_ffff_0001));
    assert_eq!(doorbell(1, 3), range(3));
    let wide = |multiplier, number| find(multiplier, number, F::NOTIFICATION_DATA);
    let range = |offset| Some(TransportError::Range { offset, len: 4 });
    assert_eq!(wide(4, 0x3ff), None);
    assert_eq!(wide(2, 1), range(2));
    assert_eq!(wide(2, 0x7ff), range(0xffe));
}

/// Drivers' defect 14: MSI-X exhaustion aborts instead of sharing vectors. The transport's part: a
/// refusal is an answer.
///
/// Clauses: drv:pci/op/init/msi-x-vector-cfg:4, drv:pci/op/init/msi-x-vector-cfg:5
#[test]
fn a_vector_that_the_device_refuses_or_does_not_have_is_told_and_no_error() {
    let (platform, mut device) = probed(Fake::new());

    let agreed = [Some(0), Some(1), Some(2), None].map(|vector| {
        let for_queue = device.set_queue_vector(0, vector).unwrap();
        (for_queue, device.set_config_vector(vector).unwrap())
    });
    platform.take_log();
    let beyond = device.set_config_vector(Some(VECTORS)).unwrap();

    let [yes, no] = [(true, true), (false, false)];
    assert_eq!(agreed, [yes, yes, no, yes]);
    assert!(!beyond);
    assert_eq!(platform.take_log(), []);
}

#[test]
fn a_vector_is_set_for_the_queue_it_is_for() {
    let (platform, mut device) = probed(Fake::new());

    device.set_queue_vector(1, Some(1)).unwrap();
    device.set_queue_vector(0, Some(0)).unwrap();

    let vector = |index, vector| {
        [
            common(common::QUEUE_SELECT, 2, index),
            common(common::QUEUE_MSIX_VECTOR, 2, vector),
        ]
    };
    assert_eq!(writes(&platform), [vector(1, 1), vector(0, 0)].concat());
}

#[test]
fn an_entry_is_masked_while_its_message_changes() {
    let (platform, mut device) = probed(Fake::new());
    let message = Message {
        address: 0x1_fee0_1000,
        data: 0x41,
    };

    device.set_message(2, Some(message)).unwrap();
    let set = writes(&platform);
    device.set_message(2, None).unwrap();
    let unset = writes(&platform);

    let entry = TABLE + 2 * 16;
    // The bits beside the mask are the device's.
    let [masked, unmasked] = [u32::MAX, u32::MAX - 1].map(|bits| write(entry + 12, 4, bits));
    assert_eq!(
        set,
        [
            masked,
            write(entry, 4, 0xfee0_1000),
            write(entry + 4, 4, 1),
            write(entry + 8, 4, 0x41),
            unmasked,
        ]
    );
    assert_eq!(unset, [masked]);
}

#[test]
fn messages_take_the_place_of_the_line_and_give_it_back() {
    let (platform, mut device) = probed(Fake::new());
    let state = |platform: &TestPlatform| {
        let silent = command(platform).contains(Command::INTX_DISABLE);
        (msix_control(platform), silent)
    };

    let before = state(&platform);
    device.use_messages(true).unwrap();
    let on = state(&platform);
    device.use_messages(false).unwrap();
    let off = state(&platform);

    assert_eq!([before, on, off], [(0, false), (0x80, true), (0, false)]);
}

#[test]
fn messages_of_whoever_had_the_device_before_are_masked() {
    let platform = Fake::new().plug();
    platform.poke(config_space(AT) + MSIX_CAPABILITY as u64 + 3, &[0x80]);
    platform.poke(TABLE, &[0; 64]);

    let _device = modern(&platform).unwrap();

    let entries: [u8; 64] = platform.peek(TABLE);
    assert_eq!(msix_control(&platform), 0);
    assert!(entries.chunks(16).all(|entry| entry[12] == 1));
}

#[test]
fn without_vectors_there_are_no_messages() {
    let mut fake = Fake::new();
    fake.put(MSIX_CAPABILITY, &[5]);
    let (platform, mut device) = probed(fake);

    device.use_messages(true).unwrap();
    let agreed = device.set_config_vector(Some(0)).unwrap();

    assert_eq!(device.messages_max(), 0);
    assert!(!agreed);
    assert_eq!(platform.take_log(), []);
}

#[test]
fn the_line_is_acknowledged_by_reading_why_it_was_raised() {
    let (platform, device) = probed(Fake::new());
    platform.poke(ISR, &[0xfe]);

    let line = device.line().unwrap();
    let causes = line.cause.take().unwrap();

    let read = Access::Read {
        at: ISR,
        width: 1,
        value: 0xfe,
    };
    assert_eq!(line.number, 11);
    assert_eq!(causes, InterruptStatus::CONFIG_CHANGE);
    assert_eq!(platform.take_log(), [read]);
}

#[test]
fn a_function_without_a_pin_or_a_route_has_no_line() {
    for line_and_pin in [[11, 0], [0xff, 1]] {
        let mut fake = Fake::new();
        fake.put(INTERRUPT_LINE, &line_and_pin);
        let (_, device) = probed(fake);

        assert!(device.line().is_none());
    }
}

#[test]
fn configuration_space_is_what_the_capability_names() {
    let (platform, mut device) = probed(Fake::new());
    platform.poke(CONFIG + 56, &[1, 2, 3, 4]);
    let mut bytes = [0; 4];

    device.read_config(56, &mut bytes).unwrap();
    device.write_config(32, &[7]).unwrap();

    let past = TransportError::Range { offset: 58, len: 4 };
    assert_eq!(bytes, [1, 2, 3, 4]);
    assert_eq!(platform.peek::<1>(CONFIG + 32), [7]);
    assert_eq!(device.read_config(58, &mut bytes), Err(past));
}

#[test]
fn a_device_without_a_configuration_has_no_bytes_of_it() {
    let mut fake = Fake::new();
    fake.put(DEVICE_CAPABILITY + 3, &[7]);
    let (_, mut device) = probed(fake);

    let read = device.read_config(0, &mut [0]);

    assert_eq!(read, Err(TransportError::Range { offset: 0, len: 1 }));
}

#[test]
fn a_device_that_was_pulled_out_is_absent() {
    let (platform, mut device) = probed(Fake::new());

    platform.poke(COMMON, &[0xff; 64]);

    assert_eq!(device.status(), Err(TransportError::Absent));
    assert_eq!(device.queue_enabled(0), Ok(false));
    platform.poke(COMMON, &[0xff; 64]);
    assert_eq!(device.status(), Err(TransportError::Absent));
}

#[test]
fn status_and_generation_are_bytes() {
    let (platform, mut device) = probed(Fake::new());
    platform.poke(COMMON + common::CONFIG_GENERATION as u64, &[9]);

    device.set_status(Status::ACKNOWLEDGE).unwrap();

    assert_eq!(device.status(), Ok(Status::ACKNOWLEDGE));
    assert_eq!(device.config_generation(), Ok(9));
    assert_eq!(writes(&platform), [common(common::DEVICE_STATUS, 1, 1)]);
}
