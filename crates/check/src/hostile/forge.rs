//! A ring's memory as a peer has it: every field of it read and written, rightly or wrongly.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

use alloc::vec::Vec;

use ringway_ring::driver::Areas;
use ringway_ring::map::Map;
use ringway_spec::packed::{EVENT_WRAP, EventSuppression};
use ringway_spec::split::UsedElement;
use ringway_spec::{F, Features, packed, split};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The bytes of a descriptor of either format.
pub const DESCRIPTOR_BYTES: u32 = 16;

/// A descriptor of either format. Nothing about it need be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// Device address of the buffer.
    pub address: u64,
    /// Its bytes.
    pub len: u32,
    /// The flags, as numbers: NEXT 1, WRITE 2, INDIRECT 4; of the packed format, AVAIL 0x80 and
    /// USED 0x8000.
    pub flags: u16,
    /// What the format has beside: `next` of the split one, `id` of the packed one.
    pub other: u16,
}

/// Reads and writes the memory of one queue, with no thought for what is allowed. What lies outside
/// the memory is read as zeros, and written to no effect.
#[derive(Debug)]
pub struct Forge {
    map: Map,
    areas: Areas,
    size: u16,
    packed: bool,
}

impl Forge {
    /// The queue of `size` at `areas` in what `map` shows, in the format of `features`. `None` if
    /// the size is 0.
    pub fn new(map: &Map, size: u16, areas: Areas, features: Features) -> Option<Self> {
        let regions: Vec<_> = map.regions().to_vec();
        Some(Self {
            map: Map::new(regions).ok().filter(|_| size != 0)?,
            areas,
            size,
            packed: features.contains(F::RING_PACKED),
        })
    }

    /// How many descriptors the ring has. Not 0.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Whether the ring has the packed format.
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Where the ring is.
    pub fn areas(&self) -> Areas {
        self.areas
    }

    /// Writes `value` to `address`, if there is memory for all of it.
    pub fn write<T: IntoBytes + Immutable>(&self, address: u64, value: &T) {
        let memory = self.map.shared(address, size_of::<T>());
        let written = memory.map(|memory| memory.view().write_value(0, value));
        debug_assert!(written.is_none_or(|written| written.is_ok()));
    }

    /// The value at `address`; zeros if there is not memory for all of it.
    pub fn read<T: FromBytes + IntoBytes>(&self, address: u64) -> T {
        self.map
            .shared(address, size_of::<T>())
            .and_then(|memory| memory.view().read_value(0).ok())
            .unwrap_or_else(T::new_zeroed)
    }

    /// Where descriptor `index` of the ring is, modulo its size.
    pub fn place(&self, index: u16) -> u64 {
        let index = u64::from(index % self.size);
        self.areas
            .descriptor
            .wrapping_add(index * u64::from(DESCRIPTOR_BYTES))
    }

    /// The descriptor at `address`: in the ring, or in an indirect table.
    pub fn descriptor(&self, address: u64) -> Descriptor {
        if self.packed {
            let at: packed::Descriptor = self.read(address);
            Descriptor {
                address: at.addr.get(),
                len: at.len.get(),
                flags: at.flags.get(),
                other: at.id.get(),
            }
        } else {
            let at: split::Descriptor = self.read(address);
            Descriptor {
                address: at.addr.get(),
                len: at.len.get(),
                flags: at.flags.get(),
                other: at.next.get(),
            }
        }
    }

    /// Writes a descriptor to `address`.
    pub fn set_descriptor(&self, address: u64, to: Descriptor) {
        if self.packed {
            let descriptor = packed::Descriptor {
                addr: to.address.into(),
                len: to.len.into(),
                id: to.other.into(),
                flags: to.flags.into(),
            };
            self.write(address, &descriptor);
        } else {
            let descriptor = split::Descriptor {
                addr: to.address.into(),
                len: to.len.into(),
                flags: to.flags.into(),
                next: to.other.into(),
            };
            self.write(address, &descriptor);
        }
    }

    /// The available index (§2.7.6).
    pub fn available_index(&self) -> u16 {
        self.read16(self.areas.driver, split::INDEX)
    }

    /// Writes the available index.
    pub fn set_available_index(&self, index: u16) {
        self.write16(self.areas.driver, split::INDEX, index);
    }

    /// The head at `slot` of the available ring, modulo its size.
    pub fn available(&self, slot: u16) -> u16 {
        let at = split::available_entry_offset(slot % self.size);
        self.read16(self.areas.driver, at)
    }

    /// Writes a head to `slot` of the available ring, modulo its size.
    pub fn set_available(&self, slot: u16, head: u16) {
        let at = split::available_entry_offset(slot % self.size);
        self.write16(self.areas.driver, at, head);
    }

    /// The available ring's flags and event field: what the driver of a split ring wants to be told
    /// of (§2.7.7).
    pub fn interrupt_wish(&self) -> (u16, u16) {
        let event = split::used_event_offset(self.size);
        let read = |at| self.read16(self.areas.driver, at);
        (read(split::FLAGS), read(event))
    }

