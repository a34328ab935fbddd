//! The disk as the outside sees it: a file.
//!
//! There are two of it, the user's and a copy. The devices get the copy, unless they are to write
//! to the user's: then the copy keeps what was there. So there is always one that was written and
//! one that tells how it was before. The copy has no name: it is gone when this process is, however
//! that ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use ringway_check::exercise::Numbers;
use ringway_host::{Access, Error, Image as HostImage};
use ringway_spec::blk::SECTOR_SIZE;
use sha2::{Digest, Sha256};

use crate::progress::Progress;
use crate::refusal::{Refusal, Result};

/// Size of the disk that is made up, in bytes.
const MADE_UP: u64 = 64 << 20;

/// Bytes that are read at a time.
const STEP: usize = 1 << 20;

/// Bytes that are left out of a copy if all of them are zero.
const HOLE: usize = 64 * 1024;

/// The user's image, or one in its place.
pub(super) struct Image {
    file: File,
    /// Whether it is the one that devices get.
    write: bool,
    bytes: u64,
    /// What it is called.
    name: String,
}

/// A disk, ready to be driven.
pub(super) struct Disk {
    image: Image,
    copy: File,
    /// The SHA-256 of what is on it now, in hexadecimal.
    sha256: String,
}

/// Bytes that a driver says it wrote.
#[derive(Debug)]
pub(super) struct Wrote {
    /// The first sector.
    pub(super) sector: u64,
    /// How many bytes.
    pub(super) bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub(super) sha256: String,
}

