//! Two machines, joined by a switch, move bytes over TCP.
#![cfg(test)]

use core::time::Duration;
use std::sync::Arc;

use ringway_device::Offer;
use ringway_device::net::{self as device, Port};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Command, Net, RECEIVE_OFFLOADS};
use ringway_driver::platform::Platform as _;
use ringway_driver::{mmio, pci};
use ringway_host::net::Switch;
use ringway_machine::{Machine, Options, Platform};
use ringway_smoltcp::Nic;
use ringway_spec::{F, Features};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

const PORT: u16 = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    Pci,
    Mmio,
}

/// How both machines have their cards.
#[derive(Clone, Copy, Debug)]
struct Way {
    through: Through,
    ring: Features,
    mtu: u16,
    pairs: u16,
    /// What cards do not offer.
    without: Features,
    /// What drivers take beside the usual.
    optional: Features,
}

/// A machine, its card and its stack.
struct Host {
    _net: Net<AnyTransport<Platform>, DmaBuffer>,
    nic: Box<dyn Flush>,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// Switched off when nobody drives the card any more.
    machine: Machine,
}

/// A [`Nic`], whatever makes its buffers.
trait Flush {
    fn poll(&mut self, now: Instant, interface: &mut Interface, sockets: &mut SocketSet<'static>);
    fn drops(&mut self) -> [u64; 2];
}

impl<M: FnMut(usize) -> Option<DmaBuffer>> Flush for Nic<Platform, DmaBuffer, M> {
    fn poll(&mut self, now: Instant, interface: &mut Interface, sockets: &mut SocketSet<'static>) {
        interface.poll(now, self, sockets);
        self.flush().unwrap();
    }

    fn drops(&mut self) -> [u64; 2] {
        self.packets().drops()
    }
}

impl Host {
    fn new(way: Way, number: u8, port: Arc<dyn Port>) -> Self {
        let mac = [2, 0, 0, 0, 0, number];
        let options = device::Options {
            mac,
            mtu: Some(way.mtu),
            pairs: way.pairs,
            without: way.without,
        };
        let card = Box::new(device::Net::new(port, options));
        let offer = Options {
            offer: Offer::NOTHING.with(way.ring),
            ..Options::default()
        };
        let machine = match way.through {
            Through::Pci => Machine::builder().pci("card", card, offer),
            Through::Mmio => Machine::builder().mmio("card", card, offer),
        };
        let machine = machine.build().unwrap();
        let platform = machine.platform();
        let transport: AnyTransport<Platform> = match way.through {
            Through::Pci => Box::new(pci::devices(&platform).flatten().next().unwrap()),
            Through::Mmio => {
                let slots = mmio::scan(platform.clone(), machine.mmio_slots().to_vec());
                Box::new(slots.flatten().next().unwrap())
            }
        };
        let probed = Acknowledged::new(transport).unwrap().driver().unwrap();
        let wanted = Wanted {
            optional: way.optional,
            ..Wanted::default()
        };
        let mut card = Card::open(probed, &wanted).unwrap();
        card.use_pairs(way.pairs).unwrap();
        let mut net: Net<_, _> = card.start().unwrap();
        if way.pairs > 1 {
            net.command(&Command::Pairs(way.pairs)).unwrap();
            assert!(net.wait(LIMIT).unwrap().result.is_ok());
        }
        let facts = *net.facts();
        let pairs = net.take_pairs();
        let make = move |bytes| DmaBuffer::new(&platform, bytes).ok();
        let mut nic = Nic::new(pairs, facts, make).unwrap();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
        let mut interface = Interface::new(config, &mut nic, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(192, 0, 2, number), 24);
            addresses.push(address).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let room = || SocketBuffer::new(vec![0; 64 * 1024]);
        let socket = sockets.add(Socket::new(room(), room()));
        Self {
            _net: net,
            nic: Box::new(nic),
            interface,
            sockets,
            socket,
            machine,
        }
    }

    fn poll(&mut self) {
        let now = self.machine.platform().now();
        let now = Instant::from_micros(now.as_micros() as i64);
        self.nic.poll(now, &mut self.interface, &mut self.sockets);
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

/// The byte at `at` of what is sent.
fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 11) as u8
}

/// Sends `len` bytes from one machine to another, and compares each.
fn transfer(way: Way, len: usize) {
    let switch = Switch::new();
    let [mut from, mut to] = [1, 2].map(|number| Host::new(way, number, switch.port()));
    to.socket().listen(PORT).unwrap();
    let remote = (IpAddress::v4(192, 0, 2, 2), PORT);
    let Host {
        interface,
        sockets,
        socket,
        ..
    } = &mut from;
    let connecting = sockets.get_mut::<Socket<'_>>(*socket);
    connecting
        .connect(interface.context(), remote, 5000)
        .unwrap();
    let (mut sent, mut received) = (0, 0);
    let deadline = from.machine.platform().now() + LIMIT;

    while received < len {
        from.poll();
        let socket = from.socket();
        if socket.can_send() && sent < len {
            let put = socket.send(|room| {
                let now = room.len().min(len - sent);
                for (at, to) in (sent..).zip(&mut room[..now]) {
                    *to = byte(at);
                }
                (now, now)
            });
            sent += put.unwrap();
        }
        to.poll();
        let socket = to.socket();
        if socket.can_recv() {
            let got = socket.recv(|bytes| {
                for (at, from) in (received..).zip(&*bytes) {
                    assert_eq!(*from, byte(at), "{way:?}, byte {at}");
                }
                (bytes.len(), bytes.len())
            });
            received += got.unwrap();
        }
        let now = from.machine.platform().now();
        assert!(
            now < deadline,
            "{way:?}: {received} of {len} bytes came, {sent} were taken"
        );
        std::thread::yield_now();
    }

    assert_eq!([from.nic.drops(), to.nic.drops()], [[0; 2]; 2], "{way:?}");
}

#[test]
fn bytes_arrive_over_every_transport_and_ring() {
    let rings = [Features::NONE, F::RING_PACKED | F::EVENT_IDX];
    for through in [Through::Pci, Through::Mmio] {
        for ring in rings {
            let way = Way {
                through,
                ring,
                mtu: 1500,
                pairs: 1,
                without: Features::NONE,
                optional: RECEIVE_OFFLOADS,
            };
            transfer(way, 1 << 18);
        }
    }
}

#[test]
fn bytes_arrive_with_large_packets_and_without_offloads() {
    let offloads = RECEIVE_OFFLOADS | ringway_spec::net::F::CSUM;
    for mtu in [1500, 9000] {
        for (without, optional) in [
            (offloads, Features::NONE),
            (Features::NONE, Features::NONE),
            (Features::NONE, RECEIVE_OFFLOADS),
        ] {
            let way = Way {
                through: Through::Pci,
                ring: F::EVENT_IDX,
                mtu,
                pairs: 1,
                without,
                optional,
            };
            transfer(way, 1 << 18);
        }
    }
}

#[test]
fn bytes_arrive_by_whichever_of_several_pairs_of_queues_their_flow_is_sent() {
    for pairs in [2, 4] {
        let way = Way {
            through: Through::Pci,
            ring: F::EVENT_IDX,
            mtu: 1500,
            pairs,
            without: Features::NONE,
            optional: RECEIVE_OFFLOADS,
        };
        transfer(way, 1 << 18);
    }
}
