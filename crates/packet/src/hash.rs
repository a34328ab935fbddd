//! The hash by which packets are steered. Spec: VIRTIO 1.4 §5.1.9.4.3 "Hash calculation for incoming
//! packets".

use ringway_spec::net::HashTypes;

use crate::headers::{Addresses, Headers, Transport};

/// Longest key that a [`Toeplitz`] keeps: as much as any input uses, two addresses of IPv6, two ports, and
/// the 32 bits of the hash.
pub const KEY_MAX: usize = 40;

/// Toeplitz's hash under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Toeplitz {
    key: [u8; KEY_MAX],
}

impl Toeplitz {
    /// The hash under `key`. Of a longer one only the beginning is ever used, and a shorter one is
    /// filled up with zeroes.
    pub fn new(key: &[u8]) -> Self {
        let mut own = [0; KEY_MAX];
        for (to, from) in own.iter_mut().zip(key) {
            *to = *from;
        }
        Self { key: own }
    }

    /// The hash of what `parts` are, one after the other. Of more than 36 bytes the rest is ignored.
    pub fn of(&self, parts: &[&[u8]]) -> u32 {
        let mut hash = 0;
        let input = parts.iter().copied().flatten();
        for (byte, window) in input.zip(self.key.windows(5)) {
            // 40 bits of the key: those that each bit of the byte looks at.
            let window = window
                .iter()
                .fold(0u64, |bits, &next| bits << 8 | u64::from(next));
            for bit in 0..8 {
                if byte & (0x80 >> bit) != 0 {
                    hash ^= (window >> (8 - bit)) as u32;
                }
            }
        }
        hash
    }

    /// The hash of a packet, by the first of those `enabled` that is for such packets, and which one
    /// that is. None if none is.
    pub fn of_packet(&self, packet: &[u8], enabled: HashTypes) -> Option<(u32, HashTypes)> {
        let headers = Headers::of(packet)?;
        // Ports are where a whole packet has them: fragments of one are to go the same way.
        let (transport, ports) = match headers.transport {
            Some((transport, at)) if !headers.fragment => (transport, packet.get(at..at + 4)),
            _ => (Transport::Other(0), None),
        };
        let ports = ports.unwrap_or_default();
        match &headers.addresses {
            Addresses::V4 {
                source,
                destination,
            } => {
                let types = [HashTypes::TCPV4, HashTypes::UDPV4, HashTypes::IPV4];
                self.first(enabled, types, transport, source, destination, ports)
            }
            Addresses::V6 {
                source,
                destination,
                extended,
            } => {
                let plain = [HashTypes::TCPV6, HashTypes::UDPV6, HashTypes::IPV6];
                let with = [HashTypes::TCP_EX, HashTypes::UDP_EX, HashTypes::IP_EX];
                let found = extended.and_then(|extended| {
                    let source = extended.home.as_ref().unwrap_or(source);
                    let destination = extended.routed.as_ref().unwrap_or(destination);
                    self.first(enabled, with, transport, source, destination, ports)
                });
                found.or_else(|| self.first(enabled, plain, transport, source, destination, ports))
            }
        }
    }

    /// The hash by the first of `types` (of TCP, of UDP, of addresses alone) that is enabled and fits.
    fn first(
        &self,
        enabled: HashTypes,
        [tcp, udp, addresses]: [HashTypes; 3],
        transport: Transport,
        source: &[u8],
        destination: &[u8],
        ports: &[u8],
    ) -> Option<(u32, HashTypes)> {
        let (by, ports) = match transport {
            Transport::Tcp if enabled.contains(tcp) => (tcp, ports),
            Transport::Udp if enabled.contains(udp) => (udp, ports),
            _ if enabled.contains(addresses) => (addresses, <&[u8]>::default()),
            _ => return None,
        };
        Some((self.of(&[source, destination, ports]), by))
    }
}

/// A hash of the flow that a packet belongs to, of 16 bits, the same for both of its directions: for
/// spreading flows over queues of one's own choice. None if it is of no flow: it has no ports.
pub fn flow(packet: &[u8]) -> Option<u32> {
    let headers = Headers::of(packet)?;
    let (_, at) = headers.transport?;
    let (from, to) = packet.get(at..)?.first_chunk::<4>()?.split_at(2);
    let (source, destination): (&[u8], &[u8]) = match &headers.addresses {
        Addresses::V4 {
            source,
            destination,
        } => (source, destination),
        Addresses::V6 {
            source,
            destination,
            ..
        } => (source, destination),
    };
    let end = |bytes: &[u8]| {
        bytes.iter().fold(0_u32, |hash, &byte| {
            hash.wrapping_mul(31).wrapping_add(byte.into())
        })
    };
    // Sums, so that the order of the two ends is the same.
    let addresses = end(source).wrapping_add(end(destination));
    let ports = end(from).wrapping_add(end(to));
    let both = addresses.wrapping_mul(31).wrapping_add(ports);
    Some(both.wrapping_mul(0x9e37_79b1) >> 16)
}

#[cfg(test)]
mod tests;
