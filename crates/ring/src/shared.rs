//! Memory that a peer may be writing at any moment.
//!
//! No reference to such memory is ever made. Words are loaded and stored atomically and are
//! little-endian; bytes are copied in and out, one word at a time, each word read once. A copy made
//! while the peer writes may hold a mixture of old and new; it is checked after it was copied, and
//! the memory is not read again.
#![expect(
    unsafe_code,
    reason = "the one place that touches memory shared with a peer"
)]

use core::fmt;
use core::hint::cold_path;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

#[cfg(loom)]
use crate::model::{self, AtomicU16, AtomicU32, AtomicU64};
#[cfg(feature = "alloc")]
use alloc::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

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

/// Before every load, of a word or of a piece of a copy: lets the peer of a test act.
#[inline(always)]
fn before_load(_at: *const u8) {
    #[cfg(ringway_interpose)]
    crate::interpose::before_load(_at);
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

/// Bytes shared with a peer, borrowed from a [`Shared`].
#[derive(Clone, Copy)]
pub struct View<'m> {
    base: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'m Shared>,
}

// SAFETY: as for `Shared`, which it borrows.
unsafe impl Send for View<'_> {}
// SAFETY: as for `Shared`, which it borrows.
unsafe impl Sync for View<'_> {}

/// An access that would have left the memory it was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfRange;

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("access leaves the shared memory it was made in")
    }
}

impl core::error::Error for OutOfRange {}

impl<'m> View<'m> {
    /// No bytes.
    pub const EMPTY: Self = Self {
        base: NonNull::dangling(),
        len: 0,
        memory: PhantomData,
    };

