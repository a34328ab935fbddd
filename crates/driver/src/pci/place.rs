//! Addresses for the BARs of virtio devices, where firmware gave them none.
//!
//! What has an address keeps it. Bridges whose windows are closed have them opened as far as is
//! needed behind them; windows that are open are filled, and never moved.

use alloc::vec::Vec;
use core::cmp::Reverse;
use core::ops::Range;

use ringway_spec::pci::bridge;
use ringway_spec::pci::config::{BARS, HEADER_TYPE_NORMAL};

use super::bar::{Bars, Space, Unplaced, Whose};
use super::bridge::{Bridge, GRANULES, number};
use super::config::Config;
use super::sriov::Capability;
use super::{Address, ConfigAccess, Function, scan};

/// The addresses that a host bridge passes on to bus 0, and that nothing else answers at but the
/// functions of the segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Apertures {
    /// Memory, all of it below 4 GiB: for every BAR of memory.
    pub memory: Range<u64>,
    /// Memory for BARs of 64 bits that are read without effect. Empty if there is none; they then
    /// are among the others.
    pub high: Range<u64>,
    /// I/O ports, all of them below 64 Ki. Empty on machines without.
    pub ports: Range<u64>,
}

/// What [`place`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// BARs that were given an address.
    pub placed: usize,
    /// BARs, and windows of bridges, that there is no room for.
    pub without_room: usize,
}

/// What addresses are given out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Memory,
    High,
    Ports,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Memory, Self::High, Self::Ports];

    fn space(self) -> Space {
        match self {
            Self::Memory | Self::High => Space::Memory,
            Self::Ports => Space::Ports,
        }
    }
}

/// Something that has no address yet.
#[derive(Clone, Copy, Debug)]
struct Want {
    kind: Kind,
    size: u64,
    align: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Bar(Address, Whose, u8),
    Window(Address),
}

impl Want {
    /// What is given out first is the highest: virtual functions are there only if all others can be;
    /// and what is largest has the fewest places.
    fn rank(&self) -> (bool, u64, u64) {
        let is_own = !matches!(self.what, What::Bar(_, Whose::Virtual(_), _));
        (is_own, self.align, self.size)
    }
}

/// The functions of a segment, and which bridge leads to which bus.
struct Tree<'c, C> {
    config: &'c C,
    functions: Vec<Function>,
    bridges: Vec<Bridge>,
}

/// Gives an address to each BAR of a virtio device that has none, and a number to each bus behind a
/// bridge that has none. To be called before devices are opened: other functions do not answer for
/// a moment while their BARs are measured, and only where addresses are to be given.
pub fn place<C: ConfigAccess>(config: &C, apertures: &Apertures) -> Placed {
    number(config);
    let functions: Vec<_> = scan(config).collect();
    let bridges = Bridge::all(config, &functions);
    let tree = Tree {
        config,
        functions,
        bridges,
    };
    let mut placed = Placed::default();
    let Apertures {
        memory,
        high,
        ports,
    } = apertures;
    let free =
        [memory, high, ports].map(|range| Some(range.clone()).filter(|range| !range.is_empty()));
    tree.fill(0, &free, &mut placed);
    placed
}

