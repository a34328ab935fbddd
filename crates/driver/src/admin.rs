//! The queues through which a device is asked about itself and the devices that it owns, beside
//! any driver.
//!
//! ```text
//!  Wanted::administration ─bring-up─▶ Live::take_admin ─▶ Admin ─submit(Request)─▶ the device
//!                                                              ◀─poll── Done ──────┘
//! ```
//!
//! A [`Request`] is checked against what was said before, and not sent if the specification does not
//! let it be: which commands the device listed, and which the driver said it uses; what the device
//! has of a capability; which objects there are. Several may be in flight; those for one member go
//! over one queue, which keeps their order.
//!
//! [`submit`](Admin::submit) and [`poll`](Admin::poll) do not wait. What is named after a command,
//! as [`list`](Admin::list), sends it and waits for the answer, at most as long as the
//! [patience](Admin::set_patience) lasts.
//!
//! Spec: VIRTIO 1.4 §2.12 "Device groups", §2.13 "Administration Virtqueues".

mod books;
mod capability;
mod legacy;
mod member;
mod parts;
mod reply;
mod request;
mod typed;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_spec::admin::{GRANULE, GroupType, Opcodes, Status, StatusHeader};

use crate::dma::{Buffers, Callback, Completion, Data, Pending, Queue, QueueOptions, Token};
use crate::error::{AdminError, Error, Failure, Kind, Result, Violation};
use crate::platform::Platform;
use books::Books;
use request::Effect;

pub use capability::Capability;
pub use legacy::{Legacy, NotifyPlace, Whose, Width};
pub use member::To;
pub use parts::Part;
pub use reply::Reply;
pub use request::Request;

/// Most administration queues that are brought up, whatever is wanted: each has memory of its own.
pub const QUEUES_MAX: u16 = 16;

/// Most bytes of a result that can be asked for.
pub const RESULT_BYTES_MAX: usize = 64 * 1024;

/// How an administration queue is made: few commands, in two pieces each, that nobody is in a hurry
/// for.
pub(crate) const QUEUE_OPTIONS: QueueOptions = QueueOptions {
    size: 16,
    segments: 16,
    longest: u32::MAX,
    callback: Callback::Slow,
    kind: "admin",
};

/// How long a command may take, unless it is said otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a command is sent again that the device wants to be asked once more (§2.13.2), against
/// one that never has enough.
const RETRIES_MAX: usize = 64;

/// An administration queue that the device was not told of yet.
pub(crate) type Unstarted<P> = Pending<P, Box<[u8]>>;

/// The administration queues of a device, live. A handle of its own, beside those of the driver: it
/// may be sent to another thread. Nothing can be asked through it any more when the device was reset.
#[derive(Debug)]
pub struct Admin<P: Platform> {
    queues: Vec<Queue<P, Box<[u8]>>>,
    books: Books,
    flights: Vec<Flight>,
    /// What was done while somebody waited for something else.
    done: Vec<Done>,
    tickets: u64,
    patience: Duration,
}

/// What a command that was sent is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// A command that the device is done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What [`Admin::submit`] called it.
    pub ticket: Ticket,
    /// What it came to.
    pub outcome: Result<Reply, Failure>,
}

/// A command in flight.
#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    /// Which queue has it, and what it is called there.
    queue: usize,
    token: Token,
    /// Whom it is for.
    to: (GroupType, u64),
    effect: Effect,
}

impl<P: Platform> Admin<P> {
    /// Of these queues, if there are any.
    pub(crate) fn of(queues: Vec<Queue<P, Box<[u8]>>>) -> Option<Self> {
        if queues.is_empty() {
            return None;
        }
        Some(Self {
            queues,
            books: Books::default(),
            flights: Vec::new(),
            done: Vec::new(),
            tickets: 0,
            patience: PATIENCE,
        })
    }

    /// How many queues there are.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// How many commands are in flight.
    pub fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// The commands that the driver said it uses in a group. None before it has said so.
    pub fn used(&self, group: GroupType) -> Opcodes {
        self.books.used(group).unwrap_or_default()
    }

    /// How long each command may take whose answer is waited for: 5 seconds by default.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends a command, if it may be sent now. The device is told of it at once.
    ///
    /// # Errors
    ///
    /// [`AdminError`] if it may not, by the rules that it names: nothing was sent. On
    /// [`Error::QueueFull`], take what is done and try again. Otherwise those of
    /// [`Queue::submit`].
    pub fn submit(&mut self, request: &Request) -> Result<Ticket> {
        if self.flights.iter().any(|flight| flight.effect.settles()) {
            return Err(AdminError::Settling.into());
        }
        if request.effect.settles() && !self.flights.is_empty() {
            return Err(AdminError::InFlight(self.flights.len()).into());
        }
        self.books.allow(request)?;
        let to = (request.group, request.member);
        let index = self.queue_for(to);
        let queue = self.queues.get_mut(index).ok_or(Error::Gone)?;
        let data = Data::Several(Box::new(Buffers {
            readable: vec![request.bytes()],
            writable: vec![room_for(request.room)],
        }));
        let token = queue.submit(&(), data)?;
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.books.begin(&request.effect);
        self.flights.push(Flight {
            ticket,
            queue: index,
            token,
            to,
            effect: request.effect.clone(),
        });
        queue.kick()?;
        Ok(ticket)
    }

