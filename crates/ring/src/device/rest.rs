//! A queue that rests, and one that goes on in its place, which finds where it stood in what the
//! device wrote to the ring.
//!
//! A split ring says it by itself: the used index is where the next chain will be given back. A
//! packed ring does not, for a descriptor that was made available looks like the rest of a chain that
//! was used. So it is left where a device says of what it wants to be told, beside the flag that
//! says: of nothing.
//!
//! Spec: VIRTIO 1.4 §2.7.8 "The Virtqueue Used Ring",
//! §2.8.10 "Driver and Device Event Suppression".

use alloc::vec::Vec;

use ringway_spec::{F, Features};

use super::{Queue, Ring, Violation};
use crate::driver::Areas;
use crate::map::Regions;
use crate::packed::device::Device as Packed;
use crate::slab::Slab;
use crate::split::device::Device as Split;

impl<S: Slab> Queue<S> {
    /// Leaves in the ring where it stands, for a queue that [goes on](Queue::go_on) in its place, and
    /// asks the driver not to kick. That is the [place](Queue::used_position) at which the next chain
    /// will be given back: chains that are in flight will be taken again.
    pub fn rest(&mut self) {
        self.publish();
        match &mut self.ring {
            Ring::Split(ring) => ring.disarm(),
            Ring::Packed(ring) => ring.leave_position(),
        }
        self.books.wished();
    }
}

impl Queue {
    /// The queue of `size` that the driver laid out at `areas`, which goes on where another one
    /// [rested](Queue::rest). What the ring says is believed: whoever writes there what is not so has
    /// the driver's chains taken twice, or not at all.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new); [`Violation::Start`] if the queue cannot have rested there.
    pub fn go_on<'m>(
        regions: impl Into<Regions<'m>>,
        size: u16,
        areas: Areas,
        features: Features,
    ) -> Result<Self, Violation> {
        let regions = regions.into();
        let left = if features.contains(F::RING_PACKED) {
            Packed::new(regions, size, areas, features, 0)?.left_position()
        } else {
            Split::new(regions, size, areas, features, 0)?.left_position()
        };
        Self::at(regions, size, areas, features, left, Vec::new())
    }
}
