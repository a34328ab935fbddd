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

    /// A file of its own to the system, as another program's.
    fn opened(named: &tempfile::NamedTempFile) -> File {
        named.reopen().unwrap()
    }

    #[test]
    fn many_may_read_and_whoever_writes_is_alone() {
        use Access::{ReadOnly, ReadWrite};
        let taken = |first, second| {
            let named = tempfile::NamedTempFile::new().unwrap();
            let (one, other) = (opened(&named), opened(&named));
            assert!(is_ours(&one, first).unwrap());
            is_ours(&other, second).unwrap()
        };

        assert!(taken(ReadOnly, ReadOnly));
        assert!(!taken(ReadOnly, ReadWrite));
        assert!(!taken(ReadWrite, ReadOnly));
        assert!(!taken(ReadWrite, ReadWrite));
    }

    #[test]
    fn one_that_was_refused_keeps_nobody_out_and_one_that_is_closed_neither() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (reader, writer, another) = (opened(&named), opened(&named), opened(&named));
        assert!(is_ours(&reader, Access::ReadOnly).unwrap());

        assert!(!is_ours(&writer, Access::ReadWrite).unwrap());
        assert!(is_ours(&another, Access::ReadOnly).unwrap());
        drop((reader, another));

        assert!(is_ours(&writer, Access::ReadWrite).unwrap());
    }

    /// QEMU's rules, by its bytes: what it holds keeps us out, and what we hold
    /// it would find.
    #[test]
    fn the_bytes_are_those_that_qemu_locks() {
        let named = tempfile::NamedTempFile::new().unwrap();
        let (ours, qemu) = (opened(&named), opened(&named));

        // It has the image open to be written by nobody else, and writes it.
        sys::lock(&qemu, 101).unwrap();
        sys::lock(&qemu, 201).unwrap();
        let beside_a_writer = is_ours(&ours, Access::ReadOnly).unwrap();
        sys::unlock(&qemu, 101).unwrap();
        let (read, written) = (
            is_ours(&ours, Access::ReadOnly).unwrap(),
            is_ours(&ours, Access::ReadWrite).unwrap(),
        );
        sys::unlock(&qemu, 201).unwrap();
        assert!(is_ours(&ours, Access::ReadWrite).unwrap());
        let found = [100, 101, 201, 203].map(|byte| sys::is_locked(&qemu, byte).unwrap());

        assert!(!beside_a_writer && read && !written);
        assert_eq!(found, [true; 4]);
    }
}
