//! Media device: cameras, encoders and decoders. Spec: VIRTIO 1.4 §5.22 "Media Device".

use crate::Features;

/// Feature bits by name: none are defined (§5.22.3).
pub const NAMES: &[(u32, &str)] = &[];

/// Features that need another: none are defined.
pub const DEPENDENCIES: &[(Features, Features)] = &[];
