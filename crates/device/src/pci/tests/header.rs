//! Functions that have the legacy interface, alone or beside the other.

use super::*;
use ringway_spec::pci::legacy::{
    self, DEVICE_STATUS, QUEUE_ADDRESS, QUEUE_NOTIFY, QUEUE_SELECT, QUEUE_SIZE,
};

const PORT: u64 = 0xc000;
const BASE1: u64 = 0xfe80_0000;
const BASE4: u64 = 0x12_3450_0000;
const EITHER: [Interface; 2] = [Interface::Transitional, Interface::Legacy];

fn placed(interface: Interface, vectors: u16) -> (Bench, Function) {
    let (mut model, log) = Plain::new(Features::bit(3) | Features::bit(70));
    model.id = DeviceId::CONSOLE;
    let (bench, mut parts) = Bench::around(model, log, Offer::default());
    parts.interface = interface;
    let function = present(&bench, parts, vectors).unwrap();
    function.set(config::BAR0, PORT as u32);
    function.set(config::BAR0 + 4, BASE1 as u32);
    function.set(config::BAR0 + 16, BASE4 as u32);
    function.set(config::BAR0 + 20, (BASE4 >> 32) as u32);
    let command = Command::IO | Command::MEMORY | Command::BUS_MASTER;
    function.set(config::COMMAND, command.bits().into());
    (bench, function)
}

impl Function {
    fn header(&self, offset: usize, len: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.bar_read(0, offset as u64, &mut bytes[..len]);
        load(&bytes[..len])
    }

    fn set_header(&self, offset: usize, len: usize, value: u32) {
        self.bar_write(0, offset as u64, &value.to_le_bytes()[..len]);
    }

    /// Follows §3.1.2 with queue `index`.
    fn start_legacy(&self, bench: &mut Bench, index: u16) -> Ring {
        self.set_header(DEVICE_STATUS, 1, 3);
        self.set_header(QUEUE_SELECT, 2, index.into());
        let size = self.header(QUEUE_SIZE, 2) as u16;
        let ring = bench.ram.legacy_ring(size, 4096);
        let page = (ring.areas.descriptor / 4096) as u32;
        assert_eq!(self.header(QUEUE_ADDRESS, 4), 0);
        self.set_header(QUEUE_ADDRESS, 4, page);
        assert_eq!(self.header(QUEUE_ADDRESS, 4), page);
        self.set_header(DEVICE_STATUS, 1, 7);
        ring
    }
}

/// §4.1.2.3
///
/// Clauses: dev:pci/pci-device-discovery:1, dev:pci/pci-device-discovery:2,
/// leg:pci/pci-device-discovery/legacy-interfaces-a-note-on-pci-de:1,
/// leg:pci/pci-device-discovery/legacy-interfaces-a-note-on-pci-de:2,
/// leg:pci/pci-device-discovery/legacy-interfaces-a-note-on-pci-de:3
#[test]
fn a_function_with_the_legacy_interface_says_what_it_is_by_its_old_ids() {
    for (id, device) in [
        (DeviceId::NETWORK, 0x1000),
        (DeviceId::BLOCK, 0x1001),
        (DeviceId::ENTROPY, 0x1005),
        (DeviceId::NINE_P, 0x1009),
    ] {
        for interface in EITHER {
            let (mut model, log) = Plain::new(Features::NONE);
            model.id = id;
            let (bench, mut parts) = Bench::around(model, log, Offer::default());
            parts.interface = interface;
            let function = present(&bench, parts, 0).unwrap();

            let vendor = function.get(config::VENDOR_ID);
            let subsystem = function.get(config::SUBSYSTEM_VENDOR_ID);

            assert_eq!((vendor >> 16, subsystem >> 16), (device, id.0));
            assert_eq!((vendor & 0xffff, subsystem & 0xffff), (0x1af4, 0x1af4));
            assert_eq!(function.get(config::REVISION_ID) & 0xff, 0);
        }
    }
}

/// Clauses: dev:pci/pci-device-discovery:2
#[test]
fn a_type_without_an_id_of_before_version_1_is_refused_the_legacy_interface() {
    for (interface, id) in [
        (Interface::Transitional, DeviceId::SOCKET),
        (Interface::Legacy, DeviceId(63)),
    ] {
        let (mut model, log) = Plain::new(Features::NONE);
        model.id = id;
        let (bench, mut parts) = Bench::around(model, log, Offer::default());
        parts.interface = interface;

        let refused = present(&bench, parts, 0).err();

        assert_eq!(refused, Some(Unfit::Transitional(id)));
    }
}

