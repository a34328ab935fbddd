//! What a card is told and asked, and what its link does meanwhile.

use ringway_driver::error::RequestError;
use ringway_driver::net::{Duplex, Link, Wait, Which};
use ringway_host::net::Timer;
use ringway_spec::net::{F as NetF, Statistics, control_queue};

use super::*;

/// A card and its link, with time for notifications to wait.
fn with_link(way: Way, pairs: u16) -> (Machine, net::Link, Nic) {
    let options = net::Options {
        pairs,
        ..card_options()
    };
    let card = net::Net::new(Arc::new(Loopback::default()), options);
    let card = card.with_clock(Arc::new(Timer::new().unwrap()));
    let link = card.link();
    let machine = machine_with(way, Box::new(card));
    let mut card = open(&machine, way, &Wanted::default());
    card.use_pairs(pairs).unwrap();
    let net = card.start().unwrap();
    (machine, link, net)
}

/// Waits until `what` is so.
fn wait_until(machine: &Machine, mut what: impl FnMut() -> bool) {
    let platform = machine.platform();
    let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
    while !what() {
        assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
        ringway_driver::platform::Platform::relax(&platform);
    }
}

/// Reads the link until it is as it is to be.
fn until(machine: &Machine, net: &mut Nic, what: impl Fn(&Link) -> bool) -> Link {
    let mut link = net.link().unwrap();
    wait_until(machine, || {
        link = net.link().unwrap();
        what(&link)
    });
    link
}

/// Clauses: drv:net/cfg:10
#[test]
fn a_link_that_comes_and_goes_is_seen_and_told_of() {
    for way in ways() {
        let (machine, link, mut net) = with_link(way, 1);
        let changes = net.device().config_changed().count();

        let before = net.link().unwrap();
        link.set_up(false);
        let during = until(&machine, &mut net, |link| !link.up);
        link.set_up(true);
        link.set_speed(Some(10_000), Some(net::Duplex::Full));
        let after = until(&machine, &mut net, |link| link.up && link.speed.is_some());

        assert_eq!((before.up, before.speed, before.duplex), (true, None, None));
        assert!(!during.up);
        assert_eq!(
            (after.speed, after.duplex),
            (Some(10_000), Some(Duplex::Full))
        );
        wait_until(&machine, || {
            net.device().config_changed().count() != changes
        });
    }
}

#[test]
fn no_packet_passes_while_there_is_no_link() {
    let way = ways().next().unwrap();
    let (machine, link, mut net) = with_link(way, 1);
    let bytes = net.facts().receive_bytes();
    let before = net.facts().header_len;
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let pair = &mut net.pairs()[0];
    pair.receiver
        .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
        .unwrap();

    link.set_up(false);
    let lost = buffer(&machine, &tcp(before, 1));
    pair.transmitter.send(lost, &TCP).unwrap();
    pair.transmitter.kick().unwrap();
    wait_until(&machine, || pair.transmitter.reclaim(drop).unwrap() == 1);
    link.set_up(true);
    let passed = buffer(&machine, &tcp(before, 2));
    pair.transmitter.send(passed, &TCP).unwrap();
    pair.transmitter.kick().unwrap();
    let packets = receive(&mut pair.receiver, bytes, 1);

    assert_eq!(packets[0].2.len(), 56);
}

/// Clauses: drv:net/op/control-vq/gratuitous-packet-sending:2
#[test]
fn a_driver_that_is_asked_to_announces_itself_and_is_asked_no_more() {
    for way in ways() {
        let (machine, link, mut net) = with_link(way, 1);

        let asked = link.announce();
        let during = until(&machine, &mut net, |link| link.announce);
        tell(&mut net, &Command::Announced);
        let after = net.link().unwrap();

        assert!(asked && during.up && !after.announce, "{way:?}");
        assert!(!link.is_announcing());
    }
}

