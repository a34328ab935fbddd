//! Our network driver in a plain process over DPDK's vhost: `ringway drive packets`, whose packets
//! `dpdk-testpmd` returns.
//!
//! What came back is judged by our own end, packet by packet; how many there were, and of how many bytes,
//! by both, which must agree; and what was agreed to, by DPDK.

mod testpmd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Desk;
use super::linux::Rows;
use super::linux::backend::ringway;
use crate::child::Finished;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;
use testpmd::{Counts, Testpmd, number_after};

/// Most time for one command.
const LIMIT: Duration = Duration::from_secs(120);
/// Most time until the last packet that came back was counted, and between two looks.
const COUNTED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// Pairs of queues of the port.
const QUEUES: u16 = 4;

/// What a row is about.
struct Row {
    name: String,
    args: Vec<String>,
    /// How many packets, of each size.
    count: u64,
    /// Features that DPDK must say were agreed to, and such that must not have been.
    with: Vec<Bit>,
    without: Vec<Bit>,
    /// What DPDK must say that it was asked for.
    asked: &'static str,
}

/// Feature bits, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bit {
    Csum = 0,
    Mtu = 3,
    Mergeable = 15,
    Commands = 17,
    Pairs = 22,
    EventIndex = 29,
    Packed = 34,
    InOrder = 35,
}

/// A format of rings.
struct Format {
    name: &'static str,
    /// What is typed.
    args: &'static [&'static str],
    /// What is agreed to, and what is not.
    with: &'static [Bit],
    without: &'static [Bit],
}

const SPLIT: Format = Format {
    name: "split",
    args: &["--ring", "split", "--ring-features", "no-in_order"],
    with: &[],
    without: &[Bit::Packed, Bit::InOrder],
};

const PACKED: Format = Format {
    name: "packed",
    args: &["--ring", "packed", "--ring-features", "no-in_order"],
    with: &[Bit::Packed],
    without: &[Bit::InOrder],
};

const FORMATS: [Format; 4] = [
    SPLIT,
    Format {
        name: "split, in order",
        args: &["--ring", "split", "--ring-features", "in_order"],
        with: &[Bit::InOrder],
        without: &[Bit::Packed],
    },
    PACKED,
    Format {
        name: "packed, in order",
        args: &["--ring", "inorder"],
        with: &[Bit::Packed, Bit::InOrder],
        without: &[],
    },
];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for format in &FORMATS {
        let small = row(format, "small and mixed", 5000, &["--bytes", "64,64..1514"]);
        rows.push(small.with(Bit::Mergeable).with(Bit::EventIndex));
        let jumbo = ["--bytes", "64..9014", "--mtu", "9000", "--pairs", "2"];
        let jumbo = row(format, "jumbo, two pairs", 2000, &jumbo);
        let jumbo = jumbo.with(Bit::Mtu).with(Bit::Pairs);
        rows.push(jumbo.asked("VHOST_USER_NET_SET_MTU"));
    }
    let args = ["--without", "mrg_rxbuf", "--bytes", "64..9014", "--poll"];
    let single = row(&PACKED, "each in one buffer, polled", 2000, &args);
    rows.push(single.without(Bit::Mergeable));
    let args = ["--checksum", "--bytes", "64..1514"];
    let checksums = row(&SPLIT, "checksums left to it", 2000, &args);
    rows.push(checksums.with(Bit::Csum));
    let args = ["--bytes", "65549", "--ring-features", "no-event_idx"];
    let long = row(&PACKED, "64 KiB", 300, &args);
    rows.push(long.without(Bit::EventIndex));
    exchange(desk, &rows, true)
}

