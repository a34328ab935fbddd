//! The legacy interface of a function, which its owner has.

use ringway_spec::DeviceId;
use ringway_spec::admin::NotifyInfoFlags;
use ringway_spec::pci::legacy as header;

use super::*;
use crate::admin::{Failure, LegacyPlace};

const REFUSED: Result<(), Failure> = Err(Failure::InvalidField);

/// A function with registers for either driver, of a device whose configuration is known.
fn transitional() -> (Bench, Function) {
    let (mut device, log) = Plain::new(Features::bit(3));
    device.id = DeviceId::BLOCK;
    let (bench, mut parts) = Bench::around(device, log, Offer::default());
    parts.interface = Interface::Transitional;
    let function = Function::new(parts, 3, bench.wires.clone(), bench.wires.clone()).unwrap();
    function.set(
        config::COMMAND,
        (Command::MEMORY | Command::IO | Command::BUS_MASTER)
            .bits()
            .into(),
    );
    (bench, function)
}

impl Function {
    fn write_legacy_by_owner(&self, offset: usize, from: &[u8]) -> Result<(), Failure> {
        self.legacy_write(LegacyPlace::Common, offset as u8, from)
    }

    fn read_legacy_by_owner(&self, offset: usize, len: usize) -> Result<Vec<u8>, Failure> {
        self.legacy_read(LegacyPlace::Common, offset as u8, len)
    }

    fn port(&self, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xff; len];
        self.bar_read(0, offset as u64, &mut bytes);
        bytes
    }
}

/// Each of the registers, by both ways.
///
/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:2,
/// dev:basic/device-groups/admin-cmds/legacy-interface:5,
/// dev:basic/device-groups/admin-cmds/legacy-interface:6
#[test]
fn an_owner_drives_a_member_as_a_legacy_driver_does() {
    let (mut bench, function) = transitional();
    let mut ring = bench.ram.legacy_ring(8, 4096);
    let page = (ring.areas.descriptor >> 12) as u32;

    let written = [
        function.write_legacy_by_owner(header::DEVICE_STATUS, &[3]),
        function.write_legacy_by_owner(header::DRIVER_FEATURES, &8_u32.to_le_bytes()),
        function.write_legacy_by_owner(header::QUEUE_SELECT, &0_u16.to_le_bytes()),
        function.write_legacy_by_owner(header::QUEUE_ADDRESS, &page.to_le_bytes()),
        function.write_legacy_by_owner(header::DEVICE_STATUS, &[7]),
    ];
    ring.queue.arm();
    ring.queue
        .submit(&[], &[bench.ram.holding(&[0; 4])], ())
        .unwrap();
    ring.queue.kick_needed();
    bench.steps.kicks();
    let kicked = function.write_legacy_by_owner(header::QUEUE_NOTIFY, &0_u16.to_le_bytes());
    let kicks = bench.steps.kicks();
    bench.steps.run(0);

    assert_eq!(written, [Ok(()); 5]);
    assert_eq!((kicked, kicks), (Ok(()), vec![0]));
    assert!(ring.queue.poll().unwrap().is_some());
    for (offset, len) in [(0, 4), (4, 4), (8, 4), (12, 2), (14, 2), (16, 2), (18, 1)] {
        let read = function.read_legacy_by_owner(offset, len);
        assert_eq!(read, Ok(function.port(offset, len)));
    }
    assert_eq!(
        function.read_legacy_by_owner(8, 4),
        Ok(page.to_le_bytes().to_vec())
    );
    let causes = [(); 2].map(|()| function.read_legacy_by_owner(header::ISR_STATUS, 1));
    assert_eq!(causes, [Ok(vec![1]), Ok(vec![0])]);
}

/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:3
#[test]
fn what_is_not_within_one_register_is_refused() {
    let (_bench, function) = transitional();

    for (offset, len) in [
        (header::DEVICE_STATUS, 2),
        (header::QUEUE_SIZE, 4),
        (header::DEVICE_FEATURES + 3, 2),
        (header::DEVICE_FEATURES, 5),
        (header::DEVICE_FEATURES, 0),
        // Configuration space, with messages disabled.
        (header::CONFIG_MSIX_VECTOR, 2),
        (255, 1),
    ] {
        let read = function.read_legacy_by_owner(offset, len).map(drop);
        let written = function.write_legacy_by_owner(offset, &vec![0xff; len]);

        assert_eq!([read, written], [REFUSED; 2], "{len} bytes at {offset}");
    }
    assert_eq!(function.port(header::DEVICE_STATUS, 1), [0]);
}

