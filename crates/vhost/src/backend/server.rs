//! Serves one front-end after another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::socket_acceptconn;

use super::neighbour::neighbour;
use super::{DeviceCarrier, Event, Reason, Session, Traffic};
use crate::protocol::Flags;
use crate::socket::{Connector, Listener, Socket, wait};

/// Where front-ends are met.
#[derive(Debug)]
pub enum Place {
    /// They connect to this path. The socket is made, and removed in the end.
    Listen(PathBuf),
    /// They listen at this path, or will.
    Connect(PathBuf),
    /// A socket that somebody else made: one at which front-ends connect, or a connection to one.
    Descriptor(OwnedFd),
}

/// Where front-ends come from.
#[derive(Debug)]
enum Source {
    Listener(Listener),
    Connector(Connector),
    /// One, and then no more.
    Once(Option<Socket>),
}

/// A device that is served.
pub struct Server {
    source: Source,
    carrier: DeviceCarrier,
}

impl Server {
    /// A server of `carrier`. From here on front-ends may connect; they are served once
    /// [`serve`](Self::serve) is called.
    ///
    /// # Errors
    ///
    /// What the operating system says: somebody listens there, or the path is none for a socket.
    pub fn new(place: Place, carrier: DeviceCarrier) -> io::Result<Self> {
        let source = match place {
            Place::Listen(path) => Source::Listener(Listener::bind(path)?),
            Place::Connect(path) => Source::Connector(Connector::new(path)),
            Place::Descriptor(socket) if socket_acceptconn(&socket)? => {
                Source::Listener(Listener::new(UnixListener::from(socket))?)
            }
            Place::Descriptor(socket) => Source::Once(Some(Socket::new(socket))),
        };
        Ok(Self { source, carrier })
    }

    /// Serves front-ends until `stop` becomes readable; a connection that was given, until it ends.
    /// Every ring is stopped then, and what was begun is completed.
    ///
    /// # Errors
    ///
    /// What the operating system says: there can be no more connections.
    pub fn serve(&mut self, stop: BorrowedFd<'_>) -> io::Result<()> {
        loop {
            let socket = match &mut self.source {
                Source::Listener(listener) => listener.accept(stop)?,
                Source::Connector(connector) => connector.connect(stop)?,
                Source::Once(socket) => socket.take(),
            };
            let Some(socket) = socket else {
                return Ok(());
            };
            let traffic = self.serve_one(socket, stop);
            if let Source::Connector(connector) = &mut self.source
                && traffic.requests != 0
            {
                connector.succeeded();
            }
        }
    }

    /// Serves a front-end until it goes, or is sent away.
    fn serve_one(&mut self, socket: Socket, stop: BorrowedFd<'_>) -> Traffic {
        self.carrier.observer().event(Event::Connected);
        self.carrier.set_neighbour(neighbour(&socket));
        let mut traffic = Traffic::default();
        let mut session = Session::new(&mut self.carrier);
        let reason = loop {
            if let Err(reason) = next(&mut session, &socket, stop, &mut traffic) {
                break reason;
            }
        };
        drop(session);
        // Nothing of it is left when that is told.
        drop(socket);
        let event = Event::Disconnected { reason, traffic };
        self.carrier.observer().event(event);
        traffic
    }
}

/// Waits for a message, does what it asks and answers it. An error is why there are no more.
fn next(
    session: &mut Session<'_, DeviceCarrier>,
    socket: &Socket,
    stop: BorrowedFd<'_>,
    traffic: &mut Traffic,
) -> Result<(), Reason> {
    let mut fds = [stop, socket.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    wait(&mut fds, None).map_err(|error| Reason::Socket(error.into()))?;
    if !fds[0].revents().is_empty() {
        return Err(Reason::Stopped);
    }
    let message = socket.receive().map_err(Reason::Socket)?;
    let message = message.ok_or(Reason::Closed)?;
    traffic.requests += 1;

    let request = message.header.request;
    let answer = session.handle(message.header, message.body);
    let answer = answer.inspect_err(|_| traffic.refused += 1);
    let answer = answer.map_err(Reason::Refused)?;
    if let Some(refusal) = answer.refused {
        traffic.refused += 1;
        let event = Event::Refused { request, refusal };
        session.carrier().observer().event(event);
    }
    if let Some(reply) = answer.reply {
        let sent = socket.send(request, Flags::REPLY, &reply.encode());
        sent.map_err(Reason::Socket)?;
    }
    Ok(())
}
