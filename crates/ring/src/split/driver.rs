//! The driver's program of the split format.
//!
//! What the device may write (the used ring) is read once; what this end wrote (descriptors, the
//! available ring) is remembered in private tables and never read back. The free list is private
//! too: the device can write the descriptor table, but nobody here follows it.

use core::hint::cold_path;

use ringway_spec::split::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{Layout, Tail, passed};
use crate::barrier::Order;
use crate::driver::{
    Completion, Geometry, Memory, Refusal, Rejected, Segment, Slab, Token, Violation,
};
use crate::entries::{Entries, InOrder, Link, Returned, View, not_reached};
use crate::shared::{Pairs, Slots, Words};
use crate::tables::{Asked, Tables, reportable, why_no_room};

#[derive(Debug)]
pub(crate) struct Driver<T, S> {
    /// The chains in flight, by their ids: the first descriptor of each. With every descriptor, the
    /// next one on the free list or in its chain.
    entries: Entries<T, S>,
    descriptors: Slots,
    available: Words<u16>,
    available_index: Words<u16>,
    available_flags: Words<u16>,
    used: Pairs,
    used_index: Words<u16>,
    used_flags: Words<u16>,
    /// Written by us: the used index after which we want an interrupt.
    used_event: Words<u16>,
    /// Written by the device: the available index after which it wants a kick.
    available_event: Words<u16>,
    tables: Tables,
    size: u16,
    free_head: u16,
    /// 0 once the queue is broken.
    free: u16,
    /// How far the available ring was filled.
    next_available: u16,
    /// The available index, as published.
    published: u16,
    /// How far the used ring was polled.
    next_used: u16,
    /// The device's used index when it was last read: all below is ours to poll. Nothing is, once
    /// the queue is broken.
    used_seen: u16,
    /// With `IN_ORDER`: the free list is the ring of all descriptors.
    in_order: bool,
    batch: InOrder,
    event_index: bool,
    order: Order,
    broken: Option<Violation>,
}

