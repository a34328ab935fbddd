//! A device of a bus: from when it is added to when it is forgotten.

use alloc::sync::Arc;

use ringway_spec::{Modalias, Status};

use super::Name;
use super::driver::Registered;
use super::event::{Event, Events, What};
use super::power::Asleep;
use super::sink::{AnyTransport, Parting};
use crate::bringup::Lender;
use crate::error::{Error, Result};
use crate::interrupt::Signal;
use crate::platform::Platform;

/// A device of a bus.
#[derive(Debug)]
pub(super) struct Device<P: Platform> {
    pub(super) name: Name,
    pub(super) modalias: Modalias,
    pub(super) transport: &'static str,
    pub(super) lender: Lender<AnyTransport<P>>,
    pub(super) bound: Option<Bound>,
    /// What went wrong last, since it was last bound.
    pub(super) error: Option<Error>,
    /// What it was before it was suspended, if it is.
    pub(super) asleep: Option<Asleep>,
    /// How often it was reset and begun again because it asked for that.
    pub(super) recoveries: u32,
}

/// What a bus has beside one of its devices.
#[derive(Debug)]
pub(super) struct Rest<'b, P: Platform> {
    pub(super) drivers: &'b [Registered<P>],
    pub(super) events: &'b mut Events,
}

/// What the bus knows of a device that has a driver.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) driver: &'static str,
    /// Raised when the configuration or the status has changed.
    pub(super) changed: Arc<Signal>,
    /// How often it was raised when that was last looked at.
    pub(super) seen: u32,
    /// What the generation of the configuration was then (§2.5).
    pub(super) generation: Option<u32>,
    /// Whether changes of the configuration are to wait.
    pub(super) held_back: bool,
}

impl<'b, P: Platform> Rest<'b, P> {
    /// The driver of this name.
    pub(super) fn driver(&self, name: Option<&str>) -> Option<&'b Registered<P>> {
        let drivers = self.drivers;
        drivers.iter().find(|driver| Some(driver.name) == name)
    }

    /// Tells whoever watches what has happened to a device.
    pub(super) fn tell(&mut self, device: &Device<P>, what: What) {
        self.events.push(Event {
            name: device.name,
            modalias: device.modalias,
            what,
        });
    }
}

impl<P: Platform> Device<P> {
    /// Resets it, and notices it.
    pub(super) fn new(name: Name, transport: AnyTransport<P>) -> Self {
        let modalias = Modalias {
            device: transport.device_id(),
            vendor: transport.vendor_id(),
        };
        let reached = transport.name();
        let mut lender = Lender::new(transport);
        let error = lender.acknowledge().err();
        Self {
            name,
            modalias,
            transport: reached,
            lender,
            bound: None,
            error,
            asleep: None,
            recoveries: 0,
        }
    }

