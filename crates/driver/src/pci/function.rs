//! Which functions there are on a segment, and what they say they are.

use ringway_spec::DeviceId;
use ringway_spec::pci::config::{
    HEADER_MULTI_FUNCTION, HEADER_TYPE, HEADER_TYPE_MASK, HEADER_TYPE_NORMAL, NO_FUNCTION,
    REVISION_ID, SUBSYSTEM_VENDOR_ID, VENDOR_ID,
};
use ringway_spec::pci::{MODERN_DEVICE_BASE, VENDOR, device_type};

use super::config::Config;
use super::{Address, ConfigAccess};

/// First of the ids of devices that can also be used through the legacy interface (§4.1.2).
const TRANSITIONAL_DEVICE_BASE: u16 = 0x1000;
/// The header of a bridge to another bus.
const HEADER_TYPE_BRIDGE: u8 = 1;
/// Where a bridge has the number of the bus behind it, 8 bits.
const SECONDARY_BUS: usize = 0x19;
/// How many buses a segment has.
const BUSES: usize = 256;

/// A function, and what its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// What its maker calls it.
    pub device: u16,
    /// Its revision.
    pub revision: u8,
    /// What kind of function it is: class, subclass and programming interface, 8 bits each from the top of 24.
    pub class: u32,
    /// Who made what it is part of. 0 if it is a bridge.
    pub subsystem_vendor: u16,
    /// What the maker of that calls it. 0 if it is a bridge.
    pub subsystem: u16,
    header: u8,
}

impl Function {
    /// The function at `at`, if there is one.
    pub fn read(config: &impl ConfigAccess, at: Address) -> Option<Self> {
        let config = Config::new(config, at);
        let word = config.read32(VENDOR_ID);
        let vendor = word as u16;
        if vendor == NO_FUNCTION {
            return None;
        }
        let header = config.read8(HEADER_TYPE);
        let revision_and_class = config.read32(REVISION_ID);
        let subsystem = match header & HEADER_TYPE_MASK {
            HEADER_TYPE_NORMAL => config.read32(SUBSYSTEM_VENDOR_ID),
            _ => 0,
        };
        Some(Self {
            address: at,
            vendor,
            device: (word >> 16) as u16,
            revision: revision_and_class as u8,
            class: revision_and_class >> 8,
            subsystem_vendor: subsystem as u16,
            subsystem: (subsystem >> 16) as u16,
            header,
        })
    }

    /// What type of virtio device it is, if it is one (§4.1.2). One that can be used through the legacy interface too says so by its subsystem.
    pub fn device_id(&self) -> Option<DeviceId> {
        if self.vendor != VENDOR || self.header & HEADER_TYPE_MASK != HEADER_TYPE_NORMAL {
            return None;
        }
        match self.device {
            TRANSITIONAL_DEVICE_BASE..MODERN_DEVICE_BASE => {
                (self.subsystem != 0).then(|| DeviceId(self.subsystem.into()))
            }
            device => device_type(device),
        }
    }
}

/// All functions of a segment: those on bus 0, and those behind bridges.
pub fn scan<C: ConfigAccess>(config: &C) -> Scan<'_, C> {
    let mut reachable = [false; BUSES];
    if let Some(first) = reachable.first_mut() {
        *first = true;
    }
    Scan {
        config,
        reachable,
        next: 0,
    }
}

/// An iterator over the functions of a segment, in the order of their addresses. See [`scan`].
#[derive(Debug)]
pub struct Scan<'c, C> {
    config: &'c C,
    /// Which buses are behind the bridges seen so far. A bus has a higher number than the bridge to it, so one pass sees all.
    reachable: [bool; BUSES],
    /// Routing id of what is to be looked at next: it only grows, whatever bridges say.
    next: u32,
}

impl<C: ConfigAccess> Iterator for Scan<'_, C> {
    type Item = Function;

    fn next(&mut self) -> Option<Function> {
        while let Ok(id) = u16::try_from(self.next) {
            let at = Address::from_routing_id(id);
            if self.reachable.get(usize::from(at.bus())) != Some(&true) {
                self.next = (u32::from(at.bus()) + 1) << 8;
                continue;
            }
            let function = Function::read(self.config, at);
            // Function 0 says whether there are others; without it, there are none.
            let multiple = function
                .is_some_and(|function| function.header & HEADER_MULTI_FUNCTION != 0);
            self.next += if multiple || at.function() != 0 { 1 } else { 8 };
            let Some(function) = function else { continue };
            if function.header & HEADER_TYPE_MASK == HEADER_TYPE_BRIDGE {
                let bus = Config::new(self.config, at).read8(SECONDARY_BUS);
                if let Some(reachable) = self.reachable.get_mut(usize::from(bus)) {
                    *reachable = true;
                }
            }
            return Some(function);
        }
        None
    }
}
