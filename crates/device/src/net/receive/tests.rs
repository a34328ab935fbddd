use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::F as Ring;
use ringway_spec::le::U16;
use ringway_spec::net::{GsoType, HeaderFlags, Offloads};
use zerocopy::FromBytes;

use super::*;
use crate::model::Device;
use crate::net::inlet::WAITING_MAX;
use crate::net::{Deliver, FEATURES, Net, Nowhere, Options, PACKET_BYTES_MAX};
use crate::task::Ran;
use crate::testing::Loop;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

struct Bench {
    net: Net,
    queue: Loop,
}

fn bench(features: Features) -> Bench {
    let options = Options {
        mac: MAC,
        mtu: None,
        pairs: 1,
        without: Features::NONE,
    };
    let mut net = Net::new(Arc::new(Nowhere), options);
    net.negotiated(features);
    let worker = net.worker(0, features | Ring::VERSION_1);
    let queue = Loop::served(worker, 64, Features::NONE);
    Bench { net, queue }
}

impl Bench {
    fn deliver(&self, packet: Packet) {
        self.net.shared.deliver(&mut vec![packet]);
    }

    /// Gives the device buffers of these sizes, and yields what it says it wrote to each.
    fn serve(&mut self, sizes: &[usize]) -> Vec<(u32, Vec<u8>)> {
        let buffers: Vec<_> = sizes
            .iter()
            .map(|&size| self.queue.submit(&[], &[size]))
            .collect();
        self.queue.run();
        let mut done = Vec::new();
        while let Some(completed) = self.queue.driver.poll().unwrap() {
            done.push(completed.written);
        }
        let bytes = buffers
            .iter()
            .map(|segments| self.queue.ram.bytes(segments[0]));
        done.into_iter().zip(bytes).collect()
    }
}

/// A packet for the card of `len` bytes.
fn packet(len: usize) -> Packet {
    let mut bytes = MAC.to_vec();
    bytes.extend((6..len).map(|at| at as u8));
    Packet::new(Header::default(), &bytes)
}

/// One whose checksum is left to do.
fn partial() -> Packet {
    let header = Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        csum_start: U16::new(20),
        csum_offset: U16::new(2),
        ..Header::default()
    };
    Packet::new(header, &packet(60).bytes)
}

fn header(bytes: &[u8]) -> Header {
    Header::read_from_prefix(bytes).unwrap().0
}

/// Clauses: dev:net/op/processing-of-incoming-packets:1
#[test]
fn a_packet_comes_behind_a_header_that_says_one_buffer() {
    let mut bench = bench(F::MAC);

    bench.deliver(packet(60));
    let done = bench.serve(&[100]);

    let (written, bytes) = &done[0];
    assert_eq!((done.len(), *written), (1, 72));
    assert_eq!(header(bytes).num_buffers.get(), 1);
    assert_eq!(bytes[12..72], *packet(60).bytes);
}

/// Clauses: dev:net/op/setting-up-receive-buffers:1,
/// dev:net/op/processing-of-incoming-packets:2,
/// dev:net/op/processing-of-incoming-packets:3
#[test]
fn a_packet_fills_buffers_to_their_ends_where_they_may_be_several() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);

    bench.deliver(packet(200));
    let done = bench.serve(&[100, 64, 100, 100]);

    let written: Vec<u32> = done.iter().map(|(written, _)| *written).collect();
    assert_eq!(written, [100, 64, 48]);
    assert_eq!(header(&done[0].1).num_buffers.get(), 3);
    let mut together = done[0].1[12..].to_vec();
    together.extend(&done[1].1);
    together.extend(&done[2].1[..48]);
    assert_eq!(together, *packet(200).bytes);
}

