//! Which processors handle the interrupts of a queue.

use super::Live;
use crate::error::Result;
use crate::interrupt::Processors;
use crate::platform::Platform;
use crate::transport::Transport;

impl<T: Transport> Live<T> {
    /// Has the interrupts of queue `index` handled by one of `processors`: a hint, which the platform
    /// may forget when the device is reset.
    ///
    /// # Errors
    ///
    /// [`Error::NoVector`](crate::Error::NoVector) if they are not the queue's alone: then they stay where they are.
    /// [`PlatformError::NoAffinity`](crate::error::PlatformError::NoAffinity) if the platform does
    /// not do this. [`Error::NoQueue`](crate::Error::NoQueue) if no such queue was started, [`Error::Gone`](crate::Error::Gone) if somebody else
    /// reset the device.
    pub fn set_affinity(&self, index: u16, processors: &Processors) -> Result<()> {
        let handler = self.held.lock().own_vector(index)?;
        Ok(self.core.platform.set_affinity(&handler, processors)?)
    }

    /// Which processors may handle the interrupts of queue `index`.
    ///
    /// # Errors
    ///
    /// As for [`set_affinity`](Self::set_affinity).
    pub fn affinity(&self, index: u16) -> Result<Processors> {
        let handler = self.held.lock().own_vector(index)?;
        Ok(self.core.platform.affinity(&handler)?)
    }
}
