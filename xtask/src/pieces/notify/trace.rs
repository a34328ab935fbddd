//! What is counted in what QEMU traces.

use std::fmt;
use std::path::Path;
use std::process::Command;

/// What QEMU is to trace.
const EVENTS: [&str; 5] = [
    "virtio_queue_notify",
    "virtio_notify",
    "virtio_notify_irqfd",
    "memory_region_ops_read",
    "memory_region_ops_write",
];

/// Places of registers of MMIO, in a window of 512 bytes.
const MMIO_NOTIFY: u64 = 0x050;
const MMIO_INTERRUPTS: [u64; 2] = [0x060, 0x064];
const MMIO_STATUS: u64 = 0x070;
/// The place of the status in the common configuration of PCI, which is on a page of its own.
const PCI_STATUS: u64 = 0x014;

/// What happened in a run of a machine with one virtio device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// Notifications of the driver's.
    pub(crate) notifications: u64,
    /// Interrupts of the device's.
    pub(crate) interrupts: u64,
    /// Accesses to doorbells.
    pub(crate) doorbell: u64,
    /// Accesses to registers that say why there was an interrupt, and that quiet it.
    pub(crate) acknowledging: u64,
    /// Accesses to all other registers of the device, from the first notification to the last one, or
    /// to the last interrupt, before the device is reset: queues may be stopped between that and the reset.
    pub(crate) others: u64,
}

/// Has `command`, a QEMU, write its trace to `log`.
pub(super) fn add(command: &mut Command, log: &Path) {
    let events = EVENTS.map(|event| format!("trace:{event}"));
    command.args(["-d", &events.join(",")]).arg("-D").arg(log);
}

/// What a register is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Register {
    Doorbell,
    Interrupt,
    Status,
    Other,
}

impl Counted {
    /// What a trace tells.
    pub(super) fn of(trace: &str) -> Self {
        let mut counted = Self::default();
        let mut in_operation = false;
        let mut others_since = 0;
        for line in trace.lines() {
            let (event, rest) = line.split_once(' ').unwrap_or((line, ""));
            match event {
                "virtio_queue_notify" => counted.notifications += 1,
                "virtio_notify" | "virtio_notify_irqfd" => counted.interrupts += 1,
                "memory_region_ops_read" | "memory_region_ops_write" => {
                    let Some(register) = register(rest) else {
                        continue;
                    };
                    let is_reset = register == Register::Status
                        && event == "memory_region_ops_write"
                        && number(rest, "value") == Some(0);
                    in_operation = (in_operation || register == Register::Doorbell) && !is_reset;
                    match register {
                        Register::Doorbell => counted.doorbell += 1,
                        Register::Interrupt => counted.acknowledging += u64::from(in_operation),
                        Register::Status | Register::Other => others_since += 1,
                    }
                    if !in_operation {
                        others_since = 0;
                    } else if matches!(register, Register::Doorbell | Register::Interrupt) {
                        counted.others += core::mem::take(&mut others_since);
                    }
                }
                _ => {}
            }
        }
        counted
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            notifications,
            interrupts,
            acknowledging,
            ..
        } = self;
        write!(
            f,
            "{notifications} notifications, {interrupts} interrupts with {acknowledging} accesses"
        )
    }
}

/// What the register is for that an access goes to. `None` if it is not the device's.
fn register(access: &str) -> Option<Register> {
    let (_, name) = access.split_once("name '")?;
    let address = number(access, "addr")?;
    let name = name.trim_end_matches('\'');
    let known = |name: &str| match name {
        _ if name.starts_with("virtio-pci-notify") => Some(Register::Doorbell),
        _ if name.starts_with("virtio-pci-isr") => Some(Register::Interrupt),
        _ if name.starts_with("virtio-pci-common") => Some(match address & 0xfff {
            PCI_STATUS => Register::Status,
            _ => Register::Other,
        }),
        "virtio-mmio" => Some(match address & 0x1ff {
            MMIO_NOTIFY => Register::Doorbell,
            MMIO_STATUS => Register::Status,
            offset if MMIO_INTERRUPTS.contains(&offset) => Register::Interrupt,
            _ => Register::Other,
        }),
        _ if name.starts_with("virtio-") || name.starts_with("msix-") => Some(Register::Other),
        _ => None,
    };
    known(name)
}

/// The number that follows the word `key`.
fn number(access: &str, key: &str) -> Option<u64> {
    let mut words = access.split(' ').skip_while(|word| *word != key);
    let word = words.nth(1)?;
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(how: &str, address: u64, value: u64, name: &str) -> String {
        format!(
            "memory_region_ops_{how} cpu 0 mr 0x55 addr {address:#x} value {value:#x} size 2 name '{name}'\n"
        )
    }

    #[test]
    fn accesses_between_the_first_notification_and_the_last_count() {
        let common = "virtio-pci-common-virtio-blk";
        let trace = [
            access("write", 0xfebf_8014, 15, common),
            access("write", 0xfebf_b000, 0, "virtio-pci-notify-virtio-blk"),
            "virtio_queue_notify vdev 0x5 n 0 vq 0x6\n".to_owned(),
            "virtio_notify vdev 0x5 vq 0x6\n".to_owned(),
            access("read", 0xfebf_9000, 1, "virtio-pci-isr-virtio-blk"),
            access("read", 0xfebf_8014, 15, common),
            access("write", 0x3f8, 65, "serial"),
            access("write", 0xfebf_b000, 0, "virtio-pci-notify-virtio-blk"),
            access("write", 0xfebf_8016, 0, common),
            access("write", 0xfebf_8014, 0, common),
            access("read", 0xfebf_8014, 0, common),
        ]
        .concat();

        let counted = Counted::of(&trace);

        let expected = Counted {
            notifications: 1,
            interrupts: 1,
            doorbell: 2,
            acknowledging: 1,
            others: 1,
        };
        assert_eq!(counted, expected);
    }

    #[test]
    fn registers_of_mmio_are_told_apart_by_their_place() {
        let register = |address| {
            let line = access("write", address, 1, "virtio-mmio");
            register(line.trim_end())
        };

        assert_eq!(register(0xfeb0_0e50), Some(Register::Doorbell));
        assert_eq!(register(0xfeb0_0c64), Some(Register::Interrupt));
        assert_eq!(register(0xfeb0_0e70), Some(Register::Status));
        assert_eq!(register(0xfeb0_0e14), Some(Register::Other));
    }

    #[test]
    fn messages_that_are_programmed_meanwhile_count_and_a_cut_line_does_not() {
        let table = access("write", 0xfebf_c000, 1, "msix-table");

        assert_eq!(register(table.trim_end()), Some(Register::Other));
        assert_eq!(register("cpu 0 mr 0x55 addr"), None);
        assert_eq!(
            Counted::of("memory_region_ops_write\n\nvirtio"),
            Counted::default()
        );
    }
}
