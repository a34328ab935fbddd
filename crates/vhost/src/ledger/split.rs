//! What is in flight in a split ring.
//!
//! The record is laid out as the protocol suggests: 16 bytes of header (features, version, size, the
//! last chain of the batch that is being given back, the used index that the record knows of), then 16
//! for each descriptor (whether the chain that begins with it is in flight, the chain given back before
//! it in the same batch, a number that says in which order chains were taken).
//!
//! A process may be killed between any two stores. Its successor finds one of two things to make good:
//! a batch that the driver sees and the record does not know of, which shows by the used index, and
//! whose chains it takes out; or a chain that was taken from the ring and not written down, with which
//! nothing was done, and which it takes again.

use std::collections::VecDeque;

use ringway_ring::ledger::{InFlight, Start, Taken};
use ringway_ring::shared::{Shared, Slots};

use super::{RecordError, VERSION, before_what_follows, found};

/// The record of one queue. What it wrote it knows, and reads no more.
#[derive(Debug)]
pub(super) struct Record {
    /// The header, and then a slot for each descriptor.
    slots: Slots,
    size: u16,
    /// For the chain taken next.
    counter: u64,
    /// The chains of the batch that is being given back, each with the one before.
    batch: Vec<(u16, u64)>,
    /// The last one of the batch before it, or of this one.
    batch_head: u16,
    /// The used index that the record knows of.
    used: u16,
    /// First descriptors, by key.
    heads: Vec<u16>,
    /// First descriptors of the chains that are to be taken again.
    resuming: VecDeque<u16>,
}

/// A chain is in flight.
const IN_FLIGHT: u64 = 1;
/// Where a descriptor has the chain given back before.
const NEXT: u32 = 48;

impl Record {
    pub(super) fn bytes(size: u16) -> usize {
        (usize::from(size) + 1) * 16
    }

    pub(super) fn open(
        memory: &Shared,
        size: u16,
        base: Start,
        used_index: u16,
    ) -> Result<(Self, Start), RecordError> {
        let slots = Slots::new(memory, 0, usize::from(size) + 1).ok_or(RecordError::TooSmall)?;
        let mut record = Self {
            slots,
            size,
            counter: 0,
            batch: Vec::new(),
            batch_head: 0,
            used: base.used,
            heads: Vec::new(),
            resuming: VecDeque::new(),
        };
        let Some(header) = found(&record.slots, size)? else {
            (0..size).for_each(|head| record.mark(head, 0));
            record.write_header();
            return Ok((record, base));
        };
        let heads = record.recover(header, used_index)?;
        let start = Start {
            used: used_index,
            in_flight: heads.iter().map(|&head| InFlight::Head(head)).collect(),
        };
        record.resuming = heads.into();
        Ok((record, start))
    }

    pub(super) fn taken(&mut self, chain: &Taken<'_>) {
        if let Some(slot) = self.slots.slot(usize::from(chain.id) + 1) {
            slot.set_second(self.counter);
            self.counter = self.counter.wrapping_add(1);
        }
        // Last: from here on it counts.
        before_what_follows();
        self.mark(chain.id, IN_FLIGHT);
        before_what_follows();
        self.know(chain.key, chain.id);
    }

    pub(super) fn resumed(&mut self, key: u16) {
        if let Some(head) = self.resuming.pop_front() {
            self.know(key, head);
        }
    }

    pub(super) fn given_back(&mut self, key: u16) {
        let Some(&head) = self.heads.get(usize::from(key)) else {
            return;
        };
        let next = u64::from(self.batch_head) << NEXT;
        self.mark(head, IN_FLIGHT | next);
        self.batch.push((head, next));
        self.batch_head = head;
        // Before the used index is stored: whoever sees that index finds the batch.
        before_what_follows();
        self.write_header();
        before_what_follows();
    }

    pub(super) fn published(&mut self) {
        let batch = core::mem::take(&mut self.batch);
        before_what_follows();
        // They stay linked until the header says that they are out.
        batch.iter().for_each(|&(head, next)| self.mark(head, next));
        before_what_follows();
        // No more than the descriptors of the ring.
        self.used = self.used.wrapping_add(batch.len() as u16);
        self.write_header();
        self.batch = batch;
        self.batch.clear();
    }

    /// Finishes what the process before was killed at, and says which chains are in flight, the one
    /// taken first at the beginning.
    fn recover(&mut self, header: u64, used_index: u16) -> Result<Vec<u16>, RecordError> {
        let (batch_head, known) = ((header >> 32) as u16, (header >> 48) as u16);
        let unknown = used_index.wrapping_sub(known);
        if unknown > self.size {
            return Err(RecordError::Inconsistent);
        }
        // Read once: what is corrected below is corrected here.
        let slots = self.slots.rest(1).ok_or(RecordError::TooSmall)?;
        let mut words: Vec<(u64, u64)> = slots.map(|slot| (slot.first(), slot.second())).collect();
        let mut head = batch_head;
        for _ in 0..unknown {
            let word = words.get_mut(usize::from(head));
            let (word, _) = word.ok_or(RecordError::Inconsistent)?;
            *word &= !IN_FLIGHT;
            self.mark(head, *word);
            head = (*word >> NEXT) as u16;
        }
        self.batch_head = batch_head;
        self.used = used_index;
        before_what_follows();
        self.write_header();
        let mut in_flight: Vec<(u64, u16)> = (0..self.size)
            .zip(words)
            .filter(|(_, (word, _))| word & IN_FLIGHT != 0)
            .map(|(head, (_, counter))| (counter, head))
            .collect();
        in_flight.sort_unstable();
        let last = in_flight.last();
        self.counter = last.map_or(0, |(counter, _)| counter.wrapping_add(1));
        Ok(in_flight.into_iter().map(|(_, head)| head).collect())
    }

    fn know(&mut self, key: u16, head: u16) {
        let key = usize::from(key);
        if self.heads.len() <= key {
            self.heads.resize(key + 1, 0);
        }
        if let Some(known) = self.heads.get_mut(key) {
            *known = head;
        }
    }

    /// Says of the chain that begins with `head` whether it is in flight.
    fn mark(&self, head: u16, word: u64) {
        if let Some(slot) = self.slots.slot(usize::from(head) + 1) {
            slot.set_first(word);
        }
    }

    /// Version, size, the batch and the used index, in one word.
    fn write_header(&self) {
        let word = u64::from(VERSION)
            | u64::from(self.size) << 16
            | u64::from(self.batch_head) << 32
            | u64::from(self.used) << 48;
        if let Some(slot) = self.slots.slot(0) {
            slot.set_second(word);
        }
    }
}
