//! What both comparisons need: repeatable chance, and what ought to be notified.

use ringway_spec::{F, Features};

/// Most segments of a request.
pub(crate) const SEGMENTS_MAX: usize = 8;
/// Most bytes of a segment.
pub(crate) const SEGMENT_BYTES: usize = 64;
/// What stands where nobody may write.
pub(crate) const CANARY: u8 = 0xee;

/// Numbers that are the same for the same seed (`SplitMix64`).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// How many readable and how many writable segments a request has on a queue of `size`: one at
    /// least.
    pub(crate) fn shape(&mut self, size: u16) -> (usize, usize) {
        let segments = 1 + self.below(SEGMENTS_MAX.min(size.into()));
        let readable = self.below(segments + 1);
        (readable, segments - readable)
    }
}

/// Names the history in which a test failed, so that it can be run again.
pub(crate) struct History {
    pub(crate) seed: u64,
    pub(crate) size: u16,
    pub(crate) features: Features,
    /// To what the device area is aligned, in the legacy layout.
    pub(crate) align: Option<usize>,
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, size) = (self.seed, self.size);
            eprintln!(
                "in the history of seed {seed}, size {size}, {:?}, legacy layout {:?}",
                self.features, self.align
            );
        }
    }
}

/// The features to be agreed on, in every combination.
pub(crate) fn features() -> impl Iterator<Item = Features> {
    [
        Features::NONE,
        F::INDIRECT_DESC,
        F::EVENT_IDX,
        F::INDIRECT_DESC | F::EVENT_IDX,
    ]
    .into_iter()
}

/// What ought to be notified in one direction, by the definition: the one who publishes notifies if
/// some element that it published since it last considered this is the one that the other named, or
/// if the other has not said that it does not care.
pub(crate) struct Notifications {
    by_event: bool,
    /// The index of the element that the other wants to hear of (§2.7.10).
    pub(crate) event: u16,
    /// Whether the other wants to hear at all, without `EVENT_IDX` (§2.7.7).
    pub(crate) wanted: bool,
    published: u16,
    considered: u16,
}

impl Notifications {
    pub(crate) fn new(features: Features, start: u16) -> Self {
        Self {
            by_event: features.contains(F::EVENT_IDX),
            event: 0,
            wanted: true,
            published: start,
            considered: start,
        }
    }

    pub(crate) fn publish(&mut self) {
        self.published = self.published.wrapping_add(1);
    }

    /// The index of the next element.
    pub(crate) fn published(&self) -> u16 {
        self.published
    }

    /// Whether a notification is due now.
    pub(crate) fn due(&mut self) -> bool {
        let mut due = false;
        while self.considered != self.published {
            due |= if self.by_event {
                self.considered == self.event
            } else {
                self.wanted
            };
            self.considered = self.considered.wrapping_add(1);
        }
        due
    }
}
