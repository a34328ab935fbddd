//! Why a device interrupts. Spec: VIRTIO 1.4 §2.3 "Notifications".

use bitflags::bitflags;

bitflags! {
    /// Causes of an interrupt: the ISR status byte on PCI (§4.1.4.5), the low bits of
    /// `InterruptStatus` on MMIO (§4.2.2).
    ///
    /// Undefined bits are to be ignored when read, and never acknowledged (§4.2.2.2): use
    /// [`from_bits_truncate`](Self::from_bits_truncate).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct InterruptStatus: u8 {
        /// The device has used a buffer of some queue.
        #[doc(alias = "VIRTIO_MMIO_INT_VRING")]
        #[doc(alias = "VIRTIO_PCI_ISR_QUEUE")]
        const USED_BUFFER = 1;
        /// The device's configuration, or its status, has changed.
        #[doc(alias = "VIRTIO_MMIO_INT_CONFIG")]
        #[doc(alias = "VIRTIO_PCI_ISR_CONFIG")]
        const CONFIG_CHANGE = 2;
    }
}
