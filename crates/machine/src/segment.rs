//! A PCI segment: functions on bus 0, and the firmware that gave their BARs addresses.

use core::ops::Range;
use std::sync::Arc;

use ringway_spec::pci::config::{
    self, BAR_64, BAR_IO, BAR_IO_MASK, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BAR0, BARS, Command,
};

use crate::bus::{PciFunction, Space};
use crate::layout::{PCI_HIGH, PCI_LINE, PCI_LINES, PCI_LOW, PCI_PORTS};

/// The first device number that is used: 0 is where a host bridge would be.
pub(crate) const FIRST_DEVICE: u8 = 1;

/// Most functions, each a device of its own: a bus has 32 devices.
pub(crate) const FUNCTIONS_MAX: usize = 31;

/// Functions on bus 0, from [`FIRST_DEVICE`] on.
#[derive(Default)]
pub(crate) struct Segment {
    functions: Vec<Arc<dyn PciFunction>>,
}

/// What of PCI's addresses is left for BARs.
pub(crate) struct Firmware {
    low: Range<u64>,
    high: Range<u64>,
    ports: Range<u64>,
}

/// The interrupt line of device `device`'s INTA#: four lines, shared in turn.
pub(crate) fn line(device: u8) -> u32 {
    PCI_LINE + u32::from(device) % PCI_LINES
}

impl Segment {
    pub(crate) fn new(functions: Vec<Arc<dyn PciFunction>>) -> Self {
        Self { functions }
    }

    /// Reads 32 bits of configuration space; all ones where there is no function.
    pub(crate) fn config_read(&self, device: u8, offset: u16) -> u32 {
        self.function(device)
            .map_or(u32::MAX, |function| config_read(&**function, offset))
    }

    pub(crate) fn config_write(&self, device: u8, offset: u16, value: u32) {
        if let Some(function) = self.function(device) {
            function.config_write(offset, &value.to_le_bytes());
        }
    }

    /// Reads what is at a bus address. Says whether a function answered.
    pub(crate) fn read(&self, space: Space, address: u64, into: &mut [u8]) -> bool {
        let found = self.locate(space, address, into.len());
        if let Some((function, bar, offset)) = found {
            function.bar_read(bar, offset, into);
        }
        found.is_some()
    }

    pub(crate) fn write(&self, space: Space, address: u64, from: &[u8]) {
        if let Some((function, bar, offset)) = self.locate(space, address, from.len()) {
            function.bar_write(bar, offset, from);
        }
    }

    fn locate(
        &self,
        space: Space,
        address: u64,
        len: usize,
    ) -> Option<(&dyn PciFunction, u8, u64)> {
        self.functions.iter().find_map(|function| {
            let (bar, offset) = match space {
                Space::Memory => function.locate(address, len)?,
                Space::Ports => function.locate_port(address, len)?,
            };
            Some((&**function, bar, offset))
        })
    }

    fn function(&self, device: u8) -> Option<&Arc<dyn PciFunction>> {
        let index = device.checked_sub(FIRST_DEVICE)?;
        self.functions.get(usize::from(index))
    }
}

impl Firmware {
    pub(crate) fn new() -> Self {
        Self {
            low: PCI_LOW,
            high: PCI_HIGH,
            ports: PCI_PORTS,
        }
    }

    /// Gives the BARs of a function addresses, and writes down its interrupt line, as firmware does
    /// at power-on. `None` if the addresses do not do.
    ///
    /// Wide BARs of every other device are put below 4 GiB, so that drivers meet both. What can
    /// decode addresses is left off: that is for the driver to turn on.
    pub(crate) fn configure(&mut self, function: &dyn PciFunction, device: u8) -> Option<()> {
        let command = Command::from_bits_truncate(config_read(function, COMMAND) as u16);
        let off = command - Command::MEMORY - Command::IO;
        config_write(function, COMMAND, off.bits().into());
        let mut index = 0;
        while index < BARS {
            let wide = self.place(function, index, device)?;
            index += 1 + u8::from(wide);
        }
        let pins = config_read(function, INTERRUPT) & !0xff;
        config_write(function, INTERRUPT, pins | line(device));
        Some(())
    }

    /// Finds how large a BAR is, and gives it an address. Says whether it takes two places.
    fn place(&mut self, function: &dyn PciFunction, index: u8, device: u8) -> Option<bool> {
        let low = BAR0 as u16 + 4 * u16::from(index);
        let high = low + 4;
        let kind = config_read(function, low);
        if kind & BAR_IO != 0 {
            let size = u64::from((probe(function, low) & BAR_IO_MASK).wrapping_neg());
            let start = take(&mut self.ports, size)?;
            config_write(function, low, start as u32);
            return Some(false);
        }
        let wide = kind & BAR_WIDTH_MASK == BAR_64;
        let mask_low = probe(function, low) & BAR_MEMORY_MASK;
        let mask_high = if wide {
            probe(function, high)
        } else {
            u32::MAX
        };
        if mask_low == 0 && (mask_high == 0 || !wide) {
            // No such BAR.
            return Some(wide);
        }
        let mask = u64::from(mask_high) << 32 | u64::from(mask_low);
        let size = mask.wrapping_neg();
        let above = wide && device.is_multiple_of(2);
        let range = if above { &mut self.high } else { &mut self.low };
        let start = take(range, size)?;
        config_write(function, low, start as u32);
        if wide {
            config_write(function, high, (start >> 32) as u32);
        }
        Some(wide)
    }
}

/// Takes `size` bytes, a power of two, at a multiple of it.
fn take(range: &mut Range<u64>, size: u64) -> Option<u64> {
    let start = range.start.checked_next_multiple_of(size)?;
    range.start = start.checked_add(size).filter(|end| *end <= range.end)?;
    Some(start)
}

/// The word of configuration space with the command register, whose other half is cleared by ones
/// only.
const COMMAND: u16 = config::COMMAND as u16;

/// The word of configuration space with the interrupt line.
const INTERRUPT: u16 = config::INTERRUPT_LINE as u16;

/// Which bits of a word of configuration space can be written.
fn probe(function: &dyn PciFunction, offset: u16) -> u32 {
    config_write(function, offset, u32::MAX);
    config_read(function, offset)
}

fn config_read(function: &dyn PciFunction, offset: u16) -> u32 {
    let mut word = [0; 4];
    function.config_read(offset, &mut word);
    u32::from_le_bytes(word)
}

fn config_write(function: &dyn PciFunction, offset: u16, value: u32) {
    function.config_write(offset, &value.to_le_bytes());
}
