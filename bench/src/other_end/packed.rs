//! The ends of a packed ring.
//!
//! Spec: VIRTIO 1.4 §2.8 "Packed Virtqueues".

use ringway_ring::shared::{Shared, Words};

use super::{RAM, TABLE_BYTES, TABLES, segments, words};
use crate::case::{Case, DEPTH_MAX, SIZE};

/// Flags, where the second word of a descriptor has them.
pub(crate) const NEXT: u64 = 1 << 48;
pub(crate) const WRITE: u64 = 2 << 48;
pub(crate) const INDIRECT: u64 = 4 << 48;
const AVAIL: u64 = 1 << 55;
const USED: u64 = 1 << 63;
/// Those that say whose a descriptor is.
pub(crate) const TURN: u64 = AVAIL | USED;

/// A place in the ring.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) at: usize,
    /// The flags of a descriptor that is made available here.
    pub(crate) available: u64,
    /// Those of one that is used here.
    pub(crate) used: u64,
}

impl Position {
    pub(crate) const FIRST: Self = Self {
        at: 0,
        available: AVAIL,
        used: TURN,
    };

    /// Goes on by `count` descriptors, fewer than there are.
    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize) {
        self.at += count;
        if self.at >= usize::from(SIZE) {
            self.at -= usize::from(SIZE);
            self.available ^= TURN;
            self.used ^= TURN;
        }
    }
}

/// The device of the drivers. With `IN_ORDER`, one used descriptor stands for a batch.
pub(crate) struct Echo {
    ring: Words<u64>,
    next: Position,
    /// Descriptors of a chain.
    descriptors: usize,
    in_order: bool,
    written: u32,
}

impl Echo {
    /// A device that says it wrote `written` bytes of each chain, whose descriptors are in `ring`
    /// from its first byte on.
    pub(crate) fn new(ring: &Shared, case: &Case, written: u32) -> Self {
        Self {
            ring: words(ring, 0, usize::from(SIZE) * 2),
            next: Position::FIRST,
            descriptors: if case.indirect {
                1
            } else {
                case.segments.into()
            },
            in_order: case.in_order(),
            written,
        }
    }

    pub(super) fn complete(&mut self, chains: usize) {
        if self.in_order {
            let mut last = self.next;
            last.advance((chains - 1) * self.descriptors);
            self.give_back(last.at);
            self.next.advance(chains * self.descriptors);
        } else {
            for _ in 0..chains {
                self.give_back(self.next.at);
                self.next.advance(self.descriptors);
            }
        }
    }

    /// Writes a used descriptor with the id of the one at `at`.
    fn give_back(&self, at: usize) {
        let id = self.ring.load(at * 2 + 1) & 0xffff << 32;
        let wrote = if self.written == 0 { 0 } else { WRITE };
        let word = u64::from(self.written) | id | wrote | self.next.used;
        self.ring.store(self.next.at * 2 + 1, word);
    }
}

/// The driver of the devices: writes its chains again each time, since the device writes over them.
pub(crate) struct Feeder {
    ring: Words<u64>,
    segments: usize,
    indirect: bool,
    in_order: bool,
    next: Position,
    /// The chain that is made available next.
    chain: usize,
    /// Where the batch began, where its last chain did, and the id of that.
    batch: (Position, Position, usize),
}

impl Feeder {
    pub(super) fn new(ram: &Shared, case: &Case) -> Self {
        let count = usize::from(case.segments);
        for chain in 0..DEPTH_MAX {
            let table: Words<u64> = words(ram, TABLES + chain * TABLE_BYTES, TABLE_BYTES / 8);
            for (part, (address, len, writable)) in segments(chain, count).enumerate() {
                let flags = if writable { WRITE } else { 0 };
                table.store(part * 2, address);
                table.store(part * 2 + 1, u64::from(len) | flags);
            }
        }
        Self {
            ring: words(ram, 0, usize::from(SIZE) * 2),
            segments: count,
            indirect: case.indirect,
            in_order: case.in_order(),
            next: Position::FIRST,
            chain: 0,
            batch: (Position::FIRST, Position::FIRST, 0),
        }
    }

    pub(super) fn submit(&mut self, chains: usize) {
        let first = self.next;
        for _ in 0..chains {
            let id = self.chain;
            self.chain = (id + 1) % DEPTH_MAX;
            self.batch = (first, self.next, id);
            if self.indirect {
                let table = RAM + (TABLES + id * TABLE_BYTES) as u64;
                self.write(table, (self.segments * 16) as u64 | INDIRECT, id);
            } else {
                for (part, (address, len, writable)) in segments(id, self.segments).enumerate() {
                    let write = if writable { WRITE } else { 0 };
                    let next = if part + 1 < self.segments { NEXT } else { 0 };
                    self.write(address, u64::from(len) | write | next, id);
                }
            }
        }
    }

    fn write(&mut self, address: u64, rest: u64, id: usize) {
        let at = self.next.at * 2;
        let word = rest | (id as u64) << 32 | self.next.available;
        self.ring.store(at, address);
        self.ring.store(at + 1, word);
        self.next.advance(1);
    }

    /// Whether the batch was used: its first and last chain, or in order the first for the last.
    pub(super) fn all_completed(&self) -> bool {
        let (first, last, id) = self.batch;
        let word = |at: Position| self.ring.load(at.at * 2 + 1);
        let is_used = |at| word(at) & TURN == at.used;
        if self.in_order {
            is_used(first) && word(first) >> 32 & 0xffff == id as u64
        } else {
            is_used(first) && is_used(last)
        }
    }
}
