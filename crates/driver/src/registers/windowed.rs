//! Registers that are reached directly, or through a window in configuration space, which is known
//! when they are found.

use core::fmt::Debug;

use crate::pci::{ConfigAccess, ConfigWindow, Exclusion};
use crate::platform::Registers;
use crate::transport::Result;

/// Registers that are reached directly, by `R`, or behind a window in configuration space: the
/// [`Registers`] of a machine that may not be able to map all BARs.
#[derive(Clone, Debug)]
pub enum DirectOrWindow<R, C> {
    /// Mapped, or behind ports.
    Direct(R),
    /// Behind the window of their function.
    Window(ConfigWindow<C>),
}

impl<R, C> From<R> for DirectOrWindow<R, C> {
    fn from(registers: R) -> Self {
        Self::Direct(registers)
    }
}

impl<R, C> Registers for DirectOrWindow<R, C>
where
    R: Registers,
    C: ConfigAccess + Exclusion + Clone + Debug + Send + Sync + 'static,
{
    fn len(&self) -> usize {
        match self {
            Self::Direct(registers) => registers.len(),
            Self::Window(window) => window.len(),
        }
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        match self {
            Self::Direct(registers) => registers.slice(offset, len).map(Self::Direct),
            Self::Window(window) => window.slice(offset, len).map(Self::Window),
        }
    }

    #[inline]
    fn read8(&self, offset: usize) -> Result<u8> {
        match self {
            Self::Direct(registers) => registers.read8(offset),
            Self::Window(window) => window.read8(offset),
        }
    }

    #[inline]
    fn read16(&self, offset: usize) -> Result<u16> {
        match self {
            Self::Direct(registers) => registers.read16(offset),
            Self::Window(window) => window.read16(offset),
        }
    }

    #[inline]
    fn read32(&self, offset: usize) -> Result<u32> {
        match self {
            Self::Direct(registers) => registers.read32(offset),
            Self::Window(window) => window.read32(offset),
        }
    }

    #[inline]
    fn write8(&self, offset: usize, value: u8) -> Result<()> {
        match self {
            Self::Direct(registers) => registers.write8(offset, value),
            Self::Window(window) => window.write8(offset, value),
        }
    }

    #[inline]
    fn write16(&self, offset: usize, value: u16) -> Result<()> {
        match self {
            Self::Direct(registers) => registers.write16(offset, value),
            Self::Window(window) => window.write16(offset, value),
        }
    }

    #[inline]
    fn write32(&self, offset: usize, value: u32) -> Result<()> {
        match self {
            Self::Direct(registers) => registers.write32(offset, value),
            Self::Window(window) => window.write32(offset, value),
        }
    }
}
