//! The half of a network card that is this end's: its configuration and its queue of commands.
//!
//! Back-ends move packets. What a driver reads of a card, and what it tells it, goes no further than to
//! the front-end: QEMU's, whose ways back-ends know, and this one. The back-end is told what concerns it:
//! which pairs of queues are used, by their rings being enabled; and how long packets may be.
//!
//! Spec: VIRTIO 1.4 §5.1 "Network Device".

use core::fmt;
use core::mem::offset_of;
use std::sync::Arc;

use ringway_device::Device;
use ringway_device::net::{CONTROL_SIZE, FEATURES, Net, Nowhere, Options, PAIRS_MAX};
use ringway_device::task::{Ran, Signal, Task};
use ringway_driver::transport::QueueSetup;
use ringway_ring::device::{Queue, Violation};
use ringway_ring::map::{Map, Region};
use ringway_spec::Features;
use ringway_spec::net::{Config, F, Mac, PAIRS_MIN, control_queue};
use zerocopy::{FromZeros, IntoBytes};

use super::error::{Error, Result};
use super::options::CardOptions;
use super::session::{Channel, Session};
use super::share::Share;
use crate::eventfd::EventFd;

/// Features that are this end's, whatever the back-end has.
const OWN: Features = Features(
    F::MAC.0
        | F::STATUS.0
        | F::CTRL_VQ.0
        | F::CTRL_RX.0
        | F::CTRL_RX_EXTRA.0
        | F::CTRL_VLAN.0
        | F::CTRL_MAC_ADDR.0
        | F::GUEST_ANNOUNCE.0,
);

/// Features that take both ends.
const SHARED: Features = Features(F::MQ.0 | F::MTU.0);

/// Features whose commands or configuration would be this end's to have: back-ends neither show them to
/// drivers nor hear of them. Those that are not among [`OWN`] nobody has.
pub(crate) const KEPT: Features = Features(
    OWN.0
        | F::CTRL_GUEST_OFFLOADS.0
        | F::DEVICE_STATS.0
        | F::HASH_TUNNEL.0
        | F::HASH_REPORT.0
        | F::RSS.0
        | F::RSS_CONTEXT.0
        | F::VQ_NOTF_COAL.0
        | F::NOTF_COAL.0
        | F::SPEED_DUPLEX.0
        | F::STANDBY.0,
);

/// Batches of commands that are done at once, against a driver that adds them for ever.
const BATCHES_MAX: usize = 64;

/// This end's half of a card.
pub(crate) struct Card {
    /// A card that no packet reaches, to be configured and commanded.
    net: Net,
    pairs: u16,
    mac: Option<Mac>,
    mtu: Option<u16>,
    /// The queue of commands, while there is a driver's.
    commands: Option<Task>,
}

impl Card {
    /// One as it is wanted, before a back-end that has `said` this.
    pub(crate) fn new(wanted: &CardOptions, said: &Said) -> Self {
        let (mac, mtu) = (wanted.mac.or(said.mac), wanted.mtu.or(said.mtu));
        let pairs = said.pairs.min(wanted.pairs).clamp(PAIRS_MIN, PAIRS_MAX);
        let without = match mac {
            Some(_) => FEATURES - OWN - SHARED,
            None => (FEATURES - OWN - SHARED) | F::MAC,
        };
        let options = Options {
            mac: mac.unwrap_or_default(),
            mtu,
            pairs,
            without,
        };
        Self {
            net: Net::new(Arc::new(Nowhere), options),
            pairs,
            mac,
            mtu,
            commands: None,
        }
    }

    /// What drivers are offered, of a back-end that offers `theirs`.
    pub(crate) fn offered(&self, theirs: Features) -> Features {
        (theirs - KEPT - SHARED) | (self.net.features() & (OWN | (theirs & SHARED)))
    }

    /// A driver has settled its features. Says how long packets may be, if it knows.
    pub(crate) fn negotiated(&mut self, features: Features) -> Option<u16> {
        self.net.negotiated(features);
        self.mtu.filter(|_| features.contains(F::MTU))
    }

    /// How many pairs of queues there are.
    pub(crate) fn pairs(&self) -> u16 {
        self.pairs
    }

    /// Whether queue `index` is the queue of commands, of a driver with these features.
    pub(crate) fn commands_at(&self, index: u16, features: Features) -> bool {
        let reached = match features.contains(F::MQ) {
            true => self.pairs,
            false => PAIRS_MIN,
        };
        features.contains(F::CTRL_VQ) && control_queue(reached) == Some(index)
    }

    /// The largest size of that.
    pub(crate) fn size_max(&self) -> u16 {
        CONTROL_SIZE
    }

