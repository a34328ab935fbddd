//! File system device: files that the device's side shares. Spec: VIRTIO 1.4 §5.11 "File System
//! Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.11.3). `VIRTIO_FS_F_NOTIFICATION` is spelled `fs::F::NOTIFICATION`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// There is a queue for messages that the device begins.
    NOTIFICATION = 0, "VIRTIO_FS_F_NOTIFICATION";
}
