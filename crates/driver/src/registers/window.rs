//! Device registers that are mapped in the program's address space.
#![expect(
    unsafe_code,
    reason = "the one place that touches mapped device registers"
)]

use core::ptr::NonNull;

use crate::error::TransportError;
use crate::platform::Registers;
use crate::transport::Result;

/// A window of mapped device registers: the [`Registers`] of a machine that has them in its address
/// space.
#[derive(Clone, Debug)]
pub struct Window {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: `new` was promised that the registers stay mapped for the program, so for whichever
// thread has the handle; no reference is made to them.
unsafe impl Send for Window {}
// SAFETY: as above; accesses by several threads at once are the device's to put in order, each
// being one bus access.
unsafe impl Sync for Window {}

impl Window {
    /// The `len` bytes of device registers that are mapped at `base`.
    ///
    /// # Safety
    ///
    /// Until the program ends, the `len` bytes at `base` are mapped as device memory (uncached,
    /// accesses neither merged nor reordered), and reading or writing any of them changes no
    /// memory of this program but what a driver has given to the device.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// Where the register of type `T` at `offset` is, if it is within and aligned.
    #[inline]
    fn at<T>(&self, offset: usize) -> Result<*mut T> {
        let len = size_of::<T>();
        let last = self.len.checked_sub(len);
        let at = self.base.as_ptr().wrapping_add(offset).cast::<T>();
        if last.is_none_or(|last| offset > last) || !at.is_aligned() {
            return Err(TransportError::Range { offset, len });
        }
        Ok(at)
    }
}

impl Registers for Window {
    fn len(&self) -> usize {
        self.len
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let within = offset.checked_add(len).is_some_and(|end| end <= self.len);
        within.then(|| Self {
            // SAFETY: `offset` is at most `self.len`, so the result is in what is mapped at
            // `self.base`, or at its end.
            base: unsafe { self.base.add(offset) },
            len,
        })
    }

    #[inline]
    fn read8(&self, offset: usize) -> Result<u8> {
        let at = self.at::<u8>(offset)?;
        // SAFETY: `at` is aligned, and within what `new` was promised to be mapped.
        Ok(unsafe { at.read_volatile() })
    }

    #[inline]
    fn read16(&self, offset: usize) -> Result<u16> {
        let at = self.at::<u16>(offset)?;
        // SAFETY: as in `read8`.
        Ok(u16::from_le(unsafe { at.read_volatile() }))
    }

    #[inline]
    fn read32(&self, offset: usize) -> Result<u32> {
        let at = self.at::<u32>(offset)?;
        // SAFETY: as in `read8`.
        Ok(u32::from_le(unsafe { at.read_volatile() }))
    }

    #[inline]
    fn write8(&self, offset: usize, value: u8) -> Result<()> {
        let at = self.at::<u8>(offset)?;
        // SAFETY: as in `read8`.
        unsafe { at.write_volatile(value) };
        Ok(())
    }

    #[inline]
    fn write16(&self, offset: usize, value: u16) -> Result<()> {
        let at = self.at::<u16>(offset)?;
        // SAFETY: as in `read8`.
        unsafe { at.write_volatile(value.to_le()) };
        Ok(())
    }

    #[inline]
    fn write32(&self, offset: usize, value: u32) -> Result<()> {
        let at = self.at::<u32>(offset)?;
        // SAFETY: as in `read8`.
        unsafe { at.write_volatile(value.to_le()) };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    /// Sixteen bytes that stand for registers: 0, 1, 2 and so on.
    fn window() -> Window {
        let bytes: &mut [u32; 4] = Box::leak(Box::new(
            [0x0302_0100, 0x0706_0504, 0x0b0a_0908, 0x0f0e_0d0c].map(u32::to_le),
        ));
        // SAFETY: leaked memory stays; it is reached through the window alone.
        unsafe { Window::new(NonNull::from(bytes).cast(), 16) }
    }

    #[test]
    fn registers_are_little_endian_at_every_width() {
        let window = window();

        window.write16(2, 0xbeef).unwrap();
        window.write8(1, 0x5a).unwrap();

        assert_eq!(window.read32(0), Ok(0xbeef_5a00));
        assert_eq!(window.read16(4), Ok(0x0504));
        assert_eq!(window.read8(15), Ok(15));
    }

    #[test]
    fn an_access_that_leaves_the_window_or_is_misaligned_is_refused() {
        let window = window();
        let range = |offset, len| TransportError::Range { offset, len };

        assert_eq!(window.read8(16), Err(range(16, 1)));
        assert_eq!(window.read32(14), Err(range(14, 4)));
        assert_eq!(window.write16(usize::MAX, 0), Err(range(usize::MAX, 2)));
        assert_eq!(window.read16(3), Err(range(3, 2)));
        assert_eq!(window.write32(6, 0), Err(range(6, 4)));
        assert_eq!(window.read32(4), Ok(0x0706_0504));
    }

    #[test]
    fn a_slice_is_a_window_of_its_own() {
        let window = window();

        let slice = window.slice(8, 4).unwrap();

        assert_eq!(slice.read32(0), Ok(0x0b0a_0908));
        assert!(slice.read8(4).is_err());
        assert!(window.slice(12, 5).is_none());
        assert!(window.slice(usize::MAX, 2).is_none());
        assert!(window.slice(16, 0).unwrap().is_empty());
    }
}
