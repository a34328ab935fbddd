//! A row: how a disk and an entropy device are presented, and what both must have been driven by.

use serde_json::Value;

use crate::pieces::image::Machine;

/// A disk and an entropy device, presented in one way.
#[derive(Clone, Debug)]
pub(in crate::pieces) struct Row {
    /// What it is called.
    pub(in crate::pieces) name: String,
    pub(in crate::pieces) machine: Machine,
    /// What the image is asked for. Rows that ask for the same can share a machine.
    pub(in crate::pieces) asked: String,
    /// Switches of both devices.
    pub(in crate::pieces) both: String,
    /// Switches of the disk alone.
    pub(in crate::pieces) disk: String,
    /// Whether the disk can be written.
    pub(in crate::pieces) access: Access,
    /// What must be so of both devices.
    pub(in crate::pieces) demands: Vec<Demand>,
}

/// Whether a disk can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Access {
    ReadWrite,
    ReadOnly,
}

/// What must be so of a device's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pieces) enum Demand {
    /// The interface by which it is driven.
    Transport(&'static str),
    /// How its interrupts arrive.
    Interrupts(&'static str),
    /// How those of the disk do.
    DiskInterrupts(&'static str),
    /// The format of its ring.
    Ring(&'static str),
    /// A feature that is agreed to.
    With(&'static str),
    /// A feature that is not.
    Without(&'static str),
    /// Something that was checked, and is so.
    Checked(&'static str),
    /// A number of the disk's.
    Disk(&'static str, u64),
    /// A number of the network card's.
    Card(&'static str, u64),
}

/// The part of the exercise in which a queue is reset alone.
pub(in crate::pieces) const RESIZED: Demand =
    Demand::Checked("can have its queue reset and resized");

impl Row {
    /// What is wrong with the reports of its two devices, if anything. `serial` is the name of its
    /// disk.
    pub(in crate::pieces) fn fault(
        &self,
        entropy: &Value,
        disk: &Value,
        serial: &str,
    ) -> Option<String> {
        let read_only = self.access == Access::ReadOnly;
        if disk["disk"]["id"] != serial || disk["disk"]["read_only"] != read_only {
            return Some(format!("another disk than asked for: {disk}"));
        }
        let types = [(entropy, "entropy"), (disk, "blk")];
        types
            .into_iter()
            .find_map(|(device, kind)| self.fault_of(device, kind))
    }

    fn fault_of(&self, device: &Value, kind: &str) -> Option<String> {
        if device["type"] != kind {
            return Some(format!("no {kind}: {device}"));
        }
        let checks = device["checks"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(check) = checks.iter().find(|check| check["ok"] != true) {
            return Some(format!("{kind}: {check}"));
        }
        let least = ["requests", "bytes", "kicks"];
        if let Some(none) = least.iter().find(|key| device[**key].as_u64() == Some(0)) {
            return Some(format!("{kind}: no {none}"));
        }
        // A disk whose interrupts arrive is waited for until one came; nobody hears of others.
        let polled = device["interrupt"] == "polled";
        if kind == "blk" && polled != (device["interrupts"] == 0) {
            return Some(format!(
                "{kind}: interrupts of one that is polled, or none: {device}"
            ));
        }
        let broken = self.demands.iter().find(|demand| !demand.holds(device))?;
        Some(format!("{kind}, not {}: {device}", broken.text()))
    }
}

impl Demand {
    pub(in crate::pieces) fn holds(self, device: &Value) -> bool {
        let has = |name: &str| {
            let features = device["features"].as_array();
            features.is_some_and(|all| all.iter().any(|feature| feature == name))
        };
        match self {
            Self::Transport(name) => device["transport"] == name,
            Self::Interrupts(how) => device["interrupt"] == how,
            Self::DiskInterrupts(how) => device["type"] != "blk" || device["interrupt"] == how,
            Self::Ring(format) => device["ring"] == format,
            Self::With(name) => has(name),
            Self::Without(name) => !has(name),
            Self::Checked(what) => device["checks"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|check| check["what"] == what && check["ok"] == true)
            }),
            Self::Disk(key, value) => device["type"] != "blk" || device["disk"][key] == value,
            Self::Card(key, value) => device["card"][key] == value,
        }
    }

    /// It, in words.
    pub(in crate::pieces) fn text(self) -> String {
        match self {
            Self::Transport(name) => format!("driven by {name}"),
            Self::Interrupts(how) | Self::DiskInterrupts(how) => format!("interrupts by {how}"),
            Self::Ring(format) => format!("a {format} ring"),
            Self::With(name) => format!("with {name}"),
            Self::Without(name) => format!("without {name}"),
            Self::Checked(what) => format!("that it {what}"),
            Self::Disk(key, value) | Self::Card(key, value) => format!("{key} {value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(demands: &[Demand]) -> Row {
        Row {
            name: "a".to_owned(),
            machine: Machine::Q35,
            asked: String::new(),
            both: String::new(),
            disk: String::new(),
            access: Access::ReadWrite,
            demands: demands.to_vec(),
        }
    }

    fn device(kind: &str) -> Value {
        json!({
            "type": kind, "transport": "pci-modern", "interrupt": "line", "ring": "packed",
            "features": ["EVENT_IDX"], "requests": 5, "bytes": 9, "kicks": 1, "interrupts": 1,
            "checks": [{"what": "comes up", "ok": true}],
            "disk": {"id": "row0", "read_only": false, "block_size": 512},
        })
    }

    fn fault(demands: &[Demand], change: fn(&mut Value)) -> Option<String> {
        let mut disk = device("blk");
        change(&mut disk);
        row(demands).fault(&device("entropy"), &disk, "row0")
    }

    #[test]
    fn a_row_that_was_driven_as_demanded_has_no_fault() {
        let demands = [
            Demand::Transport("pci-modern"),
            Demand::Interrupts("line"),
            Demand::DiskInterrupts("line"),
            Demand::Ring("packed"),
            Demand::With("EVENT_IDX"),
            Demand::Without("INDIRECT_DESC"),
            Demand::Checked("comes up"),
            Demand::Disk("block_size", 512),
        ];

        assert_eq!(fault(&demands, |_| {}), None);
    }

    #[test]
    fn a_row_that_used_something_else_is_at_fault() {
        let demands = [
            Demand::Transport("pci-legacy"),
            Demand::Interrupts("msix-one"),
            Demand::DiskInterrupts("msix-one"),
            Demand::Ring("split"),
            Demand::With("INDIRECT_DESC"),
            Demand::Without("EVENT_IDX"),
            Demand::Checked("goes down"),
            Demand::Disk("block_size", 4096),
        ];

        for demand in demands {
            let fault = fault(&[demand], |_| {}).unwrap();
            assert!(fault.contains(&demand.text()), "{fault}");
        }
    }

    #[test]
    fn a_failed_check_another_disk_and_idleness_are_faults() {
        let changes: [fn(&mut Value); 6] = [
            |disk| disk["checks"][0]["ok"] = json!(false),
            |disk| disk["disk"]["id"] = json!("row1"),
            |disk| disk["disk"]["read_only"] = json!(true),
            |disk| disk["requests"] = json!(0),
            |disk| disk["interrupts"] = json!(0),
            |disk| disk["type"] = json!("unknown"),
        ];

        for change in changes {
            assert!(fault(&[], change).is_some());
        }
    }
}
