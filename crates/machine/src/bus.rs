//! The bus: which device answers at an address. Whatever nobody answers reads as all ones.

use core::fmt;
use std::sync::{Arc, RwLock};

use ringway_device::{mmio, pci};

use crate::layout::{MMIO_BASE, PCI_HIGH, PCI_LOW, PCI_PORTS};
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
}

/// A device in an MMIO slot, as a bus sees it. [`mmio::Window`] is one, [`mmio::Empty`] another;
/// for tests of drivers, others can stand in their place, or around them.
pub trait MmioDevice: Send + Sync {
    /// Reads the bytes at `offset`.
    fn read(&self, offset: u64, into: &mut [u8]);

    /// Writes the bytes at `offset`.
    fn write(&self, offset: u64, from: &[u8]);
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
}

impl MmioDevice for mmio::Window {
    fn read(&self, offset: u64, into: &mut [u8]) {
        self.read(offset, into);
    }

    fn write(&self, offset: u64, from: &[u8]) {
        self.write(offset, from);
    }
}

impl MmioDevice for mmio::Empty {
    fn read(&self, offset: u64, into: &mut [u8]) {
        (*self).read(offset, into);
    }

    fn write(&self, _offset: u64, _from: &[u8]) {}
}

/// What an address is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Memory,
    Ports,
}

/// Everything that answers.
pub(crate) struct Bus {
    /// Replaced by one that is empty when the machine is switched off.
    population: RwLock<Arc<Population>>,
    slots: usize,
}

/// What is on the bus.
#[derive(Default)]
pub(crate) struct Population {
    pub(crate) segment: Segment,
    /// One after the other, from the first address of slots on.
    pub(crate) slots: Vec<Arc<dyn MmioDevice>>,
}

impl Bus {
    pub(crate) fn new(population: Population) -> Self {
        Self {
            slots: population.slots.len(),
            population: RwLock::new(Arc::new(population)),
        }
    }

    /// Whether registers can be at these addresses at all.
    pub(crate) fn has_registers(&self, space: Space, address: u64, len: u64) -> bool {
        let slots = MMIO_BASE..MMIO_BASE + self.slots as u64 * mmio::WINDOW_BYTES;
        let ranges: &[_] = match space {
            Space::Memory => &[slots, PCI_LOW, PCI_HIGH],
            Space::Ports => &[PCI_PORTS],
        };
        ranges.iter().any(|range| {
            let end = address.checked_add(len);
            range.contains(&address) && end.is_some_and(|end| end <= range.end)
        })
    }

    /// Reads what is at `address`.
    pub(crate) fn read(&self, space: Space, address: u64, into: &mut [u8]) {
        let population = read(&self.population).clone();
        if let Some((slot, offset)) = population.slot(space, address, into.len()) {
            slot.read(offset, into);
        } else if !population.segment.read(space, address, into) {
            into.fill(0xff);
        }
    }

    /// Writes what is at `address`.
    pub(crate) fn write(&self, space: Space, address: u64, from: &[u8]) {
        let population = read(&self.population).clone();
        if let Some((slot, offset)) = population.slot(space, address, from.len()) {
            slot.write(offset, from);
        } else {
            population.segment.write(space, address, from);
        }
    }

    /// Reads configuration space of device `device` on bus 0.
    pub(crate) fn config_read(&self, device: u8, offset: u16) -> u32 {
        read(&self.population)
            .clone()
            .segment
            .config_read(device, offset)
    }

    /// Writes configuration space of device `device` on bus 0.
    pub(crate) fn config_write(&self, device: u8, offset: u16, value: u32) {
        let population = read(&self.population).clone();
        population.segment.config_write(device, offset, value);
    }

    /// Takes everything off the bus.
    pub(crate) fn off(&self) -> Arc<Population> {
        core::mem::take(&mut *write(&self.population))
    }
}

impl Population {
    /// The slot that has all of the `len` bytes at `address`, and the offset in it.
    fn slot(&self, space: Space, address: u64, len: usize) -> Option<(&dyn MmioDevice, u64)> {
        let offset = address.checked_sub(MMIO_BASE)?;
        let slot = usize::try_from(offset / mmio::WINDOW_BYTES).ok()?;
        let within = offset % mmio::WINDOW_BYTES;
        let slot = self.slots.get(slot)?;
        let whole = within + len as u64 <= mmio::WINDOW_BYTES;
        (whole && space == Space::Memory).then_some((&**slot, within))
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bus({} MMIO slots)", self.slots)
    }
}
