//! What a card is told by its queue of commands. Spec: VIRTIO 1.4 §5.1.9.5 "Control Virtqueue".

use alloc::vec::Vec;

use ringway_spec::Features;
use ringway_spec::le::{U16, U32, U64};
use ringway_spec::net::{
    Coalescing, Control, F, HashConfig, HashTypes, Mac, Offloads, PAIRS_MIN, QueueCoalescing,
    QueueId, Statistics, StatisticsWanted, SteeringHead, SteeringTail, control_queue,
};
use zerocopy::{Immutable, IntoBytes};

use super::answer::Effect;
use super::books::Books;
use super::facts::Facts;
use crate::error::RequestError;

/// What a card is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command<'c> {
    /// Whether to receive a kind of packets, beside or instead of those for the card.
    Receive(Kind, bool),
    /// Which addresses to receive packets for, beside the card's own.
    Filter {
        /// Those of one station.
        unicast: &'c [Mac],
        /// Those of several.
        multicast: &'c [Mac],
    },
    /// The card's address.
    Mac(Mac),
    /// Receive the packets of a virtual LAN, or do not.
    Vlan(u16, bool),
    /// The driver has announced itself to the network, as it was asked to
    /// ([`Link::announce`](super::Link::announce)).
    Announced,
    /// How many pairs of queues are used, the first ones. 1 until this is said.
    Pairs(u16),
    /// How to choose among receive queues.
    Steer(Steering<'c>),
    /// What of packets to hash, and under which key, where hashes are only reported.
    Hash(HashTypes, &'c [u8]),
    /// What of received packets may be left to the driver.
    Offloads(Offloads),
    /// How long to wait before a notification.
    Coalesce(Which, Wait),
    /// Asks how long the notifications of a queue for packets wait, by its index
    /// ([`Answer::Coalesced`](super::Answer::Coalesced)).
    Coalesced(u16),
    /// Asks which groups of counters there are
    /// ([`Answer::Statistics`](super::Answer::Statistics)).
    Statistics,
    /// Asks for groups of counters of a queue, by its index
    /// ([`Answer::Counters`](super::Answer::Counters)). Only for some of those that the device
    /// [has said](Self::Statistics) it has.
    Counters(u16, Statistics),
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All that there are: promiscuity.
    Any,
    /// All multicasts.
    AnyMulticast,
    /// All unicasts.
    AnyUnicast,
    /// No multicasts.
    NoMulticast,
    /// No unicasts.
    NoUnicast,
    /// No broadcasts.
    NoBroadcast,
}

/// How to choose among receive queues (§5.1.9.5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering<'c> {
    /// What of a packet is hashed.
    pub types: HashTypes,
    /// The key.
    pub key: &'c [u8],
    /// Which pair receives the packets of a hash: one entry for each value of its low bits, a power of
    /// two of them. Pairs are counted from 0.
    pub table: &'c [u16],
    /// Which pair receives packets without a hash.
    pub unclassified: u16,
    /// How many transmit queues are used, the first ones.
    pub transmit: u16,
}

/// Whose notifications wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those of all transmit queues.
    Transmit,
    /// Those of all receive queues.
    Receive,
    /// Those of the queue of this index.
    Queue(u16),
}

/// How long a notification waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For so many packets at most.
    pub packets: u32,
    /// For so many microseconds at most.
    pub micros: u32,
}

/// A command as it goes to the device.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) control: Control,
    pub(super) data: Vec<u8>,
}

