//! The devices of an operating system, and its drivers: who is for whom, and what becomes of a
//! device that comes, changes, fails or goes.
//!
//! A [`Bus`] has devices, `virtio0`, `virtio1` and so on, and drivers, each with a table of the
//! [ids](Id) that it is for. When either is added, those that match are bound: the driver brings
//! the device up, and what it makes goes to the operating system through the driver's [`Sink`]. From
//! then on the operating system has it and uses it, on whatever thread it likes, and the bus is in no
//! request's way. The bus can take a device back at any time: what was made of it then answers
//! [`Error::Gone`], whoever waits is woken, and buffers in flight are to be
//! [reclaimed](crate::dma::Queue::reclaim).
//!
//! ```text
//!            add()                  register()
//!  transports ──▶ devices ──match──▶ drivers ──added()──▶ sinks of the operating system
//!                 virtio0   bind()              changed()
//!                 virtio1   unbind()            removed()
//! ```
//!
//! Nothing happens in interrupt context, and nothing by itself: [`Bus::run_pending`] does what
//! devices have asked for. A bus has no lock: an operating system that uses it on several threads
//! puts it behind one.
//!
//! Small users need none of this: [`probe`] finds the device that a driver is for, and brings it up.

mod device;
mod driver;
mod event;
mod id;
mod name;
mod pending;
mod power;
mod probe;
mod sink;
mod tree;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::bringup::Probed;
use crate::error::{BusError, Error, Result};
use crate::platform::Platform;
use device::{Device, Rest};
use driver::{Made, Registered};
use event::Events;

pub use event::{Event, What};
pub use id::Id;
pub use name::{Name, NotName};
pub use pending::RECOVERIES_MAX;
pub use probe::{Driver, attach, probe};
pub use sink::{AnyTransport, Class, Parting, Sink};
pub use tree::{DeviceNode, DriverNode, FeatureString, QueueNode, Tree};

/// The devices of an operating system, and its drivers.
///
/// What goes wrong with a device is its error: it stays, without a driver, and marked `FAILED`
/// (§2.1). A device has one driver at most.
#[derive(Debug)]
pub struct Bus<P: Platform> {
    devices: BTreeMap<Name, Device<P>>,
    /// In the order in which they were registered, which is that in which they are tried.
    drivers: Vec<Registered<P>>,
    events: Events,
}

impl<P: Platform> Default for Bus<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Platform> Bus<P> {
    /// No devices, and no drivers.
    pub const fn new() -> Self {
        Self {
            devices: BTreeMap::new(),
            drivers: Vec::new(),
            events: Events::new(),
        }
    }

    /// Adds a device, which is reset and noticed (`ACKNOWLEDGE`), and bound to the first driver that
    /// is for it and can have it. Says what it is called: by the lowest number that is free.
    ///
    /// A device that cannot even be reset is added, too: it is there, and can be looked at.
    pub fn add(&mut self, device: AnyTransport<P>) -> Name {
        // Ends: of n + 1 numbers, one is not taken by n devices.
        let taken = self.devices.keys().zip(0..);
        let name = taken
            .take_while(|(name, number)| name.number() == *number)
            .fold(0, |_, (_, number)| number + 1);
        let name = Name::new(name);
        let device = Device::new(name, device);
        let (devices, mut rest) = self.parts();
        rest.tell(&device, What::Added);
        let device = devices.entry(name).or_insert(device);
        device.match_drivers(&mut rest);
        name
    }

