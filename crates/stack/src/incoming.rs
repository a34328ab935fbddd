//! Packets that come: taken from all pairs in turn, each in one piece.

use alloc::collections::VecDeque;
use alloc::vec;
use alloc::vec::Vec;

use ringway_driver::dma::Bytes;
use ringway_driver::net::{Checksum, Cut, Facts, Packet, Pieces, Received, Receiver};
use ringway_driver::platform::Platform;
use ringway_driver::{Error, Result};
use ringway_packet::{ETHERNET, checksum};
use ringway_spec::le::U16;
use ringway_spec::net::{F, GsoType, Header, HeaderFlags};

/// Packets that are taken from a queue at once.
const BURST: usize = 32;

/// Longest packet that is taken, in bytes: a device of which every buffer is part of one gets no more
/// memory.
const LONGEST: usize = ETHERNET + 2 * 4 + 40 + 65535;

/// Most datagrams that may come as one packet, as much as Linux makes of one: a device that says they have
/// a byte each costs no more.
const DATAGRAMS_MAX: usize = 128;

/// The receive queues of a card, and their buffers.
#[derive(Debug)]
pub(crate) struct Incoming<P: Platform, B: Bytes> {
    receivers: Vec<Receiver<P, B>>,
    /// Which of them is looked at next.
    turn: usize,
    facts: Facts,
    received: VecDeque<Packet<B>>,
    /// Datagrams that came as one packet.
    datagrams: VecDeque<Vec<u8>>,
    /// Buffers that nobody has.
    free: Vec<B>,
    now: Now<B>,
    /// A packet that is in several buffers, or in one that cannot be seen.
    copy: Vec<u8>,
    drops: u64,
    fault: Option<Error>,
}

/// Where the packet is that the stack sees.
#[derive(Debug)]
enum Now<B> {
    /// In a buffer: from where on, and how many bytes.
    Buffer(B, usize, usize),
    /// In the copy, which begins with so many bytes of it.
    Copy(usize),
}

impl<P: Platform, B: Bytes> Incoming<P, B> {
    pub(crate) fn new(
        mut receivers: Vec<Receiver<P, B>>,
        facts: Facts,
        make: &mut impl FnMut(usize) -> Option<B>,
    ) -> Result<Self> {
        let bytes = facts.receive_bytes();
        for receiver in &mut receivers {
            receiver.fill(|| make(bytes))?;
        }
        Ok(Self {
            receivers,
            turn: 0,
            facts,
            received: VecDeque::with_capacity(BURST),
            datagrams: VecDeque::new(),
            free: Vec::new(),
            now: Now::Copy(0),
            copy: Vec::new(),
            drops: 0,
            fault: None,
        })
    }

    /// Moves on to the next packet, if there is one.
    pub(crate) fn advance(&mut self, make: &mut impl FnMut(usize) -> Option<B>) -> bool {
        if let Now::Buffer(buffer, ..) = core::mem::replace(&mut self.now, Now::Copy(0)) {
            self.free.push(buffer);
        }
        loop {
            if let Some(datagram) = self.datagrams.pop_front() {
                self.now = Now::Copy(datagram.len());
                self.copy = datagram;
                return true;
            }
            if self.received.is_empty() {
                self.refill(make);
            }
            let Some(packet) = self.received.pop_front() else {
                return false;
            };
            let received = packet.received;
            let whole = self.show(packet) && self.is_right(&received);
            match received.cut.filter(|cut| cut.into == Pieces::Udp) {
                _ if !whole => self.drops += 1,
                None => return true,
                Some(cut) => self.apart(&received, &cut),
            }
        }
    }

    /// The packet that was moved to.
    pub(crate) fn packet(&mut self) -> &mut [u8] {
        let bytes = match &mut self.now {
            Now::Buffer(buffer, from, len) => buffer
                .as_mut_slice()
                .and_then(|bytes| bytes.get_mut(*from..)?.get_mut(..*len)),
            Now::Copy(len) => self.copy.get_mut(..*len),
        };
        bytes.unwrap_or_default()
    }

