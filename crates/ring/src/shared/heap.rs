//! Memory of the heap, to be shared.
#![expect(unsafe_code, reason = "memory of the heap is allocated and freed")]

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::ptr::NonNull;

use super::Backing;

/// Zeroed bytes of the heap.
pub(super) struct Heap {
    base: NonNull<u8>,
    layout: Layout,
}

impl Heap {
    pub(super) fn new(len: usize, align: usize) -> Option<Self> {
        let layout = Layout::from_size_align(len, align)
            .ok()
            .filter(|_| len != 0)?;
        // SAFETY: the layout is not of size zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        #[cfg(loom)]
        crate::model::allocate(base.addr().get(), len);
        Some(Self { base, layout })
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        #[cfg(loom)]
        crate::model::free(self.base.addr().get(), self.layout.size());
        // SAFETY: `new` allocated `base` with this layout, and nothing else frees it.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

// SAFETY: bytes of the heap may be used from any thread; the handle is only a pointer to them.
unsafe impl Send for Heap {}
// SAFETY: as above; it has no method that writes.
unsafe impl Sync for Heap {}

// SAFETY: the allocation is ours alone, lives until `drop`, and neither field is ever changed;
// the pointer is given to nobody but `Shared`.
unsafe impl Backing for Heap {
    fn base(&self) -> NonNull<u8> {
        self.base
    }

    fn len(&self) -> usize {
        self.layout.size()
    }
}
