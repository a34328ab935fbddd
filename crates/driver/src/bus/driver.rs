//! A driver as the bus knows it, whatever it makes.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;

use ringway_spec::Modalias;

use super::sink::{AnyTransport, Class, Parting, Sink};
use super::{Id, Name};
use crate::bringup::{Config, Probed};
use crate::error::Result;
use crate::platform::Platform;

/// A driver that was registered.
#[derive(Debug)]
pub(super) struct Registered<P: Platform> {
    pub(super) name: &'static str,
    pub(super) ids: Box<[Id]>,
    pub(super) factory: Box<dyn Factory<P>>,
}

/// Makes something of devices, and tells its sink what becomes of them.
pub(super) trait Factory<P: Platform>: Send {
    /// Brings a device up, and hands what that makes to the sink.
    fn probe(&self, name: Name, device: Probed<AnyTransport<P>>) -> Result<()>;

    /// Tells the sink what has changed. Says whether anything could.
    fn changed(&self, name: Name, config: &mut Config<'_, AnyTransport<P>>) -> Result<bool>;

    /// Tells the sink that the device is about to be taken back.
    fn leaving(&self, name: Name, why: Parting);

    /// Tells the sink that the device goes on.
    fn resumed(&self, name: Name);

    /// Tells the sink that the device was taken back.
    fn removed(&self, name: Name, why: Parting);
}

/// Makes `D`s for `S`, by `F`.
pub(super) struct Made<D, S, F> {
    sink: S,
    open: F,
    makes: PhantomData<fn() -> D>,
}

impl<P: Platform> Registered<P> {
    pub(super) fn new(name: &'static str, ids: &[Id], factory: impl Factory<P> + 'static) -> Self {
        Self {
            name,
            ids: ids.into(),
            factory: Box::new(factory),
        }
    }

    /// Whether it is for the device.
    pub(super) fn is_for(&self, device: &Modalias) -> bool {
        self.ids.iter().any(|id| id.matches(device))
    }
}

impl<D, S, F> Made<D, S, F> {
    pub(super) fn new(sink: S, open: F) -> Self {
        Self {
            sink,
            open,
            makes: PhantomData,
        }
    }
}

impl<P, D, S, F> Factory<P> for Made<D, S, F>
where
    P: Platform,
    D: Class<P>,
    S: Sink<P, D>,
    F: Fn(Probed<AnyTransport<P>>) -> Result<D> + Send,
{
    fn probe(&self, name: Name, device: Probed<AnyTransport<P>>) -> Result<()> {
        let made = (self.open)(device)?;
        self.sink.added(name, made);
        Ok(())
    }

    fn changed(&self, name: Name, config: &mut Config<'_, AnyTransport<P>>) -> Result<bool> {
        let change = D::change(config)?;
        let could = change.is_some();
        if let Some(change) = change {
            self.sink.changed(name, change);
        }
        Ok(could)
    }

    fn leaving(&self, name: Name, why: Parting) {
        self.sink.leaving(name, why);
    }

    fn resumed(&self, name: Name) {
        self.sink.resumed(name);
    }

    fn removed(&self, name: Name, why: Parting) {
        self.sink.removed(name, why);
    }
}

impl<P: Platform> fmt::Debug for dyn Factory<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Factory")
    }
}
