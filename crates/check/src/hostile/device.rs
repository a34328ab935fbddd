//! A device for a driver's end to be tried against.
//!
//! Spec: VIRTIO 1.4 §2.7.8 "The Virtqueue Used Ring".

use alloc::collections::{BTreeMap, VecDeque};
use core::fmt;

use ringway_spec::{F, packed, split};

use super::forge::{DESCRIPTOR_BYTES, INDIRECT, NEXT, TURN, WRITE};
use super::{Conduct, Descriptor, Forge, Place, Record, Ring, odd16, odd32, pick};
use crate::exercise::Numbers;

/// Something that a device must not do, or that a driver must not be harmed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misdeed {
    /// An id below the size of the queue is given back as chance has it.
    #[default]
    ForgedId,
    /// The id given back is not below the size of the queue.
    IdOutOfRange,
    /// The id given back last is given back again.
    RepeatedId,
    /// A chain is given back with more bytes written than it has writable.
    LengthBeyondChain,
    /// With `IN_ORDER`, a chain is given back alone before an older one.
    OutOfOrder,
    /// The used index jumps ahead.
    IndexAhead,
    /// The used index jumps back.
    IndexBack,
    /// A used element is rewritten, be it consumed or still to come.
    ElementRewritten,
    /// The flags and event field by which kicks are suppressed hold anything.
    WishForged,
    /// A descriptor of the ring is rewritten.
    DescriptorRewritten,
    /// A descriptor of an indirect table is rewritten.
    TableRewritten,
    /// The driver's own area is rewritten.
    DriverAreaRewritten,
    /// A used descriptor of a packed ring has the flags of another lap, or of no lap.
    WrongWrap,
    /// A used descriptor of a packed ring is written where none is due.
    UsedElsewhere,
    /// A chain of a packed ring is given back, and the next one more or fewer descriptors on than it
    /// had.
    WrongStride,
}

impl Misdeed {
    /// Those that there are on a split ring.
    pub const SPLIT: &'static [Self] = &[
        Self::ForgedId,
        Self::IdOutOfRange,
        Self::RepeatedId,
        Self::LengthBeyondChain,
        Self::OutOfOrder,
        Self::IndexAhead,
        Self::IndexBack,
        Self::ElementRewritten,
        Self::WishForged,
        Self::DescriptorRewritten,
        Self::TableRewritten,
        Self::DriverAreaRewritten,
    ];
    /// Those that there are on a packed ring.
    pub const PACKED: &'static [Self] = &[
        Self::ForgedId,
        Self::IdOutOfRange,
        Self::RepeatedId,
        Self::LengthBeyondChain,
        Self::OutOfOrder,
        Self::WishForged,
        Self::DescriptorRewritten,
        Self::TableRewritten,
        Self::DriverAreaRewritten,
        Self::WrongWrap,
        Self::UsedElsewhere,
        Self::WrongStride,
    ];
}

impl fmt::Display for Misdeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForgedId => "an id is given back as chance has it",
            Self::IdOutOfRange => "an id out of range is given back",
            Self::RepeatedId => "an id is given back again",
            Self::LengthBeyondChain => "more is claimed to be written than there is room for",
            Self::OutOfOrder => "a chain is given back before an older one",
            Self::IndexAhead => "the used index jumps ahead",
            Self::IndexBack => "the used index jumps back",
            Self::ElementRewritten => "a used element is rewritten",
            Self::WishForged => "the event field and flags are forged",
            Self::DescriptorRewritten => "a descriptor is rewritten",
            Self::TableRewritten => "an indirect table is rewritten",
            Self::DriverAreaRewritten => "the driver's area is rewritten",
            Self::WrongWrap => "a used descriptor is of another lap",
            Self::UsedElsewhere => "a descriptor is used where none is due",
            Self::WrongStride => "a chain is given back as a longer or shorter one",
        })
    }
}

/// A chain that the device has taken.
#[derive(Clone, Copy, Debug)]
struct Taken {
    id: u16,
    /// Of the ring, in the packed format.
    descriptors: u16,
    writable: u32,
}

