//! Driver for the network device. Spec: VIRTIO 1.4 §5.1 "Network Device".
//!
//! A [`Card`] says what it is and is set up; [`Card::start`] makes it a [`Net`], which is told what to
//! receive and to send, and pairs of queues, a [`Receiver`] and a [`Transmitter`] each, which are
//! handles of their own.
//!
//! A packet is in a buffer of the caller's, behind [`Facts::header_len`] bytes of room for what the two
//! ends tell each other of it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::{Context, Poll};
use core::time::Duration;

use ringway_spec::DeviceId;
use ringway_spec::net::{MTU_MIN, Mac};

use crate::bringup::{Config as DeviceConfig, Live, Probed, Wanted};
use crate::bus::{AnyTransport, Class, Driver};
use crate::dma::{Bytes, Token};
use crate::error::{RequestError, Result};
use crate::platform::Platform;
use crate::transport::Transport;

mod answer;
mod books;
mod card;
mod command;
mod commands;
mod counters;
mod facts;
mod fallback;
mod in_use;
mod offload;
mod receive;
mod transmit;

pub use answer::{Answer, Answered, Failed};
use books::Books;
pub use card::{Card, Direction, HASHES, Limits, RECEIVE_OFFLOADS, USUAL};
pub use command::{Command, Kind, Steering, Wait, Which};
use commands::{Commands, ControlQueue};
pub use counters::Counters;
pub use facts::{Duplex, Facts, Hashes, Link};
pub use fallback::{Fallback, Sent};
use in_use::InUse;
pub use offload::{Checksum, ChecksumAt, Congestion, Cut, Offload, Pieces, Received};
pub use receive::{Burst, Packet, Receiver};
pub use transmit::Transmitter;

/// A network card.
#[derive(Debug)]
pub struct Net<T: Transport, B: Bytes = alloc::boxed::Box<[u8]>> {
    device: Live<T>,
    facts: Facts,
    pairs: Vec<Pair<T::Platform, B>>,
    commands: Commands<T::Platform>,
    in_use: Arc<InUse>,
}

/// A pair of queues. Each is a handle of its own.
#[derive(Debug)]
pub struct Pair<P: Platform, B: Bytes> {
    /// Packets come in by it.
    pub receiver: Receiver<P, B>,
    /// Packets go out by it.
    pub transmitter: Transmitter<P, B>,
}

impl<T: Transport, B: Bytes> Driver<T> for Net<T, B> {
    const ID: DeviceId = card::ID;

    fn probe(device: Probed<T>) -> Result<Self> {
        Card::open(device, &Wanted::default())?.start()
    }
}

impl<P: Platform, B: Bytes> Class<P> for Net<AnyTransport<P>, B> {
    type Change = Link;

    fn change(config: &mut DeviceConfig<'_, AnyTransport<P>>) -> Result<Option<Link>> {
        Link::read(config).map(Some)
    }
}

impl<T: Transport, B: Bytes> Net<T, B> {
    fn new(
        device: Live<T>,
        facts: Facts,
        pairs: Vec<Pair<T::Platform, B>>,
        control: Option<ControlQueue<T::Platform>>,
        in_use: Arc<InUse>,
    ) -> Self {
        let books = Books::new(pairs.len() as u16);
        Self {
            device,
            facts,
            pairs,
            commands: Commands::new(control, Arc::clone(&in_use), books),
            in_use,
        }
    }

    /// What the card says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the card says of its link now.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn link(&mut self) -> Result<Link> {
        Link::read(&mut self.device.config())
    }

    /// Its pairs of queues, of which there is one at least.
    pub fn pairs(&mut self) -> &mut [Pair<T::Platform, B>] {
        &mut self.pairs
    }

    /// Takes the pairs of queues, to use each on a thread of its own. There are none here any more.
    pub fn take_pairs(&mut self) -> Vec<Pair<T::Platform, B>> {
        core::mem::take(&mut self.pairs)
    }

    /// Tells the card something. It answers later: [`poll`](Self::poll), [`wait`](Self::wait) or
    /// [`next`](Self::next).
    ///
    /// # Errors
    ///
    /// [`Error::Request`](crate::Error::Request) if it cannot be told that, for want of a feature, or
    /// since what is said cannot be; [`Error::QueueFull`](crate::Error::QueueFull): take an answer and try
    /// again.
    pub fn command(&mut self, command: &Command<'_>) -> Result<Token> {
        self.commands.submit(command, &self.facts)
    }

    /// Takes one answer, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Device`](crate::Error::Device) if the device broke a rule of the ring;
    /// [`Error::NeedsReset`](crate::Error::NeedsReset) if it asks for a reset.
    pub fn poll(&mut self) -> Result<Option<Answered>> {
        match self.commands.poll()? {
            Some(answered) => Ok(Some(answered)),
            None => self.device.check().map(|()| None),
        }
    }

    /// Waits for one answer, at most for `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::TimedOut`](crate::Error::TimedOut), or as [`poll`](Self::poll).
    pub fn wait(&mut self, limit: Duration) -> Result<Answered> {
        self.commands.wait(&mut self.device, limit)
    }

    /// Takes one answer, or has `cx` woken when there may be one.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answered>> {
        self.commands.poll_next(&mut self.device, cx)
    }

    /// The next answer.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub async fn next(&mut self) -> Result<Answered> {
        core::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The card's address: the one that it was [given](Command::Mac), or its own, if it has one.
    pub fn mac(&self) -> Option<Mac> {
        self.commands.mac().or(self.facts.mac)
    }

    /// Longest packet after the Ethernet header that is sent, unless it is cut, in bytes, if there is a
    /// limit.
    pub fn mtu(&self) -> Option<u16> {
        self.in_use.mtu()
    }

    /// Has no longer packets be sent from here on, by any pair. What may be received is as before.
    ///
    /// # Errors
    ///
    /// [`RequestError::Mtu`]: 68 bytes are the least, and the most what the card says, if it does
    /// (§5.1.4.2).
    pub fn set_mtu(&mut self, mtu: u16) -> Result<()> {
        let most = self.facts.mtu.unwrap_or(u16::MAX);
        if !(MTU_MIN..=most).contains(&mtu) {
            return Err(RequestError::Mtu { asked: mtu, most }.into());
        }
        self.in_use.set_mtu(mtu);
        Ok(())
    }

    /// Whether the card receives a kind of packets because it was [told](Command::Receive) to, and
    /// agreed. [`Kind::Any`] is promiscuity.
    pub fn receives(&self, kind: Kind) -> bool {
        self.commands.receives(kind)
    }

    /// The device.
    pub fn device(&mut self) -> &mut Live<T> {
        &mut self.device
    }

    /// Resets the device. Returns its transport, to begin again, and the pairs of queues, from which
    /// buffers in flight can be [reclaimed](crate::dma::Queue::reclaim).
    pub fn reset(self) -> (Result<T>, Vec<Pair<T::Platform, B>>) {
        (self.device.reset(), self.pairs)
    }
}