    /// Whether the queue of commands is enabled.
    pub(crate) fn is_enabled(&self) -> bool {
        self.commands.is_some()
    }

    /// Takes the queue of commands from a driver with these features, who is interrupted by `call`.
    pub(crate) fn enable(
        &mut self,
        index: u16,
        setup: &QueueSetup,
        features: Features,
        share: &Share,
        signal: Bell,
    ) -> Result<()> {
        let memory = share.pages().memory();
        let region = Region {
            start: memory.address,
            memory: memory.shared.clone(),
        };
        // One region, of all that there is.
        let map = Arc::new(Map::new(vec![region]).map_err(|_| Error::NotShared)?);
        let queue = Queue::new(&*map, setup.size, setup.areas, features, 0);
        let queue = queue.map_err(|_| Error::NotShared)?;
        let worker = self.net.worker(index, features);
        let (memory, signal) = (Arc::new(map), Arc::new(signal));
        self.commands = Some(Task::new(index, queue, worker, memory, signal));
        Ok(())
    }

    /// Lets go of it.
    pub(crate) fn disable(&mut self) {
        self.commands = None;
    }

    /// Does what has been commanded. Says how many pairs are used then.
    pub(crate) fn obey(&mut self) -> u16 {
        if let Some(commands) = &mut self.commands {
            let mut batches = 0..BATCHES_MAX;
            while commands.run() == Ran::More && batches.next().is_some() {}
        }
        self.net.pairs()
    }

    /// Forgets the driver.
    pub(crate) fn reset(&mut self) {
        self.commands = None;
        self.net.reset();
    }

    /// The back-end has come, or gone, and the link with it.
    pub(crate) fn set_up(&self, up: bool) {
        self.net.link().set_up(up);
    }

    /// Has the driver announce itself to the network, if it can. Otherwise it is for the back-end to
    /// announce this address, if there is one.
    pub(crate) fn announce(&self) -> Option<Mac> {
        match self.net.link().announce() {
            true => None,
            false => self.mac.map(|_| self.config().mac),
        }
    }

    /// Reads configuration space.
    pub(crate) fn read_config(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let len = into.len();
        let config = self.config();
        let end = offset.checked_add(len);
        let bytes = end.and_then(|end| config.as_bytes().get(offset..end));
        into.copy_from_slice(bytes.ok_or(Error::NoConfig { offset, len })?);
        Ok(())
    }

    fn config(&self) -> Config {
        let mut config = Config::new_zeroed();
        self.net.read_config(0, config.as_mut_bytes());
        config
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").finish_non_exhaustive()
    }
}

/// What a back-end says of its card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    mac: Option<Mac>,
    mtu: Option<u16>,
    /// How many pairs of queues it has.
    pub(crate) pairs: u16,
}

impl Said {
    /// Asks for it, before features are withheld.
    ///
    /// The number that a back-end answers to [`Code::GetQueueNum`](crate::protocol::Code::GetQueueNum) is
    /// one of pairs with DPDK's, as QEMU reads it. With those that count queues it is too large, which
    /// the configuration sets right, if there is one.
    ///
    /// # Errors
    ///
    /// What the back-end does wrong.
    pub(crate) fn of(session: &mut Session<impl Channel>) -> Result<Self> {
        let offered = Features(u128::from(session.offered()));
        let counted = session.queues().unwrap_or(PAIRS_MIN);
        let mut config = Config::new_zeroed();
        // From there on there is nothing that is looked at.
        let bytes = config.as_mut_bytes().get_mut(..offset_of!(Config, speed));
        let has = |feature| offered.contains(feature);
        match session.read_config(0, bytes.unwrap_or_default()) {
            Ok(()) => Ok(Self {
                mac: has(F::MAC).then_some(config.mac),
                mtu: has(F::MTU).then_some(config.mtu.get()),
                pairs: match has(F::MQ) {
                    true => counted.min(config.max_virtqueue_pairs.get()),
                    false => PAIRS_MIN,
                },
            }),
            Err(Error::NoConfig { .. }) => Ok(Self {
                mac: None,
                mtu: None,
                pairs: if has(F::MQ) { counted } else { PAIRS_MIN },
            }),
            Err(error) => Err(error),
        }
    }
}

/// Tells of the queue of commands.
pub(crate) struct Bell {
    /// That commands are done.
    pub(crate) call: Arc<EventFd>,
    /// That the driver has broken a rule.
    pub(crate) broken: Arc<EventFd>,
}

impl Signal for Bell {
    fn used(&self, _index: u16) {
        self.call.signal();
    }

    fn broken(&self, _index: u16, _violation: Violation) {
        self.broken.signal();
    }
}
