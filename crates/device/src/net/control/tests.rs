use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::F as Ring;
use ringway_spec::le::U64;
use ringway_spec::net::{
    Coalescing, QueueCoalescing, ReceiveBasic, Statistics, StatisticsHeader, StatisticsWanted,
};
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::model::Device;
use crate::net::coalesce::tests::Still;
use crate::net::{FEATURES, Net, Nowhere, Options};
use crate::testing::Loop;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

/// A card with four pairs of queues, all of the first two of which are enabled, and its queue of
/// commands.
struct Bench {
    net: Net,
    commands: Loop,
    _enabled: [Box<dyn Worker>; 4],
}

fn bench(features: Features) -> Bench {
    let options = Options {
        mac: MAC,
        mtu: None,
        pairs: 4,
        without: Features::NONE,
    };
    let net = Net::new(Arc::new(Nowhere), options);
    let mut net = net.with_clock(Arc::new(Still::default()));
    net.negotiated(features);
    let worker = net.worker(8, features | Ring::VERSION_1);
    let commands = Loop::served(worker, 64, Features::NONE);
    Bench {
        commands,
        _enabled: [0, 1, 2, 3].map(|index| net.worker(index, features | Ring::VERSION_1)),
        net,
    }
}

impl Bench {
    fn all() -> Self {
        bench(FEATURES)
    }

    fn tell(&mut self, control: Control, data: &[u8]) -> Ack {
        let answer = self.commands.request(&[control.as_bytes(), data], &[1]);
        Ack(answer.unwrap().bytes[0])
    }

    /// All that commands change.
    fn state(&self) -> String {
        let shared = &self.net.shared;
        let waits = [0, 1, 2, 3, 4].map(|index| shared.waits.of(index));
        format!("{:?} {waits:?} {:?}", self.rules(), shared.link.status())
    }

    fn rules(&self) -> Rules {
        self.net.shared.rules.lock().clone()
    }
}

#[test]
fn kinds_of_packets_are_turned_on_and_off() {
    let mut bench = Bench::all();

    let on = bench.tell(Control::RX_PROMISC, &[1]);
    let during = bench.rules().kinds.any;
    let off = bench.tell(Control::RX_PROMISC, &[0]);
    let after = bench.rules().kinds.any;

    assert_eq!((on, during, off, after), (Ack::OK, true, Ack::OK, false));
}

#[test]
fn commands_that_cannot_be_are_answered_with_an_error_and_change_nothing() {
    let mut bench = Bench::all();
    let pair = |pair: u16| pair.to_le_bytes();
    let table = |entries: u32| [&entries.to_le_bytes()[..], &[0; 4]].concat();
    let before = bench.rules();

    for (control, data) in [
        (Control::RX_PROMISC, vec![2]),
        (Control::RX_PROMISC, vec![]),
        (Control::RX_PROMISC, vec![1, 1]),
        (Control::new(0, 6), vec![1]),
        (Control::MAC_TABLE_SET, vec![]),
        (Control::MAC_TABLE_SET, table(1)),
        (Control::MAC_TABLE_SET, table(u32::MAX)),
        (Control::MAC_ADDR_SET, vec![1; 5]),
        (Control::MAC_ADDR_SET, vec![1; 7]),
        (Control::VLAN_ADD, 4096_u16.to_le_bytes().to_vec()),
        (Control::MQ_VQ_PAIRS_SET, pair(0).to_vec()),
        (Control::MQ_VQ_PAIRS_SET, pair(5).to_vec()),
        (Control::GUEST_OFFLOADS_SET, vec![0xff; 8]),
        (Control::STATS_GET, vec![0; 16]),
        (Control::new(9, 0), vec![]),
        (Control::new(255, 255), vec![0; 100]),
    ] {
        assert_eq!(bench.tell(control, &data), Ack::ERR, "{control:?} {data:?}");
    }

    let after = bench.rules();
    assert_eq!((after.kinds, after.mac), (before.kinds, before.mac));
    assert_eq!(
        (after.pairs, after.offloads),
        (before.pairs, before.offloads)
    );
}

