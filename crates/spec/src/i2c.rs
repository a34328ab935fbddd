//! I2C adapter device: a bus of small chips. Spec: VIRTIO 1.4 §5.16 "I2C Adapter Device".

use crate::Features;

/// Features that need another: none.
pub const DEPENDENCIES: &[(Features, Features)] = &[];

features! {
    /// Feature bits (§5.16.3). `VIRTIO_I2C_F_ZERO_LENGTH_REQUEST` is spelled
    /// `i2c::F::ZERO_LENGTH_REQUEST`.
    struct F;
    /// The bits of [`F`] by name.
    const NAMES;

    /// Requests may have no data. Every device and driver has it.
    ZERO_LENGTH_REQUEST = 0, "VIRTIO_I2C_F_ZERO_LENGTH_REQUEST";
}
