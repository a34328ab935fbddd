//! Front-ends that come and go, as they should and otherwise.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};

use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::Features;
use ringway_vhost::backend::{Event, Fault, Place, Reason, Refusal};
use ringway_vhost::protocol::{
    Code, Flags, HEADER_BYTES, Header, Malformed, ProtocolFeatures, Request, RingState,
};
use ringway_vhost::socket::SocketError;

use crate::front::{Front, PROTOCOL, bytes};
use crate::served::{Served, entropy, sevens};

fn header(request: Code, size: u32) -> [u8; HEADER_BYTES] {
    let header = Header {
        request: request.number(),
        flags: Flags::empty(),
        size,
    };
    header.to_bytes()
}

/// The next front-end finds everything as it should be.
fn is_well(served: &Served) {
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let geometry = Geometry::new(8, 0).unwrap();
    let mut ring = front.ring(0, geometry, Features::NONE, 0);
    front.start(&ring, 0);
    assert_eq!(ring.draw(&mut front, 9), [7; 9]);
    drop(front);
    assert_eq!(served.events.disconnected(), Reason::Closed);
}

#[test]
fn a_front_end_that_vanishes_in_the_middle_of_a_message_is_followed_by_the_next() {
    let served = entropy();
    for (request, sent) in [(Code::SetFeatures, 5), (Code::SetFeatures, 14)] {
        let mut stream = served.connect();
        let mut message = header(request, 8).to_vec();
        message.extend([0; 8]);

        stream.write_all(&message[..sent]).unwrap();
        drop(stream);

        let cut = SocketError::Cut { bytes: sent };
        assert_eq!(served.events.disconnected(), Reason::Socket(cut));
        is_well(&served);
    }
}

/// Devices' defect 12: a reset, or the end, during a request.
#[test]
fn a_front_end_that_vanishes_in_the_middle_of_requests_is_followed_by_the_next() {
    let served = entropy();
    for _ in 0..20 {
        let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
        let geometry = Geometry::new(64, 0).unwrap();
        let mut ring = front.ring(0, geometry, Features::NONE, 0xfff0);
        front.start(&ring, 0xfff0);

        for _ in 0..60 {
            let (shared, address) = front.allocate(4096);
            ring.submit(&[], &[Segment { address, len: 4096 }], shared);
        }
        drop(front);

        assert_eq!(served.events.disconnected(), Reason::Closed);
        is_well(&served);
    }
}

#[test]
fn a_front_end_that_breaks_a_rule_is_sent_away_if_it_cannot_be_told() {
    let served = entropy();
    let front = Front::new(served.connect());

    let state = RingState { index: 1, num: 8 };
    front.say(Request::SetVringNum(state), Flags::NEED_REPLY);

    let refusal = Refusal::NoRing { index: 1, rings: 1 };
    assert_eq!(served.events.disconnected(), Reason::Refused(refusal));
    assert_eq!(refusal.fault(), Fault::FrontEnd);
    assert!(front.socket.receive().unwrap().is_none());
    is_well(&served);
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let served = entropy();
    let mut version_2 = header(Code::SetOwner, 0);
    version_2[4] = 2;
    for (message, why) in [
        (version_2, Malformed::Version(2)),
        (
            header(Code::SetConfig, 1 << 20),
            Malformed::TooLarge(1 << 20),
        ),
    ] {
        let mut stream = served.connect();

        stream.write_all(&message).unwrap();

        let malformed = SocketError::Malformed(why);
        assert_eq!(served.events.disconnected(), Reason::Socket(malformed));
    }
    is_well(&served);
}

#[test]
fn in_band_notifications_alone_end_the_connection() {
    let served = entropy();
    let front = Front::new(served.connect());

    let inband = ProtocolFeatures::INBAND_NOTIFICATIONS | ProtocolFeatures::REPLY_ACK;
    let request = Request::SetProtocolFeatures(inband.bits());
    front.say(request, Flags::NEED_REPLY);

    let alone = Reason::Refused(Refusal::InbandAlone);
    assert_eq!(served.events.disconnected(), alone);
}

#[test]
fn a_server_that_is_told_to_stop_completes_what_it_began_and_removes_its_socket() {
    let mut served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let geometry = Geometry::new(16, 0).unwrap();
    let mut ring = front.ring(0, geometry, Features::NONE, 0);
    front.start(&ring, 0);
    let drawn = ring.draw(&mut front, 9);

    served.stop();

    assert_eq!(drawn, [7; 9]);
    served
        .events
        .wait(|event| matches!(event, Event::RingStopped { .. }));
    assert_eq!(served.events.disconnected(), Reason::Stopped);
    assert!(!served.path.exists());
    assert!(front.socket.receive().unwrap().is_none());
}

#[test]
fn a_server_connects_to_a_front_end_that_listens_and_again_when_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("front.sock");
    let place = Place::Connect(path.clone());
    let _served = Served::at(sevens(), place, path.clone(), folder);
    let listener = UnixListener::bind(&path).unwrap();

    for _ in 0..3 {
        let (stream, _) = listener.accept().unwrap();
        let front = Front::ready(stream, PROTOCOL, Features::NONE);

        assert_eq!(front.value(Request::GetQueueNum), 1);
    }
}

#[test]
fn a_server_takes_a_connection_or_a_place_to_listen_at_from_others() {
    let given = |place| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("unused");
        Served::at(sevens(), place, path, folder)
    };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();

    let connection = given(Place::Descriptor(theirs.into()));
    let front = Front::ready(ours, PROTOCOL, Features::NONE);
    let mut listening = given(Place::Descriptor(listener.into()));
    let first = Front::ready(
        UnixStream::connect(&path).unwrap(),
        PROTOCOL,
        Features::NONE,
    );
    drop(first);
    let second = Front::ready(
        UnixStream::connect(&path).unwrap(),
        PROTOCOL,
        Features::NONE,
    );

    assert_eq!(front.value(Request::GetQueueNum), 1);
    assert_eq!(second.value(Request::GetQueueNum), 1);
    drop(front);
    assert_eq!(connection.events.disconnected(), Reason::Closed);
    listening.stop();
    // Whoever made it removes it.
    assert!(path.exists());
}

#[test]
fn a_device_that_is_reset_is_set_up_anew_over_the_same_connection() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let geometry = Geometry::new(16, 0).unwrap();
    for reset in [Request::ResetDevice, Request::SetStatus(0)] {
        let mut ring = front.ring(0, geometry, Features::NONE, 0);
        front.start(&ring, 0);
        assert_eq!(ring.draw(&mut front, 9), [7; 9]);

        front.tell(reset);

        let (shared, address) = front.allocate(4);
        ring.submit(&[], &[Segment { address, len: 4 }], shared);
        let features = ringway_spec::F::VERSION_1.0 as u64 | 1 << 30;
        front.tell(Request::SetFeatures(features));
        assert!(ring.queue.poll().unwrap().is_none());
        // As the driver left it: it goes on where the old base says.
        front.start(&ring, 1);
        assert_eq!(bytes(ring.wait()), [7; 4]);
        front.stop(&ring);
    }
}
