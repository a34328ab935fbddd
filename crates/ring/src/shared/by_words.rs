//! Copies between private and shared memory: single bytes up to the first aligned word, whole
//! words, single bytes again. Where the processor is not asked directly, and for comparison.
#![expect(unsafe_code, reason = "atomic accesses to memory shared with a peer")]

use core::sync::atomic::Ordering;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, AtomicU64};

#[cfg(loom)]
use crate::model::{AtomicU8, AtomicU64};

const WORD: usize = size_of::<u64>();

/// # Safety
///
/// The `into.len()` bytes at `from` are live shared memory.
#[inline]
pub(super) unsafe fn out_of_shared(from: *mut u8, into: &mut [u8]) {
    let (head, words, tail) = parts(from, into.len());
    let (into_head, rest) = into.split_at_mut(head);
    let (into_words, into_tail) = rest.split_at_mut(words);
    debug_assert_eq!(into_tail.len(), tail);
    let mut at = from;
    for byte in into_head {
        super::before_load(at);
        // SAFETY: within the memory: `head` bytes precede the words. A byte is always aligned.
        *byte = unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Relaxed);
        at = at.wrapping_add(1);
    }
    for word in into_words.chunks_exact_mut(WORD) {
        super::before_load(at);
        // SAFETY: within the memory, and aligned: `head` was chosen so, and `words` is whole
        // words.
        let value = unsafe { AtomicU64::from_ptr(at.cast()) }.load(Ordering::Relaxed);
        word.copy_from_slice(&value.to_ne_bytes());
        at = at.wrapping_add(WORD);
    }
    for byte in into_tail {
        super::before_load(at);
        // SAFETY: within the memory: the last `tail` bytes of it.
        *byte = unsafe { AtomicU8::from_ptr(at) }.load(Ordering::Relaxed);
        at = at.wrapping_add(1);
    }
}

/// # Safety
///
/// The `from.len()` bytes at `to` are live shared memory.
#[inline]
pub(super) unsafe fn into_shared(to: *mut u8, from: &[u8]) {
    let (head, words, tail) = parts(to, from.len());
    let (from_head, rest) = from.split_at(head);
    let (from_words, from_tail) = rest.split_at(words);
    debug_assert_eq!(from_tail.len(), tail);
    let mut at = to;
    for byte in from_head {
        // SAFETY: within the memory: `head` bytes precede the words. A byte is always aligned.
        unsafe { AtomicU8::from_ptr(at) }.store(*byte, Ordering::Relaxed);
        at = at.wrapping_add(1);
    }
    for word in from_words.chunks_exact(WORD) {
        let mut value = [0; WORD];
        value.copy_from_slice(word);
        // SAFETY: within the memory, and aligned: `head` was chosen so, and `words` is whole
        // words.
        unsafe { AtomicU64::from_ptr(at.cast()) }
            .store(u64::from_ne_bytes(value), Ordering::Relaxed);
        at = at.wrapping_add(WORD);
    }
    for byte in from_tail {
        // SAFETY: within the memory: the last `tail` bytes of it.
        unsafe { AtomicU8::from_ptr(at) }.store(*byte, Ordering::Relaxed);
        at = at.wrapping_add(1);
    }
}

/// Through a piece of private memory, for the two need not be aligned alike.
///
/// # Safety
///
/// The `len` bytes at `from`, and those at `to`, are live shared memory.
pub(super) unsafe fn between(from: *mut u8, to: *mut u8, len: usize) {
    let mut piece = [0; 256];
    let mut done = 0;
    while done < len {
        let step = piece.len().min(len.wrapping_sub(done));
        let piece = piece.get_mut(..step).unwrap_or_default();
        // SAFETY: `done + step` is at most `len`, so these bytes are among those at `from`.
        unsafe { out_of_shared(from.wrapping_add(done), piece) };
        // SAFETY: as above, of those at `to`.
        unsafe { into_shared(to.wrapping_add(done), piece) };
        done = done.wrapping_add(step);
    }
}

/// How many bytes at `address` come before the first aligned word, in whole words, and after
/// them. They add up to `len`.
#[inline]
fn parts(address: *mut u8, len: usize) -> (usize, usize, usize) {
    let head = (address.addr().wrapping_neg() & WORD.wrapping_sub(1)).min(len);
    let rest = len.wrapping_sub(head);
    let tail = rest & WORD.wrapping_sub(1);
    (head, rest.wrapping_sub(tail), tail)
}
