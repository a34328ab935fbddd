//! A command as a group gets it, and how it can fail. Spec: VIRTIO 1.4 §2.12.1 "Group
//! administration commands".

use core::fmt;

use ringway_spec::admin::{Opcode, Qualifier, Status, StatusHeader};
use zerocopy::{FromBytes, IntoBytes};

/// What is asked of a member of a group. Group, opcode and member are such that there are.
#[derive(Clone, Copy, Debug)]
pub struct Command<'c> {
    /// What is to be done.
    pub opcode: Opcode,
    /// With which member.
    pub member: u64,
    /// What the driver says beside the header: shorter or longer than it should be, as it likes
    /// (§2.13.1). Not to be believed.
    pub data: &'c [u8],
    /// How many bytes of a result the driver has room for. What is beyond is cut off (§2.13.1).
    pub room: usize,
}

impl<'c> Command<'c> {
    /// The structure at the beginning of the data. What the driver left out is zero (§2.13.1).
    pub fn head<T: FromBytes + IntoBytes>(&self) -> T {
        let mut head = T::new_zeroed();
        for (to, from) in head.as_mut_bytes().iter_mut().zip(self.data) {
            *to = *from;
        }
        head
    }

    /// What comes after that structure: nothing, if the driver left it out.
    pub fn tail<T>(&self) -> &'c [u8] {
        self.data.get(size_of::<T>()..).unwrap_or_default()
    }
}

/// Why a command failed, as the driver is told by status and qualifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such group.
    InvalidGroup,
    /// There is no such command, or the driver did not say that it uses it.
    InvalidOpcode,
    /// The group has no such member.
    InvalidMember,
    /// What the driver says beside the header cannot be. Nothing was done.
    InvalidField,
    /// It cannot be done, for another reason. Nothing was done.
    InvalidCommand,
    /// There is no such capability or object.
    Missing,
    /// There is such an object.
    Exists,
    /// It is in use.
    Busy,
    /// The device has no more of it.
    Exhausted,
    /// The device lacks what it would need. Nothing was done: the driver may try again (§2.13.1).
    NoMemory,
    /// It would take too long. Nothing was done: the driver may try again (§2.13.1).
    TryAgain,
}

impl Failure {
    /// The status: not [`Status::OK`] (§2.12.1.5).
    pub const fn status(self) -> Status {
        match self {
            Self::InvalidGroup
            | Self::InvalidOpcode
            | Self::InvalidMember
            | Self::InvalidField
            | Self::InvalidCommand => Status::EINVAL,
            Self::Missing => Status::ENXIO,
            Self::Exists => Status::EEXIST,
            Self::Busy => Status::EBUSY,
            Self::Exhausted => Status::ENOSPC,
            Self::NoMemory => Status::ENOMEM,
            Self::TryAgain => Status::EAGAIN,
        }
    }

    /// The qualifier.
    pub const fn qualifier(self) -> Qualifier {
        match self {
            Self::InvalidGroup => Qualifier::INVALID_GROUP,
            Self::InvalidOpcode => Qualifier::INVALID_OPCODE,
            Self::InvalidMember => Qualifier::INVALID_MEMBER,
            Self::InvalidField => Qualifier::INVALID_FIELD,
            Self::NoMemory => Qualifier::NORESOURCE,
            Self::TryAgain => Qualifier::TRYAGAIN,
            // The status says it all.
            Self::InvalidCommand | Self::Missing | Self::Exists | Self::Busy | Self::Exhausted => {
                Qualifier::INVALID_COMMAND
            }
        }
    }

    /// What the driver is told.
    pub fn header(self) -> StatusHeader {
        StatusHeader {
            status: self.status(),
            status_qualifier: self.qualifier(),
            ..StatusHeader::default()
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.status(), self.qualifier())
    }
}

impl core::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use ringway_spec::admin::{ObjectCommand, ObjectHeader};

    use super::*;

    fn command(data: &[u8]) -> Command<'_> {
        Command {
            opcode: Opcode::RESOURCE_OBJ_CREATE,
            member: 0,
            data,
            room: 0,
        }
    }

    #[test]
    fn what_a_driver_leaves_out_is_zero() {
        let short = command(&[1, 2, 0, 0, 7]);

        let head: ObjectCommand = short.head();

        assert_eq!(head.hdr.object_type.to_u16(), 0x0201);
        assert_eq!((head.hdr.id.get(), head.flags.get()), (7, 0));
        assert_eq!(short.tail::<ObjectCommand>(), []);
    }

    #[test]
    fn what_follows_a_structure_is_what_is_left() {
        let long = command(&[0, 0, 0, 0, 1, 0, 0, 0, 9, 8]);

        let head: ObjectHeader = long.head();

        assert_eq!(head.id.get(), 1);
        assert_eq!(long.tail::<ObjectHeader>(), [9, 8]);
    }
}
