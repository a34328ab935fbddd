//! What can go wrong at the driver's end, by whose fault it is.

use core::fmt;

use ringway_spec::Features;

mod admin;

pub use admin::{AdminError, Failure, Kind};

/// The result of a driver operation.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What a driver can see go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Ours to retry: the queue has no room. Take a completion, then try again.
    QueueFull,
    /// Ours to retry: no memory for a copy of the buffer is free. Take a completion, then try
    /// again.
    PoolFull,
    /// Ours to retry, or to give up: nothing came within the time allowed. What is in flight stays
    /// in flight.
    TimedOut,
    /// Ours to configure: the request cannot be made of this device, now or later.
    Request(RequestError),
    /// Ours to configure: what was asked of a bus cannot be.
    Bus(BusError),
    /// Ours to configure: virtual functions cannot be had so.
    VirtualFunctions(VirtualFunctionsError),
    /// Ours to configure: the device lacks features that the driver cannot do without.
    FeaturesMissing(Features),
    /// Ours to configure: the device offers `feature` without `needs`, on which it depends, and the
    /// driver cannot do without it.
    FeatureDependency {
        /// What was to be accepted.
        feature: Features,
        /// What it depends on.
        needs: Features,
    },
    /// Ours to configure: the driver wants features that are for no device type to define (§2.2), and
    /// that nothing below it can do.
    FeaturesReserved(Features),
    /// Ours to configure: the device has no queue of this index.
    NoQueue(u16),
    /// Ours to configure: the queue of this index has no interrupt of its own. It has no callback,
    /// shares one, or is polled.
    NoVector(u16),
    /// Ours to configure: the driver is for another type of device.
    WrongDevice(ringway_spec::DeviceId),
    /// Ours: the queue was reset alone, and is not driven before it is restarted.
    QueueReset,
    /// Ours: the token names no request that the device has, or one that was cancelled before.
    NotInFlight,
    /// A command to a group of devices was not sent, or failed.
    Admin(AdminError),
    /// The device was reset or is gone; this handle drives nothing any more.
    Gone,
    /// Ours: the device is still being driven, so its buffers cannot be had. Reset it, or the queue,
    /// first.
    StillDriven,
    /// Ours to retry: the device is suspended (§3.4), and is given nothing until it goes on.
    Suspended,
    /// The device asks to be reset (§2.1.2). Reset it and begin again.
    NeedsReset,
    /// The peer's: the device broke the protocol. Reset it; nothing it wrote is trusted.
    Device(Violation),
    /// The transport failed.
    Transport(TransportError),
    /// The platform could not provide what was asked of it.
    Platform(PlatformError),
}

/// A request that cannot be made of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The buffer has no bytes.
    Empty,
    /// The buffer is not a whole number of blocks, of `unit` bytes.
    NotWholeBlocks {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes of a block.
        unit: u32,
    },
    /// The range passes the end of the device.
    PastEnd {
        /// First sector.
        sector: u64,
        /// Sectors asked for.
        sectors: u64,
        /// Sectors there are.
        capacity: u64,
    },
    /// The device is read-only.
    ReadOnly,
    /// The device does not do this: the feature was not negotiated.
    Unsupported,
    /// The buffer is in more pieces, or larger ones, than the device takes in one request.
    TooLarge {
        /// Pieces or bytes of the buffer.
        len: usize,
        /// The most there can be.
        limit: usize,
    },
    /// The buffer has no room for what has to be in it.
    TooSmall {
        /// Bytes of the buffer.
        len: usize,
        /// The least there can be.
        least: usize,
    },
    /// The queue cannot have so many descriptors.
    Depth {
        /// How many were asked for.
        asked: u16,
        /// The most there can be.
        most: u16,
        /// Whether there has to be a power of two of them.
        power_of_two: bool,
    },
    /// There are not so many pairs of queues, or not so many are set up, or fewer were asked for than
    /// one.
    Pairs {
        /// How many were asked for.
        asked: u16,
        /// How many there are.
        most: u16,
    },
    /// Packets cannot be limited to so many bytes after the Ethernet header.
    Mtu {
        /// How many were asked for.
        asked: u16,
        /// How many the device carries.
        most: u16,
    },
    /// No queue of this index is set up.
    NotSetUp(u16),
    /// The pair of queues is not used now: the device was told of fewer.
    Inactive,
    /// Packets cannot be steered like this.
    Steering(&'static str),
    /// What is left to do with a packet cannot be done with it.
    Malformed(ringway_packet::Malformed),
}

