//! A device that lies: in headers, in lengths, in answers, in its configuration.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ringway_device::{Notifier, Worker};
use ringway_driver::error::Violation;
use ringway_driver::net::{Failed, Packet};
use ringway_ring::device;
use ringway_spec::DeviceId;
use ringway_spec::net::{Ack, Config, F as NetF, Header, Statistics, header_len};
use zerocopy::{FromBytes, IntoBytes};

use super::*;

/// What a driver is to agree to.
const FEATURES: Features = Features(
    NetF::MRG_RXBUF.0
        | NetF::GUEST_CSUM.0
        | NetF::GUEST_TSO4.0
        | NetF::CTRL_VQ.0
        | NetF::CTRL_RX.0
        | NetF::DEVICE_STATS.0
        | NetF::VQ_NOTF_COAL.0,
);

/// A card that says what it is told to say.
#[derive(Clone)]
struct Liar {
    script: Arc<Mutex<Script>>,
    notifier: Arc<Mutex<Option<Notifier>>>,
    features: Features,
    config: Config,
    /// Whether its configuration was written.
    written: Arc<AtomicBool>,
}

/// What it says next in each buffer, and how many bytes it says these are.
#[derive(Default)]
struct Script {
    received: VecDeque<(Vec<u8>, u32)>,
    answers: VecDeque<(Vec<u8>, u32)>,
}

/// Which of the two a worker reads.
type Lines = fn(&mut Script) -> &mut VecDeque<(Vec<u8>, u32)>;

struct Says(Arc<Mutex<Script>>, Lines);

impl Liar {
    fn new(features: Features, config: Config) -> Self {
        Self {
            script: Arc::default(),
            notifier: Arc::default(),
            features,
            config,
            written: Arc::default(),
        }
    }

    /// What it says next in buffers for packets.
    fn say(&self, lines: impl IntoIterator<Item = (Vec<u8>, u32)>) {
        self.script.lock().unwrap().received.extend(lines);
        self.notifier.lock().unwrap().as_ref().unwrap().due(0);
    }

    /// What it says next to a command.
    fn answer(&self, line: (Vec<u8>, u32)) {
        self.script.lock().unwrap().answers.push_back(line);
    }
}

impl Device for Liar {
    fn id(&self) -> DeviceId {
        DeviceId::NETWORK
    }

    fn presented(&mut self, notifier: Notifier) {
        *self.notifier.lock().unwrap() = Some(notifier);
    }

    fn features(&self) -> Features {
        self.features
    }

    fn queue_sizes(&self) -> &[u16] {
        &[8, 8, 8]
    }

    fn config_bytes(&self) -> usize {
        size_of::<Config>()
    }

    fn read_config(&self, offset: usize, into: &mut [u8]) {
        let bytes = self.config.as_bytes().iter().skip(offset);
        into.iter_mut()
            .zip(bytes)
            .for_each(|(to, from)| *to = *from);
    }

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {
        self.written.store(true, Ordering::SeqCst);
    }

    fn worker(&mut self, index: u16, _features: Features) -> Box<dyn Worker> {
        let lines: Lines = match index {
            0 => |script| &mut script.received,
            _ => |script| &mut script.answers,
        };
        Box::new(Says(Arc::clone(&self.script), lines))
    }

    fn reset(&mut self) {}
}

impl Worker for Says {
    fn serve(&mut self, batch: &mut device::Batch<'_>) -> Result<(), device::Violation> {
        let mut script = self.0.lock().unwrap();
        let lines = (self.1)(&mut script);
        while !lines.is_empty() {
            let Some(chain) = batch.next_chain()? else {
                break;
            };
            let (bytes, written) = lines.pop_front().unwrap();
            batch.writable(&chain).write(&bytes).unwrap();
            batch.complete(chain, written);
        }
        Ok(())
    }
}

/// A buffer that begins with `header`, of `len` bytes after it.
fn said(header: Header, len: usize) -> (Vec<u8>, u32) {
    let mut bytes = header.as_bytes().to_vec();
    bytes.resize(size_of::<Header>() + len, 0x5a);
    let written = bytes.len() as u32;
    (bytes, written)
}

