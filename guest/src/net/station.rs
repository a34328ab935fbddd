//! A card with a stack on it, which sleeps until an interrupt when there is nothing to do.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::hint::spin_loop;
use core::time::Duration;

use ringway_driver::bringup::Interrupts;
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::Error;
use ringway_driver::net::{Answer, Command, Failed, Net, Pair, Receiver, Transmitter};
use ringway_smoltcp::Nic;
use ringway_spec::net::{F, Mac};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{Device, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpCidr, Ipv4Address, Ipv4Cidr,
};

use crate::platform::Machine;
use crate::{time, watchdog};

/// What was found: nothing wrong, or what. For people.
pub(super) type Finding<T = ()> = Result<T, String>;

/// A card of the bus.
pub(super) type Card = Net<AnyTransport<Machine>, DmaBuffer>;

/// How long nothing may come that is on its way.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Longest sleep, so that devices without interrupts of their configuration are looked at.
const NAP: Duration = Duration::from_millis(100);

/// What Ethernet carries, if nobody says otherwise.
pub(super) const USUAL_MTU: u16 = 1500;

/// Local, and nobody else's here, for cards that have no address (§5.1.4.2).
const MADE_UP: Mac = [2, 0, 0, 0, 0, 1];

type Make = Box<dyn FnMut(usize) -> Option<DmaBuffer>>;

/// A card at work.
pub(super) struct Station {
    pub(super) net: Card,
    nic: Nic<Machine, DmaBuffer, Make>,
    pub(super) interface: Interface,
    pub(super) sockets: SocketSet<'static>,
}

/// What came of a look.
pub(super) enum Look<T> {
    /// What was waited for.
    Done(T),
    /// Something, and there is more to come.
    Some,
    /// Nothing.
    Nothing,
}

/// What a card has counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) kicks: u64,
    pub(super) interrupts: u64,
}

impl Counted {
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            kicks: self.kicks - before.kicks,
            interrupts: self.interrupts - before.interrupts,
        }
    }
}

impl Station {
    /// Sets a stack on a card. Packets come in buffers of `short` bytes each, if that is given: only where
    /// packets are shorter than usual, since those that go are told from those by their length.
    pub(super) fn new(machine: &Machine, mut net: Card, short: Option<usize>) -> Finding<Self> {
        let facts = *net.facts();
        let platform = machine.clone();
        let usual = facts.receive_bytes();
        let merges = facts.features.contains(F::MRG_RXBUF);
        if short.is_some() && (!merges || facts.mtu.is_none_or(|mtu| mtu >= USUAL_MTU)) {
            return Err("it has no short packets that are merged".to_string());
        }
        let make: Make = Box::new(move |bytes| {
            let len = short.filter(|_| bytes == usual).unwrap_or(bytes);
            DmaBuffer::new(&platform, len).ok()
        });
        let pair = net.take_pairs().pop().ok_or("it has no pair of queues")?;
        let mut nic = Nic::new([pair], facts, make).map_err(words)?;
        let mac = EthernetAddress(facts.mac.unwrap_or(MADE_UP));
        let interface = Interface::new(Config::new(mac.into()), &mut nic, now());
        Ok(Self {
            net,
            nic,
            interface,
            sockets: SocketSet::new(Vec::new()),
        })
    }

    /// Gives the stack an address.
    pub(super) fn settle(&mut self, address: Ipv4Cidr, router: Option<Ipv4Address>) {
        self.interface.update_ip_addrs(|addresses| {
            addresses.clear();
            // There is room for one.
            let _ = addresses.push(IpCidr::Ipv4(address));
        });
        if let Some(router) = router {
            // And for one route.
            let routes = self.interface.routes_mut();
            let _ = routes.add_default_ipv4_route(router);
        }
    }

    /// Has packets go and come until `look` finds what is waited for, and sleeps when there are none. It
    /// may not find nothing for longer than `limit`.
    pub(super) fn until<T>(
        &mut self,
        limit: Duration,
        mut look: impl FnMut(&mut Self) -> Finding<Look<T>>,
    ) -> Finding<T> {
        let machine_now = || Duration::from_nanos(time::now());
        let mut end = machine_now().saturating_add(limit);
        loop {
            // Counted before queues are looked at: what comes in between is not slept through.
            let seen = self.seen();
            self.turn()?;
            match look(self)? {
                Look::Done(found) => return Ok(found),
                Look::Some => {
                    watchdog::pet();
                    end = machine_now().saturating_add(limit);
                    continue;
                }
                Look::Nothing if machine_now() >= end => {
                    return Err(format!("nothing comes for {} ms", limit.as_millis()));
                }
                Look::Nothing => {}
            }
            let (now, at) = (now(), self.interface.poll_at(now(), &self.sockets));
            let late = at.is_some_and(|at| at <= now);
            if late || self.nic.packets().arm() {
                spin_loop();
                continue;
            }
            let nap = at.map_or(NAP, |at| NAP.min((at - now).into()));
            let changed = self.net.device().config_changed();
            let packets = &*self.nic.packets();
            let raised = || packets.announced().wrapping_add(changed.count());
            time::wait(nap.as_nanos() as u64, || raised() != seen);
        }
    }

