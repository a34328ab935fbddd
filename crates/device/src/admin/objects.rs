//! The objects that parts of members are got and set with.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts".

use alloc::collections::BTreeMap;

use ringway_spec::admin::{
    ObjectHeader, ObjectType, PartsCapability, PartsObject, PartsObjectType,
};
use spin::Mutex;
use zerocopy::FromBytes;

use super::command::Failure;
use super::object::Kind;

/// Objects for device parts: which member each is for, and what.
pub(super) struct PartsObjects {
    limits: PartsCapability,
    /// No more than the limits together.
    objects: Mutex<BTreeMap<u32, (u64, PartsObject)>>,
}

impl PartsObjects {
    /// None, of which there can be so many.
    pub(super) fn new(limits: PartsCapability) -> Self {
        Self {
            limits,
            objects: Mutex::default(),
        }
    }

    /// Whether a command may use the object that it names, for this purpose and its member.
    pub(super) fn find(
        &self,
        hdr: &ObjectHeader,
        member: u64,
        purpose: PartsObjectType,
    ) -> Result<(), Failure> {
        let objects = self.objects.lock();
        let object = objects
            .get(&hdr.id.get())
            .filter(|(of, _)| *of == member && hdr.object_type == ObjectType::DEV_PARTS);
        match object {
            None => Err(Failure::Missing),
            Some((_, object)) if object.purpose == purpose => Ok(()),
            Some(_) => Err(Failure::InvalidField),
        }
    }

    fn limit(&self, purpose: PartsObjectType) -> usize {
        let limits = &self.limits;
        usize::from(match purpose {
            PartsObjectType::GET => limits.get_parts_resource_objects_limit,
            _ => limits.set_parts_resource_objects_limit,
        })
    }
}

impl Kind for PartsObjects {
    fn object_type(&self) -> ObjectType {
        ObjectType::DEV_PARTS
    }

    fn bytes(&self) -> usize {
        size_of::<PartsObject>()
    }

    fn create(&self, member: u64, id: u32, flags: u64, object: &[u8]) -> Result<(), Failure> {
        let object = read(flags, object)?;
        let mut objects = self.objects.lock();
        let same = objects
            .values()
            .filter(|(_, other)| other.purpose == object.purpose);
        if same.count() >= self.limit(object.purpose) {
            return Err(Failure::Exhausted);
        }
        objects.insert(id, (member, object));
        Ok(())
    }

    /// It stays what it was made for: there is a limit for each purpose.
    fn modify(&self, member: u64, id: u32, flags: u64, object: &[u8]) -> Result<(), Failure> {
        let same = Some((member, read(flags, object)?));
        if self.objects.lock().get(&id).copied() == same {
            Ok(())
        } else {
            Err(Failure::InvalidField)
        }
    }

    fn destroy(&self, _member: u64, id: u32) {
        self.objects.lock().remove(&id);
    }
}

fn read(flags: u64, object: &[u8]) -> Result<PartsObject, Failure> {
    let object = PartsObject::read_from_bytes(object).map_err(|_| Failure::InvalidField)?;
    let known = matches!(object.purpose, PartsObjectType::GET | PartsObjectType::SET);
    (known && flags == 0 && object.reserved == [0; 7])
        .then_some(object)
        .ok_or(Failure::InvalidField)
}
