//! That tests fail when the code is taken out that obeys what they show.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::marks::TestName;
use super::program::{Ended, Program};
use super::taken_out::Entry;
use super::tree::Tree;
use crate::child::Runner;
use crate::failure::{Failure, Result};

/// Most time for one test, unless its entry has another: a machine may be busy, and code that is
/// taken out may leave a test that never ends.
const LIMIT: Duration = Duration::from_secs(60);

/// What became of the entries.
#[derive(Debug, Default, Serialize)]
pub(super) struct Proof {
    /// How many entries were tried.
    pub(super) entries: usize,
    /// Of how many each test failed.
    pub(super) proven: usize,
    /// The others.
    pub(super) unproven: Vec<Unproven>,
}

/// An entry that proves nothing.
#[derive(Debug, Serialize)]
pub(super) struct Unproven {
    clauses: Vec<String>,
    file: String,
    why: String,
}

impl Proof {
    /// What people read.
    pub(super) fn lines(&self) -> Vec<String> {
        let shown = |it: &Unproven| format!("{} ({}): {}", it.clauses.join(", "), it.file, it.why);
        let mut lines: Vec<String> = self.unproven.iter().map(shown).collect();
        let failed = self.unproven.len();
        lines.push(format!(
            "{} taken out, {} seen by their tests, {failed} not",
            self.entries, self.proven
        ));
        lines
    }
}

/// Takes out what each of `entries` says, one after the other, in a copy of `repo`, and runs their
/// tests. First it runs them with everything in place.
///
/// # Errors
///
/// The copy cannot be made, or tests cannot be built or fail with everything in place.
pub(super) fn prove(repo: &Path, run: &Runner, entries: &[Entry]) -> Result<Proof> {
    let tree = Tree::new(repo, run)?;
    let mut entries: Vec<&Entry> = entries.iter().collect();
    // Those of one file together: the least is then built again from one to the next.
    entries.sort_by(|a, b| (&a.cfg, &a.file).cmp(&(&b.cfg, &b.file)));
    in_place(&tree, run, &entries)?;
    let mut proof = Proof::default();
    for (number, entry) in (1..).zip(&entries) {
        let start = Instant::now();
        let why = taken_out(&tree, run, entry)?;
        let result = why.as_deref().unwrap_or("seen");
        eprintln!(
            "{number}/{} {}: {result} ({:.1} s)",
            entries.len(),
            entry.title(),
            start.elapsed().as_secs_f64()
        );
        proof.entries += 1;
        match why {
            None => proof.proven += 1,
            Some(why) => proof.unproven.push(Unproven {
                clauses: entry.clauses.clone(),
                file: entry.file.clone(),
                why,
            }),
        }
    }
    Ok(proof)
}

/// The programs that the tests of `entries` are in, each with its tests and the time they have.
fn programs(
    tree: &Tree,
    entries: &[&Entry],
) -> Result<BTreeMap<Program, HashMap<TestName, Duration>>> {
    let mut programs: BTreeMap<Program, HashMap<_, _>> = BTreeMap::new();
    for entry in entries {
        let limit = entry.limit.map_or(LIMIT, Duration::from_secs);
        for test in entry.tests() {
            let program = Program::of(tree, &test, entry.cfg.as_deref())?;
            let tests = programs.entry(program).or_default();
            let most = tests.entry(test).or_insert(limit);
            *most = limit.max(*most);
        }
    }
    Ok(programs)
}

/// Runs every test with everything in place: each must pass.
fn in_place(tree: &Tree, run: &Runner, entries: &[&Entry]) -> Result<()> {
    for (program, tests) in programs(tree, entries)? {
        let built = program.build(tree, run)?;
        for (test, limit) in tests {
            let ended = built.run(&program, &test, run, limit)?;
            if ended != Ended::Passed {
                return Err(Failure::new(format!(
                    "{test} does not pass with everything in place"
                )));
            }
        }
    }
    Ok(())
}

/// Runs the tests of `entry` without what it takes out. Says what is wrong if not every one failed.
fn taken_out(tree: &Tree, run: &Runner, entry: &Entry) -> Result<Option<String>> {
    let _spoilt = tree.spoil(entry)?;
    for (program, tests) in programs(tree, &[entry])? {
        let built = match program.build(tree, run) {
            Ok(built) => built,
            Err(failure) => {
                let log = String::from_utf8_lossy(&failure.output);
                let error = log.lines().find(|line| line.starts_with("error"));
                let error = error.unwrap_or(&failure.what);
                return Ok(Some(format!("does not build without it: {error}")));
            }
        };
        for (test, limit) in tests {
            if built.run(&program, &test, run, limit)? == Ended::Passed {
                return Ok(Some(format!("{test} passes without it")));
            }
        }
    }
    Ok(None)
}
