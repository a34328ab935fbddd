//! A device that is killed at any moment, again and again, and a successor that goes on with the record
//! of what was in flight: every request is completed, and once.
//!
//! Built with `--cfg ringway_interpose` it dies between any two stores, else between its calls only.

use std::collections::BTreeSet;

use fastrand::Rng;
use ringway_ring::device::{Chain, Queue, Violation};
use ringway_ring::driver::{self, Geometry, Memory, Segment};
use ringway_ring::ledger::{Ledger, Start};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::packed::{self, DescriptorFlags};
use ringway_spec::{F, Features, split};
use ringway_vhost::ledger::{Record, RecordError, Ring, RingFormat, RingLedger};

/// Where the ring is, for the device.
const RING: u64 = 0x1_0000;
/// Where buffers are.
const BUFFERS: u64 = 0x10_0000;
const BUFFER_BYTES: usize = 0x1_0000;

const HISTORIES: u64 = 1500;
const STEPS: usize = 60;

/// Lets the device make `count` more stores; says whether it made all that it was let.
#[cfg(ringway_interpose)]
fn kill_after(count: u64) -> bool {
    ringway_ring::interpose::kill_after(count) == 0
}

#[cfg(not(ringway_interpose))]
fn kill_after(_: u64) -> bool {
    false
}

/// Whether the device was killed: what it goes on to do is seen by nobody, and what it keeps in shared
/// memory of its own is not what it wrote.
#[cfg(ringway_interpose)]
fn is_dead() -> bool {
    let left = ringway_ring::interpose::kill_after(0);
    ringway_ring::interpose::kill_after(left);
    left == 0
}

#[cfg(not(ringway_interpose))]
fn is_dead() -> bool {
    false
}

struct Table {
    size: u16,
    features: Features,
    map: Map,
    ring: Shared,
    record: Shared,
    geometry: Geometry,
    driver: driver::Queue<u64>,
    /// What it began with.
    start: u16,
    submitted: u64,
    outstanding: BTreeSet<u64>,
}

/// The device, while it lives.
struct Life {
    queue: Queue,
    kept: Vec<Chain>,
    /// How many of what its predecessor had taken it has not taken again.
    again: usize,
}

impl Table {
    fn new(size: u16, features: Features, start: u16) -> Self {
        let geometry = if features.contains(F::RING_PACKED) {
            Geometry::packed(size, 4.min(size))
        } else {
            Geometry::new(size, 4.min(size))
        };
        let geometry = geometry.expect("it can be");
        let ring = Shared::allocate(geometry.bytes(), 64).expect("small");
        let buffers = Shared::allocate(BUFFER_BYTES, 64).expect("small");
        let memory = Memory {
            shared: ring.clone(),
            address: RING,
        };
        let driver = driver::Queue::new(&memory, geometry, features, start).expect("it fits");
        let format = if geometry.is_packed() {
            RingFormat::Packed
        } else {
            RingFormat::Split
        };
        let record = Shared::allocate(Record::bytes(format, size), 64).expect("small");
        let region = |start, memory: &Shared| Region {
            start,
            memory: memory.clone(),
        };
        let map = Map::new(vec![region(RING, &ring), region(BUFFERS, &buffers)]).expect("apart");
        let mut this = Self {
            size,
            features,
            map,
            ring,
            record,
            geometry,
            driver,
            start,
            submitted: 0,
            outstanding: BTreeSet::new(),
        };
        if !geometry.is_packed() {
            // As a device left it that was served so far.
            let used = geometry.areas(0).device as usize + split::INDEX;
            this.ring
                .view()
                .write(used, &start.to_le_bytes())
                .expect("there");
        }
        this.driver.kick_needed();
        this
    }

    /// A device that finds what its predecessor has left.
    fn be_born(&self) -> Result<Life, Violation> {
        let (record, start) = self.open().expect("the record is whole");
        self.begin(record, &start)
    }

