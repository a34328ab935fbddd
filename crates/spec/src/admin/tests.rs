extern crate std;

use std::format;
use std::vec::Vec;

use super::*;

#[test]
fn opcodes_have_the_numbers_of_the_table() {
    let named: Vec<u16> = (0..64)
        .filter(|&number| Opcode::from_u16(number).name().is_some())
        .collect();

    assert_eq!(named, (0..=0x11).collect::<Vec<_>>());
    assert_eq!(Opcode::RESOURCE_OBJ_QUERY.to_u16(), 0xb);
    assert_eq!(Opcode::RESOURCE_OBJ_MODIFY.to_u16(), 0xc);
}

#[test]
fn a_set_of_opcodes_says_which_it_has_and_leaves_out_those_that_it_cannot() {
    let far = [64, 65, u16::MAX].map(Opcode::from_u16);
    let some = Opcodes::LISTS.union(Opcodes::of(&[Opcode::DEV_MODE_SET]));

    let all = some.union(Opcodes::of(&far));

    assert_eq!(all, some);
    assert_eq!(some.to_words().map(U64::get), [0x2_0003]);
    assert!(some.has(Opcode::DEV_MODE_SET) && !some.has(Opcode::DEV_PARTS_SET));
    assert!(far.iter().all(|&opcode| !Opcodes(u64::MAX).has(opcode)));
    assert!(some.contains(Opcodes::LISTS) && !Opcodes::LISTS.contains(some));
    assert_eq!(format!("{some:?}"), "{LIST_QUERY, LIST_USE, DEV_MODE_SET}");
}

#[test]
fn families_of_opcodes_are_all_that_there_are() {
    let families = [
        Opcodes::LISTS,
        Opcodes::LEGACY,
        Opcodes::of(&[Opcode::LEGACY_NOTIFY_INFO]),
        Opcodes::CAPABILITIES,
        Opcodes::OBJECTS,
        Opcodes::PARTS,
    ];

    let all = families.into_iter().fold(Opcodes::NONE, |all, family| {
        assert!(all.intersection(family).is_empty());
        all.union(family)
    });

    assert_eq!(all, Opcodes(0x3_ffff));
}

#[test]
fn a_number_without_a_name_is_held_and_shown() {
    let unknown = Status::from_u16(23);

    assert_eq!(unknown.name(), None);
    assert_eq!(format!("{unknown}, {}", Status::EINVAL), "0x17, EINVAL");
}

#[test]
fn a_command_is_its_bytes() {
    let header = CommandHeader::new(Opcode::DEV_MODE_SET, GroupType::SR_IOV, 0x0102);

    let bytes = header.as_bytes();

    assert_eq!(bytes[..4], [0x11, 0, 1, 0]);
    assert_eq!(bytes[4..16], [0; 12]);
    assert_eq!(bytes[16..], [2, 1, 0, 0, 0, 0, 0, 0]);
}
