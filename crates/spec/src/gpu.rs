//! GPU device: a graphics adapter. Spec: VIRTIO 1.4 §5.7 "GPU Device".

use crate::Features;

/// Features that need another (§5.7.3).
pub const DEPENDENCIES: &[(Features, Features)] = &[
    (F::CONTEXT_INIT, F::VIRGL),
    (F::BLOB_ALIGNMENT, F::RESOURCE_BLOB),
];

features! {
    /// Feature bits (§5.7.3). `VIRTIO_GPU_F_VIRGL` is spelled `gpu::F::VIRGL`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The device draws in three dimensions.
    VIRGL = 0, "VIRTIO_GPU_F_VIRGL";
    /// The device tells what each display can show.
    EDID = 1, "VIRTIO_GPU_F_EDID";
    /// A resource may be given a name that other devices know it by.
    RESOURCE_UUID = 2, "VIRTIO_GPU_F_RESOURCE_UUID";
    /// A resource may be made by its size alone.
    RESOURCE_BLOB = 3, "VIRTIO_GPU_F_RESOURCE_BLOB";
    /// A context may be of several kinds, and have several timelines.
    CONTEXT_INIT = 4, "VIRTIO_GPU_F_CONTEXT_INIT";
    /// How such resources are aligned is given by `blob_alignment`.
    BLOB_ALIGNMENT = 5, "VIRTIO_GPU_F_BLOB_ALIGNMENT";
}
