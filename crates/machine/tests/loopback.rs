//! Every driver against its device model, over every transport, ring feature and way to run: one
//! table, and what is done to each device in it.
#![cfg(test)]

use core::fmt;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::thread;

use ringway_device::blk::{Blk as BlkDevice, Blocking, Bounced, Channel, Disk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Interface, Offer};
use ringway_driver::blk::{Blk, Done};
use ringway_driver::bringup::{Interrupts, Live};
use ringway_driver::bus::attach;
use ringway_driver::dma::{Buffer, DmaBuffer};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, RequestError};
use ringway_driver::mmio;
use ringway_driver::pci::{self, Preference};
use ringway_driver::platform::Trust;
use ringway_driver::transport::Transport;
use ringway_machine::{Builder, History, Machine, Options, Platform, Reach, Run};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};
use ringway_spec::{DeviceId, F, Features};

/// Long enough for any of this, on any machine; virtual time on an inline one.
const LIMIT: Duration = Duration::from_secs(30);

const SECTORS: usize = 64;

/// The features of rings that both ends can do, whatever the platform.
const RING: Features = Features(
    F::INDIRECT_DESC.0
        | F::EVENT_IDX.0
        | F::RING_PACKED.0
        | F::IN_ORDER.0
        | F::NOTIFICATION_DATA.0
        | F::NOTIF_CONFIG_DATA.0,
);

/// Those that there were before version 1.
const LEGACY_RING: Features = Features(F::INDIRECT_DESC.0 | F::EVENT_IDX.0);

/// How a device is reached, and how it interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    through: Through,
    vectors: Vectors,
}

/// The registers that a device is reached through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    Pci,
    /// Those behind its window in configuration space, since none can be mapped.
    PciByWindow,
    /// The same where the one device can be mapped, and of the other the vectors.
    PciByLowWindow,
    /// Of a function that has the legacy ones, too.
    TransitionalPci,
    /// Those of a function that has the others, too.
    TransitionalPciByLegacy,
    LegacyPci,
    Mmio,
    MmioVersion1,
}

/// Which vectors a function has; in a slot there are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vectors {
    /// One for each queue, and one more.
    Plenty,
    /// One for all.
    Scarce,
    None,
}

/// All ways; those first that every row is for, whatever the seed.
const WAYS: [Way; 17] = {
    use Through::{
        LegacyPci, Mmio, MmioVersion1, Pci, PciByLowWindow, PciByWindow, TransitionalPci,
        TransitionalPciByLegacy,
    };
    use Vectors::{None, Plenty, Scarce};
    const fn way(through: Through, vectors: Vectors) -> Way {
        Way { through, vectors }
    }
    [
        way(Pci, Plenty),
        way(Pci, None),
        way(Mmio, None),
        way(MmioVersion1, None),
        way(LegacyPci, Plenty),
        way(LegacyPci, None),
        way(Pci, Scarce),
        way(TransitionalPci, Plenty),
        way(TransitionalPci, Scarce),
        way(TransitionalPci, None),
        way(TransitionalPciByLegacy, Plenty),
        way(TransitionalPciByLegacy, Scarce),
        way(TransitionalPciByLegacy, None),
        way(LegacyPci, Scarce),
        way(PciByWindow, Plenty),
        way(PciByWindow, None),
        way(PciByLowWindow, Plenty),
    ]
};

/// How many of them are.
const WHOLE: usize = 6;

impl Way {
    fn is_legacy(self) -> bool {
        match self.through {
            Through::Pci
            | Through::PciByWindow
            | Through::PciByLowWindow
            | Through::TransitionalPci
            | Through::Mmio => false,
            Through::TransitionalPciByLegacy | Through::LegacyPci | Through::MmioVersion1 => true,
        }
    }

    fn is_pci(self) -> bool {
        !matches!(self.through, Through::Mmio | Through::MmioVersion1)
    }

    fn interface(self) -> Interface {
        match self.through {
            Through::Pci | Through::PciByWindow | Through::PciByLowWindow | Through::Mmio => {
                Interface::Modern
            }
            Through::TransitionalPci | Through::TransitionalPciByLegacy => Interface::Transitional,
            Through::LegacyPci | Through::MmioVersion1 => Interface::Legacy,
        }
    }

    fn reach(self) -> Reach {
        match self.through {
            Through::PciByWindow => Reach::Nowhere,
            Through::PciByLowWindow => Reach::Low,
            _ => Reach::Everywhere,
        }
    }

