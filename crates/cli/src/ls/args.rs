//! What can be typed after `ringway ls`.

use std::path::PathBuf;

use clap::Args;

pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway ls                    every device and driver of this system
  ringway ls virtio0 vda        some of them
  ringway ls net -v             the network devices, with a line for each feature
  ringway ls --json             one object, for programs
  ringway ls --root /mnt/other  what is in a copy of another system's files

The object of --json, in which what is not known is null:
  place     what the bus is called
  devices   a list: name (virtioN); device, the number of its type; type, its name; vendor;
            modalias; status (value, names); features, a list of names, BIT_N if there is none;
            bit_string, 64 or 128 characters from bit 0 on; driver; transport (pci, mmio, ccw, vdpa
            or another's driver); parent, the device that carries it; pci_address; interfaces
            (class, name); interrupt, how they arrive, of devices of ours; interrupts (irq, vector,
            name, count); queues, as far as they have a vector of their own (index, name, size,
            vector, vector_name); problems (attribute, why)
  drivers   a list: name; module; devices, the names of those that it drives
  problems  what is not as it should be with the bus itself (attribute, why)

Exit codes:
  0  there is something
  1  there is nothing, or it cannot be read: the line on standard error says what to do
  2  what was typed cannot be used";

/// Which devices to show, and how.
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// What to show [default: all]
    ///
    /// The name of a device (virtio0), a driver, a type (blk), an address (0000:00:03.0) or an
    /// interface (vda).
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Where the system's files are: its `sys`, and its `proc` for interrupts
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub(crate) root: PathBuf,

    /// A line for each feature, with the section of VIRTIO 1.4 that defines it, and for each interrupt
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) verbose: bool,

    /// Print one JSON object instead of a tree
    #[arg(long)]
    pub(crate) json: bool,
}
