//! A machine in this process: our devices behind our drivers.

use std::sync::Arc;

use ringway_check::event::Event;
use ringway_check::exercise::{self, Numbers};
use ringway_device::admin::{Administration, Facilities};
use ringway_device::blk::Blk;
use ringway_device::entropy::{Entropy, Source};
use ringway_device::{Device, Offer};
use ringway_host::{Access, Image, Locking, Method, Options as ImageOptions, OsEntropy};
use ringway_machine::{Builder, Machine, Options, Run};

use super::{DISK_NAME, Plan};
use crate::refusal::Result;

/// How much RAM the machine has, in bytes. A disk has no more than 16 MiB in flight.
const RAM: usize = 64 << 20;

/// Exercises what is planned. With a `seed`, all happens on this thread.
pub(super) fn run(plan: &Plan, seed: Option<u64>, sink: &mut dyn FnMut(Event)) -> Result<()> {
    let machine = builder(plan, seed)?.build()?;
    let slots = machine.mmio_slots().iter().copied();
    let subjects = exercise::scan(&machine.platform(), slots);
    let options = exercise::Options {
        seed: plan.seed,
        ..exercise::Options::default()
    };
    exercise::run(subjects, &options, sink);
    let slots = machine.mmio_slots().iter().copied();
    exercise::on_bus(&machine.platform(), slots, &options, sink);
    Ok(())
}

fn builder(plan: &Plan, seed: Option<u64>) -> Result<Builder> {
    let run = seed.map_or(Run::Threaded, |seed| Run::Inline { seed });
    let mut builder = Machine::builder().ram(RAM).run(run);
    let options = Options {
        offer: Offer::NOTHING.with(plan.offer),
        administration: Administration::new(1).with(Arc::new(Facilities::default())),
        ..Options::default()
    };
    if let Some(path) = &plan.disk {
        builder = builder
            .pci("disk on PCI", disk(path, seed)?, options.clone())
            .mmio("disk on MMIO", disk(path, seed)?, options.clone());
    }
    if plan.entropy {
        builder = builder
            .pci("entropy on PCI", entropy(seed), options.clone())
            .mmio("entropy on MMIO", entropy(seed), options);
    }
    Ok(builder)
}

fn disk(path: &str, seed: Option<u64>) -> Result<Box<dyn Device>> {
    // Two disks of one machine are of the same image: neither can have it alone.
    let options = ImageOptions {
        locking: Locking::None,
        ..ImageOptions::new(Access::ReadWrite)
    };
    let image = Image::open_with(path, options)?.named(DISK_NAME);
    let image = match seed {
        None => image,
        // When the system completes something later does not follow from a seed.
        Some(_) => image.with_method(Method::Blocking),
    };
    Ok(Box::new(Blk::new(Arc::new(image), 1)))
}

/// From the operating system; from a seed, if all is to be the same again.
fn entropy(seed: Option<u64>) -> Box<dyn Device> {
    match seed {
        None => Box::new(Entropy::new(OsEntropy)),
        Some(seed) => Box::new(Entropy::new(Seeded(Numbers::new(seed)))),
    }
}

/// Bytes that follow from a seed.
struct Seeded(Numbers);

impl Source for Seeded {
    fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
        self.0.fill(into);
        Ok(())
    }
}
