//! RAM: what drivers get their memory for devices from, and what devices reach.

use core::fmt;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ringway_ring::driver::Memory;
use ringway_ring::map::Region;
use ringway_ring::shared::Shared;

use crate::layout::{PAGE, RAM_BASE, RAM_MAX};
use crate::sync::lock;

/// One stretch of memory, and which pages of it are free.
pub(crate) struct Ram {
    memory: Shared,
    pages: Mutex<Pages>,
}

#[derive(Debug)]
struct Pages {
    /// Free runs: the first page of each, and how many there are. No two touch.
    free: BTreeMap<u64, u64>,
    /// From this page on, none was ever handed out: they are zero still.
    untouched: u64,
}

/// Pages that somebody has. Free again when dropped.
struct Loan {
    ram: Arc<Ram>,
    first: u64,
    count: u64,
}

impl Ram {
    /// `bytes` of it, rounded up to whole pages. `None` if the host has no room, or there would be
    /// none or too much.
    pub(crate) fn new(bytes: usize) -> Option<Arc<Self>> {
        let bytes = bytes.checked_next_multiple_of(PAGE as usize)?;
        if bytes > RAM_MAX {
            return None;
        }
        let memory = Shared::allocate(bytes, PAGE as usize)?;
        let pages = Mutex::new(Pages::new(bytes as u64 / PAGE));
        Some(Arc::new(Self { memory, pages }))
    }

    /// All of it, at its device addresses.
    pub(crate) fn region(&self) -> Region {
        Region {
            start: RAM_BASE,
            memory: self.memory.clone(),
        }
    }

    /// `len` zeroed bytes at a device address aligned to `align`, a power of two. Free again when
    /// the last handle is dropped.
    pub(crate) fn take(self: &Arc<Self>, len: usize, align: usize) -> Option<Memory> {
        let count = (len as u64).div_ceil(PAGE);
        let align = (align as u64).div_ceil(PAGE);
        if count == 0 || !align.is_power_of_two() || align > RAM_BASE / PAGE {
            return None;
        }
        let (first, dirty) = lock(&self.pages).take(count, align)?;
        let loan = Loan {
            ram: Arc::clone(self),
            first,
            count,
        };
        let offset = first * PAGE;
        let shared = self.memory.slice(offset as usize, len)?.guarded(loan);
        let dirty = len.min((dirty * PAGE) as usize);
        shared.view().slice(0, dirty)?.fill(0);
        Some(Memory {
            shared,
            address: RAM_BASE + offset,
        })
    }

    /// The `len` bytes at `at`, if they are in RAM, and their device address.
    pub(crate) fn find(&self, at: NonNull<u8>, len: usize) -> Option<Memory> {
        let offset = at
            .addr()
            .get()
            .checked_sub(self.memory.base().addr().get())?;
        let shared = self.memory.slice(offset, len)?;
        Some(Memory {
            shared,
            address: RAM_BASE + offset as u64,
        })
    }

    /// How many bytes somebody has, in whole pages.
    pub(crate) fn used(&self) -> u64 {
        let free: u64 = lock(&self.pages).free.values().sum();
        self.memory.len() as u64 - free * PAGE
    }
}

impl fmt::Debug for Ram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ram({} of {} bytes)", self.used(), self.memory.len())
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.ram.pages).give_back(self.first, self.count);
    }
}

impl Pages {
    fn new(count: u64) -> Self {
        Self {
            free: BTreeMap::from([(0, count)]),
            untouched: 0,
        }
    }

    /// Takes the first run of `count` pages that begins at a multiple of `align`. Also says how
    /// many of them, from the first on, may not be zero any more.
    fn take(&mut self, count: u64, align: u64) -> Option<(u64, u64)> {
        let (start, free, first) = self.free.iter().find_map(|(&start, &free)| {
            let first = start.next_multiple_of(align);
            (first + count <= start + free).then_some((start, free, first))
        })?;
        self.free.remove(&start);
        self.add(start, first - start);
        self.add(first + count, start + free - (first + count));
        let dirty = self.untouched.saturating_sub(first).min(count);
        self.untouched = self.untouched.max(first + count);
        Some((first, dirty))
    }

    /// Gives a run back, joined to the free runs that it touches.
    fn give_back(&mut self, first: u64, count: u64) {
        let (mut first, mut count) = (first, count);
        if let Some(after) = self.free.remove(&(first + count)) {
            count += after;
        }
        let before = self.free.range(..first).next_back();
        if let Some((&start, &free)) = before.filter(|(start, free)| **start + **free == first) {
            first = start;
            count += free;
        }
        self.add(first, count);
    }

    fn add(&mut self, first: u64, count: u64) {
        if count != 0 {
            self.free.insert(first, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 16 * PAGE as usize;

    #[test]
    fn memory_is_zeroed_aligned_and_at_an_address_of_its_own() {
        let ram = Ram::new(BYTES).unwrap();
        let dirty = ram.take(5 * PAGE as usize, 1).unwrap();
        dirty.shared.view().fill(0xff);
        drop(dirty);

        let _first = ram.take(1, 1).unwrap();
        let second = ram.take(5000, 0x4000).unwrap();

        let mut bytes = vec![1; 5000];
        second.shared.view().read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert_eq!(second.shared.len(), 5000);
        assert_eq!(second.address, RAM_BASE + 0x4000);
        assert_ne!(
            second.address,
            second.shared.base().addr().get() as u64,
            "a device address is not one of the program"
        );
    }

    #[test]
    fn what_is_freed_in_any_order_is_one_run_again() {
        let ram = Ram::new(BYTES).unwrap();
        let mut taken: Vec<_> = (0..16).map(|_| ram.take(1, 1).unwrap()).collect();
        assert!(ram.take(1, 1).is_none());

        for at in [3, 7, 0, 4, 9, 2, 5, 1, 6, 0, 2, 3, 1, 0, 1, 0] {
            taken.remove(at);
        }

        assert_eq!(ram.used(), 0);
        assert!(ram.take(BYTES, 1).is_some());
    }

    #[test]
    fn memory_is_taken_until_the_last_handle_to_it_is_gone() {
        let ram = Ram::new(BYTES).unwrap();
        let memory = ram.take(2 * PAGE as usize, 1).unwrap();

        let slice = memory.shared.slice(100, 8).unwrap();
        drop(memory);

        assert_eq!(ram.used(), 2 * PAGE);
        drop(slice);
        assert_eq!(ram.used(), 0);
    }

    #[test]
    fn only_what_lies_in_ram_has_a_device_address() {
        let ram = Ram::new(BYTES).unwrap();
        let memory = ram.take(PAGE as usize, 1).unwrap();
        let part = memory.shared.slice(8, 8).unwrap();
        let elsewhere = Shared::allocate(8, 8).unwrap();

        let address = |shared: &Shared, len| ram.find(shared.base(), len).map(|it| it.address);

        assert_eq!(address(&part, 8), Some(memory.address + 8));
        assert_eq!(address(&part, BYTES), None);
        assert_eq!(address(&elsewhere, 8), None);
    }

    #[test]
    fn there_is_no_machine_without_ram_or_with_too_much() {
        for bytes in [0, RAM_MAX + 1, usize::MAX] {
            assert!(Ram::new(bytes).is_none());
        }
    }
}
