//! A physical function and its virtual ones.

use super::*;
use crate::pci::{Routing, VirtualFunction, VirtualFunctionsError};
use core::sync::atomic::AtomicU64;
use ringway_spec::Status;
use ringway_spec::pci::extended::{self, DeviceControl, EXPRESS_DEVICE_CONTROL};
use ringway_spec::pci::sriov::{self, Control};

/// Where the capability is.
const AT: usize = extended::START;
/// Where the registers of virtual functions are, and their vectors.
const BASE4: u64 = 0x56_7800_0000;
const BASE1: u64 = 0xfd00_0000;
/// Bytes of a virtual function's BAR 4, and of its BAR 1.
const SIZE4: u64 = 0x4000;
const SIZE1: u64 = 0x2000;

/// A function with so many virtual ones, each on a bench of its own: at its number.
fn physical(count: usize) -> (Vec<Bench>, Function) {
    let (mut benches, functions) = virtuals(count, |_| DeviceId(62));
    let (bench, parts) = Bench::new(Features::NONE, Offer::default());
    let (messages, line) = (bench.wires.clone(), bench.wires.clone());
    let routing = Routing {
        offset: 8,
        stride: 2,
    };
    let function = Function::physical(parts, 3, messages, line, functions, routing).unwrap();
    benches.insert(0, bench);
    (benches, function)
}

fn virtuals(count: usize, id: fn(usize) -> DeviceId) -> (Vec<Bench>, Vec<VirtualFunction>) {
    let one = |index| {
        let (mut device, log) = Plain::new(Features::NONE);
        device.id = id(index);
        let (bench, parts) = Bench::around(device, log, Offer::default());
        let function = VirtualFunction::new(parts, 3, bench.wires.clone()).unwrap();
        (bench, function)
    };
    (0..count).map(one).unzip()
}

impl Function {
    fn get16(&self, at: usize) -> u16 {
        (self.get((AT + at) & !3) >> (8 * (at & 2))) as u16
    }

    fn set16(&self, at: usize, value: u16) {
        self.config_write((AT + at) as u16, &value.to_le_bytes());
    }

    /// Gives the BARs of virtual functions addresses, and has `count` of them be there.
    fn enable(&self, count: u16) {
        self.set(AT + sriov::VF_BAR0 + 16, BASE4 as u32);
        self.set(AT + sriov::VF_BAR0 + 20, (BASE4 >> 32) as u32);
        self.set(AT + sriov::VF_BAR0 + 4, BASE1 as u32);
        self.set16(sriov::NUM_VFS, count);
        self.set16(sriov::CONTROL, on().bits());
    }

    fn numbered(&self, number: u16) -> &Self {
        self.virtual_function(number).unwrap().1
    }

    /// How many virtual functions are there.
    fn count(&self) -> usize {
        (1..)
            .map_while(|number| self.virtual_function(number))
            .count()
    }

    /// Reads the status of a virtual function's device, and adds to it.
    fn status(&self) -> Status {
        let mut byte = [0];
        self.bar_read(4, common::DEVICE_STATUS as u64, &mut byte);
        Status::from_bits_retain(byte[0])
    }

    fn write4(&self, at: usize, bytes: &[u8]) {
        self.bar_write(4, at as u64, bytes);
    }

    /// Has queue 0 of a virtual function's device be served.
    fn start_virtual(&self, bench: &mut Bench) {
        let ring = bench.ram.ring(8, F::VERSION_1);
        self.set(config::COMMAND, Command::BUS_MASTER.bits().into());
        self.write4(common::DEVICE_STATUS, &[3]);
        self.write4(common::DRIVER_FEATURE_SELECT, &1_u32.to_le_bytes());
        self.write4(common::DRIVER_FEATURE, &1_u32.to_le_bytes());
        self.write4(common::DEVICE_STATUS, &[0xb]);
        for (at, address) in [
            (common::QUEUE_DESC, ring.areas.descriptor),
            (common::QUEUE_DRIVER, ring.areas.driver),
            (common::QUEUE_DEVICE, ring.areas.device),
        ] {
            self.write4(at, &(address as u32).to_le_bytes());
        }
        self.write4(common::QUEUE_ENABLE, &[1, 0]);
        self.write4(common::DEVICE_STATUS, &[0xf]);
        assert_eq!(bench.steps.started(), [0]);
    }
}

/// Virtual functions are there, and answer.
fn on() -> Control {
    Control::VF_ENABLE | Control::VF_MEMORY
}

