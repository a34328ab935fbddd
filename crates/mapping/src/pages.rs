//! Pages of files, mapped.
#![expect(
    unsafe_code,
    reason = "mapping memory is a promise that the compiler cannot check"
)]

use core::ffi::c_void;
use core::ptr::{self, NonNull};
use std::os::fd::{AsFd, BorrowedFd};

use ringway_ring::shared::{Backing, OutOfRange, View};
use rustix::fs::fstatfs;
use rustix::io::Errno;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use rustix::param::page_size;

use crate::survival::{Claim, Entry, survive};

/// What a file system of huge pages says of itself.
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// Bytes of a file, mapped to be read and written, and shared with all others who map them.
#[derive(Debug)]
pub struct Mapping(Pages);

/// Bytes of a file, mapped to be copied from. They are what the file has at that moment.
#[derive(Debug)]
pub struct ReadOnly(Pages);

/// How many bytes a page of this file has, a power of two.
///
/// # Errors
///
/// What the system says.
pub fn page_of(file: impl AsFd) -> Result<usize, Errno> {
    let about = fstatfs(file)?;
    let huge = about.f_type as u64 == HUGETLBFS_MAGIC;
    let page = usize::try_from(about.f_bsize).unwrap_or_default();
    Ok(if huge && page.is_power_of_two() {
        page
    } else {
        page_size()
    })
}

