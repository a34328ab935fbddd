//! The driver's program of the split format.
//!
//! The descriptor table and the available ring are written here and never read back: which
//! descriptors are free, and what each chain in flight may be written, is remembered in private
//! tables.

use alloc::boxed::Box;
use alloc::vec::Vec;
use ringway_spec::split::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{Layout, Tail, passed};
use crate::barrier::Order;
use crate::driver::{Completion, Geometry, Memory, Refusal, Rejected, Segment, Token, Violation};
use crate::entries::{Asked, Entries, Returned, Tables, descriptors_for, zeroed};
use crate::shared::Words;

/// The words of a descriptor: its address; its length, flags and next.
const DESCRIPTOR_WORDS: usize = 2;

#[derive(Debug)]
pub(crate) struct Driver<T> {
    /// The chains in flight, by their first descriptors. With each, its last one.
    entries: Entries<T>,
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

impl<T> Driver<T> {
    pub(crate) fn new(
        memory: &Memory,
        geometry: Geometry,
        features: Features,
        start: u16,
    ) -> Option<Self> {
        let size = geometry.size;
        let layout = Layout::new(geometry);
        let shared = zeroed(memory, layout.bytes)?;
        let count = usize::from(size);
        let in_available = |offset: usize| layout.available.wrapping_add(offset);
        let in_used = |offset: usize| layout.used.wrapping_add(offset);
        let mut this = Self {
            entries: Entries::new(size),
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
            tables: Tables::new(memory, layout.tables, geometry, features)?,
            size,
            free_head: 0,
            free: size,
            in_flight: 0,
            next_available: start,
            kick_considered: start,
            next_used: start,
            used_seen: start,
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
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
        let asked = Asked::new(readable, writable);
        let descriptors = self.descriptors_for(asked.segments);
        let why = asked.refusal(descriptors, self.free, self.size, self.broken);
        if let Some(why) = why {
            return Err(Rejected { why, owner });
        }

        let id = self.free_head;
        let last = if descriptors == asked.segments {
            self.write_direct(id, readable, writable)
        } else {
            self.write_indirect(id, readable, writable)
        };
        let token = match self.entries.put(id, owner, &asked, descriptors, last) {
            Ok(token) => token,
            // Not reached: ids on the free list are below the size, and nobody else writes it.
            Err(owner) => {
                let why = Refusal::Full;
                return Err(Rejected { why, owner });
            }
        };
        self.free_head = self.link(last);
        self.free = self.free.wrapping_sub(descriptors as u16);
        self.in_flight = self.in_flight.wrapping_add(1);

        self.available.store(usize::from(self.next_available), id);
        self.next_available = self.next_available.wrapping_add(1);
        // The chain and its place in the ring (stores above) before the index that publishes them
        // (store below), which the device loads before it looks at them.
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
        // Our index (store in `submit`) before the device's event or flag (load below). The device
        // stores that one and then loads our index: one of the two sees the other's store.
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
        let Returned {
            completion,
            link: last,
            descriptors,
        } = match self.entries.take(id, written) {
            Ok(returned) => returned,
            Err(violation) => return Err(self.latch(violation)),
        };
        if let Some(link) = self.links.get_mut(usize::from(last)) {
            *link = self.free_head;
        }
        self.free_head = completion.token.id;
        self.free = self.free.wrapping_add(descriptors);
        self.in_flight = self.in_flight.wrapping_sub(1);
        self.next_used = self.next_used.wrapping_add(1);
        Ok(Some(completion))
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        if self.event_index {
            self.used_event.store(0, self.next_used);
        } else {
            self.available_flags.store(0, 0);
        }
        // Our wish (store above) before the device's index (load below). The device stores its
        // index and then loads our wish: either it sees the wish and interrupts, or we see
        // the index here.
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
        self.entries.reclaim()
    }

    #[inline]
    fn descriptors_for(&self, segments: usize) -> usize {
        descriptors_for(self.tables.as_ref(), segments)
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
        // The device's index (load above) before the elements below it (loads to come), which it
        // stored first.
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
        // Always there: links are ids, or the end of the free list, which is not followed while
        // `free` is 0.
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

    /// Writes a chain into the table of descriptor `id`, and that descriptor. Returns it, the
    /// chain's only one in the ring.
    #[inline]
    fn write_indirect(&mut self, id: u16, readable: &[Segment], writable: &[Segment]) -> u16 {
        let Some(tables) = &self.tables else {
            return id;
        };
        let table = tables.fill(id, readable, writable, |segment, is_writable, next| {
            let mut flags = DescriptorFlags::empty();
            flags.set(DescriptorFlags::WRITE, is_writable);
            flags.set(DescriptorFlags::NEXT, next.is_some());
            Tail {
                len: segment.len,
                flags,
                next: next.unwrap_or_default(),
            }
            .to_word()
        });
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
