//! What was measured, as rows: ours, theirs and their ratio, for people and for machines.

use serde_json::{Value, json};

use super::{EMPTY, Key, Numbers, OURS};
use crate::failure::{Failure, Result};

/// Everything that was measured in a run.
pub(crate) struct Table {
    rows: Vec<Row>,
    /// What a person must know to read it.
    notes: Vec<String>,
}

/// A case, and us beside one other.
struct Row {
    case: String,
    peer: String,
    /// Where they were counted.
    instructions: Option<Pair>,
    time: Unit,
    /// The median of many.
    median: Pair,
    /// The least of many.
    minimum: Pair,
}

/// In what time was measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Nanoseconds,
    Cycles,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Cycles => "cycles",
        }
    }
}

/// Numbers for one chain, less what the harness costs, or for one packet.
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
    /// Joins counts and times, which have the same keys in any order, and adds packets.
    ///
    /// # Errors
    ///
    /// A number that must be there is not.
    pub(super) fn new(
        counts: &[(Key, Numbers)],
        times: &[(Key, Numbers)],
        packets: &[(Key, Numbers)],
        notes: Vec<String>,
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
                instructions: Some(pair(counts, 0)?),
                time: Unit::Nanoseconds,
                minimum: pair(times, 0)?,
                median: pair(times, 1)?,
            });
        }
        if rows.is_empty() || packets.is_empty() {
            return Err(Failure::new("nothing was measured"));
        }
        for ((case, peer), _) in packets {
            if peer == OURS {
                continue;
            }
            let pair = |at| {
                Ok(Pair {
                    ours: number(packets, case, OURS, at)?,
                    theirs: number(packets, case, peer, at)?,
                })
            };
            rows.push(Row {
                case: case.clone(),
                peer: peer.clone(),
                instructions: None,
                time: Unit::Cycles,
                minimum: pair(0)?,
                median: pair(1)?,
            });
        }
        Ok(Self { rows, notes })
    }

    /// One object, alone on its line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().flat_map(Row::json).collect();
        json!({ "rows": rows }).to_string()
    }

    /// A line for each row, under a head for each unit; with escape codes for a terminal if
    /// `colour`.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let mut out = Vec::new();
        let mut unit = None;
        for row in &self.rows {
            if unit != Some(row.time) {
                unit = Some(row.time);
                out.extend(row.head());
            }
            out.push(row.line(colour));
        }
        out.extend(self.notes.iter().cloned());
        out
    }
}

impl Row {
    fn json(&self) -> Vec<Value> {
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
        let mut time = row(self.median, self.time.name());
        time["ours_minimum"] = json!(rounded(self.minimum.ours));
        time["theirs_minimum"] = json!(rounded(self.minimum.theirs));
        time["ratio_minimum"] = json!(rounded(self.minimum.ratio()));
        let instructions = self.instructions.map(|pair| row(pair, "instr"));
        instructions.into_iter().chain([time]).collect()
    }

    /// What stands above the first row of its unit.
    fn head(&self) -> [String; 2] {
        let unit = self.time.name();
        let (median, minimum) = (format!("{unit}, median"), format!("{unit}, minimum"));
        let three = |width| format!("{:>width$} {:>width$} {:>7}", "ours", "theirs", "ratio");
        let (counted, columns) = match self.instructions {
            Some(_) => (format!("{:^25}  ", "instructions"), three(8) + "  "),
            None => (String::new(), String::new()),
        };
        [
            format!("{:<21} {:<15} {counted}{median:^23}  {minimum:^23}", "", ""),
            format!(
                "{:<21} {:<15} {columns}{}  {}",
                "case",
                "beside",
                three(7),
                three(7)
            ),
        ]
    }

    fn line(&self, colour: bool) -> String {
        let pair = |pair: Pair, width| {
            let Pair { ours, theirs } = pair;
            let ratio = painted(pair.ratio(), colour);
            format!("{ours:>width$.1} {theirs:>width$.1} {ratio}")
        };
        let instructions = self.instructions.map(|counted| pair(counted, 8) + "  ");
        format!(
            "{:<21} {:<15} {}{}  {}",
            self.case,
            self.peer,
            instructions.unwrap_or_default(),
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

    fn packets() -> Vec<(Key, Numbers)> {
        let line = |subject: &str, numbers: &[f64]| {
            (
                ("packet-split".to_owned(), subject.to_owned()),
                numbers.to_vec(),
            )
        };
        vec![line(OURS, &[80.0, 90.0]), line("dpdk", &[100.0, 120.0])]
    }

    fn table() -> Table {
        let counts = measured([&[160.0], &[85.0], &[10.0]]);
        let times = measured([&[21.0, 22.0], &[9.0, 12.0], &[1.0, 2.0]]);
        Table::new(&counts, &times, &packets(), vec!["note".to_owned()]).unwrap()
    }

    #[test]
    fn what_the_harness_costs_is_taken_from_both() {
        let object: Value = serde_json::from_str(&table().json()).unwrap();

        let rows = object["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
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
    fn packets_have_no_instructions_and_are_taken_as_they_are() {
        let object: Value = serde_json::from_str(&table().json()).unwrap();

        assert_eq!(
            object["rows"][2],
            json!({"case": "packet-split", "ours": 90.0, "peer": "dpdk", "theirs": 120.0, "ratio": 0.75,
                "unit": "cycles", "ours_minimum": 80.0, "theirs_minimum": 100.0, "ratio_minimum": 0.8})
        );
    }

    #[test]
    fn the_table_is_aligned_and_plain_without_a_terminal() {
        let lines = table().lines(false);

        assert_eq!(lines.len(), 7);
        assert_eq!(lines[1].len(), lines[2].len());
        assert_eq!(lines[4].len(), lines[5].len());
        assert_eq!(lines[6], "note");
        assert!(lines.iter().all(|line| !line.contains('\x1b')));
        assert!(table().lines(true)[2].contains("\x1b[31m"));
    }

    #[test]
    fn a_subject_that_was_not_timed_is_named() {
        let counts = measured([&[160.0], &[85.0], &[10.0]]);

        let failed = Table::new(&counts, &[], &packets(), Vec::new()).err();

        assert!(failed.unwrap().what.contains("ours was not measured"));
    }
}
