//! Packets over a card that hears itself.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ringway_device::net::{self as device, Loopback};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::{Bytes, DmaBuffer};
use ringway_driver::net::{
    Card, ChecksumAt, Command, Cut, Net, Offload, Pair, Pieces, RECEIVE_OFFLOADS,
};
use ringway_driver::pci;
use ringway_driver::platform::Platform as _;
use ringway_machine::{Machine, Options, Platform};
use ringway_packet::checksum;
use ringway_spec::Features;
use ringway_spec::net::F;
use ringway_stack::Packets;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

type Device = AnyTransport<Platform>;

/// A machine with a card that hears itself, driven by so many pairs of queues.
struct Host<B: Bytes> {
    net: Net<Device, B>,
    machine: Machine,
}

impl<B: Bytes> Host<B> {
    fn new(pairs: u16, wanted: Wanted) -> Self {
        let options = device::Options {
            mac: MAC,
            mtu: Some(1500),
            pairs,
            without: Features::NONE,
        };
        let card = Box::new(device::Net::new(Arc::new(Loopback::default()), options));
        let machine = Machine::builder().pci("card", card, Options::default());
        let machine = machine.build().unwrap();
        let found = pci::devices(&machine.platform()).flatten().next().unwrap();
        let transport: Device = Box::new(found);
        let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
        let mut card = Card::open(probed, &wanted).unwrap();
        card.use_pairs(pairs).unwrap();
        let mut net: Net<_, B> = card.start().unwrap();
        if pairs > 1 {
            net.command(&Command::Pairs(pairs)).unwrap();
            assert!(net.wait(LIMIT).unwrap().result.is_ok());
        }
        Self { net, machine }
    }

    fn packets<M: FnMut(usize) -> Option<B>>(
        &mut self,
        pairs: Vec<Pair<Platform, B>>,
        make: M,
    ) -> Packets<Platform, B, M> {
        Packets::new(pairs, *self.net.facts(), make).unwrap()
    }

    /// Waits until `done` yields something.
    fn until<T>(&self, mut done: impl FnMut() -> Option<T>) -> T {
        let platform = self.machine.platform();
        let deadline = platform.now() + LIMIT;
        loop {
            if let Some(done) = done() {
                return done;
            }
            assert!(platform.now() < deadline);
            platform.relax();
        }
    }
}

/// A packet of TCP (6) or UDP (17) over IPv4 to the card itself, whose checksum is right.
fn packet(protocol: u8, port: u16, len: usize) -> Vec<u8> {
    let mut packet = Vec::from(MAC);
    packet.extend([2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0]);
    let (header, place) = match protocol {
        6 => (20, 16),
        _ => (8, 6),
    };
    packet.extend(((20 + header + len) as u16).to_be_bytes());
    packet.extend([
        0, 7, 0x40, 0, 64, protocol, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2,
    ]);
    packet.extend(port.to_be_bytes());
    packet.extend([0x12, 0x34]);
    match protocol {
        6 => packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0]),
        _ => packet.extend([((8 + len) >> 8) as u8, (8 + len) as u8, 0, 0]),
    }
    packet.extend((0..len).map(|at| (at % 251) as u8));
    let (start, offset) = checksum::leave(&mut packet).unwrap();
    assert_eq!((usize::from(start), usize::from(offset)), (34, place));
    let left = ringway_spec::net::Header {
        flags: 1,
        csum_start: start.into(),
        csum_offset: offset.into(),
        ..Default::default()
    };
    checksum::complete(&left, &mut packet).unwrap();
    packet
}

/// Sends packets of many lengths, one after the other, and finds each again. Says how many buffers were
/// made.
fn echo<B: Bytes>(wanted: Wanted, buffer: impl Fn(&Platform, usize) -> Option<B>) -> usize {
    let mut host = Host::<B>::new(1, wanted);
    let platform = host.machine.platform();
    let made = AtomicUsize::new(0);
    let pairs = host.net.take_pairs();
    let mut packets = host.packets(pairs, |bytes| {
        made.fetch_add(1, Ordering::Relaxed);
        buffer(&platform, bytes)
    });
    for turn in 0..600 {
        let sent = packet(6, 80, turn % 4 * 400);

        packets
            .room()
            .unwrap()
            .send(sent.len(), |room| room.copy_from_slice(&sent));
        packets.flush().unwrap();
        host.until(|| packets.advance().then_some(()));

        let came = packets.packet().0;
        assert_eq!(came[..50], sent[..50]);
        assert_eq!(came[54..], sent[54..]);
    }
    assert_eq!(packets.drops(), [0, 0]);
    made.into_inner()
}

