//! A driver's end in memory of the caller's: slabs that are arrays, and the legacy layout.

use std::rc::Rc;

use crate::common::{BUFFER_BYTES, BUFFERS, RING, segment};
use ringway_ring::device;
use ringway_ring::driver::{Entry, Geometry, Memory, Queue, Refusal};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

const FORMATS: [Features; 2] = [Features::NONE, F::RING_PACKED];

fn memory(geometry: Geometry) -> Memory {
    Memory {
        shared: Shared::allocate(geometry.bytes(), Geometry::ALIGN).unwrap(),
        address: RING,
    }
}

/// The driver's and the device's view of a ring and of some buffers.
fn map(memory: &Memory) -> Map {
    let buffers = Region {
        start: BUFFERS,
        memory: Shared::allocate(BUFFER_BYTES, 64).unwrap(),
    };
    let ring = Region {
        start: memory.address,
        memory: memory.shared.clone(),
    };
    Map::new(vec![buffers, ring]).unwrap()
}

#[test]
fn a_slab_has_an_entry_for_every_descriptor_and_one_fewer_is_too_few() {
    for features in FORMATS {
        let geometry = Geometry::largest(4, 0, features).unwrap();
        let memory = memory(geometry);
        let mut three = [Entry::<u8>::EMPTY; 3];
        let mut four = [Entry::EMPTY; 4];

        let too_few = Queue::in_slab(&memory, geometry, features, 0, &mut three).is_some();
        let mut queue = Queue::in_slab(&memory, geometry, features, 0, &mut four).unwrap();
        for owner in 0..4_u8 {
            queue.submit(&[segment(0, 8)], &[], owner).unwrap();
        }
        let full = queue.submit(&[segment(0, 8)], &[], 4).unwrap_err();

        assert!(!too_few);
        assert_eq!((full.why, full.owner), (Refusal::Full, 4));
        let back: Vec<u8> = std::iter::from_fn(|| queue.reclaim()).collect();
        assert_eq!(back, [0, 1, 2, 3]);
    }
}

/// What a device may still be writing to is forgotten with its queue, and never dropped; the slab
/// remembers it.
#[test]
fn a_slab_with_an_owner_of_another_queue_is_refused_until_that_was_reclaimed() {
    for features in FORMATS {
        let geometry = Geometry::largest(2, 0, features).unwrap();
        let memory = memory(geometry);
        let owner = Rc::new(());
        let mut slabs = [const { [const { Entry::EMPTY }; 2] }; 2];

        let accepted = slabs.each_mut().map(|slab| {
            let queue = Queue::in_slab(&memory, geometry, features, 0, &mut *slab);
            let mut queue = queue.unwrap();
            queue
                .submit(&[segment(0, 8)], &[], Rc::clone(&owner))
                .unwrap();
            let kept = Rc::strong_count(&owner);
            // Of the second queue, what was in flight is had back.
            let reclaimed = (kept > 2).then(|| queue.reclaim().unwrap());
            drop(queue);
            let again = Queue::in_slab(&memory, geometry, features, 0, slab).is_some();
            (reclaimed.is_some(), again)
        });

        assert_eq!(accepted, [(false, false), (true, true)], "{features:?}");
        assert_eq!(Rc::strong_count(&owner), 2, "nobody dropped the first one");
    }
}

/// A slab that serves again does not bring tokens of before back to life.
#[test]
fn a_token_of_an_earlier_queue_in_the_same_slab_names_no_chain_of_the_next() {
    for features in FORMATS {
        let geometry = Geometry::largest(2, 0, features).unwrap();
        let memory = memory(geometry);
        let mut slab = [Entry::EMPTY; 2];
        let mut tokens = Vec::new();

        for owner in 0..2_u8 {
            let mut queue = Queue::in_slab(&memory, geometry, features, 0, &mut slab).unwrap();
            let token = queue.submit(&[segment(0, 8)], &[], owner).unwrap();
            tokens.push(token);
            let reached: Vec<_> = tokens
                .iter()
                .map(|token| queue.owner_mut(*token).copied())
                .collect();
            let last = reached.split_last().unwrap();

            assert_eq!(*last.0, Some(owner));
            assert!(last.1.iter().all(Option::is_none), "{reached:?}");
            queue.reclaim().unwrap();
            assert_eq!(queue.owner_mut(token), None);
        }
    }
}

