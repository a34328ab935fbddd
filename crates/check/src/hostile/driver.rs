//! A driver for a device's end to be tried against.
//!
//! Spec: VIRTIO 1.4 §2.7.13 "Supplying Buffers to The Device".

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use ringway_ring::driver::Segment;
use ringway_spec::{F, packed, split};

use super::forge::{DESCRIPTOR_BYTES, INDIRECT, NEXT, TURN, WRITE};
use super::{Conduct, Descriptor, Forge, Place, Record, Ring, odd16, odd32, pick};
use crate::exercise::Numbers;

/// Most segments of an honest chain.
pub const SEGMENTS_MAX: u64 = 4;
/// Bytes of [`Room::tables`] for each descriptor of the ring.
pub const TABLE_BYTES: u64 = SEGMENTS_MAX * DESCRIPTOR_BYTES as u64;
/// Bytes of [`Room::buffers`] for each descriptor of the ring.
pub const BUFFER_BYTES: u64 = SEGMENTS_MAX * SEGMENT_BYTES;
/// Most bytes of a segment.
const SEGMENT_BYTES: u64 = 16;
/// Most chains that came back and nobody asked for.
const RETURNED_MAX: usize = 1024;

/// Where a driver has its buffers, by device address.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Indirect tables: [`TABLE_BYTES`] for each descriptor of the ring, in one region.
    pub tables: u64,
    /// Buffers: [`BUFFER_BYTES`] for each. They may go on from region to region.
    pub buffers: u64,
}

/// Something that a driver must not do, or that a device must not be harmed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misdeed {
    /// A chain comes back to its head; in a packed ring, goes all round.
    #[default]
    Loop,
    /// A descriptor's next one is itself.
    SelfLink,
    /// A chain's head is not below the size of the queue.
    HeadOutOfRange,
    /// A descriptor's next one is not below the size of its table.
    NextOutOfRange,
    /// An indirect table in an indirect table.
    TableInTable,
    /// A descriptor with both INDIRECT and NEXT.
    IndirectWithNext,
    /// A buffer is called an indirect table, be they negotiated or not.
    BufferAsTable,
    /// An indirect table without descriptors.
    TableEmpty,
    /// An indirect table of a length that is no number of descriptors.
    TableOdd,
    /// An indirect table with more descriptors than the queue.
    TableHuge,
    /// A buffer without bytes.
    BufferEmpty,
    /// A buffer where there is no memory.
    BufferOutside,
    /// A buffer that begins in one region and ends in the next, or in a hole.
    BufferAcross,
    /// A buffer whose end is past the last address.
    AddressOverflow,
    /// A readable descriptor after a writable one.
    ReadableAfterWritable,
    /// More chains, or descriptors, than the ring has.
    TooManyInFlight,
    /// The available index jumps ahead.
    IndexAhead,
    /// The available index jumps back.
    IndexBack,
    /// A place of the available ring is rewritten, be it taken or still to come.
    HeadRewritten,
    /// The flags and event field by which interrupts are suppressed hold anything.
    WishForged,
    /// A descriptor of the ring is rewritten after it was published.
    DescriptorRewritten,
    /// A descriptor of an indirect table is rewritten after it was published.
    TableRewritten,
    /// A buffer is rewritten after it was published.
    BufferRewritten,
    /// The device's own area is rewritten.
    DeviceAreaRewritten,
    /// A chain of a packed ring is made available with the flags of another lap.
    WrongWrap,
    /// A chain of a packed ring goes on where nothing was made available.
    NotAvailable,
}

