//! The queues of a network card: honest rings, and in them packets, room for packets and commands of
//! any kind, cut in any way, whose memory may be the same. What is sent comes back. Every packet that is
//! sent and every command is answered, and nothing is written but what was writable.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway_device::Device;
use ringway_device::net::{Alarm, CONTROL_SIZE, Clock, Loopback, Net, Options, QUEUE_SIZE};
use ringway_device::task::{Signal, Task};
use ringway_ring::device::{Queue, Violation};
use ringway_ring::driver::{self, Geometry, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::net::{
    Control, F as NetF, Header, control_queue, header_len, receive_queue, transmit_queue,
};
use ringway_spec::{F, Features};

use crate::input::Input;

/// Where memory is for the device.
const RAM: u64 = 0x4000_0000;
/// Data that the device may write, and data that it may not.
const DATA_BYTES: usize = 256 * 1024;
/// Bytes at the end that belong to nobody.
const GUARD: usize = 4096;
const CANARY: u8 = 0xee;
/// Bytes of the first, each for one answer.
const ACKS: usize = 1024;
const PAIRS: u16 = 2;
/// Most turns until what was sent and told must be done.
const TURNS_MAX: usize = 64;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bench = Bench::new(input.u16());
    while let Some(step) = input.step() {
        match step % 8 {
            0 | 1 => bench.send(step, &mut input),
            2 | 3 => bench.make_room(step, &mut input),
            4 | 5 => bench.command(step, &mut input),
            6 => bench.serve(),
            _ => bench.link(step),
        }
    }
    bench.finish();
    assert_eq!(*bench.told.0.lock().expect("nobody panics"), None);
    bench.check();
}

/// What a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sent,
    Room,
    Command,
}

/// One in flight.
struct Given {
    kind: Kind,
    readable: u32,
    writable: Vec<Segment>,
}

struct Line {
    driver: driver::Queue<Given>,
    task: Task,
}

struct Bench {
    ram: Shared,
    /// Where data begins that is written, that is read, and that is nobody's.
    areas: [usize; 3],
    /// Where the next bytes that are read go.
    next: usize,
    /// Which answer is next.
    acks: usize,
    /// What was put there.
    readable: Vec<u8>,
    lines: Vec<Line>,
    net: Net,
    before: usize,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told(Mutex<Option<Violation>>);

impl Signal for Told {
    fn used(&self, _index: u16) {}

    fn broken(&self, _index: u16, violation: Violation) {
        *self.0.lock().expect("nobody panics") = Some(violation);
    }
}

/// Time that goes by whenever it is looked at.
#[derive(Default)]
struct Ticks(Mutex<Duration>);

struct Deaf;

impl Clock for Ticks {
    fn now(&self) -> Duration {
        let mut now = self.0.lock().expect("nobody panics");
        *now += Duration::from_micros(7);
        *now
    }

