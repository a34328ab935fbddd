//! The driver's program of the packed format.
//!
//! The ring is written by both ends. Of what the device wrote, one word is believed for each chain,
//! and only after its id and its length were checked against private tables: how many descriptors a
//! chain has, and which ids are free, is never read from the ring.

use core::hint::cold_path;

use ringway_spec::packed::DescriptorFlags;
use ringway_spec::{F, Features};

use super::{Cursor, Layout, Position, TURN_BITS, Tail, Wish};
use crate::barrier::Order;
use crate::driver::{
    Completion, Geometry, Memory, Refusal, Rejected, Segment, Slab, Token, Violation,
};
use crate::entries::{Entries, InOrder, not_reached};
use crate::shared::{Run, Slots, Words};
use crate::tables::{Asked, Tables, reportable, why_no_room};

#[derive(Debug)]
pub(crate) struct Driver<T, S> {
    /// The chains in flight, by their ids. With every id, the next free one.
    entries: Entries<T, S>,
    ring: Slots,
    /// Written by us: the used descriptors of which we want to be told.
    wish: Words<u32>,
    /// Written by the device: the available descriptors of which it wants to be told.
    device_wish: Words<u32>,
    tables: Tables,
    size: u16,
    /// The first free id. There is one as long as there is a free descriptor: no chain has fewer
    /// descriptors than ids.
    free_id: u16,
    /// Descriptors. 0 once the queue is broken.
    free: usize,
    /// 0 once the queue is broken.
    in_flight: u16,
    /// How many were in flight when the queue broke.
    stranded: u16,
    /// Where the next chain begins.
    next_available: Cursor,
    /// Where the device's next used descriptor will be.
    next_used: Cursor,
    /// The first descriptor that was filled since a kick was last considered, and the word that makes
    /// it available. The device looks at none before it.
    withheld: Option<(Position, u64)>,
    /// With `IN_ORDER`: the free list is the ring of all ids.
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
        let start = Position::after(start, size);
        let mut this = Self {
            entries: Entries::new(slab, size)?,
            ring: Slots::new(&shared, 0, usize::from(size))?,
            wish: Words::new(&shared, layout.driver, 1)?,
            device_wish: Words::new(&shared, layout.device, 1)?,
            tables: Tables::new(memory, layout.tables, geometry, features)?,
            size,
            free_id: 0,
            free: size.into(),
            in_flight: 0,
            stranded: 0,
            next_available: Cursor::available(start),
            next_used: Cursor::used(start),
            withheld: None,
            in_order: features.contains(F::IN_ORDER),
            batch: InOrder::new(0),
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
            broken: None,
        };
        this.disarm();
        Some(this)
    }

    #[inline]
    pub(crate) fn next_id(&self) -> Option<u16> {
        (self.free != 0).then_some(self.free_id)
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight.wrapping_add(self.stranded)
    }

    #[inline]
    pub(crate) fn has_room(&self, segments: usize) -> bool {
        self.tables.descriptors_for(segments) <= self.free
    }

    #[inline(always)]
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
        let in_table = self.tables.hold(asked.count);
        let descriptors = if in_table { 1 } else { asked.count };
        let Some(free) = self.free.checked_sub(descriptors) else {
            let why = why_no_room(asked.count, descriptors, self.size, self.broken);
            return Err(Rejected { why, owner });
        };
        let writable = match reportable(asked.bytes()) {
            Ok(writable) => writable,
            Err(why) => return Err(Rejected { why, owner }),
        };

        let id = self.free_id;
        // No more than are free, of which there are at most 32768.
        let descriptors = descriptors as u16;
        let mut entries = self.entries.view();
        let Some(link) = entries.link(id) else {
            return Err(not_reached(owner));
        };
        let token = entries.put(id, owner, writable, descriptors, id)?;
        self.free_id = link.id();
        self.free = free;
        self.in_flight = self.in_flight.wrapping_add(1);
        if in_table {
            self.write_indirect(id, &asked);
        } else {
            self.write_direct(id, &asked);
        }
        Ok(token)
    }

    #[inline]
    pub(crate) fn kick_needed(&mut self) -> bool {
        let Some((head, word)) = self.withheld.take() else {
            return false;
        };
        // All chains, but the flags of the first one's head (stores in `submit`), before these
        // (store below), which the device loads before it looks at the rest.
        self.order.publish();
        // Always there: positions are below the size.
        if let Some(slot) = self.ring.slot(head.index()) {
            slot.set_second(word);
        }
        // Our flags (store above) before the device's wish (load below). The device stores that one
        // and then loads our flags: one of the two sees the other's store.
        self.order.store_load();
        let now = self.next_available.position();
        Wish::from_word(self.device_wish.load(0)).is_granted(
            self.event_index,
            now,
            || now.since(head, self.size),
            self.size,
        )
    }

    #[inline]
    pub(crate) fn notification_data(&self) -> u16 {
        self.withheld
            .map_or(self.next_available.position(), |(head, _)| head)
            .to_bits()
    }

    #[inline(always)]
    pub(crate) fn poll(&mut self) -> Result<Option<Completion<T>>, Violation> {
        if self.in_flight == 0 {
            cold_path();
            return self.broken.map_or(Ok(None), Err);
        }
        let returned = if self.batch.is_begun() {
            self.batch.take(&mut self.entries.view())
        } else {
            let Some(tail) = self.look_for_used() else {
                return Ok(None);
            };
            // The device's flags (load above) before what it wrote into the chain (loads to come),
            // which it stored first.
            self.order.consume();
            let mut entries = self.entries.view();
            let id = tail.id.into();
            let returned = if !self.in_order {
                entries.take(id, written(tail)).inspect(|returned| {
                    entries.set_link(returned.last, self.free_id);
                    self.free_id = returned.completion.token.id;
                })
            } else if let Some(only) = self.batch.take_only(&mut entries, id, written(tail)) {
                Some(only)
            } else if self.batch.begin(&entries, id, written(tail)) {
                self.batch.take(&mut entries)
            } else {
                None
            };
            if returned.is_none() {
                let violation = entries.why_not(id, tail.len);
                return Err(self.latch(violation));
            }
            returned
        };
        // Always there: of a batch that has begun all chains are in flight.
        let Some(returned) = returned else {
            return Ok(None);
        };
        self.free = self.free.wrapping_add(returned.descriptors.into());
        self.in_flight = self.in_flight.wrapping_sub(1);
        self.next_used.advance(returned.descriptors, self.size);
        Ok(Some(returned.completion))
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        let wish = if self.event_index {
            Wish::at(self.next_used.position())
        } else {
            Wish::ALL
        };
        self.wish.store(0, wish.to_word());
        // Our wish (store above) before the device's flags (load below). The device stores its
        // flags and then loads our wish: either it sees the wish and interrupts, or we see
        // the flags here.
        self.order.store_load();
        self.batch.is_begun() || self.look_for_used().is_some()
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        self.wish.store(0, Wish::NONE.to_word());
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

    /// The next used descriptor, if it is one. With nothing that the device knows of in flight there
    /// is none, whatever the ring says; with something, what is there was written in this lap, by
    /// us or by the device.
    #[inline(always)]
    fn look_for_used(&self) -> Option<Tail> {
        let next = usize::from(self.next_used.at);
        // The head of a chain in flight is less than a lap further: the same place is the same
        // position.
        let is_withheld = self.withheld.is_some_and(|(head, _)| head.index() == next);
        if self.in_flight == 0 || is_withheld {
            return None;
        }
        // Length, id and flags in one load: they are read once, and together.
        let word = self.ring.slot(next)?.second();
        ((word ^ self.next_used.turn) & TURN_BITS == 0).then(|| Tail::from_word(word))
    }

    #[cold]
    fn latch(&mut self, violation: Violation) -> Violation {
        self.broken = Some(violation);
        self.stranded = core::mem::take(&mut self.in_flight);
        self.free = 0;
        self.withheld = None;
        violation
    }

    /// Writes a chain from the next position on.
    #[inline(always)]
    fn write_direct(&mut self, id: u16, asked: &Asked<'_>) {
        // No more than are free, of which there are at most 32768.
        let Some(mut pen) = self.write(id, asked.count as u16) else {
            return;
        };
        for (part, flags) in [
            (asked.readable, DescriptorFlags::NEXT),
            (
                asked.writable,
                DescriptorFlags::NEXT.union(DescriptorFlags::WRITE),
            ),
        ] {
            for segment in part {
                pen.put(segment, flags);
            }
        }
        let flags = if asked.is_last_writable {
            DescriptorFlags::WRITE
        } else {
            DescriptorFlags::empty()
        };
        pen.put(asked.last, flags);
    }

    /// Writes a chain into the table of `id`, and the descriptor that leads there.
    #[inline(always)]
    fn write_indirect(&mut self, id: u16, asked: &Asked<'_>) {
        let table = self.tables.fill(id, asked, |segment, is_writable, _| {
            let mut flags = DescriptorFlags::empty();
            // The only flag that means something in a table (§2.8.7).
            flags.set(DescriptorFlags::WRITE, is_writable);
            let len = segment.len;
            Tail { len, id: 0, flags }.to_word()
        });
        if let Some(mut pen) = self.write(id, 1) {
            pen.put(&table, DescriptorFlags::INDIRECT);
        }
    }

    /// Begins to write the next `count` descriptors, of chain `id`.
    #[inline(always)]
    fn write(&mut self, id: u16, count: u16) -> Option<Pen<'_>> {
        let first = self.next_available;
        self.next_available.advance(count, self.size);
        Some(Pen {
            ring: &self.ring,
            // Always there: positions are below the size.
            slots: self.ring.rest(first.at.into())?,
            word: u64::from(id) << 32 | first.turn,
            first,
            withheld: &mut self.withheld,
        })
    }
}

