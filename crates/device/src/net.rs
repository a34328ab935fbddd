//! The network device: a card, connected to a [`Port`].
//!
//! Packets are copied out of the driver's memory once, and judged: what is passed on is such that
//! whoever gets it can do what is left to do. What comes is filtered, steered and, as far as the driver
//! does not, done.
//!
//! Spec: VIRTIO 1.4 §5.1 "Network Device".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::le::{U16, U32};
use ringway_spec::net::{
    Config, F, HashTypes, MTU_MIN, Mac, Offloads, PAIRS_MIN, control_queue, header_len,
};
use ringway_spec::{DeviceId, Features};
use spin::Mutex;
use zerocopy::IntoBytes;

use crate::model::{Device, Worker};
use crate::notifier::Notifier;

mod coalesce;
mod control;
mod counts;
mod inlet;
mod link;
mod network;
mod packet;
mod receive;
mod rules;
mod transmit;

use coalesce::Coalesced;
pub use coalesce::{Alarm, Clock};
use control::{Commands, KEY_MAX};
use counts::{CommandCounts, TransmitCounts};
use inlet::Shared;
pub use inlet::{Deliver, Inlet};
use link::Linked;
pub use link::{Duplex, Link};
pub use network::Network;
pub use packet::{Bytes, Content, Loopback, Nowhere, PACKET_BYTES_MAX, Packet, Port};
use receive::Receive;
use rules::{Rules, TABLE_MAX};
use transmit::Transmit;

/// The largest size of the queues for packets.
pub const QUEUE_SIZE: u16 = 256;

/// The largest size of the queue of commands.
pub const CONTROL_SIZE: u16 = 64;

/// Most pairs of queues of one card.
pub const PAIRS_MAX: u16 = 16;

/// Bytes of an Ethernet header with a tag.
const ETHERNET: usize = 14 + 4;

/// How a card is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its address.
    pub mac: Mac,
    /// Longest packet after the Ethernet header, in bytes, if the driver is to know: 68 at least.
    pub mtu: Option<u16>,
    /// How many pairs of queues, 1 to [`PAIRS_MAX`].
    pub pairs: u16,
    /// What of [`FEATURES`] it does not offer.
    pub without: Features,
}

/// All that a card can.
pub const FEATURES: Features = Features(
    F::CSUM.0
        | F::GUEST_CSUM.0
        | F::CTRL_GUEST_OFFLOADS.0
        | F::MTU.0
        | F::MAC.0
        | F::GUEST_TSO4.0
        | F::GUEST_TSO6.0
        | F::GUEST_ECN.0
        | F::GUEST_UFO.0
        | F::HOST_TSO4.0
        | F::HOST_TSO6.0
        | F::HOST_ECN.0
        | F::HOST_UFO.0
        | F::MRG_RXBUF.0
        | F::STATUS.0
        | F::CTRL_VQ.0
        | F::CTRL_RX.0
        | F::CTRL_VLAN.0
        | F::CTRL_RX_EXTRA.0
        | F::GUEST_ANNOUNCE.0
        | F::MQ.0
        | F::CTRL_MAC_ADDR.0
        | F::DEVICE_STATS.0
        | F::VQ_NOTF_COAL.0
        | F::NOTF_COAL.0
        | F::GUEST_USO4.0
        | F::GUEST_USO6.0
        | F::HOST_USO.0
        | F::HASH_REPORT.0
        | F::GUEST_HDRLEN.0
        | F::RSS.0
        | F::SPEED_DUPLEX.0,
);

/// What a card can that has a [`Clock`].
const WITH_CLOCK: Features = Features(F::VQ_NOTF_COAL.0 | F::NOTF_COAL.0);

/// A network card.
pub struct Net {
    options: Options,
    offered: Features,
    queue_sizes: Vec<u16>,
    port: Arc<dyn Port>,
    shared: Arc<Shared>,
    transmitted: Vec<Arc<Mutex<TransmitCounts>>>,
    clock: Option<Arc<dyn Clock>>,
    /// Longest packet after the Ethernet header, if its carrier said so.
    limit: Option<u16>,
}

