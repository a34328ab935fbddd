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

fn encode(command: &Command<'_>, features: Features) -> Result<(Control, Vec<u8>), RequestError> {
    let encoded = command.encode(&facts(features))?;
    Ok((encoded.control, encoded.data))
}

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
        (Command::Coalesce(Which::Queue(1), wait), F::VQ_NOTF_COAL),
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

#[test]
fn pairs_that_the_card_has_not_are_refused_and_so_are_none() {
    for asked in [0, 5, u16::MAX] {
        let refused = encode(&Command::Pairs(asked), F::MQ);
        assert_eq!(refused, Err(RequestError::Pairs { asked, most: 4 }));
    }
    assert_eq!(encode(&Command::Pairs(4), F::MQ).unwrap().1, [4, 0]);
}

#[test]
fn steering_is_laid_out_as_the_specification_has_it() {
    let steering = Steering {
        types: HashTypes::TCPV4,
        key: &[9, 8],
        table: &[3, 2],
        unclassified: 1,
        transmit: 4,
    };

    let (control, data) = encode(&Command::Steer(steering), F::RSS).unwrap();

    assert_eq!(control, Control::MQ_RSS_CONFIG);
    assert_eq!(data, [2, 0, 0, 0, 1, 0, 1, 0, 3, 0, 2, 0, 4, 0, 2, 9, 8]);
}

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
        table: &[0, 4],
        ..good
    })));
    assert!(steering(refused(Steering {
        unclassified: 4,
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
    let pairs = RequestError::Pairs { asked: 5, most: 4 };
    assert_eq!(
        refused(Steering {
            transmit: 5,
            ..good
        }),
        pairs
    );
}

#[test]
fn no_offload_is_enabled_that_was_not_agreed_to() {
    let features = F::CTRL_GUEST_OFFLOADS | F::GUEST_CSUM;

    let more = encode(&Command::Offloads(Offloads::GUEST_TSO4), features);
    let agreed = encode(&Command::Offloads(Offloads::GUEST_CSUM), features);

    assert_eq!(more, Err(RequestError::Unsupported));
    assert_eq!(agreed.unwrap().1, [2, 0, 0, 0, 0, 0, 0, 0]);
}