    /// Has packets go and come that are there.
    pub(super) fn turn(&mut self) -> Finding {
        self.interface.poll(now(), &mut self.nic, &mut self.sockets);
        self.nic.flush().map_err(words)
    }

    /// Has all packets go, until the card has sent them.
    pub(super) fn send_all(&mut self) -> Finding {
        self.until(PATIENCE, |station| {
            let mut queues = station.nic.packets().transmitters().iter();
            Ok(match queues.all(|queue| queue.in_flight() == 0) {
                true => Look::Done(()),
                false => Look::Nothing,
            })
        })
    }

    /// How often an interrupt told of packets, or of a change.
    fn seen(&mut self) -> u32 {
        let changed = self.net.device().config_changed().count();
        self.nic.packets().announced().wrapping_add(changed)
    }

    /// Has the card do as it is told.
    pub(super) fn command(&mut self, command: &Command<'_>) -> Finding {
        self.answer(command)?.map(drop).map_err(words)
    }

    /// What the card answers when it is told something.
    pub(super) fn answer(&mut self, command: &Command<'_>) -> Finding<Result<Answer, Failed>> {
        self.net.command(command).map_err(words)?;
        let answered = self.net.wait(PATIENCE).map_err(words)?;
        Ok(answered.result)
    }

    /// Has the stack use another address of hardware, and says so to the network.
    pub(super) fn rename(&mut self, mac: Mac) -> Finding {
        self.interface
            .set_hardware_addr(EthernetAddress(mac).into());
        self.announce()
    }

    /// Says to the network whose the stack's address is.
    pub(super) fn announce(&mut self) -> Finding {
        let address = self.interface.ipv4_addr().ok_or("it has no address")?;
        let smoltcp::wire::HardwareAddress::Ethernet(mac) = self.interface.hardware_addr();
        let ethernet = EthernetRepr {
            src_addr: mac,
            dst_addr: EthernetAddress::BROADCAST,
            ethertype: EthernetProtocol::Arp,
        };
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: mac,
            source_protocol_addr: address,
            target_hardware_addr: EthernetAddress([0; 6]),
            target_protocol_addr: address,
        };
        let len = ethernet.buffer_len() + arp.buffer_len();
        let token = self.nic.transmit(now()).ok_or("there is no room to send")?;
        token.consume(len, |bytes| {
            let mut frame = EthernetFrame::new_unchecked(bytes);
            ethernet.emit(&mut frame);
            arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
        });
        self.nic.flush().map_err(words)
    }

    pub(super) fn counted(&mut self) -> Counted {
        let how = self.net.device().interrupts();
        let packets = self.nic.packets();
        let [received, sent] = [
            packets.receivers().first().map(Receiver::counts),
            packets.transmitters().first().map(Transmitter::counts),
        ]
        .map(Option::unwrap_or_default);
        let interrupts = [received, sent].map(|counts| u64::from(counts.interrupts));
        Counted {
            sent: sent.completed,
            received: received.completed,
            kicks: received.kicks + sent.kicks,
            interrupts: match how {
                Interrupts::Each | Interrupts::SlowShared => interrupts.iter().sum(),
                // Each is one for both.
                _ => interrupts[0].max(interrupts[1]),
            },
        }
    }

    /// How many packets were dropped.
    pub(super) fn drops(&mut self) -> u64 {
        self.nic.packets().drops().into_iter().sum()
    }

    /// Finds that the card was taken back, and that all buffers come home.
    pub(super) fn all_back(mut self) -> Finding {
        match self.nic.flush() {
            Ok(()) => return Err("it goes on as if it was driven".to_string()),
            Err(Error::Gone) => {}
            Err(other) => return Err(format!("its driver is told that {other}")),
        }
        let queues = |pair: &mut Pair<Machine, DmaBuffer>| -> Finding {
            for queue in [pair.receiver.queue(), pair.transmitter.queue()] {
                let (given, mut back) = (queue.in_flight(), 0);
                while queue.reclaim().map_err(words)?.is_some() {
                    back += 1;
                }
                if back != given {
                    return Err(format!("{back} of {given} buffers come back"));
                }
            }
            Ok(())
        };
        self.nic
            .into_pairs()
            .try_for_each(|mut pair| queues(&mut pair))
    }
}

/// The time, as the stack has it.
pub(super) fn now() -> Instant {
    Instant::from_micros((time::now() / 1000) as i64)
}

pub(super) fn words(error: impl core::fmt::Display) -> String {
    error.to_string()
}
