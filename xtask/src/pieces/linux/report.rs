//! What a script says on the console (`report.sh`), and what must be in it.

use std::fmt;

use crate::child::Finished;
use crate::failure::{Failure, Result};

/// What begins a line that is for us. The kernel may have written before it.
const MARK: &str = "ringway: ";

/// What a script has said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::pieces) struct Report {
    /// The steps that went well.
    pub(in crate::pieces) steps: Vec<String>,
    /// Names and values, in the order they came.
    values: Vec<(String, String)>,
    /// The step that did not go well.
    failed: Option<String>,
    /// Whether the script has come to its end.
    ended: bool,
}

/// What must be so of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Expect {
    /// A feature that is agreed to, by its bit.
    With(usize),
    /// A feature that is not.
    Without(usize),
    /// A value.
    Is(&'static str, &'static str),
    /// A number, and the least that it may be.
    Least(&'static str, u64),
}

impl Report {
    /// Reads a console.
    pub(in crate::pieces) fn read(log: &str) -> Self {
        let mut report = Self::default();
        let said = |line: &'_ str| Some(line.split_once(MARK)?.1.trim_end().to_owned());
        for line in log.lines().filter_map(said) {
            let (kind, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match kind {
                "ok" => report.steps.push(rest.to_owned()),
                "value" => {
                    let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                    report.values.push((name.to_owned(), value.to_owned()));
                }
                "failed" => report.failed = Some(rest.to_owned()),
                "end" => report.ended = true,
                _ => {}
            }
        }
        report
    }

    /// The last value of this name.
    pub(in crate::pieces) fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.values.iter().rev();
        Some(&values.find(|(known, _)| known == name)?.1)
    }

    /// The last value of this name, which is a number.
    pub(in crate::pieces) fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    /// Whether nothing more is to come: it has come to its end, or a step has failed.
    pub(in crate::pieces) fn is_over(&self) -> bool {
        self.ended || self.failed.is_some()
    }

    /// What is wrong, if anything.
    pub(in crate::pieces) fn fault(&self, expect: &[Expect]) -> Option<String> {
        if let Some(step) = &self.failed {
            return Some(format!("not so: {step}"));
        }
        if !self.ended {
            let last = self.steps.last().map_or("nothing", String::as_str);
            return Some(format!("the script did not end; the last it did: {last}"));
        }
        if self.steps.is_empty() {
            return Some("the script did nothing".to_owned());
        }
        let missing = expect.iter().find(|expect| !expect.holds(self))?;
        Some(format!("not as expected, {missing}: {:?}", self.values))
    }

    fn has_feature(&self, bit: usize) -> Option<bool> {
        Some(*self.value("features")?.as_bytes().get(bit)? == b'1')
    }
}

/// Checks the run of a script.
///
/// # Errors
///
/// A step failed, or the script did not come to its end, or something is not as expected.
pub(in crate::pieces) fn check(done: &Finished, expect: &[Expect]) -> Result<Report> {
    let report = Report::read(&String::from_utf8_lossy(&done.log));
    match report.fault(expect) {
        None if done.status.success() => Ok(report),
        fault => Err(Failure {
            what: fault.unwrap_or_else(|| format!("ended with {}", done.status)),
            output: done.log.clone(),
        }),
    }
}

impl Expect {
    fn holds(&self, report: &Report) -> bool {
        match *self {
            Self::With(bit) => report.has_feature(bit) == Some(true),
            Self::Without(bit) => report.has_feature(bit) == Some(false),
            Self::Is(name, value) => report.value(name) == Some(value),
            Self::Least(name, least) => report.number(name).is_some_and(|value| value >= least),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::With(bit) => write!(f, "with feature {bit}"),
            Self::Without(bit) => write!(f, "without feature {bit}"),
            Self::Is(name, value) => write!(f, "{name} {value}"),
            Self::Least(name, least) => write!(f, "{name} of at least {least}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[    0.1] Linux\r\n\
        ringway: ok the disk is there\r\n\
        [    0.2] ringway: value features 0110\r\n\
        ringway: value round 1\r\n\
        ringway: value round 2\r\n\
        dd: 4+0 records\r\n";

    fn fault(more: &str, expect: &[Expect]) -> String {
        let report = Report::read(&format!("{LOG}{more}"));
        report.fault(expect).unwrap_or_default()
    }

    #[test]
    fn lines_are_found_wherever_the_kernel_wrote() {
        let report = Report::read(LOG);

        assert_eq!(report.steps, ["the disk is there"]);
        assert_eq!(report.value("features"), Some("0110"));
        assert_eq!(report.number("round"), Some(2));
        assert_eq!((report.failed, report.ended), (None, false));
    }

    #[test]
    fn a_script_that_ends_is_right_and_one_that_does_not_is_wrong() {
        assert_eq!(fault("ringway: end\r\n", &[]), "");
        assert!(fault("", &[]).contains("the last it did: the disk is there"));
        assert!(fault("ringway: failed cmp: a b\nringway: end\n", &[]).contains("cmp: a b"));
        let is_over = |more: &str| Report::read(&format!("{LOG}{more}")).is_over();
        assert!(!is_over("") && is_over("ringway: end\n") && is_over("ringway: failed cmp\n"));
    }

    #[test]
    fn a_script_that_does_nothing_is_wrong() {
        let report = Report::read("ringway: end\n");

        assert!(report.fault(&[]).unwrap().contains("did nothing"));
    }

    #[test]
    fn what_is_expected_is_looked_up() {
        let end = "ringway: end\n";
        let right = [
            Expect::With(1),
            Expect::Without(3),
            Expect::Is("round", "2"),
            Expect::Least("round", 2),
        ];
        let wrong = [
            Expect::With(0),
            Expect::With(4),
            Expect::Without(2),
            Expect::Without(4),
            Expect::Is("round", "1"),
            Expect::Is("rounds", ""),
            Expect::Least("round", 3),
            Expect::Least("features", 1000),
        ];

        assert_eq!(fault(end, &right), "");
        for expect in wrong {
            assert!(
                fault(end, &[expect]).contains("not as expected"),
                "{expect}"
            );
        }
    }
}
