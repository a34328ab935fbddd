//! Which tests say that they show a clause.
//!
//! The documentation comment of a test has a line that begins with `Clauses:` and lists ids, with commas between. A list goes on
//! over the lines that follow one that ends with a comma.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::source::{self, Line};

/// What a list of ids begins with.
const BEGINS: &str = "Clauses:";

/// A test, by its file and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TestName {
    /// Below the repository, with `/` between the parts.
    pub(super) file: String,
    /// The function.
    pub(super) name: String,
}

impl TestName {
    /// Reads `crates/ring/src/slab.rs::a_test`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (file, name) = text.rsplit_once("::")?;
        let [file, name] = [file, name].map(str::to_owned);
        Some(Self { file, name })
    }
}

impl fmt::Display for TestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.file, self.name)
    }
}

/// That a test shows a clause.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Mark {
    /// The id of the clause.
    pub(super) clause: String,
    pub(super) test: TestName,
}

/// The marks in the sources below `root`, and what is wrong with others.
pub(super) struct Marks {
    pub(super) marks: Vec<Mark>,
    pub(super) wrong: Vec<String>,
}

impl Marks {
    /// Reads every source file below `root`.
    ///
    /// # Errors
    ///
    /// One cannot be read.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut all = Self {
            marks: Vec::new(),
            wrong: Vec::new(),
        };
        for path in source::files(root)? {
            let text = fs::read_to_string(&path).map_err(Failure::io("read", &path))?;
            // Taking a file apart is slow, and few have marks.
            if text.contains(BEGINS) {
                all.add(&source::relative(root, &path), &source::lines(&text));
            }
        }
        all.marks.sort();
        Ok(all)
    }

    /// Adds the marks of a file.
    fn add(&mut self, file: &str, lines: &[Line]) {
        let mut above = Above::default();
        for (number, line) in (1..).zip(lines) {
            let code = line.code.trim();
            if code.is_empty() {
                match &line.comment {
                    Some(comment) => above.comment(number, comment),
                    None => self.nobody_s(file, &mut above),
                }
            } else if code.starts_with("#[") && !above.is_empty() {
                above.is_test |= code == "#[test]";
                above.is_ignored |= code.starts_with("#[ignore");
            } else if let Some(name) = function(code) {
                self.function(file, name, &mut above);
            } else {
                self.nobody_s(file, &mut above);
            }
        }
    }

    /// The function that a comment was about begins.
    fn function(&mut self, file: &str, name: &str, above: &mut Above) {
        let [file, name] = [file, name].map(str::to_owned);
        let test = TestName { file, name };
        let fault = match above {
            Above { ids, .. } if ids.is_empty() => None,
            Above { is_test: false, .. } => Some("is no test"),
            Above {
                is_ignored: true, ..
            } => Some("is ignored"),
            Above { goes_on: true, .. } => Some("has a list of clauses that ends with a comma"),
            _ => None,
        };
        match fault {
            Some(fault) => self.wrong.push(format!("{test} has a mark, and {fault}")),
            None => {
                for clause in above.ids.drain(..) {
                    let test = test.clone();
                    self.marks.push(Mark { clause, test });
                }
            }
        }
        *above = Above::default();
    }

    /// No function follows a comment.
    fn nobody_s(&mut self, file: &str, above: &mut Above) {
        if !above.ids.is_empty() {
            let line = above.line;
            self.wrong
                .push(format!("{file}:{line}: a list of clauses is above no test"));
        }
        *above = Above::default();
    }
}

/// What stands above a function.
#[derive(Default)]
struct Above {
    /// The clauses that the comment lists.
    ids: Vec<String>,
    /// Where the list begins.
    line: usize,
    /// The list goes on in the next line.
    goes_on: bool,
    is_test: bool,
    is_ignored: bool,
}

impl Above {
    fn is_empty(&self) -> bool {
        self.ids.is_empty() && !self.is_test
    }

    fn comment(&mut self, number: usize, comment: &str) {
        let list = match comment.strip_prefix(BEGINS) {
            Some(list) => {
                self.line = number;
                list
            }
            None if self.goes_on => comment,
            None => return,
        };
        let list = list.trim();
        self.goes_on = list.ends_with(',');
        let ids = list.split(',').map(str::trim).filter(|id| !id.is_empty());
        self.ids.extend(ids.map(str::to_owned));
    }
}

/// The name of the function that a line of code begins.
fn function(code: &str) -> Option<&str> {
    let rest = code.strip_prefix("pub(crate) ").unwrap_or(code);
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(text: &str) -> Marks {
        let mut all = Marks {
            marks: Vec::new(),
            wrong: Vec::new(),
        };
        all.add("a.rs", &source::lines(text));
        all
    }

    fn shown(marks: &Marks) -> Vec<String> {
        let one = |mark: &Mark| format!("{} {}", mark.clause, mark.test);
        marks.marks.iter().map(one).collect()
    }

    #[test]
    fn a_list_above_a_test_wraps_after_a_comma() {
        let all = marks(
            "/// Why.\n///\n/// Clauses: drv:a:1, dev:b:2,\n/// dev:c:3\n/// More.\n#[test]\nfn one() {}\n\
             /// Clauses: drv:a:2\n#[test]\n#[cfg(x)]\nfn two() {}\n#[test]\nfn three() {}",
        );

        assert_eq!(
            shown(&all),
            [
                "drv:a:1 a.rs::one",
                "dev:b:2 a.rs::one",
                "dev:c:3 a.rs::one",
                "drv:a:2 a.rs::two"
            ]
        );
        assert!(all.wrong.is_empty());
    }

    #[test]
    fn a_mark_counts_at_a_test_that_runs_and_nowhere_else() {
        let all = marks(
            "/// Clauses: drv:a:1\nfn helper() {}\n\
             /// Clauses: drv:a:2\n#[test]\n#[ignore = \"\"]\nfn ignored() {}\n\
             /// Clauses: drv:a:3\nstruct S;\n\
             /// Clauses: drv:a:4,\n#[test]\nfn open() {}\n\
             // Clauses: drv:a:5\n\nfn far() {}",
        );

        assert!(all.marks.is_empty());
        assert_eq!(
            all.wrong,
            [
                "a.rs::helper has a mark, and is no test",
                "a.rs::ignored has a mark, and is ignored",
                "a.rs:7: a list of clauses is above no test",
                "a.rs::open has a mark, and has a list of clauses that ends with a comma",
                "a.rs:12: a list of clauses is above no test",
            ]
        );
    }

    #[test]
    fn a_test_is_named_by_its_file_and_its_function() {
        let name = TestName::parse("crates/a/src/b.rs::c").unwrap();

        assert_eq!((&*name.file, &*name.name), ("crates/a/src/b.rs", "c"));
        assert_eq!(name.to_string(), "crates/a/src/b.rs::c");
        assert_eq!(TestName::parse("c"), None);
    }
}
