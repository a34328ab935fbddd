//! A device's queue with a ledger: what it says to it, and how it begins where another device ended.

use core::fmt;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use ringway_spec::Features;

use crate::chain::{Chain, Walked};
use crate::device::{Batch, Books, Place, Queue, Ring, Used, Violation};
use crate::driver::Areas;
use crate::in_order::InOrder;
use crate::ledger::{InFlight, Ledger, Start, Taken};
use crate::map::Regions;
use crate::slab::{Blocks, Slab};

/// What a queue with a ledger keeps.
pub(crate) struct Kept {
    pub(crate) in_order: Option<InOrder>,
    pub(crate) ledger: Box<dyn Ledger>,
    /// Chains that are to be taken again.
    resuming: VecDeque<InFlight>,
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
        start: Start,
        ledger: Option<Box<dyn Ledger>>,
    ) -> Result<Self, Violation> {
        let Start {
            available,
            used,
            in_flight,
        } = start;
        let cannot_be = Violation::Start { available, used };
        let chains = u16::try_from(in_flight.len()).map_err(|_| cannot_be)?;
        let place = Place {
            available,
            used,
            chains,
        };
        let regions = regions.into();
        let mut queue = Self::at_place(regions, size, areas, features, place, Vec::new())?;
        let between = match &queue.ring {
            Ring::Split(_) => chains.into(),
            Ring::Packed(_) => in_flight.iter().map(InFlight::descriptors).sum::<usize>(),
        };
        let is_right_format = in_flight.iter().all(|chain| {
            matches!(
                (&queue.ring, chain),
                (Ring::Split(_), InFlight::Head(_)) | (Ring::Packed(_), InFlight::Words(_))
            )
        });
        if !is_right_format || between != usize::from(queue.ring.between()) {
            return Err(cannot_be);
        }
        if let Ring::Packed(ring) = &queue.ring {
            ring.take_back();
        }
        if ledger.is_some() || chains != 0 {
            let ledger = ledger.unwrap_or_else(|| Box::new(Nobody));
            queue.keep(ledger, in_flight.into());
        }
        Ok(queue)
    }
}

impl<S: Slab> Queue<S> {
    /// Has what happens to chains from here on written down in `ledger`, or no longer. The one of
    /// before is dropped.
    pub fn set_ledger(&mut self, ledger: Option<Box<dyn Ledger>>) {
        let resuming = match &mut self.books {
            Books::Ledger(kept) => core::mem::take(&mut kept.resuming),
            Books::None | Books::InOrder(_) => VecDeque::new(),
        };
        match ledger {
            Some(ledger) => self.keep(ledger, resuming),
            None if !resuming.is_empty() => self.keep(Box::new(Nobody), resuming),
            None => {
                if let Books::Ledger(kept) = &mut self.books {
                    self.books = kept.in_order.take().map_or(Books::None, Books::InOrder);
                }
            }
        }
    }

    fn keep(&mut self, ledger: Box<dyn Ledger>, resuming: VecDeque<InFlight>) {
        let in_order = match core::mem::replace(&mut self.books, Books::None) {
            Books::None => None,
            Books::InOrder(in_order) => Some(in_order),
            Books::Ledger(kept) => kept.in_order,
        };
        self.books = Books::Ledger(Box::new(Kept {
            in_order,
            ledger,
            resuming,
        }));
    }
}

impl<S: Slab> Batch<'_, S> {
    /// Takes the next of the chains that were taken before.
    pub(crate) fn resume(&mut self) -> Result<Option<Chain>, Violation> {
        let queue = &mut *self.queue;
        let Books::Ledger(kept) = &mut queue.books else {
            return Ok(None);
        };
        let walked = match (&mut queue.ring, kept.resuming.front()) {
            (Ring::Split(ring), Some(InFlight::Head(head))) => {
                ring.walk_again(&mut self.look, &mut queue.blocks, *head)
            }
            (Ring::Packed(ring), Some(InFlight::Words(words))) => {
                ring.walk_again(&mut self.look, &mut queue.blocks, words)
            }
            // Not so: they were found to be of the ring's format.
            _ => None,
        };
        let Some(walked) = walked else {
            // It stays the next one, if it can be taken later at all.
            return self.why_not_resumed();
        };
        kept.resuming.pop_front();
        kept.ledger.resumed(walked.first);
        if let Some(in_order) = &mut kept.in_order {
            in_order.taken(&mut queue.blocks, walked.first);
        }
        if kept.resuming.is_empty() {
            // From here on, what the ring has.
            self.look.left = queue.ring.left();
        }
        let queue = queue.number;
        Ok(Some(Chain { walked, queue }))
    }

    fn why_not_resumed(&mut self) -> Result<Option<Chain>, Violation> {
        if self.look.why.is_none() {
            return Ok(None);
        }
        self.nothing_taken()
    }
}

impl Kept {
    pub(crate) fn is_resuming(&self) -> bool {
        !self.resuming.is_empty()
    }

    pub(crate) fn not_with_the_device(&self) -> u16 {
        let waiting = self.in_order.as_ref().map_or(0, InOrder::waiting);
        // No more than the ring has descriptors.
        waiting.wrapping_add(self.resuming.len() as u16)
    }

    #[cold]
    pub(crate) fn taken<S: Slab>(&mut self, blocks: &mut Blocks<S>, ring: &Ring, walked: &Walked) {
        if let Some(in_order) = &mut self.in_order {
            in_order.taken(blocks, walked.first);
        }
        let descriptors = walked.descriptors.get() as u16;
        self.ledger.taken(&Taken {
            key: walked.first,
            // As the ring has it.
            id: walked.id as u16,
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
            Self::Words(words) => words.len(),
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

/// Writes nothing down.
struct Nobody;

impl Ledger for Nobody {
    fn taken(&mut self, _: &Taken<'_>) {}
    fn resumed(&mut self, _: u16) {}
    fn completed(&mut self, _: u16, _: &mut dyn Iterator<Item = (u64, u32)>) {}
    fn given_back(&mut self, _: u16) {}
    fn published(&mut self) {}
    fn wished(&mut self) {}
}
