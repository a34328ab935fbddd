//! A station on a network: it answers those who ask for it, and serves three ports of TCP, by which
//! whoever talks with it finds out whether what it sends and receives arrives.
//!
//! | port | |
//! | --- | --- |
//! | [`ECHO`] | what comes goes back |
//! | [`SINK`] | what comes is counted: at its end, its SHA-256 and its length in bytes are told in a line |
//! | [`SOURCE`] | a line with a number brings so many bytes, and then a line with their SHA-256 |

use std::fmt::Write as _;

use sha2::{Digest, Sha256};
use smoltcp::iface::{Config, Interface, PollIngressSingleResult, SocketHandle, SocketSet};
use smoltcp::phy::Device;
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

/// Returns what comes.
pub(super) const ECHO: u16 = 7;
/// Hashes what comes.
pub(super) const SINK: u16 = 9;
/// Sends as much as is asked for.
pub(super) const SOURCE: u16 = 19;

/// Connections that a port has at a time.
const CONNECTIONS: usize = 4;

/// Bytes on their way, of each direction of a connection: as many as a window says without being
/// scaled. smoltcp rounds a scaled one down. What was sent to the last byte of the one before then lies
/// outside, and is dropped with all that it acknowledges, until one end or the other gives up.
const ROOM: usize = u16::MAX as usize;

/// Packets that are looked at before something is sent, against a sender that never stops.
const PACKETS_MAX: usize = 256;

/// Longest line with a number.
const LINE_MAX: usize = 20;

/// After so long without an answer, a connection is none.
const SILENCE: Duration = Duration::from_secs(30);

/// A station.
pub(super) struct Station {
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
}

/// One connection that a port may have.
struct Connection {
    socket: SocketHandle,
    port: u16,
    service: Service,
}

/// What a port does.
enum Service {
    Echo,
    /// Has seen so many bytes.
    Sink(Sha256, u64),
    /// Waits for a line.
    Asked(String),
    Source {
        sent: u64,
        wanted: u64,
        hash: Sha256,
    },
    /// Sends the rest of what it has to say, and ends.
    Ends(Vec<u8>),
}

impl Station {
    /// A station with these addresses, of which it has no more than smoltcp has room for. Its connections
    /// begin at numbers that follow from `seed`.
    pub(super) fn new(
        device: &mut impl Device,
        mac: [u8; 6],
        addresses: &[IpCidr],
        seed: u64,
    ) -> Self {
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        config.random_seed = seed;
        let mut interface = Interface::new(config, device, Instant::ZERO);
        interface.update_ip_addrs(|own| {
            // What has no room was refused before.
            own.extend(addresses.iter().copied().take(own.capacity()));
        });
        let mut sockets = SocketSet::new(Vec::new());
        let ports = [ECHO, SINK, SOURCE];
        let connections = ports.iter().flat_map(|&port| [port; CONNECTIONS]);
        let connections = connections.map(|port| {
            let room = || SocketBuffer::new(vec![0; ROOM]);
            let mut socket = Socket::new(room(), room());
            socket.set_timeout(Some(SILENCE));
            socket.set_keep_alive(Some(SILENCE / 3));
            Connection {
                socket: sockets.add(socket),
                port,
                service: Service::of(port),
            }
        });
        Self {
            connections: connections.collect(),
            interface,
            sockets,
        }
    }

    /// Does what there is to do at `now`. Says whether there is more.
    pub(super) fn poll(&mut self, now: Instant, device: &mut impl Device) -> bool {
        let Self {
            interface,
            sockets,
            connections,
        } = self;
        interface.poll_maintenance(now);
        let came = (0..PACKETS_MAX).all(|_| {
            let came = interface.poll_ingress_single(now, device, sockets);
            !matches!(came, PollIngressSingleResult::None)
        });
        for connection in connections {
            let socket = sockets.get_mut(connection.socket);
            connection.serve(socket);
        }
        interface.poll_egress(now, device, sockets);
        let at = interface.poll_at(now, sockets);
        came || at.is_some_and(|at| at <= now)
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut Socket<'static>) {
        if !socket.is_open() {
            self.service = Service::of(self.port);
            // It is closed, and the port is none that cannot be.
            let _ = socket.listen(self.port);
            return;
        }
        while self.service.step(socket) {}
    }
}

impl Service {
    fn of(port: u16) -> Self {
        match port {
            SINK => Self::Sink(Sha256::new(), 0),
            SOURCE => Self::Asked(String::new()),
            _ => Self::Echo,
        }
    }

