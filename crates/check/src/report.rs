//! What is said of devices at the end of a run. Its JSON is what `ringway up --json` prints.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether every check passed, of the devices and of the run.
    pub ok: bool,
    /// Where the devices were.
    pub on: Place,
    /// What everything that was left to chance followed from.
    pub seed: u64,
    /// What became of each device, in the order of their names.
    pub devices: Vec<DeviceReport>,
    /// Checks of the run as a whole.
    pub checks: Vec<Check>,
}

/// Where devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In this process.
    Here,
    /// In QEMU.
    Qemu,
}

/// What became of one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What it is called: `virtio0`.
    pub name: String,
    /// Its type, by its short name: `blk`.
    #[serde(rename = "type")]
    pub kind: String,
    /// How it is reached: `pci-modern`, `mmio`.
    pub transport: String,
    /// The format of its queue: `split`.
    pub ring: String,
    /// The names of the features that were negotiated, lowest bit first.
    pub features: Vec<String>,
    /// What was checked. Nothing, if there is no driver for it.
    pub checks: Vec<Check>,
    /// Requests that it completed.
    pub requests: u64,
    /// Bytes that it moved, in either direction.
    pub bytes: u64,
    /// How often it was told of new requests.
    pub kicks: u64,
    /// How often it interrupted.
    pub interrupts: u64,
    /// How its interrupts arrive: `msix-each`, `msix-slow`, `msix-shared`, `msix-one`, `line`, or not
    /// at all: `polled`.
    pub interrupt: String,
    /// Who made it: the subsystem vendor on PCI, the vendor register on MMIO.
    pub vendor: u32,
    /// Descriptors of its queue.
    pub queue_size: u16,
    /// The most requests that it had at a time.
    pub in_flight: u16,
    /// How long all that took it, in microseconds.
    pub microseconds: u64,
    /// More about it, if it is a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskReport>,
    /// More about it, if it is a network card with a stack on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardReport>,
}

/// What only network cards have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardReport {
    /// Its address, if it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Longest packet after the Ethernet header, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The address that the network has lent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Buffers in which packets were received: one for each, if they were long enough.
    pub packets_received: u64,
    /// The SHA-256 of the bytes that were sent, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The SHA-256 of the bytes that came, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub came: Option<String>,
}

/// What only disks have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    /// Size, in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// The name that it gives itself, if it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The SHA-256 of all that was on it before it was written, in hexadecimal, if all could be
    /// read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What should be.
    pub what: String,
    /// Whether it is.
    pub ok: bool,
    /// What was found instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Report {
    /// Puts a report together. `devices` may come in any order.
    pub fn new(on: Place, seed: u64, mut devices: Vec<DeviceReport>, checks: Vec<Check>) -> Self {
        // `virtio2` is before `virtio10`.
        devices.sort_by(|a, b| (a.name.len(), &a.name).cmp(&(b.name.len(), &b.name)));
        let ok = devices.iter().all(DeviceReport::ok) && checks.iter().all(|check| check.ok);
        Self {
            ok,
            on,
            seed,
            devices,
            checks,
        }
    }
}

impl DeviceReport {
    /// Whether every check of it passed.
    pub fn ok(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    /// Adds what was found of `what`. Says whether it was as it should be.
    pub fn check(&mut self, what: &str, found: Result<(), impl fmt::Display>) -> bool {
        let check = Check::new(what, found);
        let ok = check.ok;
        self.checks.push(check);
        ok
    }
}

impl Check {
    /// What was found of `what`.
    pub fn new(what: &str, found: Result<(), impl fmt::Display>) -> Self {
        let detail = found.err().map(|found| alloc::format!("{found}"));
        Self {
            what: what.into(),
            ok: detail.is_none(),
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn device(name: &str) -> DeviceReport {
        DeviceReport {
            name: name.into(),
            kind: "entropy".into(),
            ..DeviceReport::default()
        }
    }

    fn found(ok: bool) -> Result<(), &'static str> {
        if ok { Ok(()) } else { Err("a 7") }
    }

    #[test]
    fn its_json_has_the_names_that_programs_look_for() {
        let mut device = device("virtio0");
        device.check("is 6", found(true));
        device.check("is 8", found(false));
        let report = Report::new(Place::Qemu, 5, vec![device], Vec::new());

        let json = serde_json::to_string(&report).unwrap();

        let expected = concat!(
            r#"{"ok":false,"on":"qemu","seed":5,"devices":[{"name":"virtio0","type":"entropy","#,
            r#""transport":"","ring":"","features":[],"checks":[{"what":"is 6","ok":true},"#,
            r#"{"what":"is 8","ok":false,"detail":"a 7"}],"requests":0,"bytes":0,"kicks":0,"#,
            r#""interrupts":0,"interrupt":"","vendor":0,"queue_size":0,"in_flight":0,"#,
            r#""microseconds":0}],"checks":[]}"#
        );
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }

    #[test]
    fn devices_stand_in_the_order_of_their_numbers() {
        let devices = ["virtio10", "virtio2", "virtio0"].map(device);

        let report = Report::new(Place::Here, 0, devices.into(), Vec::new());

        let names: Vec<_> = report.devices.iter().map(|device| &device.name).collect();
        assert_eq!(names, ["virtio0", "virtio2", "virtio10"]);
    }

    #[test]
    fn one_failed_check_of_a_device_or_of_the_run_is_a_failed_run() {
        let ok = |devices: &[bool], run: &[bool]| {
            let devices = devices.iter().map(|&ok| {
                let mut device = device("virtio0");
                device.check("is well", found(ok));
                device
            });
            let checks = run.iter().map(|&ok| Check::new("is over", found(ok)));
            Report::new(Place::Here, 0, devices.collect(), checks.collect()).ok
        };

        assert!(ok(&[true, true], &[true]));
        assert!(!ok(&[true, false], &[true]));
        assert!(!ok(&[true, true], &[false]));
    }
}
