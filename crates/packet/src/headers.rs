//! Where the headers of a packet are.

/// Most tags of virtual LANs that are looked behind.
const TAGS_MAX: usize = 2;

/// Most extension headers of IPv6 that are looked behind: whoever sends more is not worth the time.
const EXTENSIONS_MAX: usize = 8;

/// The headers of a packet of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Where IP's begins.
    pub network: usize,
    /// From whom to whom.
    pub addresses: Addresses,
    /// What comes after them all, and where it begins: the transport's header, unless the packet is
    /// a fragment that is not the first.
    pub transport: Option<(Transport, usize)>,
    /// Whether it is a fragment of a larger one.
    pub fragment: bool,
}

/// From whom to whom a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// By IPv4.
    V4 {
        /// From whom.
        source: [u8; 4],
        /// To whom.
        destination: [u8; 4],
    },
    /// By IPv6.
    V6 {
        /// From whom.
        source: [u8; 16],
        /// To whom.
        destination: [u8; 16],
        /// What extension headers say of it. None if there are no extension headers.
        extended: Option<Extended>,
    },
}

/// Addresses in extension headers of IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extended {
    /// The home address, of the destination options.
    pub home: Option<[u8; 16]>,
    /// The address of a routing header of type 2.
    pub routed: Option<[u8; 16]>,
}

/// A protocol that IP carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, with a whole header.
    Tcp,
    /// UDP, with a whole header.
    Udp,
    /// Another one, by its number.
    Other(u8),
}

mod number {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const TCP: u8 = 6;
    pub(super) const UDP: u8 = 17;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const DESTINATION: u8 = 60;
}

impl Headers {
    /// Finds them in a packet that begins with its Ethernet header. None if it is not of IP, or not
    /// all there.
    pub fn of(packet: &[u8]) -> Option<Self> {
        let (kind, network) = ethernet(packet)?;
        match kind {
            0x0800 => Self::v4(packet, network),
            0x86dd => Self::v6(packet, network),
            _ => None,
        }
    }

    /// Bytes of the transport's header, and where it ends: where the payload begins.
    pub fn payload(&self, packet: &[u8]) -> Option<usize> {
        let (transport, at) = self.transport?;
        let len = match transport {
            Transport::Tcp => usize::from(*packet.get(at + 12)? >> 4) * 4,
            Transport::Udp => 8,
            Transport::Other(_) => return None,
        };
        let end = at.checked_add(len)?;
        (end <= packet.len()).then_some(end)
    }

    fn v4(packet: &[u8], network: usize) -> Option<Self> {
        let header = packet.get(network..)?;
        let fixed: &[u8; 20] = header.first_chunk()?;
        let len = usize::from(fixed[0] & 0xf) * 4;
        if fixed[0] >> 4 != 4 || len < fixed.len() || len > header.len() {
            return None;
        }
        let place = u16::from_be_bytes([fixed[6], fixed[7]]);
        let (offset, more) = (place & 0x1fff, place & 0x2000 != 0);
        Some(Self {
            network,
            addresses: Addresses::V4 {
                source: array(fixed, 12)?,
                destination: array(fixed, 16)?,
            },
            transport: match offset {
                0 => Some(transport(packet, network + len, fixed[9])),
                _ => None,
            },
            fragment: offset != 0 || more,
        })
    }

    fn v6(packet: &[u8], network: usize) -> Option<Self> {
        let fixed: &[u8; 40] = packet.get(network..)?.first_chunk()?;
        if fixed[0] >> 4 != 6 {
            return None;
        }
        let mut walk = Walk {
            next: fixed[6],
            at: network + fixed.len(),
            ..Walk::default()
        };
        let mut steps = 0;
        while walk.step(packet)? {
            steps += 1;
            if steps > EXTENSIONS_MAX {
                return None;
            }
        }
        Some(Self {
            network,
            addresses: Addresses::V6 {
                source: array(fixed, 8)?,
                destination: array(fixed, 24)?,
                extended: (steps != 0).then_some(walk.extended),
            },
            transport: match walk.later {
                false => Some(transport(packet, walk.at, walk.next)),
                true => None,
            },
            fragment: walk.fragment,
        })
    }
}

/// The type of what an Ethernet header is before, and where that begins.
fn ethernet(packet: &[u8]) -> Option<(u16, usize)> {
    let mut at = crate::ETHERNET - 2;
    for _ in 0..=TAGS_MAX {
        let kind = u16::from_be_bytes(array(packet, at)?);
        match kind {
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            _ => return Some((kind, at + 2)),
        }
    }
    None
}

/// Goes through extension headers.
#[derive(Default)]
struct Walk {
    next: u8,
    at: usize,
    extended: Extended,
    fragment: bool,
    /// It is a fragment that is not the first.
    later: bool,
}

impl Walk {
    /// Goes past one header. Says whether there was one.
    fn step(&mut self, packet: &[u8]) -> Option<bool> {
        if self.later {
            return Some(false);
        }
        let header = packet.get(self.at..)?;
        let len = match self.next {
            number::FRAGMENT => 8,
            number::HOP_BY_HOP | number::ROUTING | number::DESTINATION => {
                usize::from(*header.get(1)?) * 8 + 8
            }
            _ => return Some(false),
        };
        let header = header.get(..len)?;
        match self.next {
            number::FRAGMENT => {
                let place = u16::from_be_bytes(array(header, 2)?);
                self.later = place & 0xfff8 != 0;
                self.fragment |= place & 0xfff9 != 0;
            }
            number::ROUTING if header.get(2) == Some(&2) => {
                self.extended.routed = array(header, 8);
            }
            number::DESTINATION => {
                self.extended.home = self.extended.home.or_else(|| home(header));
            }
            _ => (),
        }
        self.next = *header.first()?;
        self.at += len;
        Some(true)
    }
}

/// The home address among the destination options of `header`.
fn home(header: &[u8]) -> Option<[u8; 16]> {
    const PAD_1: u8 = 0;
    const HOME_ADDRESS: u8 = 201;
    let mut at = 2;
    // Each turn goes on by one byte at least.
    while let Some(&kind) = header.get(at) {
        if kind == PAD_1 {
            at += 1;
            continue;
        }
        let len = usize::from(*header.get(at + 1)?);
        if kind == HOME_ADDRESS && len == 16 {
            return array(header, at + 2);
        }
        at += 2 + len;
    }
    None
}

/// What begins at `at`, if it is protocol `number`.
fn transport(packet: &[u8], at: usize, number: u8) -> (Transport, usize) {
    let has = |len| packet.len() >= at + len;
    let transport = match number {
        number::TCP if has(20) && packet[at + 12] >> 4 >= 5 => Transport::Tcp,
        number::UDP if has(8) => Transport::Udp,
        number => Transport::Other(number),
    };
    (transport, at)
}

/// The `N` bytes at `at`.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests;
