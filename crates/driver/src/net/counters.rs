//! What a card counted, as it answers. Spec: VIRTIO 1.4 §5.1.9.5.11 "Device Statistics".

use ringway_spec::net::{
    AboveSpeed, Commands, ReceiveBasic, ReceiveChecksums, ReceiveSegments, Statistics,
    StatisticsHeader, TransmitBasic, TransmitChecksums, TransmitSegments,
};
use zerocopy::FromBytes;

/// What a card counted of one of its queues. A group is there if it was asked for, and told. Counters
/// begin at no known number, and wrap around.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Commands.
    pub commands: Option<Commands>,
    /// Of a receive queue, always.
    pub receive: Option<ReceiveBasic>,
    /// Of a receive queue, with `GUEST_CSUM`.
    pub receive_checksums: Option<ReceiveChecksums>,
    /// Of a receive queue, with `GUEST_TSO4` or `GUEST_TSO6`.
    pub receive_segments: Option<ReceiveSegments>,
    /// What came too fast.
    pub receive_speed: Option<AboveSpeed>,
    /// Of a transmit queue, always.
    pub transmit: Option<TransmitBasic>,
    /// Of a transmit queue, with `CSUM`.
    pub transmit_checksums: Option<TransmitChecksums>,
    /// Of a transmit queue, with `HOST_TSO4`, `HOST_TSO6` or `HOST_USO`.
    pub transmit_segments: Option<TransmitSegments>,
    /// What was sent too fast.
    pub transmit_speed: Option<AboveSpeed>,
}

impl Counters {
    /// Reads the groups that were `wanted` of queue `index` in a result. Others are passed over by
    /// their size, and so is what a group has more than is known of it. Says what is wrong with it
    /// otherwise.
    pub(super) fn read(
        mut result: &[u8],
        index: u16,
        wanted: Statistics,
    ) -> Result<Self, &'static str> {
        let mut counters = Self::default();
        // Each turn goes on by a header at least.
        while !result.is_empty() {
            let (header, _) = StatisticsHeader::read_from_prefix(result)
                .map_err(|_| "counters that end within a header")?;
            let (entry, rest) = result
                .split_at_checked(header.size.get().into())
                .ok_or("counters of more bytes than the device wrote")?;
            let group = entry
                .get(size_of::<StatisticsHeader>()..)
                .ok_or("counters of fewer bytes than their header has")?;
            result = rest;
            let Some(kind) = Statistics::of_kind(header.kind).filter(|&kind| wanted.contains(kind))
            else {
                continue;
            };
            if header.vq_index.get() != index {
                return Err("counters of another queue");
            }
            counters.take(kind, group)?;
        }
        Ok(counters)
    }

    fn take(&mut self, kind: Statistics, group: &[u8]) -> Result<(), &'static str> {
        match kind {
            Statistics::CVQ => put(&mut self.commands, group),
            Statistics::RX_BASIC => put(&mut self.receive, group),
            Statistics::RX_CSUM => put(&mut self.receive_checksums, group),
            Statistics::RX_GSO => put(&mut self.receive_segments, group),
            Statistics::RX_SPEED => put(&mut self.receive_speed, group),
            Statistics::TX_BASIC => put(&mut self.transmit, group),
            Statistics::TX_CSUM => put(&mut self.transmit_checksums, group),
            Statistics::TX_GSO => put(&mut self.transmit_segments, group),
            Statistics::TX_SPEED => put(&mut self.transmit_speed, group),
            // Nobody wanted it.
            _ => Ok(()),
        }
    }
}

fn put<T: FromBytes>(place: &mut Option<T>, group: &[u8]) -> Result<(), &'static str> {
    let (counters, _) =
        T::read_from_prefix(group).map_err(|_| "counters of fewer bytes than their group has")?;
    match place.replace(counters) {
        None => Ok(()),
        Some(_) => Err("counters twice"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_spec::le::{U16, U64};
    use std::vec::Vec;
    use zerocopy::{Immutable, IntoBytes};

    const BOTH: Statistics = Statistics::RX_BASIC.union(Statistics::RX_CSUM);

    fn entry<T: IntoBytes + Immutable + ?Sized>(
        kind: u8,
        index: u16,
        size: u16,
        group: &T,
    ) -> Vec<u8> {
        let header = StatisticsHeader {
            kind,
            vq_index: U16::new(index),
            size: U16::new(size),
            ..StatisticsHeader::default()
        };
        [header.as_bytes(), group.as_bytes()].concat()
    }

    fn basic() -> ReceiveBasic {
        ReceiveBasic {
            rx_packets: U64::new(7),
            ..ReceiveBasic::default()
        }
    }

    #[test]
    fn groups_are_read_in_any_order_and_unknown_ones_are_passed_over() {
        let checksums = ReceiveChecksums {
            rx_csum_valid: U64::new(5),
            ..ReceiveChecksums::default()
        };
        let result = [
            entry(1, 2, 40, &checksums),
            entry(63, 9, 11, &[1_u8; 3]),
            entry(200, 2, 8, &[0_u8; 0]),
            // Larger than it is known, as one of a later edition may be.
            entry(0, 2, 60, &[basic().as_bytes(), &[9; 4]].concat()[..]),
        ]
        .concat();

        let counters = Counters::read(&result, 2, BOTH).unwrap();

        let expected = Counters {
            receive: Some(basic()),
            receive_checksums: Some(checksums),
            ..Counters::default()
        };
        assert_eq!(counters, expected);
    }

    #[test]
    fn groups_that_nobody_asked_for_are_not_told() {
        let result = entry(0, 2, 56, &basic());

        let counters = Counters::read(&result, 2, Statistics::RX_CSUM);

        assert_eq!(counters, Ok(Counters::default()));
    }

    #[test]
    fn sizes_that_cannot_be_end_it() {
        let good = entry(0, 2, 56, &basic());
        for (what, result) in [
            ("no header", good[..7].to_vec()),
            ("nothing behind it", good[..8].to_vec()),
            ("0 bytes", entry(0, 2, 0, &basic())),
            ("less than a header", entry(63, 2, 7, &basic())),
            ("more than there is", entry(63, 2, 57, &basic())),
            ("all that can be said", entry(0, 2, u16::MAX, &basic())),
            ("less than the group", entry(0, 2, 55, &basic())),
            ("of another queue", entry(0, 4, 56, &basic())),
            ("twice", [&good[..], &good].concat()),
            ("a rest", [&good[..], &[0; 5]].concat()),
        ] {
            assert!(Counters::read(&result, 2, BOTH).is_err(), "{what}");
        }
    }
}