fn header(change: impl FnOnce(&mut Header)) -> Header {
    let mut header = Header {
        num_buffers: 1.into(),
        ..Header::default()
    };
    change(&mut header);
    header
}

fn liar(way: Way) -> (Liar, Machine, Nic) {
    let liar = Liar::new(FEATURES, Config::default());
    let machine = machine_with(way, Box::new(liar.clone()));
    let wanted = Wanted {
        optional: FEATURES,
        ..Wanted::default()
    };
    let mut net: Nic = open(&machine, way, &wanted).start().unwrap();
    assert_eq!(net.facts().header_len, header_len(FEATURES | F::VERSION_1));
    let platform = machine.platform();
    net.pairs()[0]
        .receiver
        .fill(|| DmaBuffer::new(&platform, 100).ok())
        .unwrap();
    (liar, machine, net)
}

/// Receives until a packet of 77 bytes comes, the last one. Yields the lengths of those before.
fn lens(net: &mut Nic) -> Vec<usize> {
    let platform = net.pairs()[0].receiver.queue().platform().clone();
    let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
    let mut lens = Vec::new();
    while lens.last() != Some(&77) {
        let take = |packet: Packet<DmaBuffer>| lens.push(packet.len());
        let supply = || DmaBuffer::new(&platform, 100).ok();
        net.pairs()[0].receiver.receive(8, take, supply).unwrap();
        assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
        ringway_driver::platform::Platform::relax(&platform);
    }
    lens.pop();
    lens
}

#[test]
fn packets_that_cannot_be_are_dropped_and_counted_and_the_next_one_comes() {
    for way in ways() {
        let (liar, _machine, mut net) = liar(way);
        let lies = [
            ("no header", (vec![0; 12], 0)),
            ("half a header", (vec![0; 12], 11)),
            ("no buffers", said(header(|h| h.num_buffers = 0.into()), 60)),
            (
                "more buffers than the ring",
                said(header(|h| h.num_buffers = 9.into()), 60),
            ),
            (
                "all buffers that there can be",
                said(header(|h| h.num_buffers = u16::MAX.into()), 60),
            ),
            (
                "a checksum outside",
                said(
                    header(|h| {
                        h.flags = 1;
                        h.csum_start = 50.into();
                        h.csum_offset = 9.into();
                    }),
                    60,
                ),
            ),
            (
                "a checksum far outside",
                said(
                    header(|h| {
                        h.flags = 1;
                        h.csum_start = u16::MAX.into();
                        h.csum_offset = u16::MAX.into();
                    }),
                    60,
                ),
            ),
            (
                "pieces of no bytes",
                said(
                    header(|h| {
                        h.flags = 1;
                        h.gso_type.0 = 1;
                    }),
                    60,
                ),
            ),
            (
                "pieces with complete checksums",
                said(
                    header(|h| {
                        h.gso_type.0 = 1;
                        h.gso_size = 100.into();
                    }),
                    60,
                ),
            ),
            (
                "pieces that were not agreed to",
                said(
                    header(|h| {
                        h.flags = 1;
                        h.gso_type.0 = 4;
                        h.gso_size = 100.into();
                    }),
                    60,
                ),
            ),
            (
                "a tunnel",
                said(
                    header(|h| {
                        h.flags = 1;
                        h.gso_type.0 = 0x61;
                        h.gso_size = 100.into();
                    }),
                    60,
                ),
            ),
        ];

        for (count, (what, lie)) in (1..).zip(lies) {
            liar.say([lie, said(header(|_| {}), 77)]);
            assert_eq!(lens(&mut net), [0; 0], "{what} {way:?}");
            assert_eq!(net.pairs()[0].receiver.malformed(), count, "{what}");
        }
    }
}

