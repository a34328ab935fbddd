//! What became of packets.

use super::frame::{Judged, Name};

/// What became of the packets of one flow.
#[derive(Debug)]
pub(super) struct Ledger {
    flow: u16,
    /// How many there will be.
    total: u64,
    /// How many were sent, the first ones.
    sent: u64,
    /// Of each packet, whether it came back.
    back: Vec<u64>,
    /// The highest that came back, and one.
    next: u64,
    pub(super) counts: Counts,
}

/// How many packets there were, and of what kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    /// Those that came back, each once.
    pub(super) received: u64,
    pub(super) received_bytes: u64,
    /// Of those, how many came after one that was sent after them.
    pub(super) reordered: u64,
    /// Of those, how many had other bytes.
    pub(super) corrupted: u64,
    /// How many came back once more.
    pub(super) duplicated: u64,
    /// Packets that nobody here has sent.
    pub(super) foreign: u64,
}

impl Ledger {
    pub(super) fn new(flow: u16, total: u64) -> Self {
        let words = usize::try_from(total.div_ceil(64)).unwrap_or(usize::MAX);
        Self {
            flow,
            total,
            sent: 0,
            back: vec![0; words],
            next: 0,
            counts: Counts::default(),
        }
    }

    /// The packet to be sent next, if there is one, and fewer than `most` are on their way.
    pub(super) fn next(&self, most: u64) -> Option<Name> {
        let is_due = self.sent < self.total && self.on_their_way() < most;
        is_due.then_some(Name {
            flow: self.flow,
            number: self.sent,
        })
    }

    /// The next packet was sent, with so many bytes.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent += 1;
        self.counts.sent += 1;
        self.counts.sent_bytes += bytes as u64;
    }

    /// A packet of so many bytes came that was judged so. Says whether it was waited for.
    pub(super) fn came(&mut self, judged: Judged, bytes: usize) -> bool {
        let (Judged::Whole(name) | Judged::Corrupted(name)) = judged else {
            self.counts.foreign += 1;
            return false;
        };
        let number = name.number;
        let word = usize::try_from(number / 64).ok();
        let word = word.and_then(|word| self.back.get_mut(word));
        let Some(word) = word.filter(|_| number < self.sent) else {
            // None was sent that is called so.
            self.counts.foreign += 1;
            return false;
        };
        let bit = 1 << (number % 64);
        if *word & bit != 0 {
            self.counts.duplicated += 1;
            return false;
        }
        *word |= bit;
        self.counts.received += 1;
        self.counts.received_bytes += bytes as u64;
        self.counts.reordered += u64::from(number < self.next);
        self.counts.corrupted += u64::from(matches!(judged, Judged::Corrupted(_)));
        self.next = self.next.max(number + 1);
        true
    }

    /// How many did not come back yet.
    pub(super) fn on_their_way(&self) -> u64 {
        self.counts.sent - self.counts.received
    }

    /// Whether all were sent, and came back.
    pub(super) fn is_done(&self) -> bool {
        self.counts.received == self.total
    }
}

impl Counts {
    pub(super) fn lost(&self) -> u64 {
        self.sent - self.received
    }

    /// Whether every packet that was sent came back once, as it was, and in its turn.
    pub(super) fn are_good(&self) -> bool {
        self.lost() == 0 && self.reordered == 0 && self.corrupted == 0 && self.duplicated == 0
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.duplicated += other.duplicated;
        self.foreign += other.foreign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: u16 = 2;

    fn ledger(total: u64, sent: u64) -> Ledger {
        let mut ledger = Ledger::new(FLOW, total);
        (0..sent).for_each(|_| ledger.sent(100));
        ledger
    }

    fn whole(number: u64) -> Judged {
        Judged::Whole(Name { flow: FLOW, number })
    }

    #[test]
    fn no_more_are_sent_than_there_are_or_may_be_on_their_way() {
        let mut ledger = ledger(5, 3);

        let full = ledger.next(3);
        ledger.came(whole(0), 100);
        let next = ledger.next(3);
        ledger.sent(100);
        ledger.sent(100);
        let after_all = ledger.next(u64::MAX);

        let name = Name {
            flow: FLOW,
            number: 3,
        };
        assert_eq!((full, next, after_all), (None, Some(name), None));
    }

    #[test]
    fn each_packet_is_counted_once_by_what_became_of_it() {
        let mut ledger = ledger(100, 90);
        let corrupted = Judged::Corrupted(Name {
            flow: FLOW,
            number: 70,
        });

        let waited_for = [whole(0), whole(80), whole(64), corrupted].map(|it| ledger.came(it, 60));
        let not = [
            whole(80),
            whole(90),
            whole(u64::MAX),
            corrupted,
            Judged::Foreign,
        ]
        .map(|it| ledger.came(it, 60));

        assert_eq!((waited_for, not), ([true; 4], [false; 5]));
        let counts = Counts {
            sent: 90,
            sent_bytes: 9000,
            received: 4,
            received_bytes: 240,
            reordered: 2,
            corrupted: 1,
            duplicated: 2,
            foreign: 3,
        };
        assert_eq!(ledger.counts, counts);
        assert_eq!((counts.lost(), ledger.on_their_way()), (86, 86));
        assert!(!counts.are_good() && !ledger.is_done());
    }

    #[test]
    fn all_is_well_if_all_came_back_in_their_turn() {
        let mut ledger = ledger(70, 70);

        let mut waited_for = (0..70).map(|number| ledger.came(whole(number), 60));

        assert!(waited_for.all(|it| it));
        assert!(ledger.is_done() && ledger.counts.are_good());
    }
}
