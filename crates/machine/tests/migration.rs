//! Devices that go on in the place of others, while their drivers work: members of two owners, whose
//! drivers move one to the other.
#![cfg(test)]

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};

use ringway_device::admin::{Administration, Control, Member, Members};
use ringway_device::blk::{Blk as BlkDevice, Blocking, Bounced, Channel, Disk};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Interface, Offer, pci as device};
use ringway_driver::admin::{Admin, Legacy, Part, To, Whose, Width};
use ringway_driver::blk::Blk;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{AdminError, Error};
use ringway_driver::pci::{self, Pci, Preference};
use ringway_machine::{Builder, Machine, Options, PciFunction, Platform, Ports, Run};
use ringway_spec::admin::{GroupType, Opcodes, PartsCapability, PartsObjectType};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};
use ringway_spec::{F, Features};

const LIMIT: Duration = Duration::from_secs(30);

const SECTORS: u64 = 64;

/// A group of a type of its own: its members have functions of their own, with a driver for each.
const GROUP: GroupType = GroupType::from_u16(0x7f00);

/// The only member of each owner.
const TO: To = (GROUP, 1);

/// The objects of each owner's driver.
const GET: u32 = 0;
const SET: u32 = 1;

struct Zeroes;

impl Source for Zeroes {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(0);
        Ok(())
    }
}

struct MemoryDisk(Mutex<Vec<u8>>);

impl MemoryDisk {
    fn new() -> Arc<Self> {
        let bytes = vec![0; SECTORS as usize * SECTOR_SIZE];
        Arc::new(Self(Mutex::new(bytes)))
    }
}

impl Disk for MemoryDisk {
    fn sectors(&self) -> u64 {
        SECTORS
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"the disk of them all"
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

/// The function that a driver has, as a hypervisor gives it to a guest: now this one, now that. What
/// PCI has of its own goes from one to the next by what was written.
struct Backed {
    now: Mutex<Arc<device::Function>>,
    written: Mutex<Vec<Written>>,
}

/// Where something was written, and what: in a BAR, or in configuration space.
type Written = (Option<u8>, u64, Vec<u8>);

/// The BAR of a function's MSI-X table.
const TABLE: u8 = 2;

impl Backed {
    fn function(&self) -> Arc<device::Function> {
        Arc::clone(&self.now.lock().unwrap())
    }

    fn remember(&self, bar: Option<u8>, offset: u64, from: &[u8]) {
        let written = (bar, offset, from.to_vec());
        self.written.lock().unwrap().push(written);
    }

    /// Puts another function behind it, which has been stopped.
    fn become_of(&self, function: Arc<device::Function>) {
        for (bar, offset, bytes) in &*self.written.lock().unwrap() {
            match bar {
                None => function.config_write(*offset as u16, bytes),
                Some(bar) => function.bar_write(*bar, *offset, bytes),
            }
        }
        *self.now.lock().unwrap() = function;
    }
}

impl PciFunction for Backed {
    fn config_read(&self, offset: u16, into: &mut [u8]) {
        self.function().config_read(offset, into);
    }

    fn config_write(&self, offset: u16, from: &[u8]) {
        self.remember(None, offset.into(), from);
        self.function().config_write(offset, from);
    }

    fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.function().locate(address, len)
    }

    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        self.function().bar_read(bar, offset, into);
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        if bar == TABLE {
            self.remember(Some(bar), offset, from);
        }
        self.function().bar_write(bar, offset, from);
    }
}

/// What is to be had of functions once they are made.
#[derive(Default)]
struct Made {
    functions: [OnceLock<Arc<device::Function>>; 2],
    backed: OnceLock<Arc<Backed>>,
}

impl Made {
    fn function(&self, index: usize) -> Arc<device::Function> {
        Arc::clone(self.functions[index].get().expect("it was made"))
    }

    fn keep(&self, index: usize, function: device::Function) -> Arc<device::Function> {
        Arc::clone(self.functions[index].get_or_init(|| Arc::new(function)))
    }
}

/// A machine with a disk that has two functions, each with an owner of its own.
struct Bench {
    machine: Machine,
    made: Arc<Made>,
    disk: Arc<MemoryDisk>,
}

fn owner(builder: Builder, name: &str, made: &Arc<Made>, index: usize) -> Builder {
    let made = Arc::clone(made);
    builder.pci_function(name, move |ports: Ports| {
        let control = Arc::new(Control::default());
        let member = made.function(index) as Arc<dyn Member>;
        let members = Members::new(GROUP, Arc::clone(&control), vec![member]);
        let administration = Administration::new(1)
            .with(control.facilities())
            .with(Arc::new(members));
        let options = Options {
            administration,
            ..Options::default()
        };
        let device = Box::new(Entropy::new(Zeroes));
        Arc::new(ports.function(device, &options).unwrap())
    })
}

