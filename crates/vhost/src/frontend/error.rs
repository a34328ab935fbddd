//! What can go wrong at the front-end's end, by whose fault it is.

use core::fmt;
use core::time::Duration;
use std::io;

use ringway_driver::error::TransportError;
use ringway_spec::Features;
use rustix::io::Errno;

use crate::protocol::{Code, Malformed, ProtocolFeatures};

/// The result of an operation of the front-end.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What a front-end can see go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Ours to retry: nobody answers at the socket. The operating system's error number.
    Unreachable(i32),
    /// The back-end closed the connection, or ended.
    Closed,
    /// The back-end did not answer in time.
    Silent {
        /// What it was asked.
        asked: Code,
        /// How long it had.
        limit: Duration,
    },
    /// The back-end refused a request.
    Refused {
        /// Which.
        asked: Code,
        /// What it gave as a reason: a number of its own choice.
        reason: u64,
    },
    /// Ours to configure: the back-end has not what was asked for.
    Missing(ProtocolFeatures),
    /// The peer's: it broke the protocol. Nothing is asked of it any more.
    Backend(Violation),
    /// The device has no such bytes of configuration space.
    NoConfig {
        /// From which byte on.
        offset: usize,
        /// How many.
        len: usize,
    },
    /// Ours: no memory can be had to be shared. The operating system's error number.
    Memory(i32),
    /// Ours: a ring is not in the memory that is shared.
    NotShared,
    /// The operating system's error number.
    Os(i32),
}

/// A rule of the protocol that the back-end broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A message cannot be.
    Malformed(Malformed),
    /// It stopped in the middle of a message: so many bytes had come, or were taken.
    Stalled(usize),
    /// More file descriptors came with a message than any has.
    TooManyDescriptors(usize),
    /// It answered something else than what was asked.
    Unasked {
        /// What it was asked.
        asked: Code,
        /// The number of what it answered.
        came: u32,
    },
    /// An answer has the form of another.
    Form(Code),
    /// It says where another ring stands than the one that was stopped.
    OtherRing {
        /// Which was stopped.
        asked: u32,
        /// Which it speaks of.
        came: u32,
    },
    /// A ring stands where no ring of its size can.
    Base {
        /// Which ring.
        index: u32,
        /// Where it is said to stand.
        base: u32,
    },
    /// The answer holds other bytes of configuration space than were asked for.
    OtherConfig {
        /// How many were asked for.
        asked: usize,
        /// How many came.
        came: usize,
    },
    /// It has more queues than there can be, or fewer than are in use.
    Queues(u64),
    /// The memory that remembers what is in flight is not what it is said to be.
    Inflight {
        /// How many bytes it is said to have.
        said: u64,
        /// How many there may be, or are.
        limit: u64,
    },
    /// It took back features that were in use when it went away.
    FeaturesGone(Features),
    /// It took back protocol features that were in use when it went away.
    ProtocolGone(ProtocolFeatures),
    /// It left a ring where it cannot be resumed: more was used than was available.
    NotResumable {
        /// Which ring.
        index: u8,
        /// How many chains were made available.
        available: u16,
        /// How many were used.
        used: u16,
    },
    /// It went away, and left a packed ring without a note of what is in flight.
    NoLedger(u8),
}

impl Error {
    /// Whether the connection has come to its end with it, and another one may do better.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Closed
                | Self::Silent { .. }
                | Self::Os(_)
                // Frozen, perhaps.
                | Self::Backend(Violation::Stalled(_))
        )
    }

    /// The error of a system call that concerns neither the socket nor memory.
    pub(crate) fn os(error: Errno) -> Self {
        Self::Os(error.raw_os_error())
    }

    /// The error of a connection that was not made.
    pub(crate) fn unreachable(error: &io::Error) -> Self {
        Self::Unreachable(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()))
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Backend(violation)
    }
}

impl From<Malformed> for Error {
    fn from(what: Malformed) -> Self {
        Self::Backend(Violation::Malformed(what))
    }
}

