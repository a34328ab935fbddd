//! A card of ours on a TAP interface, and Linux's own network on the other end of it.
//!
//! A machine of ours has the card (`tests/tap`), on the kernel that this runs on, in a network of its own,
//! if that lets its users have such; and on an older one, which runs as a process. Or that older one has
//! the card, over vhost-user, and the other end is of the kernel that this runs on (`served.sh`).

use std::fs;
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
/// What serves a card to Linux as a process, and what that does with it.
const SERVED: &str = include_str!("tap/served.sh");
const CARD: &str = include_str!("tap/card.sh");
/// Features of the card that Linux takes, by their bits.
const CSUM: usize = 0;
const GUEST_TSO4: usize = 7;
const HOST_TSO4: usize = 11;
/// Bytes of a packet that nobody has cut.
const LARGE: u64 = 4000;
/// Bytes of a capture that has something in it.
const CAPTURE: u64 = 1 << 20;

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let find = |tool: &fetch::Tool| tool.find(&desk.run, desk.repo);
    let (busybox, linux) = (find(&fetch::BUSYBOX)?, find(&fetch::UML)?);
    // Together, so that what both are made of is built once.
    let build = [
        "build",
        "--locked",
        "--release",
        "-p",
        "ringway",
        "-p",
        JUDGE,
    ];
    desk.run.succeed(&mut cargo(desk, &build), cargo::LIMIT)?;
    let built = desk.repo.join("target/release");
    let (judge, ringway) = (built.join(JUDGE), built.join("ringway"));
    let mut rows = Rows::default();
    let served = format!("this kernel, and Linux {}, as a process", linux.version);
    match permitted(desk, &busybox.program) {
        Ok(()) => {
            rows.add("this kernel", here(desk, &judge, &busybox.program));
            rows.add(&served, between(desk, &ringway, &busybox, &linux));
        }
        Err(why) => {
            for row in ["this kernel", &served] {
                let why = format!("not asked, users have no networks of their own: {why}");
                rows.add(row, Ok(why));
            }
        }
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

/// Our card, served to Linux as a process, and joined to the network of this kernel.
fn between(desk: &Desk<'_>, ringway: &Path, busybox: &Found, linux: &Found) -> Result<String> {
    let iperf3 = fetch::IPERF3.find(&desk.run, desk.repo)?;
    let scratch = Scratch::new("tap")?;
    let place = scratch.path();
    let text = |path: &Path| path.display().to_string();
    let modules = uml::modules(linux)?;
    let given = [
        ("RINGWAY", &*text(ringway)),
        ("PLACE", &text(place)),
        ("BUSYBOX", &text(&busybox.program)),
        ("IPERF3", &text(&iperf3.path)),
        ("MODULES", &text(&modules)),
    ];
    let script = [&variables(&given[3..]), REPORT, CARD, "finish\n"].concat();
    let init = uml::write_init(place, busybox, &script)?;
    let serve = place.join("serve");
    let script = variables(&given[..4]) + SERVED;
    fs::write(&serve, script).map_err(Failure::io("write", &serve))?;
    let mut guest = uml::linux(linux, place, &init);
    guest.arg(format!(
        "virtio_uml.device={}:1",
        text(&place.join("card.sock"))
    ));

    let mut command = alone(&busybox.program);
    command.arg(&busybox.program).arg("sh").arg(&serve);
    command.arg(guest.get_program()).args(guest.get_args());
    command.env("TMPDIR", place);
    let done = desk.run.run(&mut command, LIMIT)?;
    let expect = [
        Expect::With(CSUM),
        Expect::With(GUEST_TSO4),
        Expect::With(HOST_TSO4),
        Expect::Least("each", LARGE),
        Expect::Least("there", 1),
        Expect::Least("back", 1),
        Expect::Least("datagrams", 1),
    ];
    let report = check(&done, &expect)?;
    let capture = place.join("card.pcapng");
    let capture = fs::metadata(&capture).map_err(Failure::io("look at", &capture))?;
    if capture.len() < CAPTURE {
        let bytes = capture.len();
        return Err(Failure::new(format!("a capture of {bytes} bytes")));
    }
    let value = |name| report.value(name).unwrap_or_default();
    Ok(format!(
        "{} steps; iperf3: {} Mbit/s there, {} back, {} of datagrams",
        report.steps.len(),
        value("there"),
        value("back"),
        value("datagrams")
    ))
}
