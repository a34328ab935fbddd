//! The full product: on PCI, the interfaces that a device has, how many messages it has for its
//! interrupts, the format of its rings, and two features of them; on MMIO the same, with lines alone.

use super::row::{Access, Demand, Row};
use crate::pieces::image::Machine;

/// The interfaces that a device presents, and by which of them it is to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Presented {
    /// PCI, as specified.
    Modern,
    /// PCI, as specified and as before: to be driven as specified.
    Transitional,
    /// PCI, as specified, to be driven through its window in configuration space alone.
    Window,
    /// PCI as before.
    Legacy,
    /// PCI, both ways: to be driven as before, at the driver's own wish.
    LegacyFirst,
    /// MMIO of version 2.
    Mmio,
    /// MMIO of version 1.
    MmioLegacy,
}

/// How many messages a device has for its interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Messages {
    /// For the configuration, and for each of its queues: more than the driver uses.
    Plenty,
    /// One, for all.
    Scarce,
    /// None: it has an interrupt line.
    None,
}

/// The format of rings, and features of them, as they are agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) struct Rings {
    pub(in crate::pieces) packed: Switch,
    pub(in crate::pieces) event_idx: Switch,
    pub(in crate::pieces) indirect: Switch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Switch {
    On,
    Off,
}

pub(in crate::pieces) const PCI: [Presented; 3] = [
    Presented::Modern,
    Presented::Transitional,
    Presented::Legacy,
];
pub(in crate::pieces) const MMIO: [Presented; 2] = [Presented::Mmio, Presented::MmioLegacy];
const MESSAGES: [Messages; 3] = [Messages::Plenty, Messages::Scarce, Messages::None];

/// All of it.
pub(in crate::pieces) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for presented in PCI.into_iter().chain([Presented::LegacyFirst]) {
        for messages in MESSAGES {
            rows.extend(Rings::all(presented).map(|rings| row(presented, messages, rings)));
        }
    }
    for presented in MMIO {
        rows.extend(Rings::all(presented).map(|rings| row(presented, Messages::None, rings)));
    }
    rows
}

fn row(presented: Presented, messages: Messages, rings: Rings) -> Row {
    let Rings {
        packed,
        event_idx,
        indirect,
    } = rings;
    let offered = if presented.can_pack() {
        format!(",packed={}", packed.name())
    } else {
        String::new()
    };
    let (event_idx, indirect) = (event_idx.name(), indirect.name());
    let name = format!(
        "{}{}, {}",
        presented.name(),
        messages.name(presented),
        rings.name()
    );
    let (both, disk) = messages.switches(presented);
    let demands = [
        presented.demands(),
        vec![messages.demand()],
        rings.demands(),
    ];
    Row {
        name,
        machine: presented.machine(),
        asked: presented.asked().to_owned(),
        both: format!(
            "{}{both}{offered},event_idx={event_idx},indirect_desc={indirect}",
            presented.switches()
        ),
        disk: disk.to_owned(),
        access: Access::ReadWrite,
        demands: demands.concat(),
    }
}

impl Presented {
    /// What it is called.
    pub(in crate::pieces) fn name(self) -> &'static str {
        match self {
            Self::Modern => "modern",
            Self::Transitional => "transitional",
            Self::Window => "by the window",
            Self::Legacy => "legacy only",
            Self::LegacyFirst => "legacy first",
            Self::Mmio => "MMIO v2",
            Self::MmioLegacy => "MMIO v1",
        }
    }

    pub(in crate::pieces) fn machine(self) -> Machine {
        match self {
            Self::Modern | Self::Transitional | Self::Window | Self::Legacy | Self::LegacyFirst => {
                Machine::Q35
            }
            Self::Mmio => Machine::Microvm,
            Self::MmioLegacy => Machine::MicrovmLegacy,
        }
    }

    /// What the image is asked for, to have it driven so.
    pub(in crate::pieces) fn asked(self) -> &'static str {
        match self {
            Self::LegacyFirst => " legacy-first",
            Self::Window => " window",
            _ => "",
        }
    }

    /// What has QEMU present it.
    pub(in crate::pieces) fn switches(self) -> &'static str {
        match self {
            Self::Modern | Self::Window => ",disable-legacy=on,disable-modern=off",
            Self::Transitional | Self::LegacyFirst => ",disable-legacy=off,disable-modern=off",
            Self::Legacy => ",disable-legacy=off,disable-modern=on",
            // Resetting a queue alone QEMU 10 offers there, without having the register.
            Self::Mmio | Self::MmioLegacy => ",queue_reset=off",
        }
    }

    /// What it is driven by.
    pub(in crate::pieces) fn demands(self) -> Vec<Demand> {
        let (transport, version) = match self {
            Self::Modern | Self::Transitional => ("pci-modern", Demand::With("VERSION_1")),
            Self::Window => ("pci-window", Demand::With("VERSION_1")),
            Self::Legacy | Self::LegacyFirst => ("pci-legacy", Demand::Without("VERSION_1")),
            Self::Mmio => ("mmio", Demand::With("VERSION_1")),
            Self::MmioLegacy => ("mmio-legacy", Demand::Without("VERSION_1")),
        };
        vec![Demand::Transport(transport), version]
    }

    /// Whether it is on MMIO.
    pub(in crate::pieces) fn is_mmio(self) -> bool {
        MMIO.contains(&self)
    }

    /// Whether it can have packed rings.
    pub(in crate::pieces) fn can_pack(self) -> bool {
        matches!(
            self,
            Self::Modern | Self::Transitional | Self::Window | Self::Mmio
        )
    }
}

