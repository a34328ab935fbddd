//! The back-end: serves a [`Device`](ringway_device::Device) to a front-end.
//!
//! - [`Session`]: the rules of a connection, without I/O.
//! - [`Carrier`]: what a session acts on.

mod carrier;
mod refusal;
mod session;

pub use carrier::{Carrier, Kick, Logging, Start};
pub use refusal::{Fault, Refusal};
pub use session::{Answer, RINGS_MAX, Session};
