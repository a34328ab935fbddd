//! The interrupt side of a device: what a handler calls, and what it wakes.
//!
//! A [`Handler`] is given to the platform for every interrupt that the device may raise. Calling it
//! is all that an interrupt handler has to do: it touches no queue, takes no lock and allocates
//! nothing.

use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use alloc::sync::Arc;
use alloc::vec::Vec;

use atomic_waker::AtomicWaker;
use ringway_spec::InterruptStatus;

use crate::platform::Platform;
use crate::transport::Line;

mod name;
mod processors;

pub use name::{Purpose, QueueName, VectorName};
pub use processors::Processors;

/// Counts what happened, and wakes who waits for it.
#[derive(Debug, Default)]
pub struct Signal {
    count: AtomicU32,
    waker: AtomicWaker,
}

impl Signal {
    /// How often it was raised, modulo 2³². Read it before looking for work, so that
    /// [`Platform::wait`] notices what comes between.
    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Counts, and wakes.
    pub fn raise(&self) {
        self.count.fetch_add(1, Ordering::Release);
        self.waker.wake();
    }

    /// Has `waker` woken when it is next raised, instead of the one registered before.
    pub fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// What to call when a device interrupts.
#[derive(Debug)]
pub struct Handler<P: Platform> {
    source: Arc<Source<P>>,
    name: VectorName,
}

#[derive(Debug)]
enum Source<P: Platform> {
    /// A message says by itself whom it concerns.
    Message(Vec<Arc<Signal>>),
    /// A line is shared by all queues, by the configuration, and by other devices.
    Line {
        line: Line<P>,
        queues: Vec<Arc<Signal>>,
        config: Arc<Signal>,
    },
}

impl<P: Platform> Handler<P> {
    /// For a message that concerns `signals`.
    pub(crate) fn message(name: VectorName, signals: Vec<Arc<Signal>>) -> Self {
        Self {
            source: Arc::new(Source::Message(signals)),
            name,
        }
    }

    /// For an interrupt line.
    pub(crate) fn line(
        name: VectorName,
        line: Line<P>,
        queues: Vec<Arc<Signal>>,
        config: Arc<Signal>,
    ) -> Self {
        Self {
            source: Arc::new(Source::Line {
                line,
                queues,
                config,
            }),
            name,
        }
    }

    /// What the interrupt is called, for whoever lists interrupts.
    pub fn name(&self) -> VectorName {
        self.name
    }

    /// To be called for every interrupt, from interrupt context if need be. Says whether it was
    /// this device's: a line may be shared.
    pub fn handle(&self) -> bool {
        match &*self.source {
            Source::Message(signals) => {
                signals.iter().for_each(|signal| signal.raise());
                true
            }
            Source::Line {
                line,
                queues,
                config,
            } => {
                // A device that cannot be reached has not interrupted.
                let causes = line.cause.take().unwrap_or_default();
                if causes.contains(InterruptStatus::CONFIG_CHANGE) {
                    config.raise();
                }
                // A change of configuration may be a cry for a reset: whoever waits for a queue is
                // to hear of it, too.
                if !causes.is_empty() {
                    queues.iter().for_each(|signal| signal.raise());
                }
                !causes.is_empty()
            }
        }
    }

    /// Whether it raises `signal`, if its device interrupts: for a platform that waits for just
    /// those interrupts that a thread waits for.
    pub fn raises(&self, signal: &Signal) -> bool {
        let among = |signals: &[Arc<Signal>]| {
            let mut signals = signals.iter();
            signals.any(|raised| core::ptr::eq(Arc::as_ptr(raised), signal))
        };
        match &*self.source {
            Source::Message(signals) => among(signals),
            Source::Line { queues, config, .. } => {
                among(queues) || core::ptr::eq(Arc::as_ptr(config), signal)
            }
        }
    }

    /// Whether both are handles to the same handler.
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }
}

impl<P: Platform> Clone for Handler<P> {
    fn clone(&self) -> Self {
        Self {
            source: Arc::clone(&self.source),
            name: self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestPlatform;

    #[test]
    fn a_handler_knows_which_signals_it_raises() {
        let [first, second, other] = [(); 3].map(|()| Arc::<Signal>::default());
        let signals = Vec::from([Arc::clone(&first), Arc::clone(&second)]);
        let name = VectorName {
            device: None,
            purpose: Purpose::Queues,
        };
        let handler = Handler::<TestPlatform>::message(name, signals);

        let raises = [&first, &second, &other].map(|signal| handler.raises(signal));

        assert_eq!(raises, [true, true, false]);
    }
}
