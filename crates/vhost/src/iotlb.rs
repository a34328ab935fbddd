//! What an IOMMU between the driver and the device shows: translations from addresses that the driver
//! uses to those of the front-end's, which the front-end tells of, and takes back.
//!
//! The back-end asks for one that it does not have, and may forget any: there are never more than
//! [`ENTRIES_MAX`], however many a front-end tells of.

use core::fmt;
use std::collections::BTreeMap;

use ringway_ring::map::{Access, Map, Region};
use ringway_ring::shared::Shared;

use crate::ledger::Translate;
use crate::memory::Table;
use crate::protocol::{self, Permissions};

/// Most translations that are remembered: making a map of them takes steps with their number, and a
/// front-end could tell of one for each page.
pub const ENTRIES_MAX: usize = 2048;

/// The translations that there are.
#[derive(Debug, Default)]
pub struct Iotlb {
    /// By the first address that the driver uses. None overlap.
    entries: BTreeMap<u64, Entry>,
    /// Which one is forgotten next, if there is no room: the first at this address or after it.
    forget: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The last address: a translation may reach to the end of all addresses.
    last: u64,
    user_address: u64,
    access: Access,
}

/// A translation that cannot be. The front-end's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IotlbError {
    /// It has no bytes, or passes the last address.
    Range {
        /// The first address that the driver uses.
        address: u64,
        /// How many bytes.
        size: u64,
    },
    /// It permits nothing.
    Permissions(u64),
    /// No region has the memory.
    NotMapped {
        /// The front-end's address.
        user_address: u64,
        /// How many bytes.
        size: u64,
    },
}

impl fmt::Display for IotlbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { address, size } => write!(
                f,
                "translation of {size:#x} bytes at {address:#x} is empty or passes the last address"
            ),
            Self::Permissions(address) => {
                write!(f, "translation of {address:#x} permits nothing")
            }
            Self::NotMapped { user_address, size } => write!(
                f,
                "translation to {size:#x} bytes at {user_address:#x}, which no memory region has"
            ),
        }
    }
}

impl core::error::Error for IotlbError {}

impl Iotlb {
    /// Without translations.
    pub fn new() -> Self {
        Self::default()
    }

    /// Learns a translation to memory of `table`, in the place of those of before that it overlaps.
    ///
    /// # Errors
    ///
    /// [`IotlbError`]
    pub fn update(&mut self, told: &protocol::Iotlb, table: &Table) -> Result<(), IotlbError> {
        let &protocol::Iotlb {
            address,
            size,
            user_address,
            permissions,
            ..
        } = told;
        let last = last(address, size)?;
        let access = match (
            permissions.contains(Permissions::READ),
            permissions.contains(Permissions::WRITE),
        ) {
            (true, true) => Access::ReadWrite,
            (true, false) => Access::Read,
            (false, true) => Access::Write,
            (false, false) => return Err(IotlbError::Permissions(address)),
        };
        if table.user_memory(user_address, size).is_none() {
            return Err(IotlbError::NotMapped { user_address, size });
        }
        self.forget(address, last);
        if self.entries.len() >= ENTRIES_MAX {
            self.forget_one();
        }
        let entry = Entry {
            last,
            user_address,
            access,
        };
        self.entries.insert(address, entry);
        Ok(())
    }

