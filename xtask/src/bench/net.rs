//! Packets through a network card, beside DPDK, and bytes over TCP between two: runs the program in
//! `bench/`, and `ringway up`, and makes a table of what they print.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::rates::{Rates, Unit, rounded};
use super::{LIMIT, PROGRAM, build, lines};
use crate::child::Runner;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::pieces::{Desk, ringway};
use crate::scratch::Scratch;

/// What a case is called that moves bytes over TCP, in every way of driving cards.
const TCP: &str = "net-tcp";
/// How many bytes each card sends the other.
const BYTES: &str = "1G";
/// Most time for that, in every way.
const TCP_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Everything that was measured in a run.
pub(crate) struct Net {
    packets: Option<Rates>,
    transfers: Vec<Transfer>,
}

/// Bytes that went over TCP, both ways at once, in one way of driving cards.
struct Transfer {
    case: String,
    /// Millions of bytes a second, of both ways together.
    rate: f64,
    /// Thousands of packets a second.
    packets: f64,
    kicks: f64,
    interrupts: f64,
}

/// Measures all cases, or those that are called `only`.
///
/// # Errors
///
/// A build or a run failed, DPDK cannot be had, or there are no such cases.
pub(crate) fn net(verbose: bool, repo: &Path, only: &[String]) -> Result<Net> {
    let desk = |topic| Desk {
        repo,
        run: Runner { verbose, topic },
    };
    let (tcp, packets): (Vec<_>, Vec<_>) = only.iter().partition(|name| *name == TCP);
    let all = only.is_empty();
    Ok(Net {
        packets: match all || !packets.is_empty() {
            true => Some(beside_dpdk(&desk("packets"), &packets)?),
            false => None,
        },
        transfers: match all || !tcp.is_empty() {
            true => over_tcp(&desk(TCP))?,
            false => Vec::new(),
        },
    })
}

fn beside_dpdk(desk: &Desk<'_>, only: &[&String]) -> Result<Rates> {
    let dpdk = fetch::DPDK.find(&desk.run, desk.repo)?;
    build(desk)?;
    let scratch = Scratch::new("net")?;
    let mut command = Command::new(desk.repo.join(PROGRAM));
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

fn over_tcp(desk: &Desk<'_>) -> Result<Vec<Transfer>> {
    let mut command = Command::new(ringway(desk)?);
    command.args(["up", "--only", "net", "--net-bytes", BYTES, "--json"]);
    let printed = desk.run.succeed(&mut command, TCP_LIMIT)?.stdout;
    let report: Value = serde_json::from_slice(&printed)
        .map_err(|e| Failure::new(format!("`ringway up` printed no report: {e}")))?;
    let transfers = report["transfers"].as_array().into_iter().flatten();
    let transfers: Option<Vec<_>> = transfers.map(Transfer::of).collect();
    let missing = || Failure::new("the report of `ringway up` lacks what cards did");
    let found = transfers.ok_or_else(missing)?;
    match found.is_empty() {
        true => Err(missing()),
        false => Ok(found),
    }
}

impl Transfer {
    /// What a report tells of one.
    fn of(report: &Value) -> Option<Self> {
        let number = |name: &str| report[name].as_f64();
        let word = |name: &str| report[name].as_str();
        let (packets, time) = (number("packets")?, number("microseconds")?);
        let offloads = match report["offloads"].as_bool()? {
            true => "-offloads",
            false => "",
        };
        Some(Self {
            case: format!(
                "{TCP}-{}-{}-mtu{}-pairs{}{offloads}",
                word("transport")?,
                word("ring")?,
                number("mtu")?,
                number("pairs")?,
            ),
            rate: number("bytes")? / time,
            packets: packets * 1000.0 / time,
            kicks: number("kicks")? / packets,
            interrupts: number("interrupts")? / packets,
        })
    }

    fn json(&self) -> Value {
        json!({
            "case": self.case,
            "ours": rounded(self.rate),
            "unit": "MB/s",
            "kpps": rounded(self.packets),
            "kicks_per_packet": rounded(self.kicks),
            "interrupts_per_packet": rounded(self.interrupts),
        })
    }

    fn line(&self) -> String {
        format!(
            "{:<54} {:>9.1} {:>9.1} {:>12.4} {:>12.4}",
            self.case, self.rate, self.packets, self.kicks, self.interrupts
        )
    }
}

impl Net {
    /// One object, alone on its line.
    pub(crate) fn json(&self) -> String {
        let packets = self.packets.iter().flat_map(Rates::rows);
        let transfers = self.transfers.iter().map(Transfer::json);
        let rows: Vec<_> = packets.chain(transfers).collect();
        json!({ "rows": rows }).to_string()
    }

    /// A head for each unit, and a line for each row; with escape codes for a terminal if `colour`.
    pub(crate) fn lines(&self, colour: bool) -> Vec<String> {
        let packets = self.packets.iter();
        let mut out: Vec<_> = packets.flat_map(|rates| rates.lines(colour)).collect();
        if !self.transfers.is_empty() {
            out.push(format!(
                "{:<54} {:>9} {:>9} {:>12} {:>12}",
                "case", "MB/s", "kpps", "kicks/packet", "irqs/packet"
            ));
            out.extend(self.transfers.iter().map(Transfer::line));
            out.push(format!(
                "{BYTES} each way at once over TCP, every byte compared; numbers are of both cards."
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_a_rate_and_what_it_took_for_each_packet() {
        let report = json!({
            "transport": "pci-modern", "ring": "packed", "mtu": 9000, "offloads": true, "pairs": 4,
            "bytes": 8_000_000, "packets": 1000, "kicks": 250, "interrupts": 125, "microseconds": 2_000_000,
        });
        let transfer = Transfer::of(&report).unwrap();
        let net = Net {
            packets: None,
            transfers: vec![transfer],
        };

        let object: Value = serde_json::from_str(&net.json()).unwrap();

        assert_eq!(
            object["rows"],
            json!([{"case": "net-tcp-pci-modern-packed-mtu9000-pairs4-offloads", "ours": 4.0, "unit": "MB/s",
                "kpps": 0.5, "kicks_per_packet": 0.25, "interrupts_per_packet": 0.125}])
        );
        assert_eq!(net.lines(false).len(), 3);
    }

    #[test]
    fn a_report_that_lacks_something_is_none() {
        assert!(Transfer::of(&json!({ "transport": "mmio" })).is_none());
    }
}
