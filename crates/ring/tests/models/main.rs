//! Both ends of a queue as two threads whose memory and order loom decides: every history that
//! relaxed memory allows, within the bounds of `explore`.
//!
//! The programs are the real ones; see `ringway_ring::model`. Run by `cargo xtask test models`.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod ends;
mod fences;
mod memory;
mod scenarios;
