//! Where a function's BARs are, and how large.

use ringway_spec::pci::config::{
    BAR_64, BAR_IO, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BARS, Command, bar,
};

use super::ConfigAccess;
use super::config::Config;

/// A BAR that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bar {
    /// I/O ports, which are of no use here.
    Ports,
    /// Memory: `size` bytes from bus address `address` on, the last of which has an address too.
    Memory { address: u64, size: u64 },
}

/// The BARs of a function, each measured when it is first asked for.
#[derive(Debug)]
pub(super) struct Bars<'c, C> {
    config: &'c Config<'c, C>,
    known: [Option<Option<Bar>>; BARS as usize],
}

impl<'c, C: ConfigAccess> Bars<'c, C> {
    pub(super) fn new(config: &'c Config<'c, C>) -> Self {
        Self {
            config,
            known: [None; BARS as usize],
        }
    }

    /// BAR `index`, if there is such a one and it has an address.
    pub(super) fn find(&mut self, index: u8) -> Option<Bar> {
        if let Some(known) = *self.known.get(usize::from(index))? {
            return known;
        }
        let found = self.look(index);
        if let Some(known) = self.known.get_mut(usize::from(index)) {
            *known = Some(found);
        }
        found
    }

    fn look(&self, index: u8) -> Option<Bar> {
        // The high half of a wide BAR looks like a BAR, and is none.
        let mut first = 0;
        while first < index {
            first += if self.is_wide(first) { 2 } else { 1 };
        }
        if first != index {
            return None;
        }
        let low_at = bar(index)?;
        let low = self.config.read32(low_at);
        if low & BAR_IO != 0 {
            return Some(Bar::Ports);
        }
        let high_at = match self.is_wide(index) {
            true => Some(bar(index + 1)?),
            false => None,
        };
        let high = high_at.map_or(0, |at| self.config.read32(at));
        let address = wide(high, low & BAR_MEMORY_MASK);
        let size = self.measure((low_at, low), high_at.map(|at| (at, high)));
        let last = address.checked_add(size.checked_sub(1)?);
        (address != 0 && last.is_some()).then_some(Bar::Memory { address, size })
    }

    /// How many bytes the BAR has whose halves are at these offsets and have these values. 0 if it is none.
    fn measure(&self, low: (usize, u32), high: Option<(usize, u32)>) -> u64 {
        let command = self.config.command();
        // What is written meanwhile is no address to answer at.
        self.config
            .set_command(command - (Command::MEMORY | Command::IO));
        let writable = |(at, value)| {
            self.config.write32(at, u32::MAX);
            let writable = self.config.read32(at);
            self.config.write32(at, value);
            writable
        };
        let low = writable(low) & BAR_MEMORY_MASK;
        let mask = wide(high.map_or(0, writable), low);
        self.config.set_command(command);
        // The lowest bit of the address that can be written.
        mask & mask.wrapping_neg()
    }

    fn is_wide(&self, index: u8) -> bool {
        bar(index).is_some_and(|at| {
            let low = self.config.read32(at);
            low & BAR_IO == 0 && low & BAR_WIDTH_MASK == BAR_64
        })
    }
}

fn wide(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
