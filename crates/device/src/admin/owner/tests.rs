use ringway_spec::admin::{GroupType as G, Opcode as O, Qualifier};

use super::super::testing::{Asked, Played, command};
use super::*;
use crate::testing::Random;

/// What the played groups know beside the lists.
const SOME: Opcodes = Opcodes::of(&[O::DEV_PARTS_GET, O::DEV_MODE_SET]);

/// An owner of two groups: of itself, and of two others.
fn owner() -> (Owner, [Arc<Played>; 2]) {
    let own = Played::new(G::SELF, Opcodes::CAPABILITIES, 0..=0);
    let others = Played::new(G::SR_IOV, SOME, 1..=2);
    let groups: [Arc<dyn Group>; 2] = [own.clone(), others.clone()];
    (Owner::new(&groups), [own, others])
}

fn send(owner: &Owner, group: G, opcode: O, member: u64, data: &[u8]) -> Answer {
    match owner.execute(&command(group, opcode, member, data), 64) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("nothing waits here"),
    }
}

fn outcome(owner: &Owner, group: G, opcode: O, member: u64) -> (Status, Qualifier) {
    let header = send(owner, group, opcode, member, &[]).header;
    (header.status, header.status_qualifier)
}

fn use_commands(owner: &Owner, group: G, opcodes: Opcodes) -> StatusHeader {
    send(owner, group, O::LIST_USE, 0, opcodes.to_words().as_bytes()).header
}

const OK: (Status, Qualifier) = (Status::OK, Qualifier::OK);
const NO_GROUP: (Status, Qualifier) = (Status::EINVAL, Qualifier::INVALID_GROUP);
const NO_OPCODE: (Status, Qualifier) = (Status::EINVAL, Qualifier::INVALID_OPCODE);
const NO_MEMBER: (Status, Qualifier) = (Status::EINVAL, Qualifier::INVALID_MEMBER);

/// Clauses: dev:basic/device-groups/admin-cmds:5
#[test]
fn the_lists_can_be_used_at_once_and_say_what_there_is() {
    let (owner, _) = owner();

    let own = send(&owner, G::SELF, O::LIST_QUERY, 0, &[]);
    let others = send(&owner, G::SR_IOV, O::LIST_QUERY, 0, &[]);

    let list = |opcodes: Opcodes| opcodes.union(Opcodes::LISTS).to_words().as_bytes().to_vec();
    assert_eq!(own.result, list(Opcodes::CAPABILITIES));
    assert_eq!(others.result, list(SOME));
    assert_eq!(own.header, StatusHeader::default());
}

/// Clauses: dev:basic/device-groups/admin-cmds:12,
/// dev:basic/device-groups/admin-cmds:13
#[test]
fn a_command_is_refused_until_the_driver_has_said_that_it_uses_it() {
    let (owner, [_, others]) = owner();

    let before = outcome(&owner, G::SR_IOV, O::DEV_MODE_SET, 1);
    let said = use_commands(&owner, G::SR_IOV, SOME.union(Opcodes::LISTS));
    let after = outcome(&owner, G::SR_IOV, O::DEV_MODE_SET, 1);

    assert_eq!((before, after), (NO_OPCODE, OK));
    assert_eq!(said, StatusHeader::default());
    assert_eq!(others.asked_for(), [(O::DEV_MODE_SET, 1)]);
}

/// Clauses: dev:basic/device-groups/admin-cmds:1,
/// dev:basic/device-groups/admin-cmds:2,
/// dev:basic/device-groups/admin-cmds:3,
/// dev:basic/device-groups/admin-cmds:4
#[test]
fn group_opcode_and_member_are_checked_in_this_order() {
    let (owner, [own, others]) = owner();
    let (far, strange) = (O::from_u16(0x8000), G::from_u16(2));
    use_commands(&owner, G::SR_IOV, SOME);

    let group_first = outcome(&owner, strange, far, 9);
    let opcode_next = outcome(&owner, G::SR_IOV, far, 9);
    let member_last = [0, 3, u64::MAX].map(|no| outcome(&owner, G::SR_IOV, O::DEV_MODE_SET, no));

    assert_eq!((group_first, opcode_next), (NO_GROUP, NO_OPCODE));
    assert_eq!(member_last, [NO_MEMBER; 3]);
    assert!(own.asked_for().is_empty() && others.asked_for().is_empty());
}