/// A device at one queue: honest, or not.
#[derive(Debug)]
pub struct Device {
    forge: Forge,
    numbers: Numbers,
    conduct: Conduct,
    in_order: bool,
    event_index: bool,
    next_available: Place,
    next_used: Place,
    kept: VecDeque<Taken>,
    last_id: u16,
    /// What was said to be written, by id, for whoever wants to compare.
    said: BTreeMap<u16, u32>,
    record: Record<Misdeed>,
}

impl Device {
    /// A device at `ring`, whose steps follow from `seed`. `None` if the ring has no descriptors.
    pub fn new(ring: &Ring<'_>, conduct: Conduct, seed: u64) -> Option<Self> {
        let forge = Forge::new(ring.map, ring.size, ring.areas, ring.features)?;
        let start = Place::after(ring.start, &forge);
        Some(Self {
            forge,
            numbers: Numbers::new(seed),
            conduct,
            in_order: ring.features.contains(F::IN_ORDER),
            event_index: ring.features.contains(F::EVENT_IDX),
            next_available: start,
            next_used: start,
            kept: VecDeque::new(),
            last_id: 0,
            said: BTreeMap::new(),
            record: Record::new(seed),
        })
    }

    /// Does something: takes a chain, gives some back, says of what it wants to be told; or
    /// misbehaves.
    pub fn step(&mut self) {
        self.record.steps += 1;
        if self.conduct.errs(&mut self.numbers) {
            let misdeeds = if self.forge.is_packed() {
                Misdeed::PACKED
            } else {
                Misdeed::SPLIT
            };
            let misdeed = pick(&mut self.numbers, misdeeds);
            self.commit(misdeed);
            return;
        }
        match self.numbers.below(8) {
            0..=2 => {
                self.take();
            }
            3..=5 => self.complete(),
            6 => self.wish(),
            _ => self.publish(),
        }
    }

    /// Takes every chain that there is, and gives all back that it has, honestly.
    pub fn settle(&mut self) {
        // No more are in flight than the ring has descriptors.
        for _ in 0..self.forge.size() {
            if !self.take() {
                break;
            }
        }
        while !self.kept.is_empty() {
            self.complete();
        }
        self.publish();
    }

    /// Does this very thing, if there is what it takes.
    pub fn commit(&mut self, misdeed: Misdeed) {
        self.record.note(misdeed);
        let size = self.forge.size();
        let slot = odd16(&mut self.numbers, size);
        let len = odd32(&mut self.numbers);
        match misdeed {
            Misdeed::ForgedId => {
                let id = self.numbers.below(size.into()) as u16;
                self.give_back(id.into(), len % 256, 1, 1);
            }
            Misdeed::IdOutOfRange => {
                let id = odd32(&mut self.numbers).max(size.into());
                self.give_back(id, len % 256, 1, 1);
            }
            Misdeed::RepeatedId => self.give_back(self.last_id.into(), 0, 1, 1),
            Misdeed::LengthBeyondChain => {
                if let Some(taken) = self.kept.pop_front() {
                    let written = taken.writable.saturating_add(1).max(len);
                    self.give_back(taken.id.into(), written, 1, taken.descriptors);
                }
            }
            Misdeed::OutOfOrder => {
                if let Some(taken) = self.kept.pop_back() {
                    self.give_back(taken.id.into(), taken.writable, 1, taken.descriptors);
                }
            }
            Misdeed::IndexAhead => {
                let index = self.next_used.index().wrapping_add(1).wrapping_add(slot);
                self.forge.set_used_index(index);
            }
            Misdeed::IndexBack => {
                let index = self.next_used.index().wrapping_sub(1).wrapping_sub(slot);
                self.forge.set_used_index(index);
            }
            Misdeed::ElementRewritten => {
                let id = self.numbers.below(u64::from(size) + 1) as u32;
                self.forge.set_used(slot, id, len);
            }
            Misdeed::WishForged => self.forge_wish(slot),
            Misdeed::DescriptorRewritten => {
                let descriptor = self.any_descriptor(len);
                self.forge
                    .set_descriptor(self.forge.place(slot), descriptor);
            }
            Misdeed::TableRewritten => {
                let head = self.forge.descriptor(self.forge.place(slot));
                if head.flags & INDIRECT != 0 {
                    let at = self.numbers.below(u64::from(head.len) + 1);
                    let descriptor = self.any_descriptor(len);
                    let address = head.address.wrapping_add(at);
                    self.forge.set_descriptor(address, descriptor);
                }
            }
            Misdeed::DriverAreaRewritten => self.rewrite_driver_area(slot),
            Misdeed::WrongWrap => {
                let flags = self.next_used.used() ^ pick(&mut self.numbers, &[TURN, 0x80, 0x8000]);
                self.use_descriptor(self.next_used, slot, len % 256, flags);
            }
            Misdeed::UsedElsewhere => {
                let at = self.next_used.moved(slot.into());
                let id = self.kept.front().map_or(slot, |taken| taken.id);
                self.use_descriptor(at, id, len % 256, at.used() | WRITE);
            }
            Misdeed::WrongStride => {
                if let Some(taken) = self.kept.pop_front() {
                    let stride = self.numbers.below(u64::from(size) + 1) as u16;
                    self.give_back(taken.id.into(), taken.writable, 1, stride);
                }
            }
        }
    }

