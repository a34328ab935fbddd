//! Network device: a card that sends and receives packets. Spec: VIRTIO 1.4 §5.1 "Network Device".
//!
//! A packet begins with its Ethernet header, and a [`Header`] stands before it. Pair `n` of queues,
//! counted from 0, is [`receive_queue`]`(n)` and [`transmit_queue`]`(n)`.

use crate::Features;
use crate::names::any;

mod config;
mod control;
mod header;
mod statistics;
mod steering;

pub use config::{
    Config, DUPLEX_FULL, DUPLEX_HALF, DUPLEX_UNKNOWN, FIELDS, KEY_MIN, LinkStatus, MTU_MIN, Mac,
    PAIRS_MAX, PAIRS_MIN, SPEED_MAX, SPEED_UNKNOWN, TABLE_MIN,
};
pub use control::{Ack, Coalescing, Control, OffloadBits, Offloads, QueueCoalescing};
pub use header::{
    GsoType, HashReport, Header, HeaderFlags, LEGACY_HEADER_LEN, ReportedHash, header_len,
};
pub use statistics::{
    AboveSpeed, Commands, ReceiveBasic, ReceiveChecksums, ReceiveSegments, Statistics,
    StatisticsHeader, StatisticsWanted, TransmitBasic, TransmitChecksums, TransmitSegments,
};
pub use steering::{HashConfig, HashTypes, QueueId, SteeringHead, SteeringTail};

/// Index of the receive queue of pair `pair`, counted from 0 (§5.1.2).
pub const fn receive_queue(pair: u16) -> u16 {
    pair.wrapping_mul(2)
}

/// Index of the transmit queue of pair `pair`, counted from 0 (§5.1.2).
pub const fn transmit_queue(pair: u16) -> u16 {
    pair.wrapping_mul(2).wrapping_add(1)
}

/// Index of the queue of commands of a device with `pairs` pairs of queues, counting those that are not
/// used, too (§5.1.2): 1 if neither [`F::MQ`] nor [`F::RSS`] is negotiated. None if it has no index.
pub const fn control_queue(pairs: u16) -> Option<u16> {
    pairs.checked_mul(2)
}

/// Features that need another (§5.1.3.1).
pub const DEPENDENCIES: &[(Features, Features)] = &[
    (
        any(&[
            F::GUEST_TSO4,
            F::GUEST_TSO6,
            F::GUEST_UFO,
            F::GUEST_USO4,
            F::GUEST_USO6,
        ]),
        F::GUEST_CSUM,
    ),
    (F::GUEST_ECN, any(&[F::GUEST_TSO4, F::GUEST_TSO6])),
    (F::GUEST_UDP_TUNNEL_GSO, F::GUEST_TSO4),
    (F::GUEST_UDP_TUNNEL_GSO, F::GUEST_TSO6),
    (F::GUEST_UDP_TUNNEL_GSO, F::GUEST_USO4),
    (F::GUEST_UDP_TUNNEL_GSO, F::GUEST_USO6),
    (F::GUEST_UDP_TUNNEL_GSO_CSUM, F::GUEST_UDP_TUNNEL_GSO),
    (
        any(&[F::HOST_TSO4, F::HOST_TSO6, F::HOST_UFO, F::HOST_USO]),
        F::CSUM,
    ),
    (
        any(&[F::HOST_ECN, F::RSC_EXT]),
        any(&[F::HOST_TSO4, F::HOST_TSO6]),
    ),
    (F::HOST_UDP_TUNNEL_GSO, F::HOST_TSO4),
    (F::HOST_UDP_TUNNEL_GSO, F::HOST_TSO6),
    (F::HOST_UDP_TUNNEL_GSO, F::HOST_USO),
    (F::HOST_UDP_TUNNEL_GSO_CSUM, F::HOST_UDP_TUNNEL_GSO),
    (
        any(&[
            F::CTRL_RX,
            F::CTRL_VLAN,
            F::GUEST_ANNOUNCE,
            F::MQ,
            F::CTRL_MAC_ADDR,
            F::HASH_TUNNEL,
            F::VQ_NOTF_COAL,
            F::NOTF_COAL,
            F::RSS,
            F::RSS_CONTEXT,
        ]),
        F::CTRL_VQ,
    ),
    (F::HASH_TUNNEL, any(&[F::RSS, F::HASH_REPORT])),
    (F::RSS_CONTEXT, F::RSS),
];

