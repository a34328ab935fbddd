//! A slot of PCI Express, where devices come and go: what the capability of the bridge before it says,
//! and lets be said. The numbers are those of the PCI Express Base Specification 5.0, section 7.5.3.

use bitflags::bitflags;

/// Capability id: PCI Express.
pub const CAPABILITY_EXPRESS: u8 = 0x10;

/// Offset in the capability of the [`Flags`], 16 bits.
pub const FLAGS: usize = 0x02;
/// Offset in the capability of the [`Abilities`] of the slot, 32 bits, whose 13 highest are its number.
pub const ABILITIES: usize = 0x14;
/// Offset in the capability of the slot's [`Control`], 16 bits.
pub const CONTROL: usize = 0x18;
/// Offset in the capability of the slot's [`Status`], 16 bits.
pub const STATUS: usize = 0x1a;
/// The lowest bit of the slot's number among its abilities.
pub const NUMBER_SHIFT: u32 = 19;

bitflags! {
    /// What the capability says of the function. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u16 {
        /// There is a slot behind it.
        const SLOT = 1 << 8;

        const _ = !0;
    }
}

bitflags! {
    /// What a slot can do. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Abilities: u32 {
        /// It has an attention button, by which somebody asks for the device to be let go.
        const ATTENTION_BUTTON = 1 << 0;
        /// Its power can be switched.
        const POWER_CONTROLLER = 1 << 1;
        /// It has a power indicator.
        const POWER_INDICATOR = 1 << 4;
        /// Devices may be added and removed while it runs.
        const HOT_PLUG = 1 << 6;
        /// It says nothing of commands that it has completed, and takes them at once.
        const NO_COMMAND_COMPLETED = 1 << 18;

        const _ = !0;
    }
}

bitflags! {
    /// What a slot is told. Bits without a name are kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Control: u16 {
        /// The power indicator is on; blinking or off without this bit alone.
        const INDICATOR_ON = 0b01 << 8;
        /// The power indicator is off, both bits: whoever wants to take the device may.
        const INDICATOR_OFF = 0b11 << 8;
        /// The power is off.
        const POWER_OFF = 1 << 10;

        const _ = !0;
    }
}

bitflags! {
    /// What has happened at a slot, each bit cleared by a one; and how it stands. Bits without a name are
    /// kept.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u16 {
        /// The attention button was pressed.
        const ATTENTION = 1 << 0;
        /// A device came, or went.
        const PRESENCE_CHANGED = 1 << 3;
        /// What was last written to the control register is done.
        const COMMAND_COMPLETED = 1 << 4;
        /// There is a device. Not cleared by a one.
        const PRESENT = 1 << 6;

        const _ = !0;
    }
}
