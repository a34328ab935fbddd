//! The driver's end of a split queue, on a device that does as it likes between any two of its
//! calls.

use ringway_ring::driver::{Geometry, Memory, Queue, Segment, Token};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features, split};

use crate::input::Input;

/// Bytes before and after the ring that are not the queue's.
const GUARD: usize = 4096;
const CANARY: u8 = 0xee;
/// Where the ring is for the device.
const RING: u64 = 0x7000_0000_0000;

/// A chain that the driver submitted.
struct Sent {
    token: Token,
    writable: u32,
    back: bool,
}

struct Bench {
    memory: Shared,
    ring: Shared,
    geometry: Geometry,
    queue: Queue<usize>,
    sent: Vec<Sent>,
    /// The used index as the device keeps it, when it is honest.
    used: u16,
    /// Something was submitted since the driver last asked whether to kick.
    news: bool,
}

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let size = 1_u16 << (input.u8() % 8);
    let setup = input.u8();
    let table = if setup & 1 != 0 { size.min(4) } else { 0 };
    let mut features = Features::NONE;
    for (bit, feature) in [
        (2, F::INDIRECT_DESC),
        (4, F::EVENT_IDX),
        (8, F::ORDER_PLATFORM),
    ] {
        if setup & bit != 0 {
            features |= feature;
        }
    }
    let start = input.u16();
    let mut bench = Bench::new(size, table, features, start);
    while let Some(step) = input.step() {
        bench.step(step, &mut input);
        assert_eq!(usize::from(bench.queue.in_flight()), bench.outstanding());
    }
    bench.finish();
}

impl Bench {
    fn new(size: u16, table: u16, features: Features, start: u16) -> Self {
        let geometry = Geometry::new(size, table).expect("a power of two");
        let bytes = geometry.bytes();
        let memory = Shared::allocate(GUARD + bytes + GUARD, 4096).expect("small");
        memory.view().fill(CANARY);
        let ring = memory.slice(GUARD, bytes).expect("within");
        let lent = Memory {
            shared: ring.clone(),
            address: RING,
        };
        let queue = Queue::new(&lent, geometry, features, start).expect("large enough");
        Self {
            memory,
            ring,
            geometry,
            queue,
            sent: Vec::new(),
            used: start,
            news: false,
        }
    }

    fn outstanding(&self) -> usize {
        self.sent.iter().filter(|sent| !sent.back).count()
    }

    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        let area = (self.geometry.areas(RING).device - RING) as usize;
        let slot = |index: u16| usize::from(index % self.geometry.size()) * 8;
        match step % 12 {
            0..=2 => self.submit(input),
            3 => self.poll(),
            4 => {
                // No more than what is in flight comes back.
                for _ in 0..=self.queue.in_flight() {
                    self.poll();
                }
            }
            5 => {
                self.queue.arm();
            }
            6 => self.queue.disarm(),
            7 => {
                let needed = self.queue.kick_needed();
                assert!(self.news || !needed, "a kick for nothing");
                self.news = false;
            }
            8 | 9 => {
                // As an honest device does, unless it errs in what it says.
                let (which, len) = (usize::from(input.u8()), input.u32());
                let open = self.sent.iter().filter(|sent| !sent.back);
                if let Some(sent) = open.cycle().take(256).nth(which) {
                    let len = if step & 0x80 == 0 {
                        len % (sent.writable + 1)
                    } else {
                        len
                    };
                    let element = u64::from(sent.token.id()) | u64::from(len) << 32;
                    self.write(area + split::RING + slot(self.used), &element.to_le_bytes());
                    self.used = self.used.wrapping_add(1);
                    self.write(area + split::INDEX, &self.used.to_le_bytes());
                }
            }
            10 => {
                let (at, value) = (input.u16(), input.u64());
                match at % 4 {
                    0 => self.write(area + split::RING + slot(at / 4), &value.to_le_bytes()),
                    1 => self.write(area + split::INDEX, &(value as u16).to_le_bytes()),
                    2 => self.write(area + split::FLAGS, &(value as u16).to_le_bytes()),
                    _ => {
                        let event = split::avail_event_offset(self.geometry.size());
                        self.write(area + event, &(value as u16).to_le_bytes());
                    }
                }
            }
            _ => {
                let (at, value) = (usize::from(input.u16()), input.u64());
                self.write(at % (self.ring.len() - 8), &value.to_le_bytes());
            }
        }
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        self.ring.view().write(at, bytes).expect("within");
    }

    fn submit(&mut self, input: &mut Input<'_>) {
        let shape = input.u8();
        let segments = |count: u8, input: &mut Input<'_>| -> Vec<Segment> {
            let segment = |_| Segment {
                address: u64::from(input.u16()),
                len: u32::from(input.u8()),
            };
            (0..count).map(segment).collect()
        };
        let readable = segments(shape & 7, input);
        let writable = segments(shape >> 3 & 7, input);
        let owner = self.sent.len();
        match self.queue.submit(&readable, &writable, owner) {
            Ok(token) => {
                let twin = |sent: &Sent| !sent.back && sent.token.id() == token.id();
                assert!(!self.sent.iter().any(twin), "an id of two chains");
                self.sent.push(Sent {
                    token,
                    writable: writable.iter().map(|segment| segment.len).sum(),
                    back: false,
                });
                self.news = true;
            }
            Err(rejected) => assert_eq!(rejected.owner, owner),
        }
    }

    fn poll(&mut self) {
        let before = self.queue.violation();
        match self.queue.poll() {
            Ok(Some(done)) => {
                assert!(before.is_none(), "a broken queue gives nothing back");
                let sent = self.sent.get_mut(done.owner).expect("was submitted");
                assert!(!sent.back, "an owner came back twice");
                assert_eq!(done.token, sent.token);
                assert!(done.written <= sent.writable);
                sent.back = true;
            }
            Ok(None) => assert!(before.is_none()),
            Err(violation) => {
                assert!(before.is_none_or(|before| before == violation));
                assert_eq!(self.queue.violation(), Some(violation), "latched");
            }
        }
    }

    /// After a reset, all that is out comes home, once.
    fn finish(mut self) {
        for _ in 0..self.outstanding() {
            let owner = self.queue.reclaim().expect("an owner was lost");
            let sent = self.sent.get_mut(owner).expect("was submitted");
            assert!(!sent.back, "an owner came back twice");
            sent.back = true;
        }
        assert_eq!(self.queue.reclaim(), None);
        let mut bytes = vec![0; self.memory.len()];
        self.memory.view().read(0, &mut bytes).expect("all of it");
        let after = GUARD + self.ring.len();
        let guards = bytes[..GUARD].iter().chain(&bytes[after..]);
        assert!(
            guards.copied().all(|byte| byte == CANARY),
            "written outside the ring"
        );
    }
}
