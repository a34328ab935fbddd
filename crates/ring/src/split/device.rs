//! The device's program of the split format.
//!
//! Everything here may be written by a hostile driver at any moment, so each word is loaded once,
//! into a private copy that is checked and used. What this end wrote (the used index, its own
//! notification wishes) is remembered privately.

use core::num::NonZeroU32;

use ringway_spec::split::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::passed;
use crate::barrier::Order;
use crate::chain::{Plain, Walked};
use crate::device::{Used, Violation};
use crate::driver::Areas;
use crate::map::Regions;
#[cfg(feature = "alloc")]
use crate::shared::Shared;
use crate::shared::{Pairs, Slots, Table, Words};
use crate::slab::{Blocks, Slab};
use crate::walk::{INDIRECT, Look, Piece, Source, Stop, Why, walk};

#[derive(Debug)]
pub(crate) struct Device {
    descriptors: Slots,
    available: Words<u16>,
    /// While that is a list of our own, of chains that were taken before: the driver's.
    later: Option<Words<u16>>,
    available_index: Words<u16>,
    available_flags: Words<u16>,
    /// Id and length of each element.
    used: Pairs,
    used_index: Words<u16>,
    used_flags: Words<u16>,
    /// Written by the driver: the used index after which it wants an interrupt.
    used_event: Words<u16>,
    /// Written by us: the available index after which we want a kick.
    available_event: Words<u16>,
    size: u16,
    /// How far the available ring was taken.
    next_available: u16,
    /// How far it may be taken before the driver's available index is read again: no further than
    /// that index, nor than there may be chains in flight.
    available_seen: u16,
    /// The used index.
    next_used: u16,
    /// The same, as the driver was last told.
    published: u16,
    /// The used index when an interrupt was last considered.
    interrupt_considered: u16,
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
        if !size.is_power_of_two() || size > spec::MAX_SIZE {
            return Err(Violation::Size(size));
        }
        let count = usize::from(size);
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
            descriptors: Slots::new(&descriptor, 0, count)
                .ok_or(Violation::Area(areas.descriptor))?,
            available: in_driver(spec::RING, count)?,
            later: None,
            available_index: in_driver(spec::INDEX, 1)?,
            available_flags: in_driver(spec::FLAGS, 1)?,
            used: Pairs::new(&device, spec::RING, count).ok_or(Violation::Area(areas.device))?,
            used_index: in_device(spec::INDEX)?,
            used_flags: in_device(spec::FLAGS)?,
            used_event: in_driver(spec::used_event_offset(size), 1)?,
            available_event: in_device(spec::avail_event_offset(size))?,
            size,
            next_available: start,
            available_seen: start,
            next_used: start,
            published: start,
            interrupt_considered: start,
            indirect: features.contains(F::INDIRECT_DESC),
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
            broken: None,
        };
        Ok(this)
    }

    /// Takes the next chain, or says why it does not, if there is one.
    #[inline(always)]
    pub(crate) fn next_chain<S: Slab>(
        &mut self,
        look: &mut Look<'_>,
        blocks: &mut Blocks<S>,
    ) -> Option<Walked> {
        if self.next_available == self.available_seen && !self.look_for_available(look) {
            return None;
        }
        // Before anything is read of the chain.
        let Some(first) = blocks.first() else {
            return Stop::no_room(&mut look.why);
        };
        let id = self.available.load(usize::from(self.next_available));
        let mut source = Descriptors {
            device: self,
            table: self.descriptors.table(),
            indirect: false,
            id,
            at: id.into(),
        };
        let mut head = source.next(&mut look.why)?;
        if (head.word >> FLAGS) as u32 & INDIRECT != 0 {
            // From here on as if the table were the ring's.
            source = source.table(look, head)?;
            head = source.next(&mut look.why)?;
        }
        let walked = walk(look, blocks, first, source, head)?;
        self.next_available = self.next_available.wrapping_add(1);
        Some(walked)
    }

    /// The next chain, if it is there and is one descriptor of bytes of the region that was found last.
    #[inline(always)]
    pub(crate) fn peek<'m>(&mut self, look: &mut Look<'m>) -> Option<(Plain<'m>, u16)> {
        if self.next_available == self.available_seen && !self.look_for_available(look) {
            return None;
        }
        let id = self.available.load(usize::from(self.next_available));
        let (address, word) = self.descriptors.table().load(id.into())?;
        let flags = (word >> FLAGS) as u32;
        if flags & (NEXT | INDIRECT) != 0 {
            return None;
        }
        Some((Plain::new(look, address, word as u32, flags)?, id))
    }

    /// Takes the chain that was just looked at.
    #[inline(always)]
    pub(crate) fn take_peeked(&mut self) {
        self.next_available = self.next_available.wrapping_add(1);
    }

    /// Writes a used element, of chains that are in flight.
    #[inline]
    pub(crate) fn put(&mut self, used: Used) {
        let element = u64::from(used.id) | u64::from(used.written) << 32;
        self.used.store(usize::from(self.next_used), element);
        self.next_used = self.next_used.wrapping_add(used.places);
    }

    /// Says whether there was something.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        if self.published == self.next_used {
            return false;
        }
        self.published = self.next_used;
        // What was written for the driver and the elements that say so (stores before) before the
        // index that publishes them (store below), which the driver loads before it looks at them.
        self.order.publish();
        self.used_index.store(0, self.next_used);
        true
    }

    /// Takes the chains that begin with `heads` first, as if the driver made them available from the
    /// place on at which the queue begins. Says whether there is memory for that.
    #[cfg(feature = "alloc")]
    pub(crate) fn resume(&mut self, heads: impl ExactSizeIterator<Item = u16>) -> bool {
        let count = usize::from(self.size);
        let memory = Shared::allocate(count.wrapping_mul(size_of::<u16>()), spec::AVAILABLE_ALIGN);
        let Some(list) = memory.and_then(|memory| Words::new(&memory, 0, count)) else {
            return false;
        };
        // No more than the size.
        self.available_seen = self.next_available.wrapping_add(heads.len() as u16);
        for (at, head) in heads.enumerate() {
            list.store(usize::from(self.next_available).wrapping_add(at), head);
        }
        self.later = Some(core::mem::replace(&mut self.available, list));
        true
    }

    #[inline]
    pub(crate) fn interrupt_needed(&mut self) -> bool {
        if self.interrupt_considered == self.next_used {
            return false;
        }
        let considered = core::mem::replace(&mut self.interrupt_considered, self.next_used);
        // Our index (store in `publish`) before the driver's event or flag (load below). The
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

    /// How many chains may be taken before the available index is read again.
    pub(crate) fn seen(&self) -> u16 {
        self.available_seen.wrapping_sub(self.next_available)
    }

    /// How many chains were taken and not given back.
    pub(crate) fn in_flight(&self) -> u16 {
        // A chain moves either index by one, and there are fewer chains than the indices count.
        self.next_available.wrapping_sub(self.next_used)
    }

    /// Where another device has put its last used element: there it stood with nothing in flight.
    #[cfg(feature = "alloc")]
    pub(crate) fn left_position(&self) -> u16 {
        self.used_index.load(0)
    }

    pub(crate) fn position(&self) -> u16 {
        self.next_available
    }

    pub(crate) fn used_position(&self) -> u16 {
        self.next_used
    }

    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.broken
    }

    /// Forgets which chains it saw and did not take: they are there still when it looks again. Not those
    /// that another device had taken, which come from elsewhere.
    pub(crate) fn forget_seen(&mut self) {
        if self.later.is_none() {
            self.available_seen = self.next_available;
        }
    }

    #[cold]
    pub(crate) fn latch(&mut self, violation: Violation) -> Violation {
        // What was seen and not taken never will be: the next look finds the queue broken.
        self.available_seen = self.next_available;
        *self.broken.get_or_insert(violation)
    }

    /// Reads the driver's available index. Says whether there is a chain to take.
    #[inline(never)]
    fn look_for_available(&mut self, look: &mut Look<'_>) -> bool {
        if let Some(available) = self.later.take() {
            self.available = available;
        }
        let moved = match self.available() {
            Ok(moved) => moved.min(look.left),
            Err(violation) => {
                look.why = Some(Stop::Violation(violation));
                return false;
            }
        };
        look.left = look.left.wrapping_sub(moved);
        self.available_seen = self.next_available.wrapping_add(moved);
        // The driver's index (load above) before the entries and descriptors below it (loads to
        // come), which it stored first.
        self.order.consume();
        moved != 0
    }

    /// How many chains are there to take.
    fn available(&self) -> Result<u16, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let size = self.size;
        let index = self.available_index.load(0);
        let moved = index.wrapping_sub(self.next_available);
        if moved > size {
            return Err(Violation::AvailableTooFar { moved, size });
        }
        // A chain moves either index by one, and there are fewer chains than the indices count.
        let room = size.saturating_sub(self.in_flight());
        if moved != 0 && room == 0 {
            return Err(Violation::TooManyInFlight(size));
        }
        Ok(moved.min(room))
    }
}

