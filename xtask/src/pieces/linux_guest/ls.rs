//! `ringway ls` in the virtual machine: what it says of QEMU's own devices is what Linux says in
//! its files, and what QEMU says over its monitor, which has names of its own for feature bits.

mod judge;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::LIMIT;
use super::machine::{Machine, Parts, Setup};
use crate::failure::{Failure, Result};
use crate::pieces::Desk;
use crate::pieces::linux::Rows;
use crate::pieces::linux::backend::ringway;
use crate::pieces::linux::report::Report;
use crate::scratch::Scratch;

/// The script of the guest.
const SCRIPT: &str = include_str!("ls/ls.sh");
/// The drivers that the guest loads. That of the console is a part of the kernel.
const MODULES: [&str; 11] = [
    "virtio_mmio",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "virtio_balloon",
    "virtio_scsi",
    "sd_mod",
    "virtio_input",
    "evdev",
    "virtio_crypto",
    "virtio_snd",
];
/// Most time to find out what a program is linked with.
const LINKED_LIMIT: Duration = Duration::from_secs(60);
/// A device of QEMU's, and what it is in Linux.
struct Device {
    /// What QEMU is told, beside a name and a place.
    device: &'static str,
    /// What it is told before that.
    behind: &'static [&'static str],
    /// Its number and name in the specification.
    id: u64,
    name: &'static str,
    driver: Option<&'static str>,
    /// The class of what Linux makes of it.
    class: Option<&'static str>,
}

const PCI: &[Device] = &[
    Device {
        behind: &[
            "-blockdev",
            "null-co,node-name=disk,size=1048576,read-zeroes=on",
        ],
        class: Some("block"),
        ..Device::new(
            "virtio-blk-pci,drive=disk,num-queues=2",
            2,
            "blk",
            "virtio_blk",
        )
    },
    Device {
        behind: &["-netdev", "hubport,id=hub,hubid=0"],
        class: Some("net"),
        ..Device::new(
            "virtio-net-pci,netdev=hub,packed=on",
            1,
            "net",
            "virtio_net",
        )
    },
    Device::new(
        "virtio-rng-pci,disable-modern=on,disable-legacy=off",
        4,
        "entropy",
        "virtio_rng",
    ),
    Device::new(
        "virtio-balloon-pci,free-page-reporting=on",
        5,
        "balloon",
        "virtio_balloon",
    ),
    Device {
        class: Some("virtio-ports"),
        ..Device::new(
            "virtio-serial-pci,vectors=0",
            3,
            "console",
            "virtio_console",
        )
    },
    Device {
        behind: &[
            "-blockdev",
            "null-co,node-name=lun,size=1048576,read-zeroes=on",
        ],
        class: Some("block"),
        ..Device::new("virtio-scsi-pci", 8, "scsi", "virtio_scsi")
    },
    Device {
        class: Some("input"),
        ..Device::new(
            "virtio-keyboard-pci,iommu_platform=on",
            18,
            "input",
            "virtio_input",
        )
    },
    Device {
        behind: &["-object", "cryptodev-backend-builtin,id=cipher"],
        ..Device::new(
            "virtio-crypto-pci,cryptodev=cipher",
            20,
            "crypto",
            "virtio_crypto",
        )
    },
    Device {
        behind: &["-audiodev", "none,id=mute"],
        class: Some("sound"),
        ..Device::new("virtio-sound-pci,audiodev=mute", 25, "sound", "virtio_snd")
    },
    // Its driver is not loaded: it is acknowledged, and nothing is agreed.
    Device {
        behind: &["-fsdev", "synth,id=files"],
        driver: None,
        ..Device::new("virtio-9p-pci,fsdev=files,mount_tag=files", 9, "9p", "")
    },
];

/// The slot of the first.
const FIRST_SLOT: usize = 4;

impl Device {
    const fn new(device: &'static str, id: u64, name: &'static str, driver: &'static str) -> Self {
        Self {
            device,
            behind: &[],
            id,
            name,
            driver: Some(driver),
            class: None,
        }
    }
}

/// The same drivers, of devices without a bus. Linux is told by ACPI where they are.
const MMIO: &[Device] = &[
    Device {
        behind: &[
            "-blockdev",
            "null-co,node-name=disk,size=1048576,read-zeroes=on",
        ],
        class: Some("block"),
        ..Device::new("virtio-blk-device,drive=disk", 2, "blk", "virtio_blk")
    },
    Device {
        behind: &["-netdev", "hubport,id=hub,hubid=0"],
        class: Some("net"),
        ..Device::new("virtio-net-device,netdev=hub", 1, "net", "virtio_net")
    },
    Device::new("virtio-rng-device", 4, "entropy", "virtio_rng"),
];

/// A kind of machine.
struct Board {
    /// What QEMU calls it.
    board: &'static str,
    /// What its Linux is told of it.
    words: &'static str,
    transport: &'static str,
    /// What it is told, beside the devices that follow.
    switches: &'static [&'static str],
    devices: &'static [Device],
    /// What stands on the buses that some of them are.
    on_buses: &'static [&'static str],
}

