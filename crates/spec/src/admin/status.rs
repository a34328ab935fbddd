//! How a command ended. Spec: VIRTIO 1.4 §2.12.1 "Group administration commands".

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How every answer begins (§2.12.1): what the device writes.
#[doc(alias = "virtio_admin_cmd")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct StatusHeader {
    /// How the command ended.
    pub status: Status,
    /// Why it failed.
    pub status_qualifier: Qualifier,
    /// Zero.
    pub reserved2: [u8; 4],
}

layout!(StatusHeader: 8 { status = 0, status_qualifier = 2, reserved2 = 4 });

codes! {
    /// How a command ended, by the numbers that Linux has for errors (§2.12.1). Open set: a driver
    /// takes one that it does not know for [`EINVAL`](Self::EINVAL) (§2.12.1.6).
    struct Status;

    /// Done.
    OK = 0, "VIRTIO_ADMIN_STATUS_OK";
    /// There is no such capability or resource object.
    ENXIO = 6, "VIRTIO_ADMIN_STATUS_ENXIO";
    /// Try again: nothing was done.
    EAGAIN = 11, "VIRTIO_ADMIN_STATUS_EAGAIN";
    /// The device lacks what it would need: nothing was done.
    ENOMEM = 12, "VIRTIO_ADMIN_STATUS_ENOMEM";
    /// It is in use.
    EBUSY = 16, "VIRTIO_ADMIN_STATUS_EBUSY";
    /// There is such a resource object. Not in the table of §2.12.1, but named by §2.12.1.3.5.
    EEXIST = 17, "VIRTIO_ADMIN_STATUS_EEXIST";
    /// The command is one that cannot be: nothing was done.
    EINVAL = 22, "VIRTIO_ADMIN_STATUS_EINVAL";
    /// The device has no more of what was asked for.
    ENOSPC = 28, "VIRTIO_ADMIN_STATUS_ENOSPC";
}

codes! {
    /// Why a command failed (§2.12.1). Open set: a driver takes one that it does not know for
    /// [`INVALID_COMMAND`](Self::INVALID_COMMAND) (§2.12.1.6).
    struct Qualifier;

    /// It did not.
    OK = 0x00, "VIRTIO_ADMIN_STATUS_Q_OK";
    /// The status says it all.
    INVALID_COMMAND = 0x01, "VIRTIO_ADMIN_STATUS_Q_INVALID_COMMAND";
    /// The opcode is not one of the group, or not one that the driver said it uses.
    INVALID_OPCODE = 0x02, "VIRTIO_ADMIN_STATUS_Q_INVALID_OPCODE";
    /// What the driver said beside the header cannot be.
    INVALID_FIELD = 0x03, "VIRTIO_ADMIN_STATUS_Q_INVALID_FIELD";
    /// There is no such group.
    INVALID_GROUP = 0x04, "VIRTIO_ADMIN_STATUS_Q_INVALID_GROUP";
    /// The group has no such member.
    INVALID_MEMBER = 0x05, "VIRTIO_ADMIN_STATUS_Q_INVALID_MEMBER";
    /// The device lacks what it would need.
    NORESOURCE = 0x06, "VIRTIO_ADMIN_STATUS_Q_NORESOURCE";
    /// It would take too long.
    TRYAGAIN = 0x07, "VIRTIO_ADMIN_STATUS_Q_TRYAGAIN";
}