#[test]
fn a_command_whose_feature_was_not_agreed_to_is_refused() {
    let mut bench = bench(F::CTRL_VQ | F::MQ);

    let others = [
        (Control::RX_PROMISC, vec![1]),
        (Control::MAC_ADDR_SET, vec![2; 6]),
        (Control::VLAN_ADD, vec![1, 0]),
        (Control::GUEST_OFFLOADS_SET, vec![0; 8]),
        (Control::STATS_QUERY, vec![]),
    ];

    for (control, data) in others {
        assert_eq!(bench.tell(control, &data), Ack::ERR, "{control:?}");
    }
    assert_eq!(bench.tell(Control::MQ_VQ_PAIRS_SET, &[4, 0]), Ack::OK);
    assert_eq!(bench.rules().pairs, 4);
}

/// Clauses: dev:net/op/control-vq/setting-mac-address-filtering:2,
/// dev:net/op/control-vq/setting-mac-address-filtering:3
#[test]
fn a_driver_sets_the_address_and_those_that_it_receives_for() {
    let mut bench = Bench::all();
    let (other, group) = ([2, 0, 0, 0, 0, 9], [0x33, 0x33, 0, 0, 0, 1]);
    let table = [
        &1_u32.to_le_bytes()[..],
        &other,
        &1_u32.to_le_bytes(),
        &group,
    ]
    .concat();

    let acks = [
        bench.tell(Control::MAC_ADDR_SET, &[2, 2, 2, 2, 2, 2]),
        bench.tell(Control::MAC_TABLE_SET, &table),
    ];

    assert_eq!(acks, [Ack::OK; 2]);
    let rules = bench.rules();
    assert_eq!((rules.unicast, rules.multicast), (vec![other], vec![group]));
    let mut mac = [0; 6];
    bench.net.read_config(0, &mut mac);
    assert_eq!(mac, [2; 6]);
}

#[test]
fn steering_is_taken_whole_or_not_at_all() {
    let mut bench = Bench::all();
    let steering = |mask: u16, table: &[u16], unclassified: u16, transmit: u16, key: &[u8]| {
        let mut data = 2_u32.to_le_bytes().to_vec();
        data.extend(mask.to_le_bytes());
        data.extend(unclassified.to_le_bytes());
        table
            .iter()
            .for_each(|pair| data.extend(pair.to_le_bytes()));
        data.extend(transmit.to_le_bytes());
        data.push(key.len() as u8);
        data.extend(key);
        data
    };
    let key = [7; 40];

    for (what, data) in [
        ("a mask that is none", steering(2, &[0, 1, 2], 0, 1, &key)),
        ("a table that is short", steering(3, &[0, 1, 2], 0, 1, &key)),
        ("a pair that there is not", steering(1, &[0, 4], 0, 1, &key)),
        (
            "a bit that is reserved",
            steering(1, &[0, 0x8000], 0, 1, &key),
        ),
        ("nowhere for the rest", steering(1, &[0, 1], 9, 1, &key)),
        ("no transmit queues", steering(1, &[0, 1], 0, 0, &key)),
        ("a key too long", steering(1, &[0, 1], 0, 1, &[7; 41])),
    ] {
        let ack = bench.tell(Control::MQ_RSS_CONFIG, &data);
        assert_eq!(ack, Ack::ERR, "{what}");
        assert!(bench.rules().hashing.is_none(), "{what}");
    }
    let good = steering(3, &[3, 2, 1, 0], 2, 4, &key);
    assert_eq!(bench.tell(Control::MQ_RSS_CONFIG, &good), Ack::OK);
    let steering = bench.rules().hashing.and_then(|hashing| hashing.steering);
    let steering = steering.unwrap();
    assert_eq!(
        (steering.table, steering.unclassified),
        (vec![3, 2, 1, 0], 2)
    );
}

