//! Block requests over vhost-user beside libblkio and qemu-storage-daemon: runs the program in
//! `bench/`, and makes a table of what it prints.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::rates::{Rates, Unit};
use super::{PROGRAM, build, lines};
use crate::child::Runner;
use crate::failure::Result;
use crate::fetch;
use crate::pieces::{Desk, ringway};
use crate::scratch::Scratch;

/// Most time for a run of all cases.
const LIMIT: Duration = Duration::from_secs(4 * 60);
/// Where files are in memory.
const IN_MEMORY: &str = "/dev/shm";
/// Measures all cases, or those that are called `only`.
///
/// # Errors
///
/// A build or a run failed, qemu-storage-daemon cannot be had, or there are no such cases.
pub(crate) fn vhost(verbose: bool, repo: &Path, only: &[String]) -> Result<Rates> {
    let topic = "vhost";
    let run = Runner { verbose, topic };
    measure(&Desk { repo, run }, "vhost", only)
}

/// Runs every case for a moment, with both parties.
pub(crate) fn smoke(desk: &Desk<'_>) -> Result<Vec<String>> {
    let rates = measure(desk, "vhost-smoke", &[])?;
    Ok(vec![format!("{} cases ran", rates.rows.len())])
}

fn measure(desk: &Desk<'_>, verb: &str, only: &[String]) -> Result<Rates> {
    let daemon = fetch::STORAGE_DAEMON.find(&desk.run, desk.repo)?;
    let ringway = ringway(desk)?;
    build(desk)?;
    let sockets = Scratch::new("vhost")?;
    let memory = Scratch::below(Path::new(IN_MEMORY), "vhost")?;
    let mut command = Command::new(desk.repo.join(PROGRAM));
    command
        .arg(verb)
        .args([&ringway, &daemon.path])
        .args([sockets.path(), memory.path()])
        .args(only);
    let printed = lines(&desk.run.succeed(&mut command, LIMIT)?.stdout)?;
    let notes = vec![
        format!("Requests a second; qemu-storage-daemon {}.", daemon.version),
        "ratio = ours / theirs: above 1 we do more; beside says whose theirs is.".to_owned(),
    ];
    Rates::new(&printed, Unit::Requests, notes)
}
