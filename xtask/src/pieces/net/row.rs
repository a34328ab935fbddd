//! A row: how a network card is presented, and what it must have been driven by.

use serde_json::Value;

use crate::pieces::devices::product::{MMIO, Messages, PCI, Presented, Rings, Switch};
use crate::pieces::devices::row::Demand;
use crate::pieces::image::Machine;

/// Bytes of a document that is only to show that packets come.
pub(super) const SHORT: usize = 64 << 10;
/// Bytes of one that is to be counted.
pub(super) const LONG: usize = 64 << 20;

/// A card, presented in one way.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it is called.
    pub(super) name: String,
    pub(super) machine: Machine,
    /// What the image is asked for. Rows that ask for the same can share a machine.
    pub(super) asked: String,
    /// Bytes that it is to fetch.
    pub(super) bytes: usize,
    /// Switches of the card.
    pub(super) switches: String,
    /// What must be so of it.
    pub(super) demands: Vec<Demand>,
}

/// Packets that are shorter than usual.
const SHORTER: &str = ",host_mtu=1400";

/// Every interface, with every shortage of messages, ring format and feature of rings, with buffers that
/// are merged and without.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    for merged in [Switch::On, Switch::Off] {
        for presented in PCI.into_iter().chain([Presented::LegacyFirst]) {
            for messages in [Messages::Plenty, Messages::Scarce, Messages::None] {
                rows.extend(
                    Rings::all(presented).map(|rings| row(presented, messages, rings, merged)),
                );
            }
        }
        for presented in MMIO {
            let messages = Messages::None;
            rows.extend(Rings::all(presented).map(|rings| row(presented, messages, rings, merged)));
        }
    }
    rows
}

/// Of those, every interface with every format and feature, every shortage of messages, and unmerged
/// buffers of every length of what stands before them.
pub(super) fn few() -> Vec<Row> {
    let mut rows = Vec::new();
    for presented in PCI.into_iter().chain(MMIO) {
        let messages = match presented.is_mmio() {
            true => Messages::None,
            false => Messages::Plenty,
        };
        rows.extend(Rings::all(presented).map(|rings| row(presented, messages, rings, Switch::On)));
        for rings in Rings::all(presented).filter(Rings::is_full) {
            rows.push(row(presented, messages, rings, Switch::Off));
            if !presented.is_mmio() {
                for messages in [Messages::Scarce, Messages::None] {
                    rows.push(row(presented, messages, rings, Switch::On));
                }
            }
        }
    }
    rows
}

/// Switches that stand for themselves.
pub(super) fn special() -> Vec<Row> {
    let modern = |name: &str, switches: &str, demands: &[Demand]| Row {
        name: name.to_owned(),
        switches: format!("{}{switches}", Presented::Modern.switches()),
        demands: [&Presented::Modern.demands(), demands].concat(),
        ..plain(Presented::Modern)
    };
    let asked = |asked: &str, row: Row| Row {
        name: format!("{},{asked}", row.name),
        asked: format!(" {asked}"),
        ..row
    };
    let window = Row {
        name: "by the window".to_owned(),
        switches: Presented::Window.switches().to_owned(),
        demands: Presented::Window.demands(),
        ..plain(Presented::Window)
    };
    vec![
        modern(
            "packets that are no longer than 1400",
            SHORTER,
            &[Demand::Card("mtu", 1400), Demand::With("MTU")],
        ),
        modern(
            "long packets",
            ",host_mtu=9000",
            &[Demand::Card("mtu", 9000)],
        ),
        modern("no commands", ",ctrl_vq=off", &[Demand::Without("CTRL_VQ")]),
        modern(
            "no state of the link",
            ",status=off",
            &[Demand::Without("STATUS")],
        ),
        modern(
            "few extra commands",
            ",ctrl_rx_extra=off,ctrl_mac_addr=off,guest_announce=off",
            &[Demand::Without("CTRL_MAC_ADDR")],
        ),
        modern("long queues", ",rx_queue_size=1024,tx_queue_size=256", &[]),
        modern("in order", ",in_order=on", &[Demand::With("IN_ORDER")]),
        modern(
            "translated",
            ",iommu_platform=on",
            &[Demand::With("ACCESS_PLATFORM")],
        ),
        asked("queue=16", modern("short queues", "", &[])),
        asked(
            "queue=16",
            modern(
                "short packed queues",
                ",packed=on",
                &[Demand::Ring("packed")],
            ),
        ),
        asked(
            "messages=0 lines=cut",
            modern("nothing is heard", "", &[Demand::Interrupts("polled")]),
        ),
        asked("short=256", modern("many buffers", SHORTER, &[])),
        asked(
            "short=256",
            modern(
                "many packed buffers",
                &format!("{SHORTER},packed=on"),
                &[Demand::Ring("packed")],
            ),
        ),
        window,
    ]
}

