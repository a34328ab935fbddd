//! Notifications between processes: one side signals, the other finds its end readable.
//!
//! Whether an operation waits is a property of what is open, not of the descriptor: a peer that has it,
//! too, can change that at any time, and fill the counter, so that a signal would wait for ever. Before
//! each operation on what a peer has it is therefore asked whether it can be done at once. That is one
//! call of the system more. What is left to a peer is the moment between the two, in which it would
//! have to do both: there is no call that writes to a counter and never waits (`RWF_NOWAIT` is refused).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{self, Errno};

/// A counter of the kernel's: a signal adds to it, and it is readable unless it is zero. What a peer
/// calls one may be anything that can be written to or read from, such as a pipe.
#[derive(Debug)]
pub struct EventFd {
    descriptor: OwnedFd,
    waits: Waits,
}

/// What an operation does that cannot be done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// It fails. It is this end's alone, and was made so.
    Never,
    /// Whatever the peer likes that has it, too.
    Perhaps,
}

/// How many bytes a signal is.
const BYTES: usize = 8;

impl EventFd {
    /// A new one, which no peer is given: its operations never wait.
    ///
    /// # Errors
    ///
    /// What the system says: there are too many descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            descriptor: eventfd(0, flags)?,
            waits: Waits::Never,
        })
    }

    /// A new one, which a peer is to be given.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn shared() -> io::Result<Self> {
        Ok(Self {
            waits: Waits::Perhaps,
            ..Self::new()?
        })
    }

    /// Signals, and does not wait: whoever has not looked at the signals of before will not miss
    /// this one. What a peer did to its descriptor is its own loss, so nothing is returned.
    pub fn signal(&self) {
        let ready = || self.can(PollFlags::OUT);
        if self.waits == Waits::Never || ready() {
            let _ = io::retry_on_intr(|| io::write(&self.descriptor, &1_u64.to_ne_bytes()));
        }
    }

    /// Takes the signals that came, and says whether there were any. It does not wait for one.
    ///
    /// # Errors
    ///
    /// What the system says: it cannot be read from.
    pub fn take(&self) -> io::Result<bool> {
        if self.waits == Waits::Perhaps && !self.can(PollFlags::IN) {
            return Ok(false);
        }
        let mut bytes = [0; BYTES];
        match io::retry_on_intr(|| io::read(&self.descriptor, &mut bytes)) {
            // The end of a pipe: nothing will ever come.
            Ok(0) => Err(Errno::PIPE),
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until there is a signal, and takes it.
    ///
    /// # Errors
    ///
    /// What the system says: it cannot be read from.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
            io::retry_on_intr(|| poll(&mut polled, None))?;
            if self.take()? {
                return Ok(());
            }
        }
    }

    /// Another descriptor of the same counter.
    ///
    /// # Errors
    ///
    /// What the system says: there are too many descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            descriptor: io::fcntl_dupfd_cloexec(&self.descriptor, 0)?,
            waits: self.waits,
        })
    }

    /// Whether it can be written to, or read from, at once.
    fn can(&self, what: PollFlags) -> bool {
        let mut polled = [PollFd::new(&self.descriptor, what)];
        let now = Timespec::default();
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(what)
    }
}

/// One that a peer gave.
impl From<OwnedFd> for EventFd {
    fn from(descriptor: OwnedFd) -> Self {
        let waits = Waits::Perhaps;
        Self { descriptor, waits }
    }
}

impl From<EventFd> for OwnedFd {
    fn from(event: EventFd) -> Self {
        event.descriptor
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_signal_is_taken_once_however_often_it_was_made() {
        let event = EventFd::new().unwrap();
        let peer = event.try_clone().unwrap();

        peer.signal();
        peer.signal();

        assert_eq!(event.take(), Ok(true));
        assert_eq!(event.take(), Ok(false));
    }

    #[test]
    fn a_signal_to_a_peer_that_never_reads_does_not_wait() {
        let full = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        io::write(&full, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        let (_reader, pipe) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let pipe = EventFd::from(pipe);

        EventFd::from(full).signal();
        let signals = 0x1_0000;

        for _ in 0..signals {
            pipe.signal();
        }
    }

    #[test]
    fn a_signal_to_a_peer_that_has_it_wait_and_fills_the_counter_later_does_not_wait() {
        let theirs = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let ours = EventFd::from(theirs.try_clone().unwrap());
        ours.signal();

        fcntl_setfl(&theirs, OFlags::empty()).unwrap();
        io::write(&theirs, &(u64::MAX - 2).to_ne_bytes()).unwrap();
        ours.signal();
        let filled = ours.take();
        let emptied = ours.take();

        assert_eq!((filled, emptied), (Ok(true), Ok(false)));
    }

    #[test]
    fn a_descriptor_whose_reads_wait_is_taken_from_without_waiting() {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (reader, writer) = (EventFd::from(reader), EventFd::from(writer));

        assert_eq!(reader.take(), Ok(false));
        writer.signal();

        assert_eq!(reader.take(), Ok(true));
    }
}
