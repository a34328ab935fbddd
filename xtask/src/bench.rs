//! Our rings beside their peers': builds the program in `bench/`, counts under callgrind, times,
//! and makes one table of both.

mod net;
mod notify;
mod rates;
mod table;
mod vhost;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Runner;
use crate::failure::{Failure, Result};
use crate::fetch::{self, Found};
use crate::pieces::Desk;
use crate::pieces::cargo::{LIMIT as BUILD_LIMIT, cargo};
use crate::scratch::Scratch;

pub(crate) use net::net;
pub(crate) use notify::notify;
pub(crate) use table::Table;
pub(crate) use vhost::{smoke as vhost_smoke, vhost};

/// The workspace of the benchmarks.
pub(crate) const WORKSPACE: &str = "bench/Cargo.toml";
/// Its program, below the repository.
const PROGRAM: &str = "bench/target/release/ringway-bench";
/// Most time for one run of the program.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The names that the program gives to what the harness costs, and to our own work.
const EMPTY: &str = "empty";
const OURS: &str = "ours";

/// Measures the rings.
///
/// # Errors
///
/// valgrind or DPDK is missing, or a build or a run failed.
pub(crate) fn ring(verbose: bool, repo: &Path) -> Result<Table> {
    let desk = |topic| Desk {
        repo,
        run: Runner { verbose, topic },
    };
    let valgrind = valgrind(&desk("bench").run)?;
    let dpdk = fetch::DPDK.find(&desk("DPDK").run, repo)?;
    build(&desk("building"))?;
    let counts = count(&desk("counting"))?;
    let timing = desk("timing").run;
    let times = timing.succeed(Command::new(repo.join(PROGRAM)).arg("time"), LIMIT)?;
    let packets = beside_dpdk(&desk("packets"), &dpdk, "packets")?;
    let notes = vec![
        format!("Chains: for one, less what an empty harness costs. Counted by {valgrind}."),
        format!(
            "Packets: 64 bytes, for one virtqueue that one crosses. DPDK {}; no huge pages at either.",
            dpdk.version
        ),
        "packed, inorder: no peer has them; theirs is the floor's.".to_owned(),
        "ratio = ours / theirs; beside says whose theirs is.".to_owned(),
    ];
    Table::new(&counts, &lines(&times.stdout)?, &packets, notes)
}

/// Builds the program and does a few rounds of every case with every subject.
pub(crate) fn smoke(desk: &Desk<'_>) -> Result<Vec<String>> {
    let dpdk = fetch::DPDK.find(&desk.run, desk.repo)?;
    build(desk)?;
    let ran = beside_dpdk(desk, &dpdk, "smoke")?.len();
    Ok(vec![format!("{ran} subjects of cases ran")])
}

/// Runs a verb of the program that needs DPDK.
fn beside_dpdk(desk: &Desk<'_>, dpdk: &Found, verb: &str) -> Result<Vec<(Key, Numbers)>> {
    let scratch = Scratch::new("packets")?;
    let mut command = Command::new(desk.repo.join(PROGRAM));
    command.arg(verb).arg(&dpdk.path).arg(scratch.path());
    lines(&desk.run.succeed(&mut command, LIMIT)?.stdout)
}

fn build(desk: &Desk<'_>) -> Result<()> {
    let args = [
        "build",
        "--locked",
        "--release",
        "--manifest-path",
        WORKSPACE,
    ];
    desk.run.succeed(&mut cargo(desk, &args), BUILD_LIMIT)?;
    Ok(())
}

/// The version of valgrind, which must be there.
fn valgrind(run: &Runner) -> Result<String> {
    let mut command = Command::new("valgrind");
    let done = run.succeed(command.arg("--version"), LIMIT).map_err(|e| {
        Failure::new(format!(
            "{e}\nInstructions are counted by valgrind, which is missing: install it with the \
                 system's packages, for example `apt install valgrind`."
        ))
    })?;
    Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned())
}

/// Numbers of a subject in a case.
type Numbers = Vec<f64>;

/// Instructions for each chain, in the order of the program.
fn count(desk: &Desk<'_>) -> Result<Vec<(Key, Numbers)>> {
    let scratch = Scratch::new("bench")?;
    let out = scratch.path().join("part");
    let mut command = Command::new("valgrind");
    command
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .args(["--toggle-collect=*counted_*", "--zero-before=*mark_begin*"])
        .arg("--dump-after=*mark_end*")
        .arg(desk.repo.join(PROGRAM))
        .arg("count");
    let done = desk.run.succeed(&mut command, LIMIT)?;
    let mut counts = lines(&done.stdout)?;
    for (at, (_, numbers)) in counts.iter_mut().enumerate() {
        // One part for each line, from 1 on.
        let part = scratch.path().join(format!("part.{}", at + 1));
        let text = fs::read_to_string(&part).map_err(Failure::io("read", &part))?;
        let total = total(&text)
            .ok_or_else(|| Failure::new("callgrind counted nothing between two marks"))?;
        for number in numbers {
            // The program gave the number of chains.
            *number = total / *number;
        }
    }
    Ok(counts)
}

/// What a part of callgrind's output has counted, unless that is nothing, or it was not written at
/// a mark.
fn total(part: &str) -> Option<f64> {
    part.lines()
        .find(|line| line.starts_with("desc: Trigger:") && line.contains("mark_end"))?;
    let total = part
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok().filter(|total| *total > 0.0)
}

/// A case and a subject.
type Key = (String, String);

/// What the program printed: lines of a case, a subject and numbers.
fn lines(stdout: &[u8]) -> Result<Vec<(Key, Numbers)>> {
    let text = String::from_utf8_lossy(stdout);
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let key = (words.next()?.to_owned(), words.next()?.to_owned());
        let numbers: Numbers = words.map(str::parse).collect::<Result<_, _>>().ok()?;
        (!numbers.is_empty()).then_some((key, numbers))
    };
    text.lines()
        .map(|line| {
            parse(line).ok_or_else(|| Failure::new(format!("the program printed `{line}`")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_case_a_subject_and_numbers() {
        let found = lines(b"driver-split-1-d1 ours 8.5 9\n").unwrap();

        let key = ("driver-split-1-d1".to_owned(), "ours".to_owned());
        assert_eq!(found, [(key, vec![8.5, 9.0])]);
        assert!(lines(b"driver-split-1-d1 ours\n").is_err());
        assert!(lines(b"thread panicked at\n").is_err());
    }

    #[test]
    fn a_part_that_was_not_written_at_a_mark_has_no_total() {
        let part = |why: &str, total| format!("part: 1\ndesc: Trigger: {why}\ntotals: {total}\n");

        assert_eq!(total(&part("--dump-after=a::mark_end", 90)), Some(90.0));
        assert_eq!(total(&part("--dump-after=a::mark_end", 0)), None);
        assert_eq!(total(&part("Program termination", 90)), None);
    }
}
