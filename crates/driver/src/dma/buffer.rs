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
use ringway_ring::shared::{OutOfRange, View};

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
    all: Box<Extent>,
}

/// Bytes of a line of a processor's cache, on which buffers begin.
const LINE: usize = 64;

/// Memory for devices, of which the first bytes are the buffer.
#[derive(Debug)]
struct Extent {
    memory: Memory,
    len: usize,
}

impl DmaBuffer {
    /// `len` zeroed bytes.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoMemory`]
    pub fn new<P: Platform>(platform: &P, len: usize) -> Result<Self, PlatformError> {
        let mut memory = platform.dma(len, LINE, ANYWHERE)?;
        memory.shared = memory
            .shared
            .slice(0, len)
            .ok_or(PlatformError::NoMemory(len))?;
        Ok(Self {
            all: Box::new(Extent { memory, len }),
        })
    }

    /// `count` buffers of `len` zeroed bytes each, out of one piece of memory: for packets, of which
    /// there are many. They lie such that those that are used together are in a processor's cache
    /// together. The memory is kept as long as one of them is.
    ///
    /// # Errors
    ///
    /// [`PlatformError::NoMemory`]
    pub fn several<P: Platform>(
        platform: &P,
        count: usize,
        len: usize,
    ) -> Result<Vec<Self>, PlatformError> {
        // An odd number of lines from one to the next: beginnings spread over all of a cache, and do
        // not all compete for the same places in it.
        let stride = len.div_ceil(LINE).checked_add(1).map(|lines| lines | 1);
        let stride = stride.and_then(|lines| lines.checked_mul(LINE));
        let none = PlatformError::NoMemory(len);
        let stride = stride.ok_or(none)?;
        let bytes = stride.checked_mul(count).ok_or(none)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let whole = platform.dma(bytes, LINE, ANYWHERE)?;
        let part = |number: usize| {
            // Within `bytes`.
            let offset = number * stride;
            let shared = whole.shared.slice(offset, len)?;
            let address = whole.address.wrapping_add(offset as u64);
            let memory = Memory { shared, address };
            Some(Self {
                all: Box::new(Extent { memory, len }),
            })
        };
        (0..count).map(|number| part(number).ok_or(none)).collect()
    }

    /// How many bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.all.len
    }

    /// How many bytes it can have: as many as it was made with.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.all.memory.shared.len()
    }

    /// Has it have `len` bytes, the first ones, whose values stay what they are: a short packet goes in
    /// a long buffer.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if that is more than its [capacity](Self::capacity): nothing has changed.
    #[inline]
    pub fn set_len(&mut self, len: usize) -> Result<(), OutOfRange> {
        if len > self.capacity() {
            return Err(OutOfRange);
        }
        self.all.len = len;
        Ok(())
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
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.view(offset, into.len())?.read(0, into)
    }

    /// Copies `from` in, to `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`]
    #[inline]
    pub fn write(&mut self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
        self.view(offset, from.len())?.write(0, from)
    }

    /// `len` of its bytes, those from `offset` on.
    #[inline]
    fn view(&self, offset: usize, len: usize) -> Result<View<'_>, OutOfRange> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > self.all.len) {
            return Err(OutOfRange);
        }
        let view = self.all.memory.shared.view();
        view.slice(offset, len).ok_or(OutOfRange)
    }
}

// SAFETY: the box keeps the memory alive while it is taken apart, `Memory` says where the device
// finds it (the contract of `Platform::dma`), and it is only ever reached by atomics, so a late
// device cannot hurt.
unsafe impl Buffer for DmaBuffer {
    #[inline]
    fn bytes(&self) -> usize {
        self.len()
    }

    #[inline]
    fn into_raw(self) -> Raw {
        let (at, len) = (self.all.memory.shared.base(), self.all.len);
        Raw {
            at,
            len,
            extra: Box::into_raw(self.all).expose_provenance(),
        }
    }

    #[inline]
    unsafe fn from_raw(raw: Raw) -> Self {
        let all = core::ptr::with_exposed_provenance_mut::<Extent>(raw.extra);
        // SAFETY: `into_raw` made `extra` from a box, once (this function's contract).
        let all = unsafe { Box::from_raw(all) };
        Self { all }
    }

    #[inline]
    fn address(&self) -> Option<u64> {
        Some(self.all.memory.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Trust;
    use crate::testing::TestPlatform;
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

    #[test]
    fn several_buffers_for_devices_are_apart_and_keep_their_memory() {
        let platform = TestPlatform::new(Trust::Trusted);
        let mut buffers = DmaBuffer::several(&platform, 5, 100).unwrap();

        for (number, buffer) in (0..).zip(&mut buffers) {
            buffer.write(0, &[number; 100]).unwrap();
        }
        let addresses: Vec<_> = buffers.iter().flat_map(Buffer::address).collect();
        let last = buffers.pop().unwrap();
        drop(buffers);
        let mut read = [0; 100];
        last.read(0, &mut read).unwrap();

        assert!(addresses.iter().all(|address| address % 64 == 0));
        assert!(addresses.array_windows().all(|[a, b]| b - a == 192));
        assert_eq!((read, platform.allocations()), ([4; 100], 1));
        drop(last);
        assert_eq!(platform.allocations(), 0);
        assert!(DmaBuffer::several(&platform, usize::MAX, 2).is_err());
        assert!(DmaBuffer::several(&platform, 0, 2).unwrap().is_empty());
    }

    #[test]
    fn a_buffer_for_devices_has_as_many_of_its_bytes_as_it_is_told() {
        let platform = TestPlatform::new(Trust::Trusted);
        let mut buffer = DmaBuffer::new(&platform, 64).unwrap();
        buffer.write(6, &[1, 2, 3]).unwrap();

        buffer.set_len(8).unwrap();
        let mut buffer = round_trip(buffer);
        let mut read = [0; 2];
        buffer.read(6, &mut read).unwrap();

        assert_eq!((buffer.bytes(), buffer.capacity(), read), (8, 64, [1, 2]));
        assert_eq!(buffer.read(7, &mut read), Err(OutOfRange));
        assert_eq!(buffer.write(usize::MAX, &[4]), Err(OutOfRange));
        assert_eq!(buffer.set_len(65), Err(OutOfRange));
        assert_eq!((buffer.set_len(64), buffer.len()), (Ok(()), 64));
    }
}
