//! In which ways a disk is read.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Counted, Place, READS, Target, trace};
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::image::{Machine, SUCCESS};

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(120);
/// How many reads are in flight.
const DEPTHS: [u16; 2] = [1, 32];

/// One way to read a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) reach: Reach,
    ring: Ring,
    events: Events,
    notice: Notice,
    pub(super) depth: u16,
}

/// How the disk is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// PCI, with a message for each queue.
    Pci,
    /// PCI, without messages.
    Intx,
    /// MMIO, version 2.
    Mmio,
}

/// The format of its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ring {
    Split,
    Packed,
}

/// Whether each end says from where on it wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Events {
    Indexed,
    Flags,
}

/// How the driver notices what is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    Interrupt,
    Polling,
}

/// The cases that tell most.
pub(super) const SHORT: [Case; 10] = [
    Case::usual(Reach::Pci, 1),
    Case::usual(Reach::Pci, 32),
    Case::usual(Reach::Intx, 1),
    Case::usual(Reach::Intx, 32),
    Case::usual(Reach::Mmio, 1),
    Case::usual(Reach::Mmio, 32),
    Case {
        ring: Ring::Packed,
        ..Case::usual(Reach::Pci, 32)
    },
    Case {
        events: Events::Flags,
        ..Case::usual(Reach::Mmio, 32)
    },
    Case {
        notice: Notice::Polling,
        ..Case::usual(Reach::Pci, 1)
    },
    Case {
        ring: Ring::Packed,
        events: Events::Flags,
        notice: Notice::Polling,
        ..Case::usual(Reach::Mmio, 32)
    },
];

/// All there are. Those that Linux can be in come first of their kind.
pub(super) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    for reach in [Reach::Pci, Reach::Intx, Reach::Mmio] {
        for ring in [Ring::Split, Ring::Packed] {
            for events in [Events::Indexed, Events::Flags] {
                for notice in [Notice::Interrupt, Notice::Polling] {
                    all.extend(DEPTHS.map(|depth| Case {
                        reach,
                        ring,
                        events,
                        notice,
                        depth,
                    }));
                }
            }
        }
    }
    all
}

impl Case {
    const fn usual(reach: Reach, depth: u16) -> Self {
        Self {
            reach,
            ring: Ring::Split,
            events: Events::Indexed,
            notice: Notice::Interrupt,
            depth,
        }
    }

    /// What it is called: what is usual is not said.
    pub(super) fn name(&self) -> String {
        let reach = match self.reach {
            Reach::Pci => "pci",
            Reach::Intx => "intx",
            Reach::Mmio => "mmio",
        };
        let ring = match self.ring {
            Ring::Split => "",
            Ring::Packed => "-packed",
        };
        let events = match self.events {
            Events::Indexed => "",
            Events::Flags => "-flags",
        };
        let notice = match self.notice {
            Notice::Interrupt => "",
            Notice::Polling => "-polled",
        };
        format!("notify-{reach}{ring}{events}{notice}-depth{}", self.depth)
    }

    /// Whether Linux does it, too.
    pub(super) fn is_linux(&self) -> bool {
        *self == Self::usual(self.reach, self.depth)
    }

    pub(super) fn target(&self) -> Target {
        Target::of(self.reach, self.depth)
    }

    /// Counts while our driver reads.
    pub(super) fn run(&self, desk: &Desk<'_>, place: &Place) -> Result<Counted> {
        let log = place.path().join(format!("{}.log", self.name()));
        let way = match self.notice {
            Notice::Interrupt => "blocking",
            Notice::Polling => "polled",
        };
        let machine = match self.reach {
            Reach::Pci | Reach::Intx => Machine::Q35,
            Reach::Mmio => Machine::Microvm,
        };
        let mut command = machine.boot(&place.qemu.path, desk.repo);
        command.arg("-append");
        command.arg(format!("reads={READS} depth={} way={way}", self.depth));
        self.add_disk(&mut command, place);
        trace::add(&mut command, &log);
        let done = desk.run.run(&mut command, LIMIT)?;
        let said = String::from_utf8_lossy(&done.stdout);
        let traced = fs::read_to_string(&log).map_err(Failure::io("read", &log))?;
        let counted = Counted::of(&traced);
        let wrong = match done.status.code() {
            Some(SUCCESS) => self.fault(&said, &counted),
            _ => Some(format!("the machine ended with {}", done.status)),
        };
        match wrong {
            None => Ok(counted),
            Some(what) => Err(Failure {
                what,
                output: done.log,
            }),
        }
    }