    fn preference(self) -> Preference {
        if self.is_legacy() {
            Preference::LegacyFirst
        } else {
            Preference::ModernFirst
        }
    }
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Case {
    way: Way,
    /// What the devices offer of rings, and no more.
    ring: Features,
    run: Run,
    trust: Trust,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            way,
            ring,
            run,
            trust,
        } = self;
        let Way { through, vectors } = way;
        write!(f, "{through:?}, vectors: {vectors:?}, {run:?}, {trust:?}")?;
        let mut names = ring.names(DeviceId::INVALID);
        names.try_for_each(|name| write!(f, ", {name}"))
    }
}

/// The whole table: everything with buffers that are copied, and some with buffers that the device
/// has as they are.
fn cases() -> Vec<Case> {
    let runs = [Run::Threaded].into_iter();
    let runs: Vec<_> = runs
        .chain((0..4).map(|seed| Run::Inline { seed }))
        .collect();
    let mut cases = Vec::new();
    for (number, way) in WAYS.into_iter().enumerate() {
        let runs = &runs[..if number < WHOLE { runs.len() } else { 2 }];
        let formats = [Features::NONE, F::RING_PACKED];
        for format in formats
            .into_iter()
            .take(if way.is_legacy() { 1 } else { 2 })
        {
            let row = |ring, run, trust| Case {
                way,
                ring,
                run,
                trust,
            };
            let (all, rings) = rings(way);
            for ring in rings {
                let rows = runs.iter().map(|run| row(ring | format, *run, Trust::Pool));
                cases.extend(rows);
            }
            // A legacy device knows of no addresses but those of memory.
            let trusts = [Trust::Trusted, Trust::Revoked];
            for trust in trusts.into_iter().take(if way.is_legacy() { 1 } else { 2 }) {
                let rows = runs.iter().take(2);
                cases.extend(rows.map(|run| row(all | format, *run, trust)));
            }
        }
    }
    cases
}

/// What is offered of rings in the rows of a way, beside the format: all at once, and what is tried.
fn rings(way: Way) -> (Features, Vec<Features>) {
    if way.is_legacy() {
        let all = LEGACY_RING;
        let rings = [all, F::EVENT_IDX, F::INDIRECT_DESC, Features::NONE];
        return (all, rings.to_vec());
    }
    // Only PCI has a register for what it names queues by.
    let not_there = if way.is_pci() {
        Features::NONE
    } else {
        F::NOTIF_CONFIG_DATA
    };
    let all = RING - F::RING_PACKED - not_there;
    let rings = [
        all,
        all - F::IN_ORDER,
        all - F::EVENT_IDX,
        all - F::INDIRECT_DESC,
        all - F::NOTIFICATION_DATA,
        all - F::NOTIF_CONFIG_DATA,
        F::IN_ORDER,
        Features::NONE,
    ];
    (all, rings.to_vec())
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

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Bounced::new(self))
    }
}

impl Blocking for MemoryDisk {
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
        offer: Offer::NOTHING.with(case.ring),
        interface: case.way.interface(),
        vectors: match case.way.vectors {
            Vectors::Plenty => None,
            Vectors::Scarce => Some(1),
            Vectors::None => Some(0),
        },
        ..Options::default()
    };
    let plug: fn(Builder, &str, Box<dyn Device>, Options) -> Builder = match case.way.is_pci() {
        false => Builder::mmio,
        true => Builder::pci,
    };
    let builder = Machine::builder()
        .ram(4 << 20)
        .run(case.run)
        .reach(case.way.reach())
        .trust(case.trust);
    let builder = plug(builder, "disk", disk(), options.clone());
    plug(builder, "rng", rng(), options).build().unwrap()
}

/// A buffer of either kind: the program's own, or in memory for devices.
trait Bytes: Buffer + fmt::Debug {
    fn new(platform: &Platform, bytes: &[u8]) -> Self;
    fn contents(&self) -> Vec<u8>;
}

impl Bytes for Box<[u8]> {
    fn new(_: &Platform, bytes: &[u8]) -> Self {
        bytes.into()
    }

    fn contents(&self) -> Vec<u8> {
        self.to_vec()
    }
}

