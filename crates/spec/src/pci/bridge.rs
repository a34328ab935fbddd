//! A bridge from one PCI bus to another: what its header, of type 1, has in the place of BARs. The
//! numbers are those of the PCI-to-PCI Bridge Architecture Specification 1.2, chapter 3.
//!
//! A bridge passes on what is between a base and its limit, both included, and to the buses from
//! the secondary to the subordinate one. With a base above the limit it passes on nothing.

/// The layout of the header that this module describes, in
/// [`HEADER_TYPE`](super::config::HEADER_TYPE).
pub const HEADER_TYPE_BRIDGE: u8 = 1;
/// The class code of a bridge between PCI buses: programming interface, subclass, class.
pub const CLASS: [u8; 3] = [0x00, 0x04, 0x06];

/// Number of BARs.
pub const BARS: u8 = 2;

/// Offset of the number of the bus that the bridge is on, 8 bits.
pub const PRIMARY_BUS: usize = 0x18;
/// Offset of the number of the bus behind the bridge, 8 bits.
pub const SECONDARY_BUS: usize = 0x19;
/// Offset of the highest number of a bus behind the bridge, 8 bits.
pub const SUBORDINATE_BUS: usize = 0x1a;

/// Offset of the first I/O port, divided by 256, 8 bits, of which the high four are the address.
pub const IO_BASE: usize = 0x1c;
/// Offset of the last I/O port, divided by 256, 8 bits, of which the high four are the address.
pub const IO_LIMIT: usize = 0x1d;
/// Bytes by which I/O ports are passed on.
pub const IO_GRANULE: u64 = 0x1000;

/// Offset of the first address of memory, divided by 65536, 16 bits, of which the high twelve are
/// the address.
pub const MEMORY_BASE: usize = 0x20;
/// Offset of the last address of memory, divided by 65536, 16 bits, of which the high twelve are
/// the address.
pub const MEMORY_LIMIT: usize = 0x22;
/// Offset of the first address of prefetchable memory, as [`MEMORY_BASE`]; the low four bits are 1
/// if its high half is at [`PREFETCHABLE_BASE_HIGH`].
pub const PREFETCHABLE_BASE: usize = 0x24;
/// Offset of the last address of prefetchable memory, as [`MEMORY_LIMIT`].
pub const PREFETCHABLE_LIMIT: usize = 0x26;
/// Offset of the high half of the first address of prefetchable memory, 32 bits.
pub const PREFETCHABLE_BASE_HIGH: usize = 0x28;
/// Offset of the high half of the last address of prefetchable memory, 32 bits.
pub const PREFETCHABLE_LIMIT_HIGH: usize = 0x2c;
/// Bytes by which memory is passed on.
pub const MEMORY_GRANULE: u64 = 0x10_0000;
