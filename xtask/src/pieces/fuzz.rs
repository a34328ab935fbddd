//! The fuzz targets: the kept corpus, and then chance for a few seconds each.

use std::time::Duration;

use super::Desk;
use super::cargo::{FUZZ, LIMIT, cargo};
use crate::failure::{Failure, Result};

/// The targets, as `replay` knows them.
const TARGETS: [&str; 13] = [
    "split_driver",
    "packed_driver",
    "split_device",
    "packed_device",
    "pci_driver",
    "pci_device",
    "mmio_device",
    "blk_queue",
    "net_queue",
    "net_driver",
    "vhost_messages",
    "vhost_session",
    "vhost_records",
];
/// Seconds of chance for each target.
const SECONDS: &str = "3";
/// Most time for one target: many times what it takes.
const RUN_LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    // All programs: those behind cargo-fuzz must build too.
    let build = ["build", "--locked", "--manifest-path", FUZZ];
    desk.run.succeed(&mut cargo(desk, &build), LIMIT)?;
    let mut lines = Vec::new();
    for target in TARGETS {
        let mut run = cargo(
            desk,
            &["run", "--locked", "--quiet", "--manifest-path", FUZZ],
        );
        run.args(["--bin", "replay", "--", target, "--seconds", SECONDS]);
        let done = desk.run.succeed(&mut run, RUN_LIMIT)?;
        let text = String::from_utf8_lossy(&done.stdout);
        let line = text.lines().last();
        let line = line.ok_or_else(|| Failure::new(format!("{target} printed nothing")))?;
        lines.push(line.to_owned());
    }
    Ok(lines)
}
