//! What is done to a disk under load: its back-end is killed, or its machine
//! moves to another QEMU.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::Machine;
use super::{Case, Tools};
use crate::child::{Finished, Running};
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::linux::DISK;
use crate::pieces::linux::qmp::Monitor;
use crate::pieces::linux::report::{Report, check};

/// The script of the guest.
const LOAD: &str = include_str!("load.sh");

/// The sector that says when it is enough, and what it then says. It is the disk's last.
pub(super) const ENOUGH: u64 = DISK / SECTOR - 1;
const WORD: &[u8; 8] = b"enough\n\0";
const SECTOR: u64 = 512;

/// How often a back-end is killed.
const KILLS: u64 = 4;
/// Rounds of the load between two kills, and after the last.
const BETWEEN: u64 = 2;
/// How long a back-end stands still before it is killed, for requests to pile up.
const STILL: Duration = Duration::from_millis(300);

/// Most time for a machine to move, and how often it is asked how far it is.
const MOVE_LIMIT: Duration = Duration::from_secs(180);
const ASK: Duration = Duration::from_millis(50);
/// How fast a machine moves at first, in bytes a second: slowly, so that the device writes to
/// pages that were sent already. Then as fast as can be.
const SLOW: u64 = 32 << 20;
const FAST: u64 = 10 << 30;
/// How often the dirty pages are looked up before that.
const PASSES: u64 = 4;
/// How long it may stand still in the end, in milliseconds.
const DOWNTIME: u64 = 5_000;

/// Kills the disk's back-end under load, at any time or with requests in it, and starts another.
pub(super) fn reconnect(
    case: &Case,
    desk: &Desk<'_>,
    tools: &Tools,
    place: &Path,
    image: &Path,
) -> Result<String> {
    let socket = place.join("disk.sock");
    let mut machine = Machine::new(desk, tools, place, LOAD)?;
    machine.add_disk(&socket, case);
    let mut backend = case.serve(desk, tools, image, &socket)?;
    let mut linux = desk.run.start(&mut machine.command)?;
    for kill in 0..KILLS {
        let more = later(&linux, BETWEEN);
        let waited = wait_for(&mut linux, more, case.limit);
        waited.map_err(|e| backend.explain(e).of(&format!("after {kill} kills")))?;
        if kill % 2 == 1 {
            backend.stop();
            thread::sleep(STILL);
        }
        backend.kill();
        backend = case.serve(desk, tools, image, &socket)?;
    }
    let more = later(&linux, BETWEEN);
    let waited = wait_for(&mut linux, more, case.limit);
    waited.map_err(|e| backend.explain(e).of(&format!("after {KILLS} kills")))?;

    say_enough(image)?;
    let done = linux.finish(case.limit);
    let report = done.and_then(|done| check(&done, case.expect));
    let report = report.map_err(|e| backend.explain(e))?;
    backend.finish()?;
    let rounds = report.number("round").unwrap_or(0);
    Ok(format!("{KILLS} kills in {rounds} rounds"))
}

