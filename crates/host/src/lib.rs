//! What device models stand on when an operating system is there: disk images ([`Image`]), entropy
//! ([`OsEntropy`]), and what cards are connected to ([`net`]). Linux.
//!
//! An image is read and written where the driver's memory is, by calls that need not wait, or through a
//! ring of the kernel; much that is in memory is copied from there: [`Method`]. It is locked, and read
//! past the system's cache if that is wanted: [`Options`].
//!
//! Each implements a narrow trait of `ringway-device`, and knows nothing of queues or registers.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod channel;
mod direct;
mod disk;
mod entropy;
mod error;
mod lock;
mod mapped;
pub mod net;
mod options;
mod sys;
mod uring;

pub use disk::Image;
pub use entropy::OsEntropy;
pub use error::{Error, Result};
pub use options::{Access, Cache, Locking, Method, Options};
