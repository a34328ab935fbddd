//! What owners do with members: their parts, their mode, their legacy interface. A group finds the
//! member that a command names, and leaves the rest to this.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.12.1.1 "Legacy Interfaces".

mod legacy;
mod parts;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use ringway_spec::admin::{
    CapabilityHeader, CapabilityId, GroupType, MODE_STOPPED, ModeSet, Opcode, Opcodes,
    PartsCapability, SELF_MEMBER,
};
use ringway_spec::le::U64;
use zerocopy::IntoBytes;

use super::command::{Command, Failure};
use super::group::Group;
use super::member::{Member, Mode};
use super::objects::Objects;

/// How many objects of each purpose an owner has: for each of a few members at once.
const OBJECTS: PartsCapability = PartsCapability {
    get_parts_resource_objects_limit: 16,
    set_parts_resource_objects_limit: 16,
};

/// Carries out commands for members.
///
/// The objects that parts need are the owner's, and so is the capability that says how many there
/// are: its driver says in the group [`SELF`](GroupType::SELF) how many it will use, and that group
/// is [`own_group`](Self::own_group).
pub struct Control {
    objects: Objects,
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

impl Control {
    /// The commands that it carries out: all of each family, or a driver could do nothing with them
    /// (§2.12.1.1.6, §2.12.1.4.5).
    pub const COMMANDS: Opcodes = Opcodes::PARTS
        .union(Opcodes::OBJECTS)
        .union(Opcodes::LEGACY)
        .union(Opcodes::of(&[Opcode::LEGACY_NOTIFY_INFO]));

    /// With no object.
    pub fn new() -> Self {
        Self {
            objects: Objects::new(OBJECTS),
        }
    }

    /// The group that the owner's driver says in how many objects it will use.
    pub fn own_group(self: &Arc<Self>) -> Arc<dyn Group> {
        Arc::new(Own(Arc::clone(self)))
    }

    /// Carries out one of [these commands](Self::COMMANDS) for `member`, as
    /// [`Group::execute`] does.
    ///
    /// # Errors
    ///
    /// [`Failure`], which the driver is told.
    pub fn execute(
        &self,
        member: &dyn Member,
        command: &Command<'_>,
    ) -> Poll<Result<Vec<u8>, Failure>> {
        match command.opcode {
            Opcode::DEV_MODE_SET => set_mode(member, command),
            Opcode::DEV_PARTS_METADATA_GET => parts::metadata(&self.objects, member, command),
            Opcode::DEV_PARTS_GET => parts::get(&self.objects, member, command),
            Opcode::DEV_PARTS_SET => parts::set(&self.objects, member, command),
            opcode if Opcodes::OBJECTS.has(opcode) => Poll::Ready(self.objects.execute(command)),
            _ => Poll::Ready(legacy::execute(member, command)),
        }
    }

    /// The owner was reset: forgets what its driver has made and said.
    pub fn reset(&self) {
        self.objects.reset();
    }
}

fn set_mode(member: &dyn Member, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
    let ModeSet { flags } = command.head();
    let mode = match flags {
        0 => Mode::Running,
        MODE_STOPPED => Mode::Stopped,
        _ => return Poll::Ready(Err(Failure::InvalidField)),
    };
    let set = member.set_mode(mode);
    set.map(|set| set.map(|()| Vec::new()).map_err(Failure::from))
}

/// The owner itself, which has the capability.
struct Own(Arc<Control>);

impl Group for Own {
    fn group_type(&self) -> GroupType {
        GroupType::SELF
    }

    fn commands(&self) -> Opcodes {
        Opcodes::CAPABILITIES
    }

    fn has_member(&self, member: u64) -> bool {
        member == SELF_MEMBER
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        let objects = &self.0.objects;
        if command.opcode == Opcode::CAP_ID_LIST_QUERY {
            let bit = U64::new(1 << CapabilityId::DEV_PARTS.to_u16());
            return Poll::Ready(Ok(bit.as_bytes().to_vec()));
        }
        let head: CapabilityHeader = command.head();
        if head.id != CapabilityId::DEV_PARTS {
            return Poll::Ready(Err(Failure::Missing));
        }
        Poll::Ready(match command.opcode {
            Opcode::DEVICE_CAP_GET => Ok(objects.limits().as_bytes().to_vec()),
            Opcode::DRIVER_CAP_SET => {
                let rest = Command {
                    data: command.tail::<CapabilityHeader>(),
                    ..*command
                };
                objects.set_used(rest.head()).map(|()| Vec::new())
            }
            _ => Err(Failure::InvalidOpcode),
        })
    }

    fn reset(&self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests;
