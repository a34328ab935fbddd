//! What a device has for its driver to use: capabilities, and the objects that they limit.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::task::Poll;

use ringway_spec::admin::{
    CapabilityHeader, CapabilityId, GroupType, ObjectCommand, ObjectHeader, ObjectType, Opcode,
    Opcodes, SELF_MEMBER,
};
use spin::Mutex;

use super::capability::Capability;
use super::command::{Command, Failure};
use super::group::Group;
use super::object::{Kind, Objects, Said};

/// The capabilities of a device and its kinds of objects; and what its driver uses of them.
///
/// It is a group, of type [`SELF`](GroupType::SELF): that of the device alone. Another group of the
/// same owner whose members have objects shares it, and [carries out](Self::execute) commands for
/// them with it.
#[derive(Default)]
pub struct Facilities {
    capabilities: Vec<Capability>,
    kinds: Vec<Arc<dyn Kind>>,
    used: Mutex<Used>,
}

/// What the driver uses.
#[derive(Default)]
struct Used {
    /// What it has said of each capability.
    set: Vec<(CapabilityId, Vec<u8>)>,
    objects: Objects,
}

impl Facilities {
    /// This, and a capability, in the place of one of the same id.
    #[must_use]
    pub fn with_capability(mut self, capability: Capability) -> Self {
        self.capabilities
            .retain(|other| other.id() != capability.id());
        self.capabilities.push(capability);
        self
    }

    /// This, and a kind of object. There can be as many as a capability says that the driver may
    /// [have](super::Rule::Objects).
    #[must_use]
    pub fn with_kind(mut self, kind: Arc<dyn Kind>) -> Self {
        self.kinds.push(kind);
        self
    }

    /// What the driver has said that it uses of a capability, once it has.
    pub fn set(&self, id: CapabilityId) -> Option<Vec<u8>> {
        self.used.lock().set(id).map(<[u8]>::to_vec)
    }

    /// Carries out a command for capabilities or objects of a member.
    ///
    /// # Errors
    ///
    /// [`Failure`]: nothing was done.
    pub fn execute(&self, command: &Command<'_>) -> Result<Vec<u8>, Failure> {
        let mut used = self.used.lock();
        match command.opcode {
            Opcode::CAP_ID_LIST_QUERY => Ok(self.ids()),
            Opcode::DEVICE_CAP_GET => Ok(self.capability(command)?.offered().to_vec()),
            Opcode::DRIVER_CAP_SET => {
                let capability = self.capability(command)?;
                used.set_capability(capability, command.tail::<CapabilityHeader>())?;
                Ok(Vec::new())
            }
            Opcode::RESOURCE_OBJ_CREATE => {
                let said = said::<ObjectCommand>(command);
                let kind = self.kind(said.at.object_type)?;
                let limit = used.limit(&self.capabilities, said.at.object_type);
                used.objects.create(kind, limit, &said)?;
                Ok(Vec::new())
            }
            Opcode::RESOURCE_OBJ_MODIFY => {
                used.objects.modify(&said::<ObjectCommand>(command))?;
                Ok(Vec::new())
            }
            Opcode::RESOURCE_OBJ_QUERY => used.objects.query(&said::<ObjectCommand>(command)),
            Opcode::RESOURCE_OBJ_DESTROY => {
                used.objects.destroy(&said::<ObjectHeader>(command))?;
                Ok(Vec::new())
            }
            _ => Err(Failure::InvalidOpcode),
        }
    }

    /// A bit for each capability, in 64-bit words, as many as it takes: one at least.
    fn ids(&self) -> Vec<u8> {
        let mut bits = vec![0; size_of::<u64>()];
        for capability in &self.capabilities {
            let id = usize::from(capability.id().to_u16());
            let byte = id >> 3;
            let len = byte.saturating_add(1).next_multiple_of(size_of::<u64>());
            if bits.len() < len {
                bits.resize(len, 0);
            }
            if let Some(byte) = bits.get_mut(byte) {
                *byte |= 1 << (id & 7);
            }
        }
        bits
    }

    /// The capability that a command names.
    fn capability(&self, command: &Command<'_>) -> Result<&Capability, Failure> {
        let header: CapabilityHeader = command.head();
        let mut capabilities = self.capabilities.iter();
        let found = capabilities.find(|capability| capability.id() == header.id);
        found.ok_or(Failure::Missing)
    }

    fn kind(&self, object_type: ObjectType) -> Result<&Arc<dyn Kind>, Failure> {
        let mut kinds = self.kinds.iter();
        let found = kinds.find(|kind| kind.object_type() == object_type);
        found.ok_or(Failure::InvalidField)
    }
}

impl Used {
    fn set(&self, id: CapabilityId) -> Option<&[u8]> {
        let mut set = self.set.iter();
        let (_, bytes) = set.find(|(other, _)| *other == id)?;
        Some(bytes)
    }

    /// Takes what the driver says that it uses of a capability: not while there are objects that it
    /// limits.
    fn set_capability(&mut self, capability: &Capability, wanted: &[u8]) -> Result<(), Failure> {
        let wanted = capability.within(wanted).ok_or(Failure::InvalidField)?;
        if capability.kinds().any(|kind| self.objects.any(kind)) {
            return Err(Failure::Busy);
        }
        self.set.retain(|(other, _)| *other != capability.id());
        self.set.push((capability.id(), wanted));
        Ok(())
    }

    /// How many objects of a kind there may be: none before the driver has said so (§2.12.1.2.4).
    fn limit(&self, capabilities: &[Capability], kind: ObjectType) -> u64 {
        let limits = capabilities.iter().filter_map(|capability| {
            let wanted = self.set(capability.id())?;
            capability.limit(kind, wanted)
        });
        limits.fold(0, u64::saturating_add)
    }
}

/// What a command says of an object: its bytes come after a `T`, which begins with a header.
fn said<'c, T>(command: &Command<'c>) -> Said<'c> {
    let head: ObjectCommand = command.head();
    Said {
        at: head.hdr,
        member: command.member,
        flags: head.flags.get(),
        bytes: command.tail::<T>(),
    }
}

impl Group for Facilities {
    fn group_type(&self) -> GroupType {
        GroupType::SELF
    }

    fn commands(&self) -> Opcodes {
        let objects = match self.kinds.is_empty() {
            true => Opcodes::NONE,
            false => Opcodes::OBJECTS,
        };
        Opcodes::CAPABILITIES.union(objects)
    }

    fn has_member(&self, member: u64) -> bool {
        member == SELF_MEMBER
    }

    fn execute(&self, command: &Command<'_>) -> Poll<Result<Vec<u8>, Failure>> {
        Poll::Ready(Self::execute(self, command))
    }

    fn reset(&self) {
        let mut used = self.used.lock();
        used.objects.clear();
        used.set.clear();
    }
}

#[cfg(test)]
mod tests;
