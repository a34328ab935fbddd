//! The virtual machine, and what Linux starts with.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Case, SEVERAL, Tools, given};
use crate::failure::{Failure, Result};
use crate::fetch;
use crate::pieces::Desk;
use crate::pieces::linux::root::Root;

/// The interrupts of a disk's queues.
pub(super) const INTERRUPTS: &str = include_str!("interrupts.sh");
/// The source of random bytes.
pub(super) const ENTROPY: &str = include_str!("entropy.sh");

/// The drivers that a guest loads. PCI's is a part of Debian's kernel, and of most.
const MODULES: [&str; 4] = ["crc32c_generic", "ext4", "virtio_blk", "virtio_rng"];
/// Bytes of RAM. All of it is shared with the back-ends.
const RAM: &str = "256M";
/// What Linux is told. It has nobody to hide from, and emulation is slow enough.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests nokaslr \
                            tsc=reliable no_timer_check";
/// The first QEMU that counts the time until it connects again in milliseconds.
const IN_MILLISECONDS: fetch::Version = fetch::Version { major: 9, minor: 2 };

/// A machine that is about to be started.
pub(super) struct Machine {
    /// What starts it. Its devices are still to be added.
    pub(super) command: Command,
    /// How a chardev is told to connect again when its peer has gone.
    again: &'static str,
}

impl Machine {
    /// A machine whose Linux runs `script`. Its first root is written into `place`.
    pub(super) fn new(desk: &Desk<'_>, tools: &Tools, place: &Path, script: &str) -> Result<Self> {
        let root = place.join("root.cpio");
        if !root.exists() {
            let read = Root::read(&desk.run, &tools.linux, &tools.busybox, &MODULES)?;
            let made = read.pack(&given(), script);
            let written = made.and_then(|bytes| fs::write(&root, bytes));
            written.map_err(Failure::io("write", &root))?;
        }
        let mut command = Command::new(&tools.qemu.path);
        command
            .args(["-M", "q35,memory-backend=mem", "-cpu", "max", "-m", RAM])
            .args(["-accel", "tcg,thread=multi", "-smp", &SEVERAL.to_string()])
            .arg("-object")
            .arg(format!("memory-backend-memfd,id=mem,size={RAM},share=on"))
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(&tools.linux.path)
            .arg("-initrd")
            .arg(&root)
            .args(["-append", COMMAND_LINE]);
        let again = if tools.qemu.version < IN_MILLISECONDS {
            "reconnect=1"
        } else {
            "reconnect-ms=100"
        };
        Ok(Self { command, again })
    }

    /// Adds the disk whose back-end listens at `socket`.
    pub(super) fn add_disk(&mut self, socket: &Path, case: &Case) {
        let (socket, again) = (socket.display(), self.again);
        let (queues, switches) = (case.queues, case.switches);
        self.command
            .arg("-chardev")
            .arg(format!("socket,id=disk,path={socket},{again}"))
            .arg("-device")
            .arg(format!(
                "vhost-user-blk-pci,chardev=disk,disable-legacy=on,num-queues={queues}{switches}"
            ));
    }

    /// Adds the source of random bytes whose back-end listens at `socket`.
    pub(super) fn add_entropy(&mut self, socket: &Path) {
        let socket = socket.display();
        self.command
            .arg("-chardev")
            .arg(format!("socket,id=entropy,path={socket}"))
            .args(["-device", "vhost-user-rng-pci,chardev=entropy"]);
    }

    /// Adds a monitor that listens at `socket`.
    pub(super) fn add_monitor(&mut self, socket: &Path) {
        let socket = socket.display();
        self.command
            .args(["-qmp", &format!("unix:{socket},server=on,wait=off")]);
    }

    /// Has it wait for another machine that moves here, over `socket`.
    pub(super) fn add_incoming(&mut self, socket: &Path) {
        self.command
            .args(["-incoming", &format!("unix:{}", socket.display())]);
    }
}
