//! Advanced features: how a function of conventional PCI says that it can be reset alone, which PCI
//! Express has in its own capability (function level reset, FLR).
//!
//! The numbers are those of the PCI-SIG's engineering change notice "Advanced Capabilities for
//! Conventional PCI", 2006.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The bit of [`Capability::capabilities`] that says that [`STATUS_PENDING`] exists. Comes with
/// [`CAN_RESET`].
pub const CAN_TELL_PENDING: u8 = 1 << 0;
/// The bit of [`Capability::capabilities`] that says that the function can be reset alone.
pub const CAN_RESET: u8 = 1 << 1;

/// The bit of [`Capability::control`] that resets the function when it is written. Reads as 0.
pub const CONTROL_RESET: u8 = 1 << 0;

/// The bit of [`Capability::status`] that says that the function waits for memory that it asked for.
pub const STATUS_PENDING: u8 = 1 << 0;

/// The capability, in PCI configuration space. Written by the device; do not trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Capability {
    /// [`CAPABILITY_AF`](super::config::CAPABILITY_AF).
    pub id: u8,
    /// Offset of the next capability in PCI configuration space, 0 at the end.
    pub next: u8,
    /// Bytes in this capability: 6.
    pub length: u8,
    /// What the function can do.
    pub capabilities: u8,
    /// What the driver has it do.
    pub control: u8,
    /// What it does.
    pub status: u8,
}

layout!(Capability: 6 {
    id = 0, next = 1, length = 2, capabilities = 3, control = 4, status = 5,
});
