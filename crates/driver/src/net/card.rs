//! A card that is being set up.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_spec::net::{Control, F, PAIRS_MIN, control_queue, receive_queue, transmit_queue};
use ringway_spec::{DeviceId, Features};

use super::answer::Reply;
use super::facts::{Facts, Link};
use super::in_use::InUse;
use super::receive::Receiver;
use super::transmit::Transmitter;
use super::{Commands, Net, Pair};
use crate::bringup::{Negotiated, Probed, Wanted};
use crate::dma::{Bytes, Callback, DmaBuffer, Pending, QueueOptions};
use crate::error::{Error, RequestError, Result, Violation};
use crate::transport::Transport;

/// A card whose features are settled: it says what it is, and is set up.
///
/// ```text
/// Card::open ─▶ facts(), limits() ─▶ use_pairs(), set_depth() ─▶ start() ─▶ Net
/// ```
#[derive(Debug)]
pub struct Card<T: Transport> {
    device: Negotiated<T>,
    facts: Facts,
    /// Of each pair that is set up: its receive and its transmit queue. 0 is the device's.
    depths: Vec<[u16; 2]>,
}

/// The queue of commands, not live yet.
type PendingControl<P> = Pending<P, DmaBuffer, Control, Reply>;

/// Which of a pair's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The one that packets come in by.
    Receive,
    /// The one that packets go out by.
    Transmit,
}

/// What the depth of a queue can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewest descriptors.
    pub least: u16,
    /// Most descriptors.
    pub most: u16,
    /// Whether it is a power of two.
    pub power_of_two: bool,
    /// To what the address of a buffer is aligned.
    pub align: usize,
}

/// What a card is asked for unless more is wanted. What a driver has to be prepared for is not
/// among it: [`RECEIVE_OFFLOADS`] and [`HASHES`].
pub const USUAL: Features = Features(
    F::CSUM.0
        | F::MTU.0
        | F::MAC.0
        | F::HOST_TSO4.0
        | F::HOST_TSO6.0
        | F::HOST_ECN.0
        | F::HOST_UFO.0
        | F::HOST_USO.0
        | F::MRG_RXBUF.0
        | F::STATUS.0
        | F::CTRL_VQ.0
        | F::CTRL_RX.0
        | F::CTRL_RX_EXTRA.0
        | F::CTRL_VLAN.0
        | F::CTRL_MAC_ADDR.0
        | F::CTRL_GUEST_OFFLOADS.0
        | F::GUEST_ANNOUNCE.0
        | F::MQ.0
        | F::NOTF_COAL.0
        | F::VQ_NOTF_COAL.0
        | F::DEVICE_STATS.0
        | F::GUEST_HDRLEN.0
        | F::SPEED_DUPLEX.0,
);

/// What may be left to a driver that can do it: to complete checksums, and to cut packets.
pub const RECEIVE_OFFLOADS: Features = Features(
    F::GUEST_CSUM.0
        | F::GUEST_TSO4.0
        | F::GUEST_TSO6.0
        | F::GUEST_ECN.0
        | F::GUEST_UFO.0
        | F::GUEST_USO4.0
        | F::GUEST_USO6.0,
);

/// Hashes, and steering by them, for drivers that say how.
pub const HASHES: Features = Features(F::RSS.0 | F::HASH_REPORT.0);

impl<T: Transport> Card<T> {
    /// Looks at the card, and settles its features: those of [`USUAL`] and of `wanted`, as far as
    /// they are offered.
    ///
    /// # Errors
    ///
    /// What [`bringup`](crate::bringup) finds; [`Violation::BadConfig`] if what the card says of itself
    /// cannot be; [`Error::FeaturesMissing`] if it is from before version 1, and wants what stands before
    /// a packet in a descriptor of its own, or if something is required that this driver does not do.
    pub fn open(device: Probed<T>, wanted: &Wanted) -> Result<Self> {
        // Of its type, no more than is done here.
        let others = Features::OF_DEVICE_TYPES - (USUAL | RECEIVE_OFFLOADS | HASHES);
        let missing = wanted.required.intersection(others);
        if !missing.is_empty() {
            return Err(Error::FeaturesMissing(missing));
        }
        let wanted = Wanted {
            optional: (wanted.optional - others) | (USUAL - wanted.without),
            ..*wanted
        };
        let mut device = device.negotiate(&wanted)?;
        // A packet and what stands before it are in one buffer, which devices from before version 1
        // take only if they say so (§2.7.4.3).
        let any_layout = ringway_spec::F::ANY_LAYOUT;
        if device.dialect().is_legacy() && !device.features().contains(any_layout) {
            return Err(Error::FeaturesMissing(any_layout));
        }
        let facts = Facts::read(&mut device.config())?;
        Ok(Self {
            device,
            facts,
            depths: alloc::vec![[0; 2]],
        })
    }

    /// What it says of itself.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What it says of its link now.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`](crate::Error::Transport)
    pub fn link(&mut self) -> Result<Link> {
        Link::read(&mut self.device.config())
    }