impl Misdeed {
    /// Those that there are in either format.
    pub const EITHER: &'static [Self] = &[
        Self::Loop,
        Self::TableInTable,
        Self::IndirectWithNext,
        Self::BufferAsTable,
        Self::TableEmpty,
        Self::TableOdd,
        Self::TableHuge,
        Self::BufferEmpty,
        Self::BufferOutside,
        Self::BufferAcross,
        Self::AddressOverflow,
        Self::ReadableAfterWritable,
        Self::TooManyInFlight,
        Self::WishForged,
        Self::DescriptorRewritten,
        Self::TableRewritten,
        Self::BufferRewritten,
        Self::DeviceAreaRewritten,
    ];
    /// Those that there are on a split ring beside.
    pub const SPLIT: &'static [Self] = &[
        Self::SelfLink,
        Self::HeadOutOfRange,
        Self::NextOutOfRange,
        Self::IndexAhead,
        Self::IndexBack,
        Self::HeadRewritten,
    ];
    /// Those that there are on a packed ring beside.
    pub const PACKED: &'static [Self] = &[Self::WrongWrap, Self::NotAvailable];
}

impl fmt::Display for Misdeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loop => "a chain loops",
            Self::SelfLink => "a descriptor is its own next one",
            Self::HeadOutOfRange => "a head is out of range",
            Self::NextOutOfRange => "a descriptor's next one is out of range",
            Self::TableInTable => "an indirect table is in an indirect table",
            Self::IndirectWithNext => "a descriptor is both INDIRECT and NEXT",
            Self::BufferAsTable => "a buffer is called an indirect table",
            Self::TableEmpty => "an indirect table is empty",
            Self::TableOdd => "an indirect table has no whole number of descriptors",
            Self::TableHuge => "an indirect table is longer than the queue",
            Self::BufferEmpty => "a buffer is empty",
            Self::BufferOutside => "a buffer is not in memory",
            Self::BufferAcross => "a buffer leaves its region",
            Self::AddressOverflow => "a buffer passes the last address",
            Self::ReadableAfterWritable => "a readable descriptor follows a writable one",
            Self::TooManyInFlight => "more is made available than the ring has",
            Self::IndexAhead => "the available index jumps ahead",
            Self::IndexBack => "the available index jumps back",
            Self::HeadRewritten => "the available ring is rewritten",
            Self::WishForged => "the event field and flags are forged",
            Self::DescriptorRewritten => "a descriptor is rewritten",
            Self::TableRewritten => "an indirect table is rewritten",
            Self::BufferRewritten => "a buffer is rewritten",
            Self::DeviceAreaRewritten => "the device's area is rewritten",
            Self::WrongWrap => "a chain is of another lap",
            Self::NotAvailable => "a chain goes on where nothing is available",
        })
    }
}

/// A chain as its driver knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What it is called on the ring.
    pub id: u16,
    /// What the device may read.
    pub readable: Vec<Segment>,
    /// What the device may write.
    pub writable: Vec<Segment>,
}

/// A chain that the device gave back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The chain.
    pub offer: Offer,
    /// How many bytes the device says it wrote.
    pub written: u32,
}

/// A rule that the device's end broke, as an honest driver finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Complaint {
    /// What came back is not in flight.
    UnknownId(u32),
    /// More was written than there was room for.
    WrittenTooMuch {
        /// The chain.
        id: u16,
        /// What the device says it wrote.
        written: u32,
    },
}

/// A chain in flight.
#[derive(Debug)]
struct Flight {
    offer: Offer,
    /// Its descriptors of the ring: which ones in the split format, how many in the packed one.
    members: Vec<u16>,
    /// Somebody was told that the device took it.
    taken: bool,
}

/// A chain to be written.
struct Plan {
    offer: Offer,
    /// Where the head is said to be, in the split format.
    head: u16,
    members: Vec<u16>,
    /// Descriptors of the ring. Those of a packed one lack the flags that say whose they are.
    chain: Vec<Descriptor>,
    /// Descriptors of the indirect table, if it has one.
    table: Vec<Descriptor>,
    /// Flags of a packed ring to be written wrongly.
    turned: u16,
}

