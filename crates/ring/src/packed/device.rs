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
use crate::shared::{Slot, Slots, Table, View, Words};
use crate::slab::{Blocks, Slab};
use crate::walk::{Look, Piece, Stop, walk};

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
        look: Look<'_, '_>,
        blocks: &mut Blocks<S>,
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
        let mut steps = Steps::new(self, tail);
        let segments = walk(look, blocks, |look| steps.next(look))?;
        let (id, descriptors) = (steps.tail.id, steps.descriptors);
        self.next_available = self.next_available.advanced(descriptors, self.size);
        self.taken = self.taken.wrapping_add(descriptors);
        self.in_flight = self.in_flight.wrapping_add(1);
        Ok(Some(Chain {
            segments,
            id,
            descriptors,
        }))
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
}

/// A walk through a chain's descriptors, no more than are not in flight already; or through all of
/// those of an indirect table, in their order (§2.8.7).
struct Steps<'r> {
    device: &'r Device,
    at: Position,
    /// Of the descriptor of the ring at `at`.
    tail: Tail,
    /// How many descriptors of the ring the chain has.
    descriptors: u16,
    left: u16,
    /// The indirect table, or an empty one.
    table: Table<'r>,
    /// How many descriptors of it are behind.
    passed: usize,
}

impl<'r> Steps<'r> {
    /// Of the chain whose first descriptor has `tail`.
    #[inline(always)]
    fn new(device: &'r Device, tail: Tail) -> Self {
        Self {
            device,
            at: device.next_available,
            tail,
            descriptors: 0,
            left: device.size.wrapping_sub(device.taken),
            table: Table::new(View::EMPTY),
            passed: 0,
        }
    }

    #[inline(always)]
    fn next<'m: 'r>(&mut self, look: &mut Look<'_, 'm>) -> Result<Piece, Violation> {
        if self.passed != 0 {
            return self.next_of_table();
        }
        let Device { ring, size, .. } = self.device;
        let Some(left) = self.left.checked_sub(1) else {
            return Err(if self.device.taken == 0 {
                Violation::ChainTooLong(*size)
            } else {
                Violation::TooManyInFlight(*size)
            });
        };
        self.left = left;
        if self.descriptors != 0 {
            self.at = self.at.advanced(1, *size);
            // Always there: positions are below the size.
            self.tail = Tail::from_word(ring.slot(self.at.index()).map_or(0, Slot::second));
            if !self.tail.is_available(self.at) {
                return Err(Violation::NotAvailable(self.at.index() as u16));
            }
        }
        self.descriptors = self.descriptors.wrapping_add(1);
        let address = ring.slot(self.at.index()).map_or(0, Slot::first);
        if self.tail.flags.contains(DescriptorFlags::INDIRECT) {
            if self.descriptors != 1 || self.tail.flags.contains(DescriptorFlags::NEXT) {
                return Err(Violation::IndirectWithNext);
            }
            if !self.device.indirect {
                return Err(Violation::IndirectNotNegotiated);
            }
            self.table = look.table(address, self.tail.len, *size)?;
            return self.next_of_table();
        }
        Ok(Piece {
            address,
            len: self.tail.len,
            writable: self.tail.flags.contains(DescriptorFlags::WRITE),
            more: self.tail.flags.contains(DescriptorFlags::NEXT),
        })
    }

    #[inline(always)]
    fn next_of_table(&mut self) -> Result<Piece, Violation> {
        // Always there: the descriptor before said that there is more, and no table is empty.
        let (address, tail) = self.table.load(self.passed).unwrap_or_default();
        let tail = Tail::from_word(tail);
        if tail.flags.contains(DescriptorFlags::INDIRECT) {
            return Err(Violation::IndirectInIndirect);
        }
        self.passed = self.passed.wrapping_add(1);
        Ok(Piece {
            address,
            len: tail.len,
            writable: tail.flags.contains(DescriptorFlags::WRITE),
            more: self.passed < self.table.len(),
        })
    }
}
