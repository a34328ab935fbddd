//! Functions by address, and access to their configuration space.

use core::fmt;

/// Where a function is: `00:02.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u16);

impl Address {
    /// Function `function` (below 8) of device `device` (below 32) on bus `bus`. Higher bits are cut off.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 31) as u16) << 3 | (function & 7) as u16)
    }

    /// The bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device on the bus.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// The function of the device.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }

    /// The function by one number, as buses carry it: bus, device, function.
    pub const fn routing_id(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:02x}:{:02x}.{:x}",
            self.bus(),
            self.device(),
            self.function()
        )
    }
}

/// PCI configuration space: 256 or 4096 bytes of each function.
///
/// Implemented by the platform's own type, next to [`Platform`](crate::platform::Platform), on machines that have PCI.
pub trait ConfigAccess {
    /// Reads the 32 bits at `offset`, a multiple of 4. All ones where there is no function.
    fn read32(&self, at: Address, offset: u16) -> u32;

    /// Writes the 32 bits at `offset`, a multiple of 4.
    fn write32(&self, at: Address, offset: u16, value: u32);
}

/// Reads 8 bits of configuration space.
pub(super) fn read8(access: &impl ConfigAccess, at: Address, offset: usize) -> u8 {
    read(access, at, offset) as u8
}

/// Reads 16 bits, at a multiple of 2.
pub(super) fn read16(access: &impl ConfigAccess, at: Address, offset: usize) -> u16 {
    read(access, at, offset) as u16
}

/// Reads 32 bits, at a multiple of 4.
pub(super) fn read32(access: &impl ConfigAccess, at: Address, offset: usize) -> u32 {
    read(access, at, offset)
}

/// Writes 16 bits, at a multiple of 2. Those beside them are written as they are read.
pub(super) fn write16(access: &impl ConfigAccess, at: Address, offset: usize, value: u16) {
    let shift = shift(offset);
    let others = access.read32(at, aligned(offset)) & !(0xffff << shift);
    access.write32(at, aligned(offset), others | u32::from(value) << shift);
}

/// The 32 bits around `offset`, moved so that it is first.
fn read(access: &impl ConfigAccess, at: Address, offset: usize) -> u32 {
    access.read32(at, aligned(offset)) >> shift(offset)
}

/// Offsets are within 256 bytes.
fn aligned(offset: usize) -> u16 {
    offset as u16 & 0xfc
}

fn shift(offset: usize) -> usize {
    (offset & 3) * 8
}
