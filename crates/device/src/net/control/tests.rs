use alloc::vec;
use alloc::vec::Vec;

use ringway_spec::F as Ring;
use ringway_spec::net::{Ack, ReceiveBasic};

use super::*;
use crate::model::Device;
use crate::net::{FEATURES, Net, Nowhere, Options};
use crate::testing::Loop;

const MAC: Mac = [2, 0, 0, 0, 0, 1];

/// A card with four pairs of queues, and its queue of commands.
struct Bench {
    net: Net,
    commands: Loop,
}

fn bench(features: Features) -> Bench {
    let options = Options {
        mac: MAC,
        mtu: None,
        pairs: 4,
        without: Features::NONE,
    };
    let mut net = Net::new(Arc::new(Nowhere), options);
    net.negotiated(features);
    let worker = net.worker(8, features | Ring::VERSION_1);
    let commands = Loop::served(worker, 64, Features::NONE);
    Bench { net, commands }
}

impl Bench {
    fn all() -> Self {
        bench(FEATURES)
    }

    fn tell(&mut self, control: Control, data: &[u8]) -> Ack {
        let answer = self.commands.request(&[control.as_bytes(), data], &[1]);
        Ack(answer.unwrap().bytes[0])
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
    let commands: Vec<u8> = all.bytes[1 + one + 8..].to_vec();
    assert_eq!(commands[..8], 0_u64.to_le_bytes());
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
