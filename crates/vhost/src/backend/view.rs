//! The front-end's memory as one ring sees it.

use std::sync::Arc;

use ringway_device::task::Memory;
use ringway_ring::driver::Areas;
use ringway_ring::map::Map;
use ringway_spec::{F, packed, split};

use super::{Refusal, Start};
use crate::memory::{Losses, Table};

/// What a ring sees while it runs. The table may change only while no ring runs, so a view never
/// does, and the task asks for it without a lock.
///
/// The one place where addresses that a driver uses become memory: with translations between (an
/// IOMMU), [`areas`](Self::areas) and the map are what they change.
#[derive(Debug)]
pub(super) struct View {
    map: Arc<Map>,
    losses: Losses,
}

impl View {
    /// What there is now.
    pub(super) fn new(table: &Table) -> Self {
        Self {
            map: table.map(),
            losses: table.losses(),
        }
    }

    /// Where the parts of a ring are, by the driver's addresses. The front-end says it by its own.
    pub(super) fn areas(table: &Table, ring: &Start) -> Result<Areas, Refusal> {
        let [descriptor, driver, device] = if ring.features.contains(F::RING_PACKED) {
            let wish = packed::EVENT_BYTES;
            [packed::descriptor_bytes(ring.size), wish, wish]
        } else {
            [
                split::descriptor_bytes(ring.size),
                split::available_bytes(ring.size),
                split::used_bytes(ring.size),
            ]
        };
        let index = ring.addresses.index;
        let find = |address: u64, len: usize| {
            table
                .guest_address(address, len as u64)
                .ok_or(Refusal::RingAddress { index, address })
        };
        Ok(Areas {
            descriptor: find(ring.addresses.descriptor, descriptor)?,
            driver: find(ring.addresses.available, driver)?,
            device: find(ring.addresses.used, device)?,
        })
    }
}

impl Memory for View {
    fn map(&self) -> Arc<Map> {
        self.map.clone()
    }

    fn is_lost(&self) -> bool {
        self.losses.any()
    }
}
