//! Slots of QEMU's q35 under the bare-metal image: devices are added and removed over the monitor while
//! the image runs a bus, and each is taken with requests in flight: in good order, or after its power
//! was cut. Then others come to the same slots.

use std::time::Duration;

use serde_json::{Value, json};

use super::image::{Machine, SUCCESS};
use super::linux::qmp::Monitor;
use super::{Desk, cargo};
use crate::child::Running;
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;

/// Most time for each thing to happen, on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a disk takes for a read, in nanoseconds: it has some when it is to go.
const LATENCY: u64 = 2_000_000_000;
/// What is done, in order. Of four that go, the image has each second one lose its power first.
const STEPS: [Step; 8] = [
    Step::Add("source0", "slot1", SOURCE, r#"{"vectors": 2}"#),
    Step::Add("disk0", "slot0", DISK, r#"{"drive": "null0"}"#),
    Step::Remove("disk0", "left"),
    Step::Remove("source0", "lost"),
    Step::Add("source1", "slot0", SOURCE, r#"{"packed": true}"#),
    Step::Remove("source1", "left"),
    Step::Add(
        "disk1",
        "slot1",
        DISK,
        r#"{"drive": "null1", "packed": true}"#,
    ),
    Step::Remove("disk1", "lost"),
];
const DISK: &str = "virtio-blk-pci";
const SOURCE: &str = "virtio-rng-pci";

/// Something that is done with a slot.
#[derive(Clone, Copy)]
enum Step {
    /// A device of this name comes to a slot, of this type and with these properties.
    Add(&'static str, &'static str, &'static str, &'static str),
    /// The device of this name is to go, and what the image says of its slot when it has.
    Remove(&'static str, &'static str),
}

pub(super) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    cargo::guest(desk)?;
    let qemu = fetch::QEMU.find(&desk.run, desk.repo)?;
    let scratch = Scratch::new("hotplug")?;
    let socket = scratch.path().join("monitor");
    let mut command = Machine::Q35.boot(&qemu.path, desk.repo);
    // Slots that say for themselves what happens, not through firmware.
    command.args([
        "-global",
        "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
    ]);
    for slot in 0..2 {
        let port = format!(
            "pcie-root-port,id=slot{slot},chassis={},slot={}",
            slot + 1,
            slot + 1
        );
        let null = format!(
            "null-co,node-name=null{slot},read-zeroes=on,size=16777216,latency-ns={LATENCY}"
        );
        command.args(["-device", &port, "-blockdev", &null]);
    }
    command
        .args([
            "-qmp",
            &format!("unix:{},server=on,wait=off", socket.display()),
        ])
        .args(["-append", "departures=4"]);
    let mut image = desk.run.start(&mut command)?;
    said(&mut image, "watched", 2)?;
    let mut monitor = Monitor::connect(&socket)?;
    for (place, step) in STEPS.iter().enumerate() {
        step.take(&mut image, &mut monitor, &STEPS[..=place])?;
    }
    let done = image.finish(LIMIT)?;
    let log = String::from_utf8_lossy(&done.log);
    let failed = report(&log)?.into_iter().find(|check| check["ok"] != true);
    let in_flight = in_flight(&log);
    // The first and the last to go are disks.
    let had_some = matches!(in_flight[..], [first, _, _, last] if first > 0 && last > 0);
    if done.status.code() == Some(SUCCESS) && failed.is_none() && had_some {
        return Ok(vec![format!(
            "4 devices came, were used and went, with {in_flight:?} requests in flight, on QEMU {}",
            qemu.version
        )]);
    }
    Err(Failure {
        what: format!(
            "QEMU ended with {}; failed: {failed:?}; in flight: {in_flight:?}",
            done.status
        ),
        output: done.log,
    })
}

impl Step {
    /// Takes the last of `steps`, and waits until the image has done its part.
    fn take(self, image: &mut Running, monitor: &mut Monitor, steps: &[Self]) -> Result<()> {
        let state = match self {
            Self::Add(id, slot, driver, properties) => {
                let mut device: Value = serde_json::from_str(properties)
                    .map_err(|error| Failure::new(format!("{properties}: {error}")))?;
                for (key, value) in [("id", id), ("bus", slot), ("driver", driver)] {
                    device[key] = value.into();
                }
                monitor.execute("device_add", &device)?;
                "used"
            }
            Self::Remove(id, state) => {
                monitor.execute("device_del", &json!({"id": id}))?;
                state
            }
        };
        let same = steps.iter().filter(|step| step.state() == state).count();
        said(image, state, same)
    }

    /// What the image says of it.
    fn state(self) -> &'static str {
        match self {
            Self::Add(..) => "used",
            Self::Remove(_, state) => state,
        }
    }
}

/// Waits until the image has said so often that a slot is so.
fn said(image: &mut Running, state: &str, times: usize) -> Result<()> {
    let said = format!("\"state\":\"{state}\"");
    let what = format!("say {state} {times} times");
    image.wait_until(&what, LIMIT, |log| log.matches(&said).count() >= times)
}

/// The checks that the image reports.
fn report(log: &str) -> Result<Vec<Value>> {
    let bus = events(log).find(|event| event["event"] == "bus");
    let checks = bus.and_then(|bus| bus["checks"].as_array().cloned());
    checks.ok_or_else(|| Failure::new("the image reports nothing of its bus"))
}

/// How many requests each device had when it was to go, in the order in which they did.
fn in_flight(log: &str) -> Vec<u64> {
    let went = |event: &Value| event["state"] == "left" || event["state"] == "lost";
    let went = events(log).filter(|event| event["event"] == "slot" && went(event));
    went.filter_map(|event| event["in_flight"].as_u64())
        .collect()
}

fn events(log: &str) -> impl Iterator<Item = Value> {
    log.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"
{"event":"slot","slot":1,"state":"used","in_flight":0}
{"event":"slot","slot":1,"state":"left","in_flight":8}
not an event
{"event":"slot","slot":2,"state":"lost","in_flight":0}
{"event":"bus","checks":[{"what":"one","ok":true},{"what":"two","ok":false}]}
"#;

    #[test]
    fn what_went_and_what_was_checked_is_found_in_the_log() {
        assert_eq!(in_flight(LOG), [8, 0]);
        assert_eq!(report(LOG).unwrap().len(), 2);
        assert!(report("").is_err());
    }

    #[test]
    fn a_device_that_comes_has_properties_that_are_an_object() {
        for step in STEPS {
            if let Step::Add(_, _, _, properties) = step {
                let properties: Value = serde_json::from_str(properties).unwrap();
                assert!(properties.is_object(), "{properties}");
            }
        }
    }
}
