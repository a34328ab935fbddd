//! `ringway up`: brings machines up, has their devices driven, and looks from outside whether what
//! was found is true.
//!
//! What drivers find is told by [`Event`]s. They come from [this process](here), or over a serial
//! port from an image in [QEMU](qemu). Here they meet what only the outside knows: [the disk's
//! file](disk).

mod disk;
mod here;
mod qemu;
mod table;
mod tree;

use std::hash::{BuildHasher, RandomState};
use std::io::Write;

use ringway_check::event::Event;
use ringway_check::report::{Check, DeviceReport, Place, Report, TransferReport};
use ringway_check::tree::BusReport;
use ringway_spec::{DeviceId, Features};

use crate::args::{On, Up};
use crate::progress::Progress;
use crate::refusal::Result;
use crate::ring;
use crate::tree::{Detail, Tree};
use disk::{Disk, Image, Wrote};
use qemu::Qemu;

/// What disks are called, at the devices' end. Drivers are to find just that.
const DISK_NAME: &str = "ringway";

/// What machines are to have: a device of each type that is wanted, on PCI and on MMIO. Network cards are
/// joined to those of a second machine.
struct Plan {
    /// What is left to chance follows from it.
    seed: u64,
    /// Whether there is an entropy device.
    entropy: bool,
    /// The disk, if there is one.
    disk: Option<String>,
    /// The network cards, if there are any.
    net: Option<Cards>,
    /// What each of them offers of rings.
    offer: Features,
}

/// What is asked of network cards.
#[derive(Clone, Copy, Debug)]
struct Cards {
    /// How many bytes each sends, if not as many as usual.
    moved: Option<u64>,
}

/// What has happened so far.
struct Course {
    on: On,
    /// What each device was to offer of rings.
    offer: Features,
    disk: Option<Disk>,
    /// What the driver of the disk that is being driven says it wrote.
    wrote: Vec<Wrote>,
    reports: Vec<DeviceReport>,
    transfers: Vec<TransferReport>,
    /// What became of the bus of each machine.
    buses: Vec<BusReport>,
    progress: Progress,
}

/// Does what `ringway up` does. Says whether all checks passed.
pub(crate) fn up(args: &Up) -> Result<bool> {
    // All that can be refused is, before anything is written anywhere.
    let given = args.disk.as_deref();
    let given = given
        .map(|path| Image::open(path, args.write))
        .transpose()?;
    let progress = Progress::new();
    let qemu = match args.on {
        On::Here => None,
        On::Qemu => Some(Qemu::find(
            args.qemu.as_deref(),
            args.image.as_deref(),
            &progress,
        )?),
    };

    let seed = args.seed.unwrap_or_else(chance);
    let image = match given {
        None if args.wants(DeviceId::BLOCK) => Some(Image::made_up(seed)?),
        given => given,
    };
    let disk = image.map(|image| Disk::new(image, &progress)).transpose()?;
    let plan = Plan {
        seed,
        entropy: args.wants(DeviceId::ENTROPY),
        disk: disk.as_ref().map(Disk::path),
        net: args.wants(DeviceId::NETWORK).then_some(Cards {
            moved: args.net_bytes,
        }),
        offer: args.offer()?,
    };
    let mut course = Course {
        on: args.on,
        offer: plan.offer,
        disk,
        wrote: Vec::new(),
        reports: Vec::new(),
        transfers: Vec::new(),
        buses: Vec::new(),
        progress,
    };
    let mut sink = |event| course.event(event);
    let (on, mut checks) = match qemu {
        None => {
            here::run(&plan, args.seed, &mut sink)?;
            (Place::Here, Vec::new())
        }
        Some(qemu) => (Place::Qemu, qemu.run(&plan, &mut sink)),
    };
    course.progress.end();

    checks.push(Check::new("finds every device", course.complete(&plan)));
    checks.push(Check::new("has them on a bus", course.on_buses(&plan)));
    for bus in &course.buses {
        checks.extend(bus.checks.iter().cloned());
    }
    let report = Report::new(on, seed, course.reports, course.transfers, checks);
    let trees = args.tree.then(|| course.buses.iter().map(tree::tree));
    let trees: Option<Vec<_>> = trees.map(Iterator::collect);
    let text = if args.json {
        json(&report, trees.as_deref())
    } else {
        text(&report, trees.as_deref())
    };
    // Whoever closed standard output does not want to read it.
    let _ = write!(anstream::stdout(), "{text}");
    Ok(report.ok)
}

