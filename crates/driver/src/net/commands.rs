//! The queue of commands.

use alloc::sync::Arc;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use core::time::Duration;

use ringway_spec::net::{Control, Mac};

use super::answer::{Answered, Effect, Reply};
use super::books::Books;
use super::command::{Command, Encoded, Kind};
use super::facts::Facts;
use super::in_use::InUse;
use crate::bringup::Live;
use crate::dma::{Completion, Data, DmaBuffer, Queue, Token};
use crate::error::{Error, RequestError, Result};
use crate::platform::Platform;
use crate::transport::Transport;

/// Commands go in memory for devices, whatever the platform's trust is: they are short, and rare.
pub(super) type ControlQueue<P> = Queue<P, DmaBuffer, Control, Reply>;

/// The queue of commands of a card.
#[derive(Debug)]
pub(super) struct Commands<P: Platform> {
    queue: Option<ControlQueue<P>>,
    in_use: Arc<InUse>,
    books: Books,
}

impl<P: Platform> Commands<P> {
    /// As many as are sent one after the other.
    pub(super) const DEPTH: u16 = 64;

    pub(super) fn new(queue: Option<ControlQueue<P>>, in_use: Arc<InUse>, books: Books) -> Self {
        Self {
            queue,
            in_use,
            books,
        }
    }

    /// The address that the card was given last.
    pub(super) fn mac(&self) -> Option<Mac> {
        self.books.mac
    }

    /// Whether the card receives a kind of packets because it was told to.
    pub(super) fn receives(&self, kind: Kind) -> bool {
        self.books.receives(kind)
    }

    pub(super) fn submit(&mut self, command: &Command<'_>, facts: &Facts) -> Result<Token> {
        let (encoded, effect) = command.encode(facts, &self.books)?;
        let token = self.send(encoded)?;
        if let Effect::Pairs(pairs) = effect {
            // Once it is asked for, no other queue is used (§5.1.9.5.6.1); those that are new are when
            // it is granted.
            self.in_use.pairs.fetch_min(pairs, Ordering::Relaxed);
        }
        self.books.sent(token, effect);
        Ok(token)
    }

    pub(super) fn poll(&mut self) -> Result<Option<Answered>> {
        let done = self.queue()?.poll()?;
        Ok(done.map(|done| self.answered(&done)))
    }

    pub(super) fn wait<T>(&mut self, device: &mut Live<T>, limit: Duration) -> Result<Answered>
    where
        T: Transport<Platform = P>,
    {
        let done = self.queue()?.wait_for(device, limit)?;
        Ok(self.answered(&done))
    }

    pub(super) fn poll_next<T>(
        &mut self,
        device: &mut Live<T>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Answered>>
    where
        T: Transport<Platform = P>,
    {
        let done = match self.queue() {
            Ok(queue) => queue.poll_next_of(device, cx),
            Err(error) => return Poll::Ready(Err(error)),
        };
        done.map(|done| done.map(|done| self.answered(&done)))
    }

    fn send(&mut self, encoded: Encoded) -> Result<Token> {
        let Encoded { control, data } = encoded;
        let queue = self.queue()?;
        let data = match data.len() {
            0 => Data::None,
            len => {
                let mut buffer = DmaBuffer::new(queue.platform(), len)?;
                // It was made as long.
                let _ = buffer.write(0, &data);
                Data::Readable(buffer)
            }
        };
        let token = queue.submit(&control, data)?;
        queue.kick()?;
        Ok(token)
    }

    fn queue(&mut self) -> Result<&mut ControlQueue<P>> {
        let none = Error::Request(RequestError::Unsupported);
        self.queue.as_mut().ok_or(none)
    }

    fn answered(&mut self, done: &Completion<DmaBuffer, Reply>) -> Answered {
        let effect = self.books.take(done.token);
        let result = done.answer.read(done.written, effect);
        if let Ok(answer) = &result {
            if let Effect::Pairs(pairs) = effect {
                self.in_use.pairs.store(pairs, Ordering::Relaxed);
            }
            self.books.done(effect, answer);
        }
        Answered {
            token: done.token,
            result,
        }
    }
}
