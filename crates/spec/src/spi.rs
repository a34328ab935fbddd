//! SPI controller device: a bus of chips that are selected one by one. Spec: VIRTIO 1.4 §5.21 "SPI
//! Controller Device".

use crate::Features;

/// Feature bits by name: none are defined (§5.21.3).
pub const NAMES: &[(u32, &str)] = &[];

/// Features that need another: none are defined.
pub const DEPENDENCIES: &[(Features, Features)] = &[];
