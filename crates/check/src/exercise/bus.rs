//! Exercises a bus: its devices are bound, taken back with requests in flight, bound again by their
//! names, put to sleep and woken, and taken off.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_driver::blk::Blk;
use ringway_driver::bus::{AnyTransport, Bus, Id, Name};
use ringway_driver::entropy::Rng;
use ringway_driver::error::Error;
use ringway_driver::mmio;
use ringway_driver::net;
use ringway_driver::pci::{self, ConfigAccess};
use ringway_driver::platform::Platform;
use ringway_spec::{DeviceId, Status};

use super::Options;
use super::usable::{Card, DEPTH, Disk, Shelf, Source, Usable, all_back, load};
use crate::event::Event;
use crate::report::Check;
use crate::tree::{BusReport, Tree, name};

/// Puts all devices of a machine on a bus, with the drivers that there are, and exercises it. Leaves
/// the devices reset.
pub fn on_bus<P: Platform + ConfigAccess>(
    platform: &P,
    slots: impl IntoIterator<Item = mmio::Slot>,
    options: &Options,
    sink: &mut dyn FnMut(Event),
) -> BusReport {
    let mut report = BusReport::default();
    let mut bench = Bench {
        bus: Bus::new(),
        platform,
        options,
        checks: &mut report.checks,
    };
    let functions = pci::devices(platform).flatten();
    let functions = functions.map(|device| -> AnyTransport<P> { Box::new(device) });
    let windows = mmio::scan(platform.clone(), slots).flatten();
    let windows = windows.map(|device| -> AnyTransport<P> { Box::new(device) });
    let names: Vec<_> = functions
        .chain(windows)
        .map(|device| bench.bus.add(device))
        .collect();
    report.tree = bench.exercise(&names);
    sink(Event::Bus(Box::new(report.clone())));
    report
}

/// A bus that is exercised, and what is found.
struct Bench<'b, P: Platform> {
    bus: Bus<P>,
    platform: &'b P,
    options: &'b Options,
    checks: &'b mut Vec<Check>,
}

impl<P: Platform> Bench<'_, P> {
    /// Does all that is done with a bus of these devices. Returns what was on it, driven.
    fn exercise(&mut self, names: &[Name]) -> Tree {
        let (disks, sources) = (Shelf::<Disk<P>>::new(), Shelf::<Source<P>>::new());
        let (queue, wanted) = (self.options.queue(), self.options.wanted());
        let ids = [Id::of(DeviceId::ENTROPY)];
        let registered =
            self.bus
                .register_with("entropy", &ids, Arc::clone(&sources), move |probed| {
                    Rng::open(probed, &wanted, &queue)
                });
        self.check(None, "takes a driver for entropy", registered);
        let ids = [Id::of(DeviceId::BLOCK)];
        let registered = self
            .bus
            .register_with("blk", &ids, Arc::clone(&disks), move |probed| {
                Blk::open(probed, &wanted, &queue)
            });
        self.check(None, "takes a driver for disks", registered);
        let cards = Shelf::<Card<P>>::new();
        let ids = [Id::of(DeviceId::NETWORK)];
        let registered = self
            .bus
            .register_with("net", &ids, Arc::clone(&cards), move |probed| {
                net::Card::open(probed, &wanted)?.start()
            });
        self.check(None, "takes a driver for network cards", registered);

        let driven: Vec<_> = self.driven();
        for (name, driver) in &driven {
            match *driver {
                "blk" => self.device(*name, driver, &*disks),
                "net" => self.device(*name, driver, &*cards),
                _ => self.device(*name, driver, &*sources),
            }
        }
        let slept = self.bus.suspend_all();
        self.check(None, "sleeps", slept);
        let woken = self.bus.resume_all();
        self.check(None, "wakes", woken);
        for (name, driver) in &driven {
            let what = "works after it has slept";
            match *driver {
                "blk" => self.works(*name, what, &*disks),
                "net" => self.works(*name, what, &*cards),
                _ => self.works(*name, what, &*sources),
            }
        }
        let tree = Tree::new(&self.bus.tree(), self.options.first);
        for name in names {
            let removed = self.bus.remove(*name);
            self.check(Some(*name), "is taken off", removed.map(drop));
        }
        tree
    }

    /// The devices that have a driver, and its name.
    fn driven(&mut self) -> Vec<(Name, &'static str)> {
        let devices = self.bus.tree().devices;
        let driven = devices
            .iter()
            .filter_map(|device| Some((device.name, device.driver?)));
        driven.collect()
    }

    /// Takes a device back from its driver while it has requests, and binds it again.
    fn device<D: Usable<P>>(&mut self, name: Name, driver: &str, shelf: &Shelf<D>) {
        let given_back = self.unbind(name, shelf);
        self.check(
            Some(name),
            "gives every buffer back when it is unbound",
            given_back,
        );
        let tree = self.bus.tree();
        let device = tree.devices.iter().find(|device| device.name == name);
        let status = device.and_then(|device| device.status);
        let noticed = match status {
            Some(Status::ACKNOWLEDGE) => Ok(()),
            Some(other) => Err(format!("its status is {:#x}", other.bits())),
            None => Err("it has no status".to_string()),
        };
        self.check(
            Some(name),
            "is noticed, and no more, without a driver",
            noticed,
        );
        let bound = self.bus.bind(name, driver);
        self.check(Some(name), "is bound again by its name", bound);
        self.works(name, "works after it was bound again", shelf);
    }

    fn unbind<D: Usable<P>>(&mut self, name: Name, shelf: &Shelf<D>) -> Result<(), String> {
        let words = |error: Error| error.to_string();
        let mut device = shelf.take(name).ok_or("it was never added")?;
        let depth = self.options.depth.unwrap_or(DEPTH).min(DEPTH);
        let asked = load(self.platform, &mut device, depth)?;
        self.bus.unbind(name).map_err(words)?;
        all_back(&mut device, asked)
    }

    /// Asks one thing of a device.
    fn works<D: Usable<P>>(&mut self, name: Name, what: &str, shelf: &Shelf<D>) {
        let works = self.ask_once(name, shelf);
        self.check(Some(name), what, works);
    }

    fn ask_once<D: Usable<P>>(&self, name: Name, shelf: &Shelf<D>) -> Result<(), String> {
        let mut device = shelf.take(name).ok_or("it was not added again")?;
        let asked = device.ask(self.platform);
        asked.map_err(|error| error.to_string())?;
        let answered = device.answer();
        // Dropped, it would not be driven any more.
        shelf.0.lock().push((name, device));
        answered
    }

    fn check<E: core::fmt::Display>(
        &mut self,
        device: Option<Name>,
        what: &str,
        found: Result<(), E>,
    ) {
        let whose = match device {
            Some(device) => name(device, self.options.first),
            None => "bus".to_string(),
        };
        self.checks
            .push(Check::new(&format!("{whose} {what}"), found));
    }
}
