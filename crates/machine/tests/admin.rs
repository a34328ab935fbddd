//! Administration queues over real registers: both ends, beside a driver that works.
#![cfg(test)]

use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Poll;
use core::time::Duration;
use std::sync::{Arc, Mutex};

use ringway_device::admin::{self, Administration, Command, Facilities, Group};
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Interface, Offer};
use ringway_driver::admin::{Admin, Request};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::{DmaBuffer, QueueOptions};
use ringway_driver::entropy::Rng;
use ringway_driver::error::{AdminError, Error, Kind};
use ringway_driver::pci::{self, Pci, Preference};
use ringway_driver::{mmio, transport::Transport};
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_spec::admin::{
    CapabilityId, GroupType, ObjectHeader, ObjectType, Opcode, Opcodes, PartsCapability, Qualifier,
    Status,
};
use ringway_spec::{F, Features};

const LIMIT: Duration = Duration::from_secs(30);

const OWN: (GroupType, u64) = (GroupType::SELF, 0);

/// A group of a type that nobody has defined.
const OTHERS: GroupType = GroupType::from_u16(0x40);

/// How many objects of each purpose there may be.
const PARTS: PartsCapability = PartsCapability {
    get_parts_resource_objects_limit: 3,
    set_parts_resource_objects_limit: 2,
};

struct Fives;

impl Source for Fives {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        into.fill(5);
        Ok(())
    }
}

/// Objects of eight bytes, of which nothing is done.
struct Plain;

impl admin::Kind for Plain {
    fn object_type(&self) -> ObjectType {
        ObjectType::DEV_PARTS
    }

    fn bytes(&self) -> usize {
        8
    }

    fn create(&self, _: u64, _: u32, _: u64, object: &[u8]) -> Result<(), admin::Failure> {
        match object[0] {
            0 | 1 => Ok(()),
            _ => Err(admin::Failure::InvalidField),
        }
    }

    fn modify(&self, _: u64, _: u32, _: u64, _: &[u8]) -> Result<(), admin::Failure> {
        Ok(())
    }

    fn destroy(&self, _: u64, _: u32) {}
}

/// Others, whose members are asked to wait some times before they do as they are told.
#[derive(Default)]
struct Others {
    /// How often the next command is to be asked for again by the driver.
    again: AtomicU32,
    /// How often it is not done yet.
    waits: AtomicU32,
    stopped: Mutex<Vec<(u64, u8)>>,
}

impl Group for Others {
    fn group_type(&self) -> GroupType {
        OTHERS
    }

    fn commands(&self) -> Opcodes {
        Opcodes::OBJECTS.union(Opcodes::PARTS)
    }

    fn has_member(&self, member: u64) -> bool {
        (1..=4).contains(&member)
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, admin::Failure>> {
        let due = |count: &AtomicU32| {
            let less = |count: u32| count.checked_sub(1);
            count
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok()
        };
        if due(&self.again) {
            return Poll::Ready(Err(admin::Failure::TryAgain));
        }
        if due(&self.waits) {
            return Poll::Pending;
        }
        let kind = command.data.first().copied().unwrap_or(0);
        self.stopped.lock().unwrap().push((command.member, kind));
        Poll::Ready(Ok(vec![kind; 12]))
    }
}

fn facilities() -> Arc<Facilities> {
    let capability = admin::Capability::parts(&PARTS);
    let facilities = Facilities::default().with_capability(capability);
    Arc::new(facilities.with_kind(Arc::new(Plain)))
}

struct Bench {
    machine: Machine,
    others: Arc<Others>,
}

impl Bench {
    fn new(run: Run, format: Features, queues: u16) -> Self {
        let others = Arc::<Others>::default();
        let administration = Administration::new(queues)
            .with(facilities())
            .with(others.clone());
        let options = Options {
            offer: Offer::default().with(format),
            administration,
            ..Options::default()
        };
        let device = Box::new(Entropy::new(Fives));
        let machine = Machine::builder().run(run).pci("rng", device, options);
        let machine = machine.build().unwrap();
        Self { machine, others }
    }

