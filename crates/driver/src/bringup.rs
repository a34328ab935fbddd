//! From reset to live: the initialization of a device, in states that are consumed.
//!
//! ```text
//!  Acknowledged ─driver()─▶ Probed ─negotiate()─▶ Negotiated ─start()─▶ Live ─reset()─▶ the transport
//!   reset,                   DRIVER                FEATURES_OK           DRIVER_OK
//!   ACKNOWLEDGE              look at features      set up queues
//! ```
//!
//! Each arrow is a step of §3.1.1, and there is no way around one. Status bits are only ever added. A state that is dropped ends
//! the use of the device: it is reset, and what it was told of is freed if it confirms that, or kept for ever if not.
//!
//! Spec: VIRTIO 1.4 §3.1 "Device Initialization".

use core::time::Duration;

use alloc::sync::Arc;
use alloc::vec::Vec;

use ringway_spec::config::{Field, Gated};
use ringway_spec::{DeviceId, F, Features, Status};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::dma::{Buffer, Core, End, Pending, Queue, QueueOptions};
use crate::error::{Error, Result, TransportError, Violation};
use crate::interrupt::{Handler, Signal};
use crate::platform::{Message, Platform};
use crate::transport::{Doorbell, QueueSetup, Transport};

/// How long a device may take to confirm a reset (§2.4.2), before its memory is given up.
pub const RESET_LIMIT: Duration = Duration::from_secs(1);

/// How often a configuration field is read again because the device changed its configuration meanwhile. One that never settles cannot hang
/// the driver.
const CONFIG_TRIES: usize = 16;

/// The ring features that this crate can do.
const RING_FEATURES: Features = Features(
    F::VERSION_1.0
        | F::INDIRECT_DESC.0
        | F::EVENT_IDX.0
        | F::ACCESS_PLATFORM.0
        | F::ORDER_PLATFORM.0,
);

/// A device that was reset and noticed (`ACKNOWLEDGE`): registered, without a driver.
#[derive(Debug)]
pub struct Acknowledged<T: Transport> {
    link: Link<T>,
}

/// A device for which there is a driver (`DRIVER`): it can look at what is offered.
#[derive(Debug)]
pub struct Probed<T: Transport> {
    link: Link<T>,
}

/// A device whose features are settled (`FEATURES_OK`): its queues can be set up.
#[derive(Debug)]
pub struct Negotiated<T: Transport> {
    link: Link<T>,
}

/// A device in operation (`DRIVER_OK`).
#[derive(Debug)]
pub struct Live<T: Transport> {
    link: Link<T>,
    /// How often the configuration had changed when the status was last looked at.
    config_seen: u32,
    /// When the status was last looked at, for devices that do not interrupt.
    looked_at: Duration,
}

/// What a driver wants of a device's features. Those of the ring and the transport are added by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Without these the driver cannot work.
    pub required: Features,
    /// These it uses if they are offered.
    pub optional: Features,
    /// These are not accepted even if the layers below could: for tests and comparisons.
    pub without: Features,
}

/// A device as it is held in every state.
#[derive(Debug)]
struct Link<T: Transport> {
    /// Taken when the device's use has ended.
    transport: Option<T>,
    core: Arc<Core<T::Platform>>,
    id: DeviceId,
    features: Features,
    config: Arc<Signal>,
    handlers: Vec<Handler<T::Platform>>,
    interrupts: Interrupts,
    /// Those who may be waiting for a queue.
    waiting: Vec<Arc<Signal>>,
    /// Whether the device was told of any memory.
    told: bool,
    /// Whether the driver has given up on it.
    failed: bool,
}

/// How a device's interrupts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupts {
    /// A message for the configuration, and one for each queue.
    Each,
    /// A message for the configuration, and one for all queues.
    Shared,
    /// One message for all.
    One,
    /// The interrupt line.
    Line,
    /// They do not: the device is polled.
    Polled,
}