#[test]
fn a_driver_that_cannot_announce_itself_is_not_asked() {
    let way = ways().next().unwrap();
    let card = net::Net::new(Arc::new(Loopback::default()), card_options());
    let link = card.link();
    let machine = machine_with(way, Box::new(card));
    let wanted = Wanted {
        without: NetF::GUEST_ANNOUNCE,
        ..Wanted::default()
    };
    let mut net: Nic = open(&machine, way, &wanted).start().unwrap();

    let refused = net.command(&Command::Announced);

    assert_eq!(refused, Err(Error::Request(RequestError::Unsupported)));
    assert!(!link.announce() && !net.link().unwrap().announce);
}

/// Clauses: drv:net/cfg:3
#[test]
fn an_address_and_what_is_received_are_as_the_card_was_told_last() {
    let way = ways().next().unwrap();
    let (_machine, _, mut net) = with_link(way, 1);
    let other = [2, 0, 0, 0, 0, 7];

    let at_first = (net.mac(), net.receives(Kind::Any));
    tell(&mut net, &Command::Mac(other));
    tell(&mut net, &Command::Receive(Kind::Any, true));
    let told = (net.mac(), net.receives(Kind::Any));
    tell(&mut net, &Command::Receive(Kind::Any, false));

    assert_eq!(at_first, (Some(MAC), false));
    assert_eq!(told, (Some(other), true));
    assert!(!net.receives(Kind::Any));
}

/// Clauses: drv:net/cfg:8
#[test]
fn packets_are_no_longer_than_the_card_or_whoever_has_it_says() {
    let way = ways().next().unwrap();
    let (machine, _, mut net) = with_link(way, 2);
    let before = net.facts().header_len;
    let send = |net: &mut Nic, pair: usize, len| {
        let packet = buffer(&machine, &tcp(before, len));
        let sent = net.pairs()[pair].transmitter.send(packet, &TCP);
        sent.map(drop).map_err(Error::from)
    };
    tell(&mut net, &Command::Pairs(2));

    let at_first = (net.mtu(), [0, 1].map(|pair| send(&mut net, pair, 1460)));
    net.set_mtu(1000).unwrap();
    let longer = [0, 1].map(|pair| send(&mut net, pair, 961));
    let not_longer = [0, 1].map(|pair| send(&mut net, pair, 960));
    let refused = [67, 1501].map(|mtu| net.set_mtu(mtu));

    assert_eq!(at_first, (Some(1500), [Ok(()); 2]));
    let too_large = RequestError::TooLarge {
        len: 1015,
        limit: 1014,
    };
    assert_eq!(longer, [Err(Error::Request(too_large)); 2]);
    assert_eq!((not_longer, net.mtu()), ([Ok(()); 2], Some(1000)));
    let most = 1500;
    let cannot = [67, 1501].map(|asked| Err(RequestError::Mtu { asked, most }.into()));
    assert_eq!(refused, cannot);
}

#[test]
fn counters_are_asked_for_when_the_card_has_said_which_there_are() {
    for way in ways() {
        let (machine, _, mut net) = with_link(way, 2);
        let (before, bytes) = (net.facts().header_len, net.facts().receive_bytes());
        let basic = |index, group| Command::Counters(index, group);
        let control = control_queue(2).unwrap();

        let too_early = net.command(&basic(0, Statistics::RX_BASIC));
        let Answer::Statistics(there) = ask(&mut net, &Command::Statistics) else {
            panic!("another answer");
        };
        tell(&mut net, &Command::Receive(Kind::Any, true));
        let pair = &mut net.pairs()[0];
        pair.receiver
            .fill(|| DmaBuffer::new(&machine.platform(), bytes).ok())
            .unwrap();
        let packet = buffer(&machine, &tcp(before, 46));
        pair.transmitter.send(packet, &TCP).unwrap();
        pair.transmitter.kick().unwrap();
        receive(&mut pair.receiver, bytes, 1);
        let [received, sent, commands] = [
            (0, there & Statistics::RECEIVE),
            (1, there & Statistics::TRANSMIT),
            (control, Statistics::CVQ),
        ]
        .map(
            |(index, groups)| match ask(&mut net, &basic(index, groups)) {
                Answer::Counters(counters) => *counters,
                other => panic!("{other:?}"),
            },
        );

        let unsupported = Err(Error::Request(RequestError::Unsupported));
        assert_eq!(too_early, unsupported, "{way:?}");
        let received = received.receive.unwrap();
        assert_eq!(
            (received.rx_packets.get(), received.rx_bytes.get()),
            (1, 100)
        );
        let (sent, sent_checksums) = (sent.transmit.unwrap(), sent.transmit_checksums);
        assert_eq!((sent.tx_packets.get(), sent.tx_bytes.get()), (1, 100));
        let checksums = sent_checksums.unwrap();
        assert_eq!(checksums.tx_needs_csum.get(), 1, "{way:?}");
        // The query, the rules, two queues, and this one.
        let commands = commands.commands.unwrap();
        assert_eq!(
            (commands.command_num.get(), commands.ok_num.get()),
            (5, 5),
            "{way:?}"
        );
    }
}

