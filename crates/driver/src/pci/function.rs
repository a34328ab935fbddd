//! Which functions there are on a segment, and what they say they are.

use ringway_spec::DeviceId;
use ringway_spec::pci::bridge::{HEADER_TYPE_BRIDGE, SECONDARY_BUS};
use ringway_spec::pci::config::{
    HEADER_MULTI_FUNCTION, HEADER_TYPE, HEADER_TYPE_MASK, HEADER_TYPE_NORMAL, NO_FUNCTION,
    REVISION_ID, SUBSYSTEM_VENDOR_ID, VENDOR_ID,
};
use ringway_spec::pci::{MODERN_DEVICE_BASE, MODERN_DEVICE_LAST, VENDOR, device_type, legacy};

use super::config::Config;
use super::{Address, ConfigAccess};

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
    /// What kind of function it is: class, subclass and programming interface, 8 bits each from
    /// the top of 24.
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

    /// The virtual function at `at`, if there is one. Its header has no ids (PCI Express 5.0 section 9.3.4): they are
    /// `vendor`, that of its physical function, and `device`, which that says.
    #[cfg(feature = "alloc")]
    pub(super) fn of_virtual(
        config: &impl ConfigAccess,
        at: Address,
        vendor: u16,
        device: u16,
    ) -> Option<Self> {
        let config = Config::new(config, at);
        let revision_and_class = config.read32(REVISION_ID);
        if revision_and_class == u32::MAX {
            return None;
        }
        let subsystem = config.read32(SUBSYSTEM_VENDOR_ID);
        Some(Self {
            address: at,
            vendor,
            device,
            revision: revision_and_class as u8,
            class: revision_and_class >> 8,
            subsystem_vendor: subsystem as u16,
            subsystem: (subsystem >> 16) as u16,
            header: config.read8(HEADER_TYPE),
        })
    }

    /// Whether its header has this layout.
    pub(super) fn has_header(&self, layout: u8) -> bool {
        self.header & HEADER_TYPE_MASK == layout
    }

    /// What type of virtio device it is, if it is one (§4.1.2). One for legacy drivers, too, says
    /// that by its subsystem (§4.1.2.3), and older ones by nothing else; of others that have such an
    /// id, the subsystem may be anything.
    pub fn device_id(&self) -> Option<DeviceId> {
        if self.vendor != VENDOR || self.header & HEADER_TYPE_MASK != HEADER_TYPE_NORMAL {
            return None;
        }
        let by_device = device_type(self.device).filter(|id| *id != DeviceId::INVALID);
        if !legacy::DEVICE_IDS.contains(&self.device) {
            return by_device;
        }
        let types = 1..=MODERN_DEVICE_LAST - MODERN_DEVICE_BASE;
        let named = types.contains(&self.subsystem);
        let by_subsystem = named.then_some(DeviceId(self.subsystem.into()));
        match self.revision {
            legacy::REVISION => by_subsystem.or(by_device),
            _ => by_device.or(by_subsystem),
        }
    }
}

