//! Exercises slots: whatever comes to one is put on a bus and used, and has requests when it is to go.
//!
//! The first device that is to go is let go in good order: the bus takes it back, and its power is cut
//! then. The next has its power cut while its driver knows of nothing; and so on in turn.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_driver::bus::{Bus, Id, Name};
use ringway_driver::error::Error;
use ringway_driver::interrupt::Signal;
use ringway_driver::pci::slot::{Events, Power, Slot, slots};
use ringway_driver::pci::{self, Apertures, ConfigAccess, Preference, place};
use ringway_driver::platform::Platform;
use ringway_spec::DeviceId;

use super::usable::{DEPTH, Disk, Shelf, Source, Usable, all_back, load};
use super::{Options, PATIENCE};
use crate::event::Event;
use crate::report::Check;
use crate::tree::{BusReport, Tree};

/// How long a slot may take to do as it is told (PCI Express 5.0, section 6.7.3.2).
const COMMAND_LIMIT: Duration = Duration::from_secs(1);
/// How long a device that has power may take before it is looked at (section 6.6.1).
const WAKE_UP: Duration = Duration::from_millis(100);

/// How a device goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Going {
    /// It is let go, and then its power is cut.
    InOrder,
    /// Its power is cut, and then it is found to have gone.
    BySurprise,
}

/// A slot that is watched.
struct Watched {
    slot: Slot,
    /// The device in it, its driver, and how many requests it has.
    holds: Option<(Name, &'static str, usize)>,
}

/// The bus that devices come to.
struct Bench<'b, P: Platform> {
    bus: Bus<P>,
    platform: &'b P,
    disks: Arc<Shelf<Disk<P>>>,
    sources: Arc<Shelf<Source<P>>>,
    report: BusReport,
    sink: &'b mut dyn FnMut(Event),
}

/// Watches the slots of a machine until `departures` devices have gone, and uses those that come.
pub fn in_slots<P: Platform + ConfigAccess>(
    platform: &P,
    departures: u32,
    options: &Options,
    sink: &mut dyn FnMut(Event),
) -> BusReport {
    let mut bench = Bench {
        bus: Bus::new(),
        platform,
        disks: Shelf::new(),
        sources: Shelf::new(),
        report: BusReport::default(),
        sink,
    };
    let registered = bench.register();
    bench.check("the bus takes drivers", registered);
    let mut watched: Vec<_> = slots(platform).map(Watched::new).collect();
    for known in &watched {
        // What was before is not news.
        known.slot.take_events(platform);
        bench.say(&known.slot, "watched", 0);
    }
    let (mut gone, mut last) = (0, platform.now());
    while gone < departures && bench.is_well() {
        for known in &mut watched {
            let held = known.holds.is_some();
            let going = if gone % 2 == 0 {
                Going::InOrder
            } else {
                Going::BySurprise
            };
            if bench.look(known, going, options) {
                last = platform.now();
                gone += u32::from(held);
            }
        }
        if platform.now() >= last.saturating_add(PATIENCE) {
            bench.check("something happens", Err(format!("{gone} have gone")));
        }
        bench.nap();
    }
    let report = bench.report;
    sink(Event::Bus(Box::new(report.clone())));
    report
}

impl Watched {
    fn new(slot: Slot) -> Self {
        Self { slot, holds: None }
    }
}

