//! A device as it is held in every state, from its first reset to its last.

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_spec::{DeviceId, F, Features, Status};

use super::queue_set::{Prepared, QueueSet};
use super::vectors::Interrupts;
use super::{RESET_LIMIT, Wanted};
use crate::bus::Name;
use crate::dialect::Dialect;
use crate::dma::{Callback, Core, End};
use crate::error::{Error, Result, TransportError, Violation};
use crate::interrupt::{Handler, QueueName, Signal};
use crate::platform::Platform;
use crate::transport::{Doorbell, QueueSetup, Transport};

/// The features of rings, and of devices as such, that this crate can do.
const RING_FEATURES: Features = Features(
    F::VERSION_1.0
        | F::INDIRECT_DESC.0
        | F::EVENT_IDX.0
        | F::RING_PACKED.0
        | F::IN_ORDER.0
        | F::ACCESS_PLATFORM.0
        | F::ORDER_PLATFORM.0
        | F::SUSPEND.0,
);

/// Those of a legacy device: all that there were.
const LEGACY_FEATURES: Features = Features(F::INDIRECT_DESC.0 | F::EVENT_IDX.0 | F::ANY_LAYOUT.0);

/// A device as it is held in every state.
#[derive(Debug)]
pub(super) struct Link<T: Transport> {
    /// Taken when the device's use has ended.
    pub(super) transport: Option<T>,
    /// It is here then, for whoever has the device next.
    pub(super) ended: Option<T>,
    /// Who that is.
    pub(super) next: Next,
    pub(super) core: Arc<Core<T::Platform>>,
    pub(super) id: DeviceId,
    /// What it is called where interrupts are listed.
    pub(super) name: Option<Name>,
    pub(super) dialect: Dialect,
    pub(super) features: Features,
    pub(super) config: Arc<Signal>,
    /// Of messages, by the number of their vector; or that of the line.
    pub(super) handlers: Vec<Handler<T::Platform>>,
    pub(super) interrupts: Interrupts,
    /// How many administration queues the driver wants.
    pub(super) administration: u16,
    /// The queues that were started.
    pub(super) started: Vec<Started>,
    /// Whether the device was told of any memory.
    pub(super) told: bool,
    /// Whether the driver has given up on it.
    pub(super) failed: bool,
}

/// Who has a device when its use has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Whoever ended it.
    Ender,
    /// Who lent it.
    Lender,
}

/// What is left to do about a device whose use has ended, when its link is not locked any more: it
/// calls the platform, wakers, and what drops buffers.
#[must_use = "the device's memory is in custody until this is settled"]
#[derive(Debug)]
pub(super) struct Ended<P: Platform> {
    core: Arc<Core<P>>,
    end: End,
    handlers: Vec<Handler<P>>,
    signals: Vec<Arc<Signal>>,
    reset: Result<()>,
}

impl<P: Platform> Ended<P> {
    /// Settles what becomes of the memory that the device was told of, and wakes who waits for it.
    /// Says how its reset went.
    pub(super) fn settle(self) -> Result<()> {
        for handler in &self.handlers {
            self.core.platform.disconnect(handler);
        }
        self.core.finish(self.end);
        // Whoever waits for a completion finds that the device is gone.
        self.signals.iter().for_each(|signal| signal.raise());
        self.reset
    }
}

/// A queue that is about to be enabled.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) index: u16,
    pub(super) name: QueueName,
    pub(super) setup: QueueSetup,
    pub(super) signal: Arc<Signal>,
    pub(super) callback: Callback,
    /// The vector that it raises, if it sends messages.
    pub(super) vector: Option<u16>,
}

impl Started {
    /// A queue that is to be started after `before`.
    fn new(queue: &Prepared<'_>, before: &[Self]) -> Self {
        let kind = queue.options.kind;
        let alike = before.iter().filter(|other| other.name.kind == kind);
        Self {
            index: queue.index,
            name: QueueName {
                kind,
                // A device has no more queues than there are indices, of 16 bits.
                number: alike.count() as u16,
            },
            setup: *queue.setup,
            signal: Arc::clone(queue.signal),
            callback: queue.options.callback,
            vector: None,
        }
    }
}

