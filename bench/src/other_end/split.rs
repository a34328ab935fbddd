//! The ends of a split ring.
//!
//! Spec: VIRTIO 1.4 §2.7 "Split Virtqueues".

use ringway_ring::shared::{Shared, Words};
use ringway_spec::split as spec;

use super::{DEVICE_AREA, DRIVER_AREA, RAM, TABLE_BYTES, TABLES, segments, words};
use crate::case::{Case, DEPTH_MAX, SIZE};

const NEXT: u64 = 1 << 32;
const WRITE: u64 = 2 << 32;
const INDIRECT: u64 = 4 << 32;

/// The two areas of a ring that both ends look at.
pub(crate) struct RingAreas {
    pub(crate) available: Shared,
    pub(crate) used: Shared,
}

impl RingAreas {
    /// Those of [`areas`](super::areas), in `ram`.
    pub(crate) fn in_ram(ram: &Shared) -> Self {
        let part = |offset, bytes| ram.slice(offset, bytes).expect("the memory is larger");
        Self {
            available: part(DRIVER_AREA, spec::available_bytes(SIZE)),
            used: part(DEVICE_AREA, spec::used_bytes(SIZE)),
        }
    }

    /// The index that the device moves.
    pub(crate) fn used_index(&self) -> Words<u16> {
        words(&self.used, spec::INDEX, 1)
    }
}

/// The device of the drivers: gives every chain back at once, in order.
pub(crate) struct Echo {
    available: Words<u16>,
    used: Elements,
    used_index: Words<u16>,
    next: u16,
    written: u32,
}

/// Used elements, in whole stores where they are aligned: a load of eight bytes stalls after two
/// stores of four on the same processor, which no device elsewhere makes it do.
enum Elements {
    Whole(Words<u64>),
    Halves(Words<u32>),
}

impl Echo {
    /// A device that says it wrote `written` bytes of each chain.
    pub(crate) fn new(areas: &RingAreas, written: u32) -> Self {
        let count = usize::from(SIZE);
        let used = match Words::new(&areas.used, spec::RING, count) {
            Some(elements) => Elements::Whole(elements),
            None => Elements::Halves(words(&areas.used, spec::RING, count * 2)),
        };
        Self {
            available: words(&areas.available, spec::RING, count),
            used,
            used_index: areas.used_index(),
            next: 0,
            written,
        }
    }

    /// Gives the next `chains` back.
    pub(super) fn complete(&mut self, chains: usize) {
        for _ in 0..chains {
            let at = usize::from(self.next);
            let id = u32::from(self.available.load(at));
            match &self.used {
                Elements::Whole(used) => {
                    used.store(at, u64::from(self.written) << 32 | u64::from(id));
                }
                Elements::Halves(used) => {
                    used.store(at * 2, id);
                    used.store(at * 2 + 1, self.written);
                }
            }
            self.next = self.next.wrapping_add(1);
        }
        self.used_index.store(0, self.next);
    }
}

/// The driver of the devices: its chains are written once, and made available again and again.
pub(crate) struct Feeder {
    available_index: Words<u16>,
    used_index: Words<u16>,
    next: u16,
}

impl Feeder {
    pub(super) fn new(ram: &Shared, case: &Case) -> Self {
        let areas = RingAreas::in_ram(ram);
        let table: Words<u64> = words(ram, 0, usize::from(SIZE) * 2);
        let available: Words<u16> = words(&areas.available, spec::RING, usize::from(SIZE));
        let segments = usize::from(case.segments);
        for chain in 0..DEPTH_MAX {
            let head = chain * segments;
            if case.indirect {
                let at = TABLES + chain * TABLE_BYTES;
                let indirect = words(ram, at, TABLE_BYTES / 8);
                write_chain(&indirect, 0, chain, segments);
                table.store(head * 2, RAM + at as u64);
                table.store(head * 2 + 1, (segments * 16) as u64 | INDIRECT);
            } else {
                write_chain(&table, head, chain, segments);
            }
        }
        for slot in 0..usize::from(SIZE) {
            available.store(slot, (slot % DEPTH_MAX * segments) as u16);
        }
        Self {
            available_index: words(&areas.available, spec::INDEX, 1),
            used_index: areas.used_index(),
            next: 0,
        }
    }

    /// Makes the next `chains` available.
    pub(super) fn submit(&mut self, chains: usize) {
        self.next = self.next.wrapping_add(chains as u16);
        self.available_index.store(0, self.next);
    }

    /// Whether all came back.
    pub(super) fn all_completed(&self) -> bool {
        self.used_index.load(0) == self.next
    }
}

/// Writes the descriptors of a request from `first` on.
fn write_chain(table: &Words<u64>, first: usize, request: usize, segments: usize) {
    for (part, (address, len, writable)) in self::segments(request, segments).enumerate() {
        let at = first + part;
        let mut tail = u64::from(len);
        if writable {
            tail |= WRITE;
        }
        if part + 1 < segments {
            tail |= NEXT | ((at + 1) as u64) << 48;
        }
        table.store(at * 2, address);
        table.store(at * 2 + 1, tail);
    }
}
