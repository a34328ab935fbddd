//! A Unix stream that carries whole messages, with the file descriptors beside them.
//!
//! A message may arrive in pieces, cut anywhere. Its first byte may be as long in coming as the peer
//! likes; the rest has a time limit, for a peer that stops in the middle would keep this end for
//! ever. Descriptors are closed in other programs that this one starts, and those for which no
//! message has a place are closed here.

mod ends;

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

pub use ends::{Connector, Listener};

use crate::protocol::{Body, DESCRIPTORS_MAX, Flags, HEADER_BYTES, Header, Malformed};

/// Most time between the first byte of a message and its last, and for the peer to make room for
/// one of ours.
pub const STALL_LIMIT: Duration = Duration::from_secs(5);

/// Room for the descriptors beside one message.
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX));

/// A message as it arrived.
#[derive(Debug)]
pub struct Message {
    /// Its header.
    pub header: Header,
    /// The rest.
    pub body: Body<OwnedFd>,
}

/// Why there will be no more messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketError {
    /// The peer went away in the middle of a message.
    Cut {
        /// How many of its bytes arrived.
        bytes: usize,
    },
    /// The peer stopped in the middle of a message, or takes none.
    Stalled {
        /// How many of its bytes arrived, or left.
        bytes: usize,
    },
    /// What arrived is no message, and where the next one begins is not known.
    Malformed(Malformed),
    /// More file descriptors came with a message than any has: this many, or more than could be
    /// counted.
    Descriptors(usize),
    /// The peer went away before a message of ours.
    Gone,
    /// The operating system refuses.
    Os(Errno),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut { bytes } => write!(f, "peer went away {bytes} bytes into a message"),
            Self::Stalled { bytes } => write!(
                f,
                "peer stopped {bytes} bytes into a message, for more than {} s",
                STALL_LIMIT.as_secs()
            ),
            Self::Malformed(why) => why.fmt(f),
            Self::Descriptors(came) => write!(
                f,
                "{came} or more file descriptors with a message, at most {DESCRIPTORS_MAX} are taken"
            ),
            Self::Gone => f.write_str("peer is gone"),
            Self::Os(errno) => write!(f, "socket: {errno}"),
        }
    }
}

impl std::error::Error for SocketError {}

impl From<Errno> for SocketError {
    fn from(error: Errno) -> Self {
        Self::Os(error)
    }
}

/// One end of a connection.
#[derive(Debug)]
pub struct Socket {
    stream: OwnedFd,
    limit: Duration,
}

impl Socket {
    /// The end that `stream`, a connected Unix stream, is.
    pub fn new(stream: impl Into<OwnedFd>) -> Self {
        Self {
            stream: stream.into(),
            limit: STALL_LIMIT,
        }
    }

    /// This, with another time limit than [`STALL_LIMIT`].
    #[must_use]
    pub fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Waits for a message. `None` when the peer has closed the connection, between messages.
    ///
    /// # Errors
    ///
    /// [`SocketError`]: nothing more can be received.
    pub fn receive(&self) -> Result<Option<Message>, SocketError> {
        let mut arriving = Arriving {
            stream: self.stream.as_fd(),
            limit: self.limit,
            deadline: None,
            bytes: 0,
            descriptors: Vec::new(),
        };
        let mut header = [0; HEADER_BYTES];
        match arriving.fill(&mut header) {
            Err(SocketError::Cut { bytes: 0 }) => return Ok(None),
            filled => filled?,
        }
        let header = Header::from_bytes(header).map_err(SocketError::Malformed)?;
        // At most `PAYLOAD_MAX`, by the header.
        let mut payload = vec![0; header.size as usize];
        arriving.fill(&mut payload)?;
        let descriptors = arriving.descriptors;
        let body = Body {
            payload,
            descriptors,
        };
        Ok(Some(Message { header, body }))
    }

