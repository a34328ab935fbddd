//! Where packets come to a card, and wait for its queues.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicU16, Ordering};

use ringway_packet::{Addresses, Headers, Pieces, checksum, hash};
use ringway_spec::net::{GsoType, Header, Offloads, receive_queue};
use spin::{Mutex, MutexGuard, Once};

use super::PAIRS_MAX;
use super::coalesce::Waits;
use super::counts::ReceiveCounts;
use super::link;
use super::packet::Packet;
use super::rules::Rules;
use crate::notifier::Notifier;

/// Most packets that wait for one queue: a driver that takes none costs no more.
pub(super) const WAITING_MAX: usize = 1024;

/// How many flows are remembered, by a hash, to answer on the queue that they were sent by.
const FLOWS: usize = 1024;

/// Most packets whose memory waits to be used again, at one place: some megabytes, if all were large.
const SPARE_MAX: usize = 64;

/// Where packets for a card are delivered. A handle, which ports have.
#[derive(Clone)]
pub struct Inlet(Arc<dyn Deliver>);

/// Who takes what is delivered to an [`Inlet`]: a card, or what looks at packets on their way to one.
pub trait Deliver: Send + Sync {
    /// Takes packets: what is in the list then is nobody's packet any more, but memory for others.
    /// Never waits. Called from any thread, and from several at once.
    fn deliver(&self, packets: &mut Vec<Packet>);
}

/// What the workers of a card share.
pub(super) struct Shared {
    pub(super) rules: Mutex<Rules>,
    /// Of each pair, what waits for its receive queue.
    pub(super) boxes: Vec<Mutex<Inbox>>,
    /// Which pair a flow was sent by last.
    flows: Vec<AtomicU16>,
    /// The way to the carrier, once there is one.
    pub(super) notifier: Once<Notifier>,
    pub(super) link: link::State,
    /// How long notifications wait.
    pub(super) waits: Arc<Waits>,
}

/// What waits for a receive queue.
#[derive(Default)]
pub(super) struct Inbox {
    /// The oldest first.
    pub(super) packets: Vec<Packet>,
    /// Those that are received, for whoever has packets next.
    pub(super) spare: Vec<Packet>,
    /// Whether the queue is served: packets for one that is not are dropped.
    pub(super) open: bool,
    pub(super) counts: ReceiveCounts,
}

impl Inlet {
    /// Leads to `to`.
    pub fn new<D: Deliver + 'static>(to: Arc<D>) -> Self {
        Self(to)
    }

    /// Delivers packets to the card: those that its driver wants, with what is left to do of them done
    /// as far as the driver does not. All are taken; what is in the list then is memory for other
    /// packets. Never waits: what finds no room is dropped.
    pub fn deliver(&self, packets: &mut Vec<Packet>) {
        self.0.deliver(packets);
    }
}

impl Deliver for Shared {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        if !self.link.is_up() {
            return;
        }
        let rules = self.rules.lock();
        let mut open = Open::new(self);
        let is_plain = |packet: &Packet| {
            let short = packet.bytes.len() <= rules.longest;
            short && packet.header.is_plain() && rules.wants(&packet.bytes)
        };
        // Most often all are for the driver as they are.
        if rules.are_simple() && packets.iter().all(is_plain) {
            open.put_all(packets);
        } else {
            for packet in packets {
                if rules.wants(&packet.bytes) {
                    self.adapt(&rules, packet, &mut open);
                }
            }
        }
        let due = open.close();
        drop(rules);
        // Not with any lock: it may run a worker.
        for pair in due {
            self.due(pair);
        }
    }
}

/// The inbox that packets are put into, locked as long as they are for the same.
struct Open<'s> {
    shared: &'s Shared,
    inbox: Option<(u16, MutexGuard<'s, Inbox>)>,
    /// A bit for each pair whose receive queue is to be served.
    due: u32,
}

// So that there are bits for all.
const _: () = assert!(PAIRS_MAX as u32 <= u32::BITS);

impl<'s> Open<'s> {
    fn new(shared: &'s Shared) -> Self {
        Self {
            shared,
            inbox: None,
            due: 0,
        }
    }

