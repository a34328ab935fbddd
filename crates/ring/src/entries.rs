//! What a driver's end knows of its chains in flight, in either format, by their ids.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use ringway_spec::split::DescriptorFlags;

use crate::driver::{Completion, Refusal, Rejected, Slab, Token, Violation};

/// What a queue knows of one chain in flight. A [`Slab`](crate::driver::Slab) has one for every
/// descriptor of the ring.
#[derive(Debug)]
pub struct Entry<T> {
    /// In custody: not dropped with the queue, for the device may still be at it.
    owner: Option<ManuallyDrop<T>>,
    writable: u32,
    generation: u16,
    /// How many descriptors of the ring the chain has.
    descriptors: u16,
    /// The id whose link follows the chain.
    last: u16,
    /// Leads to the id that follows this one: on the free list, in a chain, or, of a queue whose
    /// chains come back in order, in the ring.
    link: Link,
}

/// The id that follows another, as the second word of a split descriptor says it: all of that word
/// but the length and the flag for writable bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link(u64);

impl Link {
    const fn to(id: u16) -> Self {
        Self((id as u64) << 48 | (DescriptorFlags::NEXT.bits() as u64) << 32)
    }

    #[inline(always)]
    pub(crate) const fn id(self) -> u16 {
        (self.0 >> 48) as u16
    }

    #[inline(always)]
    pub(crate) const fn word(self) -> u64 {
        self.0
    }
}

impl<T> Entry<T> {
    /// Of no chain.
    pub const EMPTY: Self = Self {
        owner: None,
        writable: 0,
        generation: 0,
        descriptors: 0,
        last: 0,
        link: Link::to(0),
    };
}

/// The entries of a queue.
#[derive(Debug)]
pub(crate) struct Entries<T, S> {
    slab: S,
    owners: PhantomData<T>,
}

/// All entries, borrowed once for all that a verb does to them. Ids are below the size of the queue.
pub(crate) struct View<'e, T>(&'e mut [Entry<T>]);

/// A chain that came back, and what was remembered with it.
pub(crate) struct Returned<T> {
    pub(crate) completion: Completion<T>,
    pub(crate) descriptors: u16,
    pub(crate) last: u16,
}

impl<T, S: Slab<T>> Entries<T, S> {
    /// None in flight; the link of each id is the next one, of the last, 0. `None` if the slab has
    /// fewer than `size` entries, or one of them still holds an owner.
    pub(crate) fn new(mut slab: S, size: u16) -> Option<Self> {
        let entries = slab.as_mut();
        if entries.len() < usize::from(size) || entries.iter().any(|entry| entry.owner.is_some()) {
            return None;
        }
        for (id, entry) in (1..size).chain([0]).zip(entries) {
            entry.link = Link::to(id);
        }
        Some(Self {
            slab,
            owners: PhantomData,
        })
    }

    #[inline(always)]
    pub(crate) fn view(&mut self) -> View<'_, T> {
        View(self.slab.as_mut())
    }

    /// The owner of the chain that `token` names, if that is in flight.
    pub(crate) fn owner_mut(&mut self, token: Token) -> Option<&mut T> {
        let entry = self.slab.as_mut().get_mut(usize::from(token.id))?;
        let owner = entry.owner.as_deref_mut();
        owner.filter(|_| entry.generation == token.generation)
    }

    /// The token of the chain that [`reclaim`](Self::reclaim) takes the owner of.
    pub(crate) fn next_reclaimed(&self) -> Option<Token> {
        // As many as there are ids, which have 16 bits.
        let mut entries = (0..).zip(self.slab.as_ref());
        entries.find_map(|(id, entry)| {
            let generation = entry.generation;
            entry.owner.is_some().then_some(Token { id, generation })
        })
    }

    /// The owner of one chain in flight.
    pub(crate) fn reclaim(&mut self) -> Option<T> {
        let mut entries = self.slab.as_mut().iter_mut();
        let owner = entries.find_map(|entry| entry.owner.take())?;
        Some(ManuallyDrop::into_inner(owner))
    }
}

