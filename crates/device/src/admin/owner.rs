//! The device that owns groups: checks what all commands have in common, and hands the rest on.
//!
//! Spec: VIRTIO 1.4 §2.12.1.5 "Device Requirements: Group administration commands".

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Poll;

use ringway_spec::admin::{CommandHeader, GroupType, Opcode, Opcodes, Status, StatusHeader};
use zerocopy::IntoBytes;

use super::command::{Command, Failure};
use super::group::Group;

/// The groups of one owner, and what its driver uses of them.
pub struct Owner {
    groups: Vec<Controlled>,
}

/// What the driver is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How it went.
    pub header: StatusHeader,
    /// What the command has for a result: nothing if it failed.
    pub result: Vec<u8>,
}

/// A group, and which commands there are for it.
struct Controlled {
    group: Arc<dyn Group>,
    group_type: GroupType,
    /// Never changes: what a driver was told of stays (§2.12.1.5).
    supported: Opcodes,
    /// Those that the driver uses: some of [`supported`](Self::supported).
    used: AtomicU64,
}

impl Owner {
    /// The owner of `groups`.
    pub fn new(groups: &[Arc<dyn Group>]) -> Self {
        Self {
            groups: groups.iter().map(Controlled::new).collect(),
        }
    }

    /// Carries out a command: `readable` is what the driver wrote, of which as much is believed as
    /// there is; it has `room` bytes for a result. [`Poll::Pending`] if that takes longer: to be
    /// called again, with the same.
    pub fn execute(&self, readable: &[u8], room: usize) -> Poll<Answer> {
        let whole = Command {
            opcode: Opcode::default(),
            member: 0,
            data: readable,
            room,
        };
        let header: CommandHeader = whole.head();
        let command = Command {
            opcode: header.opcode,
            member: header.group_member_id.get(),
            data: whole.tail::<CommandHeader>(),
            room,
        };
        match self.find(header.group_type) {
            Ok(controlled) => controlled.execute(&command).map(Answer::from),
            Err(failure) => Poll::Ready(Err(failure).into()),
        }
    }

    /// Forgets what the driver has said: it is asked anew (§2.12.1.5). No command is carried out
    /// meanwhile.
    pub fn reset(&self) {
        for controlled in &self.groups {
            controlled.set_used(Opcodes::LISTS);
            controlled.group.reset();
        }
    }

    /// The group of this type, if there is one now.
    fn find(&self, group_type: GroupType) -> Result<&Controlled, Failure> {
        let mut groups = self.groups.iter();
        groups
            .find(|controlled| controlled.group_type == group_type)
            .filter(|controlled| controlled.group.exists())
            .ok_or(Failure::InvalidGroup)
    }
}

impl Controlled {
    fn new(group: &Arc<dyn Group>) -> Self {
        let (group_type, commands) = (group.group_type(), group.commands());
        // Defined for a group of the owner alone (§2.12.1.2.4).
        let own = match group_type {
            GroupType::SELF => Opcodes::NONE,
            _ => Opcodes::CAPABILITIES,
        };
        Self {
            group: Arc::clone(group),
            group_type,
            supported: commands.difference(own).union(Opcodes::LISTS),
            used: AtomicU64::new(Opcodes::LISTS.0),
        }
    }

    fn set_used(&self, used: Opcodes) {
        self.used.store(used.0, Ordering::SeqCst);
    }

    /// Checks opcode and member, in this order, and carries the command out.
    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        let used = Opcodes(self.used.load(Ordering::SeqCst));
        if !used.has(command.opcode) {
            return Poll::Ready(Err(Failure::InvalidOpcode));
        }
        match command.opcode {
            // These are for the group: the member is not looked at (§2.12.1).
            Opcode::LIST_QUERY => Poll::Ready(Ok(self.supported.to_words().as_bytes().to_vec())),
            Opcode::LIST_USE => Poll::Ready(self.list_use(command.data).map(|()| Vec::new())),
            _ if !self.group.has_member(command.member) => Poll::Ready(Err(Failure::InvalidMember)),
            _ => self.group.execute(command),
        }
    }

    /// Takes the commands that the driver says it uses, unless there is one that is not supported.
    /// Those that list commands may be missing: they are then as forbidden as any other.
    fn list_use(&self, words: &[u8]) -> Result<(), Failure> {
        let command = Command {
            opcode: Opcode::LIST_USE,
            member: 0,
            data: words,
            room: 0,
        };
        let first: [u8; size_of::<u64>()] = command.head();
        let beyond = command.tail::<u64>().iter().any(|&byte| byte != 0);
        let used = Opcodes(u64::from_le_bytes(first));
        if beyond || !self.supported.contains(used) {
            return Err(Failure::InvalidField);
        }
        self.set_used(used);
        Ok(())
    }
}

impl From<Result<Vec<u8>, Failure>> for Answer {
    fn from(outcome: Result<Vec<u8>, Failure>) -> Self {
        match outcome {
            Ok(result) => Self {
                header: StatusHeader {
                    status: Status::OK,
                    ..StatusHeader::default()
                },
                result,
            },
            Err(failure) => Self {
                header: failure.header(),
                result: Vec::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests;
