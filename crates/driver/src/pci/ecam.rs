//! Configuration space that is mapped in memory: 4096 bytes for each function. The numbers are those
//! of the PCI Express Base Specification 3.0, section 7.2.2.

use core::ops::RangeInclusive;

use super::{Address, ConfigAccess};
use crate::platform::Registers;

/// Bytes of a function's configuration space.
const FUNCTION: u16 = 4096;
/// How far a function's is from that of the function with the next routing id, as a power of two.
const SHIFT: u32 = FUNCTION.trailing_zeros();

/// Configuration space that is mapped in memory, of some buses or all.
#[derive(Clone, Debug)]
pub struct Ecam<R> {
    registers: R,
    first: u8,
    last: u8,
}

impl<R: Registers> Ecam<R> {
    /// Configuration space of `buses`, that of the first at the beginning of `registers`: both as
    /// ACPI's MCFG table and device trees tell them.
    pub fn new(registers: R, buses: RangeInclusive<u8>) -> Self {
        let (first, last) = buses.into_inner();
        Self {
            registers,
            first,
            last,
        }
    }

    /// Where in the registers the word is, if it may be within.
    fn place(&self, at: Address, offset: u16) -> Option<usize> {
        let bus = at.bus().checked_sub(self.first)?;
        if at.bus() > self.last || offset >= FUNCTION {
            return None;
        }
        let function = Address::new(bus, at.device(), at.function()).routing_id();
        Some(usize::from(function) << SHIFT | usize::from(offset & !3))
    }
}

impl<R: Registers> ConfigAccess for Ecam<R> {
    fn read32(&self, at: Address, offset: u16) -> u32 {
        let read = self.place(at, offset);
        read.and_then(|place| self.registers.read32(place).ok())
            .unwrap_or(u32::MAX)
    }

    fn write32(&self, at: Address, offset: u16, value: u32) {
        if let Some(place) = self.place(at, offset) {
            // Past the end of the registers there is no function.
            let _ = self.registers.write32(place, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::{Platform, Trust};
    use crate::testing::{Access, TestPlatform};
    use std::vec;

    const AT: u64 = 0xe000_0000;

    fn mapped(len: usize, buses: RangeInclusive<u8>) -> (TestPlatform, Ecam<impl Registers>) {
        let platform = TestPlatform::new(Trust::Trusted);
        platform.place(AT, vec![0; len], |_, _| {});
        let registers = platform.registers(AT, len as u64).unwrap();
        (platform, Ecam::new(registers, buses))
    }

    #[test]
    fn a_function_is_as_far_from_the_first_bus_as_its_routing_id_says() {
        let (platform, config) = mapped(2 << 20, 0x20..=0x21);

        config.write32(Address::new(0x21, 3, 5), 0xffc, 0x1234_5678);
        let read = config.read32(Address::new(0x21, 3, 5), 0xffc);

        let at = AT + (1 << 20 | 3 << 15 | 5 << 12 | 0xffc);
        let (width, value) = (4, 0x1234_5678);
        let log = [
            Access::Write { at, width, value },
            Access::Read { at, width, value },
        ];
        assert_eq!(read, 0x1234_5678);
        assert_eq!(platform.take_log(), log);
    }

    #[test]
    fn what_is_not_mapped_reads_as_ones_and_is_not_written() {
        let (platform, config) = mapped(1 << 15, 0x20..=0x21);

        for (bus, device, offset) in [
            (0x1f, 0, 0),
            (0x22, 0, 0),
            (0x20, 0, 4096),
            (0x20, 0, u16::MAX),
            // Said to be mapped, and is not.
            (0x20, 1, 0),
            (0x21, 0, 0),
        ] {
            let at = Address::new(bus, device, 0);
            config.write32(at, offset, 0);

            assert_eq!(config.read32(at, offset), u32::MAX);
        }
        assert_eq!(platform.take_log(), []);
    }
}
