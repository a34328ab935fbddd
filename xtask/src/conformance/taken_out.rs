//! What code obeys a clause, and what stands in its place when it is taken out.
//!
//! Each file in `docs/conformance/taken-out` has entries like this one:
//!
//! ```toml
//! [[taken-out]]
//! clauses = ["drv:basic/device-status-field:2"]
//! file = "crates/driver/src/bringup/link.rs"
//! there = "let status = self.status | bit;"
//! instead = "let status = bit;"
//! tests = ["crates/driver/src/bringup/tests.rs::status_bits_are_added"]
//! ```

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::clauses::FOLDER;
use super::marks::{Mark, TestName};
use crate::failure::{Failure, Result};

/// Where the entries are, in [`FOLDER`].
const ENTRIES: &str = "taken-out";

/// One change of the sources that breaks clauses, and the tests that see it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The ids of the clauses that are then not obeyed.
    pub(super) clauses: Vec<String>,
    /// The file that is changed.
    pub(super) file: String,
    /// What is there, once.
    pub(super) there: String,
    /// What is put in its place.
    pub(super) instead: String,
    /// The tests that must then fail, each as `FILE::FUNCTION`.
    pub(super) tests: Vec<String>,
    /// What the tests are compiled with: `loom`, `ringway_interpose`.
    pub(super) cfg: Option<String>,
    /// Seconds that a test may take, if not the usual.
    pub(super) limit: Option<u64>,
}

impl Entry {
    /// The tests that must fail. Names that cannot be are left out; [`faults`] tells of them.
    pub(super) fn tests(&self) -> impl Iterator<Item = TestName> {
        self.tests.iter().filter_map(|text| TestName::parse(text))
    }

    /// For people: its clauses.
    pub(super) fn title(&self) -> String {
        self.clauses.join(", ")
    }

    /// The marks that it stands behind: each of its tests, for each of its clauses.
    fn marks(&self) -> impl Iterator<Item = Mark> {
        self.tests().flat_map(|test| {
            let mark = move |clause: &String| Mark {
                clause: clause.clone(),
                test: test.clone(),
            };
            self.clauses.iter().map(mark)
        })
    }
}

/// A file of entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "taken-out")]
    entries: Vec<Entry>,
}

/// Reads all entries of the repository `root`, in the order of the files' names.
///
/// # Errors
///
/// A file cannot be read, or is none of entries.
pub(super) fn read(root: &Path) -> Result<Vec<Entry>> {
    let folder = root.join(FOLDER).join(ENTRIES);
    let listed = fs::read_dir(&folder).map_err(Failure::io("list", &folder))?;
    let mut paths = Vec::new();
    for entry in listed {
        paths.push(entry.map_err(Failure::io("list", &folder))?.path());
    }
    paths.sort();
    let mut entries = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
        let file: File =
            toml::from_str(&text).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        entries.extend(file.entries);
    }
    Ok(entries)
}

/// What is wrong with the entries, seen from the marks: each mark has an entry of its test and its
/// clause; each clause of an entry and each test of it has such a mark; and what an entry takes out
/// is there, once.
pub(super) fn faults(root: &Path, entries: &[Entry], marks: &[Mark]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let marked: HashSet<&Mark> = marks.iter().collect();
    let mut proven = HashSet::new();
    for entry in entries {
        let title = entry.title();
        for text in &entry.tests {
            if TestName::parse(text).is_none() {
                faults.push(format!("{title}: `{text}` is not FILE::FUNCTION"));
            }
        }
        let (both, _): (Vec<Mark>, Vec<Mark>) =
            entry.marks().partition(|mark| marked.contains(mark));
        for clause in &entry.clauses {
            if !both.iter().any(|mark| mark.clause == *clause) {
                faults.push(format!(
                    "{title}: no test of this entry is marked with {clause}"
                ));
            }
        }
        for test in entry.tests() {
            if !both.iter().any(|mark| mark.test == test) {
                faults.push(format!(
                    "{title}: {test} is not there, or has no mark of this entry"
                ));
            }
        }
        proven.extend(both);
        faults.extend(misplaced(root, entry)?);
    }
    for mark in marks.iter().filter(|mark| !proven.contains(mark)) {
        let Mark { clause, test } = mark;
        faults.push(format!(
            "{test} is marked with {clause}, and no entry of {FOLDER}/{ENTRIES} proves it"
        ));
    }
    Ok(faults)
}

/// What is wrong with the text that an entry takes out.
fn misplaced(root: &Path, entry: &Entry) -> Result<Option<String>> {
    let (file, title) = (&entry.file, entry.title());
    let path = root.join(file);
    let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let times = text.matches(&entry.there).count();
    Ok(if entry.there.is_empty() || entry.there == entry.instead {
        Some(format!("{title}: nothing of {file} is taken out"))
    } else if times != 1 {
        Some(format!(
            "{title}: what is taken out is in {file} {times} times, not once: {}",
            entry.there.trim()
        ))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    const ENTRY: &str = "[[taken-out]]\nclauses = [\"drv:a:1\"]\nfile = \"a.rs\"\n\
                         there = \"b\"\ninstead = \"\"\ntests = [\"t.rs::one\"]\n";

    fn mark(clause: &str, name: &str) -> Mark {
        Mark {
            clause: clause.to_owned(),
            test: TestName::parse(&format!("t.rs::{name}")).unwrap(),
        }
    }

    /// What is wrong with `entry`, where `a.rs` has `text`.
    fn faults_of(entry: &str, text: &str, marks: &[Mark]) -> Vec<String> {
        let scratch = Scratch::new("entries").unwrap();
        fs::write(scratch.path().join("a.rs"), text).unwrap();
        let file: File = toml::from_str(entry).unwrap();
        faults(scratch.path(), &file.entries, marks).unwrap()
    }

    #[test]
    fn an_entry_and_its_mark_stand_for_each_other() {
        let good = faults_of(ENTRY, "abc", &[mark("drv:a:1", "one")]);
        let unmarked = faults_of(ENTRY, "abc", &[]);
        let unproven = faults_of(
            ENTRY,
            "abc",
            &[mark("drv:a:1", "one"), mark("drv:a:1", "two")],
        );

        assert!(good.is_empty(), "{good:?}");
        assert_eq!(unmarked.len(), 2, "its clause, its test: {unmarked:?}");
        assert_eq!(unproven.len(), 1);
        assert!(unproven[0].starts_with("t.rs::two is marked with drv:a:1"));
    }

    #[test]
    fn what_is_taken_out_is_there_once() {
        let marks = [mark("drv:a:1", "one")];

        let gone = faults_of(ENTRY, "ac", &marks);
        let twice = faults_of(ENTRY, "abcb", &marks);
        let nothing = faults_of(
            &ENTRY.replace("instead = \"\"", "instead = \"b\""),
            "b",
            &marks,
        );

        assert!(gone[0].contains("0 times"), "{gone:?}");
        assert!(twice[0].contains("2 times"), "{twice:?}");
        assert!(nothing[0].contains("nothing"), "{nothing:?}");
    }

    #[test]
    fn an_entry_with_a_column_that_is_not_one_is_refused() {
        assert!(toml::from_str::<File>(&format!("{ENTRY}why = \"\"\n")).is_err());
    }
}
