//! What a function's capabilities say, as far as it can be believed: which structure is where.
//!
//! A capability is written by the device. One that cannot be used is passed over for the next of its type, and its fault is told if
//! there is none.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

use ringway_spec::pci::config::{
    BARS, CAPABILITIES_POINTER, CAPABILITIES_START, CAPABILITY_MSIX, CAPABILITY_POINTER_MASK,
    CAPABILITY_VENDOR, SIZE, STATUS, Status,
};
use ringway_spec::pci::msix::{BIR_MASK, CONTROL_TABLE_SIZE_MASK, OFFSET_MASK, table_bytes};
use ringway_spec::pci::{Capability, CapabilityType, NotifyCapability, common, msix};
use zerocopy::transmute;

use super::ConfigAccess;
use super::bar::{Bar, Bars};
use super::config::Config;
use crate::error::Violation;

/// Bytes in memory, all of them in a BAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: u64,
    pub(super) len: u64,
}

/// Where a virtio device has its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) common: Place,
    pub(super) notify: Place,
    pub(super) notify_multiplier: u32,
    pub(super) isr: Place,
    /// Device types without a configuration need none.
    pub(super) device: Option<Place>,
    pub(super) msix: Option<Table>,
}

/// Where the vectors of MSI-X are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Offset of the capability in configuration space.
    pub(super) capability: usize,
    pub(super) vectors: u16,
    pub(super) place: Place,
}

/// What the capabilities of a type came to so far. `None` if there was none that counts.
type Found<T> = Option<Result<T, &'static str>>;

impl Layout {
    /// Looks for the first capability of each type that can be used (§4.1.4.1).
    pub(super) fn find<C: ConfigAccess>(config: &Config<'_, C>) -> Result<Self, Violation> {
        let mut bars = Bars::new(config);
        let mut common: Found<Place> = None;
        let mut notify: Found<(Place, u32)> = None;
        let mut isr: Found<Place> = None;
        let mut device: Found<Place> = None;
        let mut table: Found<Table> = None;
        for capability in list(config) {
            let (at, id) = capability?;
            match id {
                CAPABILITY_VENDOR => {
                    let Some(capability) = read(config, at) else {
                        continue;
                    };
                    let mut place = |least, align| place(&capability, &mut bars, least, align);
                    match capability.cfg_type {
                        CapabilityType::COMMON_CFG => {
                            choose(&mut common, || place(common::MIN_LENGTH as u64, 4));
                        }
                        CapabilityType::NOTIFY_CFG => choose(&mut notify, || {
                            let place = place(2, 2)?;
                            Some(place.and_then(|place| {
                                Ok((place, multiplier(config, at, &capability)?))
                            }))
                        }),
                        CapabilityType::ISR_CFG => choose(&mut isr, || place(1, 1)),
                        CapabilityType::DEVICE_CFG => choose(&mut device, || place(1, 4)),
                        _ => {}
                    }
                }
                CAPABILITY_MSIX => choose(&mut table, || Some(vectors(config, at, &mut bars))),
                _ => {}
            }
        }
        let (notify, notify_multiplier) = needed(notify, "there are no notification addresses")?;
        Ok(Self {
            common: needed(common, "there is no common configuration")?,
            notify,
            notify_multiplier,
            isr: needed(isr, "there is no ISR status")?,
            device: device.transpose().map_err(Violation::Capability)?,
            msix: table.transpose().map_err(Violation::Capability)?,
        })
    }
}

/// The capabilities of a function: the offset of each, a multiple of 4, and its id.
fn list<C: ConfigAccess>(
    config: &Config<'_, C>,
) -> impl Iterator<Item = Result<(usize, u8), Violation>> {
    let status = Status::from_bits_retain(config.read16(STATUS));
    let mut next = if status.contains(Status::CAPABILITIES_LIST) {
        config.read8(CAPABILITIES_POINTER)
    } else {
        0
    };
    // One bit for each of the 64 words that a capability can be at. None is met twice, so a list has an end.
    let mut seen = 0_u64;
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
        let [id, following, ..] = config.read32(at.into()).to_le_bytes();
        next = following;
        Some(Ok((at.into(), id)))
    })
}

