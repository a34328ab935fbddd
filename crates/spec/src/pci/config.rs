//! What both ends need to know of PCI configuration space itself: a function's header, of type 0,
//! and its list of capabilities. The numbers are those of the PCI Local Bus Specification 3.0,
//! chapter 6.

use bitflags::bitflags;

/// Bytes of configuration space that every function has.
pub const SIZE: usize = 256;

/// Offset of the vendor id, 16 bits; see [`NO_FUNCTION`].
pub const VENDOR_ID: usize = 0x00;
/// Offset of the device id, 16 bits.
pub const DEVICE_ID: usize = 0x02;
/// Offset of the command register, a [`Command`] of 16 bits.
pub const COMMAND: usize = 0x04;
/// Offset of the status register, a [`Status`] of 16 bits.
pub const STATUS: usize = 0x06;
/// Offset of the revision id, 8 bits.
pub const REVISION_ID: usize = 0x08;
/// Offset of the class code, 24 bits: programming interface, subclass, class.
pub const CLASS_CODE: usize = 0x09;
/// Offset of the header type, 8 bits; see [`HEADER_TYPE_MASK`].
pub const HEADER_TYPE: usize = 0x0e;
/// Offset of the first BAR; see [`bar`].
pub const BAR0: usize = 0x10;
/// Offset of the subsystem vendor id, 16 bits.
pub const SUBSYSTEM_VENDOR_ID: usize = 0x2c;
/// Offset of the subsystem id, 16 bits.
pub const SUBSYSTEM_ID: usize = 0x2e;
/// Offset of the first capability's offset, 8 bits, of which [`CAPABILITY_POINTER_MASK`] counts.
pub const CAPABILITIES_POINTER: usize = 0x34;
/// Offset of the interrupt line, 8 bits: memory for whoever routes interrupts.
pub const INTERRUPT_LINE: usize = 0x3c;
/// Offset of the interrupt pin, 8 bits: 1 to 4 for INTA# to INTD#, 0 for none.
pub const INTERRUPT_PIN: usize = 0x3d;

/// The vendor id that is read where there is no function.
pub const NO_FUNCTION: u16 = 0xffff;

/// The bits of the header type that tell the layout of the header.
pub const HEADER_TYPE_MASK: u8 = 0x7f;
/// The layout of the header that this module describes.
pub const HEADER_TYPE_NORMAL: u8 = 0;
/// The bit of the header type that says that the device has more functions than the first.
pub const HEADER_MULTI_FUNCTION: u8 = 0x80;

/// Number of BARs.
pub const BARS: u8 = 6;
/// The bit of a BAR that tells I/O ports from memory.
pub const BAR_IO: u32 = 1 << 0;
/// The bits of a memory BAR that tell how wide it is: 0 for 32 bits, or [`BAR_64`].
pub const BAR_WIDTH_MASK: u32 = 0b11 << 1;
/// A BAR of 64 bits, whose high half is the next BAR.
pub const BAR_64: u32 = 0b10 << 1;
/// The bit of a memory BAR that says that reading has no effect.
pub const BAR_PREFETCHABLE: u32 = 1 << 3;
/// The bits of an I/O BAR that are the address.
pub const BAR_IO_MASK: u32 = !0x3;
/// The bits of a memory BAR that are the address, or its low half.
pub const BAR_MEMORY_MASK: u32 = !0xf;

/// The bits of a capability's offset that count.
pub const CAPABILITY_POINTER_MASK: u8 = 0xfc;
/// Offset of the first byte that a capability can be at: the end of the header.
pub const CAPABILITIES_START: usize = 0x40;
/// Most capabilities that there is room for; a longer list has a loop.
pub const MAX_CAPABILITIES: usize = (SIZE - CAPABILITIES_START) / 4;
/// Capability id, the first byte of a capability: the vendor's own, which is where virtio's are.
pub const CAPABILITY_VENDOR: u8 = 0x09;
/// Capability id: [`msix`](super::msix).
pub const CAPABILITY_MSIX: u8 = 0x11;
/// Capability id: [`af`](super::af).
pub const CAPABILITY_AF: u8 = 0x13;

bitflags! {
    /// The command register. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Command: u16 {
        /// The function answers at its I/O BARs.
        const IO = 1 << 0;
        /// The function answers at its memory BARs.
        const MEMORY = 1 << 1;
        /// The function may reach memory, which MSI-X needs too.
        const BUS_MASTER = 1 << 2;
        /// The function may not assert its interrupt pin.
        const INTX_DISABLE = 1 << 10;

        const _ = !0;
    }
}

bitflags! {
    /// The status register. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u16 {
        /// The function wants to assert its interrupt pin.
        const INTERRUPT = 1 << 3;
        /// The function has a list of capabilities.
        const CAPABILITIES_LIST = 1 << 4;

        const _ = !0;
    }
}

/// Offset of BAR `index`, 32 bits; none from [`BARS`] on.
pub const fn bar(index: u8) -> Option<usize> {
    if index < BARS {
        Some(BAR0 + 4 * index as usize)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_six_bars_and_no_more() {
        assert_eq!(bar(0), Some(0x10));
        assert_eq!(bar(5), Some(0x24));
        assert_eq!(bar(6), None);
        assert_eq!(bar(u8::MAX), None);
    }
}
