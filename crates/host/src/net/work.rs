//! What the header before a packet leaves to do: judged, and done.

use ringway_packet::{Malformed, Pieces, checksum};
use ringway_spec::net::{GsoType, Header, HeaderFlags};

/// What `header` leaves to do with a packet, if that can be done. What else it says is left out.
pub(super) fn judge(header: &Header, packet: &[u8]) -> Result<Header, Malformed> {
    let known = HeaderFlags::NEEDS_CSUM | HeaderFlags::DATA_VALID;
    let mut judged = Header {
        flags: header.flags & known.bits(),
        ..Header::default()
    };
    if judged.flags & HeaderFlags::NEEDS_CSUM.bits() != 0 {
        judged.csum_start = header.csum_start;
        judged.csum_offset = header.csum_offset;
        checksum::check(&judged, packet)?;
    }
    if header.gso_type.kind() != GsoType::NONE {
        let tunnels = GsoType::UDP_TUNNEL_IPV4 | GsoType::UDP_TUNNEL_IPV6;
        if header.gso_type.0 & tunnels != 0 {
            return Err(Malformed::UnknownCut(header.gso_type.0));
        }
        judged.gso_type = header.gso_type;
        judged.gso_size = header.gso_size;
        Pieces::check(&judged, packet)?;
    }
    Ok(judged)
}

/// Does what `header` leaves to do with a packet, and yields each that comes of it, in order.
/// `identification` is for fragments of IPv6: another one for every packet.
pub(super) fn finish(
    header: &Header,
    packet: &mut [u8],
    identification: u32,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Malformed> {
    if header.gso_type.kind() == GsoType::NONE {
        checksum::complete(header, packet)?;
        each(packet);
        return Ok(());
    }
    if let Some(mut pieces) = Pieces::of(header, packet, identification)? {
        let mut room = vec![0; pieces.longest()];
        // There is room for any.
        while let Ok(Some(piece)) = pieces.write_next(&mut room) {
            each(piece);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use ringway_packet::Checksum;
    use ringway_spec::le::U16;

    /// A packet of UDP over IPv4 with `payload` bytes, and a header that leaves its checksum to do.
    pub(in crate::net) fn datagram(payload: usize) -> (Header, Vec<u8>) {
        let udp = 8 + payload as u16;
        let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        packet.extend([0x45, 0]);
        packet.extend((20 + udp).to_be_bytes());
        packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        for word in [1000, 2000, udp, 0] {
            packet.extend(word.to_be_bytes());
        }
        packet.extend((0..payload).map(|at| at as u8));
        let (start, offset) = checksum::leave(&mut packet).unwrap();
        let header = Header {
            flags: HeaderFlags::NEEDS_CSUM.bits(),
            csum_start: U16::new(start),
            csum_offset: U16::new(offset),
            ..Header::default()
        };
        (header, packet)
    }

    /// The same, to be cut into datagrams of `size` bytes.
    pub(in crate::net) fn large(payload: usize, size: u16) -> (Header, Vec<u8>) {
        let (mut header, packet) = datagram(payload);
        header.gso_type = GsoType::UDP_L4;
        header.gso_size = U16::new(size);
        (header, packet)
    }

    fn finished((header, mut packet): (Header, Vec<u8>)) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        finish(&header, &mut packet, 0, |piece| all.push(piece.to_vec())).unwrap();
        all
    }

    #[test]
    fn a_checksum_that_was_left_is_right_afterwards() {
        let done = finished(datagram(100));

        assert_eq!(done.len(), 1);
        assert_eq!(checksum::judge(&done[0]), Checksum::Right);
    }

    #[test]
    fn a_large_packet_becomes_all_of_its_pieces() {
        let done = finished(large(1000, 400));

        let payloads: Vec<_> = done.iter().map(|piece| &piece[42..]).collect();
        let whole: Vec<u8> = (0..1000).map(|at| at as u8).collect();
        assert_eq!(payloads.concat(), whole);
        assert_eq!(payloads.len(), 3);
        for piece in &done {
            assert_eq!(checksum::judge(piece), Checksum::Right);
        }
    }

    #[test]
    fn what_is_not_known_of_a_header_is_left_out() {
        let (header, packet) = datagram(10);
        let said = Header {
            flags: 0xff,
            hdr_len: U16::new(7),
            num_buffers: U16::new(3),
            ..header
        };

        let judged = judge(&said, &packet).unwrap();

        let flags = HeaderFlags::NEEDS_CSUM | HeaderFlags::DATA_VALID;
        assert_eq!(
            judged,
            Header {
                flags: flags.bits(),
                ..header
            }
        );
    }

    #[test]
    fn work_that_cannot_be_done_is_refused() {
        let (header, packet) = large(1000, 400);
        let wrong = [
            Header {
                csum_start: U16::new(1100),
                ..header
            },
            Header { flags: 0, ..header },
            Header {
                gso_size: U16::new(0),
                ..header
            },
            Header {
                gso_type: GsoType::TCPV4,
                ..header
            },
            Header {
                gso_type: GsoType(9),
                ..header
            },
            Header {
                gso_type: GsoType(GsoType::UDP_L4.0 | GsoType::UDP_TUNNEL_IPV4),
                ..header
            },
        ];

        for wrong in wrong {
            assert!(judge(&wrong, &packet).is_err(), "{wrong:?}");
        }
        assert_eq!(judge(&header, &packet), Ok(header));
    }
}
