//! Memory that all devices of a platform reach, handed out by the page.
//!
//! For platforms that have one long stretch of it: what [`Platform::dma`] asks for is taken from
//! here, and [`Platform::map`] finds here where a buffer is.
//!
//! [`Platform::dma`]: crate::platform::Platform::dma
//! [`Platform::map`]: crate::platform::Platform::map

use core::fmt;
use core::ptr::NonNull;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use ringway_ring::driver::Memory;
use spin::Mutex;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// One stretch of memory, and which pages of it are free.
pub struct Pages {
    memory: Memory,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    /// Free runs: the first page of each, and how many there are. No two touch.
    runs: BTreeMap<u64, u64>,
    /// From this page on, none was ever handed out: they are zero still.
    untouched: u64,
}

/// Pages that somebody has. Free again when dropped.
struct Loan {
    pages: Arc<Pages>,
    first: u64,
    count: u64,
}

impl Pages {
    /// The pages of `memory`, which is zero, nobody's yet, and a whole number of pages long.
    /// `None` if it is not, has no page, or has an address that no page begins at or that
    /// overflows.
    pub fn new(memory: Memory) -> Option<Arc<Self>> {
        let bytes = memory.shared.len() as u64;
        let possible = bytes != 0
            && bytes.is_multiple_of(PAGE)
            && memory.address.is_multiple_of(PAGE)
            && memory.address.checked_add(bytes).is_some();
        let free = Mutex::new(Free::new(bytes / PAGE));
        possible.then(|| Arc::new(Self { memory, free }))
    }

    /// All of it.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// `len` zeroed bytes at a device address aligned to `align`, a power of two that the address
    /// of the whole is a multiple of. Free again when the last handle is dropped. `None` if there
    /// is no such room.
    pub fn take(self: &Arc<Self>, len: usize, align: usize) -> Option<Memory> {
        let count = (len as u64).div_ceil(PAGE);
        let align = (align as u64).div_ceil(PAGE);
        if count == 0 || !align.is_power_of_two() {
            return None;
        }
        if !self.memory.address.is_multiple_of(align.checked_mul(PAGE)?) {
            return None;
        }
        let (first, dirty) = self.free.lock().take(count, align)?;
        let loan = Loan {
            pages: Arc::clone(self),
            first,
            count,
        };
        let offset = first * PAGE;
        let shared = self.memory.shared.slice(offset as usize, len)?;
        let shared = shared.guarded(loan);
        let dirty = len.min((dirty * PAGE) as usize);
        shared.view().slice(0, dirty)?.fill(0);
        Some(Memory {
            shared,
            address: self.memory.address + offset,
        })
    }

    /// The `len` bytes at `at`, if they are here, and their device address.
    pub fn find(&self, at: NonNull<u8>, len: usize) -> Option<Memory> {
        let base = self.memory.shared.base().addr().get();
        let offset = at.addr().get().checked_sub(base)?;
        let shared = self.memory.shared.slice(offset, len)?;
        Some(Memory {
            shared,
            address: self.memory.address + offset as u64,
        })
    }

    /// How many bytes somebody has, in whole pages.
    pub fn used(&self) -> u64 {
        let free: u64 = self.free.lock().runs.values().sum();
        self.memory.shared.len() as u64 - free * PAGE
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.memory.shared.len();
        write!(f, "Pages({} of {bytes} bytes)", self.used())
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.pages.free.lock().give_back(self.first, self.count);
    }
}

impl Free {
    fn new(count: u64) -> Self {
        Self {
            runs: BTreeMap::from([(0, count)]),
            untouched: 0,
        }
    }

    /// Takes the first run of `count` pages that begins at a multiple of `align`. Also says how
    /// many of them, from the first on, may not be zero any more.
    fn take(&mut self, count: u64, align: u64) -> Option<(u64, u64)> {
        let (start, free, first) = self.runs.iter().find_map(|(&start, &free)| {
            let first = start.next_multiple_of(align);
            (first + count <= start + free).then_some((start, free, first))
        })?;
        self.runs.remove(&start);
        self.add(start, first - start);
        self.add(first + count, start + free - (first + count));
        let dirty = self.untouched.saturating_sub(first).min(count);
        self.untouched = self.untouched.max(first + count);
        Some((first, dirty))
    }