pub(super) fn run_long(desk: &Desk<'_>) -> Result<Vec<String>> {
    let mut rows = Vec::new();
    for format in &FORMATS {
        for pairs in ["1", "2", "4"] {
            for buffers in ["mergeable", "one"] {
                for (waits, way) in [("signalled", &[][..]), ("polled", &["--poll"])] {
                    let sizes = match buffers {
                        "one" => "64,1514,64..9014",
                        _ => "64,1514,64..9014,65549",
                    };
                    let mut args = vec!["--bytes", sizes, "--pairs", pairs];
                    args.extend(way);
                    if buffers == "one" {
                        args.extend(["--without", "mrg_rxbuf"]);
                    }
                    let name = format!("{pairs} pairs, {buffers}, {waits}");
                    let row = row(format, &name, 5000, &args);
                    rows.push(match buffers {
                        "one" => row.without(Bit::Mergeable),
                        _ => row.with(Bit::Mergeable),
                    });
                }
            }
        }
    }
    exchange(desk, &rows, false)
}

/// A row over rings of this format.
fn row(format: &Format, what: &str, count: u64, args: &[&str]) -> Row {
    let args = format.args.iter().chain(args).map(ToString::to_string);
    Row {
        name: format!("{}: {what}", format.name),
        args: args.collect(),
        count,
        with: format.with.to_vec(),
        // The queue of commands is not its.
        without: [format.without, &[Bit::Commands]].concat(),
        asked: "VHOST_USER_SET_VRING_ENABLE",
    }
}

impl Row {
    fn with(mut self, bit: Bit) -> Self {
        self.with.push(bit);
        self
    }

    fn without(mut self, bit: Bit) -> Self {
        self.without.push(bit);
        self
    }

    fn asked(self, asked: &'static str) -> Self {
        Self { asked, ..self }
    }
}

/// Does all rows, those whose packets come back with their addresses turned round among them.
fn exchange(desk: &Desk<'_>, rows: &[Row], killed: bool) -> Result<Vec<String>> {
    let driver = ringway(desk)?;
    let program = fetch::DPDK.find(&desk.run, desk.repo)?.path;
    let scratch = Scratch::new("dpdk-net")?;
    let folder = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir(&path).map_err(Failure::io("make", &path))?;
        Ok(path)
    };
    let mut table = Rows::default();
    let mut packets = 0;
    for mode in ["io", "macswap"] {
        let folder: Result<PathBuf> = folder(mode);
        let mut peer = Testpmd::start(desk, &program, &folder?, QUEUES, mode)?;
        // Every other row, so that each format of rings has both.
        for (_, row) in rows
            .iter()
            .enumerate()
            .filter(|(at, _)| (at % 2 == 0) == (mode == "io"))
        {
            let done = one(desk, &driver, &mut peer, row);
            if let Ok(count) = done {
                packets += count;
            }
            let done = done.map(|count| format!("{count} packets"));
            table.add(&row.name, done.map_err(|e| peer.explain(e)));
        }
    }
    if killed {
        let done = kill(desk, &driver, &program, &folder("killed")?);
        table.add("split: killed while packets are on their way", done);
    }
    table.finish(format!("{packets} packets there and back"))
}

/// Sends the packets of a row, and compares what both ends say.
fn one(desk: &Desk<'_>, driver: &Path, peer: &mut Testpmd, row: &Row) -> Result<u64> {
    peer.clear()?;
    peer.heard();
    let mut command = command(driver, &peer.socket, row.count);
    let done = desk.run.run(command.args(&row.args), LIMIT)?;
    let ours = ours(&done)?;
    if !done.status.success() {
        return Err(failed(
            format!("the driver ended with {}", done.status),
            done,
        ));
    }
    agreed(row, &peer.heard())?;
    // It counts a burst after it was returned.
    let began = Instant::now();
    loop {
        let (port, forwarding) = peer.counts()?;
        let of_packets = Counts {
            received_bytes: 0,
            returned_bytes: 0,
            ..ours
        };
        if port == ours && forwarding == of_packets {
            return Ok(ours.returned);
        }
        if began.elapsed() > COUNTED {
            let what = format!("counted were {ours:?} by us, {port:?} and {forwarding:?} by DPDK");
            return Err(failed(what, done));
        }
        thread::sleep(LOOK);
    }
}

