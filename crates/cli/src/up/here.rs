//! A machine in this process: our devices behind our drivers.

use std::path::Path;
use std::sync::Arc;

use ringway_check::event::Event;
use ringway_check::exercise::{self, Numbers, Subject};
use ringway_device::Device;
use ringway_device::blk::Blk;
use ringway_device::entropy::{Entropy, Source};
use ringway_host::{Access, Image, OsEntropy};
use ringway_machine::{Machine, Options, Run};

use super::{DISK_NAME, Plan};
use crate::refusal::{Refusal, Result};

/// How much RAM the machine has, in bytes: for what a disk has in flight, which is 16 MiB at most, twice over.
const RAM: usize = 64 << 20;

/// Runs what is planned. With a `seed`, on this thread alone.
pub(super) fn run(plan: &Plan, seed: Option<u64>, sink: &mut dyn FnMut(Event)) -> Result<()> {
    let run = seed.map_or(Run::Threaded, |seed| Run::Inline { seed });
    let mut builder = Machine::builder().ram(RAM).run(run);
    for (kind, device) in devices(plan, seed)? {
        builder = builder.pci(&format!("{kind} on PCI"), device, Options::default());
    }
    for (kind, device) in devices(plan, seed)? {
        builder = builder.mmio(&format!("{kind} on MMIO"), device, Options::default());
    }
    let machine = builder.build()?;
    let options = exercise::Options {
        seed: plan.seed,
        first: 0,
    };
    exercise::run(subjects(&machine)?, &options, sink);
    Ok(())
}
