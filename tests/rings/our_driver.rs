//! Our driver's end, with rust-vmm's `virtio-queue` as the device.
//!
//! The peer's device does not read the flag by which a driver without `EVENT_IDX` asks not to be
//! interrupted, so interrupts are compared with `EVENT_IDX` only; kicks in both cases. Indices
//! begin at 0 and near their wrap.
//!
//! The peer does not know of `IN_ORDER`, and needs not to: it completes chains in their order then,
//! with an element for each. Nor does it know of the legacy layout: it is given the areas that the
//! formula says (§2.7.2).

use std::collections::VecDeque;

use ringway_ring::driver::{Areas, Geometry, Memory, Queue, Segment};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue as PeerQueue, QueueT};
use vm_memory::{Address, Bytes, GuestMemoryMmap};

use crate::common::{
    CANARY, History, Notifications, Random, SEGMENT_BYTES, SEGMENTS_MAX, features,
};
use crate::peers::{BASE, guest};

/// Requests of one history.
const REQUESTS: usize = 300;
/// Bytes that the segments of a request lie in, with room between them.
const SLOT_BYTES: usize = SEGMENT_BYTES * SEGMENTS_MAX;
/// Most slots: one for each chain that can be in flight.
const SLOTS: usize = 256;

/// A request in flight.
#[derive(Debug)]
struct Request {
    slot: usize,
    segments: Vec<Segment>,
    readable: usize,
    /// What its slot holds, but for what the device writes.
    image: Vec<u8>,
}

struct Bench {
    random: Random,
    memory: GuestMemoryMmap,
    slots: Shared,
    slots_at: u64,
    size: u16,
    driver: Queue<Request>,
    device: PeerQueue,
    kicks: Notifications,
    interrupts: Notifications,
    by_event: bool,
    in_order: bool,
    free: Vec<usize>,
    /// What the device must not see yet.
    unpublished: VecDeque<Expected>,
    /// What the device will see next: the segments, how many are readable, what those hold, and
    /// the id.
    submitted: VecDeque<Expected>,
    /// What the device took and did not complete: the id, and what it wrote.
    kept: Vec<(u16, Vec<u8>)>,
    /// What it completed, in order: the id, and what it wrote.
    completed: VecDeque<(u16, Vec<u8>)>,
    requests: usize,
}

struct Expected {
    segments: Vec<Segment>,
    readable: usize,
    content: Vec<u8>,
    id: u16,
}

impl Bench {
    fn new(history: &History, start: u16) -> Self {
        let (size, features) = (history.size, history.features);
        let table = size.min(SEGMENTS_MAX as u16);
        let geometry = match history.align {
            Some(align) => Geometry::legacy(size, table, align),
            None => Geometry::new(size, table),
        };
        let geometry = geometry.unwrap();
        let slots_from = geometry.bytes().next_multiple_of(4096);
        let (memory, shared) = guest(slots_from + SLOTS * SLOT_BYTES);
        let ring = Memory {
            shared: shared.clone(),
            address: BASE,
        };
        let driver = Queue::new(&ring, geometry, features, start).unwrap();
        let areas = match history.align {
            Some(align) => legacy_areas(size, align),
            None => geometry.areas(BASE),
        };
        let mut device = PeerQueue::new(size).unwrap();
        let halves = |address: u64| (Some(address as u32), Some((address >> 32) as u32));
        let (low, high) = halves(areas.descriptor);
        device.set_desc_table_address(low, high);
        let (low, high) = halves(areas.driver);
        device.set_avail_ring_address(low, high);
        let (low, high) = halves(areas.device);
        device.set_used_ring_address(low, high);
        device.set_size(size);
        device.set_event_idx(features.contains(F::EVENT_IDX));
        device.set_next_avail(start);
        device.set_next_used(start);
        device.set_ready(true);
        assert!(device.is_valid(&memory));
        let mut interrupts = Notifications::new(features, start);
        // A driver that is new asks for none.
        interrupts.event = start.wrapping_sub(1);
        Self {
            random: Random::new(history.seed),
            memory,
            slots: shared.slice(slots_from, SLOTS * SLOT_BYTES).unwrap(),
            slots_at: BASE + slots_from as u64,
            size,
            driver,
            device,
            kicks: Notifications::new(features, start),
            interrupts,
            by_event: features.contains(F::EVENT_IDX),
            in_order: features.contains(F::IN_ORDER),
            free: (0..SLOTS).collect(),
            unpublished: VecDeque::new(),
            submitted: VecDeque::new(),
            kept: Vec::new(),
            completed: VecDeque::new(),
            requests: 0,
        }
    }

