//! SCMI device: system control and management, as Arm has it. Spec: VIRTIO 1.4 §5.17 "SCMI Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.17.3). `VIRTIO_SCMI_F_P2A_CHANNELS` is spelled `scmi::F::P2A_CHANNELS`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// There is a queue for messages that the device begins.
    P2A_CHANNELS = 0, "VIRTIO_SCMI_F_P2A_CHANNELS";
    /// There is a region with statistics.
    SHARED_MEMORY = 1, "VIRTIO_SCMI_F_SHARED_MEMORY";
}
