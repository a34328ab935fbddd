//! What firmware does with PCI at power-on: numbers for buses, addresses for BARs and bridges.

use core::ops::Range;

use ringway_spec::pci::bridge::{IO_BASE, IO_GRANULE, MEMORY_BASE, MEMORY_GRANULE, PRIMARY_BUS};
use ringway_spec::pci::config::{
    self, BAR_64, BAR_IO, BAR_IO_MASK, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BAR0, BARS, Command,
};
use ringway_spec::pci::sriov::{self, INITIAL_VFS, MIGRATION_STATE, VF_BAR0};

use ringway_spec::pci::extended;

use crate::bus::PciFunction;
use crate::layout::{PCI_HIGH, PCI_LOW, PCI_PORTS};
use crate::segment::{self, Segment};

/// What a machine's firmware does with PCI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firmware {
    /// It numbers the buses, has bridges pass on what is behind them, and gives the BARs of functions
    /// addresses.
    #[default]
    PlacesBars,
    /// It leaves the BARs to the operating system. Bridges pass on what has room for some.
    LeavesBars,
    /// There is none: buses have no numbers but those that an operating system gives them.
    Absent,
}

/// Memory that a bridge passes on beyond what is needed when the machine is built: for what is
/// plugged in later, or placed by others.
const SPARE_BYTES: u64 = 16 * MEMORY_GRANULE;
/// The same for ports.
const SPARE_PORTS: u64 = IO_GRANULE;

/// What of PCI's addresses is left.
pub(crate) struct Addresses {
    firmware: Firmware,
    high: Range<u64>,
    near: Pool,
    /// What bridges pass on beyond what is taken, once they pass on anything.
    behind: Option<Pool>,
}

/// Addresses below 4 GiB, and ports.
struct Pool {
    low: Range<u64>,
    ports: Range<u64>,
}

/// Where the window of a bridge begins.
pub(crate) struct Window {
    low: u64,
    ports: u64,
}

impl Addresses {
    pub(crate) fn new(firmware: Firmware) -> Self {
        Self {
            firmware,
            high: PCI_HIGH,
            near: Pool {
                low: PCI_LOW,
                ports: PCI_PORTS,
            },
            behind: None,
        }
    }

    /// Gives the BARs of a function behind `depth` bridges addresses, and writes down its interrupt
    /// line, as firmware does at power-on. `None` if the addresses do not do.
    ///
    /// Wide BARs of every other device on bus 0 are put above 4 GiB, so that drivers meet both.
    /// What can decode addresses is left off: that is for the driver to turn on.
    pub(crate) fn configure(
        &mut self,
        function: &dyn PciFunction,
        depth: usize,
        device: u8,
    ) -> Option<()> {
        let command = Command::from_bits_truncate(config_read(function, COMMAND) as u16);
        let off = command - Command::MEMORY - Command::IO;
        config_write(function, COMMAND, off.bits().into());
        let pool = match &mut self.behind {
            Some(behind) if depth != 0 => behind,
            _ => &mut self.near,
        };
        let mut high = (depth == 0 && device.is_multiple_of(2)).then_some(&mut self.high);
        let mut index = 0;
        while index < BARS && self.firmware == Firmware::PlacesBars {
            let at = BAR0 as u16 + 4 * u16::from(index);
            let is_wide = pool.place(function, at, 1, high.as_deref_mut())?;
            index += 1 + u8::from(is_wide);
        }
        if self.firmware == Firmware::PlacesBars
            && let Some(capability) = virtual_functions(function)
        {
            let count = config_read(function, capability + INITIAL_VFS as u16) >> 16;
            let mut at = capability + VF_BAR0 as u16;
            while at < capability + MIGRATION_STATE as u16 {
                let is_wide = pool.place(function, at, count.into(), high.as_deref_mut())?;
                at += if is_wide { 8 } else { 4 };
            }
        }
        let pins = config_read(function, INTERRUPT) & !0xff;
        config_write(function, INTERRUPT, pins | segment::line(device));
        Some(())
    }

    /// Begins what a bridge passes on. What is given out from here on, until they are closed, is
    /// behind it.
    ///
    /// `before` are the windows in which it is: the innermost keeps some room for itself.
    pub(crate) fn open(&mut self, before: &[Window]) -> Option<Window> {
        if !before.is_empty() {
            take(&mut self.near.low, MEMORY_GRANULE, SPARE_BYTES)?;
            take(&mut self.near.ports, IO_GRANULE, SPARE_PORTS)?;
        }
        Some(Window {
            low: take(&mut self.near.low, MEMORY_GRANULE, 0)?,
            ports: take(&mut self.near.ports, IO_GRANULE, 0)?,
        })
    }

