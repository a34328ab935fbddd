//! The memory of one queue and its buffers, watched: what may not be written is seen to be as it
//! was.

use std::ops::Range;

use ringway_check::hostile::Ring;
use ringway_check::hostile::driver::{BUFFER_BYTES, Room, TABLE_BYTES};
use ringway_ring::driver::{Areas, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{packed, split};

use crate::history::Setup;

/// Where the ring is for the device. Unlike any address of this process.
const RING: u64 = 0x7000_0000_0000;
const TABLES: u64 = 0x10_0000;
/// Two regions, the second right after the first.
const BUFFERS: u64 = 0x20_0000;
/// Memory that the device was given, and no descriptor of an honest driver names.
const UNNAMED: u64 = 0x30_0000;
const UNNAMED_BYTES: usize = 256;
/// Bytes around each region that nobody was given.
const GUARD: usize = 64;
const CANARY: u8 = 0xee;

/// A region and what is around it.
struct Part {
    start: u64,
    whole: Shared,
}

pub(crate) struct Arena {
    parts: Vec<Part>,
    pub(crate) map: Map,
    areas: Areas,
    setup: Setup,
}

/// All bytes of an arena at some moment.
pub(crate) struct Image(Vec<Vec<u8>>);

impl Arena {
    pub(crate) fn new(setup: &Setup) -> Self {
        let geometry = setup.geometry();
        let size = usize::from(setup.size);
        let buffers = size * BUFFER_BYTES as usize;
        // Not where buffers end: some go on in the second region.
        let first = buffers / 2 + 8;
        let parts = [
            (RING, geometry.bytes()),
            (TABLES, size * TABLE_BYTES as usize),
            (BUFFERS, first),
            (BUFFERS + first as u64, buffers - first),
            (UNNAMED, UNNAMED_BYTES),
        ];
        let parts = parts.map(|(start, bytes)| {
            let whole = Shared::allocate(GUARD + bytes + GUARD, 64).unwrap();
            whole.view().fill(CANARY);
            Part { start, whole }
        });
        let region = |part: &Part| {
            let bytes = part.whole.len() - 2 * GUARD;
            let memory = part.whole.slice(GUARD, bytes).unwrap();
            memory.view().fill(0);
            Region {
                start: part.start,
                memory,
            }
        };
        Self {
            map: Map::new(parts.iter().map(region).collect()).unwrap(),
            parts: Vec::from(parts),
            areas: geometry.areas(RING),
            setup: setup.clone(),
        }
    }

    /// The queue, for a peer.
    pub(crate) fn ring(&self) -> Ring<'_> {
        Ring {
            map: &self.map,
            size: self.setup.size,
            areas: self.areas,
            features: self.setup.features,
            start: self.setup.start,
        }
    }

    /// The ring, for a driver's end.
    pub(crate) fn memory(&self) -> Memory {
        let bytes = self.setup.geometry().bytes();
        Memory {
            shared: self.map.shared(RING, bytes).unwrap(),
            address: RING,
        }
    }

    /// Where a driver has its buffers.
    pub(crate) fn room(&self) -> Room {
        Room {
            tables: TABLES,
            buffers: BUFFERS,
        }
    }

    /// What a device's end may write of the ring.
    pub(crate) fn device_writes(&self) -> Vec<Range<u64>> {
        let run = |start: u64, bytes: usize| start..start + bytes as u64;
        let Areas {
            descriptor, device, ..
        } = self.areas;
        if self.setup.geometry().is_packed() {
            let descriptors = packed::descriptor_bytes(self.setup.size);
            Vec::from([
                run(descriptor, descriptors),
                run(device, packed::EVENT_BYTES),
            ])
        } else {
            Vec::from([run(device, split::used_bytes(self.setup.size))])
        }
    }

    /// What a driver's end may write: the ring, but for the area of the device.
    pub(crate) fn driver_writes(&self) -> Vec<Range<u64>> {
        let bytes = if self.setup.geometry().is_packed() {
            packed::EVENT_BYTES
        } else {
            split::used_bytes(self.setup.size)
        };
        let device = self.areas.device;
        let end = RING + self.setup.geometry().bytes() as u64;
        Vec::from([RING..device, device + bytes as u64..end])
    }

    pub(crate) fn image(&self) -> Image {
        let bytes = |part: &Part| {
            let mut bytes = vec![0; part.whole.len()];
            part.whole.view().read(0, &mut bytes).unwrap();
            bytes
        };
        Image(self.parts.iter().map(bytes).collect())
    }

    /// How many bytes changed since `before`, each of them within one of `allowed`.
    pub(crate) fn changed(&self, before: &Image, allowed: &[Range<u64>]) -> usize {
        let mut count = 0;
        let after = self.image();
        for (part, (before, after)) in self.parts.iter().zip(before.0.iter().zip(&after.0)) {
            if before == after {
                continue;
            }
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                if before != after {
                    let inside = (GUARD..part.whole.len() - GUARD).contains(&at);
                    let address = part.start.wrapping_add(at as u64) - GUARD as u64;
                    let may = inside && allowed.iter().any(|range| range.contains(&address));
                    assert!(may, "the byte at {address:#x} was written");
                    count += 1;
                }
            }
        }
        count
    }

    /// What was given to nobody, and what nobody named, is as it was.
    pub(crate) fn check_guards(&self) {
        for (part, bytes) in self.parts.iter().zip(self.image().0) {
            let (before, rest) = bytes.split_at(GUARD);
            let (inside, after) = rest.split_at(rest.len() - GUARD);
            let untouched = before.iter().chain(after).all(|byte| *byte == CANARY);
            assert!(untouched, "written around {:#x}", part.start);
            let unnamed = part.start == UNNAMED;
            assert!(
                !unnamed || inside.iter().all(|byte| *byte == 0),
                "memory that no descriptor names was written"
            );
        }
    }

    /// The bytes at these addresses, one after the other.
    pub(crate) fn bytes(&self, segments: &[Segment]) -> Vec<u8> {
        let byte = |address| -> u8 {
            let memory = self.map.shared(address, 1).unwrap();
            memory.view().read_value(0).unwrap()
        };
        let addresses =
            |segment: &Segment| segment.address..segment.address + u64::from(segment.len);
        segments.iter().flat_map(addresses).map(byte).collect()
    }
}

/// The addresses of segments.
pub(crate) fn ranges(segments: &[Segment]) -> Vec<Range<u64>> {
    let range = |segment: &Segment| segment.address..segment.address + u64::from(segment.len);
    segments.iter().map(range).collect()
}
