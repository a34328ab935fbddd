//! Commands for members, as an owner gets them.

use ringway_spec::admin::{
    CommandHeader, GroupType, ObjectCommand, ObjectHeader, ObjectType, PartHeader, PartType,
    PartsGet, PartsGetType, PartsMetadata, PartsMetadataType, PartsObject, PartsObjectType, Status,
};
use ringway_spec::{DeviceId, F, Features};
use std::vec;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::admin::{Members, Owner};
use crate::parts::{Interface, Offer};
use crate::pci::Function;
use crate::testing::{Bench, Plain};

/// An owner, with two members, whose driver said that it uses all.
struct Bed {
    owner: Owner,
    _benches: Vec<Bench>,
}

/// What is answered: a result, or a status.
type Answered = Result<Vec<u8>, Status>;

impl Bed {
    fn new() -> Self {
        let mut benches = Vec::new();
        let members = (0..2).map(|_| {
            let (mut device, log) = Plain::new(Features::NONE);
            device.id = DeviceId::BLOCK;
            let (bench, mut parts) = Bench::around(device, log, Offer::default());
            parts.interface = Interface::Transitional;
            let function =
                Function::new(parts, 3, bench.wires.clone(), bench.wires.clone()).unwrap();
            benches.push(bench);
            Arc::new(function) as Arc<dyn Member>
        });
        let control = Arc::new(Control::default());
        let members = members.collect();
        let group: Arc<dyn Group> =
            Arc::new(Members::new(GroupType::SR_IOV, control.clone(), members));
        let bed = Self {
            owner: Owner::new(&[group, control.facilities()]),
            _benches: benches,
        };
        for group in [GroupType::SELF, GroupType::SR_IOV] {
            let all = bed
                .ask_group(group, Opcode::LIST_QUERY, 0, &[], 64)
                .unwrap();
            bed.ask_group(group, Opcode::LIST_USE, 0, &all, 64).unwrap();
        }
        bed
    }

    fn ask_group(
        &self,
        group: GroupType,
        opcode: Opcode,
        member: u64,
        data: &[u8],
        room: usize,
    ) -> Answered {
        let header = CommandHeader::new(opcode, group, member);
        let bytes = [header.as_bytes(), data].concat();
        match self.owner.execute(&bytes, room) {
            Poll::Ready(answer) if answer.header.status == Status::OK => Ok(answer.result),
            Poll::Ready(answer) => Err(answer.header.status),
            Poll::Pending => panic!("nothing is to be waited for"),
        }
    }

    fn ask(&self, opcode: Opcode, data: &[u8]) -> Answered {
        self.ask_group(GroupType::SR_IOV, opcode, 1, data, 4096)
    }

    fn ask_own(&self, opcode: Opcode, data: &[u8]) -> Answered {
        self.ask_group(GroupType::SELF, opcode, 0, data, 64)
    }

    fn use_objects(&self, get: u8, set: u8) -> Answered {
        let capability = [&[0; 8][..], &[get, set]].concat();
        self.ask_own(Opcode::DRIVER_CAP_SET, &capability)
    }

    fn create(&self, id: u32, purpose: PartsObjectType) -> Answered {
        self.ask(Opcode::RESOURCE_OBJ_CREATE, &object(id, purpose))
    }

    /// With object 0 to get parts with, and object 1 to set them.
    fn with_objects() -> Self {
        let bed = Self::new();
        bed.use_objects(16, 16).unwrap();
        bed.create(0, PartsObjectType::GET).unwrap();
        bed.create(1, PartsObjectType::SET).unwrap();
        bed
    }

    fn metadata(&self, wanted: PartsMetadataType) -> Answered {
        let data = PartsMetadata {
            hdr: ObjectHeader::new(ObjectType::DEV_PARTS, 0),
            wanted,
            reserved: [0; 7],
        };
        self.ask(Opcode::DEV_PARTS_METADATA_GET, data.as_bytes())
    }

    fn get(&self, wanted: PartsGetType, headers: &[PartHeader]) -> Answered {
        let data = PartsGet {
            hdr: ObjectHeader::new(ObjectType::DEV_PARTS, 0),
            wanted,
            reserved: [0; 7],
        };
        let data = [data.as_bytes(), headers.as_bytes()].concat();
        self.ask(Opcode::DEV_PARTS_GET, &data)
    }