/// The descriptors of a chain.
#[derive(Clone, Copy)]
struct Descriptors<'d> {
    device: &'d Device,
    /// Where they are: the table of the ring, or an indirect one.
    table: Table<'d>,
    indirect: bool,
    id: u16,
    /// Where the next one is.
    at: usize,
}

impl<'d, 'm: 'd> Source<'m> for Descriptors<'d> {
    const FLAGS: u32 = FLAGS;

    #[inline(always)]
    fn next(&mut self, why: &mut Why) -> Option<Piece> {
        let Some((address, word)) = self.table.load(self.at) else {
            let violation = Violation::DescriptorIndex {
                index: self.at as u16,
                // No more than the size of the queue.
                size: self.table.len() as u16,
            };
            return Stop::violation(why, violation);
        };
        self.at = (word >> 48) as usize;
        Some(Piece { address, word })
    }

    #[inline(always)]
    fn goes_on(&self, flags: u32) -> bool {
        flags & NEXT != 0
    }

    #[inline(always)]
    fn most(&self) -> u16 {
        self.device.size
    }

    #[inline(always)]
    fn name(&self) -> (u16, NonZeroU32) {
        (self.id, NonZeroU32::MIN)
    }

    #[inline(always)]
    fn table(&self, look: &mut Look<'m>, piece: Piece) -> Option<Self> {
        if self.indirect {
            return Stop::violation(&mut look.why, Violation::IndirectInIndirect);
        }
        if !self.device.indirect {
            return Stop::violation(&mut look.why, Violation::IndirectNotNegotiated);
        }
        if self.goes_on((piece.word >> FLAGS) as u32) {
            return Stop::violation(&mut look.why, Violation::IndirectWithNext);
        }
        // The descriptor that refers to the table does not count.
        Some(Self {
            table: look.table(piece.address, piece.word as u32, self.device.size)?,
            indirect: true,
            at: 0,
            ..*self
        })
    }
}

/// Where the second word of a descriptor has its flags.
const FLAGS: u32 = 32;
/// Says there that the chain goes on.
const NEXT: u32 = DescriptorFlags::NEXT.bits() as u32;
