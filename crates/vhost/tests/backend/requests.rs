//! Requests over rings, in every format, from any place on.

use std::sync::Arc;

use ringway_device::blk::{Blk, RamDisk};
use ringway_ring::driver::{Geometry, Segment};
use ringway_spec::blk::RequestType;
use ringway_spec::{F, Features};
use ringway_vhost::backend::Event;
use ringway_vhost::protocol::{ConfigFlags, ConfigSpace, Reply, Request};

use crate::front::{Front, PROTOCOL, Ring, base_of, bytes, region};
use crate::served::{Served, entropy};

const FORMATS: [Features; 5] = [
    Features::NONE,
    F::EVENT_IDX.union(F::INDIRECT_DESC),
    F::IN_ORDER,
    F::RING_PACKED,
    F::RING_PACKED.union(F::EVENT_IDX).union(F::INDIRECT_DESC),
];

fn geometry(features: Features, size: u16) -> Geometry {
    Geometry::largest(size, 4, features).unwrap()
}

/// One request to a disk: its status, and the data.
fn disk(
    front: &mut Front,
    ring: &mut Ring,
    request: RequestType,
    sector: u64,
    data: &[u8],
) -> (u8, Vec<u8>) {
    let (shared, address) = front.allocate(16 + data.len() + 1);
    let header = [
        request.0.get().to_le_bytes().as_slice(),
        &[0; 4],
        &sector.to_le_bytes(),
    ]
    .concat();
    shared.view().write(0, &header).unwrap();
    shared.view().write(16, data).unwrap();
    shared.view().write(16 + data.len(), &[0xff]).unwrap();
    let part = |at: usize, len: usize| Segment {
        address: address + at as u64,
        len: len as u32,
    };
    let (head, body, status) = (part(0, 16), part(16, data.len()), part(16 + data.len(), 1));
    if request == RequestType::OUT {
        ring.submit(&[head, body], &[status], shared);
    } else {
        ring.submit(&[head], &[body, status], shared);
    }
    let (_, shared) = ring.wait();
    let all = bytes((17 + data.len() as u32, shared));
    (all[16 + data.len()], all[16..16 + data.len()].to_vec())
}

#[test]
fn a_disk_is_written_and_read_over_several_queues_in_every_format() {
    let served = Served::new(Blk::new(Arc::new(RamDisk::new(64)), 3));
    for features in FORMATS {
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let mut rings: Vec<_> = (0..3)
            .map(|index| {
                let ring = front.ring(index, geometry(features, 16), features, 0);
                front.start(&ring, base_of(features, 16, 0));
                ring
            })
            .collect();

        for (ring, byte) in rings.iter_mut().zip(1..) {
            for sector in 0..20 {
                let data = [byte ^ sector as u8; 512];
                let written = disk(&mut front, ring, RequestType::OUT, sector, &data);
                assert_eq!(written.0, 0);
                let read = disk(&mut front, ring, RequestType::IN, sector, &[0; 512]);
                assert_eq!(read, (0, data.to_vec()), "{features:?}");
            }
        }
    }
}

#[test]
fn a_ring_that_is_stopped_goes_on_at_its_base_across_the_wrap() {
    let served = entropy();
    for features in FORMATS {
        for passed in [0, 15, 0xfffd] {
            // Of a packed ring, only two turns can be told apart.
            let passed = if features.contains(F::RING_PACKED) {
                passed % 32
            } else {
                passed
            };
            let mut front = Front::ready(served.connect(), PROTOCOL, features);
            let mut ring = front.ring(0, geometry(features, 16), features, passed);

            front.start(&ring, base_of(features, 16, passed));
            for round in 1..=7 {
                let drawn = ring.draw(&mut front, 100);
                assert_eq!(drawn, [7; 100]);
                let after = passed.wrapping_add(round);
                assert_eq!(front.stop(&ring), base_of(features, 16, after));
                let kick = Request::SetVringKick(0, Some(ring.kick_descriptor()));
                front.tell(kick);
            }
        }
    }
}

