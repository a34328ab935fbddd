//! Bytes of shared memory, borrowed: copied in and out.
#![expect(unsafe_code, reason = "addresses within memory shared with a peer")]

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{Shared, copy};

/// Bytes shared with a peer, borrowed from a [`Shared`].
#[derive(Clone, Copy)]
pub struct View<'m> {
    pub(super) base: NonNull<u8>,
    pub(super) len: usize,
    pub(super) memory: PhantomData<&'m Shared>,
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
        unsafe { copy::out_of_shared(from.base.as_ptr(), into) };
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
        unsafe { copy::into_shared(to.base.as_ptr(), from) };
        Ok(())
    }

    /// Fills all of it from memory that others may be writing at that moment, too, each byte read
    /// once.
    ///
    /// # Safety
    ///
    /// As many bytes at `from` are mapped and readable during the call; the program reaches them in
    /// no other way than this one and through [`Shared`] and [`View`], or as atomics.
    #[inline]
    pub unsafe fn fill_from(&self, from: NonNull<u8>) {
        // SAFETY: the view's bytes are live shared memory, of which the program makes only atomic
        // accesses; that there are as many at `from`, of which it holds, too, is the caller's promise.
        unsafe { copy::between(from.as_ptr(), self.base.as_ptr(), self.len) };
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
