//! What reads of a disk cost our driver and Linux's, as rows, for people and for machines.

use std::path::Path;

use serde_json::{Value, json};

use crate::child::Runner;
use crate::failure::Result;
use crate::pieces::{self, Counted, Desk, Measured, READS};

/// Everything that was counted in a run.
pub(crate) struct Costs {
    all: Vec<Measured>,
    /// What a person must know to read it.
    notes: Vec<String>,
}

/// Whom we stand beside.
const TARGET: &str = "target";
const LINUX: &str = "linux";

/// Counts in all cases.
///
/// # Errors
///
/// A tool is missing, or a machine did not do its reads.
pub(crate) fn notify(verbose: bool, repo: &Path) -> Result<Costs> {
    let topic = "notify";
    let run = Runner { verbose, topic };
    let (all, mut notes) = pieces::notifications(&Desk { repo, run })?;
    notes.push(
        "kick, interrupt, completion: accesses to registers for one of them; of a completion, those beyond its interrupt's."
            .to_owned(),
    );
    Ok(Costs { all, notes })
}

impl Costs {
    /// One object, alone on its line.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.all.iter().flat_map(rows).collect();
        json!({ "rows": rows }).to_string()
    }

    /// A head, and a line for each case; with escape codes for a terminal if `colour`.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let three = format!("{:>5} {:>10} {:>10}", "kick", "interrupt", "completion");
        let mut out = vec![
            format!(
                "{:<38} {:^20}  {:^11}  {:^27}  {:^27}",
                "", "notifications", "interrupts", "accesses of ours", "of Linux's"
            ),
            format!(
                "{:<38} {:>5} {:>6} {:>7}  {:>5} {:>5}  {three}  {three}",
                "case", "ours", "target", "linux", "ours", "linux"
            ),
        ];
        out.extend(self.all.iter().map(|measured| line(measured, colour)));
        out.extend(self.notes.iter().cloned());
        out
    }
}

/// What one thing takes, and that is counted.
struct Quantity {
    /// What follows a case's name.
    suffix: &'static str,
    unit: &'static str,
    of: fn(&Counted) -> f64,
}

const QUANTITIES: [Quantity; 5] = [
    Quantity {
        suffix: "",
        unit: "notifications",
        of: |counted| counted.notifications as f64,
    },
    Quantity {
        suffix: "-interrupts",
        unit: "interrupts",
        of: |counted| counted.interrupts as f64,
    },
    Quantity {
        suffix: "-kick",
        unit: "accesses",
        of: |counted| each(counted.doorbell, counted.notifications),
    },
    Quantity {
        suffix: "-interrupt",
        unit: "accesses",
        of: |counted| each(counted.acknowledging, counted.interrupts),
    },
    Quantity {
        suffix: "-completion",
        unit: "accesses",
        of: |counted| each(counted.others, READS),
    },
];

/// What each of `count` takes; nothing, if there are none.
fn each(all: u64, count: u64) -> f64 {
    all as f64 / count.max(1) as f64
}

/// A row for each quantity beside its target, and beside Linux.
fn rows(measured: &Measured) -> Vec<Value> {
    let target = [
        Some(measured.target.notifications as f64),
        Some(READS as f64),
        Some(1.0),
        Some(measured.target.for_interrupt as f64),
        Some(0.0),
    ];
    let row = |quantity: &Quantity, peer: &str, theirs: f64| {
        let ours = (quantity.of)(&measured.ours);
        let suffix = if peer == LINUX { "-linux" } else { "" };
        json!({
            "case": format!("{}{}{suffix}", measured.name, quantity.suffix),
            "ours": rounded(ours),
            "peer": peer,
            "theirs": rounded(theirs),
            // There is none where they need nothing.
            "ratio": (theirs != 0.0).then(|| rounded(ours / theirs)),
            "unit": quantity.unit,
        })
    };
    let mut rows = Vec::new();
    for (quantity, target) in QUANTITIES.iter().zip(target) {
        rows.extend(target.map(|target| row(quantity, TARGET, target)));
        let linux = measured.linux.as_ref();
        rows.extend(linux.map(|linux| row(quantity, LINUX, (quantity.of)(linux))));
    }
    rows
}

fn line(measured: &Measured, colour: bool) -> String {
    let Measured {
        name,
        ours,
        linux,
        target,
    } = measured;
    let of_linux = |number: fn(&Counted) -> u64| {
        linux
            .as_ref()
            .map_or_else(String::new, |linux| number(linux).to_string())
    };
    let accesses = |counted: &Counted| {
        let [kick, interrupt, completion] = [2, 3, 4].map(|at: usize| (QUANTITIES[at].of)(counted));
        format!("{kick:>5.2} {interrupt:>10.2} {completion:>10.2}")
    };
    let text = format!(
        "{name:<38} {:>5} {:>6} {:>7}  {:>5} {:>5}  {}  {}",
        ours.notifications,
        target.notifications,
        of_linux(|counted| counted.notifications),
        ours.interrupts,
        of_linux(|counted| counted.interrupts),
        accesses(ours),
        linux.as_ref().map(accesses).unwrap_or_default(),
    );
    let more = |linux: &Counted| ours.notifications > linux.notifications;
    match target.missed(ours).is_some() || linux.as_ref().is_some_and(more) {
        true if colour => format!("\x1b[31m{}\x1b[0m", text.trim_end()),
        true => format!("{} missed", text.trim_end()),
        false => text.trim_end().to_owned(),
    }
}

/// To a thousandth: what is finer is of the division, not of the work.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::Target;

    fn costs(notifications: u64) -> Costs {
        let ours = Counted {
            notifications,
            interrupts: 500,
            doorbell: notifications,
            acknowledging: 1000,
            others: 0,
        };
        let linux = Counted {
            notifications: 1004,
            interrupts: 1000,
            doorbell: 1004,
            acknowledging: 2000,
            others: 50,
        };
        Costs {
            all: vec![Measured {
                name: "notify-mmio-depth1".to_owned(),
                ours,
                linux: Some(linux),
                target: Target {
                    notifications: 1000,
                    for_interrupt: 2,
                },
            }],
            notes: vec!["note".to_owned()],
        }
    }

    #[test]
    fn each_quantity_has_a_row_beside_its_target_and_one_beside_linux() {
        let object: Value = serde_json::from_str(&costs(1000).json()).unwrap();

        let rows = object["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 2 * QUANTITIES.len());
        assert_eq!(
            rows[0],
            json!({"case": "notify-mmio-depth1", "ours": 1000.0, "peer": "target", "theirs": 1000.0,
                "ratio": 1.0, "unit": "notifications"})
        );
        assert_eq!(rows[1]["case"], "notify-mmio-depth1-linux");
        assert_eq!(rows[1]["ratio"], 0.996);
        assert_eq!(rows[8]["case"], "notify-mmio-depth1-completion");
        assert_eq!(rows[8]["ratio"], Value::Null);
        assert_eq!(rows[9]["theirs"], 0.05);
    }

    #[test]
    fn a_target_that_is_missed_is_told_on_its_line() {
        assert!(!costs(1000).lines(false)[2].contains("missed"));
        assert!(costs(1001).lines(false)[2].ends_with("missed"));
    }
}
