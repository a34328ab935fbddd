//! What device models stand on when an operating system is there: disk images ([`Image`]) and
//! entropy ([`OsEntropy`]). Linux.
//!
//! An image is read and written where the driver's memory is, by calls that need not wait, or through a
//! ring of the kernel: [`Method`].
//!
//! Each implements a narrow trait of `ringway-device`, and knows nothing of queues or registers.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects))]

mod channel;
mod disk;
mod entropy;
mod error;
mod sys;
mod uring;

pub use disk::{Access, Image, Method};
pub use entropy::OsEntropy;
pub use error::{Error, Result};
