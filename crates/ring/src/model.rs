//! Memory of which [`loom`] decides what each load sees, and fences that can be left out.
//!
//! Built with `--cfg loom` only, for the models in `tests/models`. The programs of the rings, and
//! all of [`shared`](crate::shared) but the atomics, are the real ones: the atomics here have the
//! same calls as those of `core`, and the memory's address only names a cell.
//!
//! - A word that was declared alone ([`Words`](crate::shared::Words) of one), or that is the second
//!   of a [`Slot`](crate::shared::Slot), is *polled*: the peer looks at it at any moment. It is an
//!   atomic of loom's, whose relaxed loads may see what is out of date.
//! - Everything else is *handed over* through a polled word: elements, addresses, tables, buffers.
//!   Two accesses, one of them a store, that no fence puts in order are an error there and then:
//!   the one that came late could have seen anything, an old value, a later one or half of each.
//!
//! A word that the two ends access at different sizes is as many cells as the finer one needs, and
//! the wider access is as many loads or stores. Machines promise more: what holds here holds there.
#![expect(
    unsafe_code,
    reason = "the atomics are had from a pointer by an unsafe call, as core's are; nothing here looks behind it"
)]

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::panic::Location;
use core::sync::atomic::Ordering;

/// Runs `f`, and returns the fences of the rings that it crossed on this thread.
pub fn crossed(f: impl FnOnce()) -> BTreeSet<Location<'static>> {
    FENCES.take();
    f();
    FENCES.take()
}

/// Runs `f` with the fence at `place` left out on this thread. `f` does not unwind.
pub fn without<R>(place: Location<'static>, f: impl FnOnce() -> R) -> R {
    REMOVED.set(Some(place));
    let result = f();
    REMOVED.set(None);
    result
}

/// As `core::sync::atomic::fence`, for whoever called the caller: that is where it stands.
#[track_caller]
pub(crate) fn fence(ordering: Ordering) {
    let place = *Location::caller();
    FENCES.with_borrow_mut(|fences| fences.insert(place));
    if REMOVED.get() != Some(place) {
        loom::sync::atomic::fence(ordering);
    }
}

/// Makes the `len` bytes at `at` cells of zeros, handed over as a whole, until words are declared
/// there.
pub(crate) fn allocate(at: usize, len: usize) {
    CELLS.with_borrow_mut(|cells| {
        for place in (at..at.wrapping_add(len)).step_by(LARGEST) {
            cells.insert(place, Held::new(LARGEST, 0, Use::Handed));
        }
    });
}

/// Forgets the cells of the `len` bytes at `at`.
pub(crate) fn free(at: usize, len: usize) {
    CELLS.with_borrow_mut(|cells| {
        let gone = cells.extract_if(at..at.wrapping_add(len), |_, _| true);
        gone.for_each(drop);
    });
}

/// Declares `count` words of `size` bytes at `at`. To be done before the ends run.
pub(crate) fn words(at: usize, count: usize, size: usize) {
    let kind = if count == 1 { Use::Polled } else { Use::Handed };
    for index in 0..count {
        declare(at.wrapping_add(index.wrapping_mul(size)), size, kind);
    }
}

/// Declares `count` slots at `at`, as [`words`] does.
pub(crate) fn slots(at: usize, count: usize) {
    for index in 0..count.wrapping_mul(2) {
        let kind = if index & 1 == 0 {
            Use::Handed
        } else {
            Use::Polled
        };
        declare(at.wrapping_add(index.wrapping_mul(LARGEST)), LARGEST, kind);
    }
}

/// How the ends access a word.
#[derive(Clone, Copy)]
enum Use {
    /// At any moment.
    Polled,
    /// In turns.
    Handed,
}

std::thread_local! {
    /// The cells of all memory, by their addresses.
    static CELLS: RefCell<BTreeMap<usize, Held>> = const { RefCell::new(BTreeMap::new()) };
    static FENCES: RefCell<BTreeSet<Location<'static>>> = const { RefCell::new(BTreeSet::new()) };
    static REMOVED: Cell<Option<Location<'static>>> = const { Cell::new(None) };
}

/// Bytes of the largest cell.
const LARGEST: usize = size_of::<u64>();

#[derive(Clone)]
struct Held {
    size: usize,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Polled(Rc<Polled>),
    Handed(Rc<loom::cell::Cell<u64>>),
}

struct Polled {
    word: loom::sync::atomic::AtomicU64,
    /// Touched before each access, as if it were stored to. Of a word loom remembers only who used it
    /// last: when an end loads one and then stores it, it would forget that the other end has
    /// loaded it too, and never try that load after the store.
    touched: loom::sync::Condvar,
}

