//! Entropy device: random bytes on request. It has no features and no configuration space.
//! Spec: VIRTIO 1.4 §5.4 "Entropy Device".
//!
//! A request is a chain of writable buffers only (§5.4.6.1); the device writes at least one byte
//! and says how many (§5.4.6.2).

use crate::Features;

/// Index of the only queue (§5.4.2).
pub const REQUEST_QUEUE: u16 = 0;

/// Feature bits by name: none are defined (§5.4.3).
pub const NAMES: &[(u32, &str)] = &[];

/// Features that need another: none are defined.
pub const DEPENDENCIES: &[(Features, Features)] = &[];