/// The functions of one bus.
#[cfg(feature = "alloc")]
pub(super) fn on_bus<C: ConfigAccess>(config: &C, bus: u8) -> impl Iterator<Item = Function> {
    let mut reachable = [false; BUSES];
    if let Some(this) = reachable.get_mut(usize::from(bus)) {
        *this = true;
    }
    let next = u32::from(bus) << 8;
    Scan {
        config,
        reachable,
        next,
    }
    .take_while(move |function| function.address.bus() == bus)
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
    /// Which buses are behind the bridges seen so far. A bus has a higher number than the bridge
    /// to it, so one pass sees all.
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
            let multiple =
                function.is_some_and(|function| function.header & HEADER_MULTI_FUNCTION != 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::{AT, Fake};
    use crate::platform::Trust;
    use crate::testing::{Access, TestPlatform, config_space};
    use std::vec;
    use std::vec::Vec;

    /// Puts a function with this type of header at `at`.
    fn place(platform: &TestPlatform, at: Address, header: u8, secondary_bus: u8) {
        let mut bytes = vec![0; 256];
        bytes[..4].copy_from_slice(&[0x34, 0x12, 0x78, 0x56]);
        bytes[HEADER_TYPE] = header;
        bytes[SECONDARY_BUS] = secondary_bus;
        platform.place(config_space(at), bytes, |_, _| {});
    }

    fn found(platform: &TestPlatform) -> Vec<Address> {
        scan(platform).map(|function| function.address).collect()
    }

    #[test]
    fn a_function_says_what_it_is() {
        let platform = Fake::new().plug();

        let functions: Vec<_> = scan(&platform).collect();

        let expected = Function {
            address: AT,
            vendor: VENDOR,
            device: 0x1042,
            revision: 1,
            class: 0x01_8000,
            subsystem_vendor: 0x1234,
            subsystem: 0x1100,
            header: 0,
        };
        assert_eq!(functions, [expected]);
        assert_eq!(expected.device_id(), Some(DeviceId::BLOCK));
    }

    /// Clauses: drv:pci/pci-device-discovery:1, drv:pci/pci-device-discovery:3
    #[test]
    fn a_device_is_known_by_its_id_whatever_its_revision_and_subsystem() {
        let function = Function::read(&Fake::new().plug(), AT).unwrap();
        let with = |device, revision, subsystem| Function {
            device,
            revision,
            subsystem,
            ..function
        };

        for id in 1..=63 {
            for revision in [0, 1, 2, u8::MAX] {
                let found = with(0x1040 + id, revision, 1).device_id();
                assert_eq!(found, Some(DeviceId(id.into())));
            }
        }
    }

    /// Clauses: drv:pci/pci-device-discovery:2
    #[test]
    fn the_ids_of_devices_for_legacy_drivers_are_known_whatever_the_subsystem() {
        let function = Function::read(&Fake::new().plug(), AT).unwrap();
        let ids = [
            (0x1000, DeviceId::NETWORK),
            (0x1001, DeviceId::BLOCK),
            (0x1002, DeviceId::BALLOON),
            (0x1003, DeviceId::CONSOLE),
            (0x1004, DeviceId::SCSI),
            (0x1005, DeviceId::ENTROPY),
            (0x1009, DeviceId::NINE_P),
        ];

        for (device, id) in ids {
            for (revision, subsystem) in
                [(0, id.0 as u16), (0, 0), (0, 0x1100), (1, 9), (1, 0x1100)]
            {
                let found = Function {
                    device,
                    revision,
                    subsystem,
                    ..function
                };
                assert_eq!(found.device_id(), Some(id), "{revision} {subsystem:#x}");
            }
        }
    }

    /// Not all hypervisors have the specification's ids for them.
    #[test]
    fn a_transitional_device_has_its_type_in_its_subsystem() {
        let function = Function {
            revision: 0,
            ..Function::read(&Fake::new().plug(), AT).unwrap()
        };
        let with = |device, subsystem| Function {
            device,
            subsystem,
            ..function
        };

        assert_eq!(with(0x1000, 1).device_id(), Some(DeviceId::NETWORK));
        assert_eq!(with(0x103f, 25).device_id(), Some(DeviceId(25)));
        assert_eq!(with(0x1004, 4).device_id(), Some(DeviceId::ENTROPY));
        assert_eq!(with(0x1006, 0).device_id(), None);
        assert_eq!(with(0x1006, 0x1100).device_id(), None);
        assert_eq!(with(0x1040, 2).device_id(), None);
        assert_eq!(with(0x1080, 2).device_id(), None);
        assert_eq!(with(0x0fff, 2).device_id(), None);
        let other = Function {
            vendor: 0x8086,
            ..function
        };
        assert_eq!(other.device_id(), None);
    }

    #[test]
    fn functions_beyond_the_first_are_looked_for_where_it_says_so() {
        let platform = TestPlatform::new(Trust::Trusted);
        place(&platform, Address::new(0, 1, 0), HEADER_MULTI_FUNCTION, 0);
        place(&platform, Address::new(0, 1, 5), 0, 0);
        place(&platform, Address::new(0, 2, 0), 0, 0);
        place(&platform, Address::new(0, 2, 1), 0, 0);
        place(&platform, Address::new(0, 3, 1), 0, 0);
        place(&platform, Address::new(0, 31, 0), 0, 0);

        let found = found(&platform);

        let at = |device, function| Address::new(0, device, function);
        assert_eq!(found, [at(1, 0), at(1, 5), at(2, 0), at(31, 0)]);
    }

    #[test]
    fn buses_behind_bridges_are_scanned_once_whatever_bridges_say() {
        let platform = TestPlatform::new(Trust::Trusted);
        place(&platform, Address::new(0, 3, 0), HEADER_TYPE_BRIDGE, 2);
        place(&platform, Address::new(0, 4, 0), HEADER_TYPE_BRIDGE, 2);
        place(&platform, Address::new(1, 0, 0), 0, 0);
        place(&platform, Address::new(2, 0, 0), HEADER_TYPE_BRIDGE, 0);
        place(&platform, Address::new(2, 1, 0), HEADER_TYPE_BRIDGE, 2);
        place(&platform, Address::new(2, 2, 0), HEADER_TYPE_BRIDGE, 255);
        place(&platform, Address::new(255, 31, 0), 0, 0);

        let found = found(&platform);

        let at = Address::new;
        let behind = [at(2, 0, 0), at(2, 1, 0), at(2, 2, 0), at(255, 31, 0)];
        assert_eq!(found[..2], [at(0, 3, 0), at(0, 4, 0)]);
        assert_eq!(found[2..], behind);
    }

    #[test]
    fn a_scan_writes_nothing() {
        let platform = Fake::new().plug();

        scan(&platform).for_each(drop);

        assert!(!platform.take_log().iter().any(Access::is_write));
    }
}
