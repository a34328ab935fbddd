//! A machine in one process: where drivers and devices meet over real registers.
//!
//! A [`Machine`] has RAM, a PCI segment, MMIO slots and an interrupt controller. Devices are put on
//! it by its [`Builder`]; drivers have it as their [`Platform`]. Nothing is short-circuited: a
//! driver finds a device in configuration space or in a slot, sets up queues in RAM at device
//! addresses, kicks by a register, and hears of completions by a message or a line.
//!
//! ```text
//!  drivers ── Platform ──┬─ Bus ───────── Segment ── PciFunction  ┐
//!                        │         └───── slots ──── MmioDevice   ├─ Ports
//!                        ├─ Controller ◀──── messages and lines ──┤
//!                        ├─ Engine ◀───────── queues and kicks ───┤
//!                        └─ Pages, Iommu ───── views of memory ───┘
//! ```
//!
//! Device addresses are unlike addresses of this program, and bus addresses unlike either, so a
//! mix-up fails at its first use.
//!
//! It runs [on threads](Run::Threaded), or [step by step](Run::Inline) on the caller's own, in an
//! order that follows from a seed: a test that fails can be had again; or its queues are
//! [looked at](Run::Polled) in turn, and nobody kicks.
//!
//! Devices that break the rules can be put in any place: see [`PciFunction`], [`MmioDevice`] and
//! [`Ports`].
//!
//! ```
//! use core::time::Duration;
//! use ringway_device::entropy::{Entropy, Source};
//! use ringway_driver::{bus, entropy::Rng, mmio};
//! use ringway_machine::{Machine, Options, Run};
//!
//! struct Dice(u8);
//!
//! impl Source for Dice {
//!     fn fill(&mut self, into: &mut [u8]) -> ringway_device::Result {
//!         into.fill(self.0);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let machine = Machine::builder()
//!     .run(Run::Inline { seed: 1 })
//!     .mmio("dice", Box::new(Entropy::new(Dice(4))), Options::default())
//!     .build()?;
//! let slots = machine.mmio_slots().iter().copied();
//! let devices = mmio::scan(machine.platform(), slots).flatten();
//! let mut rng: Rng<_> = bus::probe(devices)?.ok_or("no source of entropy")?;
//!
//! rng.request(vec![0; 6].into()).map_err(|rejected| rejected.why)?;
//! let filled = rng.wait(Duration::from_secs(1))?;
//!
//! assert_eq!(*filled.buffer, [4; 6]);
//! # Ok(())
//! # }
//! ```

mod board;
mod bridge;
mod builder;
mod bus;
mod counters;
mod engine;
mod error;
mod firmware;
mod interrupts;
mod iommu;
mod layout;
mod machine;
mod platform;
mod ram;
mod segment;
mod sync;

pub use builder::{Builder, Options, Ports};
pub use bus::{MmioDevice, PciFunction};
pub use engine::{History, Run, Step};
pub use error::{Error, Result};
pub use firmware::Firmware;
pub use interrupts::{Connected, InterruptCounts, REDELIVERIES_MAX, Source};
pub use machine::{Attached, Change, Machine, Place};
pub use platform::{Direct, Platform, Reach, Window};

/// The examples of the README, run.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
