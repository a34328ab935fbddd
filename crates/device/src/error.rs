//! What can go wrong behind a device: the driver's faults are
//! [`Violation`](ringway_ring::device::Violation)s.

use core::fmt;

/// The result of an operation of what stands behind a device.
pub type Result<T = (), E = Error> = core::result::Result<T, E>;

/// Why what stands behind a device could not do what a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The medium failed. The request fails; the next one may not.
    Medium,
    /// It cannot do such a thing, and never will. The driver is told so.
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Medium => "the medium behind the device failed",
            Self::Unsupported => "the medium behind the device cannot do that",
        })
    }
}

impl core::error::Error for Error {}
