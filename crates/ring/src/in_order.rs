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
    /// How many of them are done.
    waiting: u16,
}

impl InOrder {
    pub(crate) fn new() -> Self {
        Self {
            first: NONE,
            last: NONE,
            waiting: 0,
        }
    }

    /// How many chains are done and not given back.
    pub(crate) fn waiting(&self) -> u16 {
        self.waiting
    }

    /// Puts the chain that was just taken, which begins with block `first`, at the end.
    #[inline]
    pub(crate) fn taken<S: Slab>(&mut self, blocks: &mut Blocks<S>, first: u16) {
        if let Some(block) = blocks.get_mut(first) {
            block.following = NONE;
        }
        match blocks.get_mut(self.last) {
            Some(before) if self.first != NONE => before.following = first,
            _ => self.first = first,
        }
        self.last = first;
    }

    /// Notes that the device is done with `chain`, to which it has written as `used` says. All blocks
    /// of it but the first are free again.
    #[inline]
    pub(crate) fn done<S: Slab>(&mut self, blocks: &mut Blocks<S>, chain: &Walked, used: Used) {
        let &Walked {
            first,
            last,
            writable_bytes,
            ..
        } = chain;
        let Some(block) = blocks.get_mut(first) else {
            return;
        };
        block.done = Some(Done {
            used,
            is_whole: used.written == writable_bytes,
        });
        let rest = block.next;
        self.waiting = self.waiting.wrapping_add(1);
        if last != first {
            blocks.give(rest, last);
        }
    }

    /// Gives back what is done, up to the first chain that is not.
    pub(crate) fn give_back<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        mut give: impl FnMut(Used),
    ) {
        // Chains used completely, for which the element of a later one will speak.
        let mut run: Option<Used> = None;
        // At most as many turns as chains are done, which the size of the ring bounds.
        while self.waiting != 0 {
            let Some(block) = blocks.get_mut(self.first) else {
                break;
            };
            let Some(done) = block.done.take() else {
                break;
            };
            let following = block.following;
            blocks.give(self.first, self.first);
            self.first = following;
            self.waiting = self.waiting.wrapping_sub(1);
            let skipped = run.take().unwrap_or_default();
            let used = Used {
                chains: skipped.chains.wrapping_add(1),
                descriptors: skipped.descriptors.wrapping_add(done.used.descriptors),
                ..done.used
            };
            if done.is_whole {
                run = Some(used);
            } else {
                give(used);
            }
        }
        if let Some(used) = run {
            give(used);
        }
    }
}
