//! The group of a physical function's virtual ones, as its driver finds it over a queue.

use super::*;
use crate::admin::{Administration, Command as Asked, Failure, Group};
use crate::pci::{Routing, VirtualFunction};
use core::task::Poll;
use ringway_spec::admin::{CommandHeader, GroupType, Opcode, Opcodes, StatusHeader};
use ringway_spec::admin::{Qualifier, Status};
use ringway_spec::pci::extended::START;
use ringway_spec::pci::sriov::{self, Control};
use zerocopy::IntoBytes;

/// The index of the administration queue of such a function.
const QUEUE: u16 = Plain::QUEUE_SIZES.len() as u16;
/// What there is to ask of a member.
const MODE: Opcode = Opcode::DEV_MODE_SET;

const DONE: (Status, Qualifier) = (Status::OK, Qualifier::OK);
const NO_GROUP: (Status, Qualifier) = (Status::EINVAL, Qualifier::INVALID_GROUP);
const NO_MEMBER: (Status, Qualifier) = (Status::EINVAL, Qualifier::INVALID_MEMBER);

/// Carries out commands, for whatever member.
struct Willing(GroupType);

impl Group for Willing {
    fn group_type(&self) -> GroupType {
        self.0
    }

    fn commands(&self) -> Opcodes {
        Opcodes::of(&[MODE])
    }

    fn has_member(&self, _member: u64) -> bool {
        true
    }

    fn execute(&self, _command: &Asked<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        Poll::Ready(Ok(Vec::new()))
    }
}

/// The driver of a function with an administration queue, which is enabled.
struct Owner {
    bench: Bench,
    function: Function,
    ring: Ring,
}

impl Owner {
    /// The driver of a function with so many virtual ones.
    fn new(virtuals: usize) -> Self {
        let (mut bench, mut parts) = Bench::new(Features::NONE, Offer::default());
        // Group of virtual functions there is none but where there are some.
        let groups = match virtuals {
            0 => &[GroupType::SELF][..],
            _ => &[GroupType::SELF, GroupType::SR_IOV],
        };
        parts.administration = groups
            .iter()
            .map(|of| Arc::new(Willing(*of)))
            .fold(Administration::new(1), |all, group| all.with(group));
        let (messages, line) = (bench.wires.clone(), bench.wires.clone());
        let others = (0..virtuals).map(|_| {
            let (other, parts) = Bench::new(Features::NONE, Offer::default());
            VirtualFunction::new(parts, 3, other.wires.clone()).unwrap()
        });
        let function = match virtuals {
            0 => Function::new(parts, 3, messages, line).unwrap(),
            _ => {
                let (others, routing) = (others.collect(), Routing::default());
                Function::physical(parts, 3, messages, line, others, routing).unwrap()
            }
        };
        function.set(config::COMMAND, Command::BUS_MASTER.bits().into());
        let ring = function.start_with(&mut bench, QUEUE, 1, F::ADMIN_VQ);
        Self {
            bench,
            function,
            ring,
        }
    }

    fn ask(&mut self, of: GroupType, opcode: Opcode, member: u64) -> (Status, Qualifier) {
        let used = Opcodes::LISTS.union(Opcodes::of(&[MODE])).to_words();
        let header = CommandHeader::new(opcode, of, member);
        let readable = [header.as_bytes(), used.as_bytes()].concat();
        let readable = self.bench.ram.holding(&readable);
        let writable = self.bench.ram.holding(&[0xaa; 16]);
        let queue = &mut self.ring.queue;
        queue.submit(&[readable], &[writable], ()).unwrap();
        queue.kick_needed();
        self.function.kick(QUEUE);
        self.bench.steps.run(QUEUE).unwrap();
        queue.poll().unwrap().unwrap();
        let bytes = self.bench.ram.bytes(writable);
        let (header, _) = StatusHeader::read_from_prefix(&bytes).unwrap();
        (header.status, header.status_qualifier)
    }

    /// Asks whether there is the group of virtual functions.
    fn group(&mut self) -> (Status, Qualifier) {
        self.ask(GroupType::SR_IOV, Opcode::LIST_QUERY, 0)
    }

    fn set(&self, register: usize, value: u16) {
        let at = (START + register) as u16;
        self.function.config_write(at, &value.to_le_bytes());
    }
}

/// Clauses: dev:basic/device-groups/admin-cmds:17
#[test]
fn virtual_functions_are_a_group_while_they_are_enabled() {
    let mut owner = Owner::new(3);

    let before = owner.group();
    owner.set(sriov::NUM_VFS, 2);
    let numbered = owner.group();
    owner.set(sriov::CONTROL, Control::VF_ENABLE.bits());
    let enabled = owner.group();
    owner.ask(GroupType::SR_IOV, Opcode::LIST_USE, 0);
    let members =
        [0, 1, 2, 3, 0x1_0001, u64::MAX].map(|member| owner.ask(GroupType::SR_IOV, MODE, member));
    owner.set(sriov::CONTROL, 0);

    assert_eq!([before, numbered, enabled], [NO_GROUP, NO_GROUP, DONE]);
    let none = NO_MEMBER;
    assert_eq!(members, [none, DONE, DONE, none, none, none]);
    assert_eq!(owner.ask(GroupType::SR_IOV, MODE, 1), NO_GROUP);
    assert_eq!(owner.group(), NO_GROUP);
}

#[test]
fn a_group_of_no_virtual_functions_has_no_members() {
    let mut owner = Owner::new(3);

    owner.set(sriov::CONTROL, Control::VF_ENABLE.bits());
    owner.ask(GroupType::SR_IOV, Opcode::LIST_USE, 0);

    assert_eq!(owner.group(), DONE);
    assert_eq!(owner.ask(GroupType::SR_IOV, MODE, 1), NO_MEMBER);
}

/// Clauses: dev:basic/device-groups/admin-cmds:17
#[test]
fn a_function_without_virtual_ones_has_no_group_of_them() {
    let mut owner = Owner::new(0);

    let own = owner.ask(GroupType::SELF, Opcode::LIST_QUERY, 0);
    let others = owner.group();

    assert_eq!((own, others), (DONE, NO_GROUP));
}
