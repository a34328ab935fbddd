//! What devices have asked for, done outside of interrupts.

use core::task::Waker;

use ringway_spec::Status;

use super::device::{Device, Rest};
use super::event::What;
use super::sink::Parting;
use super::{Bus, Name};
use crate::bringup::Interrupts;
use crate::error::{BusError, Error, Result};
use crate::platform::Platform;

/// How often a device is reset and begun again because it asked for that, until somebody
/// [forgives](Bus::rebind) it. One that asks each time would keep the system busy for ever.
pub const RECOVERIES_MAX: u32 = 4;

impl<P: Platform> Bus<P> {
    /// Does what devices have asked for since it was last called: tells sinks what has changed of a
    /// configuration, and resets and begins again what asks for that (§2.1.2), with what was in
    /// flight to be reclaimed from the handles of before. Notices devices whose handles
    /// were dropped.
    ///
    /// To be called when a waker that was [registered](Self::register_waker) is woken; for devices
    /// whose interrupts do not arrive, now and then. Says whether there was anything to do.
    pub fn run_pending(&mut self) -> bool {
        let mut done = false;
        let (devices, mut rest) = self.parts();
        for device in devices.values_mut() {
            let before = device.driver();
            device.notice(&mut rest);
            done |= device.driver() != before;
            done |= device.run_pending(&mut rest);
        }
        done
    }

    /// Has `waker` woken when there may be something for [`run_pending`](Self::run_pending): to be
    /// called before that, again and again, since devices come and go. It takes the place of
    /// whoever waits for [`config_changed`](crate::bringup::Live::config_changed) of a device.
    pub fn register_waker(&self, waker: &Waker) {
        for bound in self
            .devices
            .values()
            .filter_map(|device| device.bound.as_ref())
        {
            bound.changed.register(waker);
        }
    }

    /// Has changes of a device's configuration wait, until they are
    /// [let through](Self::let_changes_through): while whoever has its handle is not ready to hear of
    /// them.
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`], [`BusError::Unbound`]
    pub fn hold_changes_back(&mut self, name: Name) -> Result<()> {
        self.changes(name, true)
    }

    /// Ends what [`hold_changes_back`](Self::hold_changes_back) began. What has changed meanwhile is
    /// told by the next [`run_pending`](Self::run_pending).
    ///
    /// # Errors
    ///
    /// [`BusError::NoDevice`], [`BusError::Unbound`]
    pub fn let_changes_through(&mut self, name: Name) -> Result<()> {
        self.changes(name, false)
    }

    fn changes(&mut self, name: Name, held_back: bool) -> Result<()> {
        let (device, _) = self.device(name)?;
        let bound = device.bound.as_mut().ok_or(BusError::Unbound)?;
        bound.held_back = held_back;
        // Looked at once more in any case.
        bound.seen = bound.changed.count().wrapping_sub(1);
        Ok(())
    }
}

impl<P: Platform> Device<P> {
    /// Does what the device has asked for. Says whether that was anything.
    fn run_pending(&mut self, rest: &mut Rest<'_, P>) -> bool {
        if self.asleep.is_some() {
            // It says what it has to say when it goes on (§3.4.2).
            return false;
        }
        let polled = self.lender.interrupts() == Some(Interrupts::Polled);
        let Some(bound) = &mut self.bound else {
            return false;
        };
        let count = bound.changed.count();
        if count == bound.seen && !polled {
            return false;
        }
        bound.seen = count;
        match self.lender.with(|device| device.status()) {
            Ok(status) if status.contains(Status::NEEDS_RESET) => {
                self.recover(rest);
                true
            }
            Ok(_) => self.dispatch(rest),
            // One that does not answer will be said to have gone, or will answer again. Its error
            // is told once.
            Err(error) => {
                let new = self.error != Some(error);
                if new {
                    self.error = Some(error);
                    rest.tell(self, What::Failed(error));
                }
                new
            }
        }
    }

    /// Tells the sink what has changed of the configuration. Says whether anything had.
    fn dispatch(&mut self, rest: &mut Rest<'_, P>) -> bool {
        let now = self.generation();
        let Some(bound) = &mut self.bound else {
            return false;
        };
        // An interrupt may be about something else. A legacy device does not say.
        let unchanged = now.is_some() && now == bound.generation;
        if unchanged || bound.held_back {
            return false;
        }
        bound.generation = now;
        let driver = rest.driver(self.driver());
        let (Some(driver), Some(mut config)) = (driver, self.lender.config()) else {
            return false;
        };
        match driver.factory.changed(self.name, &mut config) {
            Ok(false) => return false,
            Ok(true) => rest.tell(self, What::ConfigChanged),
            Err(error) => {
                self.error = Some(error);
                rest.tell(self, What::Failed(error));
            }
        }
        true
    }

    /// Resets the device, as it asked for, and begins again with it.
    pub(super) fn recover(&mut self, rest: &mut Rest<'_, P>) {
        let driver = rest.driver(self.driver());
        rest.tell(self, What::NeedsReset);
        // It is reset again below, and that has to be confirmed.
        let _ = self.take_back(Parting::NeedsReset, rest);
        match driver {
            Some(driver) if self.recoveries < RECOVERIES_MAX => {
                self.recoveries += 1;
                // What goes wrong is the device's error.
                let _ = self.bind(driver, rest);
            }
            _ => self.fail(Error::NeedsReset, rest),
        }
    }
}