    /// Submits one request, if there is room for it.
    fn submit(&mut self) -> bool {
        let (readable, writable) = self.random.shape(self.size);
        if !self.driver.has_room(readable + writable) {
            return false;
        }
        let slot = self.free.pop().unwrap();
        let mut image = vec![CANARY; SLOT_BYTES];
        let mut content = Vec::new();
        let mut segments = Vec::new();
        for index in 0..readable + writable {
            let skipped = self.random.below(SEGMENT_BYTES);
            let len = 1 + self.random.below(SEGMENT_BYTES - skipped);
            let at = index * SEGMENT_BYTES + skipped;
            if index < readable {
                image[at..at + len].copy_from_slice(&self.random.bytes(len));
                content.extend_from_slice(&image[at..at + len]);
            }
            segments.push(Segment {
                address: self.slots_at + (slot * SLOT_BYTES + at) as u64,
                len: len as u32,
            });
        }
        self.slots.view().write(slot * SLOT_BYTES, &image).unwrap();
        let request = Request {
            slot,
            segments: segments.clone(),
            readable,
            image,
        };
        let token = self
            .driver
            .submit(&segments[..readable], &segments[readable..], request)
            .unwrap();
        self.unpublished.push_back(Expected {
            segments,
            readable,
            content,
            id: token.id(),
        });
        self.requests += 1;
        true
    }

    /// The driver publishes what it submitted, and knows whether to kick.
    fn publish(&mut self) {
        for expected in self.unpublished.drain(..) {
            self.submitted.push_back(expected);
            self.kicks.publish();
        }
        assert_eq!(self.driver.kick_needed(), self.kicks.due());
    }

    /// The device takes one chain, finds in it what was submitted, and answers.
    fn take(&mut self) -> bool {
        let Some(chain) = self.device.pop_descriptor_chain(&self.memory) else {
            assert!(self.submitted.is_empty());
            return false;
        };
        let expected = self.submitted.pop_front().unwrap();
        assert_eq!(chain.head_index(), expected.id);
        let descriptors: Vec<Descriptor> = chain.clone().collect();
        assert_eq!(descriptors.len(), expected.segments.len());
        for (index, (found, segment)) in descriptors.iter().zip(&expected.segments).enumerate() {
            assert_eq!(
                (found.addr().raw_value(), found.len()),
                (segment.address, segment.len)
            );
            assert_eq!(found.is_write_only(), index >= expected.readable);
        }
        let mut content = Vec::new();
        for descriptor in chain.clone().readable() {
            let mut bytes = vec![0; descriptor.len() as usize];
            self.memory
                .read_slice(&mut bytes, descriptor.addr())
                .unwrap();
            content.extend(bytes);
        }
        assert_eq!(content, expected.content);

        let room: usize = chain.clone().writable().map(|d| d.len() as usize).sum();
        let count = self.random.below(room + 1);
        let answer = self.random.bytes(count);
        let mut left = answer.as_slice();
        for descriptor in chain.clone().writable() {
            let (now, later) = left.split_at(left.len().min(descriptor.len() as usize));
            self.memory.write_slice(now, descriptor.addr()).unwrap();
            left = later;
        }
        self.kept.push((expected.id, answer));
        true
    }

    /// The device completes one of the chains that it took.
    fn complete(&mut self) -> bool {
        if self.kept.is_empty() {
            return false;
        }
        let (id, answer) = if self.in_order {
            self.kept.remove(0)
        } else {
            self.kept.swap_remove(self.random.below(self.kept.len()))
        };
        self.device
            .add_used(&self.memory, id, answer.len() as u32)
            .unwrap();
        self.completed.push_back((id, answer));
        self.interrupts.publish();
        true
    }