impl Command<'_> {
    /// The command for a card like this, of which `books` are kept, and what follows from it.
    ///
    /// # Errors
    ///
    /// [`RequestError::Unsupported`] if the feature was not negotiated, or the device does not count
    /// what is asked for; [`RequestError::Steering`], [`RequestError::Pairs`] and
    /// [`RequestError::NotSetUp`] if what it says cannot be.
    pub(super) fn encode(
        &self,
        facts: &Facts,
        books: &Books,
    ) -> Result<(Encoded, Effect), RequestError> {
        Ok((self.data(facts, books)?, self.effect()))
    }

    /// What follows when it is done.
    fn effect(&self) -> Effect {
        match *self {
            Self::Mac(mac) => Effect::Mac(mac),
            Self::Receive(kind, on) => Effect::Receive(kind, on),
            Self::Pairs(pairs) => Effect::Pairs(pairs),
            Self::Steer(ref steering) => Effect::Pairs(steering.transmit),
            Self::Coalesced(_) => Effect::Coalesced,
            Self::Statistics => Effect::Statistics,
            Self::Counters(index, groups) => Effect::Counters(index, groups),
            Self::Filter { .. }
            | Self::Vlan(..)
            | Self::Announced
            | Self::Hash(..)
            | Self::Offloads(_)
            | Self::Coalesce(..) => Effect::None,
        }
    }

    fn data(&self, facts: &Facts, books: &Books) -> Result<Encoded, RequestError> {
        let needs = |feature: Features| match facts.features.contains(feature) {
            true => Ok(()),
            false => Err(RequestError::Unsupported),
        };
        needs(F::CTRL_VQ)?;
        match *self {
            Self::Receive(kind, on) => {
                let (control, feature) = kind.control();
                needs(feature)?;
                Ok(encoded(control, &u8::from(on)))
            }
            Self::Filter { unicast, multicast } => {
                needs(F::CTRL_RX)?;
                let mut data = Vec::new();
                for table in [unicast, multicast] {
                    let entries = u32::try_from(table.len());
                    let entries = entries.map_err(|_| RequestError::Unsupported)?;
                    data.extend(entries.to_le_bytes());
                    data.extend(table.as_flattened());
                }
                let control = Control::MAC_TABLE_SET;
                Ok(Encoded { control, data })
            }
            Self::Mac(mac) => {
                needs(F::CTRL_MAC_ADDR)?;
                Ok(encoded(Control::MAC_ADDR_SET, &mac))
            }
            Self::Vlan(id, on) => {
                needs(F::CTRL_VLAN)?;
                let control = match on {
                    true => Control::VLAN_ADD,
                    false => Control::VLAN_DEL,
                };
                Ok(encoded(control, &U16::new(id)))
            }
            Self::Announced => {
                needs(F::GUEST_ANNOUNCE)?;
                Ok(encoded(Control::ANNOUNCE_ACK, &()))
            }
            Self::Pairs(pairs) => {
                needs(F::MQ)?;
                // Those that are used are set up before (§5.1.9.5.6.1).
                let most = books.pairs;
                if !(PAIRS_MIN..=most).contains(&pairs) {
                    return Err(RequestError::Pairs { asked: pairs, most });
                }
                Ok(encoded(Control::MQ_VQ_PAIRS_SET, &U16::new(pairs)))
            }
            Self::Steer(ref steering) => {
                needs(F::RSS)?;
                steering.encode(facts, books.pairs)
            }
            Self::Hash(types, key) => {
                needs(F::HASH_REPORT)?;
                let config = HashConfig {
                    hash_types: U32::new(types.bits()),
                    hash_key_length: key_len(key, types, facts)?,
                    ..HashConfig::default()
                };
                let mut encoded = encoded(Control::MQ_HASH_CONFIG, &config);
                encoded.data.extend(key);
                Ok(encoded)
            }
            Self::Offloads(offloads) => {
                needs(F::CTRL_GUEST_OFFLOADS)?;
                // None may be enabled that was not negotiated (§5.1.9.5.9.2).
                match Offloads::of(facts.features).contains(offloads) {
                    true => {
                        let bits = U64::new(offloads.bits());
                        Ok(encoded(Control::GUEST_OFFLOADS_SET, &bits))
                    }
                    false => Err(RequestError::Unsupported),
                }
            }
            Self::Coalesce(which, wait) => {
                let coal = wait.coalescing();
                match which {
                    Which::Transmit => {
                        needs(F::NOTF_COAL)?;
                        Ok(encoded(Control::NOTF_COAL_TX_SET, &coal))
                    }
                    Which::Receive => {
                        needs(F::NOTF_COAL)?;
                        Ok(encoded(Control::NOTF_COAL_RX_SET, &coal))
                    }
                    Which::Queue(index) => {
                        needs(F::VQ_NOTF_COAL)?;
                        let queue = QueueCoalescing {
                            vq_index: packet_queue(index, books)?,
                            coal,
                            ..QueueCoalescing::default()
                        };
                        Ok(encoded(Control::NOTF_COAL_VQ_SET, &queue))
                    }
                }
            }
            Self::Coalesced(index) => {
                needs(F::VQ_NOTF_COAL)?;
                // The device writes the rest of what goes with the other command.
                let reserved = U16::ZERO;
                let queue = [packet_queue(index, books)?, reserved];
                Ok(encoded(Control::NOTF_COAL_VQ_GET, &queue))
            }
            Self::Statistics => {
                needs(F::DEVICE_STATS)?;
                Ok(encoded(Control::STATS_QUERY, &()))
            }
            Self::Counters(index, groups) => {
                needs(F::DEVICE_STATS)?;
                let of_queue = counted(index, facts)?;
                let told = books.statistics.unwrap_or(Statistics::empty());
                let there = told & of_queue & Statistics::of(facts.features);
                if groups.is_empty() || !there.contains(groups) {
                    return Err(RequestError::Unsupported);
                }
                let wanted = StatisticsWanted {
                    vq_index: U16::new(index),
                    types_bitmap: U64::new(groups.bits()),
                    ..StatisticsWanted::default()
                };
                Ok(encoded(Control::STATS_GET, &wanted))
            }
        }
    }
}

