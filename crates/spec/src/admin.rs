//! Commands with which the driver of one device controls a group of devices.
//! Spec: VIRTIO 1.4 §2.12 "Device groups".
//!
//! A command is a chain: a [`CommandHeader`] and what else the driver says, then a
//! [`StatusHeader`] and what else the device answers.
//!
//! ```text
//! readable            writable
//! CommandHeader 24    StatusHeader 8
//! data          …     result       …
//! ```

mod capability;
mod legacy;
mod opcode;
mod parts;
mod resource;
mod status;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::U64;

pub use capability::{CapabilityHeader, CapabilityId, PartsCapability};
pub use legacy::{
    LegacyRead, LegacyWrite, NOTIFY_INFO_ENTRIES, NotifyInfo, NotifyInfoFlags, NotifyInfoResult,
};
pub use opcode::{Opcode, Opcodes};
pub use parts::{
    MODE_STOPPED, ModeSet, PART_OPTIONAL, PartHeader, PartNotify, PartQueue, PartType, PartsCount,
    PartsGet, PartsGetType, PartsMetadata, PartsMetadataType, PartsSize,
};
pub use resource::{ObjectCommand, ObjectHeader, ObjectType, PartsObject, PartsObjectType};
pub use status::{Qualifier, Status, StatusHeader};

/// Both parts of a command are multiples of so many bytes (§2.13.2).
pub const GRANULE: usize = 8;

codes! {
    /// What kind of members a group has, and what kind of control its owner (§2.12). Open set. The
    /// same for all transports.
    struct GroupType;

    /// The owner itself, member [`SELF_MEMBER`], and no other device.
    SELF = 0, "VIRTIO_ADMIN_GROUP_TYPE_SELF";
    /// The SR-IOV virtual functions of the owner, a physical function, each by its number, from 1
    /// on. The group exists while VF Enable is set.
    SR_IOV = 1, "VIRTIO_ADMIN_GROUP_TYPE_SRIOV";
}

/// The only member of a group of type [`GroupType::SELF`] (§2.12).
pub const SELF_MEMBER: u64 = 0;

/// How every command begins (§2.12.1): what the device reads.
#[doc(alias = "virtio_admin_cmd")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CommandHeader {
    /// What is to be done.
    pub opcode: Opcode,
    /// Which group is meant.
    pub group_type: GroupType,
    /// Zero.
    pub reserved1: [u8; 12],
    /// Which member of it is meant. Zero where the command is for the group.
    pub group_member_id: U64,
}

layout!(CommandHeader: 24 { opcode = 0, group_type = 2, reserved1 = 4, group_member_id = 16 });

impl CommandHeader {
    /// A command for one member of a group.
    pub const fn new(opcode: Opcode, group_type: GroupType, member: u64) -> Self {
        Self {
            opcode,
            group_type,
            reserved1: [0; 12],
            group_member_id: U64::new(member),
        }
    }
}

#[cfg(test)]
mod tests;
