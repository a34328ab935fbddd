//! A machine, its card and its stack.

use core::time::Duration;
use std::sync::Arc;

use ringway_device::Offer;
use ringway_device::net::{self as device, Port};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Command, Net};
use ringway_driver::platform::Platform as _;
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_smoltcp::Nic;
use ringway_spec::Features;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::LIMIT;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    Pci,
    Mmio,
}

/// How both machines have their cards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) through: Through,
    pub(crate) ring: Features,
    pub(crate) mtu: u16,
    pub(crate) pairs: u16,
    /// What cards do not offer.
    pub(crate) without: Features,
    /// What drivers take beside the usual.
    pub(crate) optional: Features,
    pub(crate) run: Run,
}

/// A machine, its card and its stack.
pub(crate) struct Host {
    _net: Net<AnyTransport<Platform>, DmaBuffer>,
    nic: Box<dyn Flush>,
    pub(crate) interface: Interface,
    pub(crate) sockets: SocketSet<'static>,
    pub(crate) socket: SocketHandle,
    /// How far the clock of the stack is ahead of the machine's.
    ahead: Duration,
    /// Switched off when nobody drives the card any more.
    pub(crate) machine: Machine,
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
    /// Host `number` of its network, whose card is connected to `port`.
    pub(crate) fn new(way: Way, number: u8, port: Arc<dyn Port>) -> Self {
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
        let builder = Machine::builder().run(way.run);
        let machine = match way.through {
            Through::Pci => builder.pci("card", card, offer),
            Through::Mmio => builder.mmio("card", card, offer),
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
            ahead: Duration::ZERO,
            machine,
        }
    }

    /// Has the stack do what is to be done.
    pub(crate) fn poll(&mut self) {
        let now = self.now();
        self.nic.poll(now, &mut self.interface, &mut self.sockets);
    }

    /// How long its stack has nothing to do, if nothing comes.
    pub(crate) fn idle(&mut self) -> Option<Duration> {
        let now = self.now();
        let idle = self.interface.poll_delay(now, &self.sockets)?;
        Some(idle.into())
    }

    /// Has time go by for its stack.
    pub(crate) fn leap(&mut self, by: Duration) {
        self.ahead += by;
    }

    /// The time of its stack.
    pub(crate) fn now(&self) -> Instant {
        let now = self.machine.platform().now() + self.ahead;
        Instant::from_micros(now.as_micros() as i64)
    }

    /// How many packets were dropped between card and stack, on their way in and out.
    pub(crate) fn drops(&mut self) -> [u64; 2] {
        self.nic.drops()
    }

    /// Its only socket.
    pub(crate) fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

/// The byte at `at` of what is sent.
pub(crate) fn byte(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b1) >> 11) as u8
}