impl<T: Transport> Link<T> {
    /// Resets the device, which is nobody's from here on but the link's. Gives it back if that, or
    /// what else is needed, cannot be had.
    pub(super) fn new(mut transport: T) -> Result<Self, (Error, T)> {
        let platform = transport.platform().clone();
        let core = reset(&mut transport, &platform).and_then(|()| Ok(Core::new(platform)?));
        let core = match core {
            Ok(core) => core,
            Err(error) => return Err((error, transport)),
        };
        Ok(Self {
            core,
            id: transport.device_id(),
            name: None,
            dialect: transport.dialect(),
            features: Features::NONE,
            config: Arc::default(),
            handlers: Vec::new(),
            interrupts: Interrupts::Polled,
            administration: 0,
            started: Vec::new(),
            told: false,
            failed: false,
            ended: None,
            next: Next::Ender,
            transport: Some(transport),
        })
    }

    pub(super) fn transport(&mut self) -> Result<&mut T> {
        self.transport.as_mut().ok_or(Error::Gone)
    }

    /// Adds a status bit. There is no way to take one away but a reset (§2.1.1).
    pub(super) fn add_status(&mut self, bit: Status) -> Result<Status> {
        let transport = self.transport()?;
        let status = transport.status()?;
        transport.set_status(status | bit)?;
        Ok(transport.status()?)
    }

    /// Tells the device that the driver has given up on it, and passes the reason on.
    pub(super) fn fail(&mut self, error: Error) -> Error {
        // The reason is what matters; a device that cannot be told is not worse for it.
        let _ = self.add_status(Status::FAILED);
        self.failed = true;
        error
    }

    pub(super) fn negotiate(&mut self, wanted: &Wanted) -> Result<()> {
        let (id, dialect) = (self.id, self.dialect);
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let offered = transport.device_features()?;
        let platform = self.core.platform.required_features();
        let (required, can) = match dialect {
            // There is no 33rd bit to accept. But on a machine where rings would have another byte
            // order than ours (§2.7.3), it is missed.
            Dialect::Legacy(_) if cfg!(target_endian = "little") => {
                ((wanted.required | platform) - F::VERSION_1, LEGACY_FEATURES)
            }
            _ => (wanted.required | F::VERSION_1 | platform, RING_FEATURES),
        };
        let known = Features::OF_DEVICE_TYPES
            | RING_FEATURES
            | LEGACY_FEATURES
            | F::ADMIN_VQ
            | F::SR_IOV
            | transport.transport_features();
        let reserved = (wanted.required | wanted.optional) - known;
        if !reserved.is_empty() {
            return Err(Error::FeaturesReserved(reserved));
        }
        let through = transport.transport_features();
        // Without what it speaks of, it is not agreed on whoever wants it (§6).
        let offered = offered - (F::SR_IOV - through);
        // Administration is for who asks for it, and where the transport says where it is.
        let administers = match wanted.administration {
            0 => Features::NONE,
            _ => F::ADMIN_VQ.intersection(through),
        };
        let can = (can | through) - F::ADMIN_VQ - wanted.without;
        let optional = (wanted.optional - F::ADMIN_VQ) | administers;
        let missing = required - offered;
        if !missing.is_empty() {
            return Err(Error::FeaturesMissing(missing));
        }
        let mut accepted = offered.intersection(required | optional | can);
        // Each turn takes away one feature at least.
        while let Some((feature, needs)) = accepted.missing_dependency(id) {
            if required.intersects(feature) {
                return Err(Error::FeatureDependency { feature, needs });
            }
            accepted = accepted - feature;
        }
        transport.set_driver_features(accepted)?;
        self.features = accepted;
        self.administration = wanted.administration;
        if dialect.is_legacy() {
            // Which has no such bit: it is content with any subset (§3.1.2).
            return Ok(());
        }
        // §3.1.1 step 6: what the device thinks of it is read back.
        if !self
            .add_status(Status::FEATURES_OK)?
            .contains(Status::FEATURES_OK)
        {
            return Err(Violation::FeaturesRejected.into());
        }
        Ok(())
    }

