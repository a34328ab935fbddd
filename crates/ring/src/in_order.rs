//! Chains given back in the order in which they were made available, whatever the order in which
//! they were completed.
//!
//! A chain waits in the list until all that were taken before it are done. Those whose writable
//! bytes were all written need no word of their own: the driver takes one used element, of the last
//! of a run, for all of it.
//!
//! Spec: VIRTIO 1.4 §2.7.9 "In-order use of descriptors".

use crate::chain::Walked;
use crate::device::Used;
use crate::slab::{Blocks, Done, NONE, Slab};

/// The chains that were taken and not given back, linked through their first blocks.
#[derive(Debug)]
pub(crate) struct InOrder {
    first: u16,
    last: u16,
    /// Chains taken and not done.
    in_flight: u16,
    /// How many of them are done, all after one that is not.
    waiting: u16,
    /// Chains before all of them that were used completely, for which the element of a later one may
    /// speak. None, if it has no places.
    run: Used,
}

impl InOrder {
    pub(crate) fn new() -> Self {
        Self {
            first: NONE,
            last: NONE,
            in_flight: 0,
            waiting: 0,
            run: Used::default(),
        }
    }

    /// How many chains were taken and are not done.
    pub(crate) fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// Puts the chain that was just taken, which begins with block `first`, at the end.
    #[inline(always)]
    pub(crate) fn taken<S: Slab>(&mut self, blocks: &mut Blocks<S>, first: u16) {
        if self.first == NONE {
            self.first = first;
        } else if let Some(before) = blocks.get_mut(self.last) {
            before.following = first;
        }
        self.last = first;
        // No more than the ring has descriptors.
        self.in_flight = self.in_flight.wrapping_add(1);
    }

    /// Notes that the device is done with `chain`, to which it has written as `used` says, and gives
    /// back what need not wait for others. `passed` hears of the first block of each chain whose turn
    /// has come.
    #[inline(always)]
    pub(crate) fn done<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        chain: &Walked,
        used: Used,
        mut passed: impl FnMut(u16),
        mut give: impl FnMut(Used),
    ) {
        self.in_flight = self.in_flight.wrapping_sub(1);
        let is_whole = used.written == chain.writable_bytes;
        if chain.first != self.first {
            return self.wait(blocks, chain, Done { used, is_whole });
        }
        passed(self.first);
        self.pass(blocks, chain.last);
        self.add(Done { used, is_whole }, &mut give);
        if self.waiting != 0 {
            self.go_on(blocks, &mut passed, &mut give);
        }
    }

    /// Notes a chain that is done as it is taken, while no other is in flight. Yields what is to be given
    /// back now, of it and of those before it.
    #[inline(always)]
    pub(crate) fn done_at_once(&mut self, used: Used, writable_bytes: u32) -> Option<Used> {
        let before = self.run.places;
        let run = Used {
            places: before.wrapping_add(used.places),
            ..used
        };
        if used.written == writable_bytes {
            self.run = run;
            return None;
        }
        if before != 0 {
            self.run = Used::default();
        }
        Some(run)
    }

    /// Whether no chain is taken that was not given back, or is only to be.
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// Gives back the run, if there is one.
    #[inline(always)]
    pub(crate) fn give_back(&mut self, give: impl FnOnce(Used)) {
        if self.run.places != 0 {
            give(core::mem::take(&mut self.run));
        }
    }

    /// Keeps what is to be said of a chain, of whose blocks all but the first are free again.
    #[cold]
    fn wait<S: Slab>(&mut self, blocks: &mut Blocks<S>, chain: &Walked, done: Done) {
        let Some(block) = blocks.get_mut(chain.first) else {
            return;
        };
        block.done = Some(done);
        let rest = block.next;
        self.waiting = self.waiting.wrapping_add(1);
        if chain.last != chain.first {
            blocks.give(rest, chain.last);
        }
    }

    /// Gives back those that waited for the first one, up to the next that is not done.
    #[cold]
    fn go_on<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        passed: &mut impl FnMut(u16),
        give: &mut impl FnMut(Used),
    ) {
        // At most as many turns as chains are done, which the size of the ring bounds.
        while self.waiting != 0 {
            let first = blocks.get_mut(self.first);
            let Some(done) = first.and_then(|block| block.done.take()) else {
                return;
            };
            self.waiting = self.waiting.wrapping_sub(1);
            passed(self.first);
            self.pass(blocks, self.first);
            self.add(done, give);
        }
    }

    /// Goes on to the chain after the first, whose blocks up to `last` are free again.
    #[inline(always)]
    fn pass<S: Slab>(&mut self, blocks: &mut Blocks<S>, last: u16) {
        let first = self.first;
        self.first = if first == self.last {
            NONE
        } else {
            blocks.get(first).map_or(NONE, |block| block.following)
        };
        blocks.give(first, last);
    }

    /// Adds a chain to the run; gives it back with the run, if it was not used completely.
    #[inline(always)]
    fn add(&mut self, done: Done, give: &mut impl FnMut(Used)) {
        self.run = Used {
            places: self.run.places.wrapping_add(done.used.places),
            ..done.used
        };
        if !done.is_whole {
            self.give_back(give);
        }
    }
}
