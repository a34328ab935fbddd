//! Several pairs of queues: which of them packets go by, and come by.

use ringway_driver::error::RequestError;
use ringway_driver::net::{HASHES, Packet, Pair, Steering};
use ringway_spec::net::{HashReport, HashTypes};

use super::*;

const PAIRS: u16 = 4;

const KEY: [u8; 40] = {
    let mut key = [0; 40];
    let mut at = 0;
    while at < key.len() {
        key[at] = (at as u8).wrapping_mul(151).wrapping_add(77);
        at += 1;
    }
    key
};

/// A card with four pairs of queues, all of them set up, that hears itself.
struct Bench {
    pairs: Vec<Pair<Platform, DmaBuffer>>,
    net: Nic,
    before: usize,
    bytes: usize,
    /// Goes last: a reset is to be confirmed.
    machine: Machine,
}

/// What was received: by which pair, and the hash.
type Came = (usize, Option<(u32, HashReport)>);

fn bench(way: Way, wanted: Features) -> Bench {
    let options = net::Options {
        pairs: PAIRS,
        ..card_options()
    };
    let machine = machine(way, options);
    let wanted = Wanted {
        optional: wanted,
        ..Wanted::default()
    };
    let mut card = open(&machine, way, &wanted);
    card.use_pairs(PAIRS).unwrap();
    let (before, bytes) = (card.facts().header_len, card.facts().receive_bytes());
    let mut net: Nic = card.start().unwrap();
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let mut pairs = net.take_pairs();
    for pair in &mut pairs {
        let platform = machine.platform();
        pair.receiver
            .fill(|| DmaBuffer::new(&platform, bytes).ok())
            .unwrap();
    }
    Bench {
        pairs,
        net,
        before,
        bytes,
        machine,
    }
}

impl Bench {
    /// Sends a packet by pair `pair`.
    fn send(&mut self, pair: usize, packet: &[u8]) -> Result<(), Error> {
        let room = vec![0; self.before];
        let buffer = buffer(&self.machine, &[&room, packet].concat());
        let transmitter = &mut self.pairs[pair].transmitter;
        let offload = match packet[12..14] {
            [8, 0] => TCP,
            _ => Offload::default(),
        };
        transmitter.send(buffer, &offload).map_err(Error::from)?;
        transmitter.kick().unwrap();
        Ok(())
    }

    /// The next packet, from whichever pair it comes.
    fn came(&mut self) -> Came {
        let platform = self.machine.platform();
        let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
        loop {
            for (number, pair) in self.pairs.iter_mut().enumerate() {
                let mut hash = None;
                let take = |packet: Packet<DmaBuffer>| hash = Some(packet.received.hash);
                let supply = || DmaBuffer::new(&platform, self.bytes).ok();
                pair.receiver.receive(1, take, supply).unwrap();
                if let Some(hash) = hash {
                    return (number, hash);
                }
            }
            assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
            ringway_driver::platform::Platform::relax(&platform);
        }
    }
}

/// A packet of TCP whose source port is `port`.
fn flow(port: u16) -> Vec<u8> {
    let mut packet = tcp(0, 10).to_vec();
    packet[34..36].copy_from_slice(&port.to_be_bytes());
    packet
}

/// A packet that is of no flow.
fn no_flow() -> Vec<u8> {
    let mut packet = tcp(0, 10).to_vec();
    packet[12..14].copy_from_slice(&[8, 6]);
    packet
}

/// Toeplitz's hash, bit by bit as the specification has it (§5.1.9.4.3).
fn toeplitz(input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1 != 0;
    let window = |at: usize| (at..at + 32).fold(0, |bits, at| bits << 1 | u32::from(bit(&KEY, at)));
    let set = (0..input.len() * 8).filter(|&at| bit(input, at));
    set.fold(0, |hash, at| hash ^ window(at))
}

/// The hash of a packet of TCP: of its addresses and ports.
fn hash_of(packet: &[u8]) -> u32 {
    toeplitz(&packet[26..38])
}

