//! The driver's program of the split format.
//!
//! The descriptor table and the available ring are written here and never read back: which descriptors are free, and what each chain
//! in flight may be written, is remembered in private tables.

use core::mem::ManuallyDrop;

use alloc::boxed::Box;
use alloc::vec::Vec;
use ringway_spec::split::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{DESCRIPTOR_BYTES, Layout, Tail, passed};
use crate::barrier::Order;
use crate::driver::{Completion, Geometry, Memory, Refusal, Rejected, Segment, Token, Violation};
use crate::shared::Words;

/// The words of a descriptor: its address; its length, flags and next.
const DESCRIPTOR_WORDS: usize = 2;
#[derive(Debug)]
pub(crate) struct Driver<T> {
    /// What is known of each chain in flight, by the id of its first descriptor.
    entries: Box<[Entry<T>]>,
    /// For each descriptor, the one after it: in its chain, or on the free list.
    links: Box<[u16]>,
    descriptors: Words<u64>,
    available: Words<u16>,
    available_index: Words<u16>,
    available_flags: Words<u16>,
    used: Words<u64>,
    used_index: Words<u16>,
    used_flags: Words<u16>,
    /// Written by us: the used index after which we want an interrupt.
    used_event: Words<u16>,
    /// Written by the device: the available index after which it wants a kick.
    available_event: Words<u16>,
    tables: Option<Tables>,
    size: u16,
    free_head: u16,
    free: u16,
    in_flight: u16,
    /// The available index, as published.
    next_available: u16,
    /// The available index when a kick was last considered.
    kick_considered: u16,
    /// How far the used ring was polled.
    next_used: u16,
    /// The device's used index when it was last read: all below is ours to poll.
    used_seen: u16,
    event_index: bool,
    order: Order,
    broken: Option<Violation>,
}

/// A chain in flight: a cache line, if `T` has at most 40 bytes.
#[derive(Debug)]
#[repr(align(64))]
struct Entry<T> {
    /// In custody: not dropped with the queue, for the device may still be at it.
    owner: Option<ManuallyDrop<T>>,
    writable: u32,
    generation: u16,
    /// The chain's last descriptor.
    last: u16,
    descriptors: u16,
}

/// An indirect table for every descriptor, at an address known before it is used.
#[derive(Debug)]
struct Tables {
    words: Words<u64>,
    address: u64,
    /// Segments that a table holds.
    len: u16,
}

impl<T> Driver<T> {
    pub(crate) fn new(
        memory: &Memory,
        geometry: Geometry,
        features: Features,
        start: u16,
    ) -> Option<Self> {
        let size = geometry.size;
        let layout = Layout::new(geometry);
        let shared = memory.shared.slice(0, layout.bytes)?;
        let misaligned = |address: u64| address & (Geometry::ALIGN as u64).wrapping_sub(1) != 0;
        if misaligned(memory.address) || misaligned(shared.base().addr().get() as u64) {
            return None;
        }
        shared.view().fill(0);

        let count = usize::from(size);
        let in_available = |offset: usize| layout.available.wrapping_add(offset);
        let in_used = |offset: usize| layout.used.wrapping_add(offset);
        let table_words = DESCRIPTOR_WORDS
            .wrapping_mul(usize::from(geometry.table))
            .wrapping_mul(count);
        let tables = if geometry.table != 0 && features.contains(F::INDIRECT_DESC) {
            Some(Tables {
                words: Words::new(&shared, layout.tables, table_words)?,
                address: memory.address.checked_add(layout.tables as u64)?,
                len: geometry.table,
            })
        } else {
            None
        };
        let mut this = Self {
            entries: (0..size).map(|_| Entry::empty()).collect(),
            links: (0..size)
                .map(|id| id.wrapping_add(1))
                .collect::<Vec<_>>()
                .into_boxed_slice(),
            descriptors: Words::new(&shared, 0, DESCRIPTOR_WORDS.wrapping_mul(count))?,
            available: Words::new(&shared, in_available(spec::RING), count)?,
            available_index: Words::new(&shared, in_available(spec::INDEX), 1)?,
            available_flags: Words::new(&shared, in_available(spec::FLAGS), 1)?,
            used: Words::new(&shared, in_used(spec::RING), count)?,
            used_index: Words::new(&shared, in_used(spec::INDEX), 1)?,
            used_flags: Words::new(&shared, in_used(spec::FLAGS), 1)?,
            used_event: Words::new(&shared, in_available(spec::used_event_offset(size)), 1)?,
            available_event: Words::new(&shared, in_used(spec::avail_event_offset(size)), 1)?,
            tables,
            size,
            free_head: 0,
            free: size,
            in_flight: 0,
            next_available: start,
            kick_considered: start,
            next_used: start,
            used_seen: start,
            event_index: features.contains(F::EVENT_IDX),
            order: if features.contains(F::ORDER_PLATFORM) {
                Order::Platform
            } else {
                Order::Processors
            },
            broken: None,
        };
        this.available_index.store(0, start);
        this.used_index.store(0, start);
        this.disarm();
        Some(this)
    }

