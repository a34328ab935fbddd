//! How much two parties do in a second, as rows: ours, theirs and their ratio, for people and for
//! machines.

use serde_json::{Value, json};

use super::{Key, Numbers, OURS};
use crate::failure::{Failure, Result};

/// The case under which the program prints how far two processors are apart.
const CACHE_LINE: &str = "cache-line";

/// Everything that was measured in a run.
pub(crate) struct Rates {
    pub(super) rows: Vec<Row>,
    unit: Unit,
    /// What a person must know to read it.
    notes: Vec<String>,
}

/// A case, and us beside one other.
pub(super) struct Row {
    case: String,
    peer: String,
    median: Pair,
    maximum: Pair,
    /// Nanoseconds of a cache line's round trip between two processors, where there are two.
    round_trip: Option<f64>,
}

/// Of what there are how many a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Requests.
    Requests,
    /// Millions of packets.
    Packets,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "iops",
            Self::Packets => "mpps",
        }
    }

    /// How many digits of a number people are shown after the point.
    fn digits(self) -> usize {
        match self {
            Self::Requests => 0,
            Self::Packets => 2,
        }
    }
}

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

impl Rates {
    /// Pairs what was printed: for each case and party, the median and the most.
    ///
    /// # Errors
    ///
    /// A party of a case, or all, is missing.
    pub(super) fn new(printed: &[(Key, Numbers)], unit: Unit, notes: Vec<String>) -> Result<Self> {
        let (mut rows, mut round_trip) = (Vec::new(), None);
        for ((case, peer), numbers) in printed {
            if case == CACHE_LINE {
                round_trip = numbers.first().copied();
            }
            if case == CACHE_LINE || peer == OURS {
                continue;
            }
            let ours = printed.iter().find(|((c, p), _)| c == case && p == OURS);
            let pair = |at: usize| {
                let ours = ours.and_then(|(_, ours)| ours.get(at)).copied();
                let pair = ours.zip(numbers.get(at).copied());
                let pair = pair.map(|(ours, theirs)| Pair { ours, theirs });
                pair.ok_or_else(|| Failure::new(format!("not all was measured in {case}")))
            };
            rows.push(Row {
                case: case.clone(),
                peer: peer.clone(),
                median: pair(0)?,
                maximum: pair(1)?,
                round_trip,
            });
        }
        if rows.is_empty() {
            return Err(Failure::new(
                "nothing was measured: `--help` says how cases are called",
            ));
        }
        Ok(Self { rows, unit, notes })
    }

    /// One object, alone on its line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows().collect();
        json!({ "rows": rows }).to_string()
    }

    /// Its rows, as objects.
    pub(super) fn rows(&self) -> impl Iterator<Item = Value> + '_ {
        self.rows.iter().map(|row| row.json(self.unit))
    }

    /// A head, and a line for each row; with escape codes for a terminal if `colour`.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let three = format!("{:>9} {:>9} {:>7}", "ours", "theirs", "ratio");
        let mut out = vec![
            format!("{:<54} {:^27}  {:^27}", "", "median", "maximum"),
            format!(
                "{:<34} {:<19} {three}  {three}  {:>7}",
                "case", "beside", "line ns"
            ),
        ];
        out.extend(self.rows.iter().map(|row| row.line(self.unit, colour)));
        out.extend(self.notes.iter().cloned());
        out
    }
}

impl Row {
    fn json(&self, unit: Unit) -> Value {
        let Pair { ours, theirs } = self.median;
        let mut row = json!({
            "case": self.case,
            "ours": rounded(ours),
            "peer": self.peer,
            "theirs": rounded(theirs),
            "ratio": rounded(self.median.ratio()),
            "unit": unit.name(),
            "ours_maximum": rounded(self.maximum.ours),
            "theirs_maximum": rounded(self.maximum.theirs),
            "ratio_maximum": rounded(self.maximum.ratio()),
        });
        if let Some(round_trip) = self.round_trip {
            row["cache_line_round_trip_ns"] = json!(round_trip);
        }
        row
    }

    fn line(&self, unit: Unit, colour: bool) -> String {
        let digits = unit.digits();
        let pair = |pair: Pair| {
            let Pair { ours, theirs } = pair;
            let ratio = painted(pair.ratio(), colour);
            format!("{ours:>9.digits$} {theirs:>9.digits$} {ratio}")
        };
        let round_trip = self.round_trip.map(|ns| format!("{ns:.0}"));
        format!(
            "{:<34} {:<19} {}  {}  {:>7}",
            self.case,
            self.peer,
            pair(self.median),
            pair(self.maximum),
            round_trip.unwrap_or_default(),
        )
    }
}

/// A ratio: green above 1, where we do more, and red below.
fn painted(ratio: f64, colour: bool) -> String {
    let text = format!("{ratio:>7.2}");
    match (colour, ratio > 1.0) {
        (false, _) => text,
        (true, true) => format!("\x1b[32m{text}\x1b[0m"),
        (true, false) => format!("\x1b[31m{text}\x1b[0m"),
    }
}

/// To a thousandth.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn rates(printed: &[u8]) -> Result<Rates> {
        Rates::new(
            &lines(printed).unwrap(),
            Unit::Requests,
            vec!["note".to_owned()],
        )
    }

    #[test]
    fn two_parties_of_a_case_are_a_row_with_the_probe_that_came_before() {
        let printed = b"a-1core ours 300 400\na-1core libblkio 100 200\n\
            cache-line vhost-driver 70.5\na-2core ours 50 60\na-2core libblkio 100 100\n";

        let object: Value = serde_json::from_str(&rates(printed).unwrap().json()).unwrap();

        assert_eq!(
            object["rows"][0],
            json!({"case": "a-1core", "ours": 300.0, "peer": "libblkio", "theirs": 100.0, "ratio": 3.0,
                "unit": "iops", "ours_maximum": 400.0, "theirs_maximum": 200.0, "ratio_maximum": 2.0})
        );
        assert_eq!(object["rows"][1]["ratio"], 0.5);
        assert_eq!(object["rows"][1]["cache_line_round_trip_ns"], 70.5);
    }

    #[test]
    fn a_case_that_only_a_peer_ran_is_named_and_none_at_all_says_how_they_are_called() {
        let alone = rates(b"a-1core libblkio 100 200\n").err().unwrap();
        let none = rates(b"").err().unwrap();

        assert!(alone.what.contains("a-1core"));
        assert!(none.what.contains("--help"));
    }

    #[test]
    fn packets_are_millions_with_what_is_after_the_point() {
        let printed = lines(b"net-split ours 12.3456 13\nnet-split dpdk 6.1728 10\n").unwrap();
        let rates = Rates::new(&printed, Unit::Packets, Vec::new()).unwrap();

        let object: Value = serde_json::from_str(&rates.json()).unwrap();

        assert_eq!(
            object["rows"],
            json!([{"case": "net-split", "ours": 12.346, "peer": "dpdk", "theirs": 6.173, "ratio": 2.0,
                "unit": "mpps", "ours_maximum": 13.0, "theirs_maximum": 10.0, "ratio_maximum": 1.3}])
        );
        assert!(rates.lines(false)[2].contains("    12.35      6.17    2.00"));
    }

    #[test]
    fn the_table_is_aligned_and_plain_without_a_terminal() {
        let printed = b"cache-line x 70.5\na-2core ours 50 60\na-2core libblkio 100 100\n";

        let lines = rates(printed).unwrap().lines(false);

        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1].len(), lines[2].len());
        assert!(lines.iter().all(|line| !line.contains('\x1b')));
    }
}
