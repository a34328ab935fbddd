extern crate std;

use std::vec;
use std::vec::Vec;

use super::*;

/// A packet of UDP over IPv4, after `tags` bytes of tags.
fn udp4(tags: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    packet.extend(tags);
    packet.extend([0x08, 0x00]);
    packet.extend([0x45, 0, 0, 29, 0, 7, 0x40, 0, 64, 17, 0, 0]);
    packet.extend([192, 0, 2, 1, 198, 51, 100, 2]);
    packet.extend([0, 53, 0x12, 0x34, 0, 9, 0, 0, 0xaa]);
    packet
}

/// A packet of IPv6 whose first header after it is `next`, followed by `rest`.
fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 12];
    packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    packet.extend((rest.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([1; 16]);
    packet.extend([2; 16]);
    packet.extend(rest);
    packet
}

#[test]
fn headers_are_found_behind_two_tags_and_no_more() {
    let tag = [0x81, 0, 0, 5];

    let found = [0, 1, 2, 3].map(|tags| Headers::of(&udp4(&tag.repeat(tags))));

    let transports = found.map(|headers| headers.and_then(|headers| headers.transport));
    let at = |at| Some((Transport::Udp, at));
    assert_eq!(transports, [at(34), at(38), at(42), None]);
}

#[test]
fn a_packet_that_ends_anywhere_is_no_panic_and_no_header_that_is_not_there() {
    let whole = udp4(&[]);

    for len in 0..whole.len() {
        let cut = &whole[..len];
        let headers = Headers::of(cut);
        let udp = headers
            .and_then(|h| h.transport)
            .is_some_and(|(t, _)| t == Transport::Udp);
        assert_eq!(udp, len >= 42, "{len} bytes");
    }
}

#[test]
fn only_the_first_fragment_has_the_header_of_a_transport() {
    let mut packet = udp4(&[]);

    let whole = Headers::of(&packet).map(|h| (h.fragment, h.transport.is_some()));
    packet[20..22].copy_from_slice(&[0x20, 0]);
    let first = Headers::of(&packet).map(|h| (h.fragment, h.transport.is_some()));
    packet[20..22].copy_from_slice(&[0, 3]);
    let last = Headers::of(&packet).map(|h| (h.fragment, h.transport.is_some()));

    assert_eq!(whole, Some((false, true)));
    assert_eq!(first, Some((true, true)));
    assert_eq!(last, Some((true, false)));
}

#[test]
fn extension_headers_are_walked_and_what_they_say_of_addresses_is_kept() {
    // Destination options: a byte to fill up, then a home address; a routing header of type 2; UDP.
    let mut options = vec![43, 2, 1, 1, 0, 0, 201, 16];
    options.extend([7; 16]);
    let mut routing = vec![17, 2, 2, 1, 0, 0, 0, 0];
    routing.extend([9; 16]);
    let udp = [0, 53, 0, 53, 0, 8, 0, 0];
    let packet = v6(60, &[&options[..], &routing, &udp].concat());

    let headers = Headers::of(&packet).unwrap();

    assert_eq!(headers.transport, Some((Transport::Udp, 54 + 48)));
    let Addresses::V6 { extended, .. } = headers.addresses else {
        panic!("IPv6 was read as IPv4");
    };
    let expected = Extended {
        home: Some([7; 16]),
        routed: Some([9; 16]),
    };
    assert_eq!(extended, Some(expected));
}

#[test]
fn a_packet_of_nothing_but_extension_headers_is_looked_at_for_so_long_only() {
    let hop = [0, 0, 0, 0, 0, 0, 0, 0];

    let few = Headers::of(&v6(
        0,
        &[&hop.repeat(7)[..], &[59, 0, 0, 0, 0, 0, 0, 0]].concat(),
    ));
    let many = Headers::of(&v6(0, &hop.repeat(100)));

    assert_eq!(
        few.and_then(|h| h.transport),
        Some((Transport::Other(59), 54 + 64))
    );
    assert_eq!(many, None);
}
