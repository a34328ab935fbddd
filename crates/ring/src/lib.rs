//! Memory that two parties share, and virtqueues in it, at both ends.
//!
//! From the bottom up:
//!
//! - [`shared`]: bytes that a peer may be writing at any moment. Atomic loads and stores, copies in
//!   and out, never a reference.
//! - [`barrier`]: what orders those accesses against the peer's, and against a doorbell.
//! - [`map`]: a device's view of the driver's memory: device addresses to shared bytes.
//! - [`device`]: the device's end of a queue, whose chains are in a [`slab`]. [`driver`]: the
//!   driver's end (its queue comes with `alloc`).
//! - [`ledger`]: what a device's end writes down of its chains, for others to go on with.
//!
//! Neither end believes the other. What the peer wrote is read once, checked, and then used; what
//! this end wrote it remembers privately. A peer that breaks a rule is named in a `Violation`,
//! reported once, and the queue stays broken until reset.
//!
//! The format of the ring is chosen at run time by the negotiated features: split, or packed with
//! `RING_PACKED`. Each format has one file for each end; what they share is beside them.
//!
//! Spec: VIRTIO 1.4 §2.6 "Virtqueues".
#![no_std]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(test, loom))]
extern crate std;

pub mod barrier;
mod chain;
pub mod device;
pub mod driver;
mod entries;
mod in_order;
#[cfg(ringway_interpose)]
pub mod interpose;
#[cfg(feature = "alloc")]
mod kept;
#[cfg(feature = "alloc")]
pub mod ledger;
pub mod map;
#[cfg(loom)]
pub mod model;
mod packed;
pub mod shared;
pub mod slab;
mod split;
mod tables;
mod walk;

/// The example of the chapter on raw rings, run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/raw-rings.md")]
struct RawRings;
