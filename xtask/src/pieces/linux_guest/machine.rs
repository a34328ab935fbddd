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
/// The address of a card.
pub(super) const MAC: &str = "52:54:00:00:00:10";
/// Bytes of RAM. All of it is shared with the back-ends.
const RAM: &str = "256M";
/// What Linux is told. It has nobody to hide from, and emulation is slow enough.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 mitigations=off cryptomgr.notests nokaslr \
                            tsc=reliable no_timer_check";
/// The first QEMU that counts the time until it connects again in milliseconds.
const IN_MILLISECONDS: fetch::Version = fetch::Version { major: 9, minor: 2 };

/// What a machine is made of.
pub(super) struct Parts {
    pub(super) qemu: fetch::Found,
    pub(super) linux: fetch::Found,
    pub(super) busybox: fetch::Found,
}

/// What may differ from one machine to another.
pub(super) struct Setup<'s> {
    /// What QEMU calls its board.
    pub(super) board: &'s str,
    /// What its Linux is told beside [`COMMAND_LINE`].
    pub(super) words: &'s str,
    /// Drivers, which are in the first root and are loaded, with what they need.
    pub(super) modules: &'s [&'s str],
    /// Files, by their names, all in folders of its first root.
    pub(super) files: &'s [(String, Vec<u8>)],
    /// What is done.
    pub(super) script: &'s str,
}

impl Parts {
    /// Finds them.
    pub(super) fn find(desk: &Desk<'_>) -> Result<Self> {
        let find = |tool: &fetch::Tool| tool.find(&desk.run, desk.repo);
        Ok(Self {
            qemu: find(&fetch::QEMU)?,
            linux: find(&fetch::LINUX)?,
            busybox: find(&fetch::BUSYBOX)?,
        })
    }
}

/// A machine that is about to be started.
pub(super) struct Machine {
    /// What starts it. Its devices are still to be added.
    pub(super) command: Command,
    /// How a chardev is told to connect again when its peer has gone.
    again: &'static str,
}

impl Machine {
    /// A machine whose Linux runs `script`, with the drivers that disks need. Its first root is
    /// written into `place`.
    pub(super) fn new(desk: &Desk<'_>, tools: &Tools, place: &Path, script: &str) -> Result<Self> {
        let setup = Setup {
            board: "q35",
            words: "",
            modules: &MODULES,
            files: &[],
            script,
        };
        Self::with(desk, &tools.parts, place, &setup)
    }

    /// A machine that is set up so. Its first root is written into `place`.
    pub(super) fn with(
        desk: &Desk<'_>,
        parts: &Parts,
        place: &Path,
        setup: &Setup<'_>,
    ) -> Result<Self> {
        let root = place.join("root.cpio");
        if !root.exists() {
            let read = Root::read(&desk.run, &parts.linux, &parts.busybox, setup.modules)?;
            let made = read.pack(setup.files, &given(), setup.script);
            let written = made.and_then(|bytes| fs::write(&root, bytes));
            written.map_err(Failure::io("write", &root))?;
        }
        let mut command = Command::new(&parts.qemu.path);
        command
            .args(["-M", &format!("{},memory-backend=mem", setup.board)])
            .args(["-cpu", "max", "-m", RAM])
            .args(["-accel", "tcg,thread=multi", "-smp", &SEVERAL.to_string()])
            .arg("-object")
            .arg(format!("memory-backend-memfd,id=mem,size={RAM},share=on"))
            .args(["-nodefaults", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(&parts.linux.path)
            .arg("-initrd")
            .arg(&root)
            .args(["-append", &format!("{COMMAND_LINE} {}", setup.words)]);
        let again = if parts.qemu.version < IN_MILLISECONDS {
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

    /// Adds the card that is served at `socket`, with so many pairs of queues, of a netdev with these
    /// `switches`.
    pub(super) fn add_card(&mut self, socket: &Path, queues: u16, switches: &str) {
        let socket = socket.display();
        self.command
            .args(["-chardev", &format!("socket,id=card,path={socket}")])
            .args([
                "-netdev",
                &format!("vhost-user,id=net,chardev=card,queues={queues}"),
            ])
            .arg("-device")
            .arg(format!(
                "virtio-net-pci,netdev=net,disable-legacy=on,mac={MAC},romfile={switches}"
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
