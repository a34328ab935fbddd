//! What a card counts. Spec: VIRTIO 1.4 §5.1.9.5.11 "Device Statistics".

use ringway_spec::le::U64;
use ringway_spec::net::{
    Commands, GsoType, Header, HeaderFlags, ReceiveBasic, ReceiveChecksums, ReceiveSegments,
    TransmitBasic, TransmitChecksums, TransmitSegments,
};

/// Of a receive queue. Wraps around (§5.1.9.5.11.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceiveCounts {
    packets: u64,
    bytes: u64,
    drops: u64,
    overruns: u64,
    /// Packets whose checksums were found right.
    valid: u64,
    left: Left,
}

/// Of a transmit queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TransmitCounts {
    packets: u64,
    bytes: u64,
    drops: u64,
    malformed: u64,
    left: Left,
}

/// Of packets with which something is left to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Left {
    checksums: u64,
    /// Those that are several in one, and their bytes.
    large: u64,
    large_bytes: u64,
}

/// Of the queue of commands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CommandCounts {
    commands: u64,
    done: u64,
}

impl ReceiveCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.drops = self.drops.wrapping_add(other.drops);
        self.overruns = self.overruns.wrapping_add(other.overruns);
        self.valid = self.valid.wrapping_add(other.valid);
        self.left.add(&other.left);
    }

    #[inline]
    pub(super) fn received(&mut self, header: &Header, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        if !header.is_plain() {
            let valid = header.flags & HeaderFlags::DATA_VALID.bits() != 0;
            self.valid = self.valid.wrapping_add(valid.into());
            self.left.count(header, bytes);
        }
    }

    pub(super) fn overrun(&mut self) {
        self.overruns = self.overruns.wrapping_add(1);
        self.dropped();
    }

    pub(super) fn dropped(&mut self) {
        self.drops = self.drops.wrapping_add(1);
    }

    pub(super) fn basic(&self) -> ReceiveBasic {
        ReceiveBasic {
            rx_packets: U64::new(self.packets),
            rx_bytes: U64::new(self.bytes),
            rx_drops: U64::new(self.drops),
            rx_drop_overruns: U64::new(self.overruns),
            ..ReceiveBasic::default()
        }
    }

    /// A card judges no checksum itself, and finds none wrong.
    pub(super) fn checksums(&self) -> ReceiveChecksums {
        let told = self.valid.wrapping_add(self.left.checksums);
        ReceiveChecksums {
            rx_csum_valid: U64::new(self.valid),
            rx_needs_csum: U64::new(self.left.checksums),
            rx_csum_none: U64::new(self.packets.wrapping_sub(told)),
            ..ReceiveChecksums::default()
        }
    }

    /// A card puts none together itself.
    pub(super) fn segments(&self) -> ReceiveSegments {
        ReceiveSegments {
            rx_gso_packets: U64::new(self.left.large),
            rx_gso_bytes: U64::new(self.left.large_bytes),
            ..ReceiveSegments::default()
        }
    }
}

impl TransmitCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.drops = self.drops.wrapping_add(other.drops);
        self.malformed = self.malformed.wrapping_add(other.malformed);
        self.left.add(&other.left);
    }

    #[inline]
    pub(super) fn sent(&mut self, header: &Header, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
        if !header.is_plain() {
            self.left.count(header, bytes);
        }
    }

    pub(super) fn malformed(&mut self) {
        self.malformed = self.malformed.wrapping_add(1);
        self.drops = self.drops.wrapping_add(1);
    }

    pub(super) fn basic(&self) -> TransmitBasic {
        TransmitBasic {
            tx_packets: U64::new(self.packets),
            tx_bytes: U64::new(self.bytes),
            tx_drops: U64::new(self.drops),
            tx_drop_malformed: U64::new(self.malformed),
            ..TransmitBasic::default()
        }
    }

    pub(super) fn checksums(&self) -> TransmitChecksums {
        TransmitChecksums {
            tx_csum_none: U64::new(self.packets.wrapping_sub(self.left.checksums)),
            tx_needs_csum: U64::new(self.left.checksums),
        }
    }

    /// A card passes them on whole: whoever gets them cuts them.
    pub(super) fn segments(&self) -> TransmitSegments {
        let (packets, bytes) = (U64::new(self.left.large), U64::new(self.left.large_bytes));
        TransmitSegments {
            tx_gso_packets: packets,
            tx_gso_bytes: bytes,
            tx_gso_packets_noseg: packets,
            tx_gso_bytes_noseg: bytes,
            ..TransmitSegments::default()
        }
    }
}