impl Image {
    /// Opens the user's image, which is to be written or not.
    pub(super) fn open(path: &Path, write: bool) -> Result<Self> {
        let access = if write {
            Access::ReadWrite
        } else {
            Access::ReadOnly
        };
        let name = path.display();
        match HostImage::open(path, access) {
            Ok(_) => {}
            Err(Error::NotPermitted(_)) if write => {
                return Err(Refusal::new(format_args!(
                    "{name} may not be written: change its permissions, or leave --write out, to write to a copy"
                )));
            }
            Err(Error::NotPermitted(_)) => {
                return Err(Refusal::new(format_args!(
                    "{name} may not be read: change its permissions"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        let open = OpenOptions::new().read(true).write(write).open(path);
        let file = open.map_err(Refusal::io("open", path))?;
        let bytes = size(&file).map_err(Refusal::io("read", path))?;
        Ok(Self {
            file,
            write,
            bytes,
            name: name.to_string(),
        })
    }

    /// Makes one up, whose bytes follow from `seed`.
    pub(super) fn made_up(seed: u64) -> Result<Self> {
        Self::of_numbers(MADE_UP, seed)
    }

    fn of_numbers(bytes: u64, seed: u64) -> Result<Self> {
        let file = nameless()?;
        let mut numbers = Numbers::new(seed);
        let mut step = Vec::new();
        for at in (0..bytes).step_by(STEP) {
            window(&mut step, at, bytes);
            numbers.fill(&mut step);
            file.write_all_at(&step, at)
                .map_err(|error| no_room(&error))?;
        }
        Ok(Self {
            file,
            write: false,
            bytes,
            name: "the disk".to_owned(),
        })
    }
}

impl Disk {
    /// Copies `image`.
    pub(super) fn new(image: Image, progress: &Progress) -> Result<Self> {
        let copy = nameless()?;
        progress.begin(format!("copying {}", image.name));
        // Where the file system can share what both have in common, nothing is copied.
        let shared = rustix::fs::ioctl_ficlone(&copy, &image.file).is_ok();
        copy.set_len(image.bytes).map_err(|error| no_room(&error))?;
        let mut hash = Sha256::new();
        let mut step = Vec::new();
        for at in (0..image.bytes).step_by(STEP) {
            window(&mut step, at, image.bytes);
            let read = image.file.read_exact_at(&mut step, at);
            read.map_err(Refusal::io("read", Path::new(&image.name)))?;
            hash.update(&step);
            if !shared {
                write_sparse(&copy, &step, at).map_err(|error| no_room(&error))?;
            }
            progress.at(at + step.len() as u64, image.bytes);
        }
        Ok(Self {
            sha256: hex(hash),
            image,
            copy,
        })
    }

    /// The path by which this user's processes find it, as long as this one runs.
    pub(super) fn path(&self) -> String {
        let (process, file) = (std::process::id(), self.driven().as_raw_fd());
        format!("/proc/{process}/fd/{file}")
    }

    /// Whether what a driver read is what the file holds, by its SHA-256.
    pub(super) fn reads_as(&self, sha256: &str) -> Result<(), String> {
        if sha256 == self.sha256 {
            return Ok(());
        }
        let expected = &self.sha256;
        Err(format!("SHA-256 {sha256}, and of the file {expected}"))
    }

    /// Whether the file holds what a driver says it `wrote`, and whether it is otherwise as it was
    /// before. Afterwards the disk is ready to be driven again: the copy is as the user's image
    /// is.
    pub(super) fn verify(
        &mut self,
        wrote: &[Wrote],
        progress: &Progress,
    ) -> (Result<(), String>, Result<(), String>) {
        let unreadable = |error: io::Error| Err(error.to_string());
        let held = self.holds(wrote).unwrap_or_else(unreadable);
        let rest = self.is_otherwise_unchanged(wrote, progress);
        let rest = rest.unwrap_or_else(unreadable);
        let settled = self.settle(wrote).map_err(|error| error.to_string());
        (held, rest.and(settled))
    }

    fn holds(&self, wrote: &[Wrote]) -> io::Result<Result<(), String>> {
        let mut bytes = Vec::new();
        for Wrote {
            sector,
            bytes: len,
            sha256,
        } in wrote
        {
            let Some((start, end)) = self.range(*sector, *len) else {
                return Ok(Err(format!("sector {sector}: it is not on the disk")));
            };
            let mut hash = Sha256::new();
            for at in (start..end).step_by(STEP) {
                window(&mut bytes, at, end);
                self.driven().read_exact_at(&mut bytes, at)?;
                hash.update(&bytes);
            }
            let found = hex(hash);
            if found != *sha256 {
                return Ok(Err(format!(
                    "sector {sector}: SHA-256 {found} of {len} bytes, and of what was written {sha256}"
                )));
            }
        }
        Ok(Ok(()))
    }

    fn is_otherwise_unchanged(
        &mut self,
        wrote: &[Wrote],
        progress: &Progress,
    ) -> io::Result<Result<(), String>> {
        let (mut now, mut before) = (Vec::new(), Vec::new());
        let mut hash = Sha256::new();
        for at in (0..self.image.bytes).step_by(STEP) {
            window(&mut now, at, self.image.bytes);
            window(&mut before, at, self.image.bytes);
            self.driven().read_exact_at(&mut now, at)?;
            self.kept().read_exact_at(&mut before, at)?;
            // Only a file that stays written is another one for the next driver.
            if self.image.write {
                hash.update(&now);
            }
            for wrote in wrote {
                let range = self.range(wrote.sector, wrote.bytes);
                blank(&mut now, at, range);
                blank(&mut before, at, range);
            }
            if let Some(offset) = now.iter().zip(&before).position(|(a, b)| a != b) {
                let sector = (at + offset as u64) / SECTOR_SIZE as u64;
                return Ok(Err(format!("sector {sector} has changed")));
            }
            progress.at(at + now.len() as u64, self.image.bytes);
        }
        if self.image.write {
            self.sha256 = hex(hash);
        }
        Ok(Ok(()))
    }

    /// Makes the copy what the user's image is, where either was written.
    fn settle(&self, wrote: &[Wrote]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for wrote in wrote {
            let (start, end) = self.range(wrote.sector, wrote.bytes).unwrap_or_default();
            for at in (start..end).step_by(STEP) {
                window(&mut bytes, at, end);
                self.image.file.read_exact_at(&mut bytes, at)?;
                self.copy.write_all_at(&bytes, at)?;
            }
        }
        Ok(())
    }

    /// The one that drivers read and write.
    fn driven(&self) -> &File {
        if self.image.write {
            &self.image.file
        } else {
            &self.copy
        }
    }

    /// The one that is as it was before.
    fn kept(&self) -> &File {
        if self.image.write {
            &self.copy
        } else {
            &self.image.file
        }
    }

    /// Where some bytes begin and end, if they are on the disk.
    fn range(&self, sector: u64, bytes: u64) -> Option<(u64, u64)> {
        let start = sector.checked_mul(SECTOR_SIZE as u64)?;
        let end = start.checked_add(bytes)?;
        (end <= self.image.bytes).then_some((start, end))
    }
}

/// Makes `bytes` as long as what is read at `at`, of a file or a range that ends at `end`.
fn window(bytes: &mut Vec<u8>, at: u64, end: u64) {
    let rest = usize::try_from(end.saturating_sub(at)).unwrap_or(STEP);
    bytes.resize(rest.min(STEP), 0);
}

/// Clears what of `bytes`, which are at `at`, is in `range`.
fn blank(bytes: &mut [u8], at: u64, range: Option<(u64, u64)>) {
    let (start, end) = range.unwrap_or_default();
    let within = |place: u64| {
        usize::try_from(place.saturating_sub(at)).map_or(bytes.len(), |it| it.min(bytes.len()))
    };
    let (start, end) = (within(start), within(end));
    if let Some(written) = bytes.get_mut(start..end) {
        written.fill(0);
    }
}

/// Writes `bytes` to a file that has zeroes there, and leaves zeroes as they are.
fn write_sparse(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    static ZEROES: [u8; HOLE] = [0; HOLE];
    for (piece, at) in bytes.chunks(HOLE).zip((at..).step_by(HOLE)) {
        if !ZEROES.starts_with(piece) {
            file.write_all_at(piece, at)?;
        }
    }
    Ok(())
}

/// A file without a name in the directory for temporary ones.
fn nameless() -> Result<File> {
    tempfile::tempfile().map_err(|error| no_room(&error))
}

fn no_room(error: &io::Error) -> Refusal {
    let folder = std::env::temp_dir();
    Refusal::new(format_args!(
        "cannot make a disk in {}: {error}: name another directory in TMPDIR",
        folder.display()
    ))
}

/// How large a file or a block device is.
fn size(mut file: &File) -> io::Result<u64> {
    io::Seek::seek(&mut file, io::SeekFrom::End(0))
}

fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            // A `String` takes whatever is written to it.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    const SECTORS: usize = 5000;

    fn original() -> Vec<u8> {
        let mut bytes = vec![0; SECTORS * SECTOR_SIZE];
        // A hole in the middle.
        Numbers::new(1).fill(&mut bytes[..1 << 20]);
        bytes[2 << 20..].fill(9);
        bytes
    }

    fn disk(write: bool) -> (NamedTempFile, Disk) {
        let file = NamedTempFile::new().unwrap();
        fs::write(&file, original()).unwrap();
        let image = Image::open(file.path(), write).unwrap();
        let disk = Disk::new(image, &Progress::new()).unwrap();
        (file, disk)
    }

    fn sha256(bytes: &[u8]) -> String {
        hex(Sha256::new().chain_update(bytes))
    }

    /// Writes as a device does, and says so as its driver does.
    fn write(disk: &Disk, sector: u64, bytes: &[u8]) -> Wrote {
        let path = disk.path();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, sector * 512).unwrap();
        Wrote {
            sector,
            bytes: bytes.len() as u64,
            sha256: sha256(bytes),
        }
    }

    fn refusal(path: &Path) -> String {
        let line = Image::open(path, false).err().unwrap().to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }

    #[test]
    fn a_copy_is_what_the_image_is_and_has_its_digest() {
        let (_file, disk) = disk(false);

        assert_eq!(fs::read(disk.path()).unwrap(), original());
        assert_eq!(disk.reads_as(&sha256(&original())), Ok(()));
        let other = disk.reads_as(&sha256(b"other")).unwrap_err();
        assert!(other.contains(&sha256(b"other")), "{other}");
    }

    #[test]
    fn a_hole_in_an_image_is_none_of_the_copys_blocks() {
        use std::os::unix::fs::MetadataExt;
        let (_file, disk) = disk(false);

        let blocks = disk.copy.metadata().unwrap().blocks() * 512;

        assert!(blocks < (3 * SECTORS * SECTOR_SIZE / 4) as u64, "{blocks}");
    }

    #[test]
    fn what_was_written_is_found_and_the_copy_is_as_before_afterwards() {
        let (file, mut disk) = disk(false);
        for _ in 0..2 {
            let wrote = [
                write(&disk, 0, &[1; 512]),
                write(&disk, 2040, &[2; 8192]),
                write(&disk, SECTORS as u64 - 1, &[3; 512]),
            ];

            let found = disk.verify(&wrote, &Progress::new());

            assert_eq!(found, (Ok(()), Ok(())));
            assert_eq!(fs::read(disk.path()).unwrap(), original());
            assert_eq!(disk.reads_as(&sha256(&original())), Ok(()));
        }
        assert_eq!(fs::read(&file).unwrap(), original());
    }

    #[test]
    fn an_image_that_is_written_stays_written_and_is_what_is_read_next() {
        let (file, mut disk) = disk(true);
        let first = [write(&disk, 7, &[1; 1024])];
        let found = disk.verify(&first, &Progress::new());
        let mut expected = original();
        expected[7 * 512..9 * 512].fill(1);
        let digest = disk.reads_as(&sha256(&expected));

        let second = [write(&disk, 8, &[2; 512])];
        let then = disk.verify(&second, &Progress::new());

        assert_eq!(
            (found, digest, then),
            ((Ok(()), Ok(())), Ok(()), (Ok(()), Ok(())))
        );
        expected[8 * 512..9 * 512].fill(2);
        assert_eq!(fs::read(&file).unwrap(), expected);
    }

    #[test]
    fn what_was_not_written_or_not_told_is_found_out() {
        let (_file, mut disk) = disk(false);
        let mut wrote = [write(&disk, 1, &[1; 512]), write(&disk, 99, &[2; 512])];
        write(&disk, 99, &[3; 512]);
        write(&disk, 4321, &[4]);

        let (held, rest) = disk.verify(&wrote, &Progress::new());
        wrote[0].sector = SECTORS as u64;
        let (beyond, _) = disk.verify(&wrote, &Progress::new());

        assert!(held.unwrap_err().starts_with("sector 99: SHA-256"));
        assert_eq!(rest, Err("sector 4321 has changed".to_owned()));
        assert_eq!(beyond, Err("sector 5000: it is not on the disk".to_owned()));
    }

    #[test]
    fn a_disk_is_made_up_from_its_seed() {
        let made = |seed| {
            let image = Image::of_numbers(5 << 18, seed).unwrap();
            let mut bytes = vec![0; 5 << 18];
            image.file.read_exact_at(&mut bytes, 0).unwrap();
            assert_eq!(image.bytes, size(&image.file).unwrap());
            bytes
        };

        assert!(made(1) == made(1));
        assert!(made(1) != made(2));
    }

    #[test]
    fn an_image_that_cannot_be_used_is_refused_in_one_line() {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("empty"), "").unwrap();
        fs::write(path("odd"), [0; 513]).unwrap();

        assert!(refusal(&path("missing")).contains("missing does not exist"));
        assert!(refusal(&path("empty")).contains("empty is empty"));
        assert!(refusal(&path("odd")).contains("multiple of 512"));
        assert!(refusal(folder.path()).contains("neither a file nor a block device"));
    }
}
