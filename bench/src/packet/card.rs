//! Our ends as their users have them: the driver of a network card and the card, on a machine of this
//! process whose queues are looked at, as a processor of their own would.
//!
//! The card is connected to a port that returns what it sends. The driver sends the buffer that it
//! received.

use std::error::Error;
use std::sync::Arc;

use ringway_device::Offer;
use ringway_device::net::{self as device, Loopback};
use ringway_driver::bringup::{Acknowledged, Wanted};
use ringway_driver::bus::AnyTransport;
use ringway_driver::dma::DmaBuffer;
use ringway_driver::net::{Card, Direction, Net, Offload, Pair};
use ringway_driver::pci;
use ringway_machine::{Machine, Options, Platform, Run};
use ringway_spec::Features;
use ringway_spec::net::F;

use super::system::cycles;
use super::{BURST, BURSTS, BYTES, Circle, HEADER, SAMPLE_LAPS, SIZE, WARM_LAPS};

/// The card's address, to which packets are sent.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// Room of a buffer, as in a pool of DPDK.
const ROOM: usize = 2048;
/// What neither virtio-user nor vhost has here.
const WITHOUT: Features = F::MRG_RXBUF.union(F::CTRL_VQ);

/// Everything that packets go round in.
pub(super) struct Cards {
    platform: Platform,
    pair: Pair<Platform, DmaBuffer>,
    /// The driver's buffers that are in no ring; the last one is used first, as it is the warmest.
    free: Vec<DmaBuffer>,
    /// Received, to be sent.
    burst: Vec<DmaBuffer>,
    /// Not used here, but nothing goes on without them.
    _card: Net<AnyTransport<Platform>, DmaBuffer>,
    _machine: Machine,
}

impl Cards {
    pub(super) fn new(features: Features) -> Result<Self, Box<dyn Error>> {
        let options = device::Options {
            mac: MAC,
            mtu: None,
            pairs: 1,
            without: WITHOUT,
        };
        let card = device::Net::new(Arc::new(Loopback::default()), options);
        let options = Options {
            offer: Offer::NOTHING.with(features),
            ..Options::default()
        };
        let machine = Machine::builder().run(Run::Polled);
        let machine = machine.pci("card", Box::new(card), options).build()?;
        let platform = machine.platform();
        let found = pci::devices(&platform).flatten().next();
        let transport: AnyTransport<Platform> = Box::new(found.ok_or("no card")?);
        let device = Acknowledged::new(transport)?.driver()?;
        let mut card = Card::open(device, &Wanted::default())?;
        card.set_depth(0, Direction::Receive, SIZE)?;
        card.set_depth(0, Direction::Transmit, SIZE)?;
        let mut card: Net<_, _> = card.start()?;
        let mut pair = card.take_pairs().pop().ok_or("no pair of queues")?;
        let count = 2 * usize::from(SIZE) + BURST;
        let mut free =
            DmaBuffer::several(&platform, count, ROOM).map_err(ringway_driver::Error::from)?;
        pair.receiver.fill(|| free.pop())?;
        let mut this = Self {
            platform,
            pair,
            free,
            burst: Vec::with_capacity(BURST),
            _card: card,
            _machine: machine,
        };
        for number in 0..BURSTS * BURST {
            let mut buffer = this.free.pop().ok_or("no buffers")?;
            buffer.set_len(HEADER + BYTES)?;
            let mut packet = [number as u8; BYTES];
            packet[..6].copy_from_slice(&MAC);
            buffer.write(HEADER, &packet)?;
            this.burst.push(buffer);
            if this.burst.len() == BURST {
                this.send()?;
                this.platform.look();
            }
        }
        Ok(this)
    }

    /// Everybody moves a burst.
    fn lap(&mut self) -> Result<(), ringway_driver::Error> {
        self.receive()?;
        self.send()?;
        self.platform.look();
        Ok(())
    }

    /// Takes a burst, and posts as many buffers.
    #[inline(never)]
    fn receive(&mut self) -> Result<(), ringway_driver::Error> {
        let (burst, free) = (&mut self.burst, &mut self.free);
        let received = self.pair.receiver.receive(
            BURST,
            #[inline(always)]
            |packet| {
                let len = packet.len();
                if let Ok(mut buffer) = packet.into_single()
                    && buffer.set_len(HEADER + len).is_ok()
                {
                    burst.push(buffer);
                }
            },
            || free.pop(),
        )?;
        assert_eq!(received.packets, BURST, "packets were lost");
        Ok(())
    }

    /// Sends what was received. Buffers that were sent are taken back when there is no room, as
    /// virtio-user does.
    #[inline(never)]
    fn send(&mut self) -> Result<(), ringway_driver::Error> {
        let transmitter = &mut self.pair.transmitter;
        let room = transmitter.depth() - transmitter.in_flight();
        if usize::from(room) < self.burst.len() {
            let free = &mut self.free;
            transmitter.reclaim(|mut buffer| {
                let capacity = buffer.capacity();
                if buffer.set_len(capacity).is_ok() {
                    free.push(buffer);
                }
            })?;
        }
        for buffer in self.burst.drain(..) {
            transmitter.send(buffer, &Offload::default())?;
        }
        transmitter.kick()?;
        Ok(())
    }

    /// The packets that are under way are all of those there are, and whole.
    fn check(&mut self) -> Result<(), ringway_driver::Error> {
        let mut numbers: Vec<u8> = Vec::new();
        for _ in 0..BURSTS {
            self.receive()?;
            for buffer in &self.burst {
                let mut packet = [0; BYTES];
                let read = buffer.read(HEADER, &mut packet);
                let whole = packet[6..].iter().all(|byte| *byte == packet[6]);
                assert!(read.is_ok() && packet[..6] == MAC && whole, "torn");
                numbers.push(packet[6]);
            }
            self.send()?;
            self.platform.look();
        }
        numbers.sort_unstable();
        let all = 0..(BURSTS * BURST) as u8;
        assert!(numbers.into_iter().eq(all), "a packet is there twice");
        Ok(())
    }
}

impl Circle for Cards {
    fn turn(&mut self, samples: usize, cycles_each: &mut Vec<f64>) -> Result<(), Box<dyn Error>> {
        for _ in 0..WARM_LAPS {
            self.lap()?;
        }
        for _ in 0..samples {
            let start = cycles();
            for _ in 0..SAMPLE_LAPS {
                self.lap()?;
            }
            let took = cycles().wrapping_sub(start);
            // In a lap a burst crosses each of two virtqueues.
            cycles_each.push(took as f64 / (SAMPLE_LAPS * BURST * 2) as f64);
        }
        Ok(self.check()?)
    }
}
