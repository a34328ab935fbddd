//! Our device's end, with rcore's `virtio-drivers` as the driver.
//!
//! The peer's indices begin at 0. With `EVENT_IDX` it asks for every interrupt, and kicks whenever
//! its index is above the one that the device named, as a number: more often than is due, and so
//! checked for the kicks that are due; histories end before its index wraps, where it would miss
//! some.
//!
//! `IN_ORDER` is not compared: the peer wants an element for each chain, and our device's end gives
//! several back with one.

use std::collections::VecDeque;

use ringway_ring::device::{Chain, Queue};
use ringway_ring::map::Map;
use ringway_spec::{F, Features};

use crate::common::{History, Notifications, Random, SEGMENT_BYTES, features};
use crate::peers::{PeerDriver, Request, map};

/// Requests of one history.
const REQUESTS: usize = 600;

/// What the device will find in a chain: what is readable, how much is writable, and its id.
struct Expected {
    content: Vec<u8>,
    room: usize,
    id: u16,
}

struct Bench<const SIZE: usize> {
    random: Random,
    driver: PeerDriver<SIZE>,
    device: Queue,
    map: Map,
    kicks: Notifications,
    interrupts: Notifications,
    by_event: bool,
    submitted: VecDeque<Expected>,
    /// Chains that the device took and did not complete, their ids, and what it wrote.
    kept: Vec<(u16, Vec<u8>, Chain)>,
    completed: VecDeque<(u16, Vec<u8>)>,
    requests: usize,
}

impl<const SIZE: usize> Bench<SIZE> {
    fn new(seed: u64, features: Features) -> Self {
        let by_event = features.contains(F::EVENT_IDX);
        let driver = PeerDriver::new(features.contains(F::INDIRECT_DESC), by_event);
        let map = map();
        let device = Queue::new(&map, SIZE as u16, driver.areas, features, 0).unwrap();
        Self {
            random: Random::new(seed),
            driver,
            device,
            map,
            kicks: Notifications::new(features, 0),
            interrupts: Notifications::new(features, 0),
            by_event,
            submitted: VecDeque::new(),
            kept: Vec::new(),
            completed: VecDeque::new(),
            requests: 0,
        }
    }

    fn submit(&mut self) -> bool {
        let (readable, writable) = self.random.shape(SIZE as u16);
        let mut buffer = || {
            let len = 1 + self.random.below(SEGMENT_BYTES);
            self.random.bytes(len)
        };
        let request = Request {
            readable: (0..readable).map(|_| buffer()).collect(),
            writable: (0..writable).map(|_| buffer()).collect(),
        };
        let content = request.readable.concat();
        let room = request.writable.iter().map(Vec::len).sum();
        let Some(id) = self.driver.submit(request) else {
            return false;
        };
        self.submitted.push_back(Expected { content, room, id });
        self.kicks.publish();
        self.requests += 1;
        true
    }

    /// The device takes one chain, finds in it what was submitted, and answers.
    fn take(&mut self) -> bool {
        let mut batch = self.device.batch(&self.map);
        let Some(chain) = batch.next_chain().unwrap() else {
            assert!(self.submitted.is_empty());
            return false;
        };
        let expected = self.submitted.pop_front().unwrap();
        let mut readable = batch.readable(&chain);
        let mut content = vec![0; usize::try_from(readable.remaining()).unwrap()];
        readable.read(&mut content).unwrap();
        assert_eq!(content, expected.content);
        assert_eq!(chain.writable_bytes() as usize, expected.room);

        let count = self.random.below(expected.room + 1);
        let answer = self.random.bytes(count);
        batch.writable(&chain).write(&answer).unwrap();
        self.kept.push((expected.id, answer, chain));
        true
    }

    /// The device completes as many as `count` chains at once.
    fn complete(&mut self, count: usize) {
        let mut given = Vec::new();
        let mut batch = self.device.batch(&self.map);
        for _ in 0..count.min(self.kept.len()) {
            let (id, answer, chain) = self.kept.swap_remove(self.random.below(self.kept.len()));
            batch.complete(chain, answer.len() as u32);
            given.push((id, answer));
        }
        let seen = self.driver.has_used();
        assert_eq!(
            seen,
            !self.completed.is_empty(),
            "seen before the batch ended"
        );
        drop(batch);
        for answer in given {
            self.completed.push_back(answer);
            self.interrupts.publish();
        }
    }

    /// The driver takes one request back, and finds what the device wrote.
    fn poll(&mut self) -> bool {
        let Some((id, written, request)) = self.driver.poll() else {
            assert!(self.completed.is_empty());
            return false;
        };
        let (expected, answer) = self.completed.pop_front().unwrap();
        assert_eq!((id, written as usize), (expected, answer.len()));
        let found = request.writable.concat();
        assert_eq!(found[..answer.len()], answer);
        assert!(found[answer.len()..].iter().all(|byte| *byte == 0));
        // With `EVENT_IDX`, the peer asks to be told of the next one each time.
        self.interrupts.event = self.interrupts.event.wrapping_add(1);
        true
    }

    fn step(&mut self) {
        let batch = 1 + self.random.below(6);
        let taken = self
            .kicks
            .published()
            .wrapping_sub(self.submitted.len() as u16);
        match self.random.below(8) {
            0 | 1 => {
                let some = (0..batch).take_while(|_| self.submit()).count() != 0;
                let (told, due) = (self.driver.kick_needed(), self.kicks.due());
                assert!(told || !due, "a kick is lost");
                assert!(self.by_event || !some || told == due);
            }
            2 | 3 => {
                let _ = (0..batch).take_while(|_| self.take()).count();
            }
            4 => {
                self.complete(batch);
                assert_eq!(self.device.interrupt_needed(), self.interrupts.due());
            }
            5 => {
                let _ = (0..batch).take_while(|_| self.poll()).count();
            }
            6 if self.random.below(2) == 0 => {
                self.kicks.event = taken;
                self.kicks.wanted = true;
                assert_eq!(self.device.arm(), !self.submitted.is_empty());
            }
            6 => {
                self.kicks.event = taken.wrapping_sub(1);
                self.kicks.wanted = false;
                self.device.disarm();
            }
            _ => {
                let wanted = self.random.below(2) == 0;
                self.interrupts.wanted = wanted;
                self.driver.want_interrupts(wanted);
            }
        }
    }
}

fn run<const SIZE: usize>() -> usize {
    let mut requests = 0;
    for features in features() {
        let history = History {
            seed: SIZE as u64,
            size: SIZE as u16,
            features,
            align: None,
        };
        let mut bench = Bench::<SIZE>::new(history.seed, features);
        while bench.requests < REQUESTS {
            bench.step();
        }
        while bench.take() {}
        bench.complete(usize::MAX);
        while bench.poll() {}
        assert_eq!(bench.device.in_flight(), 0);
        requests += bench.requests;
    }
    requests
}

#[test]
fn our_device_and_the_driver_of_virtio_drivers_agree_on_every_request() {
    let runs = [
        run::<1>, run::<2>, run::<4>, run::<8>, run::<16>, run::<32>, run::<64>, run::<128>,
        run::<256>,
    ];

    let requests: usize = runs.iter().map(|run| run()).sum();

    assert!(requests >= 9 * 4 * REQUESTS);
}
