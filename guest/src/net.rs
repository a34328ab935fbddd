//! Network cards, at work: on a bus, each with a stack of its own on it.
//!
//! | file | |
//! | --- | --- |
//! | `station` | a card and its stack, which sleep until an interrupt |
//! | `client` | an address, echoes and a document of the network's |
//! | `control`, `merge` | what the card is told, and packets in several buffers |
//! | `peer` | bytes to and from another machine |
//! | `watch` | changes of the link, and requests to announce oneself |

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use ringway_check::event::Event;
use ringway_check::exercise::{Options, note_up};
use ringway_check::report::{CardReport, DeviceReport};
use ringway_check::tree::{BusReport, Tree};
use ringway_driver::bringup::Probed;
use ringway_driver::bus::{AnyTransport, Bus, Id, Name, What};
use ringway_driver::error::Result as DriverResult;
use ringway_driver::mmio;
use ringway_driver::net::{Card as Settled, Direction};
use ringway_driver::pci::{self, Preference};
use ringway_spec::net::F;
use ringway_spec::{DeviceId, Status};
use smoltcp::wire::EthernetAddress;

use crate::platform::Machine;
use crate::time;
use client::{Document, Lease};
use peer::End;
use shelf::Shelf;
use station::{Card, Counted, Finding, Station, words};

mod client;
mod control;
mod merge;
mod peer;
mod shelf;
mod station;
mod watch;

/// What is done with cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// All that a client does, with a server of documents at this port of its router.
    Client {
        port: u16,
        bytes: u64,
        /// Bytes of buffers that are shorter than packets.
        short: Option<NonZeroU64>,
    },
    /// So many changes of its link are waited for.
    Watch { changes: u32 },
    /// So many bytes go to another machine, and come from it.
    Listen { bytes: u64 },
    /// The same, at the other end.
    Connect { bytes: u64 },
}

/// The name of the driver.
const DRIVER: &str = "net";

/// Cards on a bus.
struct Bench<'b> {
    machine: &'b Machine,
    bus: Bus<Machine>,
    shelf: Arc<Shelf>,
    options: &'b Options,
    sink: &'b mut dyn FnMut(Event),
}

/// Does `task` with every card of the machine, one after the other. Says whether all checks passed.
///
/// # Errors
///
/// What keeps it from beginning, in words.
pub(crate) fn run(
    task: Task,
    machine: &Machine,
    (preference, slots): (Preference, &[mmio::Slot]),
    options: &Options,
    sink: &mut dyn FnMut(Event),
) -> Result<bool, String> {
    let mut bench = Bench {
        machine,
        bus: Bus::new(),
        shelf: Shelf::new(),
        options,
        sink,
    };
    let asked = *options;
    let open = move |probed| open(probed, &asked);
    let ids = [Id::of(DeviceId::NETWORK)];
    let shelf = Arc::clone(&bench.shelf);
    let registered = bench.bus.register_with(DRIVER, &ids, shelf, open);
    registered.map_err(words)?;
    let functions = pci::devices_by(machine, preference).flatten();
    let functions = functions.map(|device| -> AnyTransport<Machine> { Box::new(device) });
    let windows = mmio::scan(machine.clone(), slots.iter().copied()).flatten();
    let windows = windows.map(|device| -> AnyTransport<Machine> { Box::new(device) });
    let cards = functions.chain(windows);
    let cards: Vec<_> = cards
        .filter(|card| card.device_id() == DeviceId::NETWORK)
        .collect();
    if cards.is_empty() {
        return Err("the machine has no network card".to_string());
    }
    let names: Vec<_> = cards.into_iter().map(|card| bench.bus.add(card)).collect();
    let tree = Tree::new(&bench.bus.tree(), options.first);
    let report = BusReport {
        tree,
        ..BusReport::default()
    };
    (bench.sink)(Event::Bus(Box::new(report)));
    let mut ok = true;
    for name in names {
        ok &= bench.card(name, task);
    }
    Ok(ok)
}

fn open(probed: Probed<AnyTransport<Machine>>, options: &Options) -> DriverResult<Card> {
    let mut card = Settled::open(probed, &options.wanted())?;
    if let Some(depth) = options.queue {
        for direction in [Direction::Receive, Direction::Transmit] {
            card.set_depth(0, direction, depth)?;
        }
    }
    card.start()
}

