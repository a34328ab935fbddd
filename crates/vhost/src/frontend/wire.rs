//! The sockets of one connection: ours to ask, and the back-end's to ask us.
//!
//! While an answer is waited for, what the back-end asks is answered, too: it may be waiting for
//! that before it goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::error::{Error, Result, Violation};
use super::session::Channel;
use crate::protocol::{
    BackRequest, Body, Code, Flags, Header, IotlbKind, Malformed, Reply, RingState,
};
use crate::socket::{Message, Socket, SocketError};

/// Most requests of the back-end that are taken at once, against one that keeps us busy.
const REQUESTS_BATCH: usize = 64;

/// The sockets of one connection.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    /// Where the back-end asks, if it may.
    requests: Option<Socket>,
    heard: Heard,
    /// How long an answer may take.
    limit: Duration,
}

/// What the back-end has said of its own accord.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The configuration has changed.
    pub(crate) config: bool,
    /// A ring is broken.
    pub(crate) broken: bool,
    /// It lacks a translation.
    pub(crate) miss: bool,
    /// Rings that have used buffers, a bit for each.
    calls: [u64; 4],
}

impl Wire {
    /// A connection whose answers may take as long as `limit`.
    pub(crate) fn new(stream: impl Into<OwnedFd>, limit: Duration) -> Self {
        Self {
            socket: Socket::new(stream).with_limit(limit),
            requests: None,
            heard: Heard::default(),
            limit,
        }
    }

    /// From here on the back-end asks at the other end of `socket`.
    pub(crate) fn hear(&mut self, socket: impl Into<OwnedFd>) {
        self.requests = Some(Socket::new(socket).with_limit(self.limit));
    }

    /// Where the back-end asks.
    pub(crate) fn requests(&self) -> Option<BorrowedFd<'_>> {
        self.requests.as_ref().map(AsFd::as_fd)
    }

    /// Takes what the back-end has asked meanwhile, and answers. Does not wait.
    ///
    /// # Errors
    ///
    /// What it does wrong.
    pub(crate) fn listen(&mut self) -> Result<()> {
        for _ in 0..REQUESTS_BATCH {
            let Some(requests) = &self.requests else {
                return Ok(());
            };
            if !is_readable(requests.as_fd())? {
                return Ok(());
            }
            match requests.receive().map_err(Error::from)? {
                Some(message) => self.answer(&message)?,
                // It has nothing to say any more. Whether it lives is seen at the other socket.
                None => self.requests = None,
            }
        }
        Ok(())
    }

    /// What was heard since this was last called.
    pub(crate) fn take_heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    fn answer(&mut self, message: &Message) -> Result<()> {
        let Message { header, body } = message;
        if header.flags.contains(Flags::REPLY) {
            return Err(Malformed::Direction.into());
        }
        let done = match BackRequest::decode(header.request, body)? {
            BackRequest::ConfigChange => {
                self.heard.config = true;
                true
            }
            BackRequest::Iotlb(iotlb) => {
                self.heard.miss |= iotlb.kind == IotlbKind::Miss;
                iotlb.kind == IotlbKind::Miss
            }
            BackRequest::VringCall(RingState { index, .. }) => self.heard.call(index),
            BackRequest::VringErr(_) => {
                self.heard.broken = true;
                true
            }
            BackRequest::Unsupported(_) => false,
        };
        if header.flags.contains(Flags::NEED_REPLY)
            && let Some(requests) = &self.requests
        {
            let reply = Reply::Value(u64::from(!done)).encode();
            let reply: Body<OwnedFd> = reply;
            requests.send(header.request, Flags::REPLY, &reply)?;
        }
        Ok(())
    }
}

impl Heard {
    /// The rings that have used buffers.
    pub(crate) fn calls(&self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(|index| {
            let word = self.calls[usize::from(index / 64)];
            word & (1 << (index % 64)) != 0
        })
    }

    fn call(&mut self, index: u32) -> bool {
        let Ok(index) = u8::try_from(index) else {
            return false;
        };
        self.calls[usize::from(index / 64)] |= 1 << (index % 64);
        true
    }
}

impl Channel for Wire {
    fn send(&mut self, request: u32, flags: Flags, body: &Body<BorrowedFd<'_>>) -> Result<()> {
        Ok(self.socket.send(request, flags, body)?)
    }

    fn receive(&mut self, asked: Code) -> Result<(Header, Body<OwnedFd>)> {
        let limit = self.limit;
        let deadline = Instant::now() + limit;
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Err(Error::Silent { asked, limit });
            }
            let (answered, asks) = self.wait(deadline - now)?;
            if asks {
                self.listen()?;
            }
            if answered {
                let message = self.socket.receive().map_err(Error::from)?;
                let Message { header, body } = message.ok_or(Error::Closed)?;
                return Ok((header, body));
            }
        }
    }
}

impl Wire {
    /// Waits until there is something to receive. Says at which of the two sockets.
    fn wait(&self, limit: Duration) -> Result<(bool, bool)> {
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut polled = vec![readable(self.socket.as_fd())];
        polled.extend(self.requests().map(readable));
        // No limit of ours has more seconds than there is room for.
        let limit = Timespec::try_from(limit).unwrap_or(Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        });
        match poll(&mut polled, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::os(error)),
        }
        let mut ready = polled.iter().map(|fd| !fd.revents().is_empty());
        Ok((ready.next() == Some(true), ready.next() == Some(true)))
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<SocketError> for Error {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::Malformed(what) => what.into(),
            SocketError::Os(errno) => Self::os(errno),
            SocketError::Descriptors(came) => Violation::TooManyDescriptors(came).into(),
            SocketError::Stalled { bytes } => Violation::Stalled(bytes).into(),
            SocketError::Cut { .. } | SocketError::Gone => Self::Closed,
        }
    }
}

fn is_readable(fd: BorrowedFd<'_>) -> Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    match poll(&mut polled, Some(&Timespec::default())) {
        Ok(ready) => Ok(ready != 0),
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(Error::os(error)),
    }
}

#[cfg(test)]
mod tests;
