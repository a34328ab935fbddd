//! Ringway's rings beside their peers' and a hand-written floor: the program that `cargo xtask
//! bench ring` counts and times.
//!
//! - `count` does each case's work between two marks that callgrind knows, see [`measure`], and
//!   names each case as it ends.
//! - `time` prints nanoseconds for each chain: minimum and median.
//! - `smoke` does a few rounds of everything.
//!
//! The name of a case after either does only that one. A line of output is a case, a subject and numbers, with spaces between. What the numbers mean
//! stands in `docs/bench.md`.

mod case;
mod floor;
mod measure;
mod other_end;
mod ours;
mod rust_vmm;
mod vdrivers;

use std::process::ExitCode;

use case::{Case, subjects};

/// Rounds of a smoke run: past the end of the ring.
const SMOKE_ROUNDS: usize = 300;

fn main() -> ExitCode {
    let each = match std::env::args().nth(1).as_deref() {
        Some("count") => count,
        Some("time") => time,
        Some("smoke") => smoke,
        _ => {
            eprintln!(
                "usage: ringway-bench count|time|smoke [CASE] (`cargo xtask bench ring` runs it)"
            );
            return ExitCode::from(2);
        }
    };
    let only = std::env::args().nth(2);
    let chosen = |case: &Case| only.as_ref().is_none_or(|name| *name == case.to_string());
    for case in case::all().into_iter().filter(chosen) {
        eprintln!("{case}");
        each(&case);
    }
    ExitCode::SUCCESS
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