#[test]
fn the_lists_are_for_the_group_whatever_member_is_named() {
    let (owner, _) = owner();

    let outcomes = [0, 7].map(|member| outcome(&owner, G::SR_IOV, O::LIST_QUERY, member));

    assert_eq!(outcomes, [OK; 2]);
}

/// Clauses: dev:basic/device-groups/admin-cmds:10
#[test]
fn what_is_used_in_one_group_is_not_in_another() {
    let (owner, _) = owner();

    use_commands(&owner, G::SR_IOV, SOME);

    assert_eq!(outcome(&owner, G::SR_IOV, O::DEV_PARTS_GET, 2), OK);
    assert_eq!(outcome(&owner, G::SELF, O::DEV_PARTS_GET, 0), NO_OPCODE);
    assert_eq!(outcome(&owner, G::SELF, O::CAP_ID_LIST_QUERY, 0), NO_OPCODE);
    assert_eq!(outcome(&owner, G::SELF, O::LIST_QUERY, 0), OK);
}

/// Clauses: dev:basic/device-groups/admin-cmds:7
#[test]
fn a_list_with_a_command_that_there_is_not_is_refused_whole() {
    let (owner, _) = owner();
    let more = SOME.union(Opcodes::of(&[O::DEV_PARTS_SET]));
    let beyond = [SOME.0.to_le_bytes(), 1_u64.to_le_bytes()].concat();

    let refused = use_commands(&owner, G::SR_IOV, more);
    let far = send(&owner, G::SR_IOV, O::LIST_USE, 0, &beyond).header;

    let invalid = Failure::InvalidField.header();
    assert_eq!((refused, far), (invalid, invalid));
    assert_eq!(outcome(&owner, G::SR_IOV, O::DEV_PARTS_GET, 1), NO_OPCODE);
    assert_eq!(outcome(&owner, G::SR_IOV, O::LIST_QUERY, 0), OK);
}

#[test]
fn a_list_may_be_longer_than_it_need_be_and_shorter_than_a_word() {
    let (owner, _) = owner();
    let mut long = SOME.0.to_le_bytes().to_vec();
    long.resize(4096, 0);

    let long = send(&owner, G::SR_IOV, O::LIST_USE, 0, &long).header.status;
    let none = outcome(&owner, G::SR_IOV, O::LIST_USE, 0);
    owner.reset();
    let short = send(&owner, G::SR_IOV, O::LIST_USE, 0, &[3]).header.status;

    assert_eq!(long, Status::OK);
    // The long list does not have LIST_USE.
    assert_eq!(none, NO_OPCODE);
    assert_eq!(short, Status::OK);
}

#[test]
fn a_driver_may_forbid_itself_the_lists() {
    let (owner, _) = owner();

    use_commands(&owner, G::SELF, Opcodes::NONE);

    assert_eq!(outcome(&owner, G::SELF, O::LIST_QUERY, 0), NO_OPCODE);
    assert_eq!(outcome(&owner, G::SELF, O::LIST_USE, 0), NO_OPCODE);
}

/// Clauses: dev:basic/device-groups/admin-cmds:11,
/// dev:basic/device-groups/admin-cmds:15
#[test]
fn after_a_reset_only_the_lists_can_be_used_and_what_was_used_can_be_again() {
    let (owner, [own, others]) = owner();
    let wanted = SOME.union(Opcodes::LISTS);
    use_commands(&owner, G::SR_IOV, wanted);

    owner.reset();
    let after = outcome(&owner, G::SR_IOV, O::DEV_MODE_SET, 1);
    let listed = send(&owner, G::SR_IOV, O::LIST_QUERY, 0, &[]).result;
    let again = use_commands(&owner, G::SR_IOV, wanted);

    assert_eq!(after, NO_OPCODE);
    assert_eq!(listed, wanted.to_words().as_bytes());
    assert_eq!(again.status, Status::OK);
    let resets = [own, others].map(|group| group.resets.load(Ordering::SeqCst));
    assert_eq!(resets, [1, 1]);
}

