//! What the device does not do is done by the driver's end, packet by packet.

use ringway_driver::dma::{Data, Rejected};
use ringway_driver::error::RequestError;
use ringway_driver::net::{Direction, Fallback, Sent};
use ringway_spec::net::F as NetF;

use super::*;

/// A card that is sent to by a [`Fallback`], and hears what is sent.
struct Bench {
    receiver: Receiver<Platform, DmaBuffer>,
    fallback: Fallback<Platform, DmaBuffer>,
    _net: Nic,
    before: usize,
    bytes: usize,
    /// Goes last: a reset is to be confirmed.
    machine: Machine,
}

/// A card without `without`, whose transmit queue has so many descriptors.
fn bench(way: Way, without: Features, depth: u16) -> Bench {
    let options = net::Options {
        without,
        ..card_options()
    };
    let machine = machine(way, options);
    let mut card = open(&machine, way, &Wanted::default());
    card.set_depth(0, Direction::Transmit, depth).unwrap();
    let facts = *card.facts();
    let mut net: Nic = card.start().unwrap();
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let mut pair = net.take_pairs().remove(0);
    let bytes = facts.receive_bytes();
    pair.receiver
        .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
        .unwrap();
    Bench {
        machine,
        receiver: pair.receiver,
        fallback: Fallback::new(pair.transmitter, facts),
        _net: net,
        before: facts.header_len,
        bytes,
    }
}

impl Bench {
    fn send(&mut self, packet: &[u8], offload: &Offload) -> Result<Sent<DmaBuffer>, Error> {
        let packet = buffer(&self.machine, packet);
        let platform = self.machine.platform();
        let sent = self
            .fallback
            .send(packet, offload, |len| DmaBuffer::new(&platform, len).ok());
        self.fallback.kick().unwrap();
        sent.map_err(Error::from)
    }

    /// The next packets, whose checksums are right.
    fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        let packets = receive(&mut self.receiver, self.bytes, count);
        let packets = packets.into_iter().map(|(_, cut, packet)| {
            let right = ringway_packet::checksum::judge(&packet);
            assert_eq!((right, cut), (ringway_packet::Checksum::Right, None));
            packet
        });
        packets.collect()
    }
}

fn cut(size: u16) -> Offload {
    let cut = Some(Cut {
        into: Pieces::Tcp4(Congestion::Silent),
        size,
        header_len: 54,
    });
    Offload { cut, ..TCP }
}

fn ways_of_rings() -> impl Iterator<Item = Way> {
    ways().filter(|way| way.trust == Trust::Trusted)
}

#[test]
fn checksums_are_completed_for_a_device_that_does_not() {
    for way in ways_of_rings() {
        let mut bench = bench(way, NetF::CSUM, 64);

        for len in [0, 1, 1460] {
            let sent = bench.send(&tcp(bench.before, len), &TCP);
            assert!(matches!(sent, Ok(Sent::Whole(_))), "{way:?}");
        }
        let packets = bench.receive(3);

        for (len, packet) in [0, 1, 1460].into_iter().zip(&packets) {
            assert_eq!(packet[54..], tcp(0, len)[54..], "{way:?}");
        }
    }
}

#[test]
fn packets_are_cut_for_a_device_that_does_not_and_come_back_at_once() {
    for way in ways_of_rings() {
        for without in [NetF::CSUM, NetF::HOST_TSO4] {
            let mut bench = bench(way, without, 64);

            let sent = bench.send(&tcp(bench.before, 10_000), &cut(1448));
            let packets = bench.receive(7);

            let Ok(Sent::Pieces { count: 7, packet }) = sent else {
                panic!("{sent:?}");
            };
            assert_eq!(packet.len(), bench.before + 10_054);
            let payload: Vec<u8> = packets.iter().flat_map(|p| p[54..].to_vec()).collect();
            assert_eq!(payload, tcp(0, 10_000)[54..], "{way:?}");
        }
    }
}

#[test]
fn a_device_that_cuts_is_left_to_it() {
    let way = ways_of_rings().next().unwrap();
    let mut bench = bench(way, Features::NONE, 64);

    let sent = bench.send(&tcp(bench.before, 10_000), &cut(1448));

    assert!(matches!(sent, Ok(Sent::Whole(_))));
    assert_eq!(bench.fallback.transmitter().in_flight(), 1);
    assert_eq!(bench.receive(7).len(), 7);
}

#[test]
fn pieces_for_which_there_is_no_room_wait_and_nothing_overtakes_them() {
    for way in ways_of_rings() {
        let mut bench = bench(way, NetF::HOST_TSO4, 2);
        let small = tcp(bench.before, 1);

        let sent = bench.send(&tcp(bench.before, 5_000), &cut(1000));
        let waiting = bench.fallback.waiting();
        let mut overtaking = bench.send(&small, &TCP);
        let mut packets = Vec::new();
        for _ in 0..100_000 {
            bench.fallback.reclaim(drop).unwrap();
            if matches!(overtaking, Err(Error::QueueFull)) {
                overtaking = bench.send(&small, &TCP);
            }
            if bench.fallback.waiting() == 0 && overtaking.is_ok() {
                packets = bench.receive(6);
                break;
            }
            ringway_driver::platform::Platform::relax(&bench.machine.platform());
        }

        assert!(matches!(sent, Ok(Sent::Pieces { count: 5, .. })), "{way:?}");
        assert!(waiting >= 1, "{way:?}");
        let lens: Vec<_> = packets.iter().map(|packet| packet.len() - 54).collect();
        assert_eq!(lens, [1000, 1000, 1000, 1000, 1000, 1], "{way:?}");
    }
}

#[test]
fn what_cannot_be_done_with_a_packet_is_refused_and_the_packet_comes_back_as_it_was() {
    let way = ways_of_rings().next().unwrap();
    let mut bench = bench(way, NetF::CSUM, 64);
    let packet = tcp(bench.before, 3_000);
    let outside = Offload {
        checksum: Some(ChecksumAt {
            start: 3_053,
            offset: 0,
        }),
        cut: None,
    };
    let mut start = cut(1448);
    start.checksum = outside.checksum;
    let without_sum = Offload {
        checksum: None,
        ..cut(1448)
    };

    for (what, offload) in [
        ("a checksum outside", outside),
        ("a checksum elsewhere", start),
        ("no checksum", without_sum),
        ("into nothing", cut(0)),
        ("into what the network does not carry", cut(1461)),
        ("not cut, and too long", TCP),
    ] {
        let given = buffer(&bench.machine, &packet);
        let platform = bench.machine.platform();
        let supply = |len| DmaBuffer::new(&platform, len).ok();
        let refused = bench.fallback.send(given, &offload, supply);
        let Err(Rejected {
            why: Error::Request(_),
            data: Data::Readable(given),
        }) = refused
        else {
            panic!("{what}: {refused:?}");
        };
        let mut bytes = vec![0; given.len()];
        given.read(0, &mut bytes).unwrap();
        assert_eq!(bytes[bench.before..], packet[bench.before..], "{what}");
    }
    let nothing = bench
        .fallback
        .send(buffer(&bench.machine, &packet), &cut(1448), |_| None);
    assert!(nothing.is_err_and(|rejected| rejected.why == Error::PoolFull));
    let short = bench.send(&packet[..bench.before + 13], &TCP);
    let least = bench.before + 14;
    let len = bench.before + 13;
    let too_small = RequestError::TooSmall { len, least };
    assert_eq!(short.err(), Some(Error::Request(too_small)));
    assert_eq!(bench.fallback.transmitter().in_flight(), 0);
}
