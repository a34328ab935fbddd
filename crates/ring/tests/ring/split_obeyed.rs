//! What each end of a split ring writes, and what it listens to, clause by clause: seen from the
//! other side, in memory.

use crate::common::{BUFFERS, Pair, segment};
use ringway_ring::driver::{Queue, Refusal, Segment};
use ringway_spec::{F, Features};

const START: u16 = 0xfffe;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The head that the driver made available `passed` chains after the start.
fn head(pair: &Pair, passed: u16) -> u16 {
    let size = pair.geometry.size();
    pair.forge.available(START.wrapping_add(passed) % size)
}

/// The descriptors of the chain that begins at `head`, as a device walks it; no more than the queue
/// has.
fn chain(pair: &Pair, head: u16) -> Vec<(u16, u16)> {
    let mut at = head;
    let mut walked = Vec::new();
    for _ in 0..pair.geometry.size() {
        let descriptor = pair.descriptor(at);
        walked.push((at, descriptor.flags));
        if descriptor.flags & NEXT == 0 {
            break;
        }
        at = descriptor.other;
    }
    walked
}

/// The flags in the used ring, which no forge shows.
fn used_flags(pair: &Pair) -> u16 {
    u16::from_le_bytes(pair.forge.read(pair.areas.device))
}

/// Has the device take `count` chains and give them back.
fn serve(pair: &Pair, device: &mut ringway_ring::device::Queue, count: usize) {
    let mut batch = device.batch(&pair.map);
    for _ in 0..count {
        let chain = batch.next_chain().unwrap().unwrap();
        batch.complete(chain, 0);
    }
}

/// Clauses: drv:split/message-framing:1
#[test]
fn readable_descriptors_come_before_writable_ones_in_the_ring_and_in_a_table() {
    let readable = [segment(0, 8), segment(8, 8)];
    let writable = [segment(16, 8), segment(24, 8)];
    let expected = [NEXT, NEXT, NEXT | WRITE, WRITE];
    for table in [0, 4] {
        let pair = Pair::new(8, table);
        let mut driver = pair.driver(F::INDIRECT_DESC, START);

        driver.submit(&readable, &writable, ()).unwrap();
        driver.kick_needed();

        let flags: Vec<u16> = if table == 0 {
            let walked = chain(&pair, head(&pair, 0));
            walked.into_iter().map(|(_, flags)| flags).collect()
        } else {
            let at = pair.descriptor(head(&pair, 0)).address;
            let entries = (0..4).map(|entry| pair.forge.descriptor(at + 16 * entry));
            entries.map(|entry| entry.flags).collect()
        };
        assert_eq!(flags, expected, "table of {table}");
    }
}

/// §2.7.5.2: chains of one descriptor and of several, taken back in another order than that of the
/// table, never meet themselves again, nor another one.
///
/// Clauses: drv:split/desc-table:1
#[test]
fn chains_end_and_no_two_in_flight_share_a_descriptor() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);

    for round in 0..20_u16 {
        let lens = [1, 3, 2, 2];
        for len in lens {
            driver.submit(&[segment(0, 8); 3][..len], &[], ()).unwrap();
        }
        driver.kick_needed();
        let chains = (0..4).map(|passed| chain(&pair, head(&pair, round * 4 + passed)));
        let chains: Vec<_> = chains.collect();
        let mut batch = device.batch(&pair.map);
        let mut taken: Vec<_> = std::iter::from_fn(|| batch.next_chain().unwrap()).collect();
        taken.rotate_left(usize::from(round) % 4);
        for chain in taken {
            batch.complete(chain, 0);
        }
        drop(batch);
        while driver.poll().unwrap().is_some() {}

        let walked: Vec<_> = chains.iter().map(Vec::len).collect();
        assert_eq!(walked, lens);
        let mut slots: Vec<_> = chains.iter().flatten().map(|(at, _)| *at).collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1, 2, 3, 4, 5, 6, 7], "round {round}");
    }
}

/// Clauses: drv:split/desc-table:1
#[test]
fn a_chain_of_more_bytes_than_2_to_the_32nd_is_refused() {
    let pair = Pair::new(8, 8);
    for features in [Features::NONE, F::INDIRECT_DESC] {
        let mut driver = pair.driver(features, START);
        let half = Segment {
            address: BUFFERS,
            len: 1 << 31,
        };

        let rejected = driver.submit(&[half], &[half, half], ()).unwrap_err();

        assert_eq!(rejected.why, Refusal::TooLarge(3 << 31));
        assert_eq!(driver.in_flight(), 0);
    }
}

