//! A card of ours on a TAP interface, and Linux's own network on the other end of it (`tests/tap`): in a
//! network of its own on the kernel that this runs on, if that lets its users have such, and on an older
//! one, as a process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Desk;
use super::cargo::{self, cargo};
use super::linux::report::{Expect, check};
use super::linux::{REPORT, Rows, variables};
use super::uml;
use crate::failure::{Failure, Result};
use crate::fetch::{self, Found};
use crate::scratch::Scratch;

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(240);
/// Most time to find out what this kernel permits.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// The judge.
const JUDGE: &str = "ringway-tap";
/// What Linux as a process does.
const SCRIPT: &str = include_str!("tap/uml.sh");

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let find = |tool: &fetch::Tool| tool.find(&desk.run, desk.repo);
    let (busybox, linux) = (find(&fetch::BUSYBOX)?, find(&fetch::UML)?);
    let build = ["build", "--locked", "--release", "-p", JUDGE];
    desk.run.succeed(&mut cargo(desk, &build), cargo::LIMIT)?;
    let judge = desk.repo.join("target/release").join(JUDGE);
    let mut rows = Rows::default();
    match permitted(desk, &busybox.program) {
        Ok(()) => rows.add("this kernel", here(desk, &judge, &busybox.program)),
        Err(why) => rows.add(
            "this kernel",
            Ok(format!("not asked, it does not permit it: {why}")),
        ),
    }
    let there = in_process(desk, &judge, &busybox, &linux);
    rows.add(&format!("Linux {}, as a process", linux.version), there);
    rows.finish("every byte compared".to_owned())
}

/// What is done in a network of its own, whose owner this is.
fn alone(busybox: &Path) -> Command {
    let mut unshare = Command::new(busybox);
    unshare.args(["unshare", "-r", "-n"]);
    unshare
}

/// Whether this kernel lets this user have a network, and interfaces in it.
fn permitted(desk: &Desk<'_>, busybox: &Path) -> Result<(), String> {
    let mut ask = alone(busybox);
    ask.arg(busybox).args(["sh", "-c", ": 3<>/dev/net/tun"]);
    let done = desk.run.run(&mut ask, ASK_LIMIT);
    let done = done.map_err(|failure| failure.what)?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.log).trim().to_owned()),
    }
}

fn here(desk: &Desk<'_>, judge: &Path, busybox: &Path) -> Result<String> {
    let mut command = alone(busybox);
    command.arg(judge).arg(busybox);
    let done = desk.run.run(&mut command, LIMIT)?;
    let report = check(&done, &[])?;
    let cut = report.value("datagrams").unwrap_or_default();
    Ok(format!(
        "{} steps, datagrams cut by the {cut}",
        report.steps.len()
    ))
}

/// The same on a kernel that does not know of datagrams in one.
fn in_process(desk: &Desk<'_>, judge: &Path, busybox: &Found, linux: &Found) -> Result<String> {
    let scratch = Scratch::new("tap")?;
    let place = scratch.path();
    let tun = uml::modules(linux)?.join("drivers/net/tun.ko");
    let text = |path: &Path| path.display().to_string();
    let script = [
        &variables(&[("TUN", &text(&tun)), ("JUDGE", &text(judge))]),
        REPORT,
        SCRIPT,
    ];
    let init: PathBuf = uml::write_init(place, busybox, &script.concat())?;
    let mut command = uml::linux(linux, place, &init);
    let done = desk.run.run(&mut command, LIMIT)?;
    let old = linux.version < fetch::Version { major: 6, minor: 2 };
    let expect = [Expect::Is("datagrams", if old { "port" } else { "kernel" })];
    let report = check(&done, &expect)?;
    if report.steps.len() < 2 {
        return Err(Failure::new("the judge did nothing"));
    }
    Ok(format!("{} steps", report.steps.len()))
}