/// §4.1.4.10, §4.1.5.1.1.1: drivers tell the one from the other by the capabilities.
///
/// Clauses: leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:1,
/// leg:pci/init/virtio-cfg-detection/legacy-interface-a-note-on-device:1
#[test]
fn the_first_bar_is_of_ports_and_only_a_transitional_function_has_virtio_s_capabilities() {
    for (interface, vectors, bars, types) in [
        (
            Interface::Transitional,
            3,
            &[(0, 0x100), (1, 0x2000), (4, 0x4000)][..],
            &[0, 0, 1, 3, 4, 2, 5][..],
        ),
        (Interface::Legacy, 3, &[(0, 0x100), (1, 0x2000)], &[0, 0]),
        (Interface::Legacy, 0, &[(0, 0x100)], &[0]),
    ] {
        let (_bench, function) = placed(interface, vectors);

        let sizes: Vec<_> = function.bars().iter().map(|b| (b.index, b.size)).collect();
        let listed: Vec<_> = function.capabilities().iter().map(|c| c.1).collect();

        assert_eq!((&*sizes, &*listed), (bars, types));
        function.set(config::BAR0, u32::MAX);
        assert_eq!(function.get(config::BAR0), 0xffff_ff01);
    }
}

#[test]
fn ports_answer_at_their_numbers_while_they_are_turned_on() {
    let (_bench, function) = placed(Interface::Transitional, 3);
    let modern = super::placed(3).1;

    assert_eq!(function.locate_port(PORT + 18, 1), Some((0, 18)));
    assert_eq!(function.locate_port(PORT + 0xff, 2), None);
    assert_eq!(function.locate(PORT, 4), None);
    assert_eq!(function.locate(BASE4, 4), Some((4, 0)));
    assert_eq!(function.locate_port(BASE4, 4), None);
    function.set(config::COMMAND, Command::MEMORY.bits().into());
    assert_eq!(function.locate_port(PORT, 1), None);
    assert_eq!(function.locate(BASE1, 4), Some((1, 0)));
    // One without ports does not pretend to have turned them on.
    modern.set(config::COMMAND, u32::MAX);
    assert_eq!(modern.get(config::COMMAND) & 1, 0);
}

#[test]
fn the_header_has_each_field_at_its_place_and_width() {
    let (_bench, function) = placed(Interface::Legacy, 3);
    let features = Features::bit(3) | F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT;
    function.set_header(QUEUE_SELECT, 2, 1);
    let fields = [
        (legacy::DEVICE_FEATURES, 4, features.word(0)),
        (QUEUE_SIZE, 2, 16),
        (QUEUE_SELECT, 2, 1),
    ];

    for (offset, len, value) in fields {
        assert_eq!(function.header(offset, len), value, "{offset}");
        for wrong in [1, 2, 4].into_iter().filter(|&wrong| wrong != len) {
            assert_eq!(function.header(offset, wrong), 0, "{offset}+{wrong}");
        }
    }
    function.set_header(legacy::DRIVER_FEATURES, 2, 8);
    function.set_header(DEVICE_STATUS, 2, 3);
    function.set_header(QUEUE_ADDRESS, 2, 5);
    function.set_header(QUEUE_SIZE, 2, 4);
    for at in [legacy::DRIVER_FEATURES, QUEUE_ADDRESS] {
        assert_eq!(function.header(at, 4), 0);
    }
    assert_eq!(function.header(DEVICE_STATUS, 1), 0);
    assert_eq!(function.header(QUEUE_SIZE, 2), 16);
}

/// Once messages are enabled the other fields move; they move back when they are not.
///
/// Clauses: leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:3,
/// leg:pci/pci-device-layout/legacy-interfaces-a-note-on-pci-de:5
#[test]
fn configuration_space_moves_with_messages_and_is_reached_by_any_width() {
    let (bench, function) = placed(Interface::Legacy, 3);
    let msix = function.capabilities()[0].2;
    *bench.log.config.lock() = [1, 2, 3, 4, 5, 6, 7, 8];

    let without = function.header(20, 4);
    function.set(msix, 0x8000_0000);
    let with = [20, 24, 28].map(|at| function.header(at, 4));
    function.set_header(20, 2, 1);
    function.set_header(22, 2, 2);
    let vectors = [20, 22].map(|at| function.header(at, 2));
    function.set_header(26, 2, 0x0909);
    function.set(msix, 0);
    let back = function.header(22, 2);

    assert_eq!(without, 0x0403_0201);
    // Two vectors are none, and are no word.
    assert_eq!(with, [0, 0x0403_0201, 0x0807_0605]);
    assert_eq!(vectors, [1, 2]);
    assert_eq!(back, 0x0909);
    assert_eq!(function.header(27, 1), 8);
    assert_eq!(function.header(28, 4), 0);
}

