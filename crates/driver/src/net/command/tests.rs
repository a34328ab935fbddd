use alloc::vec;

use super::*;
use crate::net::Hashes;

fn facts(features: Features) -> Facts {
    Facts {
        features: features | F::CTRL_VQ,
        mac: None,
        mtu: None,
        pairs: 4,
        hashes: features
            .intersects(F::RSS | F::HASH_REPORT)
            .then_some(Hashes {
                key_max: 40,
                table_max: 128,
                types: HashTypes::IPV4 | HashTypes::TCPV4,
            }),
        header_len: 12,
    }
}

/// Of a card with four pairs of queues, three of which are set up, that counts all there is.
fn books(statistics: Option<Statistics>) -> Books {
    let mut books = Books::new(3);
    books.statistics = statistics;
    books
}

fn encode(command: &Command<'_>, features: Features) -> Result<(Control, Vec<u8>), RequestError> {
    let (encoded, _) = command.encode(&facts(features), &books(Some(Statistics::all())))?;
    Ok((encoded.control, encoded.data))
}

/// Clauses: drv:net/op/control-vq/packet-receive-filtering:1,
/// drv:net/op/control-vq/packet-receive-filtering:2,
/// drv:net/op/control-vq/setting-mac-address-filtering:1,
/// drv:net/op/control-vq/receive-side-scaling-rss:1,
/// drv:net/op/control-vq/notif-coalescing:2,
/// drv:net/op/control-vq/notif-coalescing:3
#[test]
fn every_command_needs_its_feature() {
    let steering = Steering {
        types: HashTypes::IPV4,
        key: &[1; 40],
        table: &[0, 1],
        unclassified: 0,
        transmit: 2,
    };
    let wait = Wait {
        packets: 8,
        micros: 50,
    };
    let filter = Command::Filter {
        unicast: &[],
        multicast: &[],
    };
    for (command, feature) in [
        (Command::Receive(Kind::Any, true), F::CTRL_RX),
        (Command::Receive(Kind::NoBroadcast, true), F::CTRL_RX_EXTRA),
        (filter, F::CTRL_RX),
        (Command::Mac([2; 6]), F::CTRL_MAC_ADDR),
        (Command::Vlan(5, true), F::CTRL_VLAN),
        (Command::Announced, F::GUEST_ANNOUNCE),
        (Command::Pairs(2), F::MQ),
        (Command::Steer(steering), F::RSS),
        (Command::Hash(HashTypes::IPV4, &[1; 40]), F::HASH_REPORT),
        (Command::Offloads(Offloads::empty()), F::CTRL_GUEST_OFFLOADS),
        (Command::Coalesce(Which::Receive, wait), F::NOTF_COAL),
        (Command::Coalesce(Which::Transmit, wait), F::NOTF_COAL),
        (Command::Coalesce(Which::Queue(1), wait), F::VQ_NOTF_COAL),
        (Command::Coalesced(1), F::VQ_NOTF_COAL),
        (Command::Statistics, F::DEVICE_STATS),
        (Command::Counters(0, Statistics::RX_BASIC), F::DEVICE_STATS),
    ] {
        let without = Features(u128::MAX) - feature;
        assert_eq!(
            encode(&command, without),
            Err(RequestError::Unsupported),
            "{command:?}"
        );
        assert!(encode(&command, feature).is_ok(), "{command:?}");
    }
}

/// Clauses: drv:net/op/control-vq/setting-mac-address-filtering:3
#[test]
fn a_filter_is_two_tables_each_behind_its_number() {
    let filter = Command::Filter {
        unicast: &[[2; 6]],
        multicast: &[[3; 6], [5; 6]],
    };

    let (control, data) = encode(&filter, F::CTRL_RX).unwrap();

    assert_eq!(control, Control::MAC_TABLE_SET);
    let expected = [&[1, 0, 0, 0][..], &[2; 6], &[2, 0, 0, 0], &[3; 6], &[5; 6]].concat();
    assert_eq!(data, expected);
}

/// Clauses: drv:net/op/control-vq/automatic-receive-steering-in-mult:1,
/// drv:net/op/control-vq/automatic-receive-steering-in-mult:2
#[test]
fn pairs_that_are_not_set_up_are_refused_and_so_are_none() {
    for asked in [0, 4, 5, u16::MAX] {
        let refused = encode(&Command::Pairs(asked), F::MQ);
        assert_eq!(refused, Err(RequestError::Pairs { asked, most: 3 }));
    }
    assert_eq!(encode(&Command::Pairs(3), F::MQ).unwrap().1, [3, 0]);
}

#[test]
fn steering_is_laid_out_as_the_specification_has_it() {
    let steering = Steering {
        types: HashTypes::TCPV4,
        key: &[9, 8],
        table: &[0, 2],
        unclassified: 1,
        transmit: 3,
    };

    let (control, data) = encode(&Command::Steer(steering), F::RSS).unwrap();

    assert_eq!(control, Control::MQ_RSS_CONFIG);
    assert_eq!(data, [2, 0, 0, 0, 1, 0, 1, 0, 0, 0, 2, 0, 3, 0, 2, 9, 8]);
}

