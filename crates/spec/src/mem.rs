//! Memory device: memory that comes and goes. Spec: VIRTIO 1.4 §5.15 "Memory Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.15.3). `VIRTIO_MEM_F_ACPI_PXM` is spelled `mem::F::ACPI_PXM`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Where the memory is near is given by `node_id`.
    ACPI_PXM = 0, "VIRTIO_MEM_F_ACPI_PXM";
    /// Memory that is not plugged must not be read.
    UNPLUGGED_INACCESSIBLE = 1, "VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE";
    /// Memory stays plugged while the driver's system is suspended.
    PERSISTENT_SUSPEND = 2, "VIRTIO_MEM_F_PERSISTENT_SUSPEND";
}