    fn alarm(&self, _due: Box<dyn Fn() + Send + Sync>) -> Box<dyn Alarm> {
        Box::new(Deaf)
    }
}

impl Alarm for Deaf {
    fn set(&mut self, _at: Duration) {}
}

impl Bench {
    fn new(bits: u16) -> Self {
        let options = Options {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: Some(1500),
            pairs: PAIRS,
            without: Features::NONE,
        };
        let net = Net::new(Arc::new(Loopback::default()), options);
        let mut net = net.with_clock(Arc::new(Ticks::default()));
        let large = NetF::GUEST_TSO4
            | NetF::GUEST_TSO6
            | NetF::GUEST_ECN
            | NetF::GUEST_UFO
            | NetF::GUEST_USO4
            | NetF::GUEST_USO6;
        let mut features = net.features() | F::VERSION_1;
        for (bit, feature) in [
            (1, NetF::MRG_RXBUF),
            (2, NetF::HASH_REPORT),
            (4, large),
            (8, large | NetF::GUEST_CSUM),
            (16, NetF::CTRL_RX | NetF::CTRL_RX_EXTRA),
            (32, NetF::CTRL_VLAN),
        ] {
            if bits & bit != 0 {
                features = features.difference(feature);
            }
        }
        for (bit, feature) in [
            (256, F::RING_PACKED),
            (512, F::IN_ORDER),
            (1024, F::EVENT_IDX),
            (2048, F::INDIRECT_DESC),
        ] {
            if bits & bit != 0 {
                features |= feature;
            }
        }
        let control = control_queue(PAIRS).expect("few pairs");
        let queues = [
            (receive_queue(0), QUEUE_SIZE),
            (transmit_queue(0), QUEUE_SIZE),
            (control, CONTROL_SIZE),
            (receive_queue(1), QUEUE_SIZE),
            (transmit_queue(1), QUEUE_SIZE),
        ];
        let geometries = queues.map(|(index, size)| {
            let geometry = Geometry::largest(size, 0, features).expect("a size of the format");
            (index, geometry)
        });
        let rings: usize = geometries
            .iter()
            .map(|(_, geometry)| geometry.bytes().next_multiple_of(4096))
            .sum();
        let areas = [rings, rings + DATA_BYTES, rings + 2 * DATA_BYTES];
        let ram = Shared::allocate(areas[2] + GUARD, 4096).expect("small");
        let fill = |at, len| ram.slice(at, len).expect("within").view().fill(CANARY);
        fill(areas[1], DATA_BYTES + GUARD);
        let region = Region {
            start: RAM,
            memory: ram.clone(),
        };
        let map = Arc::new(Map::new(vec![region]).expect("one region"));
        net.negotiated(features);
        let told = Arc::new(Told::default());
        let mut at = 0;
        let mut lines = Vec::new();
        for (index, geometry) in geometries {
            let memory = Memory {
                shared: ram.slice(at, geometry.bytes()).expect("within"),
                address: RAM + at as u64,
            };
            let places = geometry.areas(memory.address);
            let queue = Queue::new(&*map, geometry.size(), places, features, 0);
            lines.push(Line {
                driver: driver::Queue::new(&memory, geometry, features, 0).expect("it fits"),
                task: Task::new(
                    index,
                    queue.expect("it fits"),
                    net.worker(index, features),
                    Arc::new(map.clone()),
                    told.clone(),
                ),
            });
            at += geometry.bytes().next_multiple_of(4096);
        }
        Self {
            ram,
            areas,
            next: 0,
            acks: 0,
            readable: vec![CANARY; DATA_BYTES],
            lines,
            net,
            before: header_len(features),
            told,
        }
    }

    /// Puts bytes where the device reads them, in one piece or several.
    fn readable(&mut self, bytes: &[u8], cut: u8) -> Vec<Segment> {
        if self.next + bytes.len() > DATA_BYTES {
            self.next = 0;
        }
        let at = self.next;
        self.next += bytes.len();
        self.readable[at..at + bytes.len()].copy_from_slice(bytes);
        let place = self.areas[1] + at;
        self.ram.view().write(place, bytes).expect("within");
        let first = usize::from(cut).min(bytes.len());
        let second = (first + usize::from(cut / 2)).min(bytes.len());
        [(0, first), (first, second), (second, bytes.len())]
            .into_iter()
            .filter(|(begin, end)| begin != end)
            .map(|(begin, end)| Segment {
                address: RAM + (place + begin) as u64,
                len: (end - begin) as u32,
            })
            .collect()
    }

    /// A byte that the device may write, and nobody else: there are more than commands in flight.
    fn ack(&mut self) -> Segment {
        self.acks = (self.acks + 1) % ACKS;
        Segment {
            address: RAM + (self.areas[0] + self.acks) as u64,
            len: 1,
        }
    }

    /// Memory that the device may write.
    fn writable(&self, at: u16, len: usize) -> Segment {
        let at = ACKS + usize::from(at) % (DATA_BYTES - ACKS);
        Segment {
            address: RAM + (self.areas[0] + at) as u64,
            len: len.clamp(1, DATA_BYTES - at) as u32,
        }
    }

    fn submit(&mut self, line: usize, kind: Kind, readable: &[Segment], writable: Vec<Segment>) {
        let line = &mut self.lines[line];
        if !line.driver.has_room(readable.len() + writable.len()) {
            return;
        }
        let given = Given {
            kind,
            readable: readable.iter().map(|segment| segment.len).sum(),
            writable: writable.clone(),
        };
        let submitted = line.driver.submit(readable, &writable, given);
        assert!(submitted.is_ok(), "there was room");
    }

