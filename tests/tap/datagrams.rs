//! Large datagrams that the driver leaves to be cut: into datagrams, or into fragments of one.

use std::net::{SocketAddr, UdpSocket};

use ringway_driver::dma::{Bytes, DmaBuffer};
use ringway_driver::net::{ChecksumAt, Cut, Offload, Pieces};
use ringway_host::net::{TapOptions, Work};
use ringway_packet::checksum;
use ringway_spec::Features;

use crate::linux::{self, Linux};
use crate::machine::{self, PORT, Wired};
use crate::{LIMIT, LINUX, OURS, Result, byte, open};

/// Bytes of the datagrams, and of each piece.
const WHOLE: usize = 20_000;
const PIECE: u16 = 1_200;

/// Bytes of all headers.
const HEADERS: usize = 14 + 20 + 8;

/// Sends one of each kind, and compares what comes. Says how many packets went to the kernel, and of how
/// many something was left to do.
pub(crate) fn run(linux: &Linux, work: Work) -> Result<[u64; 2]> {
    let tap = open(TapOptions {
        work,
        ..TapOptions::default()
    })?;
    linux.set_up(tap.name())?;
    let socket = UdpSocket::bind((LINUX, PORT))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut wired = Wired::new(tap.clone(), Features::NONE, Features::NONE)?;

    send(&mut wired, Pieces::Udp)?;
    let bytes: Vec<u8> = (0..WHOLE).map(byte).collect();
    for piece in bytes.chunks(PIECE.into()) {
        receive(&socket, piece)?;
    }
    send(&mut wired, Pieces::Fragments)?;
    receive(&socket, &bytes)?;

    // Nobody sends any more, and all that was sent has been counted.
    drop(wired);
    let counts = tap.counts();
    Ok([counts.sent, counts.sent_undone])
}

fn send(wired: &mut Wired, into: Pieces) -> Result {
    let mut packet = packet();
    let (start, offset) = checksum::leave(&mut packet).ok_or("not a packet of UDP")?;
    let offload = Offload {
        checksum: Some(ChecksumAt { start, offset }),
        cut: Some(Cut {
            into,
            size: PIECE,
            header_len: HEADERS as u16,
        }),
    };
    let before = wired.net.facts().header_len;
    let buffer = DmaBuffer::new(&wired.platform, before + packet.len());
    let mut buffer = buffer.map_err(ringway_driver::Error::from)?;
    buffer.write_at(before, &packet)?;
    let pair = wired.net.pairs().first_mut().ok_or("no queues")?;
    let sent = pair.transmitter.send(buffer, &offload);
    sent.map_err(|rejected| rejected.why)?;
    pair.transmitter.kick()?;
    Ok(())
}

/// The next datagram, which must be this.
fn receive(socket: &UdpSocket, wanted: &[u8]) -> Result {
    let mut room = vec![0; WHOLE + 1];
    let (len, from) = socket.recv_from(&mut room)?;
    room.truncate(len);
    if room == wanted && from == SocketAddr::from((OURS, PORT)) {
        return Ok(());
    }
    let wanted = wanted.len();
    Err(format!("a datagram of {len} bytes from {from} came, not that of {wanted}").into())
}

/// One datagram, from us to Linux.
fn packet() -> Vec<u8> {
    let udp = (8 + WHOLE) as u16;
    let mut packet = [linux::mac(), machine::mac()].concat();
    packet.extend([8, 0, 0x45, 0]);
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17]);
    let addresses = [OURS, LINUX].map(|address| address.octets()).concat();
    packet.extend(sum(&[0x4500, 20 + udp, 1, 0, 0x4011], &addresses).to_be_bytes());
    packet.extend(addresses);
    for word in [PORT, PORT, udp, 0] {
        packet.extend(word.to_be_bytes());
    }
    packet.extend((0..WHOLE).map(byte));
    packet
}

/// The checksum of IP's header: its words, and its addresses.
fn sum(words: &[u16], addresses: &[u8]) -> u16 {
    let pairs = addresses
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.iter().map(|&word| u32::from(word)).chain(pairs).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}
