//! Virtio over PCI.
//!
//! [`devices`] opens the virtio devices of a segment. Step by step: [`scan`] finds its functions,
//! [`Function::device_id`] says which are virtio devices, and [`open`] makes a
//! [`Transport`](crate::transport::Transport) of one, by its modern interface or by that from before
//! version 1. The platform provides [`ConfigAccess`]. Where firmware gave devices no addresses,
//! [`place`](place()) does, before. A function may have [virtual ones](VirtualFunctions). Where devices
//! come and go, a [`slot`] says so.
//!
//! Spec: VIRTIO 1.4 §4.1 "Virtio Over PCI Bus".

use core::fmt;

mod bar;
#[cfg(feature = "alloc")]
mod bridge;
mod capability;
mod config;
mod ecam;
#[cfg(feature = "alloc")]
mod extended;
mod function;
mod legacy;
mod modern;
mod msix;
mod open;
mod owned;
#[cfg(feature = "alloc")]
mod place;
mod ports;
mod shared;
pub mod slot;
#[cfg(feature = "alloc")]
mod sriov;
mod structure;
mod vendor;
mod window;

pub use ecam::Ecam;
pub use function::{Function, Scan, scan};
pub use legacy::Legacy;
pub use modern::Modern;
pub use open::{Pci, Preference, devices, devices_by, open};
#[cfg(feature = "alloc")]
pub use place::{Apertures, Placed, place};
pub use ports::{ConfigPorts, Exclusion};
#[cfg(feature = "alloc")]
pub use sriov::{Member, VirtualFunction, VirtualFunctions};
pub use vendor::{QualifiedData, VendorData, vendor_data};
pub use window::{ConfigWindow, Target};

/// Most bytes of configuration space that are mapped. No device type has as many; a device may
/// claim any number.
const CONFIG_BYTES_MAX: u64 = 4096;

/// Where a function is: on which bus, which device there, and which function of it. Displays as
/// `00:02.0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(u16);

impl Address {
    /// Function `function`, 0 to 7, of device `device`, 0 to 31, of bus `bus`. Higher bits do not
    /// count.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 0x1f) as u16) << 3 | (function & 0x7) as u16)
    }

    /// The address that is these 16 bits; see [`routing_id`](Self::routing_id).
    pub const fn from_routing_id(id: u16) -> Self {
        Self(id)
    }

    /// Bus, device and function in one: 8, 5 and 3 bits. So they stand in an address of the
    /// memory-mapped configuration space, from its bit 12 on, and in what is written to port
    /// `0xcf8`, from bit 8 on.
    pub const fn routing_id(self) -> u16 {
        self.0
    }

    /// The bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device on its bus, 0 to 31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 0x1f
    }

    /// The function of its device, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 0x7
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bus, device, function) = (self.bus(), self.device(), self.function());
        write!(f, "{bus:02x}:{device:02x}.{function}")
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Access to PCI configuration space, by a [`Platform`](crate::platform::Platform) that has it.
///
/// It speaks of one segment. A machine with several has a platform for each. [`ConfigPorts`] and
/// [`Ecam`] are the two ways that machines have, ready to be handed on to.
pub trait ConfigAccess {
    /// Reads the 32 bits at `offset`, a multiple of 4 below 4096, of the function at `at`. All ones
    /// where there is none, and past the 256 bytes that every function has where no more can be
    /// reached.
    fn read32(&self, at: Address, offset: u16) -> u32;

    /// Writes the 32 bits at `offset`, a multiple of 4 below 4096, of the function at `at`. Of no
    /// effect where all ones would be read.
    fn write32(&self, at: Address, offset: u16, value: u32);
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_address_is_its_routing_id() {
        let address = Address::new(0xa5, 0x1f, 6);

        let parts = (address.bus(), address.device(), address.function());

        assert_eq!(parts, (0xa5, 0x1f, 6));
        assert_eq!(address.routing_id(), 0xa5fe);
        assert_eq!(Address::from_routing_id(0xa5fe), address);
        assert_eq!(
            format!("{address} {}", Address::new(0, 2, 0)),
            "a5:1f.6 00:02.0"
        );
    }
}
