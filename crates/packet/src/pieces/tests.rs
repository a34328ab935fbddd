extern crate std;

use std::vec;
use std::vec::Vec;

use etherparse::{LaxNetSlice, LaxSlicedPacket, PacketBuilder, TransportSlice};
use proptest::prelude::*;
use ringway_spec::le::U16;

use super::*;
use crate::Checksum;

fn packet(v6: bool, tcp: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let net = if v6 {
        link.ipv6([1; 16], [2; 16], 64)
    } else {
        link.ipv4([192, 0, 2, 1], [192, 0, 2, 2], 64)
    };
    if tcp {
        let step = net.tcp(80, 4000, u32::MAX - 100, 1024).psh().fin().ack(9);
        step.write(&mut packet, payload).unwrap();
    } else {
        net.udp(53, 4000).write(&mut packet, payload).unwrap();
    }
    packet
}

/// A packet to be cut, as drivers leave it: the checksum is that of the pseudo header.
fn to_cut(kind: GsoType, v6: bool, size: u16, payload: &[u8]) -> (Header, Vec<u8>) {
    let tcp = matches!(kind, GsoType::TCPV4 | GsoType::TCPV6);
    let mut packet = packet(v6, tcp, payload);
    let start = if v6 { 54 } else { 34 };
    let (offset, number) = if tcp { (16, 6) } else { (6, 17) };
    let headers = Headers::of(&packet).unwrap();
    let sum = checksum::pseudo(&headers.addresses, number, packet.len() - start);
    put(&mut packet, start + offset, sum.folded());
    let header = Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        gso_type: kind,
        gso_size: U16::new(size),
        csum_start: U16::new(start as u16),
        csum_offset: U16::new(offset as u16),
        ..Header::default()
    };
    (header, packet)
}

fn all(mut pieces: Pieces<'_>) -> Vec<Vec<u8>> {
    let mut room = vec![0; pieces.longest()];
    let (count, mut all) = (pieces.count(), Vec::new());
    while let Some(piece) = pieces.write_next(&mut room).unwrap() {
        all.push(piece.to_vec());
    }
    assert_eq!(all.len(), count);
    all
}

#[test]
fn segments_of_tcp_are_whole_packets_that_another_program_puts_together_again() {
    let payload: Vec<u8> = (0..10_000u32).map(|i| (i % 251) as u8).collect();
    for (kind, v6) in [(GsoType::TCPV4, false), (GsoType::TCPV6, true)] {
        let (header, mut packet) = to_cut(kind, v6, 1448, &payload);

        let segments = all(Pieces::of(&header, &mut packet, 0).unwrap().unwrap());

        let mut together: Vec<u8> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            assert_eq!(checksum::judge(segment), Checksum::Right);
            let sliced = LaxSlicedPacket::from_ethernet(segment).unwrap();
            assert_eq!(sliced.stop_err, None);
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
                panic!("segment {index} is not of TCP");
            };
            let expected = (u32::MAX - 100).wrapping_add(together.len() as u32);
            assert_eq!(tcp.sequence_number(), expected);
            let last = index + 1 == segments.len();
            assert_eq!((tcp.psh(), tcp.fin(), tcp.ack()), (last, last, true));
            assert!(last || tcp.payload().len() == 1448);
            if let Some(LaxNetSlice::Ipv4(ip)) = &sliced.net {
                let header = ip.header().to_header();
                assert_eq!(header.calc_header_checksum(), header.header_checksum);
                assert_eq!(usize::from(header.identification), index);
            }
            together.extend(tcp.payload());
        }
        assert_eq!(together, payload);
    }
}

#[test]
fn the_window_is_reported_reduced_in_the_first_segment_only() {
    let (header, mut packet) = to_cut(GsoType::TCPV4, false, 100, &[7; 250]);
    packet[34 + 13] |= 0x80;

    let segments = all(Pieces::of(&header, &mut packet, 0).unwrap().unwrap());

    let reduced: Vec<bool> = segments.iter().map(|s| s[34 + 13] & 0x80 != 0).collect();
    assert_eq!(reduced, [true, false, false]);
}

#[test]
fn datagrams_of_udp_are_each_as_long_as_they_say() {
    for v6 in [false, true] {
        let (header, mut packet) = to_cut(GsoType::UDP_L4, v6, 500, &[0xee; 1201]);

        let datagrams = all(Pieces::of(&header, &mut packet, 0).unwrap().unwrap());

        let mut lens = Vec::new();
        for datagram in &datagrams {
            assert_eq!(checksum::judge(datagram), Checksum::Right);
            let sliced = LaxSlicedPacket::from_ethernet(datagram).unwrap();
            let Some(TransportSlice::Udp(udp)) = &sliced.transport else {
                panic!("piece is not of UDP");
            };
            lens.push((udp.length(), udp.payload().len()));
        }
        assert_eq!(lens, [(508, 500), (508, 500), (209, 201)]);
    }
}

