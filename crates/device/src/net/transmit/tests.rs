use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::F as Ring;
use ringway_spec::le::U16;

use super::*;
use crate::model::Device;
use crate::net::{FEATURES, Inlet, Net, Options};
use crate::testing::Loop;

/// A port that keeps what is sent.
#[derive(Default)]
struct Kept(Mutex<Vec<Packet>>);

impl Port for Kept {
    fn connect(&self, _card: Inlet) {}

    fn send(&self, packets: &mut Vec<Packet>) {
        self.0.lock().append(packets);
    }
}

struct Bench {
    port: Arc<Kept>,
    queue: Loop,
}

fn bench(features: Features) -> Bench {
    let port = Arc::new(Kept::default());
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: Some(1500),
        pairs: 1,
        without: Features::NONE,
    };
    let mut net = Net::new(Arc::clone(&port) as Arc<dyn Port>, options);
    let worker = net.worker(1, features | Ring::VERSION_1);
    let queue = Loop::served(worker, 64, Features::NONE);
    Bench { port, queue }
}

impl Bench {
    /// Sends a packet behind `header`. Yields it as it is passed on, if it is.
    fn send(&mut self, header: &[u8], packet: &[u8]) -> Option<Packet> {
        let written = self.queue.request(&[header, packet], &[]).unwrap().written;
        assert_eq!(written, 0);
        self.port.0.lock().pop()
    }
}

/// A packet of TCP over IPv4 with `len` bytes of payload.
fn tcp(len: usize) -> Vec<u8> {
    let mut packet = vec![9; 12];
    packet.extend([8, 0, 0x45, 0]);
    packet.extend(((40 + len) as u16).to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([
        0, 80, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0,
    ]);
    packet.resize(54 + len, 0xa5);
    packet
}

fn to_cut() -> Header {
    Header {
        flags: HeaderFlags::NEEDS_CSUM.bits(),
        gso_type: GsoType::TCPV4,
        gso_size: U16::new(1000),
        hdr_len: U16::new(54),
        csum_start: U16::new(34),
        csum_offset: U16::new(16),
        ..Header::default()
    }
}

#[test]
fn a_packet_is_passed_on_with_what_is_left_to_do() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);
    let (header, packet) = (to_cut(), tcp(3000));

    let sent = bench.send(header.as_bytes(), &packet).unwrap();

    assert_eq!(*sent.bytes, packet);
    assert_eq!(
        sent.header,
        Header {
            hdr_len: U16::ZERO,
            ..header
        }
    );
}

/// Clauses: dev:net/op/packet-transmission:1,
/// dev:net/op/packet-transmission:2,
/// dev:net/op/packet-transmission:11
#[test]
fn flags_that_are_not_known_and_fields_that_say_nothing_are_not_passed_on() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);
    let header = Header {
        flags: 0xfe,
        csum_start: U16::new(9999),
        csum_offset: U16::new(9999),
        gso_size: U16::new(7),
        num_buffers: U16::new(77),
        ..Header::default()
    };

    let sent = bench.send(header.as_bytes(), &tcp(0)).unwrap();

    assert_eq!(sent.header, Header::default());
}

/// Clauses: dev:net/cfg:6,
/// dev:net/op/packet-transmission:8,
/// dev:net/op/packet-transmission:10
#[test]
fn packets_that_cannot_be_are_dropped_and_counted_and_the_queue_goes_on() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);
    let with = |change: fn(&mut Header)| {
        let mut header = to_cut();
        change(&mut header);
        header.as_bytes().to_vec()
    };
    let (plain, large) = (Header::default().as_bytes().to_vec(), tcp(3000));

    for (what, header, packet) in [
        ("no header", plain[..11].to_vec(), vec![]),
        ("no packet", plain.clone(), vec![]),
        ("less than an Ethernet header", plain.clone(), vec![0; 13]),
        (
            "more than any packet",
            plain.clone(),
            vec![0; PACKET_BYTES_MAX + 1],
        ),
        (
            "more than the network carries",
            plain.clone(),
            vec![0; 1519],
        ),
        (
            "pieces of 0 bytes",
            with(|h| h.gso_size = U16::ZERO),
            large.clone(),
        ),
        (
            "a checksum outside",
            with(|h| h.csum_start = U16::new(3060)),
            large.clone(),
        ),
        (
            "another start",
            with(|h| h.csum_start = U16::new(36)),
            large.clone(),
        ),
        (
            "another protocol",
            with(|h| h.gso_type = GsoType::TCPV6),
            large.clone(),
        ),
        (
            "a way that is none",
            with(|h| h.gso_type = GsoType(9)),
            large.clone(),
        ),
        (
            "a tunnel",
            with(|h| h.gso_type = GsoType(0x21)),
            large.clone(),
        ),
        (
            "a tunnel of both kinds",
            with(|h| h.gso_type = GsoType(0x61)),
            large.clone(),
        ),
        (
            "a tunnel that is not cut",
            with(|h| h.gso_type = GsoType(0x20)),
            tcp(10),
        ),
        (
            "a tunnel whose checksum is done",
            with(|h| (h.flags, h.gso_type) = (2, GsoType(0x41))),
            large.clone(),
        ),
        (
            "no checksum left to do",
            with(|h| h.flags = 0),
            large.clone(),
        ),
    ] {
        assert_eq!(bench.send(&header, &packet), None, "{what}");
    }
    assert!(bench.send(&plain, &[0; 1518]).is_some());
}

#[test]
fn what_was_not_agreed_to_is_not_done() {
    let mut bench = bench(F::MAC);
    let header = Header {
        gso_type: GsoType::NONE,
        ..to_cut()
    };

    let with_checksum = bench.send(header.as_bytes(), &tcp(0));
    let to_be_cut = bench.send(to_cut().as_bytes(), &tcp(3000));
    let plain = bench.send(Header::default().as_bytes(), &tcp(0));

    assert_eq!((with_checksum, to_be_cut), (None, None));
    assert!(plain.is_some());
}

/// Clauses: dev:net/op/packet-transmission:7
#[test]
fn what_is_said_of_the_length_of_headers_is_not_believed() {
    let mut bench = bench(FEATURES - F::HASH_REPORT);

    for lie in [0, 13, u16::MAX] {
        let header = Header {
            hdr_len: U16::new(lie),
            ..to_cut()
        };
        assert!(bench.send(header.as_bytes(), &tcp(3000)).is_some(), "{lie}");
    }
}

#[test]
fn with_hashes_what_stands_before_a_packet_is_longer_by_them() {
    let mut bench = bench(FEATURES);

    let sent = bench.send(&[0; 20], &tcp(10)).unwrap();

    assert_eq!(*sent.bytes, tcp(10));
}
