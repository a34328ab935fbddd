//! The messages of vhost-user: values, and the bytes and file descriptors that carry them.
//!
//! A message is a [`Header`], a payload, and file descriptors that travel beside them. Nothing here
//! does I/O: file descriptors are a type parameter, so that tests and fuzzers have numbers for them,
//! and one that a message has no place for is dropped, which closes it.
//!
//! Numbers are in the machine's own byte order, since both ends are on it.

mod features;
mod header;
mod payload;
mod reply;
mod request;
mod to_front;

use core::fmt;

pub use features::{LOG_ALL, PROTOCOL_FEATURES, ProtocolFeatures};
pub use header::{DESCRIPTORS_MAX, Flags, HEADER_BYTES, Header, PAYLOAD_MAX};
pub use payload::{
    CONFIG_BYTES_MAX, ConfigFlags, ConfigSpace, DeviceStateTransfer, Inflight, Iotlb, IotlbKind,
    LogArea, Permissions, REGIONS_MAX, Region, RingAddresses, RingFlags, RingState, StateDirection,
    StatePhase,
};
pub use reply::Reply;
pub use request::{Code, Request};
pub use to_front::{BackCode, BackRequest};

/// A message that cannot be, and what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// The version is not 1.
    Version(u32),
    /// It says that it is a reply where a request is due, or the other way round.
    Direction,
    /// Its payload is larger than any.
    TooLarge(u32),
    /// A request with this number does not exist.
    Unknown(u32),
    /// The payload has another size than a request of its number has.
    Size {
        /// The number of the request.
        request: u32,
        /// The size that its payload has.
        size: u32,
    },
    /// A request came with fewer or more file descriptors than it has a place for.
    Descriptors {
        /// The number of the request.
        request: u32,
        /// How many it should have had.
        wanted: usize,
        /// How many came.
        came: usize,
    },
    /// A field has a value that means nothing.
    Field {
        /// The number of the request.
        request: u32,
        /// What is wrong with which field.
        what: &'static str,
    },
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "message of version {version}, which is not 1"),
            Self::Direction => f.write_str("reply where a request is due, or the other way round"),
            Self::TooLarge(size) => {
                write!(
                    f,
                    "payload of {size} bytes, at most {PAYLOAD_MAX} are taken"
                )
            }
            Self::Unknown(request) => write!(f, "request {request} does not exist"),
            Self::Size { request, size } => {
                write!(f, "request {request} with a payload of {size} bytes")
            }
            Self::Descriptors {
                request,
                wanted,
                came,
            } => write!(
                f,
                "request {request} with {came} file descriptors, {wanted} belong to it"
            ),
            Self::Field { request, what } => write!(f, "request {request}: {what}"),
        }
    }
}

impl core::error::Error for Malformed {}

/// What a message has beside its header.
#[derive(Debug)]
pub struct Body<F> {
    /// The bytes.
    pub payload: Vec<u8>,
    /// The file descriptors.
    pub descriptors: Vec<F>,
}

impl<F> Body<F> {
    fn bytes(payload: &(impl zerocopy::IntoBytes + zerocopy::Immutable + ?Sized)) -> Self {
        Self {
            payload: payload.as_bytes().to_vec(),
            descriptors: Vec::new(),
        }
    }

    fn with(mut self, descriptors: impl IntoIterator<Item = F>) -> Self {
        self.descriptors.extend(descriptors);
        self
    }
}

#[cfg(test)]
mod tests;
