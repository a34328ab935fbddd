//! The device's program of the packed format.
//!
//! Everything here may be written by a hostile driver at any moment, so each word is loaded once,
//! into a private copy that is checked and used. A used descriptor is written over whatever stands
//! where the driver looks next; how many descriptors a chain has is remembered with the chain.

use ringway_spec::packed::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{Position, Tail, Wish};
use crate::barrier::Order;
use crate::chain::Chain;
use crate::device::{Used, Violation};
use crate::driver::Areas;
use crate::map::Regions;
use crate::shared::{Slot, Slots, Words};
use crate::slab::Slab;
use crate::walk::{Place, Stop, Walk};

#[derive(Debug)]
pub(crate) struct Device {
    ring: Slots,
    /// Written by the driver: the used descriptors of which it wants to be told.
    driver_wish: Words<u32>,
    /// Written by us: the available descriptors of which we want to be told.
    wish: Words<u32>,
    size: u16,
    /// Where the next chain begins.
    next_available: Position,
    /// Where the next used descriptor goes.
    next_used: Position,
    /// The first used descriptor that the driver was not yet told of, and its second word: it hides
    /// those after it.
    held: Option<(Position, Tail)>,
    /// How many descriptors were used since an interrupt was last considered.
    unreported: u32,
    in_flight: u16,
    /// Descriptors of the chains in flight.
    taken: u16,
    indirect: bool,
    event_index: bool,
    order: Order,
    broken: Option<Violation>,
}

impl Device {
    pub(crate) fn new(
        regions: Regions<'_>,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
    ) -> Result<Self, Violation> {
        if size == 0 || size > spec::MAX_SIZE {
            return Err(Violation::Size(size));
        }
        let area = |address: u64, bytes: usize, align: usize| {
            let aligned = address & (align as u64).wrapping_sub(1) == 0;
            regions
                .shared(address, bytes)
                .filter(|_| aligned)
                .ok_or(Violation::Area(address))
        };
        let descriptor = area(
            areas.descriptor,
            spec::descriptor_bytes(size),
            spec::DESCRIPTOR_ALIGN,
        )?;
        // A region whose bytes are not aligned as their device addresses are gives no words: the
        // same complaint.
        let wish = |address: u64| {
            let memory = area(address, spec::EVENT_BYTES, spec::EVENT_ALIGN)?;
            Words::new(&memory, 0, 1).ok_or(Violation::Area(address))
        };
        let start = Position::after(start, size);
        Ok(Self {
            ring: Slots::new(&descriptor, 0, usize::from(size))
                .ok_or(Violation::Area(areas.descriptor))?,
            driver_wish: wish(areas.driver)?,
            wish: wish(areas.device)?,
            size,
            next_available: start,
            next_used: start,
            held: None,
            unreported: 0,
            in_flight: 0,
            taken: 0,
            indirect: features.contains(F::INDIRECT_DESC),
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
            broken: None,
        })
    }

    /// Takes the next chain.
    #[inline(always)]
    pub(crate) fn next_chain<S: Slab>(
        &mut self,
        place: Place<'_, '_, S>,
    ) -> Result<Option<Chain>, Stop> {
        if let Some(violation) = self.broken {
            return Err(violation.into());
        }
        let Some(tail) = self.look_for_available() else {
            return Ok(None);
        };
        // The head's flags (load above) before the rest of the chain (loads to come), which the
        // driver stored first.
        self.order.consume();
        let mut walk = Walk::new(place)?;
        let (id, descriptors) = self.walk(tail, &mut walk)?;
        let chain = walk.finish(id, descriptors)?;
        self.next_available = self.next_available.advanced(descriptors, self.size);
        self.taken = self.taken.wrapping_add(descriptors);
        self.in_flight = self.in_flight.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Writes a used descriptor, or holds it, if it is the first that the driver was not told of.
    /// Says whether so many chains and descriptors are in flight.
    #[inline]
    pub(crate) fn put(&mut self, used: Used) -> bool {
        let in_flight = self.in_flight.checked_sub(used.chains);
        let taken = self.taken.checked_sub(used.descriptors);
        let (Some(in_flight), Some(taken)) = (in_flight, taken) else {
            return false;
        };
        (self.in_flight, self.taken) = (in_flight, taken);
        let mut flags = self.next_used.used();
        flags.set(DescriptorFlags::WRITE, used.written != 0);
        let tail = Tail {
            len: used.written,
            id: used.id,
            flags,
        };
        if self.held.is_none() {
            self.held = Some((self.next_used, tail));
        } else {
            self.write(self.next_used, tail);
        }
        self.next_used = self.next_used.advanced(used.descriptors, self.size);
        self.unreported = self.unreported.saturating_add(used.descriptors.into());
        true
    }

    #[inline]
    pub(crate) fn publish(&mut self) {
        if let Some((position, tail)) = self.held.take() {
            // What was written for the driver and the used descriptors after this one (stores
            // before) before the word of this one (store below), which the driver loads before it
            // looks at them.
            self.order.publish();
            self.write(position, tail);
        }
    }

    #[inline]
    pub(crate) fn interrupt_needed(&mut self) -> bool {
        if self.unreported == 0 {
            return false;
        }
        let unreported = core::mem::take(&mut self.unreported);
        // Our flags (store in `publish`) before the driver's wish (load below). The driver stores
        // that one and then loads our flags: one of the two sees the other's store.
        self.order.store_load();
        Wish::from_word(self.driver_wish.load(0)).is_granted(
            self.event_index,
            self.next_used,
            unreported,
            self.size,
        )
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        let wish = if self.event_index {
            Wish::at(self.next_available)
        } else {
            Wish::ALL
        };
        self.wish.store(0, wish.to_word());
        // Our wish (store above) before the driver's flags (load below). The driver stores its
        // flags and then loads our wish: either it sees the wish and kicks, or we see the
        // flags here.
        self.order.store_load();
        self.look_for_available().is_some()
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        self.wish.store(0, Wish::NONE.to_word());
    }

    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.broken
    }

