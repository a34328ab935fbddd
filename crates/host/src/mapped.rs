//! Images in memory, copied from where they are.
//!
//! A call that reads a file in tmpfs copies page by page, and takes twice the time of one copy from
//! pages that are mapped. What makes it right all the same:
//!
//! - a hole is read by a call: looking at it through a mapping would make it a page;
//! - what was copied counts only if the file has those bytes afterwards, and no page of the mapping
//!   was lost. Else a call does it again, and says what there is to say.
//!
//! Nothing is written so: the file's time of change would stay, and a full file system would be a
//! signal.

use std::fs::File;
use std::os::fd::AsFd;

use ringway_mapping::{ReadOnly, page_of};
use ringway_ring::device::Writable;

/// Fewest bytes for which it pays: there are two calls, too, that are short.
const BYTES_MIN: u64 = 16 * 1024;

/// The whole pages of an image.
#[derive(Debug)]
pub(crate) struct Mapped(ReadOnly);

impl Mapped {
    /// Of a file of so many bytes. `None` where that cannot be: it has no whole page, is no file, or
    /// there is no room for it among addresses.
    pub(crate) fn new(file: &File, bytes: u64) -> Option<Self> {
        let about = file.metadata().ok()?;
        let page = page_of(file).ok()?;
        let len = usize::try_from(bytes).ok()?;
        // In a page that the file ends within, it is not seen to become shorter.
        let whole = len.checked_sub(len.checked_rem(page)?)?;
        let mapped = ReadOnly::new(file.as_fd(), 0, whole, page).ok();
        mapped.filter(|_| about.is_file()).map(Self)
    }

    /// Fills `into` with the bytes of `file` from `offset` on. Says whether it did, else a call is to
    /// do it.
    pub(crate) fn read(&self, file: &File, offset: u64, into: Writable<'_>) -> bool {
        let bytes = into.remaining();
        bytes >= BYTES_MIN
            && !self.0.is_lost()
            && self.copy(offset, bytes, into).is_some()
            && !self.0.is_lost()
            && file
                .metadata()
                .is_ok_and(|now| now.len() >= offset.saturating_add(bytes))
    }

    fn copy(&self, offset: u64, bytes: u64, mut into: Writable<'_>) -> Option<()> {
        let mut at = usize::try_from(offset).ok()?;
        if !self.0.is_resident(at, usize::try_from(bytes).ok()?) {
            return None;
        }
        while into.remaining() != 0 {
            let run = into.next_run().ok()?;
            self.0.read(at, run.view()).ok()?;
            at = at.checked_add(run.view().len())?;
        }
        Some(())
    }
}
