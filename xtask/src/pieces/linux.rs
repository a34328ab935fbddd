//! What the pieces with Linux in them share: back-ends for it to drive, what
//! it starts with, and how its scripts report.
//!
//! | file | |
//! | --- | --- |
//! | [`cards`] | our network cards, and what they say |
//! | [`backend`] | what serves a device over vhost-user, ours or another's |
//! | [`cpio`] | an archive that Linux unpacks as its first root |
//! | [`modules`] | the modules of a kernel, with those that they need |
//! | [`qmp`] | telling QEMU what to do while it runs |
//! | [`report`] | what a script says, and what must be in it |
//! | [`root`] | what Linux in a virtual machine starts with |
//! | `*.sh` | the scripts: `start.sh` and `report.sh` before all others |

pub(super) mod backend;
pub(super) mod cards;
pub(super) mod cpio;
pub(super) mod modules;
pub(super) mod qmp;
pub(super) mod report;
pub(super) mod root;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Runner;
use crate::failure::{Failure, Result};

/// What every script begins with.
pub(super) const REPORT: &str = include_str!("linux/report.sh");
/// A disk, by its files and by its sectors.
pub(super) const BLOCK: &str = include_str!("linux/block.sh");

/// A network card whose neighbour is our own peer.
pub(super) const NET: &str = include_str!("linux/net.sh");

/// Bytes of the part of a disk that has a file system. What follows it is for raw requests.
pub(super) const FILES: u64 = 64 << 20;
/// Bytes of a disk that a script works on.
pub(super) const DISK: u64 = 96 << 20;
/// Most time to look at a file system.
const JUDGE_LIMIT: Duration = Duration::from_secs(60);

/// What became of each row of a table: all are run, whatever became of the others.
#[derive(Default)]
pub(super) struct Rows {
    lines: Vec<String>,
    /// What is wrong, and what was printed there.
    wrong: Vec<String>,
    output: Vec<u8>,
}

impl Rows {
    /// Adds a row: what it did, or why not.
    pub(super) fn add(&mut self, name: &str, did: Result<String>) {
        match did {
            Ok(did) => self.lines.push(format!("{name}: {did}")),
            Err(failure) => {
                self.output.extend(format!("\n{name}:\n").into_bytes());
                self.output.extend(failure.output);
                self.wrong.push(format!("{name}: {}", failure.what));
            }
        }
    }

    /// A line for each, and then `last`.
    ///
    /// # Errors
    ///
    /// Something is wrong with some; the text says of each what.
    pub(super) fn finish(mut self, last: String) -> Result<Vec<String>> {
        if self.wrong.is_empty() {
            self.lines.push(last);
            return Ok(self.lines);
        }
        let right = self.lines.into_iter().map(|line| format!("{line} (well)"));
        Err(Failure {
            what: self
                .wrong
                .into_iter()
                .chain(right)
                .collect::<Vec<_>>()
                .join("\n"),
            output: self.output,
        })
    }
}

/// Has `e2fsck`, which stands beside `mke2fs`, look at the file system of an image.
pub(super) fn judge_files(run: &Runner, mke2fs: &Path, image: &Path) -> Result<()> {
    let mut judge = Command::new(mke2fs.with_file_name("e2fsck"));
    run.succeed(judge.arg("-fn").arg(image), JUDGE_LIMIT)?;
    Ok(())
}

/// Lines of a shell that give variables their values.
pub(super) fn variables(all: &[(&str, &str)]) -> String {
    let line = |(name, value): &(&str, &str)| format!("{name}={}\n", quoted(value));
    all.iter().map(line).collect()
}

fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_is_wrong_is_named_with_its_log() {
        let mut rows = Rows::default();

        rows.add("a", Ok("3 steps".to_owned()));
        for (name, log) in [("b", "lost"), ("c", "torn")] {
            let failure = Failure {
                output: log.as_bytes().to_vec(),
                ..Failure::new("not so")
            };
            rows.add(name, Err(failure));
        }

        let failed = rows.finish("on Linux".to_owned()).unwrap_err();
        assert_eq!(failed.what, "b: not so\nc: not so\na: 3 steps (well)");
        assert_eq!(failed.output, b"\nb:\nlost\nc:\ntorn");
    }

    #[test]
    fn a_shell_reads_what_was_given() {
        let value = "it's a $PATH with \"all\" \\ of them";
        let script = variables(&[("A", value), ("B", "")]) + "printf '%s|%s' \"$A\" \"$B\"";

        let mut shell = Command::new("sh");
        let said = Runner::TEST.succeed(shell.args(["-c", &script]), Duration::from_secs(30));

        assert_eq!(said.unwrap().stdout, format!("{value}|").into_bytes());
    }
}