    /// Takes one command that the device is done with, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Device`] if the device broke a rule: reset it. [`Error::Gone`] if it was.
    pub fn poll(&mut self) -> Result<Option<Done>> {
        if !self.done.is_empty() {
            return Ok(Some(self.done.remove(0)));
        }
        for index in 0..self.queues.len() {
            let queue = self.queues.get_mut(index).ok_or(Error::Gone)?;
            if let Some(completion) = queue.poll()? {
                return self.settle(index, completion).map(Some);
            }
        }
        Ok(None)
    }

    /// Waits for this command, as long as the patience lasts. What else is done meanwhile is for
    /// [`poll`](Self::poll).
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`] if it failed; [`Error::TimedOut`] if it is not done: it stays in
    /// flight. [`Error::NotInFlight`] if there is no such command. Otherwise as [`poll`](Self::poll).
    pub fn wait(&mut self, ticket: Ticket) -> Result<Reply> {
        let deadline = self.now()?.saturating_add(self.patience);
        loop {
            if let Some(place) = self.done.iter().position(|done| done.ticket == ticket) {
                let outcome = self.done.remove(place).outcome;
                return outcome.map_err(|failure| AdminError::Failed(failure).into());
            }
            let flight = self.flights.iter().find(|flight| flight.ticket == ticket);
            let index = flight.ok_or(Error::NotInFlight)?.queue;
            let queue = self.queues.get_mut(index).ok_or(Error::Gone)?;
            if let Some(completion) = queue.wait_once()? {
                let done = self.settle(index, completion)?;
                self.done.push(done);
            } else if self.now()? >= deadline {
                return Err(Error::TimedOut);
            }
        }
    }

    /// Sends a command and waits for it. One that the device wants to be asked for again is.
    ///
    /// # Errors
    ///
    /// Those of [`submit`](Self::submit) and [`wait`](Self::wait).
    pub fn call(&mut self, request: &Request) -> Result<Reply> {
        let mut retries = 0;
        loop {
            let ticket = self.submit(request)?;
            match self.wait(ticket) {
                Err(Error::Admin(AdminError::Failed(failure)))
                    if failure.kind() == Kind::TryAgain && retries < RETRIES_MAX =>
                {
                    retries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn now(&self) -> Result<Duration> {
        let queue = self.queues.first().ok_or(Error::Gone)?;
        Ok(queue.platform().now())
    }

    /// The queue for the next command to this member: the one that has others for it, which are to
    /// be carried out before (§2.13.2), or that has the fewest.
    fn queue_for(&self, to: (GroupType, u64)) -> usize {
        let same = self.flights.iter().find(|flight| flight.to == to);
        let idle = || {
            let loads = self.queues.iter().map(Queue::in_flight);
            let least = loads.enumerate().min_by_key(|&(_, load)| load);
            least.map_or(0, |(index, _)| index)
        };
        same.map_or_else(idle, |flight| flight.queue)
    }

    /// Takes an answer apart, and takes down what follows from it.
    fn settle(&mut self, index: usize, completion: Completion<Box<[u8]>>) -> Result<Done> {
        let Completion {
            token,
            data,
            written,
            ..
        } = completion;
        let mine = |flight: &Flight| flight.queue == index && flight.token == token;
        let place = self.flights.iter().position(mine);
        let flight = self.flights.swap_remove(place.ok_or(Error::NotInFlight)?);
        let outcome = answer(data, written);
        match &outcome {
            Ok(Ok(reply)) => self.books.succeeded(flight.effect, reply),
            Ok(Err(failure)) => self.books.failed(&flight.effect, Some(failure.kind())),
            Err(_) => self.books.failed(&flight.effect, None),
        }
        Ok(Done {
            ticket: flight.ticket,
            outcome: outcome?,
        })
    }
}

/// Room for a status, and a result of so many bytes.
fn room_for(result: usize) -> Box<[u8]> {
    let len = size_of::<StatusHeader>() + result.min(RESULT_BYTES_MAX);
    vec![0; len.next_multiple_of(GRANULE)].into_boxed_slice()
}

/// The answer in what the device has `written`: beyond that, whatever the buffer holds, all is zero
/// (§2.13.2). But for the status, which the device must write (§2.13.1).
fn answer(data: Data<Box<[u8]>>, written: u32) -> Result<Result<Reply, Failure>> {
    let buffer = match data {
        Data::Several(mut buffers) => buffers.writable.pop(),
        _ => None,
    };
    let mut bytes = buffer.map(Vec::from).unwrap_or_default();
    bytes.truncate(written as usize);
    if bytes.len() < STATUS_BYTES {
        return Err(Violation::NoStatus(written).into());
    }
    let whole = Reply::new(bytes);
    let header: StatusHeader = whole.head();
    Ok(match header.status {
        Status::OK => Ok(Reply::new(whole.tail::<StatusHeader>().to_vec())),
        status => Err(Failure {
            status,
            qualifier: header.status_qualifier,
        }),
    })
}

/// Bytes of a status and its qualifier.
const STATUS_BYTES: usize = 4;

#[cfg(test)]
mod tests;
