//! What happens on a connection, for whoever wants to tell of it.

use core::fmt;

use ringway_ring::device::Violation;
use ringway_spec::Features;

use super::Refusal;
use crate::event_loop::Counts;
use crate::protocol::ProtocolFeatures;
use crate::socket::SocketError;

/// Hears of what happens. Called from whichever thread it happens on, which waits for it.
pub trait Observer: Send + Sync {
    /// This happened.
    fn event(&self, event: Event);
}

/// One that is not interested.
impl Observer for () {
    fn event(&self, _event: Event) {}
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A front-end is there.
    Connected,
    /// It accepted these features of the protocol.
    Protocol(ProtocolFeatures),
    /// The driver accepted these features.
    Features(Features),
    /// A ring runs.
    RingStarted {
        /// Its index.
        ring: u16,
        /// How many descriptors it has.
        size: u16,
    },
    /// A ring stopped.
    RingStopped {
        /// Its index.
        ring: u16,
        /// What became of the chains that the device had.
        chains: Chains,
        /// What has happened on it, in this connection and those before.
        counts: Counts,
    },
    /// The driver broke a rule: the ring is served no more before a reset.
    Violation {
        /// The ring.
        ring: u16,
        /// The rule.
        violation: Violation,
    },
    /// The front-end reads none of the requests of this end, which therefore makes no more.
    ChannelLost(SocketError),
    /// A request was refused, and the front-end was told so.
    Refused {
        /// The number of the request.
        request: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The front-end is there no more. Nothing of it is.
    Disconnected {
        /// Why.
        reason: Reason,
        /// What it asked for.
        traffic: Traffic,
    },
}

/// What became of the chains that a device had when its ring was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chains {
    /// They were completed.
    Completed,
    /// Some were not, in the time that there is for it.
    Lost,
}

/// What went over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that arrived.
    pub requests: u64,
    /// Those of them that were refused.
    pub refused: u64,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The front-end closed it.
    Closed,
    /// It sent a request that was refused, and there is no answer that says so.
    Refused(Refusal),
    /// What it sent is no message, or it takes none.
    Socket(SocketError),
    /// This end was told to stop.
    Stopped,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("front-end closed the connection"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Stopped => f.write_str("told to stop"),
        }
    }
}
