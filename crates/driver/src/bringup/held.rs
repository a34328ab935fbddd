//! A driver's hold on its device, in every state of bring-up.
//!
//! The link is behind a lock, since whoever [lent](super::Lender) the device reaches it, too. No
//! request takes it: queues have doorbells of their own, and learn from an atomic of the device's
//! core that its use has ended. Nor does an interrupt handler. Who asks for the status or the
//! configuration may have to wait for a reset that somebody else has begun, which is bounded.

use alloc::sync::Arc;

use spin::{Mutex, MutexGuard};

use super::config::Config;
use super::link::{Ended, Link, Next};
use crate::error::{Error, Result};
use crate::transport::Transport;

/// A driver's hold on its device. Dropped, it ends the device's use.
#[derive(Debug)]
pub(super) struct Held<T: Transport> {
    link: Arc<Mutex<Link<T>>>,
}

impl<T: Transport> Held<T> {
    pub(super) fn new(link: Link<T>) -> Self {
        Self {
            link: Arc::new(Mutex::new(link)),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Link<T>> {
        self.link.lock()
    }

    pub(super) fn config(&self) -> Config<'_, T> {
        Config::of(&self.link)
    }

    /// The link, for the lender of the device.
    pub(super) fn share(&self) -> Arc<Mutex<Link<T>>> {
        Arc::clone(&self.link)
    }

    /// Ends the device's use, and takes its transport, unless that was lent.
    pub(super) fn end(&self) -> Result<T> {
        let ended = self.lock().end().ok_or(Error::Gone)?;
        ended.settle()?;
        let mut link = self.lock();
        match link.next {
            Next::Ender => link.ended.take().ok_or(Error::Gone),
            Next::Lender => Err(Error::Gone),
        }
    }
}

impl<T: Transport> Drop for Held<T> {
    fn drop(&mut self) {
        let ended = self.lock().abandon();
        // Nobody is left to tell. What matters, the memory, is settled either way.
        let _ = ended.map(Ended::settle);
    }
}
