//! What a card counts. Spec: VIRTIO 1.4 §5.1.9.5.11 "Device Statistics".
//!
//! Counters are of 64 bits, and wrap around.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::F;
use crate::Features;
use crate::le::{U16, U64};

bitflags! {
    /// Groups of counters (§5.1.9.5.11.1). On the wire, 64 bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Statistics: u64 {
        /// [`ReceiveBasic`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_RX_BASIC")]
        const RX_BASIC = 1 << 0;
        /// [`ReceiveChecksums`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_RX_CSUM")]
        const RX_CSUM = 1 << 1;
        /// [`ReceiveSegments`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_RX_GSO")]
        const RX_GSO = 1 << 2;
        /// [`AboveSpeed`], of what was received.
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_RX_SPEED")]
        const RX_SPEED = 1 << 3;
        /// [`TransmitBasic`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_TX_BASIC")]
        const TX_BASIC = 1 << 16;
        /// [`TransmitChecksums`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_TX_CSUM")]
        const TX_CSUM = 1 << 17;
        /// [`TransmitSegments`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_TX_GSO")]
        const TX_GSO = 1 << 18;
        /// [`AboveSpeed`], of what was sent.
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_TX_SPEED")]
        const TX_SPEED = 1 << 19;
        /// [`Commands`].
        #[doc(alias = "VIRTIO_NET_STATS_TYPE_CVQ")]
        const CVQ = 1 << 32;

        const _ = !0;
    }
}

impl Statistics {
    /// Those of a receive queue.
    pub const RECEIVE: Self = Self::RX_BASIC
        .union(Self::RX_CSUM)
        .union(Self::RX_GSO)
        .union(Self::RX_SPEED);
    /// Those of a transmit queue.
    pub const TRANSMIT: Self = Self::TX_BASIC
        .union(Self::TX_CSUM)
        .union(Self::TX_GSO)
        .union(Self::TX_SPEED);

    /// Those that can be asked for when `features` are negotiated (§5.1.9.5.11.12): of checksums and of
    /// segments, only where the other end may leave them.
    pub fn of(features: Features) -> Self {
        let with = |needed: Features, group: Self| match features.intersects(needed) {
            true => group,
            false => Self::empty(),
        };
        let always = Self::CVQ | Self::RX_BASIC | Self::TX_BASIC | Self::RX_SPEED | Self::TX_SPEED;
        always
            | with(F::GUEST_CSUM, Self::RX_CSUM)
            | with(F::CSUM, Self::TX_CSUM)
            | with(F::GUEST_TSO4 | F::GUEST_TSO6, Self::RX_GSO)
            | with(F::HOST_TSO4 | F::HOST_TSO6 | F::HOST_USO, Self::TX_GSO)
    }

    /// The group of this number: of its bit. None if there is no such bit.
    pub const fn of_kind(kind: u8) -> Option<Self> {
        match kind {
            0..64 => Some(Self::from_bits_retain(1 << kind)),
            _ => None,
        }
    }
}

