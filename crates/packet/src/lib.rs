//! What a network card does with a packet beside carrying it: checksums, segments, hashes.
//!
//! Both ends of a network device need it: a driver whose device lacks an offload, and a device whose
//! packets go where nobody has it. Everything works on bytes that are the caller's own, allocates
//! nothing, and takes nothing in them for granted: a packet, and the [`Header`] before it, may be
//! anybody's.
//!
//! ```
//! use ringway_packet::{Checksum, checksum};
//!
//! // Not a packet of TCP or UDP: there is no checksum to judge.
//! assert_eq!(checksum::judge(&[0; 60]), Checksum::None);
//! ```
//!
//! Spec: VIRTIO 1.4 §5.1.9 "Device Operation".
//!
//! [`Header`]: ringway_spec::net::Header
#![no_std]
#![forbid(unsafe_code)]

use core::fmt;

pub mod checksum;
pub mod hash;
mod headers;
mod pieces;

pub use checksum::Checksum;
pub use hash::Toeplitz;
pub use headers::{Addresses, Extended, Headers, Transport};
pub use pieces::{Pieces, TooSmall};

/// Bytes of an Ethernet header without tags.
pub const ETHERNET: usize = 14;

/// Why a packet is not what the header before it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The checksum begins, or is to be put, beyond the end of a packet of so many bytes.
    ChecksumOutside {
        /// `csum_start` of the header.
        start: u16,
        /// `csum_offset` of the header.
        offset: u16,
        /// Bytes of the packet.
        len: usize,
    },
    /// It is to be cut, and its checksum is not left to do (§5.1.9.2.1).
    ChecksumNotLeft,
    /// It is to be cut into segments of no bytes.
    NoSegmentSize,
    /// It is to be cut in a way that has another number than those known.
    UnknownCut(u8),
    /// It is to be cut, and its headers are not those of such a packet.
    OtherHeaders,
    /// It is to be cut, and its transport's header is not where the checksum begins.
    OtherStart {
        /// `csum_start` of the header.
        start: u16,
        /// Where the transport's header is.
        transport: usize,
    },
    /// It is to be cut, and is longer than headers can say.
    TooLong(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChecksumOutside { start, offset, len } => write!(
                f,
                "checksum from byte {start} on, put {offset} bytes after it, in a packet of {len}"
            ),
            Self::ChecksumNotLeft => {
                f.write_str("packet to be cut whose checksum is not left to do")
            }
            Self::NoSegmentSize => f.write_str("packet to be cut into segments of 0 bytes"),
            Self::UnknownCut(kind) => write!(f, "packet to be cut in way {kind}, which is none"),
            Self::OtherHeaders => {
                f.write_str("packet to be cut whose headers are of another kind than it says")
            }
            Self::OtherStart { start, transport } => write!(
                f,
                "packet to be cut whose checksum begins at byte {start}, and its transport's header at {transport}"
            ),
            Self::TooLong(len) => write!(f, "packet of {len} bytes to be cut: none is so long"),
        }
    }
}

impl core::error::Error for Malformed {}
