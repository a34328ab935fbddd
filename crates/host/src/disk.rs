//! Raw disk images: files, or block devices, whose bytes are the disk's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use ringway_device as device;
use ringway_device::blk::{Abilities, Blocking, Channel, Disk, Stable, Unmap};
use ringway_spec::blk::{ID_BYTES, SECTOR_SIZE, Topology};
use rustix::fs::{FallocateFlags, fallocate, fstatfs};
use rustix::io::{Errno, retry_on_intr};

use crate::channel::Reach;
use crate::error::{Error, Result};
use crate::uring;

/// Bytes of a sector.
const SECTOR: u64 = SECTOR_SIZE as u64;

/// File systems whose files are nowhere but in memory, by their magic numbers: tmpfs and ramfs. A
/// call for such a file need not wait, and they do not know how to say so.
const IN_MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6];

/// Zeroes written at a time where there is no short cut.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

/// How an image is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing can be written to it.
    ReadOnly,
    /// It can be read and written.
    ReadWrite,
}

/// How what is asked of an image reaches the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// At once, by a call, where that need not wait: for bytes that the system has in memory.
    /// Everything else goes through a ring of the kernel (`io_uring`), many requests at a time.
    Adaptive,
    /// Everything goes through a ring of the kernel.
    Uring,
    /// By calls, each of which may wait, one after the other.
    Blocking,
}

/// A raw disk image: as many sectors as the file has, fixed when it is opened.
#[derive(Debug)]
pub struct Image {
    file: File,
    access: Access,
    method: Method,
    /// Whether the file system keeps its files in memory.
    in_memory: bool,
    sectors: u64,
    /// The file system's block size, in bytes.
    block: u64,
    id: [u8; ID_BYTES],
}

impl Image {
    /// Opens the image at `path`. It is known to drivers by its file's name. Its method is
    /// [`Method::Adaptive`], or [`Method::Blocking`] where the system refuses rings.
    ///
    /// # Errors
    ///
    /// [`Error`] if it cannot be opened so, is no file or block device, or its size is 0 or no
    /// multiple of 512.
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
            in_memory: fstatfs(&file).is_ok_and(|found| IN_MEMORY.contains(&(found.f_type as u32))),
            method: if uring::is_available(&file) {
                Method::Adaptive
            } else {
                Method::Blocking
            },
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
    /// rings.
    #[must_use]
    pub fn with_method(self, method: Method) -> Self {
        let method = match self.method {
            Method::Blocking if !uring::is_available(&self.file) => Method::Blocking,
            _ => method,
        };
        Self { method, ..self }
    }

    /// How it is reached.
    pub fn method(&self) -> Method {
        self.method
    }

    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory
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

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
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
mod tests {
    use super::*;
    use std::error::Error as _;
    use tempfile::{NamedTempFile, TempDir};

