//! Bridges between the buses of a segment: their numbers, and what they pass on.

use alloc::vec::Vec;
use core::ops::Range;

use ringway_spec::pci::bridge::{
    HEADER_TYPE_BRIDGE, IO_BASE, IO_GRANULE, MEMORY_BASE, MEMORY_GRANULE, PREFETCHABLE_BASE,
    PREFETCHABLE_BASE_HIGH, PREFETCHABLE_LIMIT_HIGH, PRIMARY_BUS, SECONDARY_BUS, SUBORDINATE_BUS,
};
use ringway_spec::pci::config::Command;

use super::config::Config;
use super::function::{on_bus, scan};
use super::place::Kind;
use super::{Address, ConfigAccess, Function};

/// Most bridges between bus 0 and a function that is given an address. A segment may have one on
/// each of its buses, and each takes some of the stack.
const DEPTH_MAX: u8 = 16;
/// Where the high halves of the first and the last I/O port are, 16 bits each.
const IO_HIGH: usize = 0x30;
/// By what the windows of each kind are passed on, in the order of [`Kind::ALL`].
pub(super) const GRANULES: [u64; 3] = [MEMORY_GRANULE, MEMORY_GRANULE, IO_GRANULE];

/// A bridge to a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bridge {
    pub(super) at: Address,
    /// The bus behind it: of a higher number than the one it is on, and behind no other.
    pub(super) bus: u8,
}

impl Bridge {
    /// The bridges among `functions`, which are in order.
    pub(super) fn all<C: ConfigAccess>(config: &C, functions: &[Function]) -> Vec<Self> {
        let mut depth = [None; 256];
        if let Some(first) = depth.first_mut() {
            *first = Some(0_u8);
        }
        let mut bridges = Vec::new();
        for function in functions
            .iter()
            .filter(|f| f.has_header(HEADER_TYPE_BRIDGE))
        {
            let at = function.address;
            let bus = Config::new(config, at).read8(SECONDARY_BUS);
            let here = depth.get(usize::from(at.bus())).copied().flatten();
            let (Some(here), Some(behind)) = (here, depth.get_mut(usize::from(bus))) else {
                continue;
            };
            if bus > at.bus() && behind.is_none() && here < DEPTH_MAX {
                *behind = Some(here + 1);
                bridges.push(Self { at, bus });
            }
        }
        bridges
    }

    /// Whether it can pass on memory beyond 4 GiB.
    pub(super) fn has_high<C: ConfigAccess>(config: &Config<'_, C>) -> bool {
        config.read16(PREFETCHABLE_BASE) & 0xf == 1
    }

    /// What it passes on. `None` if that is nothing, or begins at 0 as after a reset, where no
    /// function is.
    pub(super) fn window<C: ConfigAccess>(
        config: &Config<'_, C>,
        kind: Kind,
    ) -> Option<Range<u64>> {
        let (first, last) = match kind {
            Kind::Memory => halves(config.read32(MEMORY_BASE), [0, 0]),
            Kind::High if Self::has_high(config) => {
                let high = [PREFETCHABLE_BASE_HIGH, PREFETCHABLE_LIMIT_HIGH];
                halves(
                    config.read32(PREFETCHABLE_BASE),
                    high.map(|at| config.read32(at)),
                )
            }
            Kind::High => return None,
            Kind::Ports => {
                let [first, last, ..] = config.read32(IO_BASE).to_le_bytes();
                let port = |byte: u8| u64::from(byte & 0xf0) << 8;
                (port(first), port(last) + (IO_GRANULE - 1))
            }
        };
        let end = last.checked_add(1)?;
        (first != 0 && first < end).then_some(first..end)
    }

    /// Has it pass on `window`, of whole granules, and reach memory for those behind it.
    pub(super) fn open<C: ConfigAccess>(config: &Config<'_, C>, kind: Kind, window: &Range<u64>) {
        let last = window.end.saturating_sub(1);
        let words = |first: u64, last: u64| (first >> 16 & 0xfff0 | last & 0xfff0_0000) as u32;
        match kind {
            Kind::Memory => config.write32(MEMORY_BASE, words(window.start, last)),
            Kind::High => {
                config.write32(PREFETCHABLE_BASE, words(window.start, last));
                config.write32(PREFETCHABLE_BASE_HIGH, (window.start >> 32) as u32);
                config.write32(PREFETCHABLE_LIMIT_HIGH, (last >> 32) as u32);
            }
            Kind::Ports => {
                // The upper half is a status, whose bits are cleared by ones.
                let bytes = (window.start >> 8 & 0xf0 | last & 0xf000) as u32;
                config.write32(IO_BASE, bytes);
                config.write32(IO_HIGH, 0);
            }
        }
        let passes = Command::MEMORY | Command::IO | Command::BUS_MASTER;
        config.set_command(config.command() | passes);
    }
}

/// First and last address of a window of memory: their low halves in a word, and their high ones.
fn halves(low: u32, [first_high, last_high]: [u32; 2]) -> (u64, u64) {
    let wide = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    let first = wide(first_high, low << 16 & 0xfff0_0000);
    let last = wide(last_high, low & 0xfff0_0000 | 0xf_ffff);
    (first, last)
}

/// Numbers the buses behind bridges of bus 0 that lead to none, and what is behind those. Behind
/// bridges that lead somewhere, all is as firmware left it.
pub(super) fn number<C: ConfigAccess>(config: &C) {
    let bridges = scan(config).filter(|function| function.has_header(HEADER_TYPE_BRIDGE));
    let highest = bridges.map(|bridge| {
        let config = Config::new(config, bridge.address);
        config
            .read8(SECONDARY_BUS)
            .max(config.read8(SUBORDINATE_BUS))
    });
    let mut last = highest.max().unwrap_or(0);
    number_behind(config, 0, &mut last, DEPTH_MAX);
}

/// Numbers the buses behind bridges of `bus`, from the one after `last` on.
fn number_behind<C: ConfigAccess>(config: &C, bus: u8, last: &mut u8, depth: u8) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for function in on_bus(config, bus).filter(|f| f.has_header(HEADER_TYPE_BRIDGE)) {
        let bridge = Config::new(config, function.address);
        let (true, Some(secondary)) = (bridge.read8(SECONDARY_BUS) == 0, last.checked_add(1))
        else {
            continue;
        };
        // The highest byte is a timer.
        let timer = bridge.read32(PRIMARY_BUS) & 0xff00_0000;
        let lead = |subordinate: u8| {
            let [primary, secondary, subordinate] = [bus, secondary, subordinate].map(u32::from);
            bridge.write32(
                PRIMARY_BUS,
                timer | subordinate << 16 | secondary << 8 | primary,
            );
        };
        *last = secondary;
        // Whatever is behind it has to be reached to be numbered.
        lead(u8::MAX);
        number_behind(config, secondary, last, depth);
        lead(*last);
    }
}
