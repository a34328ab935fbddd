//! Machines in this process: our devices behind our drivers. One has a device of each type; another has
//! network cards, for those of the first to be joined to.

use std::sync::Arc;

use ringway_check::event::Event;
use ringway_check::exercise::{self, Numbers};
use ringway_device::admin::{Administration, Facilities};
use ringway_device::blk::Blk;
use ringway_device::entropy::{Entropy, Source};
use ringway_device::net::{Net, Options as CardOptions};
use ringway_device::{Device, Offer};
use ringway_host::net::Switch;
use ringway_host::{Access, Image, Locking, Method, Options as ImageOptions, OsEntropy};
use ringway_machine::{Builder, Machine, Options, Run};
use ringway_spec::Features;

use super::{DISK_NAME, Plan};
use crate::refusal::Result;

/// How much RAM a machine has, in bytes. A disk has no more than 16 MiB in flight, and the queues of a
/// card no more than 24 MiB.
const RAM: usize = 64 << 20;

/// Longest packet of a card, after its Ethernet header, in bytes.
const MTU: u16 = 9000;

/// How many pairs of queues a card has.
const PAIRS: u16 = 4;

/// Exercises what is planned. With a `seed`, all happens on this thread.
pub(super) fn run(plan: &Plan, seed: Option<u64>, sink: &mut dyn FnMut(Event)) -> Result<()> {
    let switch = Switch::new();
    let mut machines = vec![main(plan, seed, &switch)?.build()?];
    if plan.net.is_some() {
        let (builder, options) = builder(plan, seed);
        let second = with_cards(builder, &options, 2, &switch);
        machines.push(second.build()?);
    }
    let options = exercise::Options {
        seed: plan.seed,
        moved: plan.net.and_then(|cards| cards.moved),
        ..exercise::Options::default()
    };
    let slots = |machine: &Machine| machine.mmio_slots().to_vec();
    let scan = |machine: &Machine| exercise::scan(&machine.platform(), slots(machine));
    exercise::run(machines.iter().flat_map(scan).collect(), &options, sink);
    let mut first = 0;
    for machine in &machines {
        let options = exercise::Options { first, ..options };
        exercise::on_bus(&machine.platform(), slots(machine), &options, sink);
        first += machine.devices().len() as u32;
    }
    Ok(())
}

/// A machine without devices, and how devices are presented on it.
fn builder(plan: &Plan, seed: Option<u64>) -> (Builder, Options) {
    let run = seed.map_or(Run::Threaded, |seed| Run::Inline { seed });
    let options = Options {
        offer: Offer::NOTHING.with(plan.offer),
        administration: Administration::new(1).with(Arc::new(Facilities::default())),
        ..Options::default()
    };
    (Machine::builder().ram(RAM).run(run), options)
}

/// The machine that has a device of each type.
fn main(plan: &Plan, seed: Option<u64>, switch: &Arc<Switch>) -> Result<Builder> {
    let (mut builder, options) = builder(plan, seed);
    if let Some(path) = &plan.disk {
        builder = builder
            .pci("disk on PCI", disk(path, seed)?, options.clone())
            .mmio("disk on MMIO", disk(path, seed)?, options.clone());
    }
    if plan.entropy {
        builder = builder
            .pci("entropy on PCI", entropy(seed), options.clone())
            .mmio("entropy on MMIO", entropy(seed), options.clone());
    }
    if plan.net.is_some() {
        builder = with_cards(builder, &options, 1, switch);
    }
    Ok(builder)
}

/// Adds the network cards of machine `number`.
fn with_cards(builder: Builder, options: &Options, number: u8, switch: &Arc<Switch>) -> Builder {
    builder
        .pci("card on PCI", card([number, 1], switch), options.clone())
        .mmio("card on MMIO", card([number, 2], switch), options.clone())
}

/// A card whose address ends so.
fn card([machine, number]: [u8; 2], switch: &Arc<Switch>) -> Box<dyn Device> {
    let options = CardOptions {
        mac: [2, 0, 0, 0, machine, number],
        mtu: Some(MTU),
        pairs: PAIRS,
        without: Features::NONE,
    };
    Box::new(Net::new(switch.port(), options))
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
