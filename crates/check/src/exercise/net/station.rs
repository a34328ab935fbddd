//! A card with a stack on it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use ringway_driver::bringup::{Interrupts, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::error::Error;
use ringway_driver::net::{Card, Command, Direction, Facts, Net, Pair, Receiver, Transmitter};
use ringway_driver::platform::Platform;
use ringway_driver::transport::Transport;
use ringway_smoltcp::Nic;
use ringway_spec::Features;
use ringway_spec::net::{Mac, receive_queue, transmit_queue};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::socket::tcp::Socket;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use super::flow::Flow;
use super::ways::Way;
use crate::exercise::bench::{Bench, Finding, note_up, probe};
use crate::exercise::random::Numbers;
use crate::exercise::{Options, PATIENCE};
use crate::report::DeviceReport;

/// Connections for each pair of queues, where there are several: which pair a connection is of, a hash
/// says, and every pair is to have one.
const FLOWS_EACH: u16 = 4;

/// The first port that is listened at, and the first that is connected from.
const PORTS: (u16, u16) = (4000, 50_000);

/// Which of the two a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    own: u8,
    other: u8,
}

impl Sides {
    /// The one that connects.
    pub(super) const ONE: Self = Self { own: 1, other: 2 };
    /// The one that is connected to.
    pub(super) const OTHER: Self = Self { own: 2, other: 1 };

    fn address(number: u8) -> IpAddress {
        // For documentation (RFC 5737): nobody's.
        IpAddress::v4(192, 0, 2, number)
    }
}

/// What was counted of a card.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counted {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) kicks: u64,
    pub(super) interrupts: u64,
    pub(super) drops: u64,
}

impl Counted {
    /// What was counted since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            received: self.received - before.received,
            kicks: self.kicks - before.kicks,
            interrupts: self.interrupts.wrapping_sub(before.interrupts),
            drops: self.drops - before.drops,
        }
    }
}

/// A card with a stack on it, however the card is reached.
pub trait Station {
    /// What the card offers.
    fn offered(&mut self) -> Finding<Features>;

    /// Sets the card to work, and connects it, or has it wait for that. Says how long packets are, and
    /// how many pairs of queues are used.
    fn open(
        &mut self,
        way: &Way,
        sides: Sides,
        bench: &Bench<'_, '_>,
        report: &mut DeviceReport,
    ) -> Finding<(u16, u16)>;

    fn is_connected(&mut self) -> bool;

    /// Each connection is to send its part of so many bytes, and to have as many come.
    fn begin(&mut self, bytes: u64);

    /// Does what there is to do. Says whether there was any.
    fn turn(&mut self) -> Finding<bool>;

    fn is_done(&mut self) -> bool;

    /// How many bytes have come.
    fn received(&self) -> u64;

    fn counted(&mut self) -> Counted;

    /// Queues that carried no packets.
    fn idle(&mut self) -> Vec<u16>;

    /// Resets the card.
    fn close(&mut self) -> Finding;

    fn now(&self) -> Duration;

    fn relax(&self);
}

/// The card that is reached by `transport`.
pub(crate) fn station<T: Transport + 'static>(transport: T) -> Box<dyn Station> {
    Box::new(End {
        platform: transport.platform().clone(),
        resting: Some(transport),
        up: None,
    })
}

struct End<T: Transport> {
    platform: T::Platform,
    resting: Option<T>,
    up: Option<Up<T>>,
}

type Make = Box<dyn FnMut(usize) -> Option<DmaBuffer>>;

/// A card that is at work.
struct Up<T: Transport> {
    net: Net<T, DmaBuffer>,
    nic: Nic<T::Platform, DmaBuffer, Make>,
    interface: Interface,
    sockets: SocketSet<'static>,
    flows: Vec<Flow>,
    /// How many interrupts there had been when packets were last looked for.
    seen: u32,
    /// There is something to do, whatever interrupts say.
    busy: bool,
}

impl<T: Transport> Station for End<T> {
    fn offered(&mut self) -> Finding<Features> {
        let resting = self.resting.as_mut().ok_or(GONE)?;
        resting.device_features().map_err(|error| error.to_string())
    }

    fn open(
        &mut self,
        way: &Way,
        sides: Sides,
        bench: &Bench<'_, '_>,
        report: &mut DeviceReport,
    ) -> Finding<(u16, u16)> {
        let resting = self.resting.take().ok_or(GONE)?;
        let words = |error: Error| error.to_string();
        let (net, pairs) = attach(resting, way, bench.options).map_err(words)?;
        let facts = *net.facts();
        let mut up = Up::new(net, pairs, &self.platform, sides).map_err(words)?;
        up.note(report);
        up.connect(way, sides, bench.seed)?;
        let (mtu, pairs) = (facts.mtu, up.nic.packets().receivers().len());
        self.up = Some(up);
        Ok((mtu.unwrap_or(USUAL_MTU), pairs as u16))
    }

