//! The device's end of a split ring against a driver that breaks the rules. Each test is a defect
//! that was found in a respected device.

use crate::common::{BUFFER_BYTES, BUFFERS, Pair, RING, segment};
use ringway_ring::device::{Chain, Queue, Violation};
use ringway_ring::driver::Areas;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

const START: u16 = 0xfffe;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Where a forged indirect table is.
const TABLE: u64 = BUFFERS + 0x8000;

fn next(pair: &Pair, device: &mut Queue) -> Result<Option<Chain>, Violation> {
    device.batch(&pair.map).next_chain()
}

/// What the device says of one forged chain, which begins at descriptor 0.
fn judged(pair: &Pair, features: Features) -> Result<Option<Chain>, Violation> {
    let mut device = pair.device(features, START);
    pair.forge_available(START, &[0]);
    next(pair, &mut device)
}

/// Devices' defect 3.
#[test]
fn a_chain_that_loops_is_a_violation() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, NEXT, 1);
    pair.forge_descriptor(1, BUFFERS, 8, NEXT, 0);

    assert_eq!(
        judged(&pair, Features::NONE).err(),
        Some(Violation::ChainTooLong(8))
    );
}

/// Devices' defect 3.
#[test]
fn a_chain_as_long_as_the_queue_is_taken_and_a_longer_one_through_a_table_is_not() {
    let pair = Pair::new(8, 0);
    for index in 0..8 {
        pair.forge_descriptor(
            index,
            BUFFERS,
            8,
            if index == 7 { 0 } else { NEXT },
            index + 1,
        );
    }
    let whole = judged(&pair, Features::NONE).unwrap().unwrap();
    pair.forge_descriptor(7, TABLE, 32, INDIRECT, 0);
    pair.forge_at(TABLE, BUFFERS, 8, NEXT, 1);
    pair.forge_at(TABLE + 16, BUFFERS, 8, 0, 0);
    let longer = judged(&pair, F::INDIRECT_DESC);

    assert_eq!(whole.readable_bytes(), 64);
    assert_eq!(longer.err(), Some(Violation::ChainTooLong(8)));
}

#[test]
fn an_indirect_table_that_loops_is_a_violation() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, TABLE, 32, INDIRECT, 0);
    pair.forge_at(TABLE, BUFFERS, 8, NEXT, 1);
    pair.forge_at(TABLE + 16, BUFFERS, 8, NEXT, 0);

    assert_eq!(
        judged(&pair, F::INDIRECT_DESC).err(),
        Some(Violation::ChainTooLong(8))
    );
}

/// Devices' defect 3.
#[test]
fn indirect_tables_have_rules_and_each_is_checked() {
    let cases = [
        (
            Features::NONE,
            32,
            INDIRECT,
            0,
            Violation::IndirectNotNegotiated,
        ),
        (
            F::INDIRECT_DESC,
            32,
            INDIRECT | NEXT,
            0,
            Violation::IndirectWithNext,
        ),
        (
            F::INDIRECT_DESC,
            32,
            INDIRECT,
            INDIRECT,
            Violation::IndirectInIndirect,
        ),
        (
            F::INDIRECT_DESC,
            0,
            INDIRECT,
            0,
            Violation::IndirectLength(0),
        ),
        (
            F::INDIRECT_DESC,
            24,
            INDIRECT,
            0,
            Violation::IndirectLength(24),
        ),
        (
            F::INDIRECT_DESC,
            9 * 16,
            INDIRECT,
            0,
            Violation::IndirectLength(9 * 16),
        ),
        (
            F::INDIRECT_DESC,
            u32::MAX - 15,
            INDIRECT,
            0,
            Violation::IndirectLength(u32::MAX - 15),
        ),
        (
            F::INDIRECT_DESC,
            32,
            INDIRECT,
            NEXT,
            Violation::DescriptorIndex { index: 2, size: 2 },
        ),
    ];
    for (features, len, flags, inner, violation) in cases {
        let pair = Pair::new(8, 0);
        pair.forge_descriptor(0, TABLE, len, flags, 0);
        pair.forge_at(TABLE, BUFFERS, 8, inner, 2);

        assert_eq!(judged(&pair, features).err(), Some(violation));
    }
}

