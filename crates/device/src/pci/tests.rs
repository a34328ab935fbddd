use super::layout::{DEVICE_OFFSET, ISR_OFFSET, NOTIFY_OFFSET};
use super::*;
use crate::parts::Offer;
use crate::testing::{Bench, Plain, RAM, Random, Ring};
use ringway_spec::pci::{
    Capability, CapabilityType, NO_VECTOR, NotifyCapability, PciCfgCapability, common, config, msix,
};
use ringway_spec::{F, Features};
use std::vec;
use zerocopy::FromBytes;

mod admin;
mod extras;
mod header;

const BASE0: u64 = 0x12_3450_0000;
const BASE2: u64 = 0xfe80_0000;

fn function(vectors: u16) -> (Bench, Function) {
    let (bench, parts) = Bench::new(Features::bit(70), Offer::default());
    let function = Function::new(parts, vectors, bench.wires.clone(), bench.wires.clone());
    (bench, function)
}

/// A function whose BARs have addresses and answer, and which may reach memory.
fn placed(vectors: u16) -> (Bench, Function) {
    let (bench, function) = function(vectors);
    function.set(config::BAR0, BASE0 as u32);
    function.set(config::BAR0 + 4, (BASE0 >> 32) as u32);
    function.set(config::BAR0 + 8, BASE2 as u32);
    function.set(
        config::COMMAND,
        u32::from((Command::MEMORY | Command::BUS_MASTER).bits()),
    );
    (bench, function)
}