    /// Numbers the buses, and has each bridge pass on what lies between its window and here.
    pub(crate) fn close(&mut self, segment: &Segment, windows: &[Window]) -> Option<()> {
        let last_bus = u8::try_from(windows.len()).ok()?;
        let near = &mut self.near;
        let align = |range: &mut Range<u64>, granule| take(range, granule, 0);
        let (low, ports) = (
            align(&mut near.low, MEMORY_GRANULE)?,
            align(&mut near.ports, IO_GRANULE)?,
        );
        if !windows.is_empty() {
            take(&mut near.low, MEMORY_GRANULE, SPARE_BYTES)?;
            take(&mut near.ports, IO_GRANULE, SPARE_PORTS)?;
        }
        let (low, ports) = (low..near.low.start, ports..near.ports.start);
        let configured = match self.firmware {
            Firmware::PlacesBars | Firmware::LeavesBars => windows,
            Firmware::Absent => &[],
        };
        for (bus, (bridge, window)) in (0..).zip(segment.bridges().iter().zip(configured)) {
            // Limits are in the last granule, which there is: the spare one.
            let memory = [window.low, low.end - MEMORY_GRANULE];
            let memory = memory.map(|address| (address >> 16) as u32);
            let ports = [window.ports, ports.end - IO_GRANULE].map(|port| (port >> 8) as u8);
            let put = |at: usize, bytes: &[u8]| bridge.config_write(at as u16, bytes);
            put(PRIMARY_BUS, &[bus, bus + 1, last_bus]);
            put(IO_BASE, &ports);
            put(MEMORY_BASE, &(memory[0] | memory[1] << 16).to_le_bytes());
            let command = Command::IO | Command::MEMORY | Command::BUS_MASTER;
            put(config::COMMAND, &command.bits().to_le_bytes());
        }
        self.behind = (!windows.is_empty()).then_some(Pool { low, ports });
        Some(())
    }
}

impl Pool {
    /// Finds how large the BAR at `low` of configuration space is, and gives it an address, with room
    /// for `count` one after the other: from `high`, if it is wide and there is such. Says whether it
    /// takes two places.
    fn place(
        &mut self,
        function: &dyn PciFunction,
        low: u16,
        count: u64,
        high: Option<&mut Range<u64>>,
    ) -> Option<bool> {
        let upper = low + 4;
        let kind = config_read(function, low);
        if kind & BAR_IO != 0 {
            let size = u64::from((probe(function, low) & BAR_IO_MASK).wrapping_neg());
            let start = take(&mut self.ports, size, size)?;
            config_write(function, low, start as u32);
            return Some(false);
        }
        let wide = kind & BAR_WIDTH_MASK == BAR_64;
        let mask_low = probe(function, low) & BAR_MEMORY_MASK;
        let mask_high = if wide {
            probe(function, upper)
        } else {
            u32::MAX
        };
        if mask_low == 0 && (mask_high == 0 || !wide) {
            // No such BAR.
            return Some(wide);
        }
        let mask = u64::from(mask_high) << 32 | u64::from(mask_low);
        let size = mask.wrapping_neg();
        let range = high.filter(|_| wide).unwrap_or(&mut self.low);
        let start = take(range, size, size.checked_mul(count)?)?;
        config_write(function, low, start as u32);
        if wide {
            config_write(function, upper, (start >> 32) as u32);
        }
        Some(wide)
    }
}

/// Takes `size` bytes at a multiple of `align`.
fn take(range: &mut Range<u64>, align: u64, size: u64) -> Option<u64> {
    let start = range.start.checked_next_multiple_of(align)?;
    range.start = start.checked_add(size).filter(|end| *end <= range.end)?;
    Some(start)
}

/// Where a function's capability of virtual functions is, if it has one.
fn virtual_functions(function: &dyn PciFunction) -> Option<u16> {
    let mut at = extended::START as u16;
    // A list that is longer has a loop.
    for _ in 0..extended::MAX_CAPABILITIES {
        let header = config_read(function, at);
        if extended::id(header) == sriov::CAPABILITY {
            return (usize::from(at) <= extended::SIZE - sriov::BYTES).then_some(at);
        }
        at = extended::next(header);
        if usize::from(at) < extended::START {
            return None;
        }
    }
    None
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
