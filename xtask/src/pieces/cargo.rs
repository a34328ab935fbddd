//! The pieces that are a call of cargo.
//!
//! They share cargo's target folders, and none sets flags that would make
//! cargo build the same crate twice.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Desk;
use crate::failure::{Failure, Result};
use crate::source;

/// Most time for one call: a whole build on a slow machine.
pub(super) const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The workspace of the bare-metal image.
const GUEST: &str = "guest/Cargo.toml";
/// The crates that must do without the standard library, and their folders.
const NO_STD: [(&str, &str); 3] = [
    ("ringway-spec", "crates/spec"),
    ("ringway-ring", "crates/ring"),
    ("ringway-driver", "crates/driver"),
];

/// A call of cargo in the repository.
pub(super) fn cargo(desk: &Desk<'_>, args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(args).current_dir(desk.repo);
    command
}

pub(super) fn format(desk: &Desk<'_>) -> Result<Vec<String>> {
    call(desk, &["fmt", "--all", "--check"])?;
    call(desk, &["fmt", "--check", "--manifest-path", GUEST])
}

pub(super) fn clippy(desk: &Desk<'_>) -> Result<Vec<String>> {
    let deny = ["--", "-D", "warnings"];
    let here = ["clippy", "--locked", "--workspace", "--all-targets"];
    call(desk, &[&here[..], &deny].concat())?;
    let guest = [
        "clippy",
        "--locked",
        "--all-targets",
        "--manifest-path",
        GUEST,
    ];
    call(desk, &[&guest[..], &deny].concat())
}

pub(super) fn unit(desk: &Desk<'_>) -> Result<Vec<String>> {
    let args = [
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
    ];
    summaries(desk, &args)
}

pub(super) fn doctests(desk: &Desk<'_>) -> Result<Vec<String>> {
    summaries(desk, &["test", "--locked", "--workspace", "--doc"])
}

pub(super) fn docs(desk: &Desk<'_>) -> Result<Vec<String>> {
    let mut doc = cargo(desk, &["doc", "--locked", "--workspace", "--no-deps"]);
    desk.run
        .succeed(doc.env("RUSTDOCFLAGS", "-D warnings"), LIMIT)?;
    Ok(Vec::new())
}

/// Each crate alone, so that none lends another its features. A host's target
/// has std to offer, so the crate itself must say that it does not take it.
pub(super) fn no_std(desk: &Desk<'_>) -> Result<Vec<String>> {
    for (name, folder) in NO_STD {
        let root = desk.repo.join(folder).join("src/lib.rs");
        let text = fs::read_to_string(&root).map_err(Failure::io("read", &root))?;
        let says = |attribute| {
            source::lines(&text)
                .iter()
                .any(|l| l.code.trim() == attribute)
        };
        if !says("#![no_std]") || says("extern crate std;") {
            return Err(Failure::new(format!(
                "{folder}/src/lib.rs is not `#![no_std]`"
            )));
        }
        call(
            desk,
            &["check", "--locked", "-p", name, "--no-default-features"],
        )?;
    }
    Ok(Vec::new())
}

pub(super) fn guest(desk: &Desk<'_>) -> Result<Vec<String>> {
    call(
        desk,
        &["build", "--locked", "--release", "--manifest-path", GUEST],
    )
}

fn call(desk: &Desk<'_>, args: &[&str]) -> Result<Vec<String>> {
    desk.run.succeed(&mut cargo(desk, args), LIMIT)?;
    Ok(Vec::new())
}

/// Runs tests, and returns cargo's line of counts for each program that had any.
fn summaries(desk: &Desk<'_>, args: &[&str]) -> Result<Vec<String>> {
    let done = desk.run.succeed(&mut cargo(desk, args), LIMIT)?;
    let log = String::from_utf8_lossy(&done.log);
    let counts = results(&log);
    if counts.is_empty() {
        return Err(Failure::new("no test ran"));
    }
    Ok(counts)
}

/// The result lines in `log`, less those of programs without tests.
fn results(log: &str) -> Vec<String> {
    log.lines()
        .filter(|line| line.starts_with("test result:"))
        .filter(|line| !line.contains(" 0 passed; 0 failed; 0 ignored;"))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_without_tests_are_left_out_of_the_counts() {
        let log = "     Running unittests src/lib.rs\n\
                   test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\
                   test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";

        let counts = results(log);

        assert_eq!(counts.len(), 1);
        assert!(counts[0].contains("10 passed"));
    }
}