/// Clauses: dev:net/op/processing-of-incoming-packets:4
#[test]
fn a_packet_that_finds_too_few_buffers_waits_for_more() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);

    bench.deliver(packet(200));
    let before = bench.serve(&[100]);
    bench.queue.submit(&[], &[200]);
    bench.queue.run();
    let after = [(); 3].map(|()| bench.queue.driver.poll().unwrap().map(|done| done.written));

    assert_eq!(before, []);
    assert_eq!(after, [Some(100), Some(112), None]);
}

/// Clauses: dev:net/op/setting-up-receive-buffers:2
#[test]
fn a_packet_longer_than_the_only_buffer_it_may_have_is_dropped_and_the_buffer_is_for_the_next() {
    let mut bench = bench(F::MAC);

    bench.deliver(packet(200));
    bench.deliver(packet(60));
    let done = bench.serve(&[100]);

    assert_eq!(done.len(), 1);
    assert_eq!(done[0].0, 72);
    let counts = bench.net.shared.boxes[0].lock().counts.basic();
    assert_eq!((counts.rx_packets.get(), counts.rx_drops.get()), (1, 1));
}

#[test]
fn no_more_packets_wait_than_may_and_the_others_are_counted() {
    let mut bench = bench(F::MAC);

    for _ in 0..WAITING_MAX + 5 {
        bench.deliver(packet(60));
    }
    bench.queue.run();

    let inbox = bench.net.shared.boxes[0].lock();
    assert!(inbox.packets.len() <= WAITING_MAX);
    assert_eq!(inbox.counts.basic().rx_drop_overruns.get(), 5);
}

/// Clauses: dev:net/op/control-vq/automatic-receive-steering-in-mult:4,
/// dev:net/control-vq/receive-side-scaling-rss/rss-processing:2
#[test]
fn packets_for_a_queue_that_is_not_served_are_dropped() {
    let Bench { net, queue } = bench(F::MAC);

    drop(queue);
    net.shared.deliver(&mut vec![packet(60)]);

    assert!(net.shared.boxes[0].lock().packets.is_empty());
}

/// Clauses: dev:net/op/processing-of-incoming-packets:5
#[test]
fn a_checksum_is_completed_for_a_driver_that_does_not_take_it_and_left_to_one_that_does() {
    let sent = partial();
    let seen = |features| {
        let mut bench = bench(features);
        bench.deliver(sent.clone());
        let (_, bytes) = bench.serve(&[100]).pop().unwrap();
        (header(&bytes).flags, bytes[12..72] == *sent.bytes)
    };

    assert_eq!(seen(F::MAC), (0, false));
    assert_eq!(seen(F::GUEST_CSUM), (1, true));
}

#[test]
fn offloads_can_be_turned_off_later() {
    let mut bench = bench(F::GUEST_CSUM | F::CTRL_GUEST_OFFLOADS);

    bench.net.shared.rules.lock().offloads = Offloads::empty();
    bench.deliver(partial());
    let (_, bytes) = bench.serve(&[100]).pop().unwrap();

    assert_eq!(header(&bytes).flags, 0);
}

/// Buffers that wait for packets are nothing to do; packets that wait for buffers are.
#[test]
fn a_queue_with_buffers_and_no_packets_rests_and_kicks_are_wanted_when_packets_wait() {
    let mut bench = bench(FEATURES);
    for _ in 0..4 {
        bench.queue.submit(&[], &[1600]);
    }
    let mut turn = |packets: usize, buffers: usize| {
        (0..packets).for_each(|_| bench.deliver(packet(1000)));
        let ran = bench.queue.run();
        for _ in 0..buffers {
            let room = bench.queue.ram.holding(&[0; 1600]);
            bench.queue.driver.submit(&[], &[room], ()).unwrap();
        }
        (ran, bench.queue.driver.kick_needed())
    };

    let at_first = turn(0, 1);
    let then = turn(3, 1);
    let short = turn(5, 1);
    let served = turn(0, 2);
    let last = turn(0, 1);

    let rests = (Ran::Idle, false);
    assert_eq!([at_first, then], [rests; 2]);
    assert_eq!((short, served), ((Ran::Idle, true), (Ran::Idle, true)));
    assert_eq!(last, rests);
}

