//! Where devices are on a machine: behind bridges, in ports, in places that are empty now; and what
//! firmware did of it.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::blk::{Blk as BlkDevice, RamDisk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Interface, Result, SharedRegion, Worker};
use ringway_driver::entropy::Rng;
use ringway_driver::pci::{self, Address, Apertures, ConfigAccess};
use ringway_driver::platform::{Platform as _, Registers};
use ringway_driver::transport::Transport as _;
use ringway_driver::{bus, mmio};
use ringway_machine::{Change, Error, Firmware, Machine, Options, Place, Platform, Run};
use ringway_ring::shared::Shared;
use ringway_spec::mmio::register;
use ringway_spec::pci::config::{BAR_IO, BAR0, COMMAND, Command};
use ringway_spec::pci::{bridge, legacy};
use ringway_spec::{DeviceId, F, Features, Status};

const INLINE: Run = Run::Inline { seed: 11 };
const LIMIT: Duration = Duration::from_secs(1);

struct Same(u8);

impl Source for Same {
    fn fill(&mut self, into: &mut [u8]) -> Result {
        into.fill(self.0);
        Ok(())
    }
}

fn entropy(byte: u8) -> Box<dyn Device> {
    Box::new(Entropy::new(Same(byte)))
}

fn disk() -> Box<dyn Device> {
    Box::new(BlkDevice::new(Arc::new(RamDisk::new(64)), 1))
}

fn with(interface: Interface) -> Options {
    Options {
        interface,
        ..Options::default()
    }
}

fn is_at(machine: &Machine, name: &str) -> Address {
    match machine.device(name).unwrap().place() {
        Place::Pci(address) => address,
        Place::Mmio(slot) => panic!("{name} is at {slot:?}"),
    }
}

fn bar(platform: &Platform, at: Address, index: u16) -> u32 {
    platform.read32(at, BAR0 as u16 + 4 * index)
}

/// What is drawn from every source of entropy on PCI, in the order of their places.
fn drawn(machine: &Machine) -> Vec<u8> {
    let platform = machine.platform();
    let draw = |transport| {
        let mut rng: Rng<_> = bus::attach(transport).unwrap();
        rng.request(vec![0; 1].into()).unwrap();
        rng.wait(LIMIT).unwrap().buffer[0]
    };
    let devices = pci::devices(&platform).map(|found| found.unwrap());
    devices.map(draw).collect()
}

#[test]
fn devices_behind_bridges_are_found_and_driven() {
    for run in [INLINE, Run::Threaded] {
        let machine = Machine::builder().run(run);
        let machine = machine
            .pci("near", entropy(1), Options::default())
            .bridge()
            .pci("behind", entropy(2), Options::default())
            .pci("beside", entropy(3), Options::default())
            .bridge()
            .bridge()
            .pci("far", entropy(4), Options::default())
            .build()
            .unwrap();

        let found: Vec<_> = pci::scan(&machine.platform())
            .map(|function| (function.address, function.class >> 8 == 0x0604))
            .collect();

        let at = |bus, device| Address::new(bus, device, 0);
        let functions = [
            (at(0, 0), true),
            (at(0, 1), false),
            (at(1, 0), true),
            (at(1, 1), false),
            (at(1, 2), false),
            (at(2, 0), true),
            (at(3, 1), false),
        ];
        assert_eq!(found, functions);
        assert_eq!(is_at(&machine, "far"), at(3, 1));
        assert_eq!(drawn(&machine), [1, 2, 3, 4]);
    }
}

