//! SCSI host device: an adapter with targets behind it. Spec: VIRTIO 1.4 §5.6 "SCSI Host Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.6.3). `VIRTIO_SCSI_F_INOUT` is spelled `scsi::F::INOUT`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// One request may both read and write.
    INOUT = 0, "VIRTIO_SCSI_F_INOUT";
    /// The device tells of targets and units that come and go.
    HOTPLUG = 1, "VIRTIO_SCSI_F_HOTPLUG";
    /// The device tells of units whose parameters change.
    CHANGE = 2, "VIRTIO_SCSI_F_CHANGE";
    /// Requests carry protection information.
    T10_PI = 3, "VIRTIO_SCSI_F_T10_PI";
}
