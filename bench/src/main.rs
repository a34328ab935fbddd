//! Ringway's rings beside their peers' and a hand-written floor: the program that `cargo xtask
//! bench ring` counts and times.
//!
//! - `count` does each case's work between two marks that callgrind knows, see [`measure`], and
//!   names each case as it ends.
//! - `time` prints nanoseconds for each chain: minimum and median.
//! - `packets` prints cycles for each packet and virtqueue, ours and DPDK's, in turns: minimum and
//!   median.
//! - `net` prints millions of packets a second through a network card, ours and DPDK's, in turns: median
//!   and maximum.
//! - `laps` prints our half of `packets`, without DPDK: for a profiler, and to compare two of ours.
//!   It is told how many turns.
//! - `smoke` does a few rounds of everything before.
//! - `vhost` prints requests a second over vhost-user, ours and a peer's, in turns: median and
//!   maximum; `vhost-smoke` does so in no time.
//!
//! `packets`, `net` and `smoke` are told where testpmd is, and of an empty folder; `vhost` and
//! `vhost-smoke`, where ringway and qemu-storage-daemon are, of an empty folder, and of one in
//! memory. The name of a case at the end does only that one.
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
mod vhost;

use std::error::Error;
use std::process::ExitCode;

use case::{Case, subjects};
use packet::{Effort, Ours, Peer, Processors};
use vhost::{Pace, Programs};

/// Rounds of a smoke run: past the end of the ring.
const SMOKE_ROUNDS: usize = 300;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["count", ref only @ ..] => each(only, count),
        ["time", ref only @ ..] => each(only, time),
        ["packets", testpmd, folder, ref only @ ..] => {
            packets(only, Ours::Rings, &Peer::new(testpmd, folder), Effort::FULL)
        }
        ["net", testpmd, folder, ref only @ ..] => cards(only, &Peer::new(testpmd, folder)),
        ["laps", turns, ref only @ ..] => laps(only, turns),
        ["smoke", testpmd, folder, ref only @ ..] => each(only, smoke).and_then(|()| {
            let peer = Peer::new(testpmd, folder);
            packets(only, Ours::Rings, &peer, Effort::BRIEF)?;
            packets(only, Ours::Cards, &peer, Effort::BRIEF)
        }),
        ["vhost", ringway, daemon, folder, memory, ref only @ ..] => {
            let programs = Programs::new(ringway, daemon, folder, memory);
            requests(only, &programs, Pace::FULL)
        }
        [
            "vhost-smoke",
            ringway,
            daemon,
            folder,
            memory,
            ref only @ ..,
        ] => {
            let programs = Programs::new(ringway, daemon, folder, memory);
            requests(only, &programs, Pace::BRIEF)
        }
        _ => {
            eprintln!(
                "usage: ringway-bench count|time [CASE], laps TURNS [CASE], or packets|net|smoke TESTPMD FOLDER [CASE], or\n\
                 vhost|vhost-smoke RINGWAY DAEMON FOLDER FOLDER [CASE]\n\
                 (`cargo xtask bench` runs it)"
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

/// Whether a case of this name is to be done: all are, if none is named.
fn chosen(only: &[&str], name: &str) -> bool {
    only.is_empty() || only.contains(&name)
}

fn each(only: &[&str], work: fn(&Case)) -> Result<(), Box<dyn Error>> {
    for case in case::all() {
        if chosen(only, &case.to_string()) {
            eprintln!("{case}");
            work(&case);
        }
    }
    Ok(())
}

fn packets(only: &[&str], ours: Ours, peer: &Peer, effort: Effort) -> Result<(), Box<dyn Error>> {
    let processors = Processors::with_counter()?;
    for case in cases(only, ours) {
        eprintln!("{}", case.name);
        for outcome in packet::measure(case, peer, processors, effort)? {
            print_packets(case.name, &outcome);
        }
    }
    Ok(())
}

fn cards(only: &[&str], peer: &Peer) -> Result<(), Box<dyn Error>> {
    let processors = Processors::with_counter()?;
    let rate = packet::counter_rate();
    for case in cases(only, Ours::Cards) {
        eprintln!("{}", case.name);
        for outcome in packet::measure(case, peer, processors, Effort::FULL)? {
            // A packet that goes there and back crosses two virtqueues.
            let millions = |cycles: f64| rate / (2.0 * cycles);
            let (median, most) = (millions(outcome.median), millions(outcome.minimum));
            println!("{} {} {median:.3} {most:.3}", case.name, outcome.name);
        }
    }
    Ok(())
}

fn cases<'o>(only: &'o [&str], ours: Ours) -> impl Iterator<Item = &'static packet::Case> + 'o {
    let cases = packet::CASES.iter();
    cases.filter(move |case| case.ours == ours && chosen(only, case.name))
}

fn laps(only: &[&str], turns: &str) -> Result<(), Box<dyn Error>> {
    let processors = Processors::allowed()?;
    let turns = turns.parse()?;
    let effort = Effort {
        turns,
        ..Effort::FULL
    };
    for case in packet::CASES.iter().filter(|case| chosen(only, case.name)) {
        print_packets(case.name, &packet::laps(case, processors, effort)?);
    }
    Ok(())
}

fn print_packets(case: &str, outcome: &packet::Outcome) {
    let (name, minimum, median) = (outcome.name, outcome.minimum, outcome.median);
    println!("{case} {name} {minimum:.2} {median:.2}");
}

fn requests(only: &[&str], programs: &Programs, pace: Pace) -> Result<(), Box<dyn Error>> {
    vhost::measure(&|name| chosen(only, name), programs, pace, &mut |line| {
        println!("{line}");
    })
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
