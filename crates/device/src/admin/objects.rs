//! The objects that parts of members are got and set with, and how many of them the driver said it
//! would have.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4.1 "`VIRTIO_DEV_PARTS_CAP`",
//! §2.12.1.4.2 "`VIRTIO_RESOURCE_OBJ_DEV_PARTS`".

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ringway_spec::admin::{
    ObjectCommand, ObjectHeader, ObjectType, Opcode, PartsCapability, PartsObject, PartsObjectType,
};
use spin::Mutex;
use zerocopy::IntoBytes;

use super::command::{Command, Failure};

/// Objects for device parts, and their limits.
pub(super) struct Objects {
    limits: PartsCapability,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the driver said it would use. None at first.
    used: PartsCapability,
    /// No more than the limits together.
    objects: BTreeMap<u32, Object>,
}

/// An object, and the member that it is for.
#[derive(Clone, Copy)]
struct Object {
    member: u64,
    body: PartsObject,
}

impl Objects {
    pub(super) fn new(limits: PartsCapability) -> Self {
        Self {
            limits,
            state: Mutex::default(),
        }
    }

    /// How many there can be.
    pub(super) fn limits(&self) -> PartsCapability {
        self.limits
    }

    /// As many as there can be are what the driver says it will have. It says so before it makes any,
    /// and not while it has some (§2.12.1.2.4).
    pub(super) fn set_used(&self, used: PartsCapability) -> Result<(), Failure> {
        let beyond = used.get_parts_resource_objects_limit
            > self.limits.get_parts_resource_objects_limit
            || used.set_parts_resource_objects_limit > self.limits.set_parts_resource_objects_limit;
        if beyond {
            return Err(Failure::InvalidField);
        }
        let mut state = self.state.lock();
        if !state.objects.is_empty() {
            return Err(Failure::Busy);
        }
        state.used = used;
        Ok(())
    }

    /// Forgets everything.
    pub(super) fn reset(&self) {
        *self.state.lock() = State::default();
    }

    /// Carries out one of the commands for objects, for a member.
    pub(super) fn execute(&self, command: &Command<'_>) -> Result<Vec<u8>, Failure> {
        let ObjectCommand { hdr, flags } = match command.opcode {
            Opcode::RESOURCE_OBJ_DESTROY => ObjectCommand {
                hdr: command.head(),
                ..ObjectCommand::default()
            },
            _ => command.head(),
        };
        check(&hdr)?;
        if flags.get() != 0 {
            return Err(Failure::InvalidField);
        }
        let mut state = self.state.lock();
        if command.opcode == Opcode::RESOURCE_OBJ_CREATE {
            let body = body(command)?;
            return state.create(hdr.id.get(), command.member, body);
        }
        let id = hdr.id.get();
        let object = state.objects.get_mut(&id);
        let object = object.filter(|object| object.member == command.member);
        let object = object.ok_or(Failure::Missing)?;
        match command.opcode {
            Opcode::RESOURCE_OBJ_QUERY => return Ok(object.body.as_bytes().to_vec()),
            // It is for what it was made for: there is a limit for each.
            Opcode::RESOURCE_OBJ_MODIFY if body(command)? != object.body => {
                return Err(Failure::InvalidField);
            }
            Opcode::RESOURCE_OBJ_DESTROY => {
                state.objects.remove(&id);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Whether a command may use the object that it names, for this purpose and its member.
    pub(super) fn find(
        &self,
        hdr: &ObjectHeader,
        member: u64,
        purpose: PartsObjectType,
    ) -> Result<(), Failure> {
        check(hdr)?;
        let state = self.state.lock();
        let object = state.objects.get(&hdr.id.get());
        let object = object.filter(|object| object.member == member);
        match object {
            None => Err(Failure::Missing),
            Some(object) if object.body.purpose == purpose => Ok(()),
            Some(_) => Err(Failure::InvalidField),
        }
    }
}

impl State {
    fn create(&mut self, id: u32, member: u64, body: PartsObject) -> Result<Vec<u8>, Failure> {
        let limit = match body.purpose {
            PartsObjectType::GET => self.used.get_parts_resource_objects_limit,
            _ => self.used.set_parts_resource_objects_limit,
        };
        let of_kind = |object: &&Object| object.body.purpose == body.purpose;
        if self.objects.contains_key(&id) {
            return Err(Failure::Exists);
        }
        if id >= self.ids() {
            return Err(Failure::InvalidField);
        }
        if self.objects.values().filter(of_kind).count() >= usize::from(limit) {
            return Err(Failure::Exhausted);
        }
        self.objects.insert(id, Object { member, body });
        Ok(Vec::new())
    }

    /// Objects have ids below this: there is one limit for each kind, and one set of ids for both.
    fn ids(&self) -> u32 {
        let PartsCapability {
            get_parts_resource_objects_limit: get,
            set_parts_resource_objects_limit: set,
        } = self.used;
        u32::from(get).saturating_add(set.into())
    }
}

fn check(hdr: &ObjectHeader) -> Result<(), Failure> {
    if hdr.object_type == ObjectType::DEV_PARTS {
        Ok(())
    } else {
        Err(Failure::Missing)
    }
}

fn body(command: &Command<'_>) -> Result<PartsObject, Failure> {
    let rest = Command {
        data: command.tail::<ObjectCommand>(),
        ..*command
    };
    let body: PartsObject = rest.head();
    let known = matches!(body.purpose, PartsObjectType::GET | PartsObjectType::SET);
    let clean = body.reserved == [0; 7];
    (known && clean)
        .then_some(body)
        .ok_or(Failure::InvalidField)
}
