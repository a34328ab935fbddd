//! What an IOMMU between the driver and the device shows: translations from addresses that the driver
//! uses to those of the front-end's, which the front-end tells of, and takes back.
//!
//! The back-end asks for one that it does not have, and may forget any: there are never more than
//! [`ENTRIES_MAX`], however many a front-end tells of.

mod guest;

use core::fmt;
use std::collections::BTreeMap;

use ringway_ring::map::{Access, Map, Region};
use ringway_ring::shared::Shared;

use crate::memory::Table;
use crate::protocol::{self, Permissions};

pub use guest::GuestAddresses;

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

    /// Whether all that `told` says is known.
    pub fn knows(&self, told: &protocol::Iotlb, table: &Table) -> bool {
        let Ok(new) = Entry::of(told, table) else {
            return false;
        };
        let before = self.entries.range(..=told.address).next_back();
        before.is_some_and(|(&address, entry)| {
            entry.last >= new.last
                && entry.access == new.access
                // Both are within a region, which passes no last address.
                && entry.user_address.wrapping_add(told.address - address) == new.user_address
        })
    }

    /// Forgets the translations that `told` takes the place of, and, if there is no room for it, another.
    /// Says whether something was forgotten.
    ///
    /// # Errors
    ///
    /// As for [`update`](Self::update): nothing was forgotten.
    pub fn make_room(&mut self, told: &protocol::Iotlb, table: &Table) -> Result<bool, IotlbError> {
        let entry = Entry::of(told, table)?;
        let before = self.entries.len();
        self.forget(told.address, entry.last);
        if self.entries.len() >= ENTRIES_MAX {
            self.forget_one();
        }
        Ok(self.entries.len() != before)
    }

    /// Learns a translation to memory of `table`, in the place of those of before that it overlaps.
    ///
    /// # Errors
    ///
    /// [`IotlbError`]
    pub fn update(&mut self, told: &protocol::Iotlb, table: &Table) -> Result<(), IotlbError> {
        self.make_room(told, table)?;
        self.entries.insert(told.address, Entry::of(told, table)?);
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

    /// Forgets the translations to memory that `table` does not have.
    pub fn keep_within(&mut self, table: &Table) {
        self.entries
            .retain(|&address, entry| Run::of(address, entry).memory(table).is_some());
    }

    /// The first of the `size` bytes at `address` of which no translation permits a device to do what
    /// `access` says. None if there is none, or if there can be no such bytes.
    pub fn missing(&self, address: u64, size: u64, access: Access) -> Option<u64> {
        let last = last(address, size).ok()?;
        let mut from = address;
        // Each turn goes past the end of one translation.
        while let Some(entry) = self.at(from).filter(|entry| entry.permits(access)) {
            if entry.last >= last {
                return None;
            }
            from = entry.last + 1;
        }
        Some(from)
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

impl Entry {
    fn of(told: &protocol::Iotlb, table: &Table) -> Result<Self, IotlbError> {
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
        Ok(Self {
            last,
            user_address,
            access,
        })
    }

    fn permits(&self, access: Access) -> bool {
        self.access == access || self.access == Access::ReadWrite
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

#[cfg(test)]
mod tests;
