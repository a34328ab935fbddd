//! The pieces that are a call of cargo.
//!
//! They share cargo's target folders, and none sets flags that would make
//! cargo build the same crate twice; one that needs other flags has a folder of
//! its own.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::Desk;
use crate::failure::{Failure, Result};
use crate::{bench, source};

/// Most time for one call: a whole build on a slow machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(15 * 60);
/// The workspace of the bare-metal image.
const GUEST: &str = "guest/Cargo.toml";
/// The workspace of the fuzz targets.
pub(super) const FUZZ: &str = "fuzz/Cargo.toml";
/// The workspace of the example of a device type of one's own.
pub(super) const OWN_TYPE: &str = "examples/own-type/Cargo.toml";
/// The workspaces beside the main one.
const APART: [&str; 4] = [GUEST, bench::WORKSPACE, FUZZ, OWN_TYPE];
/// What turns shared memory into that of a model.
const MODEL: &str = "--cfg loom";
/// The crate that has models, and where it is built with that flag.
const MODELLED: [&str; 5] = [
    "--locked",
    "-p",
    "ringway-ring",
    "--target-dir",
    "target/models",
];
/// The crates that must do without the standard library, and their folders.
const NO_STD: [(&str, &str); 6] = [
    ("ringway-spec", "crates/spec"),
    ("ringway-packet", "crates/packet"),
    ("ringway-ring", "crates/ring"),
    ("ringway-driver", "crates/driver"),
    ("ringway-stack", "crates/stack"),
    ("ringway-smoltcp", "crates/smoltcp"),
];

/// A call of cargo in the repository.
pub(crate) fn cargo(desk: &Desk<'_>, args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(args).current_dir(desk.repo);
    // The other pieces look for what was built where it is by default.
    command.env_remove("CARGO_TARGET_DIR");
    command
}

pub(super) fn format(desk: &Desk<'_>) -> Result<Vec<String>> {
    let plain = ["--", "--color", "never"];
    call(desk, &[&["fmt", "--all", "--check"][..], &plain].concat())?;
    for workspace in APART {
        let there = ["fmt", "--check", "--manifest-path", workspace];
        call(desk, &[&there[..], &plain].concat())?;
    }
    Ok(Vec::new())
}

pub(super) fn clippy(desk: &Desk<'_>) -> Result<Vec<String>> {
    let deny = ["--", "-D", "warnings"];
    let here = ["clippy", "--locked", "--workspace", "--all-targets"];
    call(desk, &[&here[..], &deny].concat())?;
    for workspace in APART {
        let there = [
            "clippy",
            "--locked",
            "--all-targets",
            "--manifest-path",
            workspace,
        ];
        call(desk, &[&there[..], &deny].concat())?;
    }
    Ok(Vec::new())
}

pub(super) fn unit(desk: &Desk<'_>) -> Result<Vec<String>> {
    let here = [
        "test",
        "--locked",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
    ];
    let mut counts = summaries(desk, &mut cargo(desk, &here))?;
    let guest = ["test", "--locked", "--lib", "--manifest-path", GUEST];
    counts.extend(summaries(desk, &mut cargo(desk, &guest))?);
    Ok(counts)
}

/// The histories with hostile peers, in rings built to let the peer act before every load.
pub(super) fn hostile(desk: &Desk<'_>) -> Result<Vec<String>> {
    let args = [
        "test",
        "--locked",
        "-p",
        "ringway-check",
        "-p",
        "ringway-vhost",
        "--test",
        "hostile",
        "--test",
        "killed",
    ];
    let mut test = cargo(desk, &args);
    test.env("RUSTFLAGS", "--cfg ringway_interpose")
        .env("CARGO_TARGET_DIR", "target/interpose");
    summaries(desk, &mut test)
}

pub(super) fn doctests(desk: &Desk<'_>) -> Result<Vec<String>> {
    let all = ["test", "--locked", "--workspace", "--doc"];
    summaries(desk, &mut cargo(desk, &all))
}

/// The lints too: `clippy` does not see what is built for models only.
pub(super) fn models(desk: &Desk<'_>) -> Result<Vec<String>> {
    let modelled = |command: &str, more: &[&str]| {
        let args = [&[command][..], &MODELLED, &["--test", "models"], more].concat();
        let mut call = cargo(desk, &args);
        call.env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", MODEL);
        call
    };
    let mut lints = modelled("clippy", &["--", "-D", "warnings"]);
    desk.run.succeed(&mut lints, LIMIT)?;
    summaries(desk, &mut modelled("test", &[]))
}

pub(super) fn docs(desk: &Desk<'_>) -> Result<Vec<String>> {
    for workspace in ["Cargo.toml", GUEST] {
        let args = ["doc", "--locked", "--workspace", "--no-deps"];
        let mut doc = cargo(desk, &args);
        doc.args(["--manifest-path", workspace])
            .env("RUSTDOCFLAGS", "-D warnings");
        desk.run.succeed(&mut doc, LIMIT)?;
    }
    Ok(Vec::new())
}

/// Each crate alone, so that none lends another its features. A host's target
/// has std to offer, so the crate itself must say that it does not take it.
pub(super) fn no_std(desk: &Desk<'_>) -> Result<Vec<String>> {
    for (name, folder) in NO_STD {
        let root = desk.repo.join(folder).join("src/lib.rs");
        let text = fs::read_to_string(&root).map_err(Failure::io("read", &root))?;
        if takes_std(&text) {
            return Err(Failure::new(format!("{folder}/src/lib.rs takes std")));
        }
        let args = ["check", "--locked", "-p", name, "--no-default-features"];
        call(desk, &args)?;
    }
    Ok(Vec::new())
}

pub(super) fn guest(desk: &Desk<'_>) -> Result<Vec<String>> {
    call(
        desk,
        &["build", "--locked", "--release", "--manifest-path", GUEST],
    )
}

/// What may stand above a crate's request for std.
const FOR_TESTS: [&str; 2] = ["#[cfg(test)]", "#[cfg(any(test, loom))]"];

/// Whether the crate whose root is `text` has std outside its tests and models.
fn takes_std(text: &str) -> bool {
    let lines = source::lines(text);
    let code: Vec<&str> = lines.iter().map(|l| l.code.trim()).collect();
    let mut pairs = code.windows(2);
    !code.contains(&"#![no_std]")
        || pairs
            .any(|pair| matches!(pair, [above, "extern crate std;"] if !FOR_TESTS.contains(above)))
}

fn call(desk: &Desk<'_>, args: &[&str]) -> Result<Vec<String>> {
    desk.run.succeed(&mut cargo(desk, args), LIMIT)?;
    Ok(Vec::new())
}

/// Runs tests, and returns cargo's line of counts for each program that had any.
pub(super) fn summaries(desk: &Desk<'_>, tests: &mut Command) -> Result<Vec<String>> {
    let done = desk.run.succeed(tests, LIMIT)?;
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
    fn std_is_for_tests_and_models_only() {
        let without = "#![no_std]\nextern crate alloc;\n#[cfg(test)]\nextern crate std;\n";
        let with = "#![no_std]\nextern crate alloc;\nextern crate std;\n";
        let modelled = without.replace("(test)", "(any(test, loom))");
        let silent = "// #![no_std]\nextern crate alloc;\n";

        assert!(!takes_std(without));
        assert!(!takes_std(&modelled));
        assert!(takes_std(with));
        assert!(takes_std(silent));
    }

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
