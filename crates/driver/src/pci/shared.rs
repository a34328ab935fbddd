//! Regions of memory that a device shows. Spec: VIRTIO 1.4 §4.1.4.7 "Shared memory capability".

use ringway_spec::pci::Capability64;
use ringway_spec::pci::config::{CAPABILITIES_START, SIZE};

use crate::transport::SharedMemory;

/// Most regions that a function can say it has: so many capabilities have room beside each other.
const MOST: usize = (SIZE - CAPABILITIES_START) / size_of::<Capability64>();

/// The regions of a device, by their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Regions([Option<(u8, SharedMemory)>; MOST]);

impl Regions {
    /// Adds a region. Of several with the same id, the first counts.
    pub(super) fn add(&mut self, id: u8, region: SharedMemory) {
        if let Some(free) = self.0.iter_mut().find(|known| known.is_none()) {
            *free = Some((id, region));
        }
    }

    pub(super) fn find(&self, id: u8) -> Option<SharedMemory> {
        let mut known = self.0.iter().flatten();
        known.find(|known| known.0 == id).map(|known| known.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_regions_with_one_id_the_first_counts_and_more_than_have_room_do_not() {
        let region = |address| SharedMemory { address, len: 1 };
        let mut regions = Regions::default();

        for (id, address) in (0..10).chain(0..2).zip(0x1000..) {
            regions.add(id, region(address));
        }

        assert_eq!(regions.find(0), Some(region(0x1000)));
        assert_eq!(regions.find(7), Some(region(0x1007)));
        assert_eq!(regions.find(8), None);
    }
}