/// Every queue size and every alignment, against the formula of §2.7.2.
///
/// Clauses: leg:split/legacy-interfaces-a-note-on-vq-lay:1,
/// leg:split/legacy-interfaces-a-note-on-vq-lay:2
#[test]
fn the_legacy_layout_is_what_a_legacy_device_computes() {
    for size in (0..=15).map(|log| 1_u64 << log) {
        for align in (6..=16).map(|log| 1_u64 << log) {
            let geometry = Geometry::legacy(size as u16, 0, align as usize).unwrap();
            let address = 0x12_3450_0000;

            let areas = geometry.areas(address);

            let up = |bytes: u64| bytes.div_ceil(align) * align;
            let front = up(16 * size + 2 * (3 + size));
            assert_eq!(areas.descriptor, address);
            assert_eq!(areas.driver, address + 16 * size);
            assert_eq!(areas.device, address + front);
            let bytes = front + up(2 * 3 + 8 * size);
            assert_eq!(geometry.bytes() as u64, bytes, "{size} {align}");
            assert_eq!(geometry.alignment() as u64, align);
        }
    }
}

#[test]
fn a_legacy_layout_that_cannot_be_is_none() {
    for (size, align) in [
        (0, 4096),
        (3, 4096),
        (32769, 4096),
        (8, 0),
        (8, 32),
        (8, 96),
    ] {
        assert_eq!(Geometry::legacy(size, 0, align), None, "{size} {align}");
    }
    let geometry = Geometry::legacy(8, 0, 4096).unwrap();
    let misplaced = Memory {
        address: RING + 2048,
        ..memory(geometry)
    };
    let slab = [const { Entry::<u8>::EMPTY }; 8];
    assert!(Queue::in_slab(&misplaced, geometry, Features::NONE, 0, slab).is_none());
}

/// With indices that wrap in between, of every size and with every alignment.
#[test]
fn both_ends_meet_over_the_legacy_layout_across_the_wrap() {
    for size in (0..=15).map(|log| 1_u16 << log) {
        for align in (6..=16).map(|log| 1 << log) {
            for features in [Features::NONE, F::EVENT_IDX | F::INDIRECT_DESC] {
                let start = 0_u16.wrapping_sub(size / 2 + 1);
                let geometry = Geometry::legacy(size, size.min(2), align).unwrap();
                let memory = memory(geometry);
                let map = map(&memory);
                let mut driver = Queue::new(&memory, geometry, features, start).unwrap();
                let areas = geometry.areas(RING);
                let mut device = device::Queue::new(&map, size, areas, features, start).unwrap();
                assert!(!device.arm());
                let chains = if size == 1 || features.contains(F::INDIRECT_DESC) {
                    size
                } else {
                    size / 2
                };
                let segments = [segment(0, 8), segment(8, 8)];
                let (readable, writable) = segments.split_at(usize::from(size != 1));

                for owner in 0..chains {
                    driver.submit(readable, &writable[..1], owner).unwrap();
                }
                let kick = driver.kick_needed();
                let mut batch = device.batch(&map);
                while let Some(chain) = batch.next_chain().unwrap() {
                    batch.complete(chain, 3);
                }
                drop(batch);
                let back = std::iter::from_fn(|| driver.poll().unwrap())
                    .map(|done| (done.owner, done.written));

                assert!(kick, "{size} {align}");
                assert!(back.eq((0..chains).map(|owner| (owner, 3))));
            }
        }
    }
}
