//! Drives devices for real, and says what each did.
//!
//! A driver can be used in three ways, and all appear: a disk is read through a deep queue that is
//! polled, written by a thread that waits, and read back by a future. Whatever goes wrong is a
//! check that failed, with what was found; nothing panics, and nothing waits for longer than
//! [`PATIENCE`].
//!
//! Entropy devices come first: what they give is what disks are written with.

mod admin;
mod bench;
mod bus;
mod disk;
mod entropy;
mod executor;
mod plan;
mod random;
mod slots;
mod usable;
mod way;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::num::NonZeroU16;
use core::time::Duration;

use ringway_driver::bringup::Wanted;
use ringway_driver::dma::{Callback, QueueOptions};
use ringway_driver::error::{Error, Result};
use ringway_driver::mmio;
use ringway_driver::pci::{self, ConfigAccess, Preference};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;
use ringway_spec::{DeviceId, Features};

use crate::event::Event;
use crate::report::DeviceReport;

pub use bench::note_up;
pub use bus::on_bus;
pub use executor::block_on;
pub use plan::{RANGES_MAX, Range, ranges};
pub use random::Numbers;
pub use slots::in_slots;
pub use way::Way;

use bench::Bench;
use random::Random;

/// How long a device may take until it completes one of the requests that it has.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The types of devices that can be exercised.
pub const TYPES: [DeviceId; 2] = [DeviceId::BLOCK, DeviceId::ENTROPY];

/// How devices are exercised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What everything that is left to chance follows from: which blocks of a disk are written.
    pub seed: u64,
    /// The number of the first device: its name is `virtio` and this.
    pub first: u32,
    /// The most descriptors of a queue, if fewer than drivers like to have.
    pub queue: Option<u16>,
    /// The most request queues that a disk is used by, if more than one.
    pub queues: Option<NonZeroU16>,
    /// How many of them, the last, are slow to be heard of if there are too few vectors.
    pub slow: u16,
    /// The most requests that a disk has at a time, if fewer than its queue has room for.
    pub depth: Option<u16>,
    /// Features that are not accepted, offered or not.
    pub without: Features,
    /// What is done with disks instead of all else.
    pub reads: Option<Reads>,
}

/// Reads of a disk that are made to be counted, not for what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reads {
    /// How many.
    pub count: u32,
    /// How it is noticed that they are done.
    pub way: Way,
}

impl Options {
    /// How queues are made.
    pub(crate) fn queue(&self) -> QueueOptions {
        let usual = QueueOptions::default();
        QueueOptions {
            size: self.queue.unwrap_or(usual.size),
            ..usual
        }
    }

    /// How many request queues disks are opened with, at most.
    pub(crate) fn queues(&self) -> NonZeroU16 {
        self.queues.unwrap_or(NonZeroU16::MIN)
    }

    /// How queue `index` of those is made.
    pub(crate) fn request_queue(&self, index: u16) -> QueueOptions {
        let is_slow = index >= self.queues().get().saturating_sub(self.slow);
        QueueOptions {
            callback: match is_slow {
                true => Callback::Slow,
                false => Callback::Own,
            },
            ..self.queue()
        }
    }

    /// What drivers want of a device's features.
    pub fn wanted(&self) -> Wanted {
        Wanted {
            without: self.without,
            administration: 1,
            ..Wanted::default()
        }
    }
}

/// A device to be exercised, however it is reached: every [`Transport`] is one. A mix of transports
/// is a list of boxes.
pub trait Subject {
    /// What type of device it is.
    fn id(&self) -> DeviceId;

    /// Exercises it, and leaves it reset. For [`run`].
    fn exercise(self: Box<Self>, bench: Bench<'_, '_>) -> DeviceReport;
}