impl<T: Transport> Acknowledged<T> {
    /// Steps 1 and 2: resets the device, and notices it.
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`] if it does not confirm the reset; [`Error::Transport`] if it cannot be reached.
    pub fn new(mut transport: T) -> Result<Self> {
        let platform = transport.platform().clone();
        reset(&mut transport, &platform)?;
        let link = Link {
            core: Core::new(platform)?,
            id: transport.device_id(),
            features: Features::NONE,
            config: Arc::default(),
            handlers: Vec::new(),
            interrupts: Interrupts::Polled,
            waiting: Vec::new(),
            told: false,
            failed: false,
            transport: Some(transport),
        };
        let mut this = Self { link };
        this.link.add_status(Status::ACKNOWLEDGE)?;
        Ok(this)
    }

    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.link.id
    }

    /// Step 3: there is a driver for it.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn driver(mut self) -> Result<Probed<T>> {
        self.link.add_status(Status::DRIVER)?;
        Ok(Probed { link: self.link })
    }
}

impl<T: Transport> Probed<T> {
    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.link.id
    }

    /// What the device offers.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn offered(&mut self) -> Result<Features> {
        Ok(self.link.transport()?.device_features()?)
    }

    /// Steps 4 to 6: accepts what is wanted of what is offered, and finds the device content with it.
    ///
    /// # Errors
    ///
    /// [`Error::FeaturesMissing`] and [`Error::FeatureDependency`] if what is required cannot be had,
    /// [`Violation::FeaturesRejected`] if the device refuses a subset of its own offer. `FAILED` is then set.
    pub fn negotiate(mut self, wanted: &Wanted) -> Result<Negotiated<T>> {
        match self.link.negotiate(wanted) {
            Ok(()) => Ok(Negotiated { link: self.link }),
            Err(error) => Err(self.link.fail(error)),
        }
    }
}

impl<T: Transport> Negotiated<T> {
    /// What both agreed to.
    pub fn features(&self) -> Features {
        self.link.features
    }

    /// The configuration space.
    pub fn config(&mut self) -> Config<'_, T> {
        Config {
            link: &mut self.link,
        }
    }

    /// Step 7: prepares queue `index`. The device is told of it by [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// [`Error::NoQueue`] if the device has none of this index, [`Error::Platform`] if there is no memory for it,
    /// [`Violation::QueueAlreadyEnabled`] if the device did not reset it.
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
        let transport = self.link.transport()?;
        let size_max = transport.queue_size_max(index)?;
        if size_max == 0 {
            return Err(Error::NoQueue(index));
        }
        if transport.queue_enabled(index)? {
            return Err(Violation::QueueAlreadyEnabled(index).into());
        }
        Pending::new(
            &self.link.core,
            index,
            size_max,
            self.link.features,
            options,
        )
    }

    /// Step 8: connects interrupts, enables the queues, and sets the device to work. Yields the queues, live.
    ///
    /// # Errors
    ///
    /// [`Violation::QueueNotEnabled`] and [`Error::Transport`]. `FAILED` is then set, and the device reset.
    pub fn start<S: QueueSet<T::Platform>>(mut self, mut queues: S) -> Result<(Live<T>, S::Live)> {
        let doorbells = match self.link.start(&mut queues) {
            Ok(doorbells) => doorbells,
            Err(error) => return Err(self.link.fail(error)),
        };
        let interrupts = self.link.interrupts != Interrupts::Polled;
        let queues = queues
            .live(&mut doorbells.into_iter(), interrupts)
            .ok_or(Error::Gone)?;
        let config_seen = self.link.config.count();
        let looked_at = self.link.core.platform.now();
        Ok((
            Live {
                link: self.link,
                config_seen,
                looked_at,
            },
            queues,
        ))
    }
}

impl<T: Transport> Live<T> {
    /// How often a device without interrupts is asked for its status.
    const LOOK_EVERY: Duration = Duration::from_millis(10);

    /// What type of device it is.
    pub fn device_id(&self) -> DeviceId {
        self.link.id
    }

    /// What both agreed to.
    pub fn features(&self) -> Features {
        self.link.features
    }

    /// How it is reached: `pci-modern`, `mmio`.
    pub fn transport_name(&self) -> &'static str {
        self.link.transport.as_ref().map_or("gone", T::name)
    }

    /// How its interrupts arrive.
    pub fn interrupts(&self) -> Interrupts {
        self.link.interrupts
    }

    /// The configuration space.
    pub fn config(&mut self) -> Config<'_, T> {
        Config {
            link: &mut self.link,
        }
    }

    /// Raised when the configuration, or the status, has changed.
    pub fn config_changed(&self) -> &Signal {
        &self.link.config
    }

    /// Reads the device status.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn status(&mut self) -> Result<Status> {
        Ok(self.link.transport()?.status()?)
    }

    /// Looks whether the device asks for a reset, if it may have said so since this was last called. Cheap otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::NeedsReset`] if it does (§2.1.2); [`Error::Gone`] if somebody else reset it.
    pub fn check(&mut self) -> Result<()> {
        let changes = self.link.config.count();
        let now = self.link.core.platform.now();
        let silent = self.link.interrupts == Interrupts::Polled;
        if changes == self.config_seen
            && !(silent && now >= self.looked_at.saturating_add(Self::LOOK_EVERY))
        {
            return Ok(());
        }
        self.config_seen = changes;
        self.looked_at = now;
        let status = self.status()?;
        if status.contains(Status::NEEDS_RESET) {
            return Err(Error::NeedsReset);
        }
        if !status.contains(Status::DRIVER_OK) {
            return Err(Error::Gone);
        }
        Ok(())
    }

    /// Ends the device's use, and returns its transport, to begin again. Buffers in flight can then be
    /// [reclaimed](Queue::reclaim) from the queues.
    ///
    /// # Errors
    ///
    /// [`Violation::ResetNotConfirmed`] if the device does not let go: what is in flight is lost.
    pub fn reset(mut self) -> Result<T> {
        self.link.end()?.ok_or(Error::Gone)
    }
}

