//! What each end of a packed ring writes, and when, clause by clause: seen from the other side, in
//! memory.

use crate::common::{BUFFERS, Pair, segment};
use ringway_check::hostile::Descriptor;
use ringway_ring::driver::Refusal;
use ringway_spec::packed::EVENT_WRAP;
use ringway_spec::{F, Features};

/// No power of two.
const SIZE: u16 = 5;
/// The last descriptor of the first lap: what is made available next goes on in the second.
const START: u16 = SIZE - 1;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
const AVAIL: u16 = 0x80;
const USED: u16 = 0x8000;

/// The descriptor that is the `passed`th since the ring was new.
fn descriptor(pair: &Pair, passed: u16) -> Descriptor {
    pair.descriptor(passed % pair.geometry.size())
}

/// Whether a device takes it for one that was made available.
fn is_available(pair: &Pair, passed: u16) -> bool {
    let odd = !(passed / pair.geometry.size()).is_multiple_of(2);
    let flags = if odd { USED } else { AVAIL };
    descriptor(pair, passed).flags & (AVAIL | USED) == flags
}

/// Clauses: drv:packed/scatter-gather-support:6
#[test]
fn the_first_descriptor_of_a_list_is_made_available_after_all_others_are_written() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);

    driver
        .submit(&[segment(0, 8), segment(8, 8)], &[segment(16, 8)], ())
        .unwrap();
    let seen = [0, 1, 2].map(|at| is_available(&pair, START + at));
    driver.kick_needed();

    assert_eq!(seen, [false, true, true]);
    assert!(is_available(&pair, START));
}

/// Clauses: drv:packed/scatter-gather-support:3
#[test]
fn readable_elements_come_before_writable_ones_in_the_ring_and_in_a_table() {
    let readable = [segment(0, 8), segment(8, 8)];
    let writable = [segment(16, 8), segment(24, 8)];
    for table in [0, 4] {
        let pair = Pair::packed(SIZE, table);
        let mut driver = pair.driver(F::INDIRECT_DESC, START);

        driver.submit(&readable, &writable, ()).unwrap();
        driver.kick_needed();

        let elements: Vec<_> = if table == 0 {
            (0..4).map(|at| descriptor(&pair, START + at)).collect()
        } else {
            let at = descriptor(&pair, START).address;
            let entries = (0..4).map(|entry| pair.forge.descriptor(at + 16 * entry));
            entries.collect()
        };
        let addresses: Vec<_> = elements.iter().map(|it| it.address - BUFFERS).collect();
        let writes: Vec<_> = elements.iter().map(|it| it.flags & WRITE).collect();
        assert_eq!(addresses, [0, 8, 16, 24], "table of {table}");
        assert_eq!(writes, [0, 0, WRITE, WRITE], "table of {table}");
    }
}

/// Clauses: drv:packed/desc-table/indirect-desc:1
#[test]
fn there_is_no_table_that_was_not_agreed_on() {
    let pair = Pair::packed(SIZE, SIZE);
    let mut driver = pair.driver(Features::NONE, START);

    driver.submit(&[segment(0, 8); 3], &[], ()).unwrap();
    driver.kick_needed();

    let turns = AVAIL | USED;
    let flags = [0, 1, 2].map(|at| descriptor(&pair, START + at).flags & !turns);
    assert_eq!(flags, [NEXT, NEXT, 0]);
}

/// A list beside a table, in either order: no list has a table in it.
///
/// Clauses: drv:packed/desc-table/indirect-desc:4
#[test]
fn a_table_is_a_list_of_its_own() {
    let pair = Pair::packed(SIZE, 2);
    let mut driver = pair.driver(F::INDIRECT_DESC, START);

    driver.submit(&[segment(0, 8); 2], &[], ()).unwrap();
    driver.submit(&[segment(0, 8); 3], &[], ()).unwrap();
    driver.submit(&[segment(0, 8)], &[], ()).unwrap();
    driver.kick_needed();

    let turns = AVAIL | USED;
    let flags = [0, 1, 2, 3, 4].map(|at| descriptor(&pair, START + at).flags & !turns);
    assert_eq!(flags, [INDIRECT, NEXT, NEXT, 0, 0]);
}

/// §2.8.17: nothing of a list is written before there is room for all of it; the device needs to use
/// nothing for that.
///
/// Clauses: drv:packed/scatter-gather-support:4, drv:packed/scatter-gather-support:5
#[test]
fn a_list_that_does_not_fit_is_not_begun() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);
    driver.submit(&[segment(0, 8); 3], &[], ()).unwrap();
    driver.kick_needed();
    let ring = || [0, 1, 2, 3, 4].map(|at| pair.descriptor(at));
    let before = ring();

    let rejected = driver.submit(&[segment(0, 8); 3], &[], ()).unwrap_err();
    driver.kick_needed();

    assert_eq!((rejected.why, ring()), (Refusal::Full, before));
    assert_eq!(driver.notification_data(), 2);
}

/// Clauses: drv:packed/scatter-gather-support:2
#[test]
fn a_list_longer_than_the_ring_is_refused() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);

    let rejected = driver.submit(&[segment(0, 8); 6], &[], ()).unwrap_err();

    let limit = SIZE;
    assert_eq!(rejected.why, Refusal::TooLong { segments: 6, limit });
    assert!((0..SIZE).all(|at| pair.descriptor(at).flags == 0));
}