impl Bench {
    fn new(run: Run, format: Features, interface: Interface) -> Self {
        let (disk, made) = (MemoryDisk::new(), Arc::<Made>::default());
        let options = Options {
            offer: Offer::default().with(format),
            interface,
            ..Options::default()
        };
        let blk = |index: usize| {
            let (disk, options, made) = (disk.clone(), options.clone(), made.clone());
            move |ports: Ports| {
                let device = Box::new(BlkDevice::new(disk, 1));
                made.keep(index, ports.function(device, &options).unwrap())
            }
        };
        let (first, second) = (blk(0), blk(1));
        let kept = made.clone();
        let builder = Machine::builder()
            .run(run)
            .pci_function("disk", move |ports| {
                let backed = Backed {
                    now: Mutex::new(first(ports)),
                    written: Mutex::default(),
                };
                let backed = Arc::new(backed);
                Arc::clone(kept.backed.get_or_init(|| backed)) as Arc<dyn PciFunction>
            })
            .pci_function("spare", move |ports| second(ports));
        let builder = owner(builder, "owner", &made, 0);
        let machine = owner(builder, "other owner", &made, 1).build().unwrap();
        Self {
            machine,
            made,
            disk,
        }
    }

    fn open(&self, index: usize) -> Pci<Platform> {
        let platform = self.machine.platform();
        let function = pci::scan(&platform).nth(index).unwrap();
        pci::open(&platform, &function, Preference::ModernFirst).unwrap()
    }

    /// The driver of an owner, with an object to get parts with and one to set them.
    fn owner(&self, index: usize) -> (Rng<Pci<Platform>, DmaBuffer>, Admin<Platform>) {
        let wanted = Wanted {
            administration: 1,
            ..Wanted::default()
        };
        let device = Acknowledged::new(self.open(2 + index))
            .unwrap()
            .driver()
            .unwrap();
        let mut rng = Rng::open(device, &wanted, &QueueOptions::default()).unwrap();
        let mut admin = rng.device().take_admin().unwrap();
        admin.set_patience(LIMIT);
        admin.begin(GroupType::SELF, Opcodes::CAPABILITIES).unwrap();
        let offered: PartsCapability = admin.capability().unwrap();
        admin.set_capability(&offered).unwrap();
        admin.begin(TO.0, Control::COMMANDS).unwrap();
        admin
            .create_parts_object(TO, GET, PartsObjectType::GET)
            .unwrap();
        admin
            .create_parts_object(TO, SET, PartsObjectType::SET)
            .unwrap();
        (rng, admin)
    }

    /// Has the disk go on in its other function, as a hypervisor does.
    fn migrate(&self, from: &mut Admin<Platform>, to: &mut Admin<Platform>, target: usize) {
        from.stop(TO).unwrap();
        to.stop(TO).unwrap();
        let parts = from.parts(TO, GET).unwrap();
        let backed = self.made.backed.get().unwrap();
        backed.become_of(self.made.function(target));
        to.set_parts(TO, SET, &parts).unwrap();
        to.go_on(TO).unwrap();
    }
}

/// A disk's driver, what it has in flight, and what must be on the disk.
struct Load {
    blk: Blk<Pci<Platform>, DmaBuffer>,
    platform: Platform,
    expected: Vec<u8>,
    reads: VecDeque<(ringway_driver::dma::Token, u64)>,
    turn: u64,
}

impl Load {
    fn new(bench: &Bench) -> Self {
        let device = Acknowledged::new(bench.open(0)).unwrap().driver().unwrap();
        let options = QueueOptions::default();
        Self {
            blk: Blk::open(device, &Wanted::default(), &options).unwrap(),
            platform: bench.machine.platform(),
            expected: vec![0; SECTORS as usize * SECTOR_SIZE],
            reads: VecDeque::new(),
            turn: 0,
        }
    }

    /// Writes a sector that nothing is in flight for, or reads one.
    fn submit(&mut self) {
        self.turn += 1;
        let sector = self.turn * 7 % SECTORS;
        let at = sector as usize * SECTOR_SIZE;
        let mut buffer = DmaBuffer::new(&self.platform, SECTOR_SIZE).unwrap();
        if self.turn.is_multiple_of(2) {
            let bytes = vec![self.turn as u8; SECTOR_SIZE];
            buffer.write(0, &bytes).unwrap();
            self.expected[at..at + SECTOR_SIZE].copy_from_slice(&bytes);
            self.blk.write(sector, buffer).unwrap();
        } else {
            let token = self.blk.read(sector, buffer).unwrap();
            self.reads.push_back((token, sector));
        }
        self.blk.kick().unwrap();
    }

    /// Waits for all that is in flight, and compares what was read.
    fn settle(&mut self) {
        while self.blk.in_flight() != 0 {
            let done = self.blk.wait(LIMIT).unwrap();
            assert_eq!(done.result, Ok(()));
            let read = self
                .reads
                .iter()
                .position(|(token, _)| *token == done.token);
            if let Some((_, sector)) = read.and_then(|read| self.reads.remove(read)) {
                let mut bytes = vec![0; SECTOR_SIZE];
                done.buffer.unwrap().read(0, &mut bytes).unwrap();
                let at = sector as usize * SECTOR_SIZE;
                assert_eq!(bytes, self.expected[at..at + SECTOR_SIZE]);
            }
        }
    }
}