    fn open(&self) -> Result<(Record, Start), RecordError> {
        let base = if self.geometry.is_packed() {
            let wrap = if (self.start / self.size).is_multiple_of(2) {
                packed::EVENT_WRAP
            } else {
                0
            };
            (self.start % self.size) | wrap
        } else {
            self.start
        };
        let base = Start {
            used: base,
            in_flight: vec![],
        };
        let word = |offset: usize| -> u16 { self.ring.view().read_value(offset).expect("there") };
        let flags = |place: u16| {
            DescriptorFlags::from_bits_retain(u16::from_le(word(usize::from(place) * 16 + 14)))
        };
        let ring = if self.geometry.is_packed() {
            Ring::Packed(&flags)
        } else {
            let at = self.geometry.areas(0).device as usize + split::INDEX;
            Ring::Split(u16::from_le(word(at)))
        };
        Record::open(&self.record, self.size, base, ring)
    }

    fn begin(&self, record: Record, start: &Start) -> Result<Life, Violation> {
        let ledger = RingLedger {
            record: Some(record),
            ..RingLedger::default()
        };
        let areas = self.geometry.areas(RING);
        let ledger = Some(Box::new(ledger) as Box<dyn Ledger>);
        let queue = Queue::resume(&self.map, self.size, areas, self.features, start, ledger)?;
        Ok(Life {
            queue,
            kept: Vec::new(),
            again: start.in_flight.len(),
        })
    }

    /// Serves what there is, whatever it is, and says whether that began. What a record in disorder has
    /// in flight may break any rule: it ends with a violation, or with all given back.
    fn goes_on(&self, record: Record, start: &Start) -> bool {
        let Ok(mut life) = self.begin(record, start) else {
            return false;
        };
        let mut batch = life.queue.batch(&self.map);
        while let Ok(Some(chain)) = batch.next_chain() {
            let written = chain.writable_bytes();
            batch.complete(chain, written);
        }
        true
    }

    /// The driver gives some chains, and takes what is done.
    fn drive(&mut self, random: &mut Rng) {
        for _ in 0..random.u64(..4) {
            let count = random.usize(1..=3);
            let segment = |nth: usize| Segment {
                address: BUFFERS + nth as u64 * 64,
                len: 16,
            };
            let segments: Vec<_> = (0..count).map(segment).collect();
            let (readable, writable) = segments.split_at(random.usize(..=count));
            let number = self.submitted;
            if self.driver.submit(readable, writable, number).is_ok() {
                self.submitted += 1;
                self.outstanding.insert(number);
            }
        }
        self.driver.kick_needed();
        while let Some(done) = self.driver.poll().expect("the device breaks no rule") {
            assert!(self.outstanding.remove(&done.owner), "completed twice");
        }
    }
}

impl Life {
    /// Takes some chains, and gives some back, in any order.
    fn live(&mut self, map: &Map, random: &mut Rng, all: bool) {
        // Who is to stop takes none but those that were taken before.
        let stops = !all && random.u64(..4) == 0;
        let mut batch = if stops {
            self.queue.last_batch(map)
        } else {
            self.queue.batch(map)
        };
        let mut turns = random.u64(..10);
        while all || turns != 0 {
            turns = turns.saturating_sub(1);
            if all || random.bool() {
                match batch.next_chain() {
                    Ok(Some(chain)) => {
                        assert!(!stops || self.again != 0, "taken by one that stops");
                        self.again = self.again.saturating_sub(1);
                        self.kept.push(chain);
                    }
                    Ok(None) if all && self.kept.is_empty() => break,
                    Ok(None) => {}
                    Err(_) if is_dead() => return,
                    Err(violation) => panic!("the driver breaks no rule: {violation}"),
                }
            }
            // Also before others are taken in the same batch.
            if !self.kept.is_empty() && random.bool() {
                let at = random.usize(..self.kept.len());
                let chain = self.kept.swap_remove(at);
                let written = chain.writable_bytes();
                batch.complete(chain, written);
            }
            if random.u64(..4) == 0 {
                batch.publish();
            }
        }
    }
}