impl Held {
    fn new(size: usize, value: u64, kind: Use) -> Self {
        let value = match kind {
            Use::Polled => Value::Polled(Rc::new(Polled {
                word: loom::sync::atomic::AtomicU64::new(value),
                touched: loom::sync::Condvar::new(),
            })),
            Use::Handed => Value::Handed(Rc::new(loom::cell::Cell::new(value))),
        };
        Self { size, value }
    }

    fn kind(&self) -> Use {
        match self.value {
            Value::Polled(_) => Use::Polled,
            Value::Handed(_) => Use::Handed,
        }
    }

    fn load(&self, ordering: Ordering) -> u64 {
        match &self.value {
            Value::Polled(polled) => {
                polled.touched.notify_one();
                polled.word.load(ordering)
            }
            Value::Handed(word) => word.get(),
        }
    }

    fn store(&self, value: u64, ordering: Ordering) {
        match &self.value {
            Value::Polled(polled) => {
                polled.touched.notify_one();
                polled.word.store(value, ordering);
            }
            Value::Handed(word) => word.set(value),
        }
    }
}

/// Makes the `size` bytes at `at` cells of no more bytes, polled if `kind` says so or they are.
fn declare(at: usize, size: usize, kind: Use) {
    let (start, old) = find(at);
    if old.size < size {
        // The other end accesses parts of it.
        for part in (at..at.wrapping_add(size)).step_by(old.size) {
            declare(part, old.size, kind);
        }
    } else if old.size > size {
        let value = old.load(Ordering::Relaxed);
        CELLS.with_borrow_mut(|cells| {
            for part in (0..old.size).step_by(size) {
                let value = value.wrapping_shr(bits(part)) & mask(size);
                cells.insert(start.wrapping_add(part), Held::new(size, value, old.kind()));
            }
        });
        declare(at, size, kind);
    } else if matches!((kind, old.kind()), (Use::Polled, Use::Handed)) {
        let polled = Held::new(size, old.load(Ordering::Relaxed), Use::Polled);
        CELLS.with_borrow_mut(|cells| cells.insert(at, polled));
    }
}

/// The cell that holds the byte at `at`, and where it begins.
fn find(at: usize) -> (usize, Held) {
    CELLS.with_borrow(|cells| {
        let below = cells.range(..=at).next_back();
        let (start, held) = below.expect("memory of a model comes from Shared::allocate");
        (*start, held.clone())
    })
}

/// The cells of the word of `size` bytes at `at`: where each begins in the word, and itself.
fn parts(at: usize, size: usize) -> Vec<(usize, Held)> {
    let mut parts = Vec::new();
    let mut offset = 0_usize;
    while offset < size {
        let (start, held) = find(at.wrapping_add(offset));
        assert!(
            start == at.wrapping_add(offset) && held.size <= size,
            "{size} bytes at {at:#x} are a part of a word of {}: that has no model",
            held.size
        );
        let next = offset.wrapping_add(held.size);
        parts.push((offset, held));
        offset = next;
    }
    parts
}

fn load(at: usize, size: usize, ordering: Ordering) -> u64 {
    parts(at, size).iter().fold(0, |word, (offset, held)| {
        word | held.load(ordering).wrapping_shl(bits(*offset))
    })
}

fn store(at: usize, size: usize, value: u64, ordering: Ordering) {
    for (offset, held) in parts(at, size) {
        let part = value.wrapping_shr(bits(offset)) & mask(held.size);
        held.store(part, ordering);
    }
}

/// The bits of `bytes` bytes, at most eight; and of a word, how many come before its byte `bytes`:
/// the architectures of the rings are little-endian.
fn bits(bytes: usize) -> u32 {
    (bytes as u32).wrapping_mul(u8::BITS)
}

/// The bits that a word of `size` bytes has.
fn mask(size: usize) -> u64 {
    u64::MAX.wrapping_shr(u64::BITS.wrapping_sub(bits(size)))
}

macro_rules! atomic {
    ($atomic:ident, $word:ty) => {
        /// As that of `core`, with what the rings use of it.
        pub(crate) struct $atomic(usize);

        impl $atomic {
            /// # Safety
            ///
            /// None is needed; the call is that of `core`.
            pub(crate) unsafe fn from_ptr(at: *mut $word) -> Self {
                Self(at.addr())
            }

            pub(crate) fn load(&self, ordering: Ordering) -> $word {
                load(self.0, size_of::<$word>(), ordering) as $word
            }

            pub(crate) fn store(&self, value: $word, ordering: Ordering) {
                store(self.0, size_of::<$word>(), value.into(), ordering);
            }
        }
    };
}
atomic!(AtomicU8, u8);
atomic!(AtomicU16, u16);
atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);