    /// The disk, as QEMU presents it. A notification is an access that QEMU sees by itself, and not
    /// a thread of its own some time later.
    pub(super) fn add_disk(&self, command: &mut Command, place: &Place) {
        let image = place.image();
        let device = match self.reach {
            Reach::Pci => "virtio-blk-pci,disable-legacy=on,ioeventfd=off",
            Reach::Intx => "virtio-blk-pci,disable-legacy=on,ioeventfd=off,vectors=0",
            Reach::Mmio => "virtio-blk-device",
        };
        let ring = match self.ring {
            Ring::Split => "",
            Ring::Packed => ",packed=on",
        };
        let events = match self.events {
            Events::Indexed => "",
            Events::Flags => ",event_idx=off",
        };
        command
            .args(["-global", "virtio-mmio.ioeventfd=off"])
            .arg("-drive")
            .arg(format!(
                "file={},format=raw,if=none,id=disk",
                image.display()
            ))
            .arg("-device")
            .arg(format!("{device},drive=disk{ring}{events}"));
    }

    /// What is wrong with what the image said, if anything.
    fn fault(&self, said: &str, counted: &Counted) -> Option<String> {
        let devices: Vec<Value> = said
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["event"] == "device")
            .collect();
        let [device] = devices.as_slice() else {
            return Some(format!("{} devices, and not one", devices.len()));
        };
        let has = |name| {
            device["features"]
                .as_array()
                .is_some_and(|all| all.contains(&Value::from(name)))
        };
        let (ring, interrupt) = (
            match self.ring {
                Ring::Split => "split",
                Ring::Packed => "packed",
            },
            match self.reach {
                Reach::Pci => "msix-each",
                Reach::Intx | Reach::Mmio => "line",
            },
        );
        let right = device["requests"] == READS
            && device["in_flight"] == self.depth
            && device["ring"] == ring
            && device["interrupt"] == interrupt
            && has("EVENT_IDX") == (self.events == Events::Indexed);
        if !right {
            return Some(format!("not what was asked for: {device}"));
        }
        let interrupts = counted.interrupts;
        let (least, most) = match (self.notice, self.depth) {
            // Some reads are done before anybody waits; of many at a time it may be all.
            (Notice::Interrupt, 1) => (1, READS),
            (Notice::Interrupt, _) => (0, READS),
            // QEMU raises the first in any case, wanted or not.
            (Notice::Polling, _) => (0, 1),
        };
        if !(least..=most).contains(&interrupts) {
            return Some(format!(
                "{interrupts} interrupts, and not {least} to {most}"
            ));
        }
        let kicks = &device["kicks"];
        let notifications = counted.notifications;
        (*kicks != notifications)
            .then(|| format!("{kicks} kicks, says the driver, and QEMU {notifications}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_share_a_name_and_the_short_ones_are_among_them() {
        let all = all();
        let mut names: Vec<_> = all.iter().map(Case::name).collect();
        names.sort_unstable();
        names.dedup();

        assert_eq!(names.len(), all.len());
        assert!(SHORT.iter().all(|case| all.contains(case)));
        assert_eq!(all[0].name(), "notify-pci-depth1");
    }

    #[test]
    fn linux_is_in_a_case_of_each_transport_and_depth() {
        let linux: Vec<_> = all().into_iter().filter(Case::is_linux).collect();

        assert_eq!(linux.len(), 3 * DEPTHS.len());
    }
}