    pub(crate) fn receivers(&self) -> &[Receiver<P, B>] {
        &self.receivers
    }

    /// Has interrupts tell of packets. Says whether there may be some now.
    pub(crate) fn arm(&mut self) -> bool {
        let mut come = false;
        for queue in &mut self.receivers {
            // Of one that nobody hears of, there always may be.
            come |= queue.arm() || !queue.queue().interrupts();
        }
        come
    }

    pub(crate) fn into_receivers(self) -> Vec<Receiver<P, B>> {
        self.receivers
    }

    pub(crate) fn drops(&self) -> u64 {
        self.drops
    }

    /// What went wrong with a queue since this was last asked.
    pub(crate) fn take_fault(&mut self) -> Option<Error> {
        self.fault.take()
    }

    /// Takes packets from the first queue that has some: those after the one that was last looked at
    /// come first.
    fn refill(&mut self, make: &mut impl FnMut(usize) -> Option<B>) {
        let bytes = self.facts.receive_bytes();
        let (received, free) = (&mut self.received, &mut self.free);
        for _ in 0..self.receivers.len() {
            let turn = self.turn;
            self.turn = (turn + 1) % self.receivers.len();
            let Some(receiver) = self.receivers.get_mut(turn) else {
                continue;
            };
            let take = |packet| received.push_back(packet);
            let supply = || free.pop().or_else(|| make(bytes));
            if let Err(error) = receiver.receive(BURST, take, supply) {
                self.fault = self.fault.or(Some(error));
            }
            if !received.is_empty() {
                return;
            }
        }
    }

    /// Has the packet where it can be seen in one piece. Says whether all of it is.
    fn show(&mut self, packet: Packet<B>) -> bool {
        let (before, len) = (self.facts.header_len, packet.len());
        if len > LONGEST {
            self.free.extend(packet.into_buffers());
            return false;
        }
        let packet = match packet.into_single() {
            Ok(buffer) if buffer.as_slice().is_some() => {
                self.now = Now::Buffer(buffer, before, len);
                return true;
            }
            single => single,
        };
        if self.copy.len() < len {
            self.copy.resize(len, 0);
        }
        let copy = self.copy.get_mut(..len).unwrap_or_default();
        self.now = Now::Copy(len);
        match packet {
            Ok(buffer) => {
                let read = buffer.read_at(before, copy);
                self.free.push(buffer);
                read.is_ok()
            }
            Err(packet) => {
                let copied = packet.copy_to(copy).len();
                self.free.extend(packet.into_buffers());
                copied == len
            }
        }
    }

    /// Whether the checksum of the packet that was moved to is not wrong, as far as the stack was told not
    /// to look.
    fn is_right(&mut self, received: &Received) -> bool {
        match received.checksum {
            Checksum::Right | Checksum::Partial(_) => true,
            Checksum::Unknown if !self.facts.features.contains(F::GUEST_CSUM) => true,
            Checksum::Unknown => checksum::judge(self.packet()) != ringway_packet::Checksum::Wrong,
        }
    }

    /// Takes datagrams apart that came as one packet: a stack would take them for one.
    fn apart(&mut self, received: &Received, cut: &Cut) {
        let Checksum::Partial(at) = received.checksum else {
            self.drops += 1;
            return;
        };
        let header = Header {
            flags: HeaderFlags::NEEDS_CSUM.bits(),
            gso_type: GsoType::UDP_L4,
            gso_size: U16::new(cut.size),
            csum_start: U16::new(at.start),
            csum_offset: U16::new(at.offset),
            ..Header::default()
        };
        let mut datagrams = core::mem::take(&mut self.datagrams);
        let pieces = ringway_packet::Pieces::of(&header, self.packet(), 0);
        match pieces {
            Ok(Some(mut pieces)) if pieces.count() <= DATAGRAMS_MAX => {
                let mut room = vec![0; pieces.longest()];
                while let Ok(Some(piece)) = pieces.write_next(&mut room) {
                    datagrams.push_back(piece.to_vec());
                }
            }
            _ => self.drops += 1,
        }
        self.datagrams = datagrams;
    }
}
