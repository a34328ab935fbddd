//! RAM: the heap, of which every block can be a device's too, and windows onto device registers.

#![expect(
    unsafe_code,
    reason = "the global allocator, and memory known by its address alone"
)]

use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use core::ptr::{self, NonNull, without_provenance_mut};
use core::slice;

use talc::TalcLock;
use talc::source::Manual;

use crate::error::{Error, Result};
use crate::lock::{Lock, RawLock};
use crate::start_info::{Region, StartInfo, largest_usable};
use crate::{layout, paging};

/// Below it are the firmware's tables and the loader's start info.
const LOWEST_HEAP: u64 = 1 << 20;

#[global_allocator]
static HEAP: TalcLock<RawLock, Manual> = TalcLock::new(Manual);

/// The loader's memory map.
static MAP: Lock<Vec<Region>> = Lock::new(Vec::new());

/// Reads the start info at physical address `start_info`, gives the largest area of RAM to the
/// heap, and returns the command line.
///
/// # Errors
///
/// Those of [`StartInfo::read`], and [`Error::NoMemory`].
///
/// # Safety
///
/// Must be called once, on the entry's page tables, with the address that the loader passed.
pub(crate) unsafe fn init(start_info: u32) -> Result<&'static str> {
    let info = StartInfo::read(start_info.into(), |at, length| {
        // QEMU's loader uses the page at address 0 too, which is still mapped.
        let readable = at > 0 && at.checked_add(length as u64)? <= paging::LOW_END;
        let address = usize::try_from(at).ok()?;
        // SAFETY: the range is mapped and does not begin at null; it is the loader's memory, or
        // harmless to read; nothing writes there before the bytes are copied, since there
        // is no heap yet and no device was started.
        readable.then(|| unsafe {
            slice::from_raw_parts(ptr::with_exposed_provenance(address), length)
        })
    })?;
    let reach = LOWEST_HEAP..paging::LOW_END;
    let area = largest_usable(info.regions(), &layout::image(), &reach).ok_or(Error::NoMemory)?;
    let size = usize::try_from(area.end - area.start).map_err(|_| Error::NoMemory)?;
    let base = without_provenance_mut::<u8>(area.start as usize);
    // SAFETY: the loader's map calls the area RAM, it is mapped, the image is not in it, what the
    // loader left has been copied, and nothing else is told of it.
    unsafe { HEAP.lock().claim(base, size) }.ok_or(Error::NoMemory)?;

    *MAP.lock() = info.regions().to_vec();
    Ok(String::leak(info.command_line().into()))
}

/// How much RAM there is, in bytes.
pub fn total() -> u64 {
    let map = MAP.lock();
    map.iter()
        .filter(|r| r.usable)
        .map(|r| r.end - r.start)
        .sum()
}

/// Where the device registers at physical addresses `registers` are mapped, uncached. `None` if
/// they are empty, out of reach, or overlap RAM: a register block that a device claims to have
/// there is none.
pub fn device_window(registers: &Range<u64>) -> Option<NonNull<u8>> {
    let reachable = registers.start < registers.end && registers.end <= paging::mapped_end();
    let map = MAP.lock();
    let overlaps = |r: &Region| r.usable && r.start < registers.end && registers.start < r.end;
    if !reachable || registers.start < LOWEST_HEAP || map.iter().any(overlaps) {
        return None;
    }
    let address = usize::try_from(registers.start).ok()?;
    NonNull::new(ptr::with_exposed_provenance_mut(address))
}
