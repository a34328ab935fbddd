//! Single words of shared memory, and pairs of them.
#![expect(unsafe_code, reason = "atomic accesses to memory shared with a peer")]

use core::fmt;
use core::hint::cold_path;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use super::Shared;
#[cfg(loom)]
use crate::model::{self, AtomicU16, AtomicU32, AtomicU64};

/// A word that is loaded and stored whole.
pub trait Word: Copy + sealed::Atomic {}
impl Word for u16 {}
impl Word for u32 {}
impl Word for u64 {}

/// A power of two of little-endian words in shared memory. An index is taken modulo their number,
/// so that no access can leave the memory, whatever the index: ring positions that run freely need
/// no test.
#[derive(Clone)]
pub struct Words<W> {
    base: NonNull<u8>,
    /// The number of words, less one.
    mask: usize,
    /// Keeps the memory at `base` alive.
    memory: Shared,
    word: PhantomData<W>,
}

// SAFETY: as for `Shared`, which it holds; every access is atomic.
unsafe impl<W> Send for Words<W> {}
// SAFETY: as above.
unsafe impl<W> Sync for Words<W> {}

impl<W: Word> Words<W> {
    /// The `count` words at `offset` of `shared`. `None` unless `count` is a power of two, the
    /// words lie within, and the first is aligned to its size.
    pub fn new(shared: &Shared, offset: usize, count: usize) -> Option<Self> {
        let memory = shared.slice(offset, count.checked_mul(size_of::<W>())?)?;
        let base = memory.base;
        if !count.is_power_of_two() || base.addr().get() & size_of::<W>().wrapping_sub(1) != 0 {
            return None;
        }
        #[cfg(loom)]
        model::words(base.addr().get(), count, size_of::<W>());
        Some(Self {
            base,
            mask: count.wrapping_sub(1),
            memory,
            word: PhantomData,
        })
    }

    /// Loads word `index`, modulo their number. Relaxed: see [`barrier`](crate::barrier).
    #[inline]
    pub fn load(&self, index: usize) -> W {
        // SAFETY: `at` is aligned and within the memory that `self.memory` keeps alive.
        unsafe { W::load(self.at(index)) }
    }

    /// Stores word `index`, modulo their number. Relaxed: see [`barrier`](crate::barrier).
    #[inline]
    pub fn store(&self, index: usize, value: W) {
        // SAFETY: `at` is aligned and within the memory that `self.memory` keeps alive.
        unsafe { W::store(self.at(index), value) }
    }

    /// The memory in which the words lie.
    pub fn memory(&self) -> &Shared {
        &self.memory
    }

    #[inline]
    fn at(&self, index: usize) -> *mut u8 {
        // SAFETY: `index & mask` is below the number of words, all of which `new` found within the
        // memory.
        unsafe {
            self.base
                .as_ptr()
                .add((index & self.mask).wrapping_mul(size_of::<W>()))
        }
    }
}

impl<W> fmt::Debug for Words<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Words({:p}, {} of {} bytes)",
            self.base,
            self.mask.wrapping_add(1),
            size_of::<W>()
        )
    }
}

/// A power of two of pairs of little-endian 32-bit words, as 64-bit values whose low half comes
/// first: used elements. An index is taken modulo their number. Where the memory is aligned to
/// 8 bytes a pair is loaded and stored whole; where it is aligned to 4 only, one half after the
/// other, each of them once.
#[derive(Clone)]
pub struct Pairs {
    base: NonNull<u8>,
    /// The number of pairs, less one.
    mask: usize,
    /// Whether each pair is aligned to its size.
    whole: bool,
    /// Keeps the memory at `base` alive.
    memory: Shared,
}

// SAFETY: as for `Shared`, which it holds; every access is atomic.
unsafe impl Send for Pairs {}
// SAFETY: as above.
unsafe impl Sync for Pairs {}

