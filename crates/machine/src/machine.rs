//! A machine that is built, and what can be seen of it from outside.

use core::fmt;
use std::panic;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use ringway_driver::mmio::Slot;
use ringway_driver::pci::Address;

use crate::builder::Builder;
use crate::counters::Counters;
use crate::engine::History;
use crate::interrupts::InterruptCounts;
use crate::platform::Platform;

/// A machine in this process.
///
/// Dropped, it is switched off: no queue is served any more and no handler called, all threads have
/// ended, and nothing answers on the bus. RAM stays for whoever still has some of it.
pub struct Machine {
    platform: Platform,
    dispatcher: Option<JoinHandle<()>>,
    devices: Vec<Attached>,
    slots: Vec<Slot>,
}

/// A device on a machine.
#[derive(Debug)]
pub struct Attached {
    name: String,
    place: Place,
    counters: Arc<Counters>,
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
        dispatcher: Option<JoinHandle<()>>,
        devices: Vec<Attached>,
        slots: Vec<Slot>,
    ) -> Self {
        Self {
            platform,
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

    /// What the interrupt controller saw.
    pub fn interrupts(&self) -> InterruptCounts {
        self.platform.parts().controller.counts()
    }

    /// What happened so far, on an [inline](crate::Run::Inline) machine. Threads leave no history.
    pub fn history(&self) -> Option<History> {
        Some(self.platform.inline()?.history())
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
    pub(crate) fn new(name: String, place: Place, counters: Arc<Counters>) -> Self {
        Self {
            name,
            place,
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