impl Function {
    fn get(&self, offset: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.config_read(offset as u16, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn set(&self, offset: usize, value: u32) {
        self.config_write(offset as u16, &value.to_le_bytes());
    }

    fn structure<T: FromBytes + zerocopy::IntoBytes>(&self, at: usize) -> T {
        let mut value = T::new_zeroed();
        for (offset, byte) in value.as_mut_bytes().iter_mut().enumerate() {
            let mut one = [0];
            self.config_read((at + offset) as u16, &mut one);
            *byte = one[0];
        }
        value
    }

    /// Where the capabilities are, by id and type.
    fn capabilities(&self) -> Vec<(u8, u8, usize)> {
        let mut found = Vec::new();
        let mut at = self.get(config::CAPABILITIES_POINTER) as u8;
        while at != 0 {
            let [id, next, _, cfg_type] = self.get(at.into()).to_le_bytes();
            let cfg_type = if id == config::CAPABILITY_VENDOR {
                cfg_type
            } else {
                0
            };
            found.push((id, cfg_type, usize::from(at)));
            at = next;
        }
        found
    }

    fn capability(&self, cfg_type: CapabilityType) -> usize {
        let all = self.capabilities();
        all.iter().find(|found| found.1 == cfg_type.0).unwrap().2
    }

    /// Reads a register of the common structure.
    fn common(&self, offset: usize, len: usize) -> u32 {
        let mut bytes = [0xff; 4];
        self.bar_read(0, offset as u64, &mut bytes[..len]);
        load(&bytes[..len])
    }

    fn set_common(&self, offset: usize, len: usize, value: u32) {
        self.bar_write(0, offset as u64, &value.to_le_bytes()[..len]);
    }

    /// Follows §3.1.1 with queue `index`, on vector `vector`.
    fn start(&self, bench: &mut Bench, index: u16, vector: u16) -> Ring {
        self.start_with(bench, index, vector, Features::NONE)
    }

    fn start_with(&self, bench: &mut Bench, index: u16, vector: u16, features: Features) -> Ring {
        let own = Plain::QUEUE_SIZES.get(usize::from(index));
        let size = own.copied().unwrap_or(crate::admin::QUEUE_SIZE);
        let features = features | F::VERSION_1;
        let ring = bench.ram.ring(size, features);
        self.set_common(common::DEVICE_STATUS, 1, 3);
        self.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
        self.set_common(common::DRIVER_FEATURE, 4, features.word(1));
        self.set_common(common::DEVICE_STATUS, 1, 0xb);
        self.set_common(common::QUEUE_SELECT, 2, index.into());
        self.set_common(common::QUEUE_MSIX_VECTOR, 2, vector.into());
        for (at, address) in [
            (common::QUEUE_DESC, ring.areas.descriptor),
            (common::QUEUE_DRIVER, ring.areas.driver),
            (common::QUEUE_DEVICE, ring.areas.device),
        ] {
            self.set_common(at, 4, address as u32);
            self.set_common(at + 4, 4, (address >> 32) as u32);
        }
        self.set_common(common::QUEUE_ENABLE, 2, 1);
        assert_eq!(self.common(common::QUEUE_ENABLE, 2), 1);
        self.set_common(common::DEVICE_STATUS, 1, 0xf);
        assert_eq!(self.common(common::DEVICE_STATUS, 1), 0xf);
        ring
    }

    fn kick(&self, index: u16) {
        let at = u64::from(NOTIFY_OFFSET + u32::from(index) * NOTIFY_MULTIPLIER);
        self.bar_write(0, at, &index.to_le_bytes());
    }
}

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

/// Clauses: txt:pci/pci-device-layout/device-specific-cfg:1
#[test]
fn capabilities_lead_to_every_structure_within_its_bar() {
    let (_bench, function) = function(3);
    let sizes = |index| {
        function
            .bars()
            .iter()
            .find(|bar| bar.index == index)
            .unwrap()
            .size
    };

    let all = function.capabilities();

    let types: Vec<_> = all
        .iter()
        .map(|&(id, cfg_type, _)| (id, cfg_type))
        .collect();
    assert_eq!(types, [(0x11, 0), (9, 1), (9, 3), (9, 4), (9, 2), (9, 5)]);
    for &(id, cfg_type, at) in &all {
        if id == config::CAPABILITY_VENDOR && cfg_type != 5 {
            let capability: Capability = function.structure(at);
            let end = capability.offset.get() + capability.length.get();
            assert!(u64::from(end) <= sizes(capability.bar), "{capability:?}");
            assert_eq!(capability.offset.get() % 4, 0);
        }
    }
    let notify: NotifyCapability =
        function.structure(function.capability(CapabilityType::NOTIFY_CFG));
    assert_eq!(
        (notify.cap.cap_len, notify.notify_off_multiplier.get()),
        (20, 4)
    );
    assert_eq!(notify.cap.length.get(), 8);
    let msix: msix::Capability = function.structure(all[0].2);
    assert_eq!(
        (msix.control.get(), msix.table.get(), msix.pba.get()),
        (2, 2, 0x1002)
    );
}

#[test]
fn a_function_without_vectors_has_neither_the_capability_nor_its_bar() {
    let (_bench, function) = function(0);

    assert!(
        function
            .capabilities()
            .iter()
            .all(|found| found.0 == config::CAPABILITY_VENDOR)
    );
    assert_eq!(function.bars().len(), 1);
}

#[test]
fn the_largest_table_has_room() {
    let (_bench, function) = function(u16::MAX);

    let msix: msix::Capability = function.structure(function.capabilities()[0].2);

    assert_eq!(
        msix.control.get() & msix::CONTROL_TABLE_SIZE_MASK,
        VECTORS_MAX - 1
    );
    assert_eq!(function.bars()[1].size, 0x1_0000);
    function.bar_write(2, 16 * 2047 + 8, &[7; 4]);
    let mut bytes = [0; 4];
    function.bar_read(2, 16 * 2047 + 8, &mut bytes);
    assert_eq!(bytes, [7; 4]);
}

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

#[test]
fn a_queue_is_served_and_interrupts_with_its_message() {
    let (mut bench, function) = placed(3);
    let control = function.capabilities()[0].2;
    function.set(control, u32::from(msix::CONTROL_ENABLE) << 16);
    for (at, word) in [0xfee0_1000_u32, 0, 77, 0].iter().enumerate() {
        function.bar_write(2, 16 + 4 * at as u64, &word.to_le_bytes());
    }
    let mut ring = function.start(&mut bench, 1, 1);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();

    function.kick(1);
    bench.steps.run(1);

    assert_eq!(bench.steps.kicks(), [1]);
    assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4);
    assert_eq!(bench.wires.messages(), [(0xfee0_1000, 77)]);
    assert!(!bench.wires.asserted());
}

/// §4.1.4.5.1.
#[test]
fn without_messages_the_pin_is_asserted_until_the_isr_status_is_read() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, NO_VECTOR);
    let wanted = || function.get(config::COMMAND) >> 16 & 0x8 != 0;
    let isr_at = |at: u32, len: usize| {
        let mut bytes = [0; 4];
        function.bar_read(0, at.into(), &mut bytes[..len]);
        bytes[0]
    };
    let isr = |len| isr_at(ISR_OFFSET, len);

    let before = wanted();
    function.config_changed();
    let asserted = (bench.wires.asserted(), wanted());
    let other = [isr(4), isr_at(ISR_OFFSET + 1, 1), isr_at(ISR_OFFSET - 1, 1)];
    let read = [isr(1), isr(1)];

    assert_eq!((before, asserted), (false, (true, true)));
    assert_eq!((other, read), ([0; 3], [2, 0]));
    assert!(!bench.wires.asserted() && !wanted());
    assert_eq!(bench.wires.changes(), 2);
}

