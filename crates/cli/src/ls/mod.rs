//! `ringway ls`: the virtio devices and drivers of a Linux system, as its sysfs has them.
//!
//! | file | |
//! | --- | --- |
//! | [`args`] | what can be typed |
//! | [`sysfs`] | files that may be anything |
//! | [`device`] | a device of the bus |
//! | [`interface`] | what the system has made of it |
//! | [`interrupts`] | `/proc/interrupts` |

pub(crate) mod args;
mod device;
mod interface;
mod interrupts;
mod sysfs;

use std::io::{self, Write};
use std::path::Path;

use args::Ls;
use interrupts::Interrupts;
use sysfs::Listing;

use crate::refusal::{Refusal, Result};
use crate::tree::{Detail, Driver, Problem, Tree};

/// Where a system has its bus, and its interrupts.
const BUS: &str = "sys/bus/virtio";
const INTERRUPTS: &str = "proc/interrupts";

/// Does what `ringway ls` does. Says whether there was anything to show.
pub(crate) fn ls(args: &Ls) -> Result<bool> {
    match show(args) {
        Ok(()) => Ok(true),
        // What was typed could be used.
        Err(why) => {
            why.tell();
            Ok(false)
        }
    }
}

fn show(args: &Ls) -> Result<()> {
    let mut tree = look(&args.root)?;
    tree.narrow(&args.names)
        .map_err(|name| Refusal::new(format!("nothing here is called {name}: {}", known(&tree))))?;
    let detail = if args.verbose {
        Detail::Full
    } else {
        Detail::Brief
    };
    // Whoever closed standard output does not want to read it.
    let _ = if args.json {
        writeln!(io::stdout(), "{}", tree.json())
    } else {
        write!(anstream::stdout(), "{}", tree.text(detail))
    };
    if args.names.is_empty() && tree.devices.is_empty() {
        return Err(Refusal::new(format!(
            "there is no device at {}: `lspci -d 1af4:` shows those on PCI, which need virtio_pci \
             (modprobe virtio_pci)",
            tree.place
        )));
    }
    let readable = |device: &crate::tree::Device| device.id.is_some();
    if !tree.devices.is_empty() && !tree.devices.iter().any(readable) {
        return Err(Refusal::new(format!(
            "no device at {} can be read: what is odd is told of each; look whether {} may be read, \
             and is a sysfs",
            tree.place, tree.place
        )));
    }
    Ok(())
}

/// The devices that there are, for who asks for others.
fn known(tree: &Tree) -> String {
    let names: Vec<_> = tree.devices.iter().map(|d| d.name.as_str()).collect();
    match &names[..] {
        [] => "there is no device".to_owned(),
        names => format!("there are {}", names.join(", ")),
    }
}

/// Reads the bus of the system whose files are at `root`.
fn look(root: &Path) -> Result<Tree> {
    let bus = root.join(BUS);
    let devices = bus.join("devices");
    let listing = Listing::of(&devices).map_err(|error| missing(root, &devices, &error))?;
    let mut tree = Tree {
        place: sysfs::printable(bus.as_os_str().as_encoded_bytes()),
        ..Tree::default()
    };
    tree.problems.extend(listing.problem("devices"));

    let interrupts = Interrupts::read(&root.join(INTERRUPTS));
    let all = listing.entries.iter();
    tree.devices = all.map(|at| device::read(at, &interrupts)).collect();

    match Listing::of(&bus.join("drivers")) {
        Ok(listing) => {
            tree.problems.extend(listing.problem("drivers"));
            tree.drivers = listing.entries.iter().map(driver).collect();
        }
        Err(error) => tree.problems.push(Problem {
            attribute: "drivers",
            why: sysfs::why(&error),
        }),
    }
    Ok(tree)
}

/// Why there is no bus, and what to do.
fn missing(root: &Path, devices: &Path, error: &io::Error) -> Refusal {
    let shown = devices.display();
    if error.kind() != io::ErrorKind::NotFound {
        return Refusal::new(format!(
            "cannot list {shown}: {error}: try as a user who may, or --root with another system's \
             files"
        ));
    }
    if root.join("sys/bus").exists() {
        Refusal::new(format!(
            "{shown} is not there: the kernel has no virtio (modprobe virtio_pci, or virtio_mmio)"
        ))
    } else {
        Refusal::new(format!(
            "{shown} is not there: mount it (mount -t sysfs sysfs /sys), or name a Linux system's \
             files with --root"
        ))
    }
}

/// A driver, and what is bound to it: all its links but that to its module.
fn driver(at: &sysfs::Entry) -> Driver {
    let entries = Listing::of(&at.path).map(|listing| listing.entries);
    let bound = entries.unwrap_or_default().into_iter();
    let bound = bound.filter(|entry| entry.name != "module" && entry.path.is_symlink());
    Driver {
        name: at.name.clone(),
        module: sysfs::link_name(&at.path.join("module")),
        devices: bound.map(|entry| entry.name).collect(),
    }
}
