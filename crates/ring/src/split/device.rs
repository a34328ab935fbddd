//! The device's program of the split format.
//!
//! Everything here may be written by a hostile driver at any moment, so each word is loaded once,
//! into a private copy that is checked and used. What this end wrote (the used index, its own
//! notification wishes) is remembered privately.

use alloc::vec::Vec;

use ringway_spec::split::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{Tail, passed};
use crate::barrier::Order;
use crate::device::{Head, Violation};
use crate::driver::Areas;
use crate::map::{Found, Map, Segment};
use crate::shared::Words;
use crate::walk::{DESCRIPTOR_BYTES, Walk};

#[derive(Debug)]
pub(crate) struct Device {
    descriptors: Words<u64>,
    available: Words<u16>,
    available_index: Words<u16>,
    available_flags: Words<u16>,
    /// Id and length of each element. The area is aligned to 4 bytes only, so they are two words.
    used: Words<u32>,
    used_index: Words<u16>,
    used_flags: Words<u16>,
    /// Written by the driver: the used index after which it wants an interrupt.
    used_event: Words<u16>,
    /// Written by us: the available index after which we want a kick.
    available_event: Words<u16>,
    size: u16,
    /// How far the available ring was taken.
    next_available: u16,
    /// The driver's available index when it was last read: all below is ours to take.
    available_seen: u16,
    /// The used index, as published.
    next_used: u16,
    /// The used index when an interrupt was last considered.
    interrupt_considered: u16,
    in_flight: u16,
    indirect: bool,
    event_index: bool,
    order: Order,
    broken: Option<Violation>,
}

impl Device {
    pub(crate) fn new(
        map: &Map,
        size: u16,
        areas: Areas,
        features: Features,
        start: u16,
    ) -> Result<Self, Violation> {
        if !size.is_power_of_two() || size > spec::MAX_SIZE {
            return Err(Violation::Size(size));
        }
        let count = usize::from(size);
        let area = |address: u64, bytes: usize, align: usize| {
            let aligned = address & (align as u64).wrapping_sub(1) == 0;
            map.shared(address, bytes)
                .filter(|_| aligned)
                .ok_or(Violation::Area(address))
        };
        let descriptor = area(
            areas.descriptor,
            spec::descriptor_bytes(size),
            spec::DESCRIPTOR_ALIGN,
        )?;
        let driver = area(
            areas.driver,
            spec::available_bytes(size),
            spec::AVAILABLE_ALIGN,
        )?;
        let device = area(areas.device, spec::used_bytes(size), spec::USED_ALIGN)?;
        // A region whose bytes are not aligned as their device addresses are gives no words: the
        // same complaint.
        let in_driver =
            |offset, count| Words::new(&driver, offset, count).ok_or(Violation::Area(areas.driver));
        let in_device =
            |offset| Words::new(&device, offset, 1).ok_or(Violation::Area(areas.device));
        let this = Self {
            descriptors: Words::new(&descriptor, 0, count.wrapping_mul(2))
                .ok_or(Violation::Area(areas.descriptor))?,
            available: in_driver(spec::RING, count)?,
            available_index: in_driver(spec::INDEX, 1)?,
            available_flags: in_driver(spec::FLAGS, 1)?,
            used: Words::new(&device, spec::RING, count.wrapping_mul(2))
                .ok_or(Violation::Area(areas.device))?,
            used_index: in_device(spec::INDEX)?,
            used_flags: in_device(spec::FLAGS)?,
            used_event: in_driver(spec::used_event_offset(size), 1)?,
            available_event: in_device(spec::avail_event_offset(size))?,
            size,
            next_available: start,
            available_seen: start,
            next_used: start,
            interrupt_considered: start,
            in_flight: 0,
            indirect: features.contains(F::INDIRECT_DESC),
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
            broken: None,
        };
        Ok(this)
    }

