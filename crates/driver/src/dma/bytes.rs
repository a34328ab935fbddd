//! Buffers whose bytes are reached while nobody has them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_ring::shared::OutOfRange;

use super::buffer::{Buffer, DmaBuffer};

/// A buffer whose bytes can be copied in and out, by whoever owns it at the time.
pub trait Bytes: Buffer {
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
}

/// For what is a slice.
macro_rules! slices {
    ($($buffer:ty),+) => {
        $(
            impl Bytes for $buffer {
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

slices!(Box<[u8]>, Vec<u8>, &'static mut [u8]);

impl Bytes for DmaBuffer {
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
}