    /// What the depth of a queue of pair `pair` can be.
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] if there is no such pair.
    pub fn limits(&mut self, pair: u16, direction: Direction) -> Result<Limits> {
        let index = direction.queue(pair);
        if pair >= self.facts.pairs {
            return Err(Error::NoQueue(index));
        }
        let most = self.device.queue_size_max(index)?;
        if most == 0 {
            return Err(Error::NoQueue(index));
        }
        Ok(Limits {
            least: 1,
            most,
            power_of_two: !self
                .device
                .features()
                .contains(ringway_spec::F::RING_PACKED),
            align: 1,
        })
    }

    /// How many pairs of queues to set up, the first ones: 1 unless this is called.
    ///
    /// # Errors
    ///
    /// [`RequestError::Pairs`] if the card has not so many, or it is 0.
    pub fn use_pairs(&mut self, pairs: u16) -> Result<()> {
        let most = self.facts.pairs;
        if !(PAIRS_MIN..=most).contains(&pairs) {
            return Err(RequestError::Pairs { asked: pairs, most }.into());
        }
        self.depths.resize(pairs.into(), [0; 2]);
        Ok(())
    }

    /// How many descriptors a queue of pair `pair`, one of those that are set up, is to have. 0, which
    /// it is unless this is called, is as many as the device has.
    ///
    /// # Errors
    ///
    /// [`RequestError::Depth`] if it cannot have so many, [`Error::NoQueue`] if there is no such
    /// pair.
    pub fn set_depth(&mut self, pair: u16, direction: Direction, depth: u16) -> Result<()> {
        let limits = self.limits(pair, direction)?;
        let Limits {
            most, power_of_two, ..
        } = limits;
        if depth > most || power_of_two && depth != 0 && !depth.is_power_of_two() {
            let asked = depth;
            return Err(RequestError::Depth {
                asked,
                most,
                power_of_two,
            }
            .into());
        }
        let depths = self.depths.get_mut(usize::from(pair));
        let depths = depths.ok_or(Error::NoQueue(direction.queue(pair)))?;
        depths[direction as usize] = depth;
        Ok(())
    }

    /// Sets the card to work. Its receive queues are empty: [fill](Receiver::fill) them. Only the first
    /// pair is used until a [command](super::Command::Pairs) says otherwise.
    ///
    /// # Errors
    ///
    /// What [`bringup`](crate::bringup) finds.
    pub fn start<B: Bytes>(mut self) -> Result<Net<T, B>> {
        let mut queues = Vec::with_capacity(self.depths.len());
        for pair in 0..self.depths.len() as u16 {
            let receive = self.queue(pair, Direction::Receive)?;
            let transmit = self.queue(pair, Direction::Transmit)?;
            queues.push((receive, transmit));
        }
        let control = self.control()?;
        let (device, (queues, control)) = self.device.start((queues, control))?;
        let facts = self.facts;
        let in_use = Arc::new(InUse::new(facts.mtu));
        let pair = |(number, (receive, transmit))| Pair {
            receiver: Receiver::new(receive, facts.features, facts.header_len),
            transmitter: Transmitter::new(transmit, facts, number, Arc::clone(&in_use)),
        };
        let queues = (0..).zip(queues).map(pair).collect();
        Ok(Net::new(device, facts, queues, control, in_use))
    }

    fn queue<B: Bytes>(
        &mut self,
        pair: u16,
        direction: Direction,
    ) -> Result<Pending<T::Platform, B>> {
        let depth = self.depths[usize::from(pair)][direction as usize];
        let options = QueueOptions {
            size: match depth {
                0 => u16::MAX,
                depth => depth,
            },
            kind: direction.name(),
            ..QueueOptions::default()
        };
        self.device.queue(direction.queue(pair), &options)
    }

    /// The queue of commands, if there is one: it comes after those of all pairs, used or not.
    fn control(&mut self) -> Result<Option<PendingControl<T::Platform>>> {
        if !self.facts.features.contains(F::CTRL_VQ) {
            return Ok(None);
        }
        let index = control_queue(self.facts.pairs);
        let what = "max_virtqueue_pairs leaves no index for the queue of commands";
        let index = index.ok_or(Violation::BadConfig(what))?;
        let options = QueueOptions {
            size: Commands::<T::Platform>::DEPTH,
            callback: Callback::Slow,
            kind: "control",
            ..QueueOptions::default()
        };
        self.device.queue(index, &options).map(Some)
    }
}

impl Direction {
    fn queue(self, pair: u16) -> u16 {
        match self {
            Self::Receive => receive_queue(pair),
            Self::Transmit => transmit_queue(pair),
        }
    }

    /// As Linux calls them.
    fn name(self) -> &'static str {
        match self {
            Self::Receive => "input",
            Self::Transmit => "output",
        }
    }
}

/// The type of device that a card is.
pub(super) const ID: DeviceId = DeviceId::NETWORK;

#[cfg(test)]
mod tests;
