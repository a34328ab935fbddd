//! A back-end that says what a back-end says, and serves nothing. At one of its answers, it does
//! something else.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringway_spec::F;
use ringway_vhost::frontend::PROTOCOL_WANTED;
use ringway_vhost::protocol::{
    Body, Code, ConfigSpace, Flags, PROTOCOL_FEATURES, ProtocolFeatures, Reply, Request, RingState,
};
use ringway_vhost::socket::Socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What it does instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers another request.
    OtherNumber,
    /// Answers with fewer bytes.
    Short,
    /// Answers with more bytes.
    Long,
    /// Says that it is no answer.
    NoReply,
    /// Has a descriptor come with it.
    Descriptor,
    /// Says all ones.
    Ones,
    /// Closes the connection.
    Close,
    /// Stops in the middle of the answer.
    Stop,
    /// Says nothing any more.
    Silence,
    /// Asks instead of answering, without end.
    Asks,
}

pub(crate) const FAULTS: [Fault; 10] = [
    Fault::OtherNumber,
    Fault::Short,
    Fault::Long,
    Fault::NoReply,
    Fault::Descriptor,
    Fault::Ones,
    Fault::Close,
    Fault::Stop,
    Fault::Silence,
    Fault::Asks,
];

/// It is over by then in any case.
const LIMIT: Duration = Duration::from_secs(20);

/// Serves the other end of a connection, with a fault at the answer of this number. Returns how many
/// answers it was asked for.
pub(crate) fn serve(stream: UnixStream, fault: Option<(usize, Fault)>) -> JoinHandle<usize> {
    thread::spawn(move || {
        let mut fake = Fake {
            socket: Socket::new(stream).with_limit(LIMIT),
            requests: None,
            kept: Vec::new(),
            status: 0,
            answers: 0,
            fault,
        };
        while fake.serve().is_some() {}
        fake.answers
    })
}

struct Fake {
    socket: Socket,
    requests: Option<Socket>,
    /// Kept open, as one does that has them in use.
    kept: Vec<OwnedFd>,
    status: u64,
    answers: usize,
    fault: Option<(usize, Fault)>,
}

impl Fake {
    /// Takes one message. `None` when the connection has ended.
    fn serve(&mut self) -> Option<()> {
        let message = self.socket.receive().ok()??;
        let (header, number) = (message.header, message.header.request);
        let request = Request::decode(number, message.body).ok()?;
        let code = request.code();
        let reply = self.answer(request);
        let reply = match reply {
            Some(reply) => reply,
            None if header.flags.contains(Flags::NEED_REPLY) => Reply::Value(0),
            None => return Some(()),
        };
        let at = self.answers;
        self.answers += 1;
        match self.fault {
            Some((faulty, fault)) if faulty == at => self.fail(code, reply, fault),
            _ => self.socket.send(number, Flags::REPLY, &reply.encode()).ok(),
        }
    }

    fn answer(&mut self, request: Request<OwnedFd>) -> Option<Reply<OwnedFd>> {
        let protocol = PROTOCOL_WANTED - ProtocolFeatures::INFLIGHT_SHMFD;
        Some(match request {
            Request::GetFeatures => {
                let features = F::VERSION_1 | F::EVENT_IDX;
                Reply::Value(features.0 as u64 | PROTOCOL_FEATURES)
            }
            Request::GetProtocolFeatures => Reply::Value(protocol.bits()),
            Request::GetQueueNum => Reply::Value(2),
            Request::GetMaxMemSlots => Reply::Value(8),
            Request::GetStatus => Reply::Value(self.status),
            Request::SetStatus(status) => {
                self.status = status;
                return None;
            }
            Request::GetVringBase(RingState { index, .. }) => {
                Reply::Ring(RingState { index, num: 0 })
            }
            Request::GetConfig(space) => Reply::Config(ConfigSpace {
                // Of a disk of 256 sectors and more.
                bytes: (0..space.bytes.len()).map(|at| u8::from(at == 1)).collect(),
                ..space
            }),
            Request::SetBackendReqFd(socket) => {
                self.requests = Some(Socket::new(socket).with_limit(LIMIT));
                return None;
            }
            Request::SetMemTable(regions) => {
                self.kept.extend(regions.into_iter().map(|(_, file)| file));
                return None;
            }
            Request::AddMemReg(_, file) => {
                self.kept.push(file);
                return None;
            }
            Request::SetVringCall(_, descriptor) | Request::SetVringKick(_, descriptor) => {
                self.kept.extend(descriptor);
                return None;
            }
            _ => return None,
        })
    }

    fn fail(&mut self, code: Code, reply: Reply<OwnedFd>, fault: Fault) -> Option<()> {
        let number = code.number();
        let mut body: Body<OwnedFd> = reply.encode();
        let mut flags = Flags::REPLY;
        let mut answered = number;
        match fault {
            Fault::OtherNumber => answered = number % 40 + 1,
            Fault::Short => drop(body.payload.pop()),
            Fault::Long => body.payload.push(0),
            Fault::NoReply => flags = Flags::empty(),
            Fault::Descriptor => body.descriptors.push(rustix::pipe::pipe().ok()?.0),
            Fault::Ones => body.payload.fill(0xff),
            Fault::Close => return None,
            Fault::Stop => {
                rustix::io::write(&self.socket, &[1, 2, 3]).ok()?;
                return self.wait_for_end();
            }
            Fault::Silence => return self.wait_for_end(),
            Fault::Asks => return self.ask_for_ever(),
        }
        self.socket.send(answered, flags, &body).ok()
    }

    fn ask_for_ever(&self) -> Option<()> {
        let Some(requests) = &self.requests else {
            return self.wait_for_end();
        };
        let nothing = Body::<OwnedFd> {
            payload: vec![],
            descriptors: vec![],
        };
        loop {
            // Its configuration has changed.
            requests.send(2, Flags::empty(), &nothing).ok()?;
        }
    }

    /// Waits until the other end has hung up.
    fn wait_for_end(&self) -> Option<()> {
        let mut polled = [PollFd::from_borrowed_fd(
            self.socket.as_fd(),
            PollFlags::RDHUP,
        )];
        let limit = Timespec::try_from(LIMIT).ok();
        poll(&mut polled, limit.as_ref()).ok();
        None
    }
}
