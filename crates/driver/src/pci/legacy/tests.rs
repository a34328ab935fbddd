use super::*;
use crate::pci::testing::{
    self, AT, Fake, MSIX_CAPABILITY, PORTS, PORTS_LEN, TABLE, VECTORS, VECTORS_AGREED, command,
    opened, writes,
};
use crate::testing::{Access, TestPlatform, config_space, port};
use ringway_ring::driver::Areas;
use ringway_spec::{F, InterruptStatus};
use std::vec;
use std::vec::Vec;

fn probed(fake: Fake) -> (TestPlatform, Legacy<TestPlatform>) {
    opened(fake, testing::legacy)
}

/// Where the register is among the spaces.
fn at(register: usize) -> u64 {
    port(PORTS) + register as u64
}

fn write(register: usize, width: u8, value: u32) -> Access {
    let at = at(register);
    Access::Write { at, width, value }
}

fn setup(descriptor: u64) -> QueueSetup {
    QueueSetup {
        size: 256,
        areas: Areas {
            descriptor,
            driver: descriptor + 0x1000,
            device: descriptor + 0x2000,
        },
    }
}

#[test]
fn a_device_is_what_its_function_says() {
    let (_, device) = probed(Fake::legacy());

    assert_eq!(device.device_id(), DeviceId::BLOCK);
    assert_eq!(device.vendor_id(), 0x1234);
    assert_eq!(device.name(), "pci-legacy");
    assert_eq!(device.address(), AT);
    assert_eq!(device.messages_max(), VECTORS);
    let rings = LegacyRings {
        align: 4096,
        size: RingSize::Fixed,
        last: 0xfff_ffff_ffff,
    };
    assert_eq!(device.dialect(), Dialect::Legacy(rings));
}

#[test]
fn ports_are_on_from_probe_to_drop_and_memory_if_there_are_vectors() {
    let mut without_vectors = Fake::legacy();
    without_vectors.put(MSIX_CAPABILITY, &[5]);

    for (fake, used) in [
        (Fake::legacy(), Command::IO | Command::MEMORY),
        (without_vectors, Command::IO),
    ] {
        let platform = fake.plug();
        let device = testing::legacy(&platform).unwrap();
        let meanwhile = command(&platform);
        drop(device);

        let all = Command::IO | Command::MEMORY | Command::BUS_MASTER;
        assert_eq!(meanwhile & all, used | Command::BUS_MASTER);
        assert!(!command(&platform).intersects(all));
    }
}

#[test]
fn features_are_one_word() {
    let mut fake = Fake::legacy();
    fake.offered = Features(0x7_0000_0006_0000_0005_8000_0204);
    let (platform, mut device) = probed(fake);

    let offered = device.device_features().unwrap();
    device
        .set_driver_features(offered | F::VERSION_1 | F::RING_PACKED)
        .unwrap();

    assert_eq!(offered, Features(0x8000_0204));
    assert_eq!(
        writes(&platform),
        [write(legacy::DRIVER_FEATURES, 4, 0x8000_0204)]
    );
}

/// Clauses: leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:2
#[test]
fn a_queue_is_told_by_the_number_of_its_first_page() {
    let (platform, mut device) = probed(Fake::legacy());

    let before = device.queue_enabled(1).unwrap();
    platform.take_log();
    device.enable_queue(1, &setup(0x123_4567_8000)).unwrap();

    assert!(!before);
    assert_eq!(
        writes(&platform),
        [
            write(legacy::QUEUE_SELECT, 2, 1),
            write(legacy::QUEUE_ADDRESS, 4, 0x1234_5678),
        ]
    );
    assert!(device.queue_enabled(1).unwrap());
    assert!(!device.queue_enabled(0).unwrap());
}

#[test]
fn a_ring_whose_page_has_no_number_of_32_bits_is_not_told_cut_short() {
    let (platform, mut device) = probed(Fake::legacy());

    let refused = device.enable_queue(0, &setup(1 << 44));

    assert!(matches!(refused, Err(TransportError::Range { .. })));
    assert_eq!(writes(&platform), []);
}

