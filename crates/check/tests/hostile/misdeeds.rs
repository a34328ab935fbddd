//! Each misdeed alone, among honest steps: the rule that it is about is the one that is reported.

use std::collections::BTreeSet;

use ringway_check::hostile::{Device, Driver, device, driver};
use ringway_ring::driver::{Queue, Segment};
use ringway_spec::F;

use crate::arena::Arena;
use crate::history::{Setup, name};

/// Rings on which each is tried. Chance decides which descriptor it is done to, so that not each of
/// them is broken by it.
const TRIES: u64 = 100;

/// Honest setups of one format, all with indirect tables.
fn setups(packed: bool) -> impl Iterator<Item = Setup> {
    (0..TRIES).map(move |seed| {
        let mut setup = Setup::new(2 * seed);
        setup.features |= F::INDIRECT_DESC;
        if packed {
            setup.packed()
        } else {
            setup.split()
        }
    })
}

/// What a device's end reports of a driver who does this.
fn reported_of_driver(packed: bool, misdeed: driver::Misdeed) -> BTreeSet<String> {
    let reported = |setup: Setup| {
        let arena = Arena::new(&setup);
        let ring = arena.ring();
        let mut driver = Driver::new(&ring, arena.room(), setup.conduct, setup.seed)?;
        let (map, areas) = (&arena.map, ring.areas);
        let mut queue =
            ringway_ring::device::Queue::new(map, ring.size, areas, ring.features, ring.start);
        let queue = queue.as_mut().unwrap();

        // Some chains are held by the device.
        driver.step();
        driver.settle();
        let mut batch = queue.batch(map);
        let held: Vec<_> = std::iter::from_fn(|| batch.next_chain().unwrap()).collect();
        driver.step();
        driver.commit(misdeed);
        if misdeed != driver::Misdeed::IndexAhead && misdeed != driver::Misdeed::IndexBack {
            driver.settle();
        }

        drop(batch);
        let mut batch = queue.batch(map);
        while let Ok(Some(_)) = batch.next_chain() {}
        drop((batch, held));
        queue.violation()
    };
    setups(packed)
        .filter_map(reported)
        .map(|violation| name(&violation))
        .collect()
}

/// What a driver's end reports of a device that does this.
fn reported_of_device(packed: bool, misdeed: device::Misdeed) -> BTreeSet<String> {
    let reported = |setup: Setup| {
        let arena = Arena::new(&setup);
        let (memory, geometry) = (arena.memory(), setup.geometry());
        let mut queue = Queue::new(&memory, geometry, setup.features, setup.start).unwrap();
        let mut device = Device::new(&arena.ring(), setup.conduct, setup.seed)?;
        let segment = Segment { address: 0, len: 8 };
        while queue.submit(&[segment], &[], ()).is_ok() {}
        queue.kick_needed();

        for _ in 0..8 {
            device.step();
        }
        device.commit(misdeed);
        if misdeed != device::Misdeed::IndexAhead && misdeed != device::Misdeed::IndexBack {
            for _ in 0..8 {
                device.step();
            }
        }

        while let Ok(Some(_)) = queue.poll() {}
        queue.violation()
    };
    setups(packed)
        .filter_map(reported)
        .map(|violation| name(&violation))
        .collect()
}

#[test]
fn each_misdeed_of_a_driver_breaks_the_rule_that_it_is_about() {
    use driver::Misdeed as M;
    let either = [
        (M::Loop, "ChainTooLong"),
        (M::TableInTable, "IndirectInIndirect"),
        (M::IndirectWithNext, "IndirectWithNext"),
        (M::BufferAsTable, "IndirectLength"),
        (M::TableEmpty, "IndirectLength"),
        (M::TableOdd, "IndirectLength"),
        (M::TableHuge, "IndirectLength"),
        (M::BufferOutside, "NotMapped"),
        (M::BufferAcross, "NotMapped"),
        (M::AddressOverflow, "NotMapped"),
        (M::ReadableAfterWritable, "ReadableAfterWritable"),
        (M::TooManyInFlight, "TooManyInFlight"),
    ];
    let split = [
        (M::SelfLink, "ChainTooLong"),
        (M::HeadOutOfRange, "DescriptorIndex"),
        (M::NextOutOfRange, "DescriptorIndex"),
        (M::IndexAhead, "AvailableTooFar"),
        (M::IndexBack, "AvailableTooFar"),
    ];
    let packed = [(M::NotAvailable, "NotAvailable")];

    for (misdeed, rule) in either.iter().chain(&split) {
        let reported = reported_of_driver(false, *misdeed);

        assert!(reported.contains(*rule), "split, {misdeed}: {reported:?}");
    }
    for (misdeed, rule) in either.iter().chain(&packed) {
        let reported = reported_of_driver(true, *misdeed);

        assert!(reported.contains(*rule), "packed, {misdeed}: {reported:?}");
    }
}

#[test]
fn each_misdeed_of_a_device_breaks_the_rule_that_it_is_about() {
    use device::Misdeed as M;
    let either = [
        (M::ForgedId, "UnknownId"),
        (M::IdOutOfRange, "UnknownId"),
        (M::RepeatedId, "UnknownId"),
        (M::LengthBeyondChain, "WrittenTooMuch"),
    ];
    let split = [(M::IndexAhead, "UsedTooFar"), (M::IndexBack, "UsedTooFar")];

    for (misdeed, rule) in either.iter().chain(&split) {
        let reported = reported_of_device(false, *misdeed);

        assert!(reported.contains(*rule), "split, {misdeed}: {reported:?}");
    }
    for (misdeed, rule) in either {
        let reported = reported_of_device(true, misdeed);

        assert!(reported.contains(rule), "packed, {misdeed}: {reported:?}");
    }
}

#[test]
fn a_buffer_without_bytes_breaks_no_rule() {
    let reported = [false, true].map(|packed| {
        let misdeed = driver::Misdeed::BufferEmpty;
        reported_of_driver(packed, misdeed)
    });

    assert!(reported.iter().all(BTreeSet::is_empty), "{reported:?}");
}

#[test]
fn the_same_seed_makes_the_same_peer() {
    let record = |seed| {
        let setup = Setup::new(seed).split();
        let arena = Arena::new(&setup);
        let mut driver = Driver::new(&arena.ring(), arena.room(), setup.conduct, seed).unwrap();
        for _ in 0..1000 {
            driver.step();
        }
        driver.record().to_string()
    };

    assert_eq!(record(5), record(5));
    assert_ne!(record(5), record(7));
    assert!(record(5).starts_with("peer of seed 5, 1000 steps; step "));
}
