//! A record of a queue's chains that is kept outside of it.
//!
//! A device that may be killed at any moment, and replaced by another that is to finish what it had
//! begun, writes down which chains it has, where its successor finds it. And whoever moves the
//! driver's memory elsewhere while the device is at work wants to know what was written. A queue
//! with a [`Ledger`] says all that happens to its chains; one without pays nothing for it.
//!
//! Spec: VIRTIO 1.4 §2.7 "Split Virtqueues", §2.8 "Packed Virtqueues".

use alloc::vec::Vec;

use crate::shared::Run;

/// Hears of everything that happens to the chains of a queue, in the order in which it happens.
pub trait Ledger: Send {
    /// A chain was taken: nothing was done yet of what it asks.
    fn taken(&mut self, chain: &Taken<'_>);

    /// A chain of [`Start::in_flight`] was taken again, in their order, and has this key from here on.
    fn resumed(&mut self, key: u16);

    /// The device is done with the chain of this key, and has written what it had to write. The chain
    /// may be given back much later, after others.
    fn completed(&mut self, key: u16, writable: &mut dyn Iterator<Item = (u64, u32)>);

    /// The chain of this key is among those that the driver will see when the next publication is
    /// over.
    fn given_back(&mut self, key: u16);

    /// The driver sees all that was given back. The device area was written.
    fn published(&mut self);

    /// The device wrote, to its area, of what it wants to be told.
    fn wished(&mut self);
}

/// A chain that was just taken.
#[derive(Clone, Debug)]
pub struct Taken<'c> {
    /// A number that no other chain has that was taken and not given back: below
    /// [`BLOCKS_MAX`](crate::slab::BLOCKS_MAX).
    pub key: u16,
    /// What the driver calls it: in a split ring, the place of its first descriptor, which is below
    /// the size of the ring.
    pub id: u16,
    /// How many descriptors of the ring it has, in the packed format; in the split format, 1.
    pub descriptors: u16,
    /// Where they are, in a packed ring: up to its end, and then from its beginning on.
    pub(crate) ring: Option<(Run<'c>, Run<'c>)>,
}

impl<'c> Taken<'c> {
    /// Both words of each of its descriptors in a packed ring, read again.
    ///
    /// A driver that changed them meanwhile has another chain in the record than the device has
    /// taken. That one is walked and checked like any, if it is ever taken from there: whoever
    /// changes what is in flight spoils a request of his own.
    pub fn words(&self) -> impl Iterator<Item = [u64; 2]> + 'c {
        let runs = self.ring.clone();
        runs.into_iter()
            .flat_map(|(first, second)| first.chain(second))
            .map(|slot| [slot.first(), slot.second()])
            .take(self.descriptors.into())
    }
}

/// Where a queue begins that another device has served before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Where the next chain will be given back: in a split ring, the used index; in a packed one, the
    /// place of a descriptor, and in bit 15 the wrap counter, as
    /// [`Queue::position`](crate::device::Queue::position) says it.
    pub used: u16,
    /// Chains that were taken and not given back, in the order in which they are to be taken again:
    /// before all others.
    pub in_flight: Vec<InFlight>,
}

/// A chain that was taken, and not given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// Of a split ring: its first descriptor.
    Head(u16),
    /// Of a packed ring: both words of each of its descriptors, as they were.
    Words(Vec<[u64; 2]>),
}