/// What cannot be asked of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusError {
    /// It has no device of this number.
    NoDevice(u32),
    /// It has no driver of this name.
    NoDriver,
    /// It has another driver of this name.
    NameTaken,
    /// The device has a driver: unbind it first.
    Bound,
    /// The device has no driver.
    Unbound,
    /// The device is suspended: resume it first.
    Suspended,
    /// The driver is not for the device, or no driver is.
    NoMatch,
}

/// What cannot be asked of virtual functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum VirtualFunctionsError {
    /// The driver of the physical function's device has not agreed to `SR_IOV` yet (§6).
    NotAgreed,
    /// So many are there already: disable them first.
    Enabled(u16),
    /// There cannot be so many.
    Count {
        /// How many were asked for.
        count: u16,
        /// How many there can be.
        most: u16,
    },
    /// Their BAR of this index has no address: none of memory was left when they were given out.
    NoAddress(u8),
    /// They would be on this bus, and not on that of their physical function: that is not done.
    OtherBus(u8),
    /// So many members of their group are in use: finish with those first.
    Members(u32),
    /// There is no such member of their group.
    NoMember {
        /// Which was asked for.
        number: u16,
        /// How many there are.
        count: u16,
    },
    /// They might go to other physical functions: there are no commands for their group then
    /// (§2.12.1.6).
    Migratable,
}

/// A rule that the device broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A rule of the ring.
    Ring(ringway_ring::driver::Violation),
    /// `FEATURES_OK` did not stay set: the device refuses a subset of what it offered (§3.1.1 step
    /// 6).
    FeaturesRejected,
    /// The device offers other features than before it was suspended: these are new, or missing
    /// (§2.2.1).
    FeaturesChanged(Features),
    /// The device was neither suspended in time, nor did it ask for a reset, or it did not go on
    /// (§3.4.2).
    SuspendNotConfirmed,
    /// The configuration generation changed at every read (§2.5).
    ConfigUnstable,
    /// The device did not confirm its reset in time (§2.4.2). Its memory is kept from everybody.
    ResetNotConfirmed,
    /// The device did not confirm in time that it has reset a queue alone (§2.6.1.1.2). What is in
    /// flight on it stays in custody, until the device itself is reset.
    QueueResetNotConfirmed(u16),
    /// A queue that reported a size refused to be enabled (§4.1.4.3).
    QueueNotEnabled(u16),
    /// A legacy device has a ring of a size that is no power of two, or more than 32768 (§2.7).
    QueueSize {
        /// Which queue.
        index: u16,
        /// The descriptors that it says it has.
        size: u16,
    },
    /// A queue was enabled before the driver enabled it: the device was not reset (§4.1.5.1.3).
    QueueAlreadyEnabled(u16),
    /// The device completed a request with fewer bytes than success means.
    TooShort {
        /// Bytes that it says it wrote.
        written: u32,
        /// Bytes that success means.
        needed: u32,
    },
    /// The device has administration queues where other queues are, or where there are no indices
    /// (§4.1.4.3.1).
    AdminQueues {
        /// The index of the first.
        first: u16,
        /// How many there are.
        count: u16,
    },
    /// The device completed a command to a group with so few bytes that there is no status
    /// (§2.13.1).
    NoStatus(u32),
    /// A configuration field has a value that it cannot have.
    BadConfig(&'static str),
    /// A capability that the driver needs is missing or names what is not there (§4.1.4).
    Capability(&'static str),
}

/// A failure below virtio: a bus, a register window, an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportError {
    /// The access leaves the register window or the device's configuration space.
    Range {
        /// Where it began.
        offset: usize,
        /// How many bytes.
        len: usize,
    },
    /// The device does not answer: registers read as all ones.
    Absent,
    /// There is no virtio device here, but something that says this of itself: in place of the
    /// magic value (§4.2.2), or as its vendor and device id (§4.1.2).
    NotVirtio(u32),
    /// The device speaks a version of the transport that this driver does not (§4.2.2).
    Version(u32),
    /// The slot is empty: device id 0 (§4.2.2).
    Placeholder,
    /// The ring at this address cannot be told to a legacy device: it is not at the start of a page,
    /// or of one whose number has more than 32 bits.
    NoPage(u64),
    /// The operating system's error number.
    Os(i32),
}

