//! What `ringway up --json` says, believed only if it is whole.

use serde_json::Value;

use crate::failure::{Failure, Result};

/// The device types and transports of a full run. Network cards are there where there is no QEMU.
const TYPES: [&str; 2] = ["blk", "entropy"];
const CARD: &str = "net";
const TRANSPORTS: [&str; 2] = ["pci", "mmio"];

/// The rings that every device must have.
pub(super) struct Expect {
    /// Their format.
    pub(super) ring: &'static str,
    /// Features that are agreed to.
    pub(super) with: &'static [&'static str],
    /// Features that are not.
    pub(super) without: &'static [&'static str],
}

impl Expect {
    /// What comes of no switch at all.
    pub(super) const USUAL: Self = Self {
        ring: "split",
        with: &["INDIRECT_DESC", "EVENT_IDX"],
        without: &["RING_PACKED", "IN_ORDER"],
    };

    fn holds(&self, device: &Value) -> bool {
        let features = device["features"].as_array().map_or(&[][..], Vec::as_slice);
        let has = |name: &&str| features.iter().any(|feature| feature == name);
        device["ring"] == self.ring && self.with.iter().all(has) && !self.without.iter().any(has)
    }
}

/// Checks the report of a run on `on`, whose every disk had at least
/// `disk_bytes` read from it. Returns a line for each device.
pub(super) fn check(
    stdout: &[u8],
    on: &str,
    disk_bytes: u64,
    expect: &Expect,
) -> Result<Vec<String>> {
    let report: Value = serde_json::from_slice(stdout)
        .map_err(|e| Failure::new(format!("standard output is not one JSON object: {e}")))?;
    if report["ok"] != true {
        return Err(Failure::new("the report does not say \"ok\": true"));
    }
    if report["on"] != on {
        return Err(Failure::new(format!("the report is not of a run on {on}")));
    }
    let devices = report["devices"].as_array().map_or(&[][..], Vec::as_slice);
    let here = on == "here";
    for kind in TYPES.into_iter().chain(here.then_some(CARD)) {
        for transport in TRANSPORTS {
            let is = |d: &&Value| d["type"] == kind && text(d, "transport").starts_with(transport);
            let device = devices.iter().find(is).ok_or_else(|| {
                Failure::new(format!("the report has no {kind} over {transport}"))
            })?;
            check_device(device, if kind == "blk" { disk_bytes } else { 1 })?;
            if !expect.holds(device) {
                let (name, ring) = (text(device, "name"), text(device, "ring"));
                let features = &device["features"];
                return Err(Failure::new(format!(
                    "{name} has other rings than it should: {ring}, {features}"
                )));
            }
        }
    }
    let mut lines: Vec<_> = devices.iter().map(line).collect();
    if here {
        let transfers = &report["transfers"];
        lines.extend(check_transfers(transfers, expect.ring)?);
    }
    Ok(lines)
}

/// Bytes went between cards in every way of driving them. Returns a line for each.
fn check_transfers(transfers: &Value, ring: &str) -> Result<Vec<String>> {
    let transfers = transfers.as_array().map_or(&[][..], Vec::as_slice);
    let mut lines = Vec::new();
    for transport in TRANSPORTS {
        for (mtu, offloads) in [(1500, false), (1500, true), (9000, false), (9000, true)] {
            for pairs in [1, 4] {
                let way = format!("{transport}, mtu {mtu}, offloads {offloads}, pairs {pairs}");
                let is = |transfer: &&Value| {
                    text(transfer, "transport").starts_with(transport)
                        && number(transfer, "mtu") == mtu
                        && transfer["offloads"] == offloads
                        && number(transfer, "pairs") == pairs
                };
                let transfer = transfers.iter().find(is);
                let transfer = transfer
                    .ok_or_else(|| Failure::new(format!("no bytes went between cards: {way}")))?;
                let checks = transfer["checks"].as_array();
                let passed = checks.is_some_and(|checks| {
                    !checks.is_empty() && checks.iter().all(|check| check["ok"] == true)
                });
                let bytes = number(transfer, "bytes");
                if !passed || bytes == 0 || transfer["ring"] != ring {
                    return Err(Failure::new(format!("between cards: {way}: {transfer}")));
                }
                lines.push(format!("between cards: {way}: {bytes} bytes"));
            }
        }
    }
    Ok(lines)
}

/// One device of the report: it worked, and every check of it passed.
fn check_device(device: &Value, least_bytes: u64) -> Result<()> {
    let checks = device["checks"].as_array().map_or(&[][..], Vec::as_slice);
    let failed = checks.iter().find(|check| check["ok"] != true);
    let why = if checks.is_empty() {
        "was not checked".to_owned()
    } else if let Some(failed) = failed {
        format!("failed a check: {}", text(failed, "what"))
    } else if number(device, "bytes") < least_bytes || number(device, "requests") == 0 {
        format!("did too little: {}", line(device))
    } else {
        return Ok(());
    };
    Err(Failure::new(format!("{} {why}", text(device, "name"))))
}

