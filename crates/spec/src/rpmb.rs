//! RPMB device: storage that cannot be replayed. Spec: VIRTIO 1.4 §5.12 "RPMB Device".

use crate::Features;

/// Feature bits by name: none are defined (§5.12.3).
pub const NAMES: &[(u32, &str)] = &[];

/// Features that need another: none are defined.
pub const DEPENDENCIES: &[(Features, Features)] = &[];