    /// Sends a packet, which is one of some kinds, and then changed.
    fn send(&mut self, step: u8, input: &mut Input<'_>) {
        let (kind, cut) = (input.u8(), input.u8());
        let mut bytes = vec![0; self.before];
        bytes[0] = input.u8();
        for (place, count) in [(1, 1), (2, 2), (4, 2)] {
            let value = input.u16().to_le_bytes();
            bytes[place..place + count].copy_from_slice(&value[..count]);
        }
        let packet = packet(kind, usize::from(input.u16() % 4096) << (kind >> 6));
        // Where a checksum is, or anywhere.
        let (start, offset) = match kind & 0x20 {
            0 => (34 + u16::from(kind & 4) * 5, 16 - u16::from(kind & 1) * 10),
            _ => (input.u16(), input.u16()),
        };
        bytes[6..8].copy_from_slice(&start.to_le_bytes());
        bytes[8..10].copy_from_slice(&offset.to_le_bytes());
        bytes.extend(packet);
        for _ in 0..step >> 5 {
            let at = usize::from(input.u16());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = input.u8();
            }
        }
        if step & 0x10 != 0 {
            bytes.truncate(usize::from(input.u8()) / 4);
        }
        if bytes.is_empty() {
            return;
        }
        let readable = self.readable(&bytes, cut);
        let line = if step & 8 == 0 { 1 } else { 4 };
        // What is writable beside it is nobody's business.
        let writable = match kind & 0x1f {
            0x1f => vec![self.writable(input.u16(), 16)],
            _ => Vec::new(),
        };
        self.submit(line, Kind::Sent, &readable, writable);
    }

    /// Gives room for packets: buffers that may be tiny, and may lie over each other.
    fn make_room(&mut self, step: u8, input: &mut Input<'_>) {
        let line = if step & 8 == 0 { 0 } else { 3 };
        for _ in 0..=step >> 5 {
            let pieces = usize::from(input.u8() % 3) + 1;
            let writable = (0..pieces)
                .map(|_| {
                    let (at, len) = (input.u16(), input.u16());
                    let len = match len & 1 {
                        0 => usize::from(len % 64),
                        _ => usize::from(len),
                    };
                    self.writable(at, len)
                })
                .collect();
            self.submit(line, Kind::Room, &[], writable);
        }
    }

    /// Tells the card something: a command of some kinds, whose data may be anything.
    fn command(&mut self, step: u8, input: &mut Input<'_>) {
        const COMMANDS: [(Control, usize); 20] = [
            (Control::RX_PROMISC, 1),
            (Control::RX_ALLMULTI, 1),
            (Control::RX_NOBCAST, 1),
            (Control::MAC_TABLE_SET, 20),
            (Control::MAC_ADDR_SET, 6),
            (Control::VLAN_ADD, 2),
            (Control::VLAN_DEL, 2),
            (Control::ANNOUNCE_ACK, 0),
            (Control::MQ_VQ_PAIRS_SET, 2),
            (Control::MQ_RSS_CONFIG, 8 + 4 + 3 + 40),
            (Control::MQ_HASH_CONFIG, 13 + 40),
            (Control::GUEST_OFFLOADS_SET, 8),
            (Control::NOTF_COAL_TX_SET, 8),
            (Control::NOTF_COAL_RX_SET, 8),
            (Control::NOTF_COAL_VQ_SET, 12),
            (Control::NOTF_COAL_VQ_GET, 4),
            (Control::STATS_QUERY, 0),
            (Control::STATS_GET, 16),
            (Control::new(9, 9), 4),
            (Control::new(0, 77), 1),
        ];
        let (which, cut) = (input.u8(), input.u8());
        let (control, len) = COMMANDS[usize::from(which) % COMMANDS.len()];
        let mut bytes = vec![control.class, control.command];
        bytes.extend((0..len).map(|_| input.u8()));
        match control {
            // So that it is what it says, but for what the input changes.
            Control::MAC_TABLE_SET if step & 0x20 == 0 => {
                bytes[2..6].copy_from_slice(&[1, 0, 0, 0]);
                bytes[12..16].copy_from_slice(&[1, 0, 0, 0]);
            }
            Control::MQ_RSS_CONFIG if step & 0x20 == 0 => {
                bytes[2..10].copy_from_slice(&[0x3f, 0, 0, 0, 1, 0, 0, 0]);
                bytes[10..17].copy_from_slice(&[1, 0, 0, 0, 1, 0, 40]);
            }
            Control::MQ_HASH_CONFIG if step & 0x20 == 0 => {
                bytes[2..15].copy_from_slice(&[0x3f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40]);
            }
            Control::STATS_GET if step & 0x20 == 0 => {
                bytes[2..10].copy_from_slice(&[which % 6, 0, 0, 0, 0, 0, 0, 0]);
            }
            _ => {}
        }
        match step >> 6 {
            0 => bytes.truncate(usize::from(cut) % (bytes.len() + 1)),
            1 => bytes.extend(vec![which; usize::from(cut) * 70]),
            _ => {}
        }
        let readable = match bytes.is_empty() {
            true => Vec::new(),
            false => self.readable(&bytes, cut),
        };
        let room = usize::from(input.u8());
        let writable = match room {
            0 => Vec::new(),
            1 => vec![self.ack()],
            _ => vec![self.ack(), self.writable(input.u16(), room)],
        };
        if readable.is_empty() && writable.is_empty() {
            return;
        }
        self.submit(2, Kind::Command, &readable, writable);
    }

