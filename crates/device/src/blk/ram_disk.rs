//! A disk in memory: gone when it is dropped.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE};
use spin::Mutex;

use super::{Blocking, Bounced, Channel, Disk};
use crate::error::{Error, Result};

/// A disk in memory, of zeroes at first.
#[derive(Debug)]
pub struct RamDisk {
    bytes: Mutex<Vec<u8>>,
    sectors: u64,
}

impl RamDisk {
    /// A disk of `sectors` sectors of 512 bytes.
    pub fn new(sectors: usize) -> Self {
        let bytes = vec![0; sectors.saturating_mul(SECTOR_SIZE)];
        Self {
            sectors: sectors as u64,
            bytes: Mutex::new(bytes),
        }
    }

    /// What `work` makes of the `len` bytes at `offset`. They are within: the device has checked
    /// them.
    fn with<T>(&self, offset: u64, len: usize, work: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let start = usize::try_from(offset).map_err(|_| Error::Medium)?;
        let end = start.checked_add(len).ok_or(Error::Medium)?;
        self.bytes
            .lock()
            .get_mut(start..end)
            .map(work)
            .ok_or(Error::Medium)
    }
}

impl Disk for RamDisk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn id(&self) -> [u8; ID_BYTES] {
        *b"ram\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    }

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Bounced::new(self))
    }
}

impl Blocking for RamDisk {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result {
        self.with(offset, into.len(), |bytes| into.copy_from_slice(bytes))
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> Result {
        self.with(offset, from.len(), |bytes| bytes.copy_from_slice(from))
    }

    fn flush(&self) -> Result {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_beyond_the_end() {
        let disk = RamDisk::new(2);
        let mut into = [1; 3];

        disk.write_at(510, b"ab").unwrap();

        disk.read_at(509, &mut into).unwrap();
        assert_eq!(&into, b"\0ab");
        assert_eq!(disk.write_at(1023, b"ab"), Err(Error::Medium));
        assert_eq!(disk.read_at(u64::MAX, &mut into), Err(Error::Medium));
    }
}