    /// Takes a device off the bus in good order, and returns it, reset. What is to be done with what
    /// its driver made of it is told to the sink, [before](Sink::leaving) and
    /// [after](Sink::removed).
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`]. [`Violation::ResetNotConfirmed`] and [`Error::Transport`] if the
    /// device did not let go: it is off the bus nevertheless, and its memory is kept.
    ///
    /// [`Violation::ResetNotConfirmed`]: crate::error::Violation::ResetNotConfirmed
    pub fn remove(&mut self, name: Name) -> Result<AnyTransport<P>> {
        let (device, mut rest) = self.device(name)?;
        device.leave(Parting::Removed, &rest);
        let taken = device.take_back(Parting::Removed, &mut rest);
        let gone = self.forget(name)?;
        taken?;
        gone.ok_or(Error::Gone)
    }

    /// Says that a device has gone from the machine, whatever was in flight, and that it cannot reach
    /// memory any more: it is not asked for a reset, and what it was told of is free at once.
    ///
    /// To be called before anything else is put in its place, since what was left there is written to
    /// once more. If the device is only not to be used any more, or it is not certain whether it
    /// still reaches memory, [`remove`](Self::remove) it.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`]
    pub fn removed(&mut self, name: Name) -> Result<()> {
        let (devices, mut rest) = self.parts();
        let device = devices.get_mut(&name);
        let device = device.ok_or(BusError::NoDevice(name.number()))?;
        device.vanished(&mut rest);
        self.forget(name).map(drop)
    }

    /// Adds a driver called `driver`, for devices with one of `ids`, which makes `D`s for `sink`.
    /// Devices without a driver that it is for are bound to it.
    ///
    /// # Errors
    ///
    /// [`BusError::NameTaken`] if there is a driver of this name.
    pub fn register<D, S>(&mut self, driver: &'static str, ids: &[Id], sink: S) -> Result<()>
    where
        D: Class<P> + 'static,
        S: Sink<P, D> + 'static,
    {
        self.register_with(driver, ids, sink, D::probe)
    }

    /// As [`register`](Self::register), of a driver that brings devices up with `open`: with queues
    /// or features of the caller's choice.
    ///
    /// # Errors
    ///
    /// As [`register`](Self::register).
    pub fn register_with<D, S>(
        &mut self,
        driver: &'static str,
        ids: &[Id],
        sink: S,
        open: impl Fn(Probed<AnyTransport<P>>) -> Result<D> + Send + 'static,
    ) -> Result<()>
    where
        D: Class<P> + 'static,
        S: Sink<P, D> + 'static,
    {
        if self.drivers.iter().any(|known| known.name == driver) {
            return Err(BusError::NameTaken.into());
        }
        let made = Made::new(sink, open);
        self.drivers.push(Registered::new(driver, ids, made));
        let (devices, mut rest) = self.parts();
        for device in devices.values_mut() {
            device.match_drivers(&mut rest);
        }
        Ok(())
    }

    /// Takes its devices back from a driver, as [`unbind`](Self::unbind) does, and forgets it.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDriver`]
    pub fn unregister(&mut self, driver: &str) -> Result<()> {
        let place = self.drivers.iter().position(|known| known.name == driver);
        let place = place.ok_or(BusError::NoDriver)?;
        let (devices, mut rest) = self.parts();
        for device in devices.values_mut() {
            device.notice(&mut rest);
            if device.driver() == Some(driver) {
                // What went wrong is the device's error.
                let _ = device.unbind(&mut rest);
            }
        }
        self.drivers.remove(place);
        Ok(())
    }

    /// Binds a device to a driver that is for it.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`], [`BusError::NoDriver`], [`BusError::Bound`] if it has one,
    /// [`BusError::Suspended`] if it is, [`BusError::NoMatch`] if the driver is not for it. Otherwise what the driver finds, which
    /// is the device's error then.
    pub fn bind(&mut self, name: Name, driver: &str) -> Result<()> {
        let (device, mut rest) = self.device(name)?;
        let driver = rest.driver(Some(driver)).ok_or(BusError::NoDriver)?;
        if device.driver().is_some() {
            return Err(BusError::Bound.into());
        }
        if device.asleep.is_some() {
            return Err(BusError::Suspended.into());
        }
        if !driver.is_for(&device.modalias) {
            return Err(BusError::NoMatch.into());
        }
        device.pardon();
        device.bind(driver, &mut rest)
    }

    /// Takes a device back from its driver, by a reset. It is there without one (`ACKNOWLEDGE`)
    /// until it is bound again.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`], [`BusError::Unbound`] if it has no driver.
    /// [`Violation::ResetNotConfirmed`] and [`Error::Transport`] if the device did not let go: it
    /// has no driver any more nevertheless, and its memory is kept.
    ///
    /// [`Violation::ResetNotConfirmed`]: crate::error::Violation::ResetNotConfirmed
    pub fn unbind(&mut self, name: Name) -> Result<()> {
        let (device, mut rest) = self.device(name)?;
        if device.driver().is_none() {
            return Err(BusError::Unbound.into());
        }
        device.unbind(&mut rest)
    }

    /// Takes a device back from its driver, if it has one, and binds it again to the first that is
    /// for it and can have it. What went wrong with it before is forgiven.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`]; [`BusError::Suspended`] if it is; [`BusError::NoMatch`] if there is no
    /// driver that is for it.
    /// Otherwise what the last of those finds.
    pub fn rebind(&mut self, name: Name) -> Result<()> {
        let (device, mut rest) = self.device(name)?;
        if device.asleep.is_some() {
            return Err(BusError::Suspended.into());
        }
        if device.driver().is_some() {
            // It is reset again, and that has to be confirmed.
            let _ = device.unbind(&mut rest);
        }
        device.pardon();
        device.match_drivers(&mut rest);
        match (device.driver(), device.error) {
            (Some(_), _) => Ok(()),
            (None, Some(error)) => Err(error),
            (None, None) => Err(BusError::NoMatch.into()),
        }
    }

    /// What has happened, the oldest first: what is told once is not told again. If nobody asks, the
    /// oldest are [forgotten](Self::events_lost).
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// How much has happened that was forgotten before anybody asked.
    pub fn events_lost(&self) -> u64 {
        self.events.lost()
    }

    /// A device, after noticing what became of it, and what else there is.
    fn device(&mut self, name: Name) -> Result<(&mut Device<P>, Rest<'_, P>)> {
        let (devices, mut rest) = self.parts();
        let device = devices.get_mut(&name);
        let device = device.ok_or(BusError::NoDevice(name.number()))?;
        device.notice(&mut rest);
        Ok((device, rest))
    }

    /// Takes a device that no driver has off the bus.
    fn forget(&mut self, name: Name) -> Result<Option<AnyTransport<P>>> {
        let (devices, mut rest) = self.parts();
        let device = devices.remove(&name);
        let device = device.ok_or(BusError::NoDevice(name.number()))?;
        rest.tell(&device, What::Removed);
        Ok(device.into_transport())
    }

    fn parts(&mut self) -> (&mut BTreeMap<Name, Device<P>>, Rest<'_, P>) {
        let rest = Rest {
            drivers: &self.drivers,
            events: &mut self.events,
        };
        (&mut self.devices, rest)
    }
}

#[cfg(test)]
mod tests;