#[test]
fn a_queue_is_served_through_the_header_and_raises_the_pin_or_its_vector() {
    for interface in EITHER {
        for vectors in [0, 3] {
            let (mut bench, function) = placed(interface, vectors);
            if vectors != 0 {
                let msix = function.capabilities()[0].2;
                function.set(msix, 0x8000_0000);
                function.bar_write(1, 16, &0xfee0_0000_u64.to_le_bytes());
                function.bar_write(1, 24, &77_u64.to_le_bytes());
            }
            let mut ring = function.start_legacy(&mut bench, 1);
            function.set_header(legacy::QUEUE_MSIX_VECTOR, 2, 1);
            let answer = bench.ram.holding(&[0; 4]);
            ring.queue.arm();
            ring.queue.submit(&[], &[answer], ()).unwrap();
            ring.queue.kick_needed();

            function.set_header(QUEUE_NOTIFY, 2, 1);
            bench.steps.run(1);

            assert!(ring.queue.poll().unwrap().is_some());
            let sent = if vectors != 0 {
                vec![(0xfee0_0000, 77)]
            } else {
                vec![]
            };
            assert_eq!(bench.wires.messages(), sent);
            assert_eq!(bench.wires.asserted(), vectors == 0);
            let isr = function.header(legacy::ISR_STATUS, 1);
            assert_eq!(isr, u32::from(vectors == 0));
            assert!(!bench.wires.asserted());
        }
    }
}

/// §4.1.4.5: whichever a driver reads, the causes are gone from both.
#[test]
fn both_interfaces_have_the_same_isr_status() {
    let (mut bench, function) = placed(Interface::Transitional, 0);
    let _ring = function.start_legacy(&mut bench, 0);
    let isr = |function: &Function| {
        let mut byte = [0xff];
        function.bar_read(4, ISR_OFFSET.into(), &mut byte);
        u32::from(byte[0])
    };

    function.config_changed();
    let modern = isr(&function);
    let gone = function.header(legacy::ISR_STATUS, 1);
    function.config_changed();
    let legacy = function.header(legacy::ISR_STATUS, 1);

    assert_eq!([modern, gone, legacy, isr(&function)], [2, 0, 2, 0]);
}

/// A kernel of another kind than the firmware before it resets the device, and has its own way.
#[test]
fn a_transitional_function_is_driven_by_one_interface_after_the_other() {
    let (mut bench, function) = placed(Interface::Transitional, 0);
    let common = |offset, len| {
        let mut bytes = [0xff; 4];
        function.bar_read(4, offset, &mut bytes[..len]);
        load(&bytes[..len])
    };
    let _ring = function.start_legacy(&mut bench, 0);

    function.bar_write(4, common::DEVICE_STATUS as u64, &[0xff]);
    let ignored = common(common::DEVICE_STATUS as u64, 1);
    function.bar_write(4, common::DEVICE_STATUS as u64, &[0]);
    let reset = function.header(DEVICE_STATUS, 1);
    function.bar_write(4, common::DEVICE_STATUS as u64, &[3]);
    function.set_header(QUEUE_SELECT, 2, 0);
    function.set_header(QUEUE_ADDRESS, 4, 0x40000);

    assert_eq!((ignored, reset), (7, 0));
    assert_eq!(function.header(QUEUE_ADDRESS, 4), 0);
    assert_eq!(common(common::DEVICE_STATUS as u64, 1), 3);
}

#[test]
fn nothing_a_legacy_driver_reads_or_writes_ends_the_program() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let (mut bench, function) = placed(EITHER[seed as usize % 2], 3);
        for _ in 0..200 {
            let near = [28, 28, 28, 0x110][usize::from(random.byte() % 4)];
            let offset = random.below(near);
            let bytes: Vec<_> = (0..random.below(9)).map(|_| random.byte() & 0x87).collect();
            match random.byte() % 8 {
                0..=3 => function.bar_write(0, offset, &bytes),
                4 => function.bar_write(4, offset, &bytes),
                5 => function.bar_read(0, offset, &mut [0; 8][..bytes.len()]),
                6 => function.config_write(offset as u16, &bytes),
                _ => drop(bench.steps.run(u16::from(random.byte() & 1))),
            }
        }
        let command = Command::IO | Command::MEMORY | Command::BUS_MASTER;
        function.set(config::COMMAND, command.bits().into());
        function.set_header(DEVICE_STATUS, 1, 0);
        assert_eq!(function.header(DEVICE_STATUS, 1), 0);

        let mut ring = function.start_legacy(&mut bench, 0);
        let answer = bench.ram.holding(&[0; 4]);
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();
        function.set_header(QUEUE_NOTIFY, 2, 0);
        bench.steps.run(0);
        assert!(ring.queue.poll().unwrap().is_some(), "seed {seed}");
    }
}
