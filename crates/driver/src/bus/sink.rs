//! What a driver makes of a device, and how it reaches the operating system.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Driver, Name};
use crate::bringup::Config;
use crate::error::Result;
use crate::platform::Platform;
use crate::transport::Transport;

/// A device of a bus, however it is reached.
pub type AnyTransport<P> = Box<dyn Transport<Platform = P>>;

/// A class of devices: what drivers for it make, and operating systems take. A disk is
/// [`Blk`](crate::blk::Blk), a source of entropy [`Rng`](crate::entropy::Rng).
///
/// This, beside [`Driver`], is all that a class needs to be on a bus.
pub trait Class<P: Platform>: Driver<AnyTransport<P>> + Send {
    /// What the operating system is told when the device's configuration has changed.
    type Change;

    /// Reads what may have changed, while somebody else uses the device. `None` if there is nothing
    /// that could.
    ///
    /// # Errors
    ///
    /// What keeps it from being known. The device goes on as it was.
    fn change(config: &mut Config<'_, AnyTransport<P>>) -> Result<Option<Self::Change>>;
}

/// The operating system, to the drivers of one class.
///
/// What it is given is its own: to use on any thread, to send apart, and to drop, which ends the
/// device's use. It is called by the thread that calls the bus, and cannot call the bus itself.
pub trait Sink<P: Platform, D: Class<P>>: Send {
    /// There is a device, and `device` is live.
    fn added(&self, name: Name, device: D);

    /// The device's configuration has changed.
    fn changed(&self, name: Name, change: D::Change) {
        let _ = (name, change);
    }

    /// The device is about to be taken back, in good order: what was made of it still works, and
    /// can be used to complete what is in flight, and to flush it. Nothing more is to be begun.
    ///
    /// Not called if the device has gone, or asks for a reset.
    fn leaving(&self, name: Name, why: Parting) {
        let _ = (name, why);
    }

    /// The device was suspended, and goes on: what was made of it works as before.
    fn resumed(&self, name: Name) {
        let _ = name;
    }

    /// The device was taken back: what was made of it answers [`Error::Gone`], and is good for
    /// having buffers back that were in flight. Whoever waited on it was woken.
    ///
    /// [`Error::Gone`]: crate::Error::Gone
    fn removed(&self, name: Name, why: Parting);
}

/// Why a device was taken back from its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Parting {
    /// Somebody wanted it without its driver, or the driver gone.
    Unbound,
    /// It goes from the bus, or has gone.
    Removed,
    /// The machine sleeps. Devices that can be suspended as they are (§3.4) are not taken back: they
    /// are [resumed](Sink::resumed); others are [added](Sink::added) again.
    Suspended,
    /// It asked to be reset (§2.1.2). If that helps, it is [added](Sink::added) again at once.
    NeedsReset,
}

impl<P: Platform, D: Class<P>, S: Sink<P, D> + Sync + ?Sized> Sink<P, D> for Arc<S> {
    fn added(&self, name: Name, device: D) {
        (**self).added(name, device);
    }

    fn changed(&self, name: Name, change: D::Change) {
        (**self).changed(name, change);
    }

    fn leaving(&self, name: Name, why: Parting) {
        (**self).leaving(name, why);
    }

    fn resumed(&self, name: Name) {
        (**self).resumed(name);
    }

    fn removed(&self, name: Name, why: Parting) {
        (**self).removed(name, why);
    }
}