/// Clauses: dev:reserved-feature-bits:9
#[test]
fn a_function_with_virtual_ones_says_so_and_offers_that_they_be_used() {
    let (_benches, function) = physical(3);
    function.set_common(common::DEVICE_FEATURE_SELECT, 4, 1);
    let (_bench, alone) = super::function(3);
    alone.set_common(common::DEVICE_FEATURE_SELECT, 4, 1);

    let offers = [&function, &alone].map(|function| {
        let word = function.common(common::DEVICE_FEATURE, 4);
        Features::NONE.with_word(1, word).contains(F::SR_IOV)
    });

    assert_eq!(offers, [true, false]);
    assert_eq!(alone.get(AT), extended::NONE);
    assert_eq!(function.get(AT), 0x0001_0010);
    let express = |function: &Function| {
        let all = function.capabilities();
        all.iter()
            .any(|found| found.0 == extended::CAPABILITY_EXPRESS)
    };
    assert_eq!([&function, &alone].map(express), [true, false]);
    assert_eq!(function.get(AT + sriov::CAPABILITIES), 0);
    assert_eq!(function.get16(sriov::INITIAL_VFS), 3);
    assert_eq!(function.get16(sriov::TOTAL_VFS), 3);
    assert_eq!(function.get16(sriov::NUM_VFS), 0);
    assert_eq!(function.get16(sriov::FIRST_VF_OFFSET), 8);
    assert_eq!(function.get16(sriov::VF_STRIDE), 2);
    assert_eq!(function.get16(sriov::VF_DEVICE_ID), 0x1040 + 62);
    assert_eq!(function.get(AT + sriov::SUPPORTED_PAGE_SIZES), 0x553);
    assert_eq!(function.get(AT + sriov::SYSTEM_PAGE_SIZE), 1);
    assert_eq!(function.reach(), 8 + 2 * 2);
}

#[test]
fn virtual_functions_are_there_while_they_are_enabled() {
    let (_benches, function) = physical(3);

    let before = function.count();
    function.enable(2);
    let enabled: Vec<_> = (1..)
        .map_while(|number| Some(function.virtual_function(number)?.0))
        .collect();
    function.set16(sriov::CONTROL, Control::VF_MEMORY.bits());
    let after = function.count();
    function.set16(sriov::NUM_VFS, 0);
    function.set16(sriov::CONTROL, on().bits());

    assert_eq!((before, after, function.count()), (0, 0, 0));
    assert_eq!(enabled, [8, 10]);
    assert!(function.virtual_function(0).is_none());
    assert_eq!(function.get16(sriov::CONTROL), on().bits());
}

#[test]
fn their_number_is_one_that_there_can_be_and_does_not_change_while_they_are_there() {
    let (_benches, function) = physical(3);

    function.set16(sriov::NUM_VFS, 3);
    for none in [4, 0x100, u16::MAX] {
        function.set16(sriov::NUM_VFS, none);
    }
    let chosen = function.get16(sriov::NUM_VFS);
    function.set16(sriov::CONTROL, on().bits());
    function.set16(sriov::NUM_VFS, 1);
    function.set(AT + sriov::SYSTEM_PAGE_SIZE, 2);

    assert_eq!((chosen, function.get16(sriov::NUM_VFS)), (3, 3));
    assert_eq!(function.get(AT + sriov::SYSTEM_PAGE_SIZE), 1);
    assert_eq!(function.count(), 3);
}

#[test]
fn a_virtual_function_leaves_to_the_physical_one_what_it_is() {
    let (_benches, function) = physical(3);
    function.enable(1);
    let one = function.numbered(1);

    for at in (0..0x40).step_by(4) {
        one.set(at, u32::MAX);
    }

    assert_eq!(one.get(config::VENDOR_ID), u32::MAX);
    assert_eq!(one.get(config::SUBSYSTEM_VENDOR_ID), 0x107e_1af4);
    assert_eq!(one.get(config::REVISION_ID) & 0xff, 1);
    let command = u32::from(Command::BUS_MASTER.bits());
    assert_eq!(one.get(config::COMMAND) & 0xffff, command);
    let bars = [0, 4, 8, 12, 16, 20].map(|at| one.get(config::BAR0 + at));
    assert_eq!(bars, [0; 6]);
    assert_eq!(one.get(config::INTERRUPT_LINE), 0);
    assert_eq!(one.get(AT), 0);
}

/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:17
#[test]
fn the_first_bar_of_virtual_functions_is_none() {
    let (_benches, function) = physical(2);

    for index in 0..6 {
        function.set(AT + sriov::VF_BAR0 + 4 * index, u32::MAX);
    }

    let bars = [0, 1, 2, 3, 4, 5].map(|index| function.get(AT + sriov::VF_BAR0 + 4 * index));
    assert_eq!(bars, [0, 0xffff_e000, 0, 0, 0xffff_c004, u32::MAX]);
}