    fn set(&self, parts: &[u8]) -> Answered {
        let hdr = ObjectHeader::new(ObjectType::DEV_PARTS, 1);
        self.ask(Opcode::DEV_PARTS_SET, &[hdr.as_bytes(), parts].concat())
    }
}

fn object(id: u32, purpose: PartsObjectType) -> Vec<u8> {
    let head = ObjectCommand {
        hdr: ObjectHeader::new(ObjectType::DEV_PARTS, id),
        ..ObjectCommand::default()
    };
    let body = PartsObject {
        purpose,
        reserved: [0; 7],
    };
    [head.as_bytes(), body.as_bytes()].concat()
}

/// The headers in a list of parts.
fn headers(mut parts: &[u8]) -> Vec<PartHeader> {
    let mut headers = Vec::new();
    while let Ok((header, rest)) = PartHeader::read_from_prefix(parts) {
        headers.push(header);
        parts = &rest[header.length.get() as usize..];
    }
    headers
}

fn named(part_type: PartType, number: u8) -> PartHeader {
    PartHeader {
        part_type,
        selector: [number, 0, 0, 0, 0, 0, 0, 0],
        ..PartHeader::default()
    }
}

const DONE: Answered = Ok(Vec::new());

/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:1,
/// dev:basic/device-groups/admin-cmds/legacy-interface:1,
/// dev:basic/device-groups/admin-cmds/legacy-interface:12
#[test]
fn all_commands_of_each_family_are_supported() {
    let bed = Bed::new();

    let words = bed.ask(Opcode::LIST_QUERY, &[]).unwrap();

    let supported = Opcodes(u64::from_le_bytes(words[..8].try_into().unwrap()));
    let notify = Opcodes::of(&[Opcode::LEGACY_NOTIFY_INFO]);
    for family in [
        Opcodes::PARTS.union(Opcodes::OBJECTS),
        Opcodes::LEGACY,
        notify,
    ] {
        assert!(supported.contains(family), "{supported:?}");
    }
}

