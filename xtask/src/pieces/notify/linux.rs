//! Linux, that reads as much from the same disk of QEMU's.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::case::{Case, Reach};
use super::{Counted, Place, READS, trace};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::pieces::Desk;
use crate::pieces::linux::report::{Expect, check};
use crate::pieces::linux::root::Root;
use crate::pieces::linux::variables;

/// Most time for one run: many times what a slow machine takes.
const LIMIT: Duration = Duration::from_secs(180);
/// The drivers that it loads. PCI's is a part of Debian's kernel, and of most.
const MODULES: [&str; 2] = ["virtio_mmio", "virtio_blk"];
/// What it does.
const SCRIPT: &str = include_str!("linux.sh");
/// What it is told. A microvm whose devices stand in tables of ACPI's has no clock to measure others
/// by, so it is told how fast one is.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests nokaslr \
                            tsc=reliable no_timer_check tsc_early_khz=1000000";

/// Linux, and what it starts with.
pub(super) struct Peer {
    kernel: PathBuf,
    root: Root,
    pub(super) version: fetch::Version,
}

impl Peer {
    pub(super) fn new(desk: &Desk<'_>) -> Result<Self> {
        let linux = fetch::LINUX.find(&desk.run, desk.repo)?;
        let busybox = fetch::BUSYBOX.find(&desk.run, desk.repo)?;
        Ok(Self {
            root: Root::read(&desk.run, &linux, &busybox, &MODULES)?,
            kernel: linux.path,
            version: linux.version,
        })
    }

    /// Counts while it reads.
    pub(super) fn run(&self, desk: &Desk<'_>, place: &Place, case: &Case) -> Result<Counted> {
        let given = variables(&[
            ("DISK", "/dev/vda"),
            ("READS", &READS.to_string()),
            ("DEPTH", &case.depth.to_string()),
        ]);
        let root = place.path().join("root.cpio");
        let packed = self.root.pack(&[], &given, SCRIPT);
        let written = packed.and_then(|bytes| fs::write(&root, bytes));
        written.map_err(Failure::io("write", &root))?;
        let log = place.path().join("linux.log");
        let machine = match case.reach {
            Reach::Pci | Reach::Intx => "q35",
            Reach::Mmio => "microvm",
        };
        let mut command = Command::new(&place.qemu.path);
        command
            .args(["-M", machine, "-cpu", "max", "-m", "256"])
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio"])
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .arg("-kernel")
            .arg(&self.kernel)
            .arg("-initrd")
            .arg(&root)
            .args(["-append", COMMAND_LINE]);
        case.add_disk(&mut command, place);
        trace::add(&mut command, &log);
        let done = desk.run.run(&mut command, LIMIT)?;
        check(&done, &[Expect::Least("sectors", 1)])?;
        let traced = fs::read_to_string(&log).map_err(Failure::io("read", &log))?;
        let counted = Counted::of(&traced);
        if counted.notifications == 0 {
            return Err(Failure::new("Linux read, and notified nobody"));
        }
        Ok(counted)
    }
}