/// Nothing asks that a table be aligned.
///
/// Clauses: dev:split/desc-table/indirect-desc:2
#[test]
fn a_table_is_walked_at_any_address_whatever_is_before_it() {
    for (offset, head) in (0..16).flat_map(|offset| [(offset, 0), (offset, 1)]) {
        let pair = Pair::new(8, 0);
        let table = TABLE + offset;
        pair.forge_descriptor(0, BUFFERS, 8, NEXT, 1);
        pair.forge_descriptor(1, table, 48, INDIRECT, 0);
        pair.forge_at(table, BUFFERS, 4, NEXT, 2);
        pair.forge_at(table + 16, BUFFERS, 1, WRITE, 0);
        pair.forge_at(table + 32, BUFFERS, 2, NEXT | WRITE, 1);
        let mut device = pair.device(F::INDIRECT_DESC, START);
        pair.forge_available(START, &[head, head]);

        let chain = next(&pair, &mut device).unwrap().unwrap();
        pair.forge_at(table + 16, BUFFERS, 1, NEXT | WRITE, 3);
        let further = next(&pair, &mut device);

        let readable = if head == 0 { 12 } else { 4 };
        let bytes = (chain.readable_bytes(), chain.writable_bytes());
        assert_eq!(bytes, (readable, 3));
        let violation = Violation::DescriptorIndex { index: 3, size: 3 };
        assert_eq!(further.err(), Some(violation));
    }
}

#[test]
fn a_table_that_is_where_the_ring_is_refers_to_no_other() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, pair.areas.descriptor, 128, INDIRECT, 0);

    assert_eq!(
        judged(&pair, F::INDIRECT_DESC).err(),
        Some(Violation::IndirectInIndirect)
    );
}

/// §2.7.5.3.2: the write flag of the descriptor that refers to a table is ignored.
///
/// Clauses: dev:split/desc-table/indirect-desc:1, dev:split/desc-table/indirect-desc:2
#[test]
fn the_write_flag_of_an_indirect_descriptor_is_ignored() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, NEXT, 1);
    pair.forge_descriptor(1, TABLE, 16, INDIRECT | WRITE, 0);
    pair.forge_at(TABLE, BUFFERS, 8, 0, 0);

    let chain = judged(&pair, F::INDIRECT_DESC).unwrap().unwrap();

    assert_eq!((chain.readable_bytes(), chain.writable_bytes()), (16, 0));
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
        let pair = Pair::new(8, 0);
        pair.forge_descriptor(0, address, len, 0, 0);

        assert_eq!(
            judged(&pair, Features::NONE).err(),
            Some(Violation::NotMapped { address, len })
        );
    }
}

#[test]
fn an_indirect_table_in_a_hole_is_a_violation() {
    let pair = Pair::new(8, 0);
    let address = BUFFERS + BUFFER_BYTES as u64 - 16;
    pair.forge_descriptor(0, address, 32, INDIRECT, 0);

    let violation = Violation::NotMapped { address, len: 32 };

    assert_eq!(judged(&pair, F::INDIRECT_DESC).err(), Some(violation));
}