/// What the driver says, of all its rows, as its peer would count it.
fn ours(done: &Finished) -> Result<Counts> {
    let said: Option<Value> = serde_json::from_slice(&done.stdout).ok();
    let rows = said.as_ref().and_then(|said| said["rows"].as_array());
    let sum = |what: &str| {
        let numbers = rows?.iter().map(|row| row[what].as_u64());
        numbers.sum::<Option<u64>>()
    };
    let counts = || {
        Some(Counts {
            received: sum("sent")?,
            received_bytes: sum("sent_bytes")?,
            returned: sum("received")?,
            returned_bytes: sum("received_bytes")?,
        })
    };
    counts()
        .filter(|counts| counts.received != 0)
        .ok_or_else(|| Failure {
            what: format!("the driver counts nothing, and ended with {}", done.status),
            output: done.log.clone(),
        })
}

/// Finds what was to be agreed to and asked for in what DPDK says.
fn agreed(row: &Row, heard: &str) -> Result<()> {
    let wrong = |what: String| {
        Err(Failure {
            what,
            output: heard.as_bytes().to_vec(),
        })
    };
    let said = heard.split("negotiated Virtio features: 0x").last();
    let hex = said.and_then(|said| said.split(|c: char| !c.is_ascii_hexdigit()).next());
    let Some(Ok(features)) = hex.map(|hex| u64::from_str_radix(hex, 16)) else {
        return wrong("DPDK does not say what was agreed to".to_owned());
    };
    let has = |bit: &Bit| features & (1 << *bit as u32) != 0;
    if let Some(bit) = row.with.iter().find(|bit| !has(bit)) {
        return wrong(format!("{bit:?} was not agreed to"));
    }
    if let Some(bit) = row.without.iter().find(|bit| has(bit)) {
        return wrong(format!("{bit:?} was agreed to"));
    }
    match heard.contains(row.asked) {
        true => Ok(()),
        false => wrong(format!("DPDK was not asked for {}", row.asked)),
    }
}

/// Kills the forwarder while packets are on their way, and starts another: those that it had are lost,
/// and no other.
fn kill(desk: &Desk<'_>, driver: &Path, program: &Path, folder: &Path) -> Result<String> {
    /// Packets, more than can be there and back before we look.
    const COUNT: u64 = 2_000_000;
    /// Most packets that a forwarder has: a burst for each pair.
    const HELD: u64 = 32;
    let mut first = Testpmd::start(desk, program, folder, 1, "io")?;
    let mut command = command(driver, &first.socket, COUNT);
    command.args(["--ring", "split", "--patience", "4"]);
    let driving = desk.run.start(&mut command)?;
    while first.counts()?.0.returned == 0 {
        thread::sleep(LOOK);
    }
    drop(first);
    let mut second = Testpmd::start(desk, program, folder, 1, "io")?;
    let done = driving.finish(LIMIT).map_err(|e| second.explain(e))?;
    let ours = ours(&done)?;
    let after = second.counts()?.0.returned;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let number = |what: &str| number_after(&text, &format!("\"{what}\":"));
    let wrong = [number("corrupted"), number("reordered")];
    let lost = COUNT - ours.returned;
    let twice = number("duplicated").unwrap_or(u64::MAX);
    if wrong != [Some(0); 2] || lost.max(twice) > HELD || after == 0 {
        let what = format!("{lost} lost, {twice} twice, {after} returned by the next one");
        return Err(second.explain(failed(what, done)));
    }
    Ok(format!("{after} packets over the next one, {lost} lost"))
}

fn command(driver: &Path, socket: &Path, count: u64) -> Command {
    let mut command = Command::new(driver);
    command.arg("drive").arg(socket).args(["packets", "--json"]);
    command.args(["--count", &count.to_string()]);
    command
}

fn failed(what: String, done: Finished) -> Failure {
    Failure {
        what,
        output: done.log,
    }
}