impl Bench<'_> {
    /// Does the task with a card, and takes it off the bus. Says whether all checks of it passed.
    fn card(&mut self, name: Name, task: Task) -> bool {
        let mut report = self.begin(name);
        let opened = self.shelf.take(name).ok_or_else(|| self.why(name));
        report.check("is on the bus, with a driver", opened.as_ref().map(drop));
        if let Ok(mut card) = opened {
            note(&mut report, &mut card);
            let short = match task {
                Task::Client { short, .. } => short.map(|short| short.get() as usize),
                _ => None,
            };
            let station = Station::new(self.machine, card, short);
            report.check("comes up", station.as_ref().map(drop));
            if let Ok(station) = station {
                self.use_it(name, station, task, &mut report);
            }
        }
        let removed = self.bus.remove(name);
        report.check("is taken off the bus", removed.map(drop));
        let ok = report.ok();
        (self.sink)(Event::Device(Box::new(report)));
        ok
    }

    fn begin(&mut self, name: Name) -> DeviceReport {
        let tree = self.bus.tree();
        let node = tree.devices.iter().find(|device| device.name == name);
        let report = DeviceReport {
            name: name.to_string(),
            kind: DeviceId::NETWORK.to_string(),
            transport: node
                .map(|node| node.transport.to_string())
                .unwrap_or_default(),
            vendor: node.map(|node| node.modalias.vendor).unwrap_or_default(),
            ring: "split".to_string(),
            card: Some(CardReport::default()),
            ..DeviceReport::default()
        };
        (self.sink)(Event::Begin {
            device: report.name.clone(),
            kind: report.kind.clone(),
            transport: report.transport.clone(),
        });
        report
    }

    fn use_it(&mut self, name: Name, mut station: Station, task: Task, report: &mut DeviceReport) {
        match task {
            Task::Client { port, bytes, short } => {
                if let Some(lease) = self.client(&mut station, (port, bytes), report) {
                    if let Some(short) = short {
                        let buffers = report.card.as_ref().map(|card| card.packets_received);
                        let least = bytes / short;
                        let came = buffers.is_some_and(|buffers| buffers >= least);
                        let found = came.then_some(()).ok_or(format!("{buffers:?} of {least}"));
                        report.check("has packets come in many buffers", found);
                    }
                    self.again(name, station, lease, report);
                }
            }
            Task::Watch { changes } => {
                let seen = watch::watch(self, &mut station, name, changes, report);
                report.check("says every change of its link", seen);
            }
            Task::Listen { bytes } => {
                exchange(&mut station, End::Listens, bytes, report, self.options);
            }
            Task::Connect { bytes } => {
                exchange(&mut station, End::Connects, bytes, report, self.options);
            }
        }
    }

    /// Does what a client does. Says what the network has lent, if all went well.
    fn client(
        &self,
        station: &mut Station,
        (port, bytes): (u16, u64),
        report: &mut DeviceReport,
    ) -> Option<Lease> {
        let lease = client::lease(station);
        report.check("is lent an address", lease.as_ref().map(drop));
        let lease = lease.ok()?;
        if let Some(card) = &mut report.card {
            card.address = Some(lease.address.to_string());
        }
        let echoed = client::pings(station, lease.router);
        report.check("has echoes of all sizes come back", echoed);
        let (before, began) = (station.counted(), time::now());
        let fetched = client::fetch(station, lease.router, port, self.options.seed, bytes);
        let moved = station.counted().since(before);
        report.check("fetches a document", fetched.as_ref().map(drop));
        if let Ok(Document { bytes, sha256 }) = fetched {
            note_moved(report, moved, bytes, time::now() - began);
            if let Some(card) = &mut report.card {
                card.came = Some(sha256);
            }
        }
        let heard = match report.interrupt == "polled" || moved.interrupts != 0 {
            true => Ok(()),
            false => Err("none came"),
        };
        report.check("interrupts whoever waits for packets", heard);
        let features = station.net.facts().features;
        if features.contains(F::CTRL_RX | F::CTRL_RX_EXTRA | F::CTRL_VLAN | F::CTRL_MAC_ADDR) {
            let told = control::exercise(station, lease.router);
            report.check("hears what its filter says", told);
        }
        if features.contains(F::CTRL_VQ) {
            report.check("takes commands, and refuses some", control::others(station));
        }
        let drops = station.drops();
        let none = (drops == 0).then_some(()).ok_or(format!("{drops} were"));
        report.check("drops no packet", none);
        report.ok().then_some(lease)
    }

    /// Takes the card back from its driver, and binds it again by its name: with short buffers, if it has
    /// them merged, and then as before.
    fn again(&mut self, name: Name, station: Station, lease: Lease, report: &mut DeviceReport) {
        let merges = station.net.facts().features.contains(F::MRG_RXBUF);
        let unbound = self.bus.unbind(name).map_err(words);
        let back = unbound.and_then(|()| station.all_back());
        report.check("gives every buffer back when it is unbound", back);
        report.check(
            "is noticed, and no more, without a driver",
            self.noticed(name),
        );
        if merges {
            let merged = self
                .bound(name)
                .and_then(|mut card| merge::exercise(self.machine, &mut card, lease));
            report.check("has a packet come in several buffers", merged);
            // Its handles were dropped: the bus notices that.
        }
        let works = self.bound(name).and_then(|card| {
            let mut station = Station::new(self.machine, card, None)?;
            let lease = client::lease(&mut station)?;
            client::pings(&mut station, lease.router)?;
            self.bus.unbind(name).map_err(words)?;
            station.all_back()
        });
        report.check("works after it was bound again by its name", works);
    }

    /// Why no driver has a card.
    fn why(&mut self, name: Name) -> String {
        let mut failed = None;
        // Ends: no more is kept than fits.
        while let Some(event) = self.bus.next_event() {
            match event.what {
                What::Failed(error) if event.name == name => failed = Some(error.to_string()),
                _ => {}
            }
        }
        failed.unwrap_or_else(|| "no driver is for it".to_string())
    }

    fn bound(&mut self, name: Name) -> Finding<Card> {
        self.bus.bind(name, DRIVER).map_err(words)?;
        self.shelf.take(name).ok_or("it was not added again".into())
    }

    fn noticed(&mut self, name: Name) -> Finding {
        let tree = self.bus.tree();
        let device = tree.devices.iter().find(|device| device.name == name);
        match device.and_then(|device| device.status) {
            Some(Status::ACKNOWLEDGE) => Ok(()),
            other => Err(format!("its status is {other:?}")),
        }
    }
}