    /// The name of its driver, if it has one.
    pub(super) fn driver(&self) -> Option<&'static str> {
        self.bound.as_ref().map(|bound| bound.driver)
    }

    /// Binds it to the first driver that is for it and can have it, if it has none.
    pub(super) fn match_drivers(&mut self, rest: &mut Rest<'_, P>) {
        for driver in rest.drivers {
            if self.bound.is_some() || self.asleep.is_some() {
                return;
            }
            if driver.is_for(&self.modalias) {
                // What goes wrong is the device's error.
                let _ = self.bind(driver, rest);
            }
        }
    }

    /// Binds it to a driver. It has none.
    pub(super) fn bind(&mut self, driver: &Registered<P>, rest: &mut Rest<'_, P>) -> Result<()> {
        match self.try_bind(driver) {
            Ok(bound) => {
                self.bound = Some(bound);
                self.error = None;
                rest.tell(self, What::Bound(driver.name));
                Ok(())
            }
            Err(error) => {
                // Its driver's handles are gone: nothing of it is in flight.
                let _ = self.lender.take_back();
                self.fail(error, rest);
                Err(error)
            }
        }
    }

    fn try_bind(&mut self, driver: &Registered<P>) -> Result<Bound> {
        let acknowledged = self.lender.lend()?.named(self.name);
        // From before the driver reads anything: changes from then on are told.
        let generation = self.generation();
        let changed = self.lender.changed().ok_or(Error::Gone)?;
        driver.factory.probe(self.name, acknowledged.driver()?)?;
        Ok(Bound {
            driver: driver.name,
            // Whatever the count is now: it is looked at once at least.
            seen: changed.count().wrapping_sub(1),
            changed,
            generation,
            held_back: false,
        })
    }

    /// What the generation of its configuration is. `None` if it has none.
    pub(super) fn generation(&mut self) -> Option<u32> {
        let read = self.lender.with(|device| {
            let modern = !device.dialect().is_legacy();
            modern.then(|| device.config_generation()).transpose()
        });
        read.ok().flatten()
    }

    /// Marks it as one that a driver has given up on. No driver has it.
    pub(super) fn fail(&mut self, error: Error, rest: &mut Rest<'_, P>) {
        let marked = self.lender.with(|device| {
            let status = device.status()?;
            let known = Status::ACKNOWLEDGE | Status::DRIVER;
            device.set_status(status | known | Status::FAILED)
        });
        // The reason is what matters; a device that cannot be told is not worse for it.
        let _ = marked;
        self.error = Some(error);
        rest.tell(self, What::Failed(error));
    }

    /// Forgives it what it did: somebody wants to give it another try.
    pub(super) fn pardon(&mut self) {
        self.recoveries = 0;
        self.error = None;
    }

    /// Notices if what its driver made was dropped: it has no driver then.
    pub(super) fn notice(&mut self, rest: &mut Rest<'_, P>) {
        if self.bound.is_some() && !self.lender.is_lent() {
            // Whoever dropped it knows, and needs not be told. Whether the reset was confirmed was
            // told to the platform.
            self.settle(None, rest);
            // It is here after this, and was reset.
            let _ = self.lender.take_back();
            self.error = self.lender.acknowledge().err();
        }
    }

    /// Tells its driver's sink that it is about to be taken back.
    pub(super) fn leave(&self, why: Parting, rest: &Rest<'_, P>) {
        if let Some(driver) = rest.driver(self.driver()) {
            driver.factory.leaving(self.name, why);
        }
    }

    /// Takes it back from its driver, which it has, in good order, and has it without one.
    pub(super) fn unbind(&mut self, rest: &mut Rest<'_, P>) -> Result<()> {
        self.leave(Parting::Unbound, rest);
        let taken = self.take_back(Parting::Unbound, rest);
        self.error = match taken {
            Ok(()) => self.lender.acknowledge().err(),
            Err(error) => Some(error),
        };
        taken
    }

    /// Takes it back from its driver, if it has one.
    pub(super) fn take_back(&mut self, why: Parting, rest: &mut Rest<'_, P>) -> Result<()> {
        let taken = self.lender.take_back();
        self.settle(Some(why), rest);
        taken
    }

    /// It has gone: whoever has something of it is told.
    pub(super) fn vanished(&mut self, rest: &mut Rest<'_, P>) {
        self.lender.vanished();
        self.settle(Some(Parting::Removed), rest);
    }

    /// The device itself, which no driver has.
    pub(super) fn into_transport(self) -> Option<AnyTransport<P>> {
        self.lender.into_device()
    }

    /// Tells whom it concerns that its driver does not have it any more.
    fn settle(&mut self, why: Option<Parting>, rest: &mut Rest<'_, P>) {
        let Some(bound) = self.bound.take() else {
            return;
        };
        if let Some(asleep) = &mut self.asleep {
            *asleep = Asleep::Idle;
        }
        if let Some(why) = why
            && let Some(driver) = rest.driver(Some(bound.driver))
        {
            driver.factory.removed(self.name, why);
        }
        rest.tell(self, What::Unbound(bound.driver));
    }
}
