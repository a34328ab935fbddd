//! A device behind a socket, as drivers reach it.
//!
//! vhost-user has queues, features and configuration space; the rest of a transport is made here.
//! The status is kept, and passed on where the back-end wants to know it (`STATUS`). A reset stops
//! every ring, each of which is confirmed. A generation of the configuration is counted from the
//! back-end's messages. `RING_RESET` is this end's alone: a ring that is stopped can be started
//! elsewhere.
//!
//! What a driver sets up is kept, too: queues are told of when the device is set to work, and again
//! to every back-end that comes in the place of one that went away.

use core::fmt;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use ringway_driver::error::TransportError;
use ringway_driver::platform::Message;
use ringway_driver::transport::{self, Doorbell, DoorbellValue, Line, QueueSetup, Result};
use ringway_spec::{DeviceId, F, Features, Status};
use rustix::io::Errno;

use super::card::Bell;
use super::error::{self, Error};
use super::kick::Kick;
use super::link::{Link, LinkGuard};
use super::options::{Notify, Options, Translation};
use super::platform::Platform;
use super::told::Ring;
use crate::eventfd::EventFd;
use crate::protocol::{LOG_ALL, ProtocolFeatures};

/// Features that back-ends may offer and that no front-end here can do: notifications have no room
/// for data.
const BEYOND: Features = F::NOTIFICATION_DATA;

/// A device behind a vhost-user socket.
pub struct Transport {
    platform: Platform,
    device: DeviceId,
    link: Arc<Link>,
    /// What tells of chains, for each queue: the same for every back-end, and for every ring.
    kicks: BTreeMap<u16, Arc<EventFd>>,
    /// Which interrupt of the platform is raised by each vector, and which vector by each queue.
    messages: BTreeMap<u16, u32>,
    vectors: BTreeMap<u16, u16>,
}

impl Transport {
    /// Connects to the back-end that listens at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if none does: start one, and try again. [`Error::Missing`] if it has
    /// not what `options` cannot do without. Otherwise what it does wrong.
    pub fn connect(
        platform: &Platform,
        path: impl Into<PathBuf>,
        options: Options,
    ) -> error::Result<Self> {
        let path = path.into();
        Self::connect_by(platform, move || UnixStream::connect(&path), options)
    }