features! {
    /// Feature bits (§5.1.3). `VIRTIO_NET_F_CSUM` is spelled `net::F::CSUM`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The device computes the checksums that packets are sent without.
    CSUM = 0, "VIRTIO_NET_F_CSUM";
    /// The driver takes packets whose checksums were not computed.
    GUEST_CSUM = 1, "VIRTIO_NET_F_GUEST_CSUM";
    /// What the driver takes of offloads can be changed later.
    CTRL_GUEST_OFFLOADS = 2, "VIRTIO_NET_F_CTRL_GUEST_OFFLOADS";
    /// The largest packet that the network carries is given by `mtu`.
    MTU = 3, "VIRTIO_NET_F_MTU";
    /// The address is given by `mac`.
    MAC = 5, "VIRTIO_NET_F_MAC";
    /// The device segments packets of any kind. Legacy only (§5.1.3.2).
    GSO = 6, "VIRTIO_NET_F_GSO";
    /// The driver takes segments of TCP over IPv4 in one.
    GUEST_TSO4 = 7, "VIRTIO_NET_F_GUEST_TSO4";
    /// The driver takes segments of TCP over IPv6 in one.
    GUEST_TSO6 = 8, "VIRTIO_NET_F_GUEST_TSO6";
    /// The driver takes such segments with congestion notification.
    GUEST_ECN = 9, "VIRTIO_NET_F_GUEST_ECN";
    /// The driver takes fragments of UDP in one.
    GUEST_UFO = 10, "VIRTIO_NET_F_GUEST_UFO";
    /// The device segments TCP over IPv4.
    HOST_TSO4 = 11, "VIRTIO_NET_F_HOST_TSO4";
    /// The device segments TCP over IPv6.
    HOST_TSO6 = 12, "VIRTIO_NET_F_HOST_TSO6";
    /// The device segments TCP with congestion notification.
    HOST_ECN = 13, "VIRTIO_NET_F_HOST_ECN";
    /// The device fragments UDP.
    HOST_UFO = 14, "VIRTIO_NET_F_HOST_UFO";
    /// A packet that is received may take several buffers.
    MRG_RXBUF = 15, "VIRTIO_NET_F_MRG_RXBUF";
    /// Whether there is a link is told by `status`.
    STATUS = 16, "VIRTIO_NET_F_STATUS";
    /// There is a queue for commands.
    CTRL_VQ = 17, "VIRTIO_NET_F_CTRL_VQ";
    /// A command says which packets are received.
    CTRL_RX = 18, "VIRTIO_NET_F_CTRL_RX";
    /// A command filters virtual LANs.
    CTRL_VLAN = 19, "VIRTIO_NET_F_CTRL_VLAN";
    /// A command says more of which packets are received.
    CTRL_RX_EXTRA = 20, "VIRTIO_NET_F_CTRL_RX_EXTRA";
    /// The driver announces itself to the network when the device asks it to.
    GUEST_ANNOUNCE = 21, "VIRTIO_NET_F_GUEST_ANNOUNCE";
    /// More than one pair of queues; the device chooses among them.
    MQ = 22, "VIRTIO_NET_F_MQ";
    /// A command sets the address.
    CTRL_MAC_ADDR = 23, "VIRTIO_NET_F_CTRL_MAC_ADDR";
    /// The device coalesces TCP over IPv4. Legacy only (§5.1.3.2): with
    /// [`VERSION_1`](crate::F::VERSION_1), the bit is [`ADMIN_VQ`](crate::F::ADMIN_VQ).
    GUEST_RSC4 = 41, "VIRTIO_NET_F_GUEST_RSC4";
    /// The device coalesces TCP over IPv6. Legacy only (§5.1.3.2).
    GUEST_RSC6 = 42, "VIRTIO_NET_F_GUEST_RSC6";
    /// A command asks for statistics.
    DEVICE_STATS = 50, "VIRTIO_NET_F_DEVICE_STATS";
    /// Hashes may be of the packets inside of tunnels.
    HASH_TUNNEL = 51, "VIRTIO_NET_F_HASH_TUNNEL";
    /// A command coalesces the notifications of one queue.
    VQ_NOTF_COAL = 52, "VIRTIO_NET_F_VQ_NOTF_COAL";
    /// A command coalesces notifications.
    NOTF_COAL = 53, "VIRTIO_NET_F_NOTF_COAL";
    /// The driver takes segments of UDP over IPv4 in one.
    GUEST_USO4 = 54, "VIRTIO_NET_F_GUEST_USO4";
    /// The driver takes segments of UDP over IPv6 in one.
    GUEST_USO6 = 55, "VIRTIO_NET_F_GUEST_USO6";
    /// The device segments UDP.
    HOST_USO = 56, "VIRTIO_NET_F_HOST_USO";
    /// Packets are received with a hash and its type.
    HASH_REPORT = 57, "VIRTIO_NET_F_HASH_REPORT";
    /// The driver gives the exact length of headers, in `hdr_len`.
    GUEST_HDRLEN = 59, "VIRTIO_NET_F_GUEST_HDRLEN";
    /// Queues are chosen by a hash whose key and table the driver gives.
    RSS = 60, "VIRTIO_NET_F_RSS";
    /// The device coalesces segments, and says how many there were.
    RSC_EXT = 61, "VIRTIO_NET_F_RSC_EXT";
    /// The device stands in for another one with the same address.
    STANDBY = 62, "VIRTIO_NET_F_STANDBY";
    /// The link's speed is given by `speed` and `duplex`.
    SPEED_DUPLEX = 63, "VIRTIO_NET_F_SPEED_DUPLEX";
    /// There may be several keys and tables for choosing queues.
    RSS_CONTEXT = 64, "VIRTIO_NET_F_RSS_CONTEXT";
    /// The driver takes segments in a tunnel over UDP in one.
    GUEST_UDP_TUNNEL_GSO = 65, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO";
    /// The driver takes packets in a tunnel over UDP, whose outer checksum was not computed.
    GUEST_UDP_TUNNEL_GSO_CSUM = 66, "VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM";
    /// The device segments what is in a tunnel over UDP.
    HOST_UDP_TUNNEL_GSO = 67, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO";
    /// The device computes the outer checksums of tunnels over UDP.
    HOST_UDP_TUNNEL_GSO_CSUM = 68, "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO_CSUM";
    /// The driver says where the outer network header begins, in `outer_nh_offset`.
    OUT_NET_HEADER = 69, "VIRTIO_NET_F_OUT_NET_HEADER";
    /// The device encrypts and decrypts packets of `IPsec`.
    IPSEC = 70, "VIRTIO_NET_F_IPSEC";
}
