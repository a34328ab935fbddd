//! Rings of both formats, both ends: against each other, and each against a peer that cheats.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod at_once;
mod both_ends;
mod chains;
mod common;
mod hostile_device;
mod hostile_driver;
mod obeyed;
mod packed_hostile_device;
mod packed_hostile_driver;
mod packed_obeyed;
mod raw;
mod resumed;
mod shown;
mod sizes;
mod split_obeyed;