/// A driver at one queue: honest, or not.
#[derive(Debug)]
pub struct Driver {
    forge: Forge,
    numbers: Numbers,
    conduct: Conduct,
    room: Room,
    indirect: bool,
    in_order: bool,
    event_index: bool,
    /// Free descriptors of a split ring. Of a packed one: free ids, and as many free descriptors as
    /// `free_count` says.
    free: Vec<u16>,
    free_count: u16,
    flights: VecDeque<Flight>,
    returned: VecDeque<Returned>,
    complaint: Option<Complaint>,
    next_available: Place,
    next_used: Place,
    record: Record<Misdeed>,
}

impl Driver {
    /// A driver at `ring`, whose steps follow from `seed`. `None` if the ring has no descriptors.
    pub fn new(ring: &Ring<'_>, room: Room, conduct: Conduct, seed: u64) -> Option<Self> {
        let forge = Forge::new(ring.map, ring.size, ring.areas, ring.features)?;
        let start = Place::after(ring.start, &forge);
        if !forge.is_packed() {
            forge.set_available_index(start.index());
            forge.set_used_index(start.index());
        }
        Some(Self {
            forge,
            numbers: Numbers::new(seed),
            conduct,
            room,
            indirect: ring.features.contains(F::INDIRECT_DESC),
            in_order: ring.features.contains(F::IN_ORDER),
            event_index: ring.features.contains(F::EVENT_IDX),
            free: (0..ring.size).collect(),
            free_count: ring.size,
            flights: VecDeque::new(),
            returned: VecDeque::new(),
            complaint: None,
            next_available: start,
            next_used: start,
            record: Record::new(seed),
        })
    }

    /// Does something: makes a chain available, takes some back, says of what it wants to be told;
    /// or misbehaves.
    pub fn step(&mut self) {
        self.record.steps += 1;
        if self.conduct.errs(&mut self.numbers) {
            let beside = if self.forge.is_packed() {
                Misdeed::PACKED
            } else {
                Misdeed::SPLIT
            };
            // Each as often as any other.
            let (either, beside) = (Misdeed::EITHER, beside);
            let at = self.numbers.below((either.len() + beside.len()) as u64) as usize;
            let misdeed = either.iter().chain(beside).nth(at).copied();
            self.commit(misdeed.unwrap_or_default());
            return;
        }
        match self.numbers.below(8) {
            0..=3 => {
                if let Some(plan) = self.plan() {
                    self.offer(plan);
                }
            }
            4 | 5 => {
                self.reap();
            }
            6 => self.wish(),
            _ => self.publish(),
        }
    }

    /// Publishes what is to be published, and takes back all that the device has given back,
    /// honestly.
    pub fn settle(&mut self) {
        self.publish();
        // No more are in flight than the ring has descriptors.
        for _ in 0..self.forge.size() {
            if !self.reap() {
                break;
            }
        }
    }

    /// Does this very thing, if there is what it takes.
    pub fn commit(&mut self, misdeed: Misdeed) {
        self.record.note(misdeed);
        let size = self.forge.size();
        let odd = odd16(&mut self.numbers, size);
        match misdeed {
            Misdeed::TooManyInFlight => self.overcommit(),
            Misdeed::IndexAhead => {
                let index = self.next_available.index().wrapping_add(1);
                self.forge.set_available_index(index.wrapping_add(odd));
            }
            Misdeed::IndexBack => {
                let index = self.next_available.index().wrapping_sub(1);
                self.forge.set_available_index(index.wrapping_sub(odd));
            }
            Misdeed::HeadRewritten => {
                let slot = self.numbers.draw() as u16;
                self.forge.set_available(slot, odd);
            }
            Misdeed::WishForged => {
                let flags = odd16(&mut self.numbers, 3);
                if self.forge.is_packed() {
                    self.forge.set_driver_wish(odd, flags);
                } else {
                    self.forge.set_used_event(odd);
                    self.forge.set_available_flags(flags);
                }
            }
            Misdeed::DescriptorRewritten => {
                let at = self.forge.place(odd);
                self.rewrite(at);
            }
            Misdeed::TableRewritten => {
                let bytes = u64::from(size) * TABLE_BYTES;
                let at = self.numbers.below(bytes / u64::from(DESCRIPTOR_BYTES));
                let at = self
                    .room
                    .tables
                    .wrapping_add(at * u64::from(DESCRIPTOR_BYTES));
                self.rewrite(at);
            }
            Misdeed::BufferRewritten => {
                let at = self.numbers.below(u64::from(size) * BUFFER_BYTES);
                let number = self.numbers.draw();
                self.forge
                    .write(self.room.buffers.wrapping_add(at), &number);
            }
            Misdeed::DeviceAreaRewritten => self.rewrite_device_area(odd),
            _ => {
                if let Some(mut plan) = self.plan() {
                    self.spoil(&mut plan, misdeed);
                    self.offer(plan);
                }
            }
        }
    }

