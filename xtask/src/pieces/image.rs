//! The bare-metal image under QEMU.

use std::path::Path;
use std::process::Command;

/// The image, below the repository.
const IMAGE: &str = "guest/target/release/ringway-guest";

/// QEMU's exit status when the image says that all went well.
pub(super) const SUCCESS: i32 = 33;
/// QEMU's exit status when the image says that something failed.
pub(super) const FAILURE: i32 = 35;

/// A machine that the image runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Machine {
    /// With PCI.
    Q35,
    /// With MMIO slots, of version 2.
    Microvm,
    /// With MMIO slots, of version 1.
    MicrovmLegacy,
}

impl Machine {
    /// What QEMU calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Microvm | Self::MicrovmLegacy => "microvm,acpi=off",
        }
    }

    /// The image, about to be started: its command line and its devices are still to be added.
    pub(super) fn boot(self, qemu: &Path, repo: &Path) -> Command {
        let mut command = Command::new(qemu);
        command
            .args(["-M", self.name(), "-cpu", "max", "-m", "256"])
            .args([
                "-nodefaults",
                "-display",
                "none",
                "-serial",
                "stdio",
                "-no-reboot",
            ])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"])
            .arg("-kernel")
            .arg(repo.join(IMAGE));
        let version = match self {
            Self::Q35 => None,
            Self::Microvm => Some("virtio-mmio.force-legacy=false"),
            Self::MicrovmLegacy => Some("virtio-mmio.force-legacy=true"),
        };
        if let Some(version) = version {
            command.args(["-global", version]);
        }
        command
    }
}
