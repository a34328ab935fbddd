//! Locks on images: those that QEMU takes, so that it and we keep each other out.
//!
//! Each thing that can be done with an image has a number. Whoever does it holds a shared lock on one
//! byte of the file, and whoever wants nobody else to do it on another one; both are taken first, and
//! then it is looked whether others hold the opposite ones. Only bytes' numbers count: the file need not
//! have them. The locks are the open file's (OFD), and end with it.

use std::fs::File;
use std::io;
use std::thread;
use std::time::Duration;

use crate::options::Access;
use crate::sys;

/// The byte that is locked by whoever does the first thing.
const DOES: u64 = 100;
/// The byte that is locked by whoever wants nobody else to.
const FORBIDS: u64 = 200;

/// Reading what is to be found as it was written.
const READ: u64 = 0;
/// Writing.
const WRITE: u64 = 1;
/// Changing the size.
const RESIZE: u64 = 3;

/// What nobody else may do meanwhile, whatever we do.
const FORBIDDEN: [u64; 2] = [WRITE, RESIZE];

/// How often it is tried, and what is between: a predecessor that was killed keeps its file for as
/// long as the kernel has requests of its.
const TRIES: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(25);

/// Takes the lock on `file`, to do with it what `access` says. It ends when all handles to the file are
/// closed.
///
/// # Errors
///
/// `WouldBlock` if somebody has one that does not go with it; what the system says if it cannot
/// lock the file.
pub(crate) fn take(file: &File, access: Access) -> io::Result<()> {
    let mut tries = 1;
    while !is_ours(file, access)? {
        if tries == TRIES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        tries = tries.saturating_add(1);
        thread::sleep(BETWEEN);
    }
    Ok(())
}

/// Tries once. Where others are in the way, nothing is locked.
fn is_ours(file: &File, access: Access) -> io::Result<bool> {
    let done: &[u64] = match access {
        Access::ReadOnly => &[READ],
        Access::ReadWrite => &[READ, WRITE],
    };
    let does = |thing: u64| DOES.saturating_add(thing);
    let forbids = |thing: u64| FORBIDS.saturating_add(thing);
    let ours = done.iter().map(|&thing| does(thing));
    let ours = ours.chain(FORBIDDEN.map(forbids));
    for byte in ours.clone() {
        sys::lock(file, byte)?;
    }
    let opposite = done.iter().map(|&thing| forbids(thing));
    for byte in opposite.chain(FORBIDDEN.map(does)) {
        if sys::is_locked(file, byte)? {
            for byte in ours {
                sys::unlock(file, byte)?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opened twice: two files to the system, as of two programs.
    fn taken(first: Access, second: Access) -> bool {
        let named = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).open(named.path()).unwrap()
        };
        let (one, other) = (open(), open());
        assert!(is_ours(&one, first).unwrap());
        is_ours(&other, second).unwrap()
    }

    #[test]
    fn many_may_read_and_whoever_writes_is_alone() {
        use Access::{ReadOnly, ReadWrite};

        assert!(taken(ReadOnly, ReadOnly));
        assert!(!taken(ReadOnly, ReadWrite));
        assert!(!taken(ReadWrite, ReadOnly));
        assert!(!taken(ReadWrite, ReadWrite));
    }

    #[test]
    fn one_that_was_refused_keeps_nobody_out_and_one_that_is_closed_neither() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            let mut options = std::fs::OpenOptions::new();
            options.read(true).write(true).open(named.path()).unwrap()
        };
        let (reader, writer, another) = (open(), open(), open());
        assert!(is_ours(&reader, Access::ReadOnly).unwrap());

        assert!(!is_ours(&writer, Access::ReadWrite).unwrap());
        assert!(is_ours(&another, Access::ReadOnly).unwrap());
        drop((reader, another));

        assert!(is_ours(&writer, Access::ReadWrite).unwrap());
    }
}