impl Mapping {
    /// Maps the `len` bytes at `offset` of `file`, whose pages have `page` bytes, a power of two.
    ///
    /// # Errors
    ///
    /// What the system says; `NOMEM` also if there are [`MAPPINGS_MAX`](crate::MAPPINGS_MAX)
    /// mappings, and `INVAL` if there are no such bytes in any file.
    pub fn new(file: BorrowedFd<'_>, offset: u64, len: usize, page: usize) -> Result<Self, Errno> {
        Pages::new(file, offset, len, page, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    /// Whether the file lost bytes that were then looked for: zeroes stand in for them.
    pub fn is_lost(&self) -> bool {
        self.0.entry.is_lost()
    }
}

impl ReadOnly {
    /// Maps the `len` bytes at `offset` of `file`, whose pages have `page` bytes, a power of two.
    ///
    /// # Errors
    ///
    /// As for [`Mapping::new`].
    pub fn new(file: BorrowedFd<'_>, offset: u64, len: usize, page: usize) -> Result<Self, Errno> {
        Pages::new(file, offset, len, page, ProtFlags::READ).map(Self)
    }

    /// As for [`Mapping::is_lost`]. What was copied before this says so may be those zeroes.
    pub fn is_lost(&self) -> bool {
        self.0.entry.is_lost()
    }

    /// Whether the `len` bytes from `offset` on are in memory now, and no hole: then it takes no medium
    /// to read them, and reading them makes no page. A user who may not write to the file and does
    /// not own it is always told so.
    pub fn is_resident(&self, offset: usize, len: usize) -> bool {
        /// Pages that are asked for at a time.
        const PAGES: usize = 256;
        let Some(end) = offset.checked_add(len).filter(|&end| end <= self.0.len) else {
            return false;
        };
        let page = page_size();
        let before = self.0.before();
        let end = before + end;
        let mut at = (before + offset) & !(page - 1);
        let mut states = [0_u8; PAGES];
        while at < end {
            let pages = (end - at).div_ceil(page).min(PAGES);
            // SAFETY: `at` is a whole number of pages, and less than `end`, which is no more than the
            // bytes that `new` mapped; the pages asked for are those up to `end` at most. There is a
            // byte of `states` for each of them.
            let asked = unsafe {
                libc::mincore(
                    self.0.pages.as_ptr().byte_add(at),
                    pages * page,
                    states.as_mut_ptr(),
                )
            };
            let states = states.get(..pages).unwrap_or_default();
            if asked != 0 || states.iter().any(|state| state & 1 == 0) {
                return false;
            }
            at += pages * page;
        }
        true
    }

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`] if they are not all mapped; nothing was copied.
    pub fn read(&self, offset: usize, into: View<'_>) -> Result<(), OutOfRange> {
        let end = offset.checked_add(into.len()).ok_or(OutOfRange)?;
        if end > self.0.len {
            return Err(OutOfRange);
        }
        // SAFETY: `offset` is at most the number of bytes that are mapped at `base`.
        let from = unsafe { self.0.base.add(offset) };
        // SAFETY: as many bytes as are asked for are mapped from there on, as was found above, and
        // can be read until `self` is dropped; one that its file lost is replaced. This program
        // reaches them here alone.
        unsafe { into.fill_from(from) };
        Ok(())
    }
}

// SAFETY: `Pages::new` mapped the `len` bytes at `base`, to be read and written, in pages that only
// `drop` unmaps; neither value changes. A page that its file loses is replaced at the same address,
// with the same rights. The address is given to nobody but `Shared`.
unsafe impl Backing for Mapping {
    fn base(&self) -> NonNull<u8> {
        self.0.base
    }

    fn len(&self) -> usize {
        self.0.len
    }
}

/// Pages that are mapped until this is dropped, and stay mapped when their file loses them.
#[derive(Debug)]
struct Pages {
    /// The first byte that was asked for, and how many were.
    base: NonNull<u8>,
    len: usize,
    /// The pages in which they lie.
    pages: NonNull<c_void>,
    pages_len: usize,
    entry: &'static Entry,
}

// SAFETY: nothing in a mapping belongs to a thread, and its memory is reached through atomics and
// copies of the processor's only.
unsafe impl Send for Pages {}
// SAFETY: as above: a shared mapping gives away its address and its length.
unsafe impl Sync for Pages {}

impl Pages {
    fn new(
        file: BorrowedFd<'_>,
        offset: u64,
        len: usize,
        page: usize,
        rights: ProtFlags,
    ) -> Result<Self, Errno> {
        survive();
        let before = (offset % page as u64) as usize;
        let pages_len = len
            .checked_add(before)
            .and_then(|len| len.checked_next_multiple_of(page))
            .filter(|_| len != 0 && offset.checked_add(len as u64).is_some())
            .ok_or(Errno::INVAL)?;
        let claim = Claim::new()?;
        // SAFETY: no address is asked for, so nothing that is mapped is replaced.
        let pages = unsafe {
            mm::mmap(
                ptr::null_mut(),
                pages_len,
                rights,
                MapFlags::SHARED,
                file,
                offset - before as u64,
            )?
        };
        let pages = NonNull::new(pages).ok_or(Errno::INVAL)?;
        // The driver's memory, or its disk, is none of what a core file of this program is to tell.
        // Not being able to leave it out is no reason to fail.
        // SAFETY: the pages were mapped above, and the advice changes nothing of what they hold.
        let _ = unsafe { mm::madvise(pages.as_ptr(), pages_len, Advice::LinuxDontDump) };
        // SAFETY: `before` is below `page`, which is not more than `pages_len`, the size of what
        // was mapped.
        let base = unsafe { pages.cast::<u8>().add(before) };
        let entry = claim.keep(pages.addr().get(), pages_len, page);
        Ok(Self {
            base,
            len,
            pages,
            pages_len,
            entry,
        })
    }

    /// How many bytes of the pages come before those that were asked for.
    fn before(&self) -> usize {
        self.base.addr().get() - self.pages.addr().get()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // Before the address can be somebody else's.
        self.entry.clear();
        // SAFETY: these pages were mapped by `new`, are unmapped nowhere else, and nobody reaches
        // them: by the contract of `Backing`, that goes through handles that keep this value. Not
        // to be able to unmap leaks them, and harms nobody.
        let _ = unsafe { mm::munmap(self.pages.as_ptr(), self.pages_len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use ringway_ring::shared::Shared;
    use rustix::fs::{MemfdFlags, fstat, memfd_create};
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    const PAGE: usize = 4096;

    /// A file of two pages, of ones and of twos.
    fn file() -> File {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; PAGE], 0).unwrap();
        file.write_all_at(&[2; PAGE], PAGE as u64).unwrap();
        file
    }

    fn copied(pages: &ReadOnly, offset: usize, len: usize) -> Result<Vec<u8>, OutOfRange> {
        let memory = Shared::allocate(len, 8).unwrap();
        pages.read(offset, memory.view())?;
        let mut bytes = vec![0; len];
        memory.view().read(0, &mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn what_is_copied_is_what_the_file_has_now() {
        let file = file();
        let pages = ReadOnly::new(file.as_fd(), 0, 2 * PAGE, PAGE).unwrap();

        let before = copied(&pages, PAGE - 1, 2).unwrap();
        file.write_all_at(&[9], PAGE as u64).unwrap();

        assert_eq!(before, [1, 2]);
        assert_eq!(copied(&pages, PAGE - 1, 2).unwrap(), [1, 9]);
        assert!(!pages.is_lost());
    }

    #[test]
    fn nothing_beyond_what_is_mapped_is_copied() {
        let file = file();
        let pages = ReadOnly::new(file.as_fd(), 8, PAGE, PAGE).unwrap();

        assert_eq!(copied(&pages, PAGE - 1, 1), Ok(vec![2]));
        assert_eq!(copied(&pages, PAGE - 1, 2), Err(OutOfRange));
        assert_eq!(copied(&pages, usize::MAX, 2), Err(OutOfRange));
    }

    #[test]
    fn a_file_that_may_only_be_read_can_be_copied_from_and_not_shared() {
        let named = tempfile::NamedTempFile::new().unwrap();
        named.as_file().set_len(PAGE as u64).unwrap();
        let read_only = File::open(named.path()).unwrap();

        let copied = copied(
            &ReadOnly::new(read_only.as_fd(), 0, PAGE, PAGE).unwrap(),
            0,
            1,
        );
        let shared = Mapping::new(read_only.as_fd(), 0, PAGE, PAGE);

        assert_eq!(copied, Ok(vec![0]));
        assert_eq!(shared.err(), Some(Errno::ACCESS));
    }

    /// In memory all that is no hole is; a file system on a medium says what it likes.
    #[test]
    fn a_hole_is_not_resident_and_stays_a_hole_when_it_is_asked_for() {
        let memory = memfd_create("hole", MemfdFlags::CLOEXEC).unwrap();
        let file = File::from(memory);
        file.set_len(3 * PAGE as u64).unwrap();
        file.write_all_at(&[1; PAGE], PAGE as u64).unwrap();
        let pages = ReadOnly::new(file.as_fd(), 0, 3 * PAGE, PAGE).unwrap();

        let resident = |offset, len| pages.is_resident(offset, len);

        assert!(resident(PAGE, PAGE) && resident(PAGE + 1, 1));
        assert!(!resident(PAGE - 1, 2) && !resident(PAGE, PAGE + 1));
        assert!(!resident(2 * PAGE, PAGE + 1) && !resident(usize::MAX, 2));
        assert_eq!(fstat(&file).unwrap().st_blocks * 512, PAGE as i64);
    }

    #[test]
    fn a_page_that_is_gone_is_copied_as_zeroes_and_the_loss_is_known() {
        let file = file();
        let pages = ReadOnly::new(file.as_fd(), 0, 2 * PAGE, PAGE).unwrap();
        file.set_len(PAGE as u64).unwrap();

        let there = copied(&pages, 0, PAGE).unwrap();
        let was_lost = pages.is_lost();
        let gone = copied(&pages, PAGE, PAGE).unwrap();

        assert_eq!((there, was_lost), (vec![1; PAGE], false));
        assert_eq!((gone, pages.is_lost()), (vec![0; PAGE], true));
    }
}