    fn transport(&self) -> Pci<Platform> {
        let platform = self.machine.platform();
        let function = pci::scan(&platform).next().unwrap();
        pci::open(&platform, &function, Preference::ModernFirst).unwrap()
    }
}

fn open<T: Transport>(transport: T, administration: u16) -> Rng<T, DmaBuffer> {
    let wanted = Wanted {
        administration,
        ..Wanted::default()
    };
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    Rng::open(device, &wanted, &QueueOptions::default()).unwrap()
}

fn take<T: Transport>(rng: &mut Rng<T, DmaBuffer>) -> Admin<T::Platform> {
    let mut admin = rng.device().take_admin().expect("there are queues for it");
    admin.set_patience(LIMIT);
    admin
}

fn runs() -> impl Iterator<Item = (Run, Features)> {
    let runs = (0..3).map(|seed| Run::Inline { seed });
    let formats = [Features::NONE, F::RING_PACKED, F::RING_PACKED | F::IN_ORDER];
    runs.chain([Run::Threaded])
        .flat_map(move |run| formats.map(|format| (run, format)))
}

fn why<V: core::fmt::Debug>(outcome: Result<V, Error>) -> AdminError {
    match outcome {
        Err(Error::Admin(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_device_is_asked_about_itself_beside_a_driver_that_works() {
    for (run, format) in runs() {
        let bench = Bench::new(run, format, 1);
        let mut rng = open(bench.transport(), 1);
        let mut admin = take(&mut rng);

        let known = Opcodes::CAPABILITIES.union(Opcodes::OBJECTS);
        let used = admin.begin(GroupType::SELF, known).unwrap();
        let platform = bench.machine.platform();
        rng.request(DmaBuffer::new(&platform, 8).unwrap()).unwrap();
        let capabilities = admin.capabilities().unwrap();
        let offered: PartsCapability = admin.capability().unwrap();
        admin.set_capability(&offered).unwrap();
        let object = ObjectHeader::new(ObjectType::DEV_PARTS, 4);
        admin.create(OWN, object, 0, &[1, 2]).unwrap();
        let made = admin.query(OWN, object, 8).unwrap();
        admin.modify(OWN, object, 0, &[0, 9]).unwrap();
        let changed = admin.query(OWN, object, 2).unwrap();
        admin.destroy(OWN, object).unwrap();
        admin.create(OWN, object, 0, &[]).unwrap();

        assert_eq!(used, known.union(Opcodes::LISTS));
        assert_eq!(capabilities, [CapabilityId::DEV_PARTS]);
        assert_eq!(offered, PARTS);
        assert_eq!(made.bytes(), [1, 2, 0, 0, 0, 0, 0, 0]);
        assert_eq!(changed.bytes()[..2], [0, 9]);
        assert_eq!(rng.wait(LIMIT).unwrap().random, 8);
        assert!(rng.device().features().contains(F::ADMIN_VQ));
    }
}

/// §2.13.2: several queues keep the order of commands for one member.
#[test]
fn commands_to_several_members_go_over_several_queues_and_those_to_one_in_their_order() {
    for (run, format) in runs() {
        let bench = Bench::new(run, format, 3);
        let mut rng = open(bench.transport(), 3);
        let mut admin = take(&mut rng);
        let group = OTHERS;
        admin.begin(group, Opcodes::PARTS).unwrap();
        bench.others.waits.store(5, Ordering::SeqCst);
        let mode = |member, flags| Request::mode(group, member, flags);

        let sent: Vec<_> = (0..4)
            .flat_map(|round| (1..=3).map(move |member| (member, round)))
            .map(|(member, round)| admin.submit(&mode(member, round)).unwrap())
            .collect();
        let in_flight = admin.in_flight();
        let settling = why(admin.use_commands(group, Opcodes::LISTS));
        for ticket in sent {
            admin.wait(ticket).unwrap();
        }

        assert_eq!(admin.queues(), 3);
        assert_eq!(settling, AdminError::InFlight(in_flight));
        let stopped = bench.others.stopped.lock().unwrap();
        for member in 1..=3 {
            let own = stopped.iter().filter(|(to, _)| *to == member);
            assert_eq!(
                own.map(|(_, round)| *round).collect::<Vec<_>>(),
                [0, 1, 2, 3]
            );
        }
    }
}

#[test]
fn a_command_that_is_to_be_asked_for_again_is_and_a_failure_is_told() {
    let bench = Bench::new(Run::Inline { seed: 7 }, Features::NONE, 1);
    let mut rng = open(bench.transport(), 1);
    let mut admin = take(&mut rng);
    let group = OTHERS;
    admin.begin(group, Opcodes::PARTS).unwrap();
    bench.others.again.store(9, Ordering::SeqCst);

    let done = admin.call(&Request::mode(group, 2, 1)).unwrap();
    let nobody = why(admin.call(&Request::mode(group, 5, 1)));
    let no_group = why(admin.list(GroupType::from_u16(7)));

    assert!(done.bytes().is_empty());
    assert_eq!(*bench.others.stopped.lock().unwrap(), [(2, 1)]);
    let failed = |why| match why {
        AdminError::Failed(failure) => (failure.status, failure.reason(), failure.kind()),
        other => panic!("{other:?}"),
    };
    let invalid = (Status::EINVAL, Qualifier::INVALID_MEMBER, Kind::Invalid);
    assert_eq!(failed(nobody), invalid);
    assert_eq!(failed(no_group).1, Qualifier::INVALID_GROUP);
}

#[test]
fn what_a_driver_said_is_forgotten_by_a_reset_on_both_sides() {
    for format in [Features::NONE, F::RING_PACKED] {
        let bench = Bench::new(Run::Inline { seed: 1 }, format, 2);
        let mut rng = open(bench.transport(), 2);
        let mut admin = take(&mut rng);
        let object = ObjectHeader::new(ObjectType::DEV_PARTS, 0);
        let known = Opcodes::CAPABILITIES.union(Opcodes::OBJECTS);
        let setup = |admin: &mut Admin<Platform>| {
            let unused = why(admin.capabilities());
            admin.begin(GroupType::SELF, known).unwrap();
            let unset = why(admin.create(OWN, object, 0, &[]));
            let offered: PartsCapability = admin.capability().unwrap();
            admin.set_capability(&offered).unwrap();
            admin.create(OWN, object, 0, &[]).unwrap();
            (unused, unset)
        };

        let first = setup(&mut admin);
        let transport = rng.reset().0.unwrap();
        let gone = admin.list(GroupType::SELF).err();
        let mut rng = open(transport, 1);
        let mut admin = take(&mut rng);
        let second = setup(&mut admin);

        let no_room = AdminError::NoRoom { id: 0, limit: 0 };
        let unused = AdminError::NotUsed(Opcode::CAP_ID_LIST_QUERY);
        assert_eq!(first, (unused, no_room));
        assert_eq!(second, first);
        assert_eq!(gone, Some(Error::Gone));
        assert_eq!(admin.queues(), 1);
    }
}

#[test]
fn a_driver_that_does_not_ask_for_administration_or_reaches_none_has_none() {
    let options = || Options {
        administration: Administration::new(1).with(facilities()),
        ..Options::default()
    };
    let device = || Box::new(Entropy::new(Fives));
    let machine = Machine::builder()
        .pci("on PCI", device(), options())
        .mmio("on MMIO", device(), options())
        .pci("without", device(), Options::default())
        .pci(
            "old",
            device(),
            Options {
                interface: Interface::Legacy,
                ..options()
            },
        )
        .build()
        .unwrap();
    let platform = machine.platform();
    let open_at = |index: usize, administration| {
        let function = pci::scan(&platform).nth(index).unwrap();
        let opened = pci::open(&platform, &function, Preference::ModernFirst);
        open(opened.unwrap(), administration)
    };

    let slots = machine.mmio_slots().to_vec();
    let window = mmio::scan(machine.platform(), slots).next().unwrap();
    let mut on_mmio = open(window.unwrap(), 1);
    let mut others = [open_at(0, 0), open_at(1, 1), open_at(2, 1)];

    assert!(on_mmio.device().take_admin().is_none());
    for rng in &mut others {
        assert!(rng.device().take_admin().is_none());
        assert!(!rng.device().features().contains(F::ADMIN_VQ));
    }
}

/// All that is asked for, and no more than there are.
#[test]
fn a_driver_has_as_many_queues_as_it_asks_for_and_there_are() {
    for (offered, wanted, had) in [(3, 1, 1), (3, 9, 3), (64, 64, 16)] {
        let bench = Bench::new(Run::Inline { seed: 2 }, Features::NONE, offered);
        let mut rng = open(bench.transport(), wanted);

        let mut admin = take(&mut rng);

        assert_eq!(admin.queues(), had);
        assert!(admin.list(GroupType::SELF).is_ok());
        assert!(rng.device().take_admin().is_none());
    }
}
