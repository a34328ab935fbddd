//! The bus: which device answers at an address. Whatever nobody answers reads as all ones.

use core::fmt;
use std::sync::{Arc, RwLock};

use ringway_device::{mmio, pci};
use ringway_driver::pci::Address;

use crate::layout::{MMIO_BASE, PCI_HIGH, PCI_LOW, PCI_PORTS, SHARED, SHARED_STRIDE};
use crate::segment::Segment;
use crate::sync::{read, write};

/// A PCI function, as a bus sees it. [`pci::Function`] is one; for tests of drivers, others can
/// stand in its place, or around it.
pub trait PciFunction: Send + Sync {
    /// Reads configuration space: 8, 16 or 32 bits, aligned.
    fn config_read(&self, offset: u16, into: &mut [u8]);

    /// Writes configuration space: 8, 16 or 32 bits, aligned.
    fn config_write(&self, offset: u16, from: &[u8]);

    /// The BAR that answers at bus address `address`, and the offset in it; `None` if none has all
    /// of the `len` bytes there, or none answers.
    fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)>;

    /// The same for I/O ports, of which a function may have none.
    fn locate_port(&self, _port: u64, _len: usize) -> Option<(u8, u64)> {
        None
    }

    /// Reads the bytes at `offset` of a BAR.
    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]);

    /// Writes the bytes at `offset` of a BAR.
    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]);

    /// Its virtual function `number`, from 1 on, if that is there at the moment, and how far the
    /// routing id of that is from its own. Most functions have none.
    fn virtual_function(&self, _number: u16) -> Option<(u16, &dyn PciFunction)> {
        None
    }
}

impl dyn PciFunction + '_ {
    /// Its virtual functions that are there at the moment.
    pub(crate) fn virtual_functions(&self) -> impl Iterator<Item = (u16, &dyn PciFunction)> {
        (1..).map_while(|number| self.virtual_function(number))
    }
}

/// A device in an MMIO slot, as a bus sees it. [`mmio::Window`] is one, [`mmio::Empty`] another;
/// for tests of drivers, others can stand in their place, or around them.
pub trait MmioDevice: Send + Sync {
    /// Reads the bytes at `offset`.
    fn read(&self, offset: u64, into: &mut [u8]);

    /// Writes the bytes at `offset`.
    fn write(&self, offset: u64, from: &[u8]);

    /// Reads the bytes at `offset` of the memory that it shares: all ones if it shares none.
    fn shared_read(&self, _offset: u64, into: &mut [u8]) {
        into.fill(0xff);
    }

    /// Writes the bytes at `offset` of the memory that it shares.
    fn shared_write(&self, _offset: u64, _from: &[u8]) {}

    /// Whether this only says that there is no device: one can be plugged in.
    fn is_empty(&self) -> bool {
        false
    }
}

impl PciFunction for pci::Function {
    fn config_read(&self, offset: u16, into: &mut [u8]) {
        self.config_read(offset, into);
    }

    fn config_write(&self, offset: u16, from: &[u8]) {
        self.config_write(offset, from);
    }

    fn locate(&self, address: u64, len: usize) -> Option<(u8, u64)> {
        self.locate(address, len)
    }

    fn locate_port(&self, port: u64, len: usize) -> Option<(u8, u64)> {
        self.locate_port(port, len)
    }

    fn bar_read(&self, bar: u8, offset: u64, into: &mut [u8]) {
        self.bar_read(bar, offset, into);
    }

    fn bar_write(&self, bar: u8, offset: u64, from: &[u8]) {
        self.bar_write(bar, offset, from);
    }

    fn virtual_function(&self, number: u16) -> Option<(u16, &dyn PciFunction)> {
        let (distance, function) = self.virtual_function(number)?;
        Some((distance, function))
    }
}

impl MmioDevice for mmio::Window {
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.read(offset, into);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.write(offset, from);
    }

    fn shared_read(&self, offset: u64, into: &mut [u8]) {
        self.shared_read(offset, into);
    }

    fn shared_write(&self, offset: u64, from: &[u8]) {
        self.shared_write(offset, from);
    }
}

impl MmioDevice for mmio::Empty {
    fn read(&self, offset: u64, into: &mut [u8]) {
        (*self).read(offset, into);
    }