/// §2.13.2: a command has a multiple of 8 bytes.
#[test]
fn an_access_that_was_filled_up_is_one_to_what_is_left_of_the_register() {
    let (_bench, function) = transitional();

    let written = function.write_legacy_by_owner(header::DEVICE_STATUS, &[3, 0, 0, 0, 0, 0, 0, 0]);
    let read = function.read_legacy_by_owner(header::DEVICE_STATUS, 8);

    assert_eq!((written, read), (Ok(()), Ok(vec![3])));
    assert_eq!(
        function.read_legacy_by_owner(header::QUEUE_SIZE, 16),
        Ok(vec![8, 0])
    );
}

/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:4,
/// dev:basic/device-groups/admin-cmds/legacy-interface:7,
/// dev:basic/device-groups/admin-cmds/legacy-interface:8
#[test]
fn an_owner_reads_and_writes_configuration_space_within_one_field() {
    let (bench, function) = transitional();
    let place = LegacyPlace::Device;

    // The capacity has 8 bytes, and there is nothing behind it here.
    let written = function.legacy_write(place, 2, &[7]);
    let whole = function.legacy_read(place, 0, 8);
    let part = function.legacy_read(place, 2, 2);
    let beyond = [(7, 2), (8, 1), (8, 4), (255, 1), (0, 0)].map(|(offset, len)| {
        let written = function.legacy_write(place, offset, &vec![9; len]);
        (function.legacy_read(place, offset, len).map(drop), written)
    });

    assert_eq!((written, part), (Ok(()), Ok(vec![7, 0])));
    assert_eq!(whole, Ok(function.port(20, 8)));
    assert_eq!(beyond, [(REFUSED, REFUSED); 5]);
    assert_eq!(*bench.log.config.lock(), [0, 0, 7, 0, 0, 0, 0, 0]);
}

/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:11,
/// dev:basic/device-groups/admin-cmds/legacy-interface:14,
/// dev:basic/device-groups/admin-cmds/legacy-interface:15
#[test]
fn a_kick_at_the_address_that_a_member_names_is_one_of_its_legacy_driver() {
    let (mut bench, function) = transitional();
    let ring = bench.ram.legacy_ring(8, 4096);
    let page = (ring.areas.descriptor >> 12) as u32;
    function
        .write_legacy_by_owner(header::QUEUE_ADDRESS, &page.to_le_bytes())
        .unwrap();

    let info = function.legacy_notify().unwrap();
    function.bar_write(info.bar, info.offset.get(), &0_u16.to_le_bytes());

    let bar = function.bars().iter().find(|bar| bar.index == info.bar);
    assert_eq!(info.flags, NotifyInfoFlags::MEMBER);
    assert!((1..=5).contains(&info.bar) && info.offset.get() % 2 == 0);
    assert!(info.offset.get() + 2 <= bar.unwrap().size);
    // It took the device for ready, as the port does (§3.1.2).
    assert_eq!(
        (bench.steps.started(), bench.steps.kicks()),
        (vec![0], vec![0])
    );
}

#[test]
fn a_function_whose_registers_are_in_its_first_bar_names_no_address() {
    let (_bench, function) = function(3);

    assert_eq!(function.legacy_notify(), None);
}

/// A member that is driven so goes on elsewhere as any.
#[test]
fn a_device_that_a_legacy_driver_has_goes_on_in_another_function() {
    let (mut bench, function) = transitional();
    let mut ring = bench.ram.legacy_ring(8, 4096);
    let page = (ring.areas.descriptor >> 12) as u32;
    function
        .write_legacy_by_owner(header::DRIVER_FEATURES, &8_u32.to_le_bytes())
        .unwrap();
    function
        .write_legacy_by_owner(header::QUEUE_ADDRESS, &page.to_le_bytes())
        .unwrap();
    function
        .write_legacy_by_owner(header::DEVICE_STATUS, &[7])
        .unwrap();
    let steps = bench.steps.clone();
    function.stop_now(&steps);
    let (target, others) = {
        let (mut device, log) = Plain::new(Features::bit(3));
        device.id = DeviceId::BLOCK;
        let (_, mut parts) = Bench::around(device, log, Offer::default());
        parts.memory = bench.ram.memory();
        let others = Arc::new(Steps::default());
        parts.runner = others.clone();
        let wires = Arc::new(Wires::default());
        let target = Function::new(parts, 3, wires.clone(), wires).unwrap();
        place(&target);
        (target, others)
    };
    target.stop_now(&others);

    assert_eq!(target.give(&function.all_parts()), Ok(()));
    assert_eq!(target.set_mode(Mode::Running), DONE);
    ring.queue
        .submit(&[], &[bench.ram.holding(&[0; 4])], ())
        .unwrap();
    ring.queue.kick_needed();
    others.run(0);

    assert!(ring.queue.poll().unwrap().is_some());
    assert_eq!(
        target.read_legacy_by_owner(8, 4),
        Ok(page.to_le_bytes().to_vec())
    );
}
