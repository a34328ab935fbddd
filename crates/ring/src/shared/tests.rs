//! What all of shared memory promises together.

use super::*;
use core::sync::atomic::{AtomicBool, Ordering};
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

proptest! {
    #[test]
    fn what_is_copied_in_at_any_offset_comes_out_and_nothing_else_changes(
        offset in 0_usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let shared = Shared::allocate(128, 64).unwrap();
        shared.view().fill(0x5a);

        shared.view().write(offset, &bytes).unwrap();

        let mut whole = vec![0; 128];
        shared.view().read(0, &mut whole).unwrap();
        let mut expected = vec![0x5a; 128];
        expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
        prop_assert_eq!(&whole, &expected);
        let mut out = vec![0; bytes.len()];
        shared.view().read(offset, &mut out).unwrap();
        prop_assert_eq!(out, bytes);
    }

    #[test]
    fn words_copy_what_other_ways_copy(
        offset in 0_usize..40, bytes in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let shared = Shared::allocate(128, 64).unwrap();
        let at = shared.slice(offset, bytes.len()).unwrap().base().as_ptr();

        // SAFETY: the slice is as long as what is copied.
        unsafe { by_words::into_shared(at, &bytes) };

        let mut seen = vec![0; bytes.len()];
        shared.view().read(offset, &mut seen).unwrap();
        prop_assert_eq!(&seen, &bytes);
        seen.fill(0);
        // SAFETY: as above.
        unsafe { by_words::out_of_shared(at, &mut seen) };
        prop_assert_eq!(seen, bytes);
    }

    #[test]
    fn shared_memory_is_filled_from_other_such_memory_at_any_alignment(
        (from, to) in (0_usize..40, 0_usize..40),
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let (source, target) = (Shared::allocate(640, 64).unwrap(), Shared::allocate(640, 64).unwrap());
        source.view().write(from, &bytes).unwrap();
        let first = source.slice(from, bytes.len()).unwrap().base();
        let view = target.view().slice(to, bytes.len()).unwrap();
        let mut expected = vec![0; 640];
        expected[to..to + bytes.len()].copy_from_slice(&bytes);
        let whole = || {
            let mut whole = vec![0; 640];
            target.view().read(0, &mut whole).unwrap();
            whole
        };

        // SAFETY: the slice that begins at `first` has as many bytes as `view`.
        unsafe { view.fill_from(first) };
        prop_assert_eq!(whole(), &*expected);
        target.view().fill(0);
        // SAFETY: as above.
        unsafe { by_words::between(first.as_ptr(), view.base().as_ptr(), bytes.len()) };

        prop_assert_eq!(whole(), &*expected);
    }

    #[test]
    fn a_slice_that_leaves_the_memory_is_refused(offset in any::<usize>(), len in any::<usize>()) {
        let shared = Shared::allocate(4096, 64).unwrap();

        let slice = shared.slice(offset, len);

        let within = offset.checked_add(len).is_some_and(|end| end <= 4096);
        prop_assert_eq!(slice.is_some(), within);
    }
}

#[test]
fn words_are_little_endian_and_indices_wrap() {
    let shared = Shared::allocate(64, 64).unwrap();
    let words = Words::<u16>::new(&shared, 8, 4).unwrap();

    words.store(5, 0x1234);

    let mut bytes = Vec::from([0; 8]);
    shared.view().read(8, &mut bytes).unwrap();
    assert_eq!(bytes, [0, 0, 0x34, 0x12, 0, 0, 0, 0]);
    assert_eq!(words.load(1), 0x1234);
}

/// Devices' defect 9: a word that a peer changes meanwhile is the one or the other, never some
/// bytes of each.
#[test]
fn a_word_that_a_peer_changes_meanwhile_is_loaded_whole() {
    let shared = Shared::allocate(64, 64).unwrap();
    let indices = Words::<u16>::new(&shared, 6, 1).unwrap();
    let elements = Pairs::new(&shared, 16, 1).unwrap();
    let descriptors = Slots::new(&shared, 32, 1).unwrap();
    let over = AtomicBool::new(false);

    let mixed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for value in [0, u64::MAX] {
                    indices.store(0, value as u16);
                    elements.store(0, value);
                    descriptors.slot(0).unwrap().set_second(value);
                }
            }
        });
        let mixed = (0..200_000).find_map(|_| {
            let index = indices.load(0);
            let element = elements.load(0);
            let descriptor = descriptors.slot(0).unwrap().second();
            let whole = [0, u64::MAX];
            let is_whole = [0, u16::MAX].contains(&index)
                && whole.contains(&element)
                && whole.contains(&descriptor);
            (!is_whole).then_some((index, element, descriptor))
        });
        over.store(true, Ordering::Relaxed);
        mixed
    });

    assert_eq!(mixed, None);
}

