//! What was measured, as rows: ours, theirs and their ratio, for people and for machines.

use serde_json::{Value, json};

use super::{EMPTY, Key, Numbers, OURS};
use crate::failure::{Failure, Result};

/// Everything that was measured in a run.
pub(crate) struct Table {
    valgrind: String,
    rows: Vec<Row>,
}

/// A case, and us beside one other.
struct Row {
    case: String,
    peer: String,
    /// Instructions.
    instructions: Pair,
    /// Nanoseconds, the median of many.
    median: Pair,
    /// Nanoseconds, the least of many.
    minimum: Pair,
}

/// Numbers for one chain, less what the harness costs.
#[derive(Clone, Copy)]
struct Pair {
    ours: f64,
    theirs: f64,
}

impl Pair {
    fn ratio(self) -> f64 {
        self.ours / self.theirs
    }
}

impl Table {
    /// Joins counts and times, which have the same keys in any order.
    ///
    /// # Errors
    ///
    /// A number that must be there is not.
    pub(super) fn new(
        valgrind: String,
        counts: &[(Key, Numbers)],
        times: &[(Key, Numbers)],
    ) -> Result<Self> {
        let mut rows = Vec::new();
        for ((case, peer), _) in counts {
            if peer == OURS || peer == EMPTY {
                continue;
            }
            let pair = |from: &[_], at| {
                let net =
                    |subject| Ok(number(from, case, subject, at)? - number(from, case, EMPTY, at)?);
                Ok(Pair {
                    ours: net(OURS)?,
                    theirs: net(peer)?,
                })
            };
            rows.push(Row {
                case: case.clone(),
                peer: peer.clone(),
                instructions: pair(counts, 0)?,
                minimum: pair(times, 0)?,
                median: pair(times, 1)?,
            });
        }
        if rows.is_empty() {
            return Err(Failure::new("nothing was measured"));
        }
        Ok(Self { valgrind, rows })
    }

    /// One object, alone on its line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().flat_map(Row::json).collect();
        json!({ "rows": rows }).to_string()
    }

    /// A line for each row, under a head; with escape codes for a terminal if `colour`.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let mut out = vec![
            format!(
                "{:<21} {:<15} {:^25}  {:^23}  {:^23}",
                "", "", "instructions", "ns, median", "ns, minimum"
            ),
            format!(
                "{:<21} {:<15} {:>8} {:>8} {:>7}  {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7}",
                "case",
                "beside",
                "ours",
                "theirs",
                "ratio",
                "ours",
                "theirs",
                "ratio",
                "ours",
                "theirs",
                "ratio"
            ),
        ];
        out.extend(self.rows.iter().map(|row| row.line(colour)));
        out.push(format!(
            "For one chain, less what an empty harness costs; ratio = ours / theirs. Counted by {}.",
            self.valgrind
        ));
        out
    }
}

impl Row {
    fn json(&self) -> [Value; 2] {
        let row = |pair: Pair, unit| {
            json!({
                "case": self.case,
                "ours": rounded(pair.ours),
                "peer": self.peer,
                "theirs": rounded(pair.theirs),
                "ratio": rounded(pair.ratio()),
                "unit": unit,
            })
        };
        let mut ns = row(self.median, "ns");
        ns["ours_minimum"] = json!(rounded(self.minimum.ours));
        ns["theirs_minimum"] = json!(rounded(self.minimum.theirs));
        ns["ratio_minimum"] = json!(rounded(self.minimum.ratio()));
        [row(self.instructions, "instr"), ns]
    }

    fn line(&self, colour: bool) -> String {
        let pair = |pair: Pair, width| {
            let Pair { ours, theirs } = pair;
            let ratio = painted(pair.ratio(), colour);
            format!("{ours:>width$.1} {theirs:>width$.1} {ratio}")
        };
        format!(
            "{:<21} {:<15} {}  {}  {}",
            self.case,
            self.peer,
            pair(self.instructions, 8),
            pair(self.median, 7),
            pair(self.minimum, 7),
        )
    }
}

/// A ratio: green below 1, where we need less, and red above.
fn painted(ratio: f64, colour: bool) -> String {
    let text = format!("{ratio:>7.2}");
    match (colour, ratio < 1.0) {
        (false, _) => text,
        (true, true) => format!("\x1b[32m{text}\x1b[0m"),
        (true, false) => format!("\x1b[31m{text}\x1b[0m"),
    }
}

/// To a thousandth: what is finer is of the division, not of the work.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// Number `at` of `subject` in `case`.
fn number(from: &[(Key, Numbers)], case: &str, subject: &str, at: usize) -> Result<f64> {
    from.iter()
        .find(|((c, s), _)| c == case && s == subject)
        .and_then(|(_, numbers)| numbers.get(at).copied())
        .ok_or_else(|| Failure::new(format!("{subject} was not measured in {case}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: &str = "driver-split-3-d64";

    fn measured(numbers: [&[f64]; 3]) -> Vec<(Key, Numbers)> {
        let subjects = [OURS, "floor", EMPTY];
        let line = |(subject, numbers): (&str, &[f64])| {
            ((CASE.to_owned(), subject.to_owned()), numbers.to_vec())
        };
        subjects.into_iter().zip(numbers).map(line).collect()
    }

    fn table() -> Table {
        let counts = measured([&[160.0], &[85.0], &[10.0]]);
        let times = measured([&[21.0, 22.0], &[9.0, 12.0], &[1.0, 2.0]]);
        Table::new("valgrind-3".to_owned(), &counts, &times).unwrap()
    }

    #[test]
    fn what_the_harness_costs_is_taken_from_both() {
        let object: Value = serde_json::from_str(&table().json()).unwrap();

        let rows = object["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(
            rows[0],
            json!({"case": CASE, "ours": 150.0, "peer": "floor", "theirs": 75.0, "ratio": 2.0, "unit": "instr"})
        );
        assert_eq!(rows[1]["unit"], "ns");
        assert_eq!(
            (&rows[1]["ours"], &rows[1]["theirs"]),
            (&json!(20.0), &json!(10.0))
        );
        assert_eq!(rows[1]["ratio_minimum"], 2.5);
    }

    #[test]
    fn the_table_is_aligned_and_plain_without_a_terminal() {
        let lines = table().lines(false);

        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1].len(), lines[2].len());
        assert!(lines.iter().all(|line| !line.contains('\x1b')));
        assert!(table().lines(true)[2].contains("\x1b[31m"));
    }

    #[test]
    fn a_subject_that_was_not_timed_is_named() {
        let counts = measured([&[160.0], &[85.0], &[10.0]]);

        let failed = Table::new(String::new(), &counts, &[]).err();

        assert!(failed.unwrap().what.contains("ours was not measured"));
    }
}
