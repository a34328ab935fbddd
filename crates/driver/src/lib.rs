//! The driver's end of virtio: transports, bring-up, custody of memory, and drivers.
//!
//! From the bottom up:
//!
//! - [`platform`]: what the operating system provides, as one value. [`pages`]: memory for devices,
//!   for platforms that have one long stretch of it.
//! - [`registers`]: ready-made windows of device registers.
//! - [`transport`]: the small table of operations that every way to reach a device can do. [`pci`]
//!   and [`mmio`] are two.
//! - [`bringup`]: from reset to live, in states that are consumed: the order of §3.1.1 cannot be
//!   got wrong.
//! - [`dma`]: queues, and the custody of the buffers in them.
//! - [`admin`]: the queues through which a device is asked about itself and others, beside any driver.
//! - [`blk`], [`entropy`]: the drivers. [`bus`]: finding the device that a driver is for.
//!
//! The device is not trusted further than the platform says it is: see [`platform::Trust`].
//!
//! Spec: VIRTIO 1.4 §3 "General Initialization And Device Operation".
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(feature = "alloc")]
pub mod admin;
#[cfg(feature = "alloc")]
pub mod blk;
#[cfg(feature = "alloc")]
pub mod bringup;
#[cfg(feature = "alloc")]
pub mod bus;
pub mod dialect;
#[cfg(feature = "alloc")]
pub mod dma;
#[cfg(feature = "alloc")]
pub mod entropy;
pub mod error;
#[cfg(feature = "alloc")]
pub mod interrupt;
pub mod mmio;
#[cfg(feature = "alloc")]
pub mod pages;
pub mod pci;
pub mod platform;
pub mod registers;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod testing;
pub mod transport;
#[cfg(feature = "alloc")]
mod wait;

pub use error::{Error, Result};
