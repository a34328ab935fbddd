//! Buffers whose bytes are reached while nobody has them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_ring::shared::OutOfRange;

use super::buffer::{Buffer, DmaBuffer};

/// A buffer whose bytes can be copied in and out, by whoever owns it at the time.
pub trait Bytes: Buffer {
    /// Whether it can have another [length](Self::set_len) than it was made with.
    const RESIZES: bool = false;

    /// Copies the bytes at `offset` out, filling `into`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`]
    fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange>;

    /// Copies `from` in, to `offset`.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`]
    fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), OutOfRange>;

    /// Has it have `len` bytes, where it is. Says whether it has: one that does not
    /// [resize](Self::RESIZES) keeps its length, and none grows beyond what it was made with.
    fn set_len(&mut self, len: usize) -> bool {
        self.bytes() == len
    }

    /// The bytes where they are. None if they are memory of which there is no reference.
    fn as_slice(&self) -> Option<&[u8]> {
        None
    }

    /// The bytes where they are, to be changed. As [`as_slice`](Self::as_slice).
    fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
        None
    }
}

/// For what is a slice.
macro_rules! slices {
    ($($buffer:ty $({ $($more:tt)+ })?),+) => {
        $(
            impl Bytes for $buffer {
                $($($more)+)?

                #[inline]
                fn as_slice(&self) -> Option<&[u8]> {
                    Some(self)
                }

                #[inline]
                fn as_mut_slice(&mut self) -> Option<&mut [u8]> {
                    Some(self)
                }

                #[inline]
                fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
                    let from = range(offset, into.len()).and_then(|range| self.get(range));
                    into.copy_from_slice(from.ok_or(OutOfRange)?);
                    Ok(())
                }

                #[inline]
                fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
                    let into = range(offset, from.len()).and_then(|range| self.get_mut(range));
                    into.ok_or(OutOfRange)?.copy_from_slice(from);
                    Ok(())
                }
            }
        )+
    };
}

slices!(Box<[u8]>, &'static mut [u8], Vec<u8> {
    const RESIZES: bool = true;

    fn set_len(&mut self, len: usize) -> bool {
        let fits = len <= self.capacity();
        if fits {
            self.resize(len, 0);
        }
        fits
    }
});

impl Bytes for DmaBuffer {
    const RESIZES: bool = true;

    fn set_len(&mut self, len: usize) -> bool {
        Self::set_len(self, len).is_ok()
    }

    #[inline]
    fn read_at(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.read(offset, into)
    }

    #[inline]
    fn write_at(&mut self, offset: usize, from: &[u8]) -> Result<(), OutOfRange> {
        self.write(offset, from)
    }
}

fn range(offset: usize, len: usize) -> Option<core::ops::Range<usize>> {
    Some(offset..offset.checked_add(len)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::Trust;
    use crate::testing::TestPlatform;
    use std::vec;

    #[test]
    fn bytes_are_copied_in_and_out_where_they_are_and_nowhere_else() {
        let mut buffer: Box<[u8]> = vec![0; 8].into();

        buffer.write_at(5, &[1, 2, 3]).unwrap();
        let mut read = [0; 4];
        buffer.read_at(4, &mut read).unwrap();

        assert_eq!(read, [0, 1, 2, 3]);
        assert_eq!(buffer.write_at(6, &[9, 9, 9]), Err(OutOfRange));
        assert_eq!(buffer.read_at(usize::MAX, &mut read), Err(OutOfRange));
        assert_eq!(*buffer, [0, 0, 0, 0, 0, 1, 2, 3]);
    }

    #[test]
    fn a_buffer_is_made_shorter_and_longer_again_within_what_it_was_made_with() {
        fn lengths<B: Bytes>(mut buffer: B) -> [Option<usize>; 5] {
            [8, 3, 0, 8, 9].map(|len| buffer.set_len(len).then(|| buffer.bytes()))
        }
        let platform = TestPlatform::new(Trust::Trusted);
        let mut vector = Vec::with_capacity(8);
        vector.push(7);

        let dma = lengths(DmaBuffer::new(&platform, 8).unwrap());
        let vector = lengths(vector);
        let boxed = lengths(Box::<[u8]>::from([0; 8]));

        assert_eq!(dma, [Some(8), Some(3), Some(0), Some(8), None]);
        assert_eq!(vector, dma);
        assert_eq!(boxed, [Some(8), None, None, Some(8), None]);
    }
}
