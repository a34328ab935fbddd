//! Memory that a device shares with its driver: regions behind a BAR of its own.

use super::*;
use crate::model::SharedRegion;
use crate::pci::layout::{Layout, Numbers};
use crate::pci::sriov::Kind;
use ringway_ring::shared::Shared;
use ringway_spec::pci::Capability64;

/// A device with regions of these ids and sizes.
fn sharing(
    interface: Interface,
    regions: &[(u8, usize)],
) -> (Bench, Vec<Shared>, Result<Function, Unfit>) {
    let (mut device, log) = Plain::new(Features::NONE);
    device.id = DeviceId::ENTROPY;
    let memory = |&(id, len): &(u8, usize)| SharedRegion {
        id,
        memory: Shared::allocate(len, 4096).unwrap(),
    };
    device.regions = regions.iter().map(memory).collect();
    let memory = device.regions.iter().map(|it| it.memory.clone()).collect();
    let (bench, mut parts) = Bench::around(device, log, Offer::default());
    parts.interface = interface;
    let function = present(&bench, parts, 3);
    (bench, memory, function)
}

impl Function {
    fn shared_regions(&self) -> Vec<Capability64> {
        let all = self.capabilities();
        let of_type = all
            .iter()
            .filter(|it| it.1 == CapabilityType::SHARED_MEMORY_CFG.0);
        of_type.map(|it| self.structure(it.2)).collect()
    }
}

/// §4.1.4.7
///
/// Clauses: dev:pci/pci-device-layout/shared-memory-capability:1
#[test]
fn shared_memory_is_found_by_its_capabilities_in_a_bar_of_its_own() {
    for (interface, index) in [(Interface::Modern, 4), (Interface::Transitional, 2)] {
        let (_bench, memory, function) = sharing(interface, &[(5, 0x1800), (6, 0x1000)]);
        let function = function.unwrap();

        let found = function.shared_regions();

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
fn a_legacy_function_has_no_shared_memory() {
    let function = sharing(Interface::Legacy, &[(0, 0x1000)]).2.unwrap();

    assert!(function.bars().iter().all(|bar| bar.index < 2));
    assert!(function.shared_regions().is_empty());
}

/// A driver that looks for a region would find either.
///
/// Clauses: dev:pci/pci-device-layout/shared-memory-capability:2
#[test]
fn two_regions_of_one_id_are_refused() {
    let (_, _, twice) = sharing(Interface::Modern, &[(5, 0x1000), (6, 0x1000), (5, 0x2000)]);
    let (_, _, all) = sharing(
        Interface::Modern,
        &[(5, 0x1000), (255, 0x1000), (0, 0x2000)],
    );

    assert_eq!(twice.err(), Some(Unfit::SameRegion(5)));
    let ids: Vec<_> = all
        .unwrap()
        .shared_regions()
        .iter()
        .map(|it| it.cap.id)
        .collect();
    assert_eq!(ids, [5, 255, 0]);
}

#[test]
fn regions_that_cannot_all_be_told_of_are_refused() {
    let regions: Vec<_> = (0..4).map(|id| (id, 0x1000)).collect();

    let (_, _, refused) = sharing(Interface::Modern, &regions);

    let why = Unfit::NoRoom {
        bytes: 24,
        left: 12,
    };
    assert_eq!(refused.err(), Some(why));
}

/// The largest that there is has 2⁶³ bytes.
///
/// Clauses: dev:pci/pci-device-layout/shared-memory-capability:1
#[test]
fn regions_that_no_bar_can_hold_are_refused() {
    let largest = 1 << 63;
    let layout = |regions: &[(u8, u64)]| {
        let numbers = Numbers::of(Interface::Modern, Kind::Alone);
        Layout::new(Interface::Modern, &numbers, 2, 3, 0, regions)
    };
    let refused = |regions: &[(u8, u64)]| layout(regions).err();

    let fits = layout(&[(0, largest)]).unwrap();
    let halves = layout(&[(0, largest / 2), (1, largest / 2)]).unwrap();

    let sizes = |layout: &Layout| -> Vec<_> { layout.bars.iter().map(|bar| bar.size).collect() };
    assert_eq!(sizes(&fits), [0x4000, 0x2000, largest]);
    assert_eq!(sizes(&halves), sizes(&fits));
    let too_large = |id, length| Some(Unfit::RegionTooLarge { id, length });
    assert_eq!(refused(&[(7, largest + 1)]), too_large(7, largest + 1));
    assert_eq!(refused(&[(7, u64::MAX)]), too_large(7, u64::MAX));
    assert_eq!(refused(&[(7, 1), (8, largest)]), too_large(8, largest));
    assert_eq!(refused(&[(7, largest), (8, 1)]), too_large(8, 1));
}

/// §2.10.2: it is for neither control nor streams of data, so that whatever is written to it moves
/// nothing.
///
/// Clauses: dev:basic/shared-memory-regions:1
#[test]
fn what_is_written_to_shared_memory_moves_nothing() {
    let (mut bench, _memory, function) = sharing(Interface::Modern, &[(5, 0x1000)]);
    let function = function.unwrap();
    function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
    let mut ring = function.start(&mut bench, 0, NO_VECTOR);
    let answer = bench.ram.holding(&[0; 4]);
    ring.queue.arm();
    ring.queue.submit(&[], &[answer], ()).unwrap();
    ring.queue.kick_needed();
    let registers = |function: &Function| -> Vec<u32> {
        let words = (0..56).step_by(4).map(|at| function.common(at, 4));
        let halves = (16..32).step_by(2).map(|at| function.common(at, 2));
        words
            .chain(halves)
            .chain([function.common(20, 1)])
            .collect()
    };
    let before = registers(&function);

    for word in (0..0x1000).step_by(4) {
        for value in [0_u32, 1, u32::MAX] {
            function.bar_write(4, word, &value.to_le_bytes());
        }
    }

    assert_eq!(registers(&function), before);
    assert_eq!(bench.steps.kicks(), []);
    assert!(ring.queue.poll().unwrap().is_none());
    assert!(!bench.wires.asserted());
    assert_eq!(*bench.log.config.lock(), [0; 8]);
}