    /// Sends a message: request `request`, or the answer to it.
    ///
    /// # Errors
    ///
    /// [`SocketError`]: nothing more can be sent.
    pub fn send(
        &self,
        request: u32,
        flags: Flags,
        body: &Body<impl AsFd>,
    ) -> Result<(), SocketError> {
        let header = Header {
            request,
            flags,
            // No message of ours has more than 2³² bytes.
            size: body.payload.len() as u32,
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend(&body.payload);
        let descriptors: Vec<_> = body.descriptors.iter().map(AsFd::as_fd).collect();
        if descriptors.len() > DESCRIPTORS_MAX {
            return Err(SocketError::Descriptors(descriptors.len()));
        }

        let deadline = Instant::now() + self.limit;
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            // With the first byte.
            let beside = if sent == 0 {
                descriptors.as_slice()
            } else {
                &[]
            };
            match send_some(self.stream.as_fd(), rest, beside) {
                Ok(some) => sent += some,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !ready(self.stream.as_fd(), PollFlags::OUT, Some(deadline))? {
                        return Err(SocketError::Stalled { bytes: sent });
                    }
                }
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(SocketError::Gone),
                Err(errno) => return Err(SocketError::Os(errno)),
            }
        }
        Ok(())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A message of which some has arrived.
struct Arriving<'s> {
    stream: BorrowedFd<'s>,
    limit: Duration,
    /// Until when it has to be whole. None before its first byte.
    deadline: Option<Instant>,
    bytes: usize,
    descriptors: Vec<OwnedFd>,
}

impl Arriving<'_> {
    /// Fills `into` with what comes next, whatever pieces it comes in.
    fn fill(&mut self, into: &mut [u8]) -> Result<(), SocketError> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.receive_some(rest) {
                Ok(0) | Err(SocketError::Os(Errno::CONNRESET)) => {
                    return Err(SocketError::Cut { bytes: self.bytes });
                }
                Ok(some) => {
                    filled += some;
                    self.bytes += some;
                    self.deadline.get_or_insert(Instant::now() + self.limit);
                }
                Err(SocketError::Os(Errno::INTR)) => {}
                Err(SocketError::Os(Errno::AGAIN)) => {
                    if !ready(self.stream, PollFlags::IN, self.deadline)? {
                        return Err(SocketError::Stalled { bytes: self.bytes });
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive_some(&mut self, into: &mut [u8]) -> Result<usize, SocketError> {
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let came = recvmsg(
            self.stream,
            &mut [IoSliceMut::new(into)],
            &mut ancillary,
            flags,
        )
        .map_err(SocketError::Os)?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        let is_cut = came.flags.contains(ReturnFlags::CTRUNC);
        if is_cut && self.descriptors.len() < DESCRIPTORS_MAX {
            // There was room for it here, and none in the table of this program.
            return Err(SocketError::Os(Errno::MFILE));
        }
        if is_cut || self.descriptors.len() > DESCRIPTORS_MAX {
            let came = self.descriptors.len().max(DESCRIPTORS_MAX + 1);
            return Err(SocketError::Descriptors(came));
        }
        Ok(came.bytes)
    }
}

fn send_some(
    stream: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<usize, Errno> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    // There is room for as many as a message has.
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS);
    }
    sendmsg(
        stream,
        &[IoSlice::new(bytes)],
        &mut ancillary,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )
}

/// Waits until `fd` is ready for `what`, or has failed. Whether that was before `deadline`.
fn ready(
    fd: BorrowedFd<'_>,
    what: PollFlags,
    deadline: Option<Instant>,
) -> Result<bool, SocketError> {
    wait(&mut [PollFd::from_borrowed_fd(fd, what)], deadline).map_err(SocketError::Os)
}

/// Waits for one of `fds`. Whether there was one before `deadline`.
pub(crate) fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<bool, Errno> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            // Deadlines are seconds ahead.
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            polled => return polled.map(|ready| ready != 0),
        }
    }
}

#[cfg(test)]
mod tests;
