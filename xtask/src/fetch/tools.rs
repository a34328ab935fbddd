//! The tools that can be fetched.

use super::program::{Linking, Program};
use super::version::Version;
use super::{Kind, Tool};

/// All of them, in the order in which they are shown.
pub(crate) const TOOLS: [&Tool; 8] = [
    &QEMU,
    &DPDK,
    &LINUX,
    &UML,
    &BUSYBOX,
    &STORAGE_DAEMON,
    &E2FSPROGS,
    &IPERF3,
];

/// The machine emulator, for x86-64. The oldest offers the devices as we test them.
pub(crate) const QEMU: Tool = Tool {
    name: "qemu",
    title: "QEMU",
    variable: "RINGWAY_QEMU",
    package: "qemu-system-x86",
    ahead: true,
    oldest: Version { major: 7, minor: 2 },
    elsewhere: "Debian, Ubuntu: qemu-system-x86; Fedora: qemu-system-x86-core; \
                Arch: qemu-system-x86; macOS: qemu",
    kind: Kind::Program(Program {
        programs: &["qemu-system-x86_64"],
        ask: &["--version"],
        before_version: "QEMU emulator version ",
        data: &["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"],
        linking: Linking::Any,
    }),
};

/// The packet forwarder of the Data Plane Development Kit. The oldest is the one that we compare
/// ourselves with.
pub(crate) const DPDK: Tool = Tool {
    name: "dpdk",
    title: "DPDK",
    variable: "RINGWAY_TESTPMD",
    package: "dpdk-dev",
    ahead: false,
    oldest: Version {
        major: 22,
        minor: 11,
    },
    elsewhere: "Debian, Ubuntu: dpdk-dev; Fedora, Arch: dpdk",
    kind: Kind::Program(Program {
        programs: &["dpdk-testpmd"],
        ask: &["-v", "--help"],
        before_version: "RTE Version: 'DPDK ",
        data: &[],
        linking: Linking::Any,
    }),
};

/// Linux for virtual machines, with its modules. The oldest knows every device that we test with
/// it, and VDUSE.
pub(crate) const LINUX: Tool = Tool {
    name: "linux",
    title: "Linux",
    variable: "RINGWAY_LINUX",
    package: "linux-image-amd64",
    ahead: true,
    oldest: Version {
        major: 6,
        minor: 12,
    },
    elsewhere: "Debian: linux-image-amd64; Ubuntu: linux-image-generic; the variable names the \
                folder that has boot/vmlinuz-* and lib/modules",
    kind: Kind::Kernel,
};

/// Linux as an ordinary process. The oldest has its virtio devices outside, over vhost-user.
pub(crate) const UML: Tool = Tool {
    name: "uml",
    title: "user-mode Linux",
    variable: "RINGWAY_UML",
    package: "user-mode-linux",
    ahead: false,
    oldest: Version { major: 6, minor: 1 },
    elsewhere: "Debian, Ubuntu: user-mode-linux",
    kind: Kind::Program(Program {
        programs: &["linux.uml"],
        ask: &["--version"],
        before_version: "",
        data: &[],
        linking: Linking::Any,
    }),
};

/// The programs of a guest, in one file that needs no other.
pub(crate) const BUSYBOX: Tool = Tool {
    name: "busybox",
    title: "BusyBox",
    variable: "RINGWAY_BUSYBOX",
    package: "busybox-static",
    ahead: false,
    oldest: Version {
        major: 1,
        minor: 30,
    },
    elsewhere: "Debian, Ubuntu: busybox-static; Fedora, Arch: busybox",
    kind: Kind::Program(Program {
        programs: &["busybox"],
        ask: &["--help"],
        before_version: "BusyBox v",
        data: &[],
        linking: Linking::Static,
    }),
};

/// QEMU's block devices as a process of their own: a back-end beside ours.
pub(crate) const STORAGE_DAEMON: Tool = Tool {
    name: "storage-daemon",
    title: "qemu-storage-daemon",
    variable: "RINGWAY_STORAGE_DAEMON",
    package: "qemu-utils",
    ahead: true,
    oldest: Version { major: 7, minor: 2 },
    elsewhere: "Debian, Ubuntu: qemu-utils; Fedora: qemu-img; Arch: qemu-storage-daemon",
    kind: Kind::Program(Program {
        programs: &["qemu-storage-daemon"],
        ask: &["--version"],
        before_version: "qemu-storage-daemon version ",
        data: &[],
        linking: Linking::Any,
    }),
};

/// What makes and checks ext4. `e2fsck` is found beside `mke2fs`.
pub(crate) const E2FSPROGS: Tool = Tool {
    name: "e2fsprogs",
    title: "e2fsprogs",
    variable: "RINGWAY_MKE2FS",
    package: "e2fsprogs",
    ahead: false,
    oldest: Version {
        major: 1,
        minor: 45,
    },
    elsewhere: "Debian, Ubuntu, Fedora, Arch: e2fsprogs",
    kind: Kind::Program(Program {
        programs: &["mke2fs", "e2fsck"],
        ask: &["-V"],
        before_version: "mke2fs ",
        data: &[],
        linking: Linking::Any,
    }),
};

/// What measures how much goes through a network. The oldest can be told how many bytes.
pub(crate) const IPERF3: Tool = Tool {
    name: "iperf3",
    title: "iperf3",
    variable: "RINGWAY_IPERF3",
    package: "iperf3",
    ahead: false,
    oldest: Version { major: 3, minor: 1 },
    elsewhere: "Debian, Ubuntu, Fedora, Arch: iperf3",
    kind: Kind::Program(Program {
        programs: &["iperf3"],
        ask: &["--version"],
        before_version: "iperf ",
        data: &[],
        linking: Linking::Any,
    }),
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tools_share_a_name_or_a_variable() {
        for field in [(|tool| tool.name) as fn(&Tool) -> &str, |tool| {
            tool.variable
        }] {
            let mut all: Vec<_> = TOOLS.iter().map(|tool| field(tool)).collect();
            all.sort_unstable();
            all.dedup();

            assert_eq!(all.len(), TOOLS.len());
        }
    }
}