#[test]
fn the_common_structure_has_each_field_at_its_place_and_width() {
    let (_bench, function) = placed(3);
    function.set_common(common::DEVICE_FEATURE_SELECT, 4, 2);
    function.set_common(common::QUEUE_SELECT, 2, 1);
    let fields = [
        (common::DEVICE_FEATURE_SELECT, 4, 2),
        (common::DEVICE_FEATURE, 4, 1 << 6),
        (common::CONFIG_MSIX_VECTOR, 2, 0xffff),
        (common::NUM_QUEUES, 2, 2),
        (common::QUEUE_SELECT, 2, 1),
        (common::QUEUE_SIZE, 2, 16),
        (common::QUEUE_MSIX_VECTOR, 2, 0xffff),
        (common::QUEUE_NOTIFY_OFF, 2, 1),
    ];

    for (offset, len, value) in fields {
        assert_eq!(function.common(offset, len), value, "{offset}");
        for wrong in [1, 2, 4].into_iter().filter(|&wrong| wrong != len) {
            assert_eq!(function.common(offset, wrong), 0, "{offset}+{wrong}");
        }
    }
    // Those of features that are not offered, and what is beyond.
    for offset in [56, 58, 60, 62, 64] {
        assert_eq!(function.common(offset, 2), 0, "{offset}");
    }
}

#[test]
fn halves_of_addresses_are_written_apart_and_read_back() {
    let (_bench, function) = placed(3);
    function.set_common(common::DRIVER_FEATURE_SELECT, 4, 1);
    function.set_common(common::DRIVER_FEATURE, 4, 1);
    function.set_common(common::DEVICE_STATUS, 1, 0xb);

    for (n, at) in [
        common::QUEUE_DESC,
        common::QUEUE_DRIVER,
        common::QUEUE_DEVICE,
    ]
    .into_iter()
    .enumerate()
    {
        function.set_common(at + 4, 4, n as u32 + 1);
        function.set_common(at, 4, n as u32 + 11);
        function.set_common(at, 2, 0);
        function.bar_write(0, at as u64, &[0; 8]);

        assert_eq!(function.common(at, 4), n as u32 + 11);
        assert_eq!(function.common(at + 4, 4), n as u32 + 1);
    }
}

#[test]
fn vectors_are_written_and_one_that_is_not_there_reads_as_none() {
    let (_bench, function) = placed(3);

    for at in [common::CONFIG_MSIX_VECTOR, common::QUEUE_MSIX_VECTOR] {
        function.set_common(at, 2, 2);
        assert_eq!(function.common(at, 2), 2);
        function.set_common(at, 2, 3);
        assert_eq!(function.common(at, 2), 0xffff);
    }
    function.set_common(common::QUEUE_SELECT, 2, 2);
    function.set_common(common::QUEUE_MSIX_VECTOR, 2, 1);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
    assert_eq!(function.common(common::QUEUE_SIZE, 2), 0);
}

/// §4.1.4.3.2: only a reset takes a queue back.
#[test]
fn a_queue_stays_enabled_until_the_reset() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);

    function.set_common(common::QUEUE_ENABLE, 2, 0);
    let enabled = function.common(common::QUEUE_ENABLE, 2);
    function.set_common(common::DEVICE_STATUS, 1, 0);

    assert_eq!(enabled, 1);
    assert_eq!(function.common(common::QUEUE_ENABLE, 2), 0);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 0xffff);
    assert!(bench.steps.started().is_empty());
}

#[test]
fn a_kick_names_its_queue_by_address_and_value() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let notify = u64::from(NOTIFY_OFFSET);

    function.kick(0);
    function.kick(1);
    // Another queue's index, odd places and widths, and what is beyond the last queue.
    function.bar_write(0, notify, &[1, 0]);
    function.bar_write(0, notify + 2, &[0, 0]);
    function.bar_write(0, notify, &[0]);
    function.bar_write(0, notify, &[0; 4]);
    function.kick(2);

    assert_eq!(bench.steps.kicks(), [0, 1]);
}

