//! The floor under the drivers: a machine without an operating system.
//!
//! [`bring_up()`] takes a freshly started x86-64 CPU and returns with an allocator, interrupts, a
//! clock and a watchdog in place. What runs on it prints JSON lines on the first serial port and
//! leaves by [`exit`]; a panic, an exception and a hang are reported there as well ([`failure`])
//! and end the machine.
//!
//! One CPU, one address space in which virtual and physical addresses are the same, and RAM below 4
//! GiB only, so that every block of memory can be given to any device by its own address.
//!
//! | file | |
//! | --- | --- |
//! | [`command_line`], [`start_info`], [`json`], [`http`] | what comes in and goes out; tested on any machine |
//! | [`memory`], `paging`, `layout`, `compiler` | RAM, protection, the image's own extent, `memcpy` and its kin |
//! | [`serial`], [`failure`], [`exit`] | how results leave |
//! | [`interrupts`], [`time`], [`watchdog`] | handlers by vector, the clock, the guard against hangs |
//! | [`pci`] | configuration space |
//! | [`platform`], [`exercise`], `net` | what all of it provides to the drivers, and the drivers at work |

#![cfg_attr(not(test), no_std)]

extern crate alloc;

pub mod command_line;
pub mod error;
pub mod http;
pub mod json;
pub mod start_info;

// Everything below needs the bare machine; a test on the host has another.
#[cfg(not(test))]
mod compiler;
#[cfg(not(test))]
mod cpu;
#[cfg(not(test))]
pub mod exercise;
#[cfg(not(test))]
pub mod exit;
#[cfg(not(test))]
pub mod failure;
#[cfg(not(test))]
pub mod interrupts;
#[cfg(not(test))]
mod layout;
#[cfg(not(test))]
pub mod lock;
#[cfg(not(test))]
pub mod memory;
#[cfg(not(test))]
mod net;
#[cfg(not(test))]
mod paging;
#[cfg(not(test))]
pub mod pci;
#[cfg(not(test))]
mod pit;
#[cfg(not(test))]
pub mod platform;
#[cfg(not(test))]
pub mod serial;
#[cfg(not(test))]
pub mod time;
#[cfg(not(test))]
pub mod watchdog;

#[cfg(not(test))]
pub use bring_up::bring_up;
pub use error::Error;

#[cfg(not(test))]
mod bring_up;
