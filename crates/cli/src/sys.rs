//! What of the operating system is not safe.
#![expect(
    unsafe_code,
    reason = "between fork and exec, most of a program must not be used; and a number says nothing of who owns a descriptor"
)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Has the child that `command` starts killed when the thread that started it ends, however it
/// ends.
pub(crate) fn end_with_parent(command: &mut Command) {
    // SAFETY: the closure runs in the child after a fork, where only what is async-signal-safe may
    // be done. It makes one system call (prctl) and converts the error number, if there is one;
    // neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(std::io::Error::from)
        });
    }
}

/// Takes the descriptor of this number, which whoever started this process left open. To be called
/// before the process opens anything itself.
///
/// # Errors
///
/// `EBADF` if none is open, or it is one of the three that every process has.
pub(crate) fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::BADF.into());
    }
    // SAFETY: the number is not -1, and whether it is of an open descriptor is what is asked: nobody
    // else closes any meanwhile, since the process has opened none.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl_getfd(borrowed)?;
    fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
    // SAFETY: it is open. Nothing in this process owns it: it is none of the three that the standard
    // library has, and nothing else was opened.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