impl Net {
    /// A card that is connected to `port`.
    pub fn new(port: Arc<dyn Port>, options: Options) -> Self {
        let pairs = options.pairs.clamp(PAIRS_MIN, PAIRS_MAX);
        let options = Options {
            pairs,
            mtu: options.mtu.map(|mtu| mtu.max(MTU_MIN)),
            ..options
        };
        let alone = match pairs {
            PAIRS_MIN => F::MQ,
            _ => Features::NONE,
        };
        let unlimited = match options.mtu {
            None => F::MTU,
            Some(_) => Features::NONE,
        };
        // What drivers ask for by commands alone; Linux's drives no card that offers it without them.
        let untold = match options.without.contains(F::CTRL_VQ) {
            true => F::HASH_REPORT | F::CTRL_GUEST_OFFLOADS | F::DEVICE_STATS,
            false => Features::NONE,
        };
        let not = options.without | alone | unlimited | untold | WITH_CLOCK;
        let offered = FEATURES.difference(not);
        let mut queue_sizes = vec![QUEUE_SIZE; usize::from(pairs) * 2];
        if offered.contains(F::CTRL_VQ) {
            queue_sizes.push(CONTROL_SIZE);
        }
        let rules = rules(&options, Features::NONE);
        let shared = Arc::new(Shared::new(rules, pairs));
        port.connect(Inlet::new(Arc::clone(&shared)));
        let linked = Linked {
            port,
            shared: Arc::clone(&shared),
        };
        Self {
            offered,
            queue_sizes,
            port: Arc::new(linked),
            shared,
            transmitted: (0..pairs).map(|_| Arc::default()).collect(),
            clock: None,
            limit: None,
            options,
        }
    }

    /// How many pairs of queues its driver uses, the first ones.
    pub fn pairs(&self) -> u16 {
        self.shared.rules.lock().pairs
    }

    /// The same card, each of whose queues is `size` large at most, a power of two: for carriers whose other
    /// end chooses how large a queue is.
    #[must_use]
    pub fn with_queue_size(mut self, size: u16) -> Self {
        self.queue_sizes.fill(size);
        self
    }

    /// Lets the driver say how long notifications wait, by `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.offered |= WITH_CLOCK.difference(self.options.without);
        self.clock = Some(clock);
        self
    }

    /// Its link.
    pub fn link(&self) -> Link {
        Link::new(Arc::clone(&self.shared))
    }

    fn config(&self) -> Config {
        let can = |feature, value| match self.offered.intersects(feature) {
            true => value,
            false => 0,
        };
        let (speed, duplex) = match self.offered.contains(F::SPEED_DUPLEX) {
            true => self.shared.link.speed(),
            false => (0, 0),
        };
        Config {
            mac: self.shared.rules.lock().mac,
            status: U16::new(can(F::STATUS, self.shared.link.status().bits())),
            speed: U32::new(speed),
            duplex,
            max_virtqueue_pairs: U16::new(can(F::MQ | F::RSS, self.options.pairs)),
            mtu: U16::new(self.options.mtu.unwrap_or(0)),
            // No more than 512.
            rss_max_indirection_table_length: U16::new(can(F::RSS, TABLE_MAX as u16)),
            rss_max_key_size: can(F::RSS | F::HASH_REPORT, KEY_MAX.into()) as u8,
            // Nine bits.
            supported_hash_types: U32::new(
                can(F::RSS | F::HASH_REPORT, HashTypes::KNOWN.bits() as u16).into(),
            ),
            ..Config::default()
        }
    }

    /// The worker of the transmit queue of pair `pair`.
    fn transmit(&self, pair: u16, features: Features) -> Transmit {
        let agreed = self.options.mtu.filter(|_| features.contains(F::MTU));
        let longest = self.limit.or(agreed);
        Transmit {
            pair,
            features,
            before: header_len(features),
            longest: longest.map(|mtu| usize::from(mtu) + ETHERNET),
            shared: Arc::clone(&self.shared),
            port: Arc::clone(&self.port),
            counts: self.counts(pair),
            burst: Vec::new(),
        }
    }

    /// Has the notifications of queue `index`, which `worker` serves, wait.
    fn coalesced(&self, worker: Box<dyn Worker>, index: u16, clock: &Arc<dyn Clock>) -> Coalesced {
        let (shared, counts) = (Arc::clone(&self.shared), self.counts(index / 2));
        let count: Box<dyn Fn() -> u64 + Send> = match index.is_multiple_of(2) {
            true => Box::new(move || shared.received(index / 2)),
            false => Box::new(move || counts.lock().basic().tx_packets.get()),
        };
        let shared = Arc::clone(&self.shared);
        Coalesced::new(
            worker,
            index,
            Arc::clone(&self.shared.waits),
            Arc::clone(clock),
            count,
            Box::new(move || shared.due_queue(index)),
        )
    }

    fn counts(&self, pair: u16) -> Arc<Mutex<TransmitCounts>> {
        let counts = self.transmitted.get(usize::from(pair));
        counts.cloned().unwrap_or_default()
    }

    /// How many pairs the driver reaches.
    fn reached(&self, features: Features) -> u16 {
        match features.intersects(F::MQ | F::RSS) {
            true => self.options.pairs,
            false => PAIRS_MIN,
        }
    }
}

