//! What devices are plugged into, when a machine is built and later.

use std::sync::Arc;

use ringway_device::interrupt::{Line, MessageSink};
use ringway_device::mmio;
use ringway_device::task::Memory;
use ringway_driver::interrupt::Handler;
use ringway_driver::mmio::Slot;
use ringway_driver::pci::Address;
use ringway_driver::platform::Trust;

use crate::builder::{Plan, Ports};
use crate::bus::{MmioDevice, PciFunction, Population};
use crate::counters::Counters;
use crate::engine::{Engine, Port};
use crate::error::{Error, Result};
use crate::firmware::Addresses;
use crate::interrupts::{Controller, Wires};
use crate::iommu::Iommu;
use crate::layout::{MMIO_BASE, MMIO_LINE, SHARED, SHARED_STRIDE};
use crate::machine::{Attached, Place};
use crate::platform::Platform;
use crate::segment::{self, FUNCTIONS_MAX};

/// What devices are plugged into.
pub(crate) struct Board {
    pub(crate) trust: Trust,
    pub(crate) iommu: Arc<Iommu>,
    pub(crate) controller: Arc<Controller<Handler<Platform>>>,
    pub(crate) engine: Arc<Engine<Handler<Platform>>>,
    pub(crate) addresses: Addresses,
    /// How many devices there were: each has a number of its own.
    pub(crate) devices: usize,
}

impl Board {
    /// Puts a function, and its virtual functions, in the first free place behind `depth` bridges.
    pub(crate) fn plug_function(
        &mut self,
        population: &mut Population,
        depth: usize,
        plan: Plan<dyn PciFunction>,
    ) -> Result<(Attached, Vec<Attached>)> {
        let segment = &mut population.segment;
        let Plan {
            name,
            virtuals,
            make,
        } = plan;
        let free = segment.free(depth, virtuals);
        let device = free.ok_or(Error::TooManyDevices {
            limit: FUNCTIONS_MAX,
        })?;
        let line = segment::line(device);
        let own = Arc::default();
        let counters: Vec<_> = (0..virtuals).map(|_| Arc::default()).collect();
        let ports = self.ports(line, 0, &own);
        let others = counters
            .iter()
            .map(|counters| self.ports(line, 0, counters));
        let function = make(Ports {
            virtual_functions: others.collect(),
            ..ports
        })?;
        let Some(()) = self.addresses.configure(&*function, depth, device) else {
            return Err(Error::NoAddresses(name));
        };
        segment.plug(depth, device, virtuals, function);
        // A bridge that is not configured yet has no number for its bus, which it will be given in
        // their order.
        let at = Address::new(depth as u8, device, 0);
        let others = (1..).zip(counters).map(|(number, counters)| {
            let at = Address::from_routing_id(at.routing_id() + number);
            Attached::new(virtual_name(&name, number), Place::Pci(at), None, counters)
        });
        let others = others.collect();
        let function = Attached::new(name, Place::Pci(at), Some(virtuals), own);
        Ok((function, others))
    }

    /// Puts a device in the first slot that is empty, but for the very first.
    pub(crate) fn plug_window(
        &mut self,
        population: &mut Population,
        plan: Plan<dyn MmioDevice>,
    ) -> Result<Attached> {
        let slots = &mut population.slots;
        let limit = slots.len().saturating_sub(1);
        let is_free = |(_, device): &(usize, &Option<Arc<dyn MmioDevice>>)| {
            device.as_ref().is_none_or(|device| device.is_empty())
        };
        let free = slots.iter().enumerate().skip(1).find(is_free);
        let (number, _) = free.ok_or(Error::TooManyDevices { limit })?;
        let counters = Arc::default();
        let shared = SHARED.start + number as u64 * SHARED_STRIDE;
        let ports = self.ports(mmio_line(number), shared, &counters);
        slots[number] = Some((plan.make)(ports)?);
        let place = Place::Mmio(slot(number));
        Ok(Attached::new(plan.name, place, Some(0), counters))
    }

    fn ports(&mut self, line: u32, shared: u64, counters: &Arc<Counters>) -> Ports {
        let number = self.devices;
        self.devices += 1;
        let wires = Arc::new(Wires::new(
            Arc::clone(&self.controller),
            number,
            line,
            Arc::clone(counters),
        ));
        Ports {
            memory: Arc::clone(&self.iommu) as Arc<dyn Memory>,
            runner: Arc::new(Port::new(
                Arc::clone(&self.engine),
                number,
                Arc::clone(counters),
            )),
            messages: Arc::clone(&wires) as Arc<dyn MessageSink>,
            line: wires as Arc<dyn Line>,
            trust: self.trust,
            shared,
            virtual_functions: Vec::new(),
        }
    }
}

/// What virtual function `number` of the function called `name` is called.
pub(crate) fn virtual_name(name: &str, number: u16) -> String {
    format!("{name}.{number}")
}

/// Slot `number`.
pub(crate) fn slot(number: usize) -> Slot {
    Slot {
        address: MMIO_BASE + number as u64 * mmio::WINDOW_BYTES,
        len: mmio::WINDOW_BYTES,
        line: Some(mmio_line(number)),
    }
}

/// The line of slot `number`, which is below [`MMIO_SLOTS_MAX`](crate::layout::MMIO_SLOTS_MAX).
pub(crate) fn mmio_line(number: usize) -> u32 {
    MMIO_LINE + number as u32
}