/// Clauses: drv:net/op/control-vq/automatic-receive-steering-in-mult:3
#[test]
fn packets_go_and_come_by_every_pair_once_the_card_was_told_of_it() {
    for way in ways() {
        let mut bench = bench(way, Features::NONE);

        let early = bench.send(1, &flow(1));
        tell(&mut bench.net, &Command::Pairs(PAIRS));
        let mut came = Vec::new();
        for pair in 0..PAIRS {
            bench.send(pair.into(), &flow(100 + pair)).unwrap();
            came.push(bench.came().0);
        }

        assert_eq!(early, Err(Error::Request(RequestError::Inactive)));
        assert_eq!(came, [0, 1, 2, 3], "{way:?}");
    }
}

/// Clauses: drv:net/op/control-vq/automatic-receive-steering-in-mult:4
#[test]
fn pairs_that_are_used_no_more_get_nothing_and_take_nothing() {
    for way in ways() {
        let mut bench = bench(way, Features::NONE);
        tell(&mut bench.net, &Command::Pairs(PAIRS));
        bench.send(3, &flow(7)).unwrap();
        let before = bench.came().0;

        let asked = bench.net.command(&Command::Pairs(2)).unwrap();
        // As soon as it is asked for.
        let refused = bench.send(3, &flow(7));
        let answered = bench.net.wait(LIMIT).unwrap();
        assert_eq!((answered.token, answered.result), (asked, Ok(Answer::Done)));
        // The same flow, which was sent by a pair that is used no more.
        bench.send(0, &no_flow()).unwrap();
        let after = bench.came().0;

        assert_eq!((before, after), (3, 0), "{way:?}");
        assert_eq!(refused, Err(Error::Request(RequestError::Inactive)));
    }
}

/// §5.1.9.5.7.3: the low bits of the hash choose from the table; what has none goes elsewhere.
///
/// Clauses: drv:net/op/packet-transmission:1,
/// dev:net/control-vq/receive-side-scaling-rss/rss-processing:1
#[test]
fn packets_come_by_the_pair_that_their_hash_chooses() {
    let table = [2, 0, 3, 1, 1, 3, 0, 2];
    for way in ways() {
        let mut bench = bench(way, HASHES);
        tell(
            &mut bench.net,
            &Command::Steer(Steering {
                types: HashTypes::TCPV4,
                key: &KEY,
                table: &table,
                unclassified: 1,
                transmit: PAIRS,
            }),
        );
        let mut used = [false; PAIRS as usize];

        for port in 0..32 {
            let packet = flow(port);
            bench.send(usize::from(port % PAIRS), &packet).unwrap();
            let (pair, hash) = bench.came();

            let expected = hash_of(&packet);
            assert_eq!(pair, usize::from(table[expected as usize % 8]), "{way:?}");
            assert_eq!(hash, Some((expected, HashReport::TCPV4)), "{way:?}");
            used[pair] = true;
        }
        bench.send(0, &no_flow()).unwrap();
        let unclassified = bench.came();

        assert_eq!(used, [true; PAIRS as usize]);
        assert_eq!(unclassified, (1, None), "{way:?}");
    }
}

#[test]
fn hashes_are_reported_without_choosing_if_that_is_all_that_was_asked_for() {
    let way = ways().next().unwrap();
    let mut bench = bench(way, HASHES);
    tell(&mut bench.net, &Command::Hash(HashTypes::IPV4, &KEY));
    let packet = flow(99);

    bench.send(0, &packet).unwrap();
    let came = bench.came();

    let addresses = toeplitz(&packet[26..34]);
    assert_eq!(came, (0, Some((addresses, HashReport::IPV4))));
}

/// §5.1.9.5.5: the last of the two commands holds.
///
/// Clauses: txt:net/op/control-vq/automatic-receive-steering-in-mult:3
#[test]
fn a_number_of_pairs_ends_steering_by_hashes() {
    let way = ways().next().unwrap();
    let mut bench = bench(way, HASHES);
    tell(
        &mut bench.net,
        &Command::Steer(Steering {
            types: HashTypes::TCPV4,
            key: &KEY,
            table: &[3],
            unclassified: 3,
            transmit: PAIRS,
        }),
    );
    bench.send(0, &flow(5)).unwrap();
    let steered = bench.came().0;

    tell(&mut bench.net, &Command::Pairs(PAIRS));
    bench.send(2, &flow(5)).unwrap();
    let automatic = bench.came().0;

    assert_eq!((steered, automatic), (3, 2));
}