    pub(super) fn start(
        &mut self,
        queues: &mut impl QueueSet<T::Platform>,
    ) -> Result<Vec<Doorbell<T::Platform>>> {
        let mut started = Vec::new();
        queues.each(&mut |queue| started.push(Started::new(queue, &started)));
        self.connect(&mut started)?;
        let features = self.features;
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let mut doorbells = Vec::with_capacity(started.len());
        // From here on the device knows of our memory, whatever becomes of the rest.
        self.told = true;
        for Started { index, setup, .. } in &started {
            doorbells.push(transport.doorbell(*index, features)?);
            enable(transport, *index, setup)?;
        }
        self.started = started;
        self.add_status(Status::DRIVER_OK)?;
        Ok(doorbells)
    }

    /// Resets queue `index` alone, and waits, within a bound, until the device confirms.
    pub(super) fn reset_queue(&mut self, index: u16) -> Result<()> {
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        transport.reset_queue(index)?;
        if confirmed(&self.core.platform, || transport.queue_is_reset(index))? {
            return Ok(());
        }
        Err(Violation::QueueResetNotConfirmed(index).into())
    }

    /// Enables queue `index`, which was reset alone, with another ring.
    pub(super) fn restart_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let started = self.started.iter().find(|queue| queue.index == index);
        let vector = started.and_then(|queue| queue.vector);
        if vector.is_some() && !transport.set_queue_vector(index, vector)? {
            return Err(Violation::QueueNotEnabled(index).into());
        }
        enable(transport, index, setup)
    }

    /// Ends the device's use by a reset. `None` if it had ended.
    pub(super) fn end(&mut self) -> Option<Ended<T::Platform>> {
        let mut transport = self.transport.take()?;
        let reset = reset(&mut transport, &self.core.platform);
        // Whether that worked or not, the device has nothing to say to us any more.
        let _ = transport.use_messages(false);
        self.ended = Some(transport);
        let let_go = reset.is_ok() || !self.told;
        let end = if let_go {
            End::LetGo
        } else {
            End::NotConfirmed
        };
        Some(self.ended(end, reset))
    }

    /// Ends the use of a device that is known to reach no memory, and leaves it as it is. `None` if
    /// it had ended.
    pub(super) fn leave(&mut self) -> Option<Ended<T::Platform>> {
        self.ended = Some(self.transport.take()?);
        Some(self.ended(End::LetGo, Ok(())))
    }

    /// Ends the device's use for a holder that goes. `None` if it had ended.
    pub(super) fn abandon(&mut self) -> Option<Ended<T::Platform>> {
        if self.failed && !self.told {
            // The device has nothing of ours. `FAILED` is left for whoever looks at it next
            // (§3.1.1).
            return self.leave();
        }
        self.end()
    }

    fn ended(&mut self, end: End, reset: Result<()>) -> Ended<T::Platform> {
        let queues = self.started.iter().map(|queue| Arc::clone(&queue.signal));
        Ended {
            core: Arc::clone(&self.core),
            end,
            handlers: core::mem::take(&mut self.handlers),
            signals: queues.chain([Arc::clone(&self.config)]).collect(),
            reset,
        }
    }
}

/// Resets a device, and waits, within a bound, until it confirms (§2.4.2).
pub(super) fn reset<T: Transport>(transport: &mut T, platform: &T::Platform) -> Result<()> {
    transport.set_status(Status::empty())?;
    if confirmed(platform, || Ok(transport.status()?.is_empty()))? {
        return Ok(());
    }
    Err(Violation::ResetNotConfirmed.into())
}

/// Asks again and again until `is_reset`, at most for [`RESET_LIMIT`]. Says whether it was.
fn confirmed(
    platform: &impl Platform,
    mut is_reset: impl FnMut() -> Result<bool, TransportError>,
) -> Result<bool> {
    let deadline = platform.now().saturating_add(RESET_LIMIT);
    loop {
        match is_reset() {
            Ok(true) => return Ok(true),
            // A device that is being reset may not answer for a while.
            Ok(false) | Err(TransportError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        if platform.now() >= deadline {
            return Ok(false);
        }
        platform.relax();
    }
}

/// Enables a queue, and looks whether the device agrees.
fn enable<T: Transport>(transport: &mut T, index: u16, setup: &QueueSetup) -> Result<()> {
    transport.enable_queue(index, setup)?;
    if !transport.queue_enabled(index)? {
        return Err(Violation::QueueNotEnabled(index).into());
    }
    Ok(())
}