    fn link(&mut self, step: u8) {
        let link = self.net.link();
        match step >> 6 {
            0 => link.set_up(step & 8 == 0),
            1 => link.set_speed(Some(u32::from(step)), None),
            2 => {
                link.announce();
            }
            _ => self.net.read_config(usize::from(step & 0x3f), &mut [0; 9]),
        }
    }

    fn serve(&mut self) {
        for line in &mut self.lines {
            line.driver.kick_needed();
            line.task.run();
            while let Some(done) = line.driver.poll().expect("the device keeps to the rules") {
                let given = done.owner;
                let room: u32 = given.writable.iter().map(|segment| segment.len).sum();
                assert!(done.written <= room, "more than there is room for");
                match given.kind {
                    // Nothing is written to what is sent (§5.1.9.2).
                    Kind::Sent => assert_eq!(done.written, 0),
                    Kind::Room => {}
                    Kind::Command => {
                        let (Some(ack), true) = (given.writable.first(), done.written != 0) else {
                            assert!(room == 0, "a command without an answer");
                            continue;
                        };
                        let mut byte = [CANARY];
                        let at = (ack.address - RAM) as usize;
                        self.ram.view().read(at, &mut byte).expect("within");
                        assert!(byte[0] <= 1, "no answer");
                        assert!(given.readable >= 2 || byte[0] == 1, "half a command");
                    }
                }
            }
        }
    }

    /// Serves until what was sent and told is done.
    fn finish(&mut self) {
        for _ in 0..TURNS_MAX {
            self.serve();
            let waiting = [1, 2, 4].map(|line| self.lines[line].driver.in_flight());
            if waiting == [0; 3] {
                return;
            }
        }
        panic!("what was sent or told is never done");
    }

    /// Nothing was written that was not writable.
    fn check(&self) {
        let mut bytes = vec![0; DATA_BYTES + GUARD];
        let view = self.ram.view();
        view.read(self.areas[1], &mut bytes).expect("within");
        assert!(bytes[..DATA_BYTES] == self.readable);
        assert!(bytes[DATA_BYTES..].iter().all(|&byte| byte == CANARY));
    }
}

/// A packet with `len` bytes of payload: of TCP or UDP, over IPv4 or IPv6, with a tag or without.
fn packet(kind: u8, len: usize) -> Vec<u8> {
    let (udp, v6, tagged) = (kind & 1 != 0, kind & 4 != 0, kind & 8 != 0);
    let mut packet = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if kind & 2 != 0 {
        packet[..6].fill(0xff);
    }
    if tagged {
        packet.extend([0x81, 0, 0, 5]);
    }
    let transport = if udp { 8 } else { 20 };
    let number = if udp { 17 } else { 6 };
    if v6 {
        packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        packet.extend(((transport + len) as u16).to_be_bytes());
        packet.extend([number, 64]);
        packet.extend([0x20; 32]);
    } else {
        packet.extend([8, 0, 0x45, 0]);
        packet.extend(((20 + transport + len) as u16).to_be_bytes());
        packet.extend([0, 7, 0x40, 0, 64, number, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
    }
    packet.extend([0, 80, 0x12, 0x34]);
    if udp {
        packet.extend(((8 + len) as u16).to_be_bytes());
        packet.extend([0, 0]);
    } else {
        packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 4, 0, 0, 0, 0, 0]);
    }
    packet.resize(packet.len() + len, 0xa5);
    packet
}

const _: () = assert!(size_of::<Header>() == 12);
