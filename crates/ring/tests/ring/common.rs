//! One queue, both ends of it, and the memory between, reachable for a peer who cheats.

use ringway_check::hostile::{Descriptor, Forge};
use ringway_ring::device;
use ringway_ring::driver::{self, Areas, Geometry, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features};

/// Where the ring is for the device. Unlike any address of this process.
pub(crate) const RING: u64 = 0x7000_0000_0000;
/// Where buffers are for the device.
pub(crate) const BUFFERS: u64 = 0x1000;
/// Bytes of buffers.
pub(crate) const BUFFER_BYTES: usize = 0x10000;

/// The memory of a queue, and where its parts are.
pub(crate) struct Pair {
    pub(crate) ring: Shared,
    pub(crate) buffers: Shared,
    pub(crate) map: Map,
    pub(crate) geometry: Geometry,
    pub(crate) areas: Areas,
    /// A peer who cheats.
    pub(crate) forge: Forge,
}

/// Shared memory that a test may write to as a cheating peer.
impl Pair {
    /// Of a split queue.
    pub(crate) fn new(size: u16, table: u16) -> Self {
        Self::of(Geometry::new(size, table).unwrap())
    }

    /// Of a packed queue.
    pub(crate) fn packed(size: u16, table: u16) -> Self {
        Self::of(Geometry::packed(size, table).unwrap())
    }

    fn of(geometry: Geometry) -> Self {
        let ring = Shared::allocate(geometry.bytes(), 4096).unwrap();
        let buffers = Shared::allocate(BUFFER_BYTES, 4096).unwrap();
        let map = Map::new(vec![
            Region {
                start: RING,
                memory: ring.clone(),
            },
            Region {
                start: BUFFERS,
                memory: buffers.clone(),
            },
        ])
        .unwrap();
        let areas = geometry.areas(RING);
        let features = if geometry.is_packed() {
            F::RING_PACKED
        } else {
            Features::NONE
        };
        Self {
            forge: Forge::new(&map, geometry.size(), areas, features).unwrap(),
            ring,
            buffers,
            map,
            geometry,
            areas,
        }
    }

    /// `features` and that of the format.
    pub(crate) fn features(&self, features: Features) -> Features {
        if self.geometry.is_packed() {
            features | F::RING_PACKED
        } else {
            features
        }
    }

    pub(crate) fn driver<T>(&self, features: Features, start: u16) -> driver::Queue<T> {
        let features = self.features(features);
        let memory = Memory {
            shared: self.ring.clone(),
            address: RING,
        };
        driver::Queue::new(&memory, self.geometry, features, start).unwrap()
    }

    pub(crate) fn device(&self, features: Features, start: u16) -> device::Queue {
        let features = self.features(features);
        device::Queue::new(&self.map, self.geometry.size(), self.areas, features, start).unwrap()
    }

    /// Forges descriptor `index` of a packed ring.
    pub(crate) fn forge_packed(&self, index: u16, addr: u64, len: u32, id: u16, flags: u16) {
        self.forge_at(self.forge.place(index), addr, len, flags, id);
    }

    /// Forges descriptor `index` of a split ring.
    pub(crate) fn forge_descriptor(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        self.forge_at(self.forge.place(index), addr, len, flags, next);
    }

    /// Forges a descriptor anywhere: in an indirect table. The last is next of the split format, id
    /// of the packed one.
    pub(crate) fn forge_at(&self, at: u64, address: u64, len: u32, flags: u16, other: u16) {
        let descriptor = Descriptor {
            address,
            len,
            flags,
            other,
        };
        self.forge.set_descriptor(at, descriptor);
    }

    /// Descriptor `index` of the ring.
    pub(crate) fn descriptor(&self, index: u16) -> Descriptor {
        self.forge.descriptor(self.forge.place(index))
    }

    /// Makes the chains that begin at `heads` available, as a driver whose available index was
    /// `start`.
    pub(crate) fn forge_available(&self, start: u16, heads: &[u16]) {
        for (at, head) in (0..).zip(heads) {
            self.forge.set_available(start.wrapping_add(at), *head);
        }
        let index = start.wrapping_add(heads.len() as u16);
        self.forge.set_available_index(index);
    }
}

/// A run of the buffers.
pub(crate) fn segment(offset: u64, len: u32) -> Segment {
    Segment {
        address: BUFFERS + offset,
        len,
    }
}
