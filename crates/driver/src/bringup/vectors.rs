//! Interrupts for the queues of a device: the best way of those that device and platform have room
//! for.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::link::{Link, Started};
use crate::dma::Callback;
use crate::error::{Error, Result};
use crate::interrupt::{Handler, Purpose, Signal, VectorName};
use crate::platform::{Message, Platform};
use crate::transport::Transport;

/// How a device's interrupts arrive. The ways are tried in this order.
///
/// A queue without a [callback](Callback) takes no part in any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// A message for the configuration, and one for each queue.
    Each,
    /// A message for the configuration and for the slow queues, and one for each other queue.
    SlowShared,
    /// A message for the configuration, and one for all queues.
    Shared,
    /// One message for all.
    One,
    /// The interrupt line.
    Line,
    /// They do not: the device is polled.
    Polled,
}

/// The ways of messages, in the order in which they are tried.
const BY_MESSAGES: [Interrupts; 4] = [
    Interrupts::Each,
    Interrupts::SlowShared,
    Interrupts::Shared,
    Interrupts::One,
];

/// The vector of changes of the configuration.
const CONFIG: u16 = 0;
/// That of all queues, if they share one.
const QUEUES: u16 = 1;

/// A vector as it is to be connected.
struct Vector {
    purpose: Purpose,
    signals: Vec<Arc<Signal>>,
}

impl<T: Transport> Link<T> {
    /// Connects interrupts, the best way of those that device and platform have room for. Running
    /// out of vectors degrades, and never fails.
    pub(super) fn connect(&mut self, queues: &mut [Started]) -> Result<()> {
        let mut fewest = usize::MAX;
        for way in BY_MESSAGES {
            let vectors = self.assign(way, queues);
            // What did not work with as many would not now.
            if vectors.len() >= fewest {
                continue;
            }
            fewest = vectors.len();
            if self.connect_messages(way, vectors, queues)? {
                return Ok(());
            }
        }
        queues.iter_mut().for_each(|queue| queue.vector = None);
        if let Some(line) = self.transport()?.line() {
            let number = line.number;
            let signals = heard(queues).cloned().collect();
            let name = self.vector_name(Purpose::All);
            let handler = Handler::line(name, line, signals, Arc::clone(&self.config));
            if self.core.platform.line(number, handler.clone()) {
                self.handlers.push(handler);
                self.interrupts = Interrupts::Line;
            }
        }
        Ok(())
    }

    /// The handler of the vector that queue `index` has for itself.
    pub(super) fn own_vector(&self, index: u16) -> Result<Handler<T::Platform>> {
        if self.transport.is_none() {
            return Err(Error::Gone);
        }
        let started = self.started.iter().find(|queue| queue.index == index);
        let vector = started.ok_or(Error::NoQueue(index))?.vector;
        let handler = vector.and_then(|vector| self.handlers.get(usize::from(vector)));
        let own = |handler: &&Handler<_>| matches!(handler.name().purpose, Purpose::Queue(_));
        handler.filter(own).cloned().ok_or(Error::NoVector(index))
    }

    /// What the vector is called that a queue raises, if it sends messages.
    pub(super) fn vector_of(&self, queue: &Started) -> Option<VectorName> {
        let handler = self.handlers.get(usize::from(queue.vector?))?;
        Some(handler.name())
    }

    /// Says which vectors there are in some way, by their numbers, and which of them each queue
    /// raises.
    fn assign(&self, way: Interrupts, queues: &mut [Started]) -> Vec<Vector> {
        // A change of configuration may be a cry for a reset: whoever waits for a queue wants to
        // hear of it.
        let config = core::iter::once(&self.config).chain(heard(queues));
        let mut vectors = Vec::from([Vector {
            purpose: match way {
                Interrupts::One => Purpose::All,
                _ => Purpose::Config,
            },
            signals: config.cloned().collect(),
        }]);
        for queue in queues {
            queue.vector = match (queue.callback, way) {
                (Callback::None, _) => None,
                (_, Interrupts::Each) | (Callback::Own, Interrupts::SlowShared) => {
                    // One beyond what a number can be is refused for being too many.
                    let vector = u16::try_from(vectors.len()).ok();
                    vectors.push(Vector {
                        purpose: Purpose::Queue(queue.name),
                        signals: Vec::from([Arc::clone(&queue.signal)]),
                    });
                    vector
                }
                (_, Interrupts::Shared) => {
                    let signal = Arc::clone(&queue.signal);
                    match vectors.get_mut(usize::from(QUEUES)) {
                        Some(shared) => shared.signals.push(signal),
                        None => vectors.push(Vector {
                            purpose: Purpose::Queues,
                            signals: Vec::from([signal]),
                        }),
                    }
                    Some(QUEUES)
                }
                (Callback::Own | Callback::Slow, _) => Some(CONFIG),
            };
        }
        vectors
    }

    /// Tries to connect a message for each of `vectors`. Says whether it could.
    fn connect_messages(
        &mut self,
        way: Interrupts,
        vectors: Vec<Vector>,
        queues: &[Started],
    ) -> Result<bool> {
        let wanted = vectors.len();
        if wanted > usize::from(self.transport()?.messages_max()) {
            return Ok(false);
        }
        let mut messages: Vec<Message> = Vec::with_capacity(wanted);
        for Vector { purpose, signals } in vectors {
            let handler = Handler::message(self.vector_name(purpose), signals);
            let Some(message) = self.core.platform.message(handler.clone()) else {
                break;
            };
            self.handlers.push(handler);
            messages.push(message);
        }
        let all = messages.len() == wanted;
        if all && Self::program(self.transport()?, &messages, queues)? {
            self.interrupts = way;
            return Ok(true);
        }
        self.disconnect();
        Ok(false)
    }

    /// Tells the device which vector is for what. Says whether it agreed.
    fn program(transport: &mut T, messages: &[Message], queues: &[Started]) -> Result<bool> {
        // Vectors are numbered from 0; there are no more than the device said it has, in 16 bits.
        for (vector, message) in (0..).zip(messages) {
            transport.set_message(vector, Some(*message))?;
        }
        transport.use_messages(true)?;
        let mut agreed = transport.set_config_vector(Some(CONFIG))?;
        for queue in queues {
            agreed = agreed && transport.set_queue_vector(queue.index, queue.vector)?;
        }
        if !agreed {
            transport.set_config_vector(None)?;
            for queue in queues {
                transport.set_queue_vector(queue.index, None)?;
            }
            transport.use_messages(false)?;
        }
        Ok(agreed)
    }

    fn disconnect(&mut self) {
        for handler in self.handlers.drain(..) {
            self.core.platform.disconnect(&handler);
        }
    }

    fn vector_name(&self, purpose: Purpose) -> VectorName {
        VectorName {
            device: self.name,
            purpose,
        }
    }
}

/// What is raised for the queues that have a callback.
fn heard(queues: &[Started]) -> impl Iterator<Item = &Arc<Signal>> {
    let queues = queues.iter();
    let called = queues.filter(|queue| queue.callback != Callback::None);
    called.map(|queue| &queue.signal)
}

impl Interrupts {
    /// In a word: `msix-each`, `msix-slow`, `msix-shared`, `msix-one`, `line` or `polled`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "msix-each",
            Self::SlowShared => "msix-slow",
            Self::Shared => "msix-shared",
            Self::One => "msix-one",
            Self::Line => "line",
            Self::Polled => "polled",
        }
    }
}

impl fmt::Display for Interrupts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests;
