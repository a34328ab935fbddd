//! Machines in QEMU: QEMU's devices behind our drivers, which run there on bare metal.

mod child;
mod find;
mod voice;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringway_check::event::Event;
use ringway_check::report::Check;
use ringway_spec::{F, Features};
use serde_json::json;

use super::{DISK_NAME, Plan};
use crate::args::On;
use crate::progress::Progress;
use crate::refusal::Result;
use crate::ring;
use voice::Voice;

/// How long a machine may say nothing. The image says by itself that it hangs, well before.
const SILENCE: Duration = Duration::from_secs(120);

/// A kind of machine.
struct Kind {
    name: &'static str,
    machine: &'static [&'static str],
    disk: &'static str,
    entropy: &'static str,
    transport: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "q35",
        machine: &["-M", "q35"],
        disk: "virtio-blk-pci,disable-legacy=on",
        entropy: "virtio-rng-pci,disable-legacy=on",
        transport: "pci-modern",
    },
    Kind {
        name: "microvm",
        machine: &[
            "-M",
            // So that the devices stand on the command line, and not in tables of ACPI's.
            "microvm,acpi=off",
            "-global",
            "virtio-mmio.force-legacy=false",
        ],
        disk: "virtio-blk-device",
        entropy: "virtio-rng-device",
        transport: "mmio",
    },
];

/// What all machines have: no device that is not named, the image's voice on standard output, and a
/// way for it to leave.
const ALL: [&str; 12] = [
    "-cpu",
    "max",
    "-m",
    "256",
    "-nodefaults",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-no-reboot",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=4",
];

/// What a device's property is called that has it offer a feature, and whether it does by itself.
/// One that is as it should be is not named: older versions do not know all of them.
const PROPERTIES: [(Features, &str, bool); 6] = [
    (F::INDIRECT_DESC, "indirect_desc", true),
    (F::EVENT_IDX, "event_idx", true),
    (F::ACCESS_PLATFORM, "iommu_platform", false),
    (F::RING_PACKED, "packed", false),
    (F::IN_ORDER, "in_order", false),
    (F::RING_RESET, "queue_reset", true),
];

/// What QEMU 10.0 can do in order. Where it notes what it has of a queue, it has room for as many
/// descriptors as it would choose itself, of which the fewest are 8, and on MMIO lets a driver have
/// 1024. And a chain that it has done before its turn, beyond the ring's end, it looks for past the
/// end of those notes: either is a crash, or a request that is lost.
const IN_ORDER_BOUNDS: &str = " queue=8 depth=1";

/// A QEMU, and the image to run in it.
#[derive(Debug)]
pub(super) struct Qemu {
    program: PathBuf,
    image: PathBuf,
}

impl Qemu {
    /// Finds QEMU and the image: those that are named, or others. Builds the image if none is.
    pub(super) fn find(
        program: Option<&Path>,
        image: Option<&Path>,
        progress: &Progress,
    ) -> Result<Self> {
        Ok(Self {
            program: find::program(program)?,
            image: find::image(image, progress)?,
        })
    }

    /// Runs what is planned on every kind of machine, one after the other. Says how each ended.
    pub(super) fn run(&self, plan: &Plan, sink: &mut dyn FnMut(Event)) -> Vec<Check> {
        let mut first = 0;
        let mut run = |kind: &Kind| {
            let mut voice = Voice::default();
            let command = self.command(kind, plan, first);
            let ended = child::run(command, SILENCE, &mut |line| {
                if let Some(mut event) = voice.hear(line) {
                    if let Event::Bus(report) = &mut event {
                        kind.name.clone_into(&mut report.place);
                    }
                    first += u32::from(matches!(event, Event::Device(_)));
                    sink(event);
                }
            });
            let found = match ended {
                Ok(ended) => voice.judge(&ended),
                Err(error) => Err(format!("QEMU cannot be run: {error}")),
            };
            Check::new(&format!("{} runs to its end", kind.name), found)
        };
        KINDS.iter().map(&mut run).collect()
    }