/// Clauses: dev:net/op/control-vq/device-statistics:4,
/// dev:net/op/control-vq/device-statistics:5
#[test]
fn counters_are_told_of_the_queues_that_are_asked_for_as_far_as_there_is_room() {
    let mut bench = Bench::all();
    let wanted = |index: u16, group: Statistics| {
        StatisticsWanted {
            vq_index: U16::new(index),
            types_bitmap: U64::new(group.bits()),
            ..StatisticsWanted::default()
        }
        .as_bytes()
        .to_vec()
    };
    let both = [wanted(2, Statistics::RX_BASIC), wanted(8, Statistics::CVQ)].concat();
    let one = size_of::<StatisticsHeader>() + size_of::<ReceiveBasic>();
    let get = Control::STATS_GET;

    let all = bench
        .commands
        .request(&[get.as_bytes(), &both], &[1 + one + 24])
        .unwrap();
    let cut = bench
        .commands
        .request(&[get.as_bytes(), &both], &[1 + one + 3])
        .unwrap();
    let wrong = bench.tell(get, &wanted(3, Statistics::RX_BASIC));
    let beyond = bench.tell(get, &wanted(9, Statistics::CVQ));

    assert_eq!((all.bytes[0], all.written as usize), (0, 1 + one + 24));
    let header = StatisticsHeader::read_from_prefix(&all.bytes[1..])
        .unwrap()
        .0;
    assert_eq!((header.kind, header.vq_index.get()), (0, 2));
    assert_eq!(usize::from(header.size.get()), one);
    // The one that asks is among them (§5.1.9.5.11.3).
    assert_eq!(all.bytes[1 + one + 8..], [1, 0, 0, 0, 0, 0, 0, 0].repeat(2));
    assert_eq!(cut.written as usize, 1 + one + 3);
    assert_eq!((wrong, beyond), (Ack::ERR, Ack::ERR));
}

#[test]
fn a_chain_without_room_for_an_answer_or_without_a_command_is_given_back() {
    let mut bench = Bench::all();

    let mute = bench
        .commands
        .request(&[Control::RX_PROMISC.as_bytes(), &[1]], &[]);
    let empty = bench.commands.request(&[], &[1]).unwrap();
    let half = bench.commands.request(&[&[0]], &[1]).unwrap();

    assert_eq!(mute.map(|answer| answer.written), Ok(0));
    assert_eq!((empty.bytes, half.bytes), (vec![1], vec![1]));
}

fn wait(packets: u32, micros: u32) -> Coalescing {
    Coalescing {
        max_packets: U32::new(packets),
        max_usecs: U32::new(micros),
    }
}

fn queue_wait(index: u16, reserved: u16) -> Vec<u8> {
    QueueCoalescing {
        vq_index: U16::new(index),
        reserved: U16::new(reserved),
        coal: wait(7, 70),
    }
    .as_bytes()
    .to_vec()
}

fn wanted(index: u16, types: u64) -> Vec<u8> {
    StatisticsWanted {
        vq_index: U16::new(index),
        types_bitmap: U64::new(types),
        ..StatisticsWanted::default()
    }
    .as_bytes()
    .to_vec()
}

fn steering(mask: u16, table: &[u16], key_len: u8, key: &[u8]) -> Vec<u8> {
    let mut data = 2_u32.to_le_bytes().to_vec();
    data.extend(mask.to_le_bytes());
    data.extend([0, 0]);
    data.extend(table.iter().flat_map(|pair| pair.to_le_bytes()));
    data.extend([1, 0, key_len]);
    data.extend(key);
    data
}

fn hashes(key_len: u8, key: &[u8]) -> Vec<u8> {
    let mut data = vec![2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, key_len];
    data.extend(key);
    data
}

fn addresses(unicast: u32, multicast: u32, of_each: usize) -> Vec<u8> {
    let table = |entries: u32| {
        let mut table = entries.to_le_bytes().to_vec();
        table.resize(4 + 6 * of_each, 2);
        table
    };
    [table(unicast), table(multicast)].concat()
}

