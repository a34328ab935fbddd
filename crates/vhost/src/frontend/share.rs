//! The memory that back-ends are given: one stretch, of one file, for the whole platform.
//!
//! It is reserved once, and has no more pages than were used. Drivers, this program and the file
//! each count its bytes from another number, so an address of the wrong kind is found out by its
//! first use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ringway_driver::pages::{PAGE, Pages};
use ringway_ring::driver::Memory;
use ringway_ring::shared::Shared;
use rustix::io::Errno;

use super::error::{Error, Result};
use super::platform::HugePages;
use crate::memory;
use crate::protocol::Region;

/// Device address of the first byte: none that a program has for its own memory, and aligned to
/// whatever a driver may ask for.
const DEVICE_BASE: u64 = 0x1_0000_0000;

/// What the file is called, for those who look for whose it is.
const NAME: &str = "ringway-dma";

/// Memory that back-ends are given.
#[derive(Debug)]
pub(crate) struct Share {
    file: OwnedFd,
    pages: Arc<Pages>,
}

impl Share {
    /// `bytes` of it, rounded up to whole pages.
    pub(crate) fn new(bytes: usize, huge: HugePages) -> Result<Self> {
        let none = Error::Memory(Errno::NOMEM.raw_os_error());
        let whole = bytes.max(1).checked_next_multiple_of(PAGE as usize);
        let whole = whole.ok_or(none)?;
        let made = match huge {
            HugePages::No => memory::create(NAME, whole),
            HugePages::IfAvailable => memory::create_huge(NAME, whole),
        };
        let (file, shared) = made.map_err(|error| {
            Error::Memory(error.raw_os_error().unwrap_or(Errno::NOMEM.raw_os_error()))
        })?;
        let pages = Pages::new(Memory {
            shared,
            address: DEVICE_BASE,
        });
        let pages = pages.ok_or(none)?;
        Ok(Self { file, pages })
    }

    /// What of it is free, and what is not.
    pub(crate) fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }

    /// All of it, as back-ends are told.
    pub(crate) fn region(&self) -> Region {
        let Memory { shared, address } = self.pages.memory();
        Region {
            guest_address: *address,
            size: shared.len() as u64,
            user_address: shared.base().addr().get() as u64,
            file_offset: 0,
        }
    }

    /// The file that it is in.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What we call what drivers call `address`.
    pub(crate) fn user_address(&self, address: u64) -> Option<u64> {
        let region = self.region();
        let offset = address.checked_sub(region.guest_address)?;
        (offset < region.size).then(|| region.user_address + offset)
    }

    /// The `len` bytes at the drivers' `address`.
    pub(crate) fn at(&self, address: u64, len: usize) -> Option<Shared> {
        let Memory {
            shared,
            address: base,
        } = self.pages.memory();
        let offset = usize::try_from(address.checked_sub(*base)?).ok()?;
        shared.slice(offset, len)
    }
}
