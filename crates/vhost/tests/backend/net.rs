//! A network card, whose receive queue takes buffers before it has a packet for them.

use std::sync::Arc;

use ringway_device::net::{Loopback, Net, Options};
use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::net::F as Card;
use ringway_spec::{F, Features};
use ringway_vhost::backend::{Event, Reason, Refusal};
use ringway_vhost::protocol::{Flags, ProtocolFeatures, Request};

use crate::front::{Front, PROTOCOL, Ring, base_of};
use crate::served::Served;

const SIZE: u16 = 16;

/// Bytes that stand before a packet.
const HEADER: usize = 12;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// A card whose packets come back to it.
fn card(pairs: u16) -> Served {
    let options = Options {
        mac: MAC,
        mtu: Some(9000),
        pairs,
        without: Features::NONE,
    };
    Served::new(Net::new(Arc::new(Loopback::default()), options))
}

/// A ring with nothing in it, started.
fn started(front: &mut Front, index: u8, features: Features) -> Ring {
    let geometry = Geometry::largest(SIZE, 0, features).unwrap();
    let ring = front.ring(index, geometry, features, 0);
    front.start(&ring, base_of(features, SIZE, 0));
    ring
}

/// Has the card send a packet of `len` bytes that are all the same.
fn send(front: &mut Front, ring: &mut Ring, byte: u8, len: usize) {
    send_packet(front, ring, &vec![byte; len]);
}

fn send_packet(front: &mut Front, ring: &mut Ring, packet: &[u8]) {
    let bytes = [&[0; HEADER], packet].concat();
    let (shared, address) = front.allocate(bytes.len());
    front.write(address, &bytes);
    let len = bytes.len() as u32;
    ring.submit(&[Segment { address, len }], &[], shared);
}

/// Gives the card a buffer.
fn give(front: &mut Front, ring: &mut Ring, len: usize) {
    let (shared, address) = front.allocate(len);
    let len = len as u32;
    ring.submit(&[], &[Segment { address, len }], shared);
}

/// The next packet in one buffer, without what stands before it.
fn receive(ring: &mut Ring) -> Vec<u8> {
    let (written, shared) = ring.wait();
    let mut bytes = vec![0; written as usize];
    shared.view().read(0, &mut bytes).unwrap();
    bytes.split_off(HEADER)
}

#[test]
fn buffers_that_were_taken_for_a_packet_too_long_for_them_are_there_when_the_ring_begins_anew() {
    for (ring_features, passed) in [
        (Features::NONE, 0xffff),
        (F::EVENT_IDX, 0xfffe),
        (F::RING_PACKED, 31),
        (F::RING_PACKED | F::EVENT_IDX, 0),
    ] {
        let served = card(1);
        let features = ring_features | Card::MRG_RXBUF;
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let geometry = Geometry::largest(SIZE, 0, features).unwrap();
        let mut receiving = front.ring(0, geometry, features, passed);
        let mut sending = front.ring(1, geometry, features, 0);
        give(&mut front, &mut receiving, 100);
        give(&mut front, &mut receiving, 100);
        front.start(&receiving, base_of(features, SIZE, passed));

        // In one batch: when the first is seen, the buffer for the other was taken.
        send(&mut front, &mut sending, 1, 60);
        send(&mut front, &mut sending, 2, 200);
        front.start(&sending, base_of(features, SIZE, 0));
        let before = receive(&mut receiving);
        let base = front.stop(&receiving);
        front.start(&receiving, base);
        send(&mut front, &mut sending, 3, 70);
        let after = receive(&mut receiving);

        let one = passed.wrapping_add(1);
        assert_eq!(base, base_of(features, SIZE, one), "{features:?}");
        assert_eq!((before, after), (vec![1; 60], vec![3; 70]));
    }
}

/// A packet of UDP from one port to another.
fn udp(from: u16, to: u16) -> Vec<u8> {
    let addresses = [192, 0, 2, 1, 192, 0, 2, 2];
    let mut packet = [
        &MAC[..],
        &MAC,
        &[8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0],
    ]
    .concat();
    packet.extend(addresses);
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend([0, 26, 0, 0]);
    packet.resize(60, 0);
    packet
}

/// QEMU carries out what drivers say on the queue of commands, and starts the pairs that they use.
#[test]
fn a_flow_comes_by_the_pair_that_it_is_sent_by_if_that_is_started_although_no_command_says_so() {
    let features = Card::MQ | Card::MRG_RXBUF | F::EVENT_IDX;
    let served = card(3);
    let mut front = Front::ready(served.connect(), PROTOCOL, features);
    let [mut first, mut second] = [0, 2].map(|index| started(&mut front, index, features));
    give(&mut front, &mut first, 100);
    give(&mut front, &mut second, 100);
    let [mut of_second, mut of_third] = [3, 5].map(|index| started(&mut front, index, features));

    send_packet(&mut front, &mut of_second, &udp(1000, 2000));
    let by_second = receive(&mut second);
    // Nobody takes what comes by the third pair.
    send_packet(&mut front, &mut of_third, &udp(1001, 2001));
    let by_first = receive(&mut first);

    assert_eq!(by_second, udp(1000, 2000));
    assert_eq!(by_first, udp(1001, 2001));
}

#[test]
fn a_card_is_announced_and_limited_by_requests_for_it() {
    let protocol = PROTOCOL | ProtocolFeatures::RARP | ProtocolFeatures::NET_MTU;
    let features = Card::MRG_RXBUF;
    let served = card(1);
    let mut front = Front::ready(served.connect(), protocol, features);
    let mut receiving = started(&mut front, 0, features);
    give(&mut front, &mut receiving, 100);

    let limits = [1500, 9000, 9001, 67, 1 << 16 | 1500];
    let limited = limits.map(|mtu| front.value(Request::NetSetMtu(mtu)));
    let moved = [2, 0, 0, 0, 0, 9, 0, 0];
    front.tell(Request::SendRarp(u64::from_ne_bytes(moved)));
    let announced = receive(&mut receiving);

    assert_eq!(limited, [0, 0, 1, 1, 1]);
    assert_eq!(
        announced[..14],
        [&[0xff; 6][..], &moved[..6], &[0x80, 0x35]].concat()
    );
    served.events.wait(|event| {
        let refused = Refusal::Mtu(1 << 16 | 1500);
        matches!(event, Event::Refused { refusal, .. } if *refusal == refused)
    });
}

#[test]
fn features_that_need_others_are_refused_although_the_queue_of_commands_is_not_asked_for() {
    let served = card(1);
    let front = Front::new(served.connect());
    front.value(Request::GetFeatures);

    let features = F::VERSION_1 | Card::GUEST_TSO4;
    front.say(Request::SetFeatures(features.0 as u64), Flags::empty());

    let refusal = Refusal::FeatureDependency(Card::GUEST_TSO4);
    assert_eq!(served.events.disconnected(), Reason::Refused(refusal));
}
