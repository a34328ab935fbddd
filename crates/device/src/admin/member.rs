//! A member of a group, as its owner reaches it: not through the registers of its driver.
//!
//! Spec: VIRTIO 1.4 §2.12.1.4 "Device parts", §2.12.1.1 "Legacy Interfaces".

use alloc::vec::Vec;
use core::fmt;
use core::task::Poll;

use ringway_spec::admin::{NotifyInfo, PartHeader, PartType};

use super::command::Failure;
use crate::model::StateError;

/// A device that an owner can stop, take apart and put together, and whose legacy interface it can
/// have.
pub trait Member: Send + Sync {
    /// Stops it, or has it go on. [`Poll::Pending`] while it completes what it has begun, and while
    /// it is being reset: to be asked again. It succeeds if the member was so before, too.
    ///
    /// # Errors
    ///
    /// [`Inadmissible`] if it was given parts that do not fit together: it stays stopped.
    fn set_mode(&self, mode: Mode) -> Poll<Result<(), Inadmissible>>;

    /// Its parts, in the order of the specification's table (§2.12.1.4.4). [`Poll::Pending`] while it
    /// is being reset.
    fn parts(&self) -> Poll<Vec<Part>>;

    /// How many bytes they have at most, with their headers, whatever state it is in.
    fn parts_bytes_max(&self) -> u32;

    /// Gives it these parts, one after the other, each a header and its value. They take effect when
    /// it goes on. [`Poll::Pending`] while it is being reset.
    ///
    /// # Errors
    ///
    /// [`Inadmissible`]: it is as it was.
    fn set_parts(&self, parts: &[u8]) -> Poll<Result<(), Inadmissible>>;

    /// Does what its legacy driver would by writing `from` at `offset`, little-endian.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidField`] if that is not within one field.
    fn legacy_write(&self, place: LegacyPlace, offset: u8, from: &[u8]) -> Result<(), Failure>;

    /// What its legacy driver would read at `offset`, little-endian, with an access of at most `len`
    /// bytes.
    ///
    /// # Errors
    ///
    /// [`Failure::InvalidField`] if that is not within one field.
    fn legacy_read(&self, place: LegacyPlace, offset: u8, len: usize) -> Result<Vec<u8>, Failure>;

    /// Where in its own BARs its legacy driver's notifications can be written. None if nowhere.
    fn legacy_notify(&self) -> Option<NotifyInfo>;
}

/// Whether a device works, as its owner has it (§2.12.1.4.3.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does what its driver asks for.
    #[default]
    Running,
    /// It reaches no memory of its driver's, and does not interrupt. Its registers can be read and
    /// written, and kicks are taken: what they lead to happens when it goes on.
    Stopped,
}

/// Which of two places of the legacy interface is meant (§2.12.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyPlace {
    /// The header.
    Common,
    /// The configuration space of the device's type.
    Device,
}

/// One part of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which it is, and how long.
    pub header: PartHeader,
    /// What it is.
    pub value: Vec<u8>,
}

/// Why a device is not what it was to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inadmissible {
    /// It was not stopped.
    Running,
    /// Its parts end within one.
    Short,
    /// A part has so many bytes, and another length in the device.
    Length(PartType, u32),
    /// A part says what is reserved, or what cannot be.
    Value(PartType),
    /// It has no such part: no such register, or no such queue.
    Unknown(PartType),
    /// A part is there twice, or where it may not be: after one that comes later, or without one that
    /// must come before.
    Order(PartType),
    /// Features that it does not offer, or cannot work with.
    Features,
    /// A status that it cannot have with its features.
    Status,
    /// This queue cannot be set up so.
    Queue(u16),
    /// There is no ring where that of this queue is said to be.
    Ring(u16),
    /// What another one has said of itself.
    State(StateError),
}

impl fmt::Display for Inadmissible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.write_str("device was not stopped before it was given parts"),
            Self::Short => f.write_str("list of parts ends within one"),
            Self::Length(part, len) => {
                write!(f, "part {part} has {len} bytes, and not in this device")
            }
            Self::Value(part) => write!(f, "part {part} says what cannot be"),
            Self::Unknown(part) => write!(f, "part {part} is none of this device"),
            Self::Order(part) => {
                write!(
                    f,
                    "part {part} is there twice, too late, or without one before it"
                )
            }
            Self::Features => f.write_str("features that the device cannot have"),
            Self::Status => f.write_str("status that the device cannot have with its features"),
            Self::Queue(index) => write!(f, "queue {index} cannot be set up so"),
            Self::Ring(index) => write!(f, "no ring where that of queue {index} is said to be"),
            Self::State(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Inadmissible {}

impl From<Inadmissible> for Failure {
    fn from(why: Inadmissible) -> Self {
        match why {
            Inadmissible::Running => Self::InvalidCommand,
            _ => Self::InvalidField,
        }
    }
}
