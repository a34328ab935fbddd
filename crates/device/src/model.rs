//! What a device is, without how it is reached.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use ringway_ring::device::{Batch, Violation};
use ringway_ring::shared::Shared;
use ringway_spec::{DeviceId, Features};

use crate::net::Network;
use crate::notifier::Notifier;

/// A device model: identity, features, configuration; and, once a driver is ready, the workers that
/// serve its queues.
///
/// The same model runs behind every carrier. It is called from one thread at a time.
pub trait Device: Send {
    /// What type of device it is.
    fn id(&self) -> DeviceId;

    /// It is presented by a carrier, which is told by `notifier` of what happens to the device
    /// without its driver's doing. Called once, before a driver sees it.
    fn presented(&mut self, _notifier: Notifier) {}

    /// The features of its type that it offers. Those of rings and transports are added by the
    /// carrier. Asked once.
    fn features(&self) -> Features;

    /// The largest size of each queue, a power of two. As many as the device has queues. Asked
    /// once.
    fn queue_sizes(&self) -> &[u16];

    /// How many bytes configuration space has: none by default. Drivers are shown no more. Asked once.
    fn config_bytes(&self) -> usize {
        0
    }

    /// Reads configuration space, from byte `offset` on. What lies beyond its end reads as 0, which
    /// is what `into` holds. Carriers read all of it at once, so that the driver sees it in one piece. See
    /// [`config::read`](crate::config::read).
    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    /// The memory that it shares with its driver, beside queues: none by default. Asked once.
    fn shared_memory(&self) -> &[SharedRegion] {
        &[]
    }

    /// Writes configuration space, from byte `offset` on. What the driver may not write is ignored.
    /// Called before [`negotiated`](Self::negotiated) only by a driver from before version 1, which
    /// may write what the features that are offered let it (§3.1.2). See
    /// [`config::written`](crate::config::written).
    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    /// The driver's features are settled: from here on, configuration is what it is with them
    /// (§5.2.5.2 has a case of it).
    fn negotiated(&mut self, _features: Features) {}

    /// Makes the worker of queue `index`. A driver is ready, has enabled the queue, and agreed to
    /// `features` (the ring's and the transport's among them). Called again, with a queue that was
    /// reset alone, when it is enabled again (§2.6.1): the worker of before has stopped then.
    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker>;

    /// Returns to the state in which it was made. Its workers have stopped before this is called.
    fn reset(&mut self);

    /// What a device of the same kind needs to know, beside the driver's features and where its queues
    /// stand, to go on in this one's place: at most [`STATE_MAX`] bytes. None if the device cannot say
    /// it, which is the same at all times. No worker runs.
    fn save(&self) -> Option<Vec<u8>> {
        None
    }

    /// The device as a network card, which is told more than other devices are: none by default. The same
    /// at all times.
    fn network(&mut self) -> Option<&mut dyn Network> {
        None
    }

    /// Goes on as the device that has [saved](Self::save) this, perhaps another version of it, perhaps
    /// somebody who pretends to be one. No worker runs; the driver's features may be settled before this
    /// or after.
    ///
    /// # Errors
    ///
    /// [`StateError`]: nothing was changed.
    fn load(&mut self, _state: &[u8]) -> Result<(), StateError> {
        Err(StateError::Unknown)
    }
}

/// Memory that a device shares with its driver, which reaches it as it does registers (§2.10).
#[derive(Clone, Debug)]
pub struct SharedRegion {
    /// Which of the device's regions it is: no other has the same.
    pub id: u8,
    /// Its bytes.
    pub memory: Shared,
}

/// Most bytes of the state of a device: they go through a pipe that nobody reads meanwhile.
pub const STATE_MAX: usize = 4096;

/// Why a device does not go on as another one has saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It is of a version that there is not, or of another kind of device.
    Unknown,
    /// It has so many bytes, which none of its version has.
    Length(usize),
    /// It says what the device cannot be.
    Value(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("saved state of another device, or of a version unknown here")
            }
            Self::Length(len) => write!(f, "saved state of {len} bytes, which none has"),
            Self::Value(what) => write!(f, "saved state says what cannot be: {what}"),
        }
    }
}

impl core::error::Error for StateError {}

/// Serves one queue of a device.
pub trait Worker: Send {
    /// Serves the chains of a batch: takes each, does what it asks, completes it, until there is
    /// none. Chains may be kept, to be completed in a later batch. The driver sees what was completed
    /// when the batch ends: a worker that has long to do for a chain
    /// [publishes](Batch::publish) the ones before.
    ///
    /// # Errors
    ///
    /// [`Violation`] if the driver broke a rule: the carrier asks the driver for a reset (§2.1.2).
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation>;

    /// Whether chains are kept for whose completion nothing is needed but time: serve again when
    /// there was some. A queue whose place is to be known is not stopped before. Chains that are kept
    /// without it are those that were taken last, and nothing was done with them: where a queue is
    /// stopped, they are taken again by whoever goes on there.
    fn is_busy(&self) -> bool {
        false
    }

    /// What becomes readable when kept chains can be completed: serve again then. The number of a
    /// file descriptor that the worker owns, where there are such things. Asked once, of a new
    /// worker; one that has none is asked again and again while it [is busy](Self::is_busy).
    fn ready(&self) -> Option<i32> {
        None
    }

    /// Whether chains are taken that the driver makes available: asked after each batch. A worker that
    /// waits for something else leaves them where they are, and the driver is not to kick for more of
    /// them; it is [served again](Notifier::due) when that has come.
    fn wants_chains(&self) -> bool {
        true
    }

    /// Whether the driver is told later of what was completed, together with more: asked after each
    /// batch. Who says so sees to it that it is [served again](Notifier::due) in time.
    fn defers(&self) -> bool {
        false
    }
}
