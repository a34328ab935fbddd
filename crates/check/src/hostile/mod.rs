//! Peers that break the rules of a ring, for judging the other end of it.
//!
//! [`Device`] is a device for a driver's end to be tried against, and [`Driver`] a driver for a
//! device's end. Each owns a view of the memory that the ring and its buffers are in, and does there, one
//! [`step`](Device::step) at a time and as chance has it, what an honest one does; a
//! [hostile](Conduct::Hostile) one misbehaves between. Every misdeed has a name, and the same seed makes
//! the same steps. Neither looks at anything but that memory, so a ring of any origin can be judged.
//!
//! A hostile peer does its worst between any two reads of the end that is tried: call `step` from where
//! that end reads, if it can be had there, or else between its calls. What must hold then: no owner of a buffer is
//! lost or given back twice, no byte is touched that the ring does not name, and the rule that was
//! broken is reported for good. With an [honest](Conduct::Honest) peer nothing is ever reported.
//!
//! ```
//! use ringway_check::hostile::{Conduct, Device, Ring};
//! use ringway_ring::driver::{Geometry, Memory, Queue, Segment};
//! use ringway_ring::map::{Map, Region};
//! use ringway_ring::shared::Shared;
//! use ringway_spec::Features;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let geometry = Geometry::new(8, 0).ok_or("no such size")?;
//! let shared = Shared::allocate(geometry.bytes(), 64).ok_or("no memory")?;
//! let (features, address) = (Features::NONE, 0x1000);
//! let map = Map::new(vec![Region { start: address, memory: shared.clone() }])?;
//! let memory = Memory { shared, address };
//! let mut queue = Queue::new(&memory, geometry, features, 0).ok_or("no queue")?;
//! let areas = geometry.areas(address);
//! let ring = Ring { map: &map, size: 8, areas, features, start: 0 };
//! let mut device = Device::new(&ring, Conduct::Hostile { one_in: 4 }, 1).ok_or("no ring")?;
//!
//! while queue.violation().is_none() {
//!     let _full = queue.submit(&[], &[Segment { address: 0x2000, len: 8 }], "mine");
//!     queue.kick_needed();
//!     device.step();
//!     if let Ok(Some(done)) = queue.poll() {
//!         assert!(done.written <= 8, "{}", device.record());
//!     }
//! }
//! assert!(device.record().misdeeds().count() > 0, "of an honest device nothing is reported");
//! # Ok(())
//! # }
//! ```
//!
//! [`Forge`] reads and writes the fields of a ring without any thought for what is allowed, for tests
//! that want one very forgery.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".

use alloc::collections::VecDeque;
use core::fmt;

use ringway_ring::driver::Areas;
use ringway_ring::map::Map;
use ringway_spec::Features;

use crate::exercise::Numbers;

pub mod device;
pub mod driver;
mod forge;

pub use device::Device;
pub use driver::Driver;
pub use forge::{DESCRIPTOR_BYTES, Descriptor, Forge, Place};

/// The queue that a peer is at one end of.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m> {
    /// The memory of the ring, and of its buffers.
    pub map: &'m Map,
    /// How many descriptors the ring has.
    pub size: u16,
    /// Where they are.
    pub areas: Areas,
    /// What both ends agreed to: the format, and what else a peer makes use of.
    pub features: Features,
    /// How many chains (split) or descriptors (packed) went over the ring before, modulo 65,536.
    pub start: u16,
}

/// How a peer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// As the specification asks, in an order of its own.
    Honest,
    /// Honest in all steps but one of so many, on average.
    Hostile {
        /// How many. 1 is never honest.
        one_in: u64,
    },
}

impl Conduct {
    fn errs(self, numbers: &mut Numbers) -> bool {
        match self {
            Self::Honest => false,
            Self::Hostile { one_in } => numbers.below(one_in) == 0,
        }
    }
}

/// Most misdeeds that are remembered by name: the last ones.
const REMEMBERED: usize = 16;

/// What a peer did, as a failing test tells it.
#[derive(Clone, Debug)]
pub struct Record<M> {
    seed: u64,
    steps: u64,
    misdeeds: VecDeque<(u64, M)>,
}

impl<M: Copy> Record<M> {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            steps: 0,
            misdeeds: VecDeque::new(),
        }
    }

    fn note(&mut self, misdeed: M) {
        if self.misdeeds.len() == REMEMBERED {
            self.misdeeds.pop_front();
        }
        self.misdeeds.push_back((self.steps, misdeed));
    }

    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The latest misdeeds, and in which step each was done, the last one at the end.
    pub fn misdeeds(&self) -> impl Iterator<Item = (u64, M)> {
        self.misdeeds.iter().copied()
    }
}

impl<M: fmt::Display> fmt::Display for Record<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer of seed {}, {} steps", self.seed, self.steps)?;
        for (step, misdeed) in &self.misdeeds {
            write!(f, "; step {step}: {misdeed}")?;
        }
        Ok(())
    }
}

/// An element of what is not empty.
fn pick<T: Copy + Default>(numbers: &mut Numbers, from: &[T]) -> T {
    let at = numbers.below(from.len() as u64);
    from.get(at as usize).copied().unwrap_or_default()
}

/// Values that a peer might hope for: small ones, the ends of ranges, anything.
fn odd16(numbers: &mut Numbers, near: u16) -> u16 {
    match numbers.below(4) {
        0 => numbers.below(u64::from(near) + 2) as u16,
        1 => near.wrapping_add(numbers.below(4) as u16),
        2 => pick(numbers, &[0, 0x7fff, 0x8000, 0xffff]),
        _ => numbers.draw() as u16,
    }
}

fn odd32(numbers: &mut Numbers) -> u32 {
    match numbers.below(4) {
        0 => numbers.below(4) as u32,
        1 => numbers.below(256) as u32,
        2 => pick(numbers, &[0x8000_0000, u32::MAX, u32::MAX - 15, 0x1_0000]),
        _ => numbers.draw() as u32,
    }
}
