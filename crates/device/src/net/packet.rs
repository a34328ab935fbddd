//! A packet on its way, and what it is on its way to.

use alloc::vec::Vec;

use ringway_spec::net::{HashReport, Header};
use spin::Mutex;

use super::inlet::Inlet;

/// Longest packet that is carried: an Ethernet header with two tags, and what a length of 16 bits
/// says, with IPv6's header before it.
pub const PACKET_BYTES_MAX: usize = 14 + 2 * 4 + 40 + 65535;

/// A packet between a card and what it is connected to. Its bytes are nobody else's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// What is left to do with it: a checksum to be completed, pieces to be cut. `num_buffers` says
    /// nothing.
    pub header: Header,
    /// Its hash, for cards whose drivers want to know.
    pub hash: Option<(u32, HashReport)>,
    /// From its Ethernet header on.
    pub bytes: Vec<u8>,
}

/// What a card is connected to.
pub trait Port: Send + Sync {
    /// Connects the card: what comes for it is [delivered](Inlet::deliver) there, from any thread.
    /// Called once.
    fn connect(&self, card: Inlet);

    /// Sends packets on. What the port takes it takes out of the list; what it leaves is dropped. Never
    /// waits. Called from any thread, and from several at once.
    fn send(&self, packets: &mut Vec<Packet>);
}

/// A port with nobody behind it: what is sent is gone, and nothing comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Port for Nowhere {
    fn connect(&self, _card: Inlet) {}

    fn send(&self, packets: &mut Vec<Packet>) {
        packets.clear();
    }
}

/// A port that returns what is sent to the card that sent it.
#[derive(Default)]
pub struct Loopback {
    card: Mutex<Option<Inlet>>,
}

impl Port for Loopback {
    fn connect(&self, card: Inlet) {
        *self.card.lock() = Some(card);
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let card = self.card.lock().clone();
        card.into_iter().for_each(|card| card.deliver(packets));
    }
}
