//! Strangers at the registers of a device, several at once: through both interfaces of a function,
//! or through a window of either version, while their queues are served on threads. Whatever they
//! do, a reset puts the device back to its first day.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;
use std::thread;

use ringway_device::blk::{Blk as Model, RamDisk};
use ringway_device::{Device, Interface, Offer};
use ringway_driver::blk::Blk;
use ringway_driver::bus::attach;
use ringway_driver::pci::{self, Address, ConfigAccess};
use ringway_driver::platform::{ANYWHERE, Platform as _, Registers};
use ringway_machine::{Attached, Machine, Options, Place, Platform, Window};
use ringway_ring::driver::Memory;
use ringway_spec::mmio::{legacy_register, register};
use ringway_spec::pci::config::{BAR0, COMMAND, Command};
use ringway_spec::pci::{common, legacy};
use ringway_spec::{F, Status};

const LIMIT: Duration = Duration::from_secs(30);
const STRANGERS: u64 = 3;
const STEPS: usize = 3000;

fn disk() -> Box<dyn Device> {
    Box::new(Model::new(Arc::new(RamDisk::new(64)), 2))
}

fn options(interface: Interface) -> Options {
    Options {
        offer: Offer::default().with(F::SUSPEND | F::RING_PACKED),
        interface,
        ..Options::default()
    }
}

/// Numbers that look random, the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        // Knuth's MMIX generator, whose high bits are its best.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % limit
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u32) as usize]
    }
}

/// A register and its width.
type At = (usize, u8);

const HEADER: &[At] = &[
    (legacy::DRIVER_FEATURES, 4),
    (legacy::QUEUE_ADDRESS, 4),
    (legacy::QUEUE_SELECT, 2),
    (legacy::QUEUE_NOTIFY, 2),
    (legacy::DEVICE_STATUS, 1),
    (legacy::ISR_STATUS, 1),
    (20, 1),
    (52, 1),
];

const COMMON: &[At] = &[
    (common::DRIVER_FEATURE_SELECT, 4),
    (common::DRIVER_FEATURE, 4),
    (common::DEVICE_STATUS, 1),
    (common::DEVICE_STATUS, 1),
    (common::QUEUE_SELECT, 2),
    (common::QUEUE_SIZE, 2),
    (common::QUEUE_ENABLE, 2),
    (common::QUEUE_RESET, 2),
    (common::QUEUE_DESC, 4),
    (common::QUEUE_DRIVER, 4),
    (common::QUEUE_DEVICE, 4),
    (0x3000, 2),
    (0x3004, 4),
];

const SLOT: &[At] = &[
    (register::DRIVER_FEATURES_SEL, 4),
    (register::DRIVER_FEATURES, 4),
    (register::STATUS, 4),
    (register::STATUS, 4),
    (register::QUEUE_SEL, 4),
    (register::QUEUE_SIZE, 4),
    (register::QUEUE_READY, 4),
    (register::QUEUE_RESET, 4),
    (register::QUEUE_NOTIFY, 4),
    (register::QUEUE_DESC_LOW, 4),
    (register::QUEUE_DRIVER_LOW, 4),
    (register::QUEUE_DEVICE_LOW, 4),
    (legacy_register::GUEST_PAGE_SIZE, 4),
    (legacy_register::QUEUE_ALIGN, 4),
    (legacy_register::QUEUE_PFN, 4),
    (register::INTERRUPT_ACK, 4),
];

/// Reads and writes as it likes, most often what means something.
fn disturb(seed: u64, windows: &[(Window, &[At])], memory: &Memory) {
    let mut random = Random(seed);
    for _ in 0..STEPS {
        let which = random.below(windows.len() as u32) as usize;
        let (window, registers) = &windows[which];
        let (at, width) = random.one_of(registers);
        let address = memory.address as u32 + random.below(4) * 0x1000;
        let pages = (memory.address >> 12) as u32 + random.below(2);
        let numbers = [0, 0, 1, 2, 3, 7, 11, 15, 31, 4096, 0xffff];
        let value = match random.below(8) {
            0 => address,
            1 | 2 => pages,
            3 => 1 << random.below(32),
            _ => random.one_of(&numbers),
        };
        let done = match (random.below(5), width) {
            (0, 1) => window.read8(at).map(drop),
            (0, 2) => window.read16(at).map(drop),
            (0, _) => window.read32(at).map(drop),
            (_, 1) => window.write8(at, value as u8),
            (_, 2) => window.write16(at, value as u16),
            _ => window.write32(at, value),
        };
        assert_eq!(done, Ok(()));
        if random.below(16) == 0 {
            let at = random.below(0x2ff0) as usize;
            memory
                .shared
                .view()
                .write(at, &value.to_le_bytes())
                .unwrap();
        }
    }
}

fn all_at_once(platform: &Platform, windows: &[(Window, &[At])]) {
    let memory = platform.dma(0x4000, 4096, ANYWHERE).unwrap();
    thread::scope(|scope| {
        for seed in 0..STRANGERS {
            let memory = &memory;
            scope.spawn(move || disturb(seed, windows, memory));
        }
    });
}

fn bar(platform: &Platform, at: Address, index: u16) -> u32 {
    platform.read32(at, BAR0 as u16 + 4 * index)
}

#[test]
fn strangers_at_both_interfaces_of_a_function_leave_it_working_after_a_reset() {
    let machine = Machine::builder()
        .pci("disk", disk(), options(Interface::Transitional))
        .build()
        .unwrap();
    let platform = machine.platform();
    let Some(Place::Pci(at)) = machine.device("disk").map(Attached::place) else {
        panic!("it is on PCI");
    };
    let command = Command::IO | Command::MEMORY | Command::BUS_MASTER;
    platform.write32(at, COMMAND as u16, command.bits().into());
    let ports = platform.ports(bar(&platform, at, 0) & !3, 0x100).unwrap();
    let high = u64::from(bar(&platform, at, 5)) << 32;
    let base = high | u64::from(bar(&platform, at, 4) & !0xf);
    let memory = platform.registers(base, 0x4000).unwrap();

    all_at_once(&platform, &[(ports, HEADER), (memory, COMMON)]);

    let transport = pci::devices(&platform).next().unwrap().unwrap();
    let mut disk: Blk<_, Box<[u8]>> = attach(transport).unwrap();
    disk.read(3, vec![1; 512].into()).unwrap();
    let read = disk.wait(LIMIT).unwrap();
    assert_eq!(*read.buffer.unwrap(), [0; 512]);
}

#[test]
fn strangers_at_a_window_of_either_version_leave_it_answering_after_a_reset() {
    for interface in [Interface::Modern, Interface::Legacy] {
        let machine = Machine::builder()
            .mmio("disk", disk(), options(interface))
            .build()
            .unwrap();
        let platform = machine.platform();
        let Some(Place::Mmio(slot)) = machine.device("disk").map(Attached::place) else {
            panic!("it is in a slot");
        };
        let window = platform.registers(slot.address, slot.len).unwrap();

        all_at_once(&platform, &[(window.clone(), SLOT)]);

        let status = |value: Status| {
            let written = window.write32(register::STATUS, value.bits().into());
            written.and_then(|()| window.read32(register::STATUS))
        };
        assert_eq!(status(Status::empty()), Ok(0));
        assert_eq!(status(Status::ACKNOWLEDGE | Status::DRIVER), Ok(3));
        window.write32(register::QUEUE_SEL, 1).unwrap();
        assert_eq!(window.read32(register::QUEUE_SIZE_MAX), Ok(256));
        assert_eq!(window.read32(register::INTERRUPT_STATUS), Ok(0));
    }
}
