//! Every size that a split ring may have, filled and emptied across the wrap of the indices.

use crate::common::{Pair, segment};
use ringway_ring::driver::{Geometry, Refusal};
use ringway_spec::F;

#[test]
fn a_ring_of_every_size_up_to_the_largest_is_filled_and_emptied() {
    for log in 0..=15 {
        for features in [F::EVENT_IDX, F::EVENT_IDX | F::INDIRECT_DESC] {
            let size = 1_u16 << log;
            let pair = Pair::new(size, size.min(2));
            let start = 0_u16.wrapping_sub(size / 2 + 1);
            let mut driver = pair.driver::<u16>(features, start);
            let mut device = pair.device(features, start);

            for owner in 0..size {
                driver.submit(&[segment(0, 8)], &[], owner).unwrap();
            }
            driver.kick_needed();
            let full = driver.submit(&[segment(0, 8)], &[], size).unwrap_err();
            let mut batch = device.batch(&pair.map);
            while let Some(chain) = batch.next_chain().unwrap() {
                batch.complete(chain, 0);
            }
            drop(batch);
            let back = std::iter::from_fn(|| driver.poll().unwrap()).map(|done| done.owner);

            assert!(back.eq(0..size), "size {size}");
            assert_eq!(full.why, Refusal::Full);
        }
    }
}

#[test]
fn a_size_that_no_split_ring_can_have_is_none() {
    for size in [0, 3, 1000, 32769, 65535] {
        assert_eq!(Geometry::new(size, 0), None);
    }
    assert_eq!(Geometry::new(8, 9), None);
    assert!(Geometry::new(32768, 0).is_some_and(|geometry| geometry.size() == 32768));
}

#[test]
fn a_ring_without_tables_has_no_memory_for_them() {
    let without = Geometry::new(256, 1).unwrap();
    let with = Geometry::new(256, 4).unwrap();

    assert_eq!((without.table(), with.table()), (0, 4));
    assert_eq!(with.bytes() - without.bytes(), 256 * 4 * 16);
    assert!(without.bytes() < 256 * (16 + 2 + 8) + 256);
}
