//! Protection on top of the entry's plain map: address 0 and the pages below stacks unmapped, code
//! read-only, and nothing but code executable.

#![expect(unsafe_code, reason = "page tables")]

use core::arch::x86_64::__cpuid;
use core::cell::UnsafeCell;
use core::ptr::without_provenance_mut;

use crate::cpu;
use crate::layout::{GUARD_SIZE, code, stacks};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
/// In a page directory: a 2 MiB page, not a table.
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

const PAGE: u64 = 4096;
const LARGE_PAGE: u64 = 2 << 20;
const GIB: u64 = 1 << 30;

/// RAM that is used and the devices of a PC end here; so do the 2 MiB pages.
pub(crate) const LOW_END: u64 = 4 * GIB;
/// The 1 GiB pages end here, on a CPU that has them.
const HIGH_END: u64 = 512 * GIB;

/// CPUID leaf 0x80000001, EDX: 1 GiB pages.
const CPU_HAS_GIB_PAGES: u32 = 1 << 26;

/// A page table: where a 2 MiB page is mapped in parts.
#[repr(C, align(4096))]
struct Table(UnsafeCell<[u64; 512]>);

// SAFETY: written by `protect` alone, which runs once, and afterwards read by the CPU alone.
unsafe impl Sync for Table {}

static LOWEST: Table = Table(UnsafeCell::new([0; 512]));
static STACKS: Table = Table(UnsafeCell::new([0; 512]));

/// The address after the last that is mapped.
pub(crate) fn mapped_end() -> u64 {
    // 1 GiB pages are what the entry tests for too.
    let features = __cpuid(0x8000_0001).edx;
    if features & CPU_HAS_GIB_PAGES != 0 {
        HIGH_END
    } else {
        LOW_END
    }
}

/// Puts the protection in place.
///
/// # Safety
///
/// The page tables must be those that the entry made, and this must be called once.
pub(crate) unsafe fn protect() {
    let executable = code();
    let stacks = stacks();
    let unmapped = |page: u64| page == 0 || stacks.iter().any(|s| s.guard == page);
    let stacks_page = stacks[0].guard;

    for page in (0..LOW_END).step_by(LARGE_PAGE as usize) {
        // SAFETY: the entry's tables are mapped at their own addresses and map all of 0..4 GiB.
        let entry = unsafe { entry_for(page) };
        // SAFETY: `entry` points into such a table, and nothing else in the program knows of it.
        let flags = unsafe { entry.read_volatile() } & 0xfff;
        let new = if page == 0 {
            // SAFETY: `protect` runs once, and the CPU does not know the table yet.
            unsafe { LOWEST.fill(page, unmapped) }
        } else if page == stacks_page {
            // SAFETY: as above.
            unsafe { STACKS.fill(page, unmapped) }
        } else if executable.contains(&page) {
            page | (flags & !WRITABLE)
        } else {
            page | flags | NO_EXECUTE
        };
        // SAFETY: the new entry maps the same page as the old, less what nothing uses: address 0,
        // the guard pages, writes to code, execution of data.
        unsafe { entry.write_volatile(new) };
    }
    cpu::flush_translations();
}

impl Table {
    /// Maps the 2 MiB from `start` but for the pages that are `unmapped`, and gives the directory
    /// entry to do it with.
    ///
    /// # Safety
    ///
    /// Nobody else may be using the table.
    unsafe fn fill(&self, start: u64, unmapped: impl Fn(u64) -> bool) -> u64 {
        // SAFETY: the caller says that the table is ours alone.
        let entries = unsafe { &mut *self.0.get() };
        for (entry, page) in entries.iter_mut().zip((start..).step_by(PAGE as usize)) {
            let present = if unmapped(page) { 0 } else { PRESENT };
            *entry = page | present | WRITABLE | NO_EXECUTE;
        }
        self.0.get().addr() as u64 | PRESENT | WRITABLE
    }
}

/// The directory entry of the 2 MiB page that `address` is in.
///
/// # Safety
///
/// The page tables must be mapped at their own addresses, and have a directory for `address`.
unsafe fn entry_for(address: u64) -> *mut u64 {
    let child = |table: u64, index: u64| {
        let entry =
            without_provenance_mut::<u64>((table & !0xfff) as usize + 8 * (index & 511) as usize);
        // SAFETY: the caller says that `table` is a page table and can be read.
        (entry, unsafe { entry.read_volatile() })
    };
    let (_, pointers) = child(cpu::cr3(), 0);
    let (_, directory) = child(pointers, address / GIB);
    let (entry, old) = child(directory, address / LARGE_PAGE);
    debug_assert!(old & LARGE != 0, "the entry maps 2 MiB pages");
    entry
}

const _: () = assert!(GUARD_SIZE == PAGE, "a guard is one page");
