//! What owners do with members: their parts, their mode, their legacy interface. A group finds the
//! member that a command names, and leaves the rest to this.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.12.1.1 "Legacy Interfaces".

mod legacy;
mod parts;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Poll;

use ringway_spec::admin::{MODE_STOPPED, ModeSet, Opcode, Opcodes, PartsCapability};

use super::capability::Capability;
use super::command::{Command, Failure};
use super::facilities::Facilities;
use super::group::Group;
use super::member::{Member, Mode};
use super::objects::PartsObjects;

/// How many objects of each purpose an owner has: for each of a few members at once.
const OBJECTS: PartsCapability = PartsCapability {
    get_parts_resource_objects_limit: 16,
    set_parts_resource_objects_limit: 16,
};

/// Carries out commands for members.
///
/// The objects that parts need are the owner's, and so is the capability that says how many there
/// are: they are among its [facilities](Self::facilities), which are a group of their own.
pub struct Control {
    facilities: Arc<Facilities>,
    objects: Arc<PartsObjects>,
}

impl Default for Control {
    fn default() -> Self {
        Self::beside(Facilities::default())
    }
}

impl Control {
    /// The commands that it carries out: all of each family, or a driver could do nothing with them
    /// (§2.12.1.1.6, §2.12.1.4.4.1).
    pub const COMMANDS: Opcodes = Opcodes::PARTS
        .union(Opcodes::OBJECTS)
        .union(Opcodes::LEGACY)
        .union(Opcodes::of(&[Opcode::LEGACY_NOTIFY_INFO]));

    /// For an owner that has these facilities, too.
    pub fn beside(facilities: Facilities) -> Self {
        let objects = Arc::new(PartsObjects::new(OBJECTS));
        let facilities = facilities
            .with_capability(Capability::parts(&OBJECTS))
            .with_kind(objects.clone());
        Self {
            facilities: Arc::new(facilities),
            objects,
        }
    }

    /// What the owner has: the group that its driver says in how many objects it will use.
    pub fn facilities(&self) -> Arc<Facilities> {
        Arc::clone(&self.facilities)
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
            opcode if Opcodes::OBJECTS.has(opcode) => Poll::Ready(self.facilities.execute(command)),
            _ => Poll::Ready(legacy::execute(member, command)),
        }
    }

    /// The owner was reset: forgets what its driver has made and said.
    pub fn reset(&self) {
        Group::reset(&*self.facilities);
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

#[cfg(test)]
mod tests;
