//! Memory through which buffers are copied when a device is not to see anything else
//! ([`Trust::Pool`](crate::platform::Trust::Pool)).

use alloc::boxed::Box;
use alloc::vec;
use ringway_ring::driver::Memory;
use ringway_ring::shared::View;
use spin::Mutex;

/// What is handed out is a whole number of these, in bytes.
const GRAIN: usize = 512;

/// A stretch of memory shared with the device for as long as the device is driven, handed out in
/// runs of grains.
#[derive(Debug)]
pub(crate) struct Pool {
    memory: Memory,
    free: Mutex<Box<[bool]>>,
}

impl Pool {
    pub(crate) fn new(memory: Memory) -> Self {
        let grains = memory.shared.len() / GRAIN;
        Self {
            memory,
            free: Mutex::new(vec![true; grains].into_boxed_slice()),
        }
    }

    /// The most bytes that one run can have.
    pub(crate) fn limit(&self) -> usize {
        self.memory.shared.len() / GRAIN * GRAIN
    }

    /// Takes a run of at least `len` bytes: its place in the pool. First fit.
    pub(crate) fn take(&self, len: usize) -> Option<u64> {
        let wanted = len.div_ceil(GRAIN).max(1);
        let mut free = self.free.lock();
        let mut run = 0;
        let end = free.iter().position(|free| {
            run = if *free { run + 1 } else { 0 };
            run == wanted
        })? + 1;
        let start = end - wanted;
        free.get_mut(start..end)?.fill(false);
        Some((start * GRAIN) as u64)
    }

    /// Gives back the run of `len` bytes at `place`.
    pub(crate) fn give_back(&self, place: u64, len: usize) {
        let start = place as usize / GRAIN;
        let end = start + len.div_ceil(GRAIN).max(1);
        if let Some(run) = self.free.lock().get_mut(start..end) {
            run.fill(true);
        }
    }

    /// The bytes of a run.
    pub(crate) fn view(&self, place: u64, len: usize) -> Option<View<'_>> {
        self.memory.shared.view().slice(place as usize, len)
    }

    /// Where the device finds a run.
    pub(crate) fn address(&self, place: u64) -> u64 {
        self.memory.address.wrapping_add(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_ring::shared::Shared;
    use std::vec::Vec;

    #[test]
    fn runs_never_overlap_and_come_back() {
        let shared = Shared::allocate(8 * GRAIN, 64).unwrap();
        let pool = Pool::new(Memory {
            shared,
            address: 0x1_0000,
        });

        let first = pool.take(3 * GRAIN).unwrap();
        let second = pool.take(1).unwrap();
        let third = pool.take(4 * GRAIN).unwrap();

        assert_eq!(
            [first, second, third].map(|place| place / GRAIN as u64),
            [0, 3, 4]
        );
        assert_eq!(pool.address(second), 0x1_0000 + 3 * GRAIN as u64);
        assert_eq!(pool.take(1), None);
        pool.give_back(second, 1);
        assert_eq!(pool.take(GRAIN + 1), None);
        assert_eq!(pool.take(GRAIN), Some(second));
        for (place, len) in Vec::from([(first, 3 * GRAIN), (second, 1), (third, 4 * GRAIN)]) {
            pool.give_back(place, len);
        }
        assert_eq!(pool.take(pool.limit()), Some(0));
    }
}