/// §2.6.1: its set-up goes, its vector among it, and the other queue's stays.
#[test]
fn a_queue_that_is_reset_alone_forgets_its_vector() {
    let (mut bench, function) = placed(3);
    function.start_with(&mut bench, 1, 2, F::RING_RESET);
    function.set_common(common::QUEUE_SELECT, 2, 0);
    function.set_common(common::QUEUE_MSIX_VECTOR, 2, 1);
    function.set_common(common::QUEUE_SELECT, 2, 1);

    function.set_common(common::QUEUE_RESET, 2, 1);

    let read = |at| function.common(at, 2);
    let registers = [
        common::QUEUE_RESET,
        common::QUEUE_ENABLE,
        common::QUEUE_MSIX_VECTOR,
        common::QUEUE_SIZE,
    ];
    assert_eq!(registers.map(read), [0, 0, 0xffff, 16]);
    assert!(bench.steps.started().is_empty());
    function.set_common(common::QUEUE_SELECT, 2, 0);
    assert_eq!(function.common(common::QUEUE_MSIX_VECTOR, 2), 1);
}

/// §2.9: what is said beside the index is a hint, and a driver may say anything.
#[test]
fn a_kick_with_data_has_32_bits_and_a_wrong_hint_harms_nobody() {
    let (mut bench, function) = placed(3);
    let mut ring = function.start_with(&mut bench, 1, 0, F::NOTIFICATION_DATA);
    let notify = u64::from(NOTIFY_OFFSET + NOTIFY_MULTIPLIER);
    let answer = bench.ram.holding(&[0; 4]);

    // Without data, for another queue, and at an odd place.
    function.kick(1);
    function.bar_write(0, notify, &[0, 0, 1, 0]);
    function.bar_write(0, notify + 2, &[1, 0, 0, 0]);
    let refused = bench.steps.kicks();
    for hint in [0_u16, 1, 0x7fff, 0x8000, u16::MAX] {
        ring.queue.submit(&[], &[answer], ()).unwrap();
        ring.queue.kick_needed();
        let [low, high] = hint.to_le_bytes();
        function.bar_write(0, notify, &[1, 0, low, high]);
        bench.steps.run(1);

        assert_eq!(bench.steps.kicks(), [1], "{hint:#x}");
        assert_eq!(ring.queue.poll().unwrap().unwrap().written, 4, "{hint:#x}");
    }

    assert_eq!(refused, []);
    assert_eq!(function.violation(), None);
}

#[test]
fn the_device_s_configuration_is_in_its_own_structure() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let device = u64::from(DEVICE_OFFSET);

    function.bar_write(0, device + 2, &[1, 2]);
    let mut bytes = [0xff; 4];
    function.bar_read(0, device + 1, &mut bytes);

    assert_eq!(bytes, [0, 1, 2, 0]);
    function.bar_read(0, device + 0xffe, &mut bytes);
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn accesses_that_are_not_within_a_structure_read_0_and_write_nothing() {
    let (_bench, function) = placed(3);

    for (bar, offset, len) in [
        (0, 0x3e, 4),
        (0, 0x40, 4),
        (0, 0x1001, 1),
        (0, 0x4000, 4),
        (0, u64::MAX, 4),
        (1, 0, 4),
        (2, 48, 4),
        (2, 0x1008, 4),
        (6, 0, 4),
        (255, 0, 4),
        (0, 0, 0),
    ] {
        let mut bytes = [0xff; 4];
        function.bar_read(bar, offset, &mut bytes[..len]);
        assert_eq!(bytes[..len], [0; 4][..len], "{bar} {offset:#x}+{len}");
        function.bar_write(bar, offset, &bytes[..len]);
    }
}

/// §4.1.4.9.1.
#[test]
fn the_window_in_configuration_space_reaches_the_bars() {
    let (_bench, function) = function(3);
    let at = function.capability(CapabilityType::PCI_CFG);
    let point = |bar: u8, offset: usize, len: u32| {
        function.config_write(at as u16 + 4, &[bar]);
        function.set(at + 8, offset as u32);
        function.set(at + 12, len);
    };

    point(0, common::DEVICE_STATUS, 1);
    function.config_write(at as u16 + 16, &[3]);
    let mut status = [0];
    function.config_read(at as u16 + 16, &mut status);
    point(0, common::NUM_QUEUES, 2);
    let queues = function.get(at + 16) as u16;
    point(2, 8, 4);
    function.set(at + 16, 0x1234_5678);

    assert_eq!((status, queues), ([3], 2));
    let mut data = [0; 4];
    function.bar_read(2, 8, &mut data);
    assert_eq!(data, [0x78, 0x56, 0x34, 0x12]);
    let capability: PciCfgCapability = function.structure(at);
    assert_eq!((capability.cap.bar, capability.cap.length.get()), (2, 4));
}

#[test]
fn a_window_that_points_at_nothing_reaches_nothing() {
    let (_bench, function) = function(3);
    let at = function.capability(CapabilityType::PCI_CFG);

    for (bar, offset, len) in [
        (0, 20, 0),
        (0, 20, 3),
        (0, 20, 8),
        (0, 21, 2),
        (7, 20, 1),
        (0, u32::MAX, 1),
    ] {
        function.config_write(at as u16 + 4, &[bar]);
        function.set(at + 8, offset);
        function.set(at + 12, len);
        function.set(at + 16, 1);
        function.get(at + 16);
    }

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
}