impl Messages {
    pub(in crate::pieces) fn name(self, presented: Presented) -> &'static str {
        match self {
            _ if MMIO.contains(&presented) => "",
            Self::Plenty => ", messages for all",
            Self::Scarce => ", one message",
            Self::None => ", no messages",
        }
    }

    /// Switches of both devices, and of the disk: queues that the driver has no use for, which are
    /// told of no message.
    pub(in crate::pieces) fn switches(self, presented: Presented) -> (&'static str, &'static str) {
        match self {
            _ if MMIO.contains(&presented) => ("", ""),
            Self::Plenty => (",vectors=5", ",num-queues=4"),
            Self::Scarce => (",vectors=1", ",num-queues=4"),
            Self::None => (",vectors=0", ",num-queues=4"),
        }
    }

    /// What its interrupts must have been.
    pub(in crate::pieces) fn demand(self) -> Demand {
        Demand::Interrupts(match self {
            Self::Plenty => "msix-each",
            Self::Scarce => "msix-one",
            Self::None => "line",
        })
    }
}

impl Rings {
    /// Every combination that a device can have.
    pub(in crate::pieces) fn all(presented: Presented) -> impl Iterator<Item = Self> {
        let formats = if presented.can_pack() {
            &[Switch::Off, Switch::On][..]
        } else {
            &[Switch::Off]
        };
        formats.iter().flat_map(|packed| {
            [
                (Switch::On, Switch::On),
                (Switch::On, Switch::Off),
                (Switch::Off, Switch::On),
                (Switch::Off, Switch::Off),
            ]
            .map(|(event_idx, indirect)| Self {
                packed: *packed,
                event_idx,
                indirect,
            })
        })
    }

    /// Whether both features are there.
    pub(in crate::pieces) fn is_full(&self) -> bool {
        (self.event_idx, self.indirect) == (Switch::On, Switch::On)
    }

    pub(in crate::pieces) fn name(self) -> String {
        let format = match self.packed {
            Switch::On => "packed",
            Switch::Off => "split",
        };
        let (event_idx, indirect) = (self.event_idx.name(), self.indirect.name());
        format!("{format}, event_idx {event_idx}, indirect {indirect}")
    }

    /// What they must have been.
    pub(in crate::pieces) fn demands(self) -> Vec<Demand> {
        let agreed = |switch, name| match switch {
            Switch::On => Demand::With(name),
            Switch::Off => Demand::Without(name),
        };
        vec![
            Demand::Ring(match self.packed {
                Switch::On => "packed",
                Switch::Off => "split",
            }),
            agreed(self.packed, "RING_PACKED"),
            agreed(self.event_idx, "EVENT_IDX"),
            agreed(self.indirect, "INDIRECT_DESC"),
        ]
    }
}

impl Switch {
    /// As QEMU spells it.
    pub(in crate::pieces) fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_whole() {
        let rows = rows();
        let count = |machine| rows.iter().filter(|row| row.machine == machine).count();

        // Interfaces, messages, formats, two features; and no packed ring where there is none.
        let presented = 3 * 3 * 2 * 2 * 2 - 3 * 2 * 2;
        // One of those interfaces again, through the legacy one.
        assert_eq!(count(Machine::Q35), presented + 3 * 2 * 2);
        assert_eq!(count(Machine::Microvm), 2 * 2 * 2);
        assert_eq!(count(Machine::MicrovmLegacy), 2 * 2);
    }

    #[test]
    fn every_row_demands_an_interface_an_interrupt_a_format_and_each_feature() {
        for row in rows() {
            let has = |kind: fn(&Demand) -> bool| row.demands.iter().any(kind);

            assert!(has(|demand| matches!(demand, Demand::Transport(_))));
            assert!(has(|demand| matches!(demand, Demand::Interrupts(_))));
            assert!(has(|demand| matches!(demand, Demand::Ring(_))));
            for name in ["VERSION_1", "RING_PACKED", "EVENT_IDX", "INDIRECT_DESC"] {
                let either = [Demand::With(name), Demand::Without(name)];
                assert!(row.demands.iter().any(|demand| either.contains(demand)));
            }
        }
    }
}