/// Descriptors of a chain being written, one after the other.
struct Pen<'r> {
    ring: &'r Slots,
    /// Those up to the end of the ring.
    slots: Run<'r>,
    /// What all second words have.
    word: u64,
    first: Cursor,
    /// The second word of the first one since a kick was considered goes here.
    withheld: &'r mut Option<(Position, u64)>,
}

impl Pen<'_> {
    #[inline(always)]
    fn put(&mut self, segment: &Segment, flags: DescriptorFlags) {
        let slot = if let Some(slot) = self.slots.next() {
            slot
        } else {
            cold_path();
            // On at the first descriptor of the ring, which has one.
            let Some(mut slots) = self.ring.rest(0) else {
                return;
            };
            let Some(slot) = slots.next() else {
                return;
            };
            self.slots = slots;
            self.word ^= TURN_BITS;
            slot
        };
        let word = self.word | u64::from(segment.len) | u64::from(flags.bits()) << 48;
        slot.set_first(segment.address);
        if self.withheld.is_none() {
            *self.withheld = Some((self.first.position(), word));
        } else {
            slot.set_second(word);
        }
    }
}

/// How many bytes the device wrote, if a chain can hold what it says. A length that it gave without
/// the flag that makes it count (§2.8.4) is believed within the chain's bounds, for there are devices
/// that never set the flag; beyond them it means nothing, and breaks no rule.
#[inline(always)]
fn written(tail: Tail) -> impl FnOnce(u32) -> Option<u32> {
    move |writable| {
        if tail.len <= writable {
            Some(tail.len)
        } else if tail.flags.contains(DescriptorFlags::WRITE) {
            None
        } else {
            Some(0)
        }
    }
}
