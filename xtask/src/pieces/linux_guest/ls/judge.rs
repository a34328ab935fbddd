//! What `ringway ls` says, beside what others say of the same devices.

use std::path::Path;

use serde_json::{Value, json};

use super::{Board, Device, FIRST_SLOT};
use crate::failure::{Failure, Result};
use crate::pieces::linux::qmp::Monitor;
use crate::pieces::linux::report::Report;

/// What QEMU calls a feature otherwise than the specification does.
const OTHERWISE: [(&str, &str); 2] = [
    ("IOMMU_PLATFORM", "ACCESS_PLATFORM"),
    ("REPORTING", "PAGE_REPORTING"),
];

/// Compares what was said with what Linux and QEMU say, ends the machine, and returns how many
/// features there were.
///
/// # Errors
///
/// Something differs, or the script of the guest failed.
pub(super) fn judge(board: &Board, report: &Report, socket: &Path) -> Result<usize> {
    if let Some(fault) = report.fault(&[]) {
        return Err(Failure::new(fault));
    }
    let text = report.value("tree").unwrap_or_default();
    let tree: Value = serde_json::from_str(text)
        .map_err(|e| Failure::new(format!("the list is no JSON: {e}: {text}")))?;
    let devices = list(&tree["devices"]);
    if devices.len() != board.devices.len() {
        return Err(Failure::new(format!("{} devices: {tree}", devices.len())));
    }
    let mut monitor = Monitor::connect(socket)?;
    let mut features = 0;
    for (expected, slot) in board.devices.iter().zip(FIRST_SLOT..) {
        let name = expected.name;
        let missing = || Failure::new(format!("no {name}: {tree}"));
        let found = devices
            .iter()
            .find(|device| device["device"] == expected.id);
        let found = found.ok_or_else(missing)?;
        let own = found["name"].as_str().unwrap_or_default();
        let path = path(board, slot);
        let qemu = monitor.execute("x-query-virtio-status", &json!({ "path": path }))?;
        let said = report.value(own).unwrap_or_default();
        let wrong = of_table(expected, found)
            .or_else(|| of_board(board, slot, found))
            .or_else(|| of_linux(said, found))
            .or_else(|| of_qemu(&qemu, found))
            .or_else(|| of_drivers(expected, own, &tree["drivers"]));
        if let Some(wrong) = wrong {
            return Err(Failure::new(format!(
                "{name}, {wrong}: {found}; {said}; {qemu}"
            )));
        }
        features += list(&found["features"]).len();
    }
    monitor.execute("quit", &json!({}))?;
    Ok(features)
}

/// Where QEMU has the device in this slot: one on PCI is in its function.
fn path(board: &Board, slot: usize) -> String {
    let inside = match board.transport {
        "pci" => "/virtio-backend",
        _ => "",
    };
    format!("/machine/peripheral/slot{slot}{inside}")
}

/// What is wrong by the table of the board, if anything.
fn of_table(expected: &Device, found: &Value) -> Option<&'static str> {
    let classes: Vec<_> = list(&found["interfaces"])
        .iter()
        .filter_map(|interface| interface["class"].as_str())
        .collect();
    let interrupts = list(&found["interrupts"]);
    let prefix = found["name"].as_str().unwrap_or_default();
    let named = |interrupt: &&Value| {
        let name = interrupt["name"].as_str().unwrap_or_default();
        name.starts_with(prefix) && interrupt["count"].is_u64()
    };
    // Those without vectors have a line, which nobody listens to without a driver.
    let heard = expected.driver.is_none() || interrupts.iter().any(|one| named(&one));
    let all = [
        (found["type"] == expected.name, "name of the type"),
        (found["driver"] == json!(expected.driver), "driver"),
        (
            expected.class.is_none_or(|class| classes.contains(&class)),
            "interface",
        ),
        (heard, "interrupts"),
        (list(&found["problems"]).is_empty(), "problems"),
    ];
    all.into_iter()
        .find(|(right, _)| !right)
        .map(|(_, what)| what)
}

/// What is wrong with the place of the device in this slot, if anything.
fn of_board(board: &Board, slot: usize, found: &Value) -> Option<&'static str> {
    let on_pci = board.transport == "pci";
    let address = on_pci.then(|| format!("0000:00:{slot:02x}.0"));
    let right = found["transport"] == board.transport && found["pci_address"] == json!(address);
    (!right).then_some("transport or address")
}

/// What is wrong by the kernel's files, if anything: driver, type, vendor, status, modalias and
/// features, in words.
fn of_linux(said: &str, found: &Value) -> Option<&'static str> {
    let text = |name: &str| found[name].as_str().unwrap_or("-").to_owned();
    let number = |value: &Value, digits: usize| {
        let number = value.as_u64().unwrap_or(u64::MAX);
        format!("0x{number:0digits$x}")
    };
    let ours = [
        text("driver"),
        number(&found["device"], 4),
        number(&found["vendor"], 4),
        number(&found["status"]["value"], 8),
        text("modalias"),
        text("bit_string"),
    ];
    let same = said.split_whitespace().eq(ours.iter().map(String::as_str));
    (!same).then_some("as Linux has it")
}

