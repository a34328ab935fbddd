//! What goes between a front-end and a back-end, who hear of each other nothing else.

use std::os::fd::{AsFd, OwnedFd};

use ringway_vhost::memory;
use ringway_vhost::protocol::{Code, Inflight, LogArea, Request};
use ringway_vhost::socket::{Message, Socket, SocketError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What the back-end writes down where nobody finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgets {
    Nothing,
    /// Which pages it has written to, for a machine that moves.
    Log,
    /// What is in flight, for its successor.
    Records,
}

/// Carries messages until one of the two has gone.
pub(crate) fn relay(
    front_end: &Socket,
    back_end: &Socket,
    forgets: Forgets,
) -> Result<(), SocketError> {
    loop {
        let both = [front_end, back_end];
        let mut polled = both.map(|end| PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(SocketError::Os(error)),
        }
        let [asked, answered] = polled.map(|end| !end.revents().is_empty());
        if asked {
            let Some(message) = front_end.receive()? else {
                return Ok(());
            };
            let Message { header, body } = forgotten(message, forgets)?;
            back_end.send(header.request, header.flags, &body)?;
        }
        if answered {
            let Some(Message { header, body }) = back_end.receive()? else {
                return Ok(());
            };
            front_end.send(header.request, header.flags, &body)?;
        }
    }
}

/// The message, in which the memory that is to be forgotten is other memory.
fn forgotten(message: Message, forgets: Forgets) -> Result<Message, SocketError> {
    let number = message.header.request;
    let is = |code: Code| number == code.number();
    let concerned = match forgets {
        Forgets::Nothing => false,
        Forgets::Log => is(Code::SetLogBase),
        Forgets::Records => is(Code::SetInflightFd),
    };
    if !concerned {
        return Ok(message);
    }
    let header = message.header;
    let request = Request::decode(number, message.body).map_err(SocketError::Malformed)?;
    let body = match request {
        Request::SetLogBase(area, _) => {
            let LogArea { size, file_offset } = area;
            Request::SetLogBase(area, lost(file_offset + size)?).encode()
        }
        Request::SetInflightFd(inflight, _) => {
            let Inflight {
                size, file_offset, ..
            } = inflight;
            Request::SetInflightFd(inflight, lost(file_offset + size)?).encode()
        }
        other => other.encode(),
    };
    Ok(Message { header, body })
}

/// Memory of zeroes that nobody has.
fn lost(bytes: u64) -> Result<OwnedFd, SocketError> {
    let created = memory::create("forgotten", bytes as usize);
    let (file, _) = created.map_err(|_| SocketError::Os(Errno::NOMEM))?;
    Ok(file)
}
