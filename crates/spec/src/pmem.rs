//! PMEM device: memory that persists. Spec: VIRTIO 1.4 §5.19 "PMEM Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.19.3). `VIRTIO_PMEM_F_SHMEM_REGION` is spelled `pmem::F::SHMEM_REGION`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// The memory is a shared memory region.
    SHMEM_REGION = 0, "VIRTIO_PMEM_F_SHMEM_REGION";
}
