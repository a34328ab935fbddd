//! The tests that `docs/defects.md` names: each is there, and says so.
//!
//! A row of the table has a number, what goes wrong, and tests: their names, of which `…` stands for
//! the rest, or a file that is all about it. A test of that name has a comment above it that gives
//! the number back.

use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::source;

/// Where the tables are.
const TABLES: &str = "docs/defects.md";

/// Looks every test up that the tables name, and returns how many there are.
///
/// # Errors
///
/// A test is not there, or does not name its defect; or a file is not there.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join(TABLES);
    let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let mut functions = Vec::new();
    for file in source::files(root)? {
        let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
        functions.extend(functions_of(&text));
    }
    let named = named(&text);
    let missing: Vec<String> = named
        .iter()
        .filter(|name| !name.is_there(&functions, root))
        .map(|name| format!("{} {}: `{}`", name.end, name.number, name.test))
        .collect();
    if !missing.is_empty() {
        return Err(Failure::new(format!(
            "{TABLES} names what is not there, or does not name the defect in its comment:\n{}",
            missing.join("\n"),
        )));
    }
    Ok(vec![format!("{} tests of defects", named.len())])
}

/// A test, or a file of tests, that a row names.
#[derive(Debug, PartialEq, Eq)]
struct Named {
    /// How the comment above the test calls the table.
    end: &'static str,
    number: String,
    test: String,
}

impl Named {
    fn is_there(&self, functions: &[Function], root: &Path) -> bool {
        if self.test.contains('/') {
            return root.join(&self.test).exists();
        }
        let Self { end, number, .. } = self;
        let marks = [':', '.', ','].map(|after| format!("{end} defect {number}{after}"));
        let is_it = |name: &str| match self.test.strip_suffix('…') {
            Some(beginning) => name.starts_with(beginning),
            None => name == self.test,
        };
        functions.iter().any(|function| {
            let says_so = marks.iter().any(|mark| function.comment.contains(mark));
            is_it(&function.name) && says_so
        })
    }
}

/// What is in the last column of the tables, between backquotes.
fn named(text: &str) -> Vec<Named> {
    let mut end = "";
    let mut out = Vec::new();
    for line in text.lines() {
        if line.starts_with("## At the driver") {
            end = "Drivers'";
        } else if line.starts_with("## At the device") {
            end = "Devices'";
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, tests, _] = cells.as_slice() else {
            continue;
        };
        if number.parse::<u32>().is_err() {
            continue;
        }
        for test in tests.split('`').skip(1).step_by(2) {
            out.push(Named {
                end,
                number: (*number).to_owned(),
                test: test.to_owned(),
            });
        }
    }
    out
}

/// A function, and the comment right above it.
struct Function {
    name: String,
    comment: String,
}

fn functions_of(text: &str) -> Vec<Function> {
    let mut out = Vec::new();
    let mut comment = String::new();
    for line in source::lines(text) {
        let code = line.code.trim();
        if let Some(more) = &line.comment {
            comment.push_str(more);
            comment.push(' ');
        } else if let Some(rest) = code.strip_prefix("fn ") {
            let end = rest.find(['(', '<']).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default().to_owned();
            let comment = std::mem::take(&mut comment);
            out.push(Function { name, comment });
        } else if !code.starts_with("#[") {
            comment.clear();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "## At the driver's end\n| # | what | the test |\n|--:|---|---|\n\
                         | 4 | an `id` twice | `an_id_twice…`, `crates/x` |\n| 5 | | |\n";

    #[test]
    fn the_last_column_names_tests_and_files() {
        let named = named(TABLE);

        let tests: Vec<&str> = named.iter().map(|named| named.test.as_str()).collect();
        assert_eq!(tests, ["an_id_twice…", "crates/x"]);
        assert!(named.iter().all(|named| named.number == "4"));
    }

    #[test]
    fn a_test_is_there_if_its_comment_gives_the_number_back() {
        let is_there = |text: &str| named(TABLE)[0].is_there(&functions_of(text), Path::new("."));

        assert!(is_there(
            "/// Drivers' defect 4: why.\n#[test]\nfn an_id_twice_is_one() {}"
        ));
        assert!(!is_there(
            "/// Drivers' defect 41: why.\n#[test]\nfn an_id_twice_is_one() {}"
        ));
        assert!(!is_there(
            "/// Devices' defect 4: why.\n#[test]\nfn an_id_twice_is_one() {}"
        ));
        assert!(!is_there(
            "/// Drivers' defect 4: why.\nfn other() {}\nfn an_id_twice() {}"
        ));
    }
}
