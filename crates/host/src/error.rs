//! Why what the user named cannot be used, and what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of opening something of the host's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a disk image, or a network interface, cannot be used. Displays as one line that says what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no such file.
    NotFound(PathBuf),
    /// This user may not open it so.
    NotPermitted(PathBuf),
    /// It is a directory, a pipe or the like.
    NotADisk(PathBuf),
    /// It has no bytes.
    Empty(PathBuf),
    /// Its size is not a whole number of blocks.
    OddSize {
        /// The image.
        path: PathBuf,
        /// How many bytes it has.
        bytes: u64,
        /// How many each of its blocks has.
        block: u64,
    },
    /// Somebody has a lock on it that does not go with this one.
    InUse(PathBuf),
    /// The system cannot lock it.
    NoLock {
        /// The image.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Its file system cannot pass the system's cache by.
    NotDirect(PathBuf),
    /// It is to be written, in a file system of huge pages, whose files calls do not write.
    HugePages(PathBuf),
    /// No network interface can have this name.
    InterfaceName(String),
    /// This system has no interfaces of programs, or this user may not have any. What it said.
    NoTun(io::Error),
    /// A network interface cannot be had.
    Tap {
        /// What it is called.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed otherwise.
    Io {
        /// The image.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                io::ErrorKind::NotFound => Self::NotFound(path),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Self::NotPermitted(path)
                }
                _ => Self::Io { path, source },
            }
        }
    }
}

impl Error {
    pub(crate) fn lock(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                io::ErrorKind::WouldBlock => Self::InUse(path),
                _ => Self::NoLock { path, source },
            }
        }
    }
}

impl Error {
    pub(crate) fn tap(name: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let name = name.to_owned();
            Self::Tap { name, source }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(path) => write!(
                f,
                "{} does not exist: give the path of a disk image",
                path.display()
            ),
            Self::NotPermitted(path) => write!(
                f,
                "{} may not be opened so: change its permissions, or open it read-only",
                path.display()
            ),
            Self::NotADisk(path) => write!(
                f,
                "{} is neither a file nor a block device: give the path of a disk image",
                path.display()
            ),
            Self::Empty(path) => write!(
                f,
                "{} is empty: a disk has at least one sector of 512 bytes",
                path.display()
            ),
            Self::OddSize { path, bytes, block } => write!(
                f,
                "{} has {bytes} bytes, which is not a multiple of {block}: extend it with `truncate -s %{block}`",
                path.display()
            ),
            Self::InUse(path) => write!(
                f,
                "{} is in use: stop the server or the virtual machine that has it, or, where both are to \
                 have it, serve it with --no-lock",
                path.display()
            ),
            Self::NoLock { path, source } => write!(
                f,
                "{} cannot be locked: {source}; serve it with --no-lock, and see to it that nobody else \
                 writes to it",
                path.display()
            ),
            Self::NotDirect(path) => write!(
                f,
                "{} is in a file system that cannot be read past the system's cache: leave out --direct, \
                 or move it",
                path.display()
            ),
            Self::HugePages(path) => write!(
                f,
                "{} is in a file system of huge pages, which cannot be written: open it read-only, or \
                 move it to tmpfs",
                path.display()
            ),
            Self::InterfaceName(name) => write!(
                f,
                "no interface is called {name:?}: give 1 to 15 bytes without blanks, / and :"
            ),
            Self::NoTun(source) => write!(
                f,
                "/dev/net/tun cannot be opened: {source}; have the system load its module tun, and this \
                 user be permitted to open that"
            ),
            Self::Tap { name, source } => {
                let hint = match source.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "have an administrator make it for this user, with `ip tuntap add mode tap`"
                    }
                    io::ErrorKind::ResourceBusy => "stop the program that has it",
                    io::ErrorKind::InvalidInput => {
                        "give the name of a TAP interface, made with multi_queue if it is to have several \
                         queues, and without if not"
                    }
                    _ => return write!(f, "interface {name} cannot be used: {source}"),
                };
                write!(f, "interface {name} cannot be used: {source}; {hint}")
            }
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. }
            | Self::NoLock { source, .. }
            | Self::NoTun(source)
            | Self::Tap { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    /// By kind, for the superuser who may run the tests is refused nothing.
    #[test]
    fn a_refusal_says_what_to_do_and_a_failure_what_the_system_said() {
        let path = Path::new("disk.img");

        let refused = Error::io(path)(io::ErrorKind::PermissionDenied.into());
        let failed = Error::io(path)(io::Error::other("the bus is on fire"));

        let said = "disk.img may not be opened so: change its permissions, or open it read-only";
        assert_eq!(refused.to_string(), said);
        assert!(refused.source().is_none());
        assert_eq!(failed.to_string(), "disk.img: the bus is on fire");
        assert!(failed.source().is_some());
    }
}
