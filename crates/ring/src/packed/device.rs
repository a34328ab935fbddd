//! The device's program of the packed format.
//!
//! Everything here may be written by a hostile driver at any moment, so each word is loaded once,
//! into a private copy that is checked and used. A used descriptor is written over whatever stands
//! where the driver looks next; how many descriptors a chain has is remembered with the chain.

use core::hint::cold_path;
use core::num::NonZeroU32;

use ringway_spec::packed::{self as spec, DescriptorFlags};
use ringway_spec::{F, Features};

use super::{Cursor, Position, TURN_BITS, Tail, Wish};
use crate::barrier::Order;
use crate::chain::{Plain, Walked};
use crate::device::{Used, Violation};
use crate::driver::Areas;
use crate::map::Regions;
#[cfg(feature = "alloc")]
use crate::shared::{Run, Shared};
use crate::shared::{Slot, Slots, Table, Words};
use crate::slab::{Blocks, Slab};
use crate::walk::{INDIRECT, Look, Piece, Source, Stop, TwoWords, Why, walk};

#[derive(Debug)]
pub(crate) struct Device {
    /// Where chains are taken from: the ring, or a list of our own, of chains that were taken before.
    ring: Slots,
    resuming: bool,
    /// The ring, where they are given back.
    used: Slots,
    /// Written by the driver: the used descriptors of which it wants to be told.
    driver_wish: Words<u32>,
    /// Written by us: the available descriptors of which we want to be told.
    wish: Words<u32>,
    size: u16,
    /// Where the next chain begins.
    next_available: Cursor,
    /// Where the next used descriptor goes.
    next_used: Cursor,
    /// The first used descriptor that the driver was not yet told of, and its second word: it hides
    /// those after it.
    held: Option<(u16, u64)>,
    /// Chains taken and not given back, if they are given back one by one.
    in_flight: u16,
    /// How many descriptors were used since an interrupt was last considered.
    unreported: u32,
    /// How many descriptors are of no chain in flight.
    room: u16,
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
        let begin = Position::from_bits(start, size).ok_or(Violation::Start(start))?;
        let ring = Slots::new(&descriptor, 0, usize::from(size))
            .ok_or(Violation::Area(areas.descriptor))?;
        Ok(Self {
            used: ring.clone(),
            ring,
            resuming: false,
            driver_wish: wish(areas.driver)?,
            wish: wish(areas.device)?,
            size,
            next_available: Cursor::available(begin),
            next_used: Cursor::used(begin),
            held: None,
            unreported: 0,
            in_flight: 0,
            room: size,
            indirect: features.contains(F::INDIRECT_DESC),
            event_index: features.contains(F::EVENT_IDX),
            order: Order::negotiated(features),
            broken: None,
        })
    }

    /// Takes the next chain, or says why it does not, if there is one.
    #[inline(always)]
    pub(crate) fn next_chain<S: Slab>(
        &mut self,
        look: &mut Look<'_>,
        blocks: &mut Blocks<S>,
    ) -> Option<Walked> {
        if let Some(violation) = self.broken {
            return Stop::violation(&mut look.why, violation);
        }
        let left = look.left.checked_sub(1)?;
        let Some((slot, word)) = self.head() else {
            self.look_in_the_ring();
            return None;
        };
        // Before anything else is read of the chain.
        let Some(first) = blocks.first() else {
            return Stop::no_room(&mut look.why);
        };
        let mut ring = Ring {
            device: self,
            at: self.next_available,
            head: Some((slot, word)),
            room: self.room,
            left: self.room,
            last: word,
        };
        let head = ring.next(&mut look.why)?;
        let walked = if (head.word >> FLAGS) as u32 & INDIRECT == 0 {
            walk(look, blocks, first, ring, head)?
        } else {
            let mut table = ring.table_of_head(look, head)?;
            let head = table.next(&mut look.why)?;
            // So there are fewer values to keep where the two ways meet.
            TwoWords::from(walk(look, blocks, first, table, head)?).into()
        };
        look.left = left;
        let descriptors = walked.descriptors.get() as u16;
        self.next_available.advance(descriptors, self.size);
        self.room = self.room.wrapping_sub(descriptors);
        // No more than the ring has descriptors.
        self.in_flight = self.in_flight.wrapping_add(1);
        Some(walked)
    }

    /// The next chain, if it is there and is one descriptor of bytes of the region that was found last.
    #[inline(always)]
    pub(crate) fn peek<'m>(&mut self, look: &mut Look<'m>) -> Option<(Plain<'m>, u16)> {
        if self.broken.is_some() || look.left == 0 || self.room == 0 {
            return None;
        }
        let (slot, word) = self.head()?;
        let flags = (word >> FLAGS) as u32;
        if flags & (NEXT | INDIRECT) != 0 {
            return None;
        }
        let plain = Plain::new(look, slot.first(), word as u32, flags)?;
        Some((plain, id(word)))
    }

    /// Takes the chain that was just looked at.
    #[inline(always)]
    pub(crate) fn take_peeked(&mut self, look: &mut Look<'_>) {
        look.left = look.left.wrapping_sub(1);
        self.next_available.advance(1, self.size);
        self.room = self.room.wrapping_sub(1);
        self.in_flight = self.in_flight.wrapping_add(1);
    }

    /// Writes a used descriptor, of chains that are in flight; or holds it, if it is the first that
    /// the driver was not told of.
    #[inline(always)]
    pub(crate) fn put(&mut self, used: Used) {
        self.room = self.room.wrapping_add(used.places);
        self.in_flight = self.in_flight.wrapping_sub(1);
        let mut flags = DescriptorFlags::empty();
        flags.set(DescriptorFlags::WRITE, used.written != 0);
        let (len, id) = (used.written, used.id);
        let word = Tail { len, id, flags }.to_word() | self.next_used.turn;
        if self.held.is_none() {
            self.held = Some((self.next_used.at, word));
        } else {
            self.write(self.next_used.at, word);
        }
        self.next_used.advance(used.places, self.size);
        self.unreported = self.unreported.saturating_add(used.places.into());
    }

    /// Says whether there was something.
    #[inline]
    pub(crate) fn publish(&mut self) -> bool {
        let held = self.held.take();
        if let Some((at, word)) = held {
            // What was written for the driver and the used descriptors after this one (stores
            // before) before the word of this one (store below), which the driver loads before it
            // looks at them.
            self.order.publish();
            self.write(at, word);
        }
        held.is_some()
    }

    /// Takes the chains of these descriptors first, as if the driver made them available from the
    /// place on at which the queue begins. Says whether there is memory for that.
    #[cfg(feature = "alloc")]
    pub(crate) fn resume<'w>(&mut self, words: impl Iterator<Item = &'w [u64; 2]>) -> bool {
        let count = usize::from(self.size);
        let bytes = spec::descriptor_bytes(self.size);
        let memory = Shared::allocate(bytes, spec::DESCRIPTOR_ALIGN);
        let Some(list) = memory.and_then(|memory| Slots::new(&memory, 0, count)) else {
            return false;
        };
        // What follows them was made available in no lap.
        let mut at = self.next_available;
        for slot in list.rest(0).into_iter().flatten() {
            slot.set_second(TURN_BITS);
        }
        for [address, word] in words {
            if let Some(slot) = list.slot(at.at.into()) {
                slot.set_first(*address);
                slot.set_second(word & !TURN_BITS | at.turn);
            }
            at.advance(1, self.size);
        }
        self.take_back(at);
        self.ring = list;
        self.resuming = true;
        true
    }

    /// Takes back what a device before this one had written of a batch that it never let the driver
    /// see: used descriptors after the one at which the driver looks, which would be seen with it.
    /// They are those of chains in flight, so nobody else reads or writes them.
    #[cfg(feature = "alloc")]
    fn take_back(&self, end: Cursor) {
        let mut at = self.next_used;
        // Once for each of those descriptors, which are no more than a lap.
        while at.position() != end.position() {
            let Some(slot) = self.used.slot(at.at.into()) else {
                return;
            };
            let word = slot.second();
            if (word ^ at.turn) & TURN_BITS == 0 {
                let used = u64::from(DescriptorFlags::USED.bits()) << FLAGS;
                slot.set_second(word ^ used);
            }
            at.advance(1, self.size);
        }
    }

    /// The descriptors of the chain that was taken last, of which there are `count`: up to the end of
    /// the ring, and from its beginning on.
    #[cfg(feature = "alloc")]
    pub(crate) fn taken_last(&self, count: u16) -> Option<(Run<'_>, Run<'_>)> {
        let (at, size) = (self.next_available.at, self.size);
        let first = if at >= count {
            at.wrapping_sub(count)
        } else {
            // Both are at most 32768.
            at.wrapping_add(size).wrapping_sub(count)
        };
        let before_end = count.min(size.wrapping_sub(first));
        let after = count.wrapping_sub(before_end);
        let before_end = self.ring.run(first.into(), before_end.into())?;
        Some((before_end, self.ring.run(0, after.into())?))
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
            self.next_used.position(),
            || unreported,
            self.size,
        )
    }

    #[inline]
    pub(crate) fn arm(&mut self) -> bool {
        let wish = if self.event_index {
            Wish::at(self.next_available.position())
        } else {
            Wish::ALL
        };
        self.wish.store(0, wish.to_word());
        // Our wish (store above) before the driver's flags (load below). The driver stores its
        // flags and then loads our wish: either it sees the wish and kicks, or we see the
        // flags here.
        self.order.store_load();
        self.resuming || self.look_for_available().is_some()
    }

    #[inline]
    pub(crate) fn disarm(&mut self) {
        self.wish.store(0, Wish::NONE.to_word());
    }

    /// Asks not to be kicked, and leaves beside it where the next chain will be given back.
    #[cfg(feature = "alloc")]
    pub(crate) fn leave_position(&mut self) {
        let resting = Wish::resting(self.next_used.position());
        self.wish.store(0, resting.to_word());
    }

    /// What a device has left there.
    #[cfg(feature = "alloc")]
    pub(crate) fn left_position(&self) -> u16 {
        Wish::from_word(self.wish.load(0)).position()
    }

    /// How many chains were taken and not given back, if they are given back one by one.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    pub(crate) fn position(&self) -> u16 {
        self.next_available.position().to_bits()
    }

    pub(crate) fn used_position(&self) -> u16 {
        self.next_used.position().to_bits()
    }

    pub(crate) fn size(&self) -> u16 {
        self.size
    }

    pub(crate) fn violation(&self) -> Option<Violation> {
        self.broken
    }

    #[cold]
    pub(crate) fn latch(&mut self, violation: Violation) -> Violation {
        *self.broken.get_or_insert(violation)
    }

    /// The head of the next chain and its second word, if that was made available: what else there is
    /// of the chain may be read.
    #[inline(always)]
    fn head(&self) -> Option<(Slot<'_>, u64)> {
        let found = self.look_for_available()?;
        // The head's flags (load above) before the rest of the chain (loads to come), which the
        // driver stored first.
        self.order.consume();
        Some(found)
    }

    /// The next descriptor and its second word, if that was made available.
    #[inline(always)]
    fn look_for_available(&self) -> Option<(Slot<'_>, u64)> {
        let Cursor { at, turn, .. } = self.next_available;
        let slot = self.ring.slot(at.into())?;
        let word = slot.second();
        ((word ^ turn) & TURN_BITS == 0).then_some((slot, word))
    }

    /// Notes that a chain has more descriptors than there is room for.
    #[cold]
    fn too_long<T>(&self, why: &mut Why) -> Option<T> {
        let violation = if self.room == self.size {
            Violation::ChainTooLong(self.size)
        } else {
            Violation::TooManyInFlight(self.size)
        };
        Stop::violation(why, violation)
    }

    /// From here on chains come from the ring: all that were taken before were taken again.
    #[inline]
    fn look_in_the_ring(&mut self) {
        if core::mem::take(&mut self.resuming) {
            cold_path();
            self.ring = self.used.clone();
        }
    }

    /// Writes the second word of descriptor `at`.
    #[inline]
    fn write(&self, at: u16, word: u64) {
        // Always there: positions are below the size.
        if let Some(slot) = self.used.slot(at.into()) {
            slot.set_second(word);
        }
    }
}