    /// The driver takes one request back, and finds what the device wrote.
    fn poll(&mut self) -> bool {
        let Some(done) = self.driver.poll().unwrap() else {
            assert!(self.completed.is_empty());
            return false;
        };
        let (id, answer) = self.completed.pop_front().unwrap();
        let mut request = done.owner;
        assert_eq!((done.token.id(), done.written as usize), (id, answer.len()));
        let slot_at = self.slots_at + (request.slot * SLOT_BYTES) as u64;
        let mut left = answer.as_slice();
        for segment in &request.segments[request.readable..] {
            let (now, later) = left.split_at(left.len().min(segment.len as usize));
            let at = (segment.address - slot_at) as usize;
            request.image[at..at + now.len()].copy_from_slice(now);
            left = later;
        }
        let mut found = vec![0; SLOT_BYTES];
        self.slots
            .view()
            .read(request.slot * SLOT_BYTES, &mut found)
            .unwrap();
        assert_eq!(found, request.image);
        self.free.push(request.slot);
        true
    }

    /// How far the device took, and the driver polled.
    fn positions(&self) -> (u16, u16) {
        let taken = self
            .kicks
            .published()
            .wrapping_sub(self.submitted.len() as u16);
        let polled = self
            .interrupts
            .published()
            .wrapping_sub(self.completed.len() as u16);
        (taken, polled)
    }

    fn step(&mut self) {
        let batch = 1 + self.random.below(6);
        let (taken, polled) = self.positions();
        match self.random.below(8) {
            0 | 1 => {
                let _ = (0..batch).take_while(|_| self.submit()).count();
                if self.random.below(3) != 0 {
                    self.publish();
                }
            }
            2 | 3 => {
                let _ = (0..batch).take_while(|_| self.take()).count();
            }
            4 => {
                let _ = (0..batch).take_while(|_| self.complete()).count();
                let told = self.device.needs_notification(&self.memory).unwrap();
                let due = self.interrupts.due();
                assert_eq!(told, due || !self.by_event);
            }
            5 => {
                let _ = (0..batch).take_while(|_| self.poll()).count();
            }
            6 if self.random.below(2) == 0 => {
                self.kicks.event = taken;
                self.kicks.wanted = true;
                let more = self.device.enable_notification(&self.memory).unwrap();
                assert_eq!(more, !self.submitted.is_empty());
            }
            6 => {
                // With `EVENT_IDX`, the peer leaves its wish as it is.
                self.kicks.wanted = false;
                self.device.disable_notification(&self.memory).unwrap();
            }
            _ if self.random.below(2) == 0 => {
                self.interrupts.event = polled;
                assert_eq!(self.driver.arm(), !self.completed.is_empty());
            }
            _ => {
                self.interrupts.event = polled.wrapping_sub(1);
                self.driver.disarm();
            }
        }
    }
}

/// Where the areas of a ring at [`BASE`] are in the legacy layout (§2.7.2).
fn legacy_areas(size: u16, align: usize) -> Areas {
    let size = u64::from(size);
    let driver = 16 * size;
    let device = (driver + 2 * (3 + size)).next_multiple_of(align as u64);
    Areas {
        descriptor: BASE,
        driver: BASE + driver,
        device: BASE + device,
    }
}

fn run(history: &History, start: u16) -> usize {
    let mut bench = Bench::new(history, start);
    while bench.requests < REQUESTS {
        bench.step();
    }
    bench.publish();
    while bench.take() {}
    while bench.complete() {}
    while bench.poll() {}
    assert_eq!(bench.driver.in_flight(), 0);
    assert_eq!(bench.free.len(), SLOTS);
    bench.requests
}

/// Histories of all sizes, with all features, from 0 on and near the wrap.
fn runs(also: Features, align: Option<usize>) -> usize {
    let mut requests = 0;
    for log_size in 0..=8 {
        for features in features() {
            for (seed, start) in [(1, 0), (2, 0xff80)] {
                let history = History {
                    seed: seed + 16 * log_size,
                    size: 1 << log_size,
                    features: features | also,
                    align,
                };
                requests += run(&history, start);
            }
        }
    }
    requests
}

#[test]
fn our_driver_and_the_device_of_virtio_queue_agree_on_every_request() {
    let requests = runs(Features::NONE, None);

    assert!(requests >= 9 * 4 * 2 * REQUESTS);
}

#[test]
fn our_driver_in_order_and_the_device_of_virtio_queue_agree_on_every_request() {
    let requests = runs(F::IN_ORDER, None);

    assert!(requests >= 9 * 4 * 2 * REQUESTS);
}

#[test]
fn our_driver_and_the_device_of_virtio_queue_agree_in_the_legacy_layout() {
    let requests: usize = [64, 4096]
        .map(|align| runs(Features::NONE, Some(align)))
        .iter()
        .sum();

    assert!(requests >= 2 * 9 * 4 * 2 * REQUESTS);
}
