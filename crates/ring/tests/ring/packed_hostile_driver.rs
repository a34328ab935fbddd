//! The device's end of a packed ring against a driver that breaks the rules. Each test is a defect
//! that was found in a respected device.

use crate::common::{BUFFER_BYTES, BUFFERS, Pair, RING, segment};
use ringway_ring::device::{Chain, Queue, Violation};
use ringway_ring::driver::Areas;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

/// No power of two.
const SIZE: u16 = 5;
/// The last descriptor of the first lap: what is made available next goes on in the second.
const START: u16 = SIZE - 1;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Where a forged indirect table is.
const TABLE: u64 = BUFFERS + 0x8000;

/// Makes the descriptor available that is the `passed`th since the ring was new.
fn forge(pair: &Pair, passed: u16, addr: u64, len: u32, flags: u16) {
    let size = pair.geometry.size();
    let turn = if (passed / size).is_multiple_of(2) {
        0x80
    } else {
        0x8000
    };
    pair.forge_packed(passed % size, addr, len, 0x1234, flags | turn);
}

fn next(pair: &Pair, device: &mut Queue) -> Result<Option<Chain>, Violation> {
    device.batch(&pair.map).next_chain()
}

/// What the device says of what begins at the start.
fn judged(pair: &Pair, features: Features) -> Result<Option<Chain>, Violation> {
    next(pair, &mut pair.device(features, START))
}

/// Devices' defect 3. There is no loop in a packed ring but the ring itself.
#[test]
fn a_chain_that_goes_round_the_ring_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    for passed in START..START + SIZE {
        forge(&pair, passed, BUFFERS, 8, NEXT);
    }

    let judged = judged(&pair, Features::NONE);

    assert_eq!(judged.err(), Some(Violation::ChainTooLong(SIZE)));
}

/// Devices' defect 3.
#[test]
fn a_chain_as_long_as_the_queue_is_taken() {
    let pair = Pair::packed(SIZE, 0);
    for passed in START..START + SIZE {
        let flags = if passed == START + SIZE - 1 { 0 } else { NEXT };
        forge(&pair, passed, BUFFERS, 8, flags);
    }

    let whole = judged(&pair, Features::NONE).unwrap().unwrap();

    assert_eq!(whole.readable_bytes(), 40);
}

/// §2.8.15: a descriptor is not used unless it was made available: neither one that was never
/// written nor one of the lap before.
///
/// Clauses: dev:packed/desc-table:2
#[test]
fn a_chain_that_goes_on_where_nothing_was_made_available_is_a_violation() {
    for stale in [0, 0x80, 0x8080] {
        let pair = Pair::packed(SIZE, 0);
        forge(&pair, START, BUFFERS, 8, NEXT);
        pair.forge_packed(0, BUFFERS, 8, 0, stale);

        let judged = judged(&pair, Features::NONE);

        assert_eq!(judged.err(), Some(Violation::NotAvailable(0)), "{stale:#x}");
    }
}

/// Clauses: dev:packed/desc-table:2
#[test]
fn descriptors_of_another_lap_are_no_chain() {
    for (start, flags) in [
        (START, 0),
        (START, 0x8000),
        (START, 0x8080),
        (9, 0x80),
        (9, 0),
    ] {
        let pair = Pair::packed(SIZE, 0);
        pair.forge_packed(4, BUFFERS, 8, 0, flags);
        let mut device = pair.device(Features::NONE, start);

        assert!(next(&pair, &mut device).unwrap().is_none(), "{flags:#x}");
        assert!(!device.arm());
    }
}

