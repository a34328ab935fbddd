//! What was said, and what may be sent because of it.
//!
//! Spec: VIRTIO 1.4 §2.12.1.6 "Driver Requirements: Group administration commands".

use alloc::vec::Vec;

use ringway_spec::admin::{CapabilityId, GroupType, ObjectHeader, ObjectType, Opcodes};
use ringway_spec::le::U64;

use super::member::To;
use super::reply::Reply;
use super::request::{Effect, Request, Setting};
use crate::error::{AdminError, Kind};

/// What driver and device have said to each other since the device was reset.
#[derive(Debug, Default)]
pub(super) struct Books {
    groups: Vec<Listed>,
    /// What the device has of each capability that it was asked for.
    offered: Vec<(CapabilityId, Vec<u8>)>,
    /// How many objects there may be of each kind.
    limits: Vec<(ObjectType, u32)>,
    /// Those that there are, or are about to be.
    objects: Vec<ObjectHeader>,
    /// The members that were stopped, and not told to go on since.
    stopped: Vec<To>,
}

/// The commands of a group.
#[derive(Clone, Copy, Debug)]
struct Listed {
    group: GroupType,
    /// Those that the device has listed.
    supported: Opcodes,
    /// Those that the driver said it uses, once it has.
    used: Option<Opcodes>,
}

impl Books {
    /// The commands that the driver said it uses, once it has.
    pub(super) fn used(&self, group: GroupType) -> Option<Opcodes> {
        self.listed(group).used
    }

    /// Whether a command may be sent.
    pub(super) fn allow(&self, request: &Request) -> Result<(), AdminError> {
        let listed = self.listed(request.group);
        if !listed.used.unwrap_or(Opcodes::LISTS).has(request.opcode) {
            return Err(AdminError::NotUsed(request.opcode));
        }
        match &request.effect {
            Effect::Uses(_, opcodes) => {
                let missing = opcodes.difference(listed.supported);
                if missing.is_empty() {
                    Ok(())
                } else {
                    Err(AdminError::NotListed(missing))
                }
            }
            Effect::Set(setting) => self.may_set(setting),
            Effect::Created(object) => self.may_create(*object),
            Effect::Kept(object) | Effect::Destroyed(object) if !self.has(*object) => {
                Err(AdminError::Missing(*object))
            }
            Effect::Given(to) if !self.stopped.contains(to) => Err(AdminError::NotStopped(to.1)),
            _ => Ok(()),
        }
    }

    /// Takes down what a command takes, before it is done.
    pub(super) fn begin(&mut self, effect: &Effect) {
        match effect {
            Effect::Created(object) => self.objects.push(*object),
            // Should it fail, the member is stopped again for certain only by being told so.
            Effect::GoesOn(to) => self.stopped.retain(|other| other != to),
            _ => {}
        }
    }

    /// Takes down that a command failed, if it is known how: what it takes is free again, and what
    /// the device does not know of is not there.
    pub(super) fn failed(&mut self, effect: &Effect, how: Option<Kind>) {
        let gone = match effect {
            Effect::Created(object) => Some(object),
            Effect::Kept(object) | Effect::Destroyed(object) if how == Some(Kind::Missing) => {
                Some(object)
            }
            _ => None,
        };
        self.objects.retain(|other| Some(other) != gone);
    }

    /// Takes down what follows from a command that succeeded.
    pub(super) fn succeeded(&mut self, effect: Effect, reply: &Reply) {
        match effect {
            Effect::None
            | Effect::Created(_)
            | Effect::Kept(_)
            | Effect::GoesOn(_)
            | Effect::Given(_) => {}
            Effect::Stops(to) if self.stopped.contains(&to) => {}
            Effect::Stops(to) => self.stopped.push(to),
            Effect::Listed(group) => {
                let first: U64 = reply.head();
                let mut listed = self.listed(group);
                listed.supported = listed.supported.union(Opcodes(first.get()));
                self.put(listed);
            }
            Effect::Uses(group, opcodes) => {
                let mut listed = self.listed(group);
                listed.used = Some(opcodes);
                self.put(listed);
            }
            Effect::Asked(id) => {
                self.offered.retain(|(other, _)| *other != id);
                self.offered.push((id, reply.bytes().to_vec()));
            }
            Effect::Set(setting) => {
                for (kind, limit) in setting.limits {
                    self.limits.retain(|(other, _)| *other != kind);
                    self.limits.push((kind, limit));
                }
            }
            Effect::Destroyed(object) => self.objects.retain(|other| *other != object),
        }
    }

    fn may_set(&self, setting: &Setting) -> Result<(), AdminError> {
        let id = setting.id;
        let mut offered = self.offered.iter();
        let offered = offered.find(|(other, _)| *other == id);
        let (_, offered) = offered.ok_or(AdminError::NotAsked(id))?;
        if !setting.is_within(offered) {
            return Err(AdminError::Beyond(id));
        }
        let limited = |kind| self.objects.iter().any(|object| object.object_type == kind);
        let mut kinds = setting.limits.iter().map(|(kind, _)| *kind);
        match kinds.find(|kind| limited(*kind)) {
            Some(kind) => Err(AdminError::HasObjects(kind)),
            None => Ok(()),
        }
    }

    fn may_create(&self, object: ObjectHeader) -> Result<(), AdminError> {
        let mut limits = self.limits.iter();
        let limit = limits.find(|(kind, _)| *kind == object.object_type);
        let (id, limit) = (object.id.get(), limit.map_or(0, |(_, limit)| *limit));
        if id >= limit {
            return Err(AdminError::NoRoom { id, limit });
        }
        if self.has(object) {
            return Err(AdminError::Exists(object));
        }
        Ok(())
    }

    fn has(&self, object: ObjectHeader) -> bool {
        self.objects.contains(&object)
    }

    fn listed(&self, group: GroupType) -> Listed {
        let mut groups = self.groups.iter();
        let listed = groups.find(|listed| listed.group == group);
        listed.copied().unwrap_or(Listed {
            group,
            supported: Opcodes::NONE,
            used: None,
        })
    }

    fn put(&mut self, listed: Listed) {
        self.groups.retain(|other| other.group != listed.group);
        self.groups.push(listed);
    }
}
