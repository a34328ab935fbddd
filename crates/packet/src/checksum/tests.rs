extern crate std;

use std::vec::Vec;

use etherparse::PacketBuilder;
use ringway_spec::le::U16;

use super::*;

/// A packet of TCP with a right checksum, as another program makes it.
fn tcp(payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv6([1; 16], [2; 16], 64)
        .tcp(80, 4000, 7, 1024);
    let mut packet = Vec::new();
    builder.write(&mut packet, payload).unwrap();
    packet
}

#[test]
fn a_checksum_is_right_until_a_byte_changes() {
    for len in [0, 1, 2, 3, 1000, 1001] {
        let mut packet = tcp(&std::vec![0xa5; len]);
        assert_eq!(judge(&packet), Checksum::Right, "{len} bytes");

        *packet.last_mut().unwrap() ^= 1;

        assert_eq!(judge(&packet), Checksum::Wrong, "{len} bytes");
    }
}

#[test]
fn what_ethernet_fills_up_is_not_summed() {
    let mut packet = tcp(b"x");

    packet.extend([0xff; 7]);

    assert_eq!(judge(&packet), Checksum::Right);
}

/// Clauses: drv:net/op/packet-transmission:19
#[test]
fn a_checksum_that_is_left_to_do_is_completed_to_what_another_program_has() {
    let whole = tcp(b"left to do");
    let mut packet = whole.clone();
    packet[70..72].fill(0);
    let (start, offset) = leave(&mut packet).unwrap();
    let header = Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        csum_start: U16::new(start),
        csum_offset: U16::new(offset),
        ..Header::default()
    };
    assert_eq!((start, offset), (54, 16));

    complete(&header, &mut packet).unwrap();

    assert_eq!(packet, whole);
}

#[test]
fn a_checksum_outside_of_the_packet_is_refused_and_changes_nothing() {
    let places = [(60, 3), (61, 0), (u16::MAX, u16::MAX), (0, 63), (64, 0)];
    for (start, offset) in places {
        let mut packet = [0x5a; 62];
        let header = Header {
            flags: HeaderFlags::NEEDS_CSUM.bits(),
            csum_start: U16::new(start),
            csum_offset: U16::new(offset),
            ..Header::default()
        };

        let refused = complete(&header, &mut packet);

        let len = packet.len();
        assert_eq!(
            refused,
            Err(Malformed::ChecksumOutside { start, offset, len })
        );
        assert_eq!(packet, [0x5a; 62]);
    }
}

#[test]
fn where_the_checksum_begins_is_not_looked_at_unless_it_is_left_to_do() {
    let mut packet = [7; 62];
    let header = Header {
        csum_start: U16::new(9999),
        ..Header::default()
    };

    complete(&header, &mut packet).unwrap();

    assert_eq!(packet, [7; 62]);
}
