//! Cuts a packet into those that a network carries. Spec: VIRTIO 1.4 §5.1.9.2 "Packet Transmission".

use core::fmt;

use ringway_spec::net::{GsoType, Header, HeaderFlags};

use crate::headers::{Addresses, Headers, Transport};
use crate::{Malformed, checksum};

mod fragment;
mod segment;

/// The packets that one is to be cut into, each with headers of its own and complete checksums.
///
/// They are written one after the other, each to where the caller has room for it.
#[derive(Clone, Copy, Debug)]
pub struct Pieces<'p> {
    packet: &'p [u8],
    headers: Headers,
    way: Way,
    /// Where what is cut begins: what is before it, every piece begins with.
    begin: usize,
    /// Most bytes of that in a piece.
    size: usize,
    /// How much of it is done.
    done: usize,
    /// How many pieces are.
    index: u16,
}

/// How pieces are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each is a segment of TCP.
    Tcp,
    /// Each is a datagram of UDP.
    Udp,
    /// Each is a fragment, of this identification if IP has no place for it.
    Fragment(u32),
}

/// There is no room for a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    /// Bytes that there are.
    pub room: usize,
    /// Bytes of the piece.
    pub piece: usize,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { room, piece } = self;
        write!(f, "room of {room} bytes for a piece of {piece}")
    }
}

impl core::error::Error for TooSmall {}

impl<'p> Pieces<'p> {
    /// How `packet` is to be cut, as `header` has it. `identification` is for fragments of IPv6 only,
    /// which have none otherwise: another one for every packet. `hdr_len` is not looked at
    /// (§5.1.9.2.2).
    ///
    /// None if it is not to be cut.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: the header does not go with such a packet, which was not changed.
    pub fn of(
        header: &Header,
        packet: &'p mut [u8],
        identification: u32,
    ) -> Result<Option<Self>, Malformed> {
        let kind = header.gso_type.kind();
        let way = match kind {
            GsoType::NONE => return Ok(None),
            GsoType::TCPV4 | GsoType::TCPV6 => Way::Tcp,
            GsoType::UDP_L4 => Way::Udp,
            GsoType::UDP => Way::Fragment(identification),
            GsoType(kind) => return Err(Malformed::UnknownCut(kind)),
        };
        if header.flags & HeaderFlags::NEEDS_CSUM.bits() == 0 {
            return Err(Malformed::ChecksumNotLeft);
        }
        let headers = Headers::of(packet).ok_or(Malformed::OtherHeaders)?;
        let transport = fitting(kind, &headers).ok_or(Malformed::OtherHeaders)?;
        let start = header.csum_start.get();
        if usize::from(start) != transport {
            return Err(Malformed::OtherStart { start, transport });
        }
        let (begin, size) = match way {
            Way::Tcp | Way::Udp => {
                let begin = headers.payload(packet).ok_or(Malformed::OtherHeaders)?;
                (begin, usize::from(header.gso_size.get()))
            }
            // All but the last have whole units of 8 bytes.
            Way::Fragment(_) => (transport, usize::from(header.gso_size.get() & !7)),
        };
        if size == 0 {
            return Err(Malformed::NoSegmentSize);
        }
        // What a length of 16 bits can say of any piece, and an offset of any fragment.
        let cut = packet.len() - begin;
        let longest = begin - headers.network + size.min(cut) + fragment::HEADER;
        let offsets = matches!(way, Way::Fragment(_)) && cut > usize::from(u16::MAX);
        if longest > usize::from(u16::MAX) || offsets || cut / size > usize::from(u16::MAX) {
            return Err(Malformed::TooLong(packet.len()));
        }
        if matches!(way, Way::Fragment(_)) {
            // It is of the whole, and cannot be left to anyone behind.
            checksum::complete(header, packet)?;
        }
        Ok(Some(Self {
            packet,
            headers,
            way,
            begin,
            size,
            done: 0,
            index: 0,
        }))
    }

    /// How many there are, of which the next may be any. One at least.
    pub fn count(&self) -> usize {
        (self.packet.len() - self.begin).div_ceil(self.size).max(1)
    }

    /// Bytes of the longest.
    pub fn longest(&self) -> usize {
        self.begin + self.inserted() + self.size.min(self.packet.len() - self.begin)
    }

    /// Writes the next one to the beginning of `room`, and yields it. None if there are no more.
    ///
    /// # Errors
    ///
    /// [`TooSmall`]: it stays the next one. [`longest`](Self::longest) bytes are always enough.
    pub fn write_next<'r>(&mut self, room: &'r mut [u8]) -> Result<Option<&'r [u8]>, TooSmall> {
        let rest = &self.packet[self.begin + self.done..];
        if rest.is_empty() && self.index != 0 {
            return Ok(None);
        }
        let (now, later) = rest.split_at(rest.len().min(self.size));
        let head = self.begin + self.inserted();
        let (len, available) = (head + now.len(), room.len());
        let piece = room.get_mut(..len).ok_or(TooSmall {
            room: available,
            piece: len,
        })?;
        piece[..self.begin].copy_from_slice(&self.packet[..self.begin]);
        piece[head..].copy_from_slice(now);
        match self.way {
            Way::Fragment(identification) => self.be_fragment(piece, identification, later),
            Way::Tcp => self.be_tcp(piece, later),
            Way::Udp => self.be_udp(piece),
        }
        self.done += now.len();
        self.index = self.index.wrapping_add(1);
        Ok(Some(piece))
    }

    /// Bytes of headers that only pieces have.
    fn inserted(&self) -> usize {
        match (self.way, &self.headers.addresses) {
            (Way::Fragment(_), Addresses::V6 { .. }) => fragment::HEADER,
            _ => 0,
        }
    }

    /// Has IP's header say how long a piece is.
    fn set_len(&self, piece: &mut [u8]) {
        let network = self.headers.network;
        let bytes = piece.len() - network;
        // `of` has seen that it has 16 bits.
        match self.headers.addresses {
            Addresses::V4 { .. } => put(piece, network + 2, bytes as u16),
            Addresses::V6 { .. } => put(piece, network + 4, (bytes - 40) as u16),
        }
    }

    /// Sums the header of IPv4, which is changed no more.
    fn sum_network(&self, piece: &mut [u8]) {
        let network = self.headers.network;
        if matches!(self.headers.addresses, Addresses::V4 { .. }) {
            let end = network + usize::from(piece[network] & 0xf) * 4;
            put(piece, network + 10, 0);
            let sum = checksum::Sum::default().bytes(&piece[network..end]);
            put(piece, network + 10, !sum.folded());
        }
    }
}

/// Where the transport's header is, if it is one that is cut in way `kind`.
fn fitting(kind: GsoType, headers: &Headers) -> Option<usize> {
    let (transport, at) = headers.transport.filter(|_| !headers.fragment)?;
    let fits = match kind {
        GsoType::TCPV4 => {
            transport == Transport::Tcp && matches!(headers.addresses, Addresses::V4 { .. })
        }
        GsoType::TCPV6 => {
            transport == Transport::Tcp && matches!(headers.addresses, Addresses::V6 { .. })
        }
        GsoType::UDP => {
            // Behind extension headers, some of which stand before that of a fragment and some after,
            // nobody sends any.
            let plain = match headers.addresses {
                Addresses::V4 { .. } => true,
                Addresses::V6 { extended, .. } => extended.is_none(),
            };
            transport == Transport::Udp && plain
        }
        _ => transport == Transport::Udp,
    };
    fits.then_some(at)
}

/// Puts 16 bits at `at`.
fn put(piece: &mut [u8], at: usize, value: u16) {
    piece[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
