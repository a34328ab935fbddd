//! What a function's capabilities say, as far as it can be believed: which structure is where.
//!
//! A capability is written by the device. One that cannot be used is passed over for the next of
//! its type, and its fault is told if there is none.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

use ringway_spec::le::U32;
use ringway_spec::pci::config::{
    BARS, CAPABILITIES_POINTER, CAPABILITIES_START, CAPABILITY_MSIX, CAPABILITY_POINTER_MASK,
    CAPABILITY_VENDOR, SIZE, STATUS, Status,
};
use ringway_spec::pci::msix::{BIR_MASK, CONTROL_TABLE_SIZE_MASK, OFFSET_MASK, table_bytes};
use ringway_spec::pci::{Capability, Capability64, CapabilityType, NotifyCapability, common, msix};
use zerocopy::transmute;

use super::ConfigAccess;
use super::bar::{Bar, Bars, Place, Space};
use super::config::Config;
use super::shared::Regions;
use super::structure::Structure;
use super::window::Window;
use crate::error::Violation;
use crate::platform::Platform;
use crate::transport::SharedMemory;

/// Where a virtio device has its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) common: Structure,
    pub(super) notify: Structure,
    pub(super) notify_multiplier: u32,
    pub(super) isr: Structure,
    /// Device types without a configuration need none.
    pub(super) device: Option<Structure>,
    pub(super) shared: Regions,
}

/// Where the vectors of MSI-X are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Offset of the capability in configuration space.
    pub(super) capability: usize,
    pub(super) vectors: u16,
    /// Where they answer, unless their BAR has no address.
    pub(super) place: Option<Place>,
}

/// What the capabilities of a type came to so far. `None` if there was none that counts.
type Found<T> = Option<Result<T, &'static str>>;

impl Layout {
    /// Looks for the first capability of each type that can be used (§4.1.4.1): with `platform`, if
    /// it is of I/O ports, and through the function's window only if there is no other. `None` if
    /// there is none of any type, as there is none of devices that have the legacy interface alone.
    pub(super) fn find<P: Platform + ConfigAccess>(
        config: &Config<'_, P>,
        bars: &mut Bars<'_, P>,
        platform: &P,
    ) -> Result<Option<Self>, Violation> {
        // One that the platform does not use is none.
        let used = |window: &Window| platform.config_window(window.target(0, 0, 0)).is_some();
        let window = Window::find(config)?.filter(used);
        let mut common: Found<Structure> = None;
        let mut notify: Found<(Structure, u32)> = None;
        let mut isr: Found<Structure> = None;
        let mut device: Found<Structure> = None;
        let mut shared = Regions::NONE;
        let direct = |structure: &Structure| structure.is_direct(platform);
        for capability in list(*config) {
            let (at, CAPABILITY_VENDOR) = capability? else {
                continue;
            };
            let capability = Named::read(config, at);
            let mut locate = |least, align| {
                let found = capability.locate(bars, window, least, align)?;
                let reached = |structure: &Structure| structure.is_in_reach(platform);
                found.as_ref().map_or(true, reached).then_some(found)
            };
            match capability.says.cfg_type {
                CapabilityType::COMMON_CFG => {
                    choose(&mut common, direct, || locate(common::MIN_LENGTH as u32, 4));
                }
                CapabilityType::NOTIFY_CFG => choose(
                    &mut notify,
                    |(structure, _)| direct(structure),
                    || {
                        let found = locate(2, 2)?;
                        let multiplier = capability.notify_multiplier(config);
                        Some(found.and_then(|structure| Ok((structure, multiplier?))))
                    },
                ),
                CapabilityType::ISR_CFG => choose(&mut isr, direct, || locate(1, 1)),
                CapabilityType::DEVICE_CFG => choose(&mut device, direct, || locate(0, 4)),
                CapabilityType::SHARED_MEMORY_CFG => {
                    if let Some(region) = capability.region(config, bars) {
                        shared.add(capability.says.id, region);
                    }
                }
                _ => {}
            }
        }
        if common.is_none() && notify.is_none() && isr.is_none() && device.is_none() {
            return Ok(None);
        }
        let common = needed(common, "no common configuration")?;
        let (notify, notify_multiplier) = needed(notify, "no notification addresses")?;
        let device = device.transpose().map_err(Violation::Capability)?;
        Ok(Some(Self {
            common,
            notify,
            notify_multiplier,
            isr: needed(isr, "no ISR status")?,
            device: device.filter(|structure| structure.len != 0),
            shared,
        }))
    }

