//! vhost-user, both ends: devices in a process of their own, and drivers in an ordinary one.
//!
//! The *front-end* has the driver's memory and shares it; the *back-end* serves the queues in it. They
//! talk over a Unix socket, with file descriptors beside the messages.
//!
//! - [`protocol`]: the messages, as values and as bytes. No I/O.
//! - [`iotlb`]: what a back-end knows of memory behind an IOMMU.
//! - [`ledger`]: what a back-end writes down while it serves a ring.
//! - [`socket`]: carries them, with the file descriptors beside them.
//! - [`memory`]: files that processes share, mapped.
//! - [`eventfd`]: notifications between processes.
//! - [`event_loop`]: a thread that serves rings.
//! - [`backend`]: a device, served.
//! - [`frontend`]: a transport and a platform for drivers in an ordinary process.
//!
//! Protocol: QEMU's `docs/interop/vhost-user.rst`.
#![cfg(target_os = "linux")]

pub mod backend;
pub mod event_loop;
pub mod eventfd;
pub mod frontend;
pub mod iotlb;
pub mod ledger;
pub mod memory;
pub mod protocol;
pub mod socket;
mod sync;
mod sys;
