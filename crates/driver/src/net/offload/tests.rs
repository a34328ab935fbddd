use super::*;

const AT: ChecksumAt = ChecksumAt {
    start: 34,
    offset: 16,
};

fn cut(into: Pieces) -> Offload {
    Offload {
        checksum: Some(AT),
        cut: Some(Cut {
            into,
            size: 1448,
            header_len: 54,
        }),
    }
}

#[test]
fn a_packet_that_is_complete_has_a_header_of_zeroes() {
    let header = Offload::default().header(F::CSUM | F::HOST_TSO4);

    assert_eq!(header, Ok(Header::default()));
}

/// Clauses: drv:net/op/packet-transmission:2,
/// drv:net/op/packet-transmission:20,
/// drv:net/op/packet-transmission:23
#[test]
fn what_is_left_to_the_device_is_said_in_its_words() {
    let ecn = Pieces::Tcp4(Congestion::Notified);

    let header = cut(ecn)
        .header(F::CSUM | F::HOST_TSO4 | F::HOST_ECN)
        .unwrap();

    assert_eq!((header.flags, header.gso_type.0), (1, 0x81));
    assert_eq!(
        (header.csum_start.get(), header.csum_offset.get()),
        (34, 16)
    );
    assert_eq!((header.gso_size.get(), header.hdr_len.get()), (1448, 54));
    assert_eq!(header.num_buffers.get(), 0);
}

/// Clauses: drv:net/op/packet-transmission:3,
/// drv:net/op/packet-transmission:5,
/// drv:net/op/packet-transmission:6,
/// drv:net/op/packet-transmission:7,
/// drv:net/op/packet-transmission:8,
/// drv:net/op/packet-transmission:9,
/// drv:net/op/packet-transmission:21
#[test]
fn nothing_is_left_to_a_device_that_has_not_agreed_to_it() {
    let unsupported = Err(RequestError::Unsupported);
    let ways = [
        (Pieces::Tcp4(Congestion::Silent), F::HOST_TSO4),
        (Pieces::Tcp6(Congestion::Silent), F::HOST_TSO6),
        (Pieces::Tcp4(Congestion::Notified), F::HOST_ECN),
        (Pieces::Udp, F::HOST_USO),
        (Pieces::Fragments, F::HOST_UFO),
    ];
    let all = F::CSUM | F::HOST_TSO4 | F::HOST_TSO6 | F::HOST_ECN | F::HOST_USO | F::HOST_UFO;

    for (into, needs) in ways {
        assert!(cut(into).header(all).is_ok(), "{into:?}");
        assert_eq!(cut(into).header(all - needs), unsupported, "{into:?}");
        assert_eq!(cut(into).header(all - F::CSUM), unsupported, "{into:?}");
    }
}

/// Clauses: drv:net/op/packet-transmission:22
#[test]
fn a_packet_is_not_cut_unless_its_checksum_is_left_to_do_nor_into_nothing() {
    let all = F::CSUM | F::HOST_TSO4;
    let mut offload = cut(Pieces::Tcp4(Congestion::Silent));
    if let Some(cut) = &mut offload.cut {
        cut.size = 0;
    }

    let into_nothing = offload.header(all);
    offload.checksum = None;
    let complete = offload.header(all);

    assert_eq!(into_nothing, Err(RequestError::Empty));
    assert_eq!(complete, Err(RequestError::Unsupported));
}

fn header(flags: u8, kind: u8, size: u16) -> Header {
    Header {
        flags,
        gso_type: GsoType(kind),
        gso_size: U16::new(size),
        csum_start: U16::new(34),
        csum_offset: U16::new(16),
        ..Header::default()
    }
}

/// Clauses: drv:net/op/processing-of-incoming-packets:1,
/// drv:net/op/processing-of-incoming-packets:4,
/// drv:net/op/processing-of-incoming-packets:7
#[test]
fn flags_of_a_received_packet_that_were_not_agreed_to_are_not_looked_at() {
    let seen = |flags, features| {
        let received = Received::of(&header(flags, 0, 0), None, 100, features);
        received.map(|received| received.checksum)
    };

    assert_eq!(seen(0xff, Features::NONE), Some(Checksum::Unknown));
    assert_eq!(seen(2, F::GUEST_CSUM), Some(Checksum::Right));
    assert_eq!(seen(0xf8, F::GUEST_CSUM), Some(Checksum::Unknown));
    assert_eq!(seen(1, F::GUEST_CSUM), Some(Checksum::Partial(AT)));
    // The two fields say something else then.
    assert_eq!(seen(5, F::GUEST_CSUM), Some(Checksum::Unknown));
}

/// Clauses: drv:net/op/processing-of-incoming-packets:8,
/// drv:net/op/processing-of-incoming-packets:10
#[test]
fn a_received_packet_that_cannot_be_is_refused() {
    let features = F::GUEST_CSUM | F::GUEST_TSO4;
    let of = |header: &Header, len| Received::of(header, None, len, features);

    assert_eq!(of(&header(1, 0, 0), 51), None);
    assert!(of(&header(1, 0, 0), 52).is_some());
    assert_eq!(of(&header(1, 1, 0), 100), None);
    assert_eq!(of(&header(0, 1, 100), 100), None);
    assert_eq!(of(&header(1, 4, 100), 100), None);
    assert_eq!(of(&header(1, 9, 100), 100), None);
    for tunnel in [0x20, 0x40, 0x60] {
        assert_eq!(of(&header(1, tunnel, 100), 100), None);
        assert_eq!(of(&header(1, tunnel | 1, 100), 100), None);
    }
    assert!(of(&header(1, 1, 100), 100).is_some());
}

/// Clauses: drv:net/op/processing-of-incoming-packets:6
#[test]
fn what_is_said_of_the_length_of_headers_is_a_hint_whatever_it_is() {
    let features = F::GUEST_CSUM | F::GUEST_TSO4;

    for lie in [0, 1, u16::MAX] {
        let header = Header {
            hdr_len: U16::new(lie),
            ..header(1, 1, 100)
        };
        assert!(Received::of(&header, None, 100, features).is_some());
    }
}

#[test]
fn a_hash_is_told_unless_there_is_none() {
    let of = |report: u16| {
        let hash = ReportedHash {
            hash_value: U32::new(0x1234),
            hash_report: HashReport(U16::new(report)),
            ..ReportedHash::default()
        };
        let received = Received::of(&Header::default(), Some(&hash), 60, F::HASH_REPORT);
        received.and_then(|received| received.hash)
    };

    assert_eq!(of(0), None);
    assert_eq!(of(2), Some((0x1234, HashReport::TCPV4)));
}

/// Clauses: drv:net/op/packet-transmission:10,
/// drv:net/op/packet-transmission:13,
/// drv:net/op/packet-transmission:14,
/// drv:net/op/packet-transmission:15,
/// drv:net/op/packet-transmission:16,
/// drv:net/op/packet-transmission:30,
/// drv:net/op/packet-transmission:31,
/// drv:net/op/packet-transmission:33,
/// drv:net/op/packet-transmission:34
#[test]
fn each_way_to_cut_has_its_number() {
    for (into, number) in [
        (Pieces::Tcp4(Congestion::Silent), 1),
        (Pieces::Fragments, 3),
        (Pieces::Tcp6(Congestion::Silent), 4),
        (Pieces::Tcp6(Congestion::Notified), 0x84),
        (Pieces::Udp, 5),
    ] {
        let header = cut(into).header(Features(u128::MAX)).unwrap();

        assert_eq!((header.flags, header.gso_type.0), (1, number));
    }
}
