//! A card and its driver, over every transport and ring: what is sent comes back.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::Offer;
use ringway_device::net::{self, Loopback};
use ringway_driver::Error;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::RequestError;
use ringway_driver::net::{
    Burst, Card, Checksum, ChecksumAt, Command, Congestion, Cut, Direction, Kind, Net, Offload,
    Pieces, RECEIVE_OFFLOADS,
};
use ringway_driver::platform::Trust;
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, Options, Platform};
use ringway_spec::net::F as NetF;
use ringway_spec::{F, Features};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Through {
    Pci,
    Mmio,
}

/// A way to have a card.
#[derive(Clone, Copy, Debug)]
struct Way {
    through: Through,
    ring: Features,
    trust: Trust,
}

fn ways() -> impl Iterator<Item = Way> {
    let rings = [
        Features::NONE,
        F::EVENT_IDX | F::INDIRECT_DESC,
        F::RING_PACKED | F::EVENT_IDX,
        F::RING_PACKED | F::IN_ORDER,
    ];
    [Through::Pci, Through::Mmio]
        .into_iter()
        .flat_map(move |through| {
            rings.into_iter().flat_map(move |ring| {
                [Trust::Trusted, Trust::Pool].map(|trust| Way {
                    through,
                    ring,
                    trust,
                })
            })
        })
}

/// A machine with a card that hears itself.
fn machine(way: Way, card: net::Options) -> Machine {
    let device = Box::new(net::Net::new(Arc::new(Loopback::default()), card));
    let options = Options {
        offer: Offer::NOTHING.with(way.ring),
        ..Options::default()
    };
    let builder = Machine::builder().trust(way.trust);
    let builder = match way.through {
        Through::Pci => builder.pci("card", device, options),
        Through::Mmio => builder.mmio("card", device, options),
    };
    builder.build().unwrap()
}

fn card_options() -> net::Options {
    net::Options {
        mac: MAC,
        mtu: Some(1500),
        pairs: 1,
        without: Features::NONE,
    }
}

fn open(machine: &Machine, way: Way, wanted: &Wanted) -> Card<AnyTransport<Platform>> {
    let platform = machine.platform();
    let transport: AnyTransport<Platform> = match way.through {
        Through::Pci => Box::new(pci::devices(&platform).flatten().next().unwrap()),
        Through::Mmio => {
            let slots = mmio::scan(platform, machine.mmio_slots().to_vec());
            Box::new(slots.flatten().next().unwrap())
        }
    };
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    Card::open(device, wanted).unwrap()
}

type Nic = Net<AnyTransport<Platform>, DmaBuffer>;

fn tell(net: &mut Nic, command: &Command<'_>) {
    let token = net.command(command).unwrap();
    let answered = net.wait(LIMIT).unwrap();
    assert_eq!((answered.token, answered.result), (token, Ok(())));
}

/// A packet of TCP over IPv4 with `len` bytes of payload, whose checksum is left to do, after
/// `before` bytes of room.
fn tcp(before: usize, len: usize) -> Box<[u8]> {
    let mut packet = vec![0; before];
    packet.extend([9; 6]);
    packet.extend(MAC);
    packet.extend([8, 0, 0x45, 0]);
    packet.extend(((40 + len) as u16).to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([0, 80, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0]);
    // The sum of the pseudo header.
    let words = [0xc000_u32, 0x0201, 0xc000, 0x0202, 6, 20 + len as u32];
    let sum = words.iter().sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet.extend((sum as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..len).map(|i| (i % 251) as u8));
    packet.into()
}

fn buffer(machine: &Machine, bytes: &[u8]) -> DmaBuffer {
    let mut buffer = DmaBuffer::new(&machine.platform(), bytes.len()).unwrap();
    buffer.write(0, bytes).unwrap();
    buffer
}

const TCP: Offload = Offload {
    checksum: Some(ChecksumAt {
        start: 34,
        offset: 16,
    }),
    cut: None,
};

/// Receives `count` packets, with what was said of their checksums.
fn receive(net: &mut Nic, bytes: usize, count: usize) -> Vec<(Checksum, Option<Cut>, Vec<u8>)> {
    let platform = net.pairs()[0].receiver.queue().platform().clone();
    let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
    let mut packets = Vec::new();
    while packets.len() < count {
        let take = |packet: ringway_driver::net::Packet<DmaBuffer>| {
            let mut copy = vec![0; packet.len()];
            packet.copy_to(&mut copy);
            packets.push((packet.received.checksum, packet.received.cut, copy));
        };
        let supply = || DmaBuffer::new(&platform, bytes).ok();
        net.pairs()[0].receiver.receive(64, take, supply).unwrap();
        assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
        ringway_driver::platform::Platform::relax(&platform);
    }
    packets
}

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
        let packets = receive(&mut net, bytes, 4);

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
        let packets = receive(&mut net, bytes, 1);

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
    let packets = receive(&mut net, bytes, 7);

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