/// Devices' defect 3.
#[test]
fn indirect_tables_have_rules_and_each_is_checked() {
    let indirect = F::INDIRECT_DESC;
    let cases = [
        (Features::NONE, 32, 0, 0, Violation::IndirectNotNegotiated),
        (indirect, 32, NEXT, 0, Violation::IndirectWithNext),
        (indirect, 32, 0, INDIRECT, Violation::IndirectInIndirect),
        (indirect, 0, 0, 0, Violation::IndirectLength(0)),
        (indirect, 24, 0, 0, Violation::IndirectLength(24)),
        (indirect, 96, 0, 0, Violation::IndirectLength(96)),
        (
            indirect,
            u32::MAX - 15,
            0,
            0,
            Violation::IndirectLength(u32::MAX - 15),
        ),
    ];
    for (features, len, flags, inner, violation) in cases {
        let pair = Pair::packed(SIZE, 0);
        forge(&pair, START, TABLE, len, flags | INDIRECT);
        forge(&pair, START + 1, BUFFERS, 8, 0);
        pair.forge_at(TABLE, BUFFERS, 8, inner, 0);

        assert_eq!(judged(&pair, features).err(), Some(violation));
    }
}

/// §2.8.19: a list has tables or elements, and of tables no more than one.
#[test]
fn a_table_after_another_descriptor_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    forge(&pair, START, BUFFERS, 8, NEXT);
    forge(&pair, START + 1, TABLE, 16, INDIRECT);

    let judged = judged(&pair, F::INDIRECT_DESC);

    assert_eq!(judged.err(), Some(Violation::IndirectWithNext));
}

/// §2.8.7: the write flag of the descriptor that refers to a table is ignored; in the table, the
/// order is that of the table, whatever NEXT, the ids and the other flags say.
#[test]
fn a_table_is_read_in_its_order_and_reserved_flags_are_ignored() {
    let pair = Pair::packed(SIZE, 0);
    forge(&pair, START, TABLE, 48, INDIRECT | WRITE);
    pair.forge_at(TABLE, BUFFERS, 8, 0, 0xffff);
    pair.forge_at(TABLE + 16, BUFFERS, 4, NEXT | 0x8080, 0);
    pair.forge_at(TABLE + 32, BUFFERS, 2, WRITE, 0);

    let chain = judged(&pair, F::INDIRECT_DESC).unwrap().unwrap();

    let readable = chain.readable_bytes();
    assert_eq!((readable, chain.writable_bytes()), (12, 2));
}

/// Nothing asks that a table be aligned.
#[test]
fn a_table_is_walked_at_any_address() {
    for (offset, size) in (0..16).flat_map(|offset| [(offset, SIZE), (offset, 8)]) {
        let pair = Pair::packed(size, 0);
        let table = TABLE + offset;
        forge(&pair, 0, table, 32, INDIRECT);
        pair.forge_at(table, BUFFERS, 8, 0, 0);
        pair.forge_at(table + 16, BUFFERS, 2, WRITE, 0);

        let chain = next(&pair, &mut pair.device(F::INDIRECT_DESC, 0)).unwrap();

        let bytes = chain.map(|chain| (chain.readable_bytes(), chain.writable_bytes()));
        assert_eq!(bytes, Some((8, 2)));
    }
}

/// Devices' defect 4.
#[test]
fn a_buffer_in_a_hole_or_past_the_last_address_is_a_violation() {
    let end = BUFFERS + BUFFER_BYTES as u64;
    for (address, len) in [
        (0, 1),
        (end, 1),
        (end - 8, 9),
        (u64::MAX, 2),
        (u64::MAX - 7, 8),
        (RING - 1, 2),
    ] {
        let pair = Pair::packed(SIZE, 0);
        forge(&pair, START, address, len, 0);

        let violation = Violation::NotMapped { address, len };

        assert_eq!(judged(&pair, Features::NONE).err(), Some(violation));
    }
}

/// Devices' defect 4.
#[test]
fn an_indirect_table_in_a_hole_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    let address = BUFFERS + BUFFER_BYTES as u64 - 16;
    forge(&pair, START, address, 32, INDIRECT);

    let violation = Violation::NotMapped { address, len: 32 };

    assert_eq!(judged(&pair, F::INDIRECT_DESC).err(), Some(violation));
}

