//! Network cards of ours in a virtual machine of QEMU, which carries out the commands of Linux's driver
//! itself. Our own driver is on the other end.

use std::path::Path;

use super::machine::{MAC, Machine, Parts, Setup};
use super::{EVENT_IDX, LIMIT, RING_PACKED, SEVERAL, VERSION_1};
use crate::failure::Result;
use crate::pieces::linux::report::{Expect, check};
use crate::pieces::linux::{NET, Rows, backend, cards, variables};
use crate::pieces::{Desk, Set};
use crate::scratch::Scratch;

/// How many queues of each direction have an interrupt of their own that was heard of.
const HEARD: &str = include_str!("heard.sh");
/// Bytes that go each way.
const BYTES: &str = "4194304";

/// The device's features that are expected.
const CSUM: usize = 0;
const GUEST_TSO4: usize = 7;
const HOST_TSO4: usize = 11;
const MQ: usize = 22;

/// A machine with a card.
struct Case {
    name: &'static str,
    set: Set,
    queues: u16,
    /// Switches of QEMU's device, and options of ours.
    switches: &'static str,
    options: &'static [&'static str],
    expect: &'static [Expect],
    with: &'static [&'static str],
    without: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "split, several queues",
        set: Set::Default,
        queues: SEVERAL,
        switches: ",mq=on,vectors=6",
        options: &["--queues", "2"],
        expect: &[
            Expect::With(CSUM),
            Expect::With(HOST_TSO4),
            Expect::With(GUEST_TSO4),
            Expect::With(MQ),
            Expect::With(EVENT_IDX),
            Expect::Without(RING_PACKED),
            Expect::Is("mtu", "1500"),
            Expect::Is("cut", "there"),
            Expect::Is("heard", "2"),
        ],
        with: &[
            "CSUM",
            "HOST_TSO4",
            "HOST_TSO6",
            "GUEST_TSO4",
            "MRG_RXBUF",
            "MQ",
        ],
        // QEMU keeps it.
        without: &["CTRL_VQ", "RING_PACKED"],
    },
    Case {
        name: "packed, several queues, long packets",
        set: Set::Default,
        queues: SEVERAL,
        switches: ",mq=on,vectors=6,packed=on,host_mtu=9000",
        options: &["--queues", "2", "--mtu", "9000"],
        expect: &[
            Expect::With(MQ),
            Expect::With(RING_PACKED),
            Expect::Is("mtu", "9000"),
            Expect::Is("cut", "there"),
            Expect::Is("heard", "2"),
        ],
        with: &["MTU", "MQ", "RING_PACKED"],
        without: &["CTRL_VQ"],
    },
    Case {
        name: "split, without offloads",
        set: Set::All,
        queues: 1,
        switches: ",csum=off,guest_csum=off,mrg_rxbuf=off,event_idx=off,indirect_desc=off,vectors=0",
        options: &["--without", "csum,guest_csum"],
        expect: &[
            Expect::Without(CSUM),
            Expect::Without(GUEST_TSO4),
            Expect::Without(EVENT_IDX),
            Expect::Is("cut", "here"),
        ],
        with: &[],
        without: &["CSUM", "GUEST_CSUM", "MRG_RXBUF", "EVENT_IDX"],
    },
    Case {
        name: "packed, without offloads, long packets",
        set: Set::All,
        queues: 1,
        switches: ",packed=on,mrg_rxbuf=off,host_mtu=9000",
        options: &["--mtu", "9000", "--without", "csum,guest_csum"],
        expect: &[
            Expect::With(RING_PACKED),
            Expect::Without(CSUM),
            Expect::Is("mtu", "9000"),
            Expect::Is("cut", "here"),
        ],
        with: &["RING_PACKED", "MTU"],
        without: &["CSUM", "GUEST_CSUM", "MRG_RXBUF"],
    },
    Case {
        name: "split, several queues, long ones",
        set: Set::All,
        queues: SEVERAL,
        switches: ",mq=on,vectors=6,rx_queue_size=1024,tx_queue_size=1024",
        options: &["--queues", "2"],
        expect: &[Expect::With(MQ), Expect::Is("heard", "2")],
        with: &["MQ"],
        without: &[],
    },
];

/// Of every card.
const ALWAYS: &[Expect] = &[
    Expect::With(VERSION_1),
    Expect::Is("address", MAC),
    Expect::Is("ipv6", "yes"),
    Expect::Is("rx_errors", "0"),
    Expect::Is("tx_errors", "0"),
    Expect::Is("tx_dropped", "0"),
    Expect::Is("rx_length_errors", "0"),
];

pub(in crate::pieces) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_set(desk, Set::Default)
}

pub(in crate::pieces) fn run_long(desk: &Desk<'_>) -> Result<Vec<String>> {
    run_set(desk, Set::All)
}

fn run_set(desk: &Desk<'_>, set: Set) -> Result<Vec<String>> {
    let parts = Parts::find(desk)?;
    let ringway = backend::ringway(desk)?;
    let mut rows = Rows::default();
    for case in CASES.iter().filter(|case| case.set == set) {
        rows.add(case.name, case.run(desk, &parts, &ringway));
    }
    let (linux, qemu) = (parts.linux.version, parts.qemu.version);
    rows.finish(format!("on Linux {linux}, QEMU {qemu}"))
}

impl Case {
    fn run(&self, desk: &Desk<'_>, parts: &Parts, ringway: &Path) -> Result<String> {
        let scratch = Scratch::new("linux-guest-net")?;
        let place = scratch.path();
        let socket = place.join("card.sock");
        let mut options = cards::with_peer();
        options.extend(self.options.iter().map(ToString::to_string));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let given = variables(&[cards::GIVEN, &[("BYTES", BYTES)]].concat());
        let setup = Setup {
            board: "q35",
            words: "",
            modules: &["virtio_net"],
            files: &[],
            script: &[&given, NET, HEARD].concat(),
        };
        let mut machine = Machine::with(desk, parts, place, &setup)?;
        machine.add_card(&socket, self.queues, self.switches);

        let backend = cards::start(desk, ringway, &[&socket], &options)?;
        let done = desk.run.run(&mut machine.command, LIMIT);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_share_a_name() {
        let mut names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), CASES.len());
    }
}
