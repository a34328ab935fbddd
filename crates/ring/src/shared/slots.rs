//! Descriptors in shared memory: slots of two words.
#![expect(unsafe_code, reason = "atomic accesses to memory shared with a peer")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::words::sealed::Atomic;
use super::{Shared, Table};
#[cfg(loom)]
use crate::model;

/// Slots of two little-endian 64-bit words each, as many as there are: descriptors. An index is
/// compared once, when the slot is looked up.
#[derive(Clone)]
pub struct Slots {
    base: NonNull<u8>,
    count: usize,
    /// The largest power of two that is no more than the number of slots, less one.
    mask: usize,
    /// Keeps the memory at `base` alive.
    memory: Shared,
}

// SAFETY: as for `Shared`, which it holds; every access is atomic.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// Bytes of a slot.
    pub(super) const BYTES: usize = 2 * size_of::<u64>();

    /// The `count` slots at `offset` of `shared`. `None` unless there is one, they lie within and the
    /// first is aligned to a word.
    pub fn new(shared: &Shared, offset: usize, count: usize) -> Option<Self> {
        let memory = shared.slice(offset, count.checked_mul(Self::BYTES)?)?;
        let base = memory.base;
        let aligned = base.addr().get() & size_of::<u64>().wrapping_sub(1) == 0;
        let mask = 1_usize
            .unbounded_shl(count.checked_ilog2()?)
            .wrapping_sub(1);
        #[cfg(loom)]
        if aligned {
            model::slots(base.addr().get(), count);
        }
        aligned.then_some(Self {
            base,
            count,
            mask,
            memory,
        })
    }

    /// Slot `index`, if there are so many.
    #[inline]
    pub fn slot(&self, index: usize) -> Option<Slot<'_>> {
        if index >= self.count {
            return None;
        }
        // SAFETY: `index` is below the number of slots, all of which `new` found within the memory.
        let base = unsafe { self.base.add(index.wrapping_mul(Self::BYTES)) };
        Some(Slot {
            base,
            slots: PhantomData,
        })
    }

    /// All of them, borrowed, to be loaded.
    #[inline]
    pub fn table(&self) -> Table<'_> {
        Table {
            base: self.base,
            count: self.count,
            aligned: self.count,
            memory: PhantomData,
        }
    }

    /// Slot `index`, modulo their number if that is a power of two, else modulo the largest power of
    /// two below it: it needs no test.
    #[inline]
    pub fn wrapping_slot(&self, index: usize) -> Slot<'_> {
        // SAFETY: `index & mask` is at most `mask`, which is below the number of slots, all of
        // which `new` found within the memory.
        let base = unsafe { self.base.add((index & self.mask).wrapping_mul(Self::BYTES)) };
        Slot {
            base,
            slots: PhantomData,
        }
    }

    /// The `count` slots from `first` on, one after the other, if there are so many.
    #[inline]
    pub fn run(&self, first: usize, count: usize) -> Option<Run<'_>> {
        let rest = self.rest(first)?;
        (count <= rest.left).then_some(Run {
            left: count,
            ..rest
        })
    }

    /// All slots from `first` on, one after the other, if that is no more than their number.
    #[inline]
    pub fn rest(&self, first: usize) -> Option<Run<'_>> {
        let left = self.count.checked_sub(first)?;
        // SAFETY: `first` is at most the number of slots, all of which `new` found within the
        // memory: the result is within it, or one past its end.
        let next = unsafe { self.base.add(first.wrapping_mul(Self::BYTES)) };
        Some(Run {
            next,
            left,
            slots: PhantomData,
        })
    }
}

/// Some [`Slots`], one after the other.
#[derive(Clone, Debug)]
pub struct Run<'s> {
    /// `left` slots begin here, within the memory that the slots keep alive.
    next: NonNull<u8>,
    left: usize,
    slots: PhantomData<&'s Slots>,
}

impl<'s> Iterator for Run<'s> {
    type Item = Slot<'s>;

    #[inline]
    fn next(&mut self) -> Option<Slot<'s>> {
        self.left = self.left.checked_sub(1)?;
        let base = self.next;
        // SAFETY: there was one slot left, so the result is within the memory, or one past its end.
        self.next = unsafe { base.add(Slots::BYTES) };
        Some(Slot {
            base,
            slots: PhantomData,
        })
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Slots({:p}, {} of {:?})",
            self.base, self.count, self.memory
        )
    }
}

/// One of [`Slots`]. Loads and stores are relaxed: see [`barrier`](crate::barrier).
#[derive(Clone, Copy, Debug)]
pub struct Slot<'s> {
    /// Two aligned words, within the memory that the slots keep alive.
    pub(super) base: NonNull<u8>,
    pub(super) slots: PhantomData<&'s Slots>,
}

impl Slot<'_> {
    /// Loads the first word.
    #[inline]
    pub fn first(self) -> u64 {
        // SAFETY: the first of two aligned words, in memory that is alive for as long as the slots
        // are borrowed.
        unsafe { Atomic::load(self.base.as_ptr()) }
    }

    /// Loads the second word.
    #[inline]
    pub fn second(self) -> u64 {
        // SAFETY: as for `second_word`, which is aligned as the first word is.
        unsafe { Atomic::load(self.second_word()) }
    }

    /// Stores the first word.
    #[inline]
    pub fn set_first(self, value: u64) {
        // SAFETY: the first of two aligned words, in memory that is alive for as long as the slots
        // are borrowed.
        unsafe { Atomic::store(self.base.as_ptr(), value) }
    }

    /// Stores the second word.
    #[inline]
    pub fn set_second(self, value: u64) {
        // SAFETY: as for `second_word`, which is aligned as the first word is.
        unsafe { Atomic::store(self.second_word(), value) }
    }

    #[inline]
    fn second_word(self) -> *mut u8 {
        // SAFETY: a slot has two words, so the second begins within the same memory.
        unsafe { self.base.as_ptr().add(size_of::<u64>()) }
    }
}
