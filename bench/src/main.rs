//! Ringway's rings beside their peers' and a hand-written floor: the program that `cargo xtask
//! bench ring` counts and times.
//!
//! - `count` does each case's work between two marks that callgrind knows, see [`measure`], and
//!   names each case as it ends.
//! - `time` prints nanoseconds for each chain: minimum and median.
//! - `packets` prints cycles for each packet and virtqueue, ours and DPDK's, in turns: minimum and
//!   median.
//! - `smoke` does a few rounds of everything.
//!
//! The last two are told where testpmd is, and of an empty folder.
//!
//! A line of output is a case, a subject and numbers, with spaces between. What the numbers mean
//! stands in `docs/bench.md`.

mod case;
mod floor;
mod measure;
mod other_end;
mod ours;
mod packet;
mod rust_vmm;
mod vdrivers;

use std::error::Error;
use std::process::ExitCode;

use case::{Case, subjects};
use packet::{Effort, Peer, Processors};

/// Rounds of a smoke run: past the end of the ring.
const SMOKE_ROUNDS: usize = 300;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next();
    let mut peer = || {
        let (testpmd, folder) = (words.next()?.into(), words.next()?.into());
        Some(Peer { testpmd, folder })
    };
    let done = match (verb.as_deref().and_then(|verb| verb.to_str()), peer()) {
        (Some("count"), None) => each(count),
        (Some("time"), None) => each(time),
        (Some("packets"), Some(peer)) => packets(&peer, Effort::FULL),
        (Some("smoke"), Some(peer)) => each(smoke).and_then(|()| packets(&peer, Effort::BRIEF)),
        _ => {
            eprintln!(
                "usage: ringway-bench count|time, or packets|smoke TESTPMD FOLDER\n\
                 (`cargo xtask bench ring` runs it)"
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn each(work: fn(&Case)) -> Result<(), Box<dyn Error>> {
    for case in case::all() {
        eprintln!("{case}");
        work(&case);
    }
    Ok(())
}

fn packets(peer: &Peer, effort: Effort) -> Result<(), Box<dyn Error>> {
    let processors = Processors::allowed()?;
    for case in &packet::CASES {
        eprintln!("{}", case.name);
        for outcome in packet::measure(case, peer, processors, effort)? {
            let (name, minimum, median) = (outcome.name, outcome.minimum, outcome.median);
            println!("{} {name} {minimum:.2} {median:.2}", case.name);
        }
    }
    Ok(())
}

fn count(case: &Case) {
    for mut subject in subjects(case) {
        let chains = measure::count(&mut *subject.rounds, case.depth);
        println!("{case} {} {chains}", subject.name);
    }
}

fn time(case: &Case) {
    let mut subjects = subjects(case);
    let mut rounds: Vec<_> = subjects.iter_mut().map(|s| &mut *s.rounds).collect();
    let times = measure::time(&mut rounds, case.depth);
    for (subject, time) in subjects.iter().zip(times) {
        let (name, minimum, median) = (subject.name, time.minimum, time.median);
        println!("{case} {name} {minimum:.3} {median:.3}");
    }
}

fn smoke(case: &Case) {
    for mut subject in subjects(case) {
        for _ in 0..SMOKE_ROUNDS {
            subject.rounds.round(case.depth);
        }
        println!("{case} {} {}", subject.name, SMOKE_ROUNDS * case.depth);
    }
}