/// Every command, with data that is good.
fn commands() -> Vec<(Control, Vec<u8>)> {
    vec![
        (Control::RX_PROMISC, vec![1]),
        (Control::RX_ALLMULTI, vec![1]),
        (Control::RX_ALLUNI, vec![1]),
        (Control::RX_NOMULTI, vec![1]),
        (Control::RX_NOUNI, vec![1]),
        (Control::RX_NOBCAST, vec![1]),
        (Control::MAC_TABLE_SET, addresses(2, 2, 2)),
        (Control::MAC_ADDR_SET, vec![2; 6]),
        (Control::VLAN_ADD, vec![5, 0]),
        (Control::VLAN_DEL, vec![5, 0]),
        (Control::ANNOUNCE_ACK, vec![]),
        (Control::MQ_VQ_PAIRS_SET, vec![4, 0]),
        (
            Control::MQ_RSS_CONFIG,
            steering(3, &[0, 1, 2, 3], 40, &[7; 40]),
        ),
        (Control::MQ_HASH_CONFIG, hashes(40, &[7; 40])),
        (Control::GUEST_OFFLOADS_SET, vec![2, 0, 0, 0, 0, 0, 0, 0]),
        (Control::NOTF_COAL_TX_SET, wait(8, 50).as_bytes().to_vec()),
        (Control::NOTF_COAL_RX_SET, wait(8, 50).as_bytes().to_vec()),
        (Control::NOTF_COAL_VQ_SET, queue_wait(1, 0)),
        (Control::NOTF_COAL_VQ_GET, vec![1, 0, 0, 0]),
        (Control::STATS_QUERY, vec![]),
        (Control::STATS_GET, wanted(2, 1)),
    ]
}

/// Clauses: dev:net/op/control-vq/packet-receive-filtering:1,
/// dev:net/op/control-vq/packet-receive-filtering:5,
/// txt:net/op/processing-of-incoming-packets/hash-calculation-for-incoming-pack:1,
/// txt:net/op/processing-of-incoming-packets/hash-calculation-for-incoming-pack:2,
/// txt:net/op/processing-of-incoming-packets/hash-calculation-for-incoming-pack:3,
/// txt:net/control-vq/automatic-receive-steering-in-mult/hash-calculation:1
#[test]
fn every_command_is_done_in_however_many_descriptors_it_comes() {
    for (control, data) in commands() {
        let (mut whole, mut cut) = (Bench::all(), Bench::all());
        let bytes = [control.as_bytes(), &data].concat();
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();

        let at_once = whole.commands.request(&[&bytes], &[100]).unwrap();
        // As many as fit beside the command.
        let room = vec![1; 64 - pieces.len().min(63)];
        let pieces = match pieces.len() < 60 {
            true => pieces,
            false => bytes.chunks(2).collect(),
        };
        let in_pieces = cut.commands.request(&pieces, &room).unwrap();

        assert_eq!(Ack(at_once.bytes[0]), Ack::OK, "{control:?}");
        let both = at_once.written.min(room.len() as u32) as usize;
        assert_eq!(in_pieces.written as usize, both, "{control:?}");
        assert_eq!(in_pieces.bytes[..both], at_once.bytes[..both]);
        assert_eq!(whole.state(), cut.state(), "{control:?}");
    }
}

#[test]
fn a_command_with_more_or_less_than_belongs_to_it_is_refused_and_changes_nothing() {
    for (control, data) in commands() {
        let mut bench = Bench::all();
        let before = bench.state();

        for len in 0..data.len() {
            assert_eq!(
                bench.tell(control, &data[..len]),
                Ack::ERR,
                "{control:?} {len}"
            );
        }
        for more in [1, 2, 1000, COMMAND_BYTES_MAX as usize] {
            let mut longer = data.clone();
            longer.resize(data.len() + more, 0);
            assert_eq!(bench.tell(control, &longer), Ack::ERR, "{control:?} {more}");
        }

        assert_eq!(bench.state(), before, "{control:?}");
    }
}

