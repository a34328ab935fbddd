//! The memory of models is as weak as it should be, and no weaker.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use loom::thread;
use ringway_ring::barrier::Order;
use ringway_ring::shared::{Shared, Words};

const ORDER: Order = Order::Processors;

fn memory() -> Shared {
    Shared::allocate(64, 64).unwrap()
}

/// A word that is polled, at `offset`.
fn polled(memory: &Shared, offset: usize) -> Words<u16> {
    Words::new(memory, offset, 1).unwrap()
}

/// Two words that are handed over, at 32.
fn handed(memory: &Shared) -> Words<u64> {
    Words::new(memory, 32, 2).unwrap()
}

/// What two loads may see of two stores made in the other order.
fn seen(with_order: bool) -> BTreeSet<(u16, u16)> {
    let all = Arc::new(Mutex::new(BTreeSet::new()));
    let outcomes = Arc::clone(&all);
    loom::model(move || {
        let memory = memory();
        let (first, second) = (polled(&memory, 0), polled(&memory, 2));
        let (other_first, other_second) = (first.clone(), second.clone());
        let other = thread::spawn(move || {
            other_first.store(0, 1);
            if with_order {
                ORDER.publish();
            }
            other_second.store(0, 1);
        });
        let late = second.load(0);
        if with_order {
            ORDER.consume();
        }
        let early = first.load(0);
        other.join().unwrap();
        outcomes.lock().unwrap().insert((late, early));
    });
    let outcomes = all.lock().unwrap();
    outcomes.clone()
}

#[test]
fn a_load_may_see_what_is_out_of_date_unless_two_fences_forbid_it() {
    let weak = seen(false);
    let strong = seen(true);

    assert_eq!(weak, [(0, 0), (0, 1), (1, 0), (1, 1)].into());
    assert_eq!(strong, [(0, 0), (0, 1), (1, 1)].into());
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_store_to_what_the_other_end_still_loads_is_an_error() {
    loom::model(|| {
        let memory = memory();
        let (done, element) = (polled(&memory, 0), handed(&memory));
        let (other_done, other_element) = (done.clone(), element.clone());
        let other = thread::spawn(move || {
            other_element.load(0);
            // No fence: the load may be late.
            other_done.store(0, 1);
        });
        if done.load(0) == 1 {
            ORDER.consume();
            element.store(0, 7);
        }
        other.join().unwrap();
    });
}

#[test]
fn a_word_is_the_same_whatever_the_size_it_is_accessed_at() {
    loom::model(|| {
        let memory = memory();
        let whole = handed(&memory);
        whole.store(1, 0x1122_3344_5566_7788);

        let halves = Words::<u32>::new(&memory, 32, 4).unwrap();
        halves.store(3, 0x99aa_bbcc);

        assert_eq!(halves.load(2), 0x5566_7788);
        assert_eq!(whole.load(1), 0x99aa_bbcc_5566_7788);
        let copied: u64 = memory.view().read_value(40).unwrap();
        assert_eq!(copied, whole.load(1));
    });
}

#[test]
#[should_panic(expected = "has no model")]
fn a_copy_of_half_a_word_is_refused() {
    loom::model(|| {
        let memory = memory();
        let _whole = handed(&memory);

        let _half: Result<u32, _> = memory.view().read_value(32);
    });
}
