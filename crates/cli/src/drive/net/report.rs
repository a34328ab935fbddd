//! What became of packets, for people and for programs.

use std::fmt;
use std::time::Duration;

use anstyle::Style;
use serde_json::{Value, json};

use super::args::Sizes;
use super::ledger::Counts;

/// All that was sent.
pub(super) struct Report {
    pub(super) pairs: u16,
    pub(super) polls: bool,
    /// What both ends agreed to.
    pub(super) features: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// The packets of one size, or of several mixed.
pub(super) struct Row {
    pub(super) sizes: Sizes,
    /// Of each pair: by which they were sent, whichever they came by.
    pub(super) counts: Vec<Counts>,
    pub(super) time: Duration,
    pub(super) kicks: u64,
    pub(super) interrupts: u64,
}

impl Report {
    /// What is wrong with the packets of the first row with which something is.
    pub(super) fn bad(&self) -> Option<String> {
        let row = self.rows.iter().find(|row| !row.total().are_good())?;
        let counts = row.total();
        let wrong = [
            (counts.lost(), "lost"),
            (counts.corrupted, "changed"),
            (counts.reordered, "out of their turn"),
            (counts.duplicated, "twice"),
        ];
        let wrong = wrong.iter().filter(|(count, _)| *count != 0);
        let wrong: Vec<_> = wrong.map(|(count, how)| format!("{count} {how}")).collect();
        let (sent, sizes) = (counts.sent, &row.sizes);
        let wrong = wrong.join(", ");
        Some(format!("of {sent} packets of {sizes} bytes: {wrong}"))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "pairs": self.pairs,
            "completions": if self.polls { "polled" } else { "signalled" },
            "features": self.features,
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
        })
    }
}

impl Row {
    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.time.as_secs_f64().max(1e-9)
    }

    fn json(&self) -> Value {
        let total = self.total();
        let mut row = counts(&total);
        let more = json!({
            "bytes": self.sizes.to_string(),
            "seconds": self.time.as_secs_f64(),
            "packets_per_second": self.per_second(total.received),
            "bytes_per_second": self.per_second(total.received_bytes),
            "kicks": self.kicks,
            "interrupts": self.interrupts,
            "by_pair": self.counts.iter().map(counts).collect::<Vec<_>>(),
        });
        if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
            row.extend(more);
        }
        row
    }
}

fn counts(counts: &Counts) -> Value {
    json!({
        "sent": counts.sent,
        "sent_bytes": counts.sent_bytes,
        "received": counts.received,
        "received_bytes": counts.received_bytes,
        "lost": counts.lost(),
        "reordered": counts.reordered,
        "corrupted": counts.corrupted,
        "duplicated": counts.duplicated,
        "foreign": counts.foreign,
    })
}

/// The report, for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const STRONG: Style = Style::new().bold();
        writeln!(
            f,
            "{STRONG}{:>11}  {:>9}  {:>9}  {:>7}  {:>7}  {:>7}  {:>7}  {:>11}  {:>8}{STRONG:#}",
            "BYTES", "SENT", "BACK", "LOST", "CHANGED", "TURNED", "TWICE", "PACKETS/S", "MBIT/S"
        )?;
        for row in &self.rows {
            let total = row.total();
            writeln!(
                f,
                "{:>11}  {:>9}  {:>9}  {:>7}  {:>7}  {:>7}  {:>7}  {:>11.0}  {:>8.1}",
                row.sizes.to_string(),
                total.sent,
                total.received,
                total.lost(),
                total.corrupted,
                total.reordered,
                total.duplicated,
                row.per_second(total.received),
                row.per_second(total.received_bytes) * 8.0 / 1e6,
            )?;
        }
        let pairs = match self.pairs {
            1 => "1 pair of queues".to_owned(),
            pairs => format!("{pairs} pairs of queues"),
        };
        let waits = if self.polls { "polled" } else { "signalled" };
        writeln!(f, "{pairs}, completions {waits}")
    }
}
