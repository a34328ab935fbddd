//! What payloads are made of.

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most regions of a memory table that is set whole.
pub const REGIONS_MAX: usize = super::DESCRIPTORS_MAX;

/// Most bytes of configuration space in one message.
pub const CONFIG_BYTES_MAX: usize = 1024;

/// A stretch of the driver's memory.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Region {
    /// Where it is for the driver: what the addresses in its descriptors mean, unless there is an
    /// IOMMU between.
    pub guest_address: u64,
    /// How many bytes.
    pub size: u64,
    /// Where the front-end has it: what the addresses of rings mean.
    pub user_address: u64,
    /// Where it begins in the file.
    pub file_offset: u64,
}

/// A number for a ring.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RingState {
    /// Which ring.
    pub index: u32,
    /// The number: what it says depends on the request.
    pub num: u32,
}

/// Where the parts of a ring are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct RingAddresses {
    /// Which ring.
    pub index: u32,
    /// [`RingFlags`], as they came.
    pub flags: u32,
    /// The descriptor area. These three are addresses of the front-end's, or, with
    /// `ACCESS_PLATFORM`, of the driver's.
    pub descriptor: u64,
    /// The device area: what the device writes.
    pub used: u64,
    /// The driver area: what the driver writes.
    pub available: u64,
    /// Where the device area counts as for the log, an address of the driver's.
    pub log: u64,
}

impl RingAddresses {
    /// As which address writes to the device area are logged, if they are.
    pub fn logged(&self) -> Option<u64> {
        let flags = RingFlags::from_bits_truncate(self.flags);
        flags.contains(RingFlags::LOG).then_some(self.log)
    }
}

bitflags! {
    /// Flags of a ring.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RingFlags: u32 {
        /// Writes to the device area are logged.
        const LOG = 1 << 0;
    }
}

/// Where the log of dirty pages is in its file.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LogArea {
    /// How many bytes.
    pub size: u64,
    /// From which byte on.
    pub file_offset: u64,
}

/// Where what is in flight is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inflight {
    /// How many bytes.
    pub size: u64,
    /// From which byte of the file on.
    pub file_offset: u64,
    /// For how many queues.
    pub queues: u16,
    /// Descriptors of each queue.
    pub queue_size: u16,
}

/// The same, as it travels: a C structure, padding included.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct InflightBytes {
    pub(super) size: u64,
    pub(super) file_offset: u64,
    pub(super) queues: u16,
    pub(super) queue_size: u16,
    pub(super) padding: u32,
}

impl From<Inflight> for InflightBytes {
    fn from(inflight: Inflight) -> Self {
        let Inflight {
            size,
            file_offset,
            queues,
            queue_size,
        } = inflight;
        Self {
            size,
            file_offset,
            queues,
            queue_size,
            padding: 0,
        }
    }
}

impl From<InflightBytes> for Inflight {
    fn from(bytes: InflightBytes) -> Self {
        let InflightBytes {
            size,
            file_offset,
            queues,
            queue_size,
            padding: _,
        } = bytes;
        Self {
            size,
            file_offset,
            queues,
            queue_size,
        }
    }
}

/// Bytes of configuration space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigSpace {
    /// From which byte on.
    pub offset: u32,
    /// Who writes, and what for.
    pub flags: ConfigFlags,
    /// The bytes; in a request to read, as many as are wanted. At most [`CONFIG_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

bitflags! {
    /// Who writes to configuration space.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ConfigFlags: u32 {
        /// Not the driver: a migration brings what it was elsewhere.
        const MIGRATION = 1 << 0;
    }
}

/// What precedes the bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct ConfigHeader {
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

/// A translation from addresses of the driver's to the front-end's, or a question for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iotlb {
    /// The first address that the driver uses.
    pub address: u64,
    /// How many bytes. Nothing to a miss.
    pub size: u64,
    /// What the front-end calls the first one.
    pub user_address: u64,
    /// What may be done there, or was to be done.
    pub permissions: Permissions,
    /// What is said.
    pub kind: IotlbKind,
}

bitflags! {
    /// What may be done with memory.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Permissions: u8 {
        /// The device may read it.
        const READ = 1 << 0;
        /// The device may write it.
        const WRITE = 1 << 1;
    }
}

/// What is said of a translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IotlbKind {
    /// The back-end has none.
    Miss,
    /// Here it is.
    Update,
    /// It no longer holds.
    Invalidate,
    /// What the back-end wanted to do is not permitted.
    AccessFail,
}

/// The same, as it travels: a C structure, padding included.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(super) struct IotlbBytes {
    address: u64,
    size: u64,
    user_address: u64,
    permissions: u8,
    kind: u8,
    padding: [u8; 6],
}

impl From<Iotlb> for IotlbBytes {
    fn from(iotlb: Iotlb) -> Self {
        Self {
            address: iotlb.address,
            size: iotlb.size,
            user_address: iotlb.user_address,
            permissions: iotlb.permissions.bits(),
            kind: match iotlb.kind {
                IotlbKind::Miss => 1,
                IotlbKind::Update => 2,
                IotlbKind::Invalidate => 3,
                IotlbKind::AccessFail => 4,
            },
            padding: [0; 6],
        }
    }
}

impl IotlbBytes {
    /// `None` if it is of no kind that there is.
    pub(super) fn value(self) -> Option<Iotlb> {
        Some(Iotlb {
            address: self.address,
            size: self.size,
            user_address: self.user_address,
            permissions: Permissions::from_bits_truncate(self.permissions),
            kind: match self.kind {
                1 => IotlbKind::Miss,
                2 => IotlbKind::Update,
                3 => IotlbKind::Invalidate,
                4 => IotlbKind::AccessFail,
                _ => return None,
            },
        })
    }
}

/// How the device's own state is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStateTransfer {
    /// Which way.
    pub direction: StateDirection,
    /// When.
    pub phase: StatePhase,
}

/// Which way the device's own state goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateDirection {
    /// The back-end writes it.
    Save,
    /// The back-end reads it.
    Load,
}

/// When the device's own state is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatePhase {
    /// The device is suspended: all its rings are stopped.
    Stopped,
}