/// §2.7.9: with chains of several descriptors, and the end of the table among them.
///
/// Clauses: drv:split/desc-table:2
#[test]
fn in_order_each_descriptor_of_a_chain_leads_to_the_one_after_it() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(F::IN_ORDER, START);
    let mut device = pair.device(F::IN_ORDER, START);
    let mut expected = 0;

    for passed in (0..20).step_by(2) {
        for _ in 0..2 {
            driver.submit(&[segment(0, 8); 3], &[], ()).unwrap();
        }
        driver.kick_needed();

        for passed in [passed, passed + 1] {
            let slots = chain(&pair, head(&pair, passed));
            let slots: Vec<_> = slots.into_iter().map(|(at, _)| at).collect();
            let in_order = [0, 1, 2].map(|step| (expected + step) % 8);
            assert_eq!(slots, in_order, "chain {passed}");
            expected = (expected + 3) % 8;
        }
        serve(&pair, &mut device, 2);
        while driver.poll().unwrap().is_some() {}
    }
}

/// §2.7.5.3.1: neither another table, nor a next descriptor beside it; and in it, the entries one
/// after the other.
///
/// Clauses: drv:split/desc-table/indirect-desc:2, drv:split/desc-table/indirect-desc:4,
/// drv:split/desc-table/indirect-desc:5
#[test]
fn a_table_is_referred_to_by_one_descriptor_and_has_its_entries_in_a_row() {
    for features in [F::INDIRECT_DESC, F::INDIRECT_DESC | F::IN_ORDER] {
        let pair = Pair::new(8, 8);
        let mut driver = pair.driver(features, START);

        driver
            .submit(&[segment(0, 8); 2], &[segment(16, 8); 2], ())
            .unwrap();
        driver.kick_needed();

        let referring = pair.descriptor(head(&pair, 0));
        assert_eq!((referring.flags, referring.len), (INDIRECT, 64));
        let entries = (0..4).map(|entry| pair.forge.descriptor(referring.address + 16 * entry));
        let entries: Vec<_> = entries.map(|entry| (entry.flags, entry.other)).collect();
        let (read, write) = (NEXT, NEXT | WRITE);
        assert_eq!(entries, [(read, 1), (read, 2), (write, 3), (WRITE, 0)]);
    }
}

/// Clauses: drv:split/desc-table/indirect-desc:1, drv:split/desc-table/indirect-desc:3
#[test]
fn there_is_no_table_that_was_not_agreed_on_and_none_longer_than_the_queue() {
    let pair = Pair::new(8, 8);
    let mut without = pair.driver(Features::NONE, START);
    without.submit(&[segment(0, 8); 3], &[], ()).unwrap();
    without.kick_needed();
    let direct = chain(&pair, head(&pair, 0));

    let mut with = pair.driver(F::INDIRECT_DESC, START);
    let rejected = with.submit(&[segment(0, 8); 9], &[], ()).unwrap_err();

    let flags: Vec<_> = direct.into_iter().map(|(_, flags)| flags).collect();
    assert_eq!(flags, [NEXT, NEXT, 0]);
    let limit = 8;
    assert_eq!(rejected.why, Refusal::TooLong { segments: 9, limit });
}

/// Clauses: drv:split/available-ring:1
#[test]
fn the_available_index_moves_on_by_what_was_submitted_and_never_back() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    let mut index = START;

    for round in 0..20 {
        let chains = round % 3 + 1;
        for _ in 0..chains {
            driver.submit(&[segment(0, 8)], &[], ()).unwrap();
        }
        assert_eq!(pair.forge.available_index(), index);
        driver.kick_needed();
        index = index.wrapping_add(chains);
        assert_eq!(pair.forge.available_index(), index);
        driver.disarm();
        driver.arm();
        serve(&pair, &mut device, usize::from(chains));
        while driver.poll().unwrap().is_some() {}
        assert_eq!(pair.forge.available_index(), index);
    }
}

/// Clauses: drv:split/used-buffer-notif-suppression:1,
/// dev:split/available-buffer-notif-suppression:1
#[test]
fn the_flags_have_no_other_values_than_0_and_1() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver::<()>(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);

    driver.disarm();
    device.disarm();
    let off = (pair.forge.interrupt_wish().0, used_flags(&pair));
    driver.arm();
    device.arm();
    let on = (pair.forge.interrupt_wish().0, used_flags(&pair));

    assert_eq!((off, on), ((1, 1), (0, 0)));
}

/// Clauses: drv:split/used-buffer-notif-suppression:3,
/// dev:split/available-buffer-notif-suppression:3
#[test]
fn with_the_event_index_both_flags_stay_0() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(F::EVENT_IDX, START);
    let mut device = pair.device(F::EVENT_IDX, START);
    let flags = |when: &str| {
        let flags = (pair.forge.interrupt_wish().0, used_flags(&pair));
        assert_eq!(flags, (0, 0), "{when}");
    };

    driver.disarm();
    device.disarm();
    flags("disarmed");
    driver.submit(&[segment(0, 8)], &[], ()).unwrap();
    driver.kick_needed();
    serve(&pair, &mut device, 1);
    driver.poll().unwrap();
    driver.arm();
    device.arm();
    flags("armed");
}

