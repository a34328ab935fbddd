//! IOMMU device: where the addresses of other devices lead. Spec: VIRTIO 1.4 §5.13 "IOMMU device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.13.3). `VIRTIO_IOMMU_F_INPUT_RANGE` is spelled `iommu::F::INPUT_RANGE`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Which addresses can be mapped is given by `input_range`.
    INPUT_RANGE = 0, "VIRTIO_IOMMU_F_INPUT_RANGE";
    /// Which domains there are is given by `domain_range`.
    DOMAIN_RANGE = 1, "VIRTIO_IOMMU_F_DOMAIN_RANGE";
    /// Addresses can be mapped and unmapped.
    MAP_UNMAP = 2, "VIRTIO_IOMMU_F_MAP_UNMAP";
    /// Endpoints without a domain use memory as it is.
    BYPASS = 3, "VIRTIO_IOMMU_F_BYPASS";
    /// Endpoints can be asked for their properties.
    PROBE = 4, "VIRTIO_IOMMU_F_PROBE";
    /// Registers can be mapped, as such.
    MMIO = 5, "VIRTIO_IOMMU_F_MMIO";
    /// Whether endpoints without a domain use memory as it is, `bypass` says.
    BYPASS_CONFIG = 6, "VIRTIO_IOMMU_F_BYPASS_CONFIG";
}
