//! QEMU's devices in all the ways that they can be presented, under the drivers
//! of the bare-metal image: each switch of a device, and what it must lead to.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::image::{Machine, SUCCESS};
use super::{Desk, cargo};
use crate::child::Finished;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of the disk: enough for a full ring of requests.
const DISK: u64 = 8 << 20;

/// One way to present a disk and an entropy device.
struct Way {
    machine: Machine,
    /// Switches of both devices.
    both: &'static str,
    /// Switches of the disk alone.
    disk: &'static str,
    /// Whether the disk cannot be written.
    read_only: bool,
    /// What must be so of both devices.
    expect: &'static [Expect],
}

/// What must be so of a device's report.
enum Expect {
    /// How its interrupts arrive.
    Interrupts(&'static str),
    /// The format of its rings.
    Ring(&'static str),
    /// A feature that is agreed to.
    With(&'static str),
    /// A feature that is not.
    Without(&'static str),
    /// A number of the disk's.
    Disk(&'static str, u64),
    /// Something that was checked, and is so.
    Checked(&'static str),
}

use Expect::{Checked, Disk, Interrupts, Ring, With, Without};

/// The part of the exercise in which a queue is reset alone.
const RESIZED: Expect = Checked("can have its queue reset and resized");

const fn pci(both: &'static str, disk: &'static str, expect: &'static [Expect]) -> Way {
    Way {
        machine: Machine::Q35,
        both,
        disk,
        read_only: false,
        expect,
    }
}

const fn mmio(both: &'static str, disk: &'static str, expect: &'static [Expect]) -> Way {
    Way {
        machine: Machine::Microvm,
        both,
        disk,
        read_only: false,
        expect,
    }
}

const WAYS: &[Way] = &[
    pci(
        "",
        "",
        &[
            Interrupts("msix-each"),
            With("INDIRECT_DESC"),
            With("EVENT_IDX"),
        ],
    ),
    pci(",vectors=2", ",num-queues=4", &[Interrupts("msix-each")]),
    pci(",vectors=1", "", &[Interrupts("msix-one")]),
    pci(",vectors=0", "", &[Interrupts("line")]),
    pci(",event_idx=off", "", &[Without("EVENT_IDX")]),
    pci(",indirect_desc=off", "", &[Without("INDIRECT_DESC")]),
    pci(
        ",event_idx=off,indirect_desc=off",
        ",queue-size=4",
        &[Without("EVENT_IDX")],
    ),
    pci(
        ",packed=on",
        "",
        &[
            Ring("packed"),
            With("RING_PACKED"),
            With("INDIRECT_DESC"),
            With("EVENT_IDX"),
        ],
    ),
    pci(
        ",packed=on,event_idx=off,indirect_desc=off",
        ",queue-size=4",
        &[Ring("packed"), Without("EVENT_IDX")],
    ),
    pci(
        ",in_order=on",
        "",
        &[Ring("split"), With("IN_ORDER"), RESIZED],
    ),
    pci(
        ",in_order=on,packed=on,queue_reset=off",
        "",
        &[Ring("packed"), With("IN_ORDER")],
    ),
    pci(
        ",in_order=on,packed=on,event_idx=off,indirect_desc=off",
        "",
        &[Ring("packed"), With("IN_ORDER"), RESIZED],
    ),
    pci(",queue_reset=on", "", &[With("RING_RESET"), RESIZED]),
    pci(
        ",queue_reset=on,packed=on",
        ",queue-size=16",
        &[Ring("packed"), With("RING_RESET"), RESIZED],
    ),
    pci(
        ",queue_reset=on,event_idx=off,indirect_desc=off,vectors=1",
        ",queue-size=32",
        &[Interrupts("msix-one"), RESIZED],
    ),
    pci(
        ",queue_reset=on,packed=on,indirect_desc=off,vectors=0",
        "",
        &[Interrupts("line"), RESIZED],
    ),
    pci(",queue_reset=off", "", &[Without("RING_RESET")]),
    pci(",iommu_platform=on", "", &[With("ACCESS_PLATFORM")]),
    pci(
        ",disable-legacy=off,disable-modern=off",
        "",
        &[With("VERSION_1")],
    ),
    pci(
        "",
        ",logical_block_size=4096,physical_block_size=4096",
        &[Disk("block_size", 4096)],
    ),
    pci("", ",queue-size=16", &[]),
    pci("", ",queue-size=1024", &[]),
    Way {
        read_only: true,
        ..pci("", "", &[])
    },
    mmio(
        "",
        "",
        &[
            Interrupts("line"),
            With("INDIRECT_DESC"),
            With("EVENT_IDX"),
            Without("RING_RESET"),
        ],
    ),
    mmio(",event_idx=off", "", &[Without("EVENT_IDX")]),
    mmio(",packed=on", "", &[Ring("packed"), With("EVENT_IDX")]),
    mmio(",in_order=on", "", &[Ring("split"), With("IN_ORDER")]),
    mmio(
        ",in_order=on,packed=on",
        "",
        &[Ring("packed"), With("IN_ORDER")],
    ),
    mmio(
        ",indirect_desc=off",
        ",queue-size=4",
        &[Without("INDIRECT_DESC")],
    ),
    mmio(
        "",
        ",logical_block_size=4096,physical_block_size=4096",
        &[Disk("block_size", 4096)],
    ),
    Way {
        read_only: true,
        ..mmio("", "", &[])
    },
];

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    cargo::guest(desk)?;
    let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
    let scratch = Scratch::new("devices")?;
    let image = scratch.path().join("disk.img");
    let made = File::create(&image).and_then(|file| file.set_len(DISK));
    made.map_err(Failure::io("make", &image))?;
    let mut wrong = Vec::new();
    for way in WAYS {
        let mut command = way.machine.boot(&qemu.path, desk.repo);
        way.add_devices(&mut command, &image.display().to_string());
        let why = match desk.run.run(&mut command, LIMIT) {
            Ok(done) => way.fault(&done),
            Err(failure) => Some(format!(
                "{}\n{}",
                failure.what,
                String::from_utf8_lossy(&failure.output)
            )),
        };
        if let Some(why) = why {
            wrong.push(format!("{}: {why}", way.name()));
        }
    }
    if wrong.is_empty() {
        return Ok(vec![format!(
            "{} ways on QEMU {}",
            WAYS.len(),
            qemu.version
        )]);
    }
    Err(Failure::new(wrong.join("\n")))
}

impl Way {
    fn name(&self) -> String {
        let Self {
            both,
            disk,
            read_only,
            ..
        } = self;
        let read_only = if *read_only { ", read-only" } else { "" };
        format!("{} {both}{disk}{read_only}", self.machine.name())
    }

    fn add_devices(&self, command: &mut Command, image: &str) {
        let (suffix, always) = match self.machine {
            Machine::Q35 if self.both.contains("disable-legacy") => ("pci", ""),
            Machine::Q35 => ("pci", ",disable-legacy=on"),
            // Which QEMU 10 offers there, without having the register.
            Machine::Microvm => ("device", ",queue_reset=off"),
        };
        let read_only = if self.read_only { "on" } else { "off" };
        let Self { both, disk, .. } = self;
        // What QEMU 10.0 can do in order: beyond that, it loses requests or crashes, as `up` says.
        let asked = if both.contains("in_order") {
            "seed=1 queue=8 depth=1"
        } else {
            "seed=1"
        };
        command
            .args(["-append", asked])
            .args(["-device", &format!("virtio-rng-{suffix}{always}{both}")])
            .args([
                "-drive",
                &format!("file={image},format=raw,if=none,id=disk,readonly={read_only}"),
            ])
            .args([
                "-device",
                &format!("virtio-blk-{suffix},drive=disk{always}{both}{disk}"),
            ]);
    }

    /// What is wrong with a run, if anything.
    fn fault(&self, done: &Finished) -> Option<String> {
        let text = String::from_utf8_lossy(&done.stdout);
        let devices: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["event"] == "device")
            .collect();
        if done.status.code() != Some(SUCCESS) || devices.len() != 2 {
            let last = text.lines().last().unwrap_or("nothing");
            return Some(format!(
                "ended with {}, {} devices: {last}",
                done.status,
                devices.len()
            ));
        }
        for device in &devices {
            let failed = device["checks"]
                .as_array()?
                .iter()
                .find(|check| check["ok"] != true);
            if let Some(check) = failed {
                return Some(check.to_string());
            }
            if device["requests"].as_u64().unwrap_or(0) == 0 {
                return Some(format!("{} did nothing", device["name"]));
            }
            if let Some(expect) = self.expect.iter().find(|expect| !expect.holds(device)) {
                return Some(format!("not as expected, {}: {device}", expect.name()));
            }
        }
        let written = |device: &Value| {
            device["type"] != "blk" || device["disk"]["read_only"] == self.read_only
        };
        (!devices.iter().all(written)).then(|| "the disk is read-only, or is not".to_owned())
    }
}

impl Expect {
    fn holds(&self, device: &Value) -> bool {
        let has = |name: &str| {
            device["features"]
                .as_array()
                .is_some_and(|all| all.iter().any(|f| f == name))
        };
        match self {
            Interrupts(how) => device["interrupt"] == *how,
            Ring(format) => device["ring"] == *format,
            With(name) => has(name),
            Without(name) => !has(name),
            Checked(what) => device["checks"].as_array().is_some_and(|all| {
                all.iter()
                    .any(|check| check["what"] == *what && check["ok"] == true)
            }),
            Disk(key, value) => device["type"] != "blk" || device["disk"][*key] == *value,
        }
    }

    fn name(&self) -> String {
        match self {
            Interrupts(how) => format!("interrupts by {how}"),
            Ring(format) => format!("a {format} ring"),
            With(name) => format!("with {name}"),
            Without(name) => format!("without {name}"),
            Disk(key, value) => format!("{key} {value}"),
            Checked(what) => format!("that it {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn expectations_hold_or_not() {
        let checks = json!([{"what": "a", "ok": true}, {"what": "b", "ok": false}]);
        let device = json!({"checks": checks, "type": "blk", "interrupt": "line", "features": ["RO"], "disk": {"block_size": 512}});

        assert!(Interrupts("line").holds(&device) && !Interrupts("msix-one").holds(&device));
        assert!(["a", "b", "c"].map(|what| Checked(what).holds(&device)) == [true, false, false]);
        assert!(With("RO").holds(&device) && !With("FLUSH").holds(&device));
        assert!(Without("FLUSH").holds(&device) && !Without("RO").holds(&device));
        assert!(Disk("block_size", 512).holds(&device) && !Disk("block_size", 4096).holds(&device));
    }
}
