//! A network card, whose receive queue takes buffers before it has a packet for them.

use std::sync::Arc;

use ringway_device::net::{Loopback, Net, Options};
use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::net::F as Card;
use ringway_spec::{F, Features};

use crate::front::{Front, PROTOCOL, Ring, base_of};
use crate::served::Served;

const SIZE: u16 = 16;

/// Bytes that stand before a packet.
const HEADER: usize = 12;

fn card() -> Served {
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: None,
        pairs: 1,
        without: Features::NONE,
    };
    Served::new(Net::new(Arc::new(Loopback::default()), options))
}

/// Has the card send a packet of `len` bytes that are all the same.
fn send(front: &mut Front, ring: &mut Ring, byte: u8, len: usize) {
    let mut bytes = vec![0; HEADER];
    bytes.resize(HEADER + len, byte);
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
        let served = card();
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
