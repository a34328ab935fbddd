//! Why a machine cannot be built.

use core::fmt;
use std::io;

use ringway_device::Fault;
use ringway_device::pci::{Unfit, VirtualFunctionsError};

/// The result of building a machine.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why a machine cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Ours to configure: there cannot be so many bytes of RAM. None, or more than the host can
    /// give.
    Ram(usize),
    /// Ours to configure: there are more devices than places of their kind.
    TooManyDevices {
        /// How many places there are.
        limit: usize,
    },
    /// Ours to configure: two devices have this name.
    SameName(String),
    /// The BARs of the device with this name are larger than what is left of PCI's addresses.
    NoAddresses(String),
    /// Ours to configure: the device with this name cannot be presented so.
    Device(String, Fault),
    /// Ours to configure: what a function was to have as its virtual ones cannot be that.
    VirtualFunctions(VirtualFunctionsError),
    /// Ours to configure: the device with this name cannot be presented so.
    Unfit(String, Unfit),
    /// The host would not start a thread.
    Thread(io::ErrorKind),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ram(bytes) => write!(f, "no machine can have {bytes} bytes of RAM here"),
            Self::TooManyDevices { limit } => write!(f, "more than {limit} devices of a kind"),
            Self::SameName(name) => write!(f, "two devices are called {name}"),
            Self::NoAddresses(name) => write!(f, "no addresses are left for the BARs of {name}"),
            Self::Device(name, fault) => write!(f, "{name}: {fault}"),
            Self::Unfit(name, why) => write!(f, "{name} can be no PCI function: {why}"),
            Self::VirtualFunctions(error) => error.fmt(f),
            Self::Thread(kind) => write!(f, "no thread could be started: {kind}"),
        }
    }
}

impl From<VirtualFunctionsError> for Error {
    fn from(error: VirtualFunctionsError) -> Self {
        Self::VirtualFunctions(error)
    }
}

impl std::error::Error for Error {}
