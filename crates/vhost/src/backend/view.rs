//! The front-end's memory as the rings see it, and where they are in it.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use ringway_device::task::Memory;
use ringway_ring::driver::Areas;
use ringway_ring::map::Map;
use ringway_spec::{F, packed, split};

use super::{Refusal, Start};
use crate::iotlb::Iotlb;
use crate::memory::{Losses, Table};

/// The longest that is waited for a batch to end. Each ends by itself; this is against a device that
/// waits for something that the front-end is to do.
const BATCH_MAX: Duration = Duration::from_secs(1);

/// What rings see while they run. The table may change only while none does; what an IOMMU shows of it
/// changes at any time.
#[derive(Debug)]
pub(super) struct View {
    map: RwLock<Arc<Map>>,
    losses: Losses,
}

impl View {
    /// What there is now: all of the table, or what an IOMMU shows of it.
    pub(super) fn new(table: &Table, iotlb: Option<&Iotlb>) -> Self {
        Self {
            map: RwLock::new(shown(table, iotlb)),
            losses: table.losses(),
        }
    }

    /// Shows what there is now. When this returns, no batch is served that sees what was before.
    pub(super) fn show(&self, table: &Table, iotlb: &Iotlb) {
        let now = shown(table, Some(iotlb));
        let mut map = self.map.write().unwrap_or_else(PoisonError::into_inner);
        let before = core::mem::replace(&mut *map, now);
        drop(map);
        let limit = Instant::now() + BATCH_MAX;
        while Arc::strong_count(&before) > 1 && Instant::now() < limit {
            thread::yield_now();
        }
    }

    /// Where the parts of a ring are, by the driver's addresses. The front-end says it by its own; or,
    /// with an IOMMU, by the driver's: `Err` in `Ok` is then a part that is not shown yet.
    pub(super) fn areas(
        table: &Table,
        iotlb: Option<&Iotlb>,
        ring: &Start,
    ) -> Result<Result<Areas, Unseen>, Refusal> {
        let [descriptor, driver, device] = lengths(ring);
        let addresses = ring.addresses;
        if let Some(iotlb) = iotlb {
            let parts = [
                (addresses.descriptor, descriptor),
                (addresses.available, driver),
                (addresses.used, device),
            ];
            let unseen: Vec<_> = parts
                .into_iter()
                .filter(|&(address, len)| !iotlb.covers(address, len as u64))
                .collect();
            if !unseen.is_empty() {
                return Ok(Err(Unseen(unseen.into_iter().map(|(at, _)| at).collect())));
            }
            return Ok(Ok(Areas {
                descriptor: addresses.descriptor,
                driver: addresses.available,
                device: addresses.used,
            }));
        }
        let index = addresses.index;
        let find = |address: u64, len: usize| {
            table
                .guest_address(address, len as u64)
                .ok_or(Refusal::RingAddress { index, address })
        };
        Ok(Ok(Areas {
            descriptor: find(addresses.descriptor, descriptor)?,
            driver: find(addresses.available, driver)?,
            device: find(addresses.used, device)?,
        }))
    }
}

/// Where parts of a ring begin that are not all shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unseen(pub(super) Vec<u64>);

fn shown(table: &Table, iotlb: Option<&Iotlb>) -> Arc<Map> {
    match iotlb {
        Some(iotlb) => Arc::new(iotlb.map(table)),
        None => table.map(),
    }
}

/// Bytes of the three parts of a ring.
fn lengths(ring: &Start) -> [usize; 3] {
    if ring.features.contains(F::RING_PACKED) {
        let wish = packed::EVENT_BYTES;
        [packed::descriptor_bytes(ring.size), wish, wish]
    } else {
        [
            split::descriptor_bytes(ring.size),
            split::available_bytes(ring.size),
            split::used_bytes(ring.size),
        ]
    }
}

impl Memory for View {
    fn map(&self) -> Arc<Map> {
        let map = self.map.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&map)
    }

    fn is_lost(&self) -> bool {
        self.losses.any()
    }
}
