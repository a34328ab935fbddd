//! Checksums of IP, TCP and UDP.

use ringway_spec::net::{Header, HeaderFlags};

use crate::Malformed;
use crate::headers::{Addresses, Headers, Transport};

/// What a packet's checksum is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It is right.
    Right,
    /// It is not.
    Wrong,
    /// There is none: it is not of TCP or UDP, or is a fragment, or of UDP without one.
    None,
}

/// Completes the checksum that `header` leaves to whoever sends the packet on: sums from `csum_start` to
/// the end, and puts the sum `csum_offset` bytes after it (§5.1.9.2). Does nothing if it leaves none.
///
/// # Errors
///
/// [`Malformed::ChecksumOutside`]: nothing was changed.
pub fn complete(header: &Header, packet: &mut [u8]) -> Result<(), Malformed> {
    if header.flags & HeaderFlags::NEEDS_CSUM.bits() == 0 {
        return Ok(());
    }
    let (start, offset) = (header.csum_start.get(), header.csum_offset.get());
    let outside = Malformed::ChecksumOutside {
        start,
        offset,
        len: packet.len(),
    };
    let summed = packet.get_mut(usize::from(start)..).ok_or(outside)?;
    let place = usize::from(offset);
    if summed.len() < place + 2 {
        return Err(outside);
    }
    // The field has the sum of the pseudo header, which belongs to the sum.
    let sum = not_zero(!Sum::default().bytes(summed).folded());
    summed[place..place + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// Looks whether the checksum of a packet of TCP or UDP is right.
pub fn judge(packet: &[u8]) -> Checksum {
    let Some(headers) = Headers::of(packet) else {
        return Checksum::None;
    };
    let Some((transport @ (Transport::Tcp | Transport::Udp), at)) = headers.transport else {
        return Checksum::None;
    };
    if headers.fragment {
        return Checksum::None;
    }
    let Some(segment) = packet.get(at..end(&headers, packet)) else {
        return Checksum::Wrong;
    };
    if transport == Transport::Udp && segment.get(6..8) == Some(&[0, 0]) {
        return Checksum::None;
    }
    let number = match transport {
        Transport::Tcp => 6,
        _ => 17,
    };
    let sum = pseudo(&headers.addresses, number, segment.len()).bytes(segment);
    match sum.folded() {
        0xffff => Checksum::Right,
        _ => Checksum::Wrong,
    }
}

/// Where the packet ends, as IP has it: Ethernet may fill it up.
pub(crate) fn end(headers: &Headers, packet: &[u8]) -> usize {
    let field = |at| crate::headers::array(packet, headers.network + at).map(u16::from_be_bytes);
    let (fixed, len) = match headers.addresses {
        Addresses::V4 { .. } => (0, field(2)),
        Addresses::V6 { .. } => (40, field(4)),
    };
    headers.network + fixed + usize::from(len.unwrap_or(0))
}

/// The sum of the pseudo header of a segment of `len` bytes.
pub(crate) fn pseudo(addresses: &Addresses, number: u8, len: usize) -> Sum {
    let sum = match addresses {
        Addresses::V4 {
            source,
            destination,
        } => Sum::default().bytes(source).bytes(destination),
        // A packet that is routed by type 2 arrives where its header says, and a home address is
        // whom it comes from (RFC 6275, 6.1.6 and 6.3).
        Addresses::V6 {
            source,
            destination,
            extended,
        } => {
            let extended = extended.unwrap_or_default();
            Sum::default()
                .bytes(&extended.home.unwrap_or(*source))
                .bytes(&extended.routed.unwrap_or(*destination))
        }
    };
    sum.word(len as u64).word(u64::from(number))
}

/// A sum in ones' complement, not folded yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// Adds bytes, the first of which is the higher one of its word. An odd last one is followed by 0.
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        // Words of 32 bits leave room for 2³² of them before anything is lost.
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.0 += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        self.0 += u64::from(u32::from_be_bytes(last));
        self
    }

    /// Adds a number.
    pub(crate) fn word(mut self, word: u64) -> Self {
        self.0 += word & 0xffff_ffff;
        self
    }

    /// The sum, in 16 bits.
    pub(crate) fn folded(self) -> u16 {
        let mut sum = self.0;
        // Three turns at most: 64 bits, 33, 18, 16.
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

/// A checksum of 0 means none in UDP, and is the same number as this.
pub(crate) fn not_zero(sum: u16) -> u16 {
    match sum {
        0 => 0xffff,
        sum => sum,
    }
}

#[cfg(test)]
mod tests;
