//! A packet on its way, and what it is on its way to.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Deref, DerefMut};

use ringway_spec::net::{HashReport, Header, ReportedHash};
use spin::Once;

use super::inlet::Inlet;

/// Longest packet that is carried: an Ethernet header with two tags, and what a length of 16 bits
/// says, with IPv6's header before it.
pub const PACKET_BYTES_MAX: usize = 14 + 2 * 4 + 40 + 65535;

/// Room before the bytes of a packet, for what drivers have there: so it all goes in one copy.
const FRONT: usize = size_of::<Header>() + size_of::<ReportedHash>();

/// A packet between a card and what it is connected to. Its bytes are nobody else's. A handle: moving
/// it moves no bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Packet {
    content: Box<Content>,
}

/// What a [`Packet`] is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What is left to do with it: a checksum to be completed, pieces to be cut. `num_buffers` says
    /// nothing.
    pub header: Header,
    /// Its hash, for cards whose drivers want to know.
    pub hash: Option<(u32, HashReport)>,
    /// From its Ethernet header on.
    pub bytes: Bytes,
}

/// The bytes of a [`Packet`].
#[derive(Clone, Default)]
pub struct Bytes {
    /// [`FRONT`] bytes, and the packet. Empty if there never was one.
    all: Vec<u8>,
}

impl Packet {
    /// A packet of these bytes, from its Ethernet header on, with `header` saying what is left to do
    /// with it.
    pub fn new(header: Header, bytes: &[u8]) -> Self {
        let mut content = Box::new(Content {
            header,
            ..Content::default()
        });
        content.bytes.set(bytes);
        Self { content }
    }
}

impl Deref for Packet {
    type Target = Content;

    #[inline]
    fn deref(&self) -> &Content {
        &self.content
    }
}

impl DerefMut for Packet {
    #[inline]
    fn deref_mut(&mut self) -> &mut Content {
        &mut self.content
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content.fmt(f)
    }
}

impl Bytes {
    /// Has them be these.
    pub fn set(&mut self, bytes: &[u8]) {
        self.with_front(0, bytes.len()).copy_from_slice(bytes);
    }

    /// Has them be `len` bytes of whatever value, and yields them with the `front` bytes before.
    #[inline]
    pub(super) fn with_front(&mut self, front: usize, len: usize) -> &mut [u8] {
        let all = FRONT.saturating_add(len);
        if self.all.len() != all {
            self.all.resize(all, 0);
        }
        let from = FRONT.saturating_sub(front);
        self.all.get_mut(from..).unwrap_or_default()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.all.get(FRONT..).unwrap_or_default()
    }
}

impl DerefMut for Bytes {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        self.all.get_mut(FRONT..).unwrap_or_default()
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// What a card is connected to.
pub trait Port: Send + Sync {
    /// Connects the card: what comes for it is [delivered](Inlet::deliver) there, from any thread.
    /// Called once.
    fn connect(&self, card: Inlet);

    /// Sends packets on. The port takes what it sends out of the list; what it leaves there, or puts
    /// there, is nobody's packet any more: its memory is used for others. Never waits. Called from any
    /// thread, and from several at once.
    fn send(&self, packets: &mut Vec<Packet>);
}

/// A port with nobody behind it: what is sent is gone, and nothing comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Port for Nowhere {
    fn connect(&self, _card: Inlet) {}

    fn send(&self, _packets: &mut Vec<Packet>) {}
}

/// A port that returns what is sent to the card that sent it.
#[derive(Default)]
pub struct Loopback {
    card: Once<Inlet>,
}

impl Port for Loopback {
    fn connect(&self, card: Inlet) {
        self.card.call_once(|| card);
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        if let Some(card) = self.card.get() {
            card.deliver(packets);
        }
    }
}
