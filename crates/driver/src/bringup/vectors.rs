//! Interrupts for the queues of a device: the best way of those that device and platform have room
//! for.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::link::{Link, Started};
use crate::error::{Error, Result};
use crate::interrupt::{Handler, Signal};
use crate::platform::{Message, Platform};
use crate::transport::Transport;

/// How a device's interrupts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// A message for the configuration, and one for each queue.
    Each,
    /// A message for the configuration, and one for all queues.
    Shared,
    /// One message for all.
    One,
    /// The interrupt line.
    Line,
    /// They do not: the device is polled.
    Polled,
}

impl<T: Transport> Link<T> {
    /// Connects interrupts, the best way of those that device and platform have room for. Running
    /// out of vectors degrades, and never fails.
    pub(super) fn connect(&mut self, queues: &mut [Started]) -> Result<()> {
        let all: Vec<_> = queues
            .iter()
            .map(|queue| Arc::clone(&queue.signal))
            .collect();
        // A change of configuration may be a cry for a reset: whoever waits for a queue wants to
        // hear of it.
        let config = || {
            core::iter::once(Arc::clone(&self.config))
                .chain(all.iter().cloned())
                .collect::<Vec<_>>()
        };
        let each = core::iter::once(config())
            .chain(all.iter().map(|signal| Vec::from([Arc::clone(signal)])));
        let ways = [
            (Interrupts::Each, each.collect::<Vec<_>>()),
            (Interrupts::Shared, Vec::from([config(), all.clone()])),
            (Interrupts::One, Vec::from([config()])),
        ];
        for (way, vectors) in ways {
            if self.connect_messages(way, vectors, queues)? {
                return Ok(());
            }
        }
        let line = self.transport()?.line();
        if let Some(line) = line {
            let number = line.number;
            let handler = Handler::line(line, all, Arc::clone(&self.config));
            if self.core.platform.line(number, handler.clone()) {
                self.handlers.push(handler);
                self.interrupts = Interrupts::Line;
            }
        }
        Ok(())
    }

    /// Tries to connect a message for each of `vectors`. Says whether it could.
    fn connect_messages(
        &mut self,
        way: Interrupts,
        vectors: Vec<Vec<Arc<Signal>>>,
        queues: &mut [Started],
    ) -> Result<bool> {
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let wanted = vectors.len();
        if wanted > usize::from(transport.messages_max()) {
            return Ok(false);
        }
        let mut messages: Vec<Message> = Vec::with_capacity(wanted);
        for signals in vectors {
            let handler = Handler::message(signals);
            let Some(message) = self.core.platform.message(handler.clone()) else {
                break;
            };
            self.handlers.push(handler);
            messages.push(message);
        }
        if messages.len() == wanted && Self::program(transport, way, &messages, queues)? {
            self.interrupts = way;
            return Ok(true);
        }
        self.disconnect();
        Ok(false)
    }

    /// Tells the device which vector is for what. Says whether it agreed.
    fn program(
        transport: &mut T,
        way: Interrupts,
        messages: &[Message],
        queues: &mut [Started],
    ) -> Result<bool> {
        // Vectors are numbered from 0; there are no more than the device said it has, in 16 bits.
        for (vector, message) in (0..).zip(messages) {
            transport.set_message(vector, Some(*message))?;
        }
        transport.use_messages(true)?;
        let mut agreed = transport.set_config_vector(Some(0))?;
        for (place, queue) in (1..).zip(&mut *queues) {
            queue.vector = Some(match way {
                Interrupts::Each => place,
                Interrupts::Shared => 1,
                _ => 0,
            });
            agreed = agreed && transport.set_queue_vector(queue.index, queue.vector)?;
        }
        if !agreed {
            transport.set_config_vector(None)?;
            for queue in queues {
                queue.vector = None;
                transport.set_queue_vector(queue.index, None)?;
            }
            transport.use_messages(false)?;
        }
        Ok(agreed)
    }

    pub(super) fn disconnect(&mut self) {
        for handler in self.handlers.drain(..) {
            self.core.platform.disconnect(&handler);
        }
        self.interrupts = Interrupts::Polled;
    }
}
