//! What every message begins with.

use bitflags::bitflags;

use super::Malformed;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 12;

/// Most bytes of a payload, against a peer that announces gigabytes.
pub const PAYLOAD_MAX: usize = 4096;

/// Most file descriptors beside one message: one for each region of a memory table.
pub const DESCRIPTORS_MAX: usize = 8;

bitflags! {
    /// The flags of a message, less its version.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// It answers a request.
        const REPLY = 1 << 2;
        /// It wants an answer, whether its request has one or not
        /// ([`REPLY_ACK`](super::ProtocolFeatures::REPLY_ACK)).
        const NEED_REPLY = 1 << 3;
    }
}

/// The two bits of the flags that say the version.
const VERSION_BITS: u32 = 0b11;
/// The version that there is.
const VERSION: u32 = 1;

/// The header of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the request. A reply has that of the request it answers.
    pub request: u32,
    /// What kind of message it is.
    pub flags: Flags,
    /// Bytes of the payload. At most [`PAYLOAD_MAX`].
    pub size: u32,
}

impl Header {
    /// The header that these bytes are. Flags that mean nothing are ignored.
    ///
    /// # Errors
    ///
    /// [`Malformed::Version`] and [`Malformed::TooLarge`]: where the next message begins is then not
    /// known.
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Result<Self, Malformed> {
        let [r0, r1, r2, r3, f0, f1, f2, f3, s0, s1, s2, s3] = bytes;
        let request = u32::from_ne_bytes([r0, r1, r2, r3]);
        let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
        let size = u32::from_ne_bytes([s0, s1, s2, s3]);
        if flags & VERSION_BITS != VERSION {
            return Err(Malformed::Version(flags & VERSION_BITS));
        }
        if size as usize > PAYLOAD_MAX {
            return Err(Malformed::TooLarge(size));
        }
        Ok(Self {
            request,
            flags: Flags::from_bits_truncate(flags),
            size,
        })
    }

    /// The bytes that it is.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [r0, r1, r2, r3] = self.request.to_ne_bytes();
        let [f0, f1, f2, f3] = (self.flags.bits() | VERSION).to_ne_bytes();
        let [s0, s1, s2, s3] = self.size.to_ne_bytes();
        [r0, r1, r2, r3, f0, f1, f2, f3, s0, s1, s2, s3]
    }
}