    fn command(&self, kind: &Kind, plan: &Plan, first: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.args(kind.machine).args(ALL);
        command.arg("-kernel").arg(&self.image);
        let offer = ring::presented(On::Qemu, kind.transport, plan.offer);
        let bounds = if offer.contains(F::IN_ORDER) {
            IN_ORDER_BOUNDS
        } else {
            ""
        };
        let asked = format!("exercise seed={} first={first}{bounds}", plan.seed);
        command.args(["-append", &asked]);
        let offer = properties(offer);
        if let Some(disk) = &plan.disk {
            let backend = json!({
                "driver": "raw",
                "node-name": "disk",
                "file": {"driver": "file", "filename": disk},
            });
            let device = format!("{},drive=disk,serial={DISK_NAME}{offer}", kind.disk);
            command.args(["-blockdev", &backend.to_string(), "-device", &device]);
        }
        if plan.entropy {
            command.args(["-device", &format!("{}{offer}", kind.entropy)]);
        }
        command
    }
}

/// What has a device offer these features of rings, and no others.
fn properties(offer: Features) -> String {
    let other = |(feature, name, usual): (Features, &str, bool)| {
        let on = offer.contains(feature);
        (on != usual).then(|| format!(",{name}={}", if on { "on" } else { "off" }))
    };
    PROPERTIES.into_iter().filter_map(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What QEMU's devices offer by themselves.
    const USUAL: Features = Features(F::INDIRECT_DESC.0 | F::EVENT_IDX.0 | F::RING_RESET.0);

    fn arguments(kind: &Kind, plan: &Plan) -> Vec<String> {
        let qemu = Qemu {
            program: "qemu".into(),
            image: "image".into(),
        };
        let command = qemu.command(kind, plan, 2);
        let arguments = command.get_args();
        arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_machine_has_the_devices_that_are_planned() {
        let plan = Plan {
            seed: 5,
            entropy: true,
            disk: Some("/proc/1/fd/3".to_owned()),
            net: None,
            offer: USUAL,
        };

        let [q35, microvm] = &KINDS;
        let (q35, microvm) = (arguments(q35, &plan), arguments(microvm, &plan));

        assert!(q35.contains(&"exercise seed=5 first=2".to_owned()));
        assert!(q35.contains(&"virtio-rng-pci,disable-legacy=on".to_owned()));
        let disk = "virtio-blk-pci,disable-legacy=on,drive=disk,serial=ringway";
        assert!(q35.contains(&disk.to_owned()));
        let disk = "virtio-blk-device,drive=disk,serial=ringway,queue_reset=off";
        assert!(microvm.contains(&disk.to_owned()));
        assert!(microvm.contains(&"virtio-mmio.force-legacy=false".to_owned()));
    }

    #[test]
    fn a_device_is_told_of_features_that_it_would_not_have_by_itself() {
        let inorder = F::RING_PACKED | F::IN_ORDER | F::ACCESS_PLATFORM;

        assert_eq!(properties(USUAL), "");
        assert_eq!(
            properties((USUAL | inorder) - F::EVENT_IDX),
            ",event_idx=off,iommu_platform=on,packed=on,in_order=on"
        );
        assert_eq!(
            properties(Features::NONE),
            ",indirect_desc=off,event_idx=off,queue_reset=off"
        );
    }

    #[test]
    fn devices_that_keep_an_order_are_asked_for_what_they_can() {
        let plan = Plan {
            seed: 5,
            entropy: true,
            disk: None,
            net: None,
            offer: F::IN_ORDER,
        };

        for kind in &KINDS {
            let asked = "exercise seed=5 first=2 queue=8 depth=1".to_owned();

            assert!(arguments(kind, &plan).contains(&asked));
        }
    }

    #[test]
    fn a_machine_has_no_devices_that_are_not() {
        let plan = Plan {
            seed: 0,
            entropy: false,
            disk: None,
            net: None,
            offer: USUAL,
        };

        for kind in &KINDS {
            let all = arguments(kind, &plan).join(" ");

            assert!(!all.contains("rng") && !all.contains("blk"), "{all}");
        }
    }
}
