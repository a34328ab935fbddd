//! What a function may have beside: shared memory, a vendor's data, names for queues in kicks.

use super::*;
use crate::model::SharedRegion;
use crate::parts::Interface;
use ringway_ring::shared::Shared;
use ringway_spec::pci::Capability64;

fn sharing(interface: Interface, sizes: &[usize]) -> (Vec<Shared>, Function) {
    let (mut device, log) = Plain::new(Features::NONE);
    let memory = sizes
        .iter()
        .map(|&len| Shared::allocate(len, 4096).unwrap());
    let memory: Vec<_> = memory.collect();
    let region = |(id, memory): (u8, &Shared)| SharedRegion {
        id,
        memory: memory.clone(),
    };
    device.regions = (5..).zip(&memory).map(region).collect();
    let (bench, mut parts) = Bench::around(device, log, Offer::default());
    parts.interface = interface;
    let function = Function::new(parts, 3, bench.wires.clone(), bench.wires.clone());
    (memory, function)
}

/// §4.1.4.7
#[test]
fn shared_memory_is_found_by_its_capabilities_in_a_bar_of_its_own() {
    for (interface, index) in [(Interface::Modern, 4), (Interface::Transitional, 2)] {
        let (memory, function) = sharing(interface, &[0x1800, 0x1000]);

        let of_type = |found: &&(u8, u8, usize)| found.1 == CapabilityType::SHARED_MEMORY_CFG.0;
        let all = function.capabilities();
        let places = all.iter().filter(of_type).map(|found| found.2);
        let found: Vec<_> = places
            .map(|at| function.structure::<Capability64>(at))
            .collect();

        let told: Vec<_> = found
            .iter()
            .map(|c| (c.cap.id, c.cap.bar, c.cap.offset.get(), c.cap.length.get()))
            .collect();
        assert_eq!(told, [(5, index, 0, 0x1800), (6, index, 0x2000, 0x1000)]);
        let bar = function
            .bars()
            .iter()
            .find(|bar| bar.index == index)
            .unwrap();
        assert_eq!((bar.size, bar.kind), (0x4000, BarKind::Prefetchable));
        function.bar_write(index, 0x2ffc, &[1, 2, 3, 4]);
        function.bar_write(index, 0x2ffe, &[9; 4]);
        function.bar_write(index, 0x1800, &[9; 4]);
        let mut bytes = [0; 4];
        memory[1].view().read(0xffc, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 2, 3, 4]);
        memory[0].view().write(0x17ff, &[8]).unwrap();
        let mut byte = [0];
        function.bar_read(index, 0x17ff, &mut byte);
        function.bar_read(index, 0x1fff, &mut bytes);
        assert_eq!((byte, bytes), ([8], [0; 4]));
    }
}

#[test]
fn a_legacy_function_has_no_shared_memory_and_none_has_more_than_there_is_room_for() {
    let legacy = sharing(Interface::Legacy, &[0x1000]).1;
    let many = sharing(Interface::Modern, &[0x1000; 9]).1;

    assert!(legacy.bars().iter().all(|bar| bar.index < 2));
    let listed = many.capabilities();
    let shared = CapabilityType::SHARED_MEMORY_CFG.0;
    assert_eq!(listed.iter().filter(|found| found.1 == shared).count(), 3);
}

/// §4.1.4.8
#[test]
fn a_vendor_s_data_is_in_a_capability_of_its_own_if_there_is_room() {
    let (_bench, function) = function(3);
    let function = function.with_vendor_data(0x1b36, &[1, 2, 3]);
    let before = function.capabilities();

    let function = function.with_vendor_data(0x1b36, &[7; 100]);

    let at = function.capability(CapabilityType::VENDOR_CFG);
    let bytes: [u8; 12] = function.structure(at);
    assert_eq!(bytes, [9, 0, 12, 9, 0x36, 0x1b, 1, 2, 3, 0, 0, 0]);
    assert_eq!(function.capabilities(), before);
}

/// §4.1.4.8: whoever lists capabilities reads it, whether it knows the vendor or not.
///
/// Clauses: txt:pci/pci-device-layout/vendor-data-capability:1
#[test]
fn reading_a_vendor_s_data_has_no_effect() {
    let (mut bench, function) = placed(0);
    let function = function.with_vendor_data(0x1b36, &[1, 2, 3]);
    let at = function.capability(CapabilityType::VENDOR_CFG);
    function.start(&mut bench, 0, NO_VECTOR);
    function.config_changed();
    let seen = |function: &Function| {
        let space = (0..config::SIZE).step_by(4).map(|at| function.get(at));
        let space: Vec<_> = space.collect();
        let registers: Vec<_> = (0..64).map(|at| function.common(at, 1)).collect();
        (
            space,
            registers,
            bench.wires.asserted(),
            bench.wires.changes(),
        )
    };
    let before = seen(&function);

    let reads = [(); 3].map(|()| function.structure::<[u8; 12]>(at));

    assert_eq!(reads, [reads[0]; 3]);
    assert_eq!(seen(&function), before);
    let mut isr = [0];
    function.bar_read(0, ISR_OFFSET.into(), &mut isr);
    assert_eq!(isr, [2]);
}

/// §4.1.5.2.1: kicks name a queue as the device said, and its index is no such name.
#[test]
fn queues_are_named_in_kicks_as_the_device_says_if_that_was_agreed_on() {
    for data in [Features::NONE, F::NOTIFICATION_DATA] {
        let offer = Offer::default().with(F::NOTIF_CONFIG_DATA);
        let (mut bench, parts) = Bench::new(Features::NONE, offer);
        let function = Function::new(parts, 3, bench.wires.clone(), bench.wires.clone());
        function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
        let agreed = F::NOTIF_CONFIG_DATA | data;
        let _ring = function.start_with(&mut bench, 1, NO_VECTOR, agreed);
        let name = function.common(common::QUEUE_NOTIF_CONFIG_DATA, 2);
        let at = u64::from(NOTIFY_OFFSET + NOTIFY_MULTIPLIER);
        let width = if data.is_empty() { 2 } else { 4 };
        let kick = |value: u32| function.bar_write(0, at, &value.to_le_bytes()[..width]);

        kick(1);
        let by_index = bench.steps.kicks();
        kick(name);
        let by_name = bench.steps.kicks();

        assert_ne!(name, 1);
        assert_eq!((by_index, by_name), (vec![], vec![1]));
    }
}