/// Devices' defect 4.
#[test]
fn a_buffer_that_crosses_into_the_next_region_is_read_whole() {
    let pair = Pair::new(8, 0);
    let (low, high) = (
        Shared::allocate(64, 16).unwrap(),
        Shared::allocate(64, 16).unwrap(),
    );
    low.view().write(60, b"four").unwrap();
    high.view().write(0, b" more").unwrap();
    let regions = vec![
        Region {
            start: RING,
            memory: pair.ring.clone(),
        },
        Region {
            start: 0x100,
            memory: low,
        },
        Region {
            start: 0x140,
            memory: high,
        },
    ];
    let map = Map::new(regions).unwrap();
    let mut device = Queue::new(&map, 8, pair.areas, Features::NONE, START).unwrap();
    pair.forge_descriptor(0, 0x100 + 60, 9, 0, 0);
    pair.forge_available(START, &[0]);

    let mut batch = device.batch(&map);
    let chain = batch.next_chain().unwrap().unwrap();

    let mut bytes = [0; 9];
    batch.readable(&chain).read(&mut bytes).unwrap();
    assert_eq!(&bytes, b"four more");
}

#[test]
fn a_readable_descriptor_after_a_writable_one_is_a_violation() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, NEXT | WRITE, 1);
    pair.forge_descriptor(1, BUFFERS, 8, 0, 0);

    assert_eq!(
        judged(&pair, Features::NONE).err(),
        Some(Violation::ReadableAfterWritable)
    );
}

/// The longest chain there can be, over the same buffer again and again.
#[test]
fn a_chain_of_more_bytes_than_can_be_reported_is_a_violation() {
    let size = 32768;
    let pair = Pair::new(size, 0);
    for index in 0..size {
        let len = BUFFER_BYTES as u32;
        pair.forge_descriptor(
            index,
            BUFFERS,
            len,
            if index == size - 1 { 0 } else { NEXT },
            index + 1,
        );
    }
    let below = judged(&pair, Features::NONE).unwrap().unwrap();
    let half_more = Map::new(vec![
        Region {
            start: RING,
            memory: pair.ring.clone(),
        },
        Region {
            start: BUFFERS,
            memory: Shared::allocate(BUFFER_BYTES * 3, 4096).unwrap(),
        },
    ])
    .unwrap();
    for index in 0..size {
        let flags = if index == size - 1 { 0 } else { NEXT };
        pair.forge_descriptor(index, BUFFERS, BUFFER_BYTES as u32 * 3, flags, index + 1);
    }
    let mut device = Queue::new(&half_more, size, pair.areas, Features::NONE, START).unwrap();
    let above = device.batch(&half_more).next_chain();

    assert_eq!(
        below.readable_bytes(),
        u32::from(size) * BUFFER_BYTES as u32
    );
    assert_eq!(above.err(), Some(Violation::ChainTooLarge));
}

/// Devices' defect 8: an index out of range names nothing.
#[test]
fn a_head_or_next_outside_the_queue_is_a_violation() {
    let pair = Pair::new(8, 0);
    let mut device = pair.device(Features::NONE, START);
    pair.forge_available(START, &[8]);
    let head = next(&pair, &mut device);
    pair.forge_descriptor(0, BUFFERS, 8, NEXT, 0xffff);

    assert_eq!(
        head.err(),
        Some(Violation::DescriptorIndex { index: 8, size: 8 })
    );
    let violation = Violation::DescriptorIndex {
        index: 0xffff,
        size: 8,
    };
    assert_eq!(judged(&pair, Features::NONE).err(), Some(violation));
}

/// Devices' defect 8: an available index out of range is not followed.
#[test]
fn an_available_index_beyond_the_queue_is_a_violation() {
    for moved in [9_u16, 0x8000, 0xffff] {
        let pair = Pair::new(8, 0);
        let mut device = pair.device(Features::NONE, START);
        pair.forge.set_available_index(START.wrapping_add(moved));

        let judged = next(&pair, &mut device);

        assert_eq!(
            judged.err(),
            Some(Violation::AvailableTooFar { moved, size: 8 })
        );
    }
}

