//! What is in flight in a packed ring.
//!
//! The device writes over descriptors of chains that are in flight, so the record has a copy of each.
//! It is laid out as the protocol suggests: 32 bytes of header (features; version, size, the first free
//! entry, and the same before the batch; used place, and the same before the batch, and both wrap
//! counters), then 32 for each descriptor: whether a chain in flight begins with it, the next entry,
//! the chain's last one, and how many it has; a number that says in which order chains were taken; and
//! the descriptor.
//!
//! Entries are linked: those of a chain in their order, and the free ones. While a batch is given back,
//! the entries of its chains are put before the free ones; the header keeps both beginnings until the
//! driver sees the batch; what is taken meanwhile comes from those that were free before. A process may be killed between any two stores: its successor that finds
//! them different looks at the ring. If the batch is there, what it left holds, else what was before.

use std::collections::VecDeque;

use ringway_ring::ledger::{InFlight, Start, Taken};
use ringway_ring::shared::{Shared, Slots};
use ringway_spec::packed::{DescriptorFlags, EVENT_WRAP};

use super::{RecordError, VERSION, before_what_follows, found};

/// The record of one queue. What it wrote it knows, and reads no more.
#[derive(Debug)]
pub(super) struct Record {
    /// Two slots of header, and two for each entry.
    slots: Slots,
    size: u16,
    /// For the chain taken next.
    counter: u64,
    /// For each entry the one after it.
    next: Vec<u16>,
    /// The first free entry, once the batch is given back, and before.
    free: u16,
    free_before: u16,
    /// Where the next chain is given back, likewise.
    used: u16,
    used_before: u16,
    /// The chains of the batch that is being given back.
    batch: Vec<Chain>,
    /// By key.
    chains: Vec<Option<Chain>>,
    /// Those that are to be taken again.
    resuming: VecDeque<Chain>,
}

/// The entries of a chain.
#[derive(Clone, Copy, Debug)]
struct Chain {
    head: u16,
    last: u16,
    count: u16,
}

impl Chain {
    /// What its first entry says as long as it is in flight.
    fn in_flight(self) -> u64 {
        IN_FLIGHT | u64::from(self.last) << LAST | u64::from(self.count) << COUNT
    }
}

/// A chain is in flight.
const IN_FLIGHT: u64 = 1;
/// Where an entry has the next one, the last one and their number.
const NEXT: u32 = 16;
const LAST: u32 = 32;
const COUNT: u32 = 48;

impl Record {
    pub(super) fn bytes(size: u16) -> usize {
        (usize::from(size) + 1) * 32
    }

    pub(super) fn open(
        memory: &Shared,
        size: u16,
        base: Start,
        flags: &dyn Fn(u16) -> DescriptorFlags,
    ) -> Result<(Self, Start), RecordError> {
        let count = (usize::from(size) + 1) * 2;
        let slots = Slots::new(memory, 0, count).ok_or(RecordError::TooSmall)?;
        let mut record = Self {
            slots,
            size,
            counter: 0,
            // The last one's is no entry.
            next: (1..=size).collect(),
            free: 0,
            free_before: 0,
            used: base.used,
            used_before: base.used,
            batch: Vec::new(),
            chains: Vec::new(),
            resuming: VecDeque::new(),
        };
        let Some(header) = found(&record.slots, size)? else {
            (0..size).for_each(|entry| record.write_entry(entry, 0));
            record.write_used();
            // Last: from here on there is a record.
            before_what_follows();
            record.write_free();
            return Ok((record, base));
        };
        let in_flight = record.recover(header, flags)?;
        let start = Start {
            used: record.used,
            in_flight,
        };
        Ok((record, start))
    }

