//! What a card says of itself. Spec: VIRTIO 1.4 §5.1.4 "Device configuration layout".

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::F;
use crate::config::{Field, Gated, Named, field};
use crate::le::{U16, U32};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Configuration space (§5.1.4). Only read, but for `mac` by a legacy driver.
#[doc(alias = "virtio_net_config")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Config {
    /// The card's address. Exists always, and says something with [`F::MAC`].
    pub mac: Mac,
    /// [`LinkStatus`]. Exists with [`F::STATUS`].
    pub status: U16,
    /// How many pairs of queues there are. Exists with [`F::MQ`] or [`F::RSS`].
    pub max_virtqueue_pairs: U16,
    /// Longest packet, in bytes after the Ethernet header. Exists with [`F::MTU`].
    pub mtu: U16,
    /// In Mbit/s; above [`SPEED_MAX`] it is unknown. Exists with [`F::SPEED_DUPLEX`].
    pub speed: U32,
    /// [`DUPLEX_HALF`] or [`DUPLEX_FULL`]; others are unknown. Exists with [`F::SPEED_DUPLEX`].
    pub duplex: u8,
    /// Longest key of hashes, in bytes. Exists with [`F::RSS`] or [`F::HASH_REPORT`].
    pub rss_max_key_size: u8,
    /// Most entries of the table that hashes choose from. Exists with [`F::RSS`].
    pub rss_max_indirection_table_length: U16,
    /// [`HashTypes`](super::HashTypes). Exists with [`F::RSS`] or [`F::HASH_REPORT`].
    pub supported_hash_types: U32,
    /// Tunnels whose inner headers can be hashed. Exists with [`F::HASH_TUNNEL`].
    pub supported_tunnel_types: U32,
}

layout!(Config: 28 {
    mac = 0, status = 6, max_virtqueue_pairs = 8, mtu = 10, speed = 12, duplex = 16,
    rss_max_key_size = 17, rss_max_indirection_table_length = 18, supported_hash_types = 20,
    supported_tunnel_types = 24,
});

/// Places of the fields, for one access each.
impl Config {
    /// [`mac`](Self::mac): six accesses of a byte each.
    pub const MAC: Gated<Mac> = field!(Config.mac).when(F::MAC);
    /// [`status`](Self::status).
    pub const STATUS: Gated<U16> = field!(Config.status).when(F::STATUS);
    /// [`max_virtqueue_pairs`](Self::max_virtqueue_pairs).
    pub const MAX_VIRTQUEUE_PAIRS: Gated<U16> =
        field!(Config.max_virtqueue_pairs).when(F::MQ.union(F::RSS));
    /// [`mtu`](Self::mtu).
    pub const MTU: Gated<U16> = field!(Config.mtu).when(F::MTU);
    /// [`speed`](Self::speed).
    pub const SPEED: Gated<U32> = field!(Config.speed).when(F::SPEED_DUPLEX);
    /// [`duplex`](Self::duplex).
    pub const DUPLEX: Gated<u8> = field!(Config.duplex).when(F::SPEED_DUPLEX);
    /// [`rss_max_key_size`](Self::rss_max_key_size).
    pub const RSS_MAX_KEY_SIZE: Gated<u8> =
        field!(Config.rss_max_key_size).when(F::RSS.union(F::HASH_REPORT));
    /// [`rss_max_indirection_table_length`](Self::rss_max_indirection_table_length).
    pub const RSS_MAX_INDIRECTION_TABLE_LENGTH: Gated<U16> =
        field!(Config.rss_max_indirection_table_length).when(F::RSS);
    /// [`supported_hash_types`](Self::supported_hash_types).
    pub const SUPPORTED_HASH_TYPES: Gated<U32> =
        field!(Config.supported_hash_types).when(F::RSS.union(F::HASH_REPORT));
    /// [`supported_tunnel_types`](Self::supported_tunnel_types).
    pub const SUPPORTED_TUNNEL_TYPES: Gated<U32> =
        field!(Config.supported_tunnel_types).when(F::HASH_TUNNEL);
    /// The first byte of [`mac`](Self::mac), of six.
    const MAC_BYTES: [Field<u8>; 6] = [
        Field::at(0),
        Field::at(1),
        Field::at(2),
        Field::at(3),
        Field::at(4),
        Field::at(5),
    ];
}

/// The fields by name, in the order of their places.
pub const FIELDS: &[Named] = &[
    Config::MAC_BYTES[0].when(F::MAC).named("mac[0]"),
    Config::MAC_BYTES[1].when(F::MAC).named("mac[1]"),
    Config::MAC_BYTES[2].when(F::MAC).named("mac[2]"),
    Config::MAC_BYTES[3].when(F::MAC).named("mac[3]"),
    Config::MAC_BYTES[4].when(F::MAC).named("mac[4]"),
    Config::MAC_BYTES[5].when(F::MAC).named("mac[5]"),
    Config::STATUS.named("status"),
    Config::MAX_VIRTQUEUE_PAIRS.named("max_virtqueue_pairs"),
    Config::MTU.named("mtu"),
    Config::SPEED.named("speed"),
    Config::DUPLEX.named("duplex"),
    Config::RSS_MAX_KEY_SIZE.named("rss_max_key_size"),
    Config::RSS_MAX_INDIRECTION_TABLE_LENGTH.named("rss_max_indirection_table_length"),
    Config::SUPPORTED_HASH_TYPES.named("supported_hash_types"),
    Config::SUPPORTED_TUNNEL_TYPES.named("supported_tunnel_types"),
];

bitflags! {
    /// `status` of a [`Config`] (§5.1.4).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct LinkStatus: u16 {
        /// There is a link.
        #[doc(alias = "VIRTIO_NET_S_LINK_UP")]
        const LINK_UP = 1;
        /// The driver is asked to announce itself to the network. Exists with
        /// [`F::GUEST_ANNOUNCE`].
        #[doc(alias = "VIRTIO_NET_S_ANNOUNCE")]
        const ANNOUNCE = 2;

        const _ = !0;
    }
}

/// Fewest pairs of queues that a driver may ask for, and a device have (§5.1.9.5.6).
#[doc(alias = "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN")]
pub const PAIRS_MIN: u16 = 1;
/// Most pairs of queues (§5.1.9.5.6).
#[doc(alias = "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX")]
pub const PAIRS_MAX: u16 = 0x8000;

/// Least `mtu` of a device (§5.1.4.1).
pub const MTU_MIN: u16 = 68;

/// Highest `speed` that is one (§5.1.4).
pub const SPEED_MAX: u32 = 0x7fff_ffff;
/// `speed` that is not known.
pub const SPEED_UNKNOWN: u32 = 0xffff_ffff;

/// `duplex`: sends or receives. The layout's text (§5.1.4) and Linux have it so; the device's
/// normative clause (§5.1.4.1) has the two the other way round.
pub const DUPLEX_HALF: u8 = 0x00;
/// `duplex`: sends and receives at once.
pub const DUPLEX_FULL: u8 = 0x01;
/// `duplex` that is not known.
pub const DUPLEX_UNKNOWN: u8 = 0xff;

/// Shortest `rss_max_key_size` of a device that hashes (§5.1.4.1): enough for two addresses of IPv6
/// and two ports.
pub const KEY_MIN: u8 = 40;
/// Least `rss_max_indirection_table_length` of a device that has one (§5.1.4.1).
pub const TABLE_MIN: u16 = 128;
