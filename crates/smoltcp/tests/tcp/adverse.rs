//! Bytes arrive over a network that loses, doubles and delays packets: machines that run step by step, in
//! an order that follows from a seed, and a network that follows from the same.

use core::time::Duration;
use std::sync::Arc;

use ringway_driver::net::RECEIVE_OFFLOADS;
use ringway_host::net::{Adverse, Switch, Weather};
use ringway_machine::{History, Run};
use ringway_spec::{F, Features};

use crate::host::{Host, Through, Way};
use crate::transfer;

/// How many histories there are.
const HISTORIES: u64 = 32;

/// The variable that names the one to play.
const SEED: &str = "RINGWAY_SEED";

/// In the time of the machines: TCP waits for seconds when the same segment is lost again.
const LIMIT: Duration = Duration::from_secs(600);

/// In each direction.
const WEATHER: Weather = Weather {
    lost: 50,
    doubled: 20,
    late: 50,
};

/// Says how a history that fails is played again.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "to play this history alone: {SEED}={seed} cargo test -p ringway-smoltcp --test tcp adverse"
            );
        }
    }
}

/// Tells the history of a seed: what happened on both machines, and on the network.
fn play(seed: u64) -> ([History; 2], Weather) {
    let _told = Told(seed);
    let way = Way {
        through: Through::Pci,
        ring: F::EVENT_IDX,
        mtu: 1500,
        pairs: 1,
        without: Features::NONE,
        optional: RECEIVE_OFFLOADS,
        run: Run::Inline { seed },
    };
    let switch = Switch::new();
    let network = Arc::new(Adverse::new(switch.port(), seed, WEATHER));
    let from = Host::new(way, 1, network.clone());
    let to = Host::new(way, 2, switch.port());

    let histories = transfer([from, to], way, 1 << 17, LIMIT);

    (
        histories.map(|history| history.expect("it runs step by step")),
        network.happened(),
    )
}

#[test]
fn bytes_arrive_over_a_network_that_loses_doubles_and_delays_packets() {
    let asked = std::env::var(SEED).ok();
    let asked: Option<u64> = asked.map(|seed| seed.parse().expect("RINGWAY_SEED is a number"));

    for seed in asked.map_or(0..HISTORIES, |seed| seed..seed + 1) {
        let (_, happened) = play(seed);

        // A network in which nothing happened has shown nothing.
        let Weather { lost, late, .. } = happened;
        assert!(lost > 0 && late > 0, "seed {seed}: {happened:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_adverse_history() {
    let [first, again, other] = [1, 1, 2].map(play);

    assert_eq!(first, again);
    assert_ne!(first, other);
}
