//! Raw disk images: files, or block devices, whose bytes are the disk's.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use ringway_device as device;
use ringway_device::blk::{Abilities, Blocking, Channel, Disk, Stable, Unmap};
use ringway_ring::device::Writable;
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE, Topology};
use rustix::fs::{FallocateFlags, OFlags, fallocate, fstatfs};
use rustix::io::{Errno, retry_on_intr};

use crate::channel::Reach;
use crate::direct::Direct;
use crate::error::{Error, Result};
use crate::lock;
use crate::mapped::Mapped;
use crate::options::{Access, Cache, Locking, Method, Options};
use crate::uring;

/// Bytes of a sector.
const SECTOR: u64 = SECTOR_SIZE as u64;

/// tmpfs, by its magic number.
const TMPFS: u32 = 0x0102_1994;

/// File systems whose files are nowhere but in memory: tmpfs, ramfs, and that of huge pages. A
/// call for such a file need not wait, and they do not know how to say so.
const IN_MEMORY: [u32; 3] = [TMPFS, 0x8584_58f6, HUGE_PAGES];

/// The file system of huge pages, whose files no call writes.
const HUGE_PAGES: u32 = 0x9584_58f6;

/// Zeroes written at a time where there is no short cut.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// A raw disk image: as many sectors as the file has, fixed when it is opened.
#[derive(Debug)]
pub struct Image {
    file: File,
    access: Access,
    method: Method,
    /// Present if it is to be copied from.
    mapped: Option<Mapped>,
    /// What the file asks for, if the system's cache is passed by.
    direct: Option<Direct>,
    /// Whether the file system keeps its files in memory.
    in_memory: bool,
    sectors: u64,
    /// The file system's block size, in bytes.
    block: u64,
    id: [u8; ID_BYTES],
}

impl Image {
    /// Opens the image at `path`, through the system's cache, and takes its lock.
    ///
    /// # Errors
    ///
    /// As for [`open_with`](Self::open_with).
    pub fn open(path: impl AsRef<Path>, access: Access) -> Result<Self> {
        Self::open_with(path, Options::new(access))
    }