/// A reset through the window waits for tasks as any other does: with no lock of configuration
/// space either.
#[test]
fn a_reset_through_the_window_leaves_configuration_space_free() {
    let (mut bench, function) = placed(3);
    function.start(&mut bench, 0, 0);
    let at = function.capability(CapabilityType::PCI_CFG);
    function.set(at + 8, common::DEVICE_STATUS as u32);
    function.set(at + 12, 1);
    let function = Arc::new(function);
    let weak = Arc::downgrade(&function);
    *bench.steps.on_stop.lock() = Some(Arc::new(move || {
        if let Some(function) = weak.upgrade() {
            assert_eq!(function.get(config::VENDOR_ID), 0x107f_1af4);
            assert_eq!(function.common(common::DEVICE_STATUS, 1), 0xf);
        }
    }));

    function.config_write(at as u16 + 16, &[0]);

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
    assert!(bench.steps.started().is_empty());
}

#[test]
fn a_function_that_may_not_reach_memory_serves_nothing_until_it_may() {
    let (mut bench, function) = placed(3);
    function.set(config::COMMAND, Command::MEMORY.bits().into());

    function.start(&mut bench, 0, 0);
    function.kick(0);
    let before = (bench.steps.started(), bench.steps.kicks());
    function.set(
        config::COMMAND,
        u32::from((Command::MEMORY | Command::BUS_MASTER).bits()),
    );

    assert_eq!(before, (Vec::new(), Vec::new()));
    assert_eq!(bench.steps.started(), [0]);
    assert!(bench.steps.kicks().contains(&0));
}

#[test]
fn a_broken_rule_is_told_with_the_message_for_configuration() {
    let (mut bench, function) = placed(3);
    let control = function.capabilities()[0].2;
    function.set(control, u32::from(msix::CONTROL_ENABLE) << 16);
    function.bar_write(2, 8, &[5, 0, 0, 0]);
    function.bar_write(2, 12, &[0; 4]);
    function.set_common(common::CONFIG_MSIX_VECTOR, 2, 0);
    let mut ring = function.start(&mut bench, 0, 1);
    let hole = ringway_ring::driver::Segment {
        address: RAM - 1,
        len: 2,
    };
    ring.queue.submit(&[], &[hole], ()).unwrap();
    ring.queue.kick_needed();

    bench.steps.run(0);

    assert_eq!(function.common(common::DEVICE_STATUS, 1), 0x4f);
    assert_eq!(bench.wires.messages(), [(0, 5)]);
    let why = Violation::NotMapped {
        address: RAM - 1,
        len: 2,
    };
    assert_eq!(function.violation(), Some((0, why)));
}

/// Devices' defect 13: whatever is read or written, and wherever, it is answered; and a reset
/// brings the device back.
#[test]
fn nothing_a_driver_reads_or_writes_ends_the_program() {
    let (mut bench, function) = placed(3);
    let mut random = Random::new(1);
    let mut bytes = [0; 16];
    let again = |function: &Function| {
        let command = Command::MEMORY | Command::BUS_MASTER;
        function.set(config::COMMAND, command.bits().into());
        function.set_common(common::DEVICE_STATUS, 1, 0);
        assert_eq!(function.common(common::DEVICE_STATUS, 1), 0);
    };

    for _ in 0..400 {
        again(&function);
        let ring = function.start(&mut bench, 0, 0).areas.descriptor;
        for _ in 0..500 {
            let len = [1, 2, 4, 8, random.below(17) as usize][random.below(5) as usize];
            for byte in &mut bytes {
                *byte = random.byte() & random.byte();
            }
            let bytes = &mut bytes[..len];
            let bar = random.below(4) as u8;
            let place = [0, 0x1000, 0x2000, 0x3000][random.below(4) as usize];
            let offset = place + random.below(80);
            match random.below(6) {
                0 => function.config_read(random.below(300) as u16, bytes),
                1 => function.config_write(random.below(300) as u16, bytes),
                2 => function.bar_read(bar, offset, bytes),
                3 => function.bar_write(bar, offset, bytes),
                4 => bench.ram.write(ring + random.below(200), bytes),
                _ => drop(bench.steps.run(0)),
            }
        }
    }

    again(&function);
    let mut ring = function.start(&mut bench, 0, NO_VECTOR);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    bench.steps.run(0);
    assert!(ring.queue.poll().unwrap().is_some());
}
