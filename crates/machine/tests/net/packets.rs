//! What is sent comes back.

use ringway_driver::error::RequestError;
use ringway_driver::net::{Burst, Direction, RECEIVE_OFFLOADS};
use ringway_spec::net::F as NetF;

use super::*;

#[test]
fn what_is_sent_comes_back_with_its_checksum_completed() {
    for way in ways() {
        let machine = machine(way, card_options());
        let card = open(&machine, way, &Wanted::default());
        let (before, bytes) = (card.facts().header_len, card.facts().receive_bytes());
        let mut net: Nic = card.start().unwrap();
        tell(&mut net, &Command::Receive(Kind::Any, true));
        let pair = &mut net.pairs()[0];
        pair.receiver
            .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
            .unwrap();

        for len in [0, 1, 100, 1460] {
            pair.transmitter
                .send(buffer(&machine, &tcp(before, len)), &TCP)
                .unwrap();
        }
        pair.transmitter.kick().unwrap();
        let packets = receive(&mut net.pairs()[0].receiver, bytes, 4);

        for (len, (checksum, cut, packet)) in [0, 1, 100, 1460].into_iter().zip(&packets) {
            assert_eq!((*checksum, *cut), (Checksum::Unknown, None), "{way:?}");
            assert_eq!(
                ringway_packet::checksum::judge(packet),
                ringway_packet::Checksum::Right
            );
            assert_eq!(packet[54..], tcp(0, len)[54..], "{way:?}");
        }
    }
}

#[test]
fn what_the_driver_can_do_is_left_to_it_and_large_packets_come_in_several_buffers() {
    let cut = Cut {
        into: Pieces::Tcp4(Congestion::Silent),
        size: 1448,
        header_len: 54,
    };
    for way in ways().filter(|way| way.trust == Trust::Trusted) {
        let machine = machine(way, card_options());
        let wanted = Wanted {
            optional: RECEIVE_OFFLOADS,
            ..Wanted::default()
        };
        let card = open(&machine, way, &wanted);
        let (before, bytes) = (card.facts().header_len, card.facts().receive_bytes());
        assert!(card.facts().features.contains(NetF::MRG_RXBUF));
        let mut net: Nic = card.start().unwrap();
        tell(&mut net, &Command::Receive(Kind::Any, true));
        let pair = &mut net.pairs()[0];
        pair.receiver
            .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
            .unwrap();

        let offload = Offload {
            cut: Some(cut),
            ..TCP
        };
        pair.transmitter
            .send(buffer(&machine, &tcp(before, 20_000)), &offload)
            .unwrap();
        pair.transmitter.kick().unwrap();
        let packets = receive(&mut net.pairs()[0].receiver, bytes, 1);

        let (checksum, found, packet) = &packets[0];
        let start = ChecksumAt {
            start: 34,
            offset: 16,
        };
        assert_eq!(*checksum, Checksum::Partial(start), "{way:?}");
        assert_eq!(
            found.map(|cut| (cut.into, cut.size)),
            Some((cut.into, cut.size))
        );
        assert_eq!(packet[..], tcp(0, 20_000)[..], "{way:?}");
    }
}

#[test]
fn large_packets_are_cut_for_a_driver_that_does_not_take_them() {
    let way = ways().next().unwrap();
    let machine = machine(way, card_options());
    let card = open(&machine, way, &Wanted::default());
    let (before, bytes) = (card.facts().header_len, card.facts().receive_bytes());
    let mut net: Nic = card.start().unwrap();
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let pair = &mut net.pairs()[0];
    pair.receiver
        .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
        .unwrap();
    let cut = Some(Cut {
        into: Pieces::Tcp4(Congestion::Silent),
        size: 1448,
        header_len: 54,
    });

    let offload = Offload { cut, ..TCP };
    pair.transmitter
        .send(buffer(&machine, &tcp(before, 10_000)), &offload)
        .unwrap();
    pair.transmitter.kick().unwrap();
    let packets = receive(&mut net.pairs()[0].receiver, bytes, 7);

    let mut together: Vec<u8> = Vec::new();
    for (_, cut, packet) in &packets {
        assert_eq!(*cut, None);
        assert_eq!(
            ringway_packet::checksum::judge(packet),
            ringway_packet::Checksum::Right
        );
        together.extend(&packet[54..]);
    }
    assert_eq!(together, tcp(0, 10_000)[54..]);
}

