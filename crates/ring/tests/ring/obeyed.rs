//! What is asked of both ends whatever the format.

use crate::common::{BUFFERS, Pair, RING, segment};
use ringway_ring::driver::Geometry;
use ringway_spec::{F, Features};

/// Near the wrap of the indices, and of no lap's end.
const START: u16 = 0xfffd;

/// A pair of each format.
fn pairs(size: u16) -> [Pair; 2] {
    [Pair::new(size, 0), Pair::packed(size, 0)]
}

/// Of every size and with tables of any length, behind an address that is aligned as ring memory is.
///
/// Clauses: drv:packed:1, drv:split:1
#[test]
fn the_areas_of_a_ring_are_aligned_as_their_format_asks() {
    let sizes = (0..=15).map(|log| 1_u16 << log);
    let split = sizes.flat_map(|size| [0, 1, size].map(|table| Geometry::new(size, table)));
    let packed = (1..200).map(|size| Geometry::packed(size, 0));
    for geometry in split.chain(packed).map(Option::unwrap) {
        let areas = geometry.areas(RING + 64);

        let [driver, device] = if geometry.is_packed() { [4, 4] } else { [2, 4] };
        assert_eq!(areas.descriptor % 16, 0, "{geometry:?}");
        assert_eq!(areas.driver % driver, 0, "{geometry:?}");
        assert_eq!(areas.device % device, 0, "{geometry:?}");
    }
}

/// What is readable is not to be had for writing, however much is asked for.
///
/// Clauses: dev:split/desc-table:1, dev:packed/desc-table:1
#[test]
fn no_byte_is_written_that_is_only_for_reading() {
    for pair in pairs(8) {
        let mut driver = pair.driver(Features::NONE, START);
        let mut device = pair.device(Features::NONE, START);
        pair.buffers.view().fill(0x11);
        let readable = [segment(0, 8), segment(16, 8)];
        driver.submit(&readable, &[segment(32, 8)], ()).unwrap();
        driver.submit(&readable, &[], ()).unwrap();
        driver.kick_needed();

        let mut batch = device.batch(&pair.map);
        while let Some(chain) = batch.next_chain().unwrap() {
            let mut writable = batch.writable(&chain);
            while writable.write(&[0xee]).is_ok() {}
            batch.complete(chain, u32::MAX);
        }
        drop(batch);

        let bytes: [u8; 48] = pair.forge.read(BUFFERS);
        assert_eq!(bytes[..32], [0x11; 32]);
        assert_eq!(bytes[32..40], [0xee; 8]);
        assert_eq!(bytes[40..], [0x11; 8]);
    }
}

/// Clauses: drv:split/used-buffer-notif-suppression:5,
/// dev:split/available-buffer-notif-suppression:5
#[test]
fn a_notification_for_nothing_changes_nothing() {
    for pair in pairs(4) {
        for features in [Features::NONE, F::EVENT_IDX] {
            let mut driver = pair.driver(features, START);
            let mut device = pair.device(features, START);
            driver.submit(&[segment(0, 8)], &[], 1).unwrap();

            let nothing_taken = device.batch(&pair.map).next_chain().unwrap().is_none();
            driver.kick_needed();
            let nothing_back = [(); 3].map(|()| driver.poll().unwrap().is_none());
            let mut batch = device.batch(&pair.map);
            let chain = batch.next_chain().unwrap().unwrap();
            let nothing_more = [(); 3].map(|()| batch.next_chain().unwrap().is_none());
            batch.complete(chain, 0);
            drop(batch);
            let back = driver.poll().unwrap().map(|done| done.owner);

            assert!(nothing_taken);
            assert_eq!((nothing_back, nothing_more), ([true; 3], [true; 3]));
            assert_eq!(back, Some(1));
            assert!(driver.poll().unwrap().is_none());
        }
    }
}

/// §3.3.1: while others come and go around them, and whatever is asked of the queue.
///
/// Clauses: drv:general-initialization-and-op/device-cleanup:1, drv:packed/desc-table:2
#[test]
fn what_the_driver_wrote_of_a_chain_in_flight_stays_as_it_is() {
    for pair in pairs(8) {
        let mut driver = pair.driver(Features::NONE, START);
        let mut device = pair.device(Features::NONE, START);
        let kept = [segment(0, 8), segment(8, 8)];
        let token = driver.submit(&kept[..1], &kept[1..], 0).unwrap();
        driver.kick_needed();
        // On a packed ring used descriptors are written from the first one on, here a chain of one.
        let in_flight = |pair: &Pair| {
            let descriptors = (0..8).map(|at| pair.descriptor(at));
            let of_it = descriptors.filter(|it| [BUFFERS, BUFFERS + 8].contains(&it.address));
            let of_it: Vec<_> = of_it.collect();
            assert_eq!(of_it.len(), 2);
            of_it
        };
        let before = in_flight(&pair);
        let _kept = device.batch(&pair.map).next_chain().unwrap().unwrap();

        for owner in 1..=6 {
            driver.submit(&[segment(64, 8)], &[], owner).unwrap();
            driver.kick_needed();
            driver.arm();
            driver.disarm();
            assert!(driver.poll().unwrap().is_none());
        }
        let full = driver.submit(&[segment(64, 8)], &[], 7).is_err();
        driver.owner_mut(token);

        assert!(full);
        assert_eq!(in_flight(&pair), before);
    }
}

/// §6: of both ends, in both formats; what it changes is in `barrier.rs`.
///
/// Clauses: drv:reserved-feature-bits:7
#[test]
fn barriers_are_those_for_devices_if_that_is_agreed_on() {
    for pair in pairs(4) {
        for (features, order) in [
            (Features::NONE, "order: Processors"),
            (F::ORDER_PLATFORM, "order: Platform"),
        ] {
            let driver = format!("{:?}", pair.driver::<()>(features, START));
            let device = format!("{:?}", pair.device(features, START));

            assert!(driver.contains(order), "{driver}");
            assert!(device.contains(order), "{device}");
        }
    }
}