impl<P: Platform + ConfigAccess> Bench<'_, P> {
    fn register(&mut self) -> Result<(), Error> {
        let (disks, sources) = (Arc::clone(&self.disks), Arc::clone(&self.sources));
        let ids = [Id::of(DeviceId::BLOCK)];
        self.bus.register::<Disk<P>, _>("blk", &ids, disks)?;
        let ids = [Id::of(DeviceId::ENTROPY)];
        self.bus.register::<Source<P>, _>("entropy", &ids, sources)
    }

    /// Looks at a slot, and does what is to be done. Says whether that was anything.
    fn look(&mut self, known: &mut Watched, going: Going, options: &Options) -> bool {
        let (slot, events) = (known.slot, known.slot.take_events(self.platform));
        match known.holds {
            None if slot.is_occupied(self.platform) => {
                let arrived = self.arrive(&slot, options);
                let what = format!("a device in slot {} is found and used", slot.number());
                known.holds = arrived.as_ref().ok().copied();
                self.check(&what, arrived.map(drop));
                self.report.tree = Tree::new(&self.bus.tree(), options.first);
                self.say(&slot, "used", 0);
                true
            }
            Some(holds) if events.contains(Events::ATTENTION) => {
                known.holds = None;
                let (state, how) = match going {
                    Going::InOrder => ("left", "let go"),
                    Going::BySurprise => ("lost", "without power"),
                };
                let number = slot.number();
                let what = format!("a device in slot {number} gives every buffer back when {how}");
                let went = self.depart(&slot, holds, going);
                let in_flight = went.as_ref().copied().unwrap_or(0);
                self.check(&what, went.map(drop));
                self.say(&slot, state, in_flight);
                true
            }
            _ => false,
        }
    }

    /// Gives the device that came power, and an address, and a driver, and something to do.
    fn arrive(
        &mut self,
        slot: &Slot,
        options: &Options,
    ) -> Result<(Name, &'static str, usize), String> {
        let words = |error: Error| error.to_string();
        self.switch(slot, Power::On)?;
        let end = self.platform.now().saturating_add(WAKE_UP);
        while self.platform.now() < end {
            self.nap();
        }
        let placed = place(self.platform, &Apertures::default());
        if placed.without_room != 0 {
            return Err(format!("{} BARs have no room", placed.without_room));
        }
        let mut functions = slot.functions(self.platform);
        let function = functions.find(|function| function.device_id().is_some());
        let function = function.ok_or("there is no virtio device")?;
        let device = pci::open(self.platform, &function, Preference::ModernFirst);
        let name = self.bus.add(Box::new(device.map_err(words)?));
        let devices = self.bus.tree().devices;
        let device = devices.iter().find(|device| device.name == name);
        let driver = device.and_then(|device| device.driver);
        let driver = driver.ok_or("no driver has it")?;
        let depth = options.depth.unwrap_or(DEPTH).min(DEPTH);
        let asked = match driver {
            "blk" => self.use_it(&*Arc::clone(&self.disks), name, depth),
            _ => self.use_it(&*Arc::clone(&self.sources), name, depth),
        };
        Ok((name, driver, asked?))
    }

    /// Has something answered by a device, and leaves it with requests.
    fn use_it<D: Usable<P>>(
        &self,
        shelf: &Shelf<D>,
        name: Name,
        depth: u16,
    ) -> Result<usize, String> {
        let mut device = shelf.take(name).ok_or("it was not added")?;
        device
            .ask(self.platform)
            .map_err(|error| error.to_string())?;
        device.answer()?;
        let asked = load(self.platform, &mut device, depth)?;
        shelf.0.lock().push((name, device));
        Ok(asked)
    }

    /// Lets a device go that has requests, or has it go, and finds that all of them come back. Says
    /// how many it had.
    fn depart(
        &mut self,
        slot: &Slot,
        (name, driver, asked): (Name, &'static str, usize),
        going: Going,
    ) -> Result<u16, String> {
        match driver {
            "blk" => self.depart_as(&*Arc::clone(&self.disks), slot, (name, asked), going),
            _ => self.depart_as(&*Arc::clone(&self.sources), slot, (name, asked), going),
        }
    }

    fn depart_as<D: Usable<P>>(
        &mut self,
        shelf: &Shelf<D>,
        slot: &Slot,
        (name, asked): (Name, usize),
        going: Going,
    ) -> Result<u16, String> {
        let words = |error: Error| error.to_string();
        let mut device = shelf.take(name).ok_or("nobody has it")?;
        let mut answered = 0;
        while device.take().map_err(words)? {
            answered += 1;
        }
        let in_flight = device.in_flight();
        match going {
            Going::InOrder => {
                drop(self.bus.remove(name).map_err(words)?);
                self.switch(slot, Power::Off)?;
            }
            Going::BySurprise => {
                self.switch(slot, Power::Off)?;
                // Whoever uses it meanwhile notices nothing, or that nobody answers.
                let _ = device.kick();
                self.bus.removed(name).map_err(words)?;
            }
        }
        all_back(&mut device, asked - answered)?;
        Ok(in_flight)
    }

    /// Switches the power of a slot, and waits until that is done.
    fn switch(&self, slot: &Slot, power: Power) -> Result<(), String> {
        slot.set_power(self.platform, power);
        let end = self.platform.now().saturating_add(COMMAND_LIMIT);
        while !slot.is_settled(self.platform) {
            if self.platform.now() >= end {
                return Err("the slot does not do as it is told".to_string());
            }
            self.platform.relax();
        }
        Ok(())
    }

    /// Sleeps for a while, as far as the platform can.
    fn nap(&self) {
        let nothing = Signal::default();
        self.platform.wait(&nothing, nothing.count());
    }

    /// Whether nothing has failed: after that, nothing is as expected.
    fn is_well(&self) -> bool {
        self.report.checks.iter().all(|check| check.ok)
    }

    fn say(&mut self, slot: &Slot, state: &str, in_flight: u16) {
        (self.sink)(Event::Slot {
            slot: slot.number(),
            state: state.to_string(),
            in_flight,
        });
    }

    fn check(&mut self, what: &str, found: Result<(), impl core::fmt::Display>) {
        self.report.checks.push(Check::new(what, found));
    }
}
