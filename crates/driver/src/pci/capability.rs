//! What a function's capabilities say, as far as it can be believed: which structure is where.
//!
//! A capability is written by the device. One that cannot be used is passed over for the next of
//! its type, and its fault is told if there is none.
//!
//! Spec: VIRTIO 1.4 §4.1.4 "Virtio Structure PCI Capabilities".

use ringway_spec::le::U32;
use ringway_spec::pci::config::{
    BARS, CAPABILITIES_POINTER, CAPABILITIES_START, CAPABILITY_MSIX, CAPABILITY_POINTER_MASK,
    CAPABILITY_VENDOR, Command, SIZE, STATUS, Status,
};
use ringway_spec::pci::msix::{BIR_MASK, CONTROL_TABLE_SIZE_MASK, OFFSET_MASK, table_bytes};
use ringway_spec::pci::{Capability, Capability64, CapabilityType, NotifyCapability, common, msix};
use zerocopy::transmute;

use super::ConfigAccess;
use super::bar::{Bar, Bars, Place, Space};
use super::config::Config;
use super::shared::Regions;
use crate::error::Violation;
use crate::platform::Platform;
use crate::transport::SharedMemory;

/// Where a virtio device has its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) common: Place,
    pub(super) notify: Place,
    pub(super) notify_multiplier: u32,
    pub(super) isr: Place,
    /// Device types without a configuration need none.
    pub(super) device: Option<Place>,
    pub(super) shared: Regions,
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
    /// Looks for the first capability of each type that can be used (§4.1.4.1): with `platform`, if
    /// it is of I/O ports. `None` if there is none of any type, as there is none of devices that
    /// have the legacy interface alone.
    pub(super) fn find<P: Platform + ConfigAccess>(
        config: &Config<'_, P>,
        bars: &mut Bars<'_, P>,
        platform: &P,
    ) -> Result<Option<Self>, Violation> {
        let mut common: Found<Place> = None;
        let mut notify: Found<(Place, u32)> = None;
        let mut isr: Found<Place> = None;
        let mut device: Found<Place> = None;
        let mut shared = Regions::NONE;
        for capability in list(config) {
            let (at, CAPABILITY_VENDOR) = capability? else {
                continue;
            };
            let capability = Named::read(config, at);
            let mut locate = |least, align| {
                let place = capability.locate(bars, least, align)?;
                let in_reach = place.map_or(true, |place| {
                    place.space == Space::Memory || place.map(platform, u64::MAX).is_ok()
                });
                in_reach.then_some(place)
            };
            match capability.says.cfg_type {
                CapabilityType::COMMON_CFG => {
                    choose(&mut common, || locate(common::MIN_LENGTH as u32, 4));
                }
                CapabilityType::NOTIFY_CFG => choose(&mut notify, || {
                    let place = locate(2, 2)?;
                    let multiplier = capability.notify_multiplier(config);
                    Some(place.and_then(|place| Ok((place, multiplier?))))
                }),
                CapabilityType::ISR_CFG => choose(&mut isr, || locate(1, 1)),
                CapabilityType::DEVICE_CFG => choose(&mut device, || locate(0, 4)),
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
            device: device.filter(|place| place.len != 0),
            shared,
        }))
    }

    /// What has the function answer at all of it.
    pub(super) fn command(&self) -> Command {
        let places = [self.common, self.notify, self.isr];
        let commands = places.iter().chain(&self.device).map(Place::command);
        commands.fold(Command::empty(), |all, command| all | command)
    }
}

impl Table {
    /// Looks for the vectors of a function, if it has any.
    pub(super) fn find<C: ConfigAccess>(
        config: &Config<'_, C>,
        bars: &mut Bars<'_, C>,
    ) -> Result<Option<Self>, Violation> {
        let mut table: Found<Self> = None;
        for capability in list(config) {
            if let (at, CAPABILITY_MSIX) = capability? {
                choose(&mut table, || Some(vectors(config, at, bars)));
            }
        }
        table.transpose().map_err(Violation::Capability)
    }
}

