//! What stands before every packet. Spec: VIRTIO 1.4 §5.1.9 "Device Operation".

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::F;
use crate::Features;
use crate::le::{U16, U32};

/// What stands before every packet, in both directions (§5.1.9). More follows it with some features:
/// [`header_len`].
#[doc(alias = "virtio_net_hdr")]
#[doc(alias = "virtio_net_hdr_v1")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Header {
    /// [`HeaderFlags`].
    pub flags: u8,
    /// How the packet is to be cut, or what it was put together from.
    pub gso_type: GsoType,
    /// Bytes of all headers, the transport's among them: a hint, never to be relied on.
    pub hdr_len: U16,
    /// Most bytes of a segment after its headers.
    pub gso_size: U16,
    /// Where in the packet summing begins. Means something with [`HeaderFlags::NEEDS_CSUM`].
    pub csum_start: U16,
    /// How many bytes after `csum_start` the sum is to be put.
    pub csum_offset: U16,
    /// How many buffers a received packet is spread over: 1 without [`F::MRG_RXBUF`]. 0 in packets
    /// that are sent. A legacy header has it with [`F::MRG_RXBUF`] only.
    pub num_buffers: U16,
}

layout!(Header: 12 {
    flags = 0, gso_type = 1, hdr_len = 2, gso_size = 4, csum_start = 6, csum_offset = 8,
    num_buffers = 10,
});

impl Header {
    /// Whether it says nothing of the packet: there is nothing left to do with it.
    #[inline]
    pub const fn is_plain(&self) -> bool {
        self.flags == 0 && self.gso_type.0 == GsoType::NONE.0
    }
}

/// What follows a [`Header`] with [`F::HASH_REPORT`] (§5.1.9.4.5).
#[doc(alias = "virtio_net_hdr_v1_hash")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ReportedHash {
    /// The hash.
    pub hash_value: U32,
    /// What it is of.
    pub hash_report: HashReport,
    /// Zero.
    pub padding_reserved: U16,
}

layout!(ReportedHash: 8 { hash_value = 0, hash_report = 4, padding_reserved = 6 });

bitflags! {
    /// `flags` of a [`Header`] (§5.1.9). Bits that are not known are ignored (§5.1.9.2.2,
    /// §5.1.9.4.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct HeaderFlags: u8 {
        /// The checksum is that of the pseudo header: `csum_start` and `csum_offset` say how to
        /// complete it.
        #[doc(alias = "VIRTIO_NET_HDR_F_NEEDS_CSUM")]
        const NEEDS_CSUM = 1;
        /// The checksum was found right. Received packets only.
        #[doc(alias = "VIRTIO_NET_HDR_F_DATA_VALID")]
        const DATA_VALID = 2;
        /// `csum_start` and `csum_offset` are numbers of coalesced segments and of duplicate
        /// acknowledgements. With [`F::RSC_EXT`], received packets only.
        #[doc(alias = "VIRTIO_NET_HDR_F_RSC_INFO")]
        const RSC_INFO = 4;
        /// The outer checksum of a tunnel is that of the pseudo header, too.
        #[doc(alias = "VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM")]
        const UDP_TUNNEL_CSUM = 8;
        /// The packet was, or is to be, processed by `IPsec`.
        #[doc(alias = "VIRTIO_NET_HDR_F_SECURITY")]
        const SECURITY = 16;
        /// That failed.
        #[doc(alias = "VIRTIO_NET_HDR_F_SECURITY_ERR")]
        const SECURITY_ERR = 32;
        /// The association is near the end of its life.
        #[doc(alias = "VIRTIO_NET_HDR_F_SECURITY_SA_SOFT_EXPIRY_WARN")]
        const SECURITY_SA_SOFT_EXPIRY_WARN = 64;

        const _ = !0;
    }
}

/// How a packet is to be cut into segments (§5.1.9). Open set, with bits beside the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct GsoType(pub u8);

impl GsoType {
    /// It is not.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_NONE")]
    pub const NONE: Self = Self(0);
    /// TCP over IPv4.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_TCPV4")]
    pub const TCPV4: Self = Self(1);
    /// Fragments of UDP.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_UDP")]
    pub const UDP: Self = Self(3);
    /// TCP over IPv6.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_TCPV6")]
    pub const TCPV6: Self = Self(4);
    /// Datagrams of UDP.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_UDP_L4")]
    pub const UDP_L4: Self = Self(5);

