//! The driver's end of administration, against a device that does what the test says.

use std::vec;
use std::vec::Vec;

use ringway_ring::device;
use ringway_spec::admin::{
    CapabilityHeader, CapabilityId, CommandHeader, ObjectHeader, ObjectType, Opcode,
    PartsCapability, Qualifier,
};
use ringway_spec::{DeviceId, F};
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::bringup::{Acknowledged, Live, Wanted};
use crate::platform::Trust;
use crate::scripted::Scripted;
use crate::testing::TestPlatform;
use crate::transport::AdminQueues;

/// The first administration queue of the device: not the next after its others.
const FIRST: u16 = 5;

const OWN: (GroupType, u64) = (GroupType::SELF, 0);
const VFS: GroupType = GroupType::SR_IOV;

struct Bench {
    device: Scripted,
    ends: Vec<device::Queue>,
    admin: Admin<TestPlatform>,
    _live: Live<Scripted>,
}

/// What a driver sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    opcode: Opcode,
    to: (GroupType, u64),
    data: Vec<u8>,
    readable: u32,
    writable: u32,
}

fn scripted(queues: u16) -> Scripted {
    // Whose device reaches what it is lent: nothing is copied for it.
    let device = Scripted::new(Trust::Trusted, DeviceId(42), F::ADMIN_VQ, Vec::new());
    device.script().admin = Some(AdminQueues {
        first: FIRST,
        count: queues,
        others: 3,
    });
    device
}

fn start(device: &Scripted, administration: u16) -> Result<Live<Scripted>> {
    let wanted = Wanted {
        administration,
        ..Wanted::default()
    };
    let probed = Acknowledged::new(device.clone())?.driver()?;
    let mut negotiated = probed.negotiate(&wanted)?;
    let queue = negotiated.queue::<Vec<u8>, (), ()>(0, &QueueOptions::default())?;
    Ok(negotiated.start(queue)?.0)
}

impl Bench {
    fn new(queues: u16) -> Self {
        let device = scripted(queues);
        let mut live = start(&device, queues).unwrap();
        Self {
            ends: (0..queues)
                .map(|place| device.queue(FIRST + place))
                .collect(),
            admin: live.take_admin().unwrap(),
            device,
            _live: live,
        }
    }

    /// Takes the next command of a queue, and answers with these bytes, of which the device says
    /// that it has `written` so many.
    fn answer_with(&mut self, queue: usize, bytes: &[u8], written: u32) -> Sent {
        let map = self.device.platform.device_map();
        let mut batch = self.ends[queue].batch(&map);
        let chain = batch.next_chain().unwrap().expect("a command was sent");
        let mut readable = batch.readable(&chain);
        let mut read = vec![0; readable.remaining() as usize];
        readable.read(&mut read).unwrap();
        let (header, data) = CommandHeader::read_from_prefix(&read).unwrap();
        let mut writable = batch.writable(&chain);
        let room = writable.remaining() as usize;
        writable.write(&bytes[..bytes.len().min(room)]).unwrap();
        let sent = Sent {
            opcode: header.opcode,
            to: (header.group_type, header.group_member_id.get()),
            data: data.to_vec(),
            readable: chain.readable_bytes(),
            writable: chain.writable_bytes(),
        };
        batch.complete(chain, written);
        sent
    }

    /// Answers with a status, and a result, all of it written.
    fn answer(&mut self, queue: usize, status: u16, qualifier: u16, result: &[u8]) -> Sent {
        let header = StatusHeader {
            status: Status::from_u16(status),
            status_qualifier: Qualifier::from_u16(qualifier),
            ..StatusHeader::default()
        };
        let bytes = [header.as_bytes(), result].concat();
        self.answer_with(queue, &bytes, bytes.len() as u32)
    }

    fn done(&mut self) -> Result<Reply, Failure> {
        self.admin.poll().unwrap().expect("it is done").outcome
    }

    /// Sends a command, which succeeds with this result.
    fn succeed(&mut self, request: &Request, result: &[u8]) -> Sent {
        self.admin.submit(request).unwrap();
        let sent = self.answer(0, 0, 0, result);
        self.done().unwrap();
        sent
    }

    /// Says that all of these are used in a group.
    fn using(&mut self, group: GroupType, opcodes: Opcodes) {
        self.succeed(&Request::list(group), opcodes.to_words().as_bytes());
        self.succeed(&Request::use_commands(group, opcodes), &[]);
    }

