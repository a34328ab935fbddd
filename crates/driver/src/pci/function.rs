//! A function of the bus: who it is, where its registers are, what it is capable of.

use ringway_spec::DeviceId;
use ringway_spec::pci::config::{self, Command, Status};
use ringway_spec::pci::{MODERN_DEVICE_BASE, MODERN_DEVICE_LAST, VENDOR};

use super::address::{Address, ConfigAccess, read8, read16, read32};

/// Most buses looked at. There are no more (PCI 3.0 §3.2.2.3.1).
const BUSES_MAX: usize = 256;
/// Devices of a bus.
const DEVICES: u8 = 32;
/// Functions of a device.
const FUNCTIONS: u8 = 8;
/// A bridge to another bus, by the type of its header.
const HEADER_TYPE_BRIDGE: u8 = 1;
/// Where a bridge says which bus is behind it.
const SECONDARY_BUS: usize = 0x19;

/// A function that answers, on some bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// What it is, to its vendor.
    pub device: u16,
    /// Who made the board.
    pub subsystem_vendor: u16,
    /// What the board is, to its vendor.
    pub subsystem: u16,
}

/// A base address register of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bar {
    /// Bus address of its first byte. 0 if it was not placed.
    pub(super) address: u64,
    /// Bytes of it.
    pub(super) size: u64,
}

impl Function {
    /// The type of virtio device that it is, if it is one: by its device id, or, below 0x1040, by its
    /// subsystem id (§4.1.2).
    pub fn virtio_type(&self) -> Option<DeviceId> {
        match self.device {
            _ if self.vendor != VENDOR => None,
            MODERN_DEVICE_BASE..=MODERN_DEVICE_LAST => {
                Some(DeviceId(u32::from(self.device - MODERN_DEVICE_BASE)))
            }
            0x1000..MODERN_DEVICE_BASE => Some(DeviceId(u32::from(self.subsystem))),
            _ => None,
        }
    }

    /// What answers at `address`, if anything does, and is no bridge.
    fn at(access: &impl ConfigAccess, address: Address) -> Option<Self> {
        let normal = header_type(access, address)? == config::HEADER_TYPE_NORMAL;
        normal.then(|| Self {
            address,
            vendor: read16(access, address, config::VENDOR_ID),
            device: read16(access, address, config::DEVICE_ID),
            subsystem_vendor: read16(access, address, config::SUBSYSTEM_VENDOR_ID),
            subsystem: read16(access, address, config::SUBSYSTEM_ID),
        })
    }

    /// Sets and clears bits of the command register.
    pub(super) fn command(&self, access: &impl ConfigAccess, set: Command, clear: Command) {
        let now = Command::from_bits_retain(read16(access, self.address, config::COMMAND));
        // The status shares the 32 bits: zeros leave it as it is.
        let command = (now - clear) | set;
        access.write32(
            self.address,
            config::COMMAND as u16,
            u32::from(command.bits()),
        );
    }

    /// The memory that register `index` stands for. `None` if it stands for ports, or for none. Its size is found by writing to it, with
    /// the function's memory switched off meanwhile.
    pub(super) fn bar(&self, access: &impl ConfigAccess, index: u8) -> Option<Bar> {
        let low_at = config::bar(index)?;
        let low = read32(access, self.address, low_at);
        if low & config::BAR_IO != 0 {
            return None;
        }
        let wide = low & config::BAR_WIDTH_MASK == config::BAR_64;
        let high_at = if wide {
            Some(config::bar(index + 1)?)
        } else {
            None
        };
        let high = high_at.map_or(0, |at| read32(access, self.address, at));

        let command = Command::from_bits_retain(read16(access, self.address, config::COMMAND));
        self.command(access, Command::empty(), Command::MEMORY | Command::IO);
        let probe = |at: usize, was: u32| {
            access.write32(self.address, at as u16, u32::MAX);
            let mask = read32(access, self.address, at);
            access.write32(self.address, at as u16, was);
            mask
        };
        let low_mask = probe(low_at, low) & config::BAR_MEMORY_MASK;
        let high_mask = high_at.map_or(u32::MAX, |at| probe(at, high));
        self.command(
            access,
            command & (Command::MEMORY | Command::IO),
            Command::empty(),
        );

        let mask = u64::from(high_mask) << 32 | u64::from(low_mask);
        let address = u64::from(high) << 32 | u64::from(low & config::BAR_MEMORY_MASK);
        (low_mask != 0 || (wide && high_mask != 0)).then(|| Bar {
            address,
            size: (!mask).wrapping_add(1),
        })
    }

