//! The front-end: drivers in an ordinary process, for devices of back-ends.
//!
//! - [`Platform`]: what drivers need of the operating system: memory that back-ends are given,
//!   interrupts, time.
//! - [`Transport`]: a device behind a socket. Any driver of `ringway-driver` drives it.
//!
//! ```text
//!   driver ── Queue ──▶ Kick ─────────── descriptor ─▶ ┐
//!     │        └──────▶ Platform ◀────── descriptor ── ├ back-end
//!     └─ Live ─▶ Transport ─▶ Link ─▶ Session ─▶ Wire ◀▶ ┘
//!                              └─ Told: again, to the next back-end
//! ```
//!
//! The data path touches none of what is in the lower row.
//!
//! A back-end that goes away is waited for ([`Reconnect`]), and the next one is told all that the one
//! before was. What is in flight stays there, and is completed by the next one; a driver sees nothing
//! but that it takes longer. It is completed once, whatever the order, if the back-end remembers what
//! is in flight (`INFLIGHT_SHMFD`). Without that, only one that completes in order can be replaced
//! without a request being done twice, or never.
//!
//! Back-ends of network cards have neither configuration nor a queue of commands: those are this end's
//! ([`CardOptions`]), and drivers see a card as any other.
//!
//! No back-end is believed. What it answers is checked; what it says of its own accord is bounded;
//! and what it writes to memory is the driver's queue's to judge. It has the memory of the platform
//! for as long as it is there, all of it.
//!
//! ```no_run
//! use core::time::Duration;
//! use ringway_driver::Error;
//! use ringway_driver::blk::Blk;
//! use ringway_driver::bringup::Acknowledged;
//! use ringway_driver::bus::Driver;
//! use ringway_driver::dma::DmaBuffer;
//! use ringway_spec::DeviceId;
//! use ringway_vhost::frontend::{Options, Platform, Transport};
//!
//! let platform = Platform::new(&Default::default())?;
//! let transport = Transport::connect(&platform, "disk.sock", Options::new(DeviceId::BLOCK))?;
//! let mut disk = Blk::probe(Acknowledged::new(transport)?.driver()?)?;
//!
//! let buffer = DmaBuffer::new(&platform, 4096).map_err(Error::from)?;
//! disk.read(0, buffer)?;
//! let done = disk.wait(Duration::from_secs(1))?;
//! assert!(done.result.is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calls;
mod card;
mod error;
mod kick;
mod link;
mod links;
mod options;
mod platform;
mod resume;
mod session;
mod share;
mod told;
mod transport;
mod wire;

pub use error::{Error, Result, Violation};
pub use kick::Kick;
pub use options::{
    CardOptions, Event, Notify, Observer, Options, PROTOCOL_WANTED, Reconnect, Translation,
};
pub use platform::{Dispatcher, HugePages, MemoryOptions, Platform};
pub use transport::Transport;