/// Keeps what `look` finds, unless something usable was found before.
fn choose<T>(found: &mut Found<T>, look: impl FnOnce() -> Found<T>) {
    if !matches!(found, Some(Ok(_))) {
        *found = look().or(found.take());
    }
}

fn needed<T>(found: Found<T>, missing: &'static str) -> Result<T, Violation> {
    found.unwrap_or(Err(missing)).map_err(Violation::Capability)
}

/// The virtio capability at `at`, if there is room for one.
fn read<C: ConfigAccess>(config: &Config<'_, C>, at: usize) -> Option<Capability> {
    (at + size_of::<Capability>() <= SIZE).then(|| transmute!(config.words::<4>(at)))
}

/// Where the structure is that `capability` names, if it is whole, at least `least` bytes long, and at a multiple of `align`.
/// `None` if it is in a BAR of a kind that drivers pass over.
fn place<C: ConfigAccess>(
    capability: &Capability,
    bars: &mut Bars<'_, C>,
    least: u64,
    align: u32,
) -> Found<Place> {
    if capability.bar >= BARS {
        return None;
    }
    let found = || {
        if usize::from(capability.cap_len) < size_of::<Capability>() {
            return Err("it is shorter than what it is");
        }
        let offset = capability.offset.get();
        if !offset.is_multiple_of(align) {
            return Err("structure is misaligned");
        }
        if u64::from(capability.length.get()) < least {
            return Err("structure is too short");
        }
        Ok((offset, capability.length.get()))
    };
    let (offset, length) = match found() {
        Ok(found) => found,
        Err(fault) => return Some(Err(fault)),
    };
    match bars.find(capability.bar) {
        Some(Bar::Ports) => None,
        bar => Some(within(bar, offset, length.into())),
    }
}

/// The `len` bytes at `offset` of `bar`, if it is memory and has them.
fn within(bar: Option<Bar>, offset: u32, len: u64) -> Result<Place, &'static str> {
    let Some(Bar::Memory { address, size }) = bar else {
        return Err("structure is in a BAR that is not there");
    };
    // In 64 bits, where sums of what has 32 do not overflow.
    let offset = u64::from(offset);
    if offset + len > size {
        return Err("structure passes the end of its BAR");
    }
    Ok(Place {
        address: address + offset,
        len,
    })
}

/// The multiplier that follows the capability at `at`, which locates the notification addresses.
fn multiplier<C: ConfigAccess>(
    config: &Config<'_, C>,
    at: usize,
    capability: &Capability,
) -> Result<u32, &'static str> {
    let whole = size_of::<NotifyCapability>();
    if usize::from(capability.cap_len) < whole || at + whole > SIZE {
        return Err("it is shorter than what it is");
    }
    Ok(config.read32(at + size_of::<Capability>()))
}

/// Where the vectors are that the MSI-X capability at `at` speaks of.
fn vectors<C: ConfigAccess>(
    config: &Config<'_, C>,
    at: usize,
    bars: &mut Bars<'_, C>,
) -> Result<Table, &'static str> {
    if at + size_of::<msix::Capability>() > SIZE {
        return Err("it is shorter than what it is");
    }
    let capability: msix::Capability = transmute!(config.words::<3>(at));
    // The number less one, in 11 bits.
    let vectors = (capability.control.get() & CONTROL_TABLE_SIZE_MASK) + 1;
    let table = capability.table.get();
    let bar = bars.find((table & BIR_MASK) as u8);
    let place = within(bar, table & OFFSET_MASK, table_bytes(vectors) as u64)?;
    Ok(Table {
        capability: at,
        vectors,
        place,
    })
}