    /// All that it has.
    pub(super) fn structures(&self) -> impl Iterator<Item = &Structure> {
        [&self.common, &self.notify, &self.isr]
            .into_iter()
            .chain(&self.device)
    }
}

impl Table {
    /// Looks for the vectors of a function, if it has any.
    pub(super) fn find<C: ConfigAccess>(
        config: &Config<'_, C>,
        bars: &mut Bars<'_, C>,
    ) -> Result<Option<Self>, Violation> {
        let mut table: Found<Self> = None;
        for capability in list(*config) {
            if let (at, CAPABILITY_MSIX) = capability? {
                choose(&mut table, |_| true, || Some(vectors(config, at, bars)));
            }
        }
        table.transpose().map_err(Violation::Capability)
    }
}

/// The capabilities of a function: the offset of each, a multiple of 4, and its id.
pub(super) fn list<C: ConfigAccess>(
    config: Config<'_, C>,
) -> impl Iterator<Item = Result<(usize, u8), Violation>> {
    let status = Status::from_bits_retain(config.read16(STATUS));
    let mut next = if status.contains(Status::CAPABILITIES_LIST) {
        config.read8(CAPABILITIES_POINTER)
    } else {
        0
    };
    // One bit for each of the 64 words that a capability can be at. None is met twice, so a list
    // has an end.
    let mut seen = 0_u64;
    // And one for each that is inside one of virtio's, which say how long they are.
    let mut inside = 0_u64;
    core::iter::from_fn(move || {
        let at = next & CAPABILITY_POINTER_MASK;
        next = 0;
        if at == 0 {
            return None;
        }
        if usize::from(at) < CAPABILITIES_START {
            return Some(Err(Violation::Capability("list leads into the header")));
        }
        let bit = 1 << (at / 4);
        if seen & bit != 0 {
            return Some(Err(Violation::Capability("list has a loop")));
        }
        seen |= bit;
        let [id, following, len, _] = config.read32(at.into()).to_le_bytes();
        if id == CAPABILITY_VENDOR {
            inside |= (usize::from(at) / 4 + 1..SIZE / 4)
                .take((usize::from(len).div_ceil(4)).saturating_sub(1))
                .fold(0, |words, word| words | 1 << word);
        }
        if seen & inside != 0 {
            return Some(Err(Violation::Capability("capabilities overlap")));
        }
        next = following;
        Some(Ok((at.into(), id)))
    })
}

/// Keeps what `look` finds, unless something usable was found before; and if it is the `better` way,
/// unless that was, too.
fn choose<T>(found: &mut Found<T>, better: impl Fn(&T) -> bool, look: impl FnOnce() -> Found<T>) {
    let is_better = |found: &Found<T>| matches!(found, Some(Ok(usable)) if better(usable));
    if is_better(found) {
        return;
    }
    let next = look();
    if !matches!(found, Some(Ok(_))) || is_better(&next) {
        *found = next.or(found.take());
    }
}

fn needed<T>(found: Found<T>, missing: &'static str) -> Result<T, Violation> {
    found.unwrap_or(Err(missing)).map_err(Violation::Capability)
}

/// A capability that says where a structure is.
pub(super) struct Named {
    at: usize,
    pub(super) says: Capability,
}

impl Named {
    /// The capability at `at`. What passes the end of configuration space reads as all ones.
    pub(super) fn read<C: ConfigAccess>(config: &Config<'_, C>, at: usize) -> Self {
        Self {
            at,
            says: transmute!(config.words::<4>(at)),
        }
    }

