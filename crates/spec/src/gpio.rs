//! GPIO device: lines that are set and read one by one. Spec: VIRTIO 1.4 §5.18 "GPIO Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.18.3). `VIRTIO_GPIO_F_IRQ` is spelled `gpio::F::IRQ`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Lines can interrupt.
    IRQ = 0, "VIRTIO_GPIO_F_IRQ";
}
