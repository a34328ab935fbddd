use ringway_spec::net::PAIRS_MAX as SPEC_PAIRS_MAX;
use zerocopy::FromBytes;

use super::*;

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
fn all_queues_of_a_card_are_as_large_as_its_carrier_wants() {
    let net = net(2, None).with_queue_size(1024);

    assert_eq!(net.queue_sizes(), [1024; 5]);
}

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
