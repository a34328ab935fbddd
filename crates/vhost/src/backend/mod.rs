//! The back-end: serves a [`Device`](ringway_device::Device) to a front-end.
//!
//! - [`Server`]: listens, or connects, and serves one front-end after another.
//! - [`Session`]: the rules of a connection, without I/O, for whatever it acts on: a [`Carrier`].
//! - [`DeviceCarrier`]: a device, and what a front-end gave it.
//!
//! ```text
//! Socket ──messages──▶ Session ──what is in order──▶ DeviceCarrier ──Task──▶ EventLoop
//! ```

mod carrier;
mod device;
mod event;
mod neighbour;
mod records;
mod refusal;
mod ring;
mod server;
mod session;
mod state;
mod view;
mod wires;

pub use carrier::{Carrier, Kick, Logging, ResetBy, Start};
pub use device::{DeviceCarrier, LIMITS};
pub use event::{Chains, Event, Observer, Reason, Traffic};
pub use refusal::{Fault, Refusal};
pub use server::{Place, Server};
pub use session::{Answer, RINGS_MAX, Session};
pub use wires::ConfigNotifier;