    /// Writes the available ring's flags.
    pub fn set_available_flags(&self, flags: u16) {
        self.write16(self.areas.driver, split::FLAGS, flags);
    }

    /// Writes the available ring's event field.
    pub fn set_used_event(&self, event: u16) {
        let at = split::used_event_offset(self.size);
        self.write16(self.areas.driver, at, event);
    }

    /// The used index (§2.7.8).
    pub fn used_index(&self) -> u16 {
        self.read16(self.areas.device, split::INDEX)
    }

    /// Writes the used index.
    pub fn set_used_index(&self, index: u16) {
        self.write16(self.areas.device, split::INDEX, index);
    }

    /// Id and length at `slot` of the used ring, modulo its size.
    pub fn used(&self, slot: u16) -> (u32, u32) {
        let at = split::used_entry_offset(slot % self.size) as u64;
        let element: UsedElement = self.read(self.areas.device.wrapping_add(at));
        (element.id.get(), element.len.get())
    }

    /// Writes id and length to `slot` of the used ring, modulo its size.
    pub fn set_used(&self, slot: u16, id: u32, len: u32) {
        let at = split::used_entry_offset(slot % self.size) as u64;
        let element = UsedElement {
            id: id.into(),
            len: len.into(),
        };
        self.write(self.areas.device.wrapping_add(at), &element);
    }

    /// Writes the used ring's flags (§2.7.10).
    pub fn set_used_flags(&self, flags: u16) {
        self.write16(self.areas.device, split::FLAGS, flags);
    }

    /// Writes the used ring's event field.
    pub fn set_available_event(&self, event: u16) {
        let at = split::avail_event_offset(self.size);
        self.write16(self.areas.device, at, event);
    }

    /// What the driver of a packed ring wants to be told of: descriptor, and flags (§2.8.14).
    pub fn driver_wish(&self) -> (u16, u16) {
        let wish: EventSuppression = self.read(self.areas.driver);
        (wish.desc.get(), wish.flags.get())
    }

    /// Writes what the driver of a packed ring wants to be told of.
    pub fn set_driver_wish(&self, desc: u16, flags: u16) {
        self.set_wish(self.areas.driver, desc, flags);
    }

    /// Writes what the device of a packed ring wants to be told of.
    pub fn set_device_wish(&self, desc: u16, flags: u16) {
        self.set_wish(self.areas.device, desc, flags);
    }

    fn set_wish(&self, area: u64, desc: u16, flags: u16) {
        let wish = EventSuppression {
            desc: desc.into(),
            flags: flags.into(),
        };
        self.write(area, &wish);
    }

    fn read16(&self, area: u64, offset: usize) -> u16 {
        u16::from_le_bytes(self.read(area.wrapping_add(offset as u64)))
    }

    fn write16(&self, area: u64, offset: usize, value: u16) {
        self.write(area.wrapping_add(offset as u64), &value.to_le_bytes());
    }
}

/// How far an end has come on a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    passed: u32,
    size: u32,
    /// After so many it begins again: the 16-bit wrap of a split ring, two laps of a packed one.
    turn: u32,
}

impl Place {
    /// Of an end that has passed `passed` chains (split) or descriptors (packed) of `forge`'s ring
    /// since it was new.
    pub fn after(passed: u16, forge: &Forge) -> Self {
        let size = u32::from(forge.size);
        let turn = if forge.packed { 2 * size } else { 1 << 16 };
        Self {
            passed: u32::from(passed) % turn,
            size,
            turn,
        }
    }

    /// Further on by `count`; back if it is negative.
    #[must_use]
    pub fn moved(self, count: i32) -> Self {
        let passed = (i64::from(self.passed) + i64::from(count)).rem_euclid(self.turn.into());
        Self {
            // Below `turn`.
            passed: passed as u32,
            ..self
        }
    }

    /// The slot of the ring.
    pub fn slot(self) -> u16 {
        (self.passed % self.size) as u16
    }

    /// The running index of a split ring.
    pub fn index(self) -> u16 {
        self.passed as u16
    }

    /// The flags of a descriptor that is made available here (§2.8.1).
    pub fn available(self) -> u16 {
        if self.wrap() { AVAIL } else { USED }
    }

    /// The flags of a descriptor that is used here (§2.8.1).
    pub fn used(self) -> u16 {
        if self.wrap() { TURN } else { 0 }
    }

    /// As an event field names it (§2.8.10).
    pub fn event(self) -> u16 {
        self.slot() | if self.wrap() { EVENT_WRAP } else { 0 }
    }

    fn wrap(self) -> bool {
        self.passed < self.size
    }
}

pub(super) const NEXT: u16 = split::DescriptorFlags::NEXT.bits();
pub(super) const WRITE: u16 = split::DescriptorFlags::WRITE.bits();
pub(super) const INDIRECT: u16 = split::DescriptorFlags::INDIRECT.bits();
const AVAIL: u16 = packed::DescriptorFlags::AVAIL.bits();
const USED: u16 = packed::DescriptorFlags::USED.bits();
/// The two flags that say whose a descriptor of a packed ring is.
pub(super) const TURN: u16 = AVAIL | USED;