#[test]
fn commands_that_there_are_not_are_refused_and_change_nothing() {
    let mut bench = Bench::all();
    let before = bench.state();
    let known: Vec<_> = commands().iter().map(|(control, _)| *control).collect();

    for class in (0..=10).chain([16, 127, 128, 255]) {
        for command in (0..=10).chain([16, 127, 128, 255]) {
            let control = Control::new(class, command);
            if known.contains(&control) {
                continue;
            }
            for data in [vec![], vec![1], vec![0; 2], vec![0xff; 8], vec![0; 200]] {
                assert_eq!(bench.tell(control, &data), Ack::ERR, "{control:?} {data:?}");
            }
        }
    }

    assert_eq!(bench.state(), before);
}

/// Clauses: dev:net/op/control-vq/device-statistics:2,
/// dev:net/op/control-vq/device-statistics:3,
/// dev:net/op/control-vq/device-statistics:6
#[test]
fn numbers_that_cannot_be_are_refused_and_change_nothing() {
    let (rss, hash) = (Control::MQ_RSS_CONFIG, Control::MQ_HASH_CONFIG);
    let all = [0, 1, 2, 3];
    for (what, control, data) in [
        ("a switch", Control::RX_PROMISC, vec![2]),
        ("a switch", Control::RX_NOBCAST, vec![0xff]),
        ("addresses", Control::MAC_TABLE_SET, addresses(3, 2, 2)),
        ("addresses", Control::MAC_TABLE_SET, addresses(1, 2, 2)),
        (
            "addresses",
            Control::MAC_TABLE_SET,
            addresses(u32::MAX, 0, 0),
        ),
        (
            "addresses",
            Control::MAC_TABLE_SET,
            addresses(0, u32::MAX, 0),
        ),
        ("addresses", Control::MAC_TABLE_SET, addresses(257, 0, 257)),
        ("a LAN", Control::VLAN_ADD, vec![0, 16]),
        ("a LAN", Control::VLAN_DEL, vec![0xff; 2]),
        ("pairs", Control::MQ_VQ_PAIRS_SET, vec![0, 0]),
        ("pairs", Control::MQ_VQ_PAIRS_SET, vec![5, 0]),
        ("pairs", Control::MQ_VQ_PAIRS_SET, vec![0xff; 2]),
        ("a mask", rss, steering(2, &all[..3], 40, &[7; 40])),
        ("a mask", rss, steering(0xffff, &all, 40, &[7; 40])),
        ("a table", rss, steering(1023, &[0; 1024], 40, &[7; 40])),
        ("a key", rss, steering(3, &all, 0xff, &[7; 40])),
        ("a key", rss, steering(3, &all, 39, &[7; 40])),
        ("a key", rss, steering(3, &all, 41, &[7; 41])),
        ("a key", hash, hashes(0xff, &[7; 40])),
        ("a key", hash, hashes(0, &[7; 40])),
        (
            "a hash",
            hash,
            [&[0, 2, 0, 0], &hashes(40, &[7; 40])[4..]].concat(),
        ),
        ("offloads", Control::GUEST_OFFLOADS_SET, vec![0xff; 8]),
        ("a queue", Control::NOTF_COAL_VQ_SET, queue_wait(8, 0)),
        (
            "a queue",
            Control::NOTF_COAL_VQ_SET,
            queue_wait(u16::MAX, 0),
        ),
        ("a queue", Control::NOTF_COAL_VQ_GET, vec![8, 0, 0, 0]),
        ("none", Control::STATS_GET, wanted(2, 0)),
        ("a group", Control::STATS_GET, wanted(2, 1 << 63)),
        ("a group", Control::STATS_GET, wanted(2, 1 << 8 | 1)),
        ("a group", Control::STATS_GET, wanted(2, 1 << 16)),
        ("a group", Control::STATS_GET, wanted(3, 1)),
        ("a group", Control::STATS_GET, wanted(8, 1)),
        ("a queue", Control::STATS_GET, wanted(9, 1 << 32)),
        ("a queue", Control::STATS_GET, wanted(u16::MAX, 1)),
        (
            "one of two",
            Control::STATS_GET,
            [wanted(2, 1), wanted(3, 1)].concat(),
        ),
    ] {
        let mut bench = Bench::all();
        let before = bench.state();

        let answer = bench.commands.request(&[control.as_bytes(), &data], &[64]);

        let answer = answer.unwrap();
        assert_eq!((answer.bytes[0], answer.written), (1, 1), "{what} {data:?}");
        assert_eq!(bench.state(), before, "{what} {data:?}");
    }
}

