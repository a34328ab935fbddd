//! A machine that is built, and what can be seen of it from outside.

use core::fmt;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use ringway_device::{Device, mmio};
use ringway_driver::mmio::Slot;
use ringway_driver::pci::Address;

use crate::board::Board;
use crate::builder::{Builder, Options, Plan, Ports, function, presentable};
use crate::bus::{MmioDevice, Population};
use crate::counters::Counters;
use crate::engine::History;
use crate::error::{Error, Result};
use crate::interrupts::{Connected, InterruptCounts};
use crate::platform::Platform;

/// A machine in this process.
///
/// Dropped, it is switched off: no queue is served any more and no handler called, all threads have
/// ended, and nothing answers on the bus. RAM stays for whoever still has some of it.
pub struct Machine {
    platform: Platform,
    board: Board,
    watchers: Vec<Sender<Change>>,
    dispatcher: Option<JoinHandle<()>>,
    devices: Vec<Attached>,
    slots: Vec<Slot>,
}

/// A device on a machine.
#[derive(Debug)]
pub struct Attached {
    name: String,
    place: Place,
    /// How many virtual functions it has, which follow it. None if it is one.
    virtuals: Option<u16>,
    counters: Arc<Counters>,
}

/// What has happened to a place of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A device was plugged in there.
    Plugged(Place),
    /// The one that was there has been pulled out.
    Unplugged(Place),
}

/// Where a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A function on the PCI segment.
    Pci(Address),
    /// An MMIO slot.
    Mmio(Slot),
}

impl Machine {
    /// A machine to be put together.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(
        platform: Platform,
        board: Board,
        dispatcher: Option<JoinHandle<()>>,
        devices: Vec<Attached>,
        slots: Vec<Slot>,
    ) -> Self {
        Self {
            platform,
            board,
            watchers: Vec::new(),
            dispatcher,
            devices,
            slots,
        }
    }

    /// The machine, for drivers. PCI functions are found by a scan of its configuration space.
    pub fn platform(&self) -> Platform {
        self.platform.clone()
    }

    /// All MMIO slots, those that are empty among them: what a device tree would say.
    pub fn mmio_slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The devices, in the order in which they were added.
    pub fn devices(&self) -> &[Attached] {
        &self.devices
    }

    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&Attached> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// Tells what is plugged in and pulled out from here on: how an operating system hears of it.
    pub fn watch(&mut self) -> Receiver<Change> {
        let (tell, hear) = channel();
        self.watchers.push(tell);
        hear
    }

    /// Plugs in a PCI function, behind `bridges` bridges, where firmware configures it as it does at
    /// power-on.
    ///
    /// # Errors
    ///
    /// [`Error`], if there is no place for it or the name is another's. Nothing has changed then.
    pub fn plug_pci(
        &mut self,
        bridges: usize,
        name: &str,
        device: Box<dyn Device>,
        options: Options,
    ) -> Result<Place> {
        let plan = Plan::new(name, function(name, device, options));
        self.plug(name, |board, population| {
            board.plug_function(population, bridges, plan)
        })
    }

    /// Plugs a device into the first MMIO slot that is empty.
    ///
    /// # Errors
    ///
    /// [`Error`], if there is no such slot or the name is another's. Nothing has changed then.
    pub fn plug_mmio(
        &mut self,
        name: &str,
        device: Box<dyn Device>,
        options: Options,
    ) -> Result<Place> {
        presentable(name, &*device, &mmio::LIMITS)?;
        let plan = Plan::new(name, move |ports: Ports| {
            Ok(Arc::new(ports.window(device, &options)) as Arc<dyn MmioDevice>)
        });
        self.plug(name, |board, population| {
            Ok((board.plug_window(population, plan)?, Vec::new()))
        })
    }

    /// Pulls a device out, whatever its driver is doing: nobody answers in its place, its queues are
    /// served no more, and it asserts no line; and so with its virtual functions. `None` if there is
    /// none of this name, or it is a virtual function, which goes with its physical one alone.
    pub fn unplug(&mut self, name: &str) -> Option<Place> {
        let is_it = |device: &Attached| device.name == name && device.virtuals.is_some();
        let index = self.devices.iter().position(is_it)?;
        let Attached {
            place, virtuals, ..
        } = self.devices.remove(index);
        let last = index + usize::from(virtuals.unwrap_or(0));
        self.devices.drain(index..last);
        let bus = &self.platform.parts().bus;
        let before = bus.population();
        let mut population = Population::clone(&before);
        match place {
            // Buses are numbered by the bridges before them.
            Place::Pci(at) => population.segment.unplug(at.bus().into(), at.device()),
            Place::Mmio(slot) => {
                let slots = self.slots.iter().zip(&mut population.slots);
                let nobody = |(known, device): (&Slot, &mut Option<_>)| {
                    if *known == slot {
                        *device = None;
                    }
                };
                slots.for_each(nobody);
            }
        }
        bus.replace(population);
        // Its tasks stop as it goes: not before nobody reaches it any more.
        drop(before);
        self.tell(Change::Unplugged(place));
        Some(place)
    }

    /// What the interrupt controller saw.
    pub fn interrupts(&self) -> InterruptCounts {
        self.platform.parts().controller.counts()
    }

    /// The interrupts that drivers have connected: those of vectors, and then those of lines, of each
    /// of which there may be several.
    pub fn connected(&self) -> Vec<Connected> {
        self.platform.parts().controller.connected()
    }

    /// What happened so far, on an [inline](crate::Run::Inline) machine. Threads leave no history.
    pub fn history(&self) -> Option<History> {
        Some(self.platform.inline()?.history())
    }

    fn plug(
        &mut self,
        name: &str,
        into: impl FnOnce(&mut Board, &mut Population) -> Result<(Attached, Vec<Attached>)>,
    ) -> Result<Place> {
        if self.device(name).is_some() {
            return Err(Error::SameName(name.to_owned()));
        }
        let bus = &self.platform.parts().bus;
        let mut population = Population::clone(&bus.population());
        let (attached, virtuals) = into(&mut self.board, &mut population)?;
        bus.replace(population);
        let place = attached.place;
        self.devices.push(attached);
        self.devices.extend(virtuals);
        self.tell(Change::Plugged(place));
        Ok(place)
    }

    fn tell(&mut self, change: Change) {
        // Who does not listen any more need not be told again.
        self.watchers.retain(|watcher| watcher.send(change).is_ok());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let parts = self.platform.parts();
        // First the registers, so that no driver starts anything; then the queues, which interrupt;
        // then the handlers.
        let population = parts.bus.off();
        parts.engine.off();
        parts.controller.off();
        let ended = self.dispatcher.take().map(JoinHandle::join);
        drop(population);
        // A handler that panicked is not to go unnoticed.
        if let Some(Err(panicked)) = ended
            && !thread::panicking()
        {
            panic::resume_unwind(panicked);
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("platform", &self.platform)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

impl Attached {
    pub(crate) fn new(
        name: String,
        place: Place,
        virtuals: Option<u16>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            name,
            place,
            virtuals,
            counters,
        }
    }

    /// What it was called when it was added.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        self.place
    }

    /// How often its driver has notified it of a queue (§2.9), since the machine was built.
    pub fn kicks(&self) -> u64 {
        self.counters.kicks()
    }

    /// How many of its interrupts were delivered, since the machine was built. A line is delivered
    /// to each device that asserts it.
    pub fn interrupts(&self) -> u64 {
        self.counters.interrupts()
    }
}