    /// Puts a packet before the receive queue of `pair`. Leaves memory for another one.
    #[inline]
    fn put(&mut self, pair: u16, packet: &mut Packet) {
        if self.inbox.as_ref().is_none_or(|(open, _)| *open != pair) {
            self.turn(pair);
        }
        let Some((_, inbox)) = &mut self.inbox else {
            return;
        };
        if !inbox.open || inbox.packets.len() >= WAITING_MAX {
            inbox.counts.overrun();
            return;
        }
        let spare = inbox.spare.pop().unwrap_or_default();
        inbox.packets.push(mem::replace(packet, spare));
    }

    /// Puts packets before the first receive queue. Leaves memory for others.
    fn put_all(&mut self, packets: &mut Vec<Packet>) {
        self.turn(0);
        let Some((_, inbox)) = &mut self.inbox else {
            return;
        };
        let count = packets.len();
        if !inbox.open || inbox.packets.len().saturating_add(count) > WAITING_MAX {
            return packets.iter_mut().for_each(|packet| self.put(0, packet));
        }
        if inbox.packets.is_empty() {
            mem::swap(&mut inbox.packets, packets);
        } else {
            inbox.packets.append(packets);
        }
        let kept = inbox.spare.len().saturating_sub(count);
        packets.extend(inbox.spare.drain(kept..));
    }

    /// Counts a packet for `pair` that its driver cannot be given.
    #[cold]
    fn refuse(&mut self, pair: u16) {
        self.turn(pair);
        if let Some((_, inbox)) = &mut self.inbox {
            inbox.counts.dropped();
        }
    }

    /// Turns to the inbox of `pair`.
    fn turn(&mut self, pair: u16) {
        // One lock at a time.
        self.inbox = None;
        let shared = self.shared;
        let lock = |pair: u16| Some(shared.boxes.get(usize::from(pair))?.lock());
        // A flow's packets come by the first pair once the driver no longer uses its own.
        let own = lock(pair).filter(|inbox| inbox.open || pair == 0);
        let (receives, inbox) = match own {
            Some(inbox) => (pair, Some(inbox)),
            None => (0, lock(0)),
        };
        self.inbox = inbox.map(|inbox| (pair, inbox));
        self.due |= 1_u32.unbounded_shl(receives.into());
    }

    /// Which queues are to be served.
    fn close(self) -> impl Iterator<Item = u16> {
        let due = self.due;
        (0..PAIRS_MAX).filter(move |&pair| due & 1_u32.unbounded_shl(pair.into()) != 0)
    }
}

impl Inbox {
    /// Takes what waits, and leaves the memory of those that were `taken` before. Adds what was counted
    /// of those, and forgets it.
    pub(super) fn take(&mut self, taken: &mut Vec<Packet>, counts: &mut ReceiveCounts) {
        self.counts.add(&mem::take(counts));
        mem::swap(&mut self.packets, taken);
        keep(&mut self.packets, &mut self.spare);
    }
}

/// Keeps the memory of packets that are nobody's any more, as much as may wait.
pub(super) fn keep(packets: &mut Vec<Packet>, spare: &mut Vec<Packet>) {
    if spare.is_empty() {
        mem::swap(packets, spare);
    } else {
        spare.append(packets);
    }
    spare.truncate(SPARE_MAX);
}

impl Shared {
    pub(super) fn new(rules: Rules, pairs: u16) -> Self {
        Self {
            rules: Mutex::new(rules),
            boxes: (0..pairs).map(|_| Mutex::default()).collect(),
            flows: (0..FLOWS).map(|_| AtomicU16::new(0)).collect(),
            notifier: Once::new(),
            link: link::State::new(),
            waits: Arc::new(Waits::new(usize::from(pairs).saturating_mul(2))),
        }
    }

    /// Has the receive queue of pair `pair` served.
    pub(super) fn due(&self, pair: u16) {
        self.due_queue(receive_queue(pair));
    }

    /// Has queue `index` served.
    pub(super) fn due_queue(&self, index: u16) {
        if let Some(notifier) = self.notifier.get() {
            notifier.due(index);
        }
    }

    /// How many packets the driver was given by the receive queue of pair `pair`.
    pub(super) fn received(&self, pair: u16) -> u64 {
        let inbox = self.boxes.get(usize::from(pair));
        inbox.map_or(0, |inbox| inbox.lock().counts.basic().rx_packets.get())
    }

    /// Tells the driver that the configuration has changed.
    pub(super) fn config_changed(&self) {
        if let Some(notifier) = self.notifier.get() {
            notifier.config_changed();
        }
    }

