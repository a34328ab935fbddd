//! What network cards are connected to: a [`Port`] for each.
//!
//! | a card is to reach | port |
//! | --- | --- |
//! | the host and its network | [`Tap`] |
//! | other cards of this process | [`Switch`] |
//! | itself: to measure a card and its driver, or to try one out | [`Loopback`] |
//! | nobody: to measure how fast a driver sends | [`Nowhere`] |
//!
//! Two stand before any other: [`Pcap`] writes down what goes through it, and [`Adverse`] loses,
//! doubles and delays packets, for whoever is to bear that.
//!
//! [`Port`]: ringway_device::net::Port

mod adverse;
mod pcap;
mod switch;
mod tap;
mod work;

pub use adverse::{Adverse, Weather};
pub use pcap::{Counts as PcapCounts, Pcap, SNAP_MAX};
pub use ringway_device::net::{Loopback, Nowhere};
pub use switch::{Switch, SwitchPort};
pub use tap::{Counts as TapCounts, QUEUES_MAX as TAP_QUEUES_MAX, Tap, TapOptions, Work};
