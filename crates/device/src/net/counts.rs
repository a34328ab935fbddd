//! What a card counts. Spec: VIRTIO 1.4 §5.1.9.5.11 "Device Statistics".

use ringway_spec::le::U64;
use ringway_spec::net::{Commands, ReceiveBasic, TransmitBasic};

/// Of a receive queue. Wraps around (§5.1.9.5.11.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReceiveCounts {
    packets: u64,
    bytes: u64,
    drops: u64,
    overruns: u64,
}

/// Of a transmit queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TransmitCounts {
    packets: u64,
    bytes: u64,
    drops: u64,
    malformed: u64,
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
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
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
}

impl TransmitCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
        self.drops = self.drops.wrapping_add(other.drops);
        self.malformed = self.malformed.wrapping_add(other.malformed);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.packets = self.packets.wrapping_add(1);
        self.bytes = self.bytes.wrapping_add(bytes as u64);
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
