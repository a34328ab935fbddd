//! The device's end of virtio: device models, and the transports as the registers that a driver
//! sees.
//!
//! A [`Device`] says what a device is; the [`Worker`]s it makes serve its queues. Neither knows how
//! it is reached: a *carrier* presents it, as PCI configuration space and BARs ([`pci::Function`]),
//! as an MMIO window ([`mmio::Window`]), or otherwise, and a [`Runner`] says on which thread
//! its queues are served.
//!
//! ```text
//! driver ──registers──▶ carrier ──features, configuration──▶ Device
//!                          │                                    │ makes
//!                          └──Task──▶ Runner ──run──▶ Queue + Worker ──Signal──▶ interrupts
//! ```
//!
//! What happens to a device without its driver's doing, it tells its carrier by a [`Notifier`]. What
//! a carrier cannot present is a [`Fault`], and its author's to put right.
//!
//! A carrier may be used by several threads at once. It holds no lock while it waits for a task to
//! stop, and a task interrupts without any lock that a register access holds for long.
//!
//! The driver is not trusted. Whatever it writes, a device answers, refuses, or asks to be reset;
//! it does not panic, hang or grow.
//!
//! Spec: VIRTIO 1.4 §2 "Basic Facilities of a Virtio Device".
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod admin;
pub mod blk;
pub mod config;
pub mod entropy;
mod error;
mod front;
pub mod interrupt;
mod limits;
pub mod mmio;
pub mod model;
mod notifier;
mod parts;
pub mod pci;
pub mod task;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
pub use limits::{Fault, Limits};
pub use model::{Device, STATE_MAX, SharedRegion, StateError, Worker};
pub use notifier::{Notified, Notifier};
pub use parts::{Interface, Offer, Parts};
pub use task::{Runner, Task};
