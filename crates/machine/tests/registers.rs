//! The machine by hand: registers, memory and interrupts, without a transport of the driver's
//! between.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Result};
use ringway_driver::error::PlatformError;
use ringway_driver::interrupt::Signal;
use ringway_driver::mmio::Slot;
use ringway_driver::pci::{Address, ConfigAccess};
use ringway_driver::platform::{ANYWHERE, Direction, Platform as _, Registers, Segments, Trust};
use ringway_machine::{Error, Machine, MmioDevice, Options, Place, Platform, Run, Step, Window};
use ringway_ring::driver::{Geometry, Queue, Segment};
use ringway_spec::mmio::{MAGIC, register};
use ringway_spec::pci::config::{BAR_64, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BAR0, Command};
use ringway_spec::{F, Status};

/// Every byte the same: not random, and so the same in every run.
struct Same(u8);

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> Result {
        into.fill(self.0);
        Ok(())
    }
}

fn entropy() -> Box<dyn Device> {
    Box::new(Entropy::new(Same(0xa5)))
}

fn window(platform: &Platform, slot: Slot) -> Window {
    platform.registers(slot.address, slot.len).unwrap()
}

fn slot_of(machine: &Machine, name: &str) -> Slot {
    match machine.device(name).unwrap().place() {
        Place::Mmio(slot) => slot,
        Place::Pci(address) => panic!("{name} is at {address:?}"),
    }
}

fn function_of(machine: &Machine, name: &str) -> Address {
    match machine.device(name).unwrap().place() {
        Place::Pci(address) => address,
        Place::Mmio(slot) => panic!("{name} is at {slot:?}"),
    }
}

/// The address of each BAR of a function, and whether it is wide.
fn bars(platform: &Platform, at: Address) -> Vec<(u64, bool)> {
    let bar = |index: u16| platform.read32(at, BAR0 as u16 + 4 * index);
    let mut bars = Vec::new();
    let mut index = 0;
    while index < 6 {
        let low = bar(index);
        let wide = low & BAR_WIDTH_MASK == BAR_64;
        let high = if wide { bar(index + 1) } else { 0 };
        if low & BAR_MEMORY_MASK != 0 || high != 0 {
            let address = u64::from(high) << 32 | u64::from(low & BAR_MEMORY_MASK);
            bars.push((address, wide));
        }
        index += 1 + u16::from(wide);
    }
    bars
}

#[test]
fn what_nobody_claims_reads_as_all_ones() {
    let machine = Machine::builder().build().unwrap();
    let platform = machine.platform();

    let unclaimed = platform.registers(0x4000_0000, 0x1000).unwrap();
    let function = Address::new(0, 9, 0);

    assert_eq!(unclaimed.read32(8), Ok(u32::MAX));
    assert_eq!(unclaimed.write32(8, 0), Ok(()));
    assert_eq!(platform.read32(function, 0), u32::MAX);
    let refused = platform.registers(0x1_0000_0000, 0x1000);
    assert_eq!(
        refused.err(),
        Some(PlatformError::NotMapped(0x1_0000_0000)),
        "RAM is no register window"
    );
}