#[test]
fn words_must_be_aligned_within_and_a_power_of_two() {
    let shared = Shared::allocate(64, 64).unwrap();

    assert!(Words::<u64>::new(&shared, 4, 1).is_none());
    assert!(Words::<u16>::new(&shared, 0, 3).is_none());
    assert!(Words::<u16>::new(&shared, 0, 0).is_none());
    assert!(Words::<u32>::new(&shared, 32, 16).is_none());
    assert!(Words::<u32>::new(&shared, 0, 16).is_some());
}

#[test]
fn a_pair_is_the_same_bytes_whether_it_is_accessed_whole_or_in_halves() {
    let shared = Shared::allocate(64, 64).unwrap();
    for offset in [4, 8] {
        let pairs = Pairs::new(&shared, offset, 4).unwrap();

        pairs.store(5, 0x1122_3344_5566_7788);

        let halves = Words::<u32>::new(&shared, offset, 8).unwrap();
        assert_eq!((halves.load(2), halves.load(3)), (0x5566_7788, 0x1122_3344));
        assert_eq!(pairs.load(1), 0x1122_3344_5566_7788);
    }
    assert!(Pairs::new(&shared, 2, 1).is_none());
    assert!(Pairs::new(&shared, 0, 3).is_none());
    assert!(Pairs::new(&shared, 4, 8).is_none());
}

#[test]
fn slots_are_as_many_as_fit_and_there_is_none_beyond_them() {
    let shared = Shared::allocate(64, 64).unwrap();
    let slots = Slots::new(&shared, 8, 3).unwrap();

    slots.slot(2).unwrap().set_first(0x1122);
    slots.slot(0).unwrap().set_first(0x5566);
    slots.slot(2).unwrap().set_second(0x3344);

    let words = Words::<u64>::new(&shared, 0, 8).unwrap();
    assert_eq!((words.load(5), words.load(6)), (0x1122, 0x3344));
    let second = slots.slot(2).unwrap();
    assert_eq!((second.first(), second.second()), (0x1122, 0x3344));
    assert!(slots.slot(3).is_none() && slots.slot(usize::MAX).is_none());
    let run = slots.run(1, 2).unwrap();
    assert_eq!(run.map(Slot::first).collect::<Vec<_>>(), [0, 0x1122]);
    assert_eq!(slots.run(3, 0).unwrap().count(), 0);
    assert_eq!(
        slots.wrapping_slot(0b110).first(),
        0x5566,
        "the first two are a ring"
    );
    assert!(slots.run(2, 2).is_none() && slots.run(usize::MAX, 2).is_none());
    assert!(Slots::new(&shared, 8, 4).is_none());
    assert!(Slots::new(&shared, 4, 1).is_none());
    assert!(Slots::new(&shared, 8, 0).is_none());
    assert!(Slots::new(&shared, 0, usize::MAX).is_none());
}

#[test]
fn a_table_is_loaded_at_any_alignment_and_has_nothing_beyond_its_whole_pairs() {
    let shared = Shared::allocate(64, 64).unwrap();
    for offset in 0..16 {
        let view = shared.view().slice(offset, 40).unwrap();
        view.write_value(16, &[0x1122_u64.to_le(), 0x3344_u64.to_le()])
            .unwrap();

        let table = Table::new(view);

        assert_eq!(table.len(), 2);
        assert_eq!(table.load(1), Some((0x1122, 0x3344)));
        assert_eq!((table.load(2), table.load(usize::MAX)), (None, None));
    }
    assert_eq!(Table::new(View::EMPTY).load(0), None);
}

#[test]
fn a_guard_is_dropped_with_the_last_slice_of_what_it_guards() {
    let all = Shared::allocate(128, 64).unwrap();
    let guard = Arc::new(());

    let part = all.slice(64, 64).unwrap().guarded(guard.clone());
    let slice = part.slice(8, 8).unwrap();
    slice.view().write(0, b"kept").unwrap();
    drop(part);

    assert_eq!(Arc::strong_count(&guard), 2);
    drop(slice);
    assert_eq!(Arc::strong_count(&guard), 1);
    let mut out = [0; 4];
    all.view().read(72, &mut out).unwrap();
    assert_eq!(&out, b"kept");
}

#[test]
fn a_slice_keeps_the_memory_alive() {
    let shared = Shared::allocate(64, 64).unwrap();
    shared.view().write(40, b"here").unwrap();

    let slice = shared.slice(40, 4).unwrap();
    drop(shared);

    let mut out = [0; 4];
    slice.view().read(0, &mut out).unwrap();
    assert_eq!(&out, b"here");
}
