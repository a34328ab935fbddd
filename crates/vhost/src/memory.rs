//! Memory that processes share: files that one makes and others map.
//!
//! The front-end makes it ([`create`]); the back-end is told of it, region by region, and keeps a
//! [`Table`]. What a table gives out stays mapped until the last of it is dropped, whatever becomes
//! of the table. A file that becomes smaller afterwards is no danger to the program: what is gone
//! reads as zeroes, and [`Losses`] tells.

use core::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ringway_mapping::{Mapping, page_of};
use ringway_ring::map::{self, Map, MapError};
use ringway_ring::shared::Shared;
use rustix::fs::{FileType, MemfdFlags, SealFlags};
use rustix::fs::{fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::io::Errno;

use crate::protocol::Region;

/// Most regions of a table. A front-end that asks is told so; it is what QEMU takes at most.
pub const SLOTS_MAX: usize = 509;

/// To how many bytes an address of the driver's and its place in the file must be aligned alike:
/// what a ring is aligned to for the driver (§2.7, §2.8) then is here, too.
const ALIGNMENT: u64 = 16;

/// Why memory cannot be shared so. The front-end's fault, but for [`System`](Self::System).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// A region has no bytes.
    Empty(u64),
    /// A region passes the last address, of the driver's, of the front-end's or of the file.
    PassesTheEnd(Region),
    /// The region at this address of the driver's begins before the one below it ends.
    Overlap(u64),
    /// An address of the driver's and its place in the file are not aligned alike.
    Misaligned {
        /// The address of the driver's.
        guest_address: u64,
        /// The place in the file.
        file_offset: u64,
    },
    /// The file does not have the bytes.
    FileTooSmall {
        /// How many it has.
        has: u64,
        /// How many it would have to have.
        needed: u64,
    },
    /// The descriptor is not of a file that can be shared.
    NotAFile,
    /// There are more than [`SLOTS_MAX`] regions.
    TooManyRegions(usize),
    /// There is no such region.
    NoSuchRegion(Region),
    /// The system refuses.
    System {
        /// To do what.
        what: &'static str,
        /// Why.
        error: Errno,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty(address) => write!(f, "memory region at {address:#x} is empty"),
            Self::PassesTheEnd(region) => write!(
                f,
                "memory region of {:#x} bytes at {:#x} ({:#x} for the front-end), {:#x} of its \
                 file, passes the last address",
                region.size, region.guest_address, region.user_address, region.file_offset
            ),
            Self::Overlap(address) => write!(f, "memory region at {address:#x} overlaps another"),
            Self::Misaligned {
                guest_address,
                file_offset,
            } => write!(
                f,
                "memory region at {guest_address:#x} is at {file_offset:#x} of its file: these must \
                 be equal modulo {ALIGNMENT}"
            ),
            Self::FileTooSmall { has, needed } => write!(
                f,
                "file of {has:#x} bytes behind a memory region, {needed:#x} are needed"
            ),
            Self::NotAFile => f.write_str("descriptor of a memory region is not of a file"),
            Self::TooManyRegions(count) => {
                write!(f, "{count} memory regions, at most {SLOTS_MAX}")
            }
            Self::NoSuchRegion(region) => write!(
                f,
                "there is no memory region of {:#x} bytes at {:#x}, {:#x} for the front-end",
                region.size, region.guest_address, region.user_address
            ),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl core::error::Error for MemoryError {}

/// The memory of one connection: the regions that a front-end told of, each mapped.
#[derive(Debug, Default)]
pub struct Table {
    regions: Vec<Mapped>,
    map: Arc<Map>,
}

/// A region, and where it is.
#[derive(Clone, Debug)]
struct Mapped {
    region: Region,
    mapping: Arc<Mapping>,
}

impl Table {
    /// One without regions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts these regions in the place of those that there are. The files are closed; the mappings
    /// keep them.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if one of them cannot be. What there was stays.
    pub fn set(&mut self, regions: Vec<(Region, OwnedFd)>) -> Result<(), MemoryError> {
        if regions.len() > SLOTS_MAX {
            return Err(MemoryError::TooManyRegions(regions.len()));
        }
        self.replace(Mapped::all(regions)?)
    }

    /// Adds a region.
    ///
    /// # Errors
    ///
    /// [`MemoryError`] if it cannot be. What there was stays.
    pub fn add(&mut self, region: Region, file: OwnedFd) -> Result<(), MemoryError> {
        let count = self.regions.len() + 1;
        if count > SLOTS_MAX {
            return Err(MemoryError::TooManyRegions(count));
        }
        let mut regions = self.regions.clone();
        regions.extend(Mapped::all(vec![(region, file)])?);
        self.replace(regions)
    }

    /// Removes the region with these addresses and this size.
    ///
    /// # Errors
    ///
    /// [`MemoryError::NoSuchRegion`] if there is none.
    pub fn remove(&mut self, region: &Region) -> Result<(), MemoryError> {
        let same = |mapped: &Mapped| {
            let there = mapped.region;
            there.guest_address == region.guest_address
                && there.user_address == region.user_address
                && there.size == region.size
        };
        let mut regions = self.regions.clone();
        regions.retain(|mapped| !same(mapped));
        if regions.len() == self.regions.len() {
            return Err(MemoryError::NoSuchRegion(*region));
        }
        self.replace(regions)
    }

    /// How many regions there are.
    pub fn len(&self) -> usize {
        self.regions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// The memory by the driver's addresses. What was given out before stays as it was.
    pub fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map)
    }

    /// Tells whether something of the regions that there are now is lost.
    pub fn losses(&self) -> Losses {
        Losses(self.regions.iter().map(|at| at.mapping.clone()).collect())
    }

    /// The driver's address of the `len` bytes at an address of the front-end's, if one region has
    /// them all.
    pub fn guest_address(&self, user_address: u64, len: u64) -> Option<u64> {
        let (mapped, offset) = self.at_user_address(user_address, len)?;
        // Within the region, which does not pass the last address.
        Some(mapped.region.guest_address + offset)
    }

    /// The `len` bytes at an address of the front-end's, if one region has them all.
    pub fn user_memory(&self, user_address: u64, len: u64) -> Option<Shared> {
        let (mapped, offset) = self.at_user_address(user_address, len)?;
        // Both are within a mapping.
        mapped.shared().slice(offset as usize, len as usize)
    }

    /// The first of the driver's addresses after all regions.
    pub fn end(&self) -> u64 {
        let ends = self.regions.iter().map(|mapped| {
            let Region {
                guest_address,
                size,
                ..
            } = mapped.region;
            guest_address.saturating_add(size)
        });
        ends.max().unwrap_or(0)
    }

    /// The first region that has these bytes: if several do, they are the same bytes of a file to
    /// the front-end.
    fn at_user_address(&self, user_address: u64, len: u64) -> Option<(&Mapped, u64)> {
        self.regions.iter().find_map(|mapped| {
            let offset = user_address.checked_sub(mapped.region.user_address)?;
            let left = mapped.region.size.checked_sub(offset)?;
            (len <= left && left != 0).then_some((mapped, offset))
        })
    }

    fn replace(&mut self, regions: Vec<Mapped>) -> Result<(), MemoryError> {
        let by_address = regions.iter().map(|mapped| map::Region {
            start: mapped.region.guest_address,
            memory: mapped.shared(),
        });
        let map = Map::new(by_address.collect()).map_err(|error| match error {
            MapError::Overlap(address) | MapError::BadRegion(address) => {
                MemoryError::Overlap(address)
            }
            _ => MemoryError::TooManyRegions(regions.len()),
        })?;
        self.map = Arc::new(map);
        self.regions = regions;
        Ok(())
    }
}

impl Mapped {
    /// All of `regions`. The files are closed.
    fn all(regions: Vec<(Region, OwnedFd)>) -> Result<Vec<Self>, MemoryError> {
        let mapped = regions.into_iter();
        mapped
            .map(|(region, file)| Self::new(region, &file))
            .collect()
    }

    fn new(region: Region, file: &OwnedFd) -> Result<Self, MemoryError> {
        let Region {
            guest_address,
            size,
            user_address,
            file_offset,
        } = region;
        let last = size
            .checked_sub(1)
            .ok_or(MemoryError::Empty(guest_address))?;
        let fits = |start: u64| start.checked_add(last).is_some();
        if !fits(guest_address) || !fits(user_address) || file_offset.checked_add(size).is_none() {
            return Err(MemoryError::PassesTheEnd(region));
        }
        if guest_address % ALIGNMENT != file_offset % ALIGNMENT {
            return Err(MemoryError::Misaligned {
                guest_address,
                file_offset,
            });
        }
        let mapping = Arc::new(mapping(file, file_offset, size)?);
        Ok(Self { region, mapping })
    }

    fn shared(&self) -> Shared {
        Shared::new(self.mapping.clone())
    }
}

/// Tells whether memory that was mapped is lost: its file became smaller, and what was in the part
/// that is gone was looked for. It reads as zeroes, which is not what the driver wrote.
#[derive(Clone, Debug)]
pub struct Losses(Arc<[Arc<Mapping>]>);

impl Losses {
    /// Whether any of it is. Costs next to nothing as long as nothing is lost in the whole program.
    pub fn any(&self) -> bool {
        ringway_mapping::losses() != 0 && self.0.iter().any(|mapping| mapping.is_lost())
    }
}

/// Memory to be shared with other processes: a file without a name elsewhere, called `name` for
/// those who look, that cannot become smaller; and its `len` bytes, all zero.
///
/// # Errors
///
/// What the system says: it has no room, or `len` is zero.
pub fn create(name: &str, len: usize) -> io::Result<(OwnedFd, Shared)> {
    created(name, len, MemfdFlags::empty())
}

/// As [`create`], of huge pages if the system has as many free, else of ordinary ones. The file may
/// be larger than was asked for: a whole number of pages.
///
/// # Errors
///
/// As for [`create`].
pub fn create_huge(name: &str, len: usize) -> io::Result<(OwnedFd, Shared)> {
    created(name, len, MemfdFlags::HUGETLB).or_else(|_| create(name, len))
}

fn created(name: &str, len: usize, pages: MemfdFlags) -> io::Result<(OwnedFd, Shared)> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | pages;
    let file = memfd_create(name, flags)?;
    let page = page_of(&file)?;
    let whole = len
        .checked_next_multiple_of(page)
        .ok_or(io::ErrorKind::OutOfMemory)?;
    ftruncate(&file, if pages.is_empty() { len } else { whole } as u64)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
    let mapping = Mapping::new(file.as_fd(), 0, len, page)?;
    Ok((file, Shared::new(Arc::new(mapping))))
}

