use std::io::Write;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{EventfdFlags, eventfd};

use super::*;
use crate::protocol::{Code, PAYLOAD_MAX};

/// A socket of ours with a short limit, and the raw stream of its peer.
fn pair() -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let socket = Socket::new(ours).with_limit(Duration::from_millis(50));
    (socket, theirs)
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).unwrap()
}

fn message(payload: &[u8], descriptors: usize) -> Body<OwnedFd> {
    Body {
        payload: payload.to_vec(),
        descriptors: (0..descriptors).map(|_| event()).collect(),
    }
}

fn header(size: usize) -> [u8; HEADER_BYTES] {
    let header = Header {
        request: Code::SetFeatures.number(),
        flags: Flags::empty(),
        size: size as u32,
    };
    header.to_bytes()
}

#[test]
fn a_message_arrives_whole_with_its_descriptors_which_no_child_inherits() {
    let (ours, theirs) = pair();
    let theirs = Socket::new(theirs);
    let body = message(b"abcdefgh", DESCRIPTORS_MAX);

    theirs.send(9, Flags::NEED_REPLY, &body).unwrap();
    theirs.send(10, Flags::REPLY, &message(b"", 0)).unwrap();
    let first = ours.receive().unwrap().unwrap();
    let second = ours.receive().unwrap().unwrap();

    assert_eq!(first.header.request, 9);
    assert_eq!(first.header.flags, Flags::NEED_REPLY);
    assert_eq!(first.body.payload, b"abcdefgh");
    assert_eq!(first.body.descriptors.len(), DESCRIPTORS_MAX);
    for descriptor in &first.body.descriptors {
        let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    assert_eq!(second.header.request, 10);
    assert!(second.body.payload.is_empty() && second.body.descriptors.is_empty());
}

#[test]
fn a_message_in_single_bytes_is_a_message() {
    let (ours, mut theirs) = pair();
    let ours = ours.with_limit(STALL_LIMIT);
    let mut bytes = header(3).to_vec();
    bytes.extend(b"xyz");

    let sender = thread::spawn(move || {
        for byte in bytes {
            theirs.write_all(&[byte]).unwrap();
        }
        theirs
    });
    let message = ours.receive().unwrap().unwrap();

    assert_eq!(message.body.payload, b"xyz");
    drop(sender.join().unwrap());
    assert!(ours.receive().unwrap().is_none());
}

#[test]
fn descriptors_may_come_with_any_byte_of_a_message() {
    let (ours, theirs) = pair();
    let descriptor = event();

    send_some(theirs.as_fd(), &header(8), &[]).unwrap();
    send_some(theirs.as_fd(), b"abcd", &[]).unwrap();
    send_some(theirs.as_fd(), b"efgh", &[descriptor.as_fd()]).unwrap();
    let message = ours.receive().unwrap().unwrap();

    assert_eq!(message.body.descriptors.len(), 1);
}

#[test]
fn a_peer_that_goes_between_messages_is_no_error_and_in_the_middle_it_is() {
    for (sent, left) in [(0, None), (5, Some(5)), (12, Some(12)), (15, Some(15))] {
        let (ours, mut theirs) = pair();
        let mut bytes = header(8).to_vec();
        bytes.extend(b"abcdefgh");

        theirs.write_all(&bytes[..sent]).unwrap();
        drop(theirs);

        let received = ours.receive().map(|message| message.is_some());
        let cut = left.map_or(Ok(false), |bytes| Err(SocketError::Cut { bytes }));
        assert_eq!(received, cut);
    }
}

#[test]
fn a_peer_that_stops_in_the_middle_of_a_message_is_not_waited_for_for_ever() {
    for sent in [1, 12, 19] {
        let (ours, mut theirs) = pair();
        let mut bytes = header(8).to_vec();
        bytes.extend(b"abcdefgh");

        theirs.write_all(&bytes[..sent]).unwrap();

        let stalled = SocketError::Stalled { bytes: sent };
        assert_eq!(ours.receive().err(), Some(stalled));
    }
}

#[test]
fn a_peer_that_takes_nothing_is_not_waited_for_for_ever() {
    let (ours, _theirs) = pair();
    let body = message(&[0; PAYLOAD_MAX], 0);

    // A socket has room for some, not for this many.
    let error = (0..100_000).find_map(|_| ours.send(1, Flags::empty(), &body).err());

    assert!(matches!(error, Some(SocketError::Stalled { .. })));
}

#[test]
fn a_message_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (ours, theirs) = pair();

    drop(theirs);

    let sent = ours.send(1, Flags::empty(), &message(b"", 0));
    assert_eq!(sent, Err(SocketError::Gone));
}