/// Devices' defect 4.
#[test]
fn a_buffer_that_crosses_into_the_next_region_is_read_whole() {
    let pair = Pair::packed(SIZE, 0);
    let region = |start, memory| Region { start, memory };
    let low = Shared::allocate(64, 16).unwrap();
    let high = Shared::allocate(64, 16).unwrap();
    low.view().write(60, b"four").unwrap();
    high.view().write(0, b" more").unwrap();
    let ring = region(RING, pair.ring.clone());
    let map = Map::new(vec![ring, region(0x100, low), region(0x140, high)]).unwrap();
    let features = pair.features(Features::NONE);
    let mut device = Queue::new(&map, SIZE, pair.areas, features, START).unwrap();
    forge(&pair, START, 0x100 + 60, 9, 0);

    let mut batch = device.batch(&map);
    let chain = batch.next_chain().unwrap().unwrap();

    let mut bytes = [0; 9];
    batch.readable(&chain).read(&mut bytes).unwrap();
    assert_eq!(&bytes, b"four more");
}

#[test]
fn a_readable_descriptor_after_a_writable_one_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    forge(&pair, START, BUFFERS, 8, NEXT | WRITE);
    forge(&pair, START + 1, BUFFERS, 8, 0);

    let judged = judged(&pair, Features::NONE);

    assert_eq!(judged.err(), Some(Violation::ReadableAfterWritable));
}

/// Over the same buffers again and again, in a ring as long as there can be.
#[test]
fn a_chain_of_more_bytes_than_can_be_reported_is_a_violation() {
    let size = 32768;
    let pair = Pair::packed(size, 0);
    let buffers = Region {
        start: BUFFERS,
        memory: Shared::allocate(BUFFER_BYTES * 3, 4096).unwrap(),
    };
    let ring = Region {
        start: RING,
        memory: pair.ring.clone(),
    };
    let map = Map::new(vec![ring, buffers]).unwrap();
    let features = pair.features(Features::NONE);
    for passed in START..START + size {
        let flags = if passed == START + size - 1 { 0 } else { NEXT };
        forge(&pair, passed, BUFFERS, BUFFER_BYTES as u32 * 3, flags);
    }
    let mut device = Queue::new(&map, size, pair.areas, features, START).unwrap();

    let taken = device.batch(&map).next_chain();

    assert_eq!(taken.err(), Some(Violation::ChainTooLarge));
}

/// Devices' defect 3: A driver that makes descriptors available again before they were used does
/// not make the device hold more than the ring has.
#[test]
fn more_descriptors_in_flight_than_the_ring_has_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    let mut device = pair.device(Features::NONE, START);
    let held: Vec<_> = (START..START + SIZE)
        .map(|passed| {
            forge(&pair, passed, BUFFERS, 8, 0);
            next(&pair, &mut device).unwrap().unwrap()
        })
        .collect();

    forge(&pair, START + SIZE, BUFFERS, 8, 0);
    let sixth = next(&pair, &mut device);

    assert_eq!((held.len(), device.in_flight()), (5, 5));
    assert_eq!(sixth.err(), Some(Violation::TooManyInFlight(SIZE)));
}

/// Devices' defect 3: the same with chains of several.
#[test]
fn a_chain_over_descriptors_in_flight_is_a_violation() {
    let pair = Pair::packed(SIZE, 0);
    let mut device = pair.device(Features::NONE, START);
    let mut three_from = |first: u16| {
        for (passed, flags) in (first..).zip([NEXT, NEXT, 0]) {
            forge(&pair, passed, BUFFERS, 8, flags);
        }
        next(&pair, &mut device)
    };

    let three = three_from(START);
    let three_more = three_from(START + 3);

    assert!(three.unwrap().is_some());
    assert_eq!(three_more.err(), Some(Violation::TooManyInFlight(SIZE)));
}

