//! Pages that the device wrote, for whoever moves the driver's memory.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

use ringway_ring::driver::{Geometry, Segment};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features, packed, split};
use ringway_vhost::eventfd::EventFd;
use ringway_vhost::memory;
use ringway_vhost::protocol::{
    LOG_ALL, LogArea, ProtocolFeatures, Region, Request, RingAddresses, RingFlags,
};

use crate::front::{Front, GUEST, PROTOCOL, Ring, base_of, region};
use crate::served::entropy;

pub(crate) const LOGS: ProtocolFeatures = PROTOCOL.union(ProtocolFeatures::LOG_SHMFD);
const FORMATS: [Features; 4] = [
    Features::NONE,
    F::EVENT_IDX.union(F::IN_ORDER),
    F::RING_PACKED,
    F::RING_PACKED.union(F::EVENT_IDX).union(F::INDIRECT_DESC),
];
const PAGE: u64 = 4096;

/// The log, as a front-end reads it.
pub(crate) struct Log {
    file: OwnedFd,
    memory: Shared,
}

impl Log {
    /// Just as large as the memory takes.
    pub(crate) fn new() -> Self {
        let Region {
            guest_address,
            size,
            ..
        } = region();
        let bytes = (guest_address + size) / PAGE / 8;
        let (file, memory) = memory::create("log", bytes as usize).unwrap();
        Self { file, memory }
    }

    pub(crate) fn give(&self, front: &Front) {
        assert_eq!(self.offer(front, self.memory.len() as u64), 0);
    }

    fn offer(&self, front: &Front, size: u64) -> u64 {
        let area = LogArea {
            size,
            file_offset: 0,
        };
        front.value(Request::SetLogBase(area, self.file.try_clone().unwrap()))
    }

    /// Which pages are marked, by their numbers, and marks none.
    pub(crate) fn take(&self) -> BTreeSet<u64> {
        let mut bytes = vec![0_u8; self.memory.len()];
        self.memory.view().read(0, &mut bytes).unwrap();
        self.memory.view().fill(0);
        let marked = |page: &u64| bytes[(page / 8) as usize] & 1 << (page % 8) != 0;
        (0..bytes.len() as u64 * 8).filter(marked).collect()
    }
}

/// The pages of `len` bytes.
pub(crate) fn pages(address: u64, len: usize) -> impl Iterator<Item = u64> {
    address / PAGE..=(address + len as u64 - 1) / PAGE
}

/// The pages of a ring that a device writes.
pub(crate) fn written(ring: &Ring, features: Features) -> BTreeSet<u64> {
    let areas = ring.geometry.areas(ring.address);
    let size = ring.geometry.size();
    if features.contains(F::RING_PACKED) {
        let descriptors = pages(areas.descriptor, packed::descriptor_bytes(size));
        descriptors
            .chain(pages(areas.device, packed::EVENT_BYTES))
            .collect()
    } else {
        pages(areas.device, split::used_bytes(size)).collect()
    }
}

fn ring(front: &mut Front, features: Features, passed: u16) -> Ring {
    // A gap: the driver's part and the device's are in pages of their own, of a split ring.
    let geometry = Geometry::largest(256, 4, features).unwrap();
    let ring = front.ring(0, geometry, features, passed);
    front.start(&ring, base_of(features, 256, passed));
    ring
}

fn logged(ring: &Ring) -> RingAddresses {
    RingAddresses {
        flags: RingFlags::LOG.bits(),
        log: ring.geometry.areas(ring.address).device,
        ..ring.addresses()
    }
}

/// A chain of two buffers, neither of which begins or ends with a page. Which pages they have.
fn submit(front: &mut Front, ring: &mut Ring) -> BTreeSet<u64> {
    let (shared, address) = front.allocate(4 * PAGE as usize);
    // Some others are between.
    front.allocate(PAGE as usize);
    let buffers = [(address + 4090, 10_usize), (address + 3 * PAGE - 1, 1)];
    let segments = buffers.map(|(address, len)| Segment {
        address,
        len: len as u32,
    });
    ring.submit(&[], &segments, shared);
    buffers
        .into_iter()
        .flat_map(|(address, len)| pages(address, len))
        .collect()
}

