//! Packets through a network card beside DPDK: runs the program in `bench/`, and makes a table of what it
//! prints.

use std::path::Path;
use std::process::Command;

use super::rates::{Rates, Unit};
use super::{LIMIT, PROGRAM, build, lines};
use crate::child::Runner;
use crate::failure::Result;
use crate::fetch;
use crate::pieces::Desk;
use crate::scratch::Scratch;

/// Measures all cases, or those that are called `only`.
///
/// # Errors
///
/// A build or a run failed, DPDK cannot be had, or there are no such cases.
pub(crate) fn net(verbose: bool, repo: &Path, only: &[String]) -> Result<Rates> {
    let topic = "net";
    let run = Runner { verbose, topic };
    let desk = Desk { repo, run };
    let dpdk = fetch::DPDK.find(&desk.run, repo)?;
    build(&desk)?;
    let scratch = Scratch::new("net")?;
    let mut command = Command::new(repo.join(PROGRAM));
    command.arg("net").arg(&dpdk.path).arg(scratch.path());
    let printed = lines(&desk.run.succeed(command.args(only), LIMIT)?.stdout)?;
    let notes = vec![
        format!(
            "Millions of packets of 64 bytes a second, there and back, on one processor; DPDK {}.",
            dpdk.version
        ),
        "ratio = ours / theirs: above 1 we do more.".to_owned(),
    ];
    Rates::new(&printed, Unit::Packets, notes)
}
