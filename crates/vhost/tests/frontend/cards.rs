//! Network cards: packets of our driver over our back-end, there and back.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringway_device::net::{Bytes, Inlet, Loopback, Net, Options as CardModel, Packet, Port};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::{RequestError, Violation};
use ringway_driver::net::{Answer, Card, Command, Kind, Net as Nic, Offload, Pair};
use ringway_driver::platform::Platform as _;
use ringway_driver::{Error, Result};
use ringway_spec::net::{F as Of, Mac};
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{CardOptions, Event, Notify, Options, Platform, Transport};

use crate::served::{Folder, LIMIT, Served, platform};

/// Bytes of a buffer to receive into: less than the longest packets.
const BUFFER: usize = 256;
/// Descriptors of a queue.
const SIZE: u16 = 16;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

const RINGS: [Features; 4] = [
    Features::NONE,
    F::IN_ORDER,
    F::RING_PACKED,
    Features(F::RING_PACKED.0 | F::IN_ORDER.0),
];

type Driven = Nic<Transport, DmaBuffer>;

fn model(pairs: u16, mtu: Option<u16>) -> CardModel {
    CardModel {
        mac: MAC,
        mtu,
        pairs,
        without: Features::NONE,
    }
}

fn served(folder: &Folder, port: Arc<dyn Port>, model: CardModel) -> Served {
    Served::new(&folder.socket(), Net::new(port, model))
}

fn loopback(folder: &Folder, pairs: u16) -> Served {
    served(folder, Arc::new(Loopback::default()), model(pairs, None))
}

fn options(pairs: u16) -> Options {
    let card = CardOptions {
        pairs,
        ..CardOptions::default()
    };
    Options {
        card: Some(card),
        queue_size: SIZE,
        ..Options::new(DeviceId::NETWORK)
    }
}

/// Opens a card, and has it not do what `without` says.
fn open_without(
    platform: &Platform,
    folder: &Folder,
    options: Options,
    ring: Features,
    without: Features,
) -> Result<Card<Transport>> {
    let transport = Transport::connect(platform, folder.socket(), options).unwrap();
    let wanted = Wanted {
        required: ring,
        optional: F::EVENT_IDX,
        without: ((F::RING_PACKED | F::IN_ORDER) - ring) | without,
        ..Wanted::default()
    };
    Card::open(Acknowledged::new(transport)?.driver()?, &wanted)
}

fn open(
    platform: &Platform,
    folder: &Folder,
    options: Options,
    ring: Features,
) -> Result<Card<Transport>> {
    open_without(platform, folder, options, ring, Features::NONE)
}

/// A card at work, with so many pairs, whose receive queues are full of buffers.
fn start(platform: &Platform, mut card: Card<Transport>, pairs: u16) -> Driven {
    card.use_pairs(pairs).unwrap();
    let mut net: Driven = card.start().unwrap();
    if pairs > 1 {
        tell(&mut net, &Command::Pairs(pairs));
    }
    for pair in net.pairs() {
        fill(platform, pair);
    }
    net
}

fn fill(platform: &Platform, pair: &mut Pair<Platform, DmaBuffer>) {
    let supply = || DmaBuffer::new(platform, BUFFER).ok();
    pair.receiver.fill(supply).unwrap();
}

fn tell(net: &mut Driven, command: &Command<'_>) {
    let token = net.command(command).unwrap();
    let answered = net.wait(LIMIT).unwrap();
    assert_eq!((answered.token, answered.result), (token, Ok(Answer::Done)));
}