impl Bytes for DmaBuffer {
    fn new(platform: &Platform, bytes: &[u8]) -> Self {
        let mut buffer = Self::new(platform, bytes.len()).unwrap();
        buffer.write(0, bytes).unwrap();
        buffer
    }

    fn contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        self.read(0, &mut bytes).unwrap();
        bytes
    }
}

/// What is to be done to a device, whatever its transport.
trait Exercise {
    const ID: DeviceId;
    /// What the device is called on the machine.
    const NAME: &str;
    /// Returns how often the driver kicked.
    fn on<B: Bytes>(case: Case, transport: impl Transport<Platform = Platform>) -> u64;
}

/// Finds the device that an exercise is for, and does it, with the kind of buffer that the
/// platform's trust allows.
fn exercise<E: Exercise>(case: Case) -> Machine {
    let _row = Row(case);
    let machine = machine(case);
    let platform = machine.platform();
    let kicks = if case.way.is_pci() {
        let found = pci::devices_by(&platform, case.way.preference()).map(Result::unwrap);
        on_one_of::<E, _>(case, found)
    } else {
        let slots = machine.mmio_slots().to_vec();
        let found = mmio::scan(platform.clone(), slots).map(Result::unwrap);
        on_one_of::<E, _>(case, found)
    };
    assert_eq!(platform.ram_used(), 0, "the device let go of all of it");
    assert_eq!(machine.interrupts().lost, 0);
    for device in machine.devices() {
        let expected = if device.name() == E::NAME { kicks } else { 0 };
        assert_eq!(device.kicks(), expected, "{}", device.name());
    }
    machine
}

fn on_one_of<E: Exercise, T: Transport<Platform = Platform>>(
    case: Case,
    mut found: impl Iterator<Item = T>,
) -> u64 {
    let device = found.find(|device| device.device_id() == E::ID).unwrap();
    let by_window = match case.way.reach() {
        Reach::Everywhere => false,
        // Where firmware puts every other device above 4 GiB.
        Reach::Low => E::NAME == "rng",
        Reach::Nowhere => true,
    };
    assert_eq!(device.name() == "pci-window", by_window);
    match case.trust {
        Trust::Pool => E::on::<Box<[u8]>>(case, device),
        Trust::Trusted | Trust::Revoked => E::on::<DmaBuffer>(case, device),
    }
}

fn check_bring_up<T: Transport>(case: Case, device: &mut Live<T>) {
    let interrupts = match case.way.vectors {
        // No window leads to the vectors.
        _ if case.way.reach() == Reach::Nowhere => Interrupts::Line,
        Vectors::Plenty => Interrupts::Each,
        Vectors::Scarce => Interrupts::One,
        Vectors::None => Interrupts::Line,
    };
    let features = device.features();
    assert_eq!(device.interrupts(), interrupts);
    assert_eq!(features.contains(F::VERSION_1), !case.way.is_legacy());
    assert_eq!(features & RING, case.ring);
}

/// Uses a disk from start to end.
struct UseDisk;

impl Exercise for UseDisk {
    const ID: DeviceId = DeviceId::BLOCK;
    const NAME: &str = "disk";

    fn on<B: Bytes>(case: Case, transport: impl Transport<Platform = Platform>) -> u64 {
        let platform = transport.platform().clone();
        let buffer = |bytes: &[u8]| B::new(&platform, bytes);
        let mut disk: Blk<_, B> = attach(transport).unwrap();
        check_bring_up(case, disk.device());
        assert_eq!(disk.disk().sectors, SECTORS as u64);

        disk.id(buffer(&[0; ID_BYTES])).unwrap();
        let name = succeed(disk.wait(LIMIT).unwrap()).unwrap();
        assert_eq!(name.contents(), *b"loopback disk\0\0\0\0\0\0\0");

        read_as_much_as_there_is_room_for(case, &mut disk, || buffer(&[0; SECTOR_SIZE]));

        let written: Vec<u8> = (0..3 * SECTOR_SIZE).map(|at| (at * 5) as u8).collect();
        disk.write(40, buffer(&written)).unwrap();
        assert!(succeed(disk.wait(LIMIT).unwrap()).is_some());
        disk.flush().unwrap();
        assert!(succeed(disk.wait(LIMIT).unwrap()).is_none());
        disk.read(39, buffer(&[0; 5 * SECTOR_SIZE])).unwrap();
        let read = succeed(disk.wait(LIMIT).unwrap()).unwrap();
        let expected = [original(39), written, original(43)].concat();
        assert!(read.contents() == expected, "what was written, and no more");

        let past = disk.read(SECTORS as u64, buffer(&[0; SECTOR_SIZE]));
        let why = past.unwrap_err().why;
        assert!(matches!(why, Error::Request(RequestError::PastEnd { .. })));
        disk.counts().kicks
    }
}