/// With requests in flight, there and back.
#[test]
fn a_disk_goes_from_one_owner_to_another_while_its_driver_works() {
    let runs = (0..6).map(|seed| Run::Inline { seed });
    for run in runs.chain([Run::Threaded]) {
        for format in [
            Features::NONE,
            F::EVENT_IDX,
            F::RING_PACKED,
            F::RING_PACKED | F::EVENT_IDX | F::IN_ORDER,
        ] {
            let bench = Bench::new(run, format, Interface::Modern);
            let mut load = Load::new(&bench);
            let (_one, mut first) = bench.owner(0);
            let (_other, mut second) = bench.owner(1);

            for _ in 0..3 {
                for (target, in_flight) in [(1, 9), (0, 4)] {
                    (0..in_flight).for_each(|_| load.submit());
                    let (from, to) = match target {
                        1 => (&mut first, &mut second),
                        _ => (&mut second, &mut first),
                    };
                    bench.migrate(from, to, target);
                    (0..3).for_each(|_| load.submit());
                    load.settle();
                }
            }

            assert_eq!(*bench.disk.0.lock().unwrap(), load.expected);
        }
    }
}

fn why<V: core::fmt::Debug>(outcome: Result<V, Error>) -> AdminError {
    match outcome {
        Err(Error::Admin(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// §2.12.1.4.4.2
///
/// Clauses: drv:basic/device-groups/admin-cmds/device-parts:1
#[test]
fn a_member_that_was_not_stopped_is_given_no_parts() {
    let bench = Bench::new(Run::Inline { seed: 3 }, Features::NONE, Interface::Modern);
    let (_rng, mut admin) = bench.owner(0);
    let parts = admin.parts(TO, GET).unwrap();

    let never = why(admin.set_parts(TO, SET, &parts));
    admin.stop(TO).unwrap();
    let stopped = admin.set_parts(TO, SET, &parts);
    admin.go_on(TO).unwrap();
    let again = why(admin.set_parts(TO, SET, &parts));

    assert_eq!([never, again], [AdminError::NotStopped(1); 2]);
    assert_eq!(stopped, Ok(()));
}

/// §2.12.1.4.4.2
///
/// Clauses: drv:basic/device-groups/admin-cmds/device-parts:2
#[test]
fn parts_are_given_in_the_order_of_the_table_or_not_at_all() {
    let bench = Bench::new(Run::Inline { seed: 4 }, Features::NONE, Interface::Modern);
    let (_rng, mut admin) = bench.owner(0);
    admin.stop(TO).unwrap();
    let parts = admin.parts(TO, GET).unwrap();
    let mut swapped: Vec<Part> = parts.clone();
    swapped.swap(0, 1);

    let given = admin.set_parts(TO, SET, &parts);
    let refused = why(admin.set_parts(TO, SET, &swapped));

    assert_eq!(given, Ok(()));
    assert_eq!(refused, AdminError::PartOrder(parts[0].part_type));
}

#[test]
fn parts_are_told_by_their_headers_and_can_be_selected() {
    let bench = Bench::new(Run::Inline { seed: 5 }, Features::NONE, Interface::Modern);
    let (_rng, mut admin) = bench.owner(0);
    admin.stop(TO).unwrap();

    let all = admin.parts(TO, GET).unwrap();
    let headers = admin.part_headers(TO, GET).unwrap();
    let two = admin.selected_parts(TO, GET, &headers[..2]).unwrap();

    let expected: Vec<_> = all.iter().map(Part::header).collect();
    assert_eq!(headers, expected);
    assert_eq!(two, all[..2]);
}

/// §2.12.1.1
#[test]
fn an_owner_drives_the_legacy_interface_of_a_member() {
    let bench = Bench::new(
        Run::Inline { seed: 6 },
        Features::NONE,
        Interface::Transitional,
    );
    let (_rng, mut admin) = bench.owner(0);
    let common = |offset: usize| Legacy::Common(offset as u8);
    let (status, offered) = (common(18), common(0));

    admin.legacy_write(TO, status, Width::One, 3).unwrap();
    let read = admin.legacy_read(TO, status, Width::One).unwrap();
    let features = admin.legacy_read(TO, offered, Width::Four).unwrap();
    let capacity = admin
        .legacy_read(TO, Legacy::Device(0), Width::Eight)
        .unwrap();
    let beyond = admin.legacy_read(TO, common(22), Width::Two);
    let function = bench.made.function(0);
    let size = |whose, bar| {
        let bars = function.bars().iter();
        let bar = bars.filter(|found| found.index == bar && whose == Whose::Member);
        bar.map(|found| found.size).next()
    };
    let places = admin.legacy_notify_places(TO, size).unwrap();

    assert_eq!((read, capacity), (3, SECTORS));
    assert_ne!(features, 0);
    assert!(matches!(why(beyond), AdminError::Failed(_)));
    assert_eq!((places.len(), places[0].bar), (1, 4));
}
