//! The main job, run as a user runs it: `ringway up`, in process and on QEMU.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::Desk;
use super::cargo::{self, cargo};
use super::pattern;
use super::report::{self, Expect};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;

/// Most time for a run with the disk that `up` makes for itself.
const LIMIT: Duration = Duration::from_secs(5 * 60);
/// Most time for a run with the large disk, which is emulated instruction by
/// instruction on QEMU.
const LARGE_LIMIT: Duration = Duration::from_secs(60 * 60);
/// Size of the large disk, in bytes.
const LARGE: u64 = 1 << 30;
/// Size of the disk for other rings than the usual, in bytes.
const SMALL: u64 = 8 << 20;
/// Size of the disk that `up` makes for itself, in bytes.
const OWN: u64 = 64 << 20;

/// The pattern of the disks.
const SEED: u64 = 0;

/// Rings that devices are asked to have, and what must come of it.
struct Rings {
    args: &'static [&'static str],
    /// Where there are such devices. `None` if everywhere.
    on: Option<&'static str>,
    expect: Expect,
}

const fn rings(args: &'static [&'static str], expect: Expect) -> Rings {
    Rings {
        args,
        on: None,
        expect,
    }
}

const RINGS: &[Rings] = &[
    rings(
        &["--ring", "packed"],
        Expect {
            ring: "packed",
            with: &["INDIRECT_DESC", "EVENT_IDX"],
            without: &["IN_ORDER"],
        },
    ),
    rings(
        &["--ring", "inorder"],
        Expect {
            ring: "packed",
            with: &["INDIRECT_DESC", "EVENT_IDX", "IN_ORDER"],
            without: &[],
        },
    ),
    rings(
        &["--ring-features", "in_order"],
        Expect {
            ring: "split",
            with: &["INDIRECT_DESC", "EVENT_IDX", "IN_ORDER"],
            without: &[],
        },
    ),
    rings(
        &["--ring-features", "none"],
        Expect {
            ring: "split",
            with: &[],
            without: &["INDIRECT_DESC", "EVENT_IDX"],
        },
    ),
    rings(
        &[
            "--ring",
            "packed",
            "--ring-features",
            "none,access_platform",
        ],
        Expect {
            ring: "packed",
            with: &["ACCESS_PLATFORM"],
            without: &["INDIRECT_DESC", "EVENT_IDX"],
        },
    ),
    Rings {
        on: Some("here"),
        ..rings(
            &["--ring-features", "order_platform,no-event_idx"],
            Expect {
                ring: "split",
                with: &[
                    "INDIRECT_DESC",
                    "ORDER_PLATFORM",
                    "NOTIFICATION_DATA",
                    "RING_RESET",
                ],
                without: &["EVENT_IDX"],
            },
        )
    },
];

pub(super) fn here(desk: &Desk<'_>) -> Result<Vec<String>> {
    every_ring(desk, "here")
}

pub(super) fn qemu(desk: &Desk<'_>) -> Result<Vec<String>> {
    every_ring(desk, "qemu")
}

/// Runs `up` as it comes, on the disk that it makes for itself; then with other rings, on a small
/// one.
fn every_ring(desk: &Desk<'_>, on: &str) -> Result<Vec<String>> {
    let mut lines = up(desk, on, &[], None, &Expect::USUAL)?;
    let scratch = Scratch::new("up-disk")?;
    let disk = scratch.path().join("disk.img");
    pattern::write(&disk, SEED, SMALL).map_err(Failure::io("write", &disk))?;
    for rings in RINGS.iter().filter(|rings| rings.on.unwrap_or(on) == on) {
        up(desk, on, rings.args, Some((&disk, SMALL)), &rings.expect)
            .map_err(|e| e.of(&rings.args.join(" ")))?;
        lines.push(format!("{}: as asked for", rings.args.join(" ")));
    }
    Ok(lines)
}

pub(super) fn here_large(desk: &Desk<'_>) -> Result<Vec<String>> {
    large(desk, "here")
}

pub(super) fn qemu_large(desk: &Desk<'_>) -> Result<Vec<String>> {
    large(desk, "qemu")
}

/// Runs `up` on the large disk, which must come out as it went in.
fn large(desk: &Desk<'_>, on: &str) -> Result<Vec<String>> {
    let disk = desk.repo.join(format!("target/large-{on}.img"));
    pattern::write(&disk, SEED, LARGE).map_err(Failure::io("write", &disk))?;
    let mut lines = up(desk, on, &[], Some((&disk, LARGE)), &Expect::USUAL)?;
    if !pattern::holds(&disk, SEED, LARGE).map_err(Failure::io("read", &disk))? {
        return Err(Failure::new("`up` without --write changed the image"));
    }
    fs::remove_file(&disk).map_err(Failure::io("remove", &disk))?;
    lines.push("the image is unchanged".to_owned());
    Ok(lines)
}

/// Runs `up` with `more` arguments, on the disk at a path, of so many bytes, if one is given.
fn up(
    desk: &Desk<'_>,
    on: &str,
    more: &[&str],
    disk: Option<(&Path, u64)>,
    expect: &Expect,
) -> Result<Vec<String>> {
    // Built first, so that the time limit of the run is the run's alone.
    desk.run.succeed(
        &mut cargo(desk, &["build", "--locked", "--release"]),
        cargo::LIMIT,
    )?;
    let args = [
        "run",
        "--locked",
        "--release",
        "--",
        "up",
        "--on",
        on,
        "--json",
    ];
    let mut command = cargo(desk, &args);
    command.args(more);
    let mut lines = Vec::new();
    if on == "qemu" {
        let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
        lines.push(format!("QEMU {}", qemu.version));
        command.env("RINGWAY_QEMU", qemu.path);
    }
    if let Some((disk, _)) = disk {
        command.arg("--disk").arg(disk);
    }
    let bytes = disk.map_or(OWN, |(_, bytes)| bytes);
    let limit = if bytes < LARGE { LIMIT } else { LARGE_LIMIT };
    let done = desk.run.succeed(&mut command, limit)?;
    let devices = report::check(&done.stdout, on, bytes, expect).map_err(|e| Failure {
        output: done.log,
        ..e
    })?;
    lines.extend(devices);
    Ok(lines)
}
