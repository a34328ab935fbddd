//! Input device: a keyboard, a pointer and the like. Spec: VIRTIO 1.4 §5.8 "Input Device".

use crate::Features;

/// Feature bits by name: none are defined (§5.8.3).
pub const NAMES: &[(u32, &str)] = &[];

/// Features that need another: none are defined.
pub const DEPENDENCIES: &[(Features, Features)] = &[];