/// What a platform could not provide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlatformError {
    /// No memory for devices is left, or none where the device can reach it: this many bytes were
    /// asked for.
    NoMemory(usize),
    /// The buffer is not in memory that the device can reach.
    NotReachable,
    /// The buffer is in more pieces than one request can have.
    TooManySegments,
    /// The registers at this address cannot be mapped.
    NotMapped(u64),
    /// The I/O ports from this one on cannot be reached.
    NoPorts(u32),
    /// The interrupt cannot be bound to processors.
    NoAffinity,
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

impl From<PlatformError> for Error {
    fn from(error: PlatformError) -> Self {
        Self::Platform(error)
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<AdminError> for Error {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}

impl From<BusError> for Error {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<VirtualFunctionsError> for Error {
    fn from(error: VirtualFunctionsError) -> Self {
        Self::VirtualFunctions(error)
    }
}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Self::Device(violation)
    }
}

impl From<ringway_ring::driver::Violation> for Error {
    fn from(violation: ringway_ring::driver::Violation) -> Self {
        Self::Device(Violation::Ring(violation))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("queue is full"),
            Self::PoolFull => f.write_str("no memory for copies is free"),
            Self::TimedOut => f.write_str("nothing came within the time allowed"),
            Self::Request(error) => error.fmt(f),
            Self::Bus(error) => error.fmt(f),
            Self::Admin(error) => error.fmt(f),
            Self::VirtualFunctions(error) => error.fmt(f),
            Self::FeaturesMissing(missing) => write!(f, "device lacks features {:#x}", missing.0),
            Self::FeatureDependency { feature, needs } => {
                write!(
                    f,
                    "device offers feature {:#x} without {:#x}, which it needs",
                    feature.0, needs.0
                )
            }
            Self::FeaturesReserved(wanted) => write!(
                f,
                "driver wants features {:#x}, which are for no device type to define (§2.2)",
                wanted.0
            ),
            Self::NoQueue(index) => write!(f, "device has no queue {index}"),
            Self::NoVector(index) => write!(f, "queue {index} has no interrupt of its own"),
            Self::WrongDevice(id) => write!(f, "device is of type {id}"),
            Self::QueueReset => f.write_str("queue was reset, and not restarted"),
            Self::NotInFlight => f.write_str("no request in flight has this token"),
            Self::StillDriven => f.write_str("device is still being driven"),
            Self::Gone => f.write_str("device was reset or is gone"),
            Self::Suspended => f.write_str("device is suspended"),
            Self::NeedsReset => f.write_str("device asks to be reset"),
            Self::Device(violation) => write!(f, "device broke the protocol: {violation}"),
            Self::Transport(error) => write!(f, "transport failed: {error}"),
            Self::Platform(error) => write!(f, "platform failed: {error}"),
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("buffer is empty"),
            Self::NotWholeBlocks { len, unit } => {
                write!(f, "{len} bytes are not whole blocks of {unit}")
            }
            Self::PastEnd {
                sector,
                sectors,
                capacity,
            } => {
                write!(
                    f,
                    "{sectors} sectors at {sector} pass the end at {capacity}"
                )
            }
            Self::ReadOnly => f.write_str("device is read-only"),
            Self::Unsupported => f.write_str("device does not do this"),
            Self::TooLarge { len, limit } => write!(f, "buffer of {len}, at most {limit}"),
            Self::TooSmall { len, least } => write!(f, "buffer of {len} bytes, at least {least}"),
            Self::Depth {
                asked,
                most,
                power_of_two,
            } => {
                let of = if *power_of_two {
                    "a power of two of "
                } else {
                    ""
                };
                write!(f, "queue of {asked} descriptors: it has {of}at most {most}")
            }
            Self::Pairs { asked, most } => {
                write!(f, "{asked} pairs of queues, where there are 1 to {most}")
            }
            Self::Mtu { asked, most } => {
                write!(f, "packets of {asked} bytes, where there are 68 to {most}")
            }
            Self::NotSetUp(index) => write!(f, "queue {index} is not set up"),
            Self::Inactive => f.write_str("pair of queues is not used now"),
            Self::Steering(what) => write!(f, "steering by {what}"),
            Self::Malformed(why) => write!(f, "{why}"),
        }
    }
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(number) => write!(f, "bus has no device virtio{number}"),
            Self::NoDriver => f.write_str("bus has no driver of this name"),
            Self::NameTaken => f.write_str("bus has another driver of this name"),
            Self::Bound => f.write_str("device has a driver"),
            Self::Unbound => f.write_str("device has no driver"),
            Self::Suspended => f.write_str("device is suspended"),
            Self::NoMatch => f.write_str("driver is not for this device"),
        }
    }
}

