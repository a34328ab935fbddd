//! Descriptors known by their number.
#![expect(
    unsafe_code,
    reason = "numbers of descriptors are promises that the compiler cannot check"
)]

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

/// Adds to what `epoll` waits for the descriptor of this number, as long as it has something to
/// read. Whoever owns it has it taken out before it is closed.
///
/// # Errors
///
/// What the system says; `BADF` if there can be no such number.
pub(crate) fn watch(epoll: &OwnedFd, number: i32, data: EventData) -> Result<(), Errno> {
    let watched = borrow(number)?;
    epoll::add(epoll, watched, data, EventFlags::IN)
}

/// Takes it out again.
///
/// # Errors
///
/// As for [`watch`].
pub(crate) fn unwatch(epoll: &OwnedFd, number: i32) -> Result<(), Errno> {
    let watched = borrow(number)?;
    epoll::delete(epoll, watched)
}

fn borrow<'fd>(number: i32) -> Result<BorrowedFd<'fd>, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the number is not -1. It is of a descriptor that whoever said it owns and keeps open
    // as long as it lives, which is longer than the two functions above use this. All that they do
    // is to ask the system to wait for it, or no longer to.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}