/// No driver should give such, and each gets what it gave (§5.1.9.3.1).
#[test]
fn buffers_shorter_than_what_stands_before_a_packet_are_filled_or_given_back_empty() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);

    bench.deliver(packet(60));
    let short = bench.serve(&[2; 36]);
    bench.deliver(packet(60));
    let tiny = bench.serve(&[1; 63]);
    let full = bench.serve(&[1]);
    bench.deliver(packet(60));
    let last = bench.serve(&[200]);

    let whole: Vec<u8> = short.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    assert!(short.iter().all(|(written, _)| *written == 2));
    assert_eq!(header(&whole).num_buffers.get(), 36);
    assert_eq!(whole[12..], packet(60).bytes[..]);
    // Too few yet, and then as many as may be.
    assert_eq!(tiny, []);
    assert_eq!((full[0].0, last[0].0), (0, 72));
    let counts = bench.net.shared.boxes[0].lock().counts.basic();
    assert_eq!((counts.rx_packets.get(), counts.rx_drops.get()), (2, 1));
}

#[test]
fn the_longest_packet_fills_as_many_buffers_as_it_takes_and_the_shortest_one() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);

    bench.deliver(packet(PACKET_BYTES_MAX));
    bench.deliver(packet(14));
    let done = bench.serve(&[2048; 64]);

    let written: Vec<u32> = done.iter().map(|(written, _)| *written).collect();
    let buffers = (PACKET_BYTES_MAX + 12).div_ceil(2048);
    assert_eq!(usize::from(header(&done[0].1).num_buffers.get()), buffers);
    assert_eq!(
        written[..buffers].iter().sum::<u32>() as usize,
        PACKET_BYTES_MAX + 12
    );
    assert_eq!(written[buffers..], [26]);
}

/// A packet of TCP or UDP with 3000 bytes of payload, whose checksum is left to do.
fn large(gso: u8) -> Packet {
    let v6 = gso & 0xf == 4;
    let udp = matches!(gso & 0xf, 3 | 5);
    let mut bytes = MAC.to_vec();
    bytes.extend([9; 6]);
    let (number, transport) = if udp { (17, 8) } else { (6, 20) };
    if v6 {
        bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        bytes.extend(((transport + 3000) as u16).to_be_bytes());
        bytes.extend([number, 64]);
        bytes.extend([1; 32]);
    } else {
        bytes.extend([8, 0, 0x45, 0]);
        bytes.extend(((20 + transport + 3000) as u16).to_be_bytes());
        bytes.extend([0, 7, 0, 0, 64, number, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    }
    let start = bytes.len() as u16;
    bytes.extend([0, 80, 0x12, 0x34]);
    if udp {
        bytes.extend(3008_u16.to_be_bytes());
        bytes.extend([0, 0]);
    } else {
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0]);
    }
    bytes.resize(bytes.len() + 3000, 0x5a);
    let header = Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        gso_type: GsoType(gso),
        gso_size: U16::new(1000),
        csum_start: U16::new(start),
        csum_offset: U16::new(if udp { 6 } else { 16 }),
        ..Header::default()
    };
    Packet::new(header, &bytes)
}

/// What a driver with these features is given of a packet, in buffers that have room for all of it:
/// headers and packets.
fn given(features: Features, packet: Packet) -> Vec<(Header, Vec<u8>)> {
    let mut bench = bench(features - F::MRG_RXBUF - F::HASH_REPORT - F::MTU);
    bench.deliver(packet);
    let given = bench.serve(&[4000; 8]).into_iter();
    given
        .map(|(written, bytes)| (header(&bytes), bytes[12..written as usize].to_vec()))
        .collect()
}