/// The descriptors of a chain in the ring, no more than are not in flight already.
#[derive(Clone, Copy)]
struct Ring<'r> {
    device: &'r Device,
    /// Where the last one is.
    at: Cursor,
    /// The first one, and its second word, until it is asked for.
    head: Option<(Slot<'r>, u64)>,
    /// How many descriptors of the ring it may have in all, and still.
    room: u16,
    left: u16,
    /// The second word of the last one.
    last: u64,
}

impl<'m> Source<'m> for Ring<'_> {
    const FLAGS: u32 = FLAGS;

    #[inline(always)]
    fn next(&mut self, why: &mut Why) -> Option<Piece> {
        let Device { ring, size, .. } = self.device;
        let Some(left) = self.left.checked_sub(1) else {
            return self.device.too_long(why);
        };
        let (slot, word) = match self.head.take() {
            Some(head) => head,
            None => {
                self.at.advance(1, *size);
                // Always there: positions are below the size.
                let slot = ring.slot(self.at.at.into())?;
                let word = slot.second();
                if (word ^ self.at.turn) & TURN_BITS != 0 {
                    return Stop::violation(why, Violation::NotAvailable(self.at.at));
                }
                (slot, word)
            }
        };
        self.left = left;
        self.last = word;
        let address = slot.first();
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
        let read = self.room.wrapping_sub(self.left);
        // One was read at least.
        let descriptors = NonZeroU32::new(read.into()).unwrap_or(NonZeroU32::MIN);
        (id(self.last), descriptors)
    }

    #[cold]
    fn table(&self, look: &mut Look<'m>, _: Piece) -> Option<Self> {
        Stop::violation(&mut look.why, Violation::IndirectWithNext)
    }
}