/// Devices' defect 3: A driver that makes chains available again before they were completed does
/// not make the device hold more than the ring has.
#[test]
fn more_chains_in_flight_than_the_ring_has_is_a_violation() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, 0, 0);
    let mut device = pair.device(Features::NONE, START);
    pair.forge_available(START, &[0; 8]);
    let held: Vec<_> = (0..8)
        .map(|_| next(&pair, &mut device).unwrap().unwrap())
        .collect();

    pair.forge_available(START.wrapping_add(8), &[0]);
    let ninth = next(&pair, &mut device);

    assert_eq!((held.len(), device.in_flight()), (8, 8));
    assert_eq!(ninth.err(), Some(Violation::TooManyInFlight(8)));
}

/// Devices' defect 2: A descriptor, and the length of a table, is read once: what the driver makes
/// of it afterwards changes nothing.
#[test]
fn descriptors_and_tables_that_change_after_the_walk_change_nothing() {
    let pair = Pair::new(8, 0);
    pair.buffers.view().write(0, b"checked!").unwrap();
    pair.forge_descriptor(0, TABLE, 32, INDIRECT, 0);
    pair.forge_at(TABLE, BUFFERS, 8, NEXT, 1);
    pair.forge_at(TABLE + 16, BUFFERS + 64, 4, WRITE, 0);
    let mut device = pair.device(F::INDIRECT_DESC, START);
    pair.forge_available(START, &[0]);
    let mut batch = device.batch(&pair.map);
    let chain = batch.next_chain().unwrap().unwrap();

    pair.forge_descriptor(0, u64::MAX, u32::MAX, INDIRECT, 0);
    pair.forge_at(TABLE, u64::MAX, u32::MAX, NEXT, 0);
    pair.forge_at(TABLE + 16, u64::MAX, u32::MAX, WRITE, 0);

    let mut bytes = [0; 8];
    batch.readable(&chain).read(&mut bytes).unwrap();
    assert_eq!(&bytes, b"checked!");
    assert_eq!(chain.writable_bytes(), 4);
    assert!(batch.writable(&chain).write(b"12345").is_err());
    batch.writable(&chain).write(b"1234").unwrap();
}

/// A batch ends, even if the driver never stops adding chains while it runs.
#[test]
fn a_driver_that_never_stops_adding_does_not_keep_a_batch_for_ever() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, 0, 0);
    let mut device = pair.device(Features::NONE, START);
    let mut batch = device.batch(&pair.map);
    let mut taken = 0_u16;

    loop {
        pair.forge_available(START.wrapping_add(taken), &[0]);
        let Some(chain) = batch.next_chain().unwrap() else {
            break;
        };
        taken += 1;
        batch.complete(chain, 0);
    }

    drop(batch);
    assert_eq!(taken, 8);
    assert!(device.arm(), "the rest is there to be taken");
}

/// Devices' defect 7: a length beyond what there is room for is not told.
#[test]
fn no_more_is_claimed_to_be_written_than_there_is_room_for() {
    let pair = Pair::new(8, 0);
    pair.forge_descriptor(0, BUFFERS, 8, WRITE, 0);
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
    let pair = Pair::new(8, 0);
    let made = |size, areas| Queue::new(&pair.map, size, areas, Features::NONE, START).err();
    let good = pair.areas;

    assert_eq!(made(8, good), None);
    for size in [0, 3, 0x8001, 0xffff] {
        assert_eq!(made(size, good), Some(Violation::Size(size)));
    }
    let misaligned = Areas {
        descriptor: good.descriptor + 8,
        ..good
    };
    assert_eq!(
        made(8, misaligned),
        Some(Violation::Area(misaligned.descriptor))
    );
    let misaligned = Areas {
        device: good.device + 2,
        ..good
    };
    assert_eq!(
        made(8, misaligned),
        Some(Violation::Area(misaligned.device))
    );
    let outside = Areas {
        driver: u64::MAX - 1,
        ..good
    };
    assert_eq!(made(8, outside), Some(Violation::Area(outside.driver)));
    assert_eq!(made(32768, good), Some(Violation::Area(good.descriptor)));
}
