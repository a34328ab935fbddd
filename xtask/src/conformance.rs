//! Which clauses of the specification our tests show, and that they would fail if the code did not
//! obey them.
//!
//! Spec: VIRTIO 1.4 §7 "Conformance".

mod clauses;
mod coverage;
mod marks;
mod program;
mod prove;
mod taken_out;
mod tree;

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::child::Runner;
use crate::failure::{Failure, Result};
use clauses::{Clauses, FOLDER};
use coverage::{Coverage, Filter};
use marks::Marks;
use taken_out::Entry;

/// How many clauses of each section and role are covered at least.
const FLOOR: &str = "floor.tsv";

/// What is asked.
#[derive(clap::Args)]
pub(crate) struct Asked {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Only this section, with what is not covered.
    #[arg(long)]
    section: Option<String>,
    /// Only this role: driver, device, legacy or text; with what is not covered.
    #[arg(long)]
    role: Option<String>,
    /// Take out the code that obeys clauses, and see their tests fail: all, or those whose ids begin
    /// so.
    #[arg(long, value_name = "ID", num_args = 0.., conflicts_with_all = ["section", "role"])]
    prove: Option<Vec<String>>,
    /// Show everything that is printed meanwhile.
    #[arg(long)]
    verbose: bool,
}

/// Answers `asked`, in lines.
///
/// # Errors
///
/// Marks or entries are wrong, as [`check`] finds; or a test passes without the code that it is to
/// see.
pub(crate) fn answer(root: &Path, asked: Asked) -> Result<Vec<String>> {
    let all = All::read(root)?;
    if let Some(ids) = &asked.prove {
        let run = Runner {
            verbose: asked.verbose,
            topic: "conformance",
        };
        return all.prove(root, &run, ids, asked.json);
    }
    let filter = Filter {
        section: asked.section,
        role: asked.role,
    };
    let coverage = all.coverage(&filter);
    if coverage.sections.is_empty() {
        return Err(Failure::new(
            "no such section has clauses for such a role; without `--section` and `--role` all are listed",
        ));
    }
    if asked.json {
        return Ok(vec![json(&coverage)?]);
    }
    let mut lines = coverage.lines(filter.is_narrow());
    if !all.not_ours.is_empty() {
        lines.push(String::new());
        lines.push("not ours to obey:".to_owned());
    }
    let reasons = all.not_ours.iter();
    lines.extend(reasons.map(|(id, reason)| format!("{id}: {reason}")));
    Ok(lines)
}

/// Checks marks and entries against each other and the clauses, and what is covered against the
/// floor. Quick: nothing is built.
///
/// # Errors
///
/// A mark names no clause or is at no test that runs; a mark has no entry or an entry no mark; what
/// an entry takes out is not there, once; or less is covered than was.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let all = All::read(root)?;
    let coverage = all.coverage(&Filter::default());
    let path = root.join(FOLDER).join(FLOOR);
    let floor = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let below = below(&floor, &coverage);
    if !below.is_empty() {
        return Err(Failure::new(below.join("\n")));
    }
    let covered: usize = coverage.sections.iter().map(|it| it.covered).sum();
    Ok(vec![format!(
        "{covered} clauses covered, {} entries prove it",
        all.entries.len()
    )])
}

/// Proves every entry.
///
/// # Errors
///
/// As [`check`], or a test passes without the code that it is to see.
pub(crate) fn prove_all(root: &Path, run: &Runner) -> Result<Vec<String>> {
    All::read(root)?.prove(root, run, &[], false)
}

/// Everything that is known about conformance.
struct All {
    clauses: Clauses,
    marks: Marks,
    entries: Vec<Entry>,
    not_ours: Vec<(String, String)>,
}

