//! What has gone through an interface.

use core::sync::atomic::{AtomicU64, Ordering};

use ringway_spec::net::{Header, HeaderFlags};

/// What has gone through an interface, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given to the kernel.
    pub sent: u64,
    /// Of these, those that left it a checksum to complete, or cutting.
    pub sent_undone: u64,
    /// Dropped: the kernel had no room.
    pub no_room: u64,
    /// Dropped: the interface was down.
    pub down: u64,
    /// Dropped: the kernel did not take them, or what was left to do could not be done.
    pub refused: u64,
    /// Delivered to the card.
    pub received: u64,
    /// Of these, those that left it a checksum to complete, or cutting.
    pub received_undone: u64,
    /// Dropped: what the kernel handed over cannot be.
    pub malformed: u64,
}

/// The same, as it grows.
#[derive(Debug, Default)]
pub(super) struct Counters {
    sent: Counter,
    sent_undone: Counter,
    pub(super) no_room: Counter,
    pub(super) down: Counter,
    pub(super) refused: Counter,
    received: Counter,
    received_undone: Counter,
    pub(super) malformed: Counter,
}

impl Counters {
    /// A packet with this before it was given to the kernel.
    pub(super) fn sent(&self, header: &Header) {
        self.sent.add();
        if is_undone(header) {
            self.sent_undone.add();
        }
    }

    /// One was read.
    pub(super) fn received(&self, header: &Header) {
        self.received.add();
        if is_undone(header) {
            self.received_undone.add();
        }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            sent: self.sent.get(),
            sent_undone: self.sent_undone.get(),
            no_room: self.no_room.get(),
            down: self.down.get(),
            refused: self.refused.get(),
            received: self.received.get(),
            received_undone: self.received_undone.get(),
            malformed: self.malformed.get(),
        }
    }
}

/// Whether something is left to do: nothing is cut whose checksum is complete.
fn is_undone(header: &Header) -> bool {
    header.flags & HeaderFlags::NEEDS_CSUM.bits() != 0
}

/// Goes up, on any thread.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
