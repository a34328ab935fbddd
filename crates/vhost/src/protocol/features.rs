//! Feature bits of the protocol itself, and those that it took from virtio's numbers.

use bitflags::bitflags;

/// The feature bit that says that protocol features can be negotiated, among those of the device: a
/// number that no device type uses: version 1.1 of the specification reserved it.
#[doc(alias = "VHOST_USER_F_PROTOCOL_FEATURES")]
pub const PROTOCOL_FEATURES: u64 = 1 << 30;

/// The feature bit with which every write to memory is to be logged.
#[doc(alias = "VHOST_F_LOG_ALL")]
pub const LOG_ALL: u64 = 1 << 26;

bitflags! {
    /// What the two ends of a connection agree on, beside the device's features.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ProtocolFeatures: u64 {
        /// The back-end says how many queues it has.
        const MQ = 1 << 0;
        /// The log of dirty pages is memory behind a file descriptor.
        const LOG_SHMFD = 1 << 1;
        /// A network device announces itself after migration.
        const RARP = 1 << 2;
        /// Any request can ask for an answer.
        const REPLY_ACK = 1 << 3;
        /// The front-end says how large packets may be.
        const NET_MTU = 1 << 4;
        /// The back-end can make requests, too.
        #[doc(alias = "VHOST_USER_PROTOCOL_F_SLAVE_REQ")]
        const BACKEND_REQ = 1 << 5;
        /// Rings of legacy devices have a byte order.
        const CROSS_ENDIAN = 1 << 6;
        /// Sessions of crypto devices are made by message.
        const CRYPTO_SESSION = 1 << 7;
        /// Memory may arrive after the device was started (postcopy).
        const PAGEFAULT = 1 << 8;
        /// Configuration space is the back-end's.
        const CONFIG = 1 << 9;
        /// Requests of the back-end can have file descriptors.
        #[doc(alias = "VHOST_USER_PROTOCOL_F_SLAVE_SEND_FD")]
        const BACKEND_SEND_FD = 1 << 10;
        /// The back-end provides memory for notifications.
        const HOST_NOTIFIER = 1 << 11;
        /// What is in flight is remembered in memory that outlives the back-end.
        const INFLIGHT_SHMFD = 1 << 12;
        /// The device can be reset by message.
        const RESET_DEVICE = 1 << 13;
        /// Notifications are messages.
        const INBAND_NOTIFICATIONS = 1 << 14;
        /// Memory regions are added and removed one by one.
        #[doc(alias = "VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS")]
        const MEM_SLOTS = 1 << 15;
        /// The device's status is passed on.
        const STATUS = 1 << 16;
        /// Memory is mapped as Xen does it.
        const XEN_MMAP = 1 << 17;
        /// Objects of other devices can be asked for.
        const SHARED_OBJECT = 1 << 18;
        /// The device's own state can be saved and loaded.
        const DEVICE_STATE = 1 << 19;

        const _ = !0;
    }
}
