//! What a device's handles share, and what outlives them: the memory that the device was told of.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::Mutex;

use super::pool::Pool;
use crate::error::PlatformError;
use crate::platform::{ANYWHERE, Leak, Platform};

/// The core of a device, from its first reset to the one that ends its use. Held by every handle.
#[derive(Debug)]
pub(crate) struct Core<P: Platform> {
    pub(crate) platform: P,
    /// Where buffers are copied through, if they are.
    pub(crate) pool: Option<Pool>,
    /// Set when the device is not driven any more.
    over: AtomicBool,
    custody: Mutex<Custody<P>>,
}

#[derive(Debug)]
struct Custody<P: Platform> {
    end: Option<End>,
    /// What dropped handles left behind.
    parked: Vec<Box<dyn Parked<P>>>,
}

/// How a device's use ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has let go of all memory: it confirmed a reset, or was never told of any.
    LetGo,
    /// It did not confirm. It may use all it was told of, for ever.
    NotConfirmed,
}

/// A queue's ring and the buffers in flight on it, without a handle.
pub(crate) trait Parked<P: Platform>: Send {
    /// Requests in flight.
    fn in_flight(&self) -> usize;

    /// Keeps all of it from everybody, for ever. Says how many buffers that are.
    fn keep(self: Box<Self>) -> usize;

    /// Frees all of it. The device has let go: only called after [`End::LetGo`], or once it has
    /// confirmed a reset of the queue.
    fn release(self: Box<Self>, core: &Core<P>);
}

impl<P: Platform> fmt::Debug for dyn Parked<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parked({} in flight)", self.in_flight())
    }
}

impl<P: Platform> Core<P> {
    /// Bytes of the pool of each device, where buffers are copied.
    const POOL_BYTES: usize = 1 << 20;

    pub(crate) fn new(platform: P) -> Result<Arc<Self>, PlatformError> {
        let pool = if Self::copies(&platform) {
            const PAGE: usize = 4096;
            Some(Pool::new(platform.dma(Self::POOL_BYTES, PAGE, ANYWHERE)?))
        } else {
            None
        };
        Ok(Arc::new(Self {
            platform,
            pool,
            over: AtomicBool::new(false),
            custody: Mutex::new(Custody {
                end: None,
                parked: Vec::new(),
            }),
        }))
    }

    /// Whether the device is not driven any more.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// How the device's use ended, if it has.
    pub(crate) fn end(&self) -> Option<End> {
        self.custody.lock().end
    }

    /// Ends the device's use. What is parked is freed, or kept for ever; what is still in handles
    /// follows when they are dropped.
    pub(crate) fn finish(self: &Arc<Self>, end: End) {
        self.over.store(true, Ordering::Relaxed);
        let parked = {
            let mut custody = self.custody.lock();
            custody.end = Some(end);
            core::mem::take(&mut custody.parked)
        };
        for parked in parked {
            self.settle(parked, end);
        }
        if end == End::NotConfirmed && self.pool.is_some() {
            // The pool is the device's, too.
            core::mem::forget(Arc::clone(self));
        }
    }

    /// Takes what a dropped handle leaves behind.
    pub(crate) fn park(self: &Arc<Self>, parked: Box<dyn Parked<P>>) {
        let end = {
            let mut custody = self.custody.lock();
            match custody.end {
                Some(end) => end,
                None => {
                    custody.parked.push(parked);
                    return;
                }
            }
        };
        self.settle(parked, end);
    }

    fn settle(self: &Arc<Self>, parked: Box<dyn Parked<P>>, end: End) {
        match end {
            End::LetGo => parked.release(self),
            End::NotConfirmed => self.platform.leaked(Leak {
                queues: 1,
                buffers: parked.keep(),
            }),
        }
    }
}

impl<P: Platform> Drop for Core<P> {
    fn drop(&mut self) {
        // A device whose use never ended (its handle was forgotten while the core was not, which
        // cannot be: the handle holds the core) would still own what is parked. Keep it so.
        for parked in self.custody.get_mut().parked.drain(..) {
            core::mem::forget(parked);
        }
    }
}
