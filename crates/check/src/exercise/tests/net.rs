//! Two machines whose cards are joined, and what is found when they are not joined as they should be.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use ringway_device::Offer;
use ringway_device::net::{self, Inlet, Packet, Port};
use ringway_host::net::Switch;
use ringway_machine::{Machine, Options as Presented, Run};
use ringway_spec::net::{F as NetF, HeaderFlags};
use ringway_spec::{F, Features};

use crate::event::Event;
use crate::exercise::{Options, run, scan};
use crate::report::{DeviceReport, TransferReport};

/// A machine that runs step by step, with a card on PCI and one on MMIO.
fn machine(number: u8, offer: Features, ports: [Arc<dyn Port>; 2]) -> Machine {
    let presented = Presented {
        offer: Offer::NOTHING.with(offer),
        ..Presented::default()
    };
    let card = |last, port| {
        let options = net::Options {
            mac: [2, 0, 0, 0, number, last],
            mtu: Some(9000),
            pairs: 4,
            without: Features::NONE,
        };
        Box::new(net::Net::new(port, options))
    };
    let [pci, mmio] = ports;
    let run = Run::Inline {
        seed: number.into(),
    };
    let builder = Machine::builder().ram(64 << 20).run(run);
    builder
        .pci("pci", card(1, pci), presented.clone())
        .mmio("mmio", card(2, mmio), presented)
        .build()
        .unwrap()
}

/// Exercises the cards of two machines.
fn exercise(
    machines: &[Machine; 2],
    moved: u64,
    without: Features,
) -> (Vec<DeviceReport>, Vec<TransferReport>) {
    let subjects = machines
        .iter()
        .flat_map(|machine| scan(&machine.platform(), machine.mmio_slots().iter().copied()));
    let options = Options {
        moved: Some(moved),
        without,
        ..Options::default()
    };
    let mut transfers = Vec::new();
    let reports = run(subjects.collect(), &options, &mut |event| {
        if let Event::Transfer(transfer) = event {
            transfers.push(*transfer);
        }
    });
    (reports, transfers)
}

/// What first failed.
fn failed(transfer: &TransferReport) -> Option<(&str, &str)> {
    let failed = transfer.checks.iter().find(|check| !check.ok)?;
    Some((&failed.what, failed.detail.as_deref()?))
}

#[test]
fn cards_that_are_joined_move_bytes_in_every_way_and_let_go() {
    for offer in [F::EVENT_IDX, F::RING_PACKED] {
        let switch = Switch::new();
        let machines = [1, 2].map(|number| {
            machine(
                number,
                offer,
                [(); 2].map(|()| switch.port() as Arc<dyn Port>),
            )
        });

        let (reports, transfers) = exercise(&machines, 100_000, Features::NONE);

        let ways: Vec<_> = transfers
            .iter()
            .map(|transfer| (transfer.mtu, transfer.offloads, transfer.pairs))
            .collect();
        let all = [1500, 9000].into_iter().flat_map(|mtu| {
            [false, true]
                .into_iter()
                .flat_map(move |on| [(mtu, on, 1), (mtu, on, 4)])
        });
        let all: Vec<_> = all.collect();
        assert_eq!(ways, [&all[..], &all[..]].concat());
        for transfer in &transfers {
            assert_eq!(failed(transfer), None, "{transfer:?}");
            assert_eq!(transfer.bytes, 200_000);
            assert!(
                transfer.packets >= transfer.bytes / u64::from(transfer.mtu),
                "{transfer:?}"
            );
            assert!(transfer.kicks != 0 && transfer.interrupts != 0);
        }
        for report in &reports {
            assert!(report.ok(), "{report:?}");
            assert_eq!(report.bytes, 8 * 100_000);
        }
        for machine in machines {
            assert_eq!(machine.platform().leak().buffers, 0);
        }
    }
}

/// A port that changes one byte, of a packet whose checksum nobody looks at.
struct Slip {
    port: Arc<dyn Port>,
    slipped: AtomicBool,
}

impl Port for Slip {
    fn connect(&self, card: Inlet) {
        self.port.connect(card);
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let long = packets.iter_mut().find(|packet| packet.bytes.len() > 1000);
        if let Some(packet) = long
            && packet.header.flags & HeaderFlags::NEEDS_CSUM.bits() != 0
            && !self.slipped.swap(true, Ordering::Relaxed)
            && let Some(byte) = packet.bytes.last_mut()
        {
            *byte ^= 0x10;
        }
        self.port.send(packets);
    }
}

#[test]
fn a_byte_that_another_came_for_is_found_and_said_by_both_cards() {
    let switch = Switch::new();
    let slip = || -> Arc<dyn Port> {
        Arc::new(Slip {
            port: switch.port(),
            slipped: AtomicBool::new(false),
        })
    };
    let straight = || -> Arc<dyn Port> { switch.port() };
    let machines = [
        machine(1, F::EVENT_IDX, [slip(), straight()]),
        machine(2, F::EVENT_IDX, [straight(), straight()]),
    ];

    let (reports, transfers) = exercise(&machines, 100_000, Features::NONE);

    // Without offloads, the checksum is looked at, and the packet sent again.
    let found: Vec<_> = transfers.iter().filter_map(failed).collect();
    let [(what, detail)] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(what, "moves every byte as it was");
    assert!(
        detail.starts_with("byte ") && detail.ends_with("than was sent"),
        "{detail}"
    );
    let ok: Vec<_> = reports.iter().map(DeviceReport::ok).collect();
    assert_eq!(ok, [false, true, false, true]);
}

#[test]
fn cards_that_are_not_joined_are_given_up_after_a_while() {
    let machines = [1, 2].map(|number| {
        machine(
            number,
            F::EVENT_IDX,
            [(); 2].map(|()| Switch::new().port() as Arc<dyn Port>),
        )
    });

    let (reports, transfers) = exercise(&machines, 1000, net::FEATURES - NetF::CTRL_VQ);

    let given_up = ("comes up, and connects", "nothing came for 30 s");
    let found: Vec<_> = transfers.iter().filter_map(failed).collect();
    assert_eq!(found, [given_up; 2]);
    assert!(reports.iter().all(|report| !report.ok()));
}

#[test]
fn a_card_without_another_is_told_so() {
    let machine = machine(
        1,
        F::EVENT_IDX,
        [(); 2].map(|()| Switch::new().port() as Arc<dyn Port>),
    );
    let subjects = scan(&machine.platform(), []);

    let reports = run(subjects, &Options::default(), &mut |_| {});

    let [report] = &reports[..] else {
        panic!("{reports:?}");
    };
    assert_eq!(report.checks[0].what, "is joined to another");
    assert!(!report.ok());
}