impl Left {
    fn add(&mut self, other: &Self) {
        self.checksums = self.checksums.wrapping_add(other.checksums);
        self.large = self.large.wrapping_add(other.large);
        self.large_bytes = self.large_bytes.wrapping_add(other.large_bytes);
    }

    fn count(&mut self, header: &Header, bytes: usize) {
        let checksum = header.flags & HeaderFlags::NEEDS_CSUM.bits() != 0;
        self.checksums = self.checksums.wrapping_add(checksum.into());
        if header.gso_type != GsoType::NONE {
            self.large = self.large.wrapping_add(1);
            self.large_bytes = self.large_bytes.wrapping_add(bytes as u64);
        }
    }
}

impl CommandCounts {
    /// A command came.
    pub(super) fn came(&mut self) {
        self.commands = self.commands.wrapping_add(1);
    }

    /// It was done.
    pub(super) fn done(&mut self) {
        self.done = self.done.wrapping_add(1);
    }

    /// All, with the command that asks for them, which will have gone well (§5.1.9.5.11.3).
    pub(super) fn all(&self) -> Commands {
        Commands {
            command_num: U64::new(self.commands),
            ok_num: U64::new(self.done.wrapping_add(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// §5.1.9.5.11.12: after the last number comes 0.
    ///
    /// Clauses: dev:net/op/control-vq/device-statistics:7
    #[test]
    fn counters_wrap_around() {
        let mut received = ReceiveCounts {
            packets: u64::MAX,
            bytes: u64::MAX,
            drops: u64::MAX,
            overruns: u64::MAX,
            ..ReceiveCounts::default()
        };
        let mut sent = TransmitCounts {
            packets: u64::MAX,
            bytes: u64::MAX - 1,
            ..TransmitCounts::default()
        };

        received.received(&Header::default(), 60);
        received.overrun();
        let other = sent;
        sent.add(&other);

        let basic = received.basic();
        assert_eq!((basic.rx_packets.get(), basic.rx_bytes.get()), (0, 59));
        assert_eq!((basic.rx_drops.get(), basic.rx_drop_overruns.get()), (0, 0));
        let basic = sent.basic();
        assert_eq!(basic.tx_packets.get(), u64::MAX - 1);
        assert_eq!(basic.tx_bytes.get(), u64::MAX - 3);
    }

    #[test]
    fn packets_are_counted_by_what_is_left_to_do_with_them() {
        let header = |flags, kind| Header {
            flags,
            gso_type: GsoType(kind),
            ..Header::default()
        };
        let (mut received, mut sent) = (ReceiveCounts::default(), TransmitCounts::default());

        for (flags, kind, bytes) in [(0, 0, 10), (1, 0, 20), (1, 1, 3000), (2, 0, 30)] {
            received.received(&header(flags, kind), bytes);
            sent.sent(&header(flags & 1, kind), bytes);
        }

        let checksums = received.checksums();
        let counted = [
            checksums.rx_csum_valid.get(),
            checksums.rx_needs_csum.get(),
            checksums.rx_csum_none.get(),
        ];
        assert_eq!(counted, [1, 2, 1]);
        let segments = received.segments();
        assert_eq!(segments.rx_gso_packets.get(), 1);
        assert_eq!(segments.rx_gso_bytes.get(), 3000);
        let checksums = sent.checksums();
        let counted = (checksums.tx_csum_none.get(), checksums.tx_needs_csum.get());
        assert_eq!(counted, (2, 2));
        let segments = sent.segments();
        assert_eq!(segments.tx_gso_bytes_noseg.get(), 3000);
        assert_eq!(segments.tx_gso_segments.get(), 0);
    }
}