    /// Takes the next chain, and puts its segments into `segments`, which is empty.
    #[inline]
    pub(crate) fn next_chain(
        &mut self,
        map: &Map,
        found: &mut Found,
        segments: &mut Vec<Segment>,
    ) -> Result<Option<Head>, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        if self.next_available == self.available_seen && !self.look_for_available()? {
            return Ok(None);
        }
        if self.in_flight >= self.size {
            return Err(self.latch(Violation::TooManyInFlight(self.size)));
        }
        let id = self.available.load(usize::from(self.next_available));
        let mut walk = Walk::new(map, found, segments);
        let head = match self.walk(id, &mut walk).and_then(|()| walk.finish(id, 1)) {
            Ok(head) => head,
            Err(violation) => return Err(self.latch(violation)),
        };
        self.next_available = self.next_available.wrapping_add(1);
        self.in_flight = self.in_flight.wrapping_add(1);
        Ok(Some(head))
    }

    #[inline]
    pub(crate) fn complete(&mut self, id: u16, written: u32) {
        let at = usize::from(self.next_used).wrapping_mul(2);
        self.used.store(at, u32::from(id));
        self.used.store(at.wrapping_add(1), written);
        self.next_used = self.next_used.wrapping_add(1);
        self.in_flight = self.in_flight.wrapping_sub(1);
        // What was written for the driver and the element that says so (stores above) before the
        // index that publishes them (store below), which the driver loads before it looks
        // at them.
        self.order.publish();
        self.used_index.store(0, self.next_used);
    }

    #[inline]
    pub(crate) fn interrupt_needed(&mut self) -> bool {
        if self.interrupt_considered == self.next_used {
            return false;
        }
        let considered = core::mem::replace(&mut self.interrupt_considered, self.next_used);
        // Our index (store in `complete`) before the driver's event or flag (load below). The
        // driver stores that one and then loads our index: one of the two sees the other's
        // store.
        self.order.store_load();
        if self.event_index {
            passed(self.used_event.load(0), self.next_used, considered)
        } else {
            self.available_flags.load(0) & spec::AVAIL_F_NO_INTERRUPT == 0
        }
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        if self.event_index {
            self.available_event.store(0, self.next_available);
        } else {
            self.used_flags.store(0, 0);
        }
        // Our wish (store above) before the driver's index (load below). The driver stores its
        // index and then loads our wish: either it sees the wish and kicks, or we see the
        // index here.
        self.order.store_load();
        self.available_index.load(0) != self.next_available
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        if self.event_index {
            // The index just passed: the driver comes by it again only after 65,535 more chains.
            self.available_event
                .store(0, self.next_available.wrapping_sub(1));
        } else {
            self.used_flags.store(0, spec::USED_F_NO_NOTIFY);
        }
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

    /// Reads the driver's available index. Says whether it moved.
    #[inline]
    fn look_for_available(&mut self) -> Result<bool, Violation> {
        let index = self.available_index.load(0);
        let moved = index.wrapping_sub(self.next_available);
        if moved > self.size {
            return Err(self.latch(Violation::AvailableTooFar {
                moved,
                size: self.size,
            }));
        }
        self.available_seen = index;
        // The driver's index (load above) before the entries and descriptors below it (loads to
        // come), which it stored first.
        self.order.consume();
        Ok(moved != 0)
    }

    /// Follows the chain that begins at descriptor `id`, through at most as many descriptors as the
    /// queue has.
    #[inline]
    fn walk(&self, id: u16, walk: &mut Walk<'_>) -> Result<(), Violation> {
        let mut at = id;
        for taken in 0..self.size {
            if at >= self.size {
                return Err(Violation::DescriptorIndex {
                    index: at,
                    size: self.size,
                });
            }
            let word = usize::from(at).wrapping_mul(2);
            let address = self.descriptors.load(word);
            let tail = Tail::from_word(self.descriptors.load(word.wrapping_add(1)));
            if tail.flags.contains(DescriptorFlags::INDIRECT) {
                return self.walk_table(address, tail, taken, walk);
            }
            walk.add(
                address,
                tail.len,
                tail.flags.contains(DescriptorFlags::WRITE),
            )?;
            if !tail.flags.contains(DescriptorFlags::NEXT) {
                return Ok(());
            }
            at = tail.next;
        }
        Err(Violation::ChainTooLong(self.size))
    }

    /// Follows the rest of a chain, of which `taken` descriptors are behind, through the indirect
    /// table at `address`.
    #[inline]
    fn walk_table(
        &self,
        address: u64,
        table: Tail,
        taken: u16,
        walk: &mut Walk<'_>,
    ) -> Result<(), Violation> {
        if !self.indirect {
            return Err(Violation::IndirectNotNegotiated);
        }
        if table.flags.contains(DescriptorFlags::NEXT) {
            return Err(Violation::IndirectWithNext);
        }
        let room = self.size.wrapping_sub(taken);
        let (memory, count) = walk.table(address, table.len, self.size)?;
        let not_mapped = Violation::NotMapped {
            address,
            len: table.len,
        };
        let mut at = 0_u16;
        for _ in 0..room {
            if at >= count {
                return Err(Violation::DescriptorIndex {
                    index: at,
                    size: count,
                });
            }
            // Both halves in one copy. The table may be at any address, so this is not a pair of
            // words.
            let offset = usize::from(at).wrapping_mul(DESCRIPTOR_BYTES as usize);
            let descriptor: spec::Descriptor = memory.read_value(offset).map_err(|_| not_mapped)?;
            let tail = Tail {
                len: descriptor.len.get(),
                flags: DescriptorFlags::from_bits_retain(descriptor.flags.get()),
                next: descriptor.next.get(),
            };
            if tail.flags.contains(DescriptorFlags::INDIRECT) {
                return Err(Violation::IndirectInIndirect);
            }
            walk.add(
                descriptor.addr.get(),
                tail.len,
                tail.flags.contains(DescriptorFlags::WRITE),
            )?;
            if !tail.flags.contains(DescriptorFlags::NEXT) {
                return Ok(());
            }
            at = tail.next;
        }
        Err(Violation::ChainTooLong(self.size))
    }
}
