//! How a front-end is to drive a back-end.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use ringway_spec::DeviceId;
use ringway_spec::net::Mac;

use super::error::Error;
use crate::protocol::ProtocolFeatures;

/// Protocol features that a front-end uses where the back-end has them.
pub const PROTOCOL_WANTED: ProtocolFeatures = ProtocolFeatures::MQ
    .union(ProtocolFeatures::REPLY_ACK)
    .union(ProtocolFeatures::CONFIG)
    .union(ProtocolFeatures::MEM_SLOTS)
    .union(ProtocolFeatures::INFLIGHT_SHMFD)
    .union(ProtocolFeatures::RESET_DEVICE)
    .union(ProtocolFeatures::STATUS)
    .union(ProtocolFeatures::BACKEND_REQ);

/// How one of the two ends is told that there is something to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Notify {
    /// A descriptor is signalled.
    #[default]
    Signal,
    /// A message is sent. Needs `INBAND_NOTIFICATIONS`.
    Message,
    /// It is not: it looks by itself.
    Poll,
}

/// How long, and how often, a back-end that went away is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// How long. `None` is for ever.
    pub within: Option<Duration>,
    /// How long to wait after the first attempt that fails, which is made at once, or after the
    /// first connection that does not last. Twice as long after each other one.
    pub first_delay: Duration,
    /// The longest wait. A connection that lasted for longer did last.
    pub longest_delay: Duration,
}

impl Reconnect {
    /// Not at all.
    pub const NEVER: Self = Self {
        within: Some(Duration::ZERO),
        first_delay: Duration::ZERO,
        longest_delay: Duration::ZERO,
    };
}

impl Default for Reconnect {
    /// For ever, at first after 10 milliseconds, later every second.
    fn default() -> Self {
        Self {
            within: None,
            first_delay: Duration::from_millis(10),
            longest_delay: Duration::from_secs(1),
        }
    }
}

/// What happens to a connection, for those who want to know. Drivers see nothing of it but time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The back-end is gone.
    Lost(Error),
    /// An attempt to reach another one has failed.
    Failed {
        /// How many have, since the connection was lost.
        attempts: u32,
        /// Why this one has.
        why: Error,
        /// How long until the next.
        next: Duration,
    },
    /// A back-end is there again, and goes on with all that was in flight.
    Resumed {
        /// How many attempts failed.
        failed: u32,
        /// How long nobody was there.
        after: Duration,
    },
    /// There will be no further attempt.
    GaveUp(Error),
}

/// Whom to tell of [`Event`]s. Must not drive the device.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// How a front-end is to drive a back-end.
#[derive(Clone)]
pub struct Options {
    /// What type of device it is: the protocol does not say.
    pub device: DeviceId,
    /// Protocol features to be used where the back-end has them.
    pub protocol: ProtocolFeatures,
    /// How the back-end is told of chains.
    pub kicks: Notify,
    /// How it tells of completions. With [`Notify::Poll`], drivers find that there are no
    /// interrupts; what the back-end signals all the same, nobody hears.
    pub calls: Notify,
    /// Whether the back-end is to translate addresses, if it can (`ACCESS_PLATFORM`).
    pub translation: Translation,
    /// The largest size of a queue: the protocol does not say.
    pub queue_size: u16,
    /// How many queues the device has, if the back-end does not say (`MQ`).
    pub queues: u16,
    /// What this end has of a network card. Without, all of it is the back-end's, which is then to have
    /// `CONFIG`, and to do what it is commanded, if it offers to: as ours, and few others.
    pub card: Option<CardOptions>,
    /// How long an answer may take.
    pub answer_limit: Duration,
    /// How long a back-end that went away is looked for.
    pub reconnect: Reconnect,
    /// Whom to tell what happens to the connection.
    pub observer: Option<Observer>,
}

/// What this end has of a network card: its configuration, and its queue of commands. The back-end has
/// the queues for packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardOptions {
    /// The card's address. Without, it is that of the back-end, if it has one to tell.
    pub mac: Option<Mac>,
    /// Longest packet after the Ethernet header, in bytes, 68 at least, if both ends are to know. Only
    /// where the back-end offers `MTU`; told to it where it has `NET_MTU`. Without, it is what the
    /// back-end tells, if it does.
    pub mtu: Option<u16>,
    /// Most pairs of queues, 16 at most. There are no more than the back-end has.
    pub pairs: u16,
}

impl Default for CardOptions {
    /// One pair of queues, and what the back-end says.
    fn default() -> Self {
        Self {
            mac: None,
            mtu: None,
            pairs: 1,
        }
    }
}

/// Whether addresses are translated by the back-end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translation {
    /// They are not: `ACCESS_PLATFORM` is not offered to drivers.
    #[default]
    No,
    /// They are, by what it is told (IOTLB), if it can.
    IfOffered,
}

impl Options {
    /// The usual, for a device of type `device`.
    pub fn new(device: DeviceId) -> Self {
        let (card, protocol) = match device {
            DeviceId::NETWORK => {
                let of_cards = ProtocolFeatures::NET_MTU | ProtocolFeatures::RARP;
                (Some(CardOptions::default()), PROTOCOL_WANTED | of_cards)
            }
            _ => (None, PROTOCOL_WANTED),
        };
        Self {
            device,
            protocol,
            kicks: Notify::default(),
            calls: Notify::default(),
            translation: Translation::default(),
            queue_size: 256,
            queues: 1,
            card,
            answer_limit: Duration::from_secs(10),
            reconnect: Reconnect::default(),
            observer: None,
        }
    }

    /// Protocol features without which nothing of this can be.
    pub(crate) fn required(&self) -> ProtocolFeatures {
        let in_band = self.kicks == Notify::Message || self.calls == Notify::Message;
        if in_band {
            ProtocolFeatures::INBAND_NOTIFICATIONS
                | ProtocolFeatures::BACKEND_REQ
                | ProtocolFeatures::REPLY_ACK
        } else {
            ProtocolFeatures::empty()
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("device", &self.device)
            .field("protocol", &self.protocol)
            .field("kicks", &self.kicks)
            .field("calls", &self.calls)
            .field("card", &self.card)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}