    /// Remembers by which pair the flow of a packet is sent, so that answers come by the same
    /// (§5.1.9.5.6).
    pub(super) fn sent(&self, packet: &[u8], pair: u16) {
        if self.boxes.len() > 1
            && let Some(flow) = self.flow(packet)
        {
            flow.store(pair, Ordering::Relaxed);
        }
    }

    /// Does what the driver does not do of what is left to do, and puts the packet, or the pieces of
    /// it, before their queue.
    fn adapt(&self, rules: &Rules, packet: &mut Packet, open: &mut Open<'_>) {
        // Hashed once: its pieces are of the same flow.
        let pair = self.steer(rules, packet);
        let whole = packet.header.gso_type == GsoType::NONE;
        // Tunnels are never agreed to.
        let tunnels = GsoType::UDP_TUNNEL_IPV4 | GsoType::UDP_TUNNEL_IPV6;
        let tunnel = packet.header.gso_type.0 & tunnels != 0;
        if whole && packet.bytes.len() > rules.longest || tunnel {
            return open.refuse(pair);
        }
        if packet.header.is_plain() {
            return open.put(pair, packet);
        }
        if takes(rules.offloads, packet.header.gso_type, &packet.bytes) {
            if !rules.offloads.contains(Offloads::GUEST_CSUM) {
                // A checksum outside of the packet is nothing that a port lets through.
                let header = mem::take(&mut packet.header);
                if checksum::complete(&header, &mut packet.bytes).is_err() {
                    return open.refuse(pair);
                }
            }
            return open.put(pair, packet);
        }
        let (header, hash) = (packet.header, packet.hash);
        let Ok(Some(mut pieces)) = Pieces::of(&header, &mut packet.bytes, 0) else {
            return open.refuse(pair);
        };
        if pieces.longest() > rules.longest {
            return open.refuse(pair);
        }
        let mut room = vec![0; pieces.longest()];
        while let Ok(Some(piece)) = pieces.write_next(&mut room) {
            let mut piece = Packet::new(Header::default(), piece);
            piece.hash = hash;
            open.put(pair, &mut piece);
        }
    }

    /// Where the flow of a packet is remembered, if it is of any.
    fn flow(&self, packet: &[u8]) -> Option<&AtomicU16> {
        self.flows.get(hash::flow(packet)? as usize % FLOWS)
    }

    /// Which pair receives a packet. Notes its hash, if the driver wants to know.
    fn steer(&self, rules: &Rules, packet: &mut Packet) -> u16 {
        let Some(hashing) = &rules.hashing else {
            return self.automatic(rules, &packet.bytes);
        };
        let found = hashing.key.of_packet(&packet.bytes, hashing.types);
        packet.hash = found.map(|(hash, by)| (hash, by.report()));
        match (&hashing.steering, found) {
            (Some(steering), Some((hash, _))) => {
                // It has a power of two of entries.
                let entry = hash as usize & steering.table.len().wrapping_sub(1);
                let pair = steering.table.get(entry);
                pair.copied().unwrap_or(steering.unclassified)
            }
            (Some(steering), None) => steering.unclassified,
            (None, _) => self.automatic(rules, &packet.bytes),
        }
    }

    fn automatic(&self, rules: &Rules, packet: &[u8]) -> u16 {
        if rules.pairs == 1 {
            return 0;
        }
        let sent = self.flow(packet).map(|flow| flow.load(Ordering::Relaxed));
        sent.filter(|&pair| pair < rules.pairs).unwrap_or(0)
    }
}

/// Whether a driver with these offloads takes a packet as it is, but for its checksum.
fn takes(offloads: Offloads, gso: GsoType, packet: &[u8]) -> bool {
    let needed = match gso.kind() {
        GsoType::NONE => return gso == GsoType::NONE,
        GsoType::TCPV4 => Offloads::GUEST_TSO4,
        GsoType::TCPV6 => Offloads::GUEST_TSO6,
        GsoType::UDP => Offloads::GUEST_UFO,
        GsoType::UDP_L4 => match Headers::of(packet).map(|headers| headers.addresses) {
            Some(Addresses::V4 { .. }) => Offloads::GUEST_USO4,
            _ => Offloads::GUEST_USO6,
        },
        _ => return false,
    };
    let ecn = match gso.has(GsoType::ECN) {
        true => Offloads::GUEST_ECN,
        false => Offloads::empty(),
    };
    offloads.contains(needed | ecn | Offloads::GUEST_CSUM)
}