    #[inline]
    pub(crate) fn next_id(&self) -> Option<u16> {
        (self.free != 0).then_some(self.free_head)
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    #[inline]
    pub(crate) fn has_room(&self, segments: usize) -> bool {
        self.descriptors_for(segments) <= usize::from(self.free)
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        owner: T,
    ) -> Result<Token, Rejected<T>> {
        // Two slices of 12-byte elements cannot have lengths whose sum overflows.
        let segments = readable.len().wrapping_add(writable.len());
        let descriptors = self.descriptors_for(segments);
        let writable_bytes = bytes(writable);
        let all_bytes = bytes(readable).wrapping_add(writable_bytes);
        let why = if let Some(violation) = self.broken {
            Some(Refusal::Broken(violation))
        } else if descriptors > usize::from(self.free) {
            Some(self.why_no_room(segments, descriptors))
        } else if segments == 0 {
            Some(Refusal::Empty)
        } else if all_bytes > u64::from(u32::MAX) {
            Some(Refusal::TooLarge(all_bytes))
        } else {
            None
        };
        if let Some(why) = why {
            return Err(Rejected { why, owner });
        }

        let id = self.free_head;
        let last = if descriptors == segments {
            self.write_direct(id, readable, writable)
        } else {
            self.write_indirect(id, readable, writable)
        };
        let Some(entry) = self.entries.get_mut(usize::from(id)) else {
            // Not reached: ids on the free list are below the size, and nobody else writes it.
            return Err(Rejected {
                why: Refusal::Full,
                owner,
            });
        };
        entry.owner = Some(ManuallyDrop::new(owner));
        // Each is at most the size of the queue, or was found to fit.
        entry.writable = writable_bytes as u32;
        entry.descriptors = descriptors as u16;
        entry.last = last;
        entry.generation = entry.generation.wrapping_add(1);
        let token = Token {
            id,
            generation: entry.generation,
        };
        self.free_head = self.link(last);
        self.free = self.free.wrapping_sub(descriptors as u16);
        self.in_flight = self.in_flight.wrapping_add(1);

        self.available.store(usize::from(self.next_available), id);
        self.next_available = self.next_available.wrapping_add(1);
        // The chain and its place in the ring (stores above) before the index that publishes them (store below), which the
        // device loads before it looks at them.
        self.order.publish();
        self.available_index.store(0, self.next_available);
        Ok(token)
    }

    #[inline]
    pub(crate) fn kick_needed(&mut self) -> bool {
        if self.kick_considered == self.next_available {
            return false;
        }
        let considered = core::mem::replace(&mut self.kick_considered, self.next_available);
        // Our index (store in `submit`) before the device's event or flag (load below). The device stores that one and
        // then loads our index: one of the two sees the other's store.
        self.order.store_load();
        if self.event_index {
            passed(
                self.available_event.load(0),
                self.next_available,
                considered,
            )
        } else {
            self.used_flags.load(0) & spec::USED_F_NO_NOTIFY == 0
        }
    }

    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Completion<T>>, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        if self.next_used == self.used_seen && !self.look_for_used()? {
            return Ok(None);
        }
        // Id and length in one load: they are read once, and together.
        let element = self.used.load(usize::from(self.next_used));
        let (id, written) = (element as u32, (element >> 32) as u32);
        let Some((entry, owner)) = usize::try_from(id)
            .ok()
            .and_then(|id| self.entries.get_mut(id))
            .and_then(|entry| entry.owner.take().map(|owner| (entry, owner)))
        else {
            return Err(self.latch(Violation::UnknownId(id)));
        };
        if written > entry.writable {
            entry.owner = Some(owner);
            let writable = entry.writable;
            return Err(self.latch(Violation::WrittenTooMuch { written, writable }));
        }

        // Below the size of the queue, since there is an entry.
        let id = id as u16;
        let token = Token {
            id,
            generation: entry.generation,
        };
        let (last, descriptors) = (entry.last, entry.descriptors);
        if let Some(link) = self.links.get_mut(usize::from(last)) {
            *link = self.free_head;
        }
        self.free_head = id;
        self.free = self.free.wrapping_add(descriptors);
        self.in_flight = self.in_flight.wrapping_sub(1);
        self.next_used = self.next_used.wrapping_add(1);
        Ok(Some(Completion {
            token,
            written,
            owner: ManuallyDrop::into_inner(owner),
        }))
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        if self.event_index {
            self.used_event.store(0, self.next_used);
        } else {
            self.available_flags.store(0, 0);
        }
        // Our wish (store above) before the device's index (load below). The device stores its index and then loads
        // our wish: either it sees the wish and interrupts, or we see the index here.
        self.order.store_load();
        self.used_index.load(0) != self.next_used
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        if self.event_index {
            // The index just passed: the device comes by it again only after 65,535 more chains.
            self.used_event.store(0, self.next_used.wrapping_sub(1));
        } else {
            self.available_flags.store(0, spec::AVAIL_F_NO_INTERRUPT);
        }
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.broken
    }

