//! Histories that follow from a seed: what they begin with, how many there are, and how a failing
//! one is told and played again.

use std::collections::BTreeSet;
use std::fmt::Debug;

use ringway_check::exercise::Numbers;
use ringway_check::hostile::Conduct;
use ringway_ring::driver::Geometry;
use ringway_spec::{F, Features};

use crate::seam::INTERPOSED;

/// Histories of each program.
const HISTORIES: u64 = 10_000;
/// The variable that names the one to play.
const SEED: &str = "RINGWAY_SEED";

/// Plays the histories of one program: all, or the one that was asked for. Each ends with the rule
/// that was broken, if one was; in all of them together, each of `rules` must have been. `test` is the
/// name of the test that does this.
pub(crate) fn play<V: Debug>(
    test: &'static str,
    rules: &[&str],
    history: impl Fn(Setup) -> Option<V>,
) {
    let asked = std::env::var(SEED).ok();
    let asked: Option<u64> = asked.map(|seed| seed.parse().expect("RINGWAY_SEED is a number"));
    let seeds = asked.map_or(0..HISTORIES, |seed| seed..seed + 1);
    let mut broken = BTreeSet::new();
    for seed in seeds {
        let _told = Told { test, seed };
        if let Some(violation) = history(Setup::new(seed)) {
            broken.insert(name(&violation));
        }
    }
    let never: Vec<_> = rules
        .iter()
        .filter(|rule| !broken.contains(**rule))
        .collect();
    assert!(
        asked.is_some() || never.is_empty(),
        "never broken: {never:?}"
    );
}

/// What a rule is called, without the numbers that come with it.
pub(crate) fn name(violation: &impl Debug) -> String {
    let name = format!("{violation:?}");
    let end = name.find(|c: char| !c.is_alphanumeric());
    name[..end.unwrap_or(name.len())].to_owned()
}

/// Says how a history that fails is played again.
struct Told {
    test: &'static str,
    seed: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let flags = if INTERPOSED {
                "RUSTFLAGS='--cfg ringway_interpose' CARGO_TARGET_DIR=target/interpose "
            } else {
                ""
            };
            let Self { test, seed } = self;
            eprintln!(
                "to play this history alone: \
                 {flags}{SEED}={seed} cargo test -p ringway-check --test hostile {test}"
            );
        }
    }
}

/// What a history begins with.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) seed: u64,
    pub(crate) size: u16,
    pub(crate) features: Features,
    pub(crate) start: u16,
    pub(crate) conduct: Conduct,
    /// Between two reads, the peer acts one time in so many.
    pub(crate) haste: u64,
    table: u16,
}

impl Setup {
    /// Every second one is honest.
    pub(crate) fn new(seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut features = Features::NONE;
        for feature in [
            F::INDIRECT_DESC,
            F::EVENT_IDX,
            F::IN_ORDER,
            F::ORDER_PLATFORM,
        ] {
            if numbers.below(2) == 0 {
                features |= feature;
            }
        }
        let one_in = 1 << numbers.below(7);
        let size = if numbers.below(2) == 0 {
            1 << numbers.below(6)
        } else {
            1 + numbers.below(20) as u16
        };
        Self {
            seed,
            size,
            features,
            // The 16-bit wrap, and in a packed ring the end of a lap, is near.
            start: 0_u16.wrapping_sub(numbers.below(3 * u64::from(size)) as u16),
            conduct: if seed.is_multiple_of(2) {
                Conduct::Honest
            } else {
                Conduct::Hostile { one_in }
            },
            haste: 1 + numbers.below(8),
            table: numbers.below(6) as u16,
        }
    }

    /// The same of a split ring.
    pub(crate) fn split(self) -> Self {
        Self {
            size: self.size.next_power_of_two(),
            ..self
        }
    }

    /// The same of a packed ring.
    pub(crate) fn packed(self) -> Self {
        Self {
            features: self.features | F::RING_PACKED,
            ..self
        }
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.conduct == Conduct::Honest
    }

    pub(crate) fn geometry(&self) -> Geometry {
        let table = self.table.min(self.size);
        if self.features.contains(F::RING_PACKED) {
            Geometry::packed(self.size, table).unwrap()
        } else {
            Geometry::new(self.size, table).unwrap()
        }
    }
}
