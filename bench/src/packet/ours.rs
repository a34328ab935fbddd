//! Our ends: a driver and a device on one processor, joined by two virtqueues, between which packets
//! go round.
//!
//! The device copies a packet out of the driver's buffer into one of its own, and from there into a
//! buffer that the driver has posted. The driver sends the buffer that it received.

use std::error::Error;
use std::io;

use ringway_ring::device;
use ringway_ring::driver::{Geometry, Memory, Queue, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Words;
use ringway_spec::Features;

use super::system::{cycles, memory};
use super::{BURST, BURSTS, BYTES, Circle, HEADER, SAMPLE_LAPS, SIZE, WARM_LAPS};

/// Where the driver's memory begins, for the device.
const RAM: u64 = 0x10_0000;
/// Where buffers begin in it: after the rings.
const BUFFERS: usize = 0x1_0000;
/// Bytes from a buffer to the next, as in a pool of DPDK: room for 2048, and what precedes them. An
/// odd number of lines, so that buffers spread over all of the cache.
const STRIDE: usize = 37 * 64;
/// Where in a buffer the header begins, so that the packet fills one line of the cache.
const FRONT: usize = 64 - HEADER;
/// Bytes of header and packet.
const FRAME: usize = HEADER + BYTES;
/// The header that the device gives a packet: nothing is offloaded, and it is in one buffer.
const RECEIVED: [u8; HEADER] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
/// Buffers of the driver: what both rings hold, and a burst. The device has as many.
const COUNT: usize = 2 * SIZE as usize + BURST;

/// A buffer of the driver, by its number.
#[derive(Clone, Copy)]
struct Buffer(u16);

/// A buffer of the device: header and packet, at [`FRONT`].
#[derive(Clone)]
#[repr(align(64))]
struct Private([u8; STRIDE]);

impl Private {
    fn frame(&mut self) -> &mut [u8] {
        &mut self.0[FRONT..FRONT + FRAME]
    }
}

/// A virtqueue, both ends.
struct Joined {
    driver: Queue<Buffer>,
    device: device::Queue,
}

/// Everything that packets go round in.
pub(super) struct Rings {
    map: Map,
    /// From driver to device.
    sent: Joined,
    /// From device to driver.
    received: Joined,
    /// The driver's memory, for the headers that it writes.
    headers: Words<u32>,
    /// The driver's buffers that are in no ring; the last one is used first, as it is the warmest.
    free: Vec<Buffer>,
    /// Received, to be sent.
    burst: Vec<Buffer>,
    /// The device's buffers, used in turn. Those from `oldest` up to `next` have packets.
    private: Vec<Private>,
    oldest: usize,
    next: usize,
}

impl Rings {
    pub(super) fn new(features: Features) -> io::Result<Self> {
        let packed = features.contains(ringway_spec::F::RING_PACKED);
        let geometry = if packed {
            Geometry::packed(SIZE, 0)
        } else {
            Geometry::new(SIZE, 0)
        };
        let geometry = geometry.expect("256 descriptors can be");
        let bytes = (BUFFERS + COUNT * STRIDE).next_power_of_two();
        let ram = memory(bytes)?;
        let map = Map::new(vec![Region {
            start: RAM,
            memory: ram.clone(),
        }])
        .expect("one region");
        assert!(geometry.bytes() <= BUFFERS / 2, "both rings fit");
        let join = |offset: usize| {
            let address = RAM + offset as u64;
            let shared = ram.slice(offset, BUFFERS / 2).expect("rings come first");
            let memory = Memory { shared, address };
            let mut driver = Queue::new(&memory, geometry, features, 0).expect("it fits");
            let mut device = device::Queue::new(&map, SIZE, geometry.areas(address), features, 0)
                .expect("the ring lies in memory");
            driver.disarm();
            device.disarm();
            Joined { driver, device }
        };
        let (sent, received) = (join(0), join(BUFFERS / 2));
        let mut this = Self {
            sent,
            received,
            map,
            headers: Words::new(&ram, 0, bytes / 4).expect("all of it"),
            free: (0..COUNT as u16).map(Buffer).collect(),
            burst: Vec::with_capacity(BURST),
            private: vec![Private([0; STRIDE]); COUNT],
            oldest: 0,
            next: BURSTS * BURST,
        };
        this.post(usize::from(SIZE));
        for number in 0..BURSTS * BURST {
            this.private[number].frame()[HEADER..].fill(number as u8);
        }
        for _ in 0..BURSTS {
            assert_eq!(this.device_sends(), BURST, "buffers are posted");
        }
        this.drive();
        Ok(this)
    }

    /// Everybody moves a burst: what the other one moved a lap ago.
    fn lap(&mut self) {
        assert_eq!(self.device_receives(), BURST, "packets were lost");
        assert_eq!(self.device_sends(), BURST, "packets were lost");
        self.drive();
    }

    fn drive(&mut self) {
        assert_eq!(self.driver_receives(), BURST, "packets were lost");
        self.driver_sends();
    }

    /// Copies up to a burst out of the driver's buffers.
    #[inline(never)]
    fn device_receives(&mut self) -> usize {
        let mut moved = 0;
        let mut batch = self.sent.device.batch(&self.map);
        while moved < BURST
            && let Ok(Some(chain)) = batch.next_chain()
        {
            let to = &mut self.private[self.next];
            if batch.readable(&chain).read(to.frame()).is_err() {
                return moved;
            }
            to.frame()[..HEADER].copy_from_slice(&RECEIVED);
            self.next = after(self.next);
            batch.complete(chain, 0);
            moved += 1;
        }
        drop(batch);
        assert!(!self.sent.device.interrupt_needed(), "it is off");
        moved
    }

    /// Copies a burst into buffers that the driver has posted.
    #[inline(never)]
    fn device_sends(&mut self) -> usize {
        let mut moved = 0;
        let mut batch = self.received.device.batch(&self.map);
        while moved < BURST
            && self.oldest != self.next
            && let Ok(Some(chain)) = batch.next_chain()
        {
            let frame = self.private[self.oldest].frame();
            if batch.writable(&chain).write(frame).is_err() {
                return moved;
            }
            batch.complete(chain, FRAME as u32);
            self.oldest = after(self.oldest);
            moved += 1;
        }
        drop(batch);
        assert!(!self.received.device.interrupt_needed(), "it is off");
        moved
    }

    /// Takes up to a burst, and posts as many buffers.
    #[inline(never)]
    fn driver_receives(&mut self) -> usize {
        while self.burst.len() < BURST
            && let Ok(Some(completion)) = self.received.driver.poll()
        {
            assert_eq!(completion.written as usize, FRAME, "a packet was cut");
            self.burst.push(completion.owner);
        }
        self.post(self.burst.len());
        self.burst.len()
    }

    /// Sends what was received. Buffers that were sent are taken back when there is no room, as
    /// virtio-user does.
    #[inline(never)]
    fn driver_sends(&mut self) {
        if !self.sent.driver.has_room(self.burst.len()) {
            while let Ok(Some(completion)) = self.sent.driver.poll() {
                self.free.push(completion.owner);
            }
        }
        for buffer in self.burst.drain(..) {
            let at = start(buffer) / 4;
            for word in at..at + HEADER / 4 {
                self.headers.store(word, 0);
            }
            let sent = self.sent.driver.submit(&[segment(buffer)], &[], buffer);
            assert!(sent.is_ok(), "there is room");
        }
        assert!(!self.sent.driver.kick_needed(), "it is off");
    }

    /// Posts `count` buffers to be received into.
    fn post(&mut self, count: usize) {
        for _ in 0..count {
            let Some(buffer) = self.free.pop() else {
                return;
            };
            let posted = self.received.driver.submit(&[], &[segment(buffer)], buffer);
            assert!(posted.is_ok(), "there is room");
        }
        assert!(!self.received.driver.kick_needed(), "it is off");
    }

    /// The packets that the device had last are all of those there are, and whole.
    fn check(&mut self) {
        let mut numbers: Vec<u8> = Vec::new();
        for back in 1..=BURSTS * BURST {
            let frame = self.private[(self.next + COUNT - back) % COUNT].frame();
            let packet = &frame[HEADER..];
            assert!(packet.iter().all(|byte| *byte == packet[0]), "torn");
            numbers.push(packet[0]);
        }
        numbers.sort_unstable();
        let all = 0..(BURSTS * BURST) as u8;
        assert!(numbers.into_iter().eq(all), "a packet is there twice");
    }
}

impl Circle for Rings {
    fn turn(&mut self, samples: usize, cycles_each: &mut Vec<f64>) -> Result<(), Box<dyn Error>> {
        for _ in 0..WARM_LAPS {
            self.lap();
        }
        for _ in 0..samples {
            let start = cycles();
            for _ in 0..SAMPLE_LAPS {
                self.lap();
            }
            let took = cycles().wrapping_sub(start);
            // In a lap a burst crosses each of two virtqueues.
            cycles_each.push(took as f64 / (SAMPLE_LAPS * BURST * 2) as f64);
        }
        self.check();
        Ok(())
    }
}

/// The device's buffer after one of them.
fn after(number: usize) -> usize {
    let next = number + 1;
    if next == COUNT { 0 } else { next }
}

/// Where the header of a buffer begins in the driver's memory.
fn start(buffer: Buffer) -> usize {
    BUFFERS + usize::from(buffer.0) * STRIDE + FRONT
}

fn segment(buffer: Buffer) -> Segment {
    Segment {
        address: RAM + start(buffer) as u64,
        len: FRAME as u32,
    }
}
