//! One queue, both ends of it, and the memory between, reachable for a peer who cheats.

use ringway_ring::device;
use ringway_ring::driver::{self, Areas, Geometry, Memory, Segment};
use ringway_ring::map::{Map, Region};
use ringway_ring::shared::Shared;
use ringway_spec::{F, Features, packed, split};

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
        Self {
            ring,
            buffers,
            map,
            geometry,
            areas: geometry.areas(RING),
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
        self.forge_at(RING + u64::from(index) * 16, addr, len, id, flags);
    }

    /// Forges what the device of a packed ring wants to be told of.
    pub(crate) fn forge_device_wish(&self, desc: u16, flags: u16) {
        self.write16(self.areas.device, 0, desc);
        self.write16(self.areas.device, 2, flags);
    }

    /// What the driver of a packed ring wants to be told of: descriptor, and flags.
    pub(crate) fn driver_wish(&self) -> (u16, u16) {
        let read = |at| self.read16(self.areas.driver, at);
        (read(0), read(2))
    }

    /// Descriptor `index` of a packed ring.
    pub(crate) fn packed_descriptor(&self, index: u16) -> packed::Descriptor {
        let at = usize::from(index) * 16;
        self.ring.view().read_value(at).unwrap()
    }

    /// Forges element `slot` of the used ring.
    pub(crate) fn forge_used(&self, slot: u16, id: u32, len: u32) {
        let at = self.offset(self.areas.device) + split::RING + usize::from(slot) * 8;
        self.ring.view().write(at, &id.to_le_bytes()).unwrap();
        self.ring.view().write(at + 4, &len.to_le_bytes()).unwrap();
    }

    /// Forges the used index.
    pub(crate) fn forge_used_index(&self, index: u16) {
        self.write16(self.areas.device, split::INDEX, index);
    }

    /// Forges the used ring's flags.
    pub(crate) fn forge_used_flags(&self, flags: u16) {
        self.write16(self.areas.device, split::FLAGS, flags);
    }

    /// Forges the device's event field.
    pub(crate) fn forge_available_event(&self, event: u16) {
        self.write16(
            self.areas.device,
            split::avail_event_offset(self.geometry.size()),
            event,
        );
    }

    /// Forges descriptor `index`.
    pub(crate) fn forge_descriptor(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        self.forge_at(RING + u64::from(index) * 16, addr, len, flags, next);
    }

    /// Forges a descriptor anywhere: in an indirect table. The last two are flags and next of the
    /// split format, id and flags of the packed one.
    pub(crate) fn forge_at(&self, address: u64, addr: u64, len: u32, third: u16, fourth: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&third.to_le_bytes());
        bytes[14..].copy_from_slice(&fourth.to_le_bytes());
        self.map
            .shared(address, 16)
            .unwrap()
            .view()
            .write(0, &bytes)
            .unwrap();
    }

    /// Makes the chains that begin at `heads` available, as a driver whose available index was
    /// `start`.
    pub(crate) fn forge_available(&self, start: u16, heads: &[u16]) {
        for (at, head) in (0..).zip(heads) {
            let at = start.wrapping_add(at);
            let slot = usize::from(at % self.geometry.size()) * 2;
            self.write16(self.areas.driver, split::RING + slot, *head);
        }
        self.forge_available_index(start.wrapping_add(heads.len() as u16));
    }

    /// Forges the available index.
    pub(crate) fn forge_available_index(&self, index: u16) {
        self.write16(self.areas.driver, split::INDEX, index);
    }

    /// What the driver asks of interrupts: flags, and its event field.
    pub(crate) fn interrupt_wish(&self) -> (u16, u16) {
        let event = split::used_event_offset(self.geometry.size());
        (
            self.read16(self.areas.driver, split::FLAGS),
            self.read16(self.areas.driver, event),
        )
    }

    fn offset(&self, address: u64) -> usize {
        usize::try_from(address - RING).unwrap()
    }

    fn write16(&self, area: u64, offset: usize, value: u16) {
        let at = self.offset(area) + offset;
        self.ring.view().write(at, &value.to_le_bytes()).unwrap();
    }

    fn read16(&self, area: u64, offset: usize) -> u16 {
        let mut bytes = [0; 2];
        self.ring
            .view()
            .read(self.offset(area) + offset, &mut bytes)
            .unwrap();
        u16::from_le_bytes(bytes)
    }
}

/// A run of the buffers.
pub(crate) fn segment(offset: u64, len: u32) -> Segment {
    Segment {
        address: BUFFERS + offset,
        len,
    }
}