/// Gives the device so many chains, one by one. Says of each whether it wants to interrupt.
fn interrupts(pair: &Pair, features: Features, chains: usize) -> Vec<bool> {
    let mut driver: Queue<()> = pair.driver(features, START);
    let mut device = pair.device(features, START);
    // After the driver has written its own wish.
    (0..chains)
        .map(|_| {
            driver.submit(&[segment(0, 8)], &[], ()).unwrap();
            driver.kick_needed();
            pair.forge.set_available_flags(0);
            serve(pair, &mut device, 1);
            driver.poll().unwrap().unwrap();
            device.interrupt_needed()
        })
        .collect()
}

/// Clauses: dev:split/used-buffer-notif-suppression:1, dev:split/used-buffer-notif-suppression:3
#[test]
fn without_the_event_index_the_flag_decides_on_interrupts_and_the_event_nothing() {
    for event in [0, START, START.wrapping_add(1), 0x8000] {
        let pair = Pair::new(4, 0);
        pair.forge.set_used_event(event);

        assert_eq!(interrupts(&pair, Features::NONE, 3), [true; 3], "{event}");
    }
}

/// Clauses: dev:split/used-buffer-notif-suppression:4, dev:split/used-buffer-notif-suppression:5
#[test]
fn with_the_event_index_the_event_decides_on_interrupts_and_the_flag_nothing() {
    for (flag, event) in [(0, 2), (1, 2), (0, 0), (1, 1)] {
        let pair = Pair::new(4, 0);
        let mut driver: Queue<()> = pair.driver(F::EVENT_IDX, START);
        let mut device = pair.device(F::EVENT_IDX, START);
        pair.forge.set_used_event(START.wrapping_add(event));
        pair.forge.set_available_flags(flag);

        let needed: Vec<u16> = (0..4)
            .filter(|_| {
                driver.submit(&[segment(0, 8)], &[], ()).unwrap();
                driver.kick_needed();
                serve(&pair, &mut device, 1);
                driver.poll().unwrap().unwrap();
                device.interrupt_needed()
            })
            .collect();

        assert_eq!(needed, [event], "flag {flag}");
    }
}

/// Clauses: drv:split/available-buffer-notif-suppression:2,
/// drv:split/available-buffer-notif-suppression:4
#[test]
fn without_the_event_index_the_flag_decides_on_kicks_and_the_event_nothing() {
    for event in [0, START, START.wrapping_add(1), 0x8000] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver(Features::NONE, START);
        pair.forge.set_available_event(event);

        let mut kicked = |flags| {
            pair.forge.set_used_flags(flags);
            driver.submit(&[segment(0, 8)], &[], ()).unwrap();
            driver.kick_needed()
        };

        let kicks = [kicked(0), kicked(1), kicked(0)];
        assert_eq!(kicks, [true, false, true], "{event}");
    }
}

/// Clauses: drv:split/available-buffer-notif-suppression:5,
/// drv:split/available-buffer-notif-suppression:6
#[test]
fn with_the_event_index_the_event_decides_on_kicks_and_the_flag_nothing() {
    for (flag, event) in [(0, 2), (1, 2), (0, 0), (1, 1)] {
        let pair = Pair::new(4, 0);
        let mut driver = pair.driver(F::EVENT_IDX, START);
        pair.forge.set_available_event(START.wrapping_add(event));
        pair.forge.set_used_flags(flag);

        let needed: Vec<u16> = (0..4)
            .filter(|_| {
                driver.submit(&[segment(0, 8)], &[], ()).unwrap();
                driver.kick_needed()
            })
            .collect();

        assert_eq!(needed, [event], "flag {flag}");
    }
}

/// Clauses: drv:split/available-buffer-notif-suppression:1
#[test]
fn the_used_ring_asks_for_kicks_when_it_is_laid_out_whatever_was_there_before() {
    for features in [Features::NONE, F::EVENT_IDX] {
        let pair = Pair::new(8, 8);
        pair.ring.view().fill(0xff);

        let _driver = pair.driver::<()>(features, START);

        assert_eq!(used_flags(&pair), 0);
    }
}

/// §2.7.5: only the available ring leads there, and the device has no business to change it.
///
/// Clauses: dev:split/desc-table:2
#[test]
fn the_device_leaves_the_descriptor_table_as_it_is() {
    let pair = Pair::new(8, 0);
    let mut driver = pair.driver(Features::NONE, START);
    let mut device = pair.device(Features::NONE, START);
    let chain = [segment(0, 8), segment(8, 8)];
    driver.submit(&chain[..1], &chain[1..], ()).unwrap();
    driver.submit(&[], &chain, ()).unwrap();
    driver.kick_needed();
    let table = || pair.forge.read::<[u8; 128]>(pair.areas.descriptor);
    let before = table();

    let mut batch = device.batch(&pair.map);
    while let Some(chain) = batch.next_chain().unwrap() {
        batch.writable(&chain).write(&[0xee; 8]).unwrap();
        batch.complete(chain, 8);
    }
    drop(batch);
    device.arm();
    device.interrupt_needed();

    assert_eq!(table(), before);
}