    /// How many bytes it last said to have written into chain `id`. Asked once for each.
    pub fn said(&mut self, id: u16) -> Option<u32> {
        self.said.remove(&id)
    }

    /// What was done.
    pub fn record(&self) -> &Record<Misdeed> {
        &self.record
    }

    /// Takes the next chain, if there is one.
    fn take(&mut self) -> bool {
        let taken = if self.forge.is_packed() {
            self.next_of_packed()
        } else {
            self.next_of_split()
        };
        let Some(taken) = taken else {
            return false;
        };
        let stride = if self.forge.is_packed() {
            taken.descriptors
        } else {
            1
        };
        self.next_available = self.next_available.moved(stride.into());
        // Of a driver's end that is honest there are never more.
        if self.kept.len() < self.forge.size().into() {
            self.kept.push_back(taken);
        }
        true
    }

    fn next_of_split(&self) -> Option<Taken> {
        if self.forge.available_index() == self.next_available.index() {
            return None;
        }
        let id = self.forge.available(self.next_available.slot());
        let mut table = self.forge.areas().descriptor;
        let mut at = id;
        let mut writable = 0_u32;
        // As many as the ring has, a table, and as many as that has.
        for _ in 0..2 * u32::from(self.forge.size()) + 1 {
            let offset = u64::from(at) * u64::from(DESCRIPTOR_BYTES);
            let descriptor = self.forge.descriptor(table.wrapping_add(offset));
            if descriptor.flags & INDIRECT != 0 {
                (table, at) = (descriptor.address, 0);
                continue;
            }
            writable = writable.wrapping_add(writable_bytes(descriptor));
            if descriptor.flags & NEXT == 0 {
                break;
            }
            at = descriptor.other;
        }
        Some(Taken {
            id,
            descriptors: 1,
            writable,
        })
    }

    fn next_of_packed(&self) -> Option<Taken> {
        let mut at = self.next_available;
        let mut descriptor = self.forge.descriptor(self.forge.place(at.slot()));
        if descriptor.flags & TURN != at.available() {
            return None;
        }
        let mut writable = 0_u32;
        let mut descriptors = 1;
        if descriptor.flags & INDIRECT != 0 {
            let count = (descriptor.len / DESCRIPTOR_BYTES).min(self.forge.size().into());
            for index in 0..count {
                let offset = u64::from(index * DESCRIPTOR_BYTES);
                let element = descriptor.address.wrapping_add(offset);
                let bytes = writable_bytes(self.forge.descriptor(element));
                writable = writable.wrapping_add(bytes);
            }
        } else {
            writable = writable_bytes(descriptor);
            while descriptor.flags & NEXT != 0 && descriptors < self.forge.size() {
                at = at.moved(1);
                descriptor = self.forge.descriptor(self.forge.place(at.slot()));
                writable = writable.wrapping_add(writable_bytes(descriptor));
                descriptors += 1;
            }
        }
        Some(Taken {
            id: descriptor.other,
            descriptors,
            writable,
        })
    }

