//! The record of what is in flight in a queue, from a process that was killed while it wrote it, or a
//! front-end that wrote it itself; and a ring beside it that says anything.
//!
//! A record that is believed leads to a queue that can be served; when all is given back, the record
//! says so to whoever comes next.

use ringway_ring::device::Queue;
use ringway_ring::driver::Geometry;
use ringway_ring::ledger::Start;
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::packed::DescriptorFlags;
use ringway_spec::{F, Features, split};
use ringway_vhost::ledger::{Record, Ring, RingFormat, RingLedger};

use crate::input::Input;

const RING: u64 = 0x1000;
/// Where descriptors find memory, if they happen to say so: at 0.
const BUFFERS: usize = 0x1000;

/// Does what `data` says.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let shape = input.u8();
    let features = match shape & 3 {
        0 => Features::NONE,
        1 => F::IN_ORDER,
        2 => F::RING_PACKED,
        _ => F::RING_PACKED | F::IN_ORDER,
    };
    let features = features | F::VERSION_1 | F::INDIRECT_DESC;
    let (format, size) = if features.contains(F::RING_PACKED) {
        (RingFormat::Packed, u16::from(shape >> 2 & 7) + 1)
    } else {
        (RingFormat::Split, 1 << (shape >> 2 & 3))
    };
    let Some(geometry) = Geometry::largest(size, 4, features) else {
        return;
    };
    let is_honest = shape & 0x80 == 0;
    let record = Shared::allocate(Record::bytes(format, size), 64).expect("small");
    let ring = Shared::allocate(geometry.bytes(), 64).expect("small");
    let buffers = Shared::allocate(BUFFERS, 64).expect("small");
    let used = input.u16();
    for at in 0..record.len() {
        let byte = input.u8();
        record.view().write(at, &[byte]).expect("there");
    }
    for at in 0..ring.len() {
        ring.view().write(at, &[input.u8()]).expect("there");
    }
    let region = |start, memory: &Shared| Region {
        start,
        memory: memory.clone(),
    };
    let map = Map::new(vec![region(RING, &ring), region(0, &buffers)]).expect("apart");
    let areas = geometry.areas(RING);

    let word = |offset: usize| u16::from_le_bytes(ring.view().read_value(offset).expect("there"));
    let used_index = (areas.device - RING) as usize + split::INDEX;
    if is_honest {
        // Of the right version and size, and not far behind a split ring: what else it says is what
        // matters.
        let header = [1_u16.to_le_bytes(), size.to_le_bytes()].concat();
        record.view().write(8, &header).expect("there");
        if format == RingFormat::Split {
            let known = word(used_index).wrapping_sub(used % 4);
            let known = known.to_le_bytes();
            record.view().write(14, &known).expect("there");
        }
    }
    let base = || Start {
        // Of a split ring, a front-end that is asked for it finds it there.
        used: match format {
            RingFormat::Packed => used,
            RingFormat::Split => word(used_index),
        },
        in_flight: Vec::new(),
    };
    let open = || {
        let flags =
            |place: u16| DescriptorFlags::from_bits_retain(word(usize::from(place) * 16 + 14));
        let ring = match format {
            RingFormat::Packed => Ring::Packed(&flags),
            RingFormat::Split => Ring::Split(word(used_index)),
        };
        Record::open(&record, size, base(), ring)
    };
    let Ok((taken, start)) = open() else {
        return;
    };
    assert!(start.in_flight.len() <= size.into());
    let had = start.in_flight.len();
    let ledger = RingLedger {
        record: Some(taken),
        ..RingLedger::default()
    };
    let Ok(mut queue) = Queue::resume(&map, size, areas, features, &start, Some(Box::new(ledger)))
    else {
        // Where it was to begin, no record says.
        return;
    };
    let mut left = 0;
    for _ in 0..4 {
        let mut batch = queue.batch(&map);
        let mut kept = Vec::new();
        while let Ok(Some(chain)) = batch.next_chain() {
            kept.push(chain);
            assert!(kept.len() <= size.into());
        }
        while !kept.is_empty() {
            let at = usize::from(input.u8()) % kept.len();
            batch.complete(kept.swap_remove(at), 0);
            left += 1;
        }
    }
    let broke = queue.violation().is_some();
    drop(queue);
    // What was given back is not in flight for the next one.
    let again = open();
    match again {
        Ok((_, start)) if !broke => assert!(start.in_flight.is_empty(), "{start:?}"),
        Ok((_, start)) => assert!(start.in_flight.len() <= had, "{start:?} after {left}"),
        Err(error) => panic!("the record that was written is none: {error}"),
    }
}
