//! The two ends of a queue in modelled memory, each with a bell for the other, and what every
//! scenario does with them.

use std::rc::Rc;
use std::{fmt, mem};

use loom::sync::atomic::{AtomicU32, Ordering};
use ringway_ring::device;
use ringway_ring::driver::{self, Geometry, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

/// Indices begin where the next chain wraps them; positions of a packed ring, at its last place.
const START: u16 = 0xffff;
/// Where the ring is for the device.
const RING: u64 = 0x7000_0000;
/// Where buffers are for the device.
const BUFFERS: u64 = 0x1000;
/// Bytes of what a chain asks, and of what it is answered.
const WORD: usize = size_of::<u64>();

/// A kind of ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) packed: bool,
    pub(crate) features: Features,
}

impl Kind {
    /// All that there are.
    pub(crate) fn all() -> Vec<Self> {
        // Each feature that changes what the programs do with memory, with and without.
        let mut features = vec![Features::NONE];
        for feature in [F::INDIRECT_DESC, F::EVENT_IDX, F::IN_ORDER] {
            let with = features.clone().into_iter().map(|others| others | feature);
            features.extend(with);
        }
        let kind = |packed, features: Features| Self { packed, features };
        let of = |packed| features.iter().map(move |features| kind(packed, *features));
        of(false).chain(of(true)).collect()
    }

    /// The smallest ring that holds so many chains of two segments.
    fn geometry(self, chains: u16) -> Geometry {
        let (size, table) = if self.features.contains(F::INDIRECT_DESC) {
            (chains.max(2), 2)
        } else {
            (chains * 2, 0)
        };
        if self.packed {
            Geometry::packed(size, table).unwrap()
        } else {
            Geometry::new(size, table).unwrap()
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.packed { "packed" } else { "split" };
        write!(f, "{format} with {:?}", self.features)
    }
}

/// Explores every history of `scenario` on a ring of `kind` in which loom takes the processor at
/// most `preemptions` times from an end that could go on.
pub(crate) fn explore(kind: Kind, scenario: fn(Kind), preemptions: usize) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || scenario(kind));
}

/// The ends of a new queue that holds `chains` chains at a time.
pub(crate) fn queue(kind: Kind, chains: u16) -> (Driver, Device) {
    let geometry = kind.geometry(chains);
    let format = if kind.packed {
        F::RING_PACKED
    } else {
        Features::NONE
    };
    let features = kind.features | format;
    let ring = Shared::allocate(geometry.bytes(), Geometry::ALIGN).unwrap();
    let buffers = Shared::allocate(2 * WORD * usize::from(chains), WORD).unwrap();
    let region = |start, memory: &Shared| Region {
        start,
        memory: memory.clone(),
    };
    let map = Map::new(vec![region(RING, &ring), region(BUFFERS, &buffers)]).unwrap();
    let memory = Memory {
        shared: ring,
        address: RING,
    };
    let areas = geometry.areas(RING);
    let (kick, kicked) = bell();
    let (interrupt, interrupted) = bell();
    let driver = Driver {
        queue: driver::Queue::new(&memory, geometry, features, START).unwrap(),
        buffers,
        chains: chains.into(),
        asked: 0,
        answered: 0,
        kick,
        interrupted,
    };
    let device = Device {
        queue: device::Queue::new(&map, geometry.size(), areas, features, START).unwrap(),
        map,
        served: 0,
        kicked,
        interrupt,
    };
    (driver, device)
}

/// What wakes an end that sleeps: how often it rang. It puts nothing else in order.
type Rings = Rc<AtomicU32>;

/// The end of a bell that rings.
struct Bell {
    rings: Rings,
    rung: u32,
}

impl Bell {
    fn ring(&mut self) {
        self.rung += 1;
        self.rings.store(self.rung, Ordering::Relaxed);
    }
}

/// The end of a bell that hears it.
struct Ear {
    rings: Rings,
    heard: u32,
}

impl Ear {
    /// Whether it rang since this was last asked.
    fn hears(&mut self) -> bool {
        let before = mem::replace(&mut self.heard, self.rings.load(Ordering::Relaxed));
        before != self.heard
    }
}

/// Both ends of one.
fn bell() -> (Bell, Ear) {
    let rings = Rings::default();
    let bell = Bell {
        rings: rings.clone(),
        rung: 0,
    };
    (bell, Ear { rings, heard: 0 })
}