    #[cold]
    pub(crate) fn latch(&mut self, violation: Violation) -> Violation {
        *self.broken.get_or_insert(violation)
    }

    /// The second word of the next descriptor, if that was made available.
    #[inline]
    fn look_for_available(&self) -> Option<Tail> {
        let slot = self.ring.slot(self.next_available.index())?;
        Some(Tail::from_word(slot.second())).filter(|tail| tail.is_available(self.next_available))
    }

    /// Writes the second word of the descriptor at `position`.
    #[inline]
    fn write(&self, position: Position, tail: Tail) {
        // Always there: positions are below the size.
        if let Some(slot) = self.ring.slot(position.index()) {
            slot.set_second(tail.to_word());
        }
    }

    /// Follows the chain whose first descriptor has `tail`, through no more descriptors than are
    /// not in flight already. Returns what the driver calls it, and how many descriptors it has.
    #[inline(always)]
    fn walk<S: Slab>(
        &self,
        tail: Tail,
        walk: &mut Walk<'_, '_, S>,
    ) -> Result<(u16, u16), Stop> {
        let mut tail = tail;
        let mut at = self.next_available;
        let left = self.size.wrapping_sub(self.taken);
        for descriptors in 1..=left {
            // Always there: positions are below the size.
            let slot = self.ring.slot(at.index());
            let address = slot.map_or(0, Slot::first);
            if tail.flags.contains(DescriptorFlags::INDIRECT) {
                if descriptors != 1 || tail.flags.contains(DescriptorFlags::NEXT) {
                    return Err(Violation::IndirectWithNext.into());
                }
                self.walk_table(address, tail.len, walk)?;
                return Ok((tail.id, 1));
            }
            let writable = tail.flags.contains(DescriptorFlags::WRITE);
            walk.add(address, tail.len, writable)?;
            if !tail.flags.contains(DescriptorFlags::NEXT) {
                return Ok((tail.id, descriptors));
            }
            if descriptors == left {
                break;
            }
            at = at.advanced(1, self.size);
            tail = Tail::from_word(self.ring.slot(at.index()).map_or(0, Slot::second));
            if !tail.is_available(at) {
                return Err(Violation::NotAvailable(at.index() as u16).into());
            }
        }
        let violation = if self.taken == 0 {
            Violation::ChainTooLong(self.size)
        } else {
            Violation::TooManyInFlight(self.size)
        };
        Err(violation.into())
    }

    /// Follows the indirect table of `len` bytes at `address`: all of its descriptors, in their
    /// order (§2.8.7).
    #[inline(always)]
    fn walk_table<S: Slab>(
        &self,
        address: u64,
        len: u32,
        walk: &mut Walk<'_, '_, S>,
    ) -> Result<(), Stop> {
        if !self.indirect {
            return Err(Violation::IndirectNotNegotiated.into());
        }
        let table = walk.table(address, len, self.size)?;
        for at in 0..table.len() {
            let Some((address, tail)) = table.load(at) else {
                break;
            };
            let tail = Tail::from_word(tail);
            if tail.flags.contains(DescriptorFlags::INDIRECT) {
                return Err(Violation::IndirectInIndirect.into());
            }
            let writable = tail.flags.contains(DescriptorFlags::WRITE);
            walk.add(address, tail.len, writable)?;
        }
        Ok(())
    }
}