/// Declares a group of counters.
macro_rules! counters {
    (
        $(#[$meta:meta])*
        $name:ident: $size:literal { $($(#[$field_meta:meta])* $field:ident = $offset:literal,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        #[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: U64,)+
        }

        layout!($name: $size { $($field = $offset),+ });
    };
}

/// Which groups of which queue are wanted (§5.1.9.5.11.2).
#[doc(alias = "virtio_net_ctrl_queue_stats")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct StatisticsWanted {
    /// The queue.
    pub vq_index: U16,
    /// Zero.
    pub reserved: [U16; 3],
    /// [`Statistics`].
    pub types_bitmap: U64,
}

layout!(StatisticsWanted: 16 { vq_index = 0, reserved = 2, types_bitmap = 8 });

/// What stands before each group in the result (§5.1.9.5.11.2).
#[doc(alias = "virtio_net_stats_reply_hdr")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct StatisticsHeader {
    /// Which group: the number of its bit among [`Statistics`].
    pub kind: u8,
    /// Zero.
    pub reserved: u8,
    /// The queue.
    pub vq_index: U16,
    /// Zero.
    pub reserved1: U16,
    /// Bytes of the group, with this header.
    pub size: U16,
}

layout!(StatisticsHeader: 8 {
    kind = 0, reserved = 1, vq_index = 2, reserved1 = 4, size = 6,
});

counters! {
    /// Of the queue of commands (§5.1.9.5.11.3).
    #[doc(alias = "virtio_net_stats_cvq")]
    Commands: 16 {
        /// Commands received, the one that asks among them.
        command_num = 0,
        /// Commands that went well.
        ok_num = 8,
    }
}

counters! {
    /// Of a receive queue (§5.1.9.5.11.4).
    #[doc(alias = "virtio_net_stats_rx_basic")]
    ReceiveBasic: 48 {
        /// Notifications by the driver.
        rx_notifications = 0,
        /// Packets that the driver was given.
        rx_packets = 8,
        /// Their bytes.
        rx_bytes = 16,
        /// Interrupts.
        rx_interrupts = 24,
        /// Packets dropped, whatever for.
        rx_drops = 32,
        /// Packets dropped since there were no buffers.
        rx_drop_overruns = 40,
    }
}

counters! {
    /// Of a transmit queue (§5.1.9.5.11.5).
    #[doc(alias = "virtio_net_stats_tx_basic")]
    TransmitBasic: 48 {
        /// Notifications by the driver.
        tx_notifications = 0,
        /// Packets that were sent.
        tx_packets = 8,
        /// Their bytes.
        tx_bytes = 16,
        /// Interrupts.
        tx_interrupts = 24,
        /// Packets dropped, whatever for.
        tx_drops = 32,
        /// Packets dropped since their descriptors cannot be.
        tx_drop_malformed = 40,
    }
}

counters! {
    /// Of a receive queue, with [`F::GUEST_CSUM`](super::F::GUEST_CSUM) (§5.1.9.5.11.6).
    #[doc(alias = "virtio_net_stats_rx_csum")]
    ReceiveChecksums: 32 {
        /// Packets with [`DATA_VALID`](super::HeaderFlags::DATA_VALID).
        rx_csum_valid = 0,
        /// Packets with [`NEEDS_CSUM`](super::HeaderFlags::NEEDS_CSUM).
        rx_needs_csum = 8,
        /// Packets of other protocols than TCP and UDP.
        rx_csum_none = 16,
        /// Packets whose checksums are wrong.
        rx_csum_bad = 24,
    }
}

counters! {
    /// Of a transmit queue, with [`F::CSUM`](super::F::CSUM) (§5.1.9.5.11.7).
    #[doc(alias = "virtio_net_stats_tx_csum")]
    TransmitChecksums: 16 {
        /// Packets whose checksums were complete.
        tx_csum_none = 0,
        /// Packets whose checksums the device completes.
        tx_needs_csum = 8,
    }
}

counters! {
    /// Of a receive queue, with features that coalesce (§5.1.9.5.11.8).
    #[doc(alias = "virtio_net_stats_rx_gso")]
    ReceiveSegments: 32 {
        /// Packets of several segments that the device received.
        rx_gso_packets = 0,
        /// Their bytes.
        rx_gso_bytes = 8,
        /// Packets that it put together itself.
        rx_gso_packets_coalesced = 16,
        /// Their bytes.
        rx_gso_bytes_coalesced = 24,
    }
}

counters! {
    /// Of a transmit queue, with features that cut (§5.1.9.5.11.9).
    #[doc(alias = "virtio_net_stats_tx_gso")]
    TransmitSegments: 48 {
        /// Packets of several segments.
        tx_gso_packets = 0,
        /// Their bytes.
        tx_gso_bytes = 8,
        /// Segments that they were cut into.
        tx_gso_segments = 16,
        /// Bytes of the segments.
        tx_gso_segments_bytes = 24,
        /// Packets of several segments that were passed on whole.
        tx_gso_packets_noseg = 32,
        /// Their bytes.
        tx_gso_bytes_noseg = 40,
    }
}

counters! {
    /// What was dropped since it came faster than the device's speed (§5.1.9.5.11.10,
    /// §5.1.9.5.11.11).
    #[doc(alias = "virtio_net_stats_rx_speed")]
    #[doc(alias = "virtio_net_stats_tx_speed")]
    AboveSpeed: 16 {
        /// Packets.
        packets_allowance_exceeded = 0,
        /// Bytes.
        bytes_allowance_exceeded = 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_there_with_the_features_that_they_count_for() {
        let basic = Statistics::CVQ | Statistics::RX_BASIC | Statistics::TX_BASIC;
        let of = |features| Statistics::of(features) - Statistics::RX_SPEED - Statistics::TX_SPEED;

        assert_eq!(of(Features::NONE), basic);
        assert_eq!(of(F::GUEST_CSUM), basic | Statistics::RX_CSUM);
        assert_eq!(of(F::CSUM), basic | Statistics::TX_CSUM);
        assert_eq!(of(F::GUEST_TSO6), basic | Statistics::RX_GSO);
        assert_eq!(of(F::HOST_USO), basic | Statistics::TX_GSO);
    }

    #[test]
    fn a_group_has_the_number_of_its_bit() {
        assert_eq!(Statistics::of_kind(32), Some(Statistics::CVQ));
        assert_eq!(Statistics::of_kind(19), Some(Statistics::TX_SPEED));
        assert_eq!(Statistics::of_kind(64), None);
    }
}