#[test]
fn slots_without_a_device_are_of_type_0_and_every_slot_has_its_line() {
    let machine = Machine::builder()
        .mmio("rng", entropy(), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();

    let types: Vec<_> = machine
        .mmio_slots()
        .iter()
        .map(|slot| {
            let registers = window(&platform, *slot);
            assert_eq!(registers.read32(register::MAGIC_VALUE), Ok(MAGIC));
            registers.read32(register::DEVICE_ID).unwrap()
        })
        .collect();

    assert_eq!(types, [0, 4, 0, 0]);
    let mut lines: Vec<_> = machine.mmio_slots().iter().map(|slot| slot.line).collect();
    lines.dedup();
    assert_eq!(lines.len(), 4);
}

#[test]
fn firmware_gives_every_bar_an_address_of_its_own_some_above_4_gib() {
    let mut builder = Machine::builder();
    for name in ["a", "b", "c", "d"] {
        builder = builder.pci(name, entropy(), Options::default());
    }
    let machine = builder.build().unwrap();
    let platform = machine.platform();

    let mut found: Vec<_> = machine
        .devices()
        .iter()
        .flat_map(|device| bars(&platform, function_of(&machine, device.name())))
        .collect();

    found.sort_unstable();
    assert_eq!(found.len(), 8);
    assert!(
        found
            .array_windows()
            .all(|[(a, _), (b, _)]| b - a >= 0x1000)
    );
    let above = found.iter().filter(|(bar, _)| *bar >= 1 << 32).count();
    assert_eq!(above, 2);
}

#[test]
fn a_function_answers_only_while_it_decodes_memory() {
    let machine = Machine::builder()
        .pci("rng", entropy(), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();
    let at = function_of(&machine, "rng");
    let (bar, _) = bars(&platform, at)[0];
    let registers = platform.registers(bar, 0x1000).unwrap();
    let num_queues = ringway_spec::pci::common::NUM_QUEUES;

    let before = registers.read16(num_queues).unwrap();
    platform.write32(at, 4, Command::MEMORY.bits().into());
    let while_on = registers.read16(num_queues).unwrap();
    platform.write32(at, 4, 0);
    let after = registers.read16(num_queues).unwrap();

    assert_eq!([before, while_on, after], [u16::MAX, 1, u16::MAX]);
}

#[test]
fn an_access_that_leaves_its_window_or_is_misaligned_is_refused() {
    let machine = Machine::builder().build().unwrap();
    let registers = window(&machine.platform(), machine.mmio_slots()[0]);

    assert!(registers.read32(0xffe).is_err());
    assert!(registers.read16(0xfff).is_err());
    assert!(registers.write32(2, 0).is_err());
    assert!(registers.read8(0x1000).is_err());
    assert!(registers.slice(0xff0, 0x11).is_none());
    let slice = registers.slice(4, 4).unwrap();
    assert_eq!(slice.read32(0), Ok(2), "the version");
}

/// An entropy device in a slot, brought up by hand, with one queue.
struct ByHand {
    registers: Window,
    queue: Queue<()>,
    buffer: ringway_ring::driver::Memory,
}

impl ByHand {
    fn new(platform: &Platform, slot: Slot) -> Self {
        let registers = window(platform, slot);
        let write = |register, value: u32| registers.write32(register, value).unwrap();
        let features = F::VERSION_1 | F::EVENT_IDX | platform.required_features();
        let mut status = Status::empty();
        let mut add = |bits| {
            status |= bits;
            write(register::STATUS, status.bits().into());
        };
        add(Status::ACKNOWLEDGE);
        add(Status::DRIVER);
        for select in 0..4 {
            write(register::DRIVER_FEATURES_SEL, select);
            write(register::DRIVER_FEATURES, features.word(select));
        }
        add(Status::FEATURES_OK);
        let geometry = Geometry::new(16, 0).unwrap();
        let ring = platform
            .dma(geometry.bytes(), Geometry::ALIGN, ANYWHERE)
            .unwrap();
        let areas = geometry.areas(ring.address);
        write(register::QUEUE_SEL, 0);
        write(register::QUEUE_SIZE, 16);
        for (low, address) in [
            (register::QUEUE_DESC_LOW, areas.descriptor),
            (register::QUEUE_DRIVER_LOW, areas.driver),
            (register::QUEUE_DEVICE_LOW, areas.device),
        ] {
            write(low, address as u32);
            write(low + 4, (address >> 32) as u32);
        }
        write(register::QUEUE_READY, 1);
        let queue = Queue::new(&ring, geometry, features, 0).unwrap();
        add(Status::DRIVER_OK);
        Self {
            queue,
            buffer: platform.dma(64, 64, ANYWHERE).unwrap(),
            registers,
        }
    }

    fn submit(&mut self) {
        self.submit_to(Segment {
            address: self.buffer.address,
            len: 64,
        });
    }

    fn submit_to(&mut self, writable: Segment) {
        self.queue.submit(&[], &[writable], ()).unwrap();
    }

    fn kick(&mut self) {
        if self.queue.kick_needed() {
            self.registers.write32(register::QUEUE_NOTIFY, 0).unwrap();
        }
    }

    /// Whether something was completed before `platform`'s clock moved by `limit`.
    fn completes(&mut self, platform: &Platform, limit: Duration) -> bool {
        let deadline = platform.now() + limit;
        while platform.now() < deadline {
            if self.queue.poll().unwrap().is_some() {
                return true;
            }
            platform.relax();
        }
        false
    }
}

#[test]
fn a_queue_is_served_by_hand() {
    for run in [
        Run::Threaded,
        Run::Inline { seed: 1 },
        Run::Inline { seed: 2 },
    ] {
        let machine = Machine::builder()
            .run(run)
            .mmio("rng", entropy(), Options::default())
            .build()
            .unwrap();
        let platform = machine.platform();
        let mut rng = ByHand::new(&platform, slot_of(&machine, "rng"));

        rng.submit();
        rng.kick();

        assert!(rng.completes(&platform, Duration::from_secs(10)), "{run:?}");
        let mut bytes = [0; 64];
        rng.buffer.shared.view().read(0, &mut bytes).unwrap();
        assert_eq!(bytes, [0xa5; 64], "{run:?}");
        assert!(machine.devices()[0].kicks() <= 1, "{run:?}");
    }
}

#[test]
fn a_kick_that_is_lost_is_a_time_out_soon() {
    let machine = Machine::builder()
        .run(Run::Inline { seed: 3 })
        .mmio("rng", entropy(), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();
    let mut rng = ByHand::new(&platform, slot_of(&machine, "rng"));
    // The queue is served once when it starts.
    while platform.step() != Some(Step::Idle) {}

    rng.submit();
    let completed = rng.completes(&platform, Duration::from_secs(60));

    assert!(!completed);
    assert!(machine.history().unwrap().steps < 100_000);
    assert!(platform.now() >= Duration::from_secs(60));
}

#[test]
fn waiting_for_a_signal_that_never_comes_ends() {
    for run in [Run::Threaded, Run::Inline { seed: 4 }] {
        let machine = Machine::builder().run(run).build().unwrap();
        let platform = machine.platform();
        let signal = Signal::default();
        let began = platform.now();

        platform.wait(&signal, signal.count());

        assert!(platform.now() > began, "{run:?}");
    }
}

#[test]
fn a_buffer_is_reachable_while_it_is_mapped_and_only_if_it_is_in_ram() {
    for trust in [Trust::Trusted, Trust::Revoked] {
        let machine = Machine::builder().trust(trust).build().unwrap();
        let platform = machine.platform();
        let memory = platform.dma(10_000, 1, ANYWHERE).unwrap();
        let part = memory.shared.slice(5000, 5000).unwrap();
        let mut room = [Segment::default(); 2];
        let mut map = |at, len| {
            let mut segments = Segments::new(&mut room, 4096);
            platform
                .map(at, len, Direction::ToDevice, &mut segments)
                .map(|()| segments.len())
        };

        let elsewhere = core::ptr::NonNull::from(&mut [0_u8; 64]).cast();
        let outside = map(elsewhere, 64);
        let too_long = map(memory.shared.base(), 10_000);
        let mapped = map(part.base(), part.len());

        assert_eq!(outside, Err(PlatformError::NotReachable));
        assert_eq!(too_long, Err(PlatformError::TooManySegments));
        assert_eq!(mapped, Ok(2));
        let [first, second] = room;
        assert_eq!(second.address, first.address + 4096);
        assert_eq!(first.len + second.len, 5000);
        if trust == Trust::Trusted {
            assert_eq!(first.address, memory.address + 5000);
        } else {
            assert_ne!(first.address, memory.address + 5000);
            assert_eq!(platform.required_features(), F::ACCESS_PLATFORM);
            assert_eq!(platform.mapped(), 1);
        }
        platform.unmap(part.base(), part.len(), Direction::ToDevice, first.address);
        assert_eq!(platform.mapped(), 0);
    }
}

#[test]
fn a_device_that_is_given_an_address_that_was_revoked_is_not_served_by_it() {
    for seed in 0..4 {
        let machine = Machine::builder()
            .run(Run::Inline { seed })
            .trust(Trust::Revoked)
            .mmio("rng", entropy(), Options::default())
            .build()
            .unwrap();
        let platform = machine.platform();
        let mut rng = ByHand::new(&platform, slot_of(&machine, "rng"));
        let mut room = [Segment::default()];
        let buffer = rng.buffer.shared.clone();
        platform
            .map(
                buffer.base(),
                64,
                Direction::FromDevice,
                &mut Segments::new(&mut room, 64),
            )
            .unwrap();

        platform.unmap(buffer.base(), 64, Direction::FromDevice, room[0].address);
        rng.submit_to(room[0]);
        rng.kick();

        assert!(
            !rng.completes(&platform, Duration::from_secs(1)),
            "seed {seed}"
        );
        let status = rng.registers.read32(register::STATUS).unwrap();
        let status = Status::from_bits_truncate(status as u8);
        assert!(status.contains(Status::NEEDS_RESET), "seed {seed}");
    }
}

/// A device that keeps the status it was given: it never confirms a reset.
struct Stubborn<D>(D);

impl<D: MmioDevice> MmioDevice for Stubborn<D> {
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        if offset != register::STATUS as u64 || from.iter().any(|byte| *byte != 0) {
            self.0.write(offset, from);
        }
    }
}

#[test]
fn a_device_that_breaks_the_rules_can_be_put_in_any_slot() {
    let machine = Machine::builder()
        .run(Run::Inline { seed: 6 })
        .mmio_device("stubborn", |ports| {
            Arc::new(Stubborn(ports.window(entropy(), &Options::default())))
        })
        .build()
        .unwrap();
    let platform = machine.platform();
    let registers = window(&platform, slot_of(&machine, "stubborn"));

    registers.write32(register::STATUS, 1).unwrap();
    registers.write32(register::STATUS, 0).unwrap();

    assert_eq!(registers.read32(register::STATUS), Ok(1));
}

#[test]
fn a_machine_that_is_dropped_leaves_its_memory_and_nothing_else() {
    for run in [Run::Threaded, Run::Inline { seed: 7 }] {
        let machine = Machine::builder()
            .run(run)
            .mmio("rng", entropy(), Options::default())
            .build()
            .unwrap();
        let platform = machine.platform();
        let mut rng = ByHand::new(&platform, slot_of(&machine, "rng"));
        rng.submit();

        drop(machine);
        rng.kick();

        assert_eq!(rng.registers.read32(register::MAGIC_VALUE), Ok(u32::MAX));
        rng.buffer.shared.view().write(0, b"still there").unwrap();
        let used = platform.ram_used();
        drop(rng);
        assert!(platform.ram_used() < used, "{run:?}");
    }
}

#[test]
fn a_machine_that_cannot_be_is_refused() {
    let named = |name| {
        Machine::builder()
            .mmio("a", entropy(), Options::default())
            .pci(name, entropy(), Options::default())
    };
    let mut crowded = Machine::builder();
    for number in 0..32 {
        crowded = crowded.pci(&number.to_string(), entropy(), Options::default());
    }

    assert_eq!(named("a").build().err(), Some(Error::SameName("a".into())));
    assert_eq!(named("b").ram(0).build().err(), Some(Error::Ram(0)));
    let limit = Error::TooManyDevices { limit: 31 };
    assert_eq!(crowded.build().err(), Some(limit));
    let limit = Error::TooManyDevices { limit: 64 };
    assert_eq!(named("b").slots(65).build().err(), Some(limit));
}