#[test]
fn a_queue_that_the_device_does_not_have_has_no_size() {
    let (_, mut device) = probed(Fake::legacy());

    let sizes = [0, 1, 2, u16::MAX].map(|index| device.queue_size_max(index));

    assert_eq!(sizes, [Ok(256), Ok(128), Ok(0), Ok(0)]);
}

/// A device may go on using a ring that it was not told to forget.
#[test]
fn a_reset_takes_back_the_queues_that_the_device_was_told_of() {
    let (platform, mut device) = probed(Fake::legacy());
    device.enable_queue(1, &setup(0x1000)).unwrap();
    writes(&platform);

    device.set_status(Status::empty()).unwrap();
    let first = writes(&platform);
    device.set_status(Status::empty()).unwrap();
    let second = writes(&platform);

    let status = write(legacy::DEVICE_STATUS, 1, 0);
    let select = |index| write(legacy::QUEUE_SELECT, 2, index);
    let none = write(legacy::QUEUE_ADDRESS, 4, 0);
    assert_eq!(first, [status, select(0), none, select(1), none]);
    assert_eq!(second, [status]);
    assert_eq!(device.queue_enabled(1), Ok(false));
}

#[test]
fn a_status_that_is_no_reset_takes_no_queue_back() {
    let (platform, mut device) = probed(Fake::legacy());
    device.enable_queue(0, &setup(0x1000)).unwrap();
    writes(&platform);

    device.set_status(Status::DRIVER_OK).unwrap();

    assert_eq!(writes(&platform), [write(legacy::DEVICE_STATUS, 1, 4)]);
    assert_eq!(device.status(), Ok(Status::DRIVER_OK));
}

/// Drivers' defect 8: notify makes three register accesses and clobbers the queue selector.
#[test]
fn a_kick_is_one_write_and_leaves_the_selector_alone() {
    let (platform, mut device) = probed(Fake::legacy());
    let doorbell = device.doorbell(1, Features::NONE).unwrap();
    device.queue_size_max(0).unwrap();
    platform.take_log();

    doorbell.ring(0x8005).unwrap();

    assert_eq!(platform.take_log(), [write(legacy::QUEUE_NOTIFY, 2, 1)]);
}

/// §4.1.4.10: the vectors, while there are any, stand where configuration space is without.
///
/// Clauses: leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:4
#[test]
fn configuration_space_moves_when_messages_are_switched_on_and_off() {
    let (platform, mut device) = probed(Fake::legacy());
    platform.poke(at(20), &[1, 2, 3, 4, 5, 6, 7, 8]);
    let read = |device: &mut Legacy<_>| {
        let mut bytes = [0; 4];
        device.read_config(0, &mut bytes).unwrap();
        bytes
    };

    let before = read(&mut device);
    device.use_messages(true).unwrap();
    let on = read(&mut device);
    device.write_config(1, &[0xaa]).unwrap();
    device.use_messages(false).unwrap();
    let off = read(&mut device);

    let [header, after] = [[1, 2, 3, 4], [5, 6, 7, 8]];
    assert_eq!([before, on, off], [header, after, header]);
    assert_eq!(platform.peek::<1>(at(25)), [0xaa]);
}

#[test]
fn a_device_without_vectors_never_moves_its_configuration_space() {
    let mut fake = Fake::legacy();
    fake.put(MSIX_CAPABILITY, &[5]);
    let (platform, mut device) = probed(fake);
    platform.poke(at(20), &[1]);
    let mut byte = [0];

    device.use_messages(true).unwrap();
    device.read_config(0, &mut byte).unwrap();

    assert_eq!(byte, [1]);
    assert_eq!(device.messages_max(), 0);
}

#[test]
fn fields_of_any_width_are_reached_by_bytes() {
    let (platform, mut device) = probed(Fake::legacy());
    platform.poke(at(20), &(0..16).collect::<Vec<u8>>());
    let mut bytes = [0; 8];

    device.read_config(8, &mut bytes).unwrap();
    let log = platform.take_log();
    device.write_config(3, &[7, 8]).unwrap();

    let is_byte = |access: &Access| matches!(access, Access::Read { width: 1, .. });
    assert_eq!(bytes, [8, 9, 10, 11, 12, 13, 14, 15]);
    assert!(log.iter().all(is_byte));
    assert_eq!(writes(&platform), [write(23, 1, 7), write(24, 1, 8)]);
}

