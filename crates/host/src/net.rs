//! What network cards are connected to: a [`Port`] for each.
//!
//! | a card is to reach | port |
//! | --- | --- |
//! | the host and its network | [`Tap`] |
//! | other cards of this process, perhaps the host, too | [`Switch`], and its [`uplink`](Switch::uplink) |
//! | itself: to measure a card and its driver, or to try one out | [`Loopback`] |
//! | nobody: to measure how fast a driver sends | [`Nowhere`] |
//!
//! Two stand before any other: [`Pcap`] writes down what goes through it, in a [`Capture`], and [`Adverse`] loses,
//! doubles and delays packets, for whoever is to bear that. A [`Timer`] is the time of cards whose notifications wait.
//!
//! [`Port`]: ringway_device::net::Port

mod adverse;
mod pcap;
mod switch;
mod tap;
mod timer;
mod work;

pub use adverse::{Adverse, Weather};
pub use pcap::{Capture, Counts as CaptureCounts, Pcap, SNAP_MAX};
pub use ringway_device::net::{Loopback, Nowhere};
pub use switch::{Switch, SwitchPort};
pub use tap::{Counts as TapCounts, QUEUES_MAX as TAP_QUEUES_MAX, Tap, TapOptions, Work};
pub use timer::Timer;
