//! Where a function's BARs are, and how large.

#[cfg(feature = "alloc")]
use ringway_spec::pci::config::BAR_PREFETCHABLE;
use ringway_spec::pci::config::{
    self, BAR_64, BAR_IO, BAR_IO_MASK, BAR_MEMORY_MASK, BAR_WIDTH_MASK, BARS, Command,
};
#[cfg(feature = "alloc")]
use ringway_spec::pci::sriov::{self, Control};

use super::ConfigAccess;
use super::config::Config;
use crate::error::PlatformError;
use crate::platform::Platform;

/// What a BAR is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Space {
    /// I/O ports.
    Ports,
    /// Memory.
    Memory,
}

/// A BAR that has an address: `size` bytes from bus address `address` on, the last of which has an
/// address too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) space: Space,
    pub(super) address: u64,
    pub(super) size: u64,
}

/// A BAR without an address.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unplaced {
    pub(super) space: Space,
    pub(super) size: u64,
    /// Whether it may be beyond 4 GiB, behind bridges too.
    pub(super) high: bool,
}

/// Bytes of a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) space: Space,
    pub(super) address: u64,
    pub(super) len: u64,
}

impl Place {
    /// The registers that are there, the first `most` bytes of them.
    pub(super) fn map<P: Platform>(
        &self,
        platform: &P,
        most: u64,
    ) -> Result<P::Registers, PlatformError> {
        let len = self.len.min(most);
        match self.space {
            Space::Memory => platform.registers(self.address, len),
            Space::Ports => {
                // Both are within an I/O BAR, which has 32 bits.
                platform.ports(self.address as u32, len as u32)
            }
        }
    }

    /// What has a function answer there.
    pub(super) fn command(&self) -> Command {
        match self.space {
            Space::Memory => Command::MEMORY,
            Space::Ports => Command::IO,
        }
    }
}

/// What a BAR reads: where its halves are, and their values.
#[derive(Debug)]
struct Read {
    space: Space,
    /// The bits of the lower half that are the address.
    mask: u32,
    low: (usize, u32),
    high: Option<(usize, u32)>,
}

impl Read {
    fn address(&self) -> u64 {
        wide(
            self.high.map_or(0, |(_, high)| high),
            self.low.1 & self.mask,
        )
    }
}

/// The BARs of a function, each measured when it is first asked for.
#[derive(Debug)]
pub(super) struct Bars<'c, C> {
    config: &'c Config<'c, C>,
    of: Whose,
    known: [Option<Option<Bar>>; BARS as usize],
}

/// Whose BARs they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The function's own, in its header.
    Own,
    /// Those of its virtual functions, in the capability at this offset. Each is that of the first of
    /// them; those of the others follow.
    #[cfg(feature = "alloc")]
    Virtual(usize),
}

impl Whose {
    /// Where BAR `index` is in configuration space.
    pub(super) fn at(self, index: u8) -> Option<usize> {
        match self {
            Self::Own => config::bar(index),
            #[cfg(feature = "alloc")]
            Self::Virtual(capability) => Some(capability + sriov::bar(index)?),
        }
    }

    /// Does `what` while the function answers at none of its BARs: what is written to them meanwhile
    /// is no address to answer at.
    pub(super) fn hushed<C: ConfigAccess, T>(
        self,
        config: &Config<'_, C>,
        what: impl FnOnce() -> T,
    ) -> T {
        match self {
            Self::Own => {
                let command = config.command();
                config.set_command(command - (Command::MEMORY | Command::IO));
                let done = what();
                config.set_command(command);
                done
            }
            #[cfg(feature = "alloc")]
            Self::Virtual(capability) => {
                // The other half is a status, whose bits are cleared by ones.
                let at = capability + sriov::CONTROL;
                let control = config.read_extended32(at) & 0xffff;
                config.write_extended32(at, control & !u32::from(Control::VF_MEMORY.bits()));
                let done = what();
                config.write_extended32(at, control);
                done
            }
        }
    }
}

impl<'c, C: ConfigAccess> Bars<'c, C> {
    /// The function's own.
    pub(super) fn new(config: &'c Config<'c, C>) -> Self {
        Self::of(config, Whose::Own)
    }