    fn is_connected(&mut self) -> bool {
        self.up.as_mut().is_some_and(Up::is_connected)
    }

    fn begin(&mut self, bytes: u64) {
        if let Some(up) = &mut self.up {
            up.begin(bytes);
        }
    }

    fn turn(&mut self) -> Finding<bool> {
        let now = self.platform.now();
        self.up.as_mut().ok_or(GONE)?.turn(now)
    }

    fn is_done(&mut self) -> bool {
        let up = self.up.as_ref();
        up.is_some_and(|up| up.flows.iter().all(Flow::is_done))
    }

    fn received(&self) -> u64 {
        let flows = self.up.iter().flat_map(|up| &up.flows);
        flows.map(|flow| flow.received).sum()
    }

    fn counted(&mut self) -> Counted {
        self.up.as_mut().map(Up::counted).unwrap_or_default()
    }

    fn idle(&mut self) -> Vec<u16> {
        self.up.as_mut().map(Up::idle).unwrap_or_default()
    }

    fn close(&mut self) -> Finding {
        let Some(Up { net, nic, .. }) = self.up.take() else {
            return Ok(());
        };
        let (reset, _) = net.reset();
        self.resting = Some(reset.map_err(|error| error.to_string())?);
        for Pair {
            mut receiver,
            mut transmitter,
        } in nic.into_pairs()
        {
            for queue in [receiver.queue(), transmitter.queue()] {
                let (given, mut back) = (queue.in_flight(), 0);
                while queue
                    .reclaim()
                    .map_err(|error| error.to_string())?
                    .is_some()
                {
                    back += 1;
                }
                if given != back {
                    let index = queue.index();
                    return Err(format!("queue {index}: {back} of {given} came back"));
                }
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.platform.now()
    }

    fn relax(&self) {
        self.platform.relax();
    }
}

const GONE: &str = "its transport was not given back";

/// What Ethernet carries, if nobody says otherwise.
const USUAL_MTU: u16 = 1500;

/// A card at work, and its pairs of queues, all of which are used.
type Attached<T> = (
    Net<T, DmaBuffer>,
    Vec<Pair<<T as Transport>::Platform, DmaBuffer>>,
);

fn attach<T: Transport>(transport: T, way: &Way, options: &Options) -> Result<Attached<T>, Error> {
    let usual = options.wanted();
    let wanted = Wanted {
        optional: way.optional(),
        without: usual.without | way.without(),
        ..usual
    };
    let mut card = Card::open(probe(transport)?, &wanted)?;
    let pairs = way.pairs.min(card.facts().pairs);
    card.use_pairs(pairs)?;
    if let Some(depth) = options.queue {
        for pair in 0..pairs {
            for direction in [Direction::Receive, Direction::Transmit] {
                card.set_depth(pair, direction, depth)?;
            }
        }
    }
    let mut net: Net<T, DmaBuffer> = card.start()?;
    if pairs > 1 {
        net.command(&Command::Pairs(pairs))?;
        let refused = net.wait(PATIENCE)?.result.is_err();
        if refused {
            return Err(Error::Request(
                ringway_driver::error::RequestError::Unsupported,
            ));
        }
    }
    let pairs = net.take_pairs();
    Ok((net, pairs))
}

impl<T: Transport> Up<T> {
    fn new(
        net: Net<T, DmaBuffer>,
        pairs: Vec<Pair<T::Platform, DmaBuffer>>,
        platform: &T::Platform,
        sides: Sides,
    ) -> Result<Self, Error> {
        let platform = platform.clone();
        let now = Instant::from_micros(platform.now().as_micros() as i64);
        let make: Make = Box::new(move |bytes| DmaBuffer::new(&platform, bytes).ok());
        let facts: Facts = *net.facts();
        let mut nic = Nic::new(pairs, facts, make)?;
        // Local, and nobody else's here (§5.1.4.2).
        let made_up: Mac = [2, 0, 0, 0, 0, sides.own];
        let mac = EthernetAddress(facts.mac.unwrap_or(made_up));
        let config = Config::new(HardwareAddress::Ethernet(mac));
        let mut interface = Interface::new(config, &mut nic, now);
        interface.update_ip_addrs(|addresses| {
            // There is room for one.
            let _ = addresses.push(IpCidr::new(Sides::address(sides.own), 24));
        });
        Ok(Self {
            net,
            nic,
            interface,
            sockets: SocketSet::new(Vec::new()),
            flows: Vec::new(),
            seen: 0,
            busy: true,
        })
    }

    /// Notes what is known of the card.
    fn note(&mut self, report: &mut DeviceReport) {
        let depth = self.nic.packets().receivers().first().map(Receiver::depth);
        note_up(report, depth.unwrap_or(0), self.net.device());
    }

    /// Makes the connections, or has them waited for.
    fn connect(&mut self, way: &Way, sides: Sides, seed: u64) -> Finding {
        let flows = match way.pairs {
            1 => 1,
            pairs => pairs * FLOWS_EACH,
        };
        for number in 0..flows {
            // One seed for each way of each connection, which both ends know.
            let seed =
                |from: u8| Numbers::new(seed ^ u64::from(number) << 8 ^ u64::from(from)).draw();
            let flow = Flow::new(&mut self.sockets, seed(sides.own), seed(sides.other));
            let socket: &mut Socket<'_> = self.sockets.get_mut(flow.socket);
            let (at, from) = (PORTS.0 + number, PORTS.1 + number);
            if sides == Sides::ONE {
                let remote = (Sides::address(sides.other), at);
                let connecting = socket.connect(self.interface.context(), remote, from);
                connecting.map_err(|error| error.to_string())?;
            } else {
                socket.listen(at).map_err(|error| error.to_string())?;
            }
            self.flows.push(flow);
        }
        Ok(())
    }

    fn is_connected(&mut self) -> bool {
        self.flows.iter().all(|flow| {
            let socket: &Socket<'_> = self.sockets.get(flow.socket);
            socket.may_send()
        })
    }

    fn begin(&mut self, bytes: u64) {
        let count = self.flows.len() as u64;
        for (number, flow) in (0..).zip(&mut self.flows) {
            let more = u64::from(number < bytes % count);
            flow.begin(bytes / count + more);
        }
        self.busy = true;
    }

    fn turn(&mut self, now: Duration) -> Finding<bool> {
        let now = Instant::from_micros(now.as_micros() as i64);
        let announced = self.nic.packets().announced();
        let mut is_late = || {
            let at = self.interface.poll_at(now, &self.sockets);
            at.is_some_and(|at| at <= now)
        };
        if !self.busy && announced == self.seen && !is_late() {
            return Ok(false);
        }
        // What is announced from here on is looked for by the next turn.
        self.seen = announced;
        self.interface.poll(now, &mut self.nic, &mut self.sockets);
        self.nic.flush().map_err(|error| error.to_string())?;
        let mut any = false;
        for flow in &mut self.flows {
            any |= flow.serve(&mut self.sockets)?;
        }
        let packets = self.nic.packets();
        self.busy = any || packets.arm() || packets.room().is_none();
        Ok(any)
    }

    fn counted(&mut self) -> Counted {
        let interrupts = self.net.device().interrupts();
        let packets = self.nic.packets();
        let received = packets.receivers().iter().map(Receiver::counts);
        let sent = packets.transmitters().iter().map(Transmitter::counts);
        let all = || received.clone().chain(sent.clone());
        let each = all().map(|counts| u64::from(counts.interrupts));
        let flying = packets
            .transmitters()
            .iter()
            .map(|queue| u64::from(queue.in_flight()));
        Counted {
            sent: sent.clone().map(|counts| counts.completed).sum::<u64>() + flying.sum::<u64>(),
            received: received.clone().map(|counts| counts.completed).sum(),
            kicks: all().map(|counts| counts.kicks).sum(),
            interrupts: match interrupts {
                Interrupts::Each | Interrupts::SlowShared => each.sum(),
                // Each is one for all queues.
                _ => each.max().unwrap_or(0),
            },
            drops: packets.drops().into_iter().sum(),
        }
    }

    fn idle(&mut self) -> Vec<u16> {
        let packets = self.nic.packets();
        let receivers = packets.receivers().iter().map(Receiver::counts);
        let transmitters = packets.transmitters().iter().map(Transmitter::counts);
        let pairs = (0..).zip(receivers.zip(transmitters));
        pairs
            .flat_map(|(pair, (receive, transmit))| {
                let queues = [
                    (receive_queue(pair), receive),
                    (transmit_queue(pair), transmit),
                ];
                queues
                    .into_iter()
                    .filter(|(_, counts)| counts.completed == 0)
            })
            .map(|(index, _)| index)
            .collect()
    }
}
