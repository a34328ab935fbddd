//! Lending a device to a driver, so that it can be taken back whatever becomes of the driver's
//! handles.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_spec::{F, Features, Status};
use spin::{Mutex, MutexGuard};

use super::config::Config;
use super::held::Held;
use super::link::{Ended, Link, Next, reset};
use super::vectors::Interrupts;
use super::{Acknowledged, SUSPEND_LIMIT};
use crate::dma::Resting;
use crate::error::{Error, Result, Violation};
use crate::interrupt::{QueueName, Signal, VectorName};
use crate::platform::Platform;
use crate::transport::Transport;

/// A device that is lent to one driver after the other. Between two of them it is here.
///
/// Nothing becomes of a device that is lent when its lender is dropped.
#[derive(Debug)]
pub(crate) struct Lender<T: Transport> {
    /// Absent while a driver has it.
    here: Option<T>,
    /// What it is lent by.
    lent: Option<Arc<Mutex<Link<T>>>>,
}

/// A queue of a device that is lent, as it was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueState {
    /// Which one.
    pub(crate) index: u16,
    /// What it is called.
    pub(crate) name: QueueName,
    /// How many descriptors its ring has.
    pub(crate) size: u16,
    /// The vector that it raises, if it sends messages.
    pub(crate) vector: Option<u16>,
    /// What that is called.
    pub(crate) interrupt: Option<VectorName>,
}

impl<T: Transport> Lender<T> {
    pub(crate) fn new(device: T) -> Self {
        Self {
            here: Some(device),
            lent: None,
        }
    }

    /// Lends the device to a driver, reset and noticed.
    ///
    /// # Errors
    ///
    /// Those of [`Acknowledged::new`]: the device is here.
    pub(crate) fn lend(&mut self) -> Result<Acknowledged<T>> {
        // It is reset once more below, and that has to be confirmed.
        let _ = self.take_back();
        let device = self.here.take().ok_or(Error::Gone)?;
        let mut link = match Link::new(device) {
            Ok(link) => link,
            Err((error, device)) => {
                self.here = Some(device);
                return Err(error);
            }
        };
        link.next = Next::Lender;
        let held = Held::new(link);
        self.lent = Some(held.share());
        held.lock().add_status(Status::ACKNOWLEDGE)?;
        Ok(Acknowledged { held })
    }