/// Moves the machine under load. Each QEMU has a back-end of its own, over the same image.
pub(super) fn migrate(
    case: &Case,
    desk: &Desk<'_>,
    tools: &Tools,
    place: &Path,
    image: &Path,
) -> Result<String> {
    let path = |name: &str| place.join(name);
    let (from_disk, to_disk, way) = (path("from.sock"), path("to.sock"), path("way.sock"));
    let (from_monitor, to_monitor) = (path("from.qmp"), path("to.qmp"));
    let mut from = Machine::new(desk, tools, place, LOAD)?;
    from.add_disk(&from_disk, case);
    from.add_monitor(&from_monitor);
    let mut to = Machine::new(desk, tools, place, LOAD)?;
    to.add_disk(&to_disk, case);
    to.add_monitor(&to_monitor);
    to.add_incoming(&way);

    let from_backend = case.serve(desk, tools, image, &from_disk)?;
    let mut source = desk.run.start(&mut from.command)?;
    let waited = wait_for(&mut source, BETWEEN, case.limit);
    waited.map_err(|e| from_backend.explain(e))?;
    let to_backend = case.serve(desk, tools, image, &to_disk)?;
    let mut target = desk.run.start(&mut to.command)?;
    target.wait_until("wait for the other", case.limit, |_| {
        way.exists() && to_monitor.exists()
    })?;

    let moved = Monitor::connect(&from_monitor).and_then(|mut monitor| {
        let moved = move_over(&mut monitor, &way)?;
        monitor.execute("quit", &json!({}))?;
        Ok(moved)
    });
    let failed = |e: Failure| target.failed(format!("took nothing over: {e}"));
    let moved = moved.map_err(|e| to_backend.explain(from_backend.explain(failed(e))))?;
    let before = source.finish(case.limit)?;
    from_backend.finish()?;
    let rounds = rounds(&String::from_utf8_lossy(&before.log));
    let waited = wait_for(&mut target, rounds + BETWEEN, case.limit);
    waited.map_err(|e| to_backend.explain(e).of("after the move"))?;

    say_enough(image)?;
    let after = target
        .finish(case.limit)
        .map_err(|e| to_backend.explain(e))?;
    let whole = Finished {
        log: [before.log, after.log].concat(),
        ..after
    };
    check(&whole, case.expect).map_err(|e| to_backend.explain(e))?;
    to_backend.finish()?;
    Ok(moved)
}

/// Has QEMU move its machine: slowly, until some pages were sent several times, and then fast.
fn move_over(monitor: &mut Monitor, way: &Path) -> Result<String> {
    let bandwidth = |bytes: u64| json!({"max-bandwidth": bytes, "downtime-limit": DOWNTIME});
    // Nothing is short enough to be waited for, so that there are several passes.
    let at_first = json!({"max-bandwidth": SLOW, "downtime-limit": 1});
    monitor.execute("migrate-set-parameters", &at_first)?;
    let uri = format!("unix:{}", way.display());
    monitor.execute("migrate", &json!({"uri": uri}))?;
    let start = Instant::now();
    let mut fast = false;
    while start.elapsed() < MOVE_LIMIT {
        let now = monitor.execute("query-migrate", &json!({}))?;
        let passes = now["ram"]["dirty-sync-count"].as_u64().unwrap_or(0);
        match now["status"].as_str() {
            Some("completed") => {
                let time = start.elapsed().as_secs_f32();
                return Ok(format!("moved in {passes} passes, {time:.1} s"));
            }
            Some("failed" | "cancelled") => return Err(refused(&now)),
            _ => {}
        }
        if passes >= PASSES && !fast {
            monitor.execute("migrate-set-parameters", &bandwidth(FAST))?;
            fast = true;
        }
        thread::sleep(ASK);
    }
    Err(Failure::new("the machine did not move in time"))
}

fn refused(status: &Value) -> Failure {
    let why = status["error-desc"].as_str().unwrap_or("no reason given");
    Failure::new(format!("the machine did not move: {why}"))
}

/// The rounds that a load must have done so that it has done `more` than by now.
fn later(linux: &Running, more: u64) -> u64 {
    rounds(&linux.log()) + more
}

fn rounds(log: &str) -> u64 {
    Report::read(log).number("round").unwrap_or(0)
}

/// Waits until a load has done `round` rounds.
fn wait_for(linux: &mut Running, round: u64, limit: Duration) -> Result<()> {
    let what = format!("come to round {round}");
    linux.wait_until(&what, limit, |log| rounds(log) >= round)
}

/// Writes into the image, behind the back-end's back, that it is enough.
fn say_enough(image: &Path) -> Result<()> {
    let file = OpenOptions::new().write(true).open(image);
    let written = file.and_then(|file| file.write_all_at(WORD, ENOUGH * SECTOR));
    written.map_err(Failure::io("write", image))
}
