//! Exercises a bus: its devices are bound, taken back with requests in flight, bound again by their
//! names, put to sleep and woken, and taken off.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_driver::blk::Blk;
use ringway_driver::bus::{AnyTransport, Bus, Class, Id, Name, Parting, Sink};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::entropy::Rng;
use ringway_driver::error::{Error, Result};
use ringway_driver::mmio;
use ringway_driver::pci::{self, ConfigAccess};
use ringway_driver::platform::Platform;
use ringway_spec::{DeviceId, Status};
use spin::Mutex;

use super::{Options, PATIENCE};
use crate::event::Event;
use crate::report::Check;
use crate::tree::{BusReport, Tree, name};

/// The most requests that a device has when it is taken back.
const DEPTH: u16 = 8;

type Disk<P> = Blk<AnyTransport<P>, DmaBuffer>;
type Source<P> = Rng<AnyTransport<P>, DmaBuffer>;

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

/// What a driver has made, by the names of the devices.
struct Shelf<D>(Mutex<Vec<(Name, D)>>);

impl<P: Platform, D: Class<P>> Sink<P, D> for Shelf<D> {
    fn added(&self, name: Name, device: D) {
        self.0.lock().push((name, device));
    }

    fn removed(&self, name: Name, _: Parting) {
        // Whoever has taken it has buffers to take back; nothing is in flight on what is here.
        drop(self.take(name));
    }
}

impl<D> Shelf<D> {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Vec::new())))
    }

    fn take(&self, name: Name) -> Option<D> {
        let mut devices = self.0.lock();
        let place = devices.iter().position(|(known, _)| *known == name)?;
        Some(devices.swap_remove(place).1)
    }
}

/// What is done with a device that a driver has made, whatever it is.
trait Usable<P: Platform>: Class<P> {
    /// Asks something of it.
    fn ask(&mut self, platform: &P) -> Result<()>;

    /// Tells it of what was asked.
    fn kick(&mut self) -> Result<bool>;

    /// Waits for an answer.
    fn answer(&mut self) -> Result<(), String>;

    /// Takes a buffer back that was answered, if there is one.
    fn take(&mut self) -> Result<bool>;

    /// Takes a buffer back that was not.
    fn reclaim(&mut self) -> Result<bool>;
}

impl<P: Platform> Usable<P> for Disk<P> {
    fn ask(&mut self, platform: &P) -> Result<()> {
        let buffer = DmaBuffer::new(platform, self.disk().block_size as usize)?;
        self.read(0, buffer)?;
        Ok(())
    }

    fn kick(&mut self) -> Result<bool> {
        self.kick()
    }

    fn answer(&mut self) -> Result<(), String> {
        let done = self.wait(PATIENCE).map_err(|error| error.to_string())?;
        done.result.map_err(|failure| failure.to_string())
    }

    fn take(&mut self) -> Result<bool> {
        Ok(self.poll()?.is_some())
    }

    fn reclaim(&mut self) -> Result<bool> {
        Ok(self.reclaim()?.is_some())
    }
}

impl<P: Platform> Usable<P> for Source<P> {
    fn ask(&mut self, platform: &P) -> Result<()> {
        self.request(DmaBuffer::new(platform, 64)?)?;
        Ok(())
    }

    fn kick(&mut self) -> Result<bool> {
        self.kick()
    }

    fn answer(&mut self) -> Result<(), String> {
        let filled = self.wait(PATIENCE).map_err(|error| error.to_string())?;
        let any = (filled.random != 0).then_some(());
        any.ok_or_else(|| "no byte is random".to_string())
    }

    fn take(&mut self) -> Result<bool> {
        Ok(self.poll()?.is_some())
    }

    fn reclaim(&mut self) -> Result<bool> {
        Ok(self.reclaim()?.is_some())
    }
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

        let driven: Vec<_> = self.driven();
        for (name, driver) in &driven {
            match *driver {
                "blk" => self.device(*name, driver, &*disks),
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
        let mut asked = 0;
        while asked < depth {
            match device.ask(self.platform) {
                Ok(()) => asked += 1,
                Err(Error::QueueFull) => break,
                Err(error) => return Err(error.to_string()),
            }
        }
        device.kick().map_err(words)?;
        self.bus.unbind(name).map_err(words)?;
        let mut back = 0;
        // Ends: it completes nothing more.
        let why = loop {
            match device.take() {
                Ok(true) => back += 1,
                Ok(false) => return Err("it answers as if it was driven".to_string()),
                Err(error) => break error,
            }
        };
        if why != Error::Gone {
            return Err(format!("its driver is told that {why}"));
        }
        while device.reclaim().map_err(words)? {
            back += 1;
        }
        if back != asked {
            return Err(format!("{back} of {asked} came back"));
        }
        Ok(())
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