/// Fills the ring with requests, and takes them all back.
fn read_as_much_as_there_is_room_for<T: Transport<Platform = Platform>, B: Bytes>(
    case: Case,
    disk: &mut Blk<T, B>,
    buffer: impl Fn() -> B,
) {
    let mut asked = HashMap::new();
    let why = loop {
        let sector = asked.len() % SECTORS;
        match disk.read(sector as u64, buffer()) {
            Ok(token) => asked.insert(token, sector),
            Err(rejected) => break rejected.why,
        };
    };
    // A request is one descriptor, which names a table, or one for each of its header, its data and
    // its status.
    let of_each = if case.ring.contains(F::INDIRECT_DESC) {
        1
    } else {
        3
    };
    let room = disk.queue_size() / of_each;
    assert_eq!((why, disk.in_flight()), (Error::QueueFull, room));

    while !asked.is_empty() {
        let done = disk.wait(LIMIT).unwrap();
        let sector = asked.remove(&done.token).expect("asked for, and once");
        let read = succeed(done).unwrap();
        assert!(read.contents() == original(sector), "sector {sector}");
    }
    assert!(disk.poll().unwrap().is_none());
}

/// The buffer of a request that went well.
fn succeed<B>(done: Done<B>) -> Option<B> {
    done.result.unwrap();
    done.buffer
}

/// Uses a source of entropy from start to end.
struct UseEntropy;

impl Exercise for UseEntropy {
    const ID: DeviceId = DeviceId::ENTROPY;
    const NAME: &str = "rng";

    fn on<B: Bytes>(case: Case, transport: impl Transport<Platform = Platform>) -> u64 {
        let platform = transport.platform().clone();
        let mut rng: Rng<_, B> = attach(transport).unwrap();
        check_bring_up(case, rng.device());

        let mut asked = 0;
        while rng.request(B::new(&platform, &[0; 100])).is_ok() {
            asked += 1;
        }
        let filled = (0..asked).map(|_| rng.wait(LIMIT).unwrap());

        // One buffer goes on counting where the one before ended.
        let mut next = 0_u8;
        for filled in filled {
            let bytes = filled.buffer.contents();
            assert_eq!(filled.random, 100);
            for byte in bytes {
                next = next.wrapping_add(1);
                assert_eq!(byte, next);
            }
        }
        assert_eq!(asked, rng.queue_size());
        assert!(rng.poll().unwrap().is_none());
        rng.counts().kicks
    }
}

/// Does an exercise in every row. Whether a single one takes a kick or an interrupt depends on who
/// is faster; together they do.
fn in_every_row<E: Exercise>() {
    for way in WAYS {
        let (mut kicks, mut interrupts) = (0, 0);
        for case in cases().into_iter().filter(|case| case.way == way) {
            let machine = exercise::<E>(case);
            let device = machine.device(E::NAME).unwrap();
            kicks += device.kicks();
            interrupts += device.interrupts();
        }
        assert!(kicks != 0 && interrupts != 0, "{way:?}");
    }
}

#[test]
fn a_disk_is_read_written_flushed_and_named_in_every_row() {
    in_every_row::<UseDisk>();
}

#[test]
fn entropy_fills_every_buffer_in_every_row() {
    in_every_row::<UseEntropy>();
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for way in WAYS {
        let history = |seed| {
            let case = Case {
                way,
                ring: match seed % 2 {
                    1 if !way.is_legacy() => rings(way).0 | F::RING_PACKED,
                    _ => F::EVENT_IDX,
                },
                run: Run::Inline { seed },
                trust: Trust::Pool,
            };
            exercise::<UseDisk>(case).history().unwrap()
        };

        let first: Vec<History> = (0..8).map(history).collect();
        let again: Vec<History> = (0..8).map(history).collect();

        assert_eq!(first, again, "{way:?}");
        let digests: HashSet<u64> = first.iter().map(|history| history.digest).collect();
        assert_eq!(digests.len(), 8, "{way:?}: seeds make a difference");
    }
}