#[test]
fn a_message_of_another_version_or_of_gigabytes_is_refused_before_its_payload() {
    let (ours, mut theirs) = pair();
    let mut version_3 = header(0);
    version_3[4] = 3;

    theirs.write_all(&version_3).unwrap();
    let version = ours.receive().err();
    theirs.write_all(&header(1 << 30)).unwrap();
    let large = ours.receive().err();

    let malformed = |why| Some(SocketError::Malformed(why));
    assert_eq!(version, malformed(Malformed::Version(3)));
    assert_eq!(large, malformed(Malformed::TooLarge(1 << 30)));
}

/// Devices' defect 6: descriptors of files leak with messages.
#[test]
fn more_descriptors_than_a_message_has_are_refused_and_closed() {
    let with_one = [DESCRIPTORS_MAX, 1];
    let at_once = [DESCRIPTORS_MAX + 1, 0];
    for counts in [with_one, at_once] {
        let (ours, theirs) = pair();
        let (reader, writer) = rustix::pipe::pipe().unwrap();

        for (count, bytes) in counts.into_iter().zip([&header(4)[..], b"abcd"]) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            let descriptors = vec![writer.as_fd(); count];
            if count != 0 {
                assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
            }
            let bytes = [IoSlice::new(bytes)];
            sendmsg(&theirs, &bytes, &mut ancillary, SendFlags::empty()).unwrap();
        }
        let refused = ours.receive().err();
        drop(ours);
        drop(writer);

        let most = SocketError::Descriptors(DESCRIPTORS_MAX + 1);
        assert_eq!(refused, Some(most));
        // The end of the pipe: nobody has the other end any more.
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    }
}

#[test]
fn a_socket_that_nobody_listens_at_is_replaced_and_removed_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let stop = event();
    // The standard library's does not remove its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let listener = Listener::bind(&path).unwrap();
    let again = Listener::bind(&path);
    let peer = UnixStream::connect(&path).unwrap();
    let accepted = listener.accept(stop.as_fd()).unwrap();

    assert_eq!(again.err().unwrap().kind(), std::io::ErrorKind::AddrInUse);
    assert!(accepted.is_some());
    drop((listener, peer));
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_no_socket_and_a_socket_of_another_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("f"), folder.path().join("s"));
    std::fs::write(&file, b"precious").unwrap();

    let refused = Listener::bind(&file);
    let listener = Listener::bind(&socket).unwrap();
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, b"of another").unwrap();
    drop(listener);

    assert!(refused.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    assert_eq!(std::fs::read(&socket).unwrap(), b"of another");
}

#[test]
fn a_listener_and_a_connector_stop_when_they_are_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let stop = event();
    rustix::io::write(&stop, &1_u64.to_ne_bytes()).unwrap();

    let connected = Connector::new(&path).connect(stop.as_fd());
    let listener = Listener::bind(&path).unwrap();
    let accepted = listener.accept(stop.as_fd());

    assert!(connected.unwrap().is_none());
    assert!(accepted.unwrap().is_none());
}

#[test]
fn a_connector_tries_until_somebody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let stop = event();

    let waiting = {
        let path = path.clone();
        thread::spawn(move || Connector::new(path).connect(stop.as_fd()))
    };
    let listener = Listener::bind(&path).unwrap();
    let never = event();
    let accepted = listener.accept(never.as_fd()).unwrap();

    assert!(accepted.is_some());
    assert!(waiting.join().unwrap().unwrap().is_some());
}