/// The driver's end. The chain that is the n-th asks a word, and wants another as the answer.
pub(crate) struct Driver {
    queue: driver::Queue<u64>,
    buffers: Shared,
    /// Most chains in flight, each with buffers of its own.
    chains: u64,
    /// Chains submitted.
    asked: u64,
    /// Chains that came back.
    answered: u64,
    kick: Bell,
    interrupted: Ear,
}

impl Driver {
    /// Submits a chain, if there is room.
    pub(crate) fn ask(&mut self) {
        if self.asked - self.answered == self.chains {
            return;
        }
        let at = self.buffer(self.asked);
        self.buffers
            .view()
            .write_value(at, &question(self.asked))
            .unwrap();
        let segment = |offset: usize| Segment {
            address: BUFFERS + offset as u64,
            len: WORD as u32,
        };
        self.queue
            .submit(&[segment(at)], &[segment(at + WORD)], self.asked)
            .unwrap();
        self.asked += 1;
    }

    /// Publishes what was submitted, and kicks if it should.
    pub(crate) fn kick(&mut self) {
        if self.queue.kick_needed() {
            self.kick.ring();
        }
    }

    /// Takes what has come back, and checks the answers.
    pub(crate) fn poll(&mut self) {
        while let Some(done) = self.queue.poll().unwrap() {
            assert_eq!((done.owner, done.written), (self.answered, WORD as u32));
            let at = self.buffer(done.owner) + WORD;
            let word: u64 = self.buffers.view().read_value(at).unwrap();
            assert_eq!(word, answer(question(done.owner)));
            self.answered += 1;
        }
    }

    /// Polls, and sleeps when there is no more to come and no interrupt is due.
    pub(crate) fn sleep(&mut self) {
        loop {
            self.queue.disarm();
            self.poll();
            if !self.queue.arm() && !self.interrupted.hears() {
                return;
            }
        }
    }

    /// Wakes if it was interrupted, and sleeps again. Says whether it woke.
    pub(crate) fn wakes(&mut self) -> bool {
        let woken = self.interrupted.hears();
        if woken {
            self.sleep();
        }
        woken
    }

    /// Demands that a driver that sleeps has nothing to poll.
    pub(crate) fn is_done(&self) {
        assert_eq!(self.answered, self.asked, "an interrupt was lost");
    }

    /// Where the question of `chain` is, before its answer.
    fn buffer(&self, chain: u64) -> usize {
        (chain % self.chains) as usize * 2 * WORD
    }
}

/// The device's end, which answers each word with another.
pub(crate) struct Device {
    queue: device::Queue,
    map: Map,
    /// Chains served.
    served: u64,
    kicked: Ear,
    interrupt: Bell,
}

impl Device {
    /// Serves what there is, in one batch of at most `most` chains.
    pub(crate) fn serve(&mut self, most: usize) {
        let mut batch = self.queue.batch(&self.map);
        for _ in 0..most {
            let Some(chain) = batch.next_chain().unwrap() else {
                return;
            };
            let word: u64 = batch.readable(&chain).read_value().unwrap();
            assert_eq!(word, question(self.served));
            batch
                .writable(&chain)
                .write(&answer(word).to_ne_bytes())
                .unwrap();
            batch.complete(chain, WORD as u32);
            self.served += 1;
        }
    }

    /// Interrupts if it should.
    pub(crate) fn interrupt(&mut self) {
        if self.queue.interrupt_needed() {
            self.interrupt.ring();
        }
    }

    /// Serves, and sleeps when there is no more to come and no kick is due.
    pub(crate) fn sleep(&mut self) {
        loop {
            self.queue.disarm();
            self.serve(2);
            self.interrupt();
            if !self.queue.arm() && !self.kicked.hears() {
                return;
            }
        }
    }

    /// Wakes if it was kicked, and sleeps again. Says whether it woke.
    pub(crate) fn wakes(&mut self) -> bool {
        let woken = self.kicked.hears();
        if woken {
            self.sleep();
        }
        woken
    }

    /// Demands that a device that sleeps has nothing of `driver` to serve.
    pub(crate) fn is_done(&self, driver: &Driver) {
        assert_eq!(self.served, driver.asked, "a kick was lost");
    }
}

/// What chain `chain` asks.
fn question(chain: u64) -> u64 {
    0x1234_5678_0000_0000 | chain
}

/// The answer.
fn answer(question: u64) -> u64 {
    !question
}