impl<'d> Ring<'d> {
    /// The table to which `head`, the first descriptor and the one read last, refers.
    #[inline(always)]
    fn table_of_head<'m: 'd>(&self, look: &mut Look<'m>, head: Piece) -> Option<Nested<'d>> {
        let Piece { address, word } = head;
        if self.goes_on((word >> FLAGS) as u32) {
            return Stop::violation(&mut look.why, Violation::IndirectWithNext);
        }
        let device = self.device;
        if !device.indirect {
            return Stop::violation(&mut look.why, Violation::IndirectNotNegotiated);
        }
        Some(Nested {
            device,
            table: look.table(address, word as u32, device.size)?,
            id: id(word),
            at: 0,
        })
    }
}

/// All descriptors of an indirect table, in their order (§2.8.7).
#[derive(Clone, Copy)]
struct Nested<'d> {
    device: &'d Device,
    table: Table<'d>,
    id: u16,
    at: usize,
}

impl<'d, 'm: 'd> Source<'m> for Nested<'d> {
    const FLAGS: u32 = FLAGS;

    #[inline(always)]
    fn next(&mut self, _: &mut Why) -> Option<Piece> {
        // Always there: the one before said that there is more, and no table is empty.
        let (address, word) = self.table.load(self.at)?;
        self.at = self.at.wrapping_add(1);
        Some(Piece { address, word })
    }

    #[inline(always)]
    fn goes_on(&self, _: u32) -> bool {
        self.at < self.table.len()
    }

    #[inline(always)]
    fn most(&self) -> u16 {
        self.device.size
    }

    #[inline(always)]
    fn name(&self) -> (u16, NonZeroU32) {
        (self.id, NonZeroU32::MIN)
    }

    #[cold]
    fn table(&self, look: &mut Look<'m>, _: Piece) -> Option<Self> {
        Stop::violation(&mut look.why, Violation::IndirectInIndirect)
    }
}

/// The id that the second word of a descriptor says.
#[inline(always)]
fn id(word: u64) -> u16 {
    (word >> 32) as u16
}

/// Where the second word of a descriptor has its flags.
const FLAGS: u32 = 48;
/// Says there that the chain goes on.
const NEXT: u32 = DescriptorFlags::NEXT.bits() as u32;
