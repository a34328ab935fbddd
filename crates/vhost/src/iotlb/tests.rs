use super::*;
use crate::ledger::Translate;
use crate::memory;
use crate::protocol::IotlbKind;
use ringway_ring::map::Regions;

const USER: u64 = 0x7f00_0000_0000;
const GUEST: u64 = 0x4000_0000;
const PAGE: u64 = 0x1000;

/// 16 pages of memory.
fn table() -> (Table, Shared) {
    let (file, shared) = memory::create("test", 16 * PAGE as usize).unwrap();
    let region = protocol::Region {
        guest_address: GUEST,
        size: 16 * PAGE,
        user_address: USER,
        file_offset: 0,
    };
    let mut table = Table::new();
    table.set(vec![(region, file)]).unwrap();
    (table, shared)
}

fn told(address: u64, page: u64, pages: u64, permissions: Permissions) -> protocol::Iotlb {
    protocol::Iotlb {
        address,
        size: pages * PAGE,
        user_address: USER + page * PAGE,
        permissions,
        kind: IotlbKind::Update,
    }
}

fn both() -> Permissions {
    Permissions::READ | Permissions::WRITE
}

#[test]
fn what_goes_on_on_both_sides_is_one_stretch_of_memory() {
    let (table, shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 3, 1, both()), &table).unwrap();
    iotlb.update(&told(0x9000, 4, 1, both()), &table).unwrap();
    iotlb.update(&told(0xa000, 7, 1, both()), &table).unwrap();
    shared.view().write(4 * PAGE as usize - 1, &[7, 8]).unwrap();

    let map = iotlb.map(&table);
    let regions = Regions::from(&map);

    let crossing = regions.shared(0x8fff, 2).unwrap();
    assert_eq!(crossing.view().read_value::<[u8; 2]>(0), Ok([7, 8]));
    assert!(regions.shared(0x9fff, 2).is_none(), "elsewhere in memory");
    assert_eq!(iotlb.missing(0x8000, 3 * PAGE, Access::Read), None);
    assert_eq!(
        iotlb.missing(0x8000, 3 * PAGE + 1, Access::Write),
        Some(0xb000)
    );
}

#[test]
fn a_translation_takes_the_place_of_those_that_it_overlaps() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 0, 4, both()), &table).unwrap();

    iotlb.update(&told(0x9000, 8, 1, both()), &table).unwrap();
    iotlb.invalidate(0x9fff, 1).unwrap();

    for gone in [0x8000, 0x9000, 0xb000] {
        assert_eq!(iotlb.missing(gone, 1, Access::Read), Some(gone));
    }
}

#[test]
fn a_translation_to_no_memory_or_of_no_bytes_or_for_nothing_is_refused() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();
    let mut refused = |told: &protocol::Iotlb| iotlb.update(told, &table).is_err();

    assert!(refused(&told(0x8000, 15, 2, both())));
    assert!(refused(&told(0x8000, 0, 0, both())));
    assert!(refused(&told(u64::MAX, 0, 1, both())));
    assert!(refused(&told(0x8000, 0, 1, Permissions::empty())));
    assert!(Iotlb::new().invalidate(u64::MAX, 2).is_err());
}

#[test]
fn more_translations_than_there_is_room_for_push_others_out() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();

    for nth in 0..ENTRIES_MAX as u64 + 10 {
        // Apart, so that no two go on.
        let told = told(nth * 2 * PAGE, nth % 16, 1, both());
        iotlb.update(&told, &table).unwrap();
    }

    assert_eq!(iotlb.entries.len(), ENTRIES_MAX);
    let newest = (ENTRIES_MAX as u64 + 9) * 2 * PAGE;
    assert_eq!(iotlb.missing(newest, PAGE, Access::ReadWrite), None);
}

#[test]
fn the_log_has_what_was_written_by_the_address_behind_the_iommu() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 3, 1, both()), &table).unwrap();
    iotlb.update(&told(0x9000, 9, 1, both()), &table).unwrap();

    let mut runs = Vec::new();
    GuestAddresses::new(&iotlb, &table).runs(0x8ff0, 0x20, &mut |at, len| runs.push((at, len)));

    let third = (GUEST + 3 * PAGE + 0xff0, 0x10);
    assert_eq!(runs, [third, (GUEST + 9 * PAGE, 0x10)]);
}

#[test]
fn what_is_translated_for_reading_is_missing_to_who_writes() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 0, 1, both()), &table).unwrap();
    let to_read = told(0x9000, 1, 1, Permissions::READ);
    iotlb.update(&to_read, &table).unwrap();

    let missing = |access| iotlb.missing(0x8000, 2 * PAGE, access);

    assert_eq!(missing(Access::Read), None);
    assert_eq!(missing(Access::Write), Some(0x9000));
    assert_eq!(missing(Access::ReadWrite), Some(0x9000));
}

#[test]
fn a_translation_to_memory_that_went_away_is_forgotten() {
    let (mut table, _shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 0, 1, both()), &table).unwrap();

    table.set(vec![]).unwrap();
    iotlb.keep_within(&table);

    assert_eq!(iotlb.missing(0x8000, 1, Access::Read), Some(0x8000));
}

#[test]
fn what_is_told_twice_is_known_unless_it_differs() {
    let (table, _shared) = table();
    let mut iotlb = Iotlb::new();
    iotlb.update(&told(0x8000, 2, 4, both()), &table).unwrap();

    let knows = |told: &protocol::Iotlb| iotlb.knows(told, &table);

    assert!(knows(&told(0x8000, 2, 4, both())) && knows(&told(0x9000, 3, 1, both())));
    assert!(!knows(&told(0x9000, 4, 1, both())) && !knows(&told(0x8000, 2, 5, both())));
    assert!(!knows(&told(0x9000, 3, 1, Permissions::READ)));
    assert!(!knows(&told(0x7000, 1, 1, both())));
}