    fn write(&self, _offset: u64, _from: &[u8]) {}

    fn is_empty(&self) -> bool {
        true
    }
}

/// What an address is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Memory,
    Ports,
}

/// Everything that answers.
pub(crate) struct Bus {
    /// Replaced when a device is plugged in or pulled out, and by one that is empty when the machine
    /// is switched off.
    population: RwLock<Arc<Population>>,
    slots: usize,
}

/// What is on the bus.
#[derive(Clone, Default)]
pub(crate) struct Population {
    pub(crate) segment: Segment,
    /// One after the other, from the first address of slots on. Where a device was pulled out,
    /// nobody answers.
    pub(crate) slots: Vec<Option<Arc<dyn MmioDevice>>>,
}

/// Where in a slot an access is.
enum InSlot {
    Registers(u64),
    Shared(u64),
}

impl Bus {
    pub(crate) fn new(population: Population) -> Self {
        Self {
            slots: population.slots.len(),
            population: RwLock::new(Arc::new(population)),
        }
    }

    /// Whether registers, or memory of devices, can be at these addresses at all.
    pub(crate) fn has_registers(&self, space: Space, address: u64, len: u64) -> bool {
        let slots = self.slots as u64;
        let ranges: &[_] = match space {
            Space::Memory => &[
                MMIO_BASE..MMIO_BASE + slots * mmio::WINDOW_BYTES,
                SHARED.start..SHARED.start + slots * SHARED_STRIDE,
                PCI_LOW,
                PCI_HIGH,
            ],
            Space::Ports => &[PCI_PORTS],
        };
        ranges.iter().any(|range| {
            let end = address.checked_add(len);
            range.contains(&address) && end.is_some_and(|end| end <= range.end)
        })
    }

    /// Reads what is at `address`.
    pub(crate) fn read(&self, space: Space, address: u64, into: &mut [u8]) {
        let population = self.population();
        match population.slot(space, address, into.len()) {
            Some((slot, InSlot::Registers(offset))) => slot.read(offset, into),
            Some((slot, InSlot::Shared(offset))) => slot.shared_read(offset, into),
            None if population.segment.read(space, address, into) => {}
            None => into.fill(0xff),
        }
    }

    /// Writes what is at `address`.
    pub(crate) fn write(&self, space: Space, address: u64, from: &[u8]) {
        let population = self.population();
        match population.slot(space, address, from.len()) {
            Some((slot, InSlot::Registers(offset))) => slot.write(offset, from),
            Some((slot, InSlot::Shared(offset))) => slot.shared_write(offset, from),
            None => population.segment.write(space, address, from),
        }
    }

    /// Reads configuration space.
    pub(crate) fn config_read(&self, at: Address, offset: u16) -> u32 {
        self.population().segment.config_read(at, offset)
    }

    /// Writes configuration space.
    pub(crate) fn config_write(&self, at: Address, offset: u16, value: u32) {
        self.population().segment.config_write(at, offset, value);
    }

    /// What is on the bus at the moment.
    pub(crate) fn population(&self) -> Arc<Population> {
        read(&self.population).clone()
    }

    /// Puts something else on the bus, with as many slots.
    pub(crate) fn replace(&self, population: Population) {
        *write(&self.population) = Arc::new(population);
    }

    /// Takes everything off the bus.
    pub(crate) fn off(&self) -> Arc<Population> {
        core::mem::take(&mut *write(&self.population))
    }
}

impl Population {
    /// The slot that has all of the `len` bytes at `address`, and where in it.
    fn slot(&self, space: Space, address: u64, len: usize) -> Option<(&dyn MmioDevice, InSlot)> {
        if space == Space::Ports {
            return None;
        }
        let (base, stride) = match address >= SHARED.start {
            true => (SHARED.start, SHARED_STRIDE),
            false => (MMIO_BASE, mmio::WINDOW_BYTES),
        };
        let offset = address.checked_sub(base)?;
        let slot = usize::try_from(offset / stride).ok()?;
        let device = self.slots.get(slot)?.as_deref()?;
        let within = offset % stride;
        let found = match base == MMIO_BASE {
            true => InSlot::Registers(within),
            false => InSlot::Shared(within),
        };
        (within + len as u64 <= stride).then_some((device, found))
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({} MMIO slots)", self.slots)
    }
}
