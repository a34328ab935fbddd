//! The queue of commands.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicU16, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;

use ringway_spec::net::{Ack, Control};

use super::command::{Command, Encoded};
use super::facts::Facts;
use crate::bringup::Live;
use crate::dma::{Completion, Data, DmaBuffer, Queue, Token};
use crate::error::{Error, RequestError, Result};
use crate::platform::Platform;
use crate::transport::Transport;

/// Commands go in memory for devices, whatever the platform's trust is: they are short, and rare.
pub(super) type ControlQueue<P> = Queue<P, DmaBuffer, Control, Ack>;

/// The queue of commands of a card.
#[derive(Debug)]
pub(super) struct Commands<P: Platform> {
    queue: Option<ControlQueue<P>>,
    /// How many pairs may be used, and what has been asked for meanwhile.
    pairs: Arc<AtomicU16>,
    asked: Option<(Token, u16)>,
}

/// A command that the device has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// What [`Net::command`](super::Net::command) called it.
    pub token: Token,
    /// How it went.
    pub result: Result<(), Refused>,
}

/// A command that the device did not do. It does not say why (§5.1.9.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub Ack);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device refused the command, by {}", self.0.0)
    }
}

impl core::error::Error for Refused {}

impl<P: Platform> Commands<P> {
    /// As many as are sent one after the other.
    pub(super) const DEPTH: u16 = 64;

    pub(super) fn new(queue: Option<ControlQueue<P>>, pairs: Arc<AtomicU16>) -> Self {
        Self {
            queue,
            pairs,
            asked: None,
        }
    }

    pub(super) fn submit(&mut self, command: &Command<'_>, facts: &Facts) -> Result<Token> {
        let asked = match *command {
            Command::Pairs(pairs) => Some(pairs),
            Command::Steer(ref steering) => Some(steering.transmit),
            _ => None,
        };
        let encoded = command.encode(facts)?;
        let token = self.send(encoded)?;
        if let Some(pairs) = asked {
            // Once it is asked for, no other queue is used (§5.1.9.5.6.1); those that are new are when
            // it is granted.
            self.pairs.fetch_min(pairs, Ordering::Relaxed);
            self.asked = Some((token, pairs));
        }
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

    fn answered(&mut self, done: &Completion<DmaBuffer, Ack>) -> Answered {
        let result = match done.answer {
            Ack::OK => Ok(()),
            other => Err(Refused(other)),
        };
        if let Some((_, pairs)) = self.asked.take_if(|(token, _)| *token == done.token)
            && result.is_ok()
        {
            self.pairs.store(pairs, Ordering::Relaxed);
        }
        Answered {
            token: done.token,
            result,
        }
    }
}
