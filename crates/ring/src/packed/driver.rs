//! The driver's program of the packed format.
//!
//! The ring is written by both ends. Of what the device wrote, one word is believed for each chain,
//! and only after its id and its length were checked against private tables: how many descriptors a
//! chain has, and which ids are free, is never read from the ring.

use ringway_spec::packed::DescriptorFlags;
use ringway_spec::{F, Features};

use super::{Layout, Position, Tail, Wish};
use crate::barrier::Order;
use crate::driver::{Completion, Geometry, Memory, Refusal, Rejected, Segment, Token, Violation};
use crate::entries::{Asked, Entries, Returned, Tables, descriptors_for, zeroed};
use crate::shared::{Slots, Words};

#[derive(Debug)]
pub(crate) struct Driver<T> {
    /// The chains in flight, by their ids. With each id that is free, the next free one.
    entries: Entries<T>,
    ring: Slots,
    /// Written by us: the used descriptors of which we want to be told.
    wish: Words<u32>,
    /// Written by the device: the available descriptors of which it wants to be told.
    device_wish: Words<u32>,
    tables: Option<Tables>,
    size: u16,
    /// The first free id. There is one as long as there is a free descriptor: no chain has fewer
    /// descriptors than ids.
    free_id: u16,
    free: u16,
    in_flight: u16,
    /// Where the next chain begins.
    next_available: Position,
    /// How many descriptors were made available since a kick was last considered.
    unkicked: u32,
    /// Where the device's next used descriptor will be.
    next_used: Position,
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
        let start = Position::after(start, size);
        let mut this = Self {
            entries: Entries::new(size),
            ring: Slots::new(&shared, 0, usize::from(size))?,
            wish: Words::new(&shared, layout.driver, 1)?,
            device_wish: Words::new(&shared, layout.device, 1)?,
            tables: Tables::new(memory, layout.tables, geometry, features)?,
            size,
            free_id: 0,
            free: size,
            in_flight: 0,
            next_available: start,
            unkicked: 0,
            next_used: start,
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
        self.in_flight
    }

    #[inline]
    pub(crate) fn has_room(&self, segments: usize) -> bool {
        descriptors_for(self.tables.as_ref(), segments) <= usize::from(self.free)
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        readable: &[Segment],
        writable: &[Segment],
        owner: T,
    ) -> Result<Token, Rejected<T>> {
        let asked = Asked::new(readable, writable);
        let descriptors = descriptors_for(self.tables.as_ref(), asked.segments);
        if let Some(why) = asked.refusal(descriptors, self.free, self.size, self.broken) {
            return Err(Rejected { why, owner });
        }
        let id = self.free_id;
        let next_free = self.entries.link(id);
        let token = match self.entries.put(id, owner, &asked, descriptors, 0) {
            Ok(token) => token,
            // Not reached: ids on the free list are below the size, and nobody else writes it.
            Err(owner) => {
                let why = Refusal::Full;
                return Err(Rejected { why, owner });
            }
        };
        self.free_id = next_free;
        // No more than are free, of which there are at most 32768.
        self.free = self.free.wrapping_sub(descriptors as u16);
        self.in_flight = self.in_flight.wrapping_add(1);
        self.unkicked = self.unkicked.saturating_add(descriptors as u32);

        match &self.tables {
            Some(tables) if descriptors != asked.segments => {
                let table = tables.fill(id, readable, writable, |segment, is_writable, _| {
                    let mut flags = DescriptorFlags::empty();
                    // The only flag that means something in a table (§2.8.7).
                    flags.set(DescriptorFlags::WRITE, is_writable);
                    let len = segment.len;
                    Tail { len, id: 0, flags }.to_word()
                });
                self.write(id, &[table], &[], DescriptorFlags::INDIRECT);
            }
            _ => self.write(id, readable, writable, DescriptorFlags::empty()),
        }
        Ok(token)
    }