    pub(super) fn taken(&mut self, chain: &Taken<'_>) {
        // Those that the batch gives back are not free until the driver sees it.
        let head = self.free_before;
        let (mut last, mut after, mut count) = (head, head, 0_u16);
        for [address, word] in chain.words() {
            if after >= self.size {
                // A driver made descriptors available that it was not given back: it does without.
                return self.know(chain.key, None);
            }
            last = after;
            if let Some(slot) = self.slots.slot(usize::from(last) * 2 + 3) {
                slot.set_first(descriptor(word));
                slot.set_second(address);
            }
            after = self.next_of(last);
            count += 1;
        }
        let chain_ = Chain { head, last, count };
        if let Some(slot) = self.slots.slot(usize::from(head) * 2 + 2) {
            slot.set_second(self.counter);
            self.counter = self.counter.wrapping_add(1);
        }
        before_what_follows();
        self.write_entry(head, chain_.in_flight());
        self.free_before = after;
        match self.batch.first() {
            // The free entries come after it.
            Some(&first) => self.link(first, after),
            None => self.free = after,
        }
        // Last: from here on its entries are not free, and it counts.
        before_what_follows();
        self.write_free();
        before_what_follows();
        self.know(chain.key, Some(chain_));
    }

    pub(super) fn resumed(&mut self, key: u16) {
        if let Some(chain) = self.resuming.pop_front() {
            self.know(key, Some(chain));
        }
    }

    pub(super) fn given_back(&mut self, key: u16) {
        let Some(&Some(chain)) = self.chains.get(usize::from(key)) else {
            return;
        };
        self.link(chain, self.free);
        self.free = chain.head;
        self.used = advanced(self.used, chain.count, self.size);
        self.batch.push(chain);
        // Before the driver sees the batch: whoever finds it in the ring finds it here.
        before_what_follows();
        self.write_free();
        before_what_follows();
        self.write_used();
        before_what_follows();
    }

    pub(super) fn published(&mut self) {
        before_what_follows();
        let batch = core::mem::take(&mut self.batch);
        batch
            .iter()
            .for_each(|chain| self.write_entry(chain.head, 0));
        self.free_before = self.free;
        self.used_before = self.used;
        before_what_follows();
        self.write_free();
        before_what_follows();
        self.write_used();
        self.batch = batch;
        self.batch.clear();
    }

    /// Finishes what the process before was killed at, or undoes it, and says which chains are in
    /// flight, the one taken first at the beginning.
    fn recover(
        &mut self,
        header: u64,
        flags: &dyn Fn(u16) -> DescriptorFlags,
    ) -> Result<Vec<InFlight>, RecordError> {
        let positions = self
            .slots
            .slot(1)
            .map_or(0, ringway_ring::shared::Slot::first);
        let position = |place: u16, wrap: u64| {
            let wrap = if wrap & 0xff == 0 { 0 } else { EVENT_WRAP };
            (place < self.size)
                .then_some(place | wrap)
                .ok_or(RecordError::Inconsistent)
        };
        let now = position(positions as u16, positions >> 32)?;
        let before = position((positions >> 16) as u16, positions >> 40)?;
        let (free_now, free_before) = ((header >> 32) as u16, (header >> 48) as u16);
        // As long as the driver's flags are there the batch is not.
        let is_seen = now != before && !is_available(flags(before & !EVENT_WRAP), before);
        let (free, used) = if is_seen {
            (free_now, now)
        } else {
            (free_before, before)
        };
        (self.free, self.free_before) = (free, free);
        (self.used, self.used_before) = (used, used);
        // Read once: what is corrected below is corrected here.
        let entries: Vec<[u64; 4]> = (0..usize::from(self.size))
            .filter_map(|entry| {
                let (chain, piece) = (
                    self.slots.slot(entry * 2 + 2)?,
                    self.slots.slot(entry * 2 + 3)?,
                );
                Some([chain.first(), chain.second(), piece.first(), piece.second()])
            })
            .collect();
        for (next, [word, ..]) in self.next.iter_mut().zip(&entries) {
            *next = (word >> NEXT) as u16;
        }

        let mut seen = vec![false; self.size.into()];
        let mut see = |entry: u16| match seen.get_mut(usize::from(entry)) {
            Some(seen) if !*seen => {
                *seen = true;
                Ok(())
            }
            // Outside, or there already: it would never end.
            _ => Err(RecordError::Inconsistent),
        };
        let mut entry = free;
        while entry < self.size {
            see(entry)?;
            self.write_entry(entry, 0);
            entry = self.next_of(entry);
        }
        let mut chains = Vec::new();
        for (head, &[word, counter, ..]) in (0..self.size).zip(&entries) {
            // A free one may say so still: its chain was given back, or not quite taken.
            if word & IN_FLIGHT == 0 || see(head).is_err() {
                continue;
            }
            let (mut last, count) = (head, (word >> COUNT) as u16);
            let mut words = Vec::new();
            for nth in 0..count {
                if nth != 0 {
                    last = self.next_of(last);
                    see(last)?;
                }
                let entry = entries.get(usize::from(last));
                let &[_, _, piece, address] = entry.ok_or(RecordError::Inconsistent)?;
                words.push([address, ring_word(piece)]);
            }
            if count == 0 || last != (word >> LAST) as u16 {
                return Err(RecordError::Inconsistent);
            }
            let chain = Chain { head, last, count };
            chains.push((counter, chain, InFlight::Words(words)));
        }
        if !seen.iter().all(|&seen| seen) {
            return Err(RecordError::Inconsistent);
        }
        self.write_free();
        self.write_used();
        chains.sort_by_key(|(counter, ..)| *counter);
        let last = chains.last();
        self.counter = last.map_or(0, |(counter, ..)| counter.wrapping_add(1));
        self.resuming = chains.iter().map(|(_, chain, _)| *chain).collect();
        Ok(chains.into_iter().map(|(_, _, words)| words).collect())
    }