    /// Bit: what is cut is in a tunnel, IPv4 inside.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4")]
    pub const UDP_TUNNEL_IPV4: u8 = 0x20;
    /// Bit: what is cut is in a tunnel, IPv6 inside.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6")]
    pub const UDP_TUNNEL_IPV6: u8 = 0x40;
    /// Bit: TCP with congestion notification.
    #[doc(alias = "VIRTIO_NET_HDR_GSO_ECN")]
    pub const ECN: u8 = 0x80;

    /// The number, without bits beside it.
    #[must_use]
    pub const fn kind(self) -> Self {
        Self(self.0 & !(Self::UDP_TUNNEL_IPV4 | Self::UDP_TUNNEL_IPV6 | Self::ECN))
    }

    /// Whether all of `bits` stand beside the number.
    pub const fn has(self, bits: u8) -> bool {
        self.0 & bits == bits
    }
}

/// What a hash is of (§5.1.9.4.5). Open set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct HashReport(pub U16);

impl HashReport {
    /// There is none.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_NONE")]
    pub const NONE: Self = Self(U16::new(0));
    /// Addresses of IPv4.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_IPv4")]
    pub const IPV4: Self = Self(U16::new(1));
    /// Addresses of IPv4, and ports of TCP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_TCPv4")]
    pub const TCPV4: Self = Self(U16::new(2));
    /// Addresses of IPv4, and ports of UDP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_UDPv4")]
    pub const UDPV4: Self = Self(U16::new(3));
    /// Addresses of IPv6.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_IPv6")]
    pub const IPV6: Self = Self(U16::new(4));
    /// Addresses of IPv6, and ports of TCP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_TCPv6")]
    pub const TCPV6: Self = Self(U16::new(5));
    /// Addresses of IPv6, and ports of UDP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_UDPv6")]
    pub const UDPV6: Self = Self(U16::new(6));
    /// Addresses of IPv6, those of its extension headers where there are.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_IPv6_EX")]
    pub const IPV6_EX: Self = Self(U16::new(7));
    /// The same, and ports of TCP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_TCPv6_EX")]
    pub const TCPV6_EX: Self = Self(U16::new(8));
    /// The same, and ports of UDP.
    #[doc(alias = "VIRTIO_NET_HASH_REPORT_UDPv6_EX")]
    pub const UDPV6_EX: Self = Self(U16::new(9));
}

/// Bytes that stand before every packet when `features` are negotiated, in both directions
/// (§5.1.9.3.1). Legacy drivers and devices are those without
/// [`VERSION_1`](crate::F::VERSION_1).
pub const fn header_len(features: Features) -> usize {
    let tunnels = F::HOST_UDP_TUNNEL_GSO.union(F::GUEST_UDP_TUNNEL_GSO);
    if features.intersects(F::OUT_NET_HEADER.union(F::IPSEC)) {
        32
    } else if features.intersects(tunnels) {
        24
    } else if features.intersects(F::HASH_REPORT) {
        size_of::<Header>() + size_of::<ReportedHash>()
    } else if features.intersects(crate::F::VERSION_1.union(F::MRG_RXBUF)) {
        size_of::<Header>()
    } else {
        LEGACY_HEADER_LEN
    }
}

/// Bytes of the header of a legacy driver or device without [`F::MRG_RXBUF`] (§5.1.9.1): without
/// `num_buffers`.
pub const LEGACY_HEADER_LEN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// Clauses: drv:net/op/setting-up-receive-buffers:4
    #[test]
    fn the_longest_header_of_the_features_is_that_of_all_of_them() {
        let modern = crate::F::VERSION_1;
        let of = |features| header_len(modern | features);

        assert_eq!(header_len(Features::NONE), 10);
        assert_eq!(header_len(F::MRG_RXBUF), 12);
        assert_eq!(of(Features::NONE), 12);
        assert_eq!(of(F::HASH_REPORT | F::MRG_RXBUF), 20);
        assert_eq!(of(F::GUEST_UDP_TUNNEL_GSO), 24);
        assert_eq!(of(F::OUT_NET_HEADER | F::HASH_REPORT), 32);
    }

    #[test]
    fn bits_beside_the_number_do_not_change_it() {
        let cut = GsoType(GsoType::TCPV4.0 | GsoType::ECN);

        assert_eq!(cut.kind(), GsoType::TCPV4);
        assert!(cut.has(GsoType::ECN));
        assert!(!cut.has(GsoType::UDP_TUNNEL_IPV4));
    }
}
