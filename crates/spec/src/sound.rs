//! Sound device: a sound card. Spec: VIRTIO 1.4 §5.14 "Sound Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.14.3). `VIRTIO_SND_F_CTLS` is spelled `sound::F::CTLS`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The device has control elements, such as volumes.
    CTLS = 0, "VIRTIO_SND_F_CTLS";
}
