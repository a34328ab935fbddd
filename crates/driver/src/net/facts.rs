//! What a card says of itself. Spec: VIRTIO 1.4 §5.1.4 "Device configuration layout".

use ringway_spec::Features;
use ringway_spec::le::{U16, U32};
use ringway_spec::net::{
    self, Config, DUPLEX_FULL, DUPLEX_HALF, F, HashTypes, KEY_MIN, LinkStatus, MTU_MIN, Mac,
    PAIRS_MAX, PAIRS_MIN, SPEED_MAX, TABLE_MIN,
};

use crate::bringup::Config as DeviceConfig;
use crate::error::{Result, Violation};
use crate::transport::Transport;

/// What a card says of itself, which does not change while it is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What both agreed to.
    pub features: Features,
    /// Its address, if it has one of its own. A driver makes one up otherwise (§5.1.4.2).
    pub mac: Option<Mac>,
    /// Longest packet after the Ethernet header, in bytes, if it says so. None longer may be sent,
    /// unless it is cut, nor will be received.
    pub mtu: Option<u16>,
    /// How many pairs of queues it has.
    pub pairs: u16,
    /// What it can steer by, if it hashes.
    pub hashes: Option<Hashes>,
    /// Bytes that stand before every packet, in both directions: a buffer's first.
    pub header_len: usize,
}

/// What a card can steer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Longest key, in bytes.
    pub key_max: u8,
    /// Most entries of the table: 0 if it does not steer, but only reports hashes.
    pub table_max: u16,
    /// What of a packet can be hashed.
    pub types: HashTypes,
}

/// What a card says of its link, which may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one. One that is not known is there (§5.1.4.2).
    pub up: bool,
    /// Whether the driver is asked to announce itself to the network, and to say that it has
    /// ([`Command::Announced`](super::Command::Announced)).
    pub announce: bool,
    /// In Mbit/s, if it is known.
    pub speed: Option<u32>,
    /// If it is known.
    pub duplex: Option<Duplex>,
}

/// Whether a link sends and receives at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// Either, at a time.
    Half,
    /// Both at once.
    Full,
}

impl Facts {
    /// Reads what the device says, and refuses what cannot be.
    pub(super) fn read<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<Self> {
        let features = config.features();
        let mtu = config.read_gated(Config::MTU)?.map(U16::get);
        if mtu.is_some_and(|mtu| mtu < MTU_MIN) {
            return Err(Violation::BadConfig("mtu is less than 68").into());
        }
        let pairs = config.read_gated(Config::MAX_VIRTQUEUE_PAIRS)?;
        let pairs = pairs.map_or(PAIRS_MIN, U16::get);
        if !(PAIRS_MIN..=PAIRS_MAX).contains(&pairs) {
            let what = "max_virtqueue_pairs is not between 1 and 32768";
            return Err(Violation::BadConfig(what).into());
        }
        Ok(Self {
            features,
            mac: config.read_gated(Config::MAC)?,
            mtu,
            pairs,
            hashes: Hashes::read(config)?,
            header_len: net::header_len(features),
        })
    }

    /// Longest packet that one buffer has to have room for, with what stands before it (§5.1.9.3.1).
    pub fn receive_bytes(&self) -> usize {
        /// An Ethernet header, IPv6's, and all that its length can say.
        const LARGE: usize = 14 + 40 + 65535;
        /// An Ethernet header.
        const ETHERNET: usize = 14;
        /// What Ethernet carries, if nobody says otherwise.
        const USUAL: usize = 1500;
        let large = F::GUEST_TSO4 | F::GUEST_TSO6 | F::GUEST_UFO | F::GUEST_USO4 | F::GUEST_USO6;
        let packet = if self.features.intersects(large) && !self.features.contains(F::MRG_RXBUF) {
            LARGE
        } else {
            ETHERNET + self.mtu.map_or(USUAL, usize::from).max(USUAL)
        };
        self.header_len + packet
    }
}

impl Hashes {
    fn read<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<Option<Self>> {
        let Some(key_max) = config.read_gated(Config::RSS_MAX_KEY_SIZE)? else {
            return Ok(None);
        };
        let table_max = config.read_gated(Config::RSS_MAX_INDIRECTION_TABLE_LENGTH)?;
        let types = config.read_gated(Config::SUPPORTED_HASH_TYPES)?;
        if key_max < KEY_MIN {
            return Err(Violation::BadConfig("rss_max_key_size is less than 40").into());
        }
        if table_max.is_some_and(|most| most.get() < TABLE_MIN) {
            let what = "rss_max_indirection_table_length is less than 128";
            return Err(Violation::BadConfig(what).into());
        }
        Ok(Some(Self {
            key_max,
            table_max: table_max.map_or(0, U16::get),
            types: HashTypes::from_bits_retain(types.map_or(0, U32::get)),
        }))
    }
}

impl Link {
    /// Reads what the device says now.
    pub(super) fn read<T: Transport>(config: &mut DeviceConfig<'_, T>) -> Result<Self> {
        let status = config.read_gated(Config::STATUS)?;
        let status = status.map_or(LinkStatus::LINK_UP, |status| {
            LinkStatus::from_bits_retain(status.get())
        });
        let speed = config.read_gated(Config::SPEED)?.map(U32::get);
        let duplex = config.read_gated(Config::DUPLEX)?;
        Ok(Self {
            up: status.contains(LinkStatus::LINK_UP),
            announce: status.contains(LinkStatus::ANNOUNCE)
                && config.features().contains(F::GUEST_ANNOUNCE),
            speed: speed.filter(|&speed| speed <= SPEED_MAX),
            duplex: match duplex {
                Some(DUPLEX_HALF) => Some(Duplex::Half),
                Some(DUPLEX_FULL) => Some(Duplex::Full),
                _ => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clauses: drv:net/cfg:7
    #[test]
    fn a_buffer_has_room_for_the_longest_packet_that_comes() {
        let room = |features, mtu| {
            let facts = Facts {
                features,
                mac: None,
                mtu,
                pairs: 1,
                hashes: None,
                header_len: 12,
            };
            facts.receive_bytes()
        };

        assert_eq!(room(F::MAC, None), 1526);
        assert_eq!(room(F::MTU, Some(68)), 1526);
        assert_eq!(room(F::MTU, Some(9000)), 12 + 14 + 9000);
        assert_eq!(room(F::GUEST_TSO4 | F::GUEST_CSUM, None), 65601);
        let merged = F::GUEST_TSO4 | F::GUEST_CSUM | F::MRG_RXBUF;
        assert_eq!(room(merged, None), 1526);
    }
}