    /// Forgets all translations of the `size` bytes at `address`, with all that they translate besides.
    ///
    /// # Errors
    ///
    /// [`IotlbError::Range`]
    pub fn invalidate(&mut self, address: u64, size: u64) -> Result<(), IotlbError> {
        let last = last(address, size)?;
        self.forget(address, last);
        Ok(())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Whether each of the `size` bytes at `address` has a translation. Nothing has.
    pub fn covers(&self, address: u64, size: u64) -> bool {
        let Ok(last) = last(address, size) else {
            return true;
        };
        let mut from = address;
        // Each turn goes past the end of one translation.
        while let Some(entry) = self.at(from) {
            if entry.last >= last {
                return true;
            }
            from = entry.last + 1;
        }
        false
    }

    /// All of them as a device sees memory, whose addresses are those that the driver uses.
    pub fn map(&self, table: &Table) -> Map {
        let mut shown: Vec<(Region, Access)> = Vec::with_capacity(self.entries.len());
        let mut run: Option<Run> = None;
        for (&address, entry) in &self.entries {
            let next = Run::of(address, entry);
            // What goes on where it ended, on both sides, is one: rings and buffers may cross.
            let longer = run
                .and_then(|run| run.joined(&next))
                .filter(|joined| joined.memory(table).is_some());
            run = Some(longer.unwrap_or_else(|| {
                shown.extend(run.and_then(|run| run.shown(table)));
                next
            }));
        }
        shown.extend(run.and_then(|run| run.shown(table)));
        // They overlap nowhere, and are no more than a map can have.
        Map::translated(shown).unwrap_or_default()
    }

    fn at(&self, address: u64) -> Option<&Entry> {
        let (_, entry) = self.entries.range(..=address).next_back()?;
        (entry.last >= address).then_some(entry)
    }

    fn forget(&mut self, address: u64, last: u64) {
        // The one that begins before may reach into it; all others begin within.
        let before = self.entries.range(..=address).next_back();
        let first = before
            .filter(|(_, entry)| entry.last >= address)
            .map_or(address, |(&first, _)| first);
        self.entries.retain(|&at, _| at < first || at > last);
    }

    fn forget_one(&mut self) {
        let mut after = self.entries.range(self.forget..);
        let next = after.next().or_else(|| self.entries.iter().next());
        if let Some((&address, entry)) = next {
            self.forget = entry.last.wrapping_add(1);
            self.entries.remove(&address);
        }
    }
}

/// The last of `size` addresses from `address` on.
fn last(address: u64, size: u64) -> Result<u64, IotlbError> {
    size.checked_sub(1)
        .and_then(|more| address.checked_add(more))
        .ok_or(IotlbError::Range { address, size })
}

/// Translations that go on one after the other.
#[derive(Clone, Copy)]
struct Run {
    address: u64,
    size: u64,
    user_address: u64,
    access: Access,
}

impl Run {
    fn of(address: u64, entry: &Entry) -> Self {
        Self {
            address,
            // Its bytes lie in one region, which has fewer than 2⁶⁴.
            size: (entry.last - address).saturating_add(1),
            user_address: entry.user_address,
            access: entry.access,
        }
    }

    fn joined(&self, next: &Self) -> Option<Self> {
        let goes_on = self.address.checked_add(self.size) == Some(next.address)
            && self.user_address.checked_add(self.size) == Some(next.user_address)
            && self.access == next.access;
        let size = self.size.checked_add(next.size)?;
        goes_on.then_some(Self { size, ..*self })
    }

    fn memory(&self, table: &Table) -> Option<Shared> {
        table.user_memory(self.user_address, self.size)
    }

