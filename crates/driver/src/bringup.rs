//! From reset to live: the initialization of a device, in states that are consumed.
//!
//! ```text
//!  Acknowledged ─driver()─▶ Probed ─negotiate()─▶ Negotiated ─start()─▶ Live ─reset()─▶ the transport
//!   reset,                   DRIVER                FEATURES_OK           DRIVER_OK
//!   ACKNOWLEDGE              look at features      set up queues
//! ```
//!
//! Each arrow is a step of §3.1.1, and there is no way around one. Status bits are only ever added.
//! A state that is dropped ends the use of the device: it is reset, and what it was told of is
//! freed if it confirms that, or kept for ever if not.
//!
//! Spec: VIRTIO 1.4 §3.1 "Device Initialization".

mod administration;
mod affinity;
mod config;
mod held;
mod lender;
mod link;
mod queue_set;
mod vectors;

use alloc::sync::Arc;
use core::time::Duration;

use ringway_spec::{DeviceId, Features, Status};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::admin::Admin;
use crate::bus::Name;
use crate::dialect::Dialect;
use crate::dma::{Buffer, Core, Pending, QueueOptions};
use crate::error::{Error, Result, Violation};
use crate::interrupt::Signal;
use crate::platform::Platform;
use crate::transport::{QueueSetup, Transport};

pub use config::Config;
use held::Held;
pub(crate) use lender::{Lender, QueueState};
use link::Link;
pub use queue_set::{Prepared, QueueSet};
pub use vectors::Interrupts;

/// How long a device may take to confirm a reset (§2.4.2), before its memory is given up.
pub const RESET_LIMIT: Duration = Duration::from_secs(1);

/// How long a device may take until it is suspended, with all that it has completed, or until it
/// goes on (§3.4.1), before it is reset instead.
pub const SUSPEND_LIMIT: Duration = Duration::from_secs(5);

/// A device that was reset and noticed (`ACKNOWLEDGE`): registered, without a driver.
#[derive(Debug)]
pub struct Acknowledged<T: Transport> {
    held: Held<T>,
}

/// A device for which there is a driver (`DRIVER`): it can look at what is offered.
#[derive(Debug)]
pub struct Probed<T: Transport> {
    held: Held<T>,
}

/// A device whose features are settled (`FEATURES_OK`): its queues can be set up.
#[derive(Debug)]
pub struct Negotiated<T: Transport> {
    held: Held<T>,
}

/// A device in operation (`DRIVER_OK`).
#[derive(Debug)]
pub struct Live<T: Transport> {
    held: Held<T>,
    core: Arc<Core<T::Platform>>,
    /// Until somebody takes it.
    admin: Option<Admin<T::Platform>>,
    id: DeviceId,
    features: Features,
    interrupts: Interrupts,
    config: Arc<Signal>,
    /// How often the configuration had changed when the status was last looked at. 0 at first: a
    /// device may ask for a reset as soon as it is live, before anyone looks.
    config_seen: u32,
    /// When the status was last looked at, for devices that do not interrupt.
    looked_at: Duration,
}

/// What a driver wants of a device's features. Those of the ring and the transport are added by
/// themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Without these the driver cannot work.
    pub required: Features,
    /// These it uses if they are offered.
    pub optional: Features,
    /// So many administration queues, or as many as there are: 0 for none (§2.13). They are brought
    /// up with the others, and are had by [`Live::take_admin`].
    pub administration: u16,
    /// These are not accepted even if the layers below could: for tests and comparisons.
    pub without: Features,
}

