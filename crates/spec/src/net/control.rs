//! Commands to a card. Spec: VIRTIO 1.4 §5.1.9.5 "Control Virtqueue".
//!
//! A command is a readable [`Control`] and what belongs to it, and a writable [`Ack`], which the
//! result of some commands follows.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{U16, U32, U64};

/// Which command it is (§5.1.9.5). Open set.
#[doc(alias = "virtio_net_ctrl")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Control {
    /// What it is about.
    pub class: u8,
    /// What to do about it.
    pub command: u8,
}

layout!(Control: 2 { class = 0, command = 1 });

impl Control {
    /// A byte, 0 or 1: receive every packet. This and the following five exist with
    /// [`F::CTRL_RX`](super::F::CTRL_RX).
    #[doc(alias = "VIRTIO_NET_CTRL_RX_PROMISC")]
    pub const RX_PROMISC: Self = Self::new(0, 0);
    /// A byte, 0 or 1: receive every multicast.
    #[doc(alias = "VIRTIO_NET_CTRL_RX_ALLMULTI")]
    pub const RX_ALLMULTI: Self = Self::new(0, 1);
    /// A byte, 0 or 1: receive every unicast. This and the following three exist with
    /// [`F::CTRL_RX_EXTRA`](super::F::CTRL_RX_EXTRA).
    #[doc(alias = "VIRTIO_NET_CTRL_RX_ALLUNI")]
    pub const RX_ALLUNI: Self = Self::new(0, 2);
    /// A byte, 0 or 1: receive no multicast.
    #[doc(alias = "VIRTIO_NET_CTRL_RX_NOMULTI")]
    pub const RX_NOMULTI: Self = Self::new(0, 3);
    /// A byte, 0 or 1: receive no unicast.
    #[doc(alias = "VIRTIO_NET_CTRL_RX_NOUNI")]
    pub const RX_NOUNI: Self = Self::new(0, 4);
    /// A byte, 0 or 1: receive no broadcast.
    #[doc(alias = "VIRTIO_NET_CTRL_RX_NOBCAST")]
    pub const RX_NOBCAST: Self = Self::new(0, 5);

    /// Two tables of addresses, each a number of 32 bits and that many addresses: the unicasts and
    /// the multicasts to receive. Exists with [`F::CTRL_RX`](super::F::CTRL_RX).
    #[doc(alias = "VIRTIO_NET_CTRL_MAC_TABLE_SET")]
    pub const MAC_TABLE_SET: Self = Self::new(1, 0);
    /// An address: the card's. Exists with [`F::CTRL_MAC_ADDR`](super::F::CTRL_MAC_ADDR).
    #[doc(alias = "VIRTIO_NET_CTRL_MAC_ADDR_SET")]
    pub const MAC_ADDR_SET: Self = Self::new(1, 1);

    /// The number of a virtual LAN, 16 bits: receive its packets. This and the next exist with
    /// [`F::CTRL_VLAN`](super::F::CTRL_VLAN).
    #[doc(alias = "VIRTIO_NET_CTRL_VLAN_ADD")]
    pub const VLAN_ADD: Self = Self::new(2, 0);
    /// The number of a virtual LAN: receive its packets no more.
    #[doc(alias = "VIRTIO_NET_CTRL_VLAN_DEL")]
    pub const VLAN_DEL: Self = Self::new(2, 1);

    /// Nothing: the driver has announced itself. Exists with
    /// [`F::GUEST_ANNOUNCE`](super::F::GUEST_ANNOUNCE).
    #[doc(alias = "VIRTIO_NET_CTRL_ANNOUNCE_ACK")]
    pub const ANNOUNCE_ACK: Self = Self::new(3, 0);

    /// How many pairs of queues to use, 16 bits. Exists with [`F::MQ`](super::F::MQ).
    #[doc(alias = "VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET")]
    pub const MQ_VQ_PAIRS_SET: Self = Self::new(4, 0);
    /// A [`SteeringHead`](super::SteeringHead), a table, a [`SteeringTail`](super::SteeringTail)
    /// and a key. Exists with [`F::RSS`](super::F::RSS).
    #[doc(alias = "VIRTIO_NET_CTRL_MQ_RSS_CONFIG")]
    pub const MQ_RSS_CONFIG: Self = Self::new(4, 1);
    /// A [`HashConfig`](super::HashConfig) and a key. Exists with
    /// [`F::HASH_REPORT`](super::F::HASH_REPORT).
    #[doc(alias = "VIRTIO_NET_CTRL_MQ_HASH_CONFIG")]
    pub const MQ_HASH_CONFIG: Self = Self::new(4, 2);

    /// [`Offloads`]: what may be received. Exists with
    /// [`F::CTRL_GUEST_OFFLOADS`](super::F::CTRL_GUEST_OFFLOADS).
    #[doc(alias = "VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET")]
    pub const GUEST_OFFLOADS_SET: Self = Self::new(5, 0);

    /// [`Coalescing`] of all transmit queues. This and the next exist with
    /// [`F::NOTF_COAL`](super::F::NOTF_COAL).
    #[doc(alias = "VIRTIO_NET_CTRL_NOTF_COAL_TX_SET")]
    pub const NOTF_COAL_TX_SET: Self = Self::new(6, 0);
    /// [`Coalescing`] of all receive queues.
    #[doc(alias = "VIRTIO_NET_CTRL_NOTF_COAL_RX_SET")]
    pub const NOTF_COAL_RX_SET: Self = Self::new(6, 1);
    /// [`QueueCoalescing`] of one queue. This and the next exist with
    /// [`F::VQ_NOTF_COAL`](super::F::VQ_NOTF_COAL).
    #[doc(alias = "VIRTIO_NET_CTRL_NOTF_COAL_VQ_SET")]
    pub const NOTF_COAL_VQ_SET: Self = Self::new(6, 2);
    /// [`QueueCoalescing`], of which the device fills in what comes after the queue's index.
    #[doc(alias = "VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET")]
    pub const NOTF_COAL_VQ_GET: Self = Self::new(6, 3);

