//! Chains given back in the order in which they were made available, whatever the order in which
//! they were completed.
//!
//! A chain waits in the list until all that were taken before it are done. Those whose writable
//! bytes were all written need no word of their own: the driver takes one used element, of the last
//! of a run, for all of it.
//!
//! Spec: VIRTIO 1.4 §2.7.9 "In-order use of descriptors".

use crate::device::Used;
use crate::slab::{Block, Blocks, NONE, Slab, State};

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

    /// Notes that the device has written `written` bytes and is done with the chain that begins
    /// with block `first`. All other blocks of it are free again.
    #[inline]
    pub(crate) fn done<S: Slab>(&mut self, blocks: &mut Blocks<S>, first: u16, written: u32) {
        let Some(block) = blocks.get_mut(first) else {
            return;
        };
        block.record.state = State::Done;
        block.written = written;
        let (rest, last) = (block.next, block.record.last);
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
            let Block {
                record,
                written,
                following,
                ..
            } = *block;
            if record.state != State::Done {
                break;
            }
            block.record.state = State::None;
            blocks.give(self.first, self.first);
            self.first = following;
            self.waiting = self.waiting.wrapping_sub(1);
            let skipped = run.take().unwrap_or_default();
            let used = Used {
                id: record.id,
                written,
                chains: skipped.chains.wrapping_add(1),
                descriptors: skipped.descriptors.wrapping_add(record.descriptors),
            };
            if written == record.writable_bytes {
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
