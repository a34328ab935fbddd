//! Queues that are started together.

use alloc::sync::Arc;
use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::dma::{Buffer, Pending, Queue, QueueOptions};
use crate::interrupt::Signal;
use crate::platform::Platform;
use crate::transport::{Doorbell, QueueSetup};

/// A queue that is about to be started.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'q> {
    /// Which one.
    pub index: u16,
    /// How it is set up.
    pub setup: &'q QueueSetup,
    /// What its interrupts raise.
    pub signal: &'q Arc<Signal>,
    /// How it was to be made.
    pub options: &'q QueueOptions,
}

/// Queues that are started together: one, one that is there with a feature only, a list, or a pair of
/// them.
pub trait QueueSet<P: Platform> {
    /// The same queues, live.
    type Live;

    /// Calls `each` with every queue.
    fn each(&self, each: &mut dyn FnMut(&Prepared<'_>));

    /// Makes them live, with a doorbell for each, in the order of `each`. `None` if there are
    /// fewer.
    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live>;
}

impl<P, B, Q, A> QueueSet<P> for Pending<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    type Live = Queue<P, B, Q, A>;

    fn each(&self, each: &mut dyn FnMut(&Prepared<'_>)) {
        each(&Prepared {
            index: self.index,
            setup: &self.setup,
            signal: &self.signal,
            options: &self.options,
        });
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        doorbells
            .next()
            .map(|doorbell| Pending::live(self, doorbell, interrupts))
    }
}

impl<P: Platform, S: QueueSet<P>> QueueSet<P> for Vec<S> {
    type Live = Vec<S::Live>;

    fn each(&self, each: &mut dyn FnMut(&Prepared<'_>)) {
        self.iter().for_each(|queue| queue.each(each));
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        self.into_iter()
            .map(|queue| queue.live(doorbells, interrupts))
            .collect()
    }
}

impl<P: Platform, S: QueueSet<P>> QueueSet<P> for Option<S> {
    type Live = Option<S::Live>;

    fn each(&self, each: &mut dyn FnMut(&Prepared<'_>)) {
        self.iter().for_each(|queue| queue.each(each));
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        match self {
            Some(queue) => queue.live(doorbells, interrupts).map(Some),
            None => Some(None),
        }
    }
}

impl<P: Platform, X: QueueSet<P>, Y: QueueSet<P>> QueueSet<P> for (X, Y) {
    type Live = (X::Live, Y::Live);

    fn each(&self, each: &mut dyn FnMut(&Prepared<'_>)) {
        self.0.each(each);
        self.1.each(each);
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        Some((
            self.0.live(doorbells, interrupts)?,
            self.1.live(doorbells, interrupts)?,
        ))
    }
}