    /// Gives a run back, joined to the free runs that it touches.
    fn give_back(&mut self, first: u64, count: u64) {
        let (mut first, mut count) = (first, count);
        if let Some(after) = self.runs.remove(&(first + count)) {
            count += after;
        }
        let before = self.runs.range(..first).next_back();
        if let Some((&start, &free)) = before.filter(|(start, free)| **start + **free == first) {
            first = start;
            count += free;
        }
        self.add(first, count);
    }

    fn add(&mut self, first: u64, count: u64) {
        if count != 0 {
            self.runs.insert(first, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_ring::shared::Shared;
    use std::vec;
    use std::vec::Vec;

    const BASE: u64 = 0x1_0000_0000;
    const BYTES: usize = 16 * PAGE as usize;

    fn pages() -> Arc<Pages> {
        let shared = Shared::allocate(BYTES, PAGE as usize).unwrap();
        let memory = Memory {
            shared,
            address: BASE,
        };
        Pages::new(memory).unwrap()
    }

    #[test]
    fn memory_is_zeroed_aligned_and_at_an_address_of_its_own() {
        let pages = pages();
        let dirty = pages.take(5 * PAGE as usize, 1).unwrap();
        dirty.shared.view().fill(0xff);
        drop(dirty);

        let _first = pages.take(1, 1).unwrap();
        let second = pages.take(5000, 0x4000).unwrap();

        let mut bytes = vec![1; 5000];
        second.shared.view().read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert_eq!(second.shared.len(), 5000);
        assert_eq!(second.address, BASE + 0x4000);
        assert_ne!(
            second.address,
            second.shared.base().addr().get() as u64,
            "a device address is not one of the program"
        );
    }

    #[test]
    fn what_is_freed_in_any_order_is_one_run_again() {
        let pages = pages();
        let mut taken: Vec<_> = (0..16).map(|_| pages.take(1, 1).unwrap()).collect();
        assert!(pages.take(1, 1).is_none());

        for at in [3, 7, 0, 4, 9, 2, 5, 1, 6, 0, 2, 3, 1, 0, 1, 0] {
            taken.remove(at);
        }

        assert_eq!(pages.used(), 0);
        assert!(pages.take(BYTES, 1).is_some());
    }

    #[test]
    fn memory_is_taken_until_the_last_handle_to_it_is_gone() {
        let pages = pages();
        let memory = pages.take(2 * PAGE as usize, 1).unwrap();

        let slice = memory.shared.slice(100, 8).unwrap();
        drop(memory);

        assert_eq!(pages.used(), 2 * PAGE);
        drop(slice);
        assert_eq!(pages.used(), 0);
    }

    #[test]
    fn only_what_lies_within_has_a_device_address() {
        let pages = pages();
        let memory = pages.take(PAGE as usize, 1).unwrap();
        let part = memory.shared.slice(8, 8).unwrap();
        let elsewhere = Shared::allocate(8, 8).unwrap();

        let address = |shared: &Shared, len| pages.find(shared.base(), len).map(|it| it.address);

        assert_eq!(address(&part, 8), Some(memory.address + 8));
        assert_eq!(address(&part, BYTES), None);
        assert_eq!(address(&elsewhere, 8), None);
    }

    #[test]
    fn what_is_no_whole_number_of_pages_at_a_page_is_refused() {
        let memory = |bytes, address| Memory {
            shared: Shared::allocate(bytes, PAGE as usize).unwrap(),
            address,
        };

        for (bytes, address) in [
            (100, BASE),
            (BYTES, BASE + 8),
            (BYTES, 0_u64.wrapping_sub(PAGE)),
        ] {
            assert!(Pages::new(memory(bytes, address)).is_none());
        }
    }

    #[test]
    fn an_alignment_beyond_that_of_the_whole_is_refused() {
        let pages = pages();

        let beyond = 2 * BASE as usize;

        assert!(pages.take(1, BASE as usize).is_some());
        for align in [3 * PAGE as usize, beyond, 1 << 63] {
            assert!(pages.take(1, align).is_none(), "{align:#x}");
        }
    }
}