    /// The oldest chain of which nobody asked this before, as the device takes it: chains are taken
    /// in the order in which they were made available.
    pub fn taken(&mut self) -> Option<&Offer> {
        let flight = self.flights.iter_mut().find(|flight| !flight.taken)?;
        flight.taken = true;
        Some(&flight.offer)
    }

    /// The next chain that came back. At most 1024 are kept for whoever asks.
    pub fn returned(&mut self) -> Option<Returned> {
        self.returned.pop_front()
    }

    /// How many chains are in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// What is wrong with what the device gave back. Means something only if the driver is honest.
    pub fn complaint(&self) -> Option<Complaint> {
        self.complaint
    }

    /// What was done.
    pub fn record(&self) -> &Record<Misdeed> {
        &self.record
    }

    /// Makes an honest chain, if there is room for one. Its descriptors are no longer free.
    fn plan(&mut self) -> Option<Plan> {
        let size = self.forge.size();
        let segments = 1 + self.numbers.below(SEGMENTS_MAX.min(size.into()));
        let direct = if self.indirect && self.numbers.below(2) == 0 {
            // Those of a split ring may begin in the ring and go on in a table (§2.7.5.3.2).
            let direct = self.numbers.below(2 * segments).saturating_sub(segments);
            if self.forge.is_packed() { 0 } else { direct }
        } else {
            segments
        };
        let in_ring = (direct + u64::from(direct < segments)) as usize;
        let members = if self.forge.is_packed() {
            self.free_count = self.free_count.checked_sub(in_ring as u16)?;
            // There are no fewer free ids than descriptors.
            self.free.pop().into_iter().collect()
        } else {
            self.free.split_off(self.free.len().checked_sub(in_ring)?)
        };
        let id = *members.first()?;

        let mut all = self.segments(id, segments);
        let readable = self.numbers.below(segments + 1) as usize;
        let mut entries: Vec<_> = all
            .iter()
            .enumerate()
            .map(|(at, segment)| Descriptor {
                address: segment.address,
                len: segment.len,
                flags: if at < readable { 0 } else { WRITE },
                other: 0,
            })
            .collect();
        let mut table = entries.split_off(direct as usize);
        if !table.is_empty() {
            let offset = u64::from(id) * TABLE_BYTES;
            entries.push(Descriptor {
                address: self.room.tables.wrapping_add(offset),
                // No more than an honest chain has.
                len: table.len() as u32 * DESCRIPTOR_BYTES,
                flags: INDIRECT,
                other: 0,
            });
        }
        if self.forge.is_packed() {
            chain_up(&mut entries, |_| odd16(&mut self.numbers, size));
            // Of the ids of a list, the last one counts.
            if let Some(last) = entries.last_mut() {
                last.other = id;
            }
        } else {
            let next = |at: usize| members.get(at).copied().unwrap_or_default();
            chain_up(&mut entries, next);
            chain_up(&mut table, |at| at as u16);
        }
        let writable = all.split_off(readable);
        Some(Plan {
            offer: Offer {
                id,
                readable: all,
                writable,
            },
            head: id,
            members,
            chain: entries,
            table,
            turned: 0,
        })
    }

