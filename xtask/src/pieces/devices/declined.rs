//! What is offered, and not taken: features that the driver is told to do without, messages and
//! lines that its machine does not have.

use super::product::{MMIO, PCI, Presented, Rings, Switch};
use super::row::{Access, Demand, Row};

/// The interrupts that the driver's machine has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// As many as anybody asks for.
    All,
    /// A message for a device, and lines.
    OneMessage,
    /// Lines.
    Lines,
    /// None at all.
    Nothing,
}

/// On PCI, and on MMIO, where there are no messages to be given.
const FOR_PCI: [Given; 4] = [Given::All, Given::OneMessage, Given::Lines, Given::Nothing];
const FOR_MMIO: [Given; 2] = [Given::Lines, Given::Nothing];

/// Every combination.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (interfaces, given) in [(&PCI[..], &FOR_PCI[..]), (&MMIO, &FOR_MMIO)] {
        for &given in given {
            // Those that are asked for the same stand together.
            for rings in Rings::all(Presented::Modern) {
                let can =
                    |presented: &&Presented| presented.can_pack() || rings.packed == Switch::Off;
                let these = interfaces.iter().filter(can);
                rows.extend(these.map(|presented| row(*presented, given, rings)));
            }
        }
    }
    rows
}

/// Each of them once: the driver does without everything, the machine has ever less to give.
pub(super) fn few() -> Vec<Row> {
    let plain = Rings {
        packed: Switch::Off,
        event_idx: Switch::Off,
        indirect: Switch::Off,
    };
    let all = |presented: Presented| Rings {
        packed: if presented.can_pack() {
            Switch::On
        } else {
            Switch::Off
        },
        event_idx: Switch::On,
        indirect: Switch::On,
    };
    let mut rows = Vec::new();
    rows.extend(PCI.map(|presented| row(presented, Given::All, plain)));
    rows.extend(MMIO.map(|presented| row(presented, Given::Lines, plain)));
    for given in [Given::OneMessage, Given::Lines, Given::Nothing] {
        rows.extend(PCI.map(|presented| row(presented, given, all(presented))));
    }
    rows.extend(MMIO.map(|presented| row(presented, Given::Nothing, all(presented))));
    rows
}

fn row(presented: Presented, given: Given, rings: Rings) -> Row {
    let offered = if presented.can_pack() {
        ",packed=on"
    } else {
        ""
    };
    let demands = [
        presented.demands(),
        vec![Demand::Interrupts(given.interrupts())],
        rings.demands(),
    ];
    let without = without(rings);
    Row {
        name: format!(
            "{}, all offered, given {}, {}",
            presented.name(),
            given.name(),
            rings.name()
        ),
        machine: presented.machine(),
        asked: format!("{}{without}", given.asked()),
        both: format!("{}{offered}", presented.switches()),
        disk: String::new(),
        access: Access::ReadWrite,
        demands: demands.concat(),
    }
}

/// What the image is told to do without. A packed ring is declined where there is one to decline,
/// and nothing where there is not, so that all interfaces are asked for the same.
fn without(rings: Rings) -> String {
    let features = [
        (rings.packed, "RING_PACKED"),
        (rings.event_idx, "EVENT_IDX"),
        (rings.indirect, "INDIRECT_DESC"),
    ];
    let off = features.into_iter().filter(|(on, _)| *on == Switch::Off);
    let names: Vec<_> = off.map(|(_, name)| name).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" without={}", names.join(","))
}

impl Given {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all interrupts",
            Self::OneMessage => "one message",
            Self::Lines => "lines",
            Self::Nothing => "no interrupts",
        }
    }

    fn asked(self) -> &'static str {
        match self {
            Self::All => "",
            Self::OneMessage => " messages=1",
            Self::Lines => " messages=0",
            Self::Nothing => " messages=0 lines=cut",
        }
    }

    fn interrupts(self) -> &'static str {
        match self {
            Self::All => "msix-each",
            Self::OneMessage => "msix-one",
            Self::Lines => "line",
            Self::Nothing => "polled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_there_and_the_few_are_among_them() {
        let rows = rows();
        let names: Vec<_> = rows.iter().map(|row| &row.name).collect();

        // Modern and transitional have packed rings, legacy has none; the same on MMIO.
        assert_eq!(rows.len(), 4 * (8 + 8 + 4) + 2 * (8 + 4));
        for row in few() {
            assert!(names.contains(&&row.name), "{}", row.name);
        }
    }

    #[test]
    fn what_is_declined_is_asked_for_by_name() {
        let rings = Rings {
            packed: Switch::Off,
            event_idx: Switch::On,
            indirect: Switch::Off,
        };

        let row = row(Presented::Modern, Given::OneMessage, rings);

        assert_eq!(row.asked, " messages=1 without=RING_PACKED,INDIRECT_DESC");
        assert!(row.both.ends_with(",packed=on"));
    }
}
