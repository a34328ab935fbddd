//! What of a packet is left to the other side. Spec: VIRTIO 1.4 §5.1.9 "Device Operation".

use ringway_spec::Features;
use ringway_spec::le::{U16, U32};
use ringway_spec::net::{F, GsoType, HashReport, Header, HeaderFlags, ReportedHash};

use crate::error::RequestError;

/// What of a packet the device is to do when it sends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Complete the checksum, of which the packet has the sum of the pseudo header.
    pub checksum: Option<ChecksumAt>,
    /// Cut it into pieces that the network carries. Only with `checksum`.
    pub cut: Option<Cut>,
}

/// Where a checksum is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumAt {
    /// Where in the packet summing begins.
    pub start: u16,
    /// How many bytes after that the sum is put.
    pub offset: u16,
}

/// How a packet is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Into what.
    pub into: Pieces,
    /// Most bytes of a piece after its headers.
    pub size: u16,
    /// Bytes of all headers, the transport's among them.
    pub header_len: u16,
}

/// What a packet is cut into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pieces {
    /// Segments of TCP over IPv4.
    Tcp4(Congestion),
    /// Segments of TCP over IPv6.
    Tcp6(Congestion),
    /// Datagrams of UDP.
    Udp,
    /// Fragments of UDP.
    Fragments,
}

/// Whether a packet of TCP has congestion notification in its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// It has not.
    Silent,
    /// It has.
    Notified,
}

/// What the device did, or left to do, with a packet that was received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// What is to be said of its checksum.
    pub checksum: Checksum,
    /// It is several packets in one, and is cut like this if they are wanted.
    pub cut: Option<Cut>,
    /// Its hash, and of what.
    pub hash: Option<(u32, HashReport)>,
}

/// What is known of a received packet's checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: whoever reads the packet judges (§5.1.9.4.2).
    #[default]
    Unknown,
    /// The device found it right.
    Right,
    /// It is right as far as the packet has come, and was never completed: it has the sum of the pseudo
    /// header. Whoever sends it on completes it.
    Partial(ChecksumAt),
}

impl Offload {
    /// The header that asks for it, if the device does it all: `features` are those negotiated.
    #[inline]
    pub(super) fn header(&self, features: Features) -> Result<Header, RequestError> {
        let mut header = Header::default();
        let Some(ChecksumAt { start, offset }) = self.checksum else {
            return match self.cut {
                None => Ok(header),
                // The checksum of every piece is another one (§5.1.9.2.1).
                Some(_) => Err(RequestError::Unsupported),
            };
        };
        let mut needed = F::CSUM;
        header.flags = HeaderFlags::NEEDS_CSUM.bits();
        header.csum_start = U16::new(start);
        header.csum_offset = U16::new(offset);
        if let Some(cut) = self.cut {
            needed |= cut.into.needs();
            header.gso_type = cut.into.number();
            header.gso_size = U16::new(cut.size);
            header.hdr_len = U16::new(cut.header_len);
            if cut.size == 0 {
                return Err(RequestError::Empty);
            }
        }
        match features.contains(needed) {
            true => Ok(header),
            false => Err(RequestError::Unsupported),
        }
    }
}

impl Pieces {
    /// The features that a device needs to make them.
    fn needs(self) -> Features {
        let ecn = |congestion| match congestion {
            Congestion::Silent => Features::NONE,
            Congestion::Notified => F::HOST_ECN,
        };
        match self {
            Self::Tcp4(congestion) => F::HOST_TSO4 | ecn(congestion),
            Self::Tcp6(congestion) => F::HOST_TSO6 | ecn(congestion),
            Self::Udp => F::HOST_USO,
            Self::Fragments => F::HOST_UFO,
        }
    }

    fn number(self) -> GsoType {
        let ecn = |kind: GsoType, congestion| match congestion {
            Congestion::Silent => kind,
            Congestion::Notified => GsoType(kind.0 | GsoType::ECN),
        };
        match self {
            Self::Tcp4(congestion) => ecn(GsoType::TCPV4, congestion),
            Self::Tcp6(congestion) => ecn(GsoType::TCPV6, congestion),
            Self::Udp => GsoType::UDP_L4,
            Self::Fragments => GsoType::UDP,
        }
    }

    /// What the number of a received packet means, if it means anything with these features.
    fn of(number: GsoType, features: Features) -> Option<Self> {
        // Tunnels are never agreed to.
        if number.0 & (GsoType::UDP_TUNNEL_IPV4 | GsoType::UDP_TUNNEL_IPV6) != 0 {
            return None;
        }
        let congestion = match number.has(GsoType::ECN) {
            true => Congestion::Notified,
            false => Congestion::Silent,
        };
        let (pieces, needed) = match number.kind() {
            GsoType::TCPV4 => (Self::Tcp4(congestion), F::GUEST_TSO4),
            GsoType::TCPV6 => (Self::Tcp6(congestion), F::GUEST_TSO6),
            GsoType::UDP => (Self::Fragments, F::GUEST_UFO),
            GsoType::UDP_L4 => (Self::Udp, F::GUEST_USO4 | F::GUEST_USO6),
            _ => return None,
        };
        features.intersects(needed).then_some(pieces)
    }
}

impl Received {
    /// What a header says of a packet of `len` bytes, if it can be. Flags that were not agreed to are
    /// not looked at (§5.1.9.4.2), nor is `hdr_len` relied on.
    #[inline]
    pub(super) fn of(
        header: &Header,
        hash: Option<&ReportedHash>,
        len: usize,
        features: Features,
    ) -> Option<Self> {
        if header.is_plain() && hash.is_none() {
            return Some(Self::default());
        }
        let flags = HeaderFlags::from_bits_retain(header.flags);
        let has = |flag| features.contains(F::GUEST_CSUM) && flags.contains(flag);
        let at = ChecksumAt {
            start: header.csum_start.get(),
            offset: header.csum_offset.get(),
        };
        let checksum = if has(HeaderFlags::NEEDS_CSUM) && !has(HeaderFlags::RSC_INFO) {
            let end = usize::from(at.start) + usize::from(at.offset) + 2;
            if end > len {
                return None;
            }
            Checksum::Partial(at)
        } else if has(HeaderFlags::DATA_VALID) {
            Checksum::Right
        } else {
            Checksum::Unknown
        };
        let cut = match header.gso_type {
            GsoType::NONE => None,
            number => {
                let into = Pieces::of(number, features)?;
                let size = header.gso_size.get();
                // The checksum of a packet that is several is never complete (§5.1.9.4.1).
                if size == 0 || !has(HeaderFlags::NEEDS_CSUM) {
                    return None;
                }
                Some(Cut {
                    into,
                    size,
                    header_len: header.hdr_len.get(),
                })
            }
        };
        let hash = hash.filter(|hash| hash.hash_report != HashReport::NONE);
        Some(Self {
            checksum,
            cut,
            hash: hash.map(|hash| (U32::get(hash.hash_value), hash.hash_report)),
        })
    }
}

#[cfg(test)]
mod tests;
