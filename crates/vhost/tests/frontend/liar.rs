//! Back-ends of network cards that break the rules of rings, and say anything of packets.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use ringway_check::hostile::{Conduct, Device, Ring};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Net, Offload, Packet};
use ringway_driver::{Error, Result};
use ringway_ring::driver::Areas;
use ringway_ring::shared::Shared;
use ringway_spec::net::F as Of;
use ringway_spec::{DeviceId, F, Features};
use ringway_vhost::frontend::{CardOptions, Options, Platform, Reconnect, Transport};
use ringway_vhost::memory::Table;
use ringway_vhost::protocol::{
    Flags, PROTOCOL_FEATURES, ProtocolFeatures, Reply, Request, RingAddresses, RingState,
};
use ringway_vhost::socket::Socket;

use crate::served::{LIMIT, platform};

/// Descriptors of a queue, and bytes of a buffer to receive into.
const SIZE: u16 = 16;
const BUFFER: usize = 256;

/// How often a driver looks for packets, and its peer makes a step.
const LOOKS: usize = 1000;

/// Bytes of a descriptor, of either format, which begins with its address.
const DESCRIPTOR: u64 = 16;

/// How many histories of each ring.
const HISTORIES: u64 = 60;

/// A back-end that obeys the protocol, and nothing else. It lies when it is told to, so that a seed tells
/// a history.
struct Liar {
    memory: Table,
    features: Features,
    rings: BTreeMap<u32, Areas>,
    devices: Vec<Device>,
    chance: fastrand::Rng,
    one_in: u64,
}

/// Has a liar answer at the other end of a connection, as long as there is one.
fn serve(stream: UnixStream, liar: &Arc<Mutex<Liar>>) -> JoinHandle<()> {
    let liar = Arc::clone(liar);
    let socket = Socket::new(stream).with_limit(LIMIT);
    let turn = move || {
        let message = socket.receive().ok()??;
        let (header, number) = (message.header, message.header.request);
        let request = Request::decode(number, message.body).ok()?;
        let answer = liar.lock().unwrap().answer(request);
        let reply = match answer {
            Some(reply) => reply,
            None if header.flags.contains(Flags::NEED_REPLY) => Reply::Value(0),
            None => return Some(()),
        };
        socket.send(number, Flags::REPLY, &reply.encode()).ok()
    };
    thread::spawn(move || while turn().is_some() {})
}

impl Liar {
    /// One of whose steps one in so many is a misdeed.
    fn new(seed: u64, one_in: u64) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            memory: Table::new(),
            features: Features::NONE,
            rings: BTreeMap::new(),
            devices: Vec::new(),
            chance: fastrand::Rng::with_seed(seed),
            one_in,
        }))
    }

    fn answer(&mut self, request: Request<OwnedFd>) -> Option<Reply<OwnedFd>> {
        let protocol = ProtocolFeatures::MQ | ProtocolFeatures::REPLY_ACK;
        match request {
            Request::GetFeatures => {
                let ring = F::VERSION_1 | F::RING_PACKED | F::IN_ORDER | F::EVENT_IDX;
                let features = ring | Of::MRG_RXBUF | Of::CSUM | Of::GUEST_CSUM;
                return Some(Reply::Value(features.0 as u64 | PROTOCOL_FEATURES));
            }
            Request::GetProtocolFeatures => return Some(Reply::Value(protocol.bits())),
            Request::GetQueueNum => return Some(Reply::Value(1)),
            Request::SetFeatures(features) => self.features = Features(features.into()),
            Request::SetMemTable(regions) => self.memory.set(regions).ok()?,
            Request::SetVringAddr(addresses) => {
                let areas = self.areas(&addresses)?;
                self.rings.insert(addresses.index, areas);
            }
            Request::SetVringEnable(RingState { index, num: 1 }) => self.begin(index),
            Request::GetVringBase(RingState { index, .. }) => {
                // From here on it does nothing: that is what it is asked for.
                self.devices.clear();
                return Some(Reply::Ring(RingState { index, num: 0 }));
            }
            _ => {}
        }
        None
    }

    /// Where a ring is in the driver's addresses.
    fn areas(&self, at: &RingAddresses) -> Option<Areas> {
        Some(Areas {
            descriptor: self.memory.guest_address(at.descriptor, 1)?,
            driver: self.memory.guest_address(at.available, 1)?,
            device: self.memory.guest_address(at.used, 1)?,
        })
    }

    fn begin(&mut self, index: u32) {
        let (map, Some(areas)) = (self.memory.map(), self.rings.get(&index)) else {
            return;
        };
        let ring = Ring {
            map: &map,
            size: SIZE,
            areas: *areas,
            features: self.features,
            start: 0,
        };
        let one_in = self.one_in;
        let conduct = Conduct::Hostile { one_in };
        let seed = self.chance.u64(..);
        self.devices.extend(Device::new(&ring, conduct, seed));
    }

    /// Writes something before a packet, and makes a step on each ring.
    fn lie(&mut self) {
        if let Some(areas) = self.rings.get(&0) {
            let slot = self.chance.u64(..u64::from(SIZE));
            let at = areas.descriptor + slot * DESCRIPTOR;
            let lie = self.header();
            let mut address = [0; 8];
            let named = self
                .at(at, 8)
                .is_some_and(|it| it.view().read(0, &mut address).is_ok());
            if let Some(buffer) = self.at(u64::from_le_bytes(address), 12)
                && named
            {
                buffer.view().write(0, &lie).unwrap();
            }
        }
        self.devices.iter_mut().for_each(Device::step);
    }

    /// What stands before a packet, with numbers that cannot be among those that can.
    fn header(&mut self) -> [u8; 12] {
        let mut header = [0; 12];
        if self.chance.u8(..) < 32 {
            header.fill_with(|| self.chance.u8(..));
        }
        let buffers = [0, 1, 1, 1, 2, 3, SIZE, SIZE + 1, u16::MAX];
        let buffers = buffers[self.chance.usize(..buffers.len())];
        header[10..].copy_from_slice(&buffers.to_le_bytes());
        header
    }

    /// Bytes at an address of the driver's.
    fn at(&self, address: u64, len: usize) -> Option<Shared> {
        self.memory.map().shared(address, len)
    }
}