impl<T: Transport + 'static> Subject for T {
    fn id(&self) -> DeviceId {
        self.device_id()
    }

    fn exercise(self: Box<Self>, mut bench: Bench<'_, '_>) -> DeviceReport {
        let mut report = DeviceReport {
            name: bench.name.to_string(),
            kind: self.id().to_string(),
            transport: self.name().to_string(),
            ring: "split".to_string(),
            vendor: self.vendor_id(),
            ..DeviceReport::default()
        };
        bench.begin(&report);
        match self.id() {
            DeviceId::ENTROPY => entropy::exercise(*self, bench, &mut report),
            DeviceId::BLOCK => disk::exercise(*self, bench, &mut report),
            _ => {}
        }
        report
    }
}

/// All devices of a machine: those on PCI, and those in `slots`. A device that cannot be opened is
/// one, too: it is reported as that.
pub fn scan<P: Platform + ConfigAccess>(
    platform: &P,
    slots: impl IntoIterator<Item = mmio::Slot>,
) -> Vec<Box<dyn Subject>> {
    scan_by(platform, Preference::ModernFirst, slots)
}

/// As [`scan`], with devices on PCI by the interface that is preferred.
pub fn scan_by<P: Platform + ConfigAccess>(
    platform: &P,
    preference: Preference,
    slots: impl IntoIterator<Item = mmio::Slot>,
) -> Vec<Box<dyn Subject>> {
    let functions = pci::devices_by(platform, preference).map(|opened| subject(opened, "pci"));
    let windows = mmio::scan(platform.clone(), slots).map(|opened| subject(opened, "mmio"));
    functions.chain(windows).collect()
}

/// Exercises `subjects`, which are called `virtioN` in their order, and leaves each of them reset.
/// What happens meanwhile is told to `sink`.
///
/// A type of device without a driver is reported without checks, and is no failure, unless there is
/// no other.
pub fn run(
    subjects: Vec<Box<dyn Subject>>,
    options: &Options,
    sink: &mut dyn FnMut(Event),
) -> Vec<DeviceReport> {
    let driven = |subject: &dyn Subject| TYPES.contains(&subject.id());
    let any_driven = subjects.iter().any(|subject| driven(&**subject));
    let mut random = Random::new(options.seed);
    let mut numbered: Vec<_> = (u64::from(options.first)..).zip(subjects).collect();
    numbered.sort_by_key(|(_, subject)| subject.id() != DeviceId::ENTROPY);
    let mut reports = Vec::new();
    for (number, subject) in numbered {
        let name = format!("virtio{number}");
        let has_driver = driven(&*subject);
        let mut report = subject.exercise(Bench {
            name: &name,
            // Of its own for each device, so that none depends on what others did.
            seed: options.seed ^ number << 32,
            options,
            random: &mut random,
            sink,
        });
        if !has_driver && !any_driven && report.checks.is_empty() {
            report.check("has a driver", Err("there is none for its type"));
        }
        sink(Event::Device(Box::new(report.clone())));
        reports.push((number, report));
    }
    reports.sort_by_key(|(number, _)| *number);
    reports.into_iter().map(|(_, report)| report).collect()
}

fn subject<T: Transport + 'static>(opened: Result<T>, transport: &'static str) -> Box<dyn Subject> {
    match opened {
        Ok(device) => Box::new(device),
        Err(why) => Box::new(Unopened { transport, why }),
    }
}

/// A device that is there, and cannot be spoken to.
struct Unopened {
    transport: &'static str,
    why: Error,
}

impl Subject for Unopened {
    fn id(&self) -> DeviceId {
        DeviceId::INVALID
    }

    fn exercise(self: Box<Self>, mut bench: Bench<'_, '_>) -> DeviceReport {
        let mut report = DeviceReport {
            name: bench.name.to_string(),
            kind: "unknown".to_string(),
            transport: self.transport.to_string(),
            ..DeviceReport::default()
        };
        bench.begin(&report);
        report.check("can be spoken to", Err(self.why));
        report
    }
}

#[cfg(test)]
mod tests;
