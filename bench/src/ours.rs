//! Ringway's two ends, as a user calls them.

use std::hint::black_box;

use ringway_ring::device;
use ringway_ring::driver::{Geometry, Memory, Queue, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;

use crate::case::{BYTES, Case, DEPTH_MAX, SIZE};
use crate::measure;
use crate::other_end::split::RingAreas;
use crate::other_end::{Echo, Feeder, RAM, RAM_BYTES, areas, packed, split};

/// A request whose device addresses are known: what the queue keeps while it is in flight.
struct Request<const R: usize, const W: usize> {
    readable: [Segment; R],
    writable: [Segment; W],
}

/// The driver's end. Requests are static, so their owners are references.
pub(crate) struct Driver<const R: usize, const W: usize> {
    queue: Queue<&'static Request<R, W>>,
    requests: &'static [Request<R, W>; DEPTH_MAX],
}

impl<const R: usize, const W: usize> Driver<R, W> {
    pub(crate) fn new(case: &Case) -> (Self, Echo) {
        let geometry = Geometry::largest(SIZE, 4, case.features()).expect("256 descriptors can be");
        let shared = Shared::allocate(geometry.bytes(), 4096).expect("there is memory");
        let written = u32::from(W != 0);
        let echo = if case.is_packed() {
            Echo::Packed(packed::Echo::new(&shared, case, written))
        } else {
            // Offsets, since the memory begins at 0.
            let areas = geometry.areas(0);
            let rest = |offset: u64| {
                let offset = offset as usize;
                shared
                    .slice(offset, shared.len() - offset)
                    .expect("areas lie within")
            };
            let ring = RingAreas {
                available: rest(areas.driver),
                used: rest(areas.device),
            };
            Echo::Split(split::Echo::new(&ring, written))
        };
        let memory = Memory {
            shared: shared.clone(),
            address: RAM,
        };
        let queue = Queue::new(&memory, geometry, case.features(), 0).expect("the memory fits");
        let segment = |request: usize, part: usize| Segment {
            address: 0x1000_0000 + (request * 0x2000 + part * 16) as u64,
            len: BYTES[part],
        };
        let request = |number| Request {
            readable: std::array::from_fn(|part| segment(number, part)),
            writable: std::array::from_fn(|part| segment(number, R + part)),
        };
        let requests = Box::leak(Box::new(std::array::from_fn(request)));
        (Self { queue, requests }, echo)
    }
}

impl<const R: usize, const W: usize> measure::Driver for Driver<R, W> {
    fn submit(&mut self, slot: usize) -> bool {
        let request = &self.requests[slot % DEPTH_MAX];
        self.queue
            .submit(&request.readable, &request.writable, request)
            .is_ok()
    }

    fn kick_needed(&mut self) -> bool {
        self.queue.kick_needed()
    }

    fn poll(&mut self, _slot: usize) -> bool {
        let polled = self.queue.poll().expect("the device breaks no rule");
        polled.is_some_and(|completion| {
            black_box(completion.owner);
            true
        })
    }
}

/// The device's end.
pub(crate) struct Device {
    queue: device::Queue,
    map: Map,
}

impl Device {
    pub(crate) fn new(case: &Case) -> (Self, Feeder) {
        let ram = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let high = Shared::allocate(RAM_BYTES, 4096).expect("there is memory");
        let feeder = Feeder::new(&ram, case);
        let regions = [(RAM, ram), (1 << 32, high)].map(|(start, memory)| Region { start, memory });
        let map = Map::new(regions.into()).expect("regions are apart");
        let queue = device::Queue::new(&map, SIZE, areas(), case.features(), 0)
            .expect("the ring lies in memory");
        (Self { queue, map }, feeder)
    }
}

impl measure::Device for Device {
    fn serve(&mut self, _expected: usize) -> usize {
        let mut served = 0;
        let mut batch = self.queue.batch(&self.map);
        while let Ok(Some(chain)) = batch.next_chain() {
            let written = black_box(chain.writable_bytes());
            batch.complete(chain, written);
            served += 1;
        }
        drop(batch);
        black_box(self.queue.interrupt_needed());
        served
    }
}