    /// Whether nothing was sent that was not answered.
    fn nothing_sent(&mut self) -> bool {
        let map = self.device.platform.device_map();
        let none = |end: &mut device::Queue| end.batch(&map).next_chain().unwrap().is_none();
        self.admin.in_flight() == 0 && self.ends.iter_mut().all(none)
    }

    fn refused(&mut self, request: &Request) -> AdminError {
        match self.admin.submit(request) {
            Err(Error::Admin(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

const ALL: Opcodes = Opcodes(0x3_ffff);

fn limits(get: u8, set: u8) -> PartsCapability {
    PartsCapability {
        get_parts_resource_objects_limit: get,
        set_parts_resource_objects_limit: set,
    }
}

fn object(id: u32) -> ObjectHeader {
    ObjectHeader::new(ObjectType::DEV_PARTS, id)
}

fn create(id: u32) -> Request {
    Request::create(OWN, object(id), 0, &[])
}

/// Clauses: drv:basic/device-groups/admin-cmds:2, drv:basic/device-groups/admin-cmds:6
#[test]
fn nothing_but_the_lists_is_sent_before_the_device_has_taken_what_is_used() {
    let mut bench = Bench::new(1);
    let mode = Request::mode(VFS, 1, 1);
    let unused = AdminError::NotUsed(Opcode::DEV_MODE_SET);
    let uses = Request::use_commands(VFS, ALL);

    let at_first = bench.refused(&mode);
    bench.succeed(&Request::list(VFS), ALL.to_words().as_bytes());
    let listed = bench.refused(&mode);
    bench.admin.submit(&uses).unwrap();
    let on_its_way = bench.refused(&mode);
    bench.answer(0, 22, 3, &[]);
    bench.done().unwrap_err();
    let failed = bench.refused(&mode);
    bench.succeed(&uses, &[]);
    let other_group = bench.refused(&Request::mode(GroupType::SELF, 0, 1));

    assert_eq!([at_first, listed, failed, other_group], [unused; 4]);
    assert_eq!(on_its_way, AdminError::Settling);
    assert!(bench.nothing_sent());
    assert_eq!(bench.admin.used(VFS), ALL);
    assert!(bench.admin.submit(&mode).is_ok());
}

/// Clauses: drv:basic/device-groups/admin-cmds:3
#[test]
fn what_is_used_is_not_changed_while_commands_are_in_flight() {
    let mut bench = Bench::new(2);
    bench.using(VFS, ALL);
    for member in [1, 2] {
        bench.admin.submit(&Request::mode(VFS, member, 0)).unwrap();
    }

    let uses = Request::use_commands(VFS, Opcodes::LISTS);
    let with_two = bench.refused(&uses);
    bench.answer(1, 0, 0, &[]);
    bench.done().unwrap();
    let with_one = bench.refused(&uses);
    bench.answer(0, 0, 0, &[]);
    bench.done().unwrap();
    let with_none = bench.admin.submit(&uses);

    assert_eq!(with_two, AdminError::InFlight(2));
    assert_eq!(with_one, AdminError::InFlight(1));
    assert!(with_none.is_ok());
}

/// Clauses: drv:basic/device-groups/admin-cmds:5
#[test]
fn a_command_that_the_device_did_not_list_for_the_group_is_not_said_to_be_used() {
    let mut bench = Bench::new(1);
    let listed = Opcodes::LISTS.union(Opcodes::of(&[Opcode::DEV_MODE_SET]));
    let more = Opcodes::of(&[Opcode::DEV_PARTS_GET]);

    let unasked = bench.refused(&Request::use_commands(VFS, listed));
    bench.succeed(&Request::list(VFS), listed.to_words().as_bytes());
    let beyond = bench.refused(&Request::use_commands(VFS, listed.union(more)));
    let elsewhere = bench.refused(&Request::use_commands(GroupType::SELF, listed));

    assert_eq!([unasked, elsewhere], [AdminError::NotListed(listed); 2]);
    assert_eq!(beyond, AdminError::NotListed(more));
    assert!(bench.nothing_sent());
    let sent = bench.succeed(&Request::use_commands(VFS, listed), &[]);
    assert_eq!(sent.data, listed.to_words().as_bytes());
}

/// Clauses: drv:basic/device-groups/admin-cmds:8, drv:basic/device-groups/admin-cmds:9
#[test]
fn what_nobody_knows_of_a_failure_is_that_the_command_was_invalid() {
    let mut bench = Bench::new(1);
    let mut fail = |status, qualifier| {
        bench.admin.submit(&Request::list(VFS)).unwrap();
        bench.answer(0, status, qualifier, &[0xff; 64]);
        let failure = bench.done().unwrap_err();
        (failure.kind(), failure.reason())
    };

    let known = [(6, 1), (11, 7), (12, 6), (16, 1), (17, 1), (22, 2), (28, 1)]
        .map(|(status, qualifier)| fail(status, qualifier).0);
    let unknown = [1, 5, 23, 255, u16::MAX].map(|status| fail(status, 2));
    let reasons = [0x08, 0x100, u16::MAX].map(|qualifier| fail(22, qualifier));

    use Kind::{Busy, Exhausted, Exists, Invalid, Missing, NoMemory, TryAgain};
    let all = [
        Missing, TryAgain, NoMemory, Busy, Exists, Invalid, Exhausted,
    ];
    assert_eq!(known, all);
    assert_eq!(unknown, [(Invalid, Qualifier::INVALID_OPCODE); 5]);
    assert_eq!(reasons, [(Invalid, Qualifier::INVALID_COMMAND); 3]);
    // Nothing of such an answer is believed.
    assert_eq!(
        bench.refused(&Request::use_commands(VFS, ALL)),
        AdminError::NotListed(ALL)
    );
}

/// Clauses: drv:basic/administration-virtqueues:3, drv:basic/administration-virtqueues:4
#[test]
fn both_parts_of_a_command_are_there_and_are_multiples_of_eight_bytes() {
    let mut bench = Bench::new(1);
    bench.using(VFS, ALL);
    bench.using(GroupType::SELF, ALL);
    let header = CapabilityHeader::new(CapabilityId::DEV_PARTS);
    let offered = limits(4, 4);
    let wanted = limits(2, 1);

    let lists = bench.succeed(&Request::list(VFS), &[]);
    let mode = bench.succeed(&Request::mode(VFS, 3, 1), &[]);
    let asked = bench.succeed(
        &Request::capability::<PartsCapability>(),
        offered.as_bytes(),
    );
    let set = bench.succeed(&Request::set_capability(&wanted), &[]);

    for sent in [&lists, &mode, &asked, &set] {
        assert!(sent.readable >= 24 && sent.writable >= 8, "{sent:?}");
        assert_eq!((sent.readable % 8, sent.writable % 8), (0, 0), "{sent:?}");
    }
    assert_eq!(mode.data, [1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((mode.opcode, mode.to), (Opcode::DEV_MODE_SET, (VFS, 3)));
    assert_eq!(set.data[..8], *header.as_bytes());
    assert_eq!(set.data[8..], [2, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!((asked.readable, asked.writable), (32, 16));
}

/// Clauses: drv:basic/administration-virtqueues:6
#[test]
fn what_the_device_did_not_write_of_an_answer_is_zero() {
    let mut bench = Bench::new(1);
    bench.using(GroupType::SELF, ALL);
    let ask = Request::capability::<PartsCapability>();
    let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 7, 9, 1, 1, 1, 1, 1, 1];

    let told = [4, 8, 9, 10, 16].map(|written| {
        bench.admin.submit(&ask).unwrap();
        // All of it is in the buffer; so much of it counts.
        bench.answer_with(0, &bytes, written);
        let reply = bench.done().unwrap();
        reply.head::<PartsCapability>()
    });

    let all = limits(7, 9);
    assert_eq!(told, [limits(0, 0), limits(0, 0), limits(7, 0), all, all]);
}

#[test]
fn an_answer_without_a_status_is_a_fault_of_the_device() {
    for written in 0..4 {
        let mut bench = Bench::new(1);
        bench.admin.submit(&Request::list(VFS)).unwrap();

        bench.answer_with(0, &[0; 64], written);
        let outcome = bench.admin.poll();

        let fault = Error::Device(Violation::NoStatus(written));
        assert_eq!(outcome, Err(fault));
        assert!(bench.nothing_sent());
    }
}

/// Clauses: drv:basic/administration-virtqueues:7
#[test]
fn commands_for_one_member_keep_their_order_though_there_are_several_queues() {
    let mut bench = Bench::new(2);
    bench.using(VFS, ALL);

    let members = [1, 2, 2, 1, 2];
    for (flags, member) in (0..).zip(members) {
        bench
            .admin
            .submit(&Request::mode(VFS, member, flags))
            .unwrap();
    }
    let mut of_queue = |queue, count| {
        let sent = (0..count).map(|_| bench.answer(queue, 0, 0, &[]));
        sent.map(|sent| (sent.to.1, sent.data[0]))
            .collect::<Vec<_>>()
    };

    assert_eq!(of_queue(0, 2), [(1, 0), (1, 3)]);
    assert_eq!(of_queue(1, 3), [(2, 1), (2, 2), (2, 4)]);
}

/// Clauses: drv:basic/device-groups/admin-cmds/device-and-driver-capabilities:2
#[test]
fn no_more_is_set_of_a_capability_than_the_device_says_that_it_has() {
    let mut bench = Bench::new(1);
    bench.using(GroupType::SELF, ALL);

    let unasked = bench.refused(&Request::set_capability(&limits(0, 0)));
    let ask = Request::capability::<PartsCapability>();
    bench.succeed(&ask, limits(2, 1).as_bytes());
    let beyond = [(3, 0), (0, 2), (255, 255)]
        .map(|(get, set)| bench.refused(&Request::set_capability(&limits(get, set))));

    let id = CapabilityId::DEV_PARTS;
    assert_eq!(unasked, AdminError::NotAsked(id));
    assert_eq!(beyond, [AdminError::Beyond(id); 3]);
    assert!(bench.nothing_sent());
    bench.succeed(&Request::set_capability(&limits(2, 1)), &[]);
}

/// A bench whose driver may have three objects.
fn with_objects() -> Bench {
    let mut bench = Bench::new(1);
    bench.using(GroupType::SELF, ALL);
    let ask = Request::capability::<PartsCapability>();
    bench.succeed(&ask, limits(2, 1).as_bytes());
    bench.succeed(&Request::set_capability(&limits(2, 1)), &[]);
    bench
}

/// Clauses: drv:basic/device-groups/admin-cmds/device-and-driver-capabilities:1,
/// drv:basic/device-groups/admin-cmds/device-resource-objects:6
#[test]
fn objects_are_used_only_when_a_capability_for_them_was_set() {
    let mut bench = Bench::new(1);
    bench.using(GroupType::SELF, ALL);
    let ask = Request::capability::<PartsCapability>();

    bench.succeed(&ask, limits(2, 1).as_bytes());
    let before = bench.refused(&create(0));
    bench
        .admin
        .submit(&Request::set_capability(&limits(1, 0)))
        .unwrap();
    let on_its_way = bench.refused(&create(0));
    bench.answer(0, 16, 1, &[]);
    bench.done().unwrap_err();
    let failed = bench.refused(&create(0));
    bench.succeed(&Request::set_capability(&limits(1, 0)), &[]);

    let none = AdminError::NoRoom { id: 0, limit: 0 };
    assert_eq!([before, failed], [none; 2]);
    assert_eq!(on_its_way, AdminError::Settling);
    bench.succeed(&create(0), &[]);
}

/// Clauses: drv:basic/device-groups/admin-cmds/device-resource-objects:1,
/// drv:basic/device-groups/admin-cmds/device-resource-objects:2
#[test]
fn there_are_no_two_objects_of_a_number_and_no_more_than_there_may_be() {
    let mut bench = with_objects();

    bench.admin.submit(&create(1)).unwrap();
    let on_its_way = bench.refused(&create(1));
    bench.answer(0, 28, 1, &[]);
    bench.done().unwrap_err();
    bench.succeed(&create(1), &[]);
    let again = bench.refused(&create(1));
    let beyond = [3, u32::MAX].map(|id| bench.refused(&create(id)));
    bench.succeed(&create(0), &[]);
    bench.succeed(&create(2), &[]);
    bench
        .admin
        .submit(&Request::destroy(OWN, object(1)))
        .unwrap();
    let going = bench.refused(&create(1));
    bench.answer(0, 0, 0, &[]);
    bench.done().unwrap();

    assert_eq!(
        [on_its_way, again, going],
        [AdminError::Exists(object(1)); 3]
    );
    let none = |id| AdminError::NoRoom { id, limit: 3 };
    assert_eq!(beyond, [none(3), none(u32::MAX)]);
    bench.succeed(&create(1), &[]);
}

/// Clauses: drv:basic/device-groups/admin-cmds/device-resource-objects:5,
/// drv:basic/device-groups/admin-cmds/device-and-driver-capabilities:3
#[test]
fn a_capability_is_left_alone_while_there_are_objects_that_it_limits() {
    let mut bench = with_objects();
    let none = Request::set_capability(&limits(0, 0));
    bench.succeed(&create(1), &[]);

    let meanwhile = bench.refused(&none);
    bench.succeed(&Request::destroy(OWN, object(1)), &[]);
    let after = bench.admin.submit(&none);

    assert_eq!(meanwhile, AdminError::HasObjects(ObjectType::DEV_PARTS));
    assert!(after.is_ok());
}

#[test]
fn an_object_that_there_is_not_is_neither_changed_nor_looked_at_nor_ended() {
    let mut bench = with_objects();
    let requests = [
        Request::modify(OWN, object(0), 0, &[1]),
        Request::query(OWN, object(0), 0, 8),
        Request::destroy(OWN, object(0)),
    ];

    let before = requests.each_ref().map(|request| bench.refused(request));
    bench.succeed(&create(0), &[]);
    // The device knows of none.
    bench.admin.submit(&requests[1]).unwrap();
    bench.answer(0, 6, 1, &[]);
    bench.done().unwrap_err();
    let lost = bench.refused(&requests[2]);

    assert_eq!(before, [AdminError::Missing(object(0)); 3]);
    assert_eq!(lost, AdminError::Missing(object(0)));
}

#[test]
fn a_device_whose_administration_queues_cannot_be_where_it_says_is_given_up() {
    let places = [(2, 1, 3), (0, 1, 1), (u16::MAX, 2, 3), (1, u16::MAX, 2)];
    for (first, count, others) in places {
        let device = scripted(1);
        device.script().admin = Some(AdminQueues {
            first,
            count,
            others,
        });

        let outcome = start(&device, 1).map(drop);

        let fault = Violation::AdminQueues { first, count };
        assert_eq!(outcome, Err(Error::Device(fault)));
        assert!(device.script().queues.is_empty());
    }
}

/// Clauses: drv:pci/pci-device-layout/common-cfg-structure-layout:10
#[test]
fn administration_queues_are_those_at_the_indices_that_the_device_says() {
    let bench = Bench::new(2);

    let script = bench.device.script();

    let enabled: Vec<_> = script.queues.keys().copied().collect();
    assert_eq!(enabled, [0, FIRST, FIRST + 1]);
}

#[test]
fn a_device_may_have_no_administration_queue_after_all() {
    let mut live = start(&scripted(0), 7).unwrap();

    assert!(live.features().contains(F::ADMIN_VQ));
    assert!(live.take_admin().is_none());
}

/// Whatever a device answers, nothing panics or grows; and what was said before is still true.
#[test]
fn a_device_that_answers_nonsense_is_survived() {
    for seed in 0..40 {
        let mut bench = Bench::new(2);
        let mut random = Random(seed);
        for _ in 0..200 {
            // Full, or not to be sent: then there are answers first.
            let _ = bench.admin.submit(&random.request());
            let flights = &bench.admin.flights;
            let queues: Vec<_> = flights.iter().map(|flight| flight.queue).collect();
            let Some(&queue) = queues.get(random.below(4) as usize) else {
                continue;
            };
            let len = random.below(80);
            let bytes: Vec<u8> = (0..len).map(|_| random.below(3) as u8).collect();
            bench.answer_with(queue, &bytes, random.below(100) as u32);
            let outcome = bench.admin.poll();

            let lacks_status = matches!(outcome, Err(Error::Device(Violation::NoStatus(0..4))));
            assert!(
                lacks_status || matches!(outcome, Ok(Some(_))),
                "seed {seed}"
            );
            assert_eq!(bench.admin.in_flight(), queues.len() - 1, "seed {seed}");
        }
        for group in [GroupType::SELF, VFS] {
            assert!(Opcodes(u64::MAX >> 46).contains(bench.admin.used(group)));
        }
    }
}

/// Numbers that look random, and are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }

    fn request(&mut self) -> Request {
        let group = [GroupType::SELF, VFS][self.below(2) as usize];
        let to = (group, self.below(3));
        let object = object(self.below(4) as u32);
        match self.below(8) {
            0 => Request::list(group),
            1 => Request::use_commands(group, Opcodes(self.below(1 << 18))),
            2 => Request::capabilities(),
            3 => Request::capability::<PartsCapability>(),
            4 => Request::set_capability(&limits(self.below(3) as u8, self.below(3) as u8)),
            5 => Request::create(to, object, 0, &[]),
            6 => Request::destroy(to, object),
            _ => Request::mode(group, to.1, 1),
        }
    }
}