/// Devices' defect 2: A descriptor, and the length of a table, is read once: what the driver makes
/// of it afterwards changes nothing.
#[test]
fn descriptors_and_tables_that_change_after_the_walk_change_nothing() {
    let pair = Pair::packed(SIZE, 0);
    pair.buffers.view().write(0, b"checked!").unwrap();
    forge(&pair, START, TABLE, 32, INDIRECT);
    pair.forge_at(TABLE, BUFFERS, 8, 0, 0);
    pair.forge_at(TABLE + 16, BUFFERS + 64, 4, WRITE, 0);
    let mut device = pair.device(F::INDIRECT_DESC, START);
    let mut batch = device.batch(&pair.map);
    let chain = batch.next_chain().unwrap().unwrap();

    pair.forge_packed(4, u64::MAX, u32::MAX, 0xffff, 0xffff);
    pair.forge_at(TABLE, u64::MAX, u32::MAX, 0, 0);
    pair.forge_at(TABLE + 16, u64::MAX, u32::MAX, WRITE, 0);

    let mut bytes = [0; 8];
    batch.readable(&chain).read(&mut bytes).unwrap();
    assert_eq!(&bytes, b"checked!");
    assert_eq!(chain.writable_bytes(), 4);
    assert!(batch.writable(&chain).write(b"12345").is_err());
    batch.writable(&chain).write(b"1234").unwrap();
    batch.complete(chain, 4);
    drop(batch);
    let used = pair.descriptor(4);
    assert_eq!((used.other, used.len), (0x1234, 4));
    assert_eq!(used.flags, 0x8080 | WRITE);
}

/// A batch ends, even if the driver never stops adding chains while it runs.
#[test]
fn a_driver_that_never_stops_adding_does_not_keep_a_batch_for_ever() {
    let pair = Pair::packed(SIZE, 0);
    let mut device = pair.device(Features::NONE, START);
    let mut batch = device.batch(&pair.map);
    let mut passed = START;

    loop {
        forge(&pair, passed, BUFFERS, 8, 0);
        let Some(chain) = batch.next_chain().unwrap() else {
            break;
        };
        passed += 1;
        batch.complete(chain, 0);
        batch.publish();
    }

    drop(batch);
    assert_eq!(passed - START, SIZE);
    assert!(device.arm(), "the rest is there to be taken");
}

/// Devices' defect 7: a length beyond what there is room for is not told.
#[test]
fn no_more_is_claimed_to_be_written_than_there_is_room_for() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver::<()>(Features::NONE, START);
    driver.submit(&[], &[segment(0, 8)], ()).unwrap();
    driver.kick_needed();
    let mut device = pair.device(Features::NONE, START);
    let mut batch = device.batch(&pair.map);

    let chain = batch.next_chain().unwrap().unwrap();
    batch.complete(chain, u32::MAX);
    drop(batch);

    assert_eq!(driver.poll().unwrap().unwrap().written, 8);
}

/// Devices' defect 8: a size or an address that cannot be makes no queue.
#[test]
fn a_queue_that_cannot_be_is_refused() {
    let pair = Pair::packed(SIZE, 0);
    let features = pair.features(Features::NONE);
    let made = |size, areas| Queue::new(&pair.map, size, areas, features, START).err();
    let good = pair.areas;

    assert_eq!(made(SIZE, good), None);
    for size in [0, 0x8001, 0xffff] {
        assert_eq!(made(size, good), Some(Violation::Size(size)));
    }
    for (areas, bad) in [
        (
            Areas {
                descriptor: good.descriptor + 8,
                ..good
            },
            good.descriptor + 8,
        ),
        (
            Areas {
                device: good.device + 2,
                ..good
            },
            good.device + 2,
        ),
        (
            Areas {
                driver: u64::MAX - 3,
                ..good
            },
            u64::MAX - 3,
        ),
    ] {
        assert_eq!(made(SIZE, areas), Some(Violation::Area(bad)));
    }
    assert_eq!(made(32768, good), Some(Violation::Area(good.descriptor)));
}