/// A device's configuration space (§2.5).
#[derive(Debug)]
pub struct Config<'d, T: Transport> {
    link: &'d mut Link<T>,
}

impl<T: Transport> Config<'_, T> {
    /// Reads one field: again, if the device changed its configuration meanwhile (§2.5.1).
    ///
    /// # Errors
    ///
    /// [`Violation::ConfigUnstable`] if it changes it every time.
    pub fn read<V: FromBytes + IntoBytes>(&mut self, field: Field<V>) -> Result<V> {
        let transport = self.link.transport()?;
        let mut value = V::new_zeroed();
        let mut before = transport.config_generation()?;
        for _ in 0..CONFIG_TRIES {
            transport.read_config(field.offset(), value.as_mut_bytes())?;
            let after = transport.config_generation()?;
            if after == before {
                return Ok(value);
            }
            before = after;
        }
        Err(Violation::ConfigUnstable.into())
    }

    /// Reads one field, if a feature that makes it exist was negotiated.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn read_gated<V: FromBytes + IntoBytes>(&mut self, gated: Gated<V>) -> Result<Option<V>> {
        if !gated.exists(self.link.features) {
            return Ok(None);
        }
        self.read(gated.field()).map(Some)
    }

    /// Writes one field.
    ///
    /// # Errors
    ///
    /// [`Error::Transport`]
    pub fn write<V: IntoBytes + Immutable>(&mut self, field: Field<V>, value: &V) -> Result<()> {
        Ok(self
            .link
            .transport()?
            .write_config(field.offset(), value.as_bytes())?)
    }
}

/// Queues that are started together: one, an array, a list, or a pair of them.
pub trait QueueSet<P: Platform> {
    /// The same queues, live.
    type Live;

    /// Calls `each` with the index, the set-up and the signal of every queue.
    fn each(&self, each: &mut dyn FnMut(u16, &QueueSetup, &Arc<Signal>));

    /// Makes them live, with a doorbell for each, in the order of `each`. `None` if there are fewer.
    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live>;
}

impl<P, B, Q, A> QueueSet<P> for Pending<P, B, Q, A>
where
    P: Platform,
    B: Buffer,
    Q: IntoBytes + Immutable,
    A: FromBytes + IntoBytes,
{
    type Live = Queue<P, B, Q, A>;

    fn each(&self, each: &mut dyn FnMut(u16, &QueueSetup, &Arc<Signal>)) {
        each(self.index, &self.setup, &self.signal);
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        doorbells
            .next()
            .map(|doorbell| Pending::live(self, doorbell, interrupts))
    }
}

impl<P: Platform, S: QueueSet<P>> QueueSet<P> for Vec<S> {
    type Live = Vec<S::Live>;

    fn each(&self, each: &mut dyn FnMut(u16, &QueueSetup, &Arc<Signal>)) {
        self.iter().for_each(|queue| queue.each(each));
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        self.into_iter()
            .map(|queue| queue.live(doorbells, interrupts))
            .collect()
    }
}

impl<P: Platform, X: QueueSet<P>, Y: QueueSet<P>> QueueSet<P> for (X, Y) {
    type Live = (X::Live, Y::Live);