    /// Where the structure is, if it has `least` bytes and begins at a multiple of `align`. `None`
    /// if it is in a BAR that drivers pass over (§4.1.4.1). A BAR without an address is there for
    /// a window alone.
    fn locate<C: ConfigAccess>(
        &self,
        bars: &mut Bars<'_, C>,
        window: Option<Window>,
        least: u32,
        align: u32,
    ) -> Found<Structure> {
        if self.says.bar >= BARS {
            return None;
        }
        let place = self.whole(size_of::<Capability>()).and_then(|()| {
            let (offset, len) = (self.says.offset.get(), self.says.length.get());
            if !offset.is_multiple_of(align) {
                return Err("structure is misaligned");
            }
            if len < least {
                return Err("structure is too short");
            }
            Ok((offset, len))
        });
        let bar = bars.find(self.says.bar);
        let unplaced = match (bar, window) {
            (None, Some(_)) => bars.size(self.says.bar),
            _ => 0,
        };
        Some(place.and_then(|(offset, len)| {
            let place = match unplaced {
                0 => Some(within(bar, offset.into(), len.into())?),
                size => {
                    fits(size, offset.into(), len.into())?;
                    None
                }
            };
            Ok(Structure {
                place,
                target: window.map(|window| window.target(self.says.bar, offset, len)),
                len,
            })
        }))
    }

    /// Where a region of shared memory is, if that can be (§4.1.4.7).
    fn region<C: ConfigAccess>(
        &self,
        config: &Config<'_, C>,
        bars: &mut Bars<'_, C>,
    ) -> Option<SharedMemory> {
        self.whole(size_of::<Capability64>()).ok()?;
        let [offset_high, len_high] = config.words(self.at + size_of::<Capability>());
        let wide = |high: [u8; 4], low: U32| {
            u64::from(u32::from_le_bytes(high)) << 32 | u64::from(low.get())
        };
        let offset = wide(offset_high, self.says.offset);
        let len = wide(len_high, self.says.length);
        let place = within(bars.find(self.says.bar), offset, len).ok()?;
        let is_memory = place.space == Space::Memory && len != 0;
        is_memory.then_some(SharedMemory {
            address: place.address,
            len,
        })
    }

    /// What follows a capability that locates notification addresses.
    fn notify_multiplier<C: ConfigAccess>(
        &self,
        config: &Config<'_, C>,
    ) -> Result<u32, &'static str> {
        self.whole(size_of::<NotifyCapability>())?;
        Ok(config.read32(self.at + size_of::<Capability>()))
    }

    /// Whether the capability has as many bytes, and configuration space has them.
    pub(super) fn whole(&self, bytes: usize) -> Result<(), &'static str> {
        if usize::from(self.says.cap_len) < bytes || self.at + bytes > SIZE {
            return Err("too short for what it is");
        }
        Ok(())
    }
}

/// The `len` bytes at `offset` of `bar`, if it has them.
fn within(bar: Option<Bar>, offset: u64, len: u64) -> Result<Place, &'static str> {
    let bar = bar.ok_or("structure is in a BAR that is not there")?;
    fits(bar.size, offset, len)?;
    Ok(Place {
        space: bar.space,
        address: bar.address + offset,
        len,
    })
}

/// Whether a BAR of `size` bytes has the `len` bytes at `offset`.
fn fits(size: u64, offset: u64, len: u64) -> Result<(), &'static str> {
    if offset.checked_add(len).is_none_or(|end| end > size) {
        return Err("structure passes the end of its BAR");
    }
    Ok(())
}

/// Where the vectors are that the MSI-X capability at `at` speaks of.
fn vectors<C: ConfigAccess>(
    config: &Config<'_, C>,
    at: usize,
    bars: &mut Bars<'_, C>,
) -> Result<Table, &'static str> {
    if at + size_of::<msix::Capability>() > SIZE {
        return Err("too short for what it is");
    }
    let capability: msix::Capability = transmute!(config.words::<3>(at));
    // The number less one, in 11 bits.
    let vectors = (capability.control.get() & CONTROL_TABLE_SIZE_MASK) + 1;
    let table = capability.table.get();
    let index = (table & BIR_MASK) as u8;
    let (offset, len) = ((table & OFFSET_MASK).into(), table_bytes(vectors) as u64);
    let place = match bars.find(index) {
        None if bars.size(index) != 0 => {
            fits(bars.size(index), offset, len)?;
            None
        }
        bar => {
            let memory = bar.filter(|bar| bar.space == Space::Memory);
            Some(within(memory, offset, len)?)
        }
    };
    Ok(Table {
        capability: at,
        vectors,
        place,
    })
}

#[cfg(test)]
mod tests;
