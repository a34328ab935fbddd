//! Which queue a packet is received from. Spec: VIRTIO 1.4 §5.1.9.5.7 "Receive-side scaling (RSS)".

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::HashReport;
use crate::le::{U16, U32};

bitflags! {
    /// What of a packet is hashed (§5.1.9.4.3). On the wire, 32 bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct HashTypes: u32 {
        /// Addresses of IPv4.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_IPv4")]
        const IPV4 = 1 << 0;
        /// Addresses and ports of TCP over IPv4.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_TCPv4")]
        const TCPV4 = 1 << 1;
        /// Addresses and ports of UDP over IPv4.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_UDPv4")]
        const UDPV4 = 1 << 2;
        /// Addresses of IPv6.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_IPv6")]
        const IPV6 = 1 << 3;
        /// Addresses and ports of TCP over IPv6.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_TCPv6")]
        const TCPV6 = 1 << 4;
        /// Addresses and ports of UDP over IPv6.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_UDPv6")]
        const UDPV6 = 1 << 5;
        /// Addresses in extension headers of IPv6.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_IP_EX")]
        const IP_EX = 1 << 6;
        /// Those, and ports of TCP.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_TCP_EX")]
        const TCP_EX = 1 << 7;
        /// Those, and ports of UDP.
        #[doc(alias = "VIRTIO_NET_HASH_TYPE_UDP_EX")]
        const UDP_EX = 1 << 8;

        const _ = !0;
    }
}

impl HashTypes {
    /// All that have a name.
    pub const KNOWN: Self = Self::from_bits_retain(0x1ff);

    /// How a hash of this type, a single one, is reported (§5.1.9.4.5).
    pub const fn report(self) -> HashReport {
        match self.bits() {
            0 => HashReport::NONE,
            bits => HashReport(U16::new(bits.trailing_zeros() as u16 + 1)),
        }
    }
}

/// How the command that configures hashes alone begins; the key follows (§5.1.9.5.6.4).
#[doc(alias = "virtio_net_hash_config")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct HashConfig {
    /// [`HashTypes`].
    pub hash_types: U32,
    /// Zero.
    pub reserved: [U16; 4],
    /// Bytes of the key.
    pub hash_key_length: u8,
}

layout!(HashConfig: 13 { hash_types = 0, reserved = 4, hash_key_length = 12 });

/// How the command that configures steering begins (§5.1.9.5.7.1); the table of [`QueueId`]s follows,
/// one more than the mask says, then [`SteeringTail`].
#[doc(alias = "virtio_net_rss_config")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteeringHead {
    /// [`HashTypes`].
    pub hash_types: U32,
    /// Which bits of a hash are the index of an entry: a power of two less one.
    pub indirection_table_mask: U16,
    /// Where packets without a hash are received.
    pub unclassified_queue: QueueId,
}

layout!(SteeringHead: 8 {
    hash_types = 0, indirection_table_mask = 4, unclassified_queue = 6,
});

/// What follows the table; the key follows it (§5.1.9.5.7.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SteeringTail {
    /// How many transmit queues may be used.
    pub max_tx_vq: U16,
    /// Bytes of the key.
    pub hash_key_length: u8,
}

layout!(SteeringTail: 3 { max_tx_vq = 0, hash_key_length = 2 });

/// A receive queue (§5.1.9.5.7.1): bits 1 to 16 of its index, which is even.
#[doc(alias = "rss_rq_id")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct QueueId(pub U16);

impl QueueId {
    /// The receive queue of pair `pair`, counted from 0.
    pub const fn of_pair(pair: u16) -> Self {
        Self(U16::new(pair))
    }

    /// Whose receive queue it is: a pair, counted from 0. None if the bit that is reserved is set.
    pub const fn pair(self) -> Option<u16> {
        match self.0.get() {
            pair @ 0..=0x7fff => Some(pair),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_reported_by_the_number_of_its_bit() {
        assert_eq!(HashTypes::empty().report(), HashReport::NONE);
        assert_eq!(HashTypes::IPV4.report(), HashReport::IPV4);
        assert_eq!(HashTypes::TCPV6.report(), HashReport::TCPV6);
        assert_eq!(HashTypes::UDP_EX.report(), HashReport::UDPV6_EX);
    }
}
