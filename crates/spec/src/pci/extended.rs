//! The extended configuration space of a PCI Express function: what follows its first 256 bytes, and
//! the list of capabilities there. The numbers are those of the PCI Express Base Specification 5.0,
//! chapter 7.
//!
//! A function has it if it has the capability [`CAPABILITY_EXPRESS`] among those of its first 256
//! bytes. Each capability begins with a [word](header) that says what it is, and where the next is.

use bitflags::bitflags;

use super::config;

/// Offset of the first capability. One that is [`NONE`] there, or all ones, says that there are none.
pub const START: usize = config::SIZE;
/// Bytes of configuration space of a function that has more than [`config::SIZE`].
pub const SIZE: usize = 4096;
/// The first word of a list without capabilities.
pub const NONE: u32 = 0;
/// Most capabilities that there is room for; a longer list has a loop.
pub const MAX_CAPABILITIES: usize = (SIZE - START) / 4;

/// Capability id, among those of the first 256 bytes: the PCI Express capability.
pub const CAPABILITY_EXPRESS: u8 = 0x10;
/// Bytes of the PCI Express capability, of version 2.
pub const EXPRESS_BYTES: usize = 0x3c;
/// Offset in the PCI Express capability of its own register, 16 bits: version, and from bit 4 on the
/// type of the function.
pub const EXPRESS_REGISTER: usize = 0x02;
/// Version 2 of the capability, of an endpoint that is part of the root complex.
pub const EXPRESS_INTEGRATED_ENDPOINT: u16 = 2 | 9 << 4;
/// Offset in the PCI Express capability of what the device can do, 32 bits.
pub const EXPRESS_DEVICE_CAPABILITIES: usize = 0x04;
/// Offset in the PCI Express capability of the device's control register, a [`DeviceControl`] of 16
/// bits.
pub const EXPRESS_DEVICE_CONTROL: usize = 0x08;
/// The bit of what a device can do that says that it can be reset by [`DeviceControl::RESET`].
pub const FUNCTION_LEVEL_RESET: u32 = 1 << 28;
/// The bit of what a device can do that says that its errors are told by role. Always set.
pub const ROLE_BASED_ERRORS: u32 = 1 << 15;

bitflags! {
    /// The device control register of the PCI Express capability. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct DeviceControl: u16 {
        /// Resets the function, and it alone, when it is set. Reads as 0.
        const RESET = 1 << 15;

        const _ = !0;
    }
}

/// The first word of a capability: its id, its version, and the offset of the next one, 0 at the end.
pub const fn header(id: u16, version: u8, next: u16) -> u32 {
    id as u32 | (version as u32 & 0xf) << 16 | (next as u32 & 0xffc) << 20
}

/// What capability a first word is of.
pub const fn id(header: u32) -> u16 {
    header as u16
}

/// The offset of the next capability, a multiple of 4; 0 at the end.
pub const fn next(header: u32) -> u16 {
    (header >> 20) as u16 & 0xffc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_word_says_what_it_was_made_of() {
        let word = header(0x0010, 1, 0x140);

        assert_eq!(word, 0x1401_0010);
        assert_eq!((id(word), next(word)), (0x10, 0x140));
        assert_eq!(next(header(0x0010, 1, 0x143)), 0x140);
        assert_eq!((id(NONE), next(NONE)), (0, 0));
    }
}
