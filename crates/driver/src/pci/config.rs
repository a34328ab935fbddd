//! The configuration space of one function, in fields of any width.

use ringway_spec::pci::config::{COMMAND, Command, SIZE};
use ringway_spec::pci::extended;

use super::{Address, ConfigAccess};

/// The configuration space of the function at an address.
#[derive(Debug)]
pub(super) struct Config<'c, C> {
    access: &'c C,
    at: Address,
}

impl<C> Clone for Config<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C> Copy for Config<'_, C> {}

impl<'c, C: ConfigAccess> Config<'c, C> {
    pub(super) fn new(access: &'c C, at: Address) -> Self {
        Self { access, at }
    }

    /// Where the function is.
    pub(super) fn at(&self) -> Address {
        self.at
    }

    /// The 32 bits that `offset` is in. All ones past the end, as where there is no function.
    pub(super) fn read32(&self, offset: usize) -> u32 {
        match aligned(offset, SIZE) {
            Some(offset) => self.access.read32(self.at, offset),
            None => u32::MAX,
        }
    }

    /// As [`read32`](Self::read32), of extended configuration space too. All ones where that cannot be
    /// reached.
    pub(super) fn read_extended32(&self, offset: usize) -> u32 {
        match aligned(offset, extended::SIZE) {
            Some(offset) => self.access.read32(self.at, offset),
            None => u32::MAX,
        }
    }

    /// The 16 bits at an even `offset`.
    pub(super) fn read16(&self, offset: usize) -> u16 {
        (self.read32(offset) >> (8 * (offset & 2))) as u16
    }

    /// The 8 bits at `offset`.
    pub(super) fn read8(&self, offset: usize) -> u8 {
        (self.read32(offset) >> (8 * (offset & 3))) as u8
    }

    /// The 4 × `N` bytes from `offset` on, a multiple of 4, as words.
    pub(super) fn words<const N: usize>(&self, offset: usize) -> [[u8; 4]; N] {
        core::array::from_fn(|word| self.read32(offset + 4 * word).to_le_bytes())
    }

    /// Writes the 32 bits that `offset` is in.
    pub(super) fn write32(&self, offset: usize, value: u32) {
        if let Some(offset) = aligned(offset, SIZE) {
            self.access.write32(self.at, offset, value);
        }
    }

    /// As [`write32`](Self::write32), of extended configuration space too.
    pub(super) fn write_extended32(&self, offset: usize, value: u32) {
        if let Some(offset) = aligned(offset, extended::SIZE) {
            self.access.write32(self.at, offset, value);
        }
    }

    pub(super) fn command(&self) -> Command {
        Command::from_bits_retain(self.read16(COMMAND))
    }

    pub(super) fn set_command(&self, command: Command) {
        // The other half is the status, whose bits are cleared by ones.
        self.write32(COMMAND, command.bits().into());
    }
}

/// Where the word that `offset` is in begins, if it is within the first `size` bytes.
fn aligned(offset: usize, size: usize) -> Option<u16> {
    (offset < size).then_some(offset as u16 & !3)
}
