//! Members that are stopped, taken apart, and put together elsewhere: how one goes on in the place
//! of another.
//!
//! ```text
//! stop(source) ─▶ parts(source) ──▶ stop(target) ─▶ set_parts(target) ─▶ go_on(target)
//! ```
//!
//! The memory of the member's own driver goes with it, and what PCI has of its own: configuration
//! space and the table of MSI-X vectors. Both are for the caller.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts".

use alloc::vec::Vec;

use ringway_spec::admin::{
    GroupType, MODE_STOPPED, ModeSet, ObjectHeader, ObjectType, Opcode, PartHeader, PartsCount,
    PartsGet, PartsGetType, PartsMetadata, PartsMetadataType, PartsObject, PartsObjectType,
    PartsSize,
};
use zerocopy::{FromBytes, IntoBytes};

use super::parts::{self, Part};
use super::request::Effect;
use super::{Admin, RESULT_BYTES_MAX, Request};
use crate::error::{AdminError, Result};
use crate::platform::Platform;

/// A group, and the number of one of its members.
pub type To = (GroupType, u64);

impl Request {
    /// A member shall stop, or go on: what [`ModeSet`] says (§2.12.1.4.3.4).
    pub fn mode(group: GroupType, member: u64, flags: u8) -> Self {
        let data = ModeSet { flags };
        let to = (group, member);
        let effect = match flags & MODE_STOPPED {
            0 => Effect::GoesOn(to),
            _ => Effect::Stops(to),
        };
        Self::new(group, Opcode::DEV_MODE_SET, member, data.as_bytes(), 0).with(effect)
    }

    /// There shall be an object to get or to set a member's parts with (§2.12.1.4.2).
    pub fn parts_object(to: To, id: u32, purpose: PartsObjectType) -> Self {
        let body = PartsObject {
            purpose,
            reserved: [0; 7],
        };
        Self::create(to, object(id), 0, body.as_bytes())
    }

    /// What is to be known about the parts of a member (§2.12.1.4.3.1)? With the object of this `id`.
    pub fn parts_metadata(
        (group, member): To,
        id: u32,
        wanted: PartsMetadataType,
        room: usize,
    ) -> Self {
        let data = PartsMetadata {
            hdr: object(id),
            wanted,
            reserved: [0; 7],
        };
        let opcode = Opcode::DEV_PARTS_METADATA_GET;
        Self::new(group, opcode, member, data.as_bytes(), room)
    }

    /// What are the parts of a member (§2.12.1.4.3.2)? Those that are `selected`, or all. With the
    /// object of this `id`.
    pub fn parts(
        (group, member): To,
        id: u32,
        selected: Option<&[PartHeader]>,
        room: usize,
    ) -> Self {
        let wanted = match selected {
            None => PartsGetType::ALL,
            Some(_) => PartsGetType::SELECTED,
        };
        let head = PartsGet {
            hdr: object(id),
            wanted,
            reserved: [0; 7],
        };
        let headers = selected.unwrap_or_default();
        let data = [head.as_bytes(), headers.as_bytes()].concat();
        Self::new(group, Opcode::DEV_PARTS_GET, member, &data, room)
    }

    /// These shall be the parts of a member (§2.12.1.4.3.3), which was stopped. With the object of
    /// this `id`.
    ///
    /// # Errors
    ///
    /// [`AdminError::PartOrder`] if they are not in the order of the table (§2.12.1.4.4.2).
    pub fn set_parts(to: To, id: u32, given: &[Part]) -> Result<Self, AdminError> {
        parts::check(given)?;
        let (group, member) = to;
        let data = [object(id).as_bytes(), &parts::encode(given)].concat();
        let request = Self::new(group, Opcode::DEV_PARTS_SET, member, &data, 0);
        Ok(request.with(Effect::Given(to)))
    }
}