impl All {
    /// Reads it, and finds it consistent.
    fn read(root: &Path) -> Result<Self> {
        let clauses = Clauses::read(root)?;
        let not_ours = clauses::not_ours(root, &clauses)?;
        let all = Self {
            marks: Marks::read(root)?,
            entries: taken_out::read(root)?,
            not_ours,
            clauses,
        };
        let mut faults = all.marks.wrong.clone();
        faults.extend(all.strangers());
        faults.extend(taken_out::faults(root, &all.entries, &all.marks.marks)?);
        if faults.is_empty() {
            Ok(all)
        } else {
            Err(Failure::new(faults.join("\n")))
        }
    }

    /// Marks of clauses that are not there, or not ours.
    fn strangers(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for mark in &self.marks.marks {
            let (id, test) = (&mark.clause, &mark.test);
            if self.clauses.find(id).is_none() {
                faults.push(format!("{test}: no clause is {id}"));
            }
            if self.not_ours.iter().any(|(other, _)| other == id) {
                faults.push(format!("{test} shows {id}, which is listed as not ours"));
            }
        }
        faults
    }

    fn coverage(&self, filter: &Filter) -> Coverage<'_> {
        let marks = self.marks.marks.iter();
        let covered: HashSet<&str> = marks.map(|mark| mark.clause.as_str()).collect();
        Coverage::new(&self.clauses, &covered, filter)
    }

    /// Proves the entries of clauses whose ids begin with one of `ids`, or all if there is none.
    fn prove(
        &self,
        root: &Path,
        run: &Runner,
        ids: &[String],
        as_json: bool,
    ) -> Result<Vec<String>> {
        let asked = |entry: &&Entry| {
            let begins = |id: &String| entry.clauses.iter().any(|it| it.starts_with(id.as_str()));
            ids.is_empty() || ids.iter().any(begins)
        };
        let entries: Vec<Entry> = self.entries.iter().filter(asked).cloned().collect();
        if entries.is_empty() {
            return Err(Failure::new("no entry is of such a clause"));
        }
        let proof = prove::prove(root, run, &entries)?;
        if as_json {
            let json = json(&proof)?;
            return if proof.unproven.is_empty() {
                Ok(vec![json])
            } else {
                println!("{json}");
                Err(Failure::new(
                    "tests pass without the code that they are to see",
                ))
            };
        }
        let lines = proof.lines();
        if proof.unproven.is_empty() {
            Ok(lines)
        } else {
            Err(Failure::new(lines.join("\n")))
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Failure::new(format!("cannot be written as JSON: {e}")))
}

/// The rows of `floor` that `coverage` is below.
fn below(floor: &str, coverage: &Coverage<'_>) -> Vec<String> {
    let mut below = Vec::new();
    for line in floor.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let row = match cells.as_slice() {
            [section, role, least] => least.parse::<usize>().ok().map(|l| (*section, *role, l)),
            _ => None,
        };
        let Some((section, role, least)) = row else {
            below.push(format!(
                "{FLOOR}: `{line}` is not a section, a role and a number"
            ));
            continue;
        };
        let is_it = |it: &&coverage::Section<'_>| it.section == section && it.role == role;
        let covered = coverage
            .sections
            .iter()
            .find(is_it)
            .map_or(0, |it| it.covered);
        if covered < least {
            below.push(format!(
                "{section}, {role}: {covered} clauses are covered, and {FLOOR} demands {least}"
            ));
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_the_floor_is_named() {
        let clauses = clauses::tests::table(&[("drv:a:1", "MUST"), ("drv:a:2", "MUST")]);
        let covered = HashSet::from(["drv:a:1"]);
        let coverage = Coverage::new(&clauses, &covered, &Filter::default());

        let enough = below("head\na\tdriver\t1\n", &coverage);
        let short = below("head\na\tdriver\t2\nb\tdriver\t1\nx\n", &coverage);

        assert!(enough.is_empty(), "{enough:?}");
        assert_eq!(short.len(), 3);
        assert!(short[0].starts_with("a, driver: 1 clauses"));
    }

    #[test]
    fn every_mark_of_this_repository_has_its_entry_and_every_entry_its_mark() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");

        let checked = check(&root);

        assert!(checked.is_ok(), "{}", checked.err().unwrap());
    }
}
