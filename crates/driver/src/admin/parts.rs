//! Parts of members, as they are taken from one and given to another.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.14 "Device parts".

use alloc::vec::Vec;

use ringway_spec::admin::{PartHeader, PartType};
use zerocopy::{FromBytes, IntoBytes};

use crate::error::AdminError;

/// The table of the specification: which types come before which (§2.12.1.4.4).
const ORDER: [PartType; 6] = [
    PartType::DEV_FEATURES,
    PartType::DRV_FEATURES,
    PartType::PCI_COMMON_CFG,
    PartType::DEVICE_STATUS,
    PartType::VQ_CFG,
    PartType::VQ_NOTIFY_CFG,
];

/// One part of a device: what it holds is for devices to understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which it is.
    pub part_type: PartType,
    /// Whether a device can do without: [`PART_OPTIONAL`](ringway_spec::admin::PART_OPTIONAL).
    pub flags: u8,
    /// Which of several of the type.
    pub selector: [u8; 8],
    /// What is in it.
    pub value: Vec<u8>,
}

impl Part {
    /// What names it, and says how long it is.
    pub fn header(&self) -> PartHeader {
        PartHeader {
            part_type: self.part_type,
            flags: self.flags,
            reserved: 0,
            selector: self.selector,
            // As many as go into a command, at most.
            length: (self.value.len() as u32).into(),
        }
    }
}

/// Parts one after the other, as commands have them.
pub(super) fn encode(parts: &[Part]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part.header().as_bytes());
        bytes.extend_from_slice(&part.value);
    }
    bytes
}

/// The parts in what a device has answered, which may be filled up with zeroes.
///
/// # Errors
///
/// [`AdminError::CutPart`] if the answer ends within one. Those of [`check`].
pub(super) fn decode(mut bytes: &[u8]) -> Result<Vec<Part>, AdminError> {
    let mut parts = Vec::new();
    // Ends: each turn takes bytes away.
    while !is_filling(bytes) {
        let cut = || AdminError::CutPart(bytes.len());
        let (header, rest) = PartHeader::read_from_prefix(bytes).map_err(|_| cut())?;
        let length = usize::try_from(header.length.get()).map_err(|_| cut())?;
        let (value, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        parts.push(Part {
            part_type: header.part_type,
            flags: header.flags,
            selector: header.selector,
            value: value.to_vec(),
        });
        bytes = rest;
    }
    check(&parts)?;
    Ok(parts)
}

/// Whether parts are in the order of the table, each but once. Those that have no place in it may be
/// anywhere.
///
/// # Errors
///
/// [`AdminError::PartOrder`], of the first that is not.
pub(super) fn check(parts: &[Part]) -> Result<(), AdminError> {
    let mut last = None;
    for (index, part) in parts.iter().enumerate() {
        let place = ORDER.iter().position(|known| *known == part.part_type);
        let name = (part.part_type, part.selector);
        let before = parts.get(..index).unwrap_or_default();
        let twice = before
            .iter()
            .any(|other| (other.part_type, other.selector) == name);
        if twice || place.is_some() && place < last {
            return Err(AdminError::PartOrder(part.part_type));
        }
        last = place.or(last);
    }
    Ok(())
}

/// Whether no part follows.
fn is_filling(bytes: &[u8]) -> bool {
    bytes.len() < size_of::<PartHeader>() && bytes.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(part_type: PartType, selector: u8, value: &[u8]) -> Part {
        Part {
            part_type,
            flags: 0,
            selector: [selector, 0, 0, 0, 0, 0, 0, 0],
            value: value.to_vec(),
        }
    }

    fn parts() -> Vec<Part> {
        ORDER
            .iter()
            .zip(1..)
            .map(|(part_type, len)| part(*part_type, 0, &[7; 9][..len]))
            .collect()
    }

    #[test]
    fn parts_are_read_as_they_were_written_whatever_they_are_filled_up_with() {
        let parts = parts();
        let bytes = encode(&parts);

        for filling in 0..size_of::<PartHeader>() {
            let filled = [&bytes[..], &[0; 16][..filling]].concat();

            assert_eq!(decode(&filled), Ok(parts.clone()));
        }
    }

    #[test]
    fn a_list_that_ends_within_a_part_is_the_device_s_fault() {
        let bytes = encode(&parts()[..2]);
        let first = size_of::<PartHeader>() + 1;

        for len in 0..bytes.len() {
            let decoded = decode(&bytes[..len]);

            let rest = &bytes[if len < first { 0 } else { first }..len];
            let filling = rest.iter().all(|byte| *byte == 0);
            assert_eq!(decoded.is_ok(), filling, "{len}");
        }
        let mut lies = bytes.clone();
        lies[12..16].fill(0xff);
        assert_eq!(decode(&lies), Err(AdminError::CutPart(lies.len())));
    }

    #[test]
    fn parts_out_of_order_or_twice_are_refused_and_those_not_known_are_anywhere() {
        let order = |part_type| Err(AdminError::PartOrder(part_type));
        for (at, part_type) in ORDER[..5].iter().enumerate() {
            let mut swapped = parts();
            swapped.swap(at, at + 1);

            assert_eq!(check(&swapped), order(*part_type));
        }
        let twice = [parts(), parts()[5..].to_vec()].concat();
        let unknown = part(PartType::from_u16(0x5ff), 1, &[]);
        let between: Vec<_> = (0..3).map(|at| part(PartType::VQ_CFG, at, &[])).collect();

        assert_eq!(check(&twice), order(PartType::VQ_NOTIFY_CFG));
        let mut anywhere = between;
        anywhere.insert(1, unknown);
        assert_eq!(check(&anywhere), Ok(()));
    }
}