#[test]
fn virtual_functions_answer_one_after_the_other_where_the_physical_one_says() {
    let (_benches, function) = physical(3);
    let find = |number, address| function.numbered(number).locate(address, 4);

    function.enable(3);

    for (number, before) in [(1, 0), (2, 1), (3, 2)] {
        let (at4, at1) = (BASE4 + before * SIZE4, BASE1 + before * SIZE1);
        assert_eq!(find(number, at4), Some((4, 0)));
        assert_eq!(find(number, at4 + SIZE4 - 4), Some((4, SIZE4 - 4)));
        assert_eq!(find(number, at4 + SIZE4), None);
        assert_eq!(find(number, at4.wrapping_sub(4)), None);
        assert_eq!(find(number, at1 + 8), Some((1, 8)));
    }
    assert_eq!(function.locate(BASE4, 4), None);
    function.set16(sriov::CONTROL, Control::VF_ENABLE.bits());
    assert_eq!(function.count(), 3);
    assert_eq!(find(1, BASE4), None);
}

#[test]
fn each_begins_with_a_page_of_the_size_that_is_chosen() {
    let (_benches, function) = physical(2);

    // Of two sizes, and of one that there is not, none is taken.
    for page in [0x10, 0x30, 0, 0x8000_0000, 0x4] {
        function.set(AT + sriov::SYSTEM_PAGE_SIZE, page);
    }
    function.set(AT + sriov::VF_BAR0 + 4, u32::MAX);
    let mask = function.get(AT + sriov::VF_BAR0 + 4);
    function.enable(2);

    assert_eq!(function.get(AT + sriov::SYSTEM_PAGE_SIZE), 0x10);
    assert_eq!(mask, 0xffff_0000);
    let second = function.numbered(2);
    assert_eq!(second.locate(BASE1 + 0x1_0000, 4), Some((1, 0)));
    assert_eq!(second.locate(BASE1 + SIZE1, 4), None);
    assert_eq!(second.locate(BASE1 + 0x1_0000 + SIZE1, 4), None);
}

/// When the write is done they are at rest.
#[test]
fn a_virtual_function_that_ends_is_at_rest_and_one_that_begins_is_new() {
    let (mut benches, function) = physical(2);
    function.enable(2);
    let one = function.numbered(1);
    one.start_virtual(&mut benches[1]);
    one.bar_write(1, 0, &[0x11; 4]);

    function.set16(sriov::CONTROL, 0);
    let stopped = benches[1].steps.started().is_empty();
    // Whoever still holds it reaches nothing by it.
    one.set(config::COMMAND, Command::BUS_MASTER.bits().into());
    let command = one.get(config::COMMAND) as u16;
    function.enable(2);

    assert!(stopped);
    assert_eq!(command, 0);
    let one = function.numbered(1);
    assert_eq!(one.status(), Status::empty());
    assert_eq!(one.get(config::COMMAND) as u16, 0);
    let mut entry = [0xff; 4];
    one.bar_read(1, 0, &mut entry);
    assert_eq!(entry, [0; 4]);
    one.start_virtual(&mut benches[1]);
}

#[test]
fn virtual_functions_do_not_come_before_the_last_ones_are_at_rest() {
    let (mut benches, function) = physical(1);
    function.enable(1);
    function.numbered(1).start_virtual(&mut benches[1]);
    let function = Arc::new(function);
    let (weak, found) = (Arc::downgrade(&function), Arc::new(AtomicU64::new(0)));
    let counted = found.clone();
    *benches[1].steps.on_stop.lock() = Some(Arc::new(move || {
        if let Some(function) = weak.upgrade() {
            function.set16(sriov::CONTROL, on().bits());
            let count = function.count() as u64 + 1;
            counted.fetch_max(count, Ordering::SeqCst);
        }
    }));

    function.set16(sriov::CONTROL, 0);
    *benches[1].steps.on_stop.lock() = None;

    assert_eq!(found.load(Ordering::SeqCst), 1);
    function.set16(sriov::CONTROL, on().bits());
    assert_eq!(function.count(), 1);
}

/// §6 has them outlive a reset of the device; a reset of the function is PCI's, and ends them.
#[test]
fn a_reset_of_the_physical_function_ends_them_and_one_of_its_device_does_not() {
    let (mut benches, function) = physical(1);
    function.enable(1);
    function.numbered(1).start_virtual(&mut benches[1]);

    function.set_common(common::DEVICE_STATUS, 1, 0);
    let after_device = benches[1].steps.started().len();
    function.reset_by_express();
    let after_function = benches[1].steps.started().len();

    assert_eq!((after_device, after_function), (1, 0));
    assert_eq!(function.count(), 0);
    let registers = [sriov::CONTROL, sriov::NUM_VFS, sriov::VF_BAR0 + 16];
    assert_eq!(registers.map(|at| function.get(AT + at)), [0, 0, 4]);
}

