//! Every driver against its device model, over every transport, ring feature and way to run: one table, and what is done to each device in it.
#![cfg(test)]

use core::fmt;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::thread;

use ringway_device::Device;
use ringway_device::blk::{Blk as BlkDevice, Disk};
use ringway_device::entropy::{Entropy, Source};
use ringway_driver::blk::{Blk, Done};
use ringway_driver::bringup::Interrupts;
use ringway_driver::bus::{Driver, attach};
use ringway_driver::dma::{Buffer, DmaBuffer};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, RequestError};
use ringway_driver::platform::Trust;
use ringway_driver::transport::Transport;
use ringway_driver::{mmio, pci};
use ringway_machine::{Builder, History, Machine, Options, Platform, Run, Slot};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};
use ringway_spec::{F, Features};

/// Long enough for any of this, on any machine; virtual time on an inline one.
const LIMIT: Duration = Duration::from_secs(30);

const SECTORS: usize = 512;

/// How a device is reached, and how it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    PciMessages,
    PciLine,
    Mmio,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    way: Way,
    /// Ring features that the devices do not offer.
    without: Features,
    run: Run,
    trust: Trust,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ring = match self.without {
            Features::NONE => "indirect, event_idx",
            F::EVENT_IDX => "indirect",
            F::INDIRECT_DESC => "event_idx",
            _ => "plain",
        };
        let Self { way, run, trust, .. } = self;
        write!(f, "{way:?}, {ring}, {run:?}, {trust:?}")
    }
}

/// The whole table.
fn cases() -> Vec<Case> {
    let both = F::EVENT_IDX | F::INDIRECT_DESC;
    let runs = [Run::Threaded].into_iter();
    let runs = runs.chain((0..4).map(|seed| Run::Inline { seed }));
    let mut cases = Vec::new();
    for run in runs {
        for way in [Way::PciMessages, Way::PciLine, Way::Mmio] {
            for without in [Features::NONE, F::EVENT_IDX, F::INDIRECT_DESC, both] {
                cases.push(Case {
                    way,
                    without,
                    run,
                    trust: Trust::Pool,
                });
            }
        }
    }
    cases
}

/// Says which row of the table it was that failed, with its seed.
struct Row(Case);

impl Drop for Row {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in the row: {:?}", self.0);
        }
    }
}

/// A disk in memory, whose sectors differ.
struct MemoryDisk(Mutex<Vec<u8>>);

/// What is in sector `number` before anybody writes it.
fn original(number: usize) -> Vec<u8> {
    (0..SECTOR_SIZE).map(|at| (number * 7 + at) as u8).collect()
}

impl MemoryDisk {
    fn new() -> Self {
        Self(Mutex::new((0..SECTORS).flat_map(original).collect()))
    }
}

