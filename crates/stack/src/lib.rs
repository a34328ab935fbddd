//! A card of `ringway-driver` as network stacks want it, whichever stack it is.
//!
//! A stack takes packets one at a time, in one piece and in memory of its own, is told which checksums it
//! is to look after, and knows nothing of queues and buffers. [`Packets`] makes that of a card's queues,
//! one pair or several. What the card did of checksums the stack is told not to do; what it only might
//! have done is done here. Buffers are made once, and used again.
//!
//! `ringway-smoltcp` gives it the names that smoltcp has for it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod incoming;
mod outgoing;
mod waiting;

use ringway_driver::dma::Bytes;
use ringway_driver::net::{Facts, Pair, Receiver, Transmitter};
use ringway_driver::platform::Platform;
use ringway_driver::{Error, Result};
use ringway_packet::ETHERNET;
use ringway_spec::net::{F, receive_queue};

use incoming::Incoming;
use outgoing::Outgoing;

/// What Ethernet carries, if nobody says otherwise.
const USUAL_MTU: usize = 1500;

/// What goes over a card's queues, as packets.
#[derive(Debug)]
pub struct Packets<P: Platform, B: Bytes, M> {
    incoming: Incoming<P, B>,
    outgoing: Outgoing<P, B>,
    facts: Facts,
    make: M,
}

/// Room for a packet to be sent.
#[derive(Debug)]
pub struct Room<'p, P: Platform, B: Bytes, M> {
    outgoing: &'p mut Outgoing<P, B>,
    make: &'p mut M,
}

/// What a stack is to do of the checksums of TCP and UDP. Those of IP and ICMP are always its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// Look whether those of packets that come are right.
    pub verify: bool,
    /// Put them into packets that go.
    pub compute: bool,
}

impl<P, B, M> Packets<P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    /// What goes over `pairs`, which are in use, of a card with these `facts`. Their receive queues are
    /// filled. `make` makes a buffer of so many bytes, or none if there is no memory now.
    ///
    /// A packet of a flow is sent by one pair, which a hash of the flow chooses; packets are taken from
    /// all pairs in turn.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] if there is no pair; or what
    /// [filling](ringway_driver::net::Receiver::fill) the receive queues finds.
    pub fn new(
        pairs: impl IntoIterator<Item = Pair<P, B>>,
        facts: Facts,
        mut make: M,
    ) -> Result<Self> {
        let pairs = pairs.into_iter();
        let (receivers, transmitters): (alloc::vec::Vec<_>, _) =
            pairs.map(|pair| (pair.receiver, pair.transmitter)).unzip();
        if receivers.is_empty() {
            return Err(Error::NoQueue(receive_queue(0)));
        }
        Ok(Self {
            incoming: Incoming::new(receivers, facts, &mut make)?,
            outgoing: Outgoing::new(transmitters, facts),
            facts,
            make,
        })
    }

    /// Moves on to the next packet that came, if there is room to answer it. Says whether it did.
    /// Packets whose checksum is wrong are passed over.
    pub fn advance(&mut self) -> bool {
        self.outgoing.has_room() && self.incoming.advance(&mut self.make)
    }

    /// The packet that [`advance`](Self::advance) moved to, from its Ethernet header on, and room for an answer.
    pub fn packet(&mut self) -> (&mut [u8], Room<'_, P, B, M>) {
        let room = Room {
            outgoing: &mut self.outgoing,
            make: &mut self.make,
        };
        (self.incoming.packet(), room)
    }

    /// Room for a packet, if there is.
    pub fn room(&mut self) -> Option<Room<'_, P, B, M>> {
        let has_room = self.outgoing.has_room();
        has_room.then_some(Room {
            outgoing: &mut self.outgoing,
            make: &mut self.make,
        })
    }

    /// Tells the device of what was sent since it was last told, and takes the buffers back that it is
    /// done with.
    ///
    /// # Errors
    ///
    /// [`Error`] of the driver, met since this was last called or now: the card is to be reset.
    pub fn flush(&mut self) -> Result<()> {
        let taken = self.incoming.take_fault();
        self.outgoing.flush()?;
        taken.map_or(Ok(()), Err)
    }

    /// What the card says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What is left to the stack of checksums.
    pub fn checksums(&self) -> Checksums {
        Checksums {
            // What the device only might have verified is verified here.
            verify: !self.facts.features.contains(F::GUEST_CSUM),
            compute: !self.facts.features.contains(F::CSUM),
        }
    }

    /// Longest packet, from its Ethernet header on, in bytes.
    pub fn longest(&self) -> usize {
        longest(&self.facts)
    }

    /// The receive queues, for what they count.
    pub fn receivers(&self) -> &[Receiver<P, B>] {
        self.incoming.receivers()
    }

    /// The transmit queues, for what they count.
    pub fn transmitters(&self) -> &[Transmitter<P, B>] {
        self.outgoing.transmitters()
    }

    /// How many packets were dropped, of those that came: their checksum was wrong, or they were no
    /// packets; and of those that were to go: there was no buffer for them, or the card refused them.
    pub fn drops(&self) -> [u64; 2] {
        [self.incoming.drops(), self.outgoing.drops()]
    }

    /// The pairs of queues: for their counters, and for taking buffers back after a reset.
    pub fn into_pairs(self) -> impl Iterator<Item = Pair<P, B>> {
        let receivers = self.incoming.into_receivers().into_iter();
        let pairs = receivers.zip(self.outgoing.into_transmitters());
        pairs.map(|(receiver, transmitter)| Pair {
            receiver,
            transmitter,
        })
    }
}

impl<P, B, M> Room<'_, P, B, M>
where
    P: Platform,
    B: Bytes,
    M: FnMut(usize) -> Option<B>,
{
    /// Sends a packet of `len` bytes, from its Ethernet header on, which `fill` makes. Whatever was there
    /// before is there when it is called. The device is told by the next
    /// [`flush`](Packets::flush) or [`kick`](Self::kick).
    pub fn send<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        self.outgoing.send(len, self.make, fill)
    }

    /// Tells the device of what was sent, if it wants to know: for stacks that do not say when they are
    /// done. What fails is told by [`flush`](Packets::flush).
    pub fn kick(&mut self) {
        self.outgoing.kick();
    }
}

/// Longest packet of a card with these facts, from its Ethernet header on.
fn longest(facts: &Facts) -> usize {
    ETHERNET + facts.mtu.map_or(USUAL_MTU, usize::from)
}