fn line(device: &Value) -> String {
    format!(
        "{} {} {}: {} requests, {} bytes",
        text(device, "name"),
        text(device, "type"),
        text(device, "transport"),
        number(device, "requests"),
        number(device, "bytes"),
    )
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(kind: &str, transport: &str, check: bool) -> String {
        format!(
            r#"{{"name":"virtio0","type":"{kind}","transport":"{transport}","ring":"split",
            "features":["INDIRECT_DESC","EVENT_IDX"],"checks":[{{"what":"digest","ok":{check}}}],
            "requests":8,"bytes":4096,"kicks":1,"interrupts":1}}"#
        )
    }

    fn report(devices: &[String]) -> Vec<u8> {
        report_with(devices, &transfers())
    }

    fn report_with(devices: &[String], transfers: &[String]) -> Vec<u8> {
        let (devices, transfers) = (devices.join(","), transfers.join(","));
        let report =
            format!(r#"{{"ok":true,"on":"here","devices":[{devices}],"transfers":[{transfers}]}}"#);
        report.into_bytes()
    }

    fn transfers() -> Vec<String> {
        let mut all = Vec::new();
        for transport in ["pci-modern", "mmio-v2"] {
            for (mtu, offloads) in [(1500, false), (1500, true), (9000, false), (9000, true)] {
                for pairs in [1, 4] {
                    all.push(format!(
                        r#"{{"transport":"{transport}","ring":"split","mtu":{mtu},"offloads":{offloads},
                        "pairs":{pairs},"bytes":4096,"checks":[{{"what":"bytes","ok":true}}]}}"#
                    ));
                }
            }
        }
        all
    }

    fn full() -> Vec<String> {
        vec![
            device("blk", "pci-modern", true),
            device("blk", "mmio-v2", true),
            device("entropy", "pci-modern", true),
            device("entropy", "mmio-v2", true),
            device("net", "pci-modern", true),
            device("net", "mmio-v2", true),
        ]
    }

    fn why(stdout: &[u8], on: &str, bytes: u64) -> String {
        check(stdout, on, bytes, &Expect::USUAL).unwrap_err().what
    }

    #[test]
    fn a_whole_report_passes_with_a_line_for_each_device() {
        let lines = check(&report(&full()), "here", 4096, &Expect::USUAL).unwrap();

        assert_eq!(lines.len(), 6 + 16);
        assert_eq!(lines[0], "virtio0 blk pci-modern: 8 requests, 4096 bytes");
    }

    #[test]
    fn anything_beside_the_object_is_refused() {
        let mut stdout = report(&full());
        stdout.extend(b"done\n");

        assert!(why(&stdout, "here", 1).contains("not one JSON object"));
        assert!(why(b"", "here", 1).contains("not one JSON object"));
    }

    #[test]
    fn a_report_that_is_not_ok_is_refused() {
        assert!(why(b"{\"ok\":false}", "here", 1).contains("\"ok\": true"));
        assert!(why(&report(&full()), "qemu", 1).contains("not of a run on qemu"));
    }

    #[test]
    fn a_missing_device_is_named() {
        let mut devices = full();
        devices.remove(1);

        assert_eq!(
            why(&report(&devices), "here", 1),
            "the report has no blk over mmio"
        );
    }

    #[test]
    fn a_failed_check_is_named_whatever_the_report_says() {
        let mut devices = full();
        devices[3] = device("entropy", "mmio-v2", false);

        assert_eq!(
            why(&report(&devices), "here", 1),
            "virtio0 failed a check: digest"
        );
    }

    #[test]
    fn a_way_between_cards_that_is_missing_or_failed_is_named() {
        let full = full();
        let why = |change: &dyn Fn(&mut Vec<String>)| {
            let mut transfers = transfers();
            change(&mut transfers);
            why(&report_with(&full, &transfers), "here", 1)
        };

        let missing = why(&|all| drop(all.remove(3)));
        let failed = why(&|all| all[9] = all[9].replace("\"ok\":true", "\"ok\":false"));
        let other = why(&|all| all[0] = all[0].replace("split", "packed"));

        assert!(
            missing.contains("pci, mtu 1500, offloads true, pairs 4"),
            "{missing}"
        );
        assert!(
            failed.contains("mmio, mtu 1500, offloads false, pairs 4"),
            "{failed}"
        );
        assert!(
            other.contains("pci, mtu 1500, offloads false, pairs 1"),
            "{other}"
        );
    }

    #[test]
    fn rings_of_another_format_or_with_other_features_are_refused() {
        let [packed, with, without] = [
            ("packed", &[][..], &[][..]),
            ("split", &["IN_ORDER"], &[]),
            ("split", &[], &["EVENT_IDX"]),
        ]
        .map(|(ring, with, without)| Expect {
            ring,
            with,
            without,
        });

        for expect in [packed, with, without] {
            let why = check(&report(&full()), "here", 1, &expect).unwrap_err();
            assert!(why.what.contains("other rings"), "{}", why.what);
        }
    }

    #[test]
    fn a_disk_that_was_not_read_whole_is_refused() {
        assert!(why(&report(&full()), "here", 4097).contains("did too little"));
    }
}
