//! A PCI segment: functions on bus 0, and on those behind bridges.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ringway_driver::pci::Address;

use crate::bridge::Bridge;
use crate::bus::{PciFunction, Space};
use crate::layout::{PCI_LINE, PCI_LINES};

/// The first device number on a bus that is used for devices: 0 is where the bridge to the next one
/// is, or would be.
pub(crate) const FIRST_DEVICE: u8 = 1;

/// Most functions of a bus, each a device of its own: a bus has 32 devices.
pub(crate) const FUNCTIONS_MAX: usize = 31;

/// The functions of all buses. One bridge leads from each bus to the next.
#[derive(Clone, Default)]
pub(crate) struct Segment {
    seats: Vec<Seat>,
    /// The first is on bus 0, each other on the bus behind the one before it.
    bridges: Vec<Arc<Bridge>>,
}

/// A function in its place.
#[derive(Clone)]
struct Seat {
    /// How many bridges are before it.
    depth: usize,
    device: u8,
    /// How many routing ids after its own are for its virtual functions.
    virtuals: u16,
    function: Arc<dyn PciFunction>,
}

/// The interrupt line of device `device`'s INTA#: four lines, shared in turn.
pub(crate) fn line(device: u8) -> u32 {
    PCI_LINE + u32::from(device) % PCI_LINES
}

impl Segment {
    pub(crate) fn new(bridges: Vec<Arc<Bridge>>) -> Self {
        Self {
            seats: Vec::new(),
            bridges,
        }
    }

    pub(crate) fn bridges(&self) -> &[Arc<Bridge>] {
        &self.bridges
    }

    /// The first device number behind `depth` bridges that is free, and those after it as far as
    /// `virtuals` virtual functions reach.
    pub(crate) fn free(&self, depth: usize, virtuals: u16) -> Option<u8> {
        let on_bus = || self.seats.iter().filter(|seat| seat.depth == depth);
        let is_free = |ids: &RangeInclusive<u16>| {
            on_bus().all(|seat| ids.end() < seat.ids().start() || seat.ids().end() < ids.start())
        };
        (FIRST_DEVICE..)
            .take(FUNCTIONS_MAX)
            .map(|device| (device, ids(device, virtuals)))
            .find(|(_, ids)| *ids.end() <= u16::from(u8::MAX) && is_free(ids))
            .map(|(device, _)| device)
    }

    /// Puts a function in a place that is free, with its virtual functions.
    pub(crate) fn plug(
        &mut self,
        depth: usize,
        device: u8,
        virtuals: u16,
        function: Arc<dyn PciFunction>,
    ) {
        self.seats.push(Seat {
            depth,
            device,
            virtuals,
            function,
        });
    }

    /// Pulls out a function.
    pub(crate) fn unplug(&mut self, depth: usize, device: u8) {
        self.seats
            .retain(|seat| (seat.depth, seat.device) != (depth, device));
    }

    /// The number of the bus behind `depth` bridges.
    pub(crate) fn bus(&self, depth: usize) -> u8 {
        let bridge = depth.checked_sub(1).and_then(|last| self.bridges.get(last));
        bridge.map_or(0, |bridge| bridge.secondary())
    }

    /// Reads 32 bits of configuration space; all ones where there is no function.
    pub(crate) fn config_read(&self, at: Address, offset: u16) -> u32 {
        self.function(at).map_or(u32::MAX, |function| {
            let mut word = [0; 4];
            function.config_read(offset, &mut word);
            u32::from_le_bytes(word)
        })
    }

    pub(crate) fn config_write(&self, at: Address, offset: u16, value: u32) {
        if let Some(function) = self.function(at) {
            function.config_write(offset, &value.to_le_bytes());
        }
    }

    /// Reads what is at a bus address. Says whether a function answered.
    pub(crate) fn read(&self, space: Space, address: u64, into: &mut [u8]) -> bool {
        let found = self.locate(space, address, into.len());
        if let Some((function, bar, offset)) = found {
            function.bar_read(bar, offset, into);
        }
        found.is_some()
    }

    pub(crate) fn write(&self, space: Space, address: u64, from: &[u8]) {
        if let Some((function, bar, offset)) = self.locate(space, address, from.len()) {
            function.bar_write(bar, offset, from);
        }
    }

    fn locate(
        &self,
        space: Space,
        address: u64,
        len: usize,
    ) -> Option<(&dyn PciFunction, u8, u64)> {
        let locate = |function: &dyn PciFunction| match space {
            Space::Memory => function.locate(address, len),
            Space::Ports => function.locate_port(address, len),
        };
        self.seats.iter().find_map(|seat| {
            let mut function = &*seat.function;
            let found = locate(function).or_else(|| {
                let mut others = function.virtual_functions();
                others.find_map(|(_, other)| {
                    function = other;
                    locate(other)
                })
            });
            let (bar, offset) = found?;
            let mut before = self.bridges.iter().take(seat.depth);
            let passed = before.all(|bridge| bridge.passes(space, address, len));
            passed.then_some((function, bar, offset))
        })
    }

    /// The function that answers at an address of configuration space.
    fn function(&self, at: Address) -> Option<&dyn PciFunction> {
        let depth = (0..=self.bridges.len()).find(|depth| self.bus(*depth) == at.bus())?;
        let mut before = self.bridges.iter().take(depth);
        if !before.all(|bridge| bridge.leads_to(at.bus())) {
            return None;
        }
        if at.device() < FIRST_DEVICE {
            let bridge = self.bridges.get(depth).filter(|_| at.function() == 0)?;
            return Some(&**bridge);
        }
        let id = at.routing_id() & 0xff;
        let is_there = |seat: &&Seat| seat.depth == depth && seat.ids().contains(&id);
        let seat = self.seats.iter().find(is_there)?;
        let Some(distance) = id.checked_sub(*seat.ids().start()).filter(|far| *far != 0) else {
            return Some(&*seat.function);
        };
        let mut others = seat.function.virtual_functions();
        Some(others.find(|(far, _)| *far == distance)?.1)
    }
}

impl Seat {
    /// The routing ids that are for it, on its bus.
    fn ids(&self) -> RangeInclusive<u16> {
        ids(self.device, self.virtuals)
    }
}

/// The routing ids on its bus of function 0 of a device and as many virtual functions. Other functions
/// of the same device there are none, so the last device is taken as a whole.
fn ids(device: u8, virtuals: u16) -> RangeInclusive<u16> {
    let first = u16::from(device) << 3;
    first..=first.saturating_add(virtuals) | 7
}