impl Pairs {
    /// The `count` pairs at `offset` of `shared`. `None` unless `count` is a power of two, the
    /// pairs lie within, and the first is aligned to 4 bytes.
    pub fn new(shared: &Shared, offset: usize, count: usize) -> Option<Self> {
        let halves = Words::<u32>::new(shared, offset, count.checked_mul(2)?)?;
        count.is_power_of_two().then_some(Self {
            base: halves.base,
            mask: count.wrapping_sub(1),
            whole: halves.base.addr().get() & size_of::<u64>().wrapping_sub(1) == 0,
            memory: halves.memory,
        })
    }

    /// Loads pair `index`, modulo their number. Relaxed: see [`barrier`](crate::barrier).
    #[inline]
    pub fn load(&self, index: usize) -> u64 {
        let at = self.at(index);
        if self.whole {
            // SAFETY: `at` is within the memory that `self.memory` keeps alive, and aligned: the
            // first pair is, and pairs have its size.
            return unsafe { sealed::Atomic::load(at) };
        }
        cold_path();
        // SAFETY: the two halves of a pair that is within the memory; `new` found the first one
        // aligned.
        let (low, high): (u32, u32) = unsafe {
            (
                sealed::Atomic::load(at),
                sealed::Atomic::load(at.add(size_of::<u32>())),
            )
        };
        u64::from(low) | u64::from(high) << 32
    }

    /// Stores pair `index`, modulo their number. Relaxed: see [`barrier`](crate::barrier).
    #[inline]
    pub fn store(&self, index: usize, value: u64) {
        let at = self.at(index);
        if self.whole {
            // SAFETY: as for `load`.
            return unsafe { sealed::Atomic::store(at, value) };
        }
        cold_path();
        // SAFETY: as for `load`.
        unsafe {
            sealed::Atomic::store(at, value as u32);
            sealed::Atomic::store(at.add(size_of::<u32>()), (value >> 32) as u32);
        }
    }

    #[inline]
    fn at(&self, index: usize) -> *mut u8 {
        // SAFETY: `index & mask` is below the number of pairs, all of which `new` found within the
        // memory.
        unsafe {
            self.base
                .as_ptr()
                .add((index & self.mask).wrapping_mul(size_of::<u64>()))
        }
    }
}

impl fmt::Debug for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mask.wrapping_add(1);
        write!(f, "Pairs({:p}, {count} of {:?})", self.base, self.memory)
    }
}

pub(super) mod sealed {
    use super::{AtomicU16, AtomicU32, AtomicU64, Ordering};

    /// How a word is loaded and stored.
    pub trait Atomic: Sized {
        /// # Safety
        ///
        /// `at` is aligned to the word's size, and valid for atomic access.
        unsafe fn load(at: *mut u8) -> Self;
        /// # Safety
        ///
        /// As for `load`.
        unsafe fn store(at: *mut u8, value: Self);
    }

    macro_rules! atomic {
        ($word:ty, $atomic:ty) => {
            impl Atomic for $word {
                #[inline]
                unsafe fn load(at: *mut u8) -> Self {
                    crate::shared::before_load(at);
                    // SAFETY: the caller's promise is what `from_ptr` asks; the reference does not
                    // outlive this line.
                    let word = unsafe { <$atomic>::from_ptr(at.cast()) };
                    <$word>::from_le(word.load(Ordering::Relaxed))
                }

                #[inline]
                unsafe fn store(at: *mut u8, value: Self) {
                    #[cfg(ringway_interpose)]
                    if !crate::interpose::may_store() {
                        return;
                    }
                    // SAFETY: the caller's promise is what `from_ptr` asks; the reference does not
                    // outlive this line.
                    let word = unsafe { <$atomic>::from_ptr(at.cast()) };
                    word.store(value.to_le(), Ordering::Relaxed);
                }
            }
        };
    }
    atomic!(u16, AtomicU16);
    atomic!(u32, AtomicU32);
    atomic!(u64, AtomicU64);
}
