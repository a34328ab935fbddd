//! PCI configuration space of segment 0, through I/O ports 0xcf8 and 0xcfc.
//!
//! A machine without PCI (QEMU's microvm) answers like an empty bus.

#![expect(unsafe_code, reason = "port I/O")]

use ringway_driver::pci::{Address, ConfigAccess, ConfigPorts, Exclusion};
use ringway_driver::registers::Ports;

use crate::lock::Lock;

type Access = ConfigPorts<Ports, Alone>;

/// Configuration space. Whoever uses it holds the lock: address and data are two ports.
pub static CONFIG: Access = {
    // SAFETY: the image runs in ring 0. The ports reach configuration space alone: a function that
    // is allowed to master the bus, or whose registers are moved, touches the memory that it was
    // told to, and that is its driver's to see to.
    let ports = unsafe { Ports::new(Access::FIRST, Access::LEN) };
    Access::new(ports, Alone(Lock::new(())))
};

/// The lock of the two ports.
#[derive(Debug)]
pub struct Alone(Lock<()>);

impl Exclusion for Alone {
    fn alone<T>(&self, what: impl FnOnce() -> T) -> T {
        let _held = self.0.lock();
        what()
    }
}

/// Reads the 32 bits at `offset`, a multiple of 4, of a function on bus 0. All ones where there is
/// none.
pub fn read32(device: u8, offset: u8) -> u32 {
    CONFIG.read32(Address::new(0, device, 0), offset.into())
}

/// Writes the 32 bits at `offset`, a multiple of 4, of a function on bus 0.
pub fn write32(device: u8, offset: u8, value: u32) {
    CONFIG.write32(Address::new(0, device, 0), offset.into(), value);
}

/// The interrupt line behind pin `pin` (1 is INTA) of a device on bus 0 of QEMU's q35, whose wiring
/// this is: devices 0 to 24 take lines 20 to 23 in turn, those above 16 to 19. `None` for a device
/// without a pin (0).
pub fn intx_gsi(device: u8, pin: u8) -> Option<u32> {
    let pin = pin.checked_sub(1).filter(|p| *p < 4)?;
    Some(match device {
        0..25 => 20 + u32::from((device + pin) % 4),
        _ => 16 + u32::from(pin),
    })
}