    /// So many segments of the buffers of chain `id`, with any bytes in them.
    fn segments(&mut self, id: u16, count: u64) -> Vec<Segment> {
        let first = u64::from(id) * BUFFER_BYTES;
        let segment = |at| {
            let address = self.room.buffers.wrapping_add(first + at * SEGMENT_BYTES);
            let len = 1 + self.numbers.below(SEGMENT_BYTES) as u32;
            for at in (0..SEGMENT_BYTES).step_by(size_of::<u64>()) {
                let number = self.numbers.draw();
                self.forge.write(address.wrapping_add(at), &number);
            }
            Segment { address, len }
        };
        (0..count).map(segment).collect()
    }

    /// Writes a chain. It is in flight from here on.
    fn offer(&mut self, plan: Plan) {
        let table = u64::from(plan.offer.id) * TABLE_BYTES;
        for (at, descriptor) in (0..).zip(&plan.table) {
            let at = table + at * u64::from(DESCRIPTOR_BYTES);
            let address = self.room.tables.wrapping_add(at);
            self.forge.set_descriptor(address, *descriptor);
        }
        if self.forge.is_packed() {
            // The first one last: the device looks at the others when it sees that one.
            // A chain has no more descriptors than the ring.
            let count = plan.chain.len() as i32;
            for (at, descriptor) in (0..count).zip(&plan.chain).rev() {
                let at = self.next_available.moved(at);
                let flags = descriptor.flags | at.available() ^ plan.turned;
                let descriptor = Descriptor {
                    flags,
                    ..*descriptor
                };
                self.forge
                    .set_descriptor(self.forge.place(at.slot()), descriptor);
            }
            self.next_available = self.next_available.moved(count);
        } else {
            for (at, descriptor) in plan.members.iter().zip(&plan.chain) {
                self.forge
                    .set_descriptor(self.forge.place(*at), *descriptor);
            }
            let slot = self.next_available.slot();
            self.forge.set_available(slot, plan.head);
            self.next_available = self.next_available.moved(1);
            if self.numbers.below(2) == 0 {
                self.publish();
            }
        }
        let members = if self.forge.is_packed() {
            alloc::vec![0; plan.chain.len()]
        } else {
            plan.members
        };
        self.flights.push_back(Flight {
            offer: plan.offer,
            members,
            taken: false,
        });
    }

