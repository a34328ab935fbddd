//! Which BARs a function has, and which structure is where in them.

use alloc::vec::Vec;

use ringway_spec::pci::{Capability, CapabilityType, CommonConfig, legacy, msix};

use super::Unfit;
use super::sriov::Kind;
use crate::parts::Interface;

/// A BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5. A wide one takes the next number too.
    pub index: u8,
    /// How many bytes it has, a power of two. Its address is a multiple of that.
    pub size: u64,
    /// What its address is one of.
    pub kind: BarKind,
}

/// What a BAR is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Ports,
    /// Memory, with an address of 32 bits.
    Memory32,
    /// Memory, with an address of 64 bits.
    Memory64,
    /// Memory, with an address of 64 bits, that can be read at any time without effect.
    Prefetchable,
}

impl BarKind {
    /// Whether its address has 64 bits.
    pub fn is_wide(self) -> bool {
        matches!(self, Self::Memory64 | Self::Prefetchable)
    }
}

/// Bytes between the notification addresses of one queue and the next: so that each has its own,
/// and the address alone says which it is.
pub(super) const NOTIFY_MULTIPLIER: u32 = 4;

/// Where virtio's registers are in their BAR.
const COMMON_OFFSET: u32 = 0x0000;
pub(super) const ISR_OFFSET: u32 = 0x1000;
const LEGACY_KICK_OFFSET: u32 = 0x1800;
pub(super) const DEVICE_OFFSET: u32 = 0x2000;
pub(super) const NOTIFY_OFFSET: u32 = 0x3000;

/// I/O ports of the legacy interface: as many as one BAR may take (PCI 3.0 section 6.2.5.1).
const PORTS: u32 = 0x100;

/// Most bytes of a BAR: its size is a power of two, and has its bit among the address's.
const BAR_MAX: u64 = 1 << 63;

/// Structures are apart by pages, so that they can be mapped apart.
pub(super) const PAGE: u32 = 0x1000;

/// The numbers of the BARs. Those of a function with the legacy interface leave BAR 0 to it. So do
/// those of a virtual function, to which its physical one may lend that interface: it then has
/// nothing there.
pub(super) struct Numbers {
    registers: u8,
    msix: u8,
    shared: u8,
}

/// A structure's place in a BAR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) bar: u8,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// Where the structures are that capabilities locate.
pub(super) struct Modern {
    pub(super) common: Place,
    pub(super) isr: Place,
    pub(super) device: Place,
    pub(super) notify: Place,
    /// Where the index of a queue can be written that a legacy driver notifies of.
    pub(super) legacy_kick: Place,
    /// The device's regions, one after the other.
    pub(super) shared: Vec<SharedPlace>,
}

/// Where a shared memory region is.
pub(super) struct SharedPlace {
    pub(super) id: u8,
    pub(super) bar: u8,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// What is where.
pub(super) struct Layout {
    pub(super) bars: Vec<Bar>,
    /// The registers of the legacy interface, if it has them.
    pub(super) legacy: Option<Place>,
    /// Those of the other.
    pub(super) modern: Option<Modern>,
    pub(super) table: Place,
    pub(super) pba: Place,
}

impl Layout {
    /// Lays a function out that has so many queues, vectors, and, each with its id, so many bytes of
    /// shared memory.
    ///
    /// # Errors
    ///
    /// [`Unfit`] if the regions are not to be told apart, or are more than a BAR can hold.
    pub(super) fn new(
        interface: Interface,
        numbers: &Numbers,
        queues: u16,
        vectors: u16,
        config_bytes: usize,
        regions: &[(u8, u64)],
    ) -> Result<Self, Unfit> {
        let legacy = (interface != Interface::Modern).then_some(Place {
            bar: legacy::BAR,
            offset: 0,
            length: PORTS,
        });
        let modern = match interface {
            Interface::Legacy => None,
            _ => Some(Modern::new(numbers, queues, config_bytes, regions)?),
        };
        // Below 2²⁰: a vector has 11 bits.
        let table_bytes = msix::table_bytes(vectors) as u32;
        let table = at(numbers.msix, 0, table_bytes);
        let pba_offset = table_bytes.next_multiple_of(PAGE);
        let pba = at(numbers.msix, pba_offset, msix::pba_bytes(vectors) as u32);
        let mut bars = Vec::new();
        bars.extend(legacy.map(|place| bar(&place, BarKind::Ports)));
        if let Some(modern) = &modern {
            bars.push(bar(&modern.notify, BarKind::Memory64));
            bars.extend(modern.shared_bar());
        }
        bars.extend((vectors != 0).then(|| bar(&pba, BarKind::Memory32)));
        bars.sort_by_key(|bar| bar.index);
        Ok(Self {
            bars,
            legacy,
            modern,
            table,
            pba,
        })
    }

