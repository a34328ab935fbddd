//! A device through one of its interfaces, chosen when it is opened.

use ringway_spec::{DeviceId, Features, Status};

use super::bar::Bars;
use super::capability::{Layout, Table};
use super::config::Config;
use super::legacy::{self, Legacy};
use super::modern::Modern;
#[cfg(feature = "alloc")]
use super::sriov::{Agreement, Capability, VirtualFunctions};
use super::{Address, ConfigAccess, Function, scan};
use crate::dialect::Dialect;
use crate::error::{Error, Result, Violation};
use crate::platform::{Message, Platform};
use crate::transport::{self, AdminQueues, Doorbell, Line, QueueSetup, SharedMemory, Transport};

/// Which interface a device that has both is driven through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The modern one. The legacy one is for devices that have none (§4.1.5.1.1.1): not for one
    /// whose modern interface is broken, which is an error.
    #[default]
    ModernFirst,
    /// The legacy one, unless the device has none, or this machine cannot use it: it has no I/O
    /// ports, or no memory where such a device can be told of it.
    LegacyFirst,
}

/// A virtio device on PCI, through one of its interfaces.
///
/// Dropped, it cannot reach memory any more, reset or not. Its doorbells then ring nowhere.
#[derive(Debug)]
pub enum Pci<P: Platform + ConfigAccess> {
    /// That of the specification.
    Modern(Modern<P>),
    /// The one before.
    Legacy(Legacy<P>),
}

/// Finds the registers of the device that `function` is, by the interface that is preferred, maps
/// what is used of them, and lets it answer and reach memory.
///
/// # Errors
///
/// [`TransportError::NotVirtio`](crate::error::TransportError::NotVirtio) if it is none;
/// [`Violation::Capability`] if it does not say where its registers are, or says what cannot be;
/// [`Error::Platform`] if they cannot be mapped, or the device has the legacy interface alone and
/// there is no memory that it can be told of.
pub fn open<P: Platform + ConfigAccess>(
    platform: &P,
    function: &Function,
    preference: Preference,
) -> Result<Pci<P>> {
    function.virtio()?;
    match preference {
        Preference::ModernFirst => match modern(platform, function)? {
            Some(modern) => Ok(modern),
            None => legacy(platform, function)?.ok_or_else(neither),
        },
        Preference::LegacyFirst => match legacy(platform, function) {
            Ok(Some(legacy)) => Ok(legacy),
            Ok(None) => modern(platform, function)?.ok_or_else(neither),
            Err(Error::Platform(error)) => {
                modern(platform, function)?.ok_or(Error::Platform(error))
            }
            Err(error) => Err(error),
        },
    }
}

/// The virtio devices of all buses: each as it was opened, or with the reason why it could not be.
/// Of interfaces, the modern one is preferred.
pub fn devices<P: Platform + ConfigAccess>(
    platform: &P,
) -> impl Iterator<Item = Result<Pci<P>>> + '_ {
    devices_by(platform, Preference::ModernFirst)
}

/// The virtio devices of all buses, by the interface that is preferred.
pub fn devices_by<P: Platform + ConfigAccess>(
    platform: &P,
    preference: Preference,
) -> impl Iterator<Item = Result<Pci<P>>> + '_ {
    scan(platform)
        .filter(|function| function.device_id().is_some())
        .map(move |function| open(platform, &function, preference))
}

/// The device by its modern interface, if it has one.
fn modern<P: Platform + ConfigAccess>(platform: &P, function: &Function) -> Result<Option<Pci<P>>> {
    let config = Config::new(platform, function.address);
    let modern = modern_at(platform, function, Bars::new(&config), &config)?;
    Ok(modern.map(Pci::Modern))
}

/// The device by its modern interface, if it has one, whose structures are in `bars`.
pub(super) fn modern_at<P: Platform + ConfigAccess>(
    platform: &P,
    function: &Function,
    mut bars: Bars<'_, P>,
    config: &Config<'_, P>,
) -> Result<Option<Modern<P>>> {
    let Some(layout) = Layout::find(config, &mut bars, platform)? else {
        return Ok(None);
    };
    let table = Table::find(config, &mut bars)?;
    Modern::open(
        platform.clone(),
        function,
        &layout,
        table,
        #[cfg(feature = "alloc")]
        Agreement::new(Capability::find(config)),
    )
    .map(Some)
}

/// The device by its legacy interface, if it has one.
fn legacy<P: Platform + ConfigAccess>(platform: &P, function: &Function) -> Result<Option<Pci<P>>> {
    let config = Config::new(platform, function.address);
    let mut bars = Bars::new(&config);
    let Some(header) = legacy::header(function, &mut bars) else {
        return Ok(None);
    };
    let table = Table::find(&config, &mut bars)?;
    Legacy::open(platform.clone(), function, header, table).map(|legacy| Some(Pci::Legacy(legacy)))
}