#[test]
fn pages_that_are_written_while_they_are_logged_are_marked_and_no_others() {
    for (features, passed) in FORMATS.into_iter().zip([0xfffe, 0, 511, 255]) {
        let served = entropy();
        let mut front = Front::ready(served.connect(), LOGS, features);
        let mut ring = ring(&mut front, features, passed);
        let log = Log::new();
        let signal = EventFd::new().unwrap();
        log.give(&front);
        front.tell(Request::SetLogFd(signal.try_clone().unwrap().into()));

        submit(&mut front, &mut ring);
        ring.wait();
        let before = (log.take(), signal.take());
        front.accept(features, LOG_ALL);
        let mut expected = submit(&mut front, &mut ring);
        ring.wait();
        front.tell(Request::SetOwner);
        let buffers = (log.take(), signal.take());
        front.tell(Request::SetVringAddr(logged(&ring)));
        log.take();
        let mut all = submit(&mut front, &mut ring);
        ring.wait();
        front.stop(&ring);
        all.extend(written(&ring, features));
        let with_the_ring = log.take();
        front.accept(features, 0);
        front.start(
            &ring,
            base_of(
                features,
                256,
                passed.wrapping_add(
                    if features.contains(F::INDIRECT_DESC) || !features.contains(F::RING_PACKED) {
                        3
                    } else {
                        6
                    },
                ),
            ),
        );
        submit(&mut front, &mut ring);
        ring.wait();
        front.stop(&ring);

        assert_eq!(before, (BTreeSet::new(), Ok(false)));
        assert_eq!(buffers, (std::mem::take(&mut expected), Ok(true)));
        assert_eq!(with_the_ring, all, "{features:?}");
        assert_eq!(log.take(), BTreeSet::new());
    }
}

#[test]
fn logging_begins_and_ends_again_and_again_under_load_and_misses_nothing() {
    for features in FORMATS {
        let served = entropy();
        let mut front = Front::ready(served.connect(), LOGS, features);
        let mut ring = ring(&mut front, features, 0);
        let log = Log::new();
        log.give(&front);

        for round in 0..12 {
            for _ in 0..3 {
                submit(&mut front, &mut ring);
            }
            front.accept(features, LOG_ALL);
            let mut expected = BTreeSet::new();
            for _ in 0..3 {
                expected.extend(submit(&mut front, &mut ring));
            }
            if round % 2 == 0 {
                // Another log takes the place of this one, with what it had.
                log.give(&front);
            }
            for _ in 0..6 {
                assert_eq!(ring.wait().0, 11);
            }
            front.accept(features, 0);

            let missed: Vec<_> = expected.difference(&log.take()).copied().collect();
            assert_eq!(missed, [0_u64; 0], "{features:?}");
        }
    }
}

#[test]
fn a_log_that_does_not_reach_as_far_as_memory_is_refused_and_so_is_memory_beyond_it() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), LOGS, Features::NONE);
    let mut ring = ring(&mut front, Features::NONE, 0);
    let log = Log::new();
    let len = log.memory.len() as u64;
    let (more, shared) = memory::create("more", 0x8000).unwrap();
    let mut added = region();
    added.guest_address += added.size;
    added.user_address += 0x1_0000_0000;
    added.size = 0x8000;
    let more = || more.try_clone().unwrap();

    let too_small = log.offer(&front, len - 1);
    let not_there = log.offer(&front, len + 4096);
    log.give(&front);
    // As long as nothing is logged it may come and go.
    front.tell(Request::AddMemReg(added, more()));
    front.tell(Request::RemMemReg(added));
    front.accept(Features::NONE, LOG_ALL);
    let beyond = front.value(Request::AddMemReg(added, more()));
    let set = vec![(region(), front.again()), (added, more())];
    let beyond_too = front.value(Request::SetMemTable(set));
    added.guest_address = GUEST - 0x8000;
    front.tell(Request::AddMemReg(added, more()));
    let address = added.guest_address;
    ring.submit(&[], &[Segment { address, len: 1 }], shared);
    ring.wait();
    front.tell(Request::RemMemReg(added));

    assert_eq!([too_small, not_there, beyond, beyond_too], [1; 4]);
    assert_eq!(log.take(), pages(address, 1).collect());
    assert_eq!(ring.draw(&mut front, 3), [7; 3]);
}
