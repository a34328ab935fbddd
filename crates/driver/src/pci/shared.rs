//! Regions of memory that a device shows. Spec: VIRTIO 1.4 §4.1.4.7 "Shared memory capability".

use ringway_spec::pci::Capability64;
use ringway_spec::pci::config::{CAPABILITIES_START, SIZE};

use crate::transport::SharedMemory;

/// Most regions that a function can say it has: so many capabilities have room beside each other.
const MOST: usize = (SIZE - CAPABILITIES_START) / size_of::<Capability64>();

/// The regions of a device, and the id of each. A place without a region has no bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regions {
    ids: [u8; MOST],
    regions: [SharedMemory; MOST],
}

impl Regions {
    pub(super) const NONE: Self = Self {
        ids: [0; MOST],
        regions: [SharedMemory { address: 0, len: 0 }; MOST],
    };

    /// Adds a region. Of several with the same id, the first counts.
    pub(super) fn add(&mut self, id: u8, region: SharedMemory) {
        let mut places = self.ids.iter_mut().zip(&mut self.regions);
        if let Some(free) = places.find(|(_, region)| region.len == 0) {
            (*free.0, *free.1) = (id, region);
        }
    }

    pub(super) fn find(&self, id: u8) -> Option<SharedMemory> {
        let mut known = self.ids.iter().zip(&self.regions);
        let found = known.find(|(known, region)| **known == id && region.len != 0);
        found.map(|(_, region)| *region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_regions_with_one_id_the_first_counts_and_more_than_have_room_do_not() {
        let region = |address| SharedMemory { address, len: 1 };
        let mut regions = Regions::NONE;

        for (id, address) in (0..10).chain(0..2).zip(0x1000..) {
            regions.add(id, region(address));
        }

        assert_eq!(regions.find(0), Some(region(0x1000)));
        assert_eq!(regions.find(7), Some(region(0x1007)));
        assert_eq!(regions.find(8), None);
        assert_eq!(Regions::NONE.find(0), None);
    }
}