/// A packet of UDP of a flow of its own, for which a card with several pairs has a queue.
fn packet(flow: u16, number: usize, len: usize) -> Vec<u8> {
    let mut packet = [[9; 6], MAC].concat();
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((len as u16 - 14).to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend((1000 + flow).to_be_bytes());
    packet.extend([7, 208]);
    packet.extend((len as u16 - 34).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((packet.len()..len).map(|at| (at * 7 + number * 31) as u8 ^ flow as u8));
    packet
}

fn send(platform: &Platform, pair: &mut Pair<Platform, DmaBuffer>, bytes: &[u8]) -> Result<()> {
    // What stands before it has 12 bytes.
    let mut buffer = DmaBuffer::new(platform, 12 + bytes.len()).unwrap();
    buffer.write(12, bytes).unwrap();
    pair.transmitter.reclaim(drop).unwrap();
    let sent = pair.transmitter.send(buffer, &Offload::default());
    sent.map_err(|rejected| rejected.why)?;
    pair.transmitter.kick().map(drop)
}

/// The next packet that comes by a pair, and that is not an announcement.
fn receive(platform: &Platform, pair: &mut Pair<Platform, DmaBuffer>) -> Vec<u8> {
    let deadline = Instant::now() + LIMIT;
    pair.receiver.arm();
    loop {
        let seen = pair.receiver.signal().count();
        let mut came = None;
        let supply = || DmaBuffer::new(platform, BUFFER).ok();
        let each = |packet: ringway_driver::net::Packet<DmaBuffer>| {
            let mut bytes = vec![0; packet.len()];
            packet.copy_to(&mut bytes);
            came = Some(bytes).filter(|bytes| bytes[12..14] != RARP);
        };
        let burst = pair.receiver.receive(1, each, supply).unwrap();
        if let Some(bytes) = came {
            pair.receiver.disarm();
            return bytes;
        }
        assert!(Instant::now() < deadline, "nothing comes");
        if burst.packets == 0 && !burst.more {
            platform.wait(pair.receiver.signal(), seen);
        }
    }
}

/// Waits for packets, once.
fn wait(platform: &Platform, net: &mut Driven) {
    let signal = net.pairs()[0].receiver.signal();
    platform.wait(signal, signal.count());
}

/// What an announcement is of.
const RARP: [u8; 2] = [0x80, 0x35];

#[test]
fn packets_come_back_whole_over_every_ring_and_in_every_way_of_notifying() {
    for ring in RINGS {
        for (kicks, calls) in [
            (Notify::Signal, Notify::Signal),
            (Notify::Signal, Notify::Poll),
            (Notify::Message, Notify::Message),
        ] {
            let (folder, platform) = (Folder::new(), platform());
            let _served = loopback(&folder, 1);
            let options = Options {
                kicks,
                calls,
                ..options(1)
            };
            let card = open(&platform, &folder, options, ring).unwrap();
            assert_eq!(card.facts().mac, Some(MAC));
            let mut net = start(&platform, card, 1);

            // More than the rings have descriptors, and in up to six buffers.
            for number in 0..40 {
                let sent = packet(0, number, 64 + number * 33);
                let pair = &mut net.pairs()[0];
                send(&platform, pair, &sent).unwrap();
                let came = receive(&platform, pair);

                assert_eq!(came, sent, "{ring:?} by {kicks:?} and {calls:?}");
            }
            assert_eq!(net.pairs()[0].receiver.malformed(), 0);
            drop(net);
            assert_eq!((platform.memory_used(), platform.leak().queues), (0, 0));
        }
    }
}

#[test]
fn a_flow_comes_by_the_pair_that_it_is_sent_by_for_all_pairs_that_were_commanded() {
    for ring in RINGS {
        let (folder, platform) = (Folder::new(), platform());
        let _served = loopback(&folder, 3);
        let card = open(&platform, &folder, options(16), ring).unwrap();
        assert_eq!(card.facts().pairs, 3);
        let mut net = start(&platform, card, 3);

        for (flow, number) in (0..3).flat_map(|flow| (0..20).map(move |number| (flow, number))) {
            let sent = packet(flow, number, 100);
            let pair = &mut net.pairs()[usize::from(flow)];
            send(&platform, pair, &sent).unwrap();
            assert_eq!(receive(&platform, pair), sent, "{ring:?}");
        }
        // What belongs to a pair that is used no more comes by the first.
        tell(&mut net, &Command::Pairs(1));
        let [first, second, _] = net.pairs() else {
            panic!("three pairs");
        };
        let rejected = send(&platform, second, &packet(1, 0, 100));
        send(&platform, first, &packet(1, 0, 100)).unwrap();
        assert_eq!(rejected, Err(RequestError::Inactive.into()));
        assert_eq!(receive(&platform, first), packet(1, 0, 100), "{ring:?}");
        // And by its own when it is used again.
        tell(&mut net, &Command::Pairs(2));
        let second = &mut net.pairs()[1];
        send(&platform, second, &packet(1, 1, 100)).unwrap();
        assert_eq!(receive(&platform, second), packet(1, 1, 100), "{ring:?}");
    }
}

#[test]
fn there_are_no_more_pairs_than_either_end_wants() {
    for (has, wanted, pairs) in [(1, 16, 1), (3, 2, 2), (16, 16, 16)] {
        let (folder, platform) = (Folder::new(), platform());
        let _served = loopback(&folder, has);

        let mut card = open(&platform, &folder, options(wanted), Features::NONE).unwrap();
        let too_many = card.use_pairs(pairs + 1);

        let (asked, most) = (pairs + 1, pairs);
        assert_eq!(card.facts().pairs, pairs);
        assert_eq!(too_many, Err(RequestError::Pairs { asked, most }.into()));
    }
}

#[test]
fn commands_are_obeyed_here_and_an_address_is_what_it_was_set_to() {
    let (folder, platform) = (Folder::new(), platform());
    let _served = loopback(&folder, 1);
    let card = open(&platform, &folder, options(1), Features::NONE).unwrap();
    let mut net = start(&platform, card, 1);
    let other = [2, 0, 0, 0, 0, 7];

    for command in [
        Command::Receive(Kind::Any, true),
        Command::Filter {
            unicast: &[MAC],
            multicast: &[],
        },
        Command::Vlan(7, true),
        Command::Mac(other),
    ] {
        tell(&mut net, &command);
    }
    let of_two = net.command(&Command::Pairs(2));
    let mut mac = [0; 6];
    let transport = net.reset().0.unwrap();
    let mut transport = transport;
    ringway_driver::transport::Transport::read_config(&mut transport, 0, &mut mac).unwrap();

    // There is no second pair, and so no command for it.
    assert_eq!(of_two, Err(Error::Request(RequestError::Unsupported)));
    // After a reset it is what it was.
    assert_eq!(mac, MAC);
}

#[test]
fn an_address_and_a_limit_of_this_end_stand_before_those_of_the_back_end() {
    let (folder, platform) = (Folder::new(), platform());
    let _served = served(&folder, Arc::new(Loopback::default()), model(1, Some(9000)));
    let card = |mac, mtu| CardOptions { mac, mtu, pairs: 1 };
    let opened = |card| {
        let options = Options {
            card: Some(card),
            ..options(1)
        };
        open(&platform, &folder, options, Features::NONE).map(|card| *card.facts())
    };

    let theirs = opened(card(None, None)).unwrap();
    let ours = opened(card(Some([2, 0, 0, 0, 0, 9]), Some(1400))).unwrap();
    let too_long = opened(card(None, Some(9001))).err();

    assert_eq!((theirs.mac, theirs.mtu), (Some(MAC), Some(9000)));
    assert_eq!((ours.mac, ours.mtu), (Some([2, 0, 0, 0, 0, 9]), Some(1400)));
    // Which the back-end is not made for.
    assert_eq!(too_long, Some(Error::Device(Violation::FeaturesRejected)));
}

/// A card all of which is the back-end's.
#[test]
fn a_back_end_that_has_a_configuration_and_obeys_commands_can_have_the_whole_card() {
    let (folder, platform) = (Folder::new(), platform());
    let _served = loopback(&folder, 2);
    let options = Options {
        card: None,
        ..options(1)
    };
    let card = open(&platform, &folder, options, F::RING_PACKED).unwrap();
    let features = card.facts().features;
    let mut net = start(&platform, card, 2);
    tell(&mut net, &Command::Receive(Kind::Any, true));

    let sent = packet(1, 0, 300);
    let pair = &mut net.pairs()[1];
    send(&platform, pair, &sent).unwrap();

    assert_eq!(receive(&platform, pair), sent);
    assert!(features.contains(Of::CTRL_VQ | Of::DEVICE_STATS | Of::MQ));
}

/// A port that returns packets, and remembers announcements.
#[derive(Default)]
struct Watched {
    loopback: Loopback,
    announced: Mutex<Vec<Mac>>,
}

impl Port for Watched {
    fn connect(&self, card: Inlet) {
        self.loopback.connect(card);
    }

    fn send(&self, packets: &mut Vec<Packet>) {
        let announcements = packets.iter().map(bytes);
        let macs = announcements.filter_map(|bytes| {
            let from: Mac = bytes.get(6..12)?.try_into().ok()?;
            (bytes.get(12..14)? == RARP).then_some(from)
        });
        self.announced.lock().unwrap().extend(macs);
        self.loopback.send(packets);
    }
}

fn bytes(packet: &Packet) -> &[u8] {
    let bytes: &Bytes = &packet.bytes;
    bytes
}

#[test]
fn packets_go_on_over_the_next_back_end_which_is_told_of_pairs_limit_and_address() {
    for (ring, without) in RINGS
        .into_iter()
        .zip([Features::NONE, Of::GUEST_ANNOUNCE].repeat(2))
    {
        let (folder, platform) = (Folder::new(), platform());
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = events.clone();
        let mut back_end = Some(served(
            &folder,
            Arc::new(Watched::default()),
            model(2, None),
        ));
        let options = Options {
            observer: Some(Arc::new(move |event| heard.lock().unwrap().push(event))),
            ..options(2)
        };
        let card = open_without(&platform, &folder, options, ring, without).unwrap();
        let mut net = start(&platform, card, 2);
        let before = net.link().unwrap();

        for round in 0..5 {
            drop(back_end.take());
            let losses = || {
                let events = events.lock().unwrap();
                let lost = events.iter().filter(|it| matches!(it, Event::Lost(_)));
                lost.count()
            };
            let began = Instant::now();
            // Seen by whoever waits.
            while losses() == round && began.elapsed() < LIMIT {
                wait(&platform, &mut net);
            }
            let away = net.link().unwrap();
            let port = Arc::new(Watched::default());
            back_end = Some(served(&folder, port.clone(), model(2, None)));

            for flow in 0..2 {
                let sent = packet(flow, round, 500);
                let pair = &mut net.pairs()[usize::from(flow)];
                send(&platform, pair, &sent).unwrap();
                assert_eq!(receive(&platform, pair), sent, "{ring:?}, round {round}");
            }
            let after = net.link().unwrap();
            assert!(before.up && !away.up && after.up);
            // By the driver, if it can.
            let by_driver = without.is_empty();
            let by_back_end = if by_driver { &[][..] } else { &[MAC] };
            assert_eq!(after.announce, by_driver);
            assert_eq!(*port.announced.lock().unwrap(), by_back_end);
            if by_driver {
                tell(&mut net, &Command::Announced);
            }
        }
        let resumed = |event: &&Event| matches!(event, Event::Resumed { .. });
        assert_eq!(events.lock().unwrap().iter().filter(resumed).count(), 5);
    }
}

/// A driver that waits for packets is told that there is no link.
#[test]
fn a_change_of_the_link_is_told_to_who_waits_for_packets() {
    let (folder, platform) = (Folder::new(), platform());
    let back_end = loopback(&folder, 1);
    let card = open(&platform, &folder, options(1), Features::NONE).unwrap();
    let mut net = start(&platform, card, 1);
    let seen = net.device().config_changed().count();

    drop(back_end);
    let began = Instant::now();
    while net.device().config_changed().count() == seen && began.elapsed() < LIMIT {
        wait(&platform, &mut net);
    }

    assert!(!net.link().unwrap().up);
    assert!(began.elapsed() < LIMIT + Duration::from_secs(1));
}