const BOARDS: [Board; 2] = [
    Board {
        board: "q35",
        words: "",
        transport: "pci",
        switches: &[],
        devices: PCI,
        on_buses: &["virtserialport,name=port", "scsi-hd,drive=lun"],
    },
    Board {
        board: "microvm",
        // It has no clock that another could be measured with; one of QEMU's own counts nanoseconds.
        words: "tsc_early_khz=1000000",
        transport: "mmio",
        switches: &["-global", "virtio-mmio.force-legacy=false"],
        devices: MMIO,
        on_buses: &[],
    },
];

pub(in crate::pieces) fn run(desk: &Desk<'_>) -> Result<Vec<String>> {
    let parts = Parts::find(desk)?;
    let files = with_libraries(desk, &ringway(desk)?)?;
    let mut rows = Rows::default();
    for board in &BOARDS {
        let features = board.list(desk, &parts, &files);
        let devices = board.devices.len();
        let did = features.map(|features| format!("{devices} devices, {features} features"));
        rows.add(board.board, did);
    }
    let (linux, qemu) = (parts.linux.version, parts.qemu.version);
    rows.finish(format!("on Linux {linux}, QEMU {qemu}"))
}

impl Board {
    /// Has the devices listed, and compares. Returns how many features they have.
    fn list(&self, desk: &Desk<'_>, parts: &Parts, files: &[(String, Vec<u8>)]) -> Result<usize> {
        let scratch = Scratch::new("linux-ls")?;
        let place = scratch.path();
        let setup = Setup {
            board: self.board,
            words: self.words,
            modules: &MODULES,
            files,
            script: SCRIPT,
        };
        let mut machine = Machine::with(desk, parts, place, &setup)?;
        let socket = place.join("monitor.sock");
        machine.add_monitor(&socket);
        machine.command.args(self.switches);
        for (device, slot) in self.devices.iter().zip(FIRST_SLOT..) {
            let Device { device, behind, .. } = device;
            let place = match self.transport {
                "pci" => format!(",addr={slot:#x}"),
                _ => String::new(),
            };
            let device = format!("{device},id=slot{slot}{place}");
            machine.command.args(*behind).args(["-device", &device]);
        }
        for device in self.on_buses {
            machine.command.args(["-device", device]);
        }

        let mut running = desk.run.start(&mut machine.command)?;
        running.wait_until("say what it has", LIMIT, |log| Report::read(log).is_over())?;
        let report = Report::read(&running.log());
        let judged = judge::judge(self, &report, &socket);
        let features = judged.map_err(|e| running.failed(format!("disagrees: {e}")))?;
        running.finish(LIMIT)?;
        Ok(features)
    }
}

/// The program, what loads it, and the libraries that it is linked with, for a system without them.
fn with_libraries(desk: &Desk<'_>, program: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let linked = desk
        .run
        .succeed(Command::new("ldd").arg(program), LINKED_LIMIT)?;
    let (loader, libraries) = libraries(&String::from_utf8_lossy(&linked.stdout))
        .ok_or_else(|| Failure::new(format!("{} needs no loader", program.display())))?;
    let named = [
        ("ringway".to_owned(), program.to_owned()),
        ("loader".to_owned(), loader),
    ];
    let all = named.into_iter().chain(libraries);
    all.map(|(name, path)| {
        let bytes = fs::read(&path).map_err(Failure::io("read", &path))?;
        Ok((format!("bin/{name}"), bytes))
    })
    .collect()
}

/// The loader of a program, and its libraries by their names, as `ldd` tells them.
fn libraries(said: &str) -> Option<(PathBuf, Vec<(String, PathBuf)>)> {
    let mut loader = None;
    let mut libraries = Vec::new();
    for line in said.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [name, "=>", path, _] => libraries.push((name.to_owned(), PathBuf::from(path))),
            [path, _] if path.starts_with('/') => loader = Some(PathBuf::from(path)),
            _ => {}
        }
    }
    Some((loader?, libraries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_devices_of_a_board_are_of_one_type() {
        for board in &BOARDS {
            let mut types: Vec<_> = board.devices.iter().map(|device| device.id).collect();
            types.sort_unstable();
            types.dedup();

            assert_eq!(types.len(), board.devices.len(), "{}", board.board);
        }
    }

    #[test]
    fn libraries_are_found_with_what_loads_them() {
        let said = "\tlinux-vdso.so.1 (0x00007f21b4af2000)\n\
                    \tlibc.so.6 => /lib/libc.so.6 (0x00007f21b3e1e000)\n\
                    \t/lib64/ld.so.2 (0x00007f21b4af4000)\n";

        let (loader, all) = libraries(said).unwrap();

        assert_eq!(loader, Path::new("/lib64/ld.so.2"));
        assert_eq!(
            all,
            [("libc.so.6".to_owned(), PathBuf::from("/lib/libc.so.6"))]
        );
        assert_eq!(libraries("\tstatically linked\n"), None);
    }
}
