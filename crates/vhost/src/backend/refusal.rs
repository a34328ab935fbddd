//! Why a request of the front-end is not done, and whose fault that is.

use core::fmt;

use ringway_device::{STATE_MAX, StateError};
use ringway_ring::device::Violation;
use ringway_spec::Features;
use rustix::io::Errno;

use crate::iotlb::IotlbError;
use crate::ledger::RecordError;
use crate::memory::MemoryError;
use crate::protocol::{Code, Malformed, ProtocolFeatures};

/// Why a request is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The message cannot be.
    Malformed(Malformed),
    /// Nothing here can do what it asks for.
    Unsupported(Code),
    /// It needs a feature of the protocol that was not agreed on.
    NotAgreed {
        /// The request.
        request: Code,
        /// What it needs.
        needed: ProtocolFeatures,
    },
    /// It needs a feature of the device or of its rings that was not agreed on.
    NeedsFeatures {
        /// The request.
        request: Code,
        /// What it needs.
        needed: Features,
    },
    /// Features are accepted that were not offered.
    FeaturesNotOffered(Features),
    /// Features are not accepted without which the device cannot be used.
    FeaturesMissing(Features),
    /// Features are accepted without one of those that they need (§2.2.1).
    FeatureDependency(Features),
    /// Features of the protocol are accepted that were not offered.
    ProtocolNotOffered(ProtocolFeatures),
    /// Notifications are to be messages without the socket and the answers that this takes.
    InbandAlone,
    /// Features are changed while rings run.
    RingsRun(Code),
    /// There is no ring of this index.
    NoRing {
        /// The index.
        index: u32,
        /// How many rings there are.
        rings: usize,
    },
    /// The ring cannot have so many descriptors.
    RingSize {
        /// The ring.
        index: u32,
        /// How many it was to have.
        size: u32,
        /// The most it can have.
        max: u16,
    },
    /// The ring is moved, or made larger or smaller, while it runs.
    RingRuns {
        /// The ring.
        index: u32,
        /// The request.
        request: Code,
    },
    /// The ring can begin at no such place.
    RingBase {
        /// The ring.
        index: u32,
        /// Where it was to begin.
        base: u32,
    },
    /// The ring was stopped with chains in flight, which nobody remembers: it is not known where the
    /// device stands.
    ChainsLost {
        /// The ring.
        index: u32,
        /// Where the next chain was to be taken.
        available: u16,
        /// Where the next one was to be given back.
        used: u16,
    },
    /// The record of what is in flight in the ring cannot be gone on with.
    Record {
        /// The ring.
        index: u32,
        /// Why.
        error: RecordError,
    },
    /// The log of dirty pages does not reach to the end of memory.
    Log {
        /// How many bytes it has.
        bytes: u64,
        /// How many it would need.
        needed: u64,
    },
    /// There can be no such translation.
    Translation(IotlbError),
    /// A translation is no longer there, and a device that takes long still serves what it had read
    /// before.
    StillServed,
    /// The device does not go on as another one has saved.
    State(StateError),
    /// The device's state is larger than any.
    StateTooLarge,
    /// The device's state was not moved whole: the other end takes too long, or nothing was to be moved.
    StateCut,
    /// A part of the ring is not in the front-end's memory.
    RingAddress {
        /// The ring.
        index: u32,
        /// The address, the front-end's.
        address: u64,
    },
    /// The ring cannot be.
    Ring {
        /// The ring.
        index: u32,
        /// Which rule it breaks.
        violation: Violation,
    },
    /// A ring is neither enabled nor disabled.
    RingState {
        /// The ring.
        index: u32,
        /// What it is to be.
        num: u32,
    },
    /// The device has a status of 8 bits.
    Status(u64),
    /// The device is not made for packets of this length.
    Mtu(u64),
    /// What is in flight cannot be remembered so.
    Inflight {
        /// For how many queues.
        queues: u16,
        /// Descriptors of each.
        queue_size: u16,
        /// In how many bytes.
        bytes: u64,
    },
    /// Memory cannot be shared so.
    Memory(MemoryError),
    /// The operating system refuses.
    System {
        /// To do what.
        what: &'static str,
        /// Why.
        error: Errno,
    },
}

