//! A run of pieces, and the table it ends with.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::child::Runner;
use crate::failure::Result;
use crate::pieces::{Desk, PIECES, Piece, Set};

/// One line for each piece, with its set.
pub(crate) fn list() -> String {
    let mut out = String::new();
    for set in [Set::Default, Set::All] {
        out += match set {
            Set::Default => "Run by `cargo xtask test`, as CI does:\n",
            Set::All => "\nRun with `--all`, or by name:\n",
        };
        for piece in PIECES.iter().filter(|piece| piece.set == set) {
            out += &format!("  {:<13} {}\n", piece.name, piece.about);
        }
    }
    out
}

/// Runs `pieces` in their order, each whatever became of the others. Says
/// whether all passed.
pub(crate) fn run(repo: &Path, pieces: &[&Piece], verbose: bool) -> bool {
    let mut rows = Vec::new();
    for piece in pieces {
        let topic = piece.name;
        let run = Runner { verbose, topic };
        let start = Instant::now();
        let result = (piece.run)(&Desk { repo, run });
        let row = Row {
            name: piece.name,
            passed: result.is_ok(),
            time: start.elapsed(),
        };
        show(&row, result);
        rows.push(row);
    }
    print!("\n{}", table(&rows));
    rows.iter().all(|row| row.passed)
}

/// What became of a piece.
struct Row {
    name: &'static str,
    passed: bool,
    time: Duration,
}

impl Row {
    fn result(&self) -> &'static str {
        if self.passed { "passed" } else { "FAILED" }
    }
}

/// Shows the result of a piece as soon as it is there: a few lines if it
/// passed, and everything its child printed if it did not.
fn show(row: &Row, result: Result<Vec<String>>) {
    println!("{}: {}", row.name, row.result());
    match result {
        Ok(lines) => {
            for line in lines {
                println!("  {line}");
            }
        }
        Err(failure) => {
            let mut out = io::stdout().lock();
            // A reader that has gone away needs no output.
            let _ = out.write_all(&failure.output);
            let _ = writeln!(out, "{}: {failure}", row.name);
        }
    }
}

/// The table, and the line of counts that machines read.
fn table(rows: &[Row]) -> String {
    let mut out = format!("{:<13} {:<7} {:>8}\n", "piece", "result", "seconds");
    for row in rows {
        let (name, result) = (row.name, row.result());
        out += &format!("{name:<13} {result:<7} {:>8.1}\n", row.time.as_secs_f64());
    }
    let time: Duration = rows.iter().map(|row| row.time).sum();
    out += &format!("{:<13} {:<7} {:>8.1}\n", "total", "", time.as_secs_f64());
    let passed = rows.iter().filter(|row| row.passed).count();
    out += &format!("{passed} passed, {} failed\n", rows.len() - passed);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_ends_with_the_counts_alone_on_a_line() {
        let row = |name, passed| Row {
            name,
            passed,
            time: Duration::from_millis(1250),
        };

        let table = table(&[row("format", true), row("unit", false)]);

        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[2], "unit          FAILED       1.2");
        assert_eq!(lines[3], "total                      2.5");
        assert_eq!(lines.last(), Some(&"1 passed, 1 failed"));
    }

    #[test]
    fn the_list_has_a_line_for_each_piece() {
        let list = list();

        let indented = list.lines().filter(|line| line.starts_with("  "));
        assert_eq!(indented.count(), PIECES.len());
        assert!(list.lines().all(|line| line.len() <= 100));
    }
}
