//! What ends a server: signals.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Readable once the process was told to stop.
pub(super) struct Stop {
    reader: UnixStream,
    writer: UnixStream,
}

impl Stop {
    /// From here on, a first signal asks for an end that completes what was begun, and a second one
    /// ends the process as it is.
    ///
    /// # Errors
    ///
    /// What the system says: too many descriptors are open.
    pub(super) fn on_signals() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            let came = Arc::new(AtomicBool::new(false));
            // In this order: the first signal finds that none came before.
            flag::register_conditional_default(signal, came.clone())?;
            flag::register(signal, came)?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        Ok(Self { reader, writer })
    }

    /// As if a signal came.
    pub(super) fn now(&self) {
        // One that is full says so already.
        let _ = (&self.writer).write(&[0]);
    }
}

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
