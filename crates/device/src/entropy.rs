//! The entropy device: gives random bytes from a [`Source`].
//!
//! Spec: VIRTIO 1.4 §5.4 "Entropy Device".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use ringway_ring::device::{Batch, Violation, Writable};
use ringway_spec::{DeviceId, Features};
use spin::Mutex;

use crate::error::Result;
use crate::model::{Device, Worker};

/// Where random bytes come from.
pub trait Source: Send {
    /// Fills `into` with random bytes.
    ///
    /// # Errors
    ///
    /// [`Error`](crate::Error) if there are none now. What is in `into` is not used.
    fn fill(&mut self, into: &mut [u8]) -> Result;
}

/// Most bytes given for one request (§5.4.6.2 lets a device give fewer than asked), so that a driver that asks for 4 GiB at a time can neither
/// drain the source nor keep a reset waiting.
pub const REQUEST_BYTES_MAX: u64 = 64 * 1024;

/// The largest size of the queue.
const QUEUE_SIZE: u16 = 256;

/// Bytes drawn from the source at a time.
const BOUNCE_BYTES: usize = 4096;

/// An entropy device.
pub struct Entropy<S> {
    /// Shared with the worker, which alone uses it, and which is made anew after a reset.
    source: Arc<Mutex<S>>,
}

impl<S: Source + 'static> Entropy<S> {
    /// A device that draws on `source`.
    pub fn new(source: S) -> Self {
        Self {
            source: Arc::new(Mutex::new(source)),
        }
    }
}

impl<S: Source + 'static> Device for Entropy<S> {
    fn id(&self) -> DeviceId {
        DeviceId::ENTROPY
    }

    fn features(&self) -> Features {
        Features::NONE
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, _offset: usize, _into: &mut [u8]) {}

    fn write_config(&mut self, _offset: usize, _from: &[u8]) {}

    fn activate(&mut self, _features: Features) -> Vec<Box<dyn Worker>> {
        let requests = Requests {
            source: self.source.clone(),
            bounce: vec![0; BOUNCE_BYTES].into_boxed_slice(),
        };
        vec![Box::new(requests)]
    }

    fn reset(&mut self) {}
}

/// Serves the request queue.
struct Requests<S> {
    source: Arc<Mutex<S>>,
    bounce: Box<[u8]>,
}

impl<S: Source> Worker for Requests<S> {
    fn serve(&mut self, batch: &mut Batch<'_>) -> Result<(), Violation> {
        while let Some(chain) = batch.next_chain()? {
            let written = self.give(&mut chain.writable(batch.map()));
            batch.complete(chain, written);
        }
        Ok(())
    }
}

impl<S: Source> Requests<S> {
    /// Writes random bytes, and says how many. Fewer than there is room for if there are many, or the source fails.
    fn give(&mut self, to: &mut Writable<'_>) -> u32 {
        let mut source = self.source.lock();
        let mut left = to.remaining().min(REQUEST_BYTES_MAX) as usize;
        let mut written = 0_u32;
        while left != 0 {
            let Some(bytes) = self.bounce.get_mut(..left.min(BOUNCE_BYTES)) else {
                break;
            };
            if source.fill(bytes).is_err() || to.write(bytes).is_err() {
                break;
            }
            left = left.saturating_sub(bytes.len());
            written = written.saturating_add(bytes.len() as u32);
        }
        written
    }
}