#[test]
fn a_bridge_that_is_closed_hides_the_registers_behind_it_and_nothing_else() {
    let machine = Machine::builder()
        .run(INLINE)
        .pci("near", entropy(1), Options::default())
        .bridge()
        .pci("behind", entropy(2), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();
    let bridge = Address::new(0, 0, 0);
    let read = |name| {
        let at = is_at(&machine, name);
        platform.write32(at, COMMAND as u16, Command::MEMORY.bits().into());
        let address = u64::from(bar(&platform, at, 0) & !0xf);
        let registers = platform.registers(address, 0x1000).unwrap();
        registers.read16(18).unwrap()
    };

    let open = ["near", "behind"].map(read);
    platform.write32(bridge, COMMAND as u16, Command::IO.bits().into());
    let closed = ["near", "behind"].map(read);
    platform.write32(bridge, bridge::PRIMARY_BUS as u16, 0);
    let vendor = platform.read32(Address::new(1, 1, 0), 0);

    assert_eq!(open, [1, 1]);
    assert_eq!(closed, [1, u16::MAX]);
    assert_eq!(vendor, u32::MAX);
}

/// By hand: the registers of before version 1, in ports.
#[test]
fn a_legacy_function_is_reached_by_ports_behind_bridges_too() {
    for bridges in 0..3 {
        let mut builder = Machine::builder().run(INLINE);
        for _ in 0..bridges {
            builder = builder.bridge();
        }
        let machine = builder
            .pci("disk", disk(), with(Interface::Legacy))
            .build()
            .unwrap();
        let platform = machine.platform();
        let at = is_at(&machine, "disk");
        let base = bar(&platform, at, 0);
        let ports = platform.ports(base & !3, 0x100).unwrap();

        let off = ports.read32(legacy::DEVICE_FEATURES).unwrap();
        platform.write32(at, COMMAND as u16, Command::IO.bits().into());
        let features = Features::NONE.with_word(0, ports.read32(0).unwrap());
        ports.write8(legacy::DEVICE_STATUS, 1).unwrap();

        assert_eq!((base & 3, off), (BAR_IO, u32::MAX));
        assert!(features.contains(F::ANY_LAYOUT | F::INDIRECT_DESC));
        assert_eq!(ports.read16(legacy::QUEUE_SIZE), Ok(256));
        let status = Status::ACKNOWLEDGE.bits();
        assert_eq!(ports.read8(legacy::DEVICE_STATUS), Ok(status));
        assert_eq!(ports.read32(20), Ok(64));
        assert!(platform.registers(u64::from(base & !3), 4).is_err());
    }
}

#[test]
fn firmware_that_leaves_bars_alone_numbers_buses_and_opens_bridges() {
    let machine = Machine::builder()
        .firmware(Firmware::LeavesBars)
        .pci("near", disk(), with(Interface::Transitional))
        .bridge()
        .pci("behind", disk(), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();

    let bars = ["near", "behind"].map(|name| {
        let at = is_at(&machine, name);
        [0, 1, 2, 3, 4, 5].map(|index| bar(&platform, at, index))
    });
    let window = platform.read32(Address::new(0, 0, 0), bridge::MEMORY_BASE as u16);

    assert_eq!(bars, [[1, 0, 0, 0, 4, 0], [4, 0, 0, 0, 0, 0]]);
    let [base, limit] = [window & 0xffff, window >> 16];
    assert_eq!((limit - base + 0x10) << 16, 16 << 20);
    // Whoever places it there finds it.
    let at = is_at(&machine, "behind");
    platform.write32(at, BAR0 as u16, base << 16);
    platform.write32(at, COMMAND as u16, Command::MEMORY.bits().into());
    let registers = platform.registers(u64::from(base) << 16, 0x1000).unwrap();
    assert_eq!(registers.read16(18), Ok(1));
}

/// What firmware has left, the driver's side does.
#[test]
fn devices_that_firmware_left_alone_are_placed_numbered_and_driven() {
    for firmware in [Firmware::LeavesBars, Firmware::Absent] {
        let machine = Machine::builder()
            .run(INLINE)
            .firmware(firmware)
            .pci("both", entropy(1), with(Interface::Transitional))
            .bridge()
            .pci("modern", entropy(2), Options::default())
            .bridge()
            .pci("legacy", entropy(3), with(Interface::Legacy))
            .build()
            .unwrap();
        let apertures = Apertures {
            memory: 0x4000_0000..0x8000_0000,
            high: 0x80_0000_0000..0x100_0000_0000,
            ports: 0x1000..0x1_0000,
        };

        let placed = pci::place(&machine.platform(), &apertures);

        assert_eq!(placed.without_room, 0, "{firmware:?}");
        assert_eq!(drawn(&machine), [1, 2, 3], "{firmware:?}");
    }
}

/// §4.1.4.9: where nobody gives its BARs addresses, a function still answers in configuration space.
#[test]
fn devices_that_nobody_placed_are_driven_through_their_windows() {
    let machine = Machine::builder()
        .run(INLINE)
        .firmware(Firmware::LeavesBars)
        .pci("modern", entropy(1), Options::default())
        .pci("both", entropy(2), with(Interface::Transitional))
        .build()
        .unwrap();
    let platform = machine.platform();

    let names: Vec<_> = pci::devices(&platform)
        .map(|device| device.unwrap().name())
        .collect();
    let drawn = drawn(&machine);

    assert_eq!(names, ["pci-window"; 2]);
    assert_eq!(drawn, [1, 2]);
}

/// §4.1.4.8: who knows the vendor finds the data, and nobody takes another's for it.
#[test]
fn a_vendor_s_data_is_found_by_whoever_names_the_vendor() {
    let machine = Machine::builder()
        .pci_function("rng", |ports| {
            let function = ports.function(entropy(1), &Options::default()).unwrap();
            let function = function.with_vendor_data(0x1b36, &[1, 2, 3]).unwrap();
            Arc::new(function.with_vendor_data(0x1234, &[9]).unwrap())
        })
        .build()
        .unwrap();
    let platform = machine.platform();
    let function = pci::Function::read(&platform, is_at(&machine, "rng")).unwrap();

    let named = |vendor| {
        let all = pci::vendor_data(&platform, &function).map(|found| found.unwrap());
        let bytes = |data: pci::QualifiedData<'_, Platform>| {
            let mut bytes = vec![0; data.len()];
            data.read(0, &mut bytes).unwrap();
            bytes
        };
        all.filter_map(|data| data.of(vendor)).map(bytes).next()
    };

    assert_eq!(named(0x1b36), Some(vec![1, 2, 3, 0, 0, 0]));
    assert_eq!(named(0x1234), Some(vec![9, 0]));
    assert_eq!(named(0x1af4), None);
}

#[test]
fn a_function_that_is_pulled_out_reads_as_all_ones_and_its_place_is_free() {
    for run in [INLINE, Run::Threaded] {
        let mut machine = Machine::builder()
            .run(run)
            .pci("first", entropy(1), Options::default())
            .pci("second", entropy(2), Options::default())
            .bridge()
            .pci("behind", entropy(3), Options::default())
            .build()
            .unwrap();
        let heard = machine.watch();
        let platform = machine.platform();
        let place = machine.device("first").unwrap().place();
        let at = is_at(&machine, "first");
        let transport = pci::devices(&platform).next().unwrap().unwrap();
        let mut rng: Rng<_> = bus::attach(transport).unwrap();
        rng.request(vec![0; 1].into()).unwrap();
        rng.wait(LIMIT).unwrap();

        assert_eq!(machine.unplug("first"), Some(place));
        rng.request(vec![0; 1].into()).unwrap();
        let waited = rng.wait(Duration::from_millis(20)).is_err();
        let read = platform.read32(at, 0);
        let again = machine.plug_pci(0, "again", entropy(7), Options::default());
        let behind = machine.plug_pci(1, "more", entropy(8), Options::default());
        drop(rng);

        assert!(waited && read == u32::MAX);
        assert_eq!(machine.unplug("first"), None);
        assert_eq!(again, Ok(place));
        let behind = behind.unwrap();
        assert_eq!(drawn(&machine), [7, 2, 3, 8]);
        let events: Vec<_> = heard.try_iter().collect();
        let plugged = [Change::Plugged(place), Change::Plugged(behind)];
        assert_eq!(events[0], Change::Unplugged(place));
        assert_eq!(events[1..], plugged);
        let twice = machine.plug_pci(0, "again", entropy(7), Options::default());
        assert_eq!(twice, Err(Error::SameName("again".to_owned())));
    }
}

#[test]
fn a_slot_whose_device_is_pulled_out_reads_as_all_ones_and_takes_another() {
    let mut machine = Machine::builder()
        .run(INLINE)
        .slots(3)
        .mmio("old", entropy(1), with(Interface::Legacy))
        .build()
        .unwrap();
    let platform = machine.platform();
    let Place::Mmio(slot) = machine.device("old").unwrap().place() else {
        panic!("it is in a slot");
    };
    let registers = platform.registers(slot.address, slot.len).unwrap();
    let versions = || registers.read32(register::VERSION).unwrap();

    let old = versions();
    machine.unplug("old");
    let none = versions();
    let plugged = machine.plug_mmio("new", entropy(2), Options::default());
    let new = versions();
    let other = machine.plug_mmio("other", entropy(3), Options::default());
    let full = machine.plug_mmio("one too many", entropy(4), Options::default());

    assert_eq!([old, none, new], [1, u32::MAX, 2]);
    assert_eq!(plugged, Ok(Place::Mmio(slot)));
    assert!(other.is_ok());
    assert_eq!(full, Err(Error::TooManyDevices { limit: 2 }));
    let slots = machine.mmio_slots().to_vec();
    let mut found = mmio::scan(machine.platform(), slots).flatten();
    let mut rng: Rng<_> = bus::attach(found.next().unwrap()).unwrap();
    rng.request(vec![0; 1].into()).unwrap();
    assert_eq!(rng.wait(LIMIT).unwrap().buffer[0], 2);
}

/// A source of entropy that shares memory with its driver.
struct Sharing(Entropy<Same>, [SharedRegion; 1]);

impl Device for Sharing {
    fn id(&self) -> DeviceId {
        self.0.id()
    }

    fn features(&self) -> Features {
        self.0.features()
    }

    fn queue_sizes(&self) -> &[u16] {
        self.0.queue_sizes()
    }

    fn shared_memory(&self) -> &[SharedRegion] {
        &self.1
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        self.0.read_config(offset, into);
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) {
        self.0.write_config(offset, from);
    }

    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker> {
        self.0.worker(index, features)
    }

    fn reset(&mut self) {
        self.0.reset();
    }
}

#[test]
fn memory_that_a_device_shares_is_on_the_bus_where_its_registers_say() {
    let memory = Shared::allocate(0x1000, 4096).unwrap();
    let region = SharedRegion {
        id: 3,
        memory: memory.clone(),
    };
    let device = Sharing(Entropy::new(Same(1)), [region]);
    let machine = Machine::builder()
        .mmio("plain", entropy(1), Options::default())
        .mmio("sharing", Box::new(device), Options::default())
        .build()
        .unwrap();
    let platform = machine.platform();
    let Place::Mmio(slot) = machine.device("sharing").unwrap().place() else {
        panic!("it is in a slot");
    };
    let registers = platform.registers(slot.address, slot.len).unwrap();

    let mut device = mmio::Mmio::new(platform.clone(), registers, None).unwrap();
    let found = device.shared_memory(3).unwrap().expect("it has region 3");
    let shared = platform.registers(found.address, found.len).unwrap();
    shared.write32(0xffc, 0x0403_0201).unwrap();

    assert_eq!(found.len, 0x1000);
    assert_eq!(device.shared_memory(2), Ok(None));
    let mut bytes = [0; 4];
    memory.view().read(0xffc, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    memory.view().write(0, &[9]).unwrap();
    assert_eq!(shared.read8(0), Ok(9));
}
