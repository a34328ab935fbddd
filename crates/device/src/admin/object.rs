//! Objects that a driver makes in a device. Spec: VIRTIO 1.4 §2.12.1.3 "Device resource objects".

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_spec::admin::{ObjectHeader, ObjectType};

use super::command::Failure;

/// Most bytes that one object is made of, of those that the driver says.
pub const OBJECT_BYTES_MAX: usize = 4096;

/// Most bytes of all of them, with what each takes: a driver that makes more than that is told that
/// there is no memory.
pub const OBJECTS_BYTES_MAX: usize = 1 << 20;

/// What each object takes beside its own bytes.
const OBJECT_OVERHEAD: usize = 128;

/// A kind of object that a device has. Its objects are kept for it; it is told of each, with none
/// of them made or changed meanwhile, and does not come back to whoever told it.
pub trait Kind: Send + Sync {
    /// Which one it is.
    fn object_type(&self) -> ObjectType;

    /// How many bytes an object of it is made of: what a driver leaves out is zero.
    fn bytes(&self) -> usize;

    /// The objects that one made of this depends on: they must be there, and stay as they are as
    /// long as it is there.
    fn needs(&self, object: &[u8]) -> Vec<ObjectHeader> {
        let _ = object;
        Vec::new()
    }

    /// Makes an object, for a member.
    ///
    /// # Errors
    ///
    /// [`Failure`]: nothing was done.
    fn create(&self, member: u64, id: u32, flags: u64, object: &[u8]) -> Result<(), Failure>;

    /// Makes another of it.
    ///
    /// # Errors
    ///
    /// [`Failure`]: it is as it was.
    fn modify(&self, member: u64, id: u32, flags: u64, object: &[u8]) -> Result<(), Failure>;

    /// Ends it. Nothing depends on it any more.
    fn destroy(&self, member: u64, id: u32);
}

/// The objects that there are, in the order in which they were made.
#[derive(Default)]
pub(super) struct Objects(Vec<Object>);

/// One of them.
struct Object {
    at: ObjectHeader,
    member: u64,
    bytes: Vec<u8>,
    needs: Vec<ObjectHeader>,
    kind: Arc<dyn Kind>,
}

/// What a driver says of an object.
pub(super) struct Said<'d> {
    pub(super) at: ObjectHeader,
    pub(super) member: u64,
    pub(super) flags: u64,
    /// What it is to be made of, where there is any.
    pub(super) bytes: &'d [u8],
}

impl Objects {
    /// Makes one, below the `limit` of its kind.
    pub(super) fn create(
        &mut self,
        kind: &Arc<dyn Kind>,
        limit: u64,
        said: &Said<'_>,
    ) -> Result<(), Failure> {
        let id = said.at.id.get();
        if u64::from(id) >= limit {
            return Err(Failure::InvalidField);
        }
        if self.find(said.at).is_some() {
            return Err(Failure::Exists);
        }
        let bytes = whole(&**kind, said.bytes)?;
        let needs = self.check_needs(&**kind, &bytes)?;
        let taken = self.0.iter().map(Object::cost);
        let taken = taken.fold(0, usize::saturating_add);
        let object = Object {
            at: said.at,
            member: said.member,
            bytes,
            needs,
            kind: Arc::clone(kind),
        };
        if taken.saturating_add(object.cost()) > OBJECTS_BYTES_MAX {
            return Err(Failure::NoMemory);
        }
        kind.create(said.member, id, said.flags, &object.bytes)?;
        self.0.push(object);
        Ok(())
    }

    /// Makes another of one that there is.
    pub(super) fn modify(&mut self, said: &Said<'_>) -> Result<(), Failure> {
        let place = self.find_of(said)?;
        let kind = self.0.get(place).map(|object| Arc::clone(&object.kind));
        let kind = kind.ok_or(Failure::Missing)?;
        self.check_free(said.at)?;
        let bytes = whole(&*kind, said.bytes)?;
        let needs = self.check_needs(&*kind, &bytes)?;
        kind.modify(said.member, said.at.id.get(), said.flags, &bytes)?;
        if let Some(object) = self.0.get_mut(place) {
            (object.bytes, object.needs) = (bytes, needs);
        }
        Ok(())
    }

    /// What one is made of: as it was said last.
    pub(super) fn query(&self, said: &Said<'_>) -> Result<Vec<u8>, Failure> {
        let place = self.find_of(said)?;
        let object = self.0.get(place).ok_or(Failure::Missing)?;
        Ok(object.bytes.clone())
    }

    /// Ends one on which none depends.
    pub(super) fn destroy(&mut self, said: &Said<'_>) -> Result<(), Failure> {
        let place = self.find_of(said)?;
        self.check_free(said.at)?;
        let object = self.0.remove(place);
        object.kind.destroy(object.member, object.at.id.get());
        Ok(())
    }

    /// Ends all: those that depend on others first.
    pub(super) fn clear(&mut self) {
        while let Some(object) = self.0.pop() {
            object.kind.destroy(object.member, object.at.id.get());
        }
    }

    /// Whether there are any of a kind.
    pub(super) fn any(&self, kind: ObjectType) -> bool {
        self.0.iter().any(|object| object.at.object_type == kind)
    }

    fn find(&self, at: ObjectHeader) -> Option<usize> {
        self.0.iter().position(|object| object.is(at))
    }

    /// One that is there, and of this member.
    fn find_of(&self, said: &Said<'_>) -> Result<usize, Failure> {
        let place = self.find(said.at).ok_or(Failure::Missing)?;
        let mine = self
            .0
            .get(place)
            .is_some_and(|object| object.member == said.member);
        mine.then_some(place).ok_or(Failure::Missing)
    }

    /// Whether none depends on one.
    fn check_free(&self, at: ObjectHeader) -> Result<(), Failure> {
        let depends = |object: &Object| object.needs.iter().any(|needed| same(*needed, at));
        if self.0.iter().any(depends) {
            return Err(Failure::Busy);
        }
        Ok(())
    }

    /// Whether all are there that one of this kind would depend on.
    fn check_needs(&self, kind: &dyn Kind, bytes: &[u8]) -> Result<Vec<ObjectHeader>, Failure> {
        let needs = kind.needs(bytes);
        if needs.iter().any(|needed| self.find(*needed).is_none()) {
            return Err(Failure::Missing);
        }
        Ok(needs)
    }
}

impl Object {
    fn is(&self, at: ObjectHeader) -> bool {
        same(self.at, at)
    }

    fn cost(&self) -> usize {
        self.bytes.len().saturating_add(OBJECT_OVERHEAD)
    }
}

/// Whether both name one object, whatever a driver has put where zeroes belong.
fn same(one: ObjectHeader, other: ObjectHeader) -> bool {
    (one.object_type, one.id) == (other.object_type, other.id)
}

/// As many bytes as an object of the kind is made of.
fn whole(kind: &dyn Kind, said: &[u8]) -> Result<Vec<u8>, Failure> {
    let len = kind.bytes();
    if len > OBJECT_BYTES_MAX {
        return Err(Failure::NoMemory);
    }
    let mut bytes: Vec<u8> = said.iter().copied().take(len).collect();
    bytes.resize(len, 0);
    Ok(bytes)
}