impl Disk for MemoryDisk {
    fn sectors(&self) -> u64 {
        SECTORS as u64
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"loopback disk\0\0\0\0\0\0\0"
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> ringway_device::Result {
        let offset = offset as usize;
        into.copy_from_slice(&self.0.lock().unwrap()[offset..offset + into.len()]);
        Ok(())
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> ringway_device::Result {
        let offset = offset as usize;
        self.0.lock().unwrap()[offset..offset + from.len()].copy_from_slice(from);
        Ok(())
    }

    fn flush(&self) -> ringway_device::Result {
        Ok(())
    }
}

/// Counts up, so that no two buffers are filled alike, and every run fills them alike.
struct Counter(u8);

impl Source for Counter {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        for byte in into {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

fn disk() -> Box<dyn Device> {
    Box::new(BlkDevice::new(Arc::new(MemoryDisk::new()), 1))
}

fn rng() -> Box<dyn Device> {
    Box::new(Entropy::new(Counter(0)))
}

/// A machine with a disk and a source of entropy, both reached as the case says.
fn machine(case: Case) -> Machine {
    let options = Options {
        offer: Options::default().offer.without(case.without),
        vectors: (case.way == Way::PciLine).then_some(0),
    };
    let plug: fn(Builder, &str, Box<dyn Device>, Options) -> Builder = match case.way {
        Way::Mmio => Builder::mmio,
        Way::PciMessages | Way::PciLine => Builder::pci,
    };
    let builder = Machine::builder().run(case.run).trust(case.trust);
    let builder = plug(builder, "disk", disk(), options);
    plug(builder, "rng", rng(), options).build().unwrap()
}

/// What is to be done to a device, whatever its transport.
trait Exercise {
    fn on<T: Transport<Platform = Platform>>(self, transport: T, case: Case);
}

/// Finds the device that driver `D` of some transport would be for, and does `exercise` to it.
fn find(machine: &Machine, case: Case, id: ringway_spec::DeviceId, exercise: impl Exercise) {
    let platform = machine.platform();
    match case.way {
        Way::Mmio => {
            let slots = machine.mmio_slots().to_vec();
            let found = mmio::scan(&platform, slots)
                .map(|device| device.unwrap())
                .find(|device| device.device_id() == id);
            exercise.on(found.expect("in a slot"), case);
        }
        Way::PciMessages | Way::PciLine => {
            let found = pci::devices(&platform)
                .map(|device| device.unwrap())
                .find(|device| device.device_id() == id);
            exercise.on(found.expect("on the bus"), case);
        }
    }
}

/// Uses a disk from start to end.
struct UseDisk;

impl Exercise for UseDisk {
    fn on<T: Transport<Platform = Platform>>(self, transport: T, case: Case) {
        let platform = transport.platform().clone();
        let mut disk: Blk<T> = attach(transport).unwrap();
        assert_eq!(disk.device().interrupts(), expected_interrupts(case));
        assert!(!disk.device().features().intersects(case.without));
        assert_eq!(disk.disk().sectors, SECTORS as u64);

        assert_eq!(&name(&mut disk)[..13], b"loopback disk");
        fill_the_ring(&mut disk, case);
        write_and_read_back(&mut disk);
        let past = disk.read(SECTORS as u64, sectors(1)).unwrap_err();
        assert!(matches!(
            past.why,
            Error::Request(RequestError::PastEnd { .. })
        ));

        drop(disk);
        assert_eq!(platform.ram_used(), 0, "the device let go of all of it");
    }
}

fn expected_interrupts(case: Case) -> Interrupts {
    match case.way {
        Way::PciMessages => Interrupts::Each,
        Way::PciLine | Way::Mmio => Interrupts::Line,
    }
}

fn sectors(count: usize) -> Box<[u8]> {
    vec![0; count * SECTOR_SIZE].into()
}

fn name<T: Transport>(disk: &mut Blk<T>) -> Box<[u8]> {
    disk.id(vec![0; ID_BYTES].into()).unwrap();
    succeed(disk.wait(LIMIT).unwrap()).unwrap()
}

/// Asks for as much as there is room for, and takes it all back.
fn fill_the_ring<T: Transport, B: Buffer>(disk: &mut Blk<T, B>, case: Case)
where
    Blk<T, B>: Sectors<B>,
{
    let mut asked = HashMap::new();
    let why = loop {
        let sector = asked.len() % SECTORS;
        match disk.read(sector as u64, disk.make()) {
            Ok(token) => asked.insert(token, sector),
            Err(rejected) => break rejected.why,
        };
    };
    // A request is three descriptors, or one that names a table of three.
    let room = match case.without.contains(F::INDIRECT_DESC) {
        true => disk.queue_size() / 3,
        false => disk.queue_size(),
    };
    assert_eq!((why, disk.in_flight()), (Error::QueueFull, room));
    while !asked.is_empty() {
        let done = disk.wait(LIMIT).unwrap();
        let sector = asked.remove(&done.token).expect("asked for, once");
        let buffer = succeed(done).expect("a buffer went with it");
        assert!(disk.bytes(&buffer) == original(sector), "sector {sector}");
    }
    assert!(disk.poll().unwrap().is_none());
}