    /// Connects by what `connect` returns, now, and whenever the back-end has gone away.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn connect_by(
        platform: &Platform,
        connect: impl FnMut() -> io::Result<UnixStream> + Send + 'static,
        options: Options,
    ) -> error::Result<Self> {
        let device = options.device;
        let link = Link::new(platform, Box::new(connect), options)?;
        Ok(Self {
            platform: platform.clone(),
            device,
            link,
            kicks: BTreeMap::new(),
            messages: BTreeMap::new(),
            vectors: BTreeMap::new(),
        })
    }

    /// The protocol features that both ends agreed to.
    pub fn protocol(&self) -> ProtocolFeatures {
        self.link.state().terms.agreed
    }

    /// What the back-end offers as features; of a network card, together with its half that is here
    /// ([`Options::card`]). Drivers are offered those of them that can be had, and those that are made at
    /// this end.
    pub fn offered(&self) -> Features {
        self.link.state().offered()
    }

    /// How many queues the device has: as many as the back-end says, or the user does.
    pub fn queues(&self) -> u16 {
        self.link.state().queues()
    }

    /// Whether a back-end is there at the moment.
    pub fn is_connected(&self) -> bool {
        self.link.state().is_connected()
    }

    /// What went wrong last, in more words than a driver is told.
    pub fn last_error(&self) -> Option<Error> {
        self.link.state().last_error()
    }

    /// The number of a queue that there is, as the protocol has it.
    fn index(&self, index: u16) -> Result<u8> {
        let none = TransportError::Os(Errno::NOENT.raw_os_error());
        let there = index < self.queues();
        u8::try_from(index).ok().filter(|_| there).ok_or(none)
    }

    fn kick(&mut self, index: u16) -> Result<Arc<EventFd>> {
        if let Some(kick) = self.kicks.get(&index) {
            return Ok(Arc::clone(kick));
        }
        let kick = Arc::new(EventFd::shared().map_err(Error::os)?);
        self.kicks.insert(index, Arc::clone(&kick));
        Ok(kick)
    }

    fn call(&self, vector: u16) -> Option<Arc<EventFd>> {
        let number = self.messages.get(&vector)?;
        self.platform.calls().call(*number)
    }

    /// Ends what the back-end does for the driver.
    fn reset(state: &mut LinkGuard<'_>) -> Result<()> {
        let stopped = state.ask_now(|session, told| {
            if told.status.is_empty() {
                // Nothing was begun here. The status may be left from somebody else.
                return session.set_status(0);
            }
            for (index, ring) in &told.rings {
                if told.is_live() {
                    session.stop(*index, ring.setup.size, told.is_packed())?;
                }
            }
            session.reset()?;
            session.catch_up()
        });
        match stopped {
            None | Some(Ok(()) | Err(Error::Closed)) if !state.is_uncertain() => {
                state.begin_again();
                Ok(())
            }
            Some(Err(error)) => Err(error.into()),
            // Somebody who did not confirm it has the memory still.
            None | Some(Ok(())) => Err(TransportError::Absent),
        }
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("device", &self.device)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl transport::Transport for Transport {
    type Platform = Platform;

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn name(&self) -> &'static str {
        "vhost-user"
    }

    fn device_id(&self) -> DeviceId {
        self.device
    }

    fn vendor_id(&self) -> u32 {
        // The protocol does not say.
        0
    }

    fn transport_features(&self) -> Features {
        F::VERSION_1 | F::RING_RESET
    }

    fn device_features(&mut self) -> Result<Features> {
        let state = self.link.state();
        if let Some(over) = state.over() {
            return Err(over.into());
        }
        let mut features = state.offered() - BEYOND - Features(u128::from(LOG_ALL));
        let asks = state.terms.agreed.contains(ProtocolFeatures::BACKEND_REQ);
        if state.options().translation == Translation::No || !asks {
            features = features - F::ACCESS_PLATFORM;
        }
        Ok(features | F::RING_RESET)
    }

    fn set_driver_features(&mut self, features: Features) -> Result<()> {
        self.link.state().told.features = features;
        Ok(())
    }

    fn status(&mut self) -> Result<Status> {
        let mut state = self.link.state();
        // Drivers that are not interrupted look here, and nowhere else.
        state.look();
        let kept = state.told.status;
        if let Some(over) = state.over().filter(|_| !kept.is_empty()) {
            return Err(over.into());
        }
        // A back-end that is away has none.
        let theirs = state.ask_now(|session, _| session.status());
        let theirs = theirs.and_then(|theirs| theirs.ok().flatten());
        let theirs = Status::from_bits_retain(theirs.unwrap_or(0));
        if kept.is_empty() {
            // A reset is complete when it is for the device, too.
            return Ok(theirs);
        }
        let mut cry = theirs & Status::NEEDS_RESET;
        if state.needs_reset() {
            cry |= Status::NEEDS_RESET;
        }
        Ok(kept | cry)
    }

    fn set_status(&mut self, status: Status) -> Result<()> {
        let mut state = self.link.state();
        if status.is_empty() {
            return Self::reset(&mut state);
        }
        let news = status - state.told.status;
        let (platform, broken) = (state.platform().clone(), state.broken());
        let size_max = state.options().queue_size;
        if news.contains(Status::FEATURES_OK) {
            state.settle();
        }
        let settled = state.ask(|session, told| {
            if news.contains(Status::FEATURES_OK) {
                told.accept(session)?;
            }
            if news.contains(Status::DRIVER_OK) {
                told.start(session, platform.share(), &broken, size_max)?;
            }
            session.set_status(status.bits())?;
            session.catch_up()?;
            session.status()
        });
        match settled {
            Ok(Some(theirs)) => {
                let refused = Status::FEATURES_OK - Status::from_bits_retain(theirs);
                state.told.status = status - refused;
            }
            Ok(None) => state.told.status = status,
            // The driver reads that it was not set.
            Err(Error::Refused { .. }) if news.contains(Status::FEATURES_OK) => {}
            Err(error) => return Err(error.into()),
        }
        // What was commanded before.
        state.obey();
        Ok(())
    }

    fn config_generation(&mut self) -> Result<u32> {
        Ok(self.link.state().generation)
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> Result<()> {
        let mut state = self.link.state();
        if let Some(card) = &state.card {
            return Ok(card.read_config(offset, into)?);
        }
        Ok(state.ask(|session, _| session.read_config(offset, into))?)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> Result<()> {
        let mut state = self.link.state();
        if state.card.is_some() {
            // Drivers from before version 1 wrote an address (§5.1.4.3). There are none here.
            let len = from.len();
            return Err(Error::NoConfig { offset, len }.into());
        }
        Ok(state.ask(|session, _| session.write_config(offset, from))?)
    }

    fn queue_size_max(&mut self, index: u16) -> Result<u16> {
        if self.index(index).is_err() {
            return Ok(0);
        }
        let mut state = self.link.state();
        let most = state.options().queue_size;
        Ok(state
            .commands_at(index)
            .map_or(most, |card| card.size_max()))
    }

    fn queue_enabled(&mut self, index: u16) -> Result<bool> {
        let number = self.index(index)?;
        let mut state = self.link.state();
        if let Some(card) = state.commands_at(index) {
            return Ok(card.is_enabled());
        }
        Ok(state.told.rings.contains_key(&number))
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> Result<()> {
        let number = self.index(index)?;
        let kick = self.kick(index)?;
        let vector = self.vectors.get(&index);
        let call = match vector.and_then(|vector| self.call(*vector)) {
            Some(call) => call,
            None => Arc::new(EventFd::shared().map_err(Error::os)?),
        };
        let mut state = self.link.state();
        let (features, broken) = (state.told.features, state.broken());
        if let Some(card) = state.commands_at(index) {
            let bell = Bell { call, broken };
            return Ok(card.enable(index, setup, features, self.platform.share(), bell)?);
        }
        let Options { kicks, calls, .. } = *state.options();
        let ring = Ring {
            setup: *setup,
            kick,
            call,
            kicks,
            calls,
        };
        if state.told.is_live() {
            let platform = state.platform().clone();
            state.ask(|session, told| {
                told.start_ring(session, platform.share(), &broken, (number, &ring))
            })?;
        }
        state.told.rings.insert(number, ring);
        Ok(())
    }

    fn reset_queue(&mut self, index: u16) -> Result<()> {
        let number = self.index(index)?;
        let mut state = self.link.state();
        if let Some(card) = state.commands_at(index) {
            card.disable();
            return Ok(());
        }
        let index = number;
        state.ask(|session, told| {
            let Some(ring) = told.rings.get(&index).filter(|_| told.is_live()) else {
                return Ok(());
            };
            session.stop(index, ring.setup.size, told.is_packed())?;
            session.catch_up()
        })?;
        state.told.rings.remove(&index);
        Ok(())
    }

    fn queue_is_reset(&mut self, index: u16) -> Result<bool> {
        self.queue_enabled(index).map(|enabled| !enabled)
    }

    fn doorbell(&mut self, index: u16, _features: Features) -> Result<Doorbell<Platform>> {
        let number = self.index(index)?;
        let (kicks, is_done_here) = {
            let mut state = self.link.state();
            (state.options().kicks, state.commands_at(index).is_some())
        };
        let register = match kicks {
            _ if is_done_here => Kick::command(&self.link),
            Notify::Signal => Kick::signal(self.kick(index)?),
            Notify::Message => Kick::message(&self.link, number),
            Notify::Poll => Kick::polled(),
        };
        Doorbell::new(register, DoorbellValue::Bits16(index))
    }

    fn messages_max(&self) -> u16 {
        let state = self.link.state();
        match state.options().calls {
            Notify::Poll => 0,
            // One for each queue, and one for the configuration.
            Notify::Signal | Notify::Message => state.queues().saturating_add(1),
        }
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> Result<()> {
        match message {
            Some(message) => self.messages.insert(vector, message.data),
            None => self.messages.remove(&vector),
        };
        Ok(())
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> Result<bool> {
        let call = vector.and_then(|vector| self.call(vector));
        let agreed = call.is_some() == vector.is_some();
        self.link.state().config_call = call;
        Ok(agreed)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> Result<bool> {
        let Some(vector) = vector else {
            self.vectors.remove(&index);
            return Ok(true);
        };
        self.vectors.insert(index, vector);
        Ok(self.call(vector).is_some())
    }

    fn line(&self) -> Option<Line<Platform>> {
        None
    }
}
