//! Memory of another handle, with something that is dropped when it is.
#![expect(
    unsafe_code,
    reason = "a promise about memory that another handle keeps"
)]

use core::ptr::NonNull;

use super::{Backing, Shared};

/// Memory of another handle, and something to drop with it.
pub(super) struct Guarded<G> {
    memory: Shared,
    _guard: G,
}

impl<G> Guarded<G> {
    pub(super) fn new(memory: Shared, guard: G) -> Self {
        Self {
            memory,
            _guard: guard,
        }
    }
}

// SAFETY: `memory` is never changed, and keeps its bytes mapped, readable and writable while it
// lives; whoever else holds a handle to them reaches them through `Shared` and `View` only,
// too.
unsafe impl<G: Send + Sync> Backing for Guarded<G> {
    fn base(&self) -> NonNull<u8> {
        self.memory.base
    }

    fn len(&self) -> usize {
        self.memory.len
    }
}