#[test]
fn packets_of_any_length_come_and_what_is_only_a_hint_is_not_relied_on() {
    for way in ways() {
        let (liar, _machine, mut net) = liar(way);
        // Tiny ones.
        let tiny = [0, 1, 13, 14].map(|len| said(header(|_| {}), len));
        // Longer than the network carries, in all of the ring's buffers.
        let jumbo = said(header(|h| h.num_buffers = 8.into()), 88);
        let rest = vec![(vec![0x5a; 100], 100); 7];
        // Headers longer than the packet.
        let hint = header(|h| {
            (h.flags, h.gso_type.0) = (0xf9, 1);
            h.gso_size = 100.into();
            h.hdr_len = u16::MAX.into();
        });
        let last = [said(hint, 60), said(header(|_| {}), 77)];

        liar.say(tiny);
        liar.say([jumbo]);
        liar.say(rest);
        liar.say(last);

        assert_eq!(lens(&mut net), [0, 1, 13, 14, 788, 60], "{way:?}");
        assert_eq!(net.pairs()[0].receiver.malformed(), 0);
    }
}

#[test]
fn a_packet_whose_other_buffers_never_come_holds_no_more_than_it_has() {
    for way in ways() {
        let (liar, machine, mut net) = liar(way);
        liar.say([said(header(|h| h.num_buffers = 8.into()), 88)]);
        let platform = machine.platform();
        let mut received = 0;

        let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
        while net.pairs()[0].receiver.in_flight() == 8 && received == 0 {
            let receiver = &mut net.pairs()[0].receiver;
            receiver.receive(8, |_| received += 1, || None).unwrap();
            assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
            ringway_driver::platform::Platform::relax(&platform);
        }
        let (transport, mut pairs) = net.reset();
        let mut back = 0;
        while let Ok(Some(_)) = pairs[0].receiver.queue().reclaim() {
            back += 1;
        }

        assert!(transport.is_ok());
        assert_eq!((received, back), (0, 7), "{way:?}");
    }
}

#[test]
fn answers_that_cannot_be_are_failures_of_their_commands_alone() {
    let entry = |kind: u8, size: u16, len: usize| {
        let mut bytes = vec![0, kind, 0, 0, 0, 0, 0];
        bytes.extend(size.to_le_bytes());
        bytes.resize(len, 0);
        let written = len as u32;
        (bytes, written)
    };
    let promiscuous = Command::Receive(Kind::Any, true);
    let counters = Command::Counters(0, Statistics::RX_BASIC);
    let refused = |ack| Err(Failed::Refused(Ack(ack)));
    let malformed = Err(Failed::Malformed(""));
    for way in ways() {
        let (liar, _machine, mut net) = liar(way);
        for (what, command, answer, expected) in [
            ("nothing", promiscuous, (vec![], 0), refused(0xff)),
            ("an error", promiscuous, (vec![1], 1), refused(1)),
            ("what there is not", promiscuous, (vec![77], 1), refused(77)),
            (
                "more than there is",
                promiscuous,
                (vec![0; 200], 200),
                Ok(()),
            ),
            ("half", Command::Statistics, (vec![0; 9], 8), malformed),
            (
                "all groups",
                Command::Statistics,
                (vec![0; 1], 1),
                malformed,
            ),
            (
                "all groups",
                Command::Statistics,
                (vec![0xff; 9], 9),
                refused(0xff),
            ),
            (
                "all groups",
                Command::Statistics,
                ([&[0][..], &[0xff; 8]].concat(), 9),
                Ok(()),
            ),
            ("no end", counters, entry(0, 0, 57), malformed),
            ("an end beyond", counters, entry(0, u16::MAX, 57), malformed),
            ("an end within", counters, entry(0, 7, 57), malformed),
            ("a bit less", counters, entry(0, 56, 56), malformed),
            ("another group", counters, entry(200, 56, 57), Ok(())),
            ("good ones", counters, entry(0, 56, 57), Ok(())),
            ("a wait", Command::Coalesced(0), (vec![1; 9], 9), refused(1)),
            (
                "half a wait",
                Command::Coalesced(0),
                (vec![0; 9], 8),
                malformed,
            ),
        ] {
            liar.answer(answer);
            let token = net.command(&command).unwrap();

            let answered = net.wait(LIMIT).unwrap();

            assert_eq!(answered.token, token);
            let result = answered.result.map(drop).map_err(|failed| match failed {
                Failed::Malformed(_) => Failed::Malformed(""),
                other => other,
            });
            assert_eq!(result, expected, "{what} {way:?}");
        }
        assert!(net.receives(Kind::Any));
    }
}

