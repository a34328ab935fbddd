//! What devices can reach: RAM, and with
//! [`Trust::Revoked`](ringway_driver::platform::Trust::Revoked) the buffers that are mapped at the
//! moment, at addresses of their own.

use core::sync::atomic::{Ordering, fence};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock, Weak};
use std::thread;

use ringway_device::task::Memory;
use ringway_ring::map::{Map, MapError, Region};
use ringway_ring::shared::Shared;

use crate::layout::{IOVA, PAGE};
use crate::sync::{lock, read, write};

/// The devices' view of memory. Another view replaces it whenever a buffer is mapped or unmapped.
#[derive(Debug)]
pub(crate) struct Iommu {
    ram: Region,
    current: RwLock<Arc<Map>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The address of the next mapping. None is given out twice: one that was revoked never comes
    /// to mean another buffer.
    next: u64,
    mapped: BTreeMap<u64, Shared>,
    /// Views that were replaced, and may be in use.
    replaced: Vec<Weak<Map>>,
}

impl Iommu {
    /// Nothing is mapped but RAM.
    pub(crate) fn new(ram: Region) -> Result<Self, MapError> {
        let map = Map::new(vec![ram.clone()])?;
        Ok(Self {
            ram,
            current: RwLock::new(Arc::new(map)),
            state: Mutex::new(State {
                next: IOVA.start,
                mapped: BTreeMap::new(),
                replaced: Vec::new(),
            }),
        })
    }

    /// Lets devices reach `memory`, at the address returned. `None` if there is no address or no
    /// place for it in the view.
    pub(crate) fn map(&self, memory: Shared) -> Option<u64> {
        let mut state = lock(&self.state);
        // As far into its page as the bytes are, as an IOMMU would have it. A page between mappings
        // finds who goes too far.
        let within = memory.base().addr().get() as u64 % PAGE;
        let address = state.next + within;
        let end = address.checked_add(memory.len() as u64)?;
        let next = end.checked_next_multiple_of(PAGE)?.checked_add(PAGE)?;
        if memory.is_empty() || next > IOVA.end {
            return None;
        }
        state.mapped.insert(address, memory);
        if self.replace(&mut state).is_err() {
            state.mapped.remove(&address);
            return None;
        }
        state.next = next;
        Some(address)
    }

    /// Ends what [`map`](Self::map) began. When it returns, no queue is served with a view that has
    /// the bytes at `address`.
    ///
    /// It waits for the batches that are being served. Each ends by itself: it has no more chains
    /// than its queue.
    pub(crate) fn unmap(&self, address: u64) {
        let replaced = {
            let mut state = lock(&self.state);
            if state.mapped.remove(&address).is_none() {
                return;
            }
            // Cannot fail: it has one region less.
            let _ = self.replace(&mut state);
            state.replaced.clone()
        };
        for view in replaced {
            while view.strong_count() != 0 {
                thread::yield_now();
            }
        }
        // What a batch did (before it dropped its view, which releases) before what the caller does
        // with the bytes. The counts (loads above) are of no order by themselves.
        fence(Ordering::Acquire);
    }

    /// How many buffers are mapped.
    pub(crate) fn mapped(&self) -> usize {
        lock(&self.state).mapped.len()
    }

    fn replace(&self, state: &mut State) -> Result<(), MapError> {
        let mapped = state.mapped.iter().map(|(&start, memory)| Region {
            start,
            memory: memory.clone(),
        });
        let map = Map::new(core::iter::once(self.ram.clone()).chain(mapped).collect())?;
        let old = core::mem::replace(&mut *write(&self.current), Arc::new(map));
        state.replaced.retain(|view| view.strong_count() != 0);
        state.replaced.push(Arc::downgrade(&old));
        Ok(())
    }
}

impl Memory for Iommu {
    fn map(&self) -> Arc<Map> {
        read(&self.current).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram;
    use std::sync::mpsc::{TryRecvError, channel};

    fn iommu() -> (Iommu, Shared) {
        let ram = ram::new(16 * PAGE as usize).unwrap();
        let buffer = ram.take(100, 1).unwrap().shared;
        (Iommu::new(ram::region(&ram)).unwrap(), buffer)
    }

    #[test]
    fn a_mapping_is_reachable_until_it_is_ended_and_never_again() {
        let (iommu, buffer) = iommu();

        let first = iommu.map(buffer.slice(10, 50).unwrap()).unwrap();
        let found = iommu.current.read().unwrap().shared(first, 50).unwrap();
        iommu.unmap(first);
        let second = iommu.map(buffer.slice(10, 50).unwrap()).unwrap();

        assert_eq!(found.base(), buffer.slice(10, 50).unwrap().base());
        assert_ne!(first, second);
        let map = Memory::map(&iommu);
        assert!(map.shared(first, 1).is_none());
        assert!(map.shared(second, 51).is_none());
        assert!(map.shared(second, 50).is_some());
    }

    #[test]
    fn ending_a_mapping_waits_for_whoever_holds_an_older_view() {
        let (iommu, buffer) = iommu();
        let address = iommu.map(buffer.clone()).unwrap();
        let held = Memory::map(&iommu);
        let other = iommu.map(buffer).unwrap();
        let (ended, was_ended) = channel();

        thread::scope(|scope| {
            let unmapping = scope.spawn(|| {
                iommu.unmap(address);
                ended.send(()).unwrap();
            });
            while Memory::map(&iommu).shared(address, 1).is_some() {
                thread::yield_now();
            }

            assert_eq!(was_ended.try_recv(), Err(TryRecvError::Empty));
            assert!(held.shared(address, 1).is_some());
            drop(held);
            unmapping.join().unwrap();
        });

        assert_eq!(was_ended.try_recv(), Ok(()));
        assert!(Memory::map(&iommu).shared(other, 1).is_some());
    }

    #[test]
    fn mappings_are_as_many_as_a_view_can_have() {
        let (iommu, buffer) = iommu();

        let addresses: Vec<_> = core::iter::from_fn(|| iommu.map(buffer.clone())).collect();

        assert_eq!(addresses.len(), ringway_ring::map::REGIONS_MAX - 1);
        iommu.unmap(addresses[7]);
        assert!(iommu.map(buffer.clone()).is_some());
        assert_eq!(iommu.mapped(), addresses.len());
    }
}