    fn know(&mut self, key: u16, chain: Option<Chain>) {
        let key = usize::from(key);
        if self.chains.len() <= key {
            self.chains.resize(key + 1, None);
        }
        if let Some(known) = self.chains.get_mut(key) {
            *known = chain;
        }
    }

    /// Has `next` follow the last entry of a chain that is being given back.
    fn link(&mut self, chain: Chain, next: u16) {
        if let Some(link) = self.next.get_mut(usize::from(chain.last)) {
            *link = next;
        }
        let word = if chain.last == chain.head {
            chain.in_flight()
        } else {
            0
        };
        self.write_entry(chain.last, word);
    }

    fn next_of(&self, entry: u16) -> u16 {
        let next = self.next.get(usize::from(entry));
        next.copied().unwrap_or(self.size)
    }

    /// Writes what an entry says of its chain, and the next entry.
    fn write_entry(&self, entry: u16, word: u64) {
        if let Some(slot) = self.slots.slot(usize::from(entry) * 2 + 2) {
            slot.set_first(word | u64::from(self.next_of(entry)) << NEXT);
        }
    }

    /// Version, size and the first free entries, in one word.
    fn write_free(&self) {
        let word = u64::from(VERSION)
            | u64::from(self.size) << 16
            | u64::from(self.free) << 32
            | u64::from(self.free_before) << 48;
        if let Some(slot) = self.slots.slot(0) {
            slot.set_second(word);
        }
    }

    /// Both used positions, in one word.
    fn write_used(&self) {
        let wrap = |position: u16| u64::from(position & EVENT_WRAP != 0);
        let word = u64::from(self.used & !EVENT_WRAP)
            | u64::from(self.used_before & !EVENT_WRAP) << 16
            | wrap(self.used) << 32
            | wrap(self.used_before) << 40;
        if let Some(slot) = self.slots.slot(1) {
            slot.set_first(word);
        }
    }
}

/// Whether `flags` are those of a descriptor that was made available at `position`, and is not used
/// (§2.8.1).
fn is_available(flags: DescriptorFlags, position: u16) -> bool {
    let wrap = position & EVENT_WRAP != 0;
    flags.contains(DescriptorFlags::AVAIL) == wrap && flags.contains(DescriptorFlags::USED) != wrap
}

/// The position `count` descriptors, at most `size`, after `position`, in a ring of `size`.
fn advanced(position: u16, count: u16, size: u16) -> u16 {
    let (place, wrap) = (position & !EVENT_WRAP, position & EVENT_WRAP);
    // Below twice 32768.
    let place = place.wrapping_add(count);
    if place >= size {
        (place - size) | (wrap ^ EVENT_WRAP)
    } else {
        place | wrap
    }
}

/// The second word of a ring's descriptor (length, id, flags), as the record has it (id, flags,
/// length).
fn descriptor(word: u64) -> u64 {
    word.rotate_left(32)
}

/// The other way round.
fn ring_word(descriptor: u64) -> u64 {
    descriptor.rotate_left(32)
}
