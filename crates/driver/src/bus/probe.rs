//! Finding the device that a driver is for.

use ringway_spec::DeviceId;

use crate::bringup::{Acknowledged, Probed};
use crate::error::{Error, Result};
use crate::transport::Transport;

/// A driver for one type of device.
pub trait Driver<T: Transport>: Sized {
    /// The type of device.
    const ID: DeviceId;

    /// Brings a device of that type up.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from working: the device is left reset, or marked `FAILED`.
    fn probe(device: Probed<T>) -> Result<Self>;
}

/// Brings the device behind `transport` up with driver `D`.
///
/// # Errors
///
/// [`Error::WrongDevice`] if it is of another type; otherwise what [`Driver::probe`] finds.
pub fn attach<D: Driver<T>, T: Transport>(transport: T) -> Result<D> {
    if transport.device_id() != D::ID {
        return Err(Error::WrongDevice(transport.device_id()));
    }
    D::probe(Acknowledged::new(transport)?.driver()?)
}

/// Brings the first of `transports` up that driver `D` is for. `None` if there is none.
///
/// # Errors
///
/// What [`attach`] finds at that one.
pub fn probe<D: Driver<T>, T: Transport>(
    transports: impl IntoIterator<Item = T>,
) -> Result<Option<D>> {
    transports
        .into_iter()
        .find(|transport| transport.device_id() == D::ID)
        .map(attach)
        .transpose()
}
