//! Virtio over memory-mapped registers. Spec: VIRTIO 1.4 §4.2 "Virtio Over MMIO".

/// What [`register::MAGIC_VALUE`] reads: `virt` in ASCII.
pub const MAGIC: u32 = u32::from_le_bytes(*b"virt");

/// What [`register::VERSION`] reads on a device that follows the specification.
pub const VERSION: u32 = 2;

/// What [`register::VERSION`] reads on a legacy device (§4.2.4).
pub const LEGACY_VERSION: u32 = 1;

/// Offset of configuration space, from the base of the device, legacy or not (§4.2.2).
pub const CONFIG: usize = 0x100;

/// Offsets of the control registers, from the base of the device (§4.2.2).
///
/// Each is 32 bits, little-endian, and reached by aligned 32-bit accesses only (§4.2.2.2). Reading
/// has no effect on the device. A register marked *R* is never written, one marked *W* never read.
pub mod register {
    /// R: [`MAGIC`](super::MAGIC).
    #[doc(alias = "VIRTIO_MMIO_MAGIC_VALUE")]
    pub const MAGIC_VALUE: usize = 0x000;
    /// R: [`VERSION`](super::VERSION).
    #[doc(alias = "VIRTIO_MMIO_VERSION")]
    pub const VERSION: usize = 0x004;
    /// R: the device type; 0 in an empty slot, which a driver passes over in silence.
    #[doc(alias = "VIRTIO_MMIO_DEVICE_ID")]
    pub const DEVICE_ID: usize = 0x008;
    /// R: who made the device.
    #[doc(alias = "VIRTIO_MMIO_VENDOR_ID")]
    pub const VENDOR_ID: usize = 0x00c;
    /// R: the 32 offered features that [`DEVICE_FEATURES_SEL`] chose.
    #[doc(alias = "VIRTIO_MMIO_DEVICE_FEATURES")]
    pub const DEVICE_FEATURES: usize = 0x010;
    /// W: which word of features [`DEVICE_FEATURES`] shows.
    #[doc(alias = "VIRTIO_MMIO_DEVICE_FEATURES_SEL")]
    pub const DEVICE_FEATURES_SEL: usize = 0x014;
    /// W: the 32 accepted features that [`DRIVER_FEATURES_SEL`] chose.
    #[doc(alias = "VIRTIO_MMIO_DRIVER_FEATURES")]
    pub const DRIVER_FEATURES: usize = 0x020;
    /// W: which word of features [`DRIVER_FEATURES`] takes.
    #[doc(alias = "VIRTIO_MMIO_DRIVER_FEATURES_SEL")]
    pub const DRIVER_FEATURES_SEL: usize = 0x024;
    /// W: the index of the queue that the other queue registers speak of.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_SEL")]
    pub const QUEUE_SEL: usize = 0x030;
    /// R: the largest size the queue may have; 0 if there is no such queue.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_NUM_MAX")]
    pub const QUEUE_SIZE_MAX: usize = 0x034;
    /// W: the size the queue shall have.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_NUM")]
    pub const QUEUE_SIZE: usize = 0x038;
    /// RW: 1 while the device may use the queue. After writing 0, read it back before reusing the
    /// memory (§4.2.2.2).
    #[doc(alias = "VIRTIO_MMIO_QUEUE_READY")]
    pub const QUEUE_READY: usize = 0x044;
    /// W: the index of a queue with new buffers; in the low half if
    /// [`F::NOTIFICATION_DATA`](crate::F::NOTIFICATION_DATA) was negotiated (§2.9).
    #[doc(alias = "VIRTIO_MMIO_QUEUE_NOTIFY")]
    pub const QUEUE_NOTIFY: usize = 0x050;
    /// R: pending interrupts, as [`InterruptStatus`](crate::InterruptStatus) in the low byte.
    #[doc(alias = "VIRTIO_MMIO_INTERRUPT_STATUS")]
    pub const INTERRUPT_STATUS: usize = 0x060;
    /// W: interrupts handled, as [`InterruptStatus`](crate::InterruptStatus) in the low byte.
    #[doc(alias = "VIRTIO_MMIO_INTERRUPT_ACK")]
    pub const INTERRUPT_ACK: usize = 0x064;
    /// RW: the device status, as [`Status`](crate::Status) in the low byte. Writing 0 resets the
    /// device.
    #[doc(alias = "VIRTIO_MMIO_STATUS")]
    pub const STATUS: usize = 0x070;
    /// W: address of the queue's descriptor area, low half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_DESC_LOW")]
    pub const QUEUE_DESC_LOW: usize = 0x080;
    /// W: address of the queue's descriptor area, high half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_DESC_HIGH")]
    pub const QUEUE_DESC_HIGH: usize = 0x084;
    /// W: address of the queue's driver area, low half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_AVAIL_LOW")]
    pub const QUEUE_DRIVER_LOW: usize = 0x090;
    /// W: address of the queue's driver area, high half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_AVAIL_HIGH")]
    pub const QUEUE_DRIVER_HIGH: usize = 0x094;
    /// W: address of the queue's device area, low half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_USED_LOW")]
    pub const QUEUE_DEVICE_LOW: usize = 0x0a0;
    /// W: address of the queue's device area, high half.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_USED_HIGH")]
    pub const QUEUE_DEVICE_HIGH: usize = 0x0a4;
    /// W: the id of the shared memory region that the other `SHM` registers speak of (§2.10).
    #[doc(alias = "VIRTIO_MMIO_SHM_SEL")]
    pub const SHM_SEL: usize = 0x0ac;
    /// R: bytes in the region, low half; all ones if there is no such region.
    #[doc(alias = "VIRTIO_MMIO_SHM_LEN_LOW")]
    pub const SHM_LEN_LOW: usize = 0x0b0;
    /// R: bytes in the region, high half; all ones if there is no such region.
    #[doc(alias = "VIRTIO_MMIO_SHM_LEN_HIGH")]
    pub const SHM_LEN_HIGH: usize = 0x0b4;
    /// R: physical address of the region, low half; all ones if there is no such region.
    #[doc(alias = "VIRTIO_MMIO_SHM_BASE_LOW")]
    pub const SHM_BASE_LOW: usize = 0x0b8;
    /// R: physical address of the region, high half; all ones if there is no such region.
    #[doc(alias = "VIRTIO_MMIO_SHM_BASE_HIGH")]
    pub const SHM_BASE_HIGH: usize = 0x0bc;
    /// RW: writing 1 resets the queue; 0 is read once it is done. Exists with
    /// [`F::RING_RESET`](crate::F::RING_RESET).
    #[doc(alias = "VIRTIO_MMIO_QUEUE_RESET")]
    pub const QUEUE_RESET: usize = 0x0c0;
    /// R: the same value before and after a read of configuration space that saw it whole (§2.5.1).
    #[doc(alias = "VIRTIO_MMIO_CONFIG_GENERATION")]
    pub const CONFIG_GENERATION: usize = 0x0fc;
}