impl Function {
    fn reset_by_express(&self) {
        let all = self.capabilities();
        let express = all.iter().find(|it| it.0 == extended::CAPABILITY_EXPRESS);
        let control = express.unwrap().2 + EXPRESS_DEVICE_CONTROL;
        let bits = DeviceControl::RESET.bits().to_le_bytes();
        self.config_write(control as u16, &bits);
    }
}

#[test]
fn a_virtual_function_is_reset_alone_and_stays() {
    let (mut benches, function) = physical(2);
    function.enable(2);
    for (number, bench) in (1..).zip(&mut benches[1..]) {
        function.numbered(number).start_virtual(bench);
    }

    function.numbered(2).reset_by_express();

    assert_eq!(function.numbered(1).status(), Status::from_bits_retain(0xf));
    assert_eq!(function.numbered(2).status(), Status::empty());
    assert_eq!(function.numbered(2).locate(BASE4 + SIZE4, 4), Some((4, 0)));
    function.numbered(2).start_virtual(&mut benches[2]);
}

#[test]
fn a_virtual_function_interrupts_by_messages_and_has_no_pin() {
    let (mut benches, function) = physical(1);
    function.enable(1);
    let one = function.numbered(1);
    one.start_virtual(&mut benches[1]);

    one.config_changed();
    let status = one.get(config::COMMAND) >> 16;
    let msix = one.capabilities()[0].2;
    one.set(msix, u32::from(msix::CONTROL_ENABLE) << 16);
    one.write4(common::CONFIG_MSIX_VECTOR, &[1, 0]);
    for (at, value) in [(16, 0xfee0_0000_u32), (24, 7), (28, 0)] {
        one.bar_write(1, at, &value.to_le_bytes());
    }
    one.config_changed();

    assert_eq!(status & 0x8, 0);
    assert!(!benches[1].wires.asserted());
    assert_eq!(benches[1].wires.messages(), [(0xfee0_0000, 7)]);
    assert_eq!(benches[0].wires.messages(), []);
}

#[test]
fn what_cannot_be_virtual_functions_of_one_is_refused() {
    let made = |functions, routing| {
        let (bench, parts) = Bench::new(Features::NONE, Offer::default());
        let (messages, line) = (bench.wires.clone(), bench.wires.clone());
        let made = Function::physical(parts, 3, messages, line, functions, routing);
        made.err()
    };
    let same = |count| virtuals(count, |_| DeviceId(62)).1;
    let routing = |offset, stride| Routing { offset, stride };

    let two = virtuals(2, |index| DeviceId(60 + index as u32)).1;
    let types = VirtualFunctionsError::Types(DeviceId(60), DeviceId(61));
    assert_eq!(made(two, Routing::default()), Some(types));
    for count in [0, 256] {
        let refused = VirtualFunctionsError::Count(count);
        assert_eq!(made(same(count), Routing::default()), Some(refused));
    }
    for (offset, stride) in [(0, 1), (1, 0), (u16::MAX, 1), (1, 0x8000)] {
        let routing = routing(offset, stride);
        let refused = VirtualFunctionsError::Routing(routing);
        assert_eq!(made(same(3), routing), Some(refused), "{routing:?}");
    }
    assert_eq!(made(same(1), routing(u16::MAX, 0)), None);
}

/// Ten thousand writes to the physical function's registers and to those of its virtual ones.
#[test]
fn whatever_is_written_the_registers_agree_with_what_is_there() {
    let (_benches, function) = physical(3);
    let mut random = Random::new(0x5107);

    for _ in 0..10_000 {
        let at = random.below(0x48) as usize;
        let len = 1 << random.below(3);
        let bytes: [u8; 4] = core::array::from_fn(|_| random.byte());
        let target = match random.below(4) {
            0 => function.virtual_function(1 + random.below(4) as u16),
            _ => Some((0, &function)),
        };
        if let Some((_, target)) = target {
            target.config_write((AT + at) as u16, &bytes[..len]);
            target.config_write(at as u16, &bytes[..len]);
        }

        let enabled = Control::from_bits_retain(function.get16(sriov::CONTROL));
        let expected = match enabled.contains(Control::VF_ENABLE) {
            true => function.get16(sriov::NUM_VFS),
            false => 0,
        };
        assert!(expected <= 3);
        assert_eq!(function.count(), expected.into());
        assert_eq!(function.get(AT), 0x0001_0010);
        assert_eq!(function.get16(sriov::TOTAL_VFS), 3);
        assert_eq!(function.get(AT + sriov::VF_BAR0), 0);
    }
}
