//! The way out: QEMU's isa-debug-exit device at port 0xf4.
//!
//! QEMU ends with status `(value << 1) | 1` for the value written.

#![expect(unsafe_code, reason = "port I/O")]

use crate::{cpu, serial};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done. QEMU's status is 33.
    Success,
    /// It was not. QEMU's status is 35.
    Failure,
}

const PORT: u16 = 0xf4;

/// Ends the machine, once everything printed has left. Without the device to end it, it stops for
/// good.
pub fn exit(outcome: Outcome) -> ! {
    let value = match outcome {
        Outcome::Success => 0x10,
        Outcome::Failure => 0x11,
    };
    serial::drain();
    // SAFETY: isa-debug-exit ends the machine; without it, nothing listens at the port.
    unsafe { cpu::out32(PORT, value) };
    cpu::stop()
}
