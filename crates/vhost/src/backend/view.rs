//! The front-end's memory as the rings see it, and where they are in it.

use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use ringway_device::task::Memory;
use ringway_ring::driver::Areas;
use ringway_ring::map::{Access, Map, Missing};
use ringway_spec::{F, packed, split};

use super::{Refusal, Start};
use crate::event_loop::STOP_MAX;
use crate::iotlb::Iotlb;
use crate::memory::{Losses, Table};
use crate::sync::{read, write};

/// The longest that is waited for a batch to end. Each ends by itself; this is against a device that
/// waits for something that the front-end is to do.
const BATCH_MAX: Duration = STOP_MAX;

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

    /// Shows what there is now: more than before.
    pub(super) fn show(&self, table: &Table, iotlb: &Iotlb) {
        drop(self.replace(table, iotlb));
    }

    /// Shows what there is now: less than before. When this returns, no batch is served that sees it.
    /// What a device was asked for before, and has not done yet, it does: that is to be waited for.
    pub(super) fn hide(&self, table: &Table, iotlb: &Iotlb) -> Result<(), Refusal> {
        let before = self.replace(table, iotlb);
        let limit = Instant::now() + BATCH_MAX;
        while Arc::strong_count(&before) > 1 {
            if Instant::now() >= limit {
                return Err(Refusal::StillServed);
            }
            thread::yield_now();
        }
        Ok(())
    }

    fn replace(&self, table: &Table, iotlb: &Iotlb) -> Arc<Map> {
        let now = shown(table, Some(iotlb));
        let mut map = write(&self.map);
        core::mem::replace(&mut *map, now)
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
            // The device writes to what it gives back, and nowhere else.
            let gives_back = if ring.features.contains(F::RING_PACKED) {
                Access::ReadWrite
            } else {
                Access::Read
            };
            let parts = [
                (addresses.descriptor, descriptor, gives_back),
                (addresses.available, driver, Access::Read),
                (addresses.used, device, Access::ReadWrite),
            ];
            let unseen = parts.into_iter().filter_map(|(address, len, access)| {
                let address = iotlb.missing(address, len as u64, access)?;
                Some(Missing { address, access })
            });
            let unseen: Vec<_> = unseen.collect();
            if !unseen.is_empty() {
                return Ok(Err(Unseen(unseen)));
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

/// What is not shown of parts of a ring: of each the first byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unseen(pub(super) Vec<Missing>);

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
        let map = read(&self.map);
        Arc::clone(&map)
    }

    fn is_lost(&self) -> bool {
        self.losses.any()
    }
}