    fn each(&self, each: &mut dyn FnMut(u16, &QueueSetup, &Arc<Signal>)) {
        self.0.each(each);
        self.1.each(each);
    }

    fn live(
        self,
        doorbells: &mut dyn Iterator<Item = Doorbell<P>>,
        interrupts: bool,
    ) -> Option<Self::Live> {
        Some((
            self.0.live(doorbells, interrupts)?,
            self.1.live(doorbells, interrupts)?,
        ))
    }
}

impl<T: Transport> Link<T> {
    fn transport(&mut self) -> Result<&mut T> {
        self.transport.as_mut().ok_or(Error::Gone)
    }

    /// Adds a status bit. There is no way to take one away but a reset (§2.1.1).
    fn add_status(&mut self, bit: Status) -> Result<Status> {
        let transport = self.transport()?;
        let status = transport.status()?;
        transport.set_status(status | bit)?;
        Ok(transport.status()?)
    }

    /// Tells the device that the driver has given up on it, and passes the reason on.
    fn fail(&mut self, error: Error) -> Error {
        // The reason is what matters; a device that cannot be told is not worse for it.
        let _ = self.add_status(Status::FAILED);
        self.failed = true;
        error
    }

    fn negotiate(&mut self, wanted: &Wanted) -> Result<()> {
        let id = self.id;
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        let offered = transport.device_features()?;
        let required = wanted.required | F::VERSION_1 | self.core.platform.required_features();
        let can = (RING_FEATURES | transport.transport_features()) - wanted.without;
        let missing = required - offered;
        if !missing.is_empty() {
            return Err(Error::FeaturesMissing(missing));
        }
        let mut accepted = offered.intersection(required | wanted.optional | can);
        // Each turn takes away one feature at least.
        while let Some((feature, needs)) = accepted.missing_dependency(id) {
            if required.intersects(feature) {
                return Err(Error::FeatureDependency { feature, needs });
            }
            accepted = accepted - feature;
        }
        transport.set_driver_features(accepted)?;
        // §3.1.1 step 6: what the device thinks of it is read back.
        if !self
            .add_status(Status::FEATURES_OK)?
            .contains(Status::FEATURES_OK)
        {
            return Err(Violation::FeaturesRejected.into());
        }
        self.features = accepted;
        Ok(())
    }

    fn start(
        &mut self,
        queues: &mut impl QueueSet<T::Platform>,
    ) -> Result<Vec<Doorbell<T::Platform>>> {
        let mut setups = Vec::new();
        queues.each(&mut |index, setup, signal| setups.push((index, *setup, Arc::clone(signal))));
        self.connect(&setups)?;
        self.waiting = setups
            .iter()
            .map(|(_, _, signal)| Arc::clone(signal))
            .collect();
        let features = self.features;
        let mut doorbells = Vec::with_capacity(setups.len());
        // From here on the device knows of our memory, whatever becomes of the rest.
        self.told = true;
        for (index, setup, _) in &setups {
            let transport = self.transport()?;
            doorbells.push(transport.doorbell(*index, features)?);
            transport.enable_queue(*index, setup)?;
            if !transport.queue_enabled(*index)? {
                return Err(Violation::QueueNotEnabled(*index).into());
            }
        }
        self.add_status(Status::DRIVER_OK)?;
        Ok(doorbells)
    }

    /// Connects interrupts, the best way of those that device and platform have room for. Running out of vectors degrades, and never fails.
    fn connect(&mut self, queues: &[(u16, QueueSetup, Arc<Signal>)]) -> Result<()> {
        let all: Vec<_> = queues
            .iter()
            .map(|(_, _, signal)| Arc::clone(signal))
            .collect();
        // A change of configuration may be a cry for a reset: whoever waits for a queue wants to hear of it.
        let config = || {
            core::iter::once(Arc::clone(&self.config))
                .chain(all.iter().cloned())
                .collect::<Vec<_>>()
        };
        let each = core::iter::once(config())
            .chain(all.iter().map(|signal| Vec::from([Arc::clone(signal)])));
        let ways = [
            (Interrupts::Each, each.collect::<Vec<_>>()),
            (Interrupts::Shared, Vec::from([config(), all.clone()])),
            (Interrupts::One, Vec::from([config()])),
        ];
        for (way, vectors) in ways {
            if self.connect_messages(way, vectors, queues)? {
                return Ok(());
            }
        }
        let line = self.transport()?.line();
        if let Some(line) = line {
            let number = line.number;
            let handler = Handler::line(line, all, Arc::clone(&self.config));
            if self.core.platform.line(number, handler.clone()) {
                self.handlers.push(handler);
                self.interrupts = Interrupts::Line;
            }
        }
        Ok(())
    }

