//! Taking a queue back from a device that goes on, and giving it another ring.
//!
//! Spec: VIRTIO 1.4 §2.6.1 "Virtqueue Reset".

use alloc::sync::Arc;

use ringway_spec::F;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::buffer::Buffer;
use super::given::Data;
use super::queue::{Hold, Pending, Queue, QueueOptions};
use crate::bringup::Live;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::transport::Transport;

impl<P, B, Q, A> Queue<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    /// Takes the queue, and it alone, back from `device`, whose queue it is. What the device had not
    /// completed it has forgotten: the buffers are to be [reclaimed](Self::reclaim). It mends a
    /// queue whose device broke a rule of the ring.
    ///
    /// # Errors
    ///
    /// [`Violation::QueueResetNotConfirmed`](crate::error::Violation::QueueResetNotConfirmed) if
    /// the device did not confirm it in time: the queue is not driven any more, what is in flight
    /// stays in custody. Try again, or reset the device. [`Error::FeaturesMissing`] without
    /// `RING_RESET`, [`Error::NoQueue`] if it is another device's: nothing has changed then.
    pub fn reset<T: Transport<Platform = P>>(&mut self, device: &mut Live<T>) -> Result<()> {
        self.check(device)?;
        let index = self.pending.index;
        let custody = &mut self.pending.custody;
        if custody.hold == Hold::LetGo {
            return Ok(());
        }
        custody.hold = Hold::Unconfirmed;
        device.reset_queue(index)?;
        custody.hold = Hold::LetGo;
        Ok(())
    }

    /// Begins again after a [reset](Self::reset), with a new ring of at most `size` descriptors,
    /// rounded as [`QueueOptions::size`] is. Buffers that were not reclaimed are dropped. Tokens of
    /// requests from before mean nothing any more; what was counted stays.
    ///
    /// # Errors
    ///
    /// [`Error::StillDriven`] if the queue was not reset. [`Error::Platform`] if there is no memory
    /// for the ring: try again. [`Violation::QueueNotEnabled`] and [`Error::Transport`] if the
    /// device did not take it: the queue can be reset again.
    ///
    /// [`Violation::QueueNotEnabled`]: crate::error::Violation::QueueNotEnabled
    pub fn restart<T: Transport<Platform = P>>(
        &mut self,
        device: &mut Live<T>,
        size: u16,
    ) -> Result<()> {
        self.check(device)?;
        let old = &self.pending;
        if old.custody.hold != Hold::LetGo {
            return Err(Error::StillDriven);
        }
        let (index, signal) = (old.index, Arc::clone(&old.signal));
        let options = QueueOptions {
            size,
            ..old.options
        };
        let size_max = device.queue_size_max(index)?;
        let features = device.features();
        let mut fresh = Pending::new(
            &old.custody.core,
            index,
            size_max,
            // A queue alone is reset by devices that have `VERSION_1` only.
            Dialect::Modern,
            features,
            &options,
        )?;
        // The old ring is freed here. The new one is in custody before the device knows of it.
        fresh.signal = signal;
        self.pending = fresh;
        if !self.interrupts() {
            self.disarm();
        }
        let told = device.restart_queue(index, &self.pending.setup);
        if told.is_err() {
            self.pending.custody.hold = Hold::Unconfirmed;
        }
        told
    }

    /// [Resets](Self::reset) the queue, hands what was in flight to `back`, request by request, and
    /// [restarts](Self::restart) it at another size.
    ///
    /// # Errors
    ///
    /// Those of the two. On those of the first, no buffer has come back.
    pub fn resize<T: Transport<Platform = P>>(
        &mut self,
        device: &mut Live<T>,
        size: u16,
        mut back: impl FnMut(Data<B>),
    ) -> Result<()> {
        self.reset(device)?;
        // As many turns as there are requests in flight.
        while let Some(data) = self.reclaim()? {
            back(data);
        }
        self.restart(device, size)
    }

    /// Finds that `device` is the one whose queue this is, and can take part.
    fn check<T: Transport<Platform = P>>(&self, device: &Live<T>) -> Result<()> {
        if !device.has(&self.pending.custody.core) {
            return Err(Error::NoQueue(self.pending.index));
        }
        if !device.features().contains(F::RING_RESET) {
            return Err(Error::FeaturesMissing(F::RING_RESET));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
