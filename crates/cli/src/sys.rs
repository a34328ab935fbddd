//! The one call of the operating system that is not safe.
#![expect(
    unsafe_code,
    reason = "between fork and exec, most of a program must not be used"
)]

use std::os::unix::process::CommandExt;
use std::process::Command;

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
