//! Registers behind configuration space, where a function has a window on its BARs: for machines
//! that cannot map them, or gave them no address.
//!
//! Slow, since an access is five of configuration space, and shared, since there is one window: so
//! it is the way when there is no other.
//!
//! Spec: VIRTIO 1.4 §4.1.4.9 "PCI configuration access capability".

use core::fmt::Debug;
use core::mem::offset_of;

use ringway_spec::pci::config::{BARS, CAPABILITY_VENDOR};
use ringway_spec::pci::{Capability, CapabilityType, PciCfgCapability};

use super::capability::{Named, list};
use super::config::Config;
use super::{Address, ConfigAccess, Exclusion};
use crate::error::{TransportError, Violation};
use crate::platform::Registers;
use crate::transport::Result;

/// What a window is told, and where it shows it.
const BAR: usize = offset_of!(Capability, bar);
const OFFSET: usize = offset_of!(Capability, offset);
const LENGTH: usize = offset_of!(Capability, length);
const DATA: usize = offset_of!(PciCfgCapability, pci_cfg_data);

/// The window of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    function: Address,
    /// Offset of its capability in configuration space.
    capability: usize,
}

impl Window {
    /// Looks for the first window of a function that can be used.
    pub(super) fn find<C: ConfigAccess>(config: &Config<'_, C>) -> Result<Option<Self>, Violation> {
        for capability in list(*config) {
            let (at, CAPABILITY_VENDOR) = capability? else {
                continue;
            };
            let named = Named::read(config, at);
            let whole = named.whole(size_of::<PciCfgCapability>()).is_ok();
            if named.says.cfg_type == CapabilityType::PCI_CFG && named.says.bar < BARS && whole {
                return Ok(Some(Self {
                    function: config.at(),
                    capability: at,
                }));
            }
        }
        Ok(None)
    }

    /// The `len` bytes at `offset` of BAR `bar`, of which 4 GiB can be reached.
    pub(super) fn target(self, bar: u8, offset: u32, len: u32) -> Target {
        Target {
            window: self,
            bar,
            offset,
            len: len.min(u32::MAX - offset),
        }
    }
}

/// Bytes of a BAR in which a structure of virtio is, and the window that leads to them: what a
/// platform makes a [`ConfigWindow`] of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    window: Window,
    bar: u8,
    offset: u32,
    /// Its end is below 4 GiB.
    len: u32,
}

impl Target {
    /// The first `most` bytes of it.
    pub(super) fn first(self, most: u64) -> Self {
        let len = u64::from(self.len).min(most) as u32;
        Self { len, ..self }
    }

    /// The `len` bytes at `offset` of it, if they lie within.
    fn slice(self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        (end <= self.len as usize).then(|| Self {
            // Both are at most `self.len`, which has 32 bits.
            offset: self.offset + offset as u32,
            len: len as u32,
            ..self
        })
    }
}

/// Registers behind the window of their function: the
/// [`Registers`](crate::platform::Platform::Registers) of a machine that has no better way to reach
/// them.
///
/// What `config` does [alone](Exclusion::alone) is a whole access, and so four or five of its
/// configuration space: if that has a lock of its own, as [`ConfigPorts`](super::ConfigPorts) has,
/// it is another one. Interrupt handlers are kept out, since a device without messages has its ISR
/// status behind the window too.
#[derive(Clone, Debug)]
pub struct ConfigWindow<C> {
    config: C,
    target: Target,
}

impl<C> ConfigWindow<C> {
    /// The registers at `target`, by way of `config`. All registers behind one window have the same
    /// lock.
    pub const fn new(config: C, target: Target) -> Self {
        Self { config, target }
    }
}

impl<C: ConfigAccess + Exclusion> ConfigWindow<C> {
    /// Points the window at the `width` bytes at `offset`, if they lie within and are aligned, and
    /// has `through` do something with its data: with nobody between.
    fn access<T>(
        &self,
        offset: usize,
        width: u8,
        through: impl FnOnce(Config<'_, C>, usize) -> T,
    ) -> Result<T> {
        let len = usize::from(width);
        let target = self.target.slice(offset, len);
        let target = target.filter(|target| target.offset.is_multiple_of(width.into()));
        let Target {
            window,
            bar,
            offset,
            ..
        } = target.ok_or(TransportError::Range { offset, len })?;
        let config = Config::new(&self.config, window.function);
        let at = window.capability;
        Ok(self.config.alone(|| {
            // What is beside the number of the BAR stays as it is.
            let beside = config.read32(at + BAR) & !u32::from(u8::MAX);
            config.write32(at + BAR, beside | u32::from(bar));
            // Before the offset, which is a multiple of it whenever it is written (§4.1.4.9.2).
            config.write32(at + LENGTH, width.into());
            config.write32(at + OFFSET, offset);
            through(config, at + DATA)
        }))
    }

    /// The first `width` bytes of the data are the register, and the others nothing.
    fn read(&self, offset: usize, width: u8) -> Result<u32> {
        self.access(offset, width, |config, data| config.read32(data))
    }

    fn write(&self, offset: usize, width: u8, value: u32) -> Result<()> {
        self.access(offset, width, |config, data| config.write32(data, value))
    }
}

impl<C> Registers for ConfigWindow<C>
where
    C: ConfigAccess + Exclusion + Clone + Debug + Send + Sync + 'static,
{
    fn len(&self) -> usize {
        self.target.len as usize
    }

    fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let target = self.target.slice(offset, len)?;
        Some(Self::new(self.config.clone(), target))
    }

    fn read8(&self, offset: usize) -> Result<u8> {
        self.read(offset, 1).map(|data| data as u8)
    }

    fn read16(&self, offset: usize) -> Result<u16> {
        self.read(offset, 2).map(|data| data as u16)
    }

    fn read32(&self, offset: usize) -> Result<u32> {
        self.read(offset, 4)
    }

    fn write8(&self, offset: usize, value: u8) -> Result<()> {
        self.write(offset, 1, value.into())
    }

    fn write16(&self, offset: usize, value: u16) -> Result<()> {
        self.write(offset, 2, value.into())
    }

    fn write32(&self, offset: usize, value: u32) -> Result<()> {
        self.write(offset, 4, value)
    }
}

#[cfg(test)]
mod tests;