/// The `len` bytes at `offset` of a file that somebody shares, mapped until the last handle to them
/// is dropped.
///
/// # Errors
///
/// [`MemoryError`] if the file does not have them, or the system refuses.
pub fn map(file: &OwnedFd, offset: u64, len: u64) -> Result<Shared, MemoryError> {
    Ok(Shared::new(Arc::new(mapping(file, offset, len)?)))
}

fn mapping(file: &OwnedFd, offset: u64, len: u64) -> Result<Mapping, MemoryError> {
    let stat = fstat(file).map_err(failed("look at the file of a memory region"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(MemoryError::NotAFile);
    }
    // What it lacks now is refused; what it loses later is survived.
    let has = stat.st_size as u64;
    let needed = offset.saturating_add(len);
    if has < needed {
        return Err(MemoryError::FileTooSmall { has, needed });
    }
    let page = page_of(file).map_err(failed("look at the pages of a memory region"))?;
    let len = usize::try_from(len).map_err(|_| MemoryError::FileTooSmall { has, needed })?;
    Mapping::new(file.as_fd(), offset, len, page).map_err(failed("map a memory region"))
}

fn failed(what: &'static str) -> impl FnOnce(Errno) -> MemoryError {
    move |error| MemoryError::System { what, error }
}

#[cfg(test)]
mod tests;
