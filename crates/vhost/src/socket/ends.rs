//! How a connection comes about: one end listens, and the other connects.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::{Socket, wait};

/// How long a connector waits before it tries again for the first time.
const FIRST_DELAY: Duration = Duration::from_millis(10);
/// And at most.
const LAST_DELAY: Duration = Duration::from_secs(1);

/// A place in the file system where peers connect. Its file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    /// None, if somebody else made it.
    file: Option<File>,
}

/// The file of a socket.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Device and inode, so that no file of another is removed.
    identity: (u64, u64),
}

impl Listener {
    /// Listens at `path`. A socket that is there, and at which nobody listens any more, is removed.
    ///
    /// # Errors
    ///
    /// What the operating system says; among it that somebody listens there, or that the file is no
    /// socket.
    pub fn bind(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let listener = match UnixListener::bind(&path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_abandoned(&path) => {
                std::fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            bound => bound?,
        };
        let mut listener = Self::new(listener)?;
        listener.file = identity(&path).map(|identity| File { path, identity });
        Ok(listener)
    }

    /// Listens where somebody else does already. Its file stays, if it has one.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            file: None,
        })
    }

    /// Waits for a peer. `None` when `stop` becomes readable.
    ///
    /// # Errors
    ///
    /// What the operating system says: no descriptor is left, most likely.
    pub fn accept(&self, stop: BorrowedFd<'_>) -> io::Result<Option<Socket>> {
        loop {
            if !comes(self.listener.as_fd(), stop)? {
                return Ok(None);
            }
            match self.listener.accept() {
                Ok((stream, _)) => return Ok(Some(Socket::new(stream))),
                // Gone again meanwhile.
                Err(error) if passes(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(File {
            path,
            identity: ours,
        }) = &self.file
            && identity(path) == Some(*ours)
        {
            // There is nobody to tell.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Connects to a place where a peer listens, again and again: each time that it fails it waits
/// longer, up to a second.
#[derive(Debug)]
pub struct Connector {
    path: PathBuf,
    delay: Duration,
}

impl Connector {
    /// A connector to `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            delay: Duration::ZERO,
        }
    }

    /// Connects, however often it takes. `None` when `stop` becomes readable.
    ///
    /// # Errors
    ///
    /// What the operating system says, if to try again is of no use.
    pub fn connect(&mut self, stop: BorrowedFd<'_>) -> io::Result<Option<Socket>> {
        loop {
            let deadline = Instant::now() + self.delay;
            let mut fds = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
            if wait(&mut fds, Some(deadline))? {
                return Ok(None);
            }
            // Also before the next one, if this succeeds: a peer may accept and hang up.
            self.delay = (self.delay * 2).clamp(FIRST_DELAY, LAST_DELAY);
            match UnixStream::connect(&self.path) {
                Ok(stream) => return Ok(Some(Socket::new(stream))),
                Err(error) if comes_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The connection was of use: the next one need not wait.
    pub fn succeeded(&mut self) {
        self.delay = Duration::ZERO;
    }
}

/// Whether `fd` became readable, and not `stop`.
fn comes(fd: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> io::Result<bool> {
    let mut fds = [stop, fd].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    wait(&mut fds, None)?;
    let [stop, _] = fds;
    Ok(stop.revents().is_empty())
}

/// Whether the peer that was to be accepted is gone.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

/// Whether a peer may yet come to listen.
fn comes_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::Interrupted
    )
}

/// Whether there is a socket at `path` at which nobody listens.
fn is_abandoned(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).err().is_some_and(refused)
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::symlink_metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}