/// The capabilities of a function: the offset of each, a multiple of 4, and its id.
pub(super) fn list<C: ConfigAccess>(
    config: &Config<'_, C>,
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

/// Keeps what `look` finds, unless something usable was found before.
fn choose<T>(found: &mut Found<T>, look: impl FnOnce() -> Found<T>) {
    if !matches!(found, Some(Ok(_))) {
        *found = look().or(found.take());
    }
}

fn needed<T>(found: Found<T>, missing: &'static str) -> Result<T, Violation> {
    found.unwrap_or(Err(missing)).map_err(Violation::Capability)
}

/// A capability that says where a structure is.
struct Named {
    at: usize,
    says: Capability,
}

impl Named {
    /// The capability at `at`. What passes the end of configuration space reads as all ones.
    fn read<C: ConfigAccess>(config: &Config<'_, C>, at: usize) -> Self {
        Self {
            at,
            says: transmute!(config.words::<4>(at)),
        }
    }

    /// Where the structure is, if it has `least` bytes and begins at a multiple of `align`. `None`
    /// if it is in a BAR that drivers pass over (§4.1.4.1).
    fn locate<C: ConfigAccess>(
        &self,
        bars: &mut Bars<'_, C>,
        least: u32,
        align: u32,
    ) -> Found<Place> {
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
        Some(place.and_then(|(offset, len)| within(bar, offset.into(), len.into())))
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
    fn whole(&self, bytes: usize) -> Result<(), &'static str> {
        if usize::from(self.says.cap_len) < bytes || self.at + bytes > SIZE {
            return Err("too short for what it is");
        }
        Ok(())
    }
}

/// The `len` bytes at `offset` of `bar`, if it has them.
fn within(bar: Option<Bar>, offset: u64, len: u64) -> Result<Place, &'static str> {
    let bar = bar.ok_or("structure is in a BAR that is not there")?;
    if offset.checked_add(len).is_none_or(|end| end > bar.size) {
        return Err("structure passes the end of its BAR");
    }
    Ok(Place {
        space: bar.space,
        address: bar.address + offset,
        len,
    })
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
    let bar = bars.find((table & BIR_MASK) as u8);
    let bar = bar.filter(|bar| bar.space == Space::Memory);
    let place = within(
        bar,
        (table & OFFSET_MASK).into(),
        table_bytes(vectors) as u64,
    )?;
    Ok(Table {
        capability: at,
        vectors,
        place,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::testing::{
        AT, COMMON, COMMON_CAPABILITY, CONFIG, DEVICE_CAPABILITY, FREE, Fake, ISR, ISR_CAPABILITY,
        MSIX_CAPABILITY, NOTIFY, NOTIFY_CAPABILITY, NOTIFY_MULTIPLIER, REGISTERS_LEN, TABLE,
    };

    /// What is found of a device: its structures, if it has any, and its vectors.
    type Found = Result<(Option<Layout>, Option<Table>), Violation>;

    fn layout(fake: Fake) -> Found {
        let platform = fake.plug();
        let config = Config::new(&platform, AT);
        let mut bars = Bars::new(&config);
        let layout = Layout::find(&config, &mut bars, &platform)?;
        Ok((layout, Table::find(&config, &mut bars)?))
    }

    /// What is found of a device after `spoil` has changed it.
    fn spoilt(spoil: impl FnOnce(&mut Fake)) -> Found {
        let mut fake = Fake::new();
        spoil(&mut fake);
        layout(fake)
    }

    /// The structures that are found of a device after `spoil` has changed it.
    fn structures(spoil: impl FnOnce(&mut Fake)) -> Layout {
        spoilt(spoil).unwrap().0.unwrap()
    }

    fn fault(what: &'static str) -> Found {
        Err(Violation::Capability(what))
    }

    #[test]
    fn every_structure_is_where_its_capability_says() {
        let found = layout(Fake::new());

        let place = |address, len| Place {
            space: Space::Memory,
            address,
            len,
        };
        let expected = Layout {
            common: place(COMMON, 0x1000),
            notify: place(NOTIFY, 0x1000),
            notify_multiplier: NOTIFY_MULTIPLIER,
            isr: place(ISR, 0x1000),
            device: Some(place(CONFIG, 60)),
            shared: Regions::NONE,
        };
        let vectors = Table {
            capability: MSIX_CAPABILITY,
            vectors: 4,
            place: place(TABLE, 64),
        };
        assert_eq!(found, Ok((Some(expected), Some(vectors))));
    }

    #[test]
    fn a_list_with_a_loop_is_refused() {
        let to_itself = spoilt(|fake| fake.put(DEVICE_CAPABILITY + 1, &[DEVICE_CAPABILITY as u8]));
        let to_the_first = spoilt(|fake| fake.put(ISR_CAPABILITY + 1, &[MSIX_CAPABILITY as u8]));

        assert_eq!(to_itself, fault("list has a loop"));
        assert_eq!(to_the_first, fault("list has a loop"));
    }

    #[test]
    fn a_list_of_all_the_capabilities_there_is_room_for_ends() {
        let long = spoilt(|fake| {
            for at in (FREE..SIZE).step_by(4) {
                fake.put(at, &[0xff, (at + 4) as u8]);
            }
            fake.put(DEVICE_CAPABILITY + 1, &[FREE as u8]);
        });

        assert_eq!(long, layout(Fake::new()));
    }

    #[test]
    fn capabilities_that_overlap_are_refused() {
        let longer = spoilt(|fake| fake.put(COMMON_CAPABILITY + 2, &[17]));
        let later_within = spoilt(|fake| {
            fake.put(DEVICE_CAPABILITY + 1, &[NOTIFY_CAPABILITY as u8 + 8]);
        });
        let longest = spoilt(|fake| fake.put(DEVICE_CAPABILITY + 2, &[255]));

        assert_eq!(longer, fault("capabilities overlap"));
        assert_eq!(later_within, fault("capabilities overlap"));
        assert_eq!(longest, layout(Fake::new()));
    }

    #[test]
    fn a_list_that_leads_into_the_header_is_refused() {
        let first = spoilt(|fake| fake.put(CAPABILITIES_POINTER, &[0x3c]));
        let later = spoilt(|fake| fake.put(COMMON_CAPABILITY + 1, &[0x04]));

        assert_eq!(first, fault("list leads into the header"));
        assert_eq!(later, fault("list leads into the header"));
    }

    #[test]
    fn the_reserved_bits_of_a_link_do_not_count() {
        let odd = spoilt(|fake| fake.put(CAPABILITIES_POINTER, &[MSIX_CAPABILITY as u8 | 3]));

        assert_eq!(odd, layout(Fake::new()));
    }

    #[test]
    fn a_device_without_a_list_has_nothing() {
        let without = spoilt(|fake| fake.put(STATUS, &[0]));

        assert_eq!(without, Ok((None, None)));
    }

    #[test]
    fn what_every_device_has_may_not_be_missing() {
        let without = |at: usize| spoilt(|fake| fake.put(at + 3, &[7]));

        assert_eq!(without(COMMON_CAPABILITY), fault("no common configuration"));
        assert_eq!(
            without(NOTIFY_CAPABILITY),
            fault("no notification addresses")
        );
        assert_eq!(without(ISR_CAPABILITY), fault("no ISR status"));
        assert_eq!(without(DEVICE_CAPABILITY).unwrap().0.unwrap().device, None);
        let without_vectors = spoilt(|fake| fake.put(MSIX_CAPABILITY, &[5]));
        assert_eq!(without_vectors.unwrap().1, None);
    }

    /// Drivers' defect 10: BAR range checked in 32 bits; a capability with a bad BAR, offset or
    /// length accepted.
    #[test]
    fn a_structure_that_passes_the_end_of_its_bar_is_refused() {
        let common = |offset: u32, len: u32| {
            spoilt(|fake| {
                fake.virtio(
                    COMMON_CAPABILITY,
                    NOTIFY_CAPABILITY,
                    CapabilityType::COMMON_CFG,
                    (4, offset, len),
                );
            })
        };
        let passes = fault("structure passes the end of its BAR");

        assert_eq!(common(REGISTERS_LEN, 64), passes);
        assert_eq!(common(REGISTERS_LEN - 60, 64), passes);
        assert_eq!(common(u32::MAX - 3, 64), passes);
        assert_eq!(common(64, u32::MAX), passes);
        assert_eq!(common(u32::MAX - 3, u32::MAX), passes);
        assert!(common(REGISTERS_LEN - 64, 64).is_ok());
    }

    #[test]
    fn vectors_that_pass_the_end_of_their_bar_are_refused() {
        let table = |table: u32| spoilt(|fake| fake.put(MSIX_CAPABILITY + 4, &table.to_le_bytes()));

        assert_eq!(
            table(0x0fc8 | 1),
            fault("structure passes the end of its BAR")
        );
        assert_eq!(table(!7 | 1), fault("structure passes the end of its BAR"));
        assert_eq!(table(2), fault("structure is in a BAR that is not there"));
        assert_eq!(table(7), fault("structure is in a BAR that is not there"));
        assert_eq!(table(0), fault("structure is in a BAR that is not there"));
        assert!(table(0x0fc0 | 1).is_ok());
    }

    #[test]
    fn a_capability_with_a_fault_is_refused_for_it() {
        let byte = |at: usize, byte: u8| spoilt(|fake| fake.put(at, &[byte]));
        let [bar, offset, length] = [4, 8, 12];

        for (spoilt, what) in [
            (byte(COMMON_CAPABILITY + 2, 15), "too short for what it is"),
            (byte(NOTIFY_CAPABILITY + 2, 16), "too short for what it is"),
            (
                byte(COMMON_CAPABILITY + offset, 2),
                "structure is misaligned",
            ),
            (
                byte(NOTIFY_CAPABILITY + offset, 1),
                "structure is misaligned",
            ),
            (
                byte(DEVICE_CAPABILITY + offset, 2),
                "structure is misaligned",
            ),
            (
                spoilt(|fake| fake.put(COMMON_CAPABILITY + length, &[55, 0])),
                "structure is too short",
            ),
            (
                spoilt(|fake| fake.put(NOTIFY_CAPABILITY + length, &[1, 0])),
                "structure is too short",
            ),
            (
                spoilt(|fake| fake.put(ISR_CAPABILITY + length, &[0, 0])),
                "structure is too short",
            ),
            (
                byte(COMMON_CAPABILITY + bar, 5),
                "structure is in a BAR that is not there",
            ),
            (
                byte(COMMON_CAPABILITY + bar, 2),
                "structure is in a BAR that is not there",
            ),
        ] {
            assert_eq!(spoilt, fault(what));
        }
        // The ISR status may be anywhere, and a configuration space may be empty.
        assert!(byte(ISR_CAPABILITY + offset, 1).is_ok());
        let empty = structures(|fake| fake.put(DEVICE_CAPABILITY + length, &[0]));
        assert_eq!(empty.device, None);
    }

    #[test]
    fn a_capability_that_passes_the_end_of_configuration_space_is_refused() {
        let last = |at: usize| {
            spoilt(|fake| {
                fake.put(NOTIFY_CAPABILITY + 3, &[7]);
                fake.put(DEVICE_CAPABILITY + 1, &[at as u8]);
                let bytes = [
                    9, 0, 20, 2, 4, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 0, 0, 8, 0, 0, 0,
                ];
                let room = bytes.len().min(SIZE - at);
                fake.put(at, &bytes[..room]);
            })
        };

        assert_eq!(last(SIZE - 20), layout(Fake::new()));
        assert_eq!(last(SIZE - 16), fault("too short for what it is"));
        assert_eq!(last(SIZE - 8), fault("too short for what it is"));
    }

    #[test]
    fn a_capability_that_cannot_be_used_is_passed_over_for_the_next() {
        for place in [
            (6, 0, 0x1000),
            (255, 0, 0x1000),
            (0, 0, 0x1000),
            (3, 0, 0x1000),
            (4, REGISTERS_LEN, 0x1000),
            (4, 2, 0x1000),
        ] {
            let found = spoilt(|fake| {
                let first = CapabilityType::COMMON_CFG;
                fake.virtio(FREE, MSIX_CAPABILITY, first, place);
                fake.put(CAPABILITIES_POINTER, &[FREE as u8]);
            });

            assert_eq!(found, layout(Fake::new()));
        }
    }

    #[test]
    fn regions_of_shared_memory_are_where_wide_offsets_and_lengths_say() {
        let (low, high) = (0xc000_0000_u32, 1_u32);
        let mut fake = Fake::new();
        fake.put(0x18, &0x10_0000_000c_u64.to_le_bytes());
        fake.allow(0x18, &(!0xf_ffff_ffff_u64).to_le_bytes());
        let shared = CapabilityType::SHARED_MEMORY_CFG;
        fake.virtio(FREE, MSIX_CAPABILITY, shared, (2, low, 0x1000));
        fake.put(FREE + 2, &[24]);
        fake.put(FREE + 5, &[7]);
        fake.put(FREE + 16, &high.to_le_bytes());
        fake.put(FREE + 20, &2_u32.to_le_bytes());
        fake.put(CAPABILITIES_POINTER, &[FREE as u8]);

        let found = layout(fake).unwrap().0.unwrap().shared;

        let region = SharedMemory {
            address: 0x11_c000_0000,
            len: 0x2_0000_1000,
        };
        assert_eq!(found.find(7), Some(region));
        assert_eq!(found.find(0), None);
    }

    /// Drivers' defect 10: BAR range checked in 32 bits.
    #[test]
    fn a_region_that_cannot_be_is_none_and_no_reason_to_refuse_the_device() {
        let region = |bar, offset: u64, len: u64, cap_len| {
            structures(|fake| {
                let shared = CapabilityType::SHARED_MEMORY_CFG;
                let low = (bar, offset as u32, len as u32);
                fake.virtio(FREE, MSIX_CAPABILITY, shared, low);
                fake.put(FREE + 2, &[cap_len]);
                fake.put(FREE + 16, &((offset >> 32) as u32).to_le_bytes());
                fake.put(FREE + 20, &((len >> 32) as u32).to_le_bytes());
                fake.put(CAPABILITIES_POINTER, &[FREE as u8]);
            })
            .shared
            .find(0)
            .is_some()
        };
        let all = u64::from(REGISTERS_LEN);

        assert!(region(4, 0, all, 24));
        assert!(!region(4, 0, all, 20));
        assert!(!region(4, 0, all + 1, 24));
        assert!(!region(4, 0, 0, 24));
        assert!(!region(4, 1 << 32, 0x1000, 24));
        assert!(!region(4, u64::MAX, 2, 24));
        assert!(!region(0, 0, 0x10, 24));
        assert!(!region(5, 0, 0x1000, 24));
        assert!(!region(6, 0, 0x1000, 24));
    }

    #[test]
    fn of_two_that_can_be_used_the_first_is() {
        let found = structures(|fake| {
            fake.virtio(FREE, MSIX_CAPABILITY, CapabilityType::ISR_CFG, (4, 0x40, 1));
            fake.put(CAPABILITIES_POINTER, &[FREE as u8]);
        });

        let isr = Place {
            space: Space::Memory,
            address: COMMON + 0x40,
            len: 1,
        };
        assert_eq!(found.isr, isr);
    }
}