    /// Where the bytes are in this program. For handing to an operating system.
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The `len` bytes at `offset`, if they lie within.
    #[inline]
    pub fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        if offset > self.len || len > self.len.wrapping_sub(offset) {
            return None;
        }
        // SAFETY: `offset <= self.len`, so the result is within the memory, or one past its end.
        let base = unsafe { self.base.add(offset) };
        Some(Self {
            base,
            len,
            memory: PhantomData,
        })
    }

    /// Copies the bytes at `offset` out, filling `into`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they are not all within; nothing was copied.
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        let from = self.slice(offset, into.len()).ok_or(OutOfRange)?;
        // SAFETY: `from` is `into.len()` bytes of live shared memory (`slice` checked it, `'m`
        // keeps it alive), of which the program makes only atomic accesses; `into` is borrowed.
        unsafe { copy_out(from.base.as_ptr(), into) };
        Ok(())
    }

    /// Copies `from` in, to `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if it does not all fit; nothing was copied.
    #[inline]
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
        let to = self.slice(offset, from.len()).ok_or(OutOfRange)?;
        // SAFETY: `to` is `from.len()` bytes of live shared memory (`slice` checked it, `'m` keeps
        // it alive), of which the program makes only atomic accesses; `from` is borrowed.
        unsafe { copy_in(to.base.as_ptr(), from) };
        Ok(())
    }

    /// Copies one value out of `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if it does not lie within.
    #[inline]
    pub fn read_value<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, OutOfRange> {
        let mut value = T::new_zeroed();
        self.read(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Copies one value in, to `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if it does not fit.
    #[inline]
    pub fn write_value<T: IntoBytes + Immutable>(
        &self,
        offset: usize,
        value: &T,
    ) -> Result<(), OutOfRange> {
        self.write(offset, value.as_bytes())
    }

    /// Sets every byte to `byte`.
    pub fn fill(&self, byte: u8) {
        let pattern = [byte; 256];
        let mut offset = 0_usize;
        while offset < self.len {
            let step = pattern.len().min(self.len.wrapping_sub(offset));
            let chunk = pattern.get(..step).unwrap_or_default();
            // Cannot fail: `offset + step <= len`. A failure would end the loop, not the program.
            if self.write(offset, chunk).is_err() {
                return;
            }
            offset = offset.wrapping_add(step);
        }
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({:p}, {} bytes)", self.base, self.len)
    }
}

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

/// A bit for each of many things, in shared memory: bit 0 of the first byte is the first one's. They
/// are set by this end, and looked at and cleared by the peer.
#[cfg(not(loom))]
#[derive(Clone, Debug)]
pub struct Bits {
    memory: Shared,
}

#[cfg(not(loom))]
impl Bits {
    /// Eight for every byte of `memory`.
    pub fn new(memory: Shared) -> Self {
        Self { memory }
    }

    /// Sets bit `index`. Says whether there is one. What this thread stored before, whoever finds the
    /// bit set finds too.
    #[inline]
    pub fn set(&self, index: u64) -> bool {
        // The lowest three bits say which bit of a byte.
        let (byte, bit) = (index >> 3, 1_u8.wrapping_shl(index as u32));
        let view = usize::try_from(byte)
            .ok()
            .and_then(|byte| self.memory.view().slice(byte, 1));
        let Some(view) = view else {
            return false;
        };
        // SAFETY: `view` is one byte of live shared memory, of which the program makes only atomic
        // accesses; a byte is always aligned, and the reference does not outlive this line.
        let byte = unsafe { AtomicU8::from_ptr(view.base.as_ptr()) };
        // A page that is written again and again has its bit set: no exclusive access then.
        if byte.load(Ordering::SeqCst) & bit == 0 {
            byte.fetch_or(bit, Ordering::SeqCst);
        }
        true
    }
}

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
    const BYTES: usize = 2 * size_of::<u64>();

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
    base: NonNull<u8>,
    slots: PhantomData<&'s Slots>,
}

impl Slot<'_> {
    /// Loads the first word.
    #[inline]
    pub fn first(self) -> u64 {
        // SAFETY: the first of two aligned words, in memory that is alive for as long as the slots
        // are borrowed.
        unsafe { sealed::Atomic::load(self.base.as_ptr()) }
    }

    /// Loads the second word.
    #[inline]
    pub fn second(self) -> u64 {
        // SAFETY: as for `second_word`, which is aligned as the first word is.
        unsafe { sealed::Atomic::load(self.second_word()) }
    }

    /// Stores the first word.
    #[inline]
    pub fn set_first(self, value: u64) {
        // SAFETY: the first of two aligned words, in memory that is alive for as long as the slots
        // are borrowed.
        unsafe { sealed::Atomic::store(self.base.as_ptr(), value) }
    }

    /// Stores the second word.
    #[inline]
    pub fn set_second(self, value: u64) {
        // SAFETY: as for `second_word`, which is aligned as the first word is.
        unsafe { sealed::Atomic::store(self.second_word(), value) }
    }

    #[inline]
    fn second_word(self) -> *mut u8 {
        // SAFETY: a slot has two words, so the second begins within the same memory.
        unsafe { self.base.as_ptr().add(size_of::<u64>()) }
    }
}

/// Pairs of little-endian 64-bit words to be loaded, at whatever alignment: the descriptors of a
/// ring, or of a table that the peer placed.
#[derive(Clone, Copy)]
pub struct Table<'m> {
    base: NonNull<u8>,
    count: usize,
    /// How many pairs have aligned words: all of them, or none.
    aligned: usize,
    memory: PhantomData<&'m Shared>,
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

mod sealed {
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
                    super::before_load(at);
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

/// Copies `into.len()` bytes out of shared memory.
///
/// # Safety
///
/// The bytes at `from` are live shared memory, of which the program makes only atomic accesses.
#[inline]
unsafe fn copy_out(from: *mut u8, into: &mut [u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
    // SAFETY: the caller's promise is what is asked of `from`; `into` is borrowed.
    unsafe {
        wide::copy(from, into.as_mut_ptr(), into.len());
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
    // SAFETY: the caller's promise is what is asked.
    unsafe {
        copy::out_of_shared(from, into);
    }
}

/// Copies `from.len()` bytes into shared memory.
///
/// # Safety
///
/// As for [`copy_out`], of the bytes at `to`.
#[inline]
unsafe fn copy_in(to: *mut u8, from: &[u8]) {
    #[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
    // SAFETY: the caller's promise is what is asked of `to`; `from` is borrowed.
    unsafe {
        wide::copy(from.as_ptr(), to, from.len());
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri)))))]
    // SAFETY: the caller's promise is what is asked.
    unsafe {
        copy::into_shared(to, from);
    }
}

#[cfg(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))]
mod wide;

/// Copies between private and shared memory: single bytes up to the first aligned word, whole
/// words, single bytes again. Where the processor is not asked directly, and for comparison.
#[cfg(any(
    test,
    not(all(target_arch = "x86_64", not(any(loom, ringway_interpose, miri))))
))]
mod copy {
    #[cfg(loom)]
    use crate::model::AtomicU8;
    #[cfg(not(loom))]
    use core::sync::atomic::AtomicU8;

    use super::{AtomicU64, Ordering};

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

    /// How many bytes at `address` come before the first aligned word, in whole words, and after
    /// them. They add up to `len`.
    #[inline]
    fn parts(address: *mut u8, len: usize) -> (usize, usize, usize) {
        let head = (address.addr().wrapping_neg() & WORD.wrapping_sub(1)).min(len);
        let rest = len.wrapping_sub(head);
        let tail = rest & WORD.wrapping_sub(1);
        (head, rest.wrapping_sub(tail), tail)
    }
}

#[cfg(feature = "alloc")]
mod guarded {
    use super::{Backing, NonNull, Shared};

    /// Memory of another handle, and something to drop with it.
    pub(super) struct Guarded<G> {
        memory: Shared,
        _guard: G,
    }

    impl<G> Guarded<G> {
        pub(super) fn new(memory: Shared, guard: G) -> Self {
            Self {
                memory,
                _guard: guard,
            }
        }
    }

    // SAFETY: `memory` is never changed, and keeps its bytes mapped, readable and writable while it
    // lives; whoever else holds a handle to them reaches them through `Shared` and `View` only,
    // too.
    unsafe impl<G: Send + Sync> Backing for Guarded<G> {
        fn base(&self) -> NonNull<u8> {
            self.memory.base
        }

        fn len(&self) -> usize {
            self.memory.len
        }
    }
}

#[cfg(feature = "alloc")]
mod heap {
    use super::{Backing, NonNull};
    use alloc::alloc::{Layout, alloc_zeroed, dealloc};

    /// Zeroed bytes of the heap.
    pub(super) struct Heap {
        base: NonNull<u8>,
        layout: Layout,
    }

    impl Heap {
        pub(super) fn new(len: usize, align: usize) -> Option<Self> {
            let layout = Layout::from_size_align(len, align)
                .ok()
                .filter(|_| len != 0)?;
            // SAFETY: the layout is not of size zero.
            let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
            #[cfg(loom)]
            crate::model::allocate(base.addr().get(), len);
            Some(Self { base, layout })
        }
    }

    impl Drop for Heap {
        fn drop(&mut self) {
            #[cfg(loom)]
            crate::model::free(self.base.addr().get(), self.layout.size());
            // SAFETY: `new` allocated `base` with this layout, and nothing else frees it.
            unsafe { dealloc(self.base.as_ptr(), self.layout) };
        }
    }

    // SAFETY: bytes of the heap may be used from any thread; the handle is only a pointer to them.
    unsafe impl Send for Heap {}
    // SAFETY: as above; it has no method that writes.
    unsafe impl Sync for Heap {}

    // SAFETY: the allocation is ours alone, lives until `drop`, and neither field is ever changed;
    // the pointer is given to nobody but `Shared`.
    unsafe impl Backing for Heap {
        fn base(&self) -> NonNull<u8> {
            self.base
        }

        fn len(&self) -> usize {
            self.layout.size()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn what_is_copied_in_at_any_offset_comes_out_and_nothing_else_changes(
            offset in 0_usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let shared = Shared::allocate(128, 64).unwrap();
            shared.view().fill(0x5a);

            shared.view().write(offset, &bytes).unwrap();

            let mut whole = vec![0; 128];
            shared.view().read(0, &mut whole).unwrap();
            let mut expected = vec![0x5a; 128];
            expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
            prop_assert_eq!(&whole, &expected);
            let mut out = vec![0; bytes.len()];
            shared.view().read(offset, &mut out).unwrap();
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn words_copy_what_other_ways_copy(
            offset in 0_usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            let shared = Shared::allocate(128, 64).unwrap();
            let at = shared.slice(offset, bytes.len()).unwrap().base().as_ptr();

            // SAFETY: the slice is as long as what is copied.
            unsafe { copy::into_shared(at, &bytes) };

            let mut seen = vec![0; bytes.len()];
            shared.view().read(offset, &mut seen).unwrap();
            prop_assert_eq!(&seen, &bytes);
            seen.fill(0);
            // SAFETY: as above.
            unsafe { copy::out_of_shared(at, &mut seen) };
            prop_assert_eq!(seen, bytes);
        }

        #[test]
        fn a_slice_that_leaves_the_memory_is_refused(offset in any::<usize>(), len in any::<usize>()) {
            let shared = Shared::allocate(4096, 64).unwrap();

            let slice = shared.slice(offset, len);

            let within = offset.checked_add(len).is_some_and(|end| end <= 4096);
            prop_assert_eq!(slice.is_some(), within);
        }
    }

    #[test]
    fn words_are_little_endian_and_indices_wrap() {
        let shared = Shared::allocate(64, 64).unwrap();
        let words = Words::<u16>::new(&shared, 8, 4).unwrap();

        words.store(5, 0x1234);

        let mut bytes = Vec::from([0; 8]);
        shared.view().read(8, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(words.load(1), 0x1234);
    }

    /// Devices' defect 9: a word that a peer changes meanwhile is the one or the other, never some
    /// bytes of each.
    #[test]
    fn a_word_that_a_peer_changes_meanwhile_is_loaded_whole() {
        let shared = Shared::allocate(64, 64).unwrap();
        let indices = Words::<u16>::new(&shared, 6, 1).unwrap();
        let elements = Pairs::new(&shared, 16, 1).unwrap();
        let descriptors = Slots::new(&shared, 32, 1).unwrap();
        let over = AtomicBool::new(false);

        let mixed = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for value in [0, u64::MAX] {
                        indices.store(0, value as u16);
                        elements.store(0, value);
                        descriptors.slot(0).unwrap().set_second(value);
                    }
                }
            });
            let mixed = (0..200_000).find_map(|_| {
                let index = indices.load(0);
                let element = elements.load(0);
                let descriptor = descriptors.slot(0).unwrap().second();
                let whole = [0, u64::MAX];
                let is_whole = [0, u16::MAX].contains(&index)
                    && whole.contains(&element)
                    && whole.contains(&descriptor);
                (!is_whole).then_some((index, element, descriptor))
            });
            over.store(true, Ordering::Relaxed);
            mixed
        });

        assert_eq!(mixed, None);
    }

    #[test]
    fn words_must_be_aligned_within_and_a_power_of_two() {
        let shared = Shared::allocate(64, 64).unwrap();

        assert!(Words::<u64>::new(&shared, 4, 1).is_none());
        assert!(Words::<u16>::new(&shared, 0, 3).is_none());
        assert!(Words::<u16>::new(&shared, 0, 0).is_none());
        assert!(Words::<u32>::new(&shared, 32, 16).is_none());
        assert!(Words::<u32>::new(&shared, 0, 16).is_some());
    }

    #[test]
    fn a_pair_is_the_same_bytes_whether_it_is_accessed_whole_or_in_halves() {
        let shared = Shared::allocate(64, 64).unwrap();
        for offset in [4, 8] {
            let pairs = Pairs::new(&shared, offset, 4).unwrap();

            pairs.store(5, 0x1122_3344_5566_7788);

            let halves = Words::<u32>::new(&shared, offset, 8).unwrap();
            assert_eq!((halves.load(2), halves.load(3)), (0x5566_7788, 0x1122_3344));
            assert_eq!(pairs.load(1), 0x1122_3344_5566_7788);
        }
        assert!(Pairs::new(&shared, 2, 1).is_none());
        assert!(Pairs::new(&shared, 0, 3).is_none());
        assert!(Pairs::new(&shared, 4, 8).is_none());
    }

    #[test]
    fn slots_are_as_many_as_fit_and_there_is_none_beyond_them() {
        let shared = Shared::allocate(64, 64).unwrap();
        let slots = Slots::new(&shared, 8, 3).unwrap();

        slots.slot(2).unwrap().set_first(0x1122);
        slots.slot(0).unwrap().set_first(0x5566);
        slots.slot(2).unwrap().set_second(0x3344);

        let words = Words::<u64>::new(&shared, 0, 8).unwrap();
        assert_eq!((words.load(5), words.load(6)), (0x1122, 0x3344));
        let second = slots.slot(2).unwrap();
        assert_eq!((second.first(), second.second()), (0x1122, 0x3344));
        assert!(slots.slot(3).is_none() && slots.slot(usize::MAX).is_none());
        let run = slots.run(1, 2).unwrap();
        assert_eq!(run.map(Slot::first).collect::<Vec<_>>(), [0, 0x1122]);
        assert_eq!(slots.run(3, 0).unwrap().count(), 0);
        assert_eq!(
            slots.wrapping_slot(0b110).first(),
            0x5566,
            "the first two are a ring"
        );
        assert!(slots.run(2, 2).is_none() && slots.run(usize::MAX, 2).is_none());
        assert!(Slots::new(&shared, 8, 4).is_none());
        assert!(Slots::new(&shared, 4, 1).is_none());
        assert!(Slots::new(&shared, 8, 0).is_none());
        assert!(Slots::new(&shared, 0, usize::MAX).is_none());
    }

    #[test]
    fn a_table_is_loaded_at_any_alignment_and_has_nothing_beyond_its_whole_pairs() {
        let shared = Shared::allocate(64, 64).unwrap();
        for offset in 0..16 {
            let view = shared.view().slice(offset, 40).unwrap();
            view.write_value(16, &[0x1122_u64.to_le(), 0x3344_u64.to_le()])
                .unwrap();

            let table = Table::new(view);

            assert_eq!(table.len(), 2);
            assert_eq!(table.load(1), Some((0x1122, 0x3344)));
            assert_eq!((table.load(2), table.load(usize::MAX)), (None, None));
        }
        assert_eq!(Table::new(View::EMPTY).load(0), None);
    }

    #[test]
    fn a_guard_is_dropped_with_the_last_slice_of_what_it_guards() {
        let all = Shared::allocate(128, 64).unwrap();
        let guard = Arc::new(());

        let part = all.slice(64, 64).unwrap().guarded(guard.clone());
        let slice = part.slice(8, 8).unwrap();
        slice.view().write(0, b"kept").unwrap();
        drop(part);

        assert_eq!(Arc::strong_count(&guard), 2);
        drop(slice);
        assert_eq!(Arc::strong_count(&guard), 1);
        let mut out = [0; 4];
        all.view().read(72, &mut out).unwrap();
        assert_eq!(&out, b"kept");
    }

    #[test]
    fn a_slice_keeps_the_memory_alive() {
        let shared = Shared::allocate(64, 64).unwrap();
        shared.view().write(40, b"here").unwrap();

        let slice = shared.slice(40, 4).unwrap();
        drop(shared);

        let mut out = [0; 4];
        slice.view().read(0, &mut out).unwrap();
        assert_eq!(&out, b"here");
    }
}