impl<T: Transport> Acknowledged<T> {
    /// Steps 1 and 2: resets the device, and notices it.
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`] if it does not confirm the reset; [`Error::Transport`] if
    /// it cannot be reached.
    pub fn new(transport: T) -> Result<Self> {
        let mut link = Link::new(transport).map_err(|(error, _)| error)?;
        link.add_status(Status::ACKNOWLEDGE)?;
        Ok(Self {
            held: Held::new(link),
        })
    }

    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.held.lock().id
    }

    /// Has its interrupts called by this name where they are listed. A [bus](crate::bus::Bus) does
    /// this with its own.
    pub fn named(self, name: Name) -> Self {
        self.held.lock().name = Some(name);
        self
    }

    /// Step 3: there is a driver for it.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn driver(self) -> Result<Probed<T>> {
        self.held.lock().add_status(Status::DRIVER)?;
        Ok(Probed { held: self.held })
    }
}

impl<T: Transport> Probed<T> {
    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.held.lock().id
    }

    /// What the device offers.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn offered(&mut self) -> Result<Features> {
        Ok(self.held.lock().transport()?.device_features()?)
    }

    /// Steps 4 to 6: accepts what is wanted of what is offered, and finds the device content with
    /// it.
    ///
    /// # Errors
    ///
    /// [`Error::FeaturesReserved`] if what is wanted is not for a device type to define;
    /// [`Error::FeaturesMissing`] and [`Error::FeatureDependency`] if what is required cannot be had, [`Violation::FeaturesRejected`] if the device refuses a subset of its own offer.
    /// `FAILED` is then set.
    pub fn negotiate(self, wanted: &Wanted) -> Result<Negotiated<T>> {
        let mut link = self.held.lock();
        let negotiated = link.negotiate(wanted);
        negotiated.map_err(|error| link.fail(error))?;
        drop(link);
        Ok(Negotiated { held: self.held })
    }
}

impl<T: Transport> Negotiated<T> {
    /// What both agreed to.
    pub fn features(&self) -> Features {
        self.held.lock().features
    }

    /// Which interface the device is driven through: what drivers tell it may look different.
    pub fn dialect(&self) -> Dialect {
        self.held.lock().dialect
    }

    /// The configuration space.
    pub fn config(&mut self) -> Config<'_, T> {
        self.held.config()
    }

    /// Step 7: prepares queue `index`. The device is told of it by [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] if the device has none of this index, [`Error::Platform`] if there is no
    /// memory for it, [`Violation::QueueAlreadyEnabled`] if the device did not reset it,
    /// [`Violation::QueueSize`] if it is a legacy device whose ring has a size that cannot be.
    pub fn queue<B, Q, A>(
        &mut self,
        index: u16,
        options: &QueueOptions,
    ) -> Result<Pending<T::Platform, B, Q, A>>
    where
        B: Buffer,
        Q: IntoBytes + Immutable,
        A: FromBytes + IntoBytes,
    {
        let mut link = self.held.lock();
        let transport = link.transport()?;
        let size_max = transport.queue_size_max(index)?;
        if size_max == 0 {
            return Err(Error::NoQueue(index));
        }
        if transport.queue_enabled(index)? {
            return Err(Violation::QueueAlreadyEnabled(index).into());
        }
        Pending::new(
            &link.core,
            index,
            size_max,
            link.dialect,
            link.features,
            options,
        )
    }

    /// Step 8: connects interrupts, enables the queues, and sets the device to work. Yields the
    /// queues, live.
    ///
    /// # Errors
    ///
    /// [`Violation::QueueNotEnabled`] and [`Error::Transport`]; for administration queues those of
    /// [`queue`](Self::queue), too, and [`Violation::AdminQueues`]. `FAILED` is then set, and the
    /// device reset.
    pub fn start<S: QueueSet<T::Platform>>(self, queues: S) -> Result<(Live<T>, S::Live)> {
        let mut link = self.held.lock();
        let admin = link.administration();
        let mut queues = (queues, admin.map_err(|error| link.fail(error))?);
        let started = link.start(&mut queues);
        let doorbells = started.map_err(|error| link.fail(error))?;
        let (core, id, features) = (Arc::clone(&link.core), link.id, link.features);
        let (interrupts, config) = (link.interrupts, Arc::clone(&link.config));
        drop(link);
        let (queues, admin) = queues
            .live(&mut doorbells.into_iter(), interrupts != Interrupts::Polled)
            .ok_or(Error::Gone)?;
        let live = Live {
            held: self.held,
            looked_at: core.platform.now(),
            core,
            admin: Admin::of(admin),
            id,
            features,
            interrupts,
            config,
            config_seen: 0,
        };
        Ok((live, queues))
    }
}

impl<T: Transport> Live<T> {
    /// How often a device without interrupts is asked for its status.
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.id
    }

    /// What both agreed to.
    pub fn features(&self) -> Features {
        self.features
    }

    /// How it is reached: `pci-modern`, `mmio`.
    pub fn transport_name(&self) -> &'static str {
        let link = self.held.lock();
        link.transport.as_ref().map_or("gone", T::name)
    }

    /// How its interrupts arrive.
    pub fn interrupts(&self) -> Interrupts {
        self.interrupts
    }

    /// The configuration space.
    pub fn config(&mut self) -> Config<'_, T> {
        self.held.config()
    }

    /// Takes the device's administration queues: there are some if the driver has
    /// [asked](Wanted::administration) for them, the device has some, and nobody took them before.
    pub fn take_admin(&mut self) -> Option<Admin<T::Platform>> {
        self.admin.take()
    }

    /// Raised when the configuration, or the status, has changed.
    pub fn config_changed(&self) -> &Signal {
        &self.config
    }

    /// Reads the device status.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn status(&mut self) -> Result<Status> {
        Ok(self.held.lock().transport()?.status()?)
    }

    /// Looks whether the device asks for a reset, if it may have said so since this was last
    /// called. Cheap otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::NeedsReset`] if it does (§2.1.2); [`Error::Suspended`] if it is, [`Error::Gone`] if
    /// somebody else reset it.
    pub fn check(&mut self) -> Result<()> {
        let changes = self.config.count();
        if changes == self.config_seen && !self.is_due() {
            return Ok(());
        }
        self.config_seen = changes;
        let status = self.status()?;
        if status.contains(Status::NEEDS_RESET) {
            return Err(Error::NeedsReset);
        }
        if status.contains(Status::SUSPEND) {
            return Err(Error::Suspended);
        }
        if !status.contains(Status::DRIVER_OK) {
            return Err(Error::Gone);
        }
        Ok(())
    }

    /// Whether the status is to be looked at because nothing would announce a change of it.
    fn is_due(&mut self) -> bool {
        if self.interrupts != Interrupts::Polled {
            return false;
        }
        let now = self.core.platform.now();
        let due = now >= self.looked_at.saturating_add(Self::LOOK_EVERY);
        if due {
            self.looked_at = now;
        }
        due
    }

    /// Whether `core` is the device's.
    pub(crate) fn has(&self, core: &Arc<Core<T::Platform>>) -> bool {
        Arc::ptr_eq(&self.core, core)
    }

    /// The largest size of queue `index`; 0 if there is none.
    pub(crate) fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        Ok(self.held.lock().transport()?.queue_size_max(index)?)
    }

    /// Resets queue `index` alone. The device has let go of it if this is no error.
    pub(crate) fn reset_queue(&mut self, index: u16) -> Result<()> {
        self.held.lock().reset_queue(index)
    }

    /// Enables queue `index`, which was reset alone. The device knows of its ring even if this is
    /// an error.
    pub(crate) fn restart_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        self.held.lock().restart_queue(index, setup)
    }

    /// Ends the device's use, and returns its transport, to begin again. Buffers in flight can then
    /// be [reclaimed](crate::dma::Queue::reclaim) from the queues.
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`] if the device does not let go: what is in flight is lost.
    /// [`Error::Gone`] if somebody else reset it, or if it was lent by a [bus](crate::bus::Bus): the
    /// device goes back there.
    pub fn reset(self) -> Result<T> {
        self.held.end()
    }
}

#[cfg(test)]
mod legacy;
#[cfg(test)]
mod obeyed;
#[cfg(test)]
mod tests;
