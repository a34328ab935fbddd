//! What is counted on a ring.

use core::sync::atomic::{AtomicU64, Ordering};

/// What has happened on a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often it was kicked, as far as the loop was awakened by it: kicks that came together are
    /// one.
    pub kicks: u64,
    /// Batches that were served because of a kick, or of something that was waited for, or because
    /// the one before left something to do.
    pub batches: u64,
    /// Batches that were found by looking, which saved the driver a kick and the loop its sleep.
    pub hits: u64,
    /// How often the loop looked for as long as it should, and found nothing.
    pub misses: u64,
}

/// The same, while it goes on: written by the loop, read by all.
#[derive(Debug, Default)]
pub(super) struct Counters {
    kicks: AtomicU64,
    batches: AtomicU64,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counters {
    pub(super) fn kicked(&self) {
        add(&self.kicks);
    }

    pub(super) fn ran(&self) {
        add(&self.batches);
    }

    pub(super) fn hit(&self) {
        add(&self.hits);
    }

    pub(super) fn missed(&self) {
        add(&self.misses);
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            kicks: self.kicks.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
        }
    }
}

/// By the one thread that writes: no more than a load and a store.
fn add(count: &AtomicU64) {
    let more = count.load(Ordering::Relaxed).wrapping_add(1);
    count.store(more, Ordering::Relaxed);
}
