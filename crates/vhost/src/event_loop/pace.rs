//! For how long a ring is looked at before the loop sleeps.
//!
//! A sleep costs the driver a kick and the loop a way to sleep and back, some microseconds. Looking
//! saves both if work comes meanwhile, and else wastes a processor that somebody else may need. So
//! what came decides: work that came a little too late for the last look makes the next one longer,
//! up to a bound; work that came later than the bound makes it shorter, down to none.

use core::time::Duration;

/// The shortest that it is worth to look for.
const LOOK_MIN: Duration = Duration::from_micros(4);

/// For how long one ring is looked at.
#[derive(Debug)]
pub(super) struct Pace {
    /// Zero if it is not.
    look: Duration,
    max: Duration,
}

impl Pace {
    /// Looks for no longer than `max`.
    pub(super) fn new(max: Duration) -> Self {
        let look = Duration::ZERO;
        Self { look, max }
    }

    /// How long to look from here on.
    pub(super) fn look(&self) -> Duration {
        self.look
    }

    /// How long to look at most.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// Whether it never looks, and need not be told when work comes.
    pub(super) fn never(&self) -> bool {
        self.max.is_zero()
    }

    /// Work came so long after the last.
    pub(super) fn came_after(&mut self, quiet: Duration) {
        if quiet > self.max {
            let less = self.look / 2;
            self.look = if less < LOOK_MIN {
                Duration::ZERO
            } else {
                less
            };
        } else if quiet > self.look {
            self.look = (self.look * 2).max(LOOK_MIN).min(self.max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(50);

    #[test]
    fn a_ring_with_work_in_short_time_is_looked_at_until_that_comes_later_than_the_bound() {
        let mut pace = Pace::new(MAX);
        assert!(pace.look().is_zero());

        let soon = Duration::from_micros(30);
        let longer: Vec<_> = (0..6)
            .map(|_| {
                pace.came_after(soon);
                pace.look().as_micros()
            })
            .collect();
        let late = Duration::from_millis(1);
        let shorter: Vec<_> = (0..4)
            .map(|_| {
                pace.came_after(late);
                pace.look().as_micros()
            })
            .collect();

        assert_eq!(longer, [4, 8, 16, 32, 32, 32]);
        assert_eq!(shorter, [16, 8, 4, 0]);
    }

    #[test]
    fn no_look_is_longer_than_the_bound_whatever_it_is() {
        for max in [0, 1, 5, 50] {
            let max = Duration::from_micros(max);
            let mut pace = Pace::new(max);
            for quiet in 0..200 {
                pace.came_after(Duration::from_micros(quiet % 60));
                assert!(pace.look() <= max);
            }
            assert_eq!(pace.never(), max.is_zero());
        }
    }
}
