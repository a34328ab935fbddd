//! How far bring-up has come, and whether it went wrong. Spec: VIRTIO 1.4 §2.1 "Device Status
//! Field".

use bitflags::bitflags;

bitflags! {
    /// The device status field. The driver adds bits, never clears one, and writes 0 to reset
    /// (§2.1.1).
    ///
    /// Bits without a name are kept: a peer may set them.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Status: u8 {
        /// The driver's system has found the device.
        #[doc(alias = "VIRTIO_CONFIG_S_ACKNOWLEDGE")]
        const ACKNOWLEDGE = 1;
        /// There is a driver for the device.
        #[doc(alias = "VIRTIO_CONFIG_S_DRIVER")]
        const DRIVER = 2;
        /// The driver is ready: the device may use its queues (§2.1.2).
        #[doc(alias = "VIRTIO_CONFIG_S_DRIVER_OK")]
        const DRIVER_OK = 4;
        /// The features are settled, if the bit reads back as set (§3.1.1).
        #[doc(alias = "VIRTIO_CONFIG_S_FEATURES_OK")]
        const FEATURES_OK = 8;
        /// The driver has suspended the device (§3.4). Exists with
        /// [`F::SUSPEND`](crate::F::SUSPEND).
        const SUSPEND = 16;
        /// The device has met an error that only a reset ends. Set by the device.
        #[doc(alias = "DEVICE_NEEDS_RESET")]
        #[doc(alias = "VIRTIO_CONFIG_S_NEEDS_RESET")]
        const NEEDS_RESET = 64;
        /// The driver has given up on the device, until it resets it.
        #[doc(alias = "VIRTIO_CONFIG_S_FAILED")]
        const FAILED = 128;

        const _ = !0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_keeps_the_bits_it_cannot_name() {
        let read = 0b0010_0011;

        let status = Status::from_bits_truncate(read);

        assert_eq!(status.bits(), read);
        assert!(status.contains(Status::ACKNOWLEDGE | Status::DRIVER));
    }
}