#[test]
fn a_depth_that_cannot_be_is_refused_and_says_what_can() {
    for (ring, power_of_two) in [(Features::NONE, true), (F::RING_PACKED, false)] {
        let way = Way {
            through: Through::Pci,
            ring,
            trust: Trust::Trusted,
        };
        let machine = machine(way, card_options());
        let mut card = open(&machine, way, &Wanted::default());

        let limits = card.limits(0, Direction::Receive).unwrap();
        let large = card.set_depth(0, Direction::Receive, 512);
        let odd = card.set_depth(0, Direction::Transmit, 100);
        let none = card.set_depth(1, Direction::Receive, 64);
        card.set_depth(0, Direction::Receive, 0).unwrap();
        let mut net: Nic = card.start().unwrap();

        let most = net::QUEUE_SIZE;
        assert_eq!((limits.least, limits.most), (1, most));
        assert_eq!(limits.power_of_two, power_of_two);
        let refused = |asked| {
            let depth = RequestError::Depth {
                asked,
                most,
                power_of_two,
            };
            Err(Error::Request(depth))
        };
        assert_eq!(large, refused(512));
        assert_eq!(odd, if power_of_two { refused(100) } else { Ok(()) });
        assert_eq!(none, Err(Error::NoQueue(2)));
        let pair = &net.pairs()[0];
        let transmit = if power_of_two { most } else { 100 };
        assert_eq!(
            (pair.receiver.depth(), pair.transmitter.depth()),
            (most, transmit)
        );
    }
}

#[test]
fn who_waits_for_packets_is_told_that_more_wait_or_that_buffers_ran_short() {
    let way = ways().next().unwrap();
    let machine = machine(way, card_options());
    let card = open(&machine, way, &Wanted::default());
    let (before, bytes) = (card.facts().header_len, card.facts().receive_bytes());
    let mut net: Nic = card.start().unwrap();
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let room = || DmaBuffer::new(&machine.platform(), bytes).unwrap();
    let mut buffers: Vec<_> = (0..8).map(|_| room()).collect();
    let pair = &mut net.pairs()[0];

    let short = pair.receiver.fill(|| buffers.pop()).unwrap();
    for _ in 0..8 {
        pair.transmitter
            .send(buffer(&machine, &tcp(before, 10)), &TCP)
            .unwrap();
    }
    pair.transmitter.kick().unwrap();
    let mut first = Burst::default();
    let platform = machine.platform();
    while first.packets == 0 {
        ringway_driver::platform::Platform::relax(&platform);
        first = pair.receiver.receive(1, drop, || None).unwrap();
    }

    assert!(short);
    assert_eq!((first.packets, first.more, first.short), (1, true, true));
}

/// §5.1.9.3.1: what stands before a packet is in one buffer.
///
/// Clauses: drv:net/op/setting-up-receive-buffers:3
#[test]
fn a_buffer_too_short_for_what_stands_before_a_packet_is_refused() {
    let way = ways().next().unwrap();
    let machine = machine(way, card_options());
    let mut net: Nic = open(&machine, way, &Wanted::default()).start().unwrap();
    let least = net.facts().header_len;
    let receiver = &mut net.pairs()[0].receiver;
    let mut fill = |len| {
        let mut buffer = DmaBuffer::new(&machine.platform(), len).ok();
        receiver.fill(|| buffer.take())
    };

    let len = least - 1;
    let refused = Err(Error::Request(RequestError::TooSmall { len, least }));
    assert_eq!(fill(least - 1), refused);
    assert_eq!(fill(least), Ok(true));
}
