use ringway_spec::admin::Opcode as O;
use ringway_spec::le::U64;
use zerocopy::IntoBytes;

use super::super::OBJECTS_BYTES_MAX;
use super::super::capability::{Field, Rule};
use super::*;

/// A capability of a device type: how many jars there may be, and what colours they can have.
const JARS: CapabilityId = CapabilityId::from_u16(0x0841);
const JAR: ObjectType = ObjectType::from_u16(0x200);
const LID: ObjectType = ObjectType::from_u16(0x201);

/// Jars stand alone; a lid is on the jar that its first byte names.
struct Pottery(ObjectType, Arc<Mutex<Vec<Event>>>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Made(u16, u32, u64),
    Changed(u32),
    Ended(u16, u32),
}

impl Kind for Pottery {
    fn object_type(&self) -> ObjectType {
        self.0
    }

    fn bytes(&self) -> usize {
        match self.0 {
            // So large that there is not room for all of them.
            JAR => 2048,
            _ => 8,
        }
    }

    fn needs(&self, object: &[u8]) -> Vec<ObjectHeader> {
        match self.0 {
            LID => vec![ObjectHeader::new(JAR, object[0].into())],
            _ => Vec::new(),
        }
    }

    fn create(&self, _member: u64, id: u32, flags: u64, _object: &[u8]) -> Result<(), Failure> {
        self.1.lock().push(Event::Made(self.0.to_u16(), id, flags));
        Ok(())
    }

    fn modify(&self, _member: u64, id: u32, _flags: u64, object: &[u8]) -> Result<(), Failure> {
        if object[1] == 0xff {
            return Err(Failure::InvalidField);
        }
        self.1.lock().push(Event::Changed(id));
        Ok(())
    }

    fn destroy(&self, _member: u64, id: u32) {
        self.1.lock().push(Event::Ended(self.0.to_u16(), id));
    }
}