    /// `None` if the memory is no longer there.
    fn shown(&self, table: &Table) -> Option<(Region, Access)> {
        let region = Region {
            start: self.address,
            memory: self.memory(table)?,
        };
        Some((region, self.access))
    }
}

/// Where the log of dirty pages has what the driver's descriptors name: at the addresses that memory
/// has for the driver without an IOMMU.
#[derive(Debug)]
pub struct GuestAddresses {
    /// First and last address that the driver uses, and the address in the log.
    runs: Vec<(u64, u64, u64)>,
}

impl GuestAddresses {
    /// As the translations are now.
    pub fn new(iotlb: &Iotlb, table: &Table) -> Self {
        let runs = iotlb.entries.iter().filter_map(|(&address, entry)| {
            let Run {
                size, user_address, ..
            } = Run::of(address, entry);
            let guest_address = table.guest_address(user_address, size)?;
            Some((address, entry.last, guest_address))
        });
        Self {
            runs: runs.collect(),
        }
    }
}

impl Translate for GuestAddresses {
    fn runs(&self, address: u64, len: u64, each: &mut dyn FnMut(u64, u64)) {
        let Ok(end) = last(address, len) else {
            return;
        };
        let after = self.runs.partition_point(|(_, last, _)| *last < address);
        for &(first, last, guest_address) in self.runs.iter().skip(after) {
            if first > end {
                return;
            }
            let (from, to) = (first.max(address), last.min(end));
            // Within a region, which does not pass the last address.
            each(guest_address + (from - first), to - from + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use crate::protocol::IotlbKind;
    use ringway_ring::map::Regions;

    const USER: u64 = 0x7f00_0000_0000;
    const GUEST: u64 = 0x4000_0000;
    const PAGE: u64 = 0x1000;

    /// 16 pages of memory.
    fn table() -> (Table, Shared) {
        let (file, shared) = memory::create("test", 16 * PAGE as usize).unwrap();
        let region = protocol::Region {
            guest_address: GUEST,
            size: 16 * PAGE,
            user_address: USER,
            file_offset: 0,
        };
        let mut table = Table::new();
        table.set(vec![(region, file)]).unwrap();
        (table, shared)
    }

    fn told(address: u64, page: u64, pages: u64, permissions: Permissions) -> protocol::Iotlb {
        protocol::Iotlb {
            address,
            size: pages * PAGE,
            user_address: USER + page * PAGE,
            permissions,
            kind: IotlbKind::Update,
        }
    }

    fn both() -> Permissions {
        Permissions::READ | Permissions::WRITE
    }

    #[test]
    fn what_goes_on_on_both_sides_is_one_stretch_of_memory() {
        let (table, shared) = table();
        let mut iotlb = Iotlb::new();
        iotlb.update(&told(0x8000, 3, 1, both()), &table).unwrap();
        iotlb.update(&told(0x9000, 4, 1, both()), &table).unwrap();
        iotlb.update(&told(0xa000, 7, 1, both()), &table).unwrap();
        shared.view().write(4 * PAGE as usize - 1, &[7, 8]).unwrap();

        let map = iotlb.map(&table);
        let regions = Regions::from(&map);

        let crossing = regions.shared(0x8fff, 2).unwrap();
        assert_eq!(crossing.view().read_value::<[u8; 2]>(0), Ok([7, 8]));
        assert!(regions.shared(0x9fff, 2).is_none(), "elsewhere in memory");
        assert!(iotlb.covers(0x8000, 3 * PAGE) && !iotlb.covers(0x8000, 3 * PAGE + 1));
    }

    #[test]
    fn a_translation_takes_the_place_of_those_that_it_overlaps() {
        let (table, _shared) = table();
        let mut iotlb = Iotlb::new();
        iotlb.update(&told(0x8000, 0, 4, both()), &table).unwrap();

        iotlb.update(&told(0x9000, 8, 1, both()), &table).unwrap();
        iotlb.invalidate(0x9fff, 1).unwrap();

        assert!(!iotlb.covers(0x8000, 1) && !iotlb.covers(0x9000, 1) && !iotlb.covers(0xb000, 1));
    }

    #[test]
    fn a_translation_to_no_memory_or_of_no_bytes_or_for_nothing_is_refused() {
        let (table, _shared) = table();
        let mut iotlb = Iotlb::new();
        let mut refused = |told: &protocol::Iotlb| iotlb.update(told, &table).is_err();

        assert!(refused(&told(0x8000, 15, 2, both())));
        assert!(refused(&told(0x8000, 0, 0, both())));
        assert!(refused(&told(u64::MAX, 0, 1, both())));
        assert!(refused(&told(0x8000, 0, 1, Permissions::empty())));
        assert!(Iotlb::new().invalidate(u64::MAX, 2).is_err());
    }

    #[test]
    fn more_translations_than_there_is_room_for_push_others_out() {
        let (table, _shared) = table();
        let mut iotlb = Iotlb::new();

        for nth in 0..ENTRIES_MAX as u64 + 10 {
            // Apart, so that no two go on.
            let told = told(nth * 2 * PAGE, nth % 16, 1, both());
            iotlb.update(&told, &table).unwrap();
        }

        assert_eq!(iotlb.entries.len(), ENTRIES_MAX);
        assert!(iotlb.covers((ENTRIES_MAX as u64 + 9) * 2 * PAGE, PAGE));
    }

    #[test]
    fn the_log_has_what_was_written_by_the_address_behind_the_iommu() {
        let (table, _shared) = table();
        let mut iotlb = Iotlb::new();
        iotlb.update(&told(0x8000, 3, 1, both()), &table).unwrap();
        iotlb.update(&told(0x9000, 9, 1, both()), &table).unwrap();

        let mut runs = Vec::new();
        GuestAddresses::new(&iotlb, &table).runs(0x8ff0, 0x20, &mut |at, len| runs.push((at, len)));

        let third = (GUEST + 3 * PAGE + 0xff0, 0x10);
        assert_eq!(runs, [third, (GUEST + 9 * PAGE, 0x10)]);
    }
}