/// Clauses: dev:basic/device-groups/admin-cmds:14
#[test]
fn a_command_that_was_listed_is_listed_for_ever() {
    let (owner, [_, others]) = owner();
    let list = || send(&owner, G::SR_IOV, O::LIST_QUERY, 0, &[]).result;

    let before = list();
    others.set_commands(Opcodes::of(&[O::DEV_MODE_SET]));
    owner.reset();
    let after = list();

    assert_eq!(before, after);
    assert_eq!(use_commands(&owner, G::SR_IOV, SOME).status, Status::OK);
}

#[test]
fn a_group_that_is_not_there_now_has_no_commands_and_goes_on_when_it_is_again() {
    let (owner, [_, others]) = owner();
    use_commands(&owner, G::SR_IOV, SOME.union(Opcodes::LISTS));

    others.set_exists(false);
    let gone = [O::LIST_QUERY, O::LIST_USE, O::DEV_MODE_SET]
        .map(|opcode| outcome(&owner, G::SR_IOV, opcode, 1));
    others.set_exists(true);

    assert_eq!(gone, [NO_GROUP; 3]);
    assert_eq!(outcome(&owner, G::SR_IOV, O::DEV_MODE_SET, 1), OK);
}

/// Clauses: dev:basic/device-groups/admin-cmds/device-and-driver-capabilities:5
#[test]
fn commands_for_capabilities_are_for_the_owner_alone() {
    let group = Played::new(G::SR_IOV, Opcodes::CAPABILITIES.union(SOME), 1..=2);
    let owner = Owner::new(&[group as Arc<dyn Group>]);

    let refused = use_commands(&owner, G::SR_IOV, Opcodes::CAPABILITIES);
    use_commands(&owner, G::SR_IOV, SOME);

    assert_eq!(refused, Failure::InvalidField.header());
    for opcode in Opcodes::CAPABILITIES.iter() {
        assert_eq!(outcome(&owner, G::SR_IOV, opcode, 1), NO_OPCODE);
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds:6
#[test]
fn a_failure_is_told_by_status_and_qualifier_and_has_no_result() {
    let (owner, [_, others]) = owner();
    use_commands(&owner, G::SR_IOV, SOME);
    let failures = [
        (Failure::InvalidField, 22, 3),
        (Failure::InvalidCommand, 22, 1),
        (Failure::Missing, 6, 1),
        (Failure::Exists, 17, 1),
        (Failure::Busy, 16, 1),
        (Failure::Exhausted, 28, 1),
        (Failure::NoMemory, 12, 6),
        (Failure::TryAgain, 11, 7),
    ];

    for (failure, status, qualifier) in failures {
        *others.answer.lock() = Err(failure);
        let answer = send(&owner, G::SR_IOV, O::DEV_PARTS_GET, 1, &[]);

        let told = (answer.header.status, answer.header.status_qualifier);
        assert_eq!(told.0, Status::from_u16(status));
        assert_eq!(told.1, Qualifier::from_u16(qualifier));
        assert!(answer.result.is_empty());
    }
}

#[test]
fn a_command_that_waits_is_asked_for_until_it_is_done() {
    let (owner, [_, others]) = owner();
    use_commands(&owner, G::SR_IOV, SOME);
    others.waits.store(2, Ordering::SeqCst);
    let stop = command(G::SR_IOV, O::DEV_MODE_SET, 2, &[1]);

    let outcomes = [(); 3].map(|()| owner.execute(&stop, 0));

    assert_eq!(outcomes[..2], [Poll::Pending, Poll::Pending]);
    assert!(outcomes[2].is_ready());
    assert_eq!(
        *others.asked.lock(),
        [Asked {
            opcode: O::DEV_MODE_SET,
            member: 2,
            data: [1].to_vec(),
            room: 0
        }]
    );
}

/// Against another telling of the rules, over commands of all kinds of nonsense.
#[test]
fn whatever_a_driver_sends_is_answered_by_the_rules_and_reaches_no_group_that_it_may_not() {
    for seed in 0..64 {
        let (owner, groups) = owner();
        let mut random = Random::new(seed);
        let mut used = [Opcodes::LISTS; 2];
        for _ in 0..200 {
            let bytes = nonsense(&mut random);
            let before = groups.each_ref().map(|group| group.asked.lock().len());
            let Poll::Ready(answer) = owner.execute(&bytes, 64) else {
                panic!("nothing waits here");
            };

            let expected = expected(&bytes, &mut used);
            let header = (answer.header.status, answer.header.status_qualifier);
            assert_eq!(header, expected.0, "seed {seed}, {bytes:x?}");
            let after = groups.each_ref().map(|group| group.asked.lock().len());
            for (place, (before, after)) in before.into_iter().zip(after).enumerate() {
                assert_eq!(
                    after - before,
                    usize::from(expected.1 == Some(place)),
                    "seed {seed}"
                );
            }
        }
    }
}

/// A command that is often almost right.
fn nonsense(random: &mut Random) -> Vec<u8> {
    let opcode = match random.below(4) {
        0 => O::LIST_USE,
        1 => O::from_u16(random.below(0x1_0000) as u16),
        _ => O::from_u16(random.below(0x14) as u16),
    };
    let group = G::from_u16(random.below(3) as u16);
    let supported = [Opcodes::CAPABILITIES, SOME, SOME][usize::from(group.to_u16())];
    let list = match random.below(4) {
        0 => random.below(1 << 16) | random.below(16) << 16,
        _ => supported.union(Opcodes::LISTS).0 & !(1 << random.below(20)),
    };
    let mut bytes = command(group, opcode, random.below(4), &list.to_le_bytes());
    bytes.extend((0..random.below(3)).flat_map(|_| [0; 8]));
    if random.below(8) == 0 {
        bytes.truncate(random.below(40) as usize);
    }
    if random.below(16) == 0 {
        let at = random.below(bytes.len().max(1) as u64) as usize;
        let byte = bytes.iter_mut().skip(at).take(1);
        byte.for_each(|byte| *byte ^= 0x41);
    }
    bytes
}

/// What is to be answered, and which group is to be asked.
fn expected(bytes: &[u8], used: &mut [Opcodes; 2]) -> ((Status, Qualifier), Option<usize>) {
    let at = |place: usize| bytes.get(place).copied().unwrap_or(0);
    let number = |place: usize, len: usize| {
        (0..len).fold(0, |value, byte| {
            value | u64::from(at(place + byte)) << (8 * byte)
        })
    };
    let (opcode, group, member) = (number(0, 2), number(2, 2), number(16, 8));
    let Some(group) = usize::try_from(group).ok().filter(|group| *group < 2) else {
        return (NO_GROUP, None);
    };
    if opcode > 63 || used[group].0 >> opcode & 1 == 0 {
        return (NO_OPCODE, None);
    }
    let supported = [Opcodes::CAPABILITIES, SOME][group].0 | 3;
    match opcode {
        0 => (OK, None),
        1 if number(24, 8) & !supported != 0 || (32..bytes.len()).any(|place| at(place) != 0) => {
            ((Status::EINVAL, Qualifier::INVALID_FIELD), None)
        }
        1 => {
            used[group] = Opcodes(number(24, 8));
            (OK, None)
        }
        _ if [0..=0, 1..=2][group].contains(&member) => (OK, Some(group)),
        _ => (NO_MEMBER, None),
    }
}
