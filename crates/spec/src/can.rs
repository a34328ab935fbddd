//! CAN device: a controller on a bus of vehicles and machines. Spec: VIRTIO 1.4 §5.20 "CAN Device".

use crate::Features;

/// Features that need another (§5.20.3.1).
pub const DEPENDENCIES: &[(Features, Features)] = &[(F::RTR_FRAMES, F::CAN_CLASSIC)];

features! {
    /// Feature bits (§5.20.3). `VIRTIO_CAN_F_CAN_CLASSIC` is spelled `can::F::CAN_CLASSIC`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Frames may carry up to 8 bytes.
    CAN_CLASSIC = 0, "VIRTIO_CAN_F_CAN_CLASSIC";
    /// Frames may carry up to 64 bytes.
    CAN_FD = 1, "VIRTIO_CAN_F_CAN_FD";
    /// Frames may ask others to send.
    RTR_FRAMES = 2, "VIRTIO_CAN_F_RTR_FRAMES";
    /// A frame is done when it was on the bus; without it, when it was queued.
    LATE_TX_ACK = 3, "VIRTIO_CAN_F_LATE_TX_ACK";
}
