//! Where everything is, as bus and device addresses. No two kinds of address share a range, and
//! none is one that a program has for its own memory: an address of the wrong kind is found out by
//! its first use. I/O ports have numbers of their own.
//!
//! ```text
//! 0x0000_0a00_0000  MMIO slots
//! 0x0000_4000_0000  PCI memory below 4 GiB
//! 0x0000_fee0_0000  messages of interrupts
//! 0x0001_0000_0000  RAM, as devices see it
//! 0x0080_0000_0000  PCI memory above 4 GiB
//! 0x0100_0000_0000  memory that devices in slots share
//! 0x1000_0000_0000  what the IOMMU gives out
//! ```

use core::ops::Range;

/// Bytes of a page: RAM is handed out in these, and the IOMMU keeps mappings so far apart.
pub(crate) use ringway_driver::pages::PAGE;

/// Where the first MMIO slot is.
pub(crate) const MMIO_BASE: u64 = 0x0a00_0000;
/// Most MMIO slots. What a board might have.
pub(crate) const MMIO_SLOTS_MAX: usize = 64;

/// Bus addresses for PCI BARs of 32 bits.
pub(crate) const PCI_LOW: Range<u64> = 0x4000_0000..0x8000_0000;
/// Bus addresses for PCI BARs of 64 bits.
pub(crate) const PCI_HIGH: Range<u64> = 0x80_0000_0000..0x100_0000_0000;

/// Bus addresses of the memory that devices in MMIO slots share with their drivers.
pub(crate) const SHARED: Range<u64> = 0x100_0000_0000..0x180_0000_0000;
/// Bytes between what the device in one slot shares, and that in the next.
pub(crate) const SHARED_STRIDE: u64 = 0x1_0000_0000;

/// Most bridges, one behind the other. More than a computer has.
pub(crate) const BRIDGES_MAX: usize = 8;

/// I/O ports for PCI BARs. Those below are a board's own.
pub(crate) const PCI_PORTS: Range<u64> = 0x1000..0x1_0000;

/// Where the message of the first vector goes.
pub(crate) const MESSAGES: u64 = 0xfee0_0000;
/// Bytes between the message of one vector and the next.
pub(crate) const MESSAGE_STRIDE: u64 = 16;
/// What the message of the first vector says.
pub(crate) const MESSAGE_DATA: u32 = 0x4000;

/// Device address of the first byte of RAM.
pub(crate) const RAM_BASE: u64 = 0x1_0000_0000;
/// Most bytes of RAM: up to the next range, with room to spare.
pub(crate) const RAM_MAX: usize = 64 << 30;

/// Device addresses that the IOMMU gives out.
pub(crate) const IOVA: Range<u64> = 0x1000_0000_0000..0x2000_0000_0000;

/// The first of the four lines that PCI functions share.
pub(crate) const PCI_LINE: u32 = 16;
/// How many lines PCI functions share.
pub(crate) const PCI_LINES: u32 = 4;
/// The line of the first MMIO slot. Each slot has its own.
pub(crate) const MMIO_LINE: u32 = 32;
