//! Registers that are in memory or behind ports, which is known when they are found.

use super::{Ports, Window};
use crate::platform::Registers;
use crate::transport::Result;

/// Registers in memory, or behind ports: the [`Registers`] of a machine that has both.
#[derive(Clone, Debug)]
pub enum MemoryOrPorts {
    /// Mapped in the program's address space.
    Memory(Window),
    /// Behind I/O ports.
    Ports(Ports),
}

impl From<Window> for MemoryOrPorts {
    fn from(window: Window) -> Self {
        Self::Memory(window)
    }
}

impl From<Ports> for MemoryOrPorts {
    fn from(ports: Ports) -> Self {
        Self::Ports(ports)
    }
}

impl Registers for MemoryOrPorts {
    fn len(&self) -> usize {
        match self {
            Self::Memory(window) => window.len(),
            Self::Ports(ports) => ports.len(),
        }
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        match self {
            Self::Memory(window) => window.slice(offset, len).map(Self::Memory),
            Self::Ports(ports) => ports.slice(offset, len).map(Self::Ports),
        }
    }

    #[inline]
    fn read8(&self, offset: usize) -> Result<u8> {
        match self {
            Self::Memory(window) => window.read8(offset),
            Self::Ports(ports) => ports.read8(offset),
        }
    }

    #[inline]
    fn read16(&self, offset: usize) -> Result<u16> {
        match self {
            Self::Memory(window) => window.read16(offset),
            Self::Ports(ports) => ports.read16(offset),
        }
    }

    #[inline]
    fn read32(&self, offset: usize) -> Result<u32> {
        match self {
            Self::Memory(window) => window.read32(offset),
            Self::Ports(ports) => ports.read32(offset),
        }
    }

    #[inline]
    fn write8(&self, offset: usize, value: u8) -> Result<()> {
        match self {
            Self::Memory(window) => window.write8(offset, value),
            Self::Ports(ports) => ports.write8(offset, value),
        }
    }

    #[inline]
    fn write16(&self, offset: usize, value: u16) -> Result<()> {
        match self {
            Self::Memory(window) => window.write16(offset, value),
            Self::Ports(ports) => ports.write16(offset, value),
        }
    }

    #[inline]
    fn write32(&self, offset: usize, value: u32) -> Result<()> {
        match self {
            Self::Memory(window) => window.write32(offset, value),
            Self::Ports(ports) => ports.write32(offset, value),
        }
    }
}
