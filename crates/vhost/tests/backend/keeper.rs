//! A device that keeps chains, and completes them when it likes, in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_device::model::{Device, Worker};
use ringway_ring::device::{Batch, Chain, Violation};
use ringway_spec::{DeviceId, Features};

/// Writes 1 to the first byte of each buffer, and counts how often it did.
pub(crate) struct Keeper {
    /// What it does is drawn from this. 0 has it complete everything.
    pub(crate) seed: Arc<AtomicU64>,
    pub(crate) completed: Arc<AtomicU64>,
}

struct Keeping {
    seed: Arc<AtomicU64>,
    completed: Arc<AtomicU64>,
    kept: Vec<Chain>,
}

/// `SplitMix64`, of Steele, Lea and Flood.
pub(crate) fn below(seed: &AtomicU64, limit: u64) -> u64 {
    let mut mixed = seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % limit
}

impl Keeper {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed: Arc::new(AtomicU64::new(seed)),
            completed: Arc::default(),
        }
    }
}

impl Device for Keeper {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[256; 3]
    }

    fn config_bytes(&self) -> usize {
        // So that a front-end hears of changes of it.
        1
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn worker(&mut self, _index: u16, _features: Features) -> Box<dyn Worker> {
        Box::new(Keeping {
            seed: self.seed.clone(),
            completed: self.completed.clone(),
            kept: Vec::new(),
        })
    }

    fn reset(&mut self) {}
}

impl Worker for Keeping {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            self.kept.push(chain);
        }
        let is_last = self.seed.load(Ordering::Relaxed) == 0;
        let keep = if is_last {
            0
        } else {
            below(&self.seed, self.kept.len() as u64 + 1) as usize
        };
        while self.kept.len() > keep {
            let at = if is_last {
                0
            } else {
                below(&self.seed, self.kept.len() as u64) as usize
            };
            let chain = self.kept.swap_remove(at);
            // Where it does not reach, somebody took the memory away.
            let wrote = batch.writable(&chain).write(&[1]);
            self.completed.fetch_add(1, Ordering::Relaxed);
            batch.complete(chain, wrote.is_ok().into());
        }
        Ok(())
    }
}
