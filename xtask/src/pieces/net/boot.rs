//! The machines that rows share, each card in a network of its own, of which QEMU's machine is the router.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::row::Row;
use super::server::{self, Server};
use crate::child::Finished;
use crate::failure::Result;
use crate::pieces::Desk;
use crate::pieces::image::{FAILURE, Machine, SUCCESS};

/// Most time for one machine: many times what a slow one takes.
const LIMIT: Duration = Duration::from_secs(180);
/// What documents follow from.
const SEED: u64 = 7;

/// Some rows, in one machine.
pub(super) struct Boot<'r> {
    rows: Vec<&'r Row>,
}

/// What became of a machine.
pub(super) struct Outcome {
    /// What is wrong with its rows, each with its name.
    pub(super) faults: Vec<String>,
    /// What it said of each card.
    pub(super) devices: Vec<Value>,
    /// What was printed.
    pub(super) log: Vec<u8>,
}

/// Distributes `rows`: those with the same machine that ask for the same share one, up to what it
/// has room for.
pub(super) fn share(rows: &[Row]) -> Vec<Boot<'_>> {
    let mut boots: Vec<Boot<'_>> = Vec::new();
    for row in rows {
        match boots.iter_mut().find(|boot| boot.takes(row)) {
            Some(boot) => boot.rows.push(row),
            None => boots.push(Boot { rows: vec![row] }),
        }
    }
    boots
}

/// How many cards a machine has places for.
fn room(machine: Machine) -> usize {
    match machine {
        // Of 32 places the first is the bridge's, and the last the south bridge's.
        Machine::Q35 => 30,
        Machine::Microvm | Machine::MicrovmLegacy => 8,
    }
}

/// The address of row number `at`'s card.
fn mac(at: usize) -> [u8; 6] {
    [0x52, 0x54, 0, 0x12, 0x34, at as u8]
}

fn text(mac: [u8; 6], between: &str) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(between)
}

impl Boot<'_> {
    fn takes(&self, row: &Row) -> bool {
        self.rows.first().is_some_and(|first| {
            (first.machine, &first.asked, first.bytes) == (row.machine, &row.asked, row.bytes)
                && self.rows.len() < room(row.machine)
        })
    }

    /// Boots the machine.
    pub(super) fn run(&self, desk: &Desk<'_>, qemu: &Path, server: &Server) -> Outcome {
        let Some(first) = self.rows.first() else {
            return Outcome {
                faults: Vec::new(),
                devices: Vec::new(),
                log: Vec::new(),
            };
        };
        let mut command = first.machine.boot(qemu, desk.repo);
        let (port, bytes, asked) = (server.port(), first.bytes, &first.asked);
        let asked = format!("net=client http={port} bytes={bytes} seed={SEED}{asked}");
        command.args(["-append", &asked]);
        for (at, row) in self.rows.iter().enumerate() {
            row.add(&mut command, at);
        }
        match desk.run.run(&mut command, LIMIT) {
            Ok(done) => self.judge(done),
            Err(failure) => Outcome {
                faults: vec![format!("{}: {}", self.name(), failure.what)],
                devices: Vec::new(),
                log: failure.output,
            },
        }
    }

    fn judge(&self, done: Finished) -> Outcome {
        let devices = devices(&done.stdout);
        let trees = events(&done.stdout, "bus");
        let sha256 = self.rows.first().map(|row| server::sha256(SEED, row.bytes));
        let sha256 = sha256.unwrap_or_default();
        let mut faults = Vec::new();
        for (at, row) in self.rows.iter().enumerate() {
            // Cards are numbered in the order of their places, which is that of the rows.
            let device = devices.get(at);
            let node = trees.first().map(|bus| &bus["tree"]["devices"][at]);
            let fault = match device {
                _ if !node.is_some_and(is_bound) => Some(format!("on the bus it is {node:?}")),
                Some(device) => row.fault(device, &text(mac(at), "-"), &sha256),
                None => Some("its card was not reported".to_owned()),
            };
            faults.extend(fault.map(|fault| format!("{}: {fault}", row.name)));
        }
        if devices.len() != self.rows.len() || done.status.code() != Some(SUCCESS) {
            let (name, count) = (self.name(), devices.len());
            faults.push(format!("{name}: {count} cards, ended with {}", done.status));
        }
        Outcome {
            faults,
            devices,
            log: done.log,
        }
    }

    fn name(&self) -> String {
        let first = self.rows.first().map_or("", |row| &row.name);
        format!("the machine of {} rows from `{first}` on", self.rows.len())
    }
}

impl Row {
    /// Adds its card to a machine, in the place for row number `at`.
    fn add(&self, command: &mut Command, at: usize) {
        let (driver, place) = match self.machine {
            // Nothing is to be started from the network.
            Machine::Q35 => ("virtio-net-pci", format!("addr={:x},romfile=", at + 1)),
            // QEMU names them from the last on.
            Machine::Microvm | Machine::MicrovmLegacy => {
                let last = room(self.machine) - 1;
                (
                    "virtio-net-device",
                    format!("bus=virtio-mmio-bus.{}", last - at),
                )
            }
        };
        let (mac, switches) = (text(mac(at), ":"), &self.switches);
        command
            .args(["-netdev", &format!("user,id=net{at},ipv6=off")])
            .arg("-device")
            .arg(format!(
                "{driver},{place},netdev=net{at},mac={mac}{switches}"
            ));
    }
}

/// A card that our driver cannot have: it is from before version 1, and wants what stands before a packet in
/// a buffer of its own. The driver says so, and leaves it.
pub(super) fn refused(desk: &Desk<'_>, qemu: &Path) -> Result<Option<String>> {
    let mut command = Machine::Q35.boot(qemu, desk.repo);
    command.args(["-append", "net=client", "-netdev", "user,id=net"]);
    let card =
        "virtio-net-pci,netdev=net,romfile=,disable-legacy=off,disable-modern=on,any_layout=off";
    command.args(["-device", card]);
    let done = desk.run.run(&mut command, LIMIT)?;
    let devices = devices(&done.stdout);
    let check = devices.first().map(|device| &device["checks"][0]);
    let said = check.and_then(|check| check["detail"].as_str());
    // ANY_LAYOUT is feature 27.
    let right = said.is_some_and(|said| said.contains("lacks features 0x8000000"));
    let right = right && done.status.code() == Some(FAILURE);
    Ok((!right).then(|| format!("a card without ANY_LAYOUT: {said:?}, {}", done.status)))
}

/// Whether what stands on a bus is a card that our driver has, with all of its queues.
fn is_bound(node: &Value) -> bool {
    let queues = node["queues"].as_array().map_or(&[][..], Vec::as_slice);
    let has = |name: &str| queues.iter().any(|queue| queue["name"] == name);
    let is_card = node["device"] == 1 && node["driver"] == "net";
    is_card && has("input.0") && has("output.0")
}

/// What a machine said of its cards.
pub(super) fn devices(stdout: &[u8]) -> Vec<Value> {
    events(stdout, "device")
}

/// What of a kind a machine said.
fn events(stdout: &[u8], kind: &str) -> Vec<Value> {
    let text = String::from_utf8_lossy(stdout);
    let lines = text.lines();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["event"] == kind).collect()
}
