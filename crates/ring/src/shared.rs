//! Memory that a peer may be writing at any moment.
//!
//! No reference to such memory is ever made. Words are loaded and stored atomically and are
//! little-endian; bytes are copied in and out, one word at a time, each word read once. A copy made
//! while the peer writes may hold a mixture of old and new; it is checked after it was copied, and
//! the memory is not read again.
//!
//! [`Shared`] owns such memory, and a [`View`] borrows it; [`Words`], [`Pairs`], [`Slots`], [`Table`]
//! and [`Bits`] are what rings and records have in it.
#![expect(
    unsafe_code,
    reason = "the one place that touches memory shared with a peer"
)]

#[cfg(not(loom))]
mod bits;
#[cfg(any(
    test,
    not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))
))]
mod by_words;
mod copy;
#[cfg(feature = "alloc")]
mod guarded;
#[cfg(feature = "alloc")]
mod heap;
mod slots;
mod table;
mod view;
#[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
mod wide;
mod words;

#[cfg(feature = "alloc")]
use alloc::sync::Arc;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

#[cfg(not(loom))]
pub use bits::Bits;
pub use slots::{Run, Slot, Slots};
pub use table::Table;
pub use view::{OutOfRange, View};
pub use words::{Pairs, Word, Words};

/// Something that owns memory to be shared, and frees it when dropped.
///
/// # Safety
///
/// From the first call until the value is dropped, `base()` and `len()` return the same values, and
/// the `len()` bytes at `base()` are mapped, readable and writable, whichever thread holds the
/// value and wherever it was moved. The program reaches those bytes in no other way than through
/// [`Shared`] and [`View`], or as atomics.
#[cfg(feature = "alloc")]
pub unsafe trait Backing: Send + Sync {
    /// The first byte.
    fn base(&self) -> NonNull<u8>;
    /// How many bytes.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A stretch of memory shared with a peer, kept alive by every clone of this handle.
#[derive(Clone)]
pub struct Shared {
    base: NonNull<u8>,
    len: usize,
    /// Absent if the memory lives as long as the program.
    #[cfg(feature = "alloc")]
    owner: Option<Arc<dyn Backing>>,
}

// SAFETY: the pointer is only used for atomic accesses, which any thread may make; the memory
// behind it is usable from any thread, by the contract of `Backing` or of `from_raw_parts`.
unsafe impl Send for Shared {}
// SAFETY: as above; every method takes `&self` and makes atomic accesses only.
unsafe impl Sync for Shared {}

impl Shared {
    /// Takes memory that lives as long as the program.
    ///
    /// # Safety
    ///
    /// The `len` bytes at `base` stay mapped, readable and writable until the program ends, and the
    /// program reaches them in no other way than through this handle, its clones and slices, or
    /// as atomics.
    pub const unsafe fn from_raw_parts(base: NonNull<u8>, len: usize) -> Self {
        Self {
            base,
            len,
            #[cfg(feature = "alloc")]
            owner: None,
        }
    }

    /// Shares what `owner` owns. It is dropped with the last handle.
    #[cfg(feature = "alloc")]
    pub fn new(owner: Arc<dyn Backing>) -> Self {
        Self {
            base: owner.base(),
            len: owner.len(),
            owner: Some(owner),
        }
    }

    /// `len` zeroed bytes from the heap, aligned to `align` bytes, a power of two. `None` if the
    /// heap has no room, or `len` is zero.
    #[cfg(feature = "alloc")]
    pub fn allocate(len: usize, align: usize) -> Option<Self> {
        heap::Heap::new(len, align).map(|owner| Self::new(Arc::new(owner)))
    }

    /// The same memory, with `guard` dropped when the last clone and the last slice of what is
    /// returned is: how an allocator learns that a stretch of a larger memory is free again.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn guarded(self, guard: impl Send + Sync + 'static) -> Self {
        Self::new(Arc::new(guarded::Guarded::new(self, guard)))
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the bytes are in this program. For handing to an operating system, or for telling
    /// where they lie.
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The `len` bytes at `offset`, if they lie within.
    pub fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let view = self.view().slice(offset, len)?;
        Some(Self {
            base: view.base,
            len,
            #[cfg(feature = "alloc")]
            owner: self.owner.clone(),
        })
    }

    /// All of it, borrowed.
    pub const fn view(&self) -> View<'_> {
        View {
            base: self.base,
            len: self.len,
            memory: PhantomData,
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:p}, {} bytes)", self.base, self.len)
    }
}

/// Before every load, of a word or of a piece of a copy: lets the peer of a test act.
#[inline(always)]
fn before_load(_at: *const u8) {
    #[cfg(ringway_interpose)]
    crate::interpose::before_load(_at);
}

#[cfg(test)]
mod tests;
