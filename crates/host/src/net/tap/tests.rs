//! The kernel's end is a pair of sockets here: one call, one packet, as for the device. The kernel itself
//! is met by `cargo xtask test tap`.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ringway_device::net::Deliver;
use ringway_packet::{Checksum, checksum};
use zerocopy::FromBytes;

use super::*;
use crate::net::work::tests::{datagram, large};

/// Long enough for any of this.
const LIMIT: Duration = Duration::from_secs(30);

const HEADER: usize = size_of::<Header>();

const PASSED: Before = Before::Header { datagrams: true };

/// A card that shows what it is given.
struct Card(Sender<Packet>);

impl Deliver for Card {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            self.0.send(packet).unwrap();
        }
    }
}

/// A port, and what stands for the kernel.
fn port(before: Before) -> (Tap, UnixDatagram, Receiver<io::Error>) {
    let (ours, kernel) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    kernel.set_read_timeout(Some(LIMIT)).unwrap();
    let (tell, told) = channel();
    let failed = move |error| tell.send(error).unwrap();
    let tap = Tap::over(vec![ours.into()], before, "test".to_owned(), failed).unwrap();
    (tap, kernel, told)
}

fn connected(tap: &Tap) -> Receiver<Packet> {
    let (give, given) = channel();
    tap.connect(Inlet::new(Arc::new(Card(give))));
    given
}

fn send(tap: &Tap, (header, bytes): (Header, Vec<u8>)) {
    tap.send(&mut vec![Packet::new(header, &bytes)]);
}

fn heard(kernel: &UnixDatagram) -> Vec<u8> {
    let mut room = vec![0; 1 << 17];
    let len = kernel.recv(&mut room).unwrap();
    room.truncate(len);
    room
}

/// What the kernel would hand over.
fn with_header((header, bytes): &(Header, Vec<u8>)) -> Vec<u8> {
    [header.as_bytes(), bytes].concat()
}

#[test]
fn what_the_kernel_does_is_left_to_it() {
    let (tap, kernel, _) = port(PASSED);

    for sent in [datagram(100), large(3000, 1000)] {
        send(&tap, sent.clone());
        let heard = heard(&kernel);

        assert_eq!(heard, with_header(&sent));
    }
    let counts = tap.counts();
    assert_eq!((counts.sent, counts.sent_undone), (2, 2));
}

#[test]
fn datagrams_are_cut_here_for_a_kernel_that_does_not_know_of_it() {
    let (tap, kernel, _) = port(Before::Header { datagrams: false });

    send(&tap, large(3000, 1000));

    for _ in 0..3 {
        let heard = heard(&kernel);
        let (header, bytes) = heard.split_at(HEADER);
        assert_eq!(header, Header::default().as_bytes());
        assert_eq!(bytes.len(), 42 + 1000);
        assert_eq!(checksum::judge(bytes), Checksum::Right);
    }
}

#[test]
fn everything_is_done_here_if_nothing_is_left() {
    let (tap, kernel, _) = port(Before::Nothing);

    send(&tap, datagram(100));
    send(&tap, large(3000, 1000));

    for len in [142, 1042, 1042, 1042] {
        let heard = heard(&kernel);
        assert_eq!(heard.len(), len);
        assert_eq!(checksum::judge(&heard), Checksum::Right);
    }
    assert_eq!(tap.counts().sent_undone, 0);
}

#[test]
fn what_cannot_be_done_is_dropped_and_counted() {
    let (tap, kernel, _) = port(Before::Nothing);
    let (header, bytes) = large(3000, 1000);
    let wrong = Header {
        csum_start: U16::new(9000),
        ..header
    };

    send(&tap, (wrong, bytes));
    send(&tap, datagram(1));

    assert_eq!(heard(&kernel).len(), 43);
    assert_eq!(tap.counts().refused, 1);
}

#[test]
fn what_the_kernel_has_no_room_for_is_dropped_and_counted() {
    let (tap, _kernel, _) = port(PASSED);

    while tap.counts().no_room == 0 {
        send(&tap, datagram(1000));
        assert!(tap.counts().sent < 1 << 16, "there is always room");
    }
}