    /// Takes the device back from its driver, by a reset. What is in flight is to be reclaimed by
    /// whoever has the queues, who is woken. It is no error if the driver had let go of it, or it
    /// was never lent.
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`](crate::error::Violation::ResetNotConfirmed) and
    /// [`Error::Transport`]: the device is here nevertheless, and keeps its memory.
    pub(crate) fn take_back(&mut self) -> Result<()> {
        let ended = self.lent().and_then(|mut link| link.end());
        self.settle(ended)
    }

    /// As [`take_back`](Self::take_back), where the device is known to reach no memory any more: it
    /// is not asked.
    pub(crate) fn vanished(&mut self) {
        let ended = self.lent().and_then(|mut link| link.leave());
        // Without a reset, none goes wrong.
        let _ = self.settle(ended);
    }

    /// Whether a driver has it. One that has let go of it has not.
    pub(crate) fn is_lent(&self) -> bool {
        self.lent().is_some_and(|link| link.transport.is_some())
    }

    /// Resets the device, which is here, and notices it (`ACKNOWLEDGE`, §3.1.1).
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`](crate::error::Violation::ResetNotConfirmed) and
    /// [`Error::Transport`]
    pub(crate) fn acknowledge(&mut self) -> Result<()> {
        let device = self.here.as_mut().ok_or(Error::StillDriven)?;
        let platform = device.platform().clone();
        reset(device, &platform)?;
        Ok(device.set_status(Status::ACKNOWLEDGE)?)
    }

    /// Suspends the device in its driver's hands (§3.4), and waits, within a bound, until it is.
    ///
    /// # Errors
    ///
    /// [`Error::FeaturesMissing`] if that was not negotiated. [`Error::NeedsReset`] if it cannot
    /// (§3.4.2), [`Violation::SuspendNotConfirmed`] if it does not say, [`Error::Transport`]: it is
    /// to be taken back.
    pub(crate) fn suspend(&mut self) -> Result<()> {
        if !self.features().contains(F::SUSPEND) {
            return Err(Error::FeaturesMissing(F::SUSPEND));
        }
        self.rest(Resting::Begins, Status::SUSPEND, Status::DRIVER_OK)
    }

    /// Has a device go on that was [suspended](Self::suspend).
    ///
    /// # Errors
    ///
    /// As for [`suspend`](Self::suspend).
    pub(crate) fn resume(&mut self) -> Result<()> {
        self.rest(Resting::Ends, Status::DRIVER_OK, Status::SUSPEND)
    }

    /// Does something with the device, which a driver may have.
    ///
    /// # Errors
    ///
    /// That of `what`; [`Error::Gone`] if the driver has let go of it, and it was not taken back.
    pub(crate) fn with<V>(
        &mut self,
        what: impl FnOnce(&mut T) -> crate::transport::Result<V>,
    ) -> Result<V> {
        if let Some(device) = &mut self.here {
            return Ok(what(device)?);
        }
        let mut link = self.lent().ok_or(Error::Gone)?;
        Ok(what(link.transport()?)?)
    }

    /// What it and its driver agreed to.
    pub(crate) fn features(&self) -> Features {
        self.lent().map_or(Features::NONE, |link| link.features)
    }

    /// The queues that its driver has started.
    pub(crate) fn queues(&self) -> Vec<QueueState> {
        let Some(link) = self.lent() else {
            return Vec::new();
        };
        let queues = link.started.iter().map(|queue| QueueState {
            index: queue.index,
            name: queue.name,
            size: queue.setup.size,
            vector: queue.vector,
            interrupt: link.vector_of(queue),
        });
        queues.collect()
    }

    /// How its interrupts arrive, if a driver has it.
    pub(crate) fn interrupts(&self) -> Option<Interrupts> {
        let link = self.lent().filter(|link| link.transport.is_some())?;
        Some(link.interrupts)
    }

    /// Its configuration space, while a driver has it.
    pub(crate) fn config(&self) -> Option<Config<'_, T>> {
        self.lent.as_deref().map(Config::of)
    }

    /// Raised when its configuration, or its status, has changed while a driver has it, and when it
    /// has it no more.
    pub(crate) fn changed(&self) -> Option<Arc<Signal>> {
        self.lent().map(|link| Arc::clone(&link.config))
    }

    /// The device, if no driver has it.
    pub(crate) fn into_device(self) -> Option<T> {
        self.here
    }

    fn lent(&self) -> Option<MutexGuard<'_, Link<T>>> {
        self.lent.as_deref().map(Mutex::lock)
    }

    /// Asks for `wanted`, and waits until it stands in the place of `unwanted`.
    fn rest(&mut self, resting: Resting, wanted: Status, unwanted: Status) -> Result<()> {
        let (core, platform) = {
            let link = self.lent().ok_or(Error::Gone)?;
            (Arc::clone(&link.core), link.core.platform.clone())
        };
        if resting == Resting::Begins {
            // Before it is asked: from then on it is to be given nothing (§3.4.1).
            core.rest(resting);
        }
        self.with(|device| {
            let status = device.status()?;
            device.set_status(status | wanted)
        })?;
        let deadline = platform.now().saturating_add(SUSPEND_LIMIT);
        loop {
            let status = self.with(T::status)?;
            if status.contains(Status::NEEDS_RESET) {
                return Err(Error::NeedsReset);
            }
            if status.contains(wanted) && !status.intersects(unwanted) {
                break;
            }
            if platform.now() >= deadline {
                return Err(Violation::SuspendNotConfirmed.into());
            }
            platform.relax();
        }
        core.rest(resting);
        Ok(())
    }

    /// Settles what the end of the device's use leaves to do, and has it here.
    fn settle(&mut self, ended: Option<Ended<T::Platform>>) -> Result<()> {
        let settled = ended.map_or(Ok(()), Ended::settle);
        if let Some(lent) = self.lent.take() {
            self.here = lent.lock().ended.take();
        }
        settled
    }
}
