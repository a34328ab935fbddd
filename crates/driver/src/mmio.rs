//! Virtio over memory-mapped registers, versions 1 and 2.
//!
//! Where the registers are, a platform has to know beforehand: as a list of [`Slot`]s, of its own or
//! from a [command line](command_line) or a [device tree](device_tree). [`scan`] finds out which
//! of them have a device.
//!
//! Spec: VIRTIO 1.4 §4.2 "Virtio Over MMIO".

use crate::error::{Error, TransportError};
use crate::platform::Platform;

pub mod command_line;
pub mod device_tree;
mod legacy;
mod transport;

pub use transport::Mmio;

/// Where a device may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Bus address of the first register.
    pub address: u64,
    /// How many bytes of registers, configuration space among them.
    pub len: u64,
    /// The number of its interrupt line, as the platform counts them, if it has one.
    pub line: Option<u32>,
}

/// The devices in `slots`. An empty slot is passed over (§4.2.2.2); one that has something else
/// than a device which this driver knows is an error, and the next may be fine.
pub fn scan<P: Platform>(
    platform: P,
    slots: impl IntoIterator<Item = Slot>,
) -> impl Iterator<Item = crate::Result<Mmio<P>>> {
    slots.into_iter().filter_map(move |slot| {
        let registers = match platform.registers(slot.address, slot.len) {
            Ok(registers) => registers,
            Err(error) => return Some(Err(error.into())),
        };
        match Mmio::new(platform.clone(), registers, slot.line) {
            Err(TransportError::Placeholder) => None,
            device => Some(device.map_err(Error::Transport)),
        }
    })
}
