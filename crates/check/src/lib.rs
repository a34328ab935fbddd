//! Judges of virtio devices and drivers.
//!
//! - [`exercise`]: drives devices for real and says what each of them did.
//! - [`hostile`]: peers that break the rules of a ring, at either end of it.
//! - [`report`]: what is said at the end. [`event`]: what is said meanwhile, one JSON object a
//!   line.
//!
//! Nothing here needs an operating system: the same code runs in a process and in a bare-metal
//! image.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod event;
pub mod exercise;
pub mod hostile;
pub mod report;
pub mod tree;