/// What is wrong by QEMU's own account, if anything.
fn of_qemu(qemu: &Value, found: &Value) -> Option<&'static str> {
    let agreed = &qemu["guest-features"];
    let mut theirs = names(&agreed["dev-features"], "_F_");
    theirs.extend(names(&agreed["transports"], "_F_"));
    let (unknown, mut ours): (Vec<_>, Vec<_>) = list(&found["features"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .partition(|name| name.starts_with("BIT_"));
    let beyond = agreed["unknown-dev-features"].as_u64().unwrap_or(0);
    theirs.sort_unstable();
    ours.sort_unstable();
    let mut statuses = names(&qemu["status"]["statuses"], "_S_");
    let mut status: Vec<_> = list(&found["status"]["names"])
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    statuses.sort_unstable();
    status.sort_unstable();
    let all = [
        (qemu["device-id"] == found["device"], "type as QEMU has it"),
        (statuses == status, "status as QEMU has it"),
        (theirs == ours, "features as QEMU has them"),
        (
            unknown.len() == beyond.count_ones() as usize,
            "features that QEMU does not name",
        ),
    ];
    all.into_iter()
        .find(|(right, _)| !right)
        .map(|(_, what)| what)
}

/// What is wrong with the list of drivers, if anything.
fn of_drivers(expected: &Device, own: &str, drivers: &Value) -> Option<&'static str> {
    let drives = |driver: &Value| list(&driver["devices"]).iter().any(|name| name == own);
    let found = list(drivers).iter().find(|driver| drives(driver));
    let name = found.map_or(&Value::Null, |driver| &driver["name"]);
    (*name != json!(expected.driver)).then_some("among the drivers")
}

/// The names in a list of QEMU's, `VIRTIO_NET_F_MAC: what it means`, from `mark` on.
fn names(texts: &Value, mark: &str) -> Vec<String> {
    let name = |text: &Value| {
        let (name, _) = text.as_str()?.split_once(':')?;
        let name = name.split_once(mark)?.1;
        let other = OTHERWISE.iter().find(|(theirs, _)| *theirs == name);
        Some(other.map_or(name, |(_, ours)| ours).to_owned())
    };
    list(texts).iter().filter_map(name).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pieces::linux_guest::ls::BOARDS;

    fn disk() -> Value {
        json!({
            "name": "virtio0", "device": 2, "type": "blk", "vendor": 0x1af4,
            "modalias": "virtio:d00000002v00001AF4", "driver": "virtio_blk", "transport": "pci",
            "status": {"value": 15, "names": ["ACKNOWLEDGE", "DRIVER"]},
            "features": ["RO", "VERSION_1", "BIT_77"], "bit_string": "0000010",
            "interfaces": [{"class": "block", "name": "vda"}],
            "interrupts": [{"name": "virtio0-req.0", "count": 1}], "problems": [],
        })
    }

    fn changed(field: &str, value: Value) -> Value {
        let mut device = disk();
        device[field] = value;
        device
    }

    #[test]
    fn what_differs_from_the_table_is_named() {
        let expected = &BOARDS[0].devices[0];

        assert_eq!(of_table(expected, &disk()), None);
        for (field, value, wrong) in [
            ("type", json!("net"), "name of the type"),
            ("driver", Value::Null, "driver"),
            ("interfaces", json!([]), "interface"),
            ("interrupts", json!([]), "interrupts"),
            ("problems", json!([{}]), "problems"),
        ] {
            assert_eq!(of_table(expected, &changed(field, value)), Some(wrong));
        }
    }

    #[test]
    fn a_device_in_another_place_is_found() {
        let [pci, mmio] = &BOARDS;
        let at = |address: Value| of_board(pci, 3, &changed("pci_address", address));

        assert_eq!(at(json!("0000:00:03.0")), None);
        assert!(at(json!("0000:00:04.0")).is_some());
        assert!(at(Value::Null).is_some());
        assert!(of_board(mmio, 3, &disk()).is_some());
        assert_eq!(
            of_board(mmio, 3, &changed("transport", json!("mmio"))),
            None
        );
    }

    #[test]
    fn what_differs_from_linux_is_found() {
        let said = "virtio_blk 0x0002 0x1af4 0x0000000f virtio:d00000002v00001AF4 0000010";

        assert_eq!(of_linux(said, &disk()), None);
        for (field, value) in [
            ("vendor", json!(1)),
            ("status", json!({"value": 7})),
            ("bit_string", json!("0000011")),
        ] {
            assert!(of_linux(said, &changed(field, value)).is_some(), "{field}");
        }
    }

    #[test]
    fn what_differs_from_qemu_is_named() {
        let qemu = json!({
            "device-id": 2,
            "status": {"statuses": ["VIRTIO_CONFIG_S_DRIVER: x", "VIRTIO_CONFIG_S_ACKNOWLEDGE: x"]},
            "guest-features": {
                "dev-features": ["VIRTIO_BLK_F_RO: Block device is read-only"],
                "transports": ["VIRTIO_F_VERSION_1: Device compliant"],
                "unknown-dev-features": 8192,
            },
        });

        assert_eq!(of_qemu(&qemu, &disk()), None);
        for (features, wrong) in [
            (json!(["RO", "BIT_77"]), "features as QEMU has them"),
            (
                json!(["RO", "VERSION_1"]),
                "features that QEMU does not name",
            ),
        ] {
            assert_eq!(of_qemu(&qemu, &changed("features", features)), Some(wrong));
        }
    }

    #[test]
    fn a_device_is_looked_up_among_the_drivers() {
        let drivers = json!([{"name": "virtio_blk", "devices": ["virtio0"]}]);

        assert_eq!(of_drivers(&BOARDS[0].devices[0], "virtio0", &drivers), None);
        assert!(of_drivers(&BOARDS[0].devices[0], "virtio1", &drivers).is_some());
        assert!(of_drivers(&BOARDS[0].devices[1], "virtio0", &drivers).is_some());
    }
}