#[test]
fn bytes_past_the_end_of_the_bar_cost_no_access() {
    let (platform, mut device) = probed(Fake::legacy());
    let room = PORTS_LEN as usize - 20;
    let range = |offset, len| Err(TransportError::Range { offset, len });

    let fits = device.read_config(room - 8, &mut [0; 8]);
    device.use_messages(true).unwrap();
    platform.take_log();
    let moved = device.read_config(room - 8, &mut [0; 8]);
    let far = device.write_config(usize::MAX, &[0; 2]);

    assert_eq!(fits, Ok(()));
    assert_eq!(moved, range(room - 8, 8));
    assert_eq!(far, range(usize::MAX, 2));
    assert_eq!(platform.take_log(), []);
}

/// Drivers' defect 14: MSI-X exhaustion aborts instead of sharing vectors. The transport's part: a
/// refusal is an answer.
#[test]
fn a_vector_that_the_device_refuses_or_does_not_have_is_told_and_no_error() {
    let (platform, mut device) = probed(Fake::legacy());
    device.use_messages(true).unwrap();

    let vectors = [Some(0), Some(1), Some(VECTORS_AGREED), None];
    let agreed = vectors.map(|vector| {
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
fn no_vector_is_written_over_configuration_space() {
    let (platform, mut device) = probed(Fake::legacy());

    let agreed = [Some(0), None].map(|vector| device.set_config_vector(vector).unwrap());

    assert_eq!(agreed, [false, true]);
    assert_eq!(platform.take_log(), []);
}

#[test]
fn the_line_is_acknowledged_by_reading_why_it_was_raised() {
    let (platform, device) = probed(Fake::legacy());
    platform.poke(at(legacy::ISR_STATUS), &[3]);

    let line = device.line().unwrap();
    let causes = [line.cause.take().unwrap(), line.cause.take().unwrap()];

    assert_eq!(line.number, 11);
    assert_eq!(causes, [InterruptStatus::all(), InterruptStatus::empty()]);
}

#[test]
fn messages_of_whoever_had_the_device_before_are_masked() {
    let platform = Fake::legacy().plug();
    platform.poke(config_space(AT) + MSIX_CAPABILITY as u64 + 3, &[0x80]);
    platform.poke(TABLE, &[0; 64]);

    let _device = testing::legacy(&platform).unwrap();

    let entries: [u8; 64] = platform.peek(TABLE);
    let control: [u8; 1] = platform.peek(config_space(AT) + MSIX_CAPABILITY as u64 + 3);
    assert_eq!(control, [0]);
    assert!(entries.chunks(16).all(|entry| entry[12] == 1));
}

#[test]
fn a_queue_cannot_be_reset_alone() {
    let (platform, mut device) = probed(Fake::legacy());

    let refused = [device.reset_queue(0).err(), device.queue_is_reset(0).err()];

    assert!(refused.iter().all(Option::is_some));
    assert_eq!(platform.take_log(), []);
}

#[test]
fn a_device_that_was_pulled_out_is_absent() {
    let (platform, mut device) = probed(Fake::legacy());

    platform.poke(port(PORTS), &vec![0xff; PORTS_LEN as usize]);

    let absent = TransportError::Absent;
    assert_eq!(device.status(), Err(absent));
    assert_eq!(device.page(), Err(absent));
}

#[test]
fn ports_behind_the_header_are_configuration_space_as_far_as_they_go() {
    let mut fake = Fake::legacy();
    fake.allow(0x10, &0xffff_ffe0_u32.to_le_bytes());
    let (_, mut device) = probed(fake);

    let last = device.read_config(11, &mut [0]);
    let past = device.read_config(12, &mut [0]);

    assert_eq!(last, Ok(()));
    assert_eq!(past, Err(TransportError::Range { offset: 12, len: 1 }));
}