    /// Makes what was an honest chain another one.
    fn spoil(&mut self, plan: &mut Plan, misdeed: Misdeed) {
        let size = self.forge.size();
        let odd = odd16(&mut self.numbers, size);
        let in_table = !plan.table.is_empty() && self.numbers.below(2) == 0;
        let entries = if in_table {
            &mut plan.table
        } else {
            &mut plan.chain
        };
        let at = self.numbers.below(entries.len() as u64) as usize;
        let own = if in_table {
            at as u16
        } else {
            plan.members.get(at).copied().unwrap_or_default()
        };
        let count = entries.len() as u16;
        let limit = if in_table { count } else { size };
        let packed = self.forge.is_packed();
        let Some(entry) = entries.get_mut(at) else {
            return;
        };
        match misdeed {
            Misdeed::Loop if packed => {
                entry.flags |= NEXT;
                let all = *entry;
                plan.chain.resize(size.into(), all);
                for entry in &mut plan.chain {
                    entry.flags |= NEXT;
                }
            }
            Misdeed::Loop => {
                entry.flags |= NEXT;
                entry.other = if in_table { 0 } else { plan.head };
            }
            Misdeed::SelfLink => {
                entry.flags |= NEXT;
                entry.other = own;
            }
            Misdeed::HeadOutOfRange => plan.head = odd.max(size),
            Misdeed::NextOutOfRange => {
                entry.flags |= NEXT;
                entry.other = odd.max(limit);
            }
            Misdeed::TableInTable => {
                for entry in &mut plan.table {
                    entry.flags |= INDIRECT;
                }
            }
            Misdeed::IndirectWithNext => entry.flags |= INDIRECT | NEXT,
            Misdeed::BufferAsTable => {
                entry.flags |= INDIRECT;
                entry.len &= !15;
            }
            Misdeed::TableEmpty | Misdeed::TableOdd | Misdeed::TableHuge => {
                let huge = (u32::from(size) + 1).saturating_mul(DESCRIPTOR_BYTES);
                let len = match misdeed {
                    Misdeed::TableEmpty => 0,
                    Misdeed::TableOdd => odd32(&mut self.numbers) | 1,
                    _ => pick(&mut self.numbers, &[huge, u32::MAX - 15, 1 << 31]),
                };
                if let Some(last) = plan.chain.last_mut() {
                    last.flags |= INDIRECT;
                    last.len = len;
                }
            }
            Misdeed::BufferEmpty => {
                let buffers = entries.iter_mut();
                for buffer in buffers.filter(|entry| entry.flags & INDIRECT == 0) {
                    buffer.len = 0;
                }
            }
            Misdeed::BufferOutside => {
                let hole = self.numbers.draw();
                entry.address = pick(&mut self.numbers, &[0, hole, u64::MAX - 64]);
            }
            Misdeed::BufferAcross => {
                let end = u64::from(size) * BUFFER_BYTES;
                entry.address = self.room.buffers.wrapping_add(end - 1);
                entry.len = 2 + odd32(&mut self.numbers) % 1024;
            }
            Misdeed::AddressOverflow => {
                entry.len = entry.len.max(2);
                entry.address = u64::MAX - u64::from(entry.len) / 2;
            }
            Misdeed::ReadableAfterWritable => {
                if let Some(first) = entries.first_mut() {
                    first.flags |= WRITE;
                }
                if let Some(last) = entries.last_mut() {
                    last.flags &= !WRITE;
                }
            }
            Misdeed::WrongWrap => plan.turned = pick(&mut self.numbers, &[TURN, 0x80, 0x8000]),
            // What stands further on is not of this lap, unless it was made available at once.
            _ => {
                if let Some(last) = plan.chain.last_mut() {
                    last.flags |= NEXT;
                }
            }
        }
    }

    /// Makes chains available that are so already.
    fn overcommit(&mut self) {
        let size = self.forge.size();
        for _ in 0..size {
            if self.forge.is_packed() {
                let at = self.next_available;
                let descriptor = Descriptor {
                    flags: at.available(),
                    ..self.forge.descriptor(self.forge.place(at.slot()))
                };
                self.forge
                    .set_descriptor(self.forge.place(at.slot()), descriptor);
            } else {
                let head = self.numbers.below(size.into()) as u16;
                self.forge.set_available(self.next_available.slot(), head);
            }
            self.next_available = self.next_available.moved(1);
        }
        self.publish();
    }

    /// Changes one thing about the descriptor at `address`.
    fn rewrite(&mut self, address: u64) {
        let mut descriptor = self.forge.descriptor(address);
        match self.numbers.below(6) {
            0 => descriptor.address = self.numbers.draw(),
            1 => descriptor.len = odd32(&mut self.numbers),
            2 => descriptor.flags ^= pick(&mut self.numbers, &[NEXT, WRITE, INDIRECT]),
            3 => descriptor.flags ^= pick(&mut self.numbers, &[TURN, 0x80, 0x8000]),
            4 => descriptor.other = odd16(&mut self.numbers, self.forge.size()),
            _ => {
                let size = u64::from(self.forge.size());
                let at = self.numbers.below(size * BUFFER_BYTES);
                descriptor.address = self.room.buffers.wrapping_add(at);
            }
        }
        self.forge.set_descriptor(address, descriptor);
    }