    /// Tunnels to hash the inside of, 32 bits. Exists with
    /// [`F::HASH_TUNNEL`](super::F::HASH_TUNNEL).
    #[doc(alias = "VIRTIO_NET_CTRL_HASH_TUNNEL_SET")]
    pub const HASH_TUNNEL_SET: Self = Self::new(7, 0);

    /// Nothing; the result says which [`Statistics`](super::Statistics) there are, 64 bits. This
    /// and the next exist with [`F::DEVICE_STATS`](super::F::DEVICE_STATS).
    #[doc(alias = "VIRTIO_NET_CTRL_STATS_QUERY")]
    pub const STATS_QUERY: Self = Self::new(8, 0);
    /// Some [`StatisticsWanted`](super::StatisticsWanted); the result is what was wanted, each
    /// after a [`StatisticsHeader`](super::StatisticsHeader).
    #[doc(alias = "VIRTIO_NET_CTRL_STATS_GET")]
    pub const STATS_GET: Self = Self::new(8, 1);

    /// Command `command` of class `class`.
    pub const fn new(class: u8, command: u8) -> Self {
        Self { class, command }
    }
}

/// How a command went (§5.1.9.5). Open set: whatever is not [`OK`](Self::OK) is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Ack(pub u8);

impl Ack {
    /// It was done.
    #[doc(alias = "VIRTIO_NET_OK")]
    pub const OK: Self = Self(0);
    /// It was not.
    #[doc(alias = "VIRTIO_NET_ERR")]
    pub const ERR: Self = Self(1);
}

bitflags! {
    /// What of received packets may be left to the driver (§5.1.9.5.9). Each is the feature of the
    /// same name, at its bit but for tunnels.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Offloads: u64 {
        /// Checksums.
        const GUEST_CSUM = 1 << 1;
        /// Segments of TCP over IPv4 in one.
        const GUEST_TSO4 = 1 << 7;
        /// Segments of TCP over IPv6 in one.
        const GUEST_TSO6 = 1 << 8;
        /// Such segments with congestion notification.
        const GUEST_ECN = 1 << 9;
        /// Fragments of UDP in one.
        const GUEST_UFO = 1 << 10;
        /// Segments in a tunnel in one.
        const GUEST_UDP_TUNNEL_GSO = 1 << 46;
        /// Outer checksums of tunnels.
        const GUEST_UDP_TUNNEL_GSO_CSUM = 1 << 47;
        /// Datagrams of UDP over IPv4 in one.
        const GUEST_USO4 = 1 << 54;
        /// Datagrams of UDP over IPv6 in one.
        const GUEST_USO6 = 1 << 55;

        const _ = !0;
    }
}

impl Offloads {
    /// Those that begin enabled when `features` are negotiated, and that may be enabled then.
    pub fn of(features: crate::Features) -> Self {
        let moved = |feature: crate::Features, offload: Self| {
            if features.contains(feature) {
                offload
            } else {
                Self::empty()
            }
        };
        let alike = Self::GUEST_CSUM
            | Self::GUEST_TSO4
            | Self::GUEST_TSO6
            | Self::GUEST_ECN
            | Self::GUEST_UFO
            | Self::GUEST_USO4
            | Self::GUEST_USO6;
        Self::from_bits_retain(features.0 as u64).intersection(alike)
            | moved(super::F::GUEST_UDP_TUNNEL_GSO, Self::GUEST_UDP_TUNNEL_GSO)
            | moved(
                super::F::GUEST_UDP_TUNNEL_GSO_CSUM,
                Self::GUEST_UDP_TUNNEL_GSO_CSUM,
            )
    }
}

/// The value of [`Control::GUEST_OFFLOADS_SET`], on the wire.
pub type OffloadBits = U64;

/// How long a device may wait before it notifies (§5.1.9.5.10).
#[doc(alias = "virtio_net_ctrl_coal")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Coalescing {
    /// For so many packets at most.
    pub max_packets: U32,
    /// For so many microseconds at most.
    pub max_usecs: U32,
}

layout!(Coalescing: 8 { max_packets = 0, max_usecs = 4 });

/// [`Coalescing`] of one queue (§5.1.9.5.10).
#[doc(alias = "virtio_net_ctrl_coal_vq")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct QueueCoalescing {
    /// Which queue.
    pub vq_index: U16,
    /// Zero.
    pub reserved: U16,
    /// How.
    pub coal: Coalescing,
}

layout!(QueueCoalescing: 12 { vq_index = 0, reserved = 2, coal = 4 });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::F;

    #[test]
    fn offloads_are_features_at_their_bits_but_for_tunnels() {
        let features = F::GUEST_CSUM | F::GUEST_USO6 | F::GUEST_UDP_TUNNEL_GSO | F::MAC | F::CSUM;

        let offloads = Offloads::of(features);

        let expected = Offloads::GUEST_CSUM | Offloads::GUEST_USO6 | Offloads::GUEST_UDP_TUNNEL_GSO;
        assert_eq!(offloads, expected);
    }
}
