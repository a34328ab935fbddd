//! What can be lent to a device.
#![expect(
    unsafe_code,
    reason = "a buffer is taken apart before a device has it, and put together again after"
)]

use core::convert::Infallible;
use core::ptr::NonNull;

use alloc::boxed::Box;
use alloc::vec::Vec;
use ringway_ring::driver::Memory;
use ringway_ring::shared::OutOfRange;

use crate::error::{PlatformError, Result};
use crate::platform::{ANYWHERE, Platform};

/// A buffer, taken apart: what is kept of it while a device may use it.
#[derive(Debug)]
pub struct Raw {
    /// The first byte.
    pub at: NonNull<u8>,
    /// Bytes that the device is given.
    pub len: usize,
    /// What else the owner needs to put itself together again: a capacity, a pointer.
    pub extra: usize,
}

/// Something that owns bytes and can be lent to a device, whole.
///
/// # Safety
///
/// After [`into_raw`](Self::into_raw), the `len` bytes at `at` stay readable and writable, unmoved,
/// and reached by nobody else, until [`from_raw`](Self::from_raw); every value of the bytes is a
/// valid one. If [`address`](Self::address) is given, the device finds exactly those bytes there.
pub unsafe trait Buffer: Send + Sized + 'static {
    /// How many bytes the device will be given: `len` of the raw parts.
    fn bytes(&self) -> usize;

    /// Takes the buffer apart. Nothing is freed.
    fn into_raw(self) -> Raw;

    /// Puts the buffer together again.
    ///
    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw) of this type, once, and no device uses the
    /// bytes any more.
    unsafe fn from_raw(raw: Raw) -> Self;

    /// The device address of the first byte, for buffers that were made in memory for devices.
    /// Others are mapped or copied.
    fn address(&self) -> Option<u64> {
        None
    }
}

// SAFETY: a box's bytes are its own; forgetting the box keeps them allocated.
unsafe impl Buffer for Box<[u8]> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn into_raw(self) -> Raw {
        let len = self.len();
        let at = Box::into_raw(self).cast::<u8>();
        // A box is never null; for one without bytes the pointer dangles, and is not used.
        Raw {
            at: NonNull::new(at).unwrap_or(NonNull::dangling()),
            len,
            extra: 0,
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        // SAFETY: pointer and length are those of the box that was taken apart (this function's
        // contract).
        unsafe {
            Box::from_raw(core::ptr::slice_from_raw_parts_mut(
                raw.at.as_ptr(),
                raw.len,
            ))
        }
    }
}

// SAFETY: a vector's first `len` bytes are its own and initialised; `ManuallyDrop` keeps them
// allocated.
unsafe impl Buffer for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn into_raw(self) -> Raw {
        let mut this = core::mem::ManuallyDrop::new(self);
        let at = NonNull::new(this.as_mut_ptr()).unwrap_or(NonNull::dangling());
        Raw {
            at,
            len: this.len(),
            extra: this.capacity(),
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        // SAFETY: pointer, length and capacity are those of the vector that was taken apart (this
        // function's contract).
        unsafe { Self::from_raw_parts(raw.at.as_ptr(), raw.len, raw.extra) }
    }
}

// SAFETY: the exclusive reference is given up with `self`, and the bytes live as long as the
// program.
unsafe impl Buffer for &'static mut [u8] {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn into_raw(self) -> Raw {
        Raw {
            len: self.len(),
            at: NonNull::from(self).cast(),
            extra: 0,
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        // SAFETY: pointer and length are those of the reference that was given up (this function's
        // contract).
        unsafe { core::slice::from_raw_parts_mut(raw.at.as_ptr(), raw.len) }
    }
}

// SAFETY: there is none, so nothing is ever promised of one. For queues whose requests are all said by
// what is asked, and what is answered.
unsafe impl Buffer for Infallible {
    fn bytes(&self) -> usize {
        match *self {}
    }

    fn into_raw(self) -> Raw {
        match self {}
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        // Not reached: `raw` would have to come from `into_raw`, which never returns.
        unreachable!("no buffer was taken apart: {raw:?}")
    }
}

/// Bytes in memory for devices: lent without mapping or copying, whatever the platform's
/// [`Trust`](crate::platform::Trust). They are reached by copying in and out, never by reference,
/// so a device that still writes to them harms nobody.
#[derive(Debug)]
pub struct DmaBuffer {
    memory: Box<Memory>,
}

impl DmaBuffer {
    /// `len` zeroed bytes.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoMemory`]
    pub fn new<P: Platform>(platform: &P, len: usize) -> Result<Self, PlatformError> {
        /// So that rows of a disk or packets begin on a cache line.
        const ALIGN: usize = 64;
        let mut memory = platform.dma(len, ALIGN, ANYWHERE)?;
        memory.shared = memory
            .shared
            .slice(0, len)
            .ok_or(PlatformError::NoMemory(len))?;
        Ok(Self {
            memory: Box::new(memory),
        })
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.memory.shared.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes at `offset` out, filling `into`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.memory.shared.view().read(offset, into)
    }

    /// Copies `from` in, to `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`]
    pub fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
        self.memory.shared.view().write(offset, from)
    }
}

// SAFETY: the box keeps the memory alive while it is taken apart, `Memory` says where the device
// finds it (the contract of `Platform::dma`), and it is only ever reached by atomics, so a late
// device cannot hurt.
unsafe impl Buffer for DmaBuffer {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn into_raw(self) -> Raw {
        let (at, len) = (self.memory.shared.base(), self.memory.shared.len());
        Raw {
            at,
            len,
            extra: Box::into_raw(self.memory).expose_provenance(),
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        let memory = core::ptr::with_exposed_provenance_mut::<Memory>(raw.extra);
        // SAFETY: `into_raw` made `extra` from a box, once (this function's contract).
        let memory = unsafe { Box::from_raw(memory) };
        Self { memory }
    }

    fn address(&self) -> Option<u64> {
        Some(self.memory.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn round_trip<B: Buffer>(buffer: B) -> B {
        let raw = buffer.into_raw();
        // SAFETY: from `into_raw` just now, and there is no device.
        unsafe { B::from_raw(raw) }
    }

    #[test]
    fn every_kind_of_buffer_survives_being_taken_apart() {
        let mut vector = Vec::with_capacity(100);
        vector.extend_from_slice(b"vector");
        let leaked: &'static mut [u8] = Box::leak(vec![7; 3].into_boxed_slice());

        let vector = round_trip(vector);
        let boxed = round_trip(Vec::from(*b"boxed").into_boxed_slice());
        let empty = round_trip(Vec::new().into_boxed_slice());
        let borrowed = round_trip(leaked);

        assert_eq!((&vector[..], vector.capacity()), (&b"vector"[..], 100));
        assert_eq!(&boxed[..], b"boxed");
        assert!(empty.is_empty());
        assert_eq!(borrowed, [7; 3]);
    }
}