/// Offsets of the control registers that a legacy device has in the place of others (§4.2.4).
///
/// It has, in common with [`register`], those up to `VENDOR_ID`, of features (`HostFeatures` and
/// `GuestFeatures` in its words), `QUEUE_SEL`, `QUEUE_SIZE_MAX`, `QUEUE_SIZE`, `QUEUE_NOTIFY`, of
/// interrupts, and `STATUS`. It has neither `QUEUE_READY`, addresses, shared memory, `QUEUE_RESET`
/// nor `CONFIG_GENERATION`.
pub mod legacy_register {
    /// W: bytes in a page, of which [`QUEUE_PFN`] counts: a power of two. Written once, before any
    /// queue is set up.
    #[doc(alias = "VIRTIO_MMIO_GUEST_PAGE_SIZE")]
    pub const GUEST_PAGE_SIZE: usize = 0x028;
    /// W: what the device area of the queue is aligned to, in bytes: a power of two.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_ALIGN")]
    pub const QUEUE_ALIGN: usize = 0x03c;
    /// RW: the number of the page that the queue starts at. 0 is read of a queue that is not in use;
    /// writing it takes the queue back.
    #[doc(alias = "VIRTIO_MMIO_QUEUE_PFN")]
    pub const QUEUE_PFN: usize = 0x040;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_magic_value_is_the_specification_s() {
        assert_eq!(MAGIC, 0x7472_6976);
    }
}
