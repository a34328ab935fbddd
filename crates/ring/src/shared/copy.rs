//! Copies between private and shared memory, and from one shared memory to another, as the processor does them best.
#![expect(unsafe_code, reason = "reads and writes of memory shared with a peer")]

#[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
use super::by_words;
#[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
use super::wide;

/// Copies `into.len()` bytes out of shared memory.
///
/// # Safety
///
/// The bytes at `from` are live shared memory, of which the program makes only atomic accesses.
#[inline]
pub(super) unsafe fn out_of_shared(from: *mut u8, into: &mut [u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
    // SAFETY: the caller's promise is what is asked of `from`; `into` is borrowed.
    unsafe {
        wide::copy(from, into.as_mut_ptr(), into.len());
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
    // SAFETY: the caller's promise is what is asked.
    unsafe {
        by_words::out_of_shared(from, into);
    }
}

/// Copies `from.len()` bytes into shared memory.
///
/// # Safety
///
/// As for [`out_of_shared`], of the bytes at `to`.
#[inline]
pub(super) unsafe fn into_shared(to: *mut u8, from: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
    // SAFETY: the caller's promise is what is asked of `to`; `from` is borrowed.
    unsafe {
        wide::copy(from.as_ptr(), to, from.len());
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
    // SAFETY: the caller's promise is what is asked.
    unsafe {
        by_words::into_shared(to, from);
    }
}

/// Copies `len` bytes from shared memory to shared memory.
///
/// # Safety
///
/// As for [`out_of_shared`], of the bytes at `from`; and of those at `to`.
#[inline]
pub(super) unsafe fn between(from: *mut u8, to: *mut u8, len: usize) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
    // SAFETY: the caller's promise is what is asked of either.
    unsafe {
        wide::copy(from, to, len);
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
    // SAFETY: the caller's promise is what is asked.
    unsafe {
        by_words::between(from, to, len);
    }
}
