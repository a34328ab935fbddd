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
use ringway_spec::le::U16;
use ringway_spec::net::{Config, F, LinkStatus, Mac, PAIRS_MIN, control_queue};
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
        | F::CTRL_MAC_ADDR.0,
);

/// Features that take both ends.
const SHARED: Features = Features(F::MQ.0 | F::MTU.0);

/// Features whose commands or configuration would be this end's to have: back-ends neither show them to
/// drivers nor hear of them. Those that are not among [`OWN`] nobody has.
pub(crate) const KEPT: Features = Features(
    OWN.0
        | F::GUEST_ANNOUNCE.0
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
    /// One that has `pairs` of queues.
    pub(crate) fn new(options: &CardOptions, pairs: u16) -> Self {
        let CardOptions { mac, mtu, .. } = *options;
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

    /// Reads configuration space. While the back-end is `away`, there is no link.
    pub(crate) fn read_config(&self, offset: usize, into: &mut [u8], away: bool) -> Result<()> {
        let len = into.len();
        let config = self.config(away);
        let end = offset.checked_add(len);
        let bytes = end.and_then(|end| config.as_bytes().get(offset..end));
        into.copy_from_slice(bytes.ok_or(Error::NoConfig { offset, len })?);
        Ok(())
    }

    /// The address that the network knows it by, if it has one.
    pub(crate) fn mac(&self) -> Option<Mac> {
        self.mac.map(|_| self.config(false).mac)
    }

    fn config(&self, away: bool) -> Config {
        let mut config = Config::new_zeroed();
        self.net.read_config(0, config.as_mut_bytes());
        if away {
            config.status = U16::new(config.status.get() & !LinkStatus::LINK_UP.bits());
        }
        config
    }
}

impl fmt::Debug for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Card").finish_non_exhaustive()
    }
}

/// How many pairs of queues there are, of the `most` that are wanted.
///
/// The number that a back-end answers to [`Code::GetQueueNum`](crate::protocol::Code::GetQueueNum) is one
/// of pairs with DPDK's, as QEMU reads it. With those that count queues it is too large, which one that
/// has a configuration sets right.
///
/// # Errors
///
/// What the back-end does wrong.
pub(crate) fn pairs(session: &mut Session<impl Channel>, most: u16) -> Result<u16> {
    if session.offered() & F::MQ.0 as u64 == 0 {
        return Ok(PAIRS_MIN);
    }
    let mut has = session.queues().unwrap_or(PAIRS_MIN);
    let mut bytes = [0; 2];
    match session.read_config(offset_of!(Config, max_virtqueue_pairs), &mut bytes) {
        Ok(()) => has = has.min(u16::from_le_bytes(bytes)),
        Err(Error::NoConfig { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(has.min(most).clamp(PAIRS_MIN, PAIRS_MAX))
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