/// Those that fetch a long document.
pub(super) fn long() -> Vec<Row> {
    let full = |presented, packed| {
        let rings = Rings {
            packed,
            event_idx: Switch::On,
            indirect: Switch::On,
        };
        let row = row(presented, Messages::Plenty, rings, Switch::On);
        Row {
            name: format!("{}, a long document", row.name),
            bytes: LONG,
            ..row
        }
    };
    vec![
        full(Presented::Modern, Switch::Off),
        full(Presented::Modern, Switch::On),
    ]
}

fn plain(presented: Presented) -> Row {
    Row {
        name: String::new(),
        machine: presented.machine(),
        asked: presented.asked().to_owned(),
        bytes: SHORT,
        switches: String::new(),
        demands: Vec::new(),
    }
}

fn row(presented: Presented, messages: Messages, rings: Rings, merged: Switch) -> Row {
    let (event_idx, indirect) = (rings.event_idx.name(), rings.indirect.name());
    let packed = match presented.can_pack() {
        true => format!(",packed={}", rings.packed.name()),
        false => String::new(),
    };
    let (vectors, _) = messages.switches(presented);
    let (on, merges) = match merged {
        Switch::On => ("on", Demand::With("MRG_RXBUF")),
        Switch::Off => ("off", Demand::Without("MRG_RXBUF")),
    };
    Row {
        name: format!(
            "{}{}, {}, merged {on}",
            presented.name(),
            messages.name(presented),
            rings.name()
        ),
        switches: format!(
            "{}{vectors}{packed},event_idx={event_idx},indirect_desc={indirect},mrg_rxbuf={on}",
            presented.switches()
        ),
        demands: [
            presented.demands(),
            vec![messages.demand(), merges],
            rings.demands(),
        ]
        .concat(),
        ..plain(presented)
    }
}

impl Row {
    /// What is wrong with the report of its card, if anything. The card has this address, and was sent a
    /// document with this hash.
    pub(super) fn fault(&self, device: &Value, mac: &str, sha256: &str) -> Option<String> {
        let checks = device["checks"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(check) = checks.iter().find(|check| check["ok"] != true) {
            return Some(format!("{check}"));
        }
        let card = &device["card"];
        let facts = [
            (device["type"] == "net" && !checks.is_empty(), "no card"),
            (card["mac"] == mac, "another address"),
            (device["bytes"] == self.bytes, "another number of bytes"),
            (card["came"] == sha256, "another document"),
            (card["packets_received"].as_u64() > Some(0), "no packets"),
            (device["kicks"].as_u64() > Some(0), "no kicks"),
            (
                (device["interrupt"] == "polled") == (device["interrupts"] == 0),
                "interrupts of a card that is polled, or none",
            ),
        ];
        if let Some((_, what)) = facts.into_iter().find(|(holds, _)| !holds) {
            return Some(format!("{what}: {device}"));
        }
        let broken = self.demands.iter().find(|demand| !demand.holds(device))?;
        Some(format!("not {}: {device}", broken.text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_two_rows_share_a_name_and_the_few_are_among_all() {
        let all = all();
        let rows = [all.clone(), special(), long()].concat();

        let mut names: Vec<_> = rows.iter().map(|row| &row.name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), rows.len());
        assert!(
            few()
                .iter()
                .all(|few| all.iter().any(|row| row.name == few.name))
        );
    }

    #[test]
    fn a_card_that_did_something_else_is_at_fault() {
        let row = Row {
            demands: vec![Demand::Card("mtu", 1400)],
            ..plain(Presented::Modern)
        };
        let good = json!({
            "type": "net", "bytes": SHORT, "kicks": 3, "interrupts": 2, "interrupt": "line",
            "checks": [{"what": "comes up", "ok": true}],
            "card": {"mac": "52-54", "came": "ab", "mtu": 1400, "packets_received": 5},
        });
        let changes: [fn(&mut Value); 9] = [
            |device| device["type"] = json!("blk"),
            |device| device["bytes"] = json!(1),
            |device| device["kicks"] = json!(0),
            |device| device["interrupts"] = json!(0),
            |device| device["checks"] = json!([]),
            |device| device["checks"][0]["ok"] = json!(false),
            |device| device["card"]["mac"] = json!("52-55"),
            |device| device["card"]["came"] = json!("ac"),
            |device| device["card"]["mtu"] = json!(1500),
        ];

        assert_eq!(row.fault(&good, "52-54", "ab"), None);
        for change in changes {
            let mut wrong = good.clone();
            change(&mut wrong);

            assert!(row.fault(&wrong, "52-54", "ab").is_some(), "{wrong}");
        }
    }
}