    pub(crate) fn reclaim(&mut self) -> Option<T> {
        let owner = self
            .entries
            .iter_mut()
            .find_map(|entry| entry.owner.take())?;
        Some(ManuallyDrop::into_inner(owner))
    }

    /// How many descriptors of the ring a chain of `segments` takes: one if it goes into an indirect table.
    #[inline]
    fn descriptors_for(&self, segments: usize) -> usize {
        match &self.tables {
            Some(tables) if segments > 1 && segments <= usize::from(tables.len) => 1,
            _ => segments,
        }
    }

    #[cold]
    fn why_no_room(&self, segments: usize, descriptors: usize) -> Refusal {
        if descriptors > usize::from(self.size) {
            Refusal::TooLong {
                segments,
                limit: self.size,
            }
        } else {
            Refusal::Full
        }
    }

    /// Reads the device's used index. Says whether it moved.
    #[inline]
    fn look_for_used(&mut self) -> Result<bool, Violation> {
        let index = self.used_index.load(0);
        let moved = index.wrapping_sub(self.next_used);
        if moved > self.in_flight {
            let in_flight = self.in_flight;
            return Err(self.latch(Violation::UsedTooFar { moved, in_flight }));
        }
        self.used_seen = index;
        // The device's index (load above) before the elements below it (loads to come), which it stored first.
        self.order.consume();
        Ok(moved != 0)
    }

    #[cold]
    fn latch(&mut self, violation: Violation) -> Violation {
        self.broken = Some(violation);
        violation
    }

    #[inline]
    fn link(&self, id: u16) -> u16 {
        // Always there: links are ids, or the end of the free list, which is not followed while `free` is 0.
        self.links.get(usize::from(id)).copied().unwrap_or_default()
    }

    /// Writes a chain along the free list, from `id` on. Returns its last descriptor.
    #[inline]
    fn write_direct(&mut self, id: u16, readable: &[Segment], writable: &[Segment]) -> u16 {
        let mut left = readable.len().wrapping_add(writable.len());
        let mut at = id;
        let mut last = id;
        for (segments, flag) in [
            (readable, DescriptorFlags::empty()),
            (writable, DescriptorFlags::WRITE),
        ] {
            for segment in segments {
                left = left.wrapping_sub(1);
                let next = self.link(at);
                let flags = if left == 0 {
                    flag
                } else {
                    flag | DescriptorFlags::NEXT
                };
                write(&self.descriptors, usize::from(at), segment, flags, next);
                last = at;
                at = next;
            }
        }
        last
    }

    /// Writes a chain into the table of descriptor `id`, and that descriptor. Returns it, the chain's only one in the ring.
    #[inline]
    fn write_indirect(&mut self, id: u16, readable: &[Segment], writable: &[Segment]) -> u16 {
        let Some(tables) = &self.tables else {
            return id;
        };
        let first = usize::from(id).wrapping_mul(usize::from(tables.len));
        let segments = readable.len().wrapping_add(writable.len());
        let mut at = 0_usize;
        for (part, flag) in [
            (readable, DescriptorFlags::empty()),
            (writable, DescriptorFlags::WRITE),
        ] {
            for segment in part {
                let next = at.wrapping_add(1);
                let flags = if next == segments {
                    flag
                } else {
                    flag | DescriptorFlags::NEXT
                };
                write(
                    &tables.words,
                    first.wrapping_add(at),
                    segment,
                    flags,
                    next as u16,
                );
                at = next;
            }
        }
        let table = Segment {
            address: tables
                .address
                .wrapping_add(first.wrapping_mul(DESCRIPTOR_BYTES) as u64),
            // At most 32768 descriptors of 16 bytes.
            len: segments.wrapping_mul(DESCRIPTOR_BYTES) as u32,
        };
        write(
            &self.descriptors,
            usize::from(id),
            &table,
            DescriptorFlags::INDIRECT,
            0,
        );
        id
    }
}

impl<T> Entry<T> {
    fn empty() -> Self {
        Self {
            owner: None,
            writable: 0,
            generation: 0,
            last: 0,
            descriptors: 0,
        }
    }
}

/// Writes descriptor `index` of a table, as two words.
#[inline]
fn write(table: &Words<u64>, index: usize, segment: &Segment, flags: DescriptorFlags, next: u16) {
    let at = index.wrapping_mul(DESCRIPTOR_WORDS);
    table.store(at, segment.address);
    table.store(
        at.wrapping_add(1),
        Tail {
            len: segment.len,
            flags,
            next,
        }
        .to_word(),
    );
}

#[inline]
fn bytes(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .fold(0, |sum, segment| sum.wrapping_add(u64::from(segment.len)))
}