    fn rewrite_device_area(&mut self, odd: u16) {
        let number = self.numbers.draw();
        if self.forge.is_packed() {
            self.forge.set_device_wish(odd, number as u16);
            return;
        }
        match self.numbers.below(4) {
            0 => self.forge.set_used_index(odd),
            1 => self.forge.set_used_flags(odd),
            2 => self.forge.set_available_event(odd),
            _ => self
                .forge
                .set_used(odd, number as u32, odd32(&mut self.numbers)),
        }
    }

    fn publish(&mut self) {
        if !self.forge.is_packed() {
            let index = self.next_available.index();
            self.forge.set_available_index(index);
        }
    }

    /// Takes back what one used element, or one used descriptor, says.
    fn reap(&mut self) -> bool {
        let (id, written) = if self.forge.is_packed() {
            let at = self.next_used;
            let used = self.forge.descriptor(self.forge.place(at.slot()));
            if used.flags & TURN != at.used() || self.flights.is_empty() {
                return false;
            }
            (u32::from(used.other), used.len)
        } else {
            if self.forge.used_index() == self.next_used.index() {
                return false;
            }
            self.forge.used(self.next_used.slot())
        };
        let named = |flight: &Flight| u32::from(flight.offer.id) == id;
        let Some(at) = self.flights.iter().position(named) else {
            self.complaint.get_or_insert(Complaint::UnknownId(id));
            return false;
        };
        // With `IN_ORDER`, those before it were used completely, and are not named (§2.7.9, §2.8.8).
        let (at, count) = if self.in_order { (0, at + 1) } else { (at, 1) };
        for left in (0..count).rev() {
            let Some(flight) = self.flights.remove(at) else {
                return false;
            };
            let room = flight
                .offer
                .writable
                .iter()
                .map(|segment| segment.len)
                .sum();
            self.home(flight, if left == 0 { written } else { room }, room);
        }
        true
    }

    /// Takes one chain back.
    fn home(&mut self, flight: Flight, written: u32, room: u32) {
        let id = flight.offer.id;
        if written > room {
            let complaint = Complaint::WrittenTooMuch { id, written };
            self.complaint.get_or_insert(complaint);
        }
        if self.forge.is_packed() {
            // A chain has no more descriptors than the ring.
            let descriptors = flight.members.len() as u16;
            self.next_used = self.next_used.moved(descriptors.into());
            self.free_count = self.free_count.saturating_add(descriptors);
            self.free.push(id);
        } else {
            self.next_used = self.next_used.moved(1);
            self.free.extend(flight.members);
        }
        if self.returned.len() == RETURNED_MAX {
            self.returned.pop_front();
        }
        self.returned.push_back(Returned {
            offer: flight.offer,
            written,
        });
    }

    /// Says of what it wants to be told.
    fn wish(&mut self) {
        let ahead = self.numbers.below(self.forge.size().into()) as i32;
        let at = self.next_used.moved(ahead);
        if self.forge.is_packed() {
            let flags = [
                packed::EVENT_ENABLE,
                packed::EVENT_DISABLE,
                packed::EVENT_DESC,
            ];
            let known = if self.event_index { 3 } else { 2 };
            let flags = pick(&mut self.numbers, flags.get(..known).unwrap_or_default());
            self.forge.set_driver_wish(at.event(), flags);
        } else if self.event_index {
            self.forge.set_used_event(at.index());
        } else {
            let flags = pick(&mut self.numbers, &[0, split::AVAIL_F_NO_INTERRUPT]);
            self.forge.set_available_flags(flags);
        }
    }
}

/// Makes each descriptor but the last go on, at what `next` says of the place after it.
fn chain_up(entries: &mut [Descriptor], mut next: impl FnMut(usize) -> u16) {
    if let Some((_, before)) = entries.split_last_mut() {
        for (at, entry) in (1..).zip(before) {
            entry.flags |= NEXT;
            entry.other = next(at);
        }
    }
}