/// What a driver found.
#[derive(Debug, Default)]
struct Found {
    packets: usize,
    malformed: u64,
    violations: usize,
}

/// Drives a liar for a while.
fn history(platform: &Platform, ring: Features, seed: u64, one_in: u64, found: &mut Found) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let liar = Liar::new(seed, one_in);
    let lying = serve(theirs, &liar);
    let mut once = Some(ours);
    let connect = move || {
        once.take()
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    };
    let options = Options {
        card: Some(CardOptions::default()),
        queue_size: SIZE,
        reconnect: Reconnect::NEVER,
        ..Options::new(DeviceId::NETWORK)
    };
    let transport = Transport::connect_by(platform, connect, options).unwrap();
    let wanted = Wanted {
        required: ring | Of::MRG_RXBUF,
        optional: F::EVENT_IDX | Of::GUEST_CSUM,
        without: (F::RING_PACKED | F::IN_ORDER) - ring,
        ..Wanted::default()
    };
    let device = Acknowledged::new(transport).unwrap().driver().unwrap();
    let card = Card::open(device, &wanted).unwrap();
    let mut net: Net<_, DmaBuffer> = card.start().unwrap();
    match drive(platform, &mut net, &liar, found) {
        Ok(()) => {}
        Err(Error::Device(_)) => found.violations += 1,
        Err(other) => panic!("{other}, seed {seed}"),
    }
    found.malformed += net.pairs()[0].receiver.malformed();
    drop(net);
    lying.join().unwrap();
}

fn drive(
    platform: &Platform,
    net: &mut Net<Transport, DmaBuffer>,
    liar: &Mutex<Liar>,
    found: &mut Found,
) -> Result<()> {
    let pair = &mut net.pairs()[0];
    let supply = || DmaBuffer::new(platform, BUFFER).ok();
    pair.receiver.fill(supply)?;
    for _ in 0..LOOKS {
        if pair.transmitter.in_flight() < SIZE {
            let buffer = DmaBuffer::new(platform, 100).unwrap();
            let sent = pair.transmitter.send(buffer, &Offload::default());
            sent.map_err(|rejected| rejected.why)?;
            pair.transmitter.kick()?;
        }
        pair.transmitter.reclaim(drop)?;
        let each = |packet: Packet<DmaBuffer>| {
            found.packets += 1;
            // All of it can be read, and no more than a queue's buffers hold.
            let mut bytes = vec![0; packet.len()];
            assert_eq!(packet.copy_to(&mut bytes).len(), packet.len());
            assert!(packet.len() <= BUFFER * usize::from(SIZE));
            for (buffer, range) in packet.pieces() {
                assert!(range.end <= buffer.len());
            }
        };
        pair.receiver.receive(8, each, supply)?;
        liar.lock().unwrap().lie();
    }
    Ok(())
}

#[test]
fn a_back_end_that_lies_about_packets_and_rings_harms_nobody_and_everything_is_given_back() {
    for ring in [
        Features::NONE,
        F::RING_PACKED,
        F::IN_ORDER,
        F::RING_PACKED | F::IN_ORDER,
    ] {
        let platform = platform();
        let mut found = Found::default();

        for seed in 0..HISTORIES {
            // Some nearly honest, in which packets come before there is a violation.
            let one_in = [5, 100, 2000][seed as usize % 3];
            history(&platform, ring, seed, one_in, &mut found);
        }

        assert!(found.packets > 20, "{ring:?}: {found:?}");
        assert!(found.malformed > 20, "{ring:?}: {found:?}");
        assert!(found.violations > 20, "{ring:?}: {found:?}");
        // Every reset was confirmed.
        assert_eq!((platform.memory_used(), platform.leak().queues), (0, 0));
    }
}
