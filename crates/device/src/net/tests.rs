use ringway_spec::net::PAIRS_MAX as SPEC_PAIRS_MAX;
use zerocopy::FromBytes;

use super::*;
use crate::net::packet::Packet;

fn net(pairs: u16, mtu: Option<u16>) -> Net {
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu,
        pairs,
        without: Features::NONE,
    };
    Net::new(Arc::new(Nowhere), options)
}

fn config(net: &Net) -> Config {
    let mut bytes = vec![0; net.config_bytes()];
    net.read_config(0, &mut bytes);
    Config::read_from_bytes(&bytes).unwrap()
}

#[test]
fn a_card_offers_several_queues_and_a_longest_packet_only_if_it_has_them() {
    let (one, four) = (net(1, None), net(4, Some(9000)));

    assert!(!one.features().intersects(F::MQ | F::MTU));
    assert!(four.features().contains(F::MQ | F::MTU));
    assert_eq!((one.queue_sizes().len(), four.queue_sizes().len()), (3, 9));
    let config = config(&four);
    assert_eq!(
        (config.mtu.get(), config.max_virtqueue_pairs.get()),
        (9000, 4)
    );
}

#[test]
fn a_card_without_a_queue_of_commands_offers_nothing_that_is_asked_for_by_commands() {
    let options = Options {
        mac: [2, 0, 0, 0, 0, 1],
        mtu: None,
        pairs: 4,
        without: F::CTRL_VQ,
    };
    let net = Net::new(Arc::new(Nowhere), options);

    let by_commands = F::HASH_REPORT | F::CTRL_GUEST_OFFLOADS | F::DEVICE_STATS;
    assert!(!net.features().intersects(by_commands));
    assert_eq!(net.queue_sizes().len(), 8);
}

#[test]
fn all_queues_of_a_card_are_as_large_as_its_carrier_wants() {
    let net = net(2, None).with_queue_size(1024);

    assert_eq!(net.queue_sizes(), [1024; 5]);
}

/// Clauses: dev:net/cfg:1,
/// dev:net/cfg:2,
/// dev:net/cfg:7,
/// dev:net/cfg:8
#[test]
fn what_a_card_says_of_itself_is_what_one_may_say() {
    for pairs in [0, 1, 16, 17, u16::MAX] {
        for mtu in [None, Some(0), Some(67), Some(68), Some(u16::MAX)] {
            let net = net(pairs, mtu);
            let config = config(&net);
            let pairs = config.max_virtqueue_pairs.get();
            assert!((1..=SPEC_PAIRS_MAX).contains(&pairs));
            assert!(mtu.is_none() || config.mtu.get() >= 68);
            assert!(config.rss_max_key_size >= 40);
            assert!(config.rss_max_indirection_table_length.get() >= 128);
        }
    }
}

#[test]
fn a_modern_driver_writes_nothing_that_others_see_of_the_configuration_but_the_address() {
    let mut net = net(1, Some(1500));
    let before = config(&net);

    net.write_config(6, &[0xff; 22]);
    net.write_config(usize::MAX, &[1]);

    assert_eq!(config(&net), before);
}

/// Clauses: dev:net/cfg:4
#[test]
fn the_longest_packet_that_a_card_tells_of_stays_what_it_was() {
    let mut net = net(1, Some(9000));

    let limited = net.limit(1000);
    net.negotiated(F::MTU);

    assert!(limited);
    assert_eq!(config(&net).mtu.get(), 9000);
}

/// §5.1.9.5.6.2: by the first pair at first, and by no pair beyond those that are used.
///
/// Clauses: dev:net/op/control-vq/automatic-receive-steering-in-mult:1,
/// dev:net/op/control-vq/automatic-receive-steering-in-mult:2
#[test]
fn packets_come_by_the_first_pair_until_more_are_used_and_by_none_that_is_not_enabled() {
    let mut net = net(4, None);
    let features = F::MQ | F::CTRL_VQ;
    net.negotiated(features);
    let mut workers = [0, 2, 4, 6].map(|index| Some(net.worker(index, features)));
    let mut bytes = vec![9; 12];
    bytes.extend([8, 0, 0x45, 0, 0, 40, 0, 7, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend([192, 0, 2, 1, 192, 0, 2, 2, 0, 80, 0x12, 0x34]);
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0]);
    // Its answers go to the fourth pair.
    net.shared.sent(&bytes, 3);
    let deliver = |net: &Net| {
        let mut packets = vec![Packet::new(Default::default(), &bytes)];
        Deliver::deliver(&*net.shared, &mut packets);
        let waiting = |inbox: &Mutex<inlet::Inbox>| inbox.lock().packets.len();
        net.shared.boxes.iter().map(waiting).collect::<Vec<_>>()
    };
    let set = |net: &Net, pairs| net.shared.rules.lock().pairs = pairs;

    let at_first = deliver(&net);
    set(&net, 4);
    let all = deliver(&net);
    set(&net, 2);
    let fewer = deliver(&net);
    workers.fill_with(|| None);
    let none = deliver(&net);

    assert_eq!(at_first, [1, 0, 0, 0]);
    assert_eq!(all, [1, 0, 0, 1]);
    assert_eq!(fewer, [2, 0, 0, 1]);
    assert_eq!(none, [0; 4]);
}
