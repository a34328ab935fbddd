//! QEMU's network card under the driver of the bare-metal image, in every way that it can be presented: in
//! a network of QEMU's own, with a server of ours behind it; while its link goes and comes; and with
//! another machine at the other end of the line.
//!
//! | file | |
//! | --- | --- |
//! | [`row`] | how a card is presented, and what is demanded of it |
//! | [`boot`] | the machines that rows share |
//! | [`server`] | what cards fetch |
//! | [`changes`] | the link, over QEMU's monitor |
//! | [`pair`] | two machines |

mod boot;
mod changes;
mod pair;
mod row;
mod server;

use serde_json::Value;

use super::devices::product::Presented;
use super::image::Machine;
use super::{Desk, cargo};
use crate::failure::{Failure, Result};
use crate::fetch;
use row::Row;
use server::Server;

/// Bytes that two machines send each other, unless it is to be counted.
const EXCHANGED: u64 = 4 << 20;

/// What a run has of each.
struct Plan {
    rows: Vec<Row>,
    changes: &'static [(Machine, &'static str)],
    pairs: &'static [[pair::End; 2]],
    exchanged: u64,
}

/// Lines between machines.
const PAIRS: [[pair::End; 2]; 6] = [
    [(Presented::Modern, ""), (Presented::Modern, pair::PACKED)],
    [(Presented::Legacy, ""), (Presented::Mmio, pair::PACKED)],
    [
        (Presented::Transitional, ",mrg_rxbuf=off"),
        (Presented::MmioLegacy, ""),
    ],
    [
        (Presented::Modern, ",host_mtu=9000"),
        (Presented::Modern, ",host_mtu=9000"),
    ],
    [
        (Presented::LegacyFirst, ",mrg_rxbuf=off"),
        (Presented::Modern, ",vectors=0"),
    ],
    [
        (Presented::Mmio, ",indirect_desc=off"),
        (Presented::Modern, ",vectors=1"),
    ],
];

/// Cards whose link is changed.
const CHANGES: [(Machine, &str); 4] = [
    (Machine::Q35, ",disable-legacy=on"),
    (Machine::MicrovmLegacy, ""),
    (
        Machine::Q35,
        ",disable-legacy=off,disable-modern=on,vectors=0",
    ),
    (Machine::Microvm, ",packed=on"),
];

/// Every interface and ring, and the rest of it by example.
pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_plan(
        desk,
        &Plan {
            rows: [row::few(), row::special(), row::long()].concat(),
            changes: &CHANGES[..2],
            pairs: &PAIRS[..2],
            exchanged: EXCHANGED,
        },
    )
}

/// All of it.
pub(super) fn run_long(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_plan(
        desk,
        &Plan {
            rows: [row::all(), row::special(), row::long()].concat(),
            changes: &CHANGES,
            pairs: &PAIRS,
            exchanged: row::LONG as u64,
        },
    )
}

fn run_plan(desk: &Desk<'_>, plan: &Plan) -> Result<Vec<String>> {
    cargo::guest(desk)?;
    let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
    let server = Server::start()?;
    let (mut wrong, mut output, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    let boots = boot::share(&plan.rows);
    lines.push(format!(
        "{} cards in {} machines, in a network each, on QEMU {}",
        plan.rows.len(),
        boots.len(),
        qemu.version
    ));
    for boot in &boots {
        let outcome = boot.run(desk, &qemu.path, &server);
        if !outcome.faults.is_empty() {
            output.extend(outcome.log);
        }
        wrong.extend(outcome.faults);
        let long = outcome
            .devices
            .iter()
            .filter(|device| device["bytes"] == row::LONG);
        lines.extend(long.map(|device| {
            let [transport, ring] =
                ["transport", "ring"].map(|key| device[key].as_str().unwrap_or_default());
            format!(
                "{transport}, {ring}: {} bytes, {}",
                row::LONG,
                counted(device)
            )
        }));
    }
    wrong.extend(boot::refused(desk, &qemu.path)?);
    for (machine, switches) in plan.changes {
        let name = machine.name();
        let changes = changes::run(desk, &qemu.path, *machine, switches);
        let changes = changes.map_err(|e| e.of(&format!("links of {name}{switches}")))?;
        lines.push(format!(
            "{name}: {changes} changes of a link, each told by the bus"
        ));
    }
    for ends in plan.pairs {
        let moved = pair::run(desk, &qemu.path, *ends, plan.exchanged);
        lines.push(moved.map_err(|e| e.of(&format!("{ends:?}")))?);
    }
    if wrong.is_empty() {
        return Ok(lines);
    }
    Err(Failure {
        what: wrong.join("\n"),
        output,
    })
}

/// What a card counted, for people.
fn counted(device: &Value) -> String {
    let number = |key: &str| device[key].as_u64().unwrap_or_default();
    let packets = number("requests");
    let each = |count: u64| count as f64 / packets.max(1) as f64;
    format!(
        "{packets} packets, {:.3} kicks and {:.3} interrupts for each",
        each(number("kicks")),
        each(number("interrupts"))
    )
}
