//! The device's own state on its way, through a pipe.
//!
//! There is little of it. What is saved is written at once, for a pipe has room for it; what is loaded
//! is read when the front-end says that it is all there. No end is waited for longer than
//! [`LIMIT`].

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use ringway_device::STATE_MAX;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};

use super::Refusal;

/// The longest that is waited for a front-end that does not take what it asked for, or does not say
/// that it is done.
const LIMIT: Duration = Duration::from_secs(1);

/// What is on its way.
#[derive(Debug, Default)]
pub(super) enum Transfer {
    /// Nothing.
    #[default]
    Nothing,
    /// What was saved, with how that went.
    Saved(Result<(), Refusal>),
    /// What is to be loaded.
    Loading(OwnedFd),
}

/// Writes all of `state`. The reader sees that it is all when the descriptor is closed.
pub(super) fn send(via: &OwnedFd, mut state: &[u8]) -> Result<(), Refusal> {
    let end = Instant::now() + LIMIT;
    while !state.is_empty() {
        wait(via, PollFlags::OUT, end)?;
        match write(via, state) {
            Ok(0) => return Err(Refusal::StateCut),
            Ok(count) => state = state.get(count..).unwrap_or_default(),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(failed("write the device's state", error)),
        }
    }
    Ok(())
}

/// Reads all that was written.
pub(super) fn receive(via: &OwnedFd) -> Result<Vec<u8>, Refusal> {
    let end = Instant::now() + LIMIT;
    let mut state = Vec::new();
    let mut bytes = [0; STATE_MAX];
    loop {
        wait(via, PollFlags::IN, end)?;
        match read(via, &mut bytes) {
            Ok(0) => return Ok(state),
            Ok(count) => state.extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(failed("read the device's state", error)),
        }
        if state.len() > STATE_MAX {
            return Err(Refusal::StateTooLarge);
        }
    }
}

fn wait(via: &OwnedFd, flags: PollFlags, end: Instant) -> Result<(), Refusal> {
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            // A second at most.
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = [PollFd::from_borrowed_fd(via.as_fd(), flags)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Err(Refusal::StateCut),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed("wait for the device's state", error)),
        }
    }
}

fn failed(what: &'static str, error: Errno) -> Refusal {
    Refusal::System { what, error }
}
