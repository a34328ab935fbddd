//! What a card says of what it counted. Spec: VIRTIO 1.4 §5.1.9.5.11 "Device Statistics".

use alloc::vec::Vec;

use ringway_spec::le::U16;
use ringway_spec::net::{Statistics, StatisticsHeader, StatisticsWanted, control_queue};
use zerocopy::{Immutable, IntoBytes};

use super::{Answer, Commands, Data, Refused};

/// What is counted. Nothing is slowed down, so that there is nothing to count of what was too fast.
const COUNTED: Statistics = Statistics::CVQ
    .union(Statistics::RECEIVE)
    .union(Statistics::TRANSMIT)
    .difference(Statistics::RX_SPEED)
    .difference(Statistics::TX_SPEED);

impl Commands {
    /// The groups of counters that there are.
    pub(super) fn statistics(&self) -> Statistics {
        COUNTED & Statistics::of(self.features)
    }

    /// The counters that are asked for (§5.1.9.5.11.2). One that there is not fails them all.
    pub(super) fn count(&self, data: &mut Data<'_>) -> Answer {
        let mut answer = Vec::new();
        // At least one, or the data is too short.
        loop {
            let wanted: StatisticsWanted = data.value()?;
            let groups = Statistics::from_bits_retain(wanted.types_bitmap.get());
            let index = wanted.vq_index.get();
            let possible = match index {
                index if Some(index) == control_queue(self.pairs) => Statistics::CVQ,
                index if u32::from(index) >= 2 * u32::from(self.pairs) => return Err(Refused),
                index if index % 2 == 0 => Statistics::RECEIVE,
                _ => Statistics::TRANSMIT,
            };
            if groups.is_empty() || !(possible & self.statistics()).contains(groups) {
                return Err(Refused);
            }
            self.count_queue(&mut answer, index, groups)?;
            if data.end().is_ok() {
                return Ok(answer);
            }
        }
    }

    fn count_queue(
        &self,
        answer: &mut Vec<u8>,
        index: u16,
        groups: Statistics,
    ) -> Result<(), Refused> {
        let pair = usize::from(index / 2);
        let mut add = Adder {
            answer,
            index,
            groups,
        };
        if groups.intersects(Statistics::CVQ) {
            add.group(Statistics::CVQ, &self.counts.all());
        } else if groups.intersects(Statistics::RECEIVE) {
            let counts = self.shared.boxes.get(pair).ok_or(Refused)?.lock().counts;
            add.group(Statistics::RX_BASIC, &counts.basic());
            add.group(Statistics::RX_CSUM, &counts.checksums());
            add.group(Statistics::RX_GSO, &counts.segments());
        } else {
            let counts = *self.transmitted.get(pair).ok_or(Refused)?.lock();
            add.group(Statistics::TX_BASIC, &counts.basic());
            add.group(Statistics::TX_CSUM, &counts.checksums());
            add.group(Statistics::TX_GSO, &counts.segments());
        }
        Ok(())
    }
}

/// An answer to which groups of counters of one queue are added.
struct Adder<'a> {
    answer: &'a mut Vec<u8>,
    index: u16,
    /// Those that are asked for.
    groups: Statistics,
}

impl Adder<'_> {
    /// Adds a group, if it is asked for.
    fn group<T: IntoBytes + Immutable>(&mut self, group: Statistics, counters: &T) {
        if !self.groups.contains(group) {
            return;
        }
        let header = StatisticsHeader {
            kind: group.bits().trailing_zeros() as u8,
            vq_index: U16::new(self.index),
            size: U16::new(size_of::<StatisticsHeader>().wrapping_add(size_of::<T>()) as u16),
            ..StatisticsHeader::default()
        };
        self.answer.extend(header.as_bytes());
        self.answer.extend(counters.as_bytes());
    }
}
