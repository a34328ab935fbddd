//! Two machines at the two ends of a line, with our driver in both: each sends the other bytes, and says
//! what they hash to.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::boot::devices;
use crate::child::Finished;
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::devices::product::Presented;
use crate::pieces::image::SUCCESS;
use crate::scratch::Scratch;

/// Most time for both, on a slow machine.
const LIMIT: Duration = Duration::from_secs(120);

/// One end: how its card is presented, and its switches.
pub(super) type End = (Presented, &'static str);

/// A packed ring whose device does not say by an index from where on it wants to be told. Where packets had
/// to wait for the line, QEMU 10.0 says so of the place where it was, takes those that wait and more, and is
/// told of none after them: nothing goes over the line any more.
pub(super) const PACKED: &str = ",packed=on,event_idx=off";

/// Moves `bytes` bytes in both directions, and says what went over the line.
pub(super) fn run(
    desk: &Desk<'_>,
    qemu: &Path,
    [one, other]: [End; 2],
    bytes: u64,
) -> Result<String> {
    let scratch = Scratch::new("pair")?;
    let socket = scratch.path().join("line");
    let line = format!(
        "stream,id=net,addr.type=unix,addr.path={}",
        socket.display()
    );
    let mut listens = machine(
        desk,
        qemu,
        one,
        &format!("net=listen bytes={bytes} seed=1"),
        1,
    );
    let mut listens = desk
        .run
        .start(listens.args(["-netdev", &format!("{line},server=on")]))?;
    listens.wait_until("come up", LIMIT, |log| log.contains("\"event\":\"begin\""))?;
    let mut connects = machine(
        desk,
        qemu,
        other,
        &format!("net=connect bytes={bytes} seed=2"),
        2,
    );
    connects.args(["-netdev", &format!("{line},server=off")]);
    let connects = desk.run.run(&mut connects, LIMIT)?;
    let listens = listens.finish(LIMIT)?;
    let [one, other] = [report(listens, bytes)?, report(connects, bytes)?];
    let [from, to] = [&one["card"], &other["card"]];
    if from["sent"] != to["came"] || to["sent"] != from["came"] || from["sent"] == to["sent"] {
        return Err(Failure::new(format!(
            "what was sent did not come: {from}, {to}"
        )));
    }
    let transports = [&one, &other].map(|end| end["transport"].as_str().unwrap_or_default());
    Ok(format!(
        "{} and {}: {bytes} bytes each way, {}",
        transports[0],
        transports[1],
        super::counted(&one)
    ))
}

fn machine(desk: &Desk<'_>, qemu: &Path, end: End, asked: &str, number: u8) -> Command {
    let (presented, switches) = end;
    let mut command = presented.machine().boot(qemu, desk.repo);
    let card = match presented.is_mmio() {
        true => "virtio-net-device",
        false => "virtio-net-pci,romfile=",
    };
    let ours = presented.switches();
    command
        .args(["-append", &format!("{asked}{}", presented.asked())])
        .args([
            "-device",
            &format!("{card},netdev=net,mac=52:54:00:00:00:0{number}{ours}{switches}"),
        ]);
    command
}

/// What one end says, if it went well.
fn report(done: Finished, bytes: u64) -> Result<Value> {
    let report = devices(&done.stdout).into_iter().next().unwrap_or_default();
    let checks = report["checks"].as_array().map_or(&[][..], Vec::as_slice);
    let well = !checks.is_empty() && checks.iter().all(|check| check["ok"] == true);
    if done.status.code() == Some(SUCCESS) && well && report["bytes"] == bytes {
        return Ok(report);
    }
    Err(Failure {
        what: format!("an end of the line ended with {}: {report}", done.status),
        output: done.log,
    })
}
