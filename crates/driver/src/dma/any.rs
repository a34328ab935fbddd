//! A buffer of whatever type: for requests whose buffers have owners of different ones.
#![expect(
    unsafe_code,
    reason = "puts buffers together again, whose type was forgotten meanwhile"
)]

use alloc::boxed::Box;
use core::any::TypeId;
use core::mem::ManuallyDrop;

use super::buffer::{Buffer, Raw};

/// A [`Buffer`] of any type. Made of one by [`new`](Self::new), and turned into it again by
/// [`downcast`](Self::downcast). It allocates once, when it is made.
#[derive(Debug)]
pub struct AnyBuffer {
    // Behind a pointer, so that it fits into what is kept of a buffer in flight.
    erased: Box<Erased>,
}

/// A buffer, taken apart, and what it was.
#[derive(Debug)]
struct Erased {
    raw: Raw,
    address: Option<u64>,
    kind: TypeId,
    /// Puts it together again, and drops it.
    drop: unsafe fn(Raw),
}

// SAFETY: it stands for a `Buffer`, which is `Send`.
unsafe impl Send for Erased {}

impl AnyBuffer {
    /// `buffer`, its type forgotten.
    pub fn new<B: Buffer>(buffer: B) -> Self {
        let address = buffer.address();
        let erased = Erased {
            raw: buffer.into_raw(),
            address,
            kind: TypeId::of::<B>(),
            drop: drop_raw::<B>,
        };
        Self {
            erased: Box::new(erased),
        }
    }

    /// Whether it was made of a `B`.
    pub fn is<B: Buffer>(&self) -> bool {
        self.erased.kind == TypeId::of::<B>()
    }

    /// The `B` that it was made of.
    ///
    /// # Errors
    ///
    /// Itself, if it was made of something else.
    pub fn downcast<B: Buffer>(self) -> Result<B, Self> {
        if !self.is::<B>() {
            return Err(self);
        }
        let erased = ManuallyDrop::new(*self.erased);
        let raw = Raw { ..erased.raw };
        // SAFETY: `new` took a `B` apart, and this is once, since `erased` is not dropped. No device
        // uses the bytes: whoever lends this buffer has given it up until then.
        Ok(unsafe { B::from_raw(raw) })
    }
}

impl Drop for Erased {
    fn drop(&mut self) {
        let raw = Raw { ..self.raw };
        // SAFETY: as in `downcast`, which does not come here; `drop` is for the type that was taken
        // apart.
        unsafe { (self.drop)(raw) }
    }
}

/// # Safety
///
/// As for [`Buffer::from_raw`].
unsafe fn drop_raw<B: Buffer>(raw: Raw) {
    // SAFETY: this function's contract.
    drop(unsafe { B::from_raw(raw) });
}

// SAFETY: bytes and address are those of the buffer that was taken apart, whose own implementation
// has promised for them; the box, which alone can put it together, is kept by its pointer.
unsafe impl Buffer for AnyBuffer {
    fn bytes(&self) -> usize {
        self.erased.raw.len
    }

    fn into_raw(self) -> Raw {
        let Raw { at, len, .. } = self.erased.raw;
        Raw {
            at,
            len,
            extra: Box::into_raw(self.erased).expose_provenance(),
        }
    }

    unsafe fn from_raw(raw: Raw) -> Self {
        let erased = core::ptr::with_exposed_provenance_mut::<Erased>(raw.extra);
        // SAFETY: `into_raw` made `extra` from a box, once (this function's contract).
        let erased = unsafe { Box::from_raw(erased) };
        Self { erased }
    }

    fn address(&self) -> Option<u64> {
        self.erased.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::DmaBuffer;
    use crate::platform::Trust;
    use crate::testing::TestPlatform;
    use std::vec::Vec;

    #[test]
    fn a_buffer_whose_type_was_forgotten_comes_back_as_what_it_was_and_as_nothing_else() {
        let boxed: Box<[u8]> = Box::from(*b"boxed");
        let any = AnyBuffer::new(boxed);
        let raw = any.into_raw();

        // SAFETY: from `into_raw` just now, and there is no device.
        let any = unsafe { AnyBuffer::from_raw(raw) };
        let any = any.downcast::<Vec<u8>>().unwrap_err();

        assert_eq!(any.bytes(), 5);
        assert_eq!(*any.downcast::<Box<[u8]>>().unwrap(), *b"boxed");
    }

    #[test]
    fn a_buffer_whose_type_was_forgotten_keeps_its_address_and_is_freed_when_dropped() {
        let platform = TestPlatform::new(Trust::Trusted);
        let buffer = DmaBuffer::new(&platform, 64).unwrap();
        let address = buffer.address();

        let any = AnyBuffer::new(AnyBuffer::new(buffer));
        let kept = (any.address(), platform.allocations());
        drop(any);

        assert!(address.is_some());
        assert_eq!(kept, (address, 1));
        assert_eq!(platform.allocations(), 0);
    }
}