/// Each sends one command or a few, and waits for them.
impl<P: Platform> Admin<P> {
    /// Stops a member: when this returns, it has completed what it had begun, and neither reaches
    /// memory nor interrupts.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn stop(&mut self, (group, member): To) -> Result<()> {
        self.call(&Request::mode(group, member, MODE_STOPPED))
            .map(drop)
    }

    /// Has a member go on, from where it was or where it was put.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call): with [`AdminError::Failed`] it was given parts that do not fit
    /// together, and is still stopped.
    pub fn go_on(&mut self, (group, member): To) -> Result<()> {
        self.call(&Request::mode(group, member, 0)).map(drop)
    }

    /// Makes an object to get or to set a member's parts with.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn create_parts_object(&mut self, to: To, id: u32, purpose: PartsObjectType) -> Result<()> {
        self.call(&Request::parts_object(to, id, purpose)).map(drop)
    }

    /// Ends one.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call).
    pub fn destroy_parts_object(&mut self, to: To, id: u32) -> Result<()> {
        self.destroy(to, object(id))
    }

    /// Which parts a member has, and how long each is.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call). [`AdminError::CutPart`] if there are fewer than the device says.
    pub fn part_headers(&mut self, to: To, id: u32) -> Result<Vec<PartHeader>> {
        let count =
            Request::parts_metadata(to, id, PartsMetadataType::COUNT, size_of::<PartsCount>());
        let count: PartsCount = self.call(&count)?.head();
        let room = bounded(count.count.get()).saturating_mul(size_of::<PartHeader>());
        let room = room.saturating_add(size_of::<PartsCount>());
        let list = Request::parts_metadata(to, id, PartsMetadataType::LIST, room);
        let reply = self.call(&list)?;
        let listed: PartsCount = reply.head();
        let mut rest = reply.tail::<PartsCount>();
        let mut headers = Vec::new();
        for _ in 0..listed.count.get() {
            let read = PartHeader::read_from_prefix(rest);
            let (header, after) = read.map_err(|_| AdminError::CutPart(rest.len()))?;
            headers.push(header);
            rest = after;
        }
        Ok(headers)
    }

    /// The parts of a member, all of them. Of one that was stopped they stay as they are as long as
    /// its driver does nothing.
    ///
    /// # Errors
    ///
    /// Those of [`call`](Self::call). [`AdminError::CutPart`] and [`AdminError::PartOrder`] if the
    /// device's list is not one.
    pub fn parts(&mut self, to: To, id: u32) -> Result<Vec<Part>> {
        self.parts_of(to, id, None)
    }

    /// Those parts of a member that are selected, by type and selector, and what the device must tell
    /// before them. What there is not is left out.
    ///
    /// # Errors
    ///
    /// As of [`parts`](Self::parts).
    pub fn selected_parts(
        &mut self,
        to: To,
        id: u32,
        selected: &[PartHeader],
    ) -> Result<Vec<Part>> {
        self.parts_of(to, id, Some(selected))
    }

    /// Gives a member parts, which it has when it [goes on](Self::go_on). It must have been
    /// [stopped](Self::stop) through this owner (§2.12.1.4.4.2).
    ///
    /// # Errors
    ///
    /// [`AdminError::NotStopped`] if it was not. [`AdminError::PartOrder`] if they are not in the
    /// order of the table. Those of [`call`](Self::call): the member is as it was.
    pub fn set_parts(&mut self, to: To, id: u32, given: &[Part]) -> Result<()> {
        self.call(&Request::set_parts(to, id, given)?).map(drop)
    }

    fn parts_of(&mut self, to: To, id: u32, selected: Option<&[PartHeader]>) -> Result<Vec<Part>> {
        let size = Request::parts_metadata(to, id, PartsMetadataType::SIZE, size_of::<PartsSize>());
        let size: PartsSize = self.call(&size)?.head();
        let room = bounded(size.size.get());
        let reply = self.call(&Request::parts(to, id, selected, room))?;
        Ok(parts::decode(reply.bytes())?)
    }
}

fn object(id: u32) -> ObjectHeader {
    ObjectHeader::new(ObjectType::DEV_PARTS, id)
}

/// As many as a device says, against one that says anything.
fn bounded(number: u32) -> usize {
    usize::try_from(number)
        .unwrap_or(usize::MAX)
        .min(RESULT_BYTES_MAX)
}