fn history(seed: u64, features: Features) {
    let mut random = Rng::with_seed(seed);
    let packed = features.contains(F::RING_PACKED);
    let size = if packed {
        random.u16(1..=12)
    } else {
        1 << random.u64(..4)
    };
    let start = if packed {
        random.u16(..size * 2)
    } else {
        0xfff0_u16.wrapping_add(random.u16(..32))
    };
    let mut table = Table::new(size, features, start);
    let mut deaths = 0;
    let mut life = None;
    for step in 0..STEPS {
        table.drive(&mut random);
        let is_last = step + 1 == STEPS;
        let stores = if is_last { u64::MAX } else { random.u64(..60) };
        kill_after(stores);
        let mut alive = match life.take() {
            Some(alive) => alive,
            None => table.be_born().expect("it can go on"),
        };
        alive.live(&table.map, &mut random, is_last);
        if is_last {
            // Until nothing is left of what was resumed, either.
            alive.live(&table.map, &mut random, true);
        }
        let killed = kill_after(u64::MAX) || (!cfg!(ringway_interpose) && random.u64(..3) == 0);
        if killed && !is_last {
            deaths += 1;
        } else {
            life = Some(alive);
        }
    }
    table.drive(&mut random);
    let mut alive = match life {
        Some(alive) => alive,
        None => table.be_born().expect("it can go on"),
    };
    alive.live(&table.map, &mut random, true);
    while let Some(done) = table.driver.poll().expect("the device breaks no rule") {
        assert!(table.outstanding.remove(&done.owner), "completed twice");
    }
    assert!(
        table.outstanding.is_empty(),
        "{:?} never completed after {deaths} deaths",
        table.outstanding
    );
}

fn histories(features: Features) {
    for seed in 0..HISTORIES {
        let ended = std::panic::catch_unwind(|| history(seed, features));
        assert!(ended.is_ok(), "seed {seed} with {features:?}");
    }
}

/// Devices' defect 10: saved state is believed.
#[test]
fn a_record_that_was_changed_anywhere_is_refused_or_leads_to_a_queue_that_can_be_served() {
    let (mut begun, mut refused) = (0, 0);
    for seed in 0..4000 {
        let mut random = Rng::with_seed(seed);
        let features = [F::INDIRECT_DESC, F::RING_PACKED | F::IN_ORDER][seed as usize % 2];
        let mut table = Table::new(8, F::VERSION_1 | features, 0xfffd % 16);
        let mut alive = table.be_born().expect("nothing was in flight");
        for _ in 0..3 {
            table.drive(&mut random);
            alive.live(&table.map, &mut random, false);
        }
        drop(alive);

        for _ in 0..=random.u64(..3) {
            let at = random.usize(..table.record.len() / 2) * 2;
            let value = [0, 1, 7, 8, 0xffff, random.u16(..)];
            let value = value[random.usize(..6)].to_le_bytes();
            table.record.view().write(at, &value).expect("there");
        }
        match table.open() {
            Ok((record, start)) => {
                assert!(start.in_flight.len() <= 8);
                begun += u32::from(table.goes_on(record, &start));
            }
            Err(_) => refused += 1,
        }
    }
    assert!(
        begun > 200 && refused > 200,
        "{begun} begun, {refused} refused"
    );
}

const RINGS: Features = F::VERSION_1;

#[test]
fn a_split_ring_is_served_to_the_end_whenever_its_device_is_killed() {
    histories(RINGS);
    histories(RINGS | F::INDIRECT_DESC);
}

#[test]
fn a_split_ring_in_order_is_served_to_the_end_whenever_its_device_is_killed() {
    histories(RINGS | F::IN_ORDER | F::INDIRECT_DESC);
}

#[test]
fn a_packed_ring_is_served_to_the_end_whenever_its_device_is_killed() {
    histories(RINGS | F::RING_PACKED);
    histories(RINGS | F::RING_PACKED | F::INDIRECT_DESC);
}

#[test]
fn a_packed_ring_in_order_is_served_to_the_end_whenever_its_device_is_killed() {
    histories(RINGS | F::RING_PACKED | F::IN_ORDER | F::INDIRECT_DESC);
}