    /// The capabilities, by offset and id, in the device's order. A list that loops or leaves configuration space ends there.
    pub(super) fn capabilities<'a>(
        &self,
        access: &'a impl ConfigAccess,
    ) -> impl Iterator<Item = (usize, u8)> + 'a {
        let address = self.address;
        let status = Status::from_bits_retain(read16(access, address, config::STATUS));
        let first = if status.contains(Status::CAPABILITIES_LIST) {
            read8(access, address, config::CAPABILITIES_POINTER)
        } else {
            0
        };
        let pointer = move |raw: u8| {
            let at = usize::from(raw & config::CAPABILITY_POINTER_MASK);
            (at >= config::CAPABILITIES_START).then_some(at)
        };
        core::iter::successors(pointer(first), move |at| {
            pointer(read8(access, address, at + 1))
        })
        // More than fit without overlap are a loop.
        .take(config::MAX_CAPABILITIES)
        .map(move |at| (at, read8(access, address, at)))
    }
}

/// Every function that answers, on bus 0 and on the buses behind bridges.
pub fn scan<A: ConfigAccess>(access: &A) -> impl Iterator<Item = Function> + '_ {
    Scan {
        access,
        buses: BusSet::of(0),
        bus: 0,
        device: 0,
        function: 0,
    }
}

/// A walk over all functions, bus by bus, in the order of the buses' numbers as bridges name them.
struct Scan<'a, A> {
    access: &'a A,
    /// Buses that are known and were not yet left.
    buses: BusSet,
    bus: u8,
    device: u8,
    function: u8,
}

/// Which of the 256 buses. One that was left is not entered again, so bridges in a circle end.
struct BusSet {
    waiting: [bool; BUSES_MAX],
    known: [bool; BUSES_MAX],
}

impl BusSet {
    fn of(bus: u8) -> Self {
        let mut known = [false; BUSES_MAX];
        known[usize::from(bus)] = true;
        Self {
            waiting: [false; BUSES_MAX],
            known,
        }
    }

    fn add(&mut self, bus: u8) {
        let bus = usize::from(bus);
        if !core::mem::replace(&mut self.known[bus], true) {
            self.waiting[bus] = true;
        }
    }

    fn take(&mut self) -> Option<u8> {
        let bus = self.waiting.iter().position(|waiting| *waiting)?;
        self.waiting[bus] = false;
        u8::try_from(bus).ok()
    }
}

impl<A: ConfigAccess> Iterator for Scan<'_, A> {
    type Item = Function;

    fn next(&mut self) -> Option<Function> {
        loop {
            if self.device == DEVICES {
                self.bus = self.buses.take()?;
                self.device = 0;
            }
            let address = Address::new(self.bus, self.device, self.function);
            let header = header_type(self.access, address);
            let several = self.function != 0
                || header.is_some()
                    && read8(self.access, address, config::HEADER_TYPE)
                        & config::HEADER_MULTI_FUNCTION
                        != 0;
            if several && self.function + 1 < FUNCTIONS {
                self.function += 1;
            } else {
                self.function = 0;
                self.device += 1;
            }
            match header {
                Some(HEADER_TYPE_BRIDGE) => {
                    self.buses.add(read8(self.access, address, SECONDARY_BUS));
                }
                Some(_) => {
                    if let Some(function) = Function::at(self.access, address) {
                        return Some(function);
                    }
                }
                None => {}
            }
        }
    }
}

/// The type of the header at `address`, without the bit that says whether there are more functions. `None` if nobody answers.
fn header_type(access: &impl ConfigAccess, address: Address) -> Option<u8> {
    let answers = read16(access, address, config::VENDOR_ID) != config::NO_FUNCTION;
    answers.then(|| read8(access, address, config::HEADER_TYPE) & config::HEADER_TYPE_MASK)
}