impl Plan {
    /// How many devices there are.
    fn devices(&self) -> usize {
        let types = [self.entropy, self.disk.is_some()].map(usize::from);
        // Those of the second machine count, too.
        let cards = if self.net.is_some() { 4 } else { 0 };
        2 * types.into_iter().sum::<usize>() + cards
    }
}

impl Course {
    fn event(&mut self, event: Event) {
        match event {
            Event::Begin {
                device,
                kind,
                transport,
            } => {
                self.wrote.clear();
                self.progress.begin(format!("{device} {kind} {transport}"));
            }
            Event::Progress { done, total, .. } => self.progress.at(done, total),
            Event::Wrote {
                sector,
                bytes,
                sha256,
                ..
            } => self.wrote.push(Wrote {
                sector,
                bytes,
                sha256,
            }),
            Event::Transfer(report) => self.transfers.push(*report),
            Event::Device(mut report) => {
                self.judge(&mut report);
                self.reports.push(*report);
            }
            Event::Bus(report) => self.buses.push(*report),
            _ => {}
        }
    }

    /// Adds what can be seen of a device from outside.
    fn judge(&mut self, report: &mut DeviceReport) {
        if !report.features.is_empty() {
            let offer = ring::presented(self.on, &report.transport, self.offer);
            let agrees = ring::agrees(&report.features, offer);
            report.check("has the rings that it was to offer", agrees);
        }
        let (Some(disk), Some(about)) = (&mut self.disk, report.disk.clone()) else {
            return;
        };
        self.progress.begin(format!("{} file", report.name));
        report.check("gives the name that it was given", named(about.id));
        if let Some(sha256) = about.sha256 {
            report.check("reads as the file does", disk.reads_as(&sha256));
        }
        let (held, rest) = disk.verify(&self.wrote, &self.progress);
        report.check("has the file hold what was written", held);
        report.check("leaves the rest of the file as it was", rest);
    }

    fn complete(&self, plan: &Plan) -> Result<(), String> {
        same_number(self.reports.len(), plan.devices())
    }

    /// Whether every device had its driver, on a bus.
    fn on_buses(&self, plan: &Plan) -> Result<(), String> {
        let devices = self.buses.iter().flat_map(|bus| &bus.tree.devices);
        let driven = devices.filter(|device| device.driver.is_some());
        same_number(driven.count(), plan.devices())
    }
}

fn same_number(found: usize, there: usize) -> Result<(), String> {
    if found == there {
        return Ok(());
    }
    Err(format!("{found} of {there} were found"))
}

fn named(id: Option<String>) -> Result<(), String> {
    match id {
        Some(id) if id == DISK_NAME => Ok(()),
        Some(id) => Err(format!("it is {DISK_NAME}, and it says {id}")),
        None => Err("it gives none".to_owned()),
    }
}

/// The report for programs, and the buses, if they are asked for.
fn json(report: &Report, trees: Option<&[Tree]>) -> String {
    // Neither can fail: all keys are strings.
    let Some(trees) = trees else {
        return serde_json::to_string(report).unwrap_or_default() + "\n";
    };
    let mut json = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = json.as_object_mut() {
        let trees = trees.iter().map(Tree::json).collect();
        fields.insert("buses".to_owned(), trees);
    }
    format!("{json}\n")
}

/// The report for people: a table of the devices, or, if they are asked for, the buses.
fn text(report: &Report, trees: Option<&[Tree]>) -> String {
    let Some(trees) = trees else {
        return table::render(report);
    };
    let trees = trees.iter().map(|tree| tree.text(Detail::Brief));
    trees.chain([table::verdict(report)]).collect()
}

/// A seed for who gives none, short enough to be typed.
fn chance() -> u64 {
    RandomState::new().hash_one(std::process::id()) & 0xffff_ffff
}
