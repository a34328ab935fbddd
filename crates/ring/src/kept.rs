//! A device's queue with a ledger: what it says to it, and how it begins where another device ended.

use core::fmt;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ringway_spec::Features;

use crate::chain::Walked;
use crate::device::{Books, Queue, Ring, Used, Violation};
use crate::driver::Areas;
use crate::in_order::InOrder;
use crate::ledger::{InFlight, Ledger, Start, Taken};
use crate::map::Regions;
use crate::slab::{Blocks, Slab};

/// What a queue with a ledger keeps.
pub(crate) struct Kept {
    pub(crate) in_order: Option<InOrder>,
    pub(crate) ledger: Box<dyn Ledger>,
    /// How many chains are to be taken again.
    resuming: u16,
}

impl Queue {
    /// The queue of `size` that the driver laid out at `areas`, which another device has served up to
    /// `start`, and whose chains are written down in `ledger`. Those that were in flight come first.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new); [`Violation::Start`] if the queue cannot begin there.
    pub fn resume<'m>(
        regions: impl Into<Regions<'m>>,
        size: u16,
        areas: Areas,
        features: Features,
        start: &Start,
        ledger: Option<Box<dyn Ledger>>,
    ) -> Result<Self, Violation> {
        let Start { used, in_flight } = start;
        let regions = regions.into();
        let mut queue = Self::at(regions, size, areas, features, *used, Vec::new())?;
        if !in_flight.is_empty() {
            queue.again(in_flight).ok_or(Violation::Start(*used))?;
        }
        // No more than the size of the queue.
        queue.keep(ledger, in_flight.len() as u16);
        Ok(queue)
    }

    /// `None` if the chains are more than there can be, or of another format.
    fn again(&mut self, in_flight: &[InFlight]) -> Option<()> {
        let descriptors: usize = in_flight.iter().map(InFlight::descriptors).sum();
        if descriptors > usize::from(self.size()) {
            return None;
        }
        let begun = match &mut self.ring {
            Ring::Split(ring) => {
                let heads: Option<Vec<u16>> = in_flight.iter().map(InFlight::head).collect();
                ring.resume(heads?.into_iter())
            }
            Ring::Packed(ring) => {
                let words: Option<Vec<_>> = in_flight.iter().map(InFlight::words).collect();
                ring.resume(words?.into_iter().flatten())
            }
        };
        begun.then_some(())
    }
}

impl<S: Slab> Queue<S> {
    /// Has what happens to chains from here on written down in `ledger`, or no longer. The one of
    /// before is dropped.
    pub fn set_ledger(&mut self, ledger: Option<Box<dyn Ledger>>) {
        let resuming = match &self.books {
            Books::Ledger(kept) => kept.resuming,
            Books::None | Books::InOrder(_) => 0,
        };
        self.keep(ledger, resuming);
    }

    fn keep(&mut self, ledger: Option<Box<dyn Ledger>>, resuming: u16) {
        let in_order = match core::mem::replace(&mut self.books, Books::None) {
            Books::None => None,
            Books::InOrder(in_order) => Some(in_order),
            Books::Ledger(kept) => kept.in_order,
        };
        self.books = match (ledger, in_order) {
            (Some(ledger), in_order) => Books::Ledger(Box::new(Kept {
                in_order,
                ledger,
                resuming,
            })),
            (None, Some(in_order)) => Books::InOrder(in_order),
            (None, None) => Books::None,
        };
    }
}

impl Kept {
    /// How many chains are to be taken again.
    pub(crate) fn resuming(&self) -> u16 {
        self.resuming
    }

    #[cold]
    pub(crate) fn taken<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        ring: &Ring,
        first: u16,
        id: u32,
        descriptors: u32,
    ) {
        if let Some(in_order) = &mut self.in_order {
            in_order.taken(blocks, first);
        }
        if let Some(left) = self.resuming.checked_sub(1) {
            self.resuming = left;
            return self.ledger.resumed(first);
        }
        // Both as the ring has them.
        let (id, descriptors) = (id as u16, descriptors as u16);
        self.ledger.taken(&Taken {
            key: first,
            id,
            descriptors,
            ring: match ring {
                Ring::Split(_) => None,
                Ring::Packed(ring) => ring.taken_last(descriptors),
            },
        });
    }

    #[cold]
    pub(crate) fn completed<S: Slab>(
        &mut self,
        blocks: &mut Blocks<S>,
        ring: &mut Ring,
        walked: &Walked,
        used: Used,
    ) {
        let Self {
            in_order, ledger, ..
        } = self;
        ledger.completed(walked.first, &mut walked.writable_runs(blocks));
        match in_order {
            Some(in_order) => in_order.done(
                blocks,
                walked,
                used,
                |key| ledger.given_back(key),
                |used| ring.put(used),
            ),
            None => {
                ledger.given_back(walked.first);
                blocks.give(walked.first, walked.last);
                ring.put(used);
            }
        }
    }
}

impl InFlight {
    fn descriptors(&self) -> usize {
        match self {
            Self::Head(_) => 1,
            // A chain has one at least.
            Self::Words(words) => words.len().max(1),
        }
    }

    fn head(&self) -> Option<u16> {
        match self {
            Self::Head(head) => Some(*head),
            Self::Words(_) => None,
        }
    }

    fn words(&self) -> Option<&[[u64; 2]]> {
        match self {
            Self::Head(_) => None,
            Self::Words(words) => Some(words),
        }
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("in_order", &self.in_order)
            .field("resuming", &self.resuming)
            .finish_non_exhaustive()
    }
}
