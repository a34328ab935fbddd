//! PCI configuration space of segment 0, through I/O ports 0xcf8 and 0xcfc.
//!
//! A machine without PCI (QEMU's microvm) answers like an empty bus.

#![expect(unsafe_code, reason = "port I/O")]

use crate::cpu;
use crate::lock::Lock;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;

/// What is read where no function answers.
const NOTHING: u32 = !0;

/// Address and data are two ports: whoever uses them holds this.
static PORTS: Lock<()> = Lock::new(());

/// Reads the 32 bits at `offset`, which is rounded down to a multiple of 4. All ones where there is
/// no function, or no such device (at most 31) or function (at most 7) can be.
pub fn read32(bus: u8, device: u8, function: u8, offset: u8) -> u32 {
    let Some(address) = address(bus, device, function, offset) else {
        return NOTHING;
    };
    let _held = PORTS.lock();
    // SAFETY: the two ports reach configuration space alone, and reading that changes no memory.
    unsafe {
        cpu::out32(ADDRESS, address);
        cpu::in32(DATA)
    }
}

/// Writes the 32 bits at `offset`, which is rounded down to a multiple of 4. Does nothing where
/// there is no function.
///
/// A function that is allowed to master the bus, or whose registers are moved, touches the memory
/// it was told to; that is its driver's to see to.
pub fn write32(bus: u8, device: u8, function: u8, offset: u8, value: u32) {
    let Some(address) = address(bus, device, function, offset) else {
        return;
    };
    let _held = PORTS.lock();
    // SAFETY: the two ports reach configuration space alone.
    unsafe {
        cpu::out32(ADDRESS, address);
        cpu::out32(DATA, value);
    }
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

fn address(bus: u8, device: u8, function: u8, offset: u8) -> Option<u32> {
    let exists = device < 32 && function < 8;
    exists.then(|| u32::from_be_bytes([0x80, bus, device << 3 | function, offset & !3]))
}
