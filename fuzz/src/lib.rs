//! One target for each boundary that a stranger can write to.
//!
//! A target is a function of bytes, which are what the stranger does. It panics if the stranger got
//! through: if anything of ours panicked, if a buffer came back twice or never, if a byte was
//! written that nobody gave away, or if something took more steps than it may. The same
//! function runs behind cargo-fuzz, with a nightly compiler, and in the `replay` program, with a
//! stable one.

pub mod blk_queue;
mod chance;
mod format;
mod input;
pub mod mmio_device;
pub mod net_driver;
pub mod net_queue;
pub mod pci_device;
pub mod pci_driver;
mod registers;
pub mod ring_device;
pub mod ring_driver;
pub mod vhost;

pub use chance::Chance;

/// A boundary, and what is tried there.
pub struct Target {
    /// Its name, which is also that of its folder in the corpus.
    pub name: &'static str,
    /// Does what the bytes say.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 13] = [
    Target {
        name: "split_driver",
        run: ring_driver::split,
    },
    Target {
        name: "packed_driver",
        run: ring_driver::packed,
    },
    Target {
        name: "split_device",
        run: ring_device::split,
    },
    Target {
        name: "packed_device",
        run: ring_device::packed,
    },
    Target {
        name: "pci_driver",
        run: pci_driver::run,
    },
    Target {
        name: "pci_device",
        run: pci_device::run,
    },
    Target {
        name: "mmio_device",
        run: mmio_device::run,
    },
    Target {
        name: "blk_queue",
        run: blk_queue::run,
    },
    Target {
        name: "net_queue",
        run: net_queue::run,
    },
    Target {
        name: "net_driver",
        run: net_driver::run,
    },
    Target {
        name: "vhost_messages",
        run: vhost::messages,
    },
    Target {
        name: "vhost_session",
        run: vhost::session,
    },
    Target {
        name: "vhost_records",
        run: vhost::records,
    },
];
