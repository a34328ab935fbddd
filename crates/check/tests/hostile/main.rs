//! The four programs of the rings, each against a peer that may do anything.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod arena;
mod device_end;
mod driver_end;
mod history;
mod misdeeds;
mod seam;
