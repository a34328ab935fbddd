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

    /// How many bytes the BAR has whose halves are at these offsets and have these values. 0 if it
    /// is none.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::{AT, Fake, REGISTERS, REGISTERS_LEN, TABLE};
    use crate::testing::{Access, TestPlatform, config_space};
    use ringway_spec::pci::config::{BAR0, COMMAND};
    use std::vec::Vec;

    fn find(platform: &TestPlatform, index: u8) -> Option<Bar> {
        Bars::new(&Config::new(platform, AT)).find(index)
    }

    #[test]
    fn bars_are_ports_or_memory_of_32_or_64_bits() {
        let platform = Fake::new().plug();

        let bars: Vec<_> = (0..7).map(|index| find(&platform, index)).collect();

        let memory = |address, size| Some(Bar::Memory { address, size });
        let table = memory(TABLE, 0x1000);
        let registers = memory(REGISTERS, REGISTERS_LEN.into());
        assert_eq!(
            bars,
            [Some(Bar::Ports), table, None, None, registers, None, None]
        );
    }

    #[test]
    fn a_bar_is_measured_while_it_is_off_and_is_then_as_before() {
        let platform = Fake::new().plug();
        let before: [u8; 64] = platform.peek(config_space(AT));
        let config = Config::new(&platform, AT);
        config.set_command(Command::MEMORY | Command::BUS_MASTER);
        platform.take_log();

        let mut bars = Bars::new(&config);
        let found = [bars.find(4), bars.find(4)];

        let log = platform.take_log();
        let command = config_space(AT) + COMMAND as u64;
        let bar = |index: u64| config_space(AT) + BAR0 as u64 + 4 * index;
        let write = |at, value: u32| Access::Write {
            at,
            width: 4,
            value,
        };
        let writes: Vec<_> = log.into_iter().filter(Access::is_write).collect();
        let low = REGISTERS as u32 | 0xc;
        assert_eq!(found[0], found[1]);
        assert_eq!(
            writes,
            [
                write(command, Command::BUS_MASTER.bits().into()),
                write(bar(4), u32::MAX),
                write(bar(4), low),
                write(bar(5), u32::MAX),
                write(bar(5), (REGISTERS >> 32) as u32),
                write(
                    command,
                    (Command::MEMORY | Command::BUS_MASTER).bits().into()
                ),
            ]
        );
        config.set_command(Command::from_bits_retain(0x100));
        assert_eq!(platform.peek(config_space(AT)), before);
    }

    #[test]
    fn a_bar_without_an_address_or_with_its_end_past_the_last_one_is_none() {
        let unassigned = {
            let mut fake = Fake::new();
            fake.put(0x14, &[0; 4]);
            fake.plug()
        };
        let last = {
            let mut fake = Fake::new();
            fake.put(0x20, &0xc_u64.to_le_bytes());
            fake.allow(0x20, &(!0x7fff_u64).to_le_bytes());
            let platform = fake.plug();
            platform.poke(config_space(AT) + 0x20, &(!0x3fff_u64 | 0xc).to_le_bytes());
            platform
        };
        let half = {
            let mut fake = Fake::new();
            fake.put(0x24, &0xfe00_0004_u32.to_le_bytes());
            fake.put(0x20, &[0; 4]);
            fake.allow(0x24, &[0, 0, 0xff, 0xff]);
            fake.plug()
        };

        assert_eq!(find(&unassigned, 1), None);
        assert_eq!(find(&last, 4), None);
        assert_eq!(find(&half, 5), None);
    }

    #[test]
    fn a_bar_of_more_than_4_gib_has_its_size_in_its_high_half() {
        let mut fake = Fake::new();
        fake.put(0x20, &0x40_0000_000c_u64.to_le_bytes());
        fake.allow(0x20, &(!0x3f_ffff_ffff_u64).to_le_bytes());
        let platform = fake.plug();

        let bar = find(&platform, 4);

        let (address, size) = (0x40_0000_0000, 0x40_0000_0000);
        assert_eq!(bar, Some(Bar::Memory { address, size }));
    }
}