impl Device for Net {
    fn id(&self) -> DeviceId {
        DeviceId::NETWORK
    }

    fn features(&self) -> Features {
        self.offered
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn config_bytes(&self) -> usize {
        size_of::<Config>()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let config = self.config();
        let rest = config.as_bytes().get(offset..).unwrap_or_default();
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
    }

    /// A driver writes nothing but, before version 1, the address (§5.1.4.3).
    fn write_config(&mut self, offset: usize, from: &[u8]) {
        let mut rules = self.shared.rules.lock();
        let room = rules.mac.get_mut(offset..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(from) {
            *to = *from;
        }
    }

    fn presented(&mut self, notifier: Notifier) {
        self.shared.notifier.call_once(|| notifier);
    }

    fn negotiated(&mut self, features: Features) {
        *self.shared.rules.lock() = rules(&self.options, features);
        self.shared.link.settle(features);
    }

    fn worker(&mut self, index: u16, features: Features) -> Box<dyn Worker> {
        let (pairs, pair) = (self.reached(features), index / 2);
        let shared = Arc::clone(&self.shared);
        if features.contains(F::CTRL_VQ) && Some(index) == control_queue(pairs) {
            return Box::new(Commands {
                features,
                pairs,
                shared,
                transmitted: self.transmitted.clone(),
                counts: CommandCounts::default(),
            });
        }
        let worker: Box<dyn Worker> = match index.is_multiple_of(2) {
            true => Box::new(Receive::new(pair, features, shared)),
            false => Box::new(self.transmit(pair, features)),
        };
        match &self.clock {
            Some(clock) if features.intersects(WITH_CLOCK) => {
                Box::new(self.coalesced(worker, index, clock))
            }
            _ => worker,
        }
    }

    fn network(&mut self) -> Option<&mut dyn Network> {
        Some(self)
    }

    fn reset(&mut self) {
        self.limit = None;
        *self.shared.rules.lock() = rules(&self.options, Features::NONE);
        self.shared.link.settle(Features::NONE);
        self.shared.waits.reset();
    }
}

/// What a driver with these features receives before it has said anything.
fn rules(options: &Options, features: Features) -> Rules {
    let (filters, lans) = (F::CTRL_RX, F::CTRL_VLAN);
    let mut rules = Rules::new(
        options.mac,
        Offloads::of(features),
        features.contains(filters),
        features.contains(lans),
    );
    if let Some(mtu) = options.mtu.filter(|_| features.contains(F::MTU)) {
        rules.longest = usize::from(mtu) + ETHERNET;
    }
    // Whoever keeps the queue of commands for itself says how many pairs are used by starting them.
    if features.contains(F::MQ) && !features.contains(F::CTRL_VQ) {
        rules.pairs = options.pairs;
    }
    rules
}

#[cfg(test)]
mod tests;