impl<T, S: Slab<T>> Driver<T, S> {
    pub(crate) fn new(
        memory: &Memory,
        geometry: Geometry,
        features: Features,
        start: u16,
        slab: S,
    ) -> Option<Self> {
        let size = geometry.size;
        let layout = Layout::new(geometry);
        let shared = geometry.zeroed(memory)?;
        let count = usize::from(size);
        let in_available = |offset: usize| layout.available.wrapping_add(offset);
        let in_used = |offset: usize| layout.used.wrapping_add(offset);
        let mut this = Self {
            entries: Entries::new(slab, size)?,
            descriptors: Slots::new(&shared, 0, count)?,
            available: Words::new(&shared, in_available(spec::RING), count)?,
            available_index: Words::new(&shared, in_available(spec::INDEX), 1)?,
            available_flags: Words::new(&shared, in_available(spec::FLAGS), 1)?,
            used: Pairs::new(&shared, in_used(spec::RING), count)?,
            used_index: Words::new(&shared, in_used(spec::INDEX), 1)?,
            used_flags: Words::new(&shared, in_used(spec::FLAGS), 1)?,
            used_event: Words::new(&shared, in_available(spec::used_event_offset(size)), 1)?,
            available_event: Words::new(&shared, in_used(spec::avail_event_offset(size)), 1)?,
            tables: Tables::new(memory, layout.tables, geometry, features)?,
            size,
            free_head: 0,
            free: size,
            next_available: start,
            published: start,
            next_used: start,
            used_seen: start,
            in_order: features.contains(F::IN_ORDER),
            batch: InOrder::new(0),
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
        // Each chain moves either index by one, and there are fewer chains than the indices count.
        self.next_available.wrapping_sub(self.next_used)
    }

    #[inline]
    pub(crate) fn has_room(&self, segments: usize) -> bool {
        self.tables.descriptors_for(segments) <= usize::from(self.free)
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        owner: T,
    ) -> Result<Token, Rejected<T>> {
        let Some(asked) = Asked::new(readable, writable) else {
            let why = Refusal::Empty;
            return Err(Rejected { why, owner });
        };
        if self.tables.hold(asked.count) {
            self.take(&asked, 1, owner, |ring, entries, tables, id| {
                let table = table(tables, id, &asked);
                write(ring, id, &table, word(DescriptorFlags::INDIRECT));
                Some((id, entries.link(id)?))
            })
        } else {
            self.take(&asked, asked.count, owner, |ring, entries, _, id| {
                write_chain(ring, entries, id, &asked)
            })
        }
    }

    #[inline]
    pub(crate) fn kick_needed(&mut self) -> bool {
        if self.published == self.next_available || self.broken.is_some() {
            return false;
        }
        let before = core::mem::replace(&mut self.published, self.next_available);
        // The chains and their places in the ring (stores in `submit`) before the index that
        // publishes them (store below), which the device loads before it looks at them.
        self.order.publish();
        self.available_index.store(0, self.next_available);
        // Our index (store above) before the device's event or flag (load below). The device
        // stores that one and then loads our index: one of the two sees the other's store.
        self.order.store_load();
        if self.event_index {
            passed(self.available_event.load(0), self.next_available, before)
        } else {
            self.used_flags.load(0) & spec::USED_F_NO_NOTIFY == 0
        }
    }

    #[inline]
    pub(crate) fn notification_data(&self) -> u16 {
        self.published
    }

    #[inline(always)]
    pub(crate) fn poll(&mut self) -> Result<Option<Completion<T>>, Violation> {
        if self.next_used == self.used_seen && !self.look_for_used()? {
            return Ok(None);
        }
        let returned = if self.in_order {
            cold_path();
            self.take_in_order()?
        } else {
            let (id, written) = self.element();
            let mut entries = self.entries.view();
            let Some(returned) = entries.take(id, within(written)) else {
                let violation = entries.why_not(id, written);
                return Err(self.latch(violation));
            };
            entries.set_link(returned.last, self.free_head);
            self.free_head = returned.completion.token.id;
            returned
        };
        self.next_used = self.next_used.wrapping_add(1);
        self.free = self.free.wrapping_add(returned.descriptors);
        Ok(Some(returned.completion))
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

    pub(crate) fn owner_mut(&mut self, token: Token) -> Option<&mut T> {
        self.entries.owner_mut(token)
    }

    pub(crate) fn next_reclaimed(&self) -> Option<Token> {
        self.entries.next_reclaimed()
    }

    pub(crate) fn reclaim(&mut self) -> Option<T> {
        self.entries.reclaim()
    }

    /// Takes a chain that needs `descriptors` of the ring, if there are so many. `write` writes it,
    /// from the id that it is given on, and returns its last one and what leads on from there.
    #[inline(always)]
    fn take(
        &mut self,
        asked: &Asked<'_>,
        descriptors: usize,
        owner: T,
        write: impl FnOnce(&Slots, &View<'_, T>, &Tables, u16) -> Option<(u16, Link)>,
    ) -> Result<Token, Rejected<T>> {
        if descriptors > usize::from(self.free) {
            let why = why_no_room(asked.count, descriptors, self.size, self.broken);
            return Err(Rejected { why, owner });
        }
        let writable = match reportable(asked.bytes()) {
            Ok(writable) => writable,
            Err(why) => return Err(Rejected { why, owner }),
        };

        let id = self.free_head;
        // Counted before it is written, so that fewer registers are held meanwhile; nothing is
        // published here.
        self.available.store(usize::from(self.next_available), id);
        self.next_available = self.next_available.wrapping_add(1);
        // No more than are free, of which there are at most 32768.
        let descriptors = descriptors as u16;
        self.free = self.free.wrapping_sub(descriptors);
        let mut entries = self.entries.view();
        let Some((last, link)) = write(&self.descriptors, &entries, &self.tables, id) else {
            self.next_available = self.next_available.wrapping_sub(1);
            self.free = self.free.wrapping_add(descriptors);
            return Err(not_reached(owner));
        };
        self.free_head = link.id();
        entries.put(id, owner, writable, descriptors, last)
    }

    /// The id and the length of the next used element, in one load: they are read once, and
    /// together.
    #[inline(always)]
    fn element(&self) -> (u32, u32) {
        let element = self.used.load(usize::from(self.next_used));
        (element as u32, (element >> 32) as u32)
    }

    /// Takes the next chain of a batch that the device gave back. The free list needs no care: it is
    /// the ring.
    #[cold]
    fn take_in_order(&mut self) -> Result<Returned<T>, Violation> {
        if !self.batch.is_begun() {
            let (last, written) = self.element();
            let entries = self.entries.view();
            if !self.batch.begin(&entries, last, within(written)) {
                let violation = entries.why_not(last, written);
                return Err(self.latch(violation));
            }
        }
        // Always there: of a batch that has begun all chains are in flight.
        let returned = self.batch.take(&mut self.entries.view());
        returned.ok_or(Violation::BatchTooLong)
    }

    /// Reads the device's used index. Says whether it moved.
    #[inline]
    fn look_for_used(&mut self) -> Result<bool, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        if self.batch.is_begun() {
            return Err(self.latch(Violation::BatchTooLong));
        }
        let index = self.used_index.load(0);
        let moved = index.wrapping_sub(self.next_used);
        // Of what the device does not know of yet, nothing can come back.
        let in_flight = self.published.wrapping_sub(self.next_used);
        if moved > in_flight {
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
        self.used_seen = self.next_used;
        self.free = 0;
        violation
    }
}

/// What a device says it wrote, if a chain can hold it.
#[inline(always)]
fn within(written: u32) -> impl FnOnce(u32) -> Option<u32> {
    move |writable| (written <= writable).then_some(written)
}

/// Writes a chain along the links of its descriptors, from `id` on. Returns the last one, and what
/// leads on from there; `None` if a link leads nowhere.
#[inline(always)]
fn write_chain<T>(
    ring: &Slots,
    entries: &View<'_, T>,
    id: u16,
    asked: &Asked<'_>,
) -> Option<(u16, Link)> {
    let mut at = id;
    for (part, flags) in [
        (asked.readable, 0),
        (asked.writable, word(DescriptorFlags::WRITE)),
    ] {
        for segment in part {
            let link = entries.link(at)?;
            write(ring, at, segment, link.word() | flags);
            at = link.id();
        }
    }
    let flags = if asked.is_last_writable {
        word(DescriptorFlags::WRITE)
    } else {
        0
    };
    write(ring, at, asked.last, flags);
    Some((at, entries.link(at)?))
}

/// Writes a chain into the table of `id`, and returns where that is.
#[inline(always)]
fn table(tables: &Tables, id: u16, asked: &Asked<'_>) -> Segment {
    tables.fill(id, asked, |segment, is_writable, next| {
        let mut flags = DescriptorFlags::empty();
        flags.set(DescriptorFlags::WRITE, is_writable);
        flags.set(DescriptorFlags::NEXT, next != 0);
        let len = segment.len;
        Tail { len, flags, next }.to_word()
    })
}

/// Writes descriptor `id`, as two words, the second of which says `rest` beside the length.
#[inline(always)]
fn write(ring: &Slots, id: u16, segment: &Segment, rest: u64) {
    // Ids are below the size.
    let slot = ring.wrapping_slot(usize::from(id));
    slot.set_first(segment.address);
    slot.set_second(u64::from(segment.len) | rest);
}

/// Flags, where the second word of a descriptor has them.
const fn word(flags: DescriptorFlags) -> u64 {
    (flags.bits() as u64) << 32
}