#[test]
fn packets_go_and_come_in_buffers_of_every_kind_which_are_made_once_and_used_again() {
    let left = Wanted {
        optional: RECEIVE_OFFLOADS,
        ..Wanted::default()
    };
    let complete = Wanted {
        without: F::CSUM,
        ..Wanted::default()
    };
    // Those that the device has, and few more; of buffers with one length, one of each.
    let most = usize::from(device::QUEUE_SIZE) + 64;
    for wanted in [left, complete] {
        let boxed = echo(wanted, |_, bytes| Some(vec![0; bytes].into_boxed_slice()));
        let vectors = echo(wanted, |_, bytes| Some(vec![0; bytes]));
        let dma = echo(wanted, |platform, bytes| {
            DmaBuffer::new(platform, bytes).ok()
        });

        assert!(
            [boxed, vectors, dma].iter().all(|&made| made < most),
            "{boxed} {vectors} {dma}"
        );
    }
}

#[test]
fn a_packet_whose_checksum_is_wrong_is_passed_over_if_the_stack_was_told_not_to_look() {
    for (optional, verify) in [(F::GUEST_CSUM, false), (Features::NONE, true)] {
        let wanted = Wanted {
            optional,
            without: F::CSUM,
            ..Wanted::default()
        };
        let mut host = Host::new(1, wanted);
        let pairs = host.net.take_pairs();
        let mut packets = host.packets(pairs, |bytes| Some(vec![0; bytes]));
        let mut wrong = packet(6, 80, 100);
        wrong[60] ^= 1;
        let right = packet(6, 80, 10);

        for packet in [&wrong, &right] {
            packets
                .room()
                .unwrap()
                .send(packet.len(), |room| room.copy_from_slice(packet));
        }
        packets.flush().unwrap();
        host.until(|| packets.advance().then_some(()));

        assert_eq!(packets.checksums().verify, verify);
        assert!(packets.checksums().compute);
        let (first, drops) = if verify { (&wrong, 0) } else { (&right, 1) };
        assert_eq!(packets.packet().0, &first[..]);
        assert_eq!(packets.drops(), [drops, 0]);
    }
}

/// Datagrams that were sent as one are no longer one, for a stack would read them as one.
#[test]
fn datagrams_that_come_as_one_packet_are_taken_apart() {
    let wanted = Wanted {
        optional: RECEIVE_OFFLOADS,
        ..Wanted::default()
    };
    let mut host = Host::new(2, wanted);
    let mut pairs = host.net.take_pairs();
    let [second, first] = [pairs.pop().unwrap(), pairs.pop().unwrap()];
    let before = host.net.facts().header_len;
    // What is sent by a pair comes by it.
    let (mut transmitter, receiver) = (second.transmitter, second.receiver);
    let pair = Pair {
        receiver,
        transmitter: first.transmitter,
    };
    let mut packets = host.packets(vec![pair], |bytes| Some(vec![0; bytes]));
    let whole = packet(17, 53, 1000);
    let mut buffer = vec![0; before];
    buffer.extend(&whole);
    checksum::leave(&mut buffer[before..]).unwrap();
    let offload = Offload {
        checksum: Some(ChecksumAt {
            start: 34,
            offset: 6,
        }),
        cut: Some(Cut {
            into: Pieces::Udp,
            size: 300,
            header_len: 42,
        }),
    };

    transmitter.send(buffer, &offload).unwrap();
    transmitter.kick().unwrap();
    let mut datagrams = Vec::new();
    while datagrams.len() < 4 {
        host.until(|| packets.advance().then_some(()));
        datagrams.push(packets.packet().0.to_vec());
    }

    let lengths = datagrams.iter().map(|datagram| datagram.len() - 42);
    assert_eq!(lengths.collect::<Vec<_>>(), [300, 300, 300, 100]);
    let payload = datagrams.iter().flat_map(|datagram| &datagram[42..]);
    assert!(payload.eq(&whole[42..]));
    for datagram in &datagrams {
        assert_eq!(checksum::judge(datagram), ringway_packet::Checksum::Right);
    }
    assert_eq!((packets.advance(), packets.drops()), (false, [0, 0]));
}

#[test]
fn a_flow_is_sent_by_one_pair_and_many_flows_by_all() {
    let mut host = Host::new(4, Wanted::default());
    let platform = host.machine.platform();
    let pairs = host.net.take_pairs();
    let mut packets = host.packets(pairs, |bytes| DmaBuffer::new(&platform, bytes).ok());

    let mut counts = Vec::new();
    for port in 0..32 {
        let sent = packet(6, 1000 + port, 10);
        for _ in 0..5 {
            packets
                .room()
                .unwrap()
                .send(sent.len(), |room| room.copy_from_slice(&sent));
        }
        let completed = || {
            packets.flush().unwrap();
            let counts = packets
                .transmitters()
                .iter()
                .map(|queue| queue.counts().completed);
            let counts: Vec<_> = counts.collect();
            let all = counts.iter().sum::<u64>() == 5 * u64::from(port + 1);
            all.then_some(counts)
        };
        counts = host.until(completed);
        assert!(counts.iter().all(|count| count % 5 == 0), "{counts:?}");
    }

    assert!(counts.iter().all(|&count| count >= 5), "{counts:?}");
}
