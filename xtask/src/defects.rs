//! The tests that `docs/defects.md` names: each is there, and says so; and none says so that is not
//! named.
//!
//! A row of the table has a number, what goes wrong, and the names of tests, of which `…` stands for
//! the rest. A test of that name has a comment above it that gives the number back.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::source;

/// Where the tables are.
const TABLES: &str = "docs/defects.md";

/// Looks every test up that the tables name, and returns how many names there are.
///
/// # Errors
///
/// A test is not there, or does not name its defect; or one does, and the table does not name it.
pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let path = root.join(TABLES);
    let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
    let mut tests = Vec::new();
    for file in source::files(root)? {
        let text = fs::read_to_string(&file).map_err(Failure::io("read", &file))?;
        tests.extend(tests_of(&text));
    }
    let named = named(&text);
    let mut wrong = Vec::new();
    for name in &named {
        if !tests.iter().any(|test| name.is_of(test)) {
            wrong.push(format!("{name}: {TABLES} names it, and it is not there"));
        }
    }
    for test in &tests {
        if !named.iter().any(|name| name.is_of(test)) {
            wrong.push(format!("{test}: {TABLES} does not name it"));
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::new(wrong.join("\n")));
    }
    Ok(vec![format!(
        "{} names, {} tests",
        named.len(),
        tests.len()
    )])
}

/// A test, and a defect that it is about: as the table has it, or as it says itself.
#[derive(Debug, PartialEq, Eq)]
struct About {
    /// `Drivers'` or `Devices'`.
    end: &'static str,
    number: u32,
    /// In the table, `…` stands for the rest.
    test: String,
}

impl About {
    /// Whether this name in the table is of `test`.
    fn is_of(&self, test: &Self) -> bool {
        let same = match self.test.strip_suffix('…') {
            Some(beginning) => test.test.starts_with(beginning),
            None => test.test == self.test,
        };
        same && (self.end, self.number) == (test.end, test.number)
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} defect {}, `{}`", self.end, self.number, self.test)
    }
}

/// The two tables.
const ENDS: [(&str, &str); 2] = [
    ("## At the driver's end", "Drivers'"),
    ("## At the device's end", "Devices'"),
];

/// What is in the last column of the tables, between backquotes.
fn named(text: &str) -> Vec<About> {
    let mut end = "";
    let mut out = Vec::new();
    for line in text.lines() {
        if let Some((_, name)) = ENDS.iter().find(|(title, _)| *title == line) {
            end = name;
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, _, tests, _] = cells.as_slice() else {
            continue;
        };
        let Ok(number) = number.parse() else {
            continue;
        };
        for test in tests.split('`').skip(1).step_by(2) {
            let test = test.to_owned();
            out.push(About { end, number, test });
        }
    }
    out
}

/// Each function with each defect that the comment above it names.
fn tests_of(text: &str) -> Vec<About> {
    let mut out = Vec::new();
    let mut comment = String::new();
    for line in source::lines(text) {
        let code = line.code.trim();
        if let Some(more) = &line.comment {
            comment.push_str(more);
            comment.push(' ');
        } else if let Some(rest) = code.strip_prefix("fn ") {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            for (_, end) in ENDS {
                let mark = format!("{end} defect ");
                for after in comment.split(&mark).skip(1) {
                    let digits = after.split(|c: char| !c.is_ascii_digit()).next();
                    if let Some(Ok(number)) = digits.map(str::parse) {
                        let test = name.to_owned();
                        out.push(About { end, number, test });
                    }
                }
            }
            comment.clear();
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
                         | 4 | an `id` twice | `an_id_twice…`, `one` |\n| 5 | | |\n\
                         ## At the device's end\n| 4 | a loop | `a_loop` |\n";

    fn about(end: &'static str, number: u32, test: &str) -> About {
        let test = test.to_owned();
        About { end, number, test }
    }

    #[test]
    fn the_last_column_names_tests() {
        let expected = [
            about("Drivers'", 4, "an_id_twice…"),
            about("Drivers'", 4, "one"),
            about("Devices'", 4, "a_loop"),
        ];

        assert_eq!(named(TABLE), expected);
    }

    #[test]
    fn a_test_is_about_every_defect_that_the_comment_above_it_names() {
        let text = "/// Drivers' defect 4: why. Devices' defect 12.\n#[test]\nfn one() {}\n\
                    /// Drivers' defect 5\nlet x;\nfn two() {}\nfn three() {}";

        let tests = tests_of(text);

        assert_eq!(
            tests,
            [about("Drivers'", 4, "one"), about("Devices'", 12, "one")]
        );
    }

    #[test]
    fn a_name_is_of_a_test_of_the_same_defect_and_the_same_beginning() {
        let name = about("Drivers'", 4, "an_id_twice…");

        assert!(name.is_of(&about("Drivers'", 4, "an_id_twice_is_one")));
        assert!(!name.is_of(&about("Drivers'", 5, "an_id_twice_is_one")));
        assert!(!name.is_of(&about("Devices'", 4, "an_id_twice_is_one")));
        assert!(!name.is_of(&about("Drivers'", 4, "an_id")));
    }
}
