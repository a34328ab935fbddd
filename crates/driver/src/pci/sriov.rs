//! Virtual functions of a physical one (SR-IOV): finding out that there can be some, having them,
//! and opening them.
//!
//! A driver first agrees to `SR_IOV` with the device of the physical function, as it does to other
//! features. From then on an operating system may [enable](VirtualFunctions::enable) as many virtual
//! functions as it likes. No [`scan`](super::scan) finds them: they are what that returns. Each is
//! opened as any function is, and can be put on a [bus](crate::bus::Bus).
//!
//! ```text
//! open(physical) ─┬─▶ Modern ──bring-up──▶ FEATURES_OK, with SR_IOV
//!                 │                             │ from here on
//!                 └─▶ VirtualFunctions ─────────┴─ enable(n) ──▶ n × VirtualFunction ── open()
//! ```
//!
//! The numbers are those of the PCI Express Base Specification 5.0, chapter 9.
//!
//! Spec: VIRTIO 1.4 §6 "Reserved Feature Bits".

mod agreement;
mod capability;
mod enable;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_spec::pci::config::BARS;

use super::bar::{Bar, Bars};
use super::config::Config;
use super::open::{modern_at, neither};
use super::{Address, ConfigAccess, Function, Pci};
use crate::bus::{AnyTransport, Bus, Name};
use crate::error::Result;
use crate::platform::Platform;

pub(super) use agreement::Agreement;
pub(super) use capability::Capability;
pub use enable::{Member, VirtualFunctions};

/// A virtual function that is there.
#[derive(Clone, Copy, Debug)]
pub struct VirtualFunction {
    number: u16,
    function: Function,
    bars: [Option<Bar>; BARS as usize],
}

impl VirtualFunction {
    /// Which of its physical function's it is, from 1 on: also its number in the group of those
    /// (§2.12).
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.function.address
    }

    /// What it is. Its ids are what the physical function says that they are.
    pub fn function(&self) -> &Function {
        &self.function
    }

    /// Finds the registers of the device that it is, maps what is used of them, and lets it reach
    /// memory. Its interface is the modern one: virtual functions have no I/O ports.
    ///
    /// # Errors
    ///
    /// As [`open`](super::open()) has.
    pub fn open<P: Platform + ConfigAccess>(&self, platform: &P) -> Result<Pci<P>> {
        self.function.virtio()?;
        let config = Config::new(platform, self.function.address);
        let bars = Bars::known(&config, self.bars);
        let modern = modern_at(platform, &self.function, bars, &config)?;
        modern.map(Pci::Modern).ok_or_else(neither)
    }
}

impl<P: Platform + ConfigAccess> VirtualFunctions<P> {
    /// Enables `count` virtual functions, and adds each to `bus`. Says what each is called there, or
    /// why it could not be opened.
    ///
    /// # Errors
    ///
    /// As [`enable`](Self::enable) has.
    pub fn enable_on(&mut self, bus: &mut Bus<P>, count: u16) -> Result<Vec<Result<Name>>> {
        let platform = self.platform().clone();
        let add = |function: VirtualFunction| {
            let transport: AnyTransport<P> = Box::new(function.open(&platform)?);
            Ok(bus.add(transport))
        };
        Ok(self.enable(count)?.into_iter().map(add).collect())
    }
}

#[cfg(test)]
mod tests;