#[test]
fn packets_are_delivered_with_what_is_left_of_them() {
    let (tap, kernel, _) = port(PASSED);
    let card = connected(&tap);

    for handed in [datagram(100), large(3000, 1000)] {
        kernel.send(&with_header(&handed)).unwrap();
        let given = card.recv_timeout(LIMIT).unwrap();

        assert_eq!((given.header, &given.bytes[..]), (handed.0, &handed.1[..]));
    }
    let counts = tap.counts();
    assert_eq!((counts.received, counts.received_undone), (2, 2));
}

#[test]
fn packets_without_a_header_leave_nothing() {
    let (tap, kernel, _) = port(Before::Nothing);
    let card = connected(&tap);

    kernel.send(&datagram(100).1).unwrap();
    let given = card.recv_timeout(LIMIT).unwrap();

    assert_eq!(given.header, Header::default());
    assert_eq!(given.bytes[..], datagram(100).1);
}

#[test]
fn what_the_kernel_hands_over_is_judged() {
    let (tap, kernel, _) = port(PASSED);
    let card = connected(&tap);
    let (header, bytes) = large(3000, 1000);
    let outside = Header {
        csum_start: U16::new(9000),
        ..header
    };
    let unknown = Header {
        gso_type: GsoType(9),
        ..header
    };

    kernel.send(&[]).unwrap();
    kernel.send(&[0; HEADER - 1]).unwrap();
    kernel.send(&[0; HEADER + 13]).unwrap();
    kernel
        .send(&with_header(&(outside, bytes.clone())))
        .unwrap();
    kernel.send(&with_header(&(unknown, bytes))).unwrap();
    kernel.send(&with_header(&datagram(5))).unwrap();
    let given = card.recv_timeout(LIMIT).unwrap();

    assert_eq!(given.bytes.len(), 47);
    assert_eq!((tap.counts().malformed, tap.counts().received), (5, 1));
}

#[test]
fn a_header_is_where_the_specification_has_it() {
    let mut read = vec![1, 5, 42, 0, 0xe8, 3, 34, 0, 6, 0, 0, 0];
    read.extend(large(3000, 1000).1);

    let header = Header::read_from_prefix(&read).unwrap().0;

    assert_eq!(
        work::judge(&header, &read[HEADER..]),
        Ok(large(3000, 1000).0)
    );
}

#[test]
fn a_port_that_goes_takes_its_readers_along_whether_there_was_a_card_or_not() {
    for with_card in [false, true] {
        let (tap, kernel, told) = port(PASSED);
        let card = with_card.then(|| connected(&tap));

        drop(tap);

        // Nobody has the other end any more.
        assert!(kernel.send(&[0]).is_err());
        assert!(card.is_none_or(|card| card.recv().is_err()));
        assert!(told.recv().is_err());
    }
}

#[test]
fn that_packets_can_be_received_no_more_is_told_once() {
    let (read, write) = io::pipe().unwrap();
    drop(read);
    let (tell, told) = channel();
    let failed = move |error: io::Error| tell.send(error).unwrap();
    // What can only be written to.
    let queues = vec![write.try_clone().unwrap().into(), write.into()];
    let tap = Tap::over(queues, PASSED, "test".to_owned(), failed).unwrap();

    let _card = connected(&tap);

    told.recv_timeout(LIMIT).unwrap();
    assert!(told.recv_timeout(LIMIT).is_err());
    drop(tap);
}

#[test]
fn a_port_may_be_dropped_by_what_it_delivers_to() {
    /// The last one who has the port, as a carrier may be.
    struct Last(Mutex<Option<Tap>>, Sender<()>);
    impl Deliver for Last {
        fn deliver(&self, packets: &mut Vec<Packet>) {
            packets.clear();
            let tap = self.0.lock().unwrap().take();
            drop(tap);
            self.1.send(()).unwrap();
        }
    }
    let (tap, kernel, _) = port(PASSED);
    let (tell, told) = channel();
    let last = Arc::new(Last(Mutex::default(), tell));
    tap.connect(Inlet::new(last.clone()));
    *last.0.lock().unwrap() = Some(tap);

    kernel.send(&with_header(&datagram(1))).unwrap();

    told.recv_timeout(LIMIT).unwrap();
}

#[test]
fn names_that_no_interface_has_are_refused() {
    for name in [
        "",
        "sixteen-letters!",
        "a/b",
        "a b",
        "a:b",
        "a\0",
        ".",
        "..",
    ] {
        let refused = Tap::open(name, TapOptions::default(), drop).err();

        assert!(matches!(refused, Some(Error::InterfaceName(_))), "{name:?}");
    }
}
