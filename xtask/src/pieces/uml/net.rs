//! Network cards under Linux's own driver: our own driver is on the other end, or another Linux.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{INDIRECT_DESC, LIMIT, VERSION_1, add_device, linux, load, modules, write_init};
use crate::failure::{Failure, Result};
use crate::fetch::{self, Found};
use crate::pieces::Desk;
use crate::pieces::linux::report::{Expect, Report, check};
use crate::pieces::linux::{NET, REPORT, Rows, backend, cards, variables};
use crate::scratch::Scratch;

/// The device's number, for the driver to be found by.
const ID: u32 = 1;
/// Modules of its driver, below `kernel/`, in their order.
const MODULES: [&str; 3] = [
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
];
/// IPv6, for where it is to be.
const IPV6: &[&str] = &["lib/crc-ccitt.ko", "net/ipv6/ipv6.ko"];
/// Two that talk with each other.
const PAIR: &str = include_str!("pair.sh");
/// Bytes that go each way.
const BYTES: &str = "8388608";

/// A card, and what is to be so of it.
struct Case {
    name: &'static str,
    options: &'static [&'static str],
    modules: &'static [&'static str],
    expect: &'static [Expect],
    with: &'static [&'static str],
    without: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "with all that it can",
        options: &[],
        modules: IPV6,
        expect: &[
            Expect::Is("mtu", "1500"),
            Expect::Is("address", "52:54:00:00:00:10"),
            Expect::Is("cut", "there"),
            Expect::Is("ipv6", "yes"),
        ],
        with: &[
            "CSUM",
            "GUEST_CSUM",
            "HOST_TSO4",
            "HOST_TSO6",
            "GUEST_TSO4",
            "MRG_RXBUF",
            "CTRL_VQ",
            "EVENT_IDX",
        ],
        without: &["MTU", "MQ", "RING_PACKED"],
    },
    Case {
        name: "with long packets, and without offloads",
        options: &["--mtu", "9000", "--without", "csum,guest_csum,mrg_rxbuf"],
        modules: &[],
        expect: &[Expect::Is("mtu", "9000"), Expect::Is("cut", "here")],
        with: &["MTU"],
        without: &["CSUM", "HOST_TSO4", "GUEST_TSO4", "MRG_RXBUF"],
    },
    Case {
        name: "with the least of a ring and of a card",
        options: &[
            "--ring-features",
            "none",
            "--without",
            "csum,guest_csum,mrg_rxbuf,ctrl_vq,status,guest_hdrlen",
        ],
        modules: &[],
        expect: &[Expect::Without(INDIRECT_DESC), Expect::Is("cut", "here")],
        with: &["MAC"],
        without: &["CTRL_VQ", "STATUS", "EVENT_IDX"],
    },
];

/// Of every card.
const ALWAYS: &[Expect] = &[
    Expect::With(VERSION_1),
    Expect::Is("rx_errors", "0"),
    Expect::Is("tx_errors", "0"),
    Expect::Is("tx_dropped", "0"),
    Expect::Is("rx_length_errors", "0"),
];

pub(in crate::pieces) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let tools = Tools::find(desk)?;
    let mut rows = Rows::default();
    for case in CASES {
        rows.add(case.name, case.run(desk, &tools));
    }
    rows.add("two that reach each other", pair(desk, &tools));
    let version = tools.uml.version;
    rows.finish(format!("on Linux {version}, as a process"))
}

/// What a case needs.
struct Tools {
    uml: Found,
    busybox: Found,
    ringway: PathBuf,
}

impl Tools {
    fn find(desk: &Desk<'_>) -> Result<Self> {
        let find = |tool: &fetch::Tool| tool.find(&desk.run, desk.repo);
        Ok(Self {
            uml: find(&fetch::UML)?,
            busybox: find(&fetch::BUSYBOX)?,
            ringway: backend::ringway(desk)?,
        })
    }

    /// What starts Linux in `place`, with the card at `socket`.
    fn linux(
        &self,
        place: &Path,
        socket: &Path,
        drivers: &[&str],
        given: &[(&str, &str)],
        script: &str,
    ) -> Result<Command> {
        let load = load(&modules(&self.uml)?, drivers);
        let given = variables(given);
        let script = format!("{given}{REPORT}{load}{script}finish\n");
        let init = write_init(place, &self.busybox, &script)?;
        let mut linux = linux(&self.uml, place, &init);
        add_device(&mut linux, socket, ID);
        Ok(linux)
    }
}