/// Whose fault something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The front-end's: it broke a rule, or asks for what was never offered.
    FrontEnd,
    /// This program's, or its system's: there are too few descriptors, or there is no room.
    Ours,
}

impl Refusal {
    /// Whose fault it is.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::System { .. } | Self::StillServed | Self::Memory(MemoryError::System { .. }) => {
                Fault::Ours
            }
            _ => Fault::FrontEnd,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(why) => why.fmt(f),
            Self::Unsupported(request) => {
                write!(f, "{} is a request that is not served", request.name())
            }
            Self::NotAgreed { request, needed } => write!(
                f,
                "{} without protocol features {:#x}",
                request.name(),
                needed.bits()
            ),
            Self::NeedsFeatures { request, needed } => {
                write!(f, "{} without features {:#x}", request.name(), needed.0)
            }
            Self::FeaturesNotOffered(features) => {
                write!(f, "features {:#x} were not offered", features.0)
            }
            Self::FeaturesMissing(features) => write!(
                f,
                "features {:#x} are needed: the device has no legacy interface",
                features.0
            ),
            Self::FeatureDependency(features) => write!(
                f,
                "features {:#x} need others that were not accepted (§2.2.1)",
                features.0
            ),
            Self::ProtocolNotOffered(features) => {
                write!(
                    f,
                    "protocol features {:#x} were not offered",
                    features.bits()
                )
            }
            Self::InbandAlone => f.write_str(
                "in-band notifications without BACKEND_REQ and REPLY_ACK, which they need",
            ),
            Self::RingsRun(request) => write!(f, "{} while rings run", request.name()),
            Self::NoRing { index, rings } => write!(f, "ring {index} of {rings}"),
            Self::RingSize { index, size, max } => {
                write!(f, "ring {index} of {size} descriptors, at most {max}")
            }
            Self::RingRuns { index, request } => {
                write!(
                    f,
                    "{} of ring {index}, which runs: stop it first",
                    request.name()
                )
            }
            Self::RingBase { index, base } => {
                write!(
                    f,
                    "ring {index} is to begin at {base:#x}, which is no place in it"
                )
            }
            Self::ChainsLost {
                index,
                available,
                used,
            } => write!(
                f,
                "ring {index} is to begin at {available:#x}, with chains from {used:#x} on in flight \
                 that nobody remembers"
            ),
            Self::Record { index, error } => write!(f, "ring {index}: {error}"),
            Self::Log { bytes, needed } => write!(
                f,
                "log of {bytes} bytes does not cover the memory, which needs {needed}"
            ),
            Self::Translation(error) => error.fmt(f),
            Self::StillServed => f.write_str(
                "device still serves a batch that began before the translation was taken back",
            ),
            Self::State(error) => error.fmt(f),
            Self::StateTooLarge => write!(f, "device state of more than {STATE_MAX} bytes"),
            Self::StateCut => f.write_str("device state was not moved whole, or not in time"),
            Self::RingAddress { index, address } => write!(
                f,
                "ring {index} has a part at {address:#x}, which is not in the memory table"
            ),
            Self::Ring { index, violation } => write!(f, "ring {index}: {violation}"),
            Self::RingState { index, num } => {
                write!(f, "ring {index} is to be in state {num}, neither 0 nor 1")
            }
            Self::Status(status) => write!(f, "device status {status:#x} has more than 8 bits"),
            Self::Mtu(mtu) => write!(f, "packets of {mtu} bytes, which the card is not made for"),
            Self::Inflight {
                queues,
                queue_size,
                bytes,
            } => write!(
                f,
                "{bytes} bytes cannot remember what is in flight in {queues} queues of {queue_size}"
            ),
            Self::Memory(why) => why.fmt(f),
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl core::error::Error for Refusal {}

impl From<IotlbError> for Refusal {
    fn from(why: IotlbError) -> Self {
        Self::Translation(why)
    }
}

impl From<MemoryError> for Refusal {
    fn from(why: MemoryError) -> Self {
        Self::Memory(why)
    }
}