#[test]
fn a_card_that_says_of_itself_what_cannot_be_is_refused() {
    let all = NetF::MTU | NetF::MQ | NetF::RSS | NetF::HASH_REPORT | NetF::CTRL_VQ;
    let good = Config {
        mtu: 68.into(),
        max_virtqueue_pairs: 1.into(),
        rss_max_key_size: 40,
        rss_max_indirection_table_length: 128.into(),
        ..Config::read_from_bytes(&[0xff; 28]).unwrap()
    };
    let wanted = Wanted {
        optional: all,
        ..Wanted::default()
    };
    let way = ways().next().unwrap();
    let opened = |config| {
        let machine = machine_with(way, Box::new(Liar::new(all, config)));
        let mut card = try_open(&machine, way, &wanted)?;
        let pairs = card.facts().pairs;
        card.use_pairs(1)?;
        let net: Nic = card.start()?;
        drop(net);
        Ok(pairs)
    };

    assert_eq!(opened(good), Ok(1));
    for (what, config) in [
        (
            "mtu",
            Config {
                mtu: 67.into(),
                ..good
            },
        ),
        (
            "no pairs",
            Config {
                max_virtqueue_pairs: 0.into(),
                ..good
            },
        ),
        (
            "too many pairs",
            Config {
                max_virtqueue_pairs: 0x8001.into(),
                ..good
            },
        ),
        (
            "no index for commands",
            Config {
                max_virtqueue_pairs: 0x8000.into(),
                ..good
            },
        ),
        (
            "a short key",
            Config {
                rss_max_key_size: 39,
                ..good
            },
        ),
        (
            "a short table",
            Config {
                rss_max_indirection_table_length: 127.into(),
                ..good
            },
        ),
    ] {
        let refused = opened(config);
        let bad = matches!(refused, Err(Error::Device(Violation::BadConfig(_))));
        assert!(bad, "{what}: {refused:?}");
    }
    // More pairs than queues: those for commands are not there.
    let more = Config {
        max_virtqueue_pairs: 9.into(),
        ..good
    };
    assert_eq!(opened(more), Err(Error::NoQueue(18)));
}

#[test]
fn features_that_the_driver_does_not_do_are_not_agreed_to() {
    let all = FEATURES | NetF::HOST_TSO4 | NetF::HOST_TSO6 | NetF::HOST_USO | NetF::CSUM;
    let tunnels = NetF::HOST_UDP_TUNNEL_GSO;
    let way = ways().next().unwrap();
    let liar = Liar::new(all | tunnels, Config::default());
    let machine = machine_with(way, Box::new(liar));

    let wanted = Wanted {
        optional: all | tunnels,
        ..Wanted::default()
    };
    let agreed = open(&machine, way, &wanted).facts().features;
    let required = Wanted {
        required: tunnels,
        ..Wanted::default()
    };
    let refused = try_open(&machine, way, &required).map(drop);

    assert_eq!(agreed.intersection(all | tunnels), all);
    assert_eq!(refused, Err(Error::FeaturesMissing(tunnels)));
}

/// §5.1.4: it is read only.
///
/// Clauses: drv:net/cfg:1
#[test]
fn the_configuration_is_not_written_by_a_driver() {
    for way in ways() {
        let (liar, _machine, mut net) = liar(way);

        liar.answer((vec![0], 1));
        tell(&mut net, &Command::Receive(Kind::Any, true));
        net.link().unwrap();
        let (transport, _) = net.reset();

        assert!(transport.is_ok());
        assert!(!liar.written.load(Ordering::SeqCst), "{way:?}");
    }
}