#[test]
fn fragments_are_one_datagram_with_one_checksum() {
    for v6 in [false, true] {
        let payload: Vec<u8> = (0..4000u32).map(|i| (i % 241) as u8).collect();
        let (header, mut packet) = to_cut(GsoType::UDP, v6, 1483, &payload);
        let whole = super::tests::packet(v6, false, &payload);

        let fragments = all(Pieces::of(&header, &mut packet, 0x1234_5678)
            .unwrap()
            .unwrap());

        let mut together: Vec<u8> = Vec::new();
        for fragment in &fragments {
            let sliced = LaxSlicedPacket::from_ethernet(fragment).unwrap();
            let ip = sliced.ip_payload().unwrap();
            assert!(ip.fragmented && !ip.incomplete);
            together.extend(ip.payload);
        }
        assert_eq!(fragments.len(), 3);
        let start = usize::from(header.csum_start.get());
        assert_eq!(together, whole[start..]);
        if v6 {
            let places = fragments.iter().map(|f| u16::from_be_bytes([f[56], f[57]]));
            assert_eq!(places.collect::<Vec<_>>(), [1, 1481, 2960]);
            assert_eq!(fragments[1][58..62], [0x12, 0x34, 0x56, 0x78]);
        } else {
            let places = fragments.iter().map(|f| u16::from_be_bytes([f[20], f[21]]));
            assert_eq!(places.collect::<Vec<_>>(), [0x2000, 0x2000 | 185, 370]);
        }
    }
}

#[test]
fn a_packet_that_is_not_to_be_cut_is_left_alone() {
    let (mut header, mut packet) = to_cut(GsoType::TCPV4, false, 100, &[1; 300]);
    header.gso_type = GsoType::NONE;
    let before = packet.clone();

    assert!(Pieces::of(&header, &mut packet, 0).unwrap().is_none());
    assert_eq!(packet, before);
}

#[test]
fn headers_that_do_not_go_with_the_packet_are_each_refused_in_their_way() {
    let refused = |change: fn(&mut Header)| {
        let (mut header, mut packet) = to_cut(GsoType::TCPV4, false, 100, &[1; 300]);
        change(&mut header);
        Pieces::of(&header, &mut packet, 0).unwrap_err()
    };

    assert_eq!(
        refused(|h| h.gso_size = U16::ZERO),
        Malformed::NoSegmentSize
    );
    assert_eq!(refused(|h| h.flags = 0), Malformed::ChecksumNotLeft);
    assert_eq!(
        refused(|h| h.gso_type = GsoType(9)),
        Malformed::UnknownCut(9)
    );
    assert_eq!(
        refused(|h| h.gso_type = GsoType::TCPV6),
        Malformed::OtherHeaders
    );
    assert_eq!(
        refused(|h| h.gso_type = GsoType::UDP_L4),
        Malformed::OtherHeaders
    );
    let (start, transport) = (35, 34);
    let other = Malformed::OtherStart { start, transport };
    assert_eq!(refused(|h| h.csum_start = U16::new(35)), other);
}

#[test]
fn what_is_said_of_the_length_of_headers_is_not_believed() {
    let (mut header, packet) = to_cut(GsoType::TCPV4, false, 100, &[1; 300]);
    let honest = all(Pieces::of(&header, &mut packet.clone(), 0)
        .unwrap()
        .unwrap());

    for lie in [0, 1, 60, u16::MAX] {
        header.hdr_len = U16::new(lie);
        let pieces = all(Pieces::of(&header, &mut packet.clone(), 0)
            .unwrap()
            .unwrap());
        assert_eq!(pieces, honest);
    }
}

#[test]
fn a_piece_that_finds_no_room_stays_the_next_one() {
    let (header, mut packet) = to_cut(GsoType::TCPV4, false, 100, &[1; 150]);
    let mut pieces = Pieces::of(&header, &mut packet, 0).unwrap().unwrap();
    let mut room = [0; 200];

    let refused = pieces.write_next(&mut room[..100]);

    let (room_len, piece) = (100, 154);
    assert_eq!(
        refused,
        Err(TooSmall {
            room: room_len,
            piece
        })
    );
    assert_eq!(
        pieces.write_next(&mut room).unwrap().map(<[u8]>::len),
        Some(154)
    );
    assert_eq!(
        pieces.write_next(&mut room).unwrap().map(<[u8]>::len),
        Some(104)
    );
    assert_eq!(pieces.write_next(&mut room), Ok(None));
}

proptest! {
    /// Strangers: any header before any bytes.
    #[test]
    fn nothing_that_a_stranger_sends_panics_or_yields_more_than_it_is(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        flags in any::<u8>(), kind in any::<u8>(), size in any::<u16>(),
        start in 0..80u16, offset in 0..40u16, v6 in any::<bool>(), udp in any::<bool>(),
        shape in any::<bool>(),
    ) {
        // Half of them look like packets, or their bytes would never be looked at.
        if shape && bytes.len() > 24 {
            bytes[12..15].copy_from_slice(if v6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
            bytes[if v6 { 20 } else { 23 }] = if udp { 17 } else { 6 };
        }
        let header = Header {
            flags,
            gso_type: GsoType(kind),
            gso_size: U16::new(size),
            csum_start: U16::new(start),
            csum_offset: U16::new(offset),
            ..Header::default()
        };
        checksum::judge(&bytes);
        let _ = checksum::complete(&header, &mut bytes.clone());
        let len = bytes.len();
        if let Ok(Some(pieces)) = Pieces::of(&header, &mut bytes, 1) {
            prop_assert!(pieces.longest() <= len + fragment::HEADER);
            prop_assert!(all(pieces).len() <= len.max(1));
        }
    }
}