#[test]
fn how_long_notifications_wait_is_told_and_asked() {
    let way = ways().next().unwrap();
    let (_machine, _, mut net) = with_link(way, 2);
    let wait = |packets, micros| Wait { packets, micros };

    tell(&mut net, &Command::Coalesce(Which::Receive, wait(8, 50)));
    tell(&mut net, &Command::Coalesce(Which::Queue(2), wait(9, 90)));
    tell(&mut net, &Command::Coalesce(Which::Transmit, wait(3, 30)));
    let told = [0, 1, 2, 3].map(|index| ask(&mut net, &Command::Coalesced(index)));

    let expected = [wait(8, 50), wait(3, 30), wait(9, 90), wait(3, 30)];
    assert_eq!(told, expected.map(Answer::Coalesced));
}

/// Sends so many packets to itself, and waits until it is told of them. Yields how long that was.
fn until_told(machine: &Machine, net: &mut Nic, packets: usize) -> Duration {
    let platform = machine.platform();
    let (before, bytes) = (net.facts().header_len, net.facts().receive_bytes());
    let pair = &mut net.pairs()[0];
    let supply = || DmaBuffer::new(&platform, bytes).ok();
    pair.receiver.fill(supply).unwrap();
    pair.receiver.arm();
    let seen = pair.receiver.signal().count();
    let begin = ringway_driver::platform::Platform::now(&platform);
    for _ in 0..packets {
        let packet = buffer(machine, &tcp(before, 1));
        pair.transmitter.send(packet, &TCP).unwrap();
        pair.transmitter.kick().unwrap();
    }
    wait_until(machine, || pair.receiver.signal().count() != seen);
    ringway_driver::platform::Platform::now(&platform) - begin
}

/// §5.1.9.5.10.1: whichever comes first, and nothing is lost.
#[test]
fn a_driver_is_told_of_packets_when_there_are_enough_or_it_was_long_enough() {
    const LONG: u32 = 20_000_000;
    for way in ways() {
        let (machine, _, mut net) = with_link(way, 1);
        tell(&mut net, &Command::Receive(Kind::Any, true));
        let wait = |packets, micros| Command::Coalesce(Which::Receive, Wait { packets, micros });

        tell(&mut net, &wait(1_000, 20_000));
        let by_time = until_told(&machine, &mut net, 3);
        receive(&mut net.pairs()[0].receiver, 1600, 3);
        tell(&mut net, &wait(4, LONG));
        let by_number = until_told(&machine, &mut net, 4);

        // By another way, interrupts of other queues concern this one, too.
        if matches!(way.through, Through::Pci) {
            assert!(by_time >= Duration::from_millis(20), "{way:?} {by_time:?}");
        }
        let long = Duration::from_micros(LONG.into());
        assert!(by_number < long, "{way:?} {by_number:?}");
    }
}
