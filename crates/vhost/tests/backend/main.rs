//! The back-end as a front-end meets it: over a real socket, with real memory, and with the driver's
//! end of our rings.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod connections;
mod front;
mod held;
mod holder;
mod inflight;
mod keeper;
mod leaks;
mod log;
mod net;
mod notifications;
mod requests;
mod rust_vmm;
mod served;
mod state;
mod translations;
