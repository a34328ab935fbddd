//! `ringway serve net`, as it is typed, before our own driver: what it hears and says is what the peer
//! there says and hears.
#![cfg(test)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Clock};

use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Net, RECEIVE_OFFLOADS};
use ringway_smoltcp::Nic;
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{MemoryOptions, Options, Platform, Transport};
use sha2::{Digest, Sha256};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

/// Longer than anything takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A server, which ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says something to port `port` of the peer of a server with these options, and then no more: what it
/// answers.
fn talk(options: &[&str], rings: Features, port: u16, mut says: &[u8]) -> Vec<u8> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("card.sock");
    let server = Command::new(env!("CARGO_BIN_EXE_ringway"))
        .args(["serve", "net", "--peer", "192.0.2.1/24", "--sandbox"])
        .args(options)
        .arg("--vhost-user")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn();
    let mut server = Server(server.unwrap());
    let mut ready = String::new();
    let mut said = BufReader::new(server.0.stdout.take().unwrap());
    said.read_line(&mut ready).unwrap();

    let memory = MemoryOptions {
        bytes: 64 << 20,
        ..MemoryOptions::default()
    };
    let platform = Platform::new(&memory).unwrap();
    let options = Options::new(DeviceId::NETWORK);
    let transport = Transport::connect(&platform, &path, options).unwrap();
    let wanted = Wanted {
        optional: RECEIVE_OFFLOADS | rings,
        ..Wanted::default()
    };
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    let card = Card::open(device, &wanted).unwrap();
    let mut net: Net<_, DmaBuffer> = card.start().unwrap();
    let facts = *net.facts();
    assert!(facts.features.contains(rings));
    let mac = facts.mac.unwrap();
    let make = move |bytes| DmaBuffer::new(&platform, bytes).ok();
    let mut nic = Nic::new(net.take_pairs(), facts, make).unwrap();

    let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    let mut interface = Interface::new(config, &mut nic, Instant::ZERO);
    interface.update_ip_addrs(|addresses| {
        let own = IpCidr::new(IpAddress::v4(192, 0, 2, 2), 24);
        addresses.push(own).unwrap();
    });
    let mut sockets = SocketSet::new(Vec::new());
    let room = || SocketBuffer::new(vec![0; 64 * 1024]);
    let socket = sockets.add(Socket::new(room(), room()));
    let remote = (IpAddress::v4(192, 0, 2, 1), port);
    let connecting = sockets.get_mut::<Socket<'_>>(socket);
    connecting
        .connect(interface.context(), remote, 40_000)
        .unwrap();
    let mut heard = Vec::new();
    let began = Clock::now();
    loop {
        let now = Instant::from_micros(began.elapsed().as_micros() as i64);
        interface.poll(now, &mut nic, &mut sockets);
        nic.flush().unwrap();
        let socket = sockets.get_mut::<Socket<'_>>(socket);
        if socket.may_send() {
            says = &says[socket.send_slice(says).unwrap()..];
            if says.is_empty() {
                socket.close();
            }
        }
        // What has come around the end of the buffer is another piece.
        while socket.can_recv() {
            socket
                .recv(|bytes| (bytes.len(), heard.extend_from_slice(bytes)))
                .unwrap();
        }
        if !socket.is_open() {
            break;
        }
        assert!(began.elapsed() < LIMIT, "{} bytes heard", heard.len());
        std::thread::yield_now();
    }
    heard
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn our_driver_hears_what_the_peer_says_over_every_ring() {
    for rings in [Features::NONE, F::EVENT_IDX, F::RING_PACKED | F::EVENT_IDX] {
        let heard = talk(&[], rings, 19, b"1000000\n");

        let (bytes, line) = heard.split_at(1_000_000);
        assert_eq!(line, format!("{}\n", sha256(bytes)).as_bytes(), "{rings:?}");
    }
}

#[test]
fn the_peer_hears_what_our_driver_says_with_long_packets_and_without_offloads() {
    let says: Vec<u8> = (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(at) >> 7) as u8)
        .collect();
    for options in [
        &["--mtu", "9000"][..],
        &["--without", "csum,guest_csum,mrg_rxbuf,ctrl_vq"],
        &["--mtu", "9000", "--without", "csum,mrg_rxbuf"],
    ] {
        let heard = talk(options, F::EVENT_IDX, 9, &says);

        let line = format!("{} 1000000\n", sha256(&says));
        assert_eq!(String::from_utf8(heard).unwrap(), line, "{options:?}");
    }
}
