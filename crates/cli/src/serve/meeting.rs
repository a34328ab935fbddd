//! Where front-ends are met.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use ringway_vhost::backend::Place;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType};

use crate::refusal::{Refusal, Result};
use crate::sys;

/// Where the front-ends of a device are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting<'a> {
    /// They connect to this socket.
    Listen(&'a Path),
    /// They listen at this socket.
    Connect(&'a Path),
    /// A socket of this number, which somebody else opened.
    Given(i32),
}

impl<'a> Meeting<'a> {
    /// One for each socket, and one for each number.
    pub(super) fn all(sockets: &'a [PathBuf], connect: bool, numbers: &[i32]) -> Vec<Self> {
        let how: fn(&'a Path) -> Self = if connect { Self::Connect } else { Self::Listen };
        let sockets = sockets.iter().map(|path| how(path));
        sockets
            .chain(numbers.iter().copied().map(Self::Given))
            .collect()
    }

    /// The same, for a server.
    pub(super) fn place(self) -> Result<Place> {
        Ok(match self {
            Self::Listen(path) => Place::Listen(path.to_path_buf()),
            Self::Connect(path) => Place::Connect(path.to_path_buf()),
            Self::Given(number) => Place::Descriptor(given_socket(number)?),
        })
    }

    /// The folder in which a socket is made and removed.
    pub(super) fn folder(self) -> Option<&'a Path> {
        let Self::Listen(path) = self else {
            return None;
        };
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        Some(parent.unwrap_or(Path::new(".")))
    }

    /// Why no front-end can be met there.
    pub(super) fn refusal(self, error: &io::Error) -> Refusal {
        let (doing, path) = match self {
            Self::Listen(path) => ("listen at", path),
            Self::Connect(path) => ("connect to", path),
            Self::Given(_) => {
                return Refusal::new(format_args!("cannot use the socket of --fd: {error}"));
            }
        };
        let is_socket = || {
            let found = path.symlink_metadata();
            found.is_ok_and(|found| found.file_type().is_socket())
        };
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse if is_socket() => {
                "somebody listens there: stop them, or choose another path".to_owned()
            }
            io::ErrorKind::AddrInUse => {
                "there is such a file, and it is no socket: choose another path".to_owned()
            }
            io::ErrorKind::NotFound => "its folder does not exist: make it".to_owned(),
            _ => error.to_string(),
        };
        Refusal::new(format_args!("cannot {doing} {}: {hint}", path.display()))
    }
}

/// The socket of this number, which somebody else opened.
fn given_socket(number: i32) -> Result<OwnedFd> {
    let not_open = |error: io::Error| {
        Refusal::new(format_args!(
            "descriptor {number} of --fd cannot be used: {error}; whoever starts ringway is to \
             leave a socket open there"
        ))
    };
    let socket = sys::inherited(number).map_err(not_open)?;
    let is_right = socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && socket_type(&socket) == Ok(SocketType::STREAM);
    if is_right {
        Ok(socket)
    } else {
        Err(Refusal::new(format_args!(
            "descriptor {number} of --fd is no Unix stream socket, which vhost-user needs"
        )))
    }
}