    /// The MSI-X capability for a table of `vectors`; none for none.
    pub(super) fn msix(&self, vectors: u16) -> Option<msix::Capability> {
        let at = |place: Place| u32::from(place.bar) | place.offset;
        Some(msix::Capability {
            control: vectors.checked_sub(1)?.into(),
            table: at(self.table).into(),
            pba: at(self.pba).into(),
            ..msix::Capability::default()
        })
    }
}

impl Numbers {
    pub(super) fn of(interface: Interface, kind: Kind) -> Self {
        match interface {
            Interface::Modern if kind != Kind::Virtual => Self {
                registers: 0,
                msix: 2,
                shared: 4,
            },
            Interface::Modern | Interface::Transitional | Interface::Legacy => Self {
                registers: 4,
                msix: 1,
                shared: 2,
            },
        }
    }
}

impl Modern {
    fn new(
        numbers: &Numbers,
        queues: u16,
        config_bytes: usize,
        regions: &[(u8, u64)],
    ) -> Result<Self, Unfit> {
        let bar = numbers.registers;
        // A driver that looks for more than there is finds so. All of it, if the device does not say.
        let device = match u32::try_from(config_bytes) {
            Ok(bytes @ 1..=PAGE) => bytes,
            _ => PAGE,
        };
        // Below 2²⁰: an index has 16 bits.
        let notify = u32::from(queues.max(1)).saturating_mul(NOTIFY_MULTIPLIER);
        Ok(Self {
            shared: shared_places(numbers.shared, regions)?,
            common: at(bar, COMMON_OFFSET, size_of::<CommonConfig>() as u32),
            isr: at(bar, ISR_OFFSET, 1),
            device: at(bar, DEVICE_OFFSET, device),
            notify: at(bar, NOTIFY_OFFSET, notify),
            legacy_kick: at(bar, LEGACY_KICK_OFFSET, 2),
        })
    }

    /// The BAR of shared memory, if there is any.
    fn shared_bar(&self) -> Option<Bar> {
        let last = self.shared.last()?;
        // No more than `BAR_MAX`, where the last one ends.
        let bytes = last.offset.saturating_add(last.length).max(PAGE.into());
        Some(Bar {
            index: last.bar,
            size: bytes.checked_next_power_of_two()?,
            kind: BarKind::Prefetchable,
        })
    }
}

/// Where shared memory regions of these ids and sizes are in `bar`, one after the other.
///
/// # Errors
///
/// [`Unfit`] if two have the same id, or one goes beyond what a BAR can hold (§4.1.4.7.1).
fn shared_places(bar: u8, regions: &[(u8, u64)]) -> Result<Vec<SharedPlace>, Unfit> {
    let mut places: Vec<SharedPlace> = Vec::new();
    let mut offset = 0_u64;
    for &(id, length) in regions {
        if places.iter().any(|place| place.id == id) {
            return Err(Unfit::SameRegion(id));
        }
        let end = offset.checked_add(length).filter(|end| *end <= BAR_MAX);
        let end = end.ok_or(Unfit::RegionTooLarge { id, length })?;
        places.push(SharedPlace {
            id,
            bar,
            offset,
            length,
        });
        offset = end.next_multiple_of(PAGE.into());
    }
    Ok(places)
}

fn at(bar: u8, offset: u32, length: u32) -> Place {
    Place {
        bar,
        offset,
        length,
    }
}

/// The BAR that ends with this structure.
fn bar(last: &Place, kind: BarKind) -> Bar {
    let end = last.offset.saturating_add(last.length);
    let least = if kind == BarKind::Ports { PORTS } else { PAGE };
    Bar {
        index: last.bar,
        size: end.max(least).next_power_of_two().into(),
        kind,
    }
}

impl Place {
    /// Where in the structure the `len` bytes at `offset` of `bar` are, if they are all in it.
    pub(super) fn find(&self, bar: u8, offset: u64, len: usize) -> Option<usize> {
        let within = offset.checked_sub(self.offset.into())?;
        let end = within.checked_add(len as u64)?;
        let found = bar == self.bar && len != 0 && end <= u64::from(self.length);
        usize::try_from(within).ok().filter(|_| found)
    }

    pub(super) fn capability(&self, cfg_type: CapabilityType, bytes: usize) -> Capability {
        Capability {
            cap_len: bytes as u8,
            cfg_type,
            bar: self.bar,
            offset: self.offset.into(),
            length: self.length.into(),
            ..Capability::default()
        }
    }
}

impl SharedPlace {
    /// Where in the region the `len` bytes at `offset` of `bar` are, if they are all in it.
    pub(super) fn find(&self, bar: u8, offset: u64, len: usize) -> Option<usize> {
        let within = offset.checked_sub(self.offset)?;
        let end = within.checked_add(len as u64)?;
        let found = bar == self.bar && end <= self.length;
        usize::try_from(within).ok().filter(|_| found)
    }
}