#[test]
fn a_ring_that_is_disabled_serves_nothing_until_it_is_enabled() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let mut ring = front.ring(0, geometry(Features::NONE, 16), Features::NONE, 0);
    front.start(&ring, 0);

    front.tell(Request::SetVringEnable(ring.state(0)));
    let (shared, address) = front.allocate(8);
    ring.submit(&[], &[Segment { address, len: 8 }], shared);
    // Whatever would serve it had its chance when this is answered.
    front.tell(Request::SetOwner);
    let before = ring.queue.poll().unwrap();
    front.tell(Request::SetVringEnable(ring.state(1)));

    assert!(before.is_none());
    assert_eq!(bytes(ring.wait()), [7; 8]);
}

#[test]
fn memory_that_changes_is_seen_by_rings_that_run_and_they_lose_nothing() {
    let served = entropy();
    for features in FORMATS {
        let mut front = Front::ready(served.connect(), PROTOCOL, features);
        let mut ring = front.ring(0, geometry(features, 16), features, 0);
        front.start(&ring, base_of(features, 16, 0));
        let (more, shared) = ringway_vhost::memory::create("more", 0x1000).unwrap();
        let mut added = region();
        added.guest_address += added.size;
        added.user_address += 0x1_0000_0000;
        added.size = 0x1000;
        let segment = Segment {
            address: added.guest_address,
            len: 16,
        };

        assert_eq!(ring.draw(&mut front, 16), [7; 16]);
        front.tell(Request::AddMemReg(added, more));
        ring.submit(&[], &[segment], shared);
        assert_eq!(bytes(ring.wait()), [7; 16]);
        front.tell(Request::RemMemReg(added));
        front.tell(Request::SetMemTable(vec![(region(), front.again())]));

        assert_eq!(ring.draw(&mut front, 16), [7; 16]);
    }
}

/// Devices' defect 1: a queue's size is changed while it is in use.
#[test]
fn a_ring_that_is_moved_or_resized_while_it_runs_stays_what_it_was() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let mut ring = front.ring(0, geometry(Features::NONE, 16), Features::NONE, 0);
    front.start(&ring, 0);
    let mut moved = ring.addresses();
    moved.descriptor += 0x1_0000;

    for request in [
        Request::SetVringNum(ring.state(256)),
        Request::SetVringAddr(moved),
        Request::SetVringBase(ring.state(3)),
    ] {
        assert_eq!(front.value(request), 1);
        assert_eq!(ring.draw(&mut front, 5), [7; 5]);
    }
}

#[test]
fn a_ring_outside_the_memory_does_not_run_and_the_front_end_is_told() {
    let served = entropy();
    let mut front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let ring = front.ring(0, geometry(Features::NONE, 16), Features::NONE, 0);
    front.start(&ring, 0);

    let gone = front.value(Request::RemMemReg(region()));
    served
        .events
        .wait(|event| matches!(event, Event::Refused { .. }));

    assert_eq!(gone, 1);
    assert_eq!(front.stop(&ring), 0);
    front.tell(Request::AddMemReg(region(), front.again()));
}

#[test]
fn configuration_is_that_of_the_device() {
    let served = Served::new(Blk::new(Arc::new(RamDisk::new(77)), 1));
    let front = Front::ready(served.connect(), PROTOCOL, Features::NONE);
    let space = ConfigSpace {
        offset: 0,
        flags: ConfigFlags::empty(),
        bytes: vec![0xff; 256],
    };

    let config = front.ask(Request::GetConfig(space));

    let Reply::Config(space) = config else {
        panic!("{config:?} is no configuration");
    };
    assert_eq!(space.bytes.len(), 256);
    assert_eq!(space.bytes[..8], 77_u64.to_le_bytes());
    assert_eq!(space.bytes[200..], [0; 56]);
}
