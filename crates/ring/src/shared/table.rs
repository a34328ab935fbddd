//! Descriptors in shared memory that are only loaded, wherever the peer put them.
#![expect(unsafe_code, reason = "addresses within memory shared with a peer")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::{Shared, Slot, Slots, View};

/// Pairs of little-endian 64-bit words to be loaded, at whatever alignment: the descriptors of a
/// ring, or of a table that the peer placed.
#[derive(Clone, Copy)]
pub struct Table<'m> {
    pub(super) base: NonNull<u8>,
    pub(super) count: usize,
    /// How many pairs have aligned words: all of them, or none.
    pub(super) aligned: usize,
    pub(super) memory: PhantomData<&'m Shared>,
}

impl<'m> Table<'m> {
    /// The whole pairs that `view` holds, from its first byte on.
    #[inline]
    pub fn new(view: View<'m>) -> Self {
        let count = view.len.wrapping_div(Slots::BYTES);
        // As it is for the first pair, so it is for all: they are multiples of a word long.
        let aligned = view.base.addr().get() & size_of::<u64>().wrapping_sub(1) == 0;
        Self {
            base: view.base,
            count,
            aligned: if aligned { count } else { 0 },
            memory: PhantomData,
        }
    }

    /// How many pairs.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Loads both words of pair `index`, each at once where they are aligned, if there are so many.
    /// Relaxed: see [`barrier`](crate::barrier).
    #[inline]
    pub fn load(&self, index: usize) -> Option<(u64, u64)> {
        if index >= self.aligned {
            return self.load_unaligned(index);
        }
        // SAFETY: `index` is below the number of pairs, all of which lie within the memory. Their
        // words are aligned, or there would be no index below `aligned`.
        let base = unsafe { self.base.add(index.wrapping_mul(Slots::BYTES)) };
        let slot = Slot {
            base,
            slots: PhantomData,
        };
        Some((slot.first(), slot.second()))
    }

    /// The same, at any alignment.
    #[cold]
    fn load_unaligned(self, index: usize) -> Option<(u64, u64)> {
        let all = View {
            base: self.base,
            len: self.count.wrapping_mul(Slots::BYTES),
            memory: self.memory,
        };
        let pair = all.read_value(index.checked_mul(Slots::BYTES)?);
        let [first, second]: [u64; 2] = pair.ok()?;
        Some((u64::from_le(first), u64::from_le(second)))
    }
}

impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:p}, {} pairs)", self.base, self.count)
    }
}