    /// An image whose sectors each hold their own number.
    fn image(sectors: u8) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..sectors).flat_map(|sector| [sector; 512]).collect();
        fs::write(&file, bytes).unwrap();
        file
    }

    fn read(disk: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0xaa; len];
        disk.read_at(offset, &mut bytes).unwrap();
        bytes
    }

    fn refusal(path: impl AsRef<Path>, access: Access) -> String {
        let error = Image::open(path, access).unwrap_err();
        assert!(error.source().is_none(), "{error:?}");
        error.to_string()
    }

    #[test]
    fn sectors_are_read_and_written_where_they_are() {
        let file = image(8);
        let disk = Image::open(&file, Access::ReadWrite).unwrap();

        disk.write_at(512, &[0x55; 1024]).unwrap();
        disk.flush().unwrap();

        assert_eq!(disk.sectors(), 8);
        assert_eq!(read(&disk, 0, 512), [0; 512]);
        assert_eq!(read(&disk, 512, 1024), [0x55; 1024]);
        assert_eq!(fs::read(&file).unwrap()[1536..2048], [3; 512]);
    }

    #[test]
    fn what_is_discarded_keeps_its_place_and_what_is_zeroed_reads_as_zero() {
        let file = image(32);
        let disk = Image::open(&file, Access::ReadWrite).unwrap();

        disk.discard(8192, 4096).unwrap();
        disk.write_zeroes(512, 512, Unmap::Keep).unwrap();
        disk.write_zeroes(1536, 512, Unmap::Allow).unwrap();
        disk.write_zeroes(0, 0, Unmap::Keep).unwrap();

        assert_eq!(read(&disk, 0, 512), [0; 512]);
        assert_eq!(read(&disk, 512, 512), [0; 512]);
        assert_eq!(read(&disk, 1024, 512), [2; 512]);
        assert_eq!(read(&disk, 1536, 512), [0; 512]);
        assert_eq!(read(&disk, 2048, 512), [4; 512]);
        assert_eq!(read(&disk, 12288, 512), [24; 512]);
        assert_eq!(fs::metadata(&file).unwrap().len(), 32 * 512);
    }

    #[test]
    fn zeroes_are_written_where_there_is_no_short_cut() {
        let file = image(200);
        let disk = Image::open(&file, Access::ReadWrite).unwrap();

        disk.write_zeroes_at(512, 198 * 512).unwrap();

        let mut expected = vec![0; 200 * 512];
        expected[199 * 512..].fill(199);
        assert_eq!(fs::read(&file).unwrap(), expected);
    }

    #[test]
    fn an_image_opened_read_only_says_so_and_is_not_written() {
        let file = image(2);
        let disk = Image::open(&file, Access::ReadOnly).unwrap();

        let written = disk.write_at(0, &[9; 512]);

        assert!(disk.is_read_only());
        assert_eq!(disk.abilities(), Abilities::default());
        assert_eq!(written, Err(device::Error::Medium));
        assert_eq!(read(&disk, 0, 512), [0; 512]);
    }

    #[test]
    fn an_image_made_shorter_fails_the_read_and_not_the_program() {
        let file = image(4);
        let disk = Image::open(&file, Access::ReadOnly).unwrap();

        file.as_file().set_len(1024).unwrap();

        assert_eq!(
            disk.read_at(512, &mut [0; 1024]),
            Err(device::Error::Medium)
        );
        assert_eq!(read(&disk, 0, 1024).len(), 1024);
    }

    #[test]
    fn an_image_is_known_by_its_name_or_a_given_one() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("größe-of-a-long-name.img");
        fs::write(&path, [0; 512]).unwrap();

        let disk = Image::open(&path, Access::ReadOnly).unwrap();

        assert_eq!(&disk.id(), b"gr__e-of-a-long-name");
        assert_eq!(
            &disk.named("root").id(),
            b"root\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn an_image_that_is_not_there_is_refused() {
        let folder = TempDir::new().unwrap();

        let said = refusal(folder.path().join("none.img"), Access::ReadOnly);

        assert!(
            said.ends_with("none.img does not exist: give the path of a disk image"),
            "{said}"
        );
    }

    #[test]
    fn an_empty_image_is_refused() {
        let said = refusal(image(0).path(), Access::ReadOnly);

        assert!(said.contains("is empty"), "{said}");
    }

    #[test]
    fn an_image_of_no_whole_sectors_is_refused() {
        let file = image(1);
        file.as_file().set_len(513).unwrap();

        let said = refusal(&file, Access::ReadWrite);

        assert!(
            said.contains("has 513 bytes, which is not a multiple of 512"),
            "{said}"
        );
    }

    #[test]
    fn a_directory_or_a_character_device_is_no_disk() {
        let folder = TempDir::new().unwrap();

        for path in [folder.path(), Path::new("/dev/null")] {
            let said = refusal(path, Access::ReadOnly);

            assert!(
                said.contains("is neither a file nor a block device"),
                "{said}"
            );
        }
    }
}
