//! A device that holds chains, and the memory of their buffers with them, as one does whose requests
//! are with the kernel: what it was asked for it does, however the memory is shown meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringway_device::model::{Device, Worker};
use ringway_ring::device::{Batch, Chain, Violation};
use ringway_ring::shared::Shared;
use ringway_spec::{DeviceId, Features};

use crate::served::LIMIT;

/// What it has done so far.
#[derive(Default)]
pub(crate) struct Done {
    taken: AtomicU64,
    completed: AtomicU64,
}

impl Done {
    pub(crate) fn completed(&self) -> u64 {
        self.completed.load(Ordering::SeqCst)
    }

    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Waits until it has taken so many chains.
    pub(crate) fn wait_for_taken(&self, chains: u64) {
        let end = std::time::Instant::now() + LIMIT;
        while self.taken() < chains {
            assert!(std::time::Instant::now() < end, "{} taken", self.taken());
            std::thread::yield_now();
        }
    }
}

/// Writes 1 to the first byte of each buffer, when it was served so many times after it took it.
pub(crate) struct Holder {
    pub(crate) serves: u32,
    pub(crate) done: Arc<Done>,
}

/// Never.
pub(crate) const NEVER: u32 = u32::MAX;

impl Holder {
    pub(crate) fn new(serves: u32) -> Self {
        Self {
            serves,
            done: Arc::default(),
        }
    }
}

impl Device for Holder {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[256]
    }

    fn config_bytes(&self) -> usize {
        // So that a front-end hears of changes of it.
        1
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn worker(&mut self, _index: u16, _features: Features) -> Box<dyn Worker> {
        Box::new(Holding {
            serves: self.serves,
            done: self.done.clone(),
            held: Vec::new(),
        })
    }

    fn reset(&mut self) {}
}

struct Holding {
    serves: u32,
    done: Arc<Done>,
    held: Vec<Held>,
}

struct Held {
    chain: Chain,
    buffer: Option<Shared>,
    /// How often it has been served since.
    served: u32,
}

impl Worker for Holding {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            let run = batch.writable(&chain).next_run();
            self.held.push(Held {
                buffer: run.ok().and_then(|run| run.to_shared()),
                chain,
                served: 0,
            });
            self.done.taken.fetch_add(1, Ordering::SeqCst);
        }
        for mut held in std::mem::take(&mut self.held) {
            held.served += 1;
            if self.serves == NEVER || held.served < self.serves {
                self.held.push(held);
                continue;
            }
            let Held { chain, buffer, .. } = held;
            let wrote = buffer.is_some_and(|buffer| buffer.view().write(0, &[1]).is_ok());
            self.done.completed.fetch_add(1, Ordering::SeqCst);
            batch.complete(chain, wrote.into());
        }
        Ok(())
    }

    fn is_busy(&self) -> bool {
        !self.held.is_empty()
    }
}
