//! What can go wrong with a command to a group of devices.

use core::fmt;

use ringway_spec::admin::{
    CapabilityId, ObjectHeader, ObjectType, Opcode, Opcodes, PartType, Qualifier, Status,
};

/// Why a command was not sent, or failed. Those that were not sent have changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminError {
    /// Ours: the driver did not say that it uses this command: list what there is, and say so
    /// (§2.12.1.6).
    NotUsed(Opcode),
    /// Ours: the device did not list these commands, so it cannot be told that they are used
    /// (§2.12.1.6).
    NotListed(Opcodes),
    /// Ours to retry: what all other commands depend on is changed only while there are none, and
    /// there are so many (§2.12.1.6).
    InFlight(usize),
    /// Ours to retry: what all other commands depend on is being changed.
    Settling,
    /// Ours: the device did not say what this capability is: ask it first (§2.12.1.2.5).
    NotAsked(CapabilityId),
    /// Ours: the device has less of this capability (§2.12.1.2.5).
    Beyond(CapabilityId),
    /// Ours: there are objects of this kind, so what limits them stays as it is (§2.12.1.3.6).
    HasObjects(ObjectType),
    /// Ours: the driver did not set a capability that allows an object of this kind and number
    /// (§2.12.1.3.6): there may be `limit`.
    NoRoom {
        /// The number.
        id: u32,
        /// How many there may be: their numbers are below.
        limit: u32,
    },
    /// Ours: there is such an object (§2.12.1.3.6).
    Exists(ObjectHeader),
    /// Ours: there is no such object.
    Missing(ObjectHeader),
    /// Ours: this member was not stopped through this owner before it was given parts
    /// (§2.12.1.4.4.2).
    NotStopped(u64),
    /// Whose list it is: a part of this type is not in the order of the table, or there twice
    /// (§2.12.1.4.4).
    PartOrder(PartType),
    /// The device's: a list of parts ends within the last one, of which there are so many bytes
    /// (§2.14).
    CutPart(usize),
    /// The device failed it.
    Failed(Failure),
}

/// How a command failed, in the device's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// As the device has put it.
    pub status: Status,
    /// As the device has put it.
    pub qualifier: Qualifier,
}

/// What a failure means for who sent the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was one that cannot be.
    Invalid,
    /// There is no such capability or object.
    Missing,
    /// There is such an object.
    Exists,
    /// It is in use.
    Busy,
    /// The device has no more of it.
    Exhausted,
    /// The device lacks what it would need. Nothing was done: try again later.
    NoMemory,
    /// It would take too long. Nothing was done: try again.
    TryAgain,
}

impl Failure {
    /// What it means. A status that nobody knows is one of a command that cannot be (§2.12.1.6).
    pub fn kind(self) -> Kind {
        match self.status {
            Status::ENXIO => Kind::Missing,
            Status::EEXIST => Kind::Exists,
            Status::EBUSY => Kind::Busy,
            Status::ENOSPC => Kind::Exhausted,
            Status::ENOMEM => Kind::NoMemory,
            Status::EAGAIN => Kind::TryAgain,
            _ => Kind::Invalid,
        }
    }

    /// Why. A qualifier that nobody knows says no more than that (§2.12.1.6).
    pub fn reason(self) -> Qualifier {
        match self.qualifier.name() {
            Some(_) => self.qualifier,
            None => Qualifier::INVALID_COMMAND,
        }
    }
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUsed(opcode) => {
                write!(f, "command {opcode} is not one that was said to be used")
            }
            Self::NotListed(opcodes) => write!(f, "device did not list {opcodes:?}"),
            Self::InFlight(count) => write!(f, "{count} commands are in flight"),
            Self::Settling => f.write_str("commands wait for one that changes what may be sent"),
            Self::NotAsked(id) => write!(f, "device was not asked for capability {id}"),
            Self::Beyond(id) => write!(f, "device has less of capability {id}"),
            Self::HasObjects(kind) => write!(f, "there are objects of kind {kind}"),
            Self::NoRoom { id, limit } => write!(f, "object {id} of {limit} that there may be"),
            Self::Exists(at) => {
                write!(f, "there is an object {} of kind {}", at.id, at.object_type)
            }
            Self::Missing(at) => {
                write!(f, "there is no object {} of kind {}", at.id, at.object_type)
            }
            Self::NotStopped(member) => {
                write!(f, "member {member} was not stopped: it is given no parts")
            }
            Self::PartOrder(part) => write!(f, "part {part} is out of order, or there twice"),
            Self::CutPart(bytes) => write!(f, "list of parts ends within one, after {bytes} bytes"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command failed: {}, {}", self.status, self.qualifier)
    }
}