/// §5.1.9.4.1: what is several packets in one is told only to who agreed to it, and as it was sent.
///
/// Clauses: dev:net/op/processing-of-incoming-packets:6,
/// dev:net/op/processing-of-incoming-packets:7,
/// dev:net/op/processing-of-incoming-packets:8,
/// dev:net/op/processing-of-incoming-packets:9,
/// dev:net/op/processing-of-incoming-packets:12,
/// dev:net/op/processing-of-incoming-packets:17,
/// dev:net/op/processing-of-incoming-packets:18,
/// dev:net/op/processing-of-incoming-packets:21,
/// dev:net/op/processing-of-incoming-packets:22
#[test]
fn packets_that_are_several_are_left_whole_only_where_that_was_agreed_to() {
    for (gso, needs) in [
        (1, F::GUEST_TSO4),
        (4, F::GUEST_TSO6),
        (3, F::GUEST_UFO),
        (5, F::GUEST_USO4),
        (0x81, F::GUEST_ECN),
        (1, F::GUEST_CSUM),
    ] {
        let whole = given(FEATURES, large(gso));
        let cut = given(FEATURES - needs, large(gso));

        let (sent, [(header, bytes)]) = (large(gso), &whole[..]) else {
            panic!("{gso}: {}", whole.len());
        };
        assert_eq!((header.gso_type.0, header.gso_size.get()), (gso, 1000));
        assert_eq!(
            (header.flags, header.csum_start, header.csum_offset),
            (1, sent.header.csum_start, sent.header.csum_offset)
        );
        assert_eq!(*bytes, sent.bytes[..], "{gso}");
        assert!(cut.len() > 1, "{gso}");
        for (header, _) in &cut {
            assert_eq!((header.gso_type, header.flags), (GsoType::NONE, 0));
        }
    }
}

/// Clauses: dev:net/op/processing-of-incoming-packets:10,
/// dev:net/op/processing-of-incoming-packets:11,
/// dev:net/op/processing-of-incoming-packets:24,
/// dev:net/op/processing-of-incoming-packets:26
#[test]
fn what_nobody_agreed_to_is_never_told_to_a_driver() {
    for gso in [0x20, 0x21, 0x41, 0x61, 0x80, 9] {
        assert_eq!(given(FEATURES, large(gso)).len(), 0, "{gso}");
    }
    let mut flags = packet(60);
    flags.header.flags = 0xff;

    let told = given(FEATURES, flags.clone());
    let without = given(F::MAC, flags);

    let with = HeaderFlags::NEEDS_CSUM | HeaderFlags::DATA_VALID;
    assert_eq!(told[0].0.flags, with.bits());
    assert_eq!(without[0].0.flags, 0);
}

/// §5.1.4.1: no longer than the card said.
///
/// Clauses: dev:net/cfg:5
#[test]
fn packets_longer_than_the_driver_was_told_are_not_given_to_it() {
    let options = Options {
        mac: MAC,
        mtu: Some(1500),
        pairs: 1,
        without: Features::NONE,
    };
    let seen = |features: Features, packet: Packet| {
        let mut net = Net::new(Arc::new(Nowhere), options);
        net.negotiated(features);
        let worker = net.worker(0, features | Ring::VERSION_1);
        let queue = Loop::served(worker, 64, Features::NONE);
        let mut bench = Bench { net, queue };
        bench.deliver(packet);
        let given = bench.serve(&[4000; 4]).len();
        let drops = bench.net.shared.boxes[0].lock().counts.basic().rx_drops;
        (given, drops.get())
    };
    let large_pieces = |size| {
        let mut packet = large(1);
        packet.header.gso_size = U16::new(size);
        packet
    };

    assert_eq!(seen(F::MTU, packet(1518)), (1, 0));
    assert_eq!(seen(F::MTU, packet(1519)), (0, 1));
    assert_eq!(seen(F::MAC, packet(1519)), (1, 0));
    assert_eq!(seen(F::MTU, large_pieces(1464)), (3, 0));
    assert_eq!(seen(F::MTU, large_pieces(1465)), (0, 1));
}
