//! What reads of a disk cost: notifications, interrupts and accesses to registers, counted by QEMU while our driver
//! makes them, and while Linux's does.
//!
//! | file | |
//! | --- | --- |
//! | [`case`] | in which ways a disk is read |
//! | [`trace`] | what is counted in what QEMU traces |
//! | [`linux`] | Linux, that reads as much |
//! | `linux.sh` | how it does |

mod case;
mod linux;
mod trace;

use std::fs::File;
use std::path::Path;

use super::{Desk, cargo};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::scratch::Scratch;
use case::Reach;

pub(crate) use trace::Counted;

/// Reads of a run.
pub(crate) const READS: u64 = 1000;
/// Bytes of the disk.
const DISK: u64 = 8 << 20;

/// What was counted in one case.
pub(crate) struct Measured {
    /// What the case is called.
    pub(crate) name: String,
    /// While our driver read.
    pub(crate) ours: Counted,
    /// While Linux's did, where it was asked.
    pub(crate) linux: Option<Counted>,
    /// The most that ours may be.
    pub(crate) target: Target,
}

/// The most that is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Notifications.
    pub(crate) notifications: u64,
    /// Accesses of an interrupt to registers, to find out whose it is and to quiet it.
    pub(crate) for_interrupt: u64,
}

/// Counts in every case, and in those that Linux can be in, beside it.
///
/// # Errors
///
/// A tool cannot be had, or a machine did not do its reads.
pub(crate) fn measure(desk: &Desk<'_>) -> Result<(Vec<Measured>, Vec<String>)> {
    let place = Place::new(desk)?;
    let peer = linux::Peer::new(desk)?;
    let mut all = Vec::new();
    for case in case::all() {
        let ours = case.run(desk, &place).map_err(|e| e.of(&case.name()))?;
        let linux = case.is_linux().then(|| peer.run(desk, &place, &case));
        all.push(Measured {
            name: case.name(),
            ours,
            linux: linux.transpose().map_err(|e| e.of(&case.name()))?,
            target: case.target(),
        });
    }
    let notes = vec![format!(
        "{READS} reads of 4 KiB; Linux {}, QEMU {}.",
        peer.version, place.qemu.version
    )];
    Ok((all, notes))
}

/// The cases that tell most, without Linux: none may miss its target.
pub(super) fn short(desk: &Desk<'_>) -> Result<Vec<String>> {
    let place = Place::new(desk)?;
    let (mut lines, mut wrong) = (Vec::new(), Vec::new());
    for case in case::SHORT {
        let name = case.name();
        let counted = case.run(desk, &place).map_err(|e| e.of(&name))?;
        match case.target().missed(&counted) {
            Some(why) => wrong.push(format!("{name}: {why}")),
            None => lines.push(format!("{name}: {counted}")),
        }
    }
    if wrong.is_empty() {
        lines.push(format!(
            "{READS} reads each, on QEMU {}",
            place.qemu.version
        ));
        return Ok(lines);
    }
    Err(Failure::new(wrong.join("\n")))
}

/// What every run needs.
struct Place {
    qemu: fetch::Found,
    scratch: Scratch,
}

impl Place {
    fn new(desk: &Desk<'_>) -> Result<Self> {
        cargo::guest(desk)?;
        let place = Self {
            qemu: fetch::QEMU.find(&desk.run, desk.repo)?,
            scratch: Scratch::new("notify")?,
        };
        let image = place.image();
        let made = File::create(&image).and_then(|file| file.set_len(DISK));
        made.map_err(Failure::io("make", &image))?;
        Ok(place)
    }

    fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// The disk.
    fn image(&self) -> std::path::PathBuf {
        self.path().join("disk.img")
    }
}

impl Target {
    fn of(reach: Reach, depth: u16) -> Self {
        Self {
            notifications: match depth {
                1 => READS,
                // Fewer than one for eight reads.
                _ => READS / 8 - 1,
            },
            for_interrupt: match reach {
                Reach::Pci => 0,
                // One to read the cause, and on MMIO one to acknowledge it.
                Reach::Intx => 1,
                Reach::Mmio => 2,
            },
        }
    }

    /// What is more than it may be, if anything.
    pub(crate) fn missed(&self, counted: &Counted) -> Option<String> {
        let Counted {
            notifications,
            interrupts,
            doorbell,
            acknowledging,
            others,
        } = *counted;
        let most = self.notifications;
        if notifications > most {
            return Some(format!("{notifications} notifications, and not {most}"));
        }
        if doorbell != notifications {
            return Some(format!(
                "{doorbell} accesses to doorbells for {notifications} notifications"
            ));
        }
        let most = self.for_interrupt * interrupts;
        if acknowledging > most {
            return Some(format!(
                "{acknowledging} accesses for {interrupts} interrupts, and not {most}"
            ));
        }
        (others != 0).then(|| format!("{others} other accesses to registers between the reads"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Counted = Counted {
        notifications: 100,
        interrupts: 50,
        doorbell: 100,
        acknowledging: 50,
        others: 0,
    };

    #[test]
    fn as_much_as_there_may_be_is_no_miss_and_one_more_is() {
        let target = Target {
            notifications: 100,
            for_interrupt: 1,
        };
        let more = [
            Counted {
                notifications: 101,
                doorbell: 101,
                ..GOOD
            },
            Counted {
                doorbell: 101,
                ..GOOD
            },
            Counted {
                acknowledging: 51,
                ..GOOD
            },
            Counted { others: 1, ..GOOD },
        ];

        assert_eq!(target.missed(&GOOD), None);
        for counted in more {
            assert!(target.missed(&counted).is_some(), "{counted:?}");
        }
    }

    #[test]
    fn many_reads_at_a_time_are_fewer_than_a_notification_for_eight() {
        let target = Target::of(Reach::Pci, 32);

        assert!(target.notifications * 8 < READS);
        assert_eq!(Target::of(Reach::Pci, 1).notifications, READS);
    }
}