    pub(super) fn of(config: &'c Config<'c, C>, of: Whose) -> Self {
        Self {
            config,
            of,
            known: [None; BARS as usize],
        }
    }

    /// Those that are known to be so.
    #[cfg(feature = "alloc")]
    pub(super) fn known(config: &'c Config<'c, C>, known: [Option<Bar>; BARS as usize]) -> Self {
        Self {
            config,
            of: Whose::Own,
            known: known.map(Some),
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

    /// Bytes of BAR `index`, whether it has an address or not. 0 if there is no such one.
    pub(super) fn size(&mut self, index: u8) -> u64 {
        match self.find(index) {
            Some(bar) => bar.size,
            None => self.read(index).map_or(0, |read| self.measure(&read)),
        }
    }

    /// The BARs without an address, as [`place`](super::place()) needs to know them.
    #[cfg(feature = "alloc")]
    pub(super) fn unplaced(self) -> impl Iterator<Item = (u8, Unplaced)> {
        (0..BARS).filter_map(move |index| {
            let read = self.read(index).filter(|read| read.address() == 0)?;
            let unplaced = Unplaced {
                space: read.space,
                size: self.measure(&read),
                high: read.high.is_some() && read.low.1 & BAR_PREFETCHABLE != 0,
            };
            (unplaced.size != 0).then_some((index, unplaced))
        })
    }

    fn look(&self, index: u8) -> Option<Bar> {
        let read = self.read(index).filter(|read| read.address() != 0)?;
        let bar = Bar {
            space: read.space,
            address: read.address(),
            size: self.measure(&read),
        };
        let last = bar.address.checked_add(bar.size.checked_sub(1)?);
        last.is_some().then_some(bar)
    }

    /// What BAR `index` reads, if it may be one.
    fn read(&self, index: u8) -> Option<Read> {
        // The high half of a wide BAR looks like a BAR, and is none.
        let mut first = 0;
        while first < index {
            first += if self.is_wide(first) { 2 } else { 1 };
        }
        if first != index {
            return None;
        }
        let at = self.of.at(index)?;
        let low = self.config.read_extended32(at);
        let (space, mask) = match low & BAR_IO {
            0 => (Space::Memory, BAR_MEMORY_MASK),
            _ => (Space::Ports, BAR_IO_MASK),
        };
        let high = match self.is_wide(index) {
            true => {
                let at = self.of.at(index + 1)?;
                Some((at, self.config.read_extended32(at)))
            }
            false => None,
        };
        Some(Read {
            space,
            mask,
            low: (at, low),
            high,
        })
    }

    /// How many bytes the BAR has that was read. 0 if it is none.
    fn measure(&self, read: &Read) -> u64 {
        let writable = |(at, value)| {
            self.config.write_extended32(at, u32::MAX);
            let writable = self.config.read_extended32(at);
            self.config.write_extended32(at, value);
            writable
        };
        let address = self.of.hushed(self.config, || {
            let low = writable(read.low) & read.mask;
            wide(read.high.map_or(0, writable), low)
        });
        // The lowest bit of the address that can be written.
        address & address.wrapping_neg()
    }

    pub(super) fn is_wide(&self, index: u8) -> bool {
        self.of.at(index).is_some_and(|at| {
            let low = self.config.read_extended32(at);
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
    use crate::pci::testing::{AT, Fake, PORTS, PORTS_LEN, REGISTERS, REGISTERS_LEN, TABLE};
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

        let bar = |space, address, size| {
            Some(Bar {
                space,
                address,
                size,
            })
        };
        let ports = bar(Space::Ports, PORTS.into(), PORTS_LEN.into());
        let table = bar(Space::Memory, TABLE, 0x1000);
        let registers = bar(Space::Memory, REGISTERS, REGISTERS_LEN.into());
        assert_eq!(bars, [ports, table, None, None, registers, None, None]);
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

        let expected = Bar {
            space: Space::Memory,
            address: 0x40_0000_0000,
            size: 0x40_0000_0000,
        };
        assert_eq!(bar, Some(expected));
    }
}