    /// Opens the image at `path`. It is known to drivers by its file's name. Its method is
    /// [`Method::Adaptive`]; where the system refuses rings, [`Method::Mapped`] if it is in memory, and
    /// [`Method::Blocking`] if it is not.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be opened so, is no file or block device, its size is 0 or not as many
    /// whole blocks, or somebody has a lock on it.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        // Before it is opened: opening a pipe waits for its other end.
        let found = fs::metadata(path).map_err(Error::io(path))?;
        if !found.is_file() && !found.file_type().is_block_device() {
            return Err(Error::NotADisk(path.to_path_buf()));
        }
        let access = options.access;
        let (mut file, direct) = opened(path, access, options.cache)?;
        let system = fstatfs(&file).map_or(0, |found| found.f_type as u32);
        let in_memory = IN_MEMORY.contains(&system);
        if in_memory && direct.is_some() {
            // Some say that they can, and do as with a cache.
            return Err(Error::NotDirect(path.to_path_buf()));
        }
        // A block device says its size only so.
        let bytes = file.seek(SeekFrom::End(0)).map_err(Error::io(path))?;
        if bytes == 0 {
            return Err(Error::Empty(path.to_path_buf()));
        }
        let block = direct.as_ref().map_or(SECTOR, Direct::block);
        if !bytes.is_multiple_of(block) {
            let path = path.to_path_buf();
            return Err(Error::OddSize { path, bytes, block });
        }
        if options.locking == Locking::Taken {
            lock::take(&file, access).map_err(Error::lock(path))?;
        }
        if system == HUGE_PAGES && access == Access::ReadWrite {
            return Err(Error::HugePages(path.to_path_buf()));
        }
        let to_map = system == TMPFS && direct.is_none();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mapped = to_map.then(|| Mapped::new(&file, bytes)).flatten();
        Ok(Self {
            method: match &mapped {
                _ if uring::is_available(&file) => Method::Adaptive,
                Some(_) => Method::Mapped,
                None => Method::Blocking,
            },
            mapped,
            in_memory,
            direct,
            file,
            access,
            sectors: bytes.div_ceil(SECTOR),
            block: found.blksize(),
            id: id(&name),
        })
    }

    /// The image, known to drivers by `name`: its first 20 characters, of which those that are not
    /// printable ASCII become underscores.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self {
            id: id(name),
            ..self
        }
    }

    /// The image, to be reached by `method`, or by [`Method::Blocking`] where the system refuses
    /// rings, and this needs one.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        let needs_rings = matches!(method, Method::Adaptive | Method::Uring);
        let method = if needs_rings && !uring::is_available(&self.file) {
            Method::Blocking
        } else {
            method
        };
        let mapped = match method {
            Method::Adaptive => self.mapped,
            Method::Mapped if self.direct.is_none() => {
                let bytes = self.sectors.saturating_mul(SECTOR);
                self.mapped.or_else(|| Mapped::new(&self.file, bytes))
            }
            _ => None,
        };
        Self {
            method,
            mapped,
            ..self
        }
    }

    /// How it is reached.
    pub fn method(&self) -> Method {
        self.method
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Fills `into` from where the image is in memory. Says whether it did.
    pub(crate) fn copy(&self, offset: u64, into: Writable<'_>) -> bool {
        let mapped = self.mapped.as_ref();
        mapped.is_some_and(|mapped| mapped.read(&self.file, offset, into))
    }

    /// What the file asks of memory and places, if it passes the system's cache by.
    pub(crate) fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// Makes stable what was written, if it is to be when it is done.
    pub(crate) fn written(&self, stable: Stable) -> device::Result {
        match stable {
            Stable::WhenDone => self.flush(),
            Stable::WhenFlushed => Ok(()),
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

    fn write_zeroes_at(&self, offset: u64, len: u64) -> device::Result {
        let (mut at, mut left) = (offset, len);
        while left != 0 {
            let step = usize::try_from(left).map_or(ZEROES.len(), |left| left.min(ZEROES.len()));
            self.write_at(at, ZEROES.get(..step).unwrap_or_default())?;
            at = at.saturating_add(step as u64);
            left = left.saturating_sub(step as u64);
        }
        Ok(())
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

    fn block_size(&self) -> u32 {
        let block = self.direct.as_ref().map_or(SECTOR, Direct::block);
        u32::try_from(block).unwrap_or(SECTOR_SIZE as u32)
    }

    fn topology(&self) -> Option<Topology> {
        let sectors = self
            .block
            .checked_div(SECTOR)
            .filter(|sectors| sectors.is_power_of_two())?;
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

    fn channel(self: Arc<Self>) -> Box<dyn Channel> {
        Box::new(Reach::new(self))
    }
}

impl Blocking for Image {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> device::Result {
        let read = match &self.direct {
            Some(direct) => direct.read(&self.file, offset, into),
            None => self.file.read_exact_at(into, offset),
        };
        read.map_err(medium)
    }

    fn write_at(&self, offset: u64, from: &[u8]) -> device::Result {
        let written = match &self.direct {
            Some(direct) => direct.write(&self.file, offset, from),
            None => self.file.write_all_at(from, offset),
        };
        written.map_err(medium)
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

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The file at `path`, and what it asks for if the cache is passed by.
fn opened(path: &Path, access: Access, cache: Cache) -> Result<(File, Option<Direct>)> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(access == Access::ReadWrite);
    if cache == Cache::System {
        return Ok((options.open(path).map_err(Error::io(path))?, None));
    }
    let refused = || Error::NotDirect(path.to_path_buf());
    let file = options
        .custom_flags(OFlags::DIRECT.bits() as i32)
        .open(path);
    let file = file.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => refused(),
        _ => Error::io(path)(error),
    })?;
    let direct = Direct::of(&file).ok_or_else(refused)?;
    Ok((file, Some(direct)))
}

/// Any failure of the file is one of the medium: also an end that came too soon, because the file
/// was made shorter.
pub(crate) fn medium(_: io::Error) -> device::Error {
    device::Error::Medium
}

/// The first characters of `name`, as an identity.
fn id(name: &str) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    for (byte, char) in id.iter_mut().zip(name.chars()) {
        let printable = char.is_ascii_graphic() || char == ' ';
        *byte = if printable { char as u8 } else { b'_' };
    }
    id
}

#[cfg(test)]
mod tests;
