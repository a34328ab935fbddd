//! Raw disk images: files, or block devices, whose bytes are the disk's.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use ringway_device::blk::{Abilities, Disk, Unmap};
use ringway_device::{self as device};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, Result};

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Bytes of an identity.
const ID_BYTES: usize = 20;

/// How an image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing can be written to it.
    ReadOnly,
    /// It can be read and written.
    ReadWrite,
}

/// A raw disk image: as many sectors as the file has, fixed when it is opened.
#[derive(Debug)]
pub struct Image {
    file: File,
    access: Access,
    sectors: u64,
    /// The file system's block size, in bytes.
    block: u64,
    id: [u8; ID_BYTES],
}

impl Image {
    /// Opens the image at `path`. It is known to drivers by its file's name.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be opened so, is no file or block device, or its size is 0 or no multiple of 512.
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self> {
        let path = path.as_ref();
        // Before it is opened: opening a pipe waits for its other end.
        let found = fs::metadata(path).map_err(Error::io(path))?;
        if !found.is_file() && !found.file_type().is_block_device() {
            return Err(Error::NotADisk(path.to_path_buf()));
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(path)
            .map_err(Error::io(path))?;
        // A block device says its size only so.
        let bytes = file.seek(SeekFrom::End(0)).map_err(Error::io(path))?;
        if bytes == 0 {
            return Err(Error::Empty(path.to_path_buf()));
        }
        if !bytes.is_multiple_of(SECTOR) {
            let path = path.to_path_buf();
            return Err(Error::OddSize { path, bytes });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            file,
            access,
            sectors: bytes / SECTOR,
            block: found.blksize(),
            id: id(&name),
        })
    }

    /// The image, known to drivers by `name`: its first 20 characters, of which those that are not printable ASCII become underscores.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            id: id(name),
            ..self
        }
    }

    /// Asks the file system for one of its short cuts. `Unsupported` where it has no such.
    fn short_cut(&self, mode: FallocateFlags, offset: u64, len: u64) -> device::Result {
        retry_on_intr(|| fallocate(&self.file, mode | FallocateFlags::KEEP_SIZE, offset, len))
            .map_err(|errno| match errno {
                Errno::OPNOTSUPP | Errno::NOSYS | Errno::NODEV => device::Error::Unsupported,
                _ => device::Error::Medium,
            })
    }
}

impl Disk for Image {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn is_read_only(&self) -> bool {
        self.access == Access::ReadOnly
    }

    fn id(&self) -> [u8; ID_BYTES] {
        self.id
    }

    fn topology(&self) -> Option<Topology> {
        let sectors = self.block.checked_div(SECTOR).filter(|sectors| sectors.is_power_of_two())?;
        Some(Topology {
            physical_block_exp: sectors.ilog2() as u8,
            min_io_size: u16::try_from(sectors).ok()?.into(),
            ..Topology::default()
        })
    }

    fn abilities(&self) -> Abilities {
        let writable = !self.is_read_only();
        Abilities {
            discard: writable,
            write_zeroes: writable,
            unmap: writable,
        }
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> device::Result {
        self.file.read_exact_at(into, offset).map_err(medium)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> device::Result {
        self.file.write_all_at(from, offset).map_err(medium)
    }

    fn flush(&self) -> device::Result {
        self.file.sync_data().map_err(medium)
    }

    fn discard(&self, offset: u64, len: u64) -> device::Result {
        if len == 0 {
            return Ok(());
        }
        match self.short_cut(FallocateFlags::PUNCH_HOLE, offset, len) {
            // A disk may keep what it was told to forget.
            Err(device::Error::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn write_zeroes(&self, offset: u64, len: u64, unmap: Unmap) -> device::Result {
        if len == 0 {
            return Ok(());
        }
        let mode = match unmap {
            Unmap::Keep => FallocateFlags::ZERO_RANGE,
            Unmap::Allow => FallocateFlags::PUNCH_HOLE,
        };
        match self.short_cut(mode, offset, len) {
            Err(device::Error::Unsupported) => self.write_zeroes_at(offset, len),
            result => result,
        }
    }
}
