//! For how long a ring is looked at before the loop sleeps.
//!
//! A sleep costs the driver a kick and the loop a way to sleep and back, some microseconds. Looking
//! saves both if work comes meanwhile, and else wastes a processor that somebody else may need, the
//! driver before all. What happens decides:
//!
//! - Work that came a little too late for the last look makes the next one longer, up to a bound;
//!   work that came later than the bound makes it shorter, down to none.
//! - Hits are held against misses. Where nothing comes as long as the loop looks, and then at once, the
//!   driver waits for this processor: there is a rest from looking, longer each time.
//! - Where the processor was taken away while the loop looked, others need it: likewise.

use core::time::Duration;
use std::time::Instant;

/// The shortest that it is worth to look for.
const LOOK_MIN: Duration = Duration::from_micros(4);

/// How many more misses than hits there may be.
const MISSES_MAX: i8 = 4;

/// How many hits make up for as many misses to come.
const HITS_MAX: i8 = 8;

/// The first rest, and the longest. After it, looking is tried again.
const REST_MIN: Duration = Duration::from_millis(8);
const REST_MAX: Duration = Duration::from_secs(1);

/// For how long one ring is looked at.
#[derive(Debug)]
pub(super) struct Pace {
    /// Zero if it is not.
    look: Duration,
    max: Duration,
    /// Hits less misses.
    score: i8,
    /// How long the next rest is.
    rest: Duration,
    resting_until: Option<Instant>,
}

impl Pace {
    /// Looks for no longer than `max`.
    pub(super) fn new(max: Duration) -> Self {
        Self {
            look: Duration::ZERO,
            max,
            score: 0,
            rest: REST_MIN,
            resting_until: None,
        }
    }

    /// How long to look from `now` on.
    pub(super) fn look(&mut self, now: Instant) -> Duration {
        match self.resting_until {
            Some(until) if now < until => return Duration::ZERO,
            _ => self.resting_until = None,
        }
        self.look
    }

    /// How long to look at most.
    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// Whether it never looks, and need not be told anything.
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

    /// Something was found by looking.
    pub(super) fn hit(&mut self) {
        self.score = self.score.saturating_add(1);
        if self.score >= HITS_MAX {
            self.score = HITS_MAX;
            self.rest = REST_MIN;
        }
    }

    /// Nothing was found by looking for as long as it should, until `now`.
    pub(super) fn missed(&mut self, now: Instant) {
        self.score = self.score.saturating_sub(1);
        if self.score <= -MISSES_MAX {
            self.take_rest(now);
        }
    }

    /// The processor was taken away while it was looked.
    pub(super) fn take_rest(&mut self, now: Instant) {
        self.score = 0;
        self.resting_until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(REST_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_micros(50);

    #[test]
    fn a_ring_with_work_in_short_time_is_looked_at_until_that_comes_later_than_the_bound() {
        let mut pace = Pace::new(MAX);
        let now = Instant::now();
        assert!(pace.look(now).is_zero());

        let soon = Duration::from_micros(30);
        let longer: Vec<_> = (0..6)
            .map(|_| {
                pace.came_after(soon);
                pace.look(now).as_micros()
            })
            .collect();
        let late = Duration::from_millis(1);
        let shorter: Vec<_> = (0..4)
            .map(|_| {
                pace.came_after(late);
                pace.look(now).as_micros()
            })
            .collect();

        assert_eq!(longer, [4, 8, 16, 32, 32, 32]);
        assert_eq!(shorter, [16, 8, 4, 0]);
    }

    #[test]
    fn no_look_is_longer_than_the_bound_whatever_it_is() {
        for max in [0, 1, 5, 50] {
            let max = Duration::from_micros(max);
            let (mut pace, now) = (Pace::new(max), Instant::now());
            for quiet in 0..200 {
                pace.came_after(Duration::from_micros(quiet % 60));
                assert!(pace.look(now) <= max);
            }
            assert_eq!(pace.never(), max.is_zero());
        }
    }

    /// A driver on the same processor: it can go on only when the loop sleeps, and does so at once.
    #[test]
    fn a_driver_that_waits_for_this_processor_gets_it() {
        let (mut pace, mut now) = (Pace::new(MAX), Instant::now());
        let (turn, mut looked) = (Duration::from_micros(5), Duration::ZERO);
        let began = now;

        for _ in 0..100_000 {
            let look = pace.look(now);
            now += look + turn;
            looked += look;
            if !look.is_zero() {
                pace.missed(now);
            }
            pace.came_after(look + turn);
        }

        let share = looked.as_secs_f64() / (now - began).as_secs_f64();
        assert!(share < 0.02, "{share} of the time");
    }

    #[test]
    fn hits_make_up_for_misses_and_rests_end() {
        let (mut pace, now) = (Pace::new(MAX), Instant::now());
        pace.came_after(MAX / 2);

        for _ in 0..100 {
            pace.missed(now);
            pace.missed(now);
            pace.hit();
            pace.hit();
        }
        let paid = !pace.look(now).is_zero();
        pace.take_rest(now);

        assert!(paid);
        assert!(pace.look(now).is_zero());
        assert!(!pace.look(now + REST_MIN).is_zero());
        assert!(!pace.look(now).is_zero(), "the rest is over");
        for _ in 0..20 {
            pace.take_rest(now);
        }
        assert!(!pace.look(now + REST_MAX).is_zero());
    }
}