/// What is wrong with a device that has no interface at all.
pub(super) fn neither() -> Error {
    Violation::Capability("no common configuration").into()
}

impl<P: Platform + ConfigAccess> Pci<P> {
    /// Where the function is.
    pub fn address(&self) -> Address {
        match self {
            Self::Modern(modern) => modern.address(),
            Self::Legacy(legacy) => legacy.address(),
        }
    }

    /// The virtual functions that it can have, for the first who asks. `None` if it has none, or is
    /// driven through the legacy interface, which knows of none.
    ///
    /// # Errors
    ///
    /// As [`Modern::virtual_functions`] has.
    #[cfg(feature = "alloc")]
    pub fn virtual_functions(&mut self) -> Result<Option<VirtualFunctions<P>>> {
        match self {
            Self::Modern(modern) => modern.virtual_functions(),
            Self::Legacy(_) => Ok(None),
        }
    }

    fn either(&self) -> &dyn Transport<Platform = P> {
        match self {
            Self::Modern(modern) => modern,
            Self::Legacy(legacy) => legacy,
        }
    }

    fn either_mut(&mut self) -> &mut dyn Transport<Platform = P> {
        match self {
            Self::Modern(modern) => modern,
            Self::Legacy(legacy) => legacy,
        }
    }
}

/// Nothing of it is on the path of data: a [`Doorbell`] knows its register by itself.
impl<P: Platform + ConfigAccess> Transport for Pci<P> {
    type Platform = P;

    fn platform(&self) -> &P {
        self.either().platform()
    }

    fn name(&self) -> &'static str {
        self.either().name()
    }

    fn dialect(&self) -> Dialect {
        self.either().dialect()
    }

    fn device_id(&self) -> DeviceId {
        self.either().device_id()
    }

    fn vendor_id(&self) -> u32 {
        self.either().vendor_id()
    }

    fn transport_features(&self) -> Features {
        self.either().transport_features()
    }

    fn device_features(&mut self) -> transport::Result<Features> {
        self.either_mut().device_features()
    }

    fn set_driver_features(&mut self, features: Features) -> transport::Result<()> {
        self.either_mut().set_driver_features(features)
    }

    fn status(&mut self) -> transport::Result<Status> {
        self.either_mut().status()
    }

    fn set_status(&mut self, status: Status) -> transport::Result<()> {
        self.either_mut().set_status(status)
    }

    fn config_generation(&mut self) -> transport::Result<u32> {
        self.either_mut().config_generation()
    }

    fn read_config(&mut self, offset: usize, into: &mut [u8]) -> transport::Result<()> {
        self.either_mut().read_config(offset, into)
    }

    fn write_config(&mut self, offset: usize, from: &[u8]) -> transport::Result<()> {
        self.either_mut().write_config(offset, from)
    }

    fn queue_size_max(&mut self, index: u16) -> transport::Result<u16> {
        self.either_mut().queue_size_max(index)
    }

    fn queue_enabled(&mut self, index: u16) -> transport::Result<bool> {
        self.either_mut().queue_enabled(index)
    }

    fn enable_queue(&mut self, index: u16, setup: &QueueSetup) -> transport::Result<()> {
        self.either_mut().enable_queue(index, setup)
    }

    fn reset_queue(&mut self, index: u16) -> transport::Result<()> {
        self.either_mut().reset_queue(index)
    }

    fn queue_is_reset(&mut self, index: u16) -> transport::Result<bool> {
        self.either_mut().queue_is_reset(index)
    }

    fn doorbell(&mut self, index: u16, features: Features) -> transport::Result<Doorbell<P>> {
        self.either_mut().doorbell(index, features)
    }

    fn admin_queues(&mut self) -> transport::Result<Option<AdminQueues>> {
        self.either_mut().admin_queues()
    }

    fn shared_memory(&mut self, id: u8) -> transport::Result<Option<SharedMemory>> {
        self.either_mut().shared_memory(id)
    }

    fn messages_max(&self) -> u16 {
        self.either().messages_max()
    }

    fn set_message(&mut self, vector: u16, message: Option<Message>) -> transport::Result<()> {
        self.either_mut().set_message(vector, message)
    }

    fn use_messages(&mut self, on: bool) -> transport::Result<()> {
        self.either_mut().use_messages(on)
    }

    fn set_config_vector(&mut self, vector: Option<u16>) -> transport::Result<bool> {
        self.either_mut().set_config_vector(vector)
    }

    fn set_queue_vector(&mut self, index: u16, vector: Option<u16>) -> transport::Result<bool> {
        self.either_mut().set_queue_vector(index, vector)
    }

    fn line(&self) -> Option<Line<P>> {
        self.either().line()
    }
}

#[cfg(test)]
mod tests;
