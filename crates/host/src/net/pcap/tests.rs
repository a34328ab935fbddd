//! What is written, read by another's parser.

use std::sync::mpsc::{Receiver, Sender, channel};

use pcap_parser::Linktype;
use pcap_parser::pcapng::{Block, OptionCode, PcapNGOption, parse_block_le};
use pcap_parser::traits::PcapNGPacketBlock;
use ringway_device::net::{Loopback, Nowhere};

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

/// A card that takes everything.
struct Card;

impl Deliver for Card {
    fn deliver(&self, packets: &mut Vec<Packet>) {
        packets.clear();
    }
}

fn packet(len: usize) -> Packet {
    let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
    Packet {
        bytes: bytes.as_slice().into(),
        ..Packet::default()
    }
}

/// A packet that was read.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    flags: u32,
    time: u64,
    bytes: Vec<u8>,
    len: u32,
}

/// What an option of a block says.
fn option(options: &[PcapNGOption<'_>], code: u16) -> Vec<u8> {
    let of = |option: &&PcapNGOption<'_>| option.code == OptionCode(code);
    options.iter().find(of).unwrap().value.to_vec()
}

/// The packets of a capture, and the numbers at its end.
fn read(file: &[u8]) -> (Vec<Read>, Option<[u64; 2]>) {
    let (mut packets, mut numbers, mut rest) = (Vec::new(), None, file);
    while !rest.is_empty() {
        let (behind, block) = parse_block_le(rest).unwrap();
        rest = behind;
        match block {
            Block::SectionHeader(header) => assert_eq!(header.major_version, 1),
            Block::InterfaceDescription(interface) => {
                assert_eq!(interface.linktype, Linktype::ETHERNET);
                assert_eq!(interface.if_tsresol, 9);
            }
            Block::EnhancedPacket(packet) => packets.push(Read {
                flags: u32::from_le_bytes(option(&packet.options, 2).try_into().unwrap()),
                time: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
                bytes: packet.packet_data().to_vec(),
                len: packet.origlen,
            }),
            Block::InterfaceStatistics(end) => {
                let number = |code| option(&end.options, code).try_into().unwrap();
                numbers = Some([4, 5].map(|code| u64::from_le_bytes(number(code))));
            }
            other => panic!("{other:?}"),
        }
    }
    (packets, numbers)
}

#[test]
fn what_goes_through_is_written_down_in_both_directions() {
    let file = Shared::default();
    let pcap = Pcap::new(Arc::new(Loopback::default()), file.clone(), SNAP_MAX, drop).unwrap();
    pcap.connect(Inlet::new(Arc::new(Card)));
    let before = now();

    pcap.send(&mut vec![packet(60), packet(61)]);
    assert_eq!(
        pcap.counts(),
        Counts {
            noted: 4,
            missed: 0
        }
    );
    drop(pcap);

    let (packets, numbers) = read(&file.0.lock().unwrap());
    let told: Vec<_> = packets.iter().map(|read| (read.flags, read.len)).collect();
    assert_eq!(told, [(2, 60), (2, 61), (1, 60), (1, 61)]);
    for read in packets {
        assert_eq!(read.bytes, packet(read.len as usize).bytes[..]);
        assert!((before..=now()).contains(&read.time));
    }
    assert_eq!(numbers, Some([4, 0]));
}

#[test]
fn no_more_of_a_packet_is_written_than_was_asked_for() {
    let file = Shared::default();
    let pcap = Pcap::new(Arc::new(Nowhere), file.clone(), 14, drop).unwrap();

    pcap.send(&mut vec![packet(13), packet(14), packet(1000)]);
    drop(pcap);

    let (packets, _) = read(&file.0.lock().unwrap());
    let lens = packets.iter().map(|read| (read.bytes.len(), read.len));
    assert_eq!(lens.collect::<Vec<_>>(), [(13, 13), (14, 14), (14, 1000)]);
}

#[test]
fn packets_go_on_and_an_error_is_told_once_when_the_file_fails() {
    let (tell, told) = channel();
    let failed = move |error: io::Error| tell.send(error.kind()).unwrap();
    let pcap = Pcap::new(Arc::new(Nowhere), Full, SNAP_MAX, failed).unwrap();

    let error = told.recv().unwrap();
    let mut packets = vec![packet(60)];
    pcap.send(&mut packets);

    assert_eq!(error, io::ErrorKind::StorageFull);
    assert!(told.recv().is_err());
    assert!(packets.is_empty());
    assert_eq!(pcap.counts().missed, 1);
}

#[test]
fn what_a_file_that_takes_nothing_has_no_room_for_is_missed_and_counted() {
    let (let_it, stuck) = channel();
    let pcap = Pcap::new(Arc::new(Nowhere), Stuck(stuck), SNAP_MAX, drop).unwrap();

    // Twice as much as waits: some of it may be with the thread that writes.
    for _ in 0..2 * WAITING_MAX / 60_000 + 2 {
        pcap.send(&mut vec![packet(60_000)]);
    }

    let counts = pcap.counts();
    assert!(counts.noted > 0 && counts.missed > 0, "{counts:?}");
    assert!(pcap.film.lock().waiting.len() <= WAITING_MAX);
    drop::<Sender<()>>(let_it);
}
