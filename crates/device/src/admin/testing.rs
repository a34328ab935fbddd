//! What the tests of administration stand on: a group that remembers, and commands as bytes.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use core::task::Poll;

use ringway_spec::admin::{CommandHeader, GroupType, Opcode, Opcodes};
use spin::Mutex;
use zerocopy::IntoBytes;

use super::{Command, Failure, Group};

/// A group that answers as it is told, and remembers what it was asked.
pub(super) struct Played {
    group_type: GroupType,
    commands: AtomicU64,
    members: RangeInclusive<u64>,
    exists: AtomicBool,
    /// How often a command is still to be asked for before it is done.
    pub(super) waits: AtomicU32,
    pub(super) answer: Mutex<Result<Vec<u8>, Failure>>,
    pub(super) asked: Mutex<Vec<Asked>>,
    pub(super) resets: AtomicU32,
}

/// What it was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) opcode: Opcode,
    pub(super) member: u64,
    pub(super) data: Vec<u8>,
    pub(super) room: usize,
}

impl Played {
    pub(super) fn new(
        group_type: GroupType,
        commands: Opcodes,
        members: RangeInclusive<u64>,
    ) -> Arc<Self> {
        Arc::new(Self {
            group_type,
            commands: AtomicU64::new(commands.0),
            members,
            exists: AtomicBool::new(true),
            waits: AtomicU32::new(0),
            answer: Mutex::new(Ok(Vec::new())),
            asked: Mutex::default(),
            resets: AtomicU32::new(0),
        })
    }

    /// Has it exist, or not.
    pub(super) fn set_exists(&self, exists: bool) {
        self.exists.store(exists, Ordering::SeqCst);
    }

    /// Has it know other commands.
    pub(super) fn set_commands(&self, commands: Opcodes) {
        self.commands.store(commands.0, Ordering::SeqCst);
    }

    /// The opcodes that it was asked for, and the members.
    pub(super) fn asked_for(&self) -> Vec<(Opcode, u64)> {
        let asked = self.asked.lock();
        asked
            .iter()
            .map(|asked| (asked.opcode, asked.member))
            .collect()
    }
}

impl Group for Played {
    fn group_type(&self) -> GroupType {
        self.group_type
    }

    fn exists(&self) -> bool {
        self.exists.load(Ordering::SeqCst)
    }

    fn commands(&self) -> Opcodes {
        Opcodes(self.commands.load(Ordering::SeqCst))
    }

    fn has_member(&self, member: u64) -> bool {
        self.members.contains(&member)
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        if self.waits.load(Ordering::SeqCst) != 0 {
            self.waits.fetch_sub(1, Ordering::SeqCst);
            return Poll::Pending;
        }
        self.asked.lock().push(Asked {
            opcode: command.opcode,
            member: command.member,
            data: command.data.to_vec(),
            room: command.room,
        });
        Poll::Ready(self.answer.lock().clone())
    }

    fn reset(&self) {
        self.resets.fetch_add(1, Ordering::SeqCst);
    }
}

/// A command as a driver writes it.
pub(super) fn command(group_type: GroupType, opcode: Opcode, member: u64, data: &[u8]) -> Vec<u8> {
    let header = CommandHeader::new(opcode, group_type, member);
    [header.as_bytes(), data].concat()
}
