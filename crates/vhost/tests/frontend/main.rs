//! The front-end: our drivers over a socket, against our own back-end, and against such as do as they
//! please.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod cards;
mod driven;
mod fake;
mod gone;
mod hostile;
mod leaks;
mod liar;
mod rust_vmm;
mod served;
mod their_disk;
