//! Our end: a machine, its card on the interface, our driver and smoltcp.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use ringway_device::net::{self as device, Port};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Net};
use ringway_driver::pci;
use ringway_machine::{Machine, Options, Platform};
use ringway_smoltcp::Nic;
use ringway_spec::Features;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp, tcp};
use smoltcp::time;
use smoltcp::wire::{
    EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr,
};

use crate::linux::Meanwhile;
use crate::{BYTES, LIMIT, LINUX, OURS, Result, byte};

/// Where bytes are exchanged.
pub(crate) const PORT: u16 = 4000;

/// The number by which our pings are known.
const PING: u16 = 0x2211;

/// What pings are made of.
const ECHO: [u8; 1000] = [0x5a; 1000];

type Buffers = Box<dyn FnMut(usize) -> Option<DmaBuffer>>;

/// A card, and the machine that has it.
pub(crate) struct Wired {
    pub(crate) net: Net<AnyTransport<Platform>, DmaBuffer>,
    pub(crate) platform: Platform,
    /// Switched off when nobody drives the card any more.
    _machine: Machine,
}

/// A machine, its card and its stack.
pub(crate) struct Host {
    nic: Nic<Platform, DmaBuffer, Buffers>,
    interface: Interface,
    sockets: SocketSet<'static>,
    begin: Instant,
    _wired: Wired,
}

/// Who opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    Linux,
    Machine,
}

impl Wired {
    pub(crate) fn new(port: Arc<dyn Port>, without: Features, optional: Features) -> Result<Self> {
        let options = device::Options {
            mac: mac(),
            mtu: Some(1500),
            pairs: 1,
            without,
        };
        let card = Box::new(device::Net::new(port, options));
        let machine = Machine::builder().pci("card", card, Options::default());
        let machine = machine.build()?;
        let platform = machine.platform();
        let found = pci::devices(&platform).flatten().next();
        let transport: AnyTransport<Platform> = Box::new(found.ok_or("no card on the bus")?);
        let wanted = Wanted {
            optional,
            ..Wanted::default()
        };
        let card = Card::open(Acknowledged::new(transport)?.driver()?, &wanted)?;
        Ok(Self {
            net: card.start()?,
            platform,
            _machine: machine,
        })
    }
}

impl Host {
    pub(crate) fn new(port: Arc<dyn Port>, without: Features, optional: Features) -> Result<Self> {
        let mut wired = Wired::new(port, without, optional)?;
        let (platform, facts) = (wired.platform.clone(), *wired.net.facts());
        let make: Buffers = Box::new(move |bytes| DmaBuffer::new(&platform, bytes).ok());
        let mut nic = Nic::new(wired.net.take_pairs(), facts, make)?;
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac())));
        let mut interface = Interface::new(config, &mut nic, time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            // The first always has room.
            let _ = addresses.push(IpCidr::new(IpAddress::from(OURS), 24));
        });
        Ok(Self {
            nic,
            interface,
            sockets: SocketSet::new(Vec::new()),
            begin: Instant::now(),
            _wired: wired,
        })
    }

    fn poll(&mut self) -> Result {
        let now = time::Instant::from_micros(self.begin.elapsed().as_micros() as i64);
        self.interface.poll(now, &mut self.nic, &mut self.sockets);
        self.nic.flush()?;
        std::thread::yield_now();
        Ok(())
    }

    /// Answers Linux until it has ended.
    pub(crate) fn poll_until(&mut self, ended: &mut dyn FnMut() -> Result<bool>) -> Result {
        let deadline = Instant::now() + LIMIT;
        while !ended()? {
            self.poll()?;
            in_time(deadline, "Linux to end")?;
        }
        Ok(())
    }

    /// Pings `whom`, three times.
    pub(crate) fn ping(&mut self, whom: Ipv4Addr) -> Result {
        let room = || {
            let packets = vec![icmp::PacketMetadata::EMPTY; 4];
            icmp::PacketBuffer::new(packets, vec![0; 8192])
        };
        let handle = self.sockets.add(icmp::Socket::new(room(), room()));
        let checksums = ChecksumCapabilities::default();
        let deadline = Instant::now() + LIMIT;
        self.icmp(handle).bind(icmp::Endpoint::Ident(PING))?;
        for seq_no in 0..3 {
            let echo = Icmpv4Repr::EchoRequest {
                ident: PING,
                seq_no,
                data: &ECHO,
            };
            let room = self.icmp(handle).send(echo.buffer_len(), whom.into())?;
            echo.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums);
            loop {
                self.poll()?;
                in_time(deadline, "Linux to answer")?;
                let Ok((packet, _)) = self.icmp(handle).recv() else {
                    continue;
                };
                let packet = Icmpv4Packet::new_checked(packet)?;
                let answer = Icmpv4Repr::parse(&packet, &checksums)?;
                let echoed = Icmpv4Repr::EchoReply {
                    ident: PING,
                    seq_no,
                    data: &ECHO,
                };
                if answer != echoed {
                    return Err(format!("Linux answered with {answer:?}").into());
                }
                break;
            }
        }
        self.sockets.remove(handle);
        Ok(())
    }

    /// Exchanges bytes with Linux, which does its part `meanwhile`, and compares each.
    pub(crate) fn exchange(&mut self, meanwhile: Meanwhile, opens: Opens) -> Result {
        let room = || tcp::SocketBuffer::new(vec![0; 64 << 10]);
        let handle = self.sockets.add(tcp::Socket::new(room(), room()));
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        match opens {
            Opens::Linux => socket.listen(PORT)?,
            Opens::Machine => {
                let to = (IpAddress::from(LINUX), PORT);
                socket.connect(self.interface.context(), to, 5000)?;
            }
        }
        let (mut sent, mut received) = (0, 0);
        let deadline = Instant::now() + LIMIT;
        while sent < BYTES || received < BYTES {
            self.poll()?;
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
            if socket.can_send() && sent < BYTES {
                sent += socket.send(|room| {
                    let now = room.len().min(BYTES - sent);
                    for (at, to) in (sent..).zip(room.iter_mut().take(now)) {
                        *to = byte(at);
                    }
                    (now, now)
                })?;
            }
            if socket.can_recv() {
                let right = socket.recv(|bytes| {
                    let right = bytes
                        .iter()
                        .copied()
                        .eq((received..).map(byte).take(bytes.len()));
                    received += bytes.len();
                    (bytes.len(), right)
                })?;
                if !right {
                    return Err(format!("wrong bytes before {received}").into());
                }
            }
            in_time(
                deadline,
                &format!("{BYTES} bytes: {sent} sent, {received} came"),
            )?;
        }
        self.sockets.get_mut::<tcp::Socket<'_>>(handle).close();
        while !meanwhile.is_finished() {
            self.poll()?;
            in_time(deadline, "Linux to have had its bytes")?;
        }
        self.sockets.remove(handle);
        meanwhile.join().map_err(|_| "Linux's end panicked")??;
        Ok(())
    }

    fn icmp(&mut self, handle: SocketHandle) -> &mut icmp::Socket<'static> {
        self.sockets.get_mut(handle)
    }
}

/// The address of the card.
pub(crate) fn mac() -> [u8; 6] {
    [2, 0, 0, 0, 0, 2]
}

fn in_time(deadline: Instant, what: &str) -> Result {
    match Instant::now() < deadline {
        true => Ok(()),
        false => Err(format!("waited too long for {what}").into()),
    }
}
