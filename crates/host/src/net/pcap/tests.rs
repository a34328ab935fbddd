//! What is written, read by another's parser.

use std::sync::mpsc::{Receiver, Sender, channel};

use pcap_parser::Linktype;
use pcap_parser::pcapng::{Block, OptionCode, PcapNGOption, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use ringway_device::net::{Loopback, Nowhere};
use ringway_spec::net::Header;

use super::*;

/// A file that many have.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that fails at once.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that takes nothing until it is let.
struct Stuck(Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A card that says what it is given.
struct Card(Sender<usize>);

impl Deliver for Card {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        for packet in packets {
            self.0.send(packet.bytes.len()).unwrap();
        }
    }
}

/// A loop with a card.
fn looped(capture: &Arc<Capture>, name: &str) -> (Pcap, Receiver<usize>) {
    let pcap = capture.port(name, Arc::new(Loopback::default()));
    let (give, given) = channel();
    pcap.connect(Inlet::new(Arc::new(Card(give))));
    (pcap, given)
}

fn packet(len: usize) -> Packet {
    let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
    Packet::new(Header::default(), &bytes)
}

/// A packet that was read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    interface: String,
    flags: u32,
    time: u64,
    bytes: Vec<u8>,
    len: u32,
}

/// What an option of a block says.
fn option(options: &[PcapNGOption<'_>], code: u16) -> Vec<u8> {
    let of = |option: &&PcapNGOption<'_>| option.code == OptionCode(code);
    let option = options.iter().find(of).unwrap();
    option.value[..option.len.into()].to_vec()
}

/// The packets of a capture, and the numbers at its end, of each interface.
fn read(file: &[u8]) -> (Vec<Read>, Vec<[u64; 2]>) {
    let (mut packets, mut numbers, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = file;
    while !rest.is_empty() {
        let (behind, block) = parse_block_le(rest).unwrap();
        rest = behind;
        match block {
            Block::SectionHeader(header) => assert_eq!(header.major_version, 1),
            Block::InterfaceDescription(interface) => {
                assert_eq!(interface.linktype, Linktype::ETHERNET);
                assert_eq!(interface.if_tsresol, 9);
                names.push(String::from_utf8(option(&interface.options, 2)).unwrap());
            }
            Block::EnhancedPacket(packet) => packets.push(Read {
                interface: names[packet.if_id as usize].clone(),
                flags: u32::from_le_bytes(option(&packet.options, 2).try_into().unwrap()),
                time: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
                bytes: packet.packet_data().to_vec(),
                len: packet.origlen,
            }),
            Block::InterfaceStatistics(end) => {
                let number = |code| option(&end.options, code).try_into().unwrap();
                assert_eq!(end.if_id as usize, numbers.len());
                numbers.push([4, 5].map(|code| u64::from_le_bytes(number(code))));
            }
            other => panic!("{other:?}"),
        }
    }
    (packets, numbers)
}

#[test]
fn what_goes_through_is_written_down_in_both_directions() {
    let file = Shared::default();
    let capture = Capture::new(SNAP_MAX);
    capture.write_to(file.clone(), drop).unwrap();
    let (first, _given) = looped(&capture, "first");
    let (other, _given_other) = looped(&capture, "other");
    let before = now();

    first.send(&mut vec![packet(60), packet(61)]);
    other.send(&mut vec![packet(62)]);
    let counts = capture.counts();
    drop((capture, first, other));

    assert_eq!((counts.noted, counts.missed), (6, 0));
    let (packets, numbers) = read(&file.0.lock().unwrap());
    let told = |read: &Read| (read.interface.clone(), read.flags, read.len);
    let told: Vec<_> = packets.iter().map(told).collect();
    let first = [(2, 60), (2, 61), (1, 60), (1, 61)].map(|(way, len)| ("first".into(), way, len));
    let other = [(2, 62), (1, 62)].map(|(way, len)| ("other".into(), way, len));
    assert_eq!(told, [&first[..], &other].concat());
    for read in packets {
        assert_eq!(read.bytes, packet(read.len as usize).bytes[..]);
        assert!((before..=now()).contains(&read.time));
    }
    assert_eq!(numbers, [[4, 0], [2, 0]]);
}

#[test]
fn no_more_of_a_packet_is_written_than_was_asked_for() {
    let file = Shared::default();
    let capture = Capture::new(14);
    capture.write_to(file.clone(), drop).unwrap();
    let pcap = capture.port("card", Arc::new(Nowhere));

    pcap.send(&mut vec![packet(13), packet(14), packet(1000)]);
    drop((capture, pcap));

    let (packets, _) = read(&file.0.lock().unwrap());
    let lens = packets.iter().map(|read| (read.bytes.len(), read.len));
    assert_eq!(lens.collect::<Vec<_>>(), [(13, 13), (14, 14), (14, 1000)]);
}

#[test]
fn packets_go_on_and_an_error_is_told_once_when_the_file_fails() {
    let (tell, told) = channel();
    let failed = move |error: io::Error| tell.send(error.kind()).unwrap();
    let capture = Capture::new(SNAP_MAX);
    let (pcap, given) = looped(&capture, "card");
    capture.write_to(Full, failed).unwrap();

    let error = told.recv().unwrap();
    pcap.send(&mut vec![packet(60)]);

    assert_eq!(error, io::ErrorKind::StorageFull);
    assert!(told.recv().is_err());
    assert_eq!(given.try_recv(), Ok(60));
    assert_eq!(capture.counts().missed, 2);
}

#[test]
fn what_a_file_that_takes_nothing_has_no_room_for_is_missed_and_counted() {
    let (let_it, stuck) = channel();
    let capture = Capture::new(SNAP_MAX);
    capture.write_to(Stuck(stuck), drop).unwrap();
    let pcap = capture.port("card", Arc::new(Nowhere));

    // Twice as much as waits: some of it may be with the thread that writes.
    for _ in 0..2 * WAITING_MAX / 60_000 + 2 {
        pcap.send(&mut vec![packet(60_000)]);
    }

    let counts = capture.counts();
    assert!(counts.noted > 0 && counts.missed > 0, "{counts:?}");
    assert!(capture.film.lock().waiting.len() <= WAITING_MAX);
    drop::<Sender<()>>(let_it);
}

#[test]
fn what_comes_before_the_file_is_written_to_it() {
    let file = Shared::default();
    let capture = Capture::new(SNAP_MAX);
    let pcap = capture.port("card", Arc::new(Nowhere));

    pcap.send(&mut vec![packet(60)]);
    capture.write_to(file.clone(), drop).unwrap();
    drop((capture, pcap));

    assert_eq!(read(&file.0.lock().unwrap()).0.len(), 1);
}