/// What all cards are told. It begins a packed ring as if it had gone round it once: at 0, with both
/// wrap counters 0.
const OPTIONS: [&str; 4] = ["--ring", "split", "--mac", "52:54:00:00:00:10"];

impl Case {
    fn run(&self, desk: &Desk<'_>, tools: &Tools) -> Result<String> {
        let scratch = Scratch::new("uml-net")?;
        let place = scratch.path();
        let socket = place.join("card.sock");
        let mut options = cards::with_peer();
        options.extend(OPTIONS.iter().chain(self.options).map(ToString::to_string));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let drivers = [self.modules, &MODULES].concat();
        let given = [cards::GIVEN, &[("BYTES", BYTES)]].concat();
        let mut linux = tools.linux(place, &socket, &drivers, &given, NET)?;

        let backend = cards::start(desk, &tools.ringway, &[&socket], &options)?;
        let done = desk.run.run(&mut linux, LIMIT);
        let expect = [ALWAYS, self.expect].concat();
        let report = done.and_then(|done| check(&done, &expect));
        let judged = report.and_then(|report| {
            cards::judge(&backend.log(), self.with, self.without)?;
            Ok(report)
        });
        let report = judged.map_err(|e| backend.explain(e))?;
        backend.finish()?;
        Ok(cards::told(&report))
    }
}

/// Bytes of the longest packet on a wire.
const LONGEST: u64 = 1514;

/// Most time between the ends of two that talk with each other.
const PAIR_LIMIT: Duration = Duration::from_secs(60);

/// Two Linuxes on one switch, each with a card that can all: what one sends the other has.
fn pair(desk: &Desk<'_>, tools: &Tools) -> Result<String> {
    let scratch = Scratch::new("uml-pair")?;
    let own = |name: &str, here: &str, there: &str| {
        let place = scratch.path().join(name);
        let socket = scratch.path().join(format!("{name}.sock"));
        fs::create_dir(&place).map_err(Failure::io("make", &place))?;
        let given = [
            ("WHO", name),
            ("HERE", here),
            ("THERE", there),
            ("BYTES", BYTES),
        ];
        let linux = tools.linux(&place, &socket, &MODULES, &given, PAIR)?;
        Ok((socket, linux))
    };
    let (first_socket, mut first) = own("first", "192.0.2.1", "192.0.2.2")?;
    let (second_socket, mut second) = own("second", "192.0.2.2", "192.0.2.1")?;

    let sockets = [&*first_socket, &*second_socket];
    let backend = cards::start(desk, &tools.ringway, &sockets, &OPTIONS)?;
    let both = desk.run.start(&mut first).and_then(|first| {
        let second = desk.run.run(&mut second, LIMIT);
        let second = second.map_err(|mut failure| {
            failure.output.extend(b"\nthe first one's log:\n");
            failure.output.extend(first.log().into_bytes());
            failure
        })?;
        Ok([first.finish(PAIR_LIMIT)?, second])
    });
    let judged = both.and_then(|[first, second]| {
        let [first, second] = [check(&first, ALWAYS)?, check(&second, ALWAYS)?];
        cards::judge(&backend.log(), &["GUEST_TSO4", "HOST_TSO4"], &[])?;
        arrived(&first, &second)?;
        arrived(&second, &first)?;
        // What one leaves to the other to cut, the switch does not cut. How much that is, is theirs to say.
        let each = [&first, &second].map(|report| report.number("each"));
        if each.iter().flatten().all(|&each| each <= LONGEST) {
            return Err(Failure::new(format!(
                "packets came in pieces, of {each:?} bytes"
            )));
        }
        Ok(first.steps.len() + second.steps.len())
    });
    let steps = judged.map_err(|e| backend.explain(e))?;
    backend.finish()?;
    Ok(format!("{steps} steps"))
}

/// Finds that what one sent the other got.
fn arrived(from: &Report, to: &Report) -> Result<()> {
    let (sent, came) = (from.value("sent"), to.value("came"));
    if sent.is_some() && sent == came {
        return Ok(());
    }
    Err(Failure::new(format!(
        "sent was {sent:?}, and {came:?} came"
    )))
}