fn exchange(
    station: &mut Station,
    end: End,
    bytes: u64,
    report: &mut DeviceReport,
    options: &Options,
) {
    let (before, began) = (station.counted(), time::now());
    let exchanged = peer::exchange(station, end, options.seed, bytes);
    report.check("sends and takes all bytes", exchanged.as_ref().map(drop));
    if let Ok(exchanged) = exchanged {
        let moved = station.counted().since(before);
        note_moved(report, moved, exchanged.bytes, time::now() - began);
        if let Some(card) = &mut report.card {
            card.sent = Some(exchanged.sent);
            card.came = Some(exchanged.came);
        }
    }
}

/// Notes what is known of a card that has come up.
fn note(report: &mut DeviceReport, card: &mut Card) {
    let depth = card.pairs().first().map_or(0, |pair| pair.receiver.depth());
    note_up(report, depth, card.device());
    let facts = card.facts();
    report.card = Some(CardReport {
        mac: facts.mac.map(|mac| EthernetAddress(mac).to_string()),
        mtu: facts.mtu,
        ..CardReport::default()
    });
}

/// Notes what was moved.
fn note_moved(report: &mut DeviceReport, moved: Counted, bytes: u64, nanoseconds: u64) {
    report.requests = moved.sent + moved.received;
    report.bytes = bytes;
    report.kicks = moved.kicks;
    report.interrupts = moved.interrupts;
    report.microseconds = nanoseconds / 1000;
    if let Some(card) = &mut report.card {
        card.packets_sent = moved.sent;
        card.packets_received = moved.received;
    }
}