    /// Gives back what it has of the chains that it took: any one, or with `IN_ORDER` some of the
    /// oldest, of which all but the last were used completely (§2.7.9, §2.8.8).
    fn complete(&mut self) {
        let count = self.kept.len() as u64;
        let (at, count) = if self.in_order {
            (0, self.numbers.below(count) + 1)
        } else {
            (self.numbers.below(count), 1)
        };
        let (mut chains, mut descriptors) = (0_u16, 0_u16);
        for left in (0..count).rev() {
            let Some(taken) = self.kept.remove(at as usize) else {
                return;
            };
            chains = chains.wrapping_add(1);
            descriptors = descriptors.wrapping_add(taken.descriptors);
            let all = taken.writable;
            let some = self.numbers.below(u64::from(all) + 1) as u32;
            let written = if left == 0 {
                pick(&mut self.numbers, &[0, some, all])
            } else {
                all
            };
            self.said.insert(taken.id, written);
            if left == 0 {
                self.give_back(taken.id.into(), written, chains, descriptors);
            }
        }
    }

    /// Says that the next `chains`, of `descriptors` of the ring, were used, `id` the last of them.
    fn give_back(&mut self, id: u32, written: u32, chains: u16, descriptors: u16) {
        self.last_id = id as u16;
        if self.forge.is_packed() {
            let flag = if written == 0 { 0 } else { WRITE };
            let flags = self.next_used.used() | flag;
            self.use_descriptor(self.next_used, id as u16, written, flags);
            self.next_used = self.next_used.moved(descriptors.into());
        } else {
            self.forge.set_used(self.next_used.slot(), id, written);
            self.next_used = self.next_used.moved(chains.into());
            if self.numbers.below(2) == 0 {
                self.publish();
            }
        }
    }

    /// Publishes the used elements of a split ring. Used descriptors of a packed one are seen at
    /// once.
    fn publish(&mut self) {
        if !self.forge.is_packed() {
            self.forge.set_used_index(self.next_used.index());
        }
    }

    fn use_descriptor(&self, at: Place, id: u16, len: u32, flags: u16) {
        let address = self.forge.place(at.slot());
        let descriptor = Descriptor {
            len,
            flags,
            other: id,
            ..self.forge.descriptor(address)
        };
        self.forge.set_descriptor(address, descriptor);
    }

    /// Says of what it wants to be told.
    fn wish(&mut self) {
        let ahead = self.numbers.below(self.forge.size().into()) as i32;
        let at = self.next_available.moved(ahead);
        if self.forge.is_packed() {
            let flags = [
                packed::EVENT_ENABLE,
                packed::EVENT_DISABLE,
                packed::EVENT_DESC,
            ];
            let known = if self.event_index { 3 } else { 2 };
            let flags = pick(&mut self.numbers, flags.get(..known).unwrap_or_default());
            self.forge.set_device_wish(at.event(), flags);
        } else if self.event_index {
            self.forge.set_available_event(at.index());
        } else {
            let flags = pick(&mut self.numbers, &[0, split::USED_F_NO_NOTIFY]);
            self.forge.set_used_flags(flags);
        }
    }

    fn forge_wish(&mut self, odd: u16) {
        let flags = odd16(&mut self.numbers, 3);
        if self.forge.is_packed() {
            self.forge.set_device_wish(odd, flags);
        } else {
            self.forge.set_available_event(odd);
            self.forge.set_used_flags(flags);
        }
    }

    fn rewrite_driver_area(&mut self, odd: u16) {
        let number = self.numbers.draw() as u16;
        if self.forge.is_packed() {
            self.forge.set_driver_wish(odd, number);
            return;
        }
        match self.numbers.below(4) {
            0 => self.forge.set_available_index(odd),
            1 => self.forge.set_available_flags(number),
            2 => self.forge.set_used_event(odd),
            _ => self.forge.set_available(number, odd),
        }
    }

    fn any_descriptor(&mut self, len: u32) -> Descriptor {
        let turn = pick(&mut self.numbers, &[0, 0x80, 0x8000, TURN]);
        Descriptor {
            address: self.numbers.draw(),
            len,
            flags: self.numbers.below(8) as u16 | turn,
            other: odd16(&mut self.numbers, self.forge.size()),
        }
    }
}

fn writable_bytes(descriptor: Descriptor) -> u32 {
    if descriptor.flags & WRITE == 0 {
        0
    } else {
        descriptor.len
    }
}