/// Clauses: drv:net/op/control-vq/receive-side-scaling-rss:2,
/// drv:net/op/control-vq/receive-side-scaling-rss:3,
/// drv:net/op/control-vq/receive-side-scaling-rss:4,
/// drv:net/op/control-vq/receive-side-scaling-rss:5
#[test]
fn steering_that_cannot_be_is_refused() {
    let good = Steering {
        types: HashTypes::TCPV4,
        key: &[1; 40],
        table: &[0, 1],
        unclassified: 0,
        transmit: 1,
    };
    let long = vec![0; 256];
    let refused = |steering| encode(&Command::Steer(steering), F::RSS).unwrap_err();

    let steering = |why: RequestError| matches!(why, RequestError::Steering(_));
    assert!(steering(refused(Steering {
        table: &[0, 1, 2],
        ..good
    })));
    assert!(steering(refused(Steering { table: &[], ..good })));
    assert!(steering(refused(Steering {
        table: &long,
        ..good
    })));
    assert!(steering(refused(Steering {
        table: &[0, 3],
        ..good
    })));
    assert!(steering(refused(Steering {
        unclassified: 3,
        ..good
    })));
    assert!(steering(refused(Steering {
        key: &[1; 41],
        ..good
    })));
    assert!(steering(refused(Steering {
        types: HashTypes::IPV6,
        ..good
    })));
    let pairs = RequestError::Pairs { asked: 4, most: 3 };
    assert_eq!(
        refused(Steering {
            transmit: 4,
            ..good
        }),
        pairs
    );
}

/// Clauses: drv:net/control-vq/offloads-state-cfg/setting-offloads-state:1
#[test]
fn no_offload_is_enabled_that_was_not_agreed_to() {
    let features = F::CTRL_GUEST_OFFLOADS | F::GUEST_CSUM;

    let more = encode(&Command::Offloads(Offloads::GUEST_TSO4), features);
    let agreed = encode(&Command::Offloads(Offloads::GUEST_CSUM), features);

    assert_eq!(more, Err(RequestError::Unsupported));
    assert_eq!(agreed.unwrap().1, [2, 0, 0, 0, 0, 0, 0, 0]);
}

/// Clauses: drv:net/op/control-vq/notif-coalescing:1
#[test]
fn no_queue_that_is_not_set_up_is_told_how_long_to_wait_or_asked() {
    let wait = Wait {
        packets: 8,
        micros: 50,
    };
    let told = |index| {
        encode(
            &Command::Coalesce(Which::Queue(index), wait),
            F::VQ_NOTF_COAL,
        )
    };
    let asked = |index| encode(&Command::Coalesced(index), F::VQ_NOTF_COAL);

    for index in [6, 7, 8, u16::MAX] {
        let refused = Err(RequestError::NotSetUp(index));
        assert_eq!((told(index), asked(index)), (refused.clone(), refused));
    }
    let data = [5, 0, 0, 0, 8, 0, 0, 0, 50, 0, 0, 0];
    assert_eq!(told(5).unwrap().1, data);
    let asks = (Control::NOTF_COAL_VQ_GET, data[..4].to_vec());
    assert_eq!(asked(5).unwrap(), asks);
}

/// Clauses: drv:net/op/control-vq/device-statistics:1,
/// drv:net/op/control-vq/device-statistics:2
#[test]
fn counters_are_asked_for_only_of_a_queue_that_has_them_and_if_the_device_said_so() {
    let facts = facts(F::DEVICE_STATS | F::GUEST_CSUM);
    let with = |books: &Books, index, groups| {
        let encoded = Command::Counters(index, groups).encode(&facts, books);
        encoded.map(|(encoded, _)| encoded.data)
    };
    let (receive, checksums) = (Statistics::RX_BASIC, Statistics::RX_CSUM);
    let all = books(Some(Statistics::all()));

    let unsupported = Err(RequestError::Unsupported);
    assert_eq!(with(&books(None), 2, receive), unsupported);
    assert_eq!(with(&books(Some(receive)), 2, checksums), unsupported);
    assert_eq!(with(&all, 2, Statistics::empty()), unsupported);
    assert_eq!(with(&all, 3, receive), unsupported);
    assert_eq!(with(&all, 8, receive), unsupported);
    // The features that it would count for were not agreed to.
    assert_eq!(with(&all, 2, Statistics::RX_GSO), unsupported);
    assert_eq!(with(&all, 9, receive), Err(RequestError::NotSetUp(9)));
    assert!(with(&all, 8, Statistics::CVQ).is_ok());
    let data = with(&all, 2, receive | checksums);
    assert_eq!(
        data.unwrap(),
        [2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
    );
}

/// Clauses: txt:net/control-vq/automatic-receive-steering-in-mult/hash-calculation:2
#[test]
fn hashes_alone_are_laid_out_as_the_specification_has_them() {
    let (control, data) =
        encode(&Command::Hash(HashTypes::TCPV4, &[9, 8]), F::HASH_REPORT).unwrap();

    assert_eq!(control, Control::MQ_HASH_CONFIG);
    assert_eq!(data, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 9, 8]);
}
