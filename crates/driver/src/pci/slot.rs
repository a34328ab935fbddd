//! Slots in which devices come and go: those of PCI Express, looked at as often as one likes.
//!
//! A [`Slot`] is what its bridge says of it, and decides nothing. What an operating system does with one:
//!
//! ```text
//!  take_events() ─┬─ CHANGED, and is_occupied() ──▶ set_power(On), is_settled(), a tenth of a second,
//!                 │                                 place(), open what is among functions(), Bus::add()
//!                 ├─ ATTENTION ──▶ Bus::remove(), set_power(Off): the device may be taken
//!                 └─ CHANGED, and not is_occupied() ──▶ Bus::removed(): nobody asked
//! ```
//!
//! The numbers of registers are those of PCI Express 5.0, section 7.5.3; what is done with them, of its
//! section 6.7.

use bitflags::bitflags;
use ringway_spec::pci::bridge::{HEADER_TYPE_BRIDGE, SECONDARY_BUS};
use ringway_spec::pci::slot::{
    ABILITIES, Abilities, CAPABILITY_EXPRESS, CONTROL, Control, FLAGS, Flags, NUMBER_SHIFT, STATUS,
    Status,
};

use super::capability::list;
use super::config::Config;
use super::{Address, ConfigAccess, Function, scan};

/// What reads as this is not there any more.
const GONE: u16 = 0xffff;

/// A slot in which devices come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    bridge: Address,
    bus: u8,
    capability: usize,
    abilities: Abilities,
}

/// Whether a slot has power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// The device works, and is not to be taken.
    On,
    /// The device does nothing, and may be taken.
    Off,
}

bitflags! {
    /// What has happened at a slot.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Events: u8 {
        /// Somebody pressed the button: the device is to be let go, or one that came is to be used.
        const ATTENTION = 1 << 0;
        /// A device came, or went, or one went and another came.
        const CHANGED = 1 << 1;
    }
}

/// All slots of a segment whose devices may be added and removed.
pub fn slots<C: ConfigAccess>(config: &C) -> impl Iterator<Item = Slot> {
    scan(config).filter_map(|function| Slot::behind(config, &function))
}

impl Slot {
    /// The slot behind a bridge, if it has one whose devices may be added and removed. The bus behind it
    /// has a number by now.
    pub fn behind(config: &impl ConfigAccess, bridge: &Function) -> Option<Self> {
        if !bridge.has_header(HEADER_TYPE_BRIDGE) {
            return None;
        }
        let config = Config::new(config, bridge.address);
        let mut capabilities = list(config).map_while(Result::ok);
        let (capability, _) = capabilities.find(|(at, id)| {
            let last = *at + STATUS;
            *id == CAPABILITY_EXPRESS && last < ringway_spec::pci::config::SIZE
        })?;
        let flags = Flags::from_bits_retain(config.read16(capability + FLAGS));
        let abilities = Abilities::from_bits_retain(config.read32(capability + ABILITIES));
        let bus = config.read8(SECONDARY_BUS);
        let hot = flags.contains(Flags::SLOT) && abilities.contains(Abilities::HOT_PLUG);
        (hot && bus != 0).then_some(Self {
            bridge: bridge.address,
            bus,
            capability,
            abilities,
        })
    }

    /// The bridge before it.
    pub fn bridge(&self) -> Address {
        self.bridge
    }

    /// The bus that its device is on.
    pub fn bus(&self) -> u8 {
        self.bus
    }

    /// Its number, which may be printed on the machine.
    pub fn number(&self) -> u16 {
        (self.abilities.bits() >> NUMBER_SHIFT) as u16
    }

    /// The functions that can be reached in it.
    pub fn functions<C: ConfigAccess>(&self, config: &C) -> impl Iterator<Item = Function> {
        let bus = self.bus;
        scan(config).filter(move |function| function.address.bus() == bus)
    }

    /// Whether there is a device, with power or without.
    pub fn is_occupied(&self, config: &impl ConfigAccess) -> bool {
        self.status(config).contains(Status::PRESENT)
    }

    /// Whether it has power. One whose power cannot be switched always has.
    pub fn power(&self, config: &impl ConfigAccess) -> Power {
        let switched = self.abilities.contains(Abilities::POWER_CONTROLLER);
        let control = Control::from_bits_retain(self.read16(config, CONTROL));
        if switched && control.contains(Control::POWER_OFF) {
            Power::Off
        } else {
            Power::On
        }
    }

    /// Says what has happened since this was last asked.
    pub fn take_events(&self, config: &impl ConfigAccess) -> Events {
        let happened = self.status(config) & (Status::ATTENTION | Status::PRESENCE_CHANGED);
        if happened.is_empty() {
            return Events::empty();
        }
        self.clear(config, happened);
        let mut events = Events::empty();
        events.set(Events::ATTENTION, happened.contains(Status::ATTENTION));
        events.set(Events::CHANGED, happened.contains(Status::PRESENCE_CHANGED));
        events
    }

    /// Switches power on or off, and its indicator with it, which is how the machine knows that the device
    /// may be taken. Done when it [is settled](Self::is_settled), and not to be called again before that.
    pub fn set_power(&self, config: &impl ConfigAccess, power: Power) {
        self.clear(config, Status::COMMAND_COMPLETED);
        let both = Control::POWER_OFF | Control::INDICATOR_OFF;
        let before = Control::from_bits_retain(self.read16(config, CONTROL));
        let control = before.difference(both).union(match power {
            Power::On => Control::INDICATOR_ON,
            Power::Off => both,
        });
        // The other half is the status, whose bits are cleared by ones.
        let place = self.capability + CONTROL;
        Config::new(config, self.bridge).write32(place, control.bits().into());
    }

    /// Whether what it was told is done. A second is long enough to wait for it.
    pub fn is_settled(&self, config: &impl ConfigAccess) -> bool {
        self.abilities.contains(Abilities::NO_COMMAND_COMPLETED)
            || self.status(config).contains(Status::COMMAND_COMPLETED)
    }

    /// Clears these bits of the status, and leaves the control as it is.
    fn clear(&self, config: &impl ConfigAccess, bits: Status) {
        let control = self.read16(config, CONTROL);
        let word = u32::from(bits.bits()) << 16 | u32::from(control);
        Config::new(config, self.bridge).write32(self.capability + CONTROL, word);
    }

    fn status(&self, config: &impl ConfigAccess) -> Status {
        match self.read16(config, STATUS) {
            GONE => Status::empty(),
            status => Status::from_bits_retain(status),
        }
    }

    fn read16(&self, config: &impl ConfigAccess, register: usize) -> u16 {
        Config::new(config, self.bridge).read16(self.capability + register)
    }
}

#[cfg(test)]
mod tests;