impl fmt::Display for VirtualFunctionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAgreed => f.write_str("driver has not agreed to virtual functions"),
            Self::Enabled(count) => write!(f, "{count} virtual functions are enabled already"),
            Self::Count { count, most } => {
                write!(f, "{count} virtual functions, where 1 to {most} can be")
            }
            Self::NoAddress(bar) => write!(f, "BAR {bar} of virtual functions has no address"),
            Self::OtherBus(bus) => write!(f, "virtual functions would be on another bus, {bus:#x}"),
            Self::Members(count) => write!(f, "{count} virtual functions are members in use"),
            Self::NoMember { number, count } => {
                write!(f, "no virtual function {number}, where there are {count}")
            }
            Self::Migratable => f.write_str("virtual functions might go to another function"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(violation) => violation.fmt(f),
            Self::FeaturesRejected => {
                f.write_str("it refused a subset of what it offered (§3.1.1)")
            }
            Self::FeaturesChanged(changed) => {
                write!(f, "features {:#x} are new or missing (§2.2.1)", changed.0)
            }
            Self::SuspendNotConfirmed => {
                f.write_str("it was not suspended in time, or did not go on (§3.4.2)")
            }
            Self::ConfigUnstable => f.write_str("configuration changed at every read (§2.5)"),
            Self::ResetNotConfirmed => f.write_str("reset was not confirmed in time (§2.4.2)"),
            Self::QueueResetNotConfirmed(index) => {
                write!(
                    f,
                    "reset of queue {index} was not confirmed in time (§2.6.1.1.2)"
                )
            }
            Self::QueueNotEnabled(index) => {
                write!(f, "queue {index} refused to be enabled (§4.1.4.3)")
            }
            Self::QueueSize { index, size } => {
                write!(f, "queue {index} is of {size} descriptors (§2.7)")
            }
            Self::QueueAlreadyEnabled(index) => {
                write!(f, "queue {index} was enabled already (§4.1.5.1.3)")
            }
            Self::TooShort { written, needed } => {
                write!(
                    f,
                    "success with {written} bytes written, where it means {needed}"
                )
            }
            Self::AdminQueues { first, count } => {
                write!(
                    f,
                    "{count} administration queues from {first} on, where there are others or no \
                     indices (§4.1.4.3.1)"
                )
            }
            Self::NoStatus(written) => {
                write!(
                    f,
                    "command done with {written} bytes, which is no status (§2.13.1)"
                )
            }
            Self::BadConfig(what) => write!(f, "configuration: {what}"),
            Self::Capability(what) => write!(f, "capability: {what} (§4.1.4)"),
        }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range { offset, len } => write!(f, "{len} bytes at {offset:#x} are out of range"),
            Self::Absent => f.write_str("device does not answer"),
            Self::NotVirtio(magic) => write!(f, "no virtio device here, but {magic:#x}"),
            Self::Version(version) => write!(f, "transport version {version} is unknown"),
            Self::Placeholder => f.write_str("slot is empty"),
            Self::NoPage(address) => {
                write!(
                    f,
                    "ring at {address:#x} is at no page that the device can be told of"
                )
            }
            Self::Os(number) => write!(f, "operating system error {number}"),
        }
    }
}

impl fmt::Display for PlatformError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory(bytes) => write!(f, "no {bytes} bytes of memory for devices are left"),
            Self::NotReachable => f.write_str("buffer is not in memory that the device can reach"),
            Self::TooManySegments => f.write_str("buffer is in too many pieces"),
            Self::NotMapped(address) => write!(f, "registers at {address:#x} cannot be mapped"),
            Self::NoPorts(base) => write!(f, "I/O ports at {base:#x} cannot be reached"),
            Self::NoAffinity => f.write_str("interrupt cannot be bound to processors"),
        }
    }
}

impl core::error::Error for Error {}
