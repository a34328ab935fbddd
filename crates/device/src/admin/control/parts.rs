//! Parts of members: which there are, what is in them, what is to be.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4.3 "Device parts handling commands".

use alloc::vec::Vec;
use core::task::Poll;

use ringway_spec::admin::{
    ObjectHeader, PartHeader, PartType, PartsCount, PartsGet, PartsGetType, PartsMetadata,
    PartsMetadataType, PartsObjectType, PartsSize,
};
use zerocopy::{FromBytes, IntoBytes};

use crate::admin::command::{Command, Failure};
use crate::admin::member::{Member, Part};
use crate::admin::objects::PartsObjects;

type Answer = Poll<Result<Vec<u8>, Failure>>;

/// How many bytes the parts have at most, how many there are, or which.
pub(super) fn metadata(
    objects: &PartsObjects,
    member: &dyn Member,
    command: &Command<'_>,
) -> Answer {
    let PartsMetadata { hdr, wanted, .. } = command.head();
    if let Err(failure) = objects.find(&hdr, command.member, PartsObjectType::GET) {
        return Poll::Ready(Err(failure));
    }
    if wanted == PartsMetadataType::SIZE {
        let size = PartsSize {
            size: member.parts_bytes_max().into(),
            ..PartsSize::default()
        };
        return Poll::Ready(fitting(size.as_bytes().to_vec(), command));
    }
    member.parts().map(|parts| {
        // Below 2³²: each has bytes in memory.
        let count = PartsCount {
            count: (parts.len() as u32).into(),
            ..PartsCount::default()
        };
        let mut bytes = count.as_bytes().to_vec();
        match wanted {
            PartsMetadataType::COUNT => {}
            PartsMetadataType::LIST => {
                let headers = parts.iter().flat_map(|part| part.header.as_bytes());
                bytes.extend(headers);
            }
            _ => return Err(Failure::InvalidField),
        }
        fitting(bytes, command)
    })
}

/// The parts that are wanted, and those that must be before them.
pub(super) fn get(objects: &PartsObjects, member: &dyn Member, command: &Command<'_>) -> Answer {
    let PartsGet { hdr, wanted, .. } = command.head();
    if let Err(failure) = objects.find(&hdr, command.member, PartsObjectType::GET) {
        return Poll::Ready(Err(failure));
    }
    let selected = match wanted {
        PartsGetType::ALL => None,
        PartsGetType::SELECTED => Some(headers(command.tail::<PartsGet>())),
        _ => return Poll::Ready(Err(Failure::InvalidField)),
    };
    member.parts().map(|parts| {
        let wanted: Vec<&Part> = match &selected {
            None => parts.iter().collect(),
            Some(selected) => select(&parts, selected),
        };
        let pieces = wanted
            .iter()
            .flat_map(|part| [part.header.as_bytes(), &part.value]);
        fitting(pieces.flatten().copied().collect(), command)
    })
}

/// Sets parts.
pub(super) fn set(objects: &PartsObjects, member: &dyn Member, command: &Command<'_>) -> Answer {
    let hdr: ObjectHeader = command.head();
    if let Err(failure) = objects.find(&hdr, command.member, PartsObjectType::SET) {
        return Poll::Ready(Err(failure));
    }
    let set = member.set_parts(command.tail::<ObjectHeader>());
    set.map(|set| set.map(|()| Vec::new()).map_err(Failure::from))
}

/// Those of `parts` that `selected` names, in the order that they have, with all of the types that
/// come before the last of them: they must be before it (§2.12.1.4.4.1). What there is not is passed
/// over.
fn select<'p>(parts: &'p [Part], selected: &[PartHeader]) -> Vec<&'p Part> {
    let names = |part: &&Part| {
        selected.iter().any(|named| {
            named.part_type == part.header.part_type && named.selector == part.header.selector
        })
    };
    let last: Option<PartType> = parts.iter().rfind(names).map(|part| part.header.part_type);
    let end = parts
        .iter()
        .position(|part| Some(part.header.part_type) == last)
        .unwrap_or(0);
    let (before, rest) = parts.split_at(end.min(parts.len()));
    before.iter().chain(rest.iter().filter(names)).collect()
}

/// The headers that a driver lists. What is left over at the end is none.
fn headers(mut bytes: &[u8]) -> Vec<PartHeader> {
    let mut headers = Vec::new();
    // Ends: each turn takes bytes away.
    while let Ok((header, rest)) = PartHeader::read_from_prefix(bytes) {
        headers.push(header);
        bytes = rest;
    }
    headers
}

/// A result, if there is room for it: parts that are cut off could not be told from whole ones.
fn fitting(result: Vec<u8>, command: &Command<'_>) -> Result<Vec<u8>, Failure> {
    if result.len() > command.room {
        return Err(Failure::NoMemory);
    }
    Ok(result)
}