    /// Tries to connect a message for each of `vectors`. Says whether it could.
    fn connect_messages(
        &mut self,
        way: Interrupts,
        vectors: Vec<Vec<Arc<Signal>>>,
        queues: &[(u16, QueueSetup, Arc<Signal>)],
    ) -> Result<bool> {
        let transport = self.transport.as_mut().ok_or(Error::Gone)?;
        if vectors.len() > usize::from(transport.messages_max()) {
            return Ok(false);
        }
        let mut messages: Vec<Message> = Vec::with_capacity(vectors.len());
        for signals in vectors {
            let handler = Handler::message(signals);
            let Some(message) = self.core.platform.message(handler.clone()) else {
                break;
            };
            self.handlers.push(handler);
            messages.push(message);
        }
        let complete = match way {
            Interrupts::Each => messages.len() == queues.len() + 1,
            Interrupts::Shared => messages.len() == 2,
            _ => messages.len() == 1,
        };
        if complete && Self::program(transport, way, &messages, queues)? {
            self.interrupts = way;
            return Ok(true);
        }
        self.disconnect();
        Ok(false)
    }

    /// Tells the device which vector is for what. Says whether it agreed.
    fn program(
        transport: &mut T,
        way: Interrupts,
        messages: &[Message],
        queues: &[(u16, QueueSetup, Arc<Signal>)],
    ) -> Result<bool> {
        // Vectors are numbered from 0; there are no more than the device said it has, in 16 bits.
        for (vector, message) in (0..).zip(messages) {
            transport.set_message(vector, Some(*message))?;
        }
        transport.use_messages(true)?;
        let mut agreed = transport.set_config_vector(Some(0))?;
        for (place, (index, _, _)) in (1..).zip(queues) {
            let vector = match way {
                Interrupts::Each => place,
                Interrupts::Shared => 1,
                _ => 0,
            };
            agreed = agreed && transport.set_queue_vector(*index, Some(vector))?;
        }
        if !agreed {
            transport.set_config_vector(None)?;
            for (index, _, _) in queues {
                transport.set_queue_vector(*index, None)?;
            }
            transport.use_messages(false)?;
        }
        Ok(agreed)
    }

    fn disconnect(&mut self) {
        for handler in self.handlers.drain(..) {
            self.core.platform.disconnect(&handler);
        }
        self.interrupts = Interrupts::Polled;
    }

    /// Resets the device and settles what becomes of the memory it was told of.
    fn end(&mut self) -> Result<Option<T>> {
        let Some(mut transport) = self.transport.take() else {
            return Ok(None);
        };
        let reset = reset(&mut transport, &self.core.platform);
        // Whether that worked or not, the device has nothing to say to us any more.
        let _ = transport.use_messages(false);
        self.disconnect();
        let let_go = reset.is_ok() || !self.told;
        self.core.finish(if let_go {
            End::LetGo
        } else {
            End::NotConfirmed
        });
        // Whoever waits for a completion finds that the device is gone.
        self.waiting.iter().for_each(|signal| signal.raise());
        reset.map(|()| Some(transport))
    }
}

impl<T: Transport> Drop for Link<T> {
    fn drop(&mut self) {
        if self.failed && !self.told {
            // The device has nothing of ours. `FAILED` is left for whoever looks at it next (§3.1.1).
            self.disconnect();
            return self.core.finish(End::LetGo);
        }
        // Nobody is left to tell. What matters, the memory, is settled either way.
        let _ = self.end();
    }
}

/// Resets a device, and waits, within a bound, until it confirms (§2.4.2).
fn reset<T: Transport>(transport: &mut T, platform: &T::Platform) -> Result<()> {
    transport.set_status(Status::empty())?;
    let deadline = platform.now().saturating_add(RESET_LIMIT);
    loop {
        match transport.status() {
            Ok(status) if status.is_empty() => return Ok(()),
            // A device that is being reset may not answer for a while.
            Ok(_) | Err(TransportError::Absent) => {}
            Err(error) => return Err(error.into()),
        }
        if platform.now() >= deadline {
            return Err(Violation::ResetNotConfirmed.into());
        }
        platform.relax();
    }
}

#[cfg(test)]
mod tests;
