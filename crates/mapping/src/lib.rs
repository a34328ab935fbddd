//! Files mapped into this program, which goes on when they lose what was mapped.
//!
//! Whoever shares a file can make it smaller later, and a file system can be full when a hole is
//! looked at. The access that finds it out reads zeroes, and the mapping says that it is lost.
//!
//! [`Mapping`] is memory that is read and written, to be shared; [`ReadOnly`] is copied from, and asks
//! for no right to write.
#![cfg(target_os = "linux")]

mod pages;
mod survival;

pub use pages::{Mapping, ReadOnly, page_of};
pub use survival::{MAPPINGS_MAX, losses};