impl<C: ConfigAccess> Tree<'_, C> {
    /// Gives out addresses on `bus`, of what is passed on to it of each kind, and behind it.
    fn fill(&self, bus: u8, free: &[Option<Range<u64>>; 3], placed: &mut Placed) {
        let [memory, high, ports] = free;
        let mut wants = self.wants(bus, high.is_some());
        if !wants.is_empty() {
            let mut used = self.used(bus);
            wants.sort_by_key(|want| Reverse(want.rank()));
            for want in wants {
                let range = match want.kind {
                    Kind::Memory => memory,
                    Kind::High => high,
                    Kind::Ports => ports,
                };
                let place = range.as_ref().and_then(|range| room(range, &used, &want));
                let Some(start) = place else {
                    placed.without_room += 1;
                    continue;
                };
                used.push((want.kind.space(), start..start + want.size));
                match want.what {
                    What::Bar(at, of, index) => {
                        set_bar(&Config::new(self.config, at), of, index, start);
                        placed.placed += 1;
                    }
                    What::Window(at) => {
                        let window = start..start + want.size;
                        Bridge::open(&Config::new(self.config, at), want.kind, &window);
                    }
                }
            }
        }
        for bridge in self.bridges.iter().filter(|bridge| bridge.at.bus() == bus) {
            let config = Config::new(self.config, bridge.at);
            let windows = Kind::ALL.map(|kind| Bridge::window(&config, kind));
            // A bus has a higher number than the bridge to it, so this ends.
            self.fill(bridge.bus, &windows, placed);
        }
    }

    /// What has no address on `bus`: BARs, and windows for what has none behind it.
    fn wants(&self, bus: u8, has_high: bool) -> Vec<Want> {
        let mut wants = Vec::new();
        let here = self.functions.iter();
        for function in here.filter(|f| f.address.bus() == bus && f.device_id().is_some()) {
            let config = Config::new(self.config, function.address);
            let own = Bars::new(&config).unplaced();
            let own = own.map(|(index, bar)| (Whose::Own, index, 1, bar));
            let virtuals = Capability::find(&config).ok().flatten().map(|capability| {
                let bars = Bars::of(&config, capability.bars()).unplaced();
                bars.map(move |(index, bar)| (capability.bars(), index, capability.total, bar))
            });
            for (of, index, count, bar) in own.chain(virtuals.into_iter().flatten()) {
                let Unplaced { space, size, high } = bar;
                let kind = match space {
                    Space::Ports => Kind::Ports,
                    Space::Memory if high && has_high => Kind::High,
                    Space::Memory => Kind::Memory,
                };
                wants.push(Want {
                    kind,
                    // What is larger than there are addresses has no room.
                    size: size.saturating_mul(count.into()),
                    align: size,
                    what: What::Bar(function.address, of, index),
                });
            }
        }
        for bridge in self.bridges.iter().filter(|bridge| bridge.at.bus() == bus) {
            let config = Config::new(self.config, bridge.at);
            let high_behind = match Bridge::window(&config, Kind::High) {
                Some(_) => true,
                None => has_high && Bridge::has_high(&config),
            };
            let behind = self.wants(bridge.bus, high_behind);
            for (kind, granule) in Kind::ALL.into_iter().zip(GRANULES) {
                if Bridge::window(&config, kind).is_some() {
                    continue;
                }
                let mut of_kind: Vec<_> = behind.iter().filter(|want| want.kind == kind).collect();
                of_kind.sort_by_key(|want| Reverse(want.rank()));
                let Some(align) = of_kind.iter().map(|want| want.align).max() else {
                    continue;
                };
                let end = of_kind.iter().try_fold(0_u64, |end, want| {
                    let start = end.checked_next_multiple_of(want.align)?;
                    start.checked_add(want.size)
                });
                // What has no end has no room either.
                let size = end.and_then(|end| end.checked_next_multiple_of(granule));
                wants.push(Want {
                    kind,
                    size: size.unwrap_or(u64::MAX),
                    align: align.max(granule),
                    what: What::Window(bridge.at),
                });
            }
        }
        wants
    }

    /// What has an address on `bus`.
    fn used(&self, bus: u8) -> Vec<(Space, Range<u64>)> {
        let mut used = Vec::new();
        for function in self.functions.iter().filter(|f| f.address.bus() == bus) {
            let config = Config::new(self.config, function.address);
            let mut bars = Bars::new(&config);
            let count = match function.has_header(HEADER_TYPE_NORMAL) {
                true => BARS,
                false => bridge::BARS,
            };
            for bar in (0..count).filter_map(|index| bars.find(index)) {
                used.push((bar.space, bar.address..bar.address + bar.size));
            }
            if let Ok(Some(capability)) = Capability::find(&config) {
                let mut bars = Bars::of(&config, capability.bars());
                for bar in (0..BARS).filter_map(|index| bars.find(index)) {
                    let bytes = bar.size.saturating_mul(capability.total.into());
                    let end = bar.address.saturating_add(bytes);
                    used.push((bar.space, bar.address..end));
                }
            }
        }
        for bridge in self.bridges.iter().filter(|bridge| bridge.at.bus() == bus) {
            let config = Config::new(self.config, bridge.at);
            for kind in Kind::ALL {
                used.extend(Bridge::window(&config, kind).map(|window| (kind.space(), window)));
            }
        }
        used
    }
}

/// The first address in `range` at which there is room for what is wanted beside what is used.
fn room(range: &Range<u64>, used: &[(Space, Range<u64>)], want: &Want) -> Option<u64> {
    let mut start = range.start.checked_next_multiple_of(want.align)?;
    // Each turn passes one that is used, so there are no more turns than those.
    loop {
        let end = start
            .checked_add(want.size)
            .filter(|end| *end <= range.end)?;
        let in_the_way = used.iter().find(|(space, used)| {
            *space == want.kind.space() && used.start < end && start < used.end
        });
        match in_the_way {
            Some((_, used)) => start = used.end.checked_next_multiple_of(want.align)?,
            None => return Some(start),
        }
    }
}

/// Writes the address of a BAR, while its function does not answer.
fn set_bar<C: ConfigAccess>(config: &Config<'_, C>, of: Whose, index: u8, address: u64) {
    of.hushed(config, || {
        let is_wide = Bars::of(config, of).is_wide(index);
        if let Some(low) = of.at(index) {
            config.write_extended32(low, address as u32);
        }
        if let Some(high) = of.at(index + 1).filter(|_| is_wide) {
            config.write_extended32(high, (address >> 32) as u32);
        }
    });
}

#[cfg(test)]
mod tests;