/// The index of a queue for packets, if it is set up (§5.1.9.5.10.5).
fn packet_queue(index: u16, books: &Books) -> Result<U16, RequestError> {
    match index / 2 < books.pairs {
        true => Ok(U16::new(index)),
        false => Err(RequestError::NotSetUp(index)),
    }
}

/// What can be counted of queue `index`.
fn counted(index: u16, facts: &Facts) -> Result<Statistics, RequestError> {
    if Some(index) == control_queue(facts.pairs) {
        Ok(Statistics::CVQ)
    } else if index / 2 >= facts.pairs {
        Err(RequestError::NotSetUp(index))
    } else if index.is_multiple_of(2) {
        Ok(Statistics::RECEIVE)
    } else {
        Ok(Statistics::TRANSMIT)
    }
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: usize = 6;

    fn control(self) -> (Control, Features) {
        match self {
            Self::Any => (Control::RX_PROMISC, F::CTRL_RX),
            Self::AnyMulticast => (Control::RX_ALLMULTI, F::CTRL_RX),
            Self::AnyUnicast => (Control::RX_ALLUNI, F::CTRL_RX_EXTRA),
            Self::NoMulticast => (Control::RX_NOMULTI, F::CTRL_RX_EXTRA),
            Self::NoUnicast => (Control::RX_NOUNI, F::CTRL_RX_EXTRA),
            Self::NoBroadcast => (Control::RX_NOBCAST, F::CTRL_RX_EXTRA),
        }
    }
}

impl Steering<'_> {
    /// `set_up` pairs of queues are: others are not enabled.
    fn encode(&self, facts: &Facts, set_up: u16) -> Result<Encoded, RequestError> {
        let hashes = facts.hashes.ok_or(RequestError::Unsupported)?;
        let len = self.table.len();
        if !len.is_power_of_two() || len > usize::from(hashes.table_max) {
            let what =
                "the table is not of a power of two of entries, or of more than the device has";
            return Err(RequestError::Steering(what));
        }
        let pairs = [self.unclassified].into_iter();
        if pairs
            .chain(self.table.iter().copied())
            .any(|pair| pair >= set_up)
        {
            return Err(RequestError::Steering("a pair that is not set up"));
        }
        if !(PAIRS_MIN..=set_up).contains(&self.transmit) {
            let most = set_up;
            return Err(RequestError::Pairs {
                asked: self.transmit,
                most,
            });
        }
        let head = SteeringHead {
            hash_types: U32::new(self.types.bits()),
            // A table has no more entries than 16 bits say.
            indirection_table_mask: U16::new((len - 1) as u16),
            unclassified_queue: QueueId::of_pair(self.unclassified),
        };
        let tail = SteeringTail {
            max_tx_vq: U16::new(self.transmit),
            hash_key_length: key_len(self.key, self.types, facts)?,
        };
        let mut encoded = encoded(Control::MQ_RSS_CONFIG, &head);
        let table = self.table.iter().map(|&pair| QueueId::of_pair(pair));
        table.for_each(|id| encoded.data.extend(id.as_bytes()));
        encoded.data.extend(tail.as_bytes());
        encoded.data.extend(self.key);
        Ok(encoded)
    }
}

impl Wait {
    fn coalescing(self) -> Coalescing {
        Coalescing {
            max_packets: U32::new(self.packets),
            max_usecs: U32::new(self.micros),
        }
    }
}

impl From<Coalescing> for Wait {
    fn from(coalescing: Coalescing) -> Self {
        Self {
            packets: coalescing.max_packets.get(),
            micros: coalescing.max_usecs.get(),
        }
    }
}

fn encoded<T: IntoBytes + Immutable>(control: Control, data: &T) -> Encoded {
    Encoded {
        control,
        data: data.as_bytes().into(),
    }
}

/// Bytes of a key that the device takes, for hashes that it knows.
fn key_len(key: &[u8], types: HashTypes, facts: &Facts) -> Result<u8, RequestError> {
    let hashes = facts.hashes.ok_or(RequestError::Unsupported)?;
    if !hashes.types.contains(types) {
        return Err(RequestError::Steering(
            "hashes that the device does not know",
        ));
    }
    let len = u8::try_from(key.len())
        .ok()
        .filter(|&len| len <= hashes.key_max);
    len.ok_or(RequestError::Steering(
        "a key that is longer than the device's",
    ))
}

#[cfg(test)]
mod tests;