#[test]
fn a_driver_says_how_many_objects_it_will_have_before_it_has_any() {
    let bed = Bed::new();
    let get = PartsObjectType::GET;

    let ids = bed.ask_own(Opcode::CAP_ID_LIST_QUERY, &[]);
    let limits = bed.ask_own(Opcode::DEVICE_CAP_GET, &[0; 8]);
    let early = bed.create(0, get);
    let too_many = bed.use_objects(17, 0);
    let some = bed.use_objects(1, 2);
    let made = [bed.create(2, get), bed.create(2, get), bed.create(3, get)];
    let late = bed.use_objects(2, 2);
    let destroyed = bed.ask(Opcode::RESOURCE_OBJ_DESTROY, &object(2, get)[..8]);
    let again = [bed.create(2, get), bed.use_objects(0, 0)];
    let other = bed.ask_own(Opcode::DEVICE_CAP_GET, &[1, 8, 0, 0, 0, 0, 0, 0]);

    assert_eq!(ids, Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(limits, Ok(vec![16, 16]));
    assert_eq!(
        (early, too_many),
        (Err(Status::EINVAL), Err(Status::EINVAL))
    );
    let there = Err(Status::EEXIST);
    assert_eq!((some, made), (DONE, [DONE, there, Err(Status::EINVAL)]));
    assert_eq!((late, destroyed), (Err(Status::EBUSY), DONE));
    assert_eq!(again, [DONE, Err(Status::EBUSY)]);
    assert_eq!(other, Err(Status::ENXIO));
}

/// As many to get parts with as the device says, however many there could be of both purposes.
#[test]
fn objects_of_one_purpose_have_a_limit_of_their_own() {
    let bed = Bed::new();
    bed.use_objects(16, 16).unwrap();

    let made: Vec<_> = (0..17)
        .map(|id| bed.create(id, PartsObjectType::GET))
        .collect();
    let other = bed.create(17, PartsObjectType::SET);

    assert!(made[..16].iter().all(Result::is_ok));
    assert_eq!((&made[16], other), (&Err(Status::ENOSPC), DONE));
}

#[test]
fn an_object_is_of_one_member_and_for_one_purpose() {
    let bed = Bed::with_objects();
    let all = bed.get(PartsGetType::ALL, &[]).unwrap();
    let query = ObjectCommand {
        hdr: ObjectHeader::new(ObjectType::DEV_PARTS, 1),
        ..ObjectCommand::default()
    };
    let ask =
        |member, opcode, data: &[u8]| bed.ask_group(GroupType::SR_IOV, opcode, member, data, 4096);

    let queried = ask(1, Opcode::RESOURCE_OBJ_QUERY, query.as_bytes());
    let elsewhere = ask(2, Opcode::RESOURCE_OBJ_QUERY, query.as_bytes());
    let modified = [PartsObjectType::SET, PartsObjectType::GET]
        .map(|purpose| ask(1, Opcode::RESOURCE_OBJ_MODIFY, &object(1, purpose)));
    let wrong_purpose = {
        let data = [ObjectHeader::new(ObjectType::DEV_PARTS, 0).as_bytes(), &all].concat();
        ask(1, Opcode::DEV_PARTS_SET, &data)
    };
    let none = ask(2, Opcode::DEV_PARTS_SET, &all);
    bed.owner.reset();
    for group in [GroupType::SELF, GroupType::SR_IOV] {
        let all = bed
            .ask_group(group, Opcode::LIST_QUERY, 0, &[], 64)
            .unwrap();
        bed.ask_group(group, Opcode::LIST_USE, 0, &all, 64).unwrap();
    }
    let reset = ask(1, Opcode::RESOURCE_OBJ_QUERY, query.as_bytes());

    assert_eq!(queried, Ok(vec![1, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!((elsewhere, reset), (Err(Status::ENXIO), Err(Status::ENXIO)));
    assert_eq!(modified, [DONE, Err(Status::EINVAL)]);
    assert_eq!(
        (wrong_purpose, none),
        (Err(Status::EINVAL), Err(Status::ENXIO))
    );
}

#[test]
fn metadata_is_what_a_list_of_all_parts_has() {
    let bed = Bed::with_objects();

    let size = bed.metadata(PartsMetadataType::SIZE).unwrap();
    let count = bed.metadata(PartsMetadataType::COUNT).unwrap();
    let list = bed.metadata(PartsMetadataType::LIST).unwrap();
    let other = bed.metadata(PartsMetadataType(3));
    let all = bed.get(PartsGetType::ALL, &[]).unwrap();

    let headers = headers(&all);
    let (size, count) = (u32::from_le_bytes(size[..4].try_into().unwrap()), count);
    assert!(all.len() <= size as usize);
    assert_eq!(count, [13, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(list, [&count, headers.as_bytes()].concat());
    assert_eq!((headers.len(), other), (13, Err(Status::EINVAL)));
}

#[test]
fn a_result_that_has_no_room_is_not_cut_off() {
    let bed = Bed::with_objects();
    let all = bed.get(PartsGetType::ALL, &[]).unwrap();
    let get = [&[0; 8][..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
    let list = [&[0; 8][..], &[2, 0, 0, 0, 0, 0, 0, 0]].concat();
    let ask = |opcode, data: &[u8], room| {
        bed.ask_group(GroupType::SR_IOV, opcode, 1, data, room)
            .map(|result| result.len())
    };

    let got = [all.len(), all.len() - 1].map(|room| ask(Opcode::DEV_PARTS_GET, &get, room));
    let room = 8 + 13 * 16;
    let listed = [room, room - 1].map(|room| ask(Opcode::DEV_PARTS_METADATA_GET, &list, room));

    assert_eq!(got, [Ok(all.len()), Err(Status::ENOMEM)]);
    assert_eq!(listed, [Ok(room), Err(Status::ENOMEM)]);
}

/// §2.12.1.4.4.1: whatever is selected, and in whatever order.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:3,
/// dev:basic/device-groups/admin-cmds/device-parts:24,
/// dev:basic/device-groups/admin-cmds/device-parts:25,
/// dev:basic/device-groups/admin-cmds/device-parts:26
#[test]
fn parts_that_are_selected_come_in_their_order_behind_those_that_must_be_before() {
    let bed = Bed::with_objects();
    let types = |selected: &[PartHeader]| {
        let parts = bed.get(PartsGetType::SELECTED, selected).unwrap();
        let types = headers(&parts).into_iter();
        types
            .map(|header| (header.part_type, header.selector[0]))
            .collect::<Vec<_>>()
    };
    let [offered, accepted] = [PartType::DEV_FEATURES, PartType::DRV_FEATURES];
    let register = PartType::PCI_COMMON_CFG;
    let features = [(offered, 0), (accepted, 0)];

    assert_eq!(types(&[named(offered, 0)]), features[..1]);
    assert_eq!(types(&[named(accepted, 0)]), features);
    let registers = [named(register, 18), named(register, 8), named(register, 99)];
    let expected = [&features[..], &[(register, 8), (register, 18)]].concat();
    assert_eq!(types(&registers), expected);
    let queue = types(&[named(PartType::VQ_CFG, 1), named(PartType::VQ_CFG, 7)]);
    let all = types(&[named(PartType::VQ_NOTIFY_CFG, 0)]);
    assert_eq!(queue[..2], features);
    assert_eq!(
        queue[8..],
        [(PartType::DEVICE_STATUS, 0), (PartType::VQ_CFG, 1)]
    );
    assert_eq!(
        all[9..],
        [
            (PartType::VQ_CFG, 0),
            (PartType::VQ_CFG, 1),
            (PartType::VQ_NOTIFY_CFG, 0)
        ]
    );
    assert_eq!(types(&[]), []);
    assert_eq!(types(&[named(PartType::from_u16(0x106), 0)]), []);
}

/// §2.12.1.4.4.1: that of a device's configuration, too, if there is any.
///
/// Clauses: dev:basic/device-groups/admin-cmds/device-parts:27
#[test]
fn whatever_part_is_selected_comes_behind_the_features_that_are_offered() {
    let bed = Bed::with_objects();
    let all = bed.get(PartsGetType::ALL, &[]).unwrap();
    let kinds = headers(&all);

    for kind in &kinds {
        let selected = bed.get(PartsGetType::SELECTED, &[*kind]).unwrap();
        let first = headers(&selected).first().map(|header| header.part_type);
        assert_eq!(first, Some(PartType::DEV_FEATURES), "{kind:?}");
    }

    assert!(kinds.len() > 6);
}

#[test]
fn a_member_is_stopped_given_its_parts_and_goes_on() {
    let bed = Bed::with_objects();
    let all = bed.get(PartsGetType::ALL, &[]).unwrap();

    let early = bed.set(&all);
    let stopped = bed.ask(Opcode::DEV_MODE_SET, &[1, 0, 0, 0, 0, 0, 0, 0]);
    let set = bed.set(&[&all[..], &[0; 3]].concat());
    let odd = bed.ask(Opcode::DEV_MODE_SET, &[2]);
    // What is left out is zero.
    let on = bed.ask(Opcode::DEV_MODE_SET, &[]);

    assert_eq!((early, set), (Err(Status::EINVAL), DONE));
    assert_eq!((stopped, odd, on), (DONE, Err(Status::EINVAL), DONE));
}

/// Clauses: dev:basic/device-groups/admin-cmds/legacy-interface:2,
/// dev:basic/device-groups/admin-cmds/legacy-interface:13
#[test]
fn the_legacy_interface_is_reached_by_commands() {
    let bed = Bed::new();
    let write = |offset: u8, data: &[u8]| {
        let data = [&[offset, 0, 0, 0, 0, 0, 0, 0], data].concat();
        bed.ask(Opcode::LEGACY_COMMON_CFG_WRITE, &data)
    };
    let read = |offset: u8, room| {
        let opcode = Opcode::LEGACY_COMMON_CFG_READ;
        bed.ask_group(GroupType::SR_IOV, opcode, 1, &[offset], room)
    };

    let selected = write(14, &[1, 0]);
    let size = read(12, 2);
    let offered = read(0, 4);
    let beyond = [write(18, &[1, 2]).map(drop), read(18, 2).map(drop)];
    let none = bed.ask(Opcode::LEGACY_DEV_CFG_READ, &[8]);
    let info = bed.ask(Opcode::LEGACY_NOTIFY_INFO, &[]).unwrap();

    assert_eq!((selected, size), (DONE, Ok(vec![16, 0])));
    let features = F::INDIRECT_DESC | F::EVENT_IDX | F::ANY_LAYOUT;
    assert_eq!(offered, Ok(features.word(0).to_le_bytes().to_vec()));
    assert_eq!(beyond, [Err(Status::EINVAL); 2]);
    assert_eq!(none, Err(Status::EINVAL));
    assert_eq!((info.len(), info[0], info[1]), (64, 2, 4));
    assert_eq!((info[16], info[48]), (0, 0));
}
