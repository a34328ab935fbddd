extern crate std;

use std::vec::Vec;

use etherparse::PacketBuilder;

use super::*;

/// The key under which the examples that come with the hash are.
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0,
    0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c,
    0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];

/// One of those examples: two addresses and ports, the hash of them all, and of the addresses alone.
struct Example(Endpoint, Endpoint, u32, u32);

type Endpoint = ([u8; 4], u16);

const EXAMPLES: [Example; 3] = [
    Example(
        ([66, 9, 149, 187], 2794),
        ([161, 142, 100, 80], 1766),
        0x51cc_c178,
        0x323e_8fc2,
    ),
    Example(
        ([199, 92, 111, 2], 14230),
        ([65, 69, 140, 83], 4739),
        0xc626_b0ea,
        0xd718_262a,
    ),
    Example(
        ([24, 19, 198, 95], 12898),
        ([12, 22, 207, 184], 38024),
        0x5c2b_394a,
        0xd2d0_a5de,
    ),
];

fn tcp4(source: Endpoint, destination: Endpoint) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(source.0, destination.0, 64)
        .tcp(source.1, destination.1, 7, 1024)
        .write(&mut packet, b"bytes")
        .unwrap();
    packet
}

#[test]
fn hashes_are_those_that_are_published_with_the_key() {
    let hash = Toeplitz::new(&KEY);

    for Example(source, destination, with_ports, without) in EXAMPLES {
        let packet = tcp4(source, destination);
        let by = |types| hash.of_packet(&packet, types);
        assert_eq!(by(HashTypes::KNOWN), Some((with_ports, HashTypes::TCPV4)));
        let others = HashTypes::KNOWN - HashTypes::TCPV4;
        assert_eq!(by(others), Some((without, HashTypes::IPV4)));
        assert_eq!(by(HashTypes::UDPV4 | HashTypes::IPV6), None);
    }
}

#[test]
fn the_published_hash_of_ipv6_comes_out_too() {
    let source = [
        0x3f, 0xfe, 0x25, 0x01, 0x02, 0, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
    ];
    let destination = [
        0x3f, 0xfe, 0x25, 0x01, 0x02, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let mut packet = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6(source, destination, 64)
        .tcp(2794, 1766, 7, 1024)
        .write(&mut packet, b"")
        .unwrap();
    let hash = Toeplitz::new(&KEY);

    let with_ports = hash.of_packet(&packet, HashTypes::TCPV6);
    let without = hash.of_packet(&packet, HashTypes::IPV6 | HashTypes::IP_EX);

    assert_eq!(with_ports, Some((0x4020_7d3d, HashTypes::TCPV6)));
    assert_eq!(without, Some((0x2cc1_8cd5, HashTypes::IPV6)));
}

#[test]
fn fragments_of_one_packet_have_one_hash() {
    let hash = Toeplitz::new(&KEY);
    let Example(source, destination, _, without) = EXAMPLES[0];
    let mut first = tcp4(source, destination);
    let mut last = first.clone();

    first[20] = 0x20;
    last[21] = 9;

    for packet in [first, last] {
        let found = hash.of_packet(&packet, HashTypes::KNOWN);
        assert_eq!(found, Some((without, HashTypes::IPV4)));
    }
}

#[test]
fn addresses_of_extension_headers_are_hashed_where_that_is_enabled() {
    let home = [0xaa; 16];
    let mut packet = std::vec![0; 12];
    packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 60, 64]);
    packet.extend([1; 16]);
    packet.extend([2; 16]);
    packet.extend([17, 2, 1, 1, 0, 0, 201, 16]);
    packet.extend(home);
    packet.extend([0, 53, 0, 54, 0, 8, 0, 0]);
    let hash = Toeplitz::new(&KEY);

    let by = |types| hash.of_packet(&packet, types);

    let ports = [0, 53, 0, 54];
    let outer = hash.of(&[&[1; 16], &[2; 16], &ports]);
    let inner = hash.of(&[&home, &[2; 16], &ports]);
    assert_eq!(by(HashTypes::KNOWN), Some((inner, HashTypes::UDP_EX)));
    assert_eq!(by(HashTypes::UDPV6), Some((outer, HashTypes::UDPV6)));
}

#[test]
fn a_key_that_is_too_short_is_followed_by_zeroes_and_one_too_long_is_cut() {
    let short = Toeplitz::new(&KEY[..8]);
    let mut filled = KEY;
    filled[8..].fill(0);
    let mut long = KEY.to_vec();
    long.extend([0xff; 24]);

    assert_eq!(short, Toeplitz::new(&filled));
    assert_eq!(Toeplitz::new(&long), Toeplitz::new(&KEY));
}

#[test]
fn a_flow_has_one_hash_both_ways_and_flows_that_follow_each_other_are_spread() {
    let mut spread = [0_u32; 4];
    for port in 0..64 {
        let (here, there) = (
            ([192, 0, 2, 1], 50_000 + port),
            ([192, 0, 2, 2], 4000 + port),
        );

        let (go, come) = (flow(&tcp4(here, there)), flow(&tcp4(there, here)));

        assert_eq!(go, come);
        spread[go.unwrap() as usize % 4] += 1;
    }
    assert!(spread.iter().all(|&flows| flows >= 8), "{spread:?}");
    assert_eq!(flow(&[0; 60]), None);
}
