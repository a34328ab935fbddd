//! A card and its driver, over every transport and ring.
#![cfg(test)]

mod commands;
mod fallback;
mod lies;
mod packets;
mod pairs;

use core::time::Duration;
use std::sync::Arc;

use ringway_device::net::{self, Loopback};
use ringway_device::{Device, Offer};
use ringway_driver::Error;
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{
    Answer, Card, Checksum, ChecksumAt, Command, Congestion, Cut, Kind, Net, Offload, Pieces,
    Receiver,
};
use ringway_driver::platform::Trust;
use ringway_driver::{mmio, pci};
use ringway_machine::{Machine, Options, Platform};
use ringway_spec::{F, Features};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Long enough for any of this, on any machine.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
enum Through {
    Pci,
    Mmio,
}

/// A way to have a card.
#[derive(Clone, Copy, Debug)]
struct Way {
    through: Through,
    ring: Features,
    trust: Trust,
}

fn ways() -> impl Iterator<Item = Way> {
    let rings = [
        Features::NONE,
        F::EVENT_IDX | F::INDIRECT_DESC,
        F::RING_PACKED | F::EVENT_IDX,
        F::RING_PACKED | F::IN_ORDER,
    ];
    [Through::Pci, Through::Mmio]
        .into_iter()
        .flat_map(move |through| {
            rings.into_iter().flat_map(move |ring| {
                [Trust::Trusted, Trust::Pool].map(|trust| Way {
                    through,
                    ring,
                    trust,
                })
            })
        })
}

/// A machine with a card that hears itself.
fn machine(way: Way, card: net::Options) -> Machine {
    let card = net::Net::new(Arc::new(Loopback::default()), card);
    machine_with(way, Box::new(card))
}

/// A machine with a device.
fn machine_with(way: Way, device: Box<dyn Device>) -> Machine {
    let options = Options {
        offer: Offer::NOTHING.with(way.ring),
        ..Options::default()
    };
    let builder = Machine::builder().trust(way.trust);
    let builder = match way.through {
        Through::Pci => builder.pci("card", device, options),
        Through::Mmio => builder.mmio("card", device, options),
    };
    builder.build().unwrap()
}

fn card_options() -> net::Options {
    net::Options {
        mac: MAC,
        mtu: Some(1500),
        pairs: 1,
        without: Features::NONE,
    }
}

fn open(machine: &Machine, way: Way, wanted: &Wanted) -> Card<AnyTransport<Platform>> {
    try_open(machine, way, wanted).unwrap()
}

fn try_open(
    machine: &Machine,
    way: Way,
    wanted: &Wanted,
) -> Result<Card<AnyTransport<Platform>>, Error> {
    let platform = machine.platform();
    let transport: AnyTransport<Platform> = match way.through {
        Through::Pci => Box::new(pci::devices(&platform).flatten().next().unwrap()),
        Through::Mmio => {
            let slots = mmio::scan(platform, machine.mmio_slots().to_vec());
            Box::new(slots.flatten().next().unwrap())
        }
    };
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    Card::open(device, wanted)
}

type Nic = Net<AnyTransport<Platform>, DmaBuffer>;

/// Asks the card something. It does it, and answers.
fn ask(net: &mut Nic, command: &Command<'_>) -> Answer {
    let token = net.command(command).unwrap();
    let answered = net.wait(LIMIT).unwrap();
    assert_eq!(answered.token, token);
    answered.result.unwrap()
}

/// Tells the card something. It does it.
fn tell(net: &mut Nic, command: &Command<'_>) {
    assert_eq!(ask(net, command), Answer::Done);
}

/// A packet of TCP over IPv4 with `len` bytes of payload, whose checksum is left to do, after
/// `before` bytes of room.
fn tcp(before: usize, len: usize) -> Box<[u8]> {
    let mut packet = vec![0; before];
    packet.extend([9; 6]);
    packet.extend(MAC);
    packet.extend([8, 0, 0x45, 0]);
    packet.extend(((40 + len) as u16).to_be_bytes());
    packet.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    packet.extend([0, 80, 0x12, 0x34, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0]);
    // The sum of the pseudo header.
    let words = [0xc000_u32, 0x0201, 0xc000, 0x0202, 6, 20 + len as u32];
    let sum = words.iter().sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    packet.extend((sum as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..len).map(|i| (i % 251) as u8));
    packet.into()
}

fn buffer(machine: &Machine, bytes: &[u8]) -> DmaBuffer {
    let mut buffer = DmaBuffer::new(&machine.platform(), bytes.len()).unwrap();
    buffer.write(0, bytes).unwrap();
    buffer
}

const TCP: Offload = Offload {
    checksum: Some(ChecksumAt {
        start: 34,
        offset: 16,
    }),
    cut: None,
};

/// Receives `count` packets, with what was said of their checksums.
fn receive(
    receiver: &mut Receiver<Platform, DmaBuffer>,
    bytes: usize,
    count: usize,
) -> Vec<(Checksum, Option<Cut>, Vec<u8>)> {
    let platform = receiver.queue().platform().clone();
    let deadline = ringway_driver::platform::Platform::now(&platform) + LIMIT;
    let mut packets = Vec::new();
    while packets.len() < count {
        let take = |packet: ringway_driver::net::Packet<DmaBuffer>| {
            let mut copy = vec![0; packet.len()];
            packet.copy_to(&mut copy);
            packets.push((packet.received.checksum, packet.received.cut, copy));
        };
        let supply = || DmaBuffer::new(&platform, bytes).ok();
        receiver.receive(64, take, supply).unwrap();
        assert!(ringway_driver::platform::Platform::now(&platform) < deadline);
        ringway_driver::platform::Platform::relax(&platform);
    }
    packets
}
