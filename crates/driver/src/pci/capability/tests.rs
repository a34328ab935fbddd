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
    let structure = |address, len: u32| Structure {
        place: Some(place(address, len.into())),
        target: None,
        len,
    };
    let expected = Layout {
        common: structure(COMMON, 0x1000),
        notify: structure(NOTIFY, 0x1000),
        notify_multiplier: NOTIFY_MULTIPLIER,
        isr: structure(ISR, 0x1000),
        device: Some(structure(CONFIG, 60)),
        shared: Regions::NONE,
    };
    let vectors = Table {
        capability: MSIX_CAPABILITY,
        vectors: 4,
        place: Some(place(TABLE, 64)),
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

/// §4.1.4.1: what is in one that is not known is not known either.
///
/// Clauses: drv:pci/virtio-structure-pci-capabilities:1
#[test]
fn a_capability_of_a_reserved_type_is_passed_over() {
    for reserved in [0, 6, 7, 10, 128, 255] {
        for place in [(4, 0x40, 0x1000), (255, u32::MAX, u32::MAX)] {
            let found = spoilt(|fake| {
                let first = CapabilityType(reserved);
                fake.virtio(FREE, MSIX_CAPABILITY, first, place);
                fake.put(CAPABILITIES_POINTER, &[FREE as u8]);
            });

            assert_eq!(found, layout(Fake::new()), "{reserved} {place:?}");
        }
    }
}

/// §4.1.4.1
///
/// Clauses: drv:pci/virtio-structure-pci-capabilities:3
#[test]
fn a_capability_may_be_longer_than_its_structure() {
    let longer = spoilt(|fake| {
        let mut link = MSIX_CAPABILITY + 1;
        for (at, from) in (FREE..).step_by(24).zip([
            COMMON_CAPABILITY,
            NOTIFY_CAPABILITY,
            ISR_CAPABILITY,
            DEVICE_CAPABILITY,
        ]) {
            let bytes = fake.header[from..from + 20].to_vec();
            fake.put(at, &bytes);
            fake.put(at + 1, &[0, 24]);
            fake.put(link, &[at as u8]);
            link = at + 1;
        }
    });

    assert!(longer.is_ok());
    assert_eq!(longer, layout(Fake::new()));
}

/// The least and the most that there can be, the number less one in 11 bits.
///
/// Clauses: drv:pci/op/init/msi-x-vector-cfg:1
#[test]
fn a_table_of_any_size_will_do() {
    for size in [0, 1, 2, 3, 0x7f, 0x100, 0x7fe, 0x7ff_u16] {
        let found = spoilt(|fake| {
            fake.put(0x14, &0xfe00_0000_u32.to_le_bytes());
            fake.allow(0x14, &0xffff_0000_u32.to_le_bytes());
            fake.put(MSIX_CAPABILITY + 2, &size.to_le_bytes());
        });

        let vectors = found.unwrap().1.map(|table| table.vectors);
        assert_eq!(vectors, Some(size + 1));
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
    assert_eq!(found.isr.place, Some(isr));
}
