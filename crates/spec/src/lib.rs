//! What virtio puts on the wire: structures, constants, feature bits and register maps.
//!
//! Nothing here acts: the crate has no `unsafe`, allocates nothing, and its only functions do sums
//! and look up names. Driver, device and tools read the same definitions, so they cannot disagree
//! about a layout.
//!
//! ```
//! use ringway_spec::blk::{self, Config, RequestHeader, RequestType};
//! use ringway_spec::le::U64;
//! use ringway_spec::{DeviceId, F, Features};
//! use zerocopy::IntoBytes;
//!
//! // Features are 128 bits wide, and know their names.
//! let offered = F::VERSION_1 | blk::F::BLK_SIZE | Features::bit(99);
//! let names: Vec<String> = offered.names(DeviceId::BLOCK).map(|n| n.to_string()).collect();
//! assert_eq!(names, ["BLK_SIZE", "VERSION_1", "BIT_99"]);
//!
//! // And where they are defined.
//! let sections: Vec<_> = offered.names(DeviceId::BLOCK).map(|n| n.section()).collect();
//! assert_eq!(sections, [Some("5.2.3"), Some("6"), None]);
//!
//! // A configuration field knows its offset, its type, and the feature that makes it exist.
//! assert_eq!(Config::BLK_SIZE.field().offset(), 20);
//! assert!(Config::BLK_SIZE.exists(offered));
//!
//! // Structures are little-endian at any address, with no padding: they are their bytes.
//! let read = RequestHeader { sector: U64::new(2), ..RequestHeader::new(RequestType::IN) };
//! assert_eq!(read.as_bytes(), [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
//! ```
//!
//! Three conventions hold throughout:
//!
//! * Integers of [`le`] have alignment 1 and a byte order, so a structure has neither padding nor
//!   endianness of its own.
//! * Enumerations are newtypes with constants: both ends must be able to hold a value that they do
//!   not know.
//! * Names are the specification's; the C spelling (`VIRTIO_BLK_F_RO`) is a search alias.
//!
//! Spec: VIRTIO 1.4.

#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod macros;

pub mod admin;
pub mod balloon;
pub mod blk;
pub mod can;
pub mod config;
pub mod console;
pub mod crypto;
pub mod entropy;
pub mod features;
pub mod fs;
pub mod gpio;
pub mod gpu;
pub mod i2c;
mod id;
pub mod input;
mod interrupt;
pub mod iommu;
pub mod media;
pub mod mem;
pub mod mmio;
mod modalias;
mod names;
pub mod net;
pub mod packed;
pub mod pci;
pub mod pmem;
pub mod rpmb;
pub mod rtc;
pub mod scmi;
pub mod scsi;
pub mod sound;
pub mod spi;
pub mod split;
mod status;
pub mod vsock;

pub use features::{F, Features};
pub use id::DeviceId;
pub use interrupt::InterruptStatus;
pub use modalias::{Modalias, NotModalias};
pub use status::Status;

/// Little-endian integers of alignment 1, as the wire has them (§1.4).
pub mod le {
    pub use zerocopy::little_endian::{U16, U32, U64};
}