/// What drivers are told: less than the transport's own [`last_error`](super::Transport::last_error)
/// knows.
impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable(_) | Error::Closed | Error::Silent { .. } => Self::Absent,
            Error::NoConfig { offset, len } => Self::Range { offset, len },
            Error::Refused { .. } => Self::Os(Errno::IO.raw_os_error()),
            Error::Missing(_) => Self::Os(Errno::OPNOTSUPP.raw_os_error()),
            Error::Backend(_) => Self::Os(Errno::PROTO.raw_os_error()),
            Error::NotShared => Self::Os(Errno::FAULT.raw_os_error()),
            Error::Memory(number) | Error::Os(number) => Self::Os(number),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = |number: i32| io::Error::from_raw_os_error(number);
        match self {
            Self::Unreachable(number) => write!(
                f,
                "no back-end answers at the socket: {}; start one, and try again",
                os(*number)
            ),
            Self::Closed => f.write_str("the back-end closed the connection"),
            Self::Silent { asked, limit } => write!(
                f,
                "the back-end did not answer {} within {limit:?}",
                asked.name()
            ),
            Self::Refused { asked, reason } => {
                write!(f, "the back-end refused {}: {reason}", asked.name())
            }
            Self::Missing(features) => {
                write!(f, "the back-end has no {}", Names(*features))
            }
            Self::Backend(violation) => write!(f, "the back-end broke the protocol: {violation}"),
            Self::NoConfig { offset, len } => write!(
                f,
                "the device has no {len} bytes of configuration space at {offset}"
            ),
            Self::Memory(number) => {
                write!(f, "no memory to be shared can be had: {}", os(*number))
            }
            Self::NotShared => f.write_str("a ring is not in the memory that is shared"),
            Self::Os(number) => os(*number).fmt(f),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => what.fmt(f),
            Self::Stalled(bytes) => write!(f, "it stopped {bytes} bytes into a message"),
            Self::TooManyDescriptors(came) => {
                write!(
                    f,
                    "it sent {came} or more file descriptors with one message"
                )
            }
            Self::Unasked { asked, came } => {
                write!(f, "asked {}, it answered request {came}", asked.name())
            }
            Self::Form(asked) => write!(f, "its answer to {} has another form", asked.name()),
            Self::OtherRing { asked, came } => {
                write!(f, "asked of ring {asked}, it answered of ring {came}")
            }
            Self::Base { index, base } => {
                write!(f, "ring {index} cannot stand at {base:#x}")
            }
            Self::OtherConfig { asked, came } => write!(
                f,
                "asked for {asked} bytes of configuration space, it gave {came}"
            ),
            Self::Queues(queues) => write!(
                f,
                "it has {queues} queues: more than there can be, or fewer than before"
            ),
            Self::Inflight { said, limit } => write!(
                f,
                "{said} bytes that remember what is in flight, of {limit} that there may be"
            ),
            Self::FeaturesGone(features) => {
                write!(f, "it came back without features {:#x}", features.0)
            }
            Self::ProtocolGone(features) => {
                write!(f, "it came back without {}", Names(*features))
            }
            Self::NotResumable {
                index,
                available,
                used,
            } => write!(
                f,
                "it left ring {index} with {used} chains used of {available} made available"
            ),
            Self::NoLedger(index) => write!(
                f,
                "it left the packed ring {index}, and nothing says what is in flight; \
                 INFLIGHT_SHMFD would"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// Protocol features by name.
struct Names(ProtocolFeatures);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (name, _)) in self.0.iter_names().enumerate() {
            let between = if place == 0 { "" } else { ", " };
            write!(f, "{between}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_driver_is_told_says_whether_the_device_is_there_at_all() {
        let silent = Error::Silent {
            asked: Code::GetFeatures,
            limit: Duration::from_secs(1),
        };

        for gone in [Error::Closed, Error::Unreachable(2), silent] {
            assert_eq!(TransportError::from(gone), TransportError::Absent);
        }
        let hostile = Error::from(Violation::Queues(1 << 40));
        assert_ne!(TransportError::from(hostile), TransportError::Absent);
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = Error::Missing(ProtocolFeatures::CONFIG | ProtocolFeatures::STATUS);

        assert_eq!(missing.to_string(), "the back-end has no CONFIG, STATUS");
    }
}