/// §2.8.15: neither those that the device has, nor those that it used and the driver has not seen.
///
/// Clauses: drv:packed/desc-table:1, drv:packed/desc-table:2
#[test]
fn a_descriptor_is_not_written_again_before_it_was_seen_to_be_used() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    for at in 0..5 {
        driver.submit(&[], &[segment(at * 8, 8)], at).unwrap();
    }
    driver.kick_needed();
    let ring = || [0, 1, 2, 3, 4].map(|at| pair.descriptor(at));
    let full = ring();
    let there = full.map(|descriptor| descriptor.address - BUFFERS);

    let while_full = driver.submit(&[segment(64, 8)], &[], 5).unwrap_err().why;
    driver.kick_needed();
    let unchanged = ring();
    let mut batch = device.batch(&pair.map);
    let chain = batch.next_chain().unwrap().unwrap();
    batch.complete(chain, 8);
    drop(batch);
    let used = ring();
    let unseen = driver.submit(&[segment(64, 8)], &[], 5).unwrap_err().why;
    driver.kick_needed();

    assert_eq!(there, [8, 16, 24, 32, 0], "each has one of its own");
    assert_eq!((while_full, unseen), (Refusal::Full, Refusal::Full));
    assert_eq!((unchanged, ring()), (full, used));
    assert_eq!(driver.poll().unwrap().unwrap().owner, 0);
    driver.submit(&[segment(64, 8)], &[], 5).unwrap();
    driver.kick_needed();
    let others = |ring: [Descriptor; 5]| [ring[0], ring[1], ring[2], ring[3]];
    assert_eq!(others(ring()), others(used), "four are still the device's");
    assert_eq!(pair.descriptor(4).address, BUFFERS + 64);
}

/// §2.9: the offset and the wrap counter of the next descriptor that will be made available.
///
/// Clauses: drv:packed/desc-table:3
#[test]
fn a_notification_says_where_the_next_descriptor_will_be() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START - 1);
    let mut device = pair.device(Features::NONE, START - 1);
    let mut passed = START - 1;

    for len in [1, 3, 2, 5, 1, 4] {
        driver
            .submit(&[segment(0, 8); 5][..usize::from(len)], &[], ())
            .unwrap();
        driver.kick_needed();
        passed += len;

        let wrap = if (passed / SIZE).is_multiple_of(2) {
            EVENT_WRAP
        } else {
            0
        };
        assert_eq!(driver.notification_data(), (passed % SIZE) | wrap);
        let mut batch = device.batch(&pair.map);
        let chain = batch.next_chain().unwrap().unwrap();
        batch.complete(chain, 0);
        drop(batch);
        driver.poll().unwrap().unwrap();
    }
}

/// Clauses: dev:packed:1, dev:packed/scatter-gather-support:1
#[test]
fn lists_are_taken_in_the_order_of_the_ring_and_their_elements_in_that_of_the_list() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    pair.buffers.view().write(0, b"abcdef").unwrap();
    let element = |at| segment(at, 1);
    driver
        .submit(&[element(2), element(0), element(1)], &[], ())
        .unwrap();
    driver.submit(&[element(5), element(4)], &[], ()).unwrap();
    driver.kick_needed();

    let mut batch = device.batch(&pair.map);
    let mut read = Vec::new();
    while let Some(chain) = batch.next_chain().unwrap() {
        let mut bytes = vec![0; chain.readable_bytes() as usize];
        batch.readable(&chain).read(&mut bytes).unwrap();
        read.push(bytes);
        batch.complete(chain, 0);
    }

    assert_eq!(read, [b"cab".to_vec(), b"fe".to_vec()]);
}

/// Each used descriptor stands where the last one's list ended.
///
/// Clauses: dev:packed:2
#[test]
fn used_descriptors_are_written_in_the_order_of_completion() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    let lens = [2, 1, 2];
    let ids = lens.map(|len| {
        let token = driver.submit(&[], &[segment(0, 8); 2][..len], ());
        token.unwrap().id()
    });
    driver.kick_needed();

    let mut batch = device.batch(&pair.map);
    let [first, second, third] = [(); 3].map(|()| batch.next_chain().unwrap().unwrap());
    for chain in [third, first, second] {
        batch.complete(chain, 1);
    }
    drop(batch);

    let used = [0, 2, 4].map(|at| descriptor(&pair, START + at).other);
    assert_eq!(used, [ids[2], ids[0], ids[1]]);
}

/// §2.8.15: the driver may have made something else of it.
///
/// Clauses: dev:packed/desc-table:3
#[test]
fn a_descriptor_that_was_given_back_is_left_alone() {
    let pair = Pair::packed(SIZE, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    for at in 0..2 {
        driver.submit(&[], &[segment(at * 8, 8)], ()).unwrap();
    }
    driver.kick_needed();
    let mut batch = device.batch(&pair.map);
    let [first, second] = [(); 2].map(|()| batch.next_chain().unwrap().unwrap());
    batch.complete(first, 8);
    batch.publish();

    pair.forge_packed(START, 0xdead, 77, 3, AVAIL);
    batch.publish();
    batch.complete(second, 8);
    drop(batch);
    device.interrupt_needed();
    device.arm();

    let left = pair.descriptor(START);
    assert_eq!((left.address, left.len, left.flags), (0xdead, 77, AVAIL));
}