    #[inline]
    pub(crate) fn kick_needed(&mut self) -> bool {
        if self.unkicked == 0 {
            return false;
        }
        let unkicked = core::mem::take(&mut self.unkicked);
        // Our flags (store in `submit`) before the device's wish (load below). The device stores
        // that one and then loads our flags: one of the two sees the other's store.
        self.order.store_load();
        Wish::from_word(self.device_wish.load(0)).is_granted(
            self.event_index,
            self.next_available,
            unkicked,
            self.size,
        )
    }

    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Completion<T>>, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        // Length, id and flags in one load: they are read once, and together.
        let Some(tail) = self.look_for_used() else {
            return Ok(None);
        };
        // The device's flags (load above) before what it wrote into the chain (loads to come),
        // which it stored first.
        self.order.consume();
        let written = if tail.flags.contains(DescriptorFlags::WRITE) {
            tail.len
        } else {
            self.length_without_flag(tail)
        };
        let Returned {
            completion,
            descriptors,
            ..
        } = match self.entries.take(tail.id.into(), written) {
            Ok(returned) => returned,
            Err(violation) => return Err(self.latch(violation)),
        };
        self.entries.set_link(tail.id, self.free_id);
        self.free_id = tail.id;
        self.free = self.free.wrapping_add(descriptors);
        self.in_flight = self.in_flight.wrapping_sub(1);
        self.next_used = self.next_used.advanced(descriptors, self.size);
        Ok(Some(completion))
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        let wish = if self.event_index {
            Wish::at(self.next_used)
        } else {
            Wish::ALL
        };
        self.wish.store(0, wish.to_word());
        // Our wish (store above) before the device's flags (load below). The device stores its
        // flags and then loads our wish: either it sees the wish and interrupts, or we see
        // the flags here.
        self.order.store_load();
        self.look_for_used().is_some()
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        self.wish.store(0, Wish::NONE.to_word());
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.broken
    }

    pub(crate) fn reclaim(&mut self) -> Option<T> {
        self.entries.reclaim()
    }

    /// The next used descriptor, if it is one. With nothing in flight there is none, whatever the
    /// ring says; with something, what is there was written in this lap, by us or by the
    /// device.
    #[inline]
    fn look_for_used(&self) -> Option<Tail> {
        if self.in_flight == 0 {
            return None;
        }
        let slot = self.ring.slot(self.next_used.index())?;
        Some(Tail::from_word(slot.second())).filter(|tail| tail.is_used(self.next_used))
    }

    /// The length that a device gave without the flag that makes it count (§2.8.4). It is believed
    /// within the chain's bounds, for there are devices that never set the flag; beyond them it
    /// means nothing, and breaks no rule.
    #[cold]
    fn length_without_flag(&self, tail: Tail) -> u32 {
        if tail.len <= self.entries.writable(tail.id) {
            tail.len
        } else {
            0
        }
    }

    #[cold]
    fn latch(&mut self, violation: Violation) -> Violation {
        self.broken = Some(violation);
        violation
    }

    /// Writes a chain from the next position on, and publishes it. `flags` are those of each
    /// descriptor.
    #[inline]
    fn write(
        &mut self,
        id: u16,
        readable: &[Segment],
        writable: &[Segment],
        flags: DescriptorFlags,
    ) {
        let head = self.next_available;
        let mut head_word = 0;
        let mut left = readable.len().wrapping_add(writable.len());
        for (segments, flag) in [
            (readable, flags),
            (writable, flags | DescriptorFlags::WRITE),
        ] {
            for segment in segments {
                left = left.wrapping_sub(1);
                let at = self.next_available;
                let mut flags = flag | at.available();
                flags.set(DescriptorFlags::NEXT, left != 0);
                let len = segment.len;
                let word = Tail { len, id, flags }.to_word();
                // Always there: positions are below the size.
                if let Some(slot) = self.ring.slot(at.index()) {
                    slot.set_first(segment.address);
                    if at == head {
                        head_word = word;
                    } else {
                        slot.set_second(word);
                    }
                }
                self.next_available = at.advanced(1, self.size);
            }
        }
        // The chain, all but its head's flags (stores above), before these (store below), which the
        // device loads before it looks at the rest.
        self.order.publish();
        if let Some(slot) = self.ring.slot(head.index()) {
            slot.set_second(head_word);
        }
    }
}