impl<T> View<'_, T> {
    /// Takes `owner` into custody, as chain `id` of `descriptors` descriptors of the ring, of which
    /// the last has the link of `last`. Gives it back if there is no such id.
    #[inline(always)]
    pub(crate) fn put(
        &mut self,
        id: u16,
        owner: T,
        writable: u32,
        descriptors: u16,
        last: u16,
    ) -> Result<Token, Rejected<T>> {
        let Some(entry) = self.0.get_mut(usize::from(id)) else {
            return Err(not_reached(owner));
        };
        // Read before anything is written beside it: a load that finds part of its bytes in a store
        // under way has to wait for it.
        let generation = entry.generation.wrapping_add(1);
        entry.generation = generation;
        entry.owner = Some(ManuallyDrop::new(owner));
        entry.writable = writable;
        entry.descriptors = descriptors;
        entry.last = last;
        Ok(Token { id, generation })
    }

    /// Gives up the owner of chain `id`. `written` says how many of its writable bytes were, if
    /// what the device says of them can be. `None`, and it stays, if that, or the id,
    /// [breaks a rule](Self::why_not).
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        id: u32,
        written: impl FnOnce(u32) -> Option<u32>,
    ) -> Option<Returned<T>> {
        let entry = self.0.get_mut(id as usize)?;
        let written = written(entry.writable)?;
        let owner = entry.owner.take()?;
        Some(Returned {
            completion: Completion {
                token: Token {
                    // Below the size of the queue, since there is an entry.
                    id: id as u16,
                    generation: entry.generation,
                },
                written,
                owner: ManuallyDrop::into_inner(owner),
            },
            descriptors: entry.descriptors,
            last: entry.last,
        })
    }

    /// How many bytes of chain `id` were written, as [`take`](Self::take) would find.
    #[inline(always)]
    fn written(&self, id: u32, written: impl FnOnce(u32) -> Option<u32>) -> Option<u32> {
        let entry = self.0.get(id as usize)?;
        let written = written(entry.writable)?;
        entry.owner.is_some().then_some(written)
    }

    /// The rule that a device breaks that says of chain `id` that it wrote `written` bytes.
    #[cold]
    pub(crate) fn why_not(&self, id: u32, written: u32) -> Violation {
        match self.0.get(id as usize) {
            Some(entry) if entry.owner.is_some() => Violation::WrittenTooMuch {
                written,
                writable: entry.writable,
            },
            _ => Violation::UnknownId(id),
        }
    }

    /// What leads on from `id`.
    #[inline(always)]
    pub(crate) fn link(&self, id: u16) -> Option<Link> {
        self.0.get(usize::from(id)).map(|entry| entry.link)
    }

    /// Lets `id` be followed by `next`.
    #[inline(always)]
    pub(crate) fn set_link(&mut self, id: u16, next: u16) {
        if let Some(entry) = self.0.get_mut(usize::from(id)) {
            entry.link = Link::to(next);
        }
    }
}

/// What would be said of an id that has no entry. There is none: ids come from links, which are
/// below the size of the queue, and nobody else writes them.
#[cold]
pub(crate) fn not_reached<T>(owner: T) -> Rejected<T> {
    let why = Refusal::Full;
    Rejected { why, owner }
}

/// How a queue learns that chains came back in the order in which they were submitted, several at a
/// time: a batch is known by its last chain, and those before it were used completely (§2.7.9,
/// §2.8.8).
#[derive(Debug)]
pub(crate) struct InOrder {
    /// The chain in flight that was submitted first.
    oldest: u16,
    /// The last chain of the batch that was begun, and the bytes written to it.
    batch: Option<(u16, u32)>,
}

impl InOrder {
    /// Of a queue whose first chain will be `first`.
    pub(crate) const fn new(first: u16) -> Self {
        Self {
            oldest: first,
            batch: None,
        }
    }

    /// Whether chains of a batch are still to be taken.
    #[inline(always)]
    pub(crate) const fn is_begun(&self) -> bool {
        self.batch.is_some()
    }

    /// Takes the oldest chain, if a batch ends with it, which is then all of the batch: the device has
    /// given back chain `last`, if that [may be taken](View::take). None if it is not so.
    #[inline(always)]
    pub(crate) fn take_only<T>(
        &mut self,
        entries: &mut View<'_, T>,
        last: u32,
        written: impl FnOnce(u32) -> Option<u32>,
    ) -> Option<Returned<T>> {
        if last != u32::from(self.oldest) {
            return None;
        }
        let returned = entries.take(last, written)?;
        // Always there: it was put with the chain.
        self.oldest = entries.link(returned.last).map_or(0, Link::id);
        Some(returned)
    }

    /// Begins the batch that ends with chain `last`, if that [may be taken](View::take). Says whether
    /// it may.
    #[inline(always)]
    pub(crate) fn begin<T>(
        &mut self,
        entries: &View<'_, T>,
        last: u32,
        written: impl FnOnce(u32) -> Option<u32>,
    ) -> bool {
        let written = entries.written(last, written);
        // Below the size of the queue, since it may be taken. It is in flight: so there are only
        // chains in flight from the oldest to it.
        self.batch = written.map(|written| (last as u16, written));
        self.is_begun()
    }

    /// Takes the next chain of the batch that was begun.
    #[inline(always)]
    pub(crate) fn take<T>(&mut self, entries: &mut View<'_, T>) -> Option<Returned<T>> {
        let (last, written) = self.batch?;
        let id = self.oldest;
        let is_last = id == last;
        if is_last {
            self.batch = None;
        }
        let returned = entries.take(id.into(), |writable| {
            Some(if is_last { written } else { writable })
        })?;
        // Always there: it was put with the chain.
        self.oldest = entries.link(returned.last).map_or(0, Link::id);
        Some(returned)
    }
}
