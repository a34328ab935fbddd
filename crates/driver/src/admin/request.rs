//! Commands, and what follows from each.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_spec::admin::{
    CapabilityHeader, CapabilityId, CommandHeader, GRANULE, GroupType, ObjectCommand, ObjectHeader,
    ObjectType, Opcode, Opcodes, SELF_MEMBER,
};
use ringway_spec::le::U64;
use zerocopy::{FromBytes, IntoBytes};

use super::capability::Capability;
use super::member::To;

/// Bytes of a list of all opcodes that can be, of which those from 64 on have no name.
const LIST_BYTES: usize = 64;

/// Bytes of a list of all capabilities that are not reserved: a bit for each.
const CAPABILITIES_BYTES: usize = CapabilityId::OF_DEVICE_TYPES.end as usize / 8;

/// A command to a member of a group.
#[derive(Clone, Debug)]
pub struct Request {
    pub(super) group: GroupType,
    pub(super) opcode: Opcode,
    pub(super) member: u64,
    data: Vec<u8>,
    pub(super) room: usize,
    pub(super) effect: Effect,
}

/// What follows from a command when it succeeds, and what it takes.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    /// Nothing that is taken down.
    None,
    /// The device has listed its commands.
    Listed(GroupType),
    /// The driver uses these.
    Uses(GroupType, Opcodes),
    /// The device has said what a capability is.
    Asked(CapabilityId),
    /// The driver has said what it uses of one.
    Set(Setting),
    /// There is an object.
    Created(ObjectHeader),
    /// It is as it was: it was changed, or looked at.
    Kept(ObjectHeader),
    /// There is an object no more.
    Destroyed(ObjectHeader),
    /// A member was stopped.
    Stops(To),
    /// It goes on.
    GoesOn(To),
    /// One that was stopped was given parts.
    Given(To),
}

/// What a driver is about to use of a capability.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) id: CapabilityId,
    bytes: Box<[u8]>,
    is_within: fn(&[u8], &[u8]) -> bool,
    pub(super) limits: Vec<(ObjectType, u32)>,
}

impl Effect {
    /// Whether other commands depend on it: it is sent when there are none, and none is sent before
    /// it is done.
    pub(super) fn settles(&self) -> bool {
        matches!(self, Self::Uses(..) | Self::Set(_))
    }
}

impl Setting {
    /// Whether it is within what the device has said that it has.
    pub(super) fn is_within(&self, offered: &[u8]) -> bool {
        (self.is_within)(&self.bytes, offered)
    }
}

impl Request {
    /// A command of which nothing follows that others depend on: with so much `data`, and `room`
    /// for a result.
    pub(crate) fn new(
        group: GroupType,
        opcode: Opcode,
        member: u64,
        data: &[u8],
        room: usize,
    ) -> Self {
        Self {
            group,
            opcode,
            member,
            data: data.to_vec(),
            room,
            effect: Effect::None,
        }
    }

    /// Which commands are there for a group (§2.12.1)?
    pub fn list(group: GroupType) -> Self {
        Self::new(group, Opcode::LIST_QUERY, 0, &[], LIST_BYTES).with(Effect::Listed(group))
    }

    /// These are the commands that the driver uses in a group, from now on (§2.12.1). Those that
    /// list commands can be left out, and are then refused as well.
    pub fn use_commands(group: GroupType, opcodes: Opcodes) -> Self {
        let words = opcodes.to_words();
        Self::new(group, Opcode::LIST_USE, 0, words.as_bytes(), 0)
            .with(Effect::Uses(group, opcodes))
    }

    /// Which capabilities does the device have (§2.12.1.2.1)?
    pub fn capabilities() -> Self {
        Self::own(Opcode::CAP_ID_LIST_QUERY, &[], CAPABILITIES_BYTES)
    }

    /// What does it have of one (§2.12.1.2.2)?
    pub fn capability<C: Capability>() -> Self {
        let data = CapabilityHeader::new(C::ID);
        Self::own(Opcode::DEVICE_CAP_GET, data.as_bytes(), size_of::<C>())
            .with(Effect::Asked(C::ID))
    }

    /// This is what the driver uses of one (§2.12.1.2.3).
    pub fn set_capability<C: Capability>(wanted: &C) -> Self {
        let bytes = wanted.as_bytes();
        let data = [CapabilityHeader::new(C::ID).as_bytes(), bytes].concat();
        Self::own(Opcode::DRIVER_CAP_SET, &data, 0).with(Effect::Set(Setting {
            id: C::ID,
            bytes: bytes.into(),
            is_within: |wanted, offered| zeroed::<C>(wanted).is_within(&zeroed::<C>(offered)),
            limits: wanted.limits(),
        }))
    }

    /// There shall be an object, for a member (§2.12.1.3.1): of a kind that defines `flags` and
    /// what else it is made of.
    pub fn create(to: (GroupType, u64), object: ObjectHeader, flags: u64, data: &[u8]) -> Self {
        Self::object(Opcode::RESOURCE_OBJ_CREATE, to, object, flags, data)
            .with(Effect::Created(object))
    }

    /// An object shall be another (§2.12.1.3.2).
    pub fn modify(to: (GroupType, u64), object: ObjectHeader, flags: u64, data: &[u8]) -> Self {
        Self::object(Opcode::RESOURCE_OBJ_MODIFY, to, object, flags, data)
            .with(Effect::Kept(object))
    }

    /// What is an object made of (§2.12.1.3.3)? There is `room` for so many bytes.
    pub fn query(to: (GroupType, u64), object: ObjectHeader, flags: u64, room: usize) -> Self {
        Self {
            room,
            ..Self::object(Opcode::RESOURCE_OBJ_QUERY, to, object, flags, &[])
        }
        .with(Effect::Kept(object))
    }

    /// There shall be an object no more (§2.12.1.3.4).
    pub fn destroy((group, member): (GroupType, u64), object: ObjectHeader) -> Self {
        Self::new(
            group,
            Opcode::RESOURCE_OBJ_DESTROY,
            member,
            object.as_bytes(),
            0,
        )
        .with(Effect::Destroyed(object))
    }

    /// What the device reads: filled up to a multiple of 8 bytes (§2.13.2).
    pub(super) fn bytes(&self) -> Box<[u8]> {
        let header = CommandHeader::new(self.opcode, self.group, self.member);
        let mut bytes = [header.as_bytes(), &self.data].concat();
        bytes.resize(bytes.len().next_multiple_of(GRANULE), 0);
        bytes.into_boxed_slice()
    }

    fn own(opcode: Opcode, data: &[u8], room: usize) -> Self {
        Self::new(GroupType::SELF, opcode, SELF_MEMBER, data, room)
    }

    fn object(
        opcode: Opcode,
        (group, member): (GroupType, u64),
        object: ObjectHeader,
        flags: u64,
        data: &[u8],
    ) -> Self {
        let command = ObjectCommand {
            hdr: object,
            flags: U64::new(flags),
        };
        let data = [command.as_bytes(), data].concat();
        Self::new(group, opcode, member, &data, 0)
    }

    pub(super) fn with(self, effect: Effect) -> Self {
        Self { effect, ..self }
    }
}

/// A value of as many bytes as there are, and zeroes.
fn zeroed<C: FromBytes + IntoBytes>(bytes: &[u8]) -> C {
    let mut value = C::new_zeroed();
    for (to, from) in value.as_mut_bytes().iter_mut().zip(bytes) {
        *to = *from;
    }
    value
}