struct Shop {
    facilities: Facilities,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Shop {
    /// 1000 jars and 4 lids, in three colours.
    fn new() -> Self {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let field = |offset, bytes, rule| Field {
            offset,
            bytes,
            rule,
        };
        let fields = [
            field(0, 4, Rule::Objects(JAR)),
            field(4, 2, Rule::Objects(LID)),
            field(6, 1, Rule::Flags),
            field(7, 1, Rule::Limit),
        ];
        let offered = [0xe8, 3, 0, 0, 4, 0, 0b111, 5];
        let facilities = Facilities::default()
            .with_capability(Capability::new(JARS, &offered, &fields))
            .with_kind(Arc::new(Pottery(JAR, events.clone())))
            .with_kind(Arc::new(Pottery(LID, events.clone())));
        Self { facilities, events }
    }

    /// One whose driver uses all.
    fn open() -> Self {
        let shop = Self::new();
        shop.set(&[0xe8, 3, 0, 0, 4, 0, 0b111, 5]).unwrap();
        shop
    }

    fn send(&self, opcode: O, data: &[&[u8]]) -> Result<Vec<u8>, Failure> {
        self.send_for(SELF_MEMBER, opcode, data)
    }

    fn send_for(&self, member: u64, opcode: O, data: &[&[u8]]) -> Result<Vec<u8>, Failure> {
        let data = &data.concat();
        self.facilities.execute(&Command {
            opcode,
            member,
            data,
            room: 64,
        })
    }

    fn set(&self, wanted: &[u8]) -> Result<Vec<u8>, Failure> {
        let header = CapabilityHeader::new(JARS);
        self.send(O::DRIVER_CAP_SET, &[header.as_bytes(), wanted])
    }

    fn object(
        &self,
        opcode: O,
        kind: ObjectType,
        id: u32,
        data: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        let command = ObjectCommand {
            hdr: ObjectHeader::new(kind, id),
            flags: U64::new(0),
        };
        self.send(opcode, &[command.as_bytes(), data])
    }

    fn create(&self, kind: ObjectType, id: u32, data: &[u8]) -> Result<(), Failure> {
        self.object(O::RESOURCE_OBJ_CREATE, kind, id, data)
            .map(drop)
    }

    fn destroy(&self, kind: ObjectType, id: u32) -> Result<(), Failure> {
        let header = ObjectHeader::new(kind, id);
        self.send(O::RESOURCE_OBJ_DESTROY, &[header.as_bytes()])
            .map(drop)
    }

    fn query(&self, kind: ObjectType, id: u32) -> Result<Vec<u8>, Failure> {
        self.object(O::RESOURCE_OBJ_QUERY, kind, id, &[])
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-and-driver-capabilities:1
#[test]
fn a_device_with_capabilities_has_all_commands_for_them_and_one_without_kinds_none_for_objects() {
    let with_kinds = Shop::new().facilities.commands();
    let without = Facilities::default().commands();

    assert_eq!(with_kinds, Opcodes::CAPABILITIES.union(Opcodes::OBJECTS));
    assert_eq!(without, Opcodes::CAPABILITIES);
}

#[test]
fn capabilities_are_listed_by_a_bit_for_each_in_whole_words() {
    let none = Facilities::default().ids();
    let one = Shop::new().send(O::CAP_ID_LIST_QUERY, &[]).unwrap();

    assert_eq!(none, [0; 8]);
    // 0x841 is bit 1 of byte 264: the first of the 34th word.
    assert_eq!(one.len(), 34 * 8);
    let set: Vec<_> = (0..one.len()).filter(|&byte| one[byte] != 0).collect();
    assert_eq!((set, one[264]), (vec![264], 2));
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-and-driver-capabilities:2,
/// dev:basic/device-groups/admin-cmds/device-and-driver-capabilities:3
#[test]
fn a_driver_may_use_what_there_is_or_less_and_not_more() {
    let all = [0xe8, 3, 0, 0, 4, 0, 0b111, 5];
    let fewer: [&[u8]; 4] = [&[], &[1], &[0xe7, 3, 0, 0, 4, 0, 0b010, 4], &[0; 16]];
    let more: [&[u8]; 4] = [
        &[0xe9, 3],
        &[0, 0, 0, 0, 5],
        &[0, 0, 0, 0, 0, 0, 0b1000],
        &[0, 0, 0, 0, 0, 0, 0, 6],
    ];
    let shop = Shop::new();

    assert_eq!(shop.facilities.set(JARS), None);
    for wanted in fewer {
        assert_eq!(shop.set(wanted), Ok(vec![]));
        let mut whole = wanted.to_vec();
        whole.resize(8, 0);
        assert_eq!(shop.facilities.set(JARS), Some(whole));
    }
    shop.set(&all).unwrap();
    for wanted in more {
        assert_eq!(shop.set(wanted), Err(Failure::InvalidField));
        assert_eq!(shop.facilities.set(JARS), Some(all.to_vec()));
    }
}

#[test]
fn a_capability_that_there_is_not_can_be_neither_had_nor_set() {
    let shop = Shop::new();
    let header = CapabilityHeader::new(CapabilityId::DEV_PARTS);

    let outcomes = [O::DEVICE_CAP_GET, O::DRIVER_CAP_SET]
        .map(|opcode| shop.send(opcode, &[header.as_bytes()]));

    assert_eq!(outcomes, [Err(Failure::Missing), Err(Failure::Missing)]);
}

#[test]
fn what_a_device_has_of_a_capability_is_what_it_says() {
    let shop = Shop::new();
    let header = CapabilityHeader::new(JARS);

    let told = shop.send(O::DEVICE_CAP_GET, &[header.as_bytes()]);

    assert_eq!(told, Ok(vec![0xe8, 3, 0, 0, 4, 0, 0b111, 5]));
}

#[test]
fn a_capability_is_not_changed_while_there_are_objects_that_it_limits() {
    let shop = Shop::open();
    shop.create(JAR, 0, &[]).unwrap();

    let meanwhile = shop.set(&[0; 8]);
    shop.destroy(JAR, 0).unwrap();
    let after = shop.set(&[0; 8]);

    assert_eq!((meanwhile, after), (Err(Failure::Busy), Ok(vec![])));
}

#[test]
fn there_are_no_objects_before_a_capability_is_set_and_none_beyond_what_it_says() {
    let shop = Shop::new();

    let before = shop.create(JAR, 0, &[]);
    shop.set(&[2, 0, 0, 0, 1]).unwrap();
    let after = [0, 1, 2, u32::MAX].map(|id| shop.create(JAR, id, &[]));

    assert_eq!(before, Err(Failure::InvalidField));
    let no = Err(Failure::InvalidField);
    assert_eq!(after, [Ok(()), Ok(()), no, no]);
    assert_eq!(shop.create(ObjectType::from_u16(0x300), 0, &[]), no);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-resource-objects:5
#[test]
fn a_number_names_one_object_until_it_is_destroyed_and_then_perhaps_another() {
    let shop = Shop::open();

    let first = shop.create(LID, 3, &[0]);
    shop.create(JAR, 0, &[]).unwrap();
    let outcomes = (
        shop.create(LID, 3, &[0]),
        shop.create(LID, 3, &[0]),
        shop.destroy(LID, 3),
        shop.destroy(LID, 3),
        shop.create(LID, 3, &[0, 9]),
    );

    assert_eq!(first, Err(Failure::Missing));
    let (exists, missing) = (Err(Failure::Exists), Err(Failure::Missing));
    assert_eq!(outcomes, (Ok(()), exists, Ok(()), missing, Ok(())));
    assert_eq!(shop.query(LID, 3).unwrap()[..2], [0, 9]);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-resource-objects:10
#[test]
fn an_object_is_what_was_said_of_it_last() {
    let shop = Shop::open();
    shop.create(JAR, 1, &[]).unwrap();
    shop.create(LID, 0, &[1, 2, 3]).unwrap();

    let made = shop.query(LID, 0);
    let changed = shop.object(
        O::RESOURCE_OBJ_MODIFY,
        LID,
        0,
        &[1, 7, 0, 4, 0, 0, 0, 0, 99],
    );
    let then = shop.query(LID, 0);

    assert_eq!(made, Ok(vec![1, 2, 3, 0, 0, 0, 0, 0]));
    assert_eq!(changed, Ok(vec![]));
    assert_eq!(then, Ok(vec![1, 7, 0, 4, 0, 0, 0, 0]));
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-resource-objects:9
#[test]
fn an_object_that_could_not_be_changed_is_as_it_was() {
    let shop = Shop::open();
    shop.create(JAR, 1, &[]).unwrap();
    shop.create(LID, 0, &[1, 2]).unwrap();

    let refused = shop.object(O::RESOURCE_OBJ_MODIFY, LID, 0, &[1, 0xff]);
    let lost = shop.object(O::RESOURCE_OBJ_MODIFY, LID, 0, &[9, 1]);
    let needed = shop.object(O::RESOURCE_OBJ_MODIFY, JAR, 1, &[5]);

    assert_eq!(refused, Err(Failure::InvalidField));
    assert_eq!(lost, Err(Failure::Missing));
    assert_eq!(needed, Err(Failure::Busy));
    assert_eq!(shop.query(LID, 0).unwrap()[..2], [1, 2]);
    assert_eq!(shop.query(JAR, 1).unwrap()[0], 0);
    assert!(!shop.events.lock().contains(&Event::Changed(1)));
}

#[test]
fn an_object_on_which_another_depends_is_not_destroyed_before_it() {
    let shop = Shop::open();
    shop.create(JAR, 7, &[]).unwrap();
    shop.create(LID, 0, &[7]).unwrap();

    let outcomes = [
        shop.destroy(JAR, 7),
        shop.destroy(LID, 0),
        shop.destroy(JAR, 7),
    ];

    assert_eq!(outcomes, [Err(Failure::Busy), Ok(()), Ok(())]);
}

/// Clauses: dev:basic/administration-virtqueues:9
#[test]
fn a_device_that_has_no_memory_for_more_objects_says_so_and_has_done_nothing() {
    let shop = Shop::open();
    let made = (0..1000)
        .take_while(|&id| shop.create(JAR, id, &[]).is_ok())
        .count() as u32;
    let events = shop.events.lock().len();

    let again = [(); 2].map(|()| shop.create(JAR, made, &[]));
    let meanwhile = shop.events.lock().len();
    shop.destroy(JAR, 0).unwrap();
    let with_room = shop.create(JAR, made, &[]);

    assert!(made as usize > OBJECTS_BYTES_MAX / 4096 && made < 1000);
    assert_eq!(again, [Err(Failure::NoMemory); 2]);
    assert_eq!((meanwhile, with_room), (events, Ok(())));
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-and-driver-capabilities:9,
/// dev:basic/device-groups/admin-cmds/device-resource-objects:11
#[test]
fn a_reset_ends_all_objects_the_last_first_and_what_the_driver_said() {
    let shop = Shop::open();
    shop.create(JAR, 5, &[]).unwrap();
    shop.create(LID, 1, &[5]).unwrap();
    shop.events.lock().clear();

    shop.facilities.reset();

    let ended = [Event::Ended(0x201, 1), Event::Ended(0x200, 5)];
    assert_eq!(*shop.events.lock(), ended);
    assert_eq!(shop.facilities.set(JARS), None);
    assert_eq!(shop.query(JAR, 5), Err(Failure::Missing));
    assert_eq!(shop.create(JAR, 5, &[]), Err(Failure::InvalidField));
}

#[test]
fn an_object_of_one_member_is_none_of_another() {
    let shop = Shop::open();
    let command = ObjectCommand {
        hdr: ObjectHeader::new(JAR, 0),
        flags: U64::new(3),
    };
    shop.send_for(2, O::RESOURCE_OBJ_CREATE, &[command.as_bytes()])
        .unwrap();

    let others = shop.send_for(1, O::RESOURCE_OBJ_QUERY, &[command.as_bytes()]);
    let own = shop.send_for(2, O::RESOURCE_OBJ_QUERY, &[command.as_bytes()]);

    assert_eq!(others, Err(Failure::Missing));
    assert_eq!(own, Ok(vec![0; 2048]));
    assert_eq!(shop.events.lock()[0], Event::Made(0x200, 0, 3));
}