/// Clauses: dev:net/op/control-vq/notif-coalescing:1,
/// dev:net/op/control-vq/notif-coalescing:3,
/// dev:net/op/control-vq/notif-coalescing:4
#[test]
fn how_long_a_queue_waits_is_told_of_one_that_is_enabled() {
    let mut bench = Bench::all();
    let get = |bench: &mut Bench, index: u8| {
        let control = Control::NOTF_COAL_VQ_GET;
        let asked = [control.class, control.command, index, 0, 0xff, 0xff];
        bench.commands.request(&[&asked], &[9]).unwrap()
    };

    let set = [
        bench.tell(Control::NOTF_COAL_RX_SET, wait(8, 50).as_bytes()),
        // What is reserved says nothing.
        bench.tell(Control::NOTF_COAL_VQ_SET, &queue_wait(2, 0xffff)),
    ];
    let told = [0, 1, 2].map(|index| get(&mut bench, index));
    let not_enabled = [
        bench.tell(Control::NOTF_COAL_VQ_SET, &queue_wait(4, 0)),
        Ack(get(&mut bench, 4).bytes[0]),
    ];

    assert_eq!(set, [Ack::OK; 2]);
    for (told, wait) in told.iter().zip([wait(8, 50), wait(0, 0), wait(7, 70)]) {
        assert_eq!((told.written, told.bytes[0]), (9, 0));
        assert_eq!(told.bytes[1..], *wait.as_bytes());
    }
    assert_eq!(not_enabled, [Ack::ERR; 2]);
}

/// §5.1.9.5.4.2: the device asks no more when the driver sees its answer.
///
/// Clauses: dev:net/op/control-vq/gratuitous-packet-sending:1
#[test]
fn a_driver_that_has_announced_itself_is_asked_no_more() {
    let mut bench = Bench::all();
    let link = bench.net.link();

    let asked = link.announce();
    let during = link.is_announcing();
    let ack = bench.tell(Control::ANNOUNCE_ACK, &[]);

    assert_eq!((asked, during, ack), (true, true, Ack::OK));
    assert!(!link.is_announcing());
}

/// Clauses: dev:net/op/control-vq/device-statistics:1
#[test]
fn the_groups_of_counters_that_there_are_are_told() {
    let query = |features| {
        let mut bench = bench(features);
        let asked = Control::STATS_QUERY;
        let answer = bench.commands.request(&[asked.as_bytes()], &[20]).unwrap();
        assert_eq!((answer.written, answer.bytes[0]), (9, 0));
        Statistics::from_bits_retain(u64::from_le_bytes(answer.bytes[1..9].try_into().unwrap()))
    };

    let speed = Statistics::RX_SPEED | Statistics::TX_SPEED;
    let basic = Statistics::CVQ | Statistics::RX_BASIC | Statistics::TX_BASIC;
    let all = Statistics::RECEIVE | Statistics::TRANSMIT | Statistics::CVQ;
    assert_eq!(query(FEATURES), all - speed);
    assert_eq!(query(F::DEVICE_STATS | F::CTRL_VQ | F::MQ), basic);
}

/// Clauses: dev:net/op/control-vq/setting-mac-address-filtering:1
#[test]
fn a_card_that_was_reset_has_no_tables() {
    let mut bench = Bench::all();
    let said = bench.tell(Control::MAC_TABLE_SET, &addresses(2, 2, 2));
    let steered = bench.tell(Control::MQ_VQ_PAIRS_SET, &[4, 0]);

    bench.net.reset();

    let rules = bench.rules();
    assert_eq!((said, steered), (Ack::OK, Ack::OK));
    assert_eq!((rules.unicast.len(), rules.multicast.len()), (0, 0));
    assert_eq!(rules.pairs, 1);
}
