//! The entropy device: gives random bytes from a [`Source`].
//!
//! Spec: VIRTIO 1.4 §5.4 "Entropy Device".

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;

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

/// Most bytes given for one request (§5.4.6.2 lets a device give fewer than asked), so that a
/// driver that asks for 4 GiB at a time can neither drain the source nor keep a reset waiting.
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

    fn worker(&mut self, _index: u16, _features: Features) -> Box<dyn Worker> {
        Box::new(Requests {
            source: self.source.clone(),
            bounce: vec![0; BOUNCE_BYTES].into_boxed_slice(),
        })
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
            let written = self.give(&mut batch.writable(&chain));
            batch.complete(chain, written);
        }
        Ok(())
    }
}

impl<S: Source> Requests<S> {
    /// Writes random bytes, and says how many. Fewer than there is room for if there are many, or
    /// the source fails.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::testing::{Answer, Loop, UNTOUCHED};

    /// Counts, until it runs dry.
    struct Counter {
        next: u8,
        left: usize,
    }

    impl Source for Counter {
        fn fill(&mut self, into: &mut [u8]) -> Result {
            self.left = self.left.checked_sub(into.len()).ok_or(Error::Medium)?;
            for byte in into {
                *byte = self.next;
                self.next = self.next.wrapping_add(1);
            }
            Ok(())
        }
    }

    fn entropy(left: usize) -> Loop {
        Loop::new(&mut Entropy::new(Counter { next: 1, left }), Features::NONE)
    }

    #[test]
    fn a_request_is_filled_across_its_descriptors_and_its_length_is_told() {
        let answer = entropy(1 << 20).request(&[], &[1, 3, 2]);

        let bytes = vec![1, 2, 3, 4, 5, 6];
        assert_eq!(answer, Ok(Answer { written: 6, bytes }));
    }

    #[test]
    fn the_next_request_gets_the_next_bytes() {
        let mut entropy = entropy(1 << 20);

        let first = entropy.request(&[], &[2]).unwrap();
        let second = entropy.request(&[], &[2]).unwrap();

        assert_eq!((first.bytes, second.bytes), (vec![1, 2], vec![3, 4]));
    }

    #[test]
    fn a_request_for_more_than_the_most_gets_the_most() {
        let most = REQUEST_BYTES_MAX as usize;

        let answer = entropy(1 << 20).request(&[], &[most, 512]).unwrap();

        assert_eq!(u64::from(answer.written), REQUEST_BYTES_MAX);
        assert_eq!(answer.bytes[most - 1], (most as u32) as u8);
        assert_eq!(answer.bytes[most..], [UNTOUCHED; 512]);
    }

    #[test]
    fn a_chain_without_writable_bytes_is_given_back_with_nothing_written() {
        let answer = entropy(1 << 20).request(&[b"why"], &[]);

        let bytes = vec![];
        assert_eq!(answer, Ok(Answer { written: 0, bytes }));
    }

    /// Devices' defect 7: a length larger than what was written.
    #[test]
    fn a_source_that_fails_has_written_nothing() {
        let answer = entropy(0).request(&[], &[16]);

        let bytes = vec![UNTOUCHED; 16];
        assert_eq!(answer, Ok(Answer { written: 0, bytes }));
    }

    #[test]
    fn a_source_that_fails_half_way_has_written_what_came_before() {
        let answer = entropy(BOUNCE_BYTES)
            .request(&[], &[2 * BOUNCE_BYTES])
            .unwrap();

        assert_eq!(answer.written as usize, BOUNCE_BYTES);
        assert_eq!(answer.bytes[BOUNCE_BYTES..], [UNTOUCHED; BOUNCE_BYTES]);
    }

    #[test]
    fn it_has_one_queue_no_features_and_no_configuration() {
        let device = Entropy::new(Counter { next: 0, left: 0 });
        let mut bytes = [0; 4];

        device.read_config(0, &mut bytes);

        assert_eq!(device.id(), DeviceId::ENTROPY);
        assert_eq!(device.features(), Features::NONE);
        assert_eq!(device.queue_sizes(), [QUEUE_SIZE]);
        assert_eq!(bytes, [0; 4]);
    }
}
