//! Suspending devices while a machine sleeps, and going on with them. Spec: VIRTIO 1.4 §3.4 "Device
//! Suspend".
//!
//! A device that agreed to it is suspended as it is: its driver's handles are good still, and refuse
//! requests meanwhile. Any other is reset, and has to offer the same features when it is begun again.

use alloc::vec::Vec;

use ringway_spec::Features;

use super::device::{Device, Rest};
use super::event::What;
use super::sink::Parting;
use super::{Bus, Name};
use crate::error::{Error, Result, Violation};
use crate::platform::Platform;

/// What a device was before it was suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asleep {
    /// Without a driver.
    Idle,
    /// Its driver has it still.
    Driven { offered: Features },
    /// Its driver had it, and it was reset.
    Reset {
        driver: &'static str,
        offered: Features,
        accepted: Features,
    },
}

impl<P: Platform> Bus<P> {
    /// Suspends all devices, the last first. If one cannot be, all go on.
    ///
    /// # Errors
    ///
    /// Those of [`suspend`](Self::suspend), of the device that cannot be.
    pub fn suspend_all(&mut self) -> Result<()> {
        let names: Vec<Name> = self.devices.keys().rev().copied().collect();
        for name in names {
            if let Err(error) = self.suspend(name) {
                // What goes wrong now is the error of the device that it goes wrong with.
                let _ = self.resume_all();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has all devices go on, the first first, whatever goes wrong with one of them.
    ///
    /// # Errors
    ///
    /// Those of [`resume`](Self::resume), of the first that does not go on.
    pub fn resume_all(&mut self) -> Result<()> {
        let names: Vec<Name> = self.devices.keys().copied().collect();
        let outcomes = names.into_iter().map(|name| self.resume(name));
        // Each is tried.
        outcomes.fold(Ok(()), Result::and)
    }

    /// Suspends a device, after its sink was [told](super::Sink::leaving), and has completed what was
    /// in flight. What it has not completed, and the device has not, is to be reclaimed if the device
    /// is reset.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`](crate::error::BusError::NoDevice).
    /// [`Violation::ResetNotConfirmed`] and [`Error::Transport`] if it could only be reset, and did
    /// not let go: it has no driver any more, and its memory is kept.
    pub fn suspend(&mut self, name: Name) -> Result<()> {
        let (device, mut rest) = self.device(name)?;
        device.suspend(&mut rest)
    }

    /// Has a device go on: as it was, or begun again by its driver, or without one.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`](crate::error::BusError::NoDevice).
    /// [`Violation::FeaturesChanged`] if it offers other features than before; otherwise what its
    /// driver finds. That is the device's error then, and it has no driver.
    pub fn resume(&mut self, name: Name) -> Result<()> {
        let (device, mut rest) = self.device(name)?;
        device.resume(&mut rest)
    }
}

impl<P: Platform> Device<P> {
    fn suspend(&mut self, rest: &mut Rest<'_, P>) -> Result<()> {
        if self.asleep.is_some() {
            return Ok(());
        }
        let asleep = match self.driver() {
            None => Asleep::Idle,
            Some(driver) => self.suspend_driven(driver, rest)?,
        };
        self.asleep = Some(asleep);
        rest.tell(self, What::Suspended);
        Ok(())
    }

    fn suspend_driven(&mut self, driver: &'static str, rest: &mut Rest<'_, P>) -> Result<Asleep> {
        self.leave(Parting::Suspended, rest);
        let (offered, accepted) = (self.offered()?, self.lender.features());
        if self.lender.suspend().is_ok() {
            return Ok(Asleep::Driven { offered });
        }
        // It cannot, or does not say: a reset does as well.
        if let Err(error) = self.take_back(Parting::Suspended, rest) {
            self.fail(error, rest);
            return Err(error);
        }
        Ok(Asleep::Reset {
            driver,
            offered,
            accepted,
        })
    }

    fn resume(&mut self, rest: &mut Rest<'_, P>) -> Result<()> {
        let Some(asleep) = self.asleep.take() else {
            return Ok(());
        };
        let woken = match asleep {
            Asleep::Idle => self.lender.acknowledge(),
            Asleep::Driven { offered } => self.wake(offered, rest),
            Asleep::Reset {
                driver,
                offered,
                accepted,
            } => self.begin_again(driver, offered, accepted, rest),
        };
        match woken {
            Ok(()) => rest.tell(self, What::Resumed),
            Err(error) => {
                // Of a device that was reset already, nothing is in flight.
                let _ = self.take_back(Parting::Suspended, rest);
                if self.error != Some(error) {
                    self.fail(error, rest);
                }
            }
        }
        woken
    }

    /// Has a device go on in its driver's hands, or begins again with one that cannot.
    fn wake(&mut self, offered: Features, rest: &mut Rest<'_, P>) -> Result<()> {
        self.offers_still(offered)?;
        match self.lender.resume() {
            Ok(()) => {
                if let Some(driver) = rest.driver(self.driver()) {
                    driver.factory.resumed(self.name);
                }
                Ok(())
            }
            Err(Error::NeedsReset) => {
                self.recover(rest);
                let given_up = self.error.filter(|_| self.bound.is_none());
                given_up.map_or(Ok(()), Err)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins again with a device that was reset, with the features of before.
    fn begin_again(
        &mut self,
        driver: &str,
        offered: Features,
        accepted: Features,
        rest: &mut Rest<'_, P>,
    ) -> Result<()> {
        self.lender.acknowledge()?;
        self.offers_still(offered)?;
        let Some(driver) = rest.driver(Some(driver)) else {
            // It was unregistered meanwhile.
            self.match_drivers(rest);
            return Ok(());
        };
        self.bind(driver, rest)?;
        same(accepted, self.lender.features())
    }

    fn offered(&mut self) -> Result<Features> {
        self.lender.with(|device| device.device_features())
    }

    /// Finds that the device offers what it did.
    fn offers_still(&mut self, offered: Features) -> Result<()> {
        same(offered, self.offered()?)
    }
}

fn same(before: Features, now: Features) -> Result<()> {
    let changed = (before - now) | (now - before);
    if changed.is_empty() {
        return Ok(());
    }
    Err(Violation::FeaturesChanged(changed).into())
}