    /// Goes on. Says whether it may go on at once: each time it has moved bytes, or has come further.
    fn step(&mut self, socket: &mut Socket<'static>) -> bool {
        match self {
            Self::Echo => {
                let room = socket.send_capacity() - socket.send_queue();
                let taken = take(socket, room);
                let moved = !taken.is_empty();
                // There is room.
                let _ = socket.send_slice(&taken);
                if !moved && has_ended(socket) {
                    *self = Self::Ends(Vec::new());
                    return true;
                }
                moved
            }
            Self::Sink(hash, len) => {
                let taken = take(socket, ROOM);
                hash.update(&taken);
                *len += taken.len() as u64;
                if taken.is_empty() && has_ended(socket) {
                    let line = format!("{} {len}\n", hex(hash.finalize_reset().as_slice()));
                    *self = Self::Ends(line.into_bytes());
                    return true;
                }
                !taken.is_empty()
            }
            Self::Asked(line) => {
                let taken = take(socket, LINE_MAX + 1);
                line.push_str(&String::from_utf8_lossy(&taken));
                let wanted = match line.split_once('\n') {
                    Some((number, _)) => number.trim().parse().ok(),
                    None if line.len() <= LINE_MAX && !has_ended(socket) => return false,
                    None => None,
                };
                *self = match wanted {
                    Some(wanted) => Self::Source {
                        sent: 0,
                        wanted,
                        hash: Sha256::new(),
                    },
                    None => Self::Ends(b"write a number of bytes\n".to_vec()),
                };
                true
            }
            Self::Source { sent, wanted, hash } => {
                // Whatever more it has to say.
                take(socket, ROOM);
                if sent == wanted {
                    let line = format!("{}\n", hex(hash.finalize_reset().as_slice()));
                    *self = Self::Ends(line.into_bytes());
                    return true;
                }
                let put = socket.send(|room| {
                    let left = usize::try_from(*wanted - *sent).unwrap_or(usize::MAX);
                    let room = room.get_mut(..left.min(room.len())).unwrap_or_default();
                    for (at, byte) in (*sent..).zip(&mut *room) {
                        *byte = byte_at(at);
                    }
                    hash.update(&*room);
                    (room.len(), room.len())
                });
                let put = put.unwrap_or(0);
                *sent += put as u64;
                put != 0
            }
            Self::Ends(rest) => {
                take(socket, ROOM);
                let put = socket.send_slice(rest).unwrap_or(rest.len());
                rest.drain(..put);
                if rest.is_empty() {
                    socket.close();
                }
                false
            }
        }
    }
}

/// Takes what has come, `most` bytes of it.
fn take(socket: &mut Socket<'static>, most: usize) -> Vec<u8> {
    let taken = socket.recv(|bytes| {
        let bytes = bytes.get(..most.min(bytes.len())).unwrap_or_default();
        (bytes.len(), bytes.to_vec())
    });
    taken.unwrap_or_default()
}

/// Whether nothing more will come.
fn has_ended(socket: &Socket<'static>) -> bool {
    // In the first states nothing has come yet.
    !socket.is_listening() && socket.may_send() && !socket.may_recv()
}

/// The byte at `at` of what is sent: no two stretches of some length are alike.
fn byte_at(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes all.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use smoltcp::phy::{Loopback, Medium};
    use smoltcp::wire::IpAddress;

    use super::*;

    /// What a port answers to somebody who says this, and then no more.
    fn answer(port: u16, mut says: &[u8]) -> Vec<u8> {
        let mut device = Loopback::new(Medium::Ethernet);
        let own = IpAddress::v4(192, 0, 2, 1);
        let addresses = [IpCidr::new(own, 24)];
        let mut station = Station::new(&mut device, [2, 0, 0, 0, 0, 1], &addresses, 1);
        let room = || SocketBuffer::new(vec![0; 4096]);
        let client = station.sockets.add(Socket::new(room(), room()));
        let mut heard = Vec::new();
        let mut begun = false;
        // Each turn is a millisecond.
        for turn in 0..100_000 {
            station.poll(Instant::from_millis(turn), &mut device);
            let socket = station.sockets.get_mut::<Socket<'_>>(client);
            if !begun {
                let context = station.interface.context();
                socket.connect(context, (own, port), 40_000).unwrap();
                begun = true;
            }
            if socket.may_send() {
                says = &says[socket.send_slice(says).unwrap()..];
                if says.is_empty() {
                    socket.close();
                }
            }
            heard.extend(take(socket, 4096));
            if !socket.is_open() {
                return heard;
            }
        }
        panic!(
            "{} bytes after so long, {} left to say",
            heard.len(),
            says.len()
        );
    }

    fn sha256(bytes: &[u8]) -> String {
        hex(&Sha256::digest(bytes))
    }

    #[test]
    fn what_is_echoed_is_what_was_said() {
        let said: Vec<u8> = (0..600_000).map(byte_at).collect();

        assert!(answer(ECHO, &said) == said);
        assert_eq!(answer(ECHO, b""), b"");
    }

    #[test]
    fn what_is_sunk_is_hashed_and_counted() {
        let said: Vec<u8> = (0..600_000).map(byte_at).collect();

        let line = format!("{} 600000\n", sha256(&said));
        assert_eq!(answer(SINK, &said), line.as_bytes());
        assert_eq!(answer(SINK, b""), format!("{} 0\n", sha256(b"")).as_bytes());
    }

    #[test]
    fn as_much_is_sent_as_is_asked_for_and_its_hash() {
        for wanted in [0, 1, 600_000] {
            let heard = answer(SOURCE, format!("{wanted}\n").as_bytes());

            let (bytes, line) = heard.split_at(wanted);
            assert_eq!(line, format!("{}\n", sha256(bytes)).as_bytes());
        }
        let heard = answer(SOURCE, b"600000\n");
        assert!(heard[..4096] != heard[4096..8192]);
    }

    #[test]
    fn what_is_no_number_is_answered_so() {
        for said in [
            "",
            "tea\n",
            "-1\n",
            "1",
            "99999999999999999999999999",
            "18446744073709551616\n",
        ] {
            let heard = answer(SOURCE, said.as_bytes());

            assert_eq!(heard, b"write a number of bytes\n", "{said:?}");
        }
    }
}
